"""Airflow and the emulator as processes, for `make demo`, `make ui` and the system tests."""
