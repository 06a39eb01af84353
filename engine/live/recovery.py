"""Going on where a session's journal ends: the node is built again (rebuild.py) from the newest snapshot and the facts behind it.

A journal under another configuration, or other code, is not gone on with: it is replayed, not continued. This module must not open
connections.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import Journal
from twinloop.engine.journal.recovery import make_ready
from twinloop.engine.live.handover import hand_over
from twinloop.engine.live.inherited import Inherited
from twinloop.engine.live.rebuild import Rebuilt, begin
from twinloop.engine.live.session import Session, changed_since, compiled_strategies, session_from_plain
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.venue_wait import FILE as WAIT_FILE

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

DIFFERENCES_MAX: Final = 6  # Told of a session that was configured otherwise.


def same_session(was: Session, now: Session) -> list[str]:
    """The fields in which two sessions differ; start, folder and inheritance do not count.

    Nor, of a live session, what the account holds now, and what it may pay fees in.
    """
    ignored = {"start_ns", "traded_from_ns", "folder", "inherited"} | (
        {"cash", "stock", "fx"} if now.mode == "live" else set()
    )
    return [
        name for name in Session.__struct_fields__ if name not in ignored and getattr(was, name) != getattr(now, name)
    ]


def differences(where: str, was: Any, now: Any) -> list[str]:
    """What is another, "limits_section.max_order_pct was 2.5 and is 3"."""
    was, now = (msgspec.to_builtins(each) for each in (was, now))
    if isinstance(was, dict) and isinstance(now, dict):
        keys = [key for key in was | now if was.get(key) != now.get(key)]
        return [line for key in keys for line in differences(f"{where}.{key}", was.get(key), now.get(key))]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        named = [
            each.get("name", each.get("symbol", at)) if isinstance(each, dict) else at for at, each in enumerate(was)
        ]
        pairs = [(f"{where}.{name}", *each) for name, *each in zip(named, was, now, strict=True) if each[0] != each[1]]
        return [line for place, before, after in pairs for line in differences(place, before, after)]
    if where.endswith((".digest", "code")):
        what = "twinloop's own code" if where == "code" else f"the source of {where.removesuffix('.digest')}"
        return [f"{what} has changed"]
    return [f"{where} was {_value(where, was)} and is {_value(where, now)}"]


def _value(where: str, each: Any) -> str:
    """What stands there, money as a person writes it."""
    if isinstance(each, int) and where.partition(".")[0] in {"cash", "fx", "stock"}:
        return from_scaled(each, MONEY_SCALE)
    return "nothing" if each is None else str(each)[:80]


def hand_over_of(folder: Path, progress: Callable[[int, int], None] | None = None) -> Inherited:
    """What a session that has ended hands over; the caller holds the journal's lock. SessionError where it cannot be."""
    ready = make_ready(folder)
    if ready.journal is None:
        raise SessionError("no journal", file=folder, expected="that of a session that has ended", got="none")
    session = session_from_plain(ready.journal.header.session)
    compiled = compiled_strategies(session)
    if changed := changed_since(session, compiled):
        raise SessionError(
            "this session ran with other code", file=folder, expected="the code that its journal was written by", got="changed: " + ", ".join(changed),
            remedy="hand it over with that version of twinloop and of the strategies' files, and change them after that",
        )  # fmt: skip
    past = hand_over(recover(ready.journal, session, compiled, progress), ready.journal.epoch)
    wait = folder.parent / WAIT_FILE
    return msgspec.structs.replace(past, venue_wait=wait.read_text(encoding="utf-8")) if wait.exists() else past


def recover(
    journal: Journal,
    wanted: Session,
    compiled: Sequence["CompiledStrategy"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rebuilt:
    """Bring a node to the end of a journal that was made ready (journal/recovery.py), archived segments counted.

    wanted: the session as configured now, and its strategies compiled. Raises SessionError for a journal of another session, ParityError
    where the facts no longer lead to the journal's decisions, CorruptError for a snapshot that the journal cannot have led to.
    """
    session = session_from_plain(journal.header.session)
    changed = same_session(session, wanted)
    if changed:
        told = [line for name in changed for line in differences(name, getattr(session, name), getattr(wanted, name))]
        shown = told[:DIFFERENCES_MAX] + (
            [f"and {len(told) - DIFFERENCES_MAX} more"] if len(told) > DIFFERENCES_MAX else []
        )
        remedy = (
            "put it back, or give the session another name, to which `twinloop handover` hands over what this one holds"
        )
        if changed == ["limits_section"]:
            remedy += "; a running session's limits are made stricter by `twinloop ctl tighten`"
        raise SessionError(
            "this journal is of a session that was configured otherwise", file=journal.folder, expected="the same configuration",
            got="; ".join(shown), remedy=remedy,
        )  # fmt: skip
    commits = journal.start[0]
    rebuilt = begin(journal.folder, session, journal.header.config, compiled, commits=commits)
    follower = JournalFollower(
        journal.folder, commit=rebuilt.commit, checksum=rebuilt.checksum if rebuilt.commit else None
    )
    try:
        while found := follower.read():
            rebuilt.take(found, follower.epoch)
            if progress is not None:
                progress(rebuilt.commit - rebuilt.from_snapshot, commits - rebuilt.from_snapshot)
    finally:
        follower.close()
    assert rebuilt.commit == commits
    return rebuilt
