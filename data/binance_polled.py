"""Prices that were asked for by REST because nothing streams: a book's snapshot and the last prints to rows, sans-I/O.

The last resort: what it gives keeps positions marked, and the market stays stale. Must not raise on anything a venue sends.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from twinloop.data.binance_past_trades import PastTrades
from twinloop.data.binance_stream import BinanceStream, Prints
from twinloop.data.book_sync import EMPTY, Rows
from twinloop.data.errors import DecodeError
from twinloop.data.feed_codes import POLLED
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as table

LEVELS: Final = 100


class PolledMarket:
    """Answers of one venue, of some instruments. depth: whether the node keeps books, or sees the touch only."""

    def __init__(
        self,
        venue: str,
        instruments: Sequence[Instrument],
        *,
        depth: bool,
        prints: Prints = "trade",
        slots: Sequence[int] | None = None,
    ) -> None:
        self._stream = BinanceStream(venue, instruments, depth=False, slots=slots, source=POLLED)
        self._instruments = list(instruments)
        self._depth = depth
        self._past = [
            PastTrades(venue, each, slot, POLLED, aggregated=prints == "aggTrade")
            for each, slot in zip(instruments, self._stream.slots, strict=True)
        ]
        self.refused = 0

    def paths(self, place: int) -> tuple[str, str]:
        """Where to ask for the book and the prints of an instrument."""
        symbol = self._instruments[place].symbol
        book, _, _ = self._stream.snapshot_path(symbol).rpartition("=")
        past = self._past[place]
        return f"{book}={LEVELS}", past.aggregated_path() if past.tells_aggregated else past.recent_path()

    def rows(self, place: int, book: bytes, prints: bytes, local_ns: int) -> Rows:
        """Rows of both answers, the prints first; what cannot be read gives none and is counted."""
        found = [self._print_rows(place, prints, local_ns), self._book_rows(place, book, local_ns)]
        self.refused += sum(not len(part) for part in found)
        return join_rows([part for part in found if len(part)])

    def _book_rows(self, place: int, text: bytes, local_ns: int) -> Rows:
        rows = self._stream.decoded_of(place, text, local_ns)
        if not len(rows) or int(rows["kind"][0]) != table.SNAPSHOT_BEGIN:
            return EMPTY
        if self._depth:
            return rows
        quote = np.zeros(1, table.ROW)
        for name in ("venue_ns", "local_ns", "sequence", "source", "instrument"):
            quote[name] = rows[name][0]
        quote["kind"] = table.QUOTE
        levels = rows[1:-1]
        for side, price, qty, best in ((1, "bid", "bid_qty", np.argmax), (-1, "ask", "ask_qty", np.argmin)):
            its = np.flatnonzero(levels["side"] == side)
            if its.size:
                at = its[best(levels["price"][its])]
                quote[price], quote[qty] = levels["price"][at], levels["qty"][at]
        return quote

    def _print_rows(self, place: int, text: bytes, local_ns: int) -> Rows:
        past = self._past[place]
        try:
            if not past.tells_aggregated:
                return past.recent(text, local_ns)
            found = past.aggregated(text)
        except DecodeError:
            return EMPTY
        rows = past.by_last(found, np.ones(len(found.rows), np.bool_))
        rows["local_ns"] = local_ns
        return rows
