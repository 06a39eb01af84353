"""A live Binance market connection without the connection: frames and snapshots in, rows out, and what to ask for next.

    stream = BinanceStream("binance-usdm", instruments, depth=True)
    connect to stream.url(base); for each frame: rows = stream.on_frame(frame, local_ns)
    for symbol in stream.wanting: rows = stream.on_snapshot(symbol, body of GET stream.snapshot_path(symbol), local_ns)

One compiled scanner reads the frames (binance_frames, its twin for whatever that leaves) with the rules of recorded lines, so a
recording replays to the rows it was; book_sync says when a book's rows may go out. This module must not read a clock, and nothing a
venue sends raises.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from twinloop.data import binance_codes as codes
from twinloop.data.binance_frames import NO_ROOM, NOT_OURS, FrameScanner, frame_rows
from twinloop.data.binance_frames_py import NOBODY, FrameDecoder
from twinloop.data.binance_scan_py import BadLineError
from twinloop.data.book_sync import EMPTY, BookSync, Rows
from twinloop.data.instruments import Instrument
from twinloop.data.live_turn import FrameWay
from twinloop.data.rowfile import rows_of, words_of
from twinloop.kernels import rows as table

FRAME_BYTES_MAX: Final = 1 << 24
ROOM_ROWS: Final = 1 << 12  # Of the scanner's buffer, at first.
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
# Marks and aggregated prints of USD-M stand under another path, and on a connection of their own.
_MARKET_PATH: Final = {**_STREAM_PATH, "binance-usdm": "/market/stream"}
MARKS: Final = "markPrice@1s"
Prints = Literal["trade", "aggTrade"]
_DEPTH: Final = {"binance-spot": "depth@100ms", "binance-usdm": "depth@0ms", "binance-coinm": "depth@0ms"}
_HEAD_BYTES: Final = 200
_FIRST: Final = codes.SLOTS["FIRST_UPDATE"]
_LAST: Final = codes.SLOTS["LAST_UPDATE"]
_LAST_TRADE: Final = codes.SLOTS["LAST_TRADE"]


def info_path(venue: str) -> str:
    """Where a venue tells its rules."""
    return _INFO_PATH[venue]


class BinanceStream:
    """Some instruments of one venue over one connection, or over several that are read as one.

    depth: books, with quotes beside them on demand, else quotes alone. prints: single trades, or aggregated ones. marks: mark prices and the funding they tell of, and nothing else. slots: of the instruments in the node, by place here.
    """

    def __init__(
        self,
        venue: str,
        instruments: Sequence[Instrument],
        *,
        depth: bool,
        quotes: bool = False,
        prints: Prints = "trade",
        marks: bool = False,
        slots: Sequence[int] | None = None,
        source: int = 0,
    ) -> None:
        self.venue = venue
        self._depth = depth
        kinds = ((_DEPTH[venue], *(["bookTicker"] if quotes else [])) if depth else ("bookTicker",)) + (prints,)
        if marks:
            assert not depth
            assert venue != "binance-spot"
            kinds = (MARKS,)
        self._by_path: dict[str, list[str]] = {}  # Kinds of streams.
        for kind in kinds:
            path = (_MARKET_PATH if kind in {MARKS, "aggTrade"} else _STREAM_PATH)[venue]
            self._by_path.setdefault(path, []).append(kind)
        futures = venue != "binance-spot"
        self.slots = list(range(len(instruments))) if slots is None else list(slots)
        self.symbols = [each.symbol for each in instruments]
        self._source = source
        self._states = np.zeros((len(instruments), codes.STATE_SIZE), np.int64)
        self._into(np.zeros(ROOM_ROWS, table.ROW))
        known = [
            (each.symbol, each.price_scale, each.qty_scale, slot)
            for each, slot in zip(instruments, self.slots, strict=True)
        ]
        options: dict[str, Any] = {
            "futures": futures,
            "aggregate": prints == "aggTrade",
            "source": source,
            "states": self._states,
        }
        self._scanner = FrameScanner(known, out=self._words.view(np.uint8).reshape(-1), **options)
        self._twin = FrameDecoder(known, **options)
        self._waits = np.zeros(len(instruments), np.int64)
        self._books = [
            BookSync(futures=futures, waits=depth, word=self._waits[place : place + 1])
            for place in range(len(instruments))
        ]
        self.counts: Counter[str] = Counter()
        self.place, self.kind = (
            NOBODY,
            0,
        )  # Whose the last frame was, and the kind of its first row; 0 for one without rows.
        self.closing = False  # The venue said that it will end the connection.

    def urls(self, base: str) -> list[str]:
        """Addresses of the connections that have all of it together: one, but for aggregated prints of USD-M beside a book or quotes."""
        return [
            f"{base}{path}?streams=" + "/".join(f"{symbol.lower()}@{kind}" for symbol in self.symbols for kind in kinds)
            for path, kinds in self._by_path.items()
        ]

    def url(self, base: str) -> str:
        """The address where there is one."""
        (found,) = self.urls(base)
        return found

    def snapshot_path(self, symbol: str) -> str:
        """Where to get a snapshot, behind the address of the REST interface."""
        return f"{_SNAPSHOT_PATH[self.venue]}?symbol={symbol}&limit={SNAPSHOT_LEVELS}"

    @property
    def refused(self) -> int:
        """Frames that could not be read. One that was an update breaks its chain, and that is seen."""
        return self.counts["refused"]

    @property
    def wanting(self) -> list[str]:
        """Symbols whose book waits for a snapshot and has updates to go on from."""
        return [symbol for symbol, book in zip(self.symbols, self._books, strict=True) if book.waits and book.held]

    @property
    def ready(self) -> bool:
        """Whether no book waits for a snapshot."""
        return not any(book.waits for book in self._books)

    def way(self, floors: npt.NDArray[np.int64]) -> FrameWay:
        """The compiled way of its frames to a node. floors: by place, the last print given out: its id and venue time."""
        return FrameWay(self._scanner, self._waits, floors, depth=self._depth)

    def took(self, place: int, kind: int) -> None:
        """The compiled way took a frame: whose, and the kind of its first row."""
        self.counts["frames"] += 1
        self.place, self.kind = place, kind

    def on_frame(self, frame: bytes, local_ns: int, decoded: int = -1) -> Rows:
        """Rows of a frame. Whatever it holds, nothing is raised; what cannot be read is counted.

        decoded: how many rows the compiled way has decoded of it already; -1: it has not.
        """
        self.counts["frames"] += 1
        if len(frame) > FRAME_BYTES_MAX:
            self.counts["too_long"] += 1
            return EMPTY
        if decoded >= 0:
            self.place, rows = self._scanner.place, self._copied(decoded) if decoded else EMPTY
        else:
            self.place, rows = self._decoded(frame, local_ns)
        self.kind = int(rows["kind"][0]) if len(rows) else 0
        return self._books[self.place].pass_on(rows) if self.kind and self._depth else rows

    def _decoded(self, frame: bytes, local_ns: int) -> tuple[int, Rows]:
        scanner = self._scanner
        count = scanner.scan(frame, local_ns)
        if count == NO_ROOM:
            self._make_room(frame)
            count = scanner.scan(frame, local_ns)
        if count > 0:
            return scanner.place, self._copied(count)
        if count == 0:
            return scanner.place, EMPTY
        if count == NOT_OURS:
            self.counts["other"] += 1
            return NOBODY, EMPTY
        self.counts["unusual"] += 1
        try:
            place, rows = self._twin.decode(frame, local_ns)
        except BadLineError:
            self.counts["refused"] += 1
            return NOBODY, EMPTY
        if place == NOBODY:
            self.counts["other"] += 1
            self.closing |= b'"serverShutdown"' in frame[:_HEAD_BYTES]
        return place, rows

    def decoded_of(self, place: int, text: bytes, local_ns: int) -> Rows:
        """Rows of a text of one instrument; none where it cannot be read."""
        count = self._scanner.scan_of(place, text, local_ns)
        if count == NO_ROOM:
            self._make_room(text)
            count = self._scanner.scan_of(place, text, local_ns)
        if count >= 0:
            return self._copied(count)
        self.counts["unusual"] += 1
        try:
            return self._twin.decode_of(place, text, local_ns)
        except BadLineError:
            self.counts["refused"] += 1
            return EMPTY

    def _copied(self, count: int) -> Rows:
        return rows_of(self._words[:count].copy())

    def _make_room(self, frame: bytes) -> None:
        self._into(np.zeros(2 * frame_rows(len(frame)), table.ROW))
        self._scanner.into(self._words.view(np.uint8).reshape(-1))

    def _into(self, buffer: Rows) -> None:
        self._words = words_of(buffer)

    def on_snapshot(self, symbol: str, body: bytes, local_ns: int) -> Rows:
        """Rows of a snapshot; none where it is too old or cannot be read, and another has to be asked for."""
        place = self.symbols.index(symbol)
        book = self._books[place]
        if not book.waits:
            return EMPTY
        rows = book.snapshot(self.decoded_of(place, body, local_ns), int(self._states[place, _FIRST]), local_ns)
        self.counts["snapshots" if len(rows) else "snapshots_refused"] += 1
        return rows

    def waits(self, place: int) -> bool:
        """Whether the book of an instrument waits for a snapshot."""
        return self._books[place].waits

    def last_trade(self, place: int) -> int:
        """Id of the last print; 0 before the first."""
        return int(self._states[place, _LAST_TRADE])

    def begin_anew(self, place: int | None = None) -> None:
        """Have an instrument's book wait for a snapshot again, or every book."""
        for each in range(len(self._books)) if place is None else (place,):
            self._states[each, _LAST] = 0
            if self._depth:
                self._books[each].begin_anew()
