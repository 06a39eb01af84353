"""A node built again from a journal's commits, which has to take every decision again on the way.

    rebuilt = begin(folder, session)         # from the newest snapshot that can be used, or from nothing
    rebuilt.take(follower.read())            # commits in order

Of a paper session the simulated venue is built again too: it gets the market's and the operator's rows, and must give the very answers
that the journal holds. Commits are handed over many at a time, since batches change no decision. This module must not wait or write.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data.errors import CorruptError, TwinloopError
from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.engine.gateway.needed_rows import READ, needed_rows
from twinloop.engine.journal.reader import Commit
from twinloop.engine.journal.snapshot import Head, read_snapshot, snapshots_of
from twinloop.engine.live import node_state
from twinloop.engine.live.inherited import Inherited
from twinloop.engine.live.node import Handled, LiveNode
from twinloop.engine.live.parity import first_difference
from twinloop.engine.live.session import Session
from twinloop.engine.live.session_errors import ParityError
from twinloop.engine.live.words import Words
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_WARMUP, HASH, ORIGIN, ROW, VERDICT

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

_IS_COMMAND: Final = np.isin(np.arange(256), [table.HALT, table.REDUCE, table.RESUME, table.FLATTEN])
_OWN: Final = [kind for kind, origin in ORIGIN.items() if origin == table.OWN_ORDER]
_IS_MADE_AGAIN: Final = np.isin(np.arange(256), [*_OWN, table.TIMER])
_IS_OF_ORDERS: Final = np.isin(np.arange(256), list(READ))


class Rebuilt:
    """A node after `commit` commits of a journal; checksum: of the last of them.

    facts: handled here, those behind a snapshot not counted. of_orders: of a live session, (epoch, rows) about orders that a gateway needs;
    a snapshot keeps them too. extra: what a snapshot held besides, with its words. said: the words on trading. from_snapshot: commits that a snapshot stood for. passed_over: why snapshots could not be used, newest first.
    last_prints: id and venue time of the last streamed print, by slot.
    """

    def __init__(self, session: Session, folder: Path, compiled: Sequence["CompiledStrategy"] | None = None) -> None:
        self.session = session
        self.folder = folder
        # Of a live session the venue's answers are facts like any other.
        self.node = LiveNode(session, "paper" if session.mode == "paper" else "recorded", compiled)
        self.of_orders: list[tuple[int, Rows]] = []
        self.commit = self.checksum = self.facts = self.from_snapshot = 0
        self.said = Words()
        self.passed_over: list[str] = []
        self.last_prints: dict[int, tuple[int, int]] = {}
        self.extra: tuple[dict[str, node_state.Memory], dict[str, Any]] = ({}, {})
        if session.inherited is not None:
            self._inherit(session.inherited)

    def _inherit(self, past: Inherited) -> None:
        """What came before the journal's first commit."""
        slots = {each.symbol: slot for slot, each in enumerate(self.session.instruments)}
        self.said = Words.from_plain(past.said)
        self.last_prints = {slots[symbol]: each for symbol, each in past.last_prints.items()}
        if self.session.mode == "live":
            self.of_orders = past.of_orders()

    def take(self, commits: Sequence[Commit], epoch: int) -> None:
        """Handle commits of one epoch, which follow those before. ParityError where they lead to other decisions than the journal holds."""
        if not commits:
            return
        rows = join_rows([commit.rows for commit in commits])
        ends = np.cumsum([len(commit.rows) for commit in commits])
        first = 0
        for at in _alone(commits, rows, ends):
            commit = commits[at]
            if commit.number == 0:
                self._compare(commit, self.node.start())
            elif (word := _word(commit)) is not None:
                self._handle(commits[first:at])
                account = self.node.decision["accounts"][0]
                self.said.take(*word, int(account["state"]), int(account["halt_code"]))
                self._handle([commit])
            else:
                self._handle(commits[first : at + 1])
            first = at + 1
        self._handle(commits[first:])
        if self.session.mode == "live":
            self._add_of_orders(epoch, pick(rows, _IS_OF_ORDERS[rows["kind"]]))

    def _add_of_orders(self, epoch: int, rows: Rows) -> None:
        if len(rows):
            self.of_orders.append((epoch, rows))

    def _handle(self, commits: Sequence[Commit]) -> None:
        if not commits:
            return
        one = _as_one(commits)
        facts = one.facts
        self._compare(one, self.node.handle(from_outside(facts) if self.session.mode == "paper" else facts))
        self.facts += len(facts)
        self._note_prints(facts)

    def _note_prints(self, facts: Rows) -> None:
        streamed = (facts["kind"] == table.TRADE) & (facts["flags"] & FLAG_WARMUP == 0)  # History has ids of its own.
        at = np.flatnonzero(streamed)[::-1]
        slots, last = np.unique(facts["instrument"][at], return_index=True)
        for slot, place in zip(slots.tolist(), at[last].tolist(), strict=True):
            self.last_prints[slot] = int(facts["trade_id"][place]), int(facts["venue_ns"][place])

    @property
    def may_resume(self) -> bool:
        """Whether trading may go on without a person's word."""
        account = self.node.decision["accounts"][0]
        return self.said.may_resume(int(account["state"]), int(account["halt_code"]))

    def _compare(self, commit: Commit, handled: Handled) -> None:
        notes = commit.notes
        for what, then, now in (
            ("facts", commit.facts, handled.facts),
            ("requests", commit.requests, handled.requests),
            ("verdicts", pick(notes, notes["kind"] == VERDICT), handled.verdicts),
        ):
            difference = first_difference(commit.number, what, then, now)
            if difference is not None:
                raise self._otherwise(str(difference))
        hashes = notes[notes["kind"] == HASH]
        if len(hashes):  # The last one stands for those before: it is rolled on from them.
            self._compare_hash(commit.number, hashes[-1])
        self.commit, self.checksum = commit.number + 1, int(commit.seal["checksum"])

    def _compare_hash(self, number: int, row: Any) -> None:
        node = self.node
        pairs = [
            ("decisions", int(row["decisions"]), node.decisions()),
            ("hash", int(row["decision_hash"]), node.decision_hash()),
        ]
        if int(row["state_hash"]):
            pairs.append(("state hash", int(row["state_hash"]), node.state_hash()))
        for what, then, now in pairs:
            if then != now:
                raise self._otherwise(f"up to commit {number}: {what}: then {then}, now {now}")

    def _otherwise(self, what: str) -> ParityError:
        return ParityError(
            "the journal does not lead to the decisions it holds", file=self.folder, expected="every decision again", got=what,
            remedy="see `twinloop replay` for the first difference; do not go on with it",
        )  # fmt: skip

    def head(self, epoch: int, config: str, created_ns: int) -> Head:
        """Of a snapshot of the node as it is now."""
        node = self.node
        return Head(
            epoch=epoch, commit=self.commit, checksum=self.checksum, sequence=node.sequence, code=self.session.code, config=config,
            layout=node_state.layout(), state_hash=node.state_hash(), decision_hash=node.decision_hash(), decisions=node.decisions(),
            words=node_state.words_of(node) | {"said": self.said.to_plain(), "prints": [[slot, *each] for slot, each in self.last_prints.items()]},
            created_ns=created_ns,
        )  # fmt: skip

    def parts(self) -> dict[str, node_state.Memory]:
        """The memory of a snapshot of the node as it is now, to be written before it goes on."""
        self.of_orders = needed_rows([
            (epoch, join_rows([rows for each, rows in self.of_orders if each == epoch]))
            for epoch in sorted({each for each, _ in self.of_orders})
        ])  # fmt: skip
        orders = {f"orders-{epoch}": rows.view(np.uint8) for epoch, rows in self.of_orders}
        return node_state.parts_of(self.node) | orders

    def restore(self, path: Path, config: str) -> Head:
        """Take a snapshot over; TwinloopError where it is damaged or not of this session and code. The node must be new."""
        head, parts = read_snapshot(path)
        node_state.take_over(self.node, path, head, parts, config)
        try:
            self.said = Words.from_plain(head.words["said"])
            self.last_prints = {int(slot): (int(number), int(at)) for slot, number, at in head.words["prints"]}
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptError("a snapshot without what this version needs", file=path, got=repr(error)) from None
        self.commit, self.checksum, self.from_snapshot = head.commit, head.checksum, head.commit
        self.extra = parts, head.words
        self.of_orders = []
        for part in head.parts:
            if part.name.startswith("orders-"):
                self._add_of_orders(int(part.name.partition("-")[2]), parts[part.name].view(ROW))
        return head


