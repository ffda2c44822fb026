"""The test media: playable files of any length, made on this machine with PyAV and numpy.

It knows no recordings, meetings or HTTP, and imports nothing else of the emulator. `world/` requests files
and `http/` serves them. Read `specs` (the content of a file), then `encoding` (how it is made); `synthesis` draws the
pictures and the sound.
"""
