"""Going on where a session's journal ends: the node is built again (rebuild.py) from the newest snapshot and the facts behind it.

A journal under another configuration, or other code, is not gone on with: it is replayed, not continued. This module must not open
connections.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import Journal
from twinloop.engine.live.rebuild import Rebuilt, begin
from twinloop.engine.live.session import Session, session_from_plain
from twinloop.engine.live.session_errors import SessionError

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy


def same_session(was: Session, now: Session) -> list[str]:
    """What two sessions differ in, in words; the start and the folder do not count, nor what a live account holds now."""
    ignored = {"start_ns", "traded_from_ns", "folder"} | ({"cash", "stock"} if now.mode == "live" else set())
    return [
        name.replace("_", " ")
        for name in Session.__struct_fields__
        if name not in ignored and getattr(was, name) != getattr(now, name)
    ]


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
