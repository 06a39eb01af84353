"""A node and its journal as one: what the node handled is sealed before anything that depends on it leaves.

    session = RecordedNode(node, journal)
    out = session.handle(rows)        # facts, requests and verdicts are in the journal; out.mark is their commit
    if journal.is_safe(out.mark): ...  # now requests may be sent; cancels need not wait

This module must not send anything.
"""

from dataclasses import dataclass

from twinloop.data.rowfile import Rows
from twinloop.engine import crash_points
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import Handled, LiveNode
from twinloop.engine.seam import WORLD


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was handled, and the mark of its commit."""

    handled: Handled
    mark: int


class RecordedNode:
    """The only way facts reach the node of a session that keeps a journal."""

    def __init__(self, node: LiveNode, journal: JournalWriter) -> None:
        self.node = node
        self.journal = journal
        self._decisions = node.decisions()

    def start(self) -> Sealed:
        """Call every strategy's on_start and seal what it asked for: always the journal's first commit."""
        sealed = self.node.start()
        self._decisions = -1
        return self._seal(sealed)

    def handle(self, rows: Rows) -> Sealed:
        """Handle facts and seal them with what followed from them."""
        return self._seal(self.node.handle(rows))

    def note(self, rows: Rows) -> int:
        """Seal annotations: the mark."""
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
        if self.node.decisions() != self._decisions:
            self._decisions = self.node.decisions()
            journal.append(self.node.hash_row())
        return Sealed(handled, self._commit())

    def _commit(self) -> int:
        now_ns = int(self.node.decision["clock"]["now_ns"])
        if crash_points.armed:
            crash_points.reach("commit")
        mark = self.journal.commit(WORLD.monotonic_ns(), WORLD.wall_ns(), local_ns=now_ns, sequence=self.node.sequence)
        if crash_points.armed:
            crash_points.reach("committed")
        return mark
