"""Going on where a session's journal ends: the node is built again from the facts, and has to take every decision again on the way.

Of a paper session the simulated venue is built again too: it gets the market's and the operator's rows, and must give the very answers
that the journal holds. A journal under another configuration, or other code, is not gone on with: it is replayed, not continued.
This module must not open connections.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from twinloop.data.rowfile import Rows, pick
from twinloop.engine.journal.reader import Commit, Journal
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session import Session, session_from_plain
from twinloop.engine.live.session_errors import ParityError, SessionError
from twinloop.engine.live.words import Words
from twinloop.kernels.rows import FLATTEN, HALT, NOT_SENT, ORIGIN, OWN_ORDER, REDUCE, REQUEST, RESUME, SENT, TIMER

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

_COMMANDS: Final = np.array([HALT, REDUCE, RESUME, FLATTEN], np.uint8)
_OWN: Final = [kind for kind, origin in ORIGIN.items() if origin == OWN_ORDER]
_MADE_AGAIN: Final = np.array([*_OWN, TIMER], np.uint8)
_OF_ORDERS: Final = np.array(
    [*_OWN, *(kind for kind, origin in ORIGIN.items() if origin == REQUEST), SENT, NOT_SENT], np.uint8
)


@dataclass
class Recovered:
    """A node as it was after the journal's last whole commit. of_orders: (epoch, rows) of everything about orders, for a gateway."""

    node: LiveNode
    facts: int = 0
    of_orders: list[tuple[int, Rows]] = field(default_factory=list)
    words: Words = field(default_factory=Words)

    @property
    def may_resume(self) -> bool:
        """Whether trading may go on without a person's word."""
        account = self.node.decision["accounts"][0]
        return self.words.may_resume(int(account["state"]), int(account["halt_code"]))


def same_session(was: Session, now: Session) -> list[str]:
    """What two sessions differ in, in words; the start and the folder do not count, nor what a live account holds now."""
    ignored = {"start_ns", "folder"} | ({"cash"} if now.mode == "live" else set())
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
) -> Recovered:
    """Bring a node to the end of a journal that was made ready (journal/recovery.py), reading its rows once.

    wanted: the session as configured now, and its strategies compiled. Raises SessionError for a journal of another session, ParityError
    where the facts no longer lead to the journal's decisions.
    """
    session = session_from_plain(journal.segments[0].header.session)
    changed = same_session(session, wanted)
    if changed:
        raise SessionError(
            "this journal is of a session that was configured otherwise", file=journal.folder, expected="the same " + ", ".join(changed),
            got="another", remedy="give the session another name, or put the configuration back",
        )  # fmt: skip
    # Of a live session the venue's answers are facts like any other.
    found = Recovered(LiveNode(session, "paper" if session.mode == "paper" else "recorded", compiled))
    done = 0
    for segment in journal.segments:
        for commit in segment.each():
            _again(found, commit, journal)
            rows = commit.rows
            about = np.isin(rows["kind"], _OF_ORDERS)
            if session.mode == "live" and about.any():
                found.of_orders.append((segment.header.epoch, pick(rows, about)))
            if progress is not None and done % 256 == 0:
                progress(done, journal.commits)
            done += 1
    return found


def _again(found: Recovered, commit: Commit, journal: Journal) -> None:
    """Have the node handle a commit's facts; it must do what it did then."""
    node = found.node
    if commit.number == 0:
        node.start()
        return
    expected = commit.facts
    account = node.decision["accounts"][0]
    before = int(account["state"]), int(account["halt_code"])
    handled = node.handle(_given(expected) if node.edge == "paper" else expected)
    if handled.facts.tobytes() != expected.tobytes() or handled.requests.tobytes() != commit.requests.tobytes():
        raise ParityError(
            "the journal does not lead to the decisions it holds", file=journal.folder, expected=f"commit {commit.number} again",
            got="another outcome", remedy="see `twinloop replay` for the first difference; do not go on with it",
        )  # fmt: skip
    found.facts += len(expected)
    for row in expected[np.isin(expected["kind"], _COMMANDS)]:  # Alone in its commit.
        found.words.take(int(row["kind"]), int(row["code"]), *before)


def _given(facts: Rows) -> Rows:
    """The facts that came from outside: not what the simulated venue and the node's timers make themselves."""
    chosen: Any = ~np.isin(facts["kind"], _MADE_AGAIN)
    return pick(facts, chosen)
