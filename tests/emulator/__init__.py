"""Tests of the emulator: its world, its media and its HTTP side."""
