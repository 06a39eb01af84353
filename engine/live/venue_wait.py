"""Until when the venue wants no request of this machine's address, kept over a restart: a start in between would only lengthen a ban.

The file stands in the session's folder and names the venue's address it is of. A start that is told to wait for less than a minute does
so; nothing else here waits. This module must not ask the venue.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from twinloop.data.atomic import write_atomic
from twinloop.engine.gateway.alerts import utc
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD

FILE: Final = "venue-wait.json"
Told = TypeVar("Told")
PATIENCE_NS: Final = 60_000_000_000  # A minute's weight is there again after that.


class VenueWait(msgspec.Struct, frozen=True):
    """until_ns: ns since the epoch. banned: 418, else 429."""

    rest: str
    until_ns: int
    banned: bool


def keep_wait(place: Path, wait: VenueWait) -> None:
    """Write it down, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
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


async def patiently(place: Path, rest: str, say: Callable[[str], None], ask: Callable[[], Awaitable[Told]]) -> Told:
    """What a start asks of the venue: once more after a wait of up to a minute. A longer one, and a ban, is written down and raised."""
    try:
        return await ask()
    except VenueBusyError as busy:
        if busy.banned or busy.wait_ns > PATIENCE_NS:
            _write_down(place, rest, busy)
            raise
        say(f"! the venue asks to wait for {busy.wait_ns / 1e9:.0f} s: this address has asked too much of it; waiting")
        await WORLD.sleep(busy.wait_ns / 1e9)
    try:
        return await ask()
    except VenueBusyError as busy:
        _write_down(place, rest, busy)
        raise


def _write_down(place: Path, rest: str, busy: VenueBusyError) -> None:
    keep_wait(place, VenueWait(rest, WORLD.wall_ns() + busy.wait_ns, busy.banned))
