"""One turn of a live session: facts to the node, what they caused to the journal, and only then anything to the outside.

Everything here runs in one thread with no queue in between. A failed journal stops trading at once: the node gets HALT, cancels still
leave, and the session ends. This module must not know sockets; a session's tasks call it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from twinloop.data.rowfile import Rows, pick
from twinloop.engine.journal.errors import JournalError
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.seam import ReceiveClock
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.rows import CANCEL, HALT, ROW

# Codes of commands. RESUME and FLATTEN have some of the kernel's besides (kernels/codes.py).
OF_PERSON: Final = 1000  # And the person's user number; 999 where the system does not tell it.
SESSION_END: Final = -2  # The HALT with which a session ends in order: the next one may undo it, unlike anybody else's.
WARM_UP: Final = -3  # The HALT under which history is fed; the RESUME of the start ends it.
SESSION_START: Final = (
    codes.RESUME_OF_START
)  # REDUCE until every order of the session before is proven, and the RESUME that follows.
OF_ALERT: Final = -1000  # Less the alert's number: an alert asked for it, or for the RESUME once it is over.
STATE_NAME: Final = {codes.ACTIVE: "ACTIVE", codes.REDUCING: "REDUCING", codes.HALTED: "HALTED"}
COMMANDS: Final = {
    "halt": table.HALT, "reduce": table.REDUCE, "resume": table.RESUME, "flatten": table.FLATTEN, "note": table.NOTE,
}  # fmt: skip


@dataclass
class Counts:
    """What a session did so far, for a person and for metrics. Changed once a turn."""

    turns: int = 0
    facts: int = 0
    requests: int = 0
    refused: int = 0
    fills: int = 0
    commands: int = 0
    by_kind: dict[int, int] = field(default_factory=dict)


class LiveLoop:
    """A node, its journal and where requests go.

    send: takes requests whose commit is safe; cancels come as soon as they are sealed. on_turn: called after every turn. fenced: whether
    this instance must not send any more.
    """

    def __init__(
        self,
        recorded: RecordedNode,
        clock: ReceiveClock,
        *,
        send: Callable[[Rows], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        fenced: Callable[[], bool] | None = None,
    ) -> None:
        self.recorded = recorded
        self.node: LiveNode = recorded.node
        self.clock = clock
        self.counts = Counts()
        self.failure = ""
        self._send = send
        self._on_turn = on_turn
        self._fenced = fenced
        self._waiting: list[tuple[int, Rows]] = []  # (mark, requests) in order.
        self._mark = 0  # Of the newest commit with facts.

    def start(self) -> None:
        """Call the strategies' on_start."""
        sealed = self.recorded.start()
        self._leave(sealed.mark, sealed.handled.requests)

    def take(self, rows: Rows) -> None:
        """Handle facts that just came. Their local times are set here: never falling, whatever the clock does."""
        if self.failure or not len(rows):
            return
        last = int(self.node.decision["clock"]["now_ns"])
        local = rows["local_ns"]
        if int(local[0]) < last or (len(local) > 1 and (np.diff(local) < 0).any()):
            rows = rows.copy()
            rows["local_ns"] = np.maximum.accumulate(np.maximum(local, last))
        try:
            sealed = self.recorded.handle(rows)
        except JournalError as error:  # Also a full buffer: the node is ahead of the journal, which must not be.
            self._stop(str(error))
            return
        handled, self._mark = sealed.handled, sealed.mark
        counts = self.counts
        counts.turns += 1
        counts.facts += len(handled.facts)
        counts.requests += len(handled.requests)
        counts.refused += len(handled.verdicts)
        for kind, number in zip(*np.unique(handled.facts["kind"], return_counts=True), strict=True):
            counts.by_kind[int(kind)] = counts.by_kind.get(int(kind), 0) + int(number)
        counts.fills = counts.by_kind.get(table.FILL, 0) // 2
        self._leave(sealed.mark, handled.requests)
        if self._on_turn is not None:
            self._on_turn()

    def note(self, rows: Rows) -> None:
        """Seal annotations. A journal that fails stops trading."""
        if self.failure:
            return
        try:
            self.recorded.note(rows)
        except JournalError as error:
            self._stop(str(error))

    def tick(self) -> None:
        """Let time pass where no fact tells of it: timers, bars, samples, the session's roll."""
        now_ns = max(self.clock.local_ns(), int(self.node.decision["clock"]["now_ns"]))
        if self.node.next_wake_ns() <= now_ns or self.node.edge == "paper":
            self.take(self.node.clock_row(now_ns))

    def command(
        self, name: str, code: int = 0, *, strategy: int = codes.UNASSIGNED, value: int = 0, local_ns: int = 0
    ) -> int:
        """An operator's word: a fact like any other, journalled before it acts. local_ns: of it, 0: now. Its sequence."""
        sequence = self.node.sequence
        self.counts.commands += 1
        row = self._operator_row(COMMANDS[name], code, strategy)
        row["value"] = value
        if local_ns:
            row["local_ns"] = local_ns
        self.take(row)
        return sequence

    def end_trading(self) -> None:
        """Halt because the session ends; what is halted for another reason stays so, and no start undoes that."""
        if self.trading_state != "HALTED":
            self.command("halt", SESSION_END)

    def change_limit(self, instrument: int, word: int, value: int, *, strategy: int = 0, code: int = 0) -> int:
        """Set a limit by its word (kernels/node.py): a fact. Its sequence."""
        row = self._operator_row(table.LIMIT_CHANGE, code, strategy)
        row["instrument"], row["limit"], row["value"] = instrument, word, value
        sequence = self.node.sequence
        self.counts.commands += 1
        self.take(row)
        return sequence

    def _operator_row(self, kind: int, code: int, strategy: int) -> Rows:
        row = np.zeros(1, ROW)
        row["local_ns"], row["kind"], row["strategy"] = self.clock.local_ns(), kind, strategy
        if kind != table.LIMIT_CHANGE:
            row["code"] = code
        return row

    def _leave(self, mark: int, requests: Rows) -> None:
        """Cancels leave now, the rest as soon as their commit is safe."""
        if self._send is None or not len(requests):
            return
        cancels = requests["kind"] == CANCEL
        if cancels.any():
            self._send(pick(requests, cancels))
        if not cancels.all():
            self._waiting.append((mark, pick(requests, ~cancels)))
        self.release()

    def release(self) -> None:
        """Send what waited for a commit that is safe now. Called when the journal says so."""
        journal = self.recorded.journal
        if journal.failure:
            self._stop(journal.failure)
            return
        while self._waiting and journal.is_safe(self._waiting[0][0]):
            _, requests = self._waiting.pop(0)
            if self._send is not None:
                self._send(requests)

    @property
    def is_caught_up(self) -> bool:
        """Whether every fact so far is as safe in the journal as its durability says."""
        return self.recorded.journal.is_safe(self._mark)

    def is_fenced(self) -> bool:
        """Whether the watchdog has taken this instance's right to send; if so, trading stops here for good."""
        if self._fenced is not None and self._fenced():
            self._stop(
                "the watchdog fenced this instance: it was mute for too long, and its orders are being cancelled"
            )
            return True
        return False

    def _stop(self, reason: str) -> None:
        """Without a journal no order leaves any more. Cancels do: they are asked for here and are in no journal."""
        if self.failure:
            return
        self.failure = reason
        self._waiting.clear()
        row = self._operator_row(HALT, 0, codes.UNASSIGNED)
        row["local_ns"] = max(int(row["local_ns"][0]), int(self.node.decision["clock"]["now_ns"]))
        handled = self.node.handle(row)
        cancels = handled.requests["kind"] == CANCEL
        if self._send is not None and cancels.any():
            self._send(pick(handled.requests, cancels))
        if self._on_turn is not None:
            self._on_turn()

    @property
    def trading_state(self) -> str:
        """ACTIVE, REDUCING or HALTED, of the first account."""
        return STATE_NAME[int(self.node.decision["accounts"][0]["state"])]
