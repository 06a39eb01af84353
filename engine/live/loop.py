"""One turn of a live session: facts to the node, what they caused to the journal, and only then anything to the outside.

Everything here runs in one thread with no queue in between. A failed journal stops trading at once: the node gets HALT, cancels still
leave, and the session ends. This module must not know sockets; a session's tasks call it.
"""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from twinloop.data.live_turn import COUNT_FACTS, COUNT_KINDS, COUNT_REFUSED, COUNT_REQUESTS, COUNT_TURNS
from twinloop.data.rowfile import Rows, pick
from twinloop.engine.gateway.alerts import ALERT_CODE
from twinloop.engine.journal.errors import JournalError
from twinloop.engine.live.node import LiveNode, StrategyFailure
from twinloop.engine.live.recorded import RecordedNode, Sealed, as_rows
from twinloop.engine.seam import ReceiveClock
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.rows import CANCEL, HALT, ROW, ROW_SIZE

# Codes of commands. RESUME and FLATTEN have some of the kernel's besides (kernels/codes.py).
OF_PERSON: Final = 1000  # And the person's user number; 999 where the system does not tell it.
SESSION_END: Final = -2  # The HALT with which a session ends in order: the next one may undo it, unlike anybody else's.
WARM_UP: Final = -4  # The HALT under which history is fed; the RESUME of the start ends it.
SESSION_START: Final = (
    codes.RESUME_OF_START
)  # REDUCE until every order of the session before is proven, and the RESUME that follows.
OF_ALERT: Final = -1000  # Less the alert's number: an alert asked for it, or for the RESUME once it is over.
# For so long an order or an amend waits for a slow disk; the venue takes none that is under way for longer either (GatewaySettings.window_ms).
WAIT_MAX_NS: Final = 5_000_000_000
_NONE: Final[frozenset[int]] = frozenset()
STATE_NAME: Final = {codes.ACTIVE: "ACTIVE", codes.REDUCING: "REDUCING", codes.HALTED: "HALTED"}
COMMANDS: Final = {
    "halt": table.HALT, "reduce": table.REDUCE, "resume": table.RESUME, "flatten": table.FLATTEN, "note": table.NOTE,
}  # fmt: skip


class Counts:
    """What a session did so far, for a person and for metrics: a view of words that every turn counts in."""

    def __init__(self, words: npt.NDArray[np.int64]) -> None:
        self._words = words
        self.commands = 0

    @property
    def turns(self) -> int:
        """How often facts were handled."""
        return int(self._words[COUNT_TURNS])

    @property
    def facts(self) -> int:
        """Rows that were handled."""
        return int(self._words[COUNT_FACTS])

    @property
    def requests(self) -> int:
        """Requests to the venue."""
        return int(self._words[COUNT_REQUESTS])

    @property
    def refused(self) -> int:
        """Calls that the gate warned of or refused."""
        return int(self._words[COUNT_REFUSED])

    @property
    def fills(self) -> int:
        """Fills, of two rows each."""
        return int(self._words[COUNT_KINDS + table.FILL]) // 2

    @property
    def by_kind(self) -> dict[int, int]:
        """Rows by their kind, those that occurred."""
        kinds = self._words[COUNT_KINDS:]
        return {int(kind): int(kinds[kind]) for kind in np.flatnonzero(kinds)}


class ShortWay(Protocol):
    """Who has a shorter way than `send` for plain new orders. Every other request is refused here, and then goes that one."""

    def leaving(self, row: bytes, /) -> tuple[bytes, bytes] | None:
        """What an order that is being sealed leaves as, and the row that says so, to be sealed with it. Nothing has happened yet."""

    def left(self, frame: bytes, /) -> None:
        """Both are sealed: write it."""

    def request_row(self, row: bytes, /) -> bool:
        """The same in one, for an order whose commit is safe. False: nothing was done."""


