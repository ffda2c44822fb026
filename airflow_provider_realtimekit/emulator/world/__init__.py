"""The emulated world: meetings, recordings, and how these move through their states."""