def begin(
    folder: Path,
    session: Session,
    config: str,
    compiled: Sequence["CompiledStrategy"] | None = None,
    *,
    commits: int | None = None,
) -> Rebuilt:
    """A node from the newest snapshot that can be used, else a new one; what follows is in the journal.

    config: of the journal's header. commits: how many the journal holds, where that is known: CorruptError for a snapshot of more, since the
    journal has then lost what was there.
    """
    passed_over: list[str] = []
    for path in snapshots_of(folder):
        rebuilt = Rebuilt(session, folder, compiled)
        try:
            head = rebuilt.restore(path, config)
        except (TwinloopError, OSError) as error:
            passed_over.append(f"snapshot {path.name} is not used: {error}")
            continue
        if commits is not None and head.commit > commits:
            raise CorruptError(
                "a snapshot that is newer than its journal: the journal has lost commits", file=path, expected=f"at most {commits} commits",
                got=head.commit, remedy="do not trade on it: restore the journal's end, or reconcile and remove the snapshot",
            )  # fmt: skip
        rebuilt.passed_over = passed_over
        return rebuilt
    rebuilt = Rebuilt(session, folder, compiled)
    rebuilt.passed_over = passed_over
    return rebuilt


def _word(commit: Commit) -> tuple[int, int] | None:
    """(Kind, code) of the command in a commit; commands are alone in theirs."""
    rows = commit.rows
    words = rows[_IS_COMMAND[rows["kind"]]]
    return (int(words[0]["kind"]), int(words[0]["code"])) if len(words) else None


def _alone(commits: Sequence[Commit], rows: Rows, ends: npt.NDArray[np.int64]) -> list[int]:
    """Places of commits at which something has to be looked at: the first of all, commands, hashes of the whole state. rows: of all."""
    kinds = rows["kind"]
    marked = np.flatnonzero(_IS_COMMAND[kinds] | (kinds == HASH))
    marked = marked[_IS_COMMAND[kinds[marked]] | (rows["state_hash"][marked] != 0)]
    places = set(np.searchsorted(ends, marked, side="right").tolist())
    return sorted(places | {0} if commits[0].number == 0 else places)


def _as_one(commits: Sequence[Commit]) -> Commit:
    """Commits as if they had been sealed together: with the number and seal of the last."""
    last = commits[-1]
    return Commit(last.number, join_rows([commit.rows for commit in commits]), last.seal, last.segment)


def from_outside(facts: Rows) -> Rows:
    """The facts that came from outside: not what the simulated venue and the node's timers make themselves."""
    return pick(facts, ~_IS_MADE_AGAIN[facts["kind"]])
