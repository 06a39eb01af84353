"""A book's way from updates and a snapshot to rows, by Binance's rules: what may be given out now, what waits, what begins anew.

Updates are held, at most HOLD_ROWS, until a snapshot that is not older than the first of them; those it contains are left out. A break of
the chain, which the decoder saw and put a FEED_GAP row in front of, begins anew. This module must not decode or ask for anything.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from twinloop.data.rowfile import join_rows, pick
from twinloop.kernels import rows as table

Rows = npt.NDArray[np.void]
HOLD_ROWS: Final = 1 << 18
EMPTY: Final = np.zeros(0, table.ROW)


class BookSync:
    """One instrument's. waits: for a snapshot. futures: updates of a snapshot's own id are kept, on spot those after it.

    word: (1,) int64, where it says for compiled code whether it waits.
    """

    def __init__(self, *, futures: bool, waits: bool, word: npt.NDArray[np.int64] | None = None) -> None:
        self._word = np.zeros(1, np.int64) if word is None else word
        self.waits = waits
        self.held: list[Rows] = []
        self._first_kept = 0 if futures else 1
        self._held_rows = 0

    @property
    def waits(self) -> bool:
        """Whether it waits for a snapshot."""
        return bool(self._word[0])

    @waits.setter
    def waits(self, waits: bool) -> None:
        self._word[0] = waits

    def pass_on(self, rows: Rows) -> Rows:
        """What of a message's rows, at least one, may be given out now; the rest is held. A FEED_GAP, if any, stands first."""
        gap = int(rows["kind"][0]) == table.FEED_GAP
        if not self.waits and not gap:
            return rows
        began = self.waits
        if gap:  # What was held belongs to a chain that broke.
            self.begin_anew()
        levels = rows["kind"] == table.LEVEL
        if levels.any():
            self._hold(pick(rows, levels))
        if gap and began:  # Nobody was told that the book goes on.
            levels[0] = True
        return pick(rows, ~levels)

    def _hold(self, levels: Rows) -> None:
        self.held.append(levels)
        self._held_rows += len(levels)
        while self._held_rows > HOLD_ROWS:
            self._held_rows -= len(self.held.pop(0))

    def begin_anew(self) -> None:
        """Wait for a snapshot again."""
        self.waits = True
        self.held, self._held_rows = [], 0

    def snapshot(self, rows: Rows, oldest: int, local_ns: int) -> Rows:
        """Rows of a decoded snapshot and of the held updates that it lacks; none where it cannot be used and another is needed.

        oldest: first update id of the unbroken chain that the held updates are of.
        """
        begins = np.flatnonzero(rows["kind"] == table.SNAPSHOT_BEGIN)
        if not begins.size:
            return EMPTY
        last = int(rows["update_id"][begins[0]])
        if any(len(part) for part in self.held) and oldest > last + 1:
            return EMPTY  # Older than the first update we have.
        rows = pick(rows, rows["kind"] != table.FEED_GAP)
        lacking = [pick(part, part["sequence"] >= last + self._first_kept) for part in self.held]
        self.waits = False
        self.held, self._held_rows = [], 0
        out = join_rows([rows, *lacking])
        out["local_ns"] = local_ns
        return out
