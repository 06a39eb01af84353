"""A node and its journal as one: what the node handled is sealed before anything that depends on it leaves.

    session = RecordedNode(node, journal)
    out = session.handle(rows)        # facts, requests and verdicts are in the journal; out.mark is the commit of out.requests
    if journal.is_safe(out.mark): ...  # now requests may be sent; cancels need not wait

The usual turn of a live session is one compiled call (data/live_turn.pyx); what stands here defines what it does, and does the rest. This
module must not send anything.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from twinloop.data.live_turn import (
    BEGUN,
    COUNT_FACTS,
    COUNT_KINDS,
    COUNT_REFUSED,
    COUNT_REQUESTS,
    COUNT_TURNS,
    COUNTS_SIZE,
    DECISIONS,
    UNUSUAL,
    LiveTurn,
)
from twinloop.data.rowfile import Rows
from twinloop.engine import crash_points
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import EMPTY, Handled, LiveNode, StrategyFailure
from twinloop.engine.live.quick import make_turn
from twinloop.engine.seam import WORLD, ReceiveClock
from twinloop.kernels.rows import CANCEL, ROW, ROW_SIZE


class Sealed(NamedTuple):
    """Requests that were sealed, as the bytes of rows, how many of them are cancels, and the mark of their commit; 0 without requests.

    left: the frame of the only request where it is sealed already that this leaves: it has to be written, and nothing else asked.
    """

    row_bytes: bytes
    cancels: int
    mark: int
    left: bytes | None = None

    @property
    def requests(self) -> Rows:
        """The requests as rows."""
        return as_rows(self.row_bytes)


NOTHING: Final = Sealed(b"", 0, 0)


def as_rows(row_bytes: bytes) -> Rows:
    """Rows, read-only, of their bytes."""
    return np.ndarray(len(row_bytes) // ROW_SIZE, ROW, row_bytes)


class RecordedNode:
    """The only way facts reach the node of a session that keeps a journal."""

    def __init__(self, node: LiveNode, journal: JournalWriter) -> None:
        self.node = node
        self.journal = journal
        node.marks[DECISIONS] = node.decisions()
        self.counts = np.zeros(
            COUNTS_SIZE, np.int64
        )  # Of what was handled; their places are named in data/live_turn.pyx.
        self._turn = make_turn(node, journal, self.counts)
        self.on_failure: Callable[[StrategyFailure], None] | None = None  # Told of each once what it led to is sealed.

    def let_leave(self, leaving: Callable[[bytes], tuple[bytes, bytes] | None]) -> None:
        """Have the departure of a turn's only request sealed with it, where a commit is safe as soon as it is made. See LiveTurn.leaving."""
        if self._turn is not None and self.journal.durability == "async":
            self._turn.leaving = leaving

    def start(self) -> Sealed:
        """Call every strategy's on_start and seal what it asked for: always the journal's first commit."""
        sealed = self.node.start()
        self.node.marks[DECISIONS] = -1
        return self._seal(sealed)

    def handle(self, rows: Rows) -> Sealed:
        """Handle facts and seal them with what followed from them. Local times that fall are made equal: time never goes back."""
        turn = self._usable_turn()
        if turn is None:
            return self._handle(rows)
        made = turn.handle(rows, WORLD.monotonic_ns(), WORLD.wall_ns())
        return self._handle(rows) if made == UNUSUAL else self._made(turn, made)

    def frames_turn(
        self, clock: ReceiveClock, *, give: Callable[[int], None], refused: Callable[[Exception], None],
    ) -> LiveTurn | None:  # fmt: skip
        """What takes the frames of a market's active leg in one call, received by this clock; None: they have to be handled as rows.

        See LiveTurn.take_frames; what `give` is told is for `given`. Asked once, of a node that is what it will be: live, or not; there is one
        such way.
        """
        turn = self._usable_turn()
        if turn is not None:
            turn.take_frames(
                monotonic_ns=clock.monotonic_ns, wall_ns=WORLD.wall_ns, ahead_ns=clock.ahead_ns, give=give, refused=refused
            )  # fmt: skip
        return turn

    def given(self, made: int) -> Sealed:
        """What a frame's turn came to."""
        assert self._turn is not None
        return self._made(self._turn, made)

    def _usable_turn(self) -> LiveTurn | None:
        return self._turn if self.node.edge == "live" and not crash_points.armed else None

    def _made(self, turn: LiveTurn, made: int) -> Sealed:
        """What a compiled turn came to; one that it began is gone on with."""
        if made == 0:
            return NOTHING
        if made == BEGUN:
            return self._handle(EMPTY, begun=turn.head)
        return Sealed(turn.requests(), turn.cancels, turn.mark, turn.left)

    def _handle(self, rows: Rows, *, begun: int | None = None) -> Sealed:
        """The twin of the compiled turn."""
        if begun is None:
            rows = _in_time(rows, int(self.node.decision["clock"]["now_ns"]))
        handled = self.node.handle(rows, begun=begun)
        sealed = self._seal(handled)
        counts = self.counts
        counts[COUNT_TURNS] += 1
        counts[COUNT_FACTS] += len(handled.facts)
        counts[COUNT_REQUESTS] += len(handled.requests)
        counts[COUNT_REFUSED] += len(handled.verdicts)
        counts[COUNT_KINDS:] += np.bincount(handled.facts["kind"], minlength=256)
        for failure in self.node.take_failures():
            if self.on_failure is not None:
                self.on_failure(failure)
        return sealed

    def note(self, rows: Rows | bytes) -> int:
        """Seal annotations, rows or their bytes: the mark."""
        turn = self._usable_turn()
        if turn is not None:
            return turn.note(rows, WORLD.monotonic_ns(), WORLD.wall_ns())
        self.journal.append(rows)
        return self._commit()

    def checkpoint(self) -> int:
        """Seal the hash of the whole state."""
        return self.note(self.node.hash_row(whole=True))

    def _seal(self, handled: Handled) -> Sealed:
        journal = self.journal
        for rows, point in (
            (handled.facts, "inbox-append"),
            (handled.requests, "outbox-append"),
            (handled.verdicts, ""),
        ):
            if len(rows):
                journal.append(rows)
                if crash_points.armed:
                    crash_points.reach(point)
        if self.node.decisions() != self.node.marks[DECISIONS]:
            self.node.marks[DECISIONS] = self.node.decisions()
            journal.append(self.node.hash_row())
        mark, requests = self._commit(), handled.requests
        return Sealed(requests.tobytes(), int((requests["kind"] == CANCEL).sum()), mark) if len(requests) else NOTHING

    def _commit(self) -> int:
        now_ns = int(self.node.decision["clock"]["now_ns"])
        if crash_points.armed:
            crash_points.reach("commit")
        mark = self.journal.commit(WORLD.monotonic_ns(), WORLD.wall_ns(), local_ns=now_ns, sequence=self.node.sequence)
        if crash_points.armed:
            crash_points.reach("committed")
        return mark


def _in_time(rows: Rows, last_ns: int) -> Rows:
    """The rows, or a copy, with local times that never fall and none before the last one."""
    local = rows["local_ns"]
    if int(local[0]) >= last_ns and (len(local) == 1 or not (np.diff(local) < 0).any()):
        return rows
    rows = rows.copy()
    rows["local_ns"] = np.maximum.accumulate(np.maximum(local, last_ns))
    return rows
