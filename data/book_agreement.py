"""Does the book built from depth updates agree with the venue's own best quotes?

After each depth update with final id u, the best bid and ask of the book must be the prices of the quote with the largest
id <= u: the venue sends both from one sequence. This module checks a recording that way; it must not repair anything, and
its book is a plain dict with heaps, so that it shares nothing with the engine's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt

from twinloop.data.rowfile import pick
from twinloop.kernels import rows as table

MISSES_MAX: Final = 100
_DEPTH_KINDS: Final = (table.LEVEL, table.SNAPSHOT_BEGIN, table.SNAPSHOT_LEVEL, table.SNAPSHOT_END, table.CLEAR)


@dataclass(frozen=True, slots=True)
class Miss:
    """A depth update after which book and quote differ; prices are scaled integers, 0 for an empty side."""

    update_id: int
    quote_id: int
    local_ns: int
    book: tuple[int, int]
    quote: tuple[int, int]


@dataclass(slots=True)
class Agreement:
    """updates checked, how many agree in both prices, and in both prices and quantities.

    unanchored: updates before the first snapshot, checked all the same if asked for. unquoted: updates older than every
    quote. crossed: updates after which the book's best bid is not below its best ask. misses: the first MISSES_MAX.
    """

    checked: int = 0
    agreed: int = 0
    agreed_with_qty: int = 0
    unanchored: int = 0
    unquoted: int = 0
    crossed: int = 0
    misses: list[Miss] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Agreed share of the checked updates; 1 when there are none."""
        return self.agreed / self.checked if self.checked else 1.0


class _Side:
    """Quantities by price, and a heap of prices that may hold some that are gone."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.qty: dict[int, int] = {}
        self.heap: list[int] = []

    def clear(self) -> None:
        self.qty.clear()
        self.heap.clear()

    def put(self, price: int, qty: int) -> None:
        if qty == 0:
            self.qty.pop(price, None)
            return
        if price not in self.qty:
            heappush(self.heap, self.sign * price)
        self.qty[price] = qty

    def best(self) -> tuple[int, int]:
        """Price and quantity, (0, 0) when empty."""
        while self.heap:
            price = self.sign * self.heap[0]
            if price in self.qty:
                return price, self.qty[price]
            heappop(self.heap)
        return 0, 0

    def compact(self) -> None:
        """Drop prices that were pushed more than once."""
        if len(self.heap) > 4 * len(self.qty) + 1024:
            self.heap = [self.sign * price for price in self.qty]
            heapify(self.heap)


@dataclass(frozen=True, slots=True)
class _Top:
    """State of the book after one update."""

    update_id: int
    local_ns: int
    bid: tuple[int, int]
    ask: tuple[int, int]
    anchored: bool


def tops(batches: Iterable[npt.NDArray[np.void]]) -> Iterator[_Top]:
    """Best bid and ask after every depth update, in the order of the rows."""
    bids, asks = _Side(-1), _Side(1)
    sides = {1: bids, -1: asks}
    anchored = False
    for batch in batches:
        depth = pick(batch, np.isin(batch["kind"], _DEPTH_KINDS))
        columns = [depth[name].tolist() for name in ("kind", "side", "price", "qty", "flags", "sequence", "local_ns")]
        for kind, side, price, qty, flags, update_id, local_ns in zip(*columns, strict=True):
            if kind in {table.SNAPSHOT_BEGIN, table.CLEAR}:
                bids.clear()
                asks.clear()
            elif kind == table.SNAPSHOT_END:
                anchored = True
            else:
                sides[side].put(price, qty)
                if flags & table.FLAG_EVENT_END:
                    yield _Top(update_id, local_ns, bids.best(), asks.best(), anchored)
        bids.compact()
        asks.compact()


def book_agreement(batches: Iterable[npt.NDArray[np.void]], *, unanchored: bool = False) -> Agreement:
    """Compare every depth update's best bid and ask with the quote of the largest id at or below it.

    batches: arrays of ROW of one instrument with LEVEL, snapshot and QUOTE rows, ids in `sequence`; quotes may come later
    than the update they belong to, so the whole recording is gone through before anything is compared (40 bytes a quote
    and a few hundred a depth update stay in memory). unanchored: check also updates before the first snapshot.
    """
    quote_columns: list[npt.NDArray[np.int64]] = []

    def watched() -> Iterator[npt.NDArray[np.void]]:
        for batch in batches:
            quotes = pick(batch, batch["kind"] == table.QUOTE)
            names = ("sequence", "bid", "bid_qty", "ask", "ask_qty")
            quote_columns.append(np.stack([quotes[name] for name in names]))
            yield batch

    found = list(tops(watched()))
    quotes = np.concatenate([np.empty((5, 0), np.int64), *quote_columns], axis=1)
    quotes = quotes[:, np.argsort(quotes[0], kind="stable")]
    at = np.searchsorted(quotes[0], np.array([top.update_id for top in found], np.int64), side="right") - 1
    result = Agreement()
    for top, index in zip(found, at.tolist(), strict=True):
        result.unanchored += not top.anchored
        if not (top.anchored or unanchored):
            continue
        if index < 0:
            result.unquoted += 1
            continue
        quote_id, bid, bid_qty, ask, ask_qty = (int(value) for value in quotes[:, index])
        result.checked += 1
        result.crossed += top.bid[0] >= top.ask[0] > 0
        if (top.bid[0], top.ask[0]) == (bid, ask):
            result.agreed += 1
            result.agreed_with_qty += (top.bid[1], top.ask[1]) == (bid_qty, ask_qty)
        elif len(result.misses) < MISSES_MAX:
            result.misses.append(Miss(top.update_id, quote_id, top.local_ns, (top.bid[0], top.ask[0]), (bid, ask)))
    return result
