"""Going on where a session's journal ends: the node is built again (rebuild.py) from the newest snapshot and the facts behind it.

A journal under another configuration, or other code, is not gone on with: it is replayed, not continued.
This module must not open connections.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import Journal, open_journal
from twinloop.engine.journal.recovery import cut_torn_tail
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.rebuild import begin
from twinloop.engine.live.session import Session, session_from_plain
from twinloop.engine.live.session_errors import SessionError


@dataclass(frozen=True)
class Recovered:
    """A node as it was after the journal's last whole commit. cut_bytes: of a torn tail, kept beside the segment.

    facts: handled now, commits: in all. from_snapshot: those of them that a snapshot stood for. notices: what the operator should know.
    """

    node: LiveNode
    journal: Journal
    commits: int
    facts: int
    cut_bytes: int
    ended_in_order: bool  # The last word on trading was the halt of a session that ended in order.
    from_snapshot: int
    notices: list[str]


def has_journal(folder: Path) -> bool:
    """Whether there is anything to go on with."""
    return folder.is_dir() and any(folder.glob("segment-*.journal"))


def same_session(was: Session, now: Session) -> list[str]:
    """What two sessions differ in, in words; the start and the folder do not count, nor what a live account holds now."""
    ignored = {"start_ns", "folder"} | ({"cash"} if now.mode == "live" else set())
    return [
        name.replace("_", " ")
        for name in Session.__struct_fields__
        if name not in ignored and getattr(was, name) != getattr(now, name)
    ]


def recover(folder: Path, wanted: Session, progress: Callable[[int, int], None] | None = None) -> Recovered:
    """Read a journal, cut a torn tail, and bring a node to its end.

    wanted: the session as configured now. Raises CorruptError for a damaged journal or one that a snapshot does not belong to, SessionError for one of another session, ParityError
    where the facts no longer lead to the journal's decisions.
    """
    journal = open_journal(folder)
    journal.require_sound()
    session = session_from_plain(journal.segments[0].header.session)
    changed = same_session(session, wanted)
    if changed:
        raise SessionError(
            "this journal is of a session that was configured otherwise", file=folder, expected="the same " + ", ".join(changed),
            got="another", remedy="give the session another name, or put the configuration back",
        )  # fmt: skip
    cut = cut_torn_tail(journal)
    commits = journal.start[0]
    rebuilt = begin(folder, session, journal.header.config, commits=commits)
    follower = JournalFollower(folder, commit=rebuilt.commit, checksum=rebuilt.checksum if rebuilt.commit else None)
    try:
        while found := follower.read():
            rebuilt.take(found)
            if progress is not None:
                progress(rebuilt.commit - rebuilt.from_snapshot, commits - rebuilt.from_snapshot)
    finally:
        follower.close()
    assert rebuilt.commit == commits
    return Recovered(
        rebuilt.node, journal, commits, rebuilt.facts, cut, rebuilt.ended_in_order, rebuilt.from_snapshot, rebuilt.passed_over
    )  # fmt: skip
