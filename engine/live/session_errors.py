"""What can go wrong with a live session, as the project's errors."""

from twinloop.data.errors import TwinloopError


class SessionError(TwinloopError):
    """A session that cannot start or go on."""


class ParityError(TwinloopError):
    """A journal that does not replay as it ran."""
