"""What a standby feed knows of one instrument, outside the node: its book, last quote and last prints, to take over from.

Fed with the rows that the feed's stream gives out. Plain dicts: a standby is never on the way of a decision. This module must not decide.
"""

from collections import deque
from typing import Final

import numpy as np

from twinloop.data.book_sync import EMPTY, Rows
from twinloop.data.rowfile import join_rows, pick
from twinloop.kernels import rows as table

PRINTS_MAX: Final = 4096  # Messages of prints remembered.


class ShadowBook:
    """One instrument's. complete: there is a whole book to take over."""

    def __init__(self) -> None:
        self.complete = False
        self._sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self._update_id = 0
        self._venue_ns = 0
        self._quote = EMPTY
        self._prints: deque[Rows] = deque(maxlen=PRINTS_MAX)

    def apply(self, rows: Rows) -> None:
        """Follow the rows of one message."""
        kind = int(rows["kind"][0])
        if kind == table.TRADE:
            self._prints.append(rows)
            return
        if kind == table.QUOTE:
            self._quote = rows
            return
        if kind not in {table.LEVEL, table.SNAPSHOT_BEGIN, table.FEED_GAP}:
            return
        if kind != table.LEVEL:
            self._sides = {1: {}, -1: {}}
            self.complete = False
        kinds = rows["kind"]
        changes = pick(rows, (kinds == table.LEVEL) | (kinds == table.SNAPSHOT_LEVEL))
        sides = self._sides
        for side, price, qty in zip(
            changes["side"].tolist(), changes["price"].tolist(), changes["qty"].tolist(), strict=True
        ):
            if qty:
                sides[side][price] = qty
            else:
                sides[side].pop(price, None)
        if kind == table.SNAPSHOT_BEGIN:
            self.complete = True
        if kind != table.FEED_GAP:
            self._update_id = int(rows["sequence"][-1])
            self._venue_ns = int(rows["venue_ns"][-1])

    def touch(self) -> tuple[int, int]:
        """Best bid and ask; 0 where there is none."""
        if len(self._quote):
            return int(self._quote["bid"][0]), int(self._quote["ask"][0])
        return max(self._sides[1], default=0), min(self._sides[-1], default=0)

    def rows(self, local_ns: int, slot: int, source: int) -> Rows:
        """The whole book as a snapshot, the last quote: what brings a node to where this feed is. Without prints."""
        if not self.complete:
            quote = self._quote.copy()
            quote["local_ns"] = local_ns
            return quote
        levels = [
            (side, price, qty)
            for side in (1, -1)
            for price, qty in sorted(self._sides[side].items(), key=lambda level: -side * level[0])
        ]
        found = np.zeros(len(levels) + 2, table.ROW)
        found["local_ns"], found["venue_ns"] = local_ns, self._venue_ns
        found["instrument"], found["source"] = slot, source
        found["sequence"] = found["update_id"] = self._update_id
        found["kind"] = table.SNAPSHOT_LEVEL
        found["kind"][0], found["kind"][-1] = table.SNAPSHOT_BEGIN, table.SNAPSHOT_END
        if levels:
            middle = found[1:-1]
            middle["side"], middle["price"], middle["qty"] = np.array(levels, np.int64).T
        return found

    def prints(self, local_ns: int) -> Rows:
        """The last prints, in order."""
        found = join_rows(list(self._prints))
        found["local_ns"] = local_ns
        return found
