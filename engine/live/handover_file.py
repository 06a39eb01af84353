"""A handover as a file, and the marks that keep a position from having two owners.

    write(path, inherited)     # once the session before is sealed: it is not started again
    read(path)                 # and taken by one session alone

`handed-over.json` in the folder of the session before keeps it from being started; FILE.taken beside the handover names the one session that
goes on from it. This module must not know nodes.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from twinloop.data.atomic import temporary_name, write_atomic
from twinloop.data.errors import ConfigError
from twinloop.engine.live.inherited import FORMAT, Inherited
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.venue_wait import FILE as WAIT_FILE

SEALED: Final = "handed-over.json"
SIZE_MAX: Final = 700_000  # It stands in the header of every segment, which has a megabyte.


class _File(msgspec.Struct, frozen=True):
    """sha256: of the handover's JSON, so that one that was edited is none."""

    sha256: str
    handover: Inherited


def digest(past: Inherited) -> str:
    """Of a handover's content."""
    return hashlib.sha256(msgspec.json.encode(past, order="sorted")).hexdigest()


def seal(place: Path, path: Path, past: Inherited) -> None:
    """Write the handover of the session in a folder, and that it is over. ConfigError for one that no journal could hold."""
    size = len(msgspec.json.encode(past))
    if size > SIZE_MAX:
        raise ConfigError(
            "more than a journal's header can hold", field="handover", expected=f"at most {SIZE_MAX:,} bytes", got=f"{size:,}",
            remedy="let the session run until its fills are swept, or hand over with smaller windows in its strategies' state",
        )  # fmt: skip
    if path.exists():
        raise ConfigError("a file is there already", file=path, expected="a new name: a handover is never overwritten")
    write_atomic(path, msgspec.json.format(msgspec.json.encode(_File(digest(past), past))) + b"\n")
    write_atomic(place / SEALED, msgspec.json.encode({"sha256": digest(past), "file": str(path.resolve())}) + b"\n")


def refuse_sealed(place: Path) -> None:
    """SessionError for a session that was handed over."""
    if (place / SEALED).exists():
        raise SessionError(
            "this session was handed over", file=place / SEALED, expected="the session that goes on from it", got="its predecessor",
            remedy="start that one; only if it never will, remove this file and the handover, and this session goes on itself",
        )  # fmt: skip


def read(path: Path) -> Inherited:
    """What a file hands over. ConfigError for one that is not as it was written."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise ConfigError("the handover cannot be read", file=path, got=error.strerror or str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            "not a handover of this version", file=path, got=str(error), remedy="`twinloop handover SESSION` writes one"
        ) from None
    if found.handover.format != FORMAT or found.sha256 != digest(found.handover):
        raise ConfigError(
            "a handover that is not as it was written", file=path, expected=f"format {FORMAT}, sha256 {found.sha256[:12]}",
            got=f"format {found.handover.format}, sha256 {digest(found.handover)[:12]}",
            remedy="never edit it: what is wrong at the venue is told when the session starts, and booked by `twinloop reconcile`",
        )  # fmt: skip
    return found.handover


def keep_wait_of(past: Inherited, place: Path) -> None:
    """Have a session wait for as long as the venue wanted the one before it to."""
    if past.venue_wait and not (place / WAIT_FILE).exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomic(place / WAIT_FILE, past.venue_wait.encode())


def take(path: Path, place: Path) -> None:
    """Mark a handover as taken by the session of a folder. SessionError where another one has it."""
    mark, owner = path.with_name(path.name + ".taken"), str(place.resolve())
    whole = temporary_name(mark)  # So that a crash leaves the mark with its owner, or none.
    try:
        with whole.open("w", encoding="utf-8") as file:
            file.write(owner)
            file.flush()
            os.fsync(file.fileno())
        os.link(whole, mark)
    except FileExistsError:
        taken = mark.read_text(encoding="utf-8")
        if taken != owner:
            raise SessionError(
                "another session goes on from this handover", file=path, expected=owner, got=taken or "unknown",
                remedy="a position has one owner: hand that session over, if this one is to go on",
            ) from None  # fmt: skip
    finally:
        whole.unlink(missing_ok=True)


def told(past: Inherited) -> dict[str, Any]:
    """What a person is told of it."""
    return {
        "name": past.name, "epoch": past.epoch, "commits": past.commit, "sha256": digest(past), "strategies": [each.name for each in past.strategies],
        "positions": {symbol: words["qty"] for symbol, words in past.positions.items() if words["qty"]},
    }  # fmt: skip