class LiveLoop:
    """A node, its journal and where requests go.

    send: takes requests whose commit is safe; cancels come as soon as they are sealed. withdraw: takes those that never leave, since they
    were cancelled, or grew old, while they waited for their commit; their refusals come as facts. fenced:
    whether this instance must not send any more. tell_failure: of a strategy that its own error has halted.
    """

    def __init__(
        self,
        recorded: RecordedNode,
        clock: ReceiveClock,
        *,
        send: Callable[[Rows], None] | None = None,
        withdraw: Callable[[Rows], None] | None = None,
        fenced: Callable[[], bool] | None = None,
        tell_failure: Callable[[StrategyFailure], None] | None = None,
    ) -> None:
        self.recorded = recorded
        self.node: LiveNode = recorded.node
        self.clock = clock
        self.counts = Counts(recorded.counts)
        self.last_word = (0, 0)  # Kind and code of the last HALT, REDUCE or FLATTEN, for a person; zeros: not known.
        self.failure = ""
        self._send = send
        self._withdraw = withdraw
        self._fenced = fenced
        self._short_way: ShortWay | None = None
        self._tell_failure = tell_failure
        self.strategy_errors: dict[int, str] = {}  # The last of each strategy, by its slot.
        recorded.on_failure = self._strategy_failed
        self._waiting: list[
            tuple[int, int, bytes]
        ] = []  # (mark, since when, mono ns, requests as the bytes of rows) in order.
        self._withdrawn: set[int] = set()  # Orders among them that are not to leave.
        self._turn = recorded.frames_turn(clock, give=self._frame_gave, refused=self._frame_refused)
        # A frame of the market's active leg in one call (LiveTurn.frame); None where there is no such way.
        self.take_frame = None if self._turn is None else self._turn.frame

    def use_short_way(self, way: ShortWay) -> None:
        """Have plain new orders leave by a shorter way than `send`."""
        self._short_way = way
        self.recorded.let_leave(way.leaving)

    def start(self) -> None:
        """Call the strategies' on_start."""
        sealed = self.recorded.start()
        self._leave(sealed)

    def take(self, rows: Rows) -> None:
        """Handle facts that just came. Their local times are set here: never falling, whatever the clock does."""
        if self.failure or not len(rows):
            return
        try:
            sealed = self.recorded.handle(rows)
        except JournalError as error:  # Also a full buffer: the node is ahead of the journal, which must not be.
            self._stop(str(error))
            return
        if sealed.mark:
            self._leave(sealed)

    def _frame_gave(self, made: int) -> None:
        """A frame's turn made requests, or is to be gone on with."""
        try:
            sealed = self.recorded.given(made)
        except JournalError as error:
            self._stop(str(error))
            return
        if sealed.mark:
            self._leave(sealed)

    def _frame_refused(self, error: Exception) -> None:
        """The journal did not take a frame's turn."""
        if not isinstance(error, JournalError):
            raise error
        self._stop(str(error))

    def _strategy_failed(self, failure: StrategyFailure) -> None:
        """The kernel has halted it and asked for its cancels: what is left is to write it down, and to tell."""
        self.strategy_errors[failure.slot] = str(failure.error)
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"], row["strategy"] = table.ALERT, self.clock.local_ns(), failure.slot
        row["alert"], row["value"] = ALERT_CODE["STRATEGY_FAILED"], failure.slot
        self.note(row)
        if self._tell_failure is not None:
            self._tell_failure(failure)

    def note(self, rows: Rows | bytes) -> None:
        """Seal annotations. A journal that fails stops trading."""
        if self.failure:
            return
        try:
            self.recorded.note(rows)
        except JournalError as error:
            self._stop(str(error))

    def tick(self) -> None:
        """Let time pass where no fact tells of it: timers, bars, samples, the session's roll."""
        if self._waiting:
            self.release()
        now_ns = max(self.clock.local_ns(), int(self.node.decision["clock"]["now_ns"]))
        if self.node.next_wake_ns() <= now_ns or self.node.edge == "paper":
            self.take(self.node.clock_row(now_ns))

    def command(
        self, name: str, code: int = 0, *, strategy: int = codes.UNASSIGNED, value: int = 0, local_ns: int = 0
    ) -> int:
        """An operator's word: a fact like any other, journalled before it acts. local_ns: of it, 0: now. Its sequence."""
        sequence = self.node.sequence
        self.counts.commands += 1
        if name not in {"note", "resume"}:
            self.last_word = COMMANDS[name], code
        row = self._operator_row(COMMANDS[name], strategy)
        row["code"], row["value"] = code, value
        if local_ns:
            row["local_ns"] = local_ns
        self.take(row)
        return sequence

    def end_trading(self) -> None:
        """Halt because the session ends; what is halted for another reason stays so, and no start undoes that."""
        if self.trading_state != "HALTED":
            self.command("halt", SESSION_END)

    def change_limit(self, instrument: int, word: int, value: int) -> int:
        """Set a limit by its word (kernels/node.py): a fact. Its sequence."""
        row = self._operator_row(table.LIMIT_CHANGE, 0)
        row["instrument"], row["limit"], row["value"] = instrument, word, value
        sequence = self.node.sequence
        self.take(row)
        return sequence

    def _operator_row(self, kind: int, strategy: int) -> Rows:
        row = np.zeros(1, ROW)
        row["local_ns"], row["kind"], row["strategy"] = self.clock.local_ns(), kind, strategy
        return row

    def _leave(self, sealed: Sealed) -> None:
        """Cancels leave now, the rest as soon as their commit is safe. An order whose cancel comes while it waits for that never leaves.

        A halt is such a cancel: no order of a session that is halted goes to the venue because a disk was slow. A cancel that was asked for
        together with its order leaves behind it, or neither does: ahead of it the gateway would know no such order, and that would go to
        work uncancelled.
        """
        if sealed.left is not None:
            assert self._short_way is not None
            self._short_way.left(sealed.left)
            return
        mark, cancelled = sealed.mark, _NONE
        if self._send is None or not mark:
            return
        if sealed.cancels == 0:
            if not self._waiting and self.recorded.journal.is_safe(mark):
                self._hand_on(sealed.row_bytes, self._send)
                return
            self._wait(mark, sealed.row_bytes)
        else:
            requests = sealed.requests
            cancels = requests["kind"] == CANCEL
            of_waiting = cancels & np.isin(requests["order_id"], self._orders_waiting())
            with_order = cancels & np.isin(requests["order_id"], _new_orders(requests))
            now = cancels & ~of_waiting & ~with_order
            if now.any():
                self._send(pick(requests, now))
                if self.failure:  # Of the journal, which was told that they left: nothing else does.
                    return
            if of_waiting.any():
                self._withdrawn.update(requests["order_id"][of_waiting].tolist())
            rest = ~now & ~of_waiting
            if rest.any():
                self._wait(mark, pick(requests, rest).tobytes())
            if with_order.any():
                cancelled = frozenset(requests["order_id"][with_order].tolist())
        self.release()
        if self._waiting and cancelled:
            self._withdrawn.update(cancelled.intersection(self._orders_waiting()))
            self.release()

    def _wait(self, mark: int, row_bytes: bytes) -> None:
        self._waiting.append((mark, self.clock.both()[1], row_bytes))

    def _refuse(self, rows: Rows) -> None:
        """Hand on what does not leave: an order's refusal answers all that was asked about it."""
        orders = [*_new_orders(rows), *self._withdrawn]
        amends = (rows["kind"] == table.AMEND) & ~np.isin(rows["order_id"], orders)
        refused = pick(rows, (rows["kind"] == table.NEW) | amends)
        if len(refused):
            assert self._withdraw is not None
            self._withdraw(refused)

    def _hand_on(self, row_bytes: bytes, send: Callable[[Rows], None]) -> None:
        """Requests leave, in order: by the short way as long as they are for it."""
        at, end = 0, len(row_bytes)
        if self._short_way is not None:
            while at < end and self._short_way.request_row(row_bytes[at : at + ROW_SIZE]):
                at += ROW_SIZE
        if at < end:
            send(as_rows(row_bytes[at:]))

    @property
    def waiting_orders(self) -> int:
        """New orders whose commit is not safe yet."""
        return len(self._orders_waiting())

    def _orders_waiting(self) -> list[int]:
        return [order_id for _, _, row_bytes in self._waiting for order_id in _new_orders(as_rows(row_bytes))]

    def release(self) -> None:
        """Send what waited for a commit that is safe now. Called when the journal says so."""
        journal = self.recorded.journal
        if journal.failure:
            self._stop(journal.failure)
            return
        late_ns = self.clock.both()[1] - WAIT_MAX_NS if self._waiting else 0
        while self._waiting and self._send is not None:
            mark, since_ns, row_bytes = self._waiting[0]
            stays = since_ns < late_ns or (self._withdrawn and self._is_withdrawn(as_rows(row_bytes)).all())
            if not stays and not journal.is_safe(mark):
                return
            self._waiting.pop(0)
            if stays:
                self._refuse(as_rows(row_bytes))
            elif self._withdrawn:
                self._hand_on_some(as_rows(row_bytes), self._send)
            else:
                self._hand_on(row_bytes, self._send)
        self._withdrawn.clear()

    def _is_withdrawn(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Of which rows the order is not to leave."""
        return np.isin(rows["order_id"], list(self._withdrawn))

    def _hand_on_some(self, rows: Rows, send: Callable[[Rows], None]) -> None:
        """Requests leave, or not, in order: the gateway takes no order behind a later one."""
        stays = self._is_withdrawn(rows)
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(stays)) + 1):
            if stays[part[0]]:
                self._refuse(pick(rows, part))
            else:
                self._hand_on(pick(rows, part).tobytes(), send)

    @property
    def is_caught_up(self) -> bool:
        """Whether every fact so far is as safe in the journal as its durability says."""
        return self.recorded.journal.is_safe(self.recorded.journal.commits)

    @property
    def fence_is_up(self) -> bool:
        """Whether the watchdog has taken this instance's right to send."""
        return self._fenced is not None and self._fenced()

    def is_fenced(self) -> bool:
        """Whether the watchdog has taken this instance's right to send; if so, trading stops here for good."""
        if self.fence_is_up:
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
        if self._turn is not None:
            self._turn.closed = True
        self._waiting.clear()
        self._withdrawn.clear()
        row = self._operator_row(HALT, codes.UNASSIGNED)
        row["local_ns"] = max(int(row["local_ns"][0]), int(self.node.decision["clock"]["now_ns"]))
        handled = self.node.handle(row)
        cancels = handled.requests["kind"] == CANCEL
        if self._send is not None and cancels.any():
            self._send(pick(handled.requests, cancels))

    @property
    def trading_state(self) -> str:
        """ACTIVE, REDUCING or HALTED, of the first account."""
        return STATE_NAME[int(self.node.decision["accounts"][0]["state"])]


def _new_orders(requests: Rows) -> list[int]:
    """Ids of the new orders among requests."""
    found: list[int] = requests["order_id"][requests["kind"] == table.NEW].tolist()
    return found
