"""What can go wrong with writing a journal. Reading one raises DataError and CorruptError of data/errors.py."""

from twinloop.engine.live.session_errors import SessionError


class JournalError(SessionError):
    """The journal did not take what it was given; nothing of it was taken."""


class JournalFullError(JournalError):
    """The buffer is full: the disk is slower than what comes. What was taken before is kept, and what comes can be given again later."""


class JournalFailedError(JournalError):
    """The journal cannot be written any more, for good."""
