"""A live Binance market connection without the connection: frames and snapshots in, rows out, and what to ask for next.

    stream = BinanceStream("binance-usdm", instruments, depth=True)
    connect to stream.url(base); for each frame: rows = stream.on_frame(frame, local_ns)
    for symbol in stream.wanting: rows = stream.on_snapshot(symbol, body of GET stream.snapshot_path(symbol), local_ns)

The same decoders as those of recorded files read the frames (binance_scan, its twin for whatever the scanner leaves), so a recording
replays to the rows it was. Books are synchronised by the venue's rule: updates are held, at most HOLD_ROWS, until a snapshot that
is not older than the first of them; those it contains are left out; a break of the chain is a FEED_GAP and begins anew. This module
must not read a clock, and nothing a venue sends raises.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data import binance_codes as codes
from twinloop.data import binance_scan
from twinloop.data.binance_scan_py import BadLineError, LineDecoder
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows, pick
from twinloop.kernels import rows as table

Rows = npt.NDArray[np.void]
HOLD_ROWS: Final = 1 << 18
FRAME_BYTES_MAX: Final = 1 << 24
SNAPSHOT_LEVELS: Final = 1000
_SNAPSHOT_PATH: Final = {
    "binance-spot": "/api/v3/depth",
    "binance-usdm": "/fapi/v1/depth",
    "binance-coinm": "/dapi/v1/depth",
}
_INFO_PATH: Final = {
    "binance-spot": "/api/v3/exchangeInfo",
    "binance-usdm": "/fapi/v1/exchangeInfo",
    "binance-coinm": "/dapi/v1/exchangeInfo",
}
# Depth, quotes and prints of USD-M stand under a path of their own since 2026.
_STREAM_PATH: Final = {"binance-spot": "/stream", "binance-usdm": "/public/stream", "binance-coinm": "/stream"}
_DEPTH: Final = {"binance-spot": "depth@100ms", "binance-usdm": "depth@0ms", "binance-coinm": "depth@0ms"}
_FIRST: Final = codes.SLOTS["FIRST_UPDATE"]
_EMPTY: Final = np.zeros(0, table.ROW)


def info_path(venue: str) -> str:
    """Where a venue tells its rules."""
    return _INFO_PATH[venue]


class _Book:
    """One instrument's decoder, and its book's way from updates and a snapshot to rows."""

    def __init__(self, instrument: Instrument, slot: int, source: int, *, depth: bool) -> None:
        self.instrument = instrument
        self.slot = slot
        self.state = np.zeros(codes.STATE_SIZE, np.int64)
        futures = instrument.venue != "binance-spot"
        settings: dict[str, Any] = {
            "futures": futures, "clock_offset_ns": 0, "assumed_latency_ns": 0, "instrument_slot": slot, "source": source,
            "state": self.state,
        }  # fmt: skip
        scales = (instrument.symbol, instrument.price_scale, instrument.qty_scale)
        self.scanner = binance_scan.Scanner(*scales, **settings)
        self.twin = LineDecoder(*scales, **settings)
        self.buffer = np.zeros(1 << 12, table.ROW)
        self.first_kept = 0 if futures else 1
        self.waits = depth  # For a snapshot.
        self.held: list[Rows] = []
        self.held_rows = 0
        self.fallbacks = self.refused = 0

    def decode(self, frame: bytes, local_ns: int) -> Rows:
        """Rows of a frame, in the order of its line; none for one that says nothing or cannot be read."""
        text = b"%d %b\n" % (local_ns, frame.replace(b"\n", b" ") if b"\n" in frame else frame)
        needed = len(text) // 8 + 64
        if needed > len(self.buffer):
            self.buffer = np.zeros(needed, table.ROW)
        reason, _, used = self.scanner.scan(text, 0, self.buffer.view(np.uint8), 0)
        if reason == binance_scan.END:
            return join_rows([self.buffer[:used]]) if used else _EMPTY
        self.fallbacks += 1
        try:
            return self.twin.decode(text[:-1])
        except BadLineError:
            self.refused += 1
            return _EMPTY

    def pass_on(self, rows: Rows) -> Rows:
        """What of decoded rows may be given out now; the rest is held."""
        kinds = rows["kind"]
        gaps = np.flatnonzero(kinds == table.FEED_GAP)
        if gaps.size and not self.waits:
            self.begin_anew()
            at = int(gaps[-1])
            self._hold(pick(rows[at + 1 :], rows["kind"][at + 1 :] == table.LEVEL))
            return rows[: at + 1]
        if not self.waits:
            return rows
        if gaps.size:  # What was held belongs to a chain that broke.
            self.held, self.held_rows = [], 0
            rows = rows[int(gaps[-1]) + 1 :]
            kinds = rows["kind"]
        levels = kinds == table.LEVEL
        if not levels.any():
            return rows
        self._hold(pick(rows, levels))
        return pick(rows, ~levels)

    def _hold(self, levels: Rows) -> None:
        self.held.append(levels)
        self.held_rows += len(levels)
        while self.held_rows > HOLD_ROWS:
            self.held_rows -= len(self.held.pop(0))

    def begin_anew(self) -> None:
        """Wait for a snapshot again."""
        self.waits = True
        self.held, self.held_rows = [], 0

    def snapshot(self, body: bytes, local_ns: int) -> Rows:
        """Rows of a snapshot and of the held updates that it lacks; none where it cannot be used and another is needed."""
        rows = self.decode(body, local_ns)
        begins = np.flatnonzero(rows["kind"] == table.SNAPSHOT_BEGIN)
        if not begins.size:
            return _EMPTY
        last = int(rows["update_id"][begins[0]])
        first_held = min((int(part["sequence"].min()) for part in self.held if len(part)), default=0)
        oldest = int(self.state[_FIRST])
        if first_held and oldest > last + 1:
            return _EMPTY  # Older than the first update we have.
        rows = pick(rows, rows["kind"] != table.FEED_GAP)
        lacking = [pick(part, part["sequence"] >= last + self.first_kept) for part in self.held]
        self.waits = False
        self.held, self.held_rows = [], 0
        out = join_rows([rows, *lacking])
        out["local_ns"] = local_ns
        return out


class BinanceStream:
    """Some instruments of one venue over one connection. slots: of the instruments in the node, by place here."""

    def __init__(
        self,
        venue: str,
        instruments: Sequence[Instrument],
        *,
        depth: bool,
        slots: Sequence[int] | None = None,
        source: int = 0,
    ) -> None:
        self.venue = venue
        self._depth = depth
        chosen = list(range(len(instruments))) if slots is None else list(slots)
        self._books = {
            each.symbol: _Book(each, slot, source, depth=depth) for each, slot in zip(instruments, chosen, strict=True)
        }
        # How a frame names its symbol: in the stream's name of a combined one, or as a field.
        self._marks = [
            (b'"' + symbol.lower().encode() + b"@", b'"' + symbol.encode() + b'"', book)
            for symbol, book in self._books.items()
        ]
        self.counts: Counter[str] = Counter()

    def streams(self) -> list[str]:
        """Names of the streams, as the venue calls them."""
        kinds = (_DEPTH[self.venue], "trade") if self._depth else ("bookTicker", "trade")
        return [f"{symbol.lower()}@{kind}" for symbol in self._books for kind in kinds]

    def url(self, base: str) -> str:
        """Address of the connection that has all of them."""
        return f"{base}{_STREAM_PATH[self.venue]}?streams={'/'.join(self.streams())}"

    def snapshot_path(self, symbol: str) -> str:
        """Where to get a snapshot, behind the address of the REST interface."""
        return f"{_SNAPSHOT_PATH[self.venue]}?symbol={symbol}&limit={SNAPSHOT_LEVELS}"

    @property
    def refused(self) -> int:
        """Frames that named one of the symbols and could not be read. One that was an update breaks its chain, and that is seen."""
        return sum(book.refused for book in self._books.values())

    @property
    def wanting(self) -> list[str]:
        """Symbols whose book waits for a snapshot and has updates to go on from."""
        return [symbol for symbol, book in self._books.items() if book.waits and book.held]

    @property
    def ready(self) -> bool:
        """Whether no book waits for a snapshot."""
        return not any(book.waits for book in self._books.values())

    def on_frame(self, frame: bytes, local_ns: int) -> Rows:
        """Rows of a frame. Whatever it holds, nothing is raised; what cannot be read is counted."""
        self.counts["frames"] += 1
        if len(frame) > FRAME_BYTES_MAX:
            self.counts["too_long"] += 1
            return _EMPTY
        book = self._book_of(frame)
        if book is None:
            self.counts["other"] += 1
            return _EMPTY
        rows = book.decode(frame, local_ns)
        return book.pass_on(rows) if len(rows) else rows

    def _book_of(self, frame: bytes) -> _Book | None:
        head = frame[:200]
        for name, symbol, book in self._marks:
            if name in head or symbol in head:
                return book
        return None

    def on_snapshot(self, symbol: str, body: bytes, local_ns: int) -> Rows:
        """Rows of a snapshot; none where it is too old or cannot be read, and another has to be asked for."""
        book = self._books[symbol]
        if not book.waits:
            return _EMPTY
        rows = book.snapshot(body, local_ns)
        self.counts["snapshots" if len(rows) else "snapshots_refused"] += 1
        return rows

    def on_lost(self, local_ns: int) -> Rows:
        """The connection is gone: every book breaks, every market is stale until it comes back."""
        self.counts["lost"] += 1
        rows = np.zeros(2 * len(self._books), table.ROW)
        for at, book in enumerate(self._books.values()):
            book.state[codes.SLOTS["LAST_UPDATE"]] = 0
            if self._depth:
                book.begin_anew()
            rows["kind"][2 * at : 2 * at + 2] = (table.FEED_STALE, table.FEED_GAP)
            rows["instrument"][2 * at : 2 * at + 2] = book.slot
        rows["local_ns"] = local_ns
        return rows if self._depth else pick(rows, rows["kind"] == table.FEED_STALE)

    def state_row(self, kind: int, local_ns: int) -> Rows:
        """A row of the feed's state (FEED_STALE, FEED_RECOVERED) for every instrument."""
        rows = np.zeros(len(self._books), table.ROW)
        rows["kind"], rows["local_ns"] = kind, local_ns
        rows["instrument"] = [book.slot for book in self._books.values()]
        return rows
