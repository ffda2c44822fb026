"""The errors that the world raises. They know nothing of HTTP: `http/errors.py` decides how each is answered."""

from __future__ import annotations


class WorldError(Exception):
    """The world refuses a request; the message says why."""


class NotFoundError(WorldError):
    """There is no such meeting or recording, or the caller's app does not own it."""


class NoLiveSessionError(WorldError):
    """Nobody is in the meeting whose tracks are to be recorded."""


class AlreadyRecordingError(WorldError):
    """A recording of the same kind is active in the meeting."""


class ActionNotAllowedError(WorldError):
    """The status of the recording does not allow the action."""


class ImpossibleChangeError(WorldError):
    """A test asks for a change that the state of the recording rules out."""
