"""Going on where a session's journal ends: the node is built again from the facts, and has to take every decision again on the way.

Of a paper session the simulated venue is built again too: it gets the market's and the operator's rows, and must give the very answers
that the journal holds. A journal under another configuration, or other code, is not gone on with: it is replayed, not continued.
This module must not open connections.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from twinloop.data.rowfile import Rows, pick
from twinloop.engine.journal.reader import Journal, open_journal
from twinloop.engine.journal.recovery import cut_torn_tail
from twinloop.engine.live.loop import SESSION_END
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session import Session, session_from_plain
from twinloop.engine.live.session_errors import ParityError, SessionError
from twinloop.kernels.rows import FLATTEN, HALT, ORIGIN, OWN_ORDER, REDUCE, RESUME, TIMER

_COMMANDS: Final = np.array([HALT, REDUCE, RESUME, FLATTEN], np.uint8)
_MADE_AGAIN: Final = np.array([*(kind for kind, origin in ORIGIN.items() if origin == OWN_ORDER), TIMER], np.uint8)


@dataclass(frozen=True)
class Recovered:
    """A node as it was after the journal's last whole commit. cut_bytes: of a torn tail, kept beside the segment."""

    node: LiveNode
    journal: Journal
    commits: int
    facts: int
    cut_bytes: int
    ended_in_order: bool  # The last word on trading was the halt of a session that ended in order.


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

    wanted: the session as configured now. Raises CorruptError for a damaged journal, SessionError for one of another session, ParityError
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
    # Of a live session the venue's answers are facts like any other.
    node = LiveNode(session, "paper" if session.mode == "paper" else "recorded")
    facts = 0
    ended = False
    for done, commit in enumerate(journal.each()):
        if commit.number == 0:
            node.start()
            continue
        expected = commit.facts
        handled = node.handle(_given(expected) if session.mode == "paper" else expected)
        if handled.facts.tobytes() != expected.tobytes() or handled.requests.tobytes() != commit.requests.tobytes():
            raise ParityError(
                "the journal does not lead to the decisions it holds", file=folder, expected=f"commit {commit.number} again",
                got="another outcome", remedy="see `twinloop replay` for the first difference; do not go on with it",
            )  # fmt: skip
        facts += len(expected)
        words = expected[np.isin(expected["kind"], _COMMANDS)]
        if len(words):
            ended = bool(words[-1]["kind"] == HALT and words[-1]["code"] == SESSION_END)
        if progress is not None and done % 256 == 0:
            progress(done, journal.commits)
    return Recovered(node, journal, journal.commits, facts, cut, ended)


def _given(facts: Rows) -> Rows:
    """The facts that came from outside: not what the simulated venue and the node's timers make themselves."""
    chosen: Any = ~np.isin(facts["kind"], _MADE_AGAIN)
    return pick(facts, chosen)
