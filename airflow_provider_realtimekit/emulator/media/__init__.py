"""The test media: playable files of any length, made on this machine with PyAV and numpy.

It knows nothing of recordings, meetings or HTTP, and imports nothing else of the emulator. `world/` asks for files
and `http/` serves them. Read `specs` (what a file holds), then `encoding` (how it is made); `synthesis` draws the
pictures and the sound.
"""
