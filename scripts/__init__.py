"""What stands behind `make demo`, `make ui` and the system tests: Airflow and the emulator as processes."""
