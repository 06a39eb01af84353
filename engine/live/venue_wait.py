"""Until when the venue wants no request of this machine's address, kept over a restart: a start in between would only lengthen a ban.

The file stands in the session's folder and names the venue's address it is of. This module must not ask the venue or wait.
"""

from pathlib import Path
from typing import Final

import msgspec

from twinloop.data.atomic import write_atomic
from twinloop.engine.gateway.alerts import utc
from twinloop.engine.live.session_errors import SessionError

FILE: Final = "venue-wait.json"


class VenueWait(msgspec.Struct, frozen=True):
    """until_ns: ns since the epoch. banned: 418, else 429."""

    rest: str
    until_ns: int
    banned: bool


def keep_wait(place: Path, wait: VenueWait) -> None:
    """Write it down, whole or not at all."""
    write_atomic(place / FILE, msgspec.json.encode(wait))


def refuse_while_waiting(place: Path, rest: str, now_ns: int) -> None:
    """SessionError as long as the venue wants no request. A file that cannot be read is an error too: it may hold a ban."""
    try:
        text = (place / FILE).read_bytes()
    except FileNotFoundError:
        return
    try:
        wait = msgspec.json.decode(text, type=VenueWait)
    except msgspec.MsgspecError as error:
        raise SessionError(
            "what the venue said about waiting cannot be read", file=place / FILE, got=str(error),
            remedy="see whether this address is banned; remove the file if it is not",
        ) from None  # fmt: skip
    if wait.rest != rest or now_ns >= wait.until_ns:
        return
    raise SessionError(
        "the venue has banned this address" if wait.banned else "the venue asked this address to wait",
        field=rest, expected=f"a start after {utc(wait.until_ns)}", got=f"{(wait.until_ns - now_ns) / 1e9:.0f} s too early",
        remedy="wait: nothing was sent, and every request in between would lengthen it; working orders are the venue's timer's or yours to cancel there",
    )  # fmt: skip
