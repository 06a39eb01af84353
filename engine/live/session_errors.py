"""What can go wrong with a live session, as the project's errors."""

from twinloop.data.errors import TwinloopError


class SessionError(TwinloopError):
    """A session that cannot start or go on."""


class VenueBusyError(SessionError):
    """The venue wants no request of this address for wait_ns (429), or has banned it (418)."""

    def __init__(self, url: str, *, wait_ns: int, banned: bool) -> None:
        what = "the venue has banned this address" if banned else "the venue asked this address to wait"
        super().__init__(
            what, field=url, expected=f"no request for {wait_ns / 1e9:.0f} s", remedy="wait, then start again"
        )
        self.wait_ns, self.banned = wait_ns, banned


class ParityError(TwinloopError):
    """A journal that does not replay as it ran."""
