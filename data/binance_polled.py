"""Prices that were asked for by REST because nothing streams: a book's snapshot and the last prints to rows, sans-I/O.

The last resort: what it gives keeps positions marked, and the market stays stale. Must not raise on anything a venue sends.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from twinloop.data.binance_scan_py import BadLineError, scaled
from twinloop.data.binance_stream import BinanceStream
from twinloop.data.book_sync import EMPTY, Rows
from twinloop.data.feed_codes import POLLED
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as table

LEVELS: Final = 100
PRINTS: Final = 100
_TRADES_PATH: Final = {
    "binance-spot": "/api/v3/trades",
    "binance-usdm": "/fapi/v1/trades",
    "binance-coinm": "/dapi/v1/trades",
}


class _Print(msgspec.Struct):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815 - the venue's name


class PolledMarket:
    """Answers of one venue, of some instruments. depth: whether the node keeps books, or sees the touch only."""

    def __init__(
        self, venue: str, instruments: Sequence[Instrument], *, depth: bool, slots: Sequence[int] | None = None
    ) -> None:
        self._stream = BinanceStream(venue, instruments, depth=False, slots=slots, source=POLLED)
        self._instruments = list(instruments)
        self._depth = depth
        self._prints = msgspec.json.Decoder(list[_Print])
        self.refused = 0

    def paths(self, place: int) -> tuple[str, str]:
        """Where to ask for the book and the prints of an instrument."""
        symbol = self._instruments[place].symbol
        book, _, _ = self._stream.snapshot_path(symbol).rpartition("=")
        return f"{book}={LEVELS}", f"{_TRADES_PATH[self._stream.venue]}?symbol={symbol}&limit={PRINTS}"

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
        instrument = self._instruments[place]
        try:
            found = self._prints.decode(text)
            values = [
                (each.id, each.time * 10**6, scaled(each.price, instrument.price_scale), scaled(each.qty, instrument.qty_scale),
                 -1 if each.isBuyerMaker else 1)
                for each in found if 0 < each.id < 10**18 and 0 < each.time < 9 * 10**12
            ]  # fmt: skip
        except (msgspec.MsgspecError, UnicodeDecodeError, BadLineError):
            return EMPTY
        values.sort()
        rows = np.zeros(len(values), table.ROW)
        rows["local_ns"], rows["kind"], rows["source"] = local_ns, table.TRADE, POLLED
        rows["instrument"] = self._stream.slots[place]
        for row, (number, venue_ns, price, qty, side) in zip(rows, values, strict=True):
            row["sequence"], row["trade_id"], row["venue_ns"], row["price"], row["qty"], row["side"] = (
                number, number, venue_ns, price, qty, side
            )  # fmt: skip
        return rows
