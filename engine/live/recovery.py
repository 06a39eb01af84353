"""Going on where a session's journal ends: the node is built again (rebuild.py) from the newest snapshot and the facts behind it.

A journal under another configuration, or other code, is not gone on with: it is replayed, not continued. This module must not open
connections.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

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


def same_session(was: Session, now: Session) -> list[str]:
    """What two sessions differ in, in words; the start, the folder and what was inherited do not count.

    Nor, of a live session, what the account holds now, and what it may pay fees in.
    """
    ignored = {"start_ns", "traded_from_ns", "folder", "inherited"} | (
        {"cash", "stock", "fx"} if now.mode == "live" else set()
    )
    return [
        name.replace("_", " ")
        for name in Session.__struct_fields__
        if name not in ignored and getattr(was, name) != getattr(now, name)
    ]


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
        raise SessionError(
            "this journal is of a session that was configured otherwise", file=journal.folder, expected="the same " + ", ".join(changed),
            got="another", remedy="give the session another name, or put the configuration back",
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
