"""Reader of Binance's public archive (data.binance.vision): trades, aggTrades, bookTicker and klines, to 64-byte rows.

    reader = read_archive(Path("BTCUSDT-trades-2025-01-01.zip"), instrument)
    for rows in reader: ...           # arrays of ROW by local_ns, in flat memory
    print(reader.report)

Files are CSV, plain, gzip or zip, with or without a header line; times are milliseconds or microseconds (spot since 2025),
told by their size, value by value. Numbers are read digit by digit. Every line is kept, quarantined with a code of
tables.py (and `bad_interval`: a bar that does not end after it opens), or counted as a control: header, blank lines, and
repeats of the line before by id. This module must not guess a value or fetch a file.

The archive has no receive times: local_ns = venue time + latency_ns, for quotes from the time the venue sent them. A record
up to DISORDER_NS before its neighbours keeps its place and its venue time, and its local_ns is lifted to theirs (counted);
further away it is quarantined as out of order.
A bar's venue time is its end, the first moment it does not contain; its notional is the quote volume in 1e-8 (of COIN-M the
base volume, as the archive has it). An aggregated trade has its own id as sequence and the last of its trades as trade_id.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.byte_chunks import CHUNK_BYTES, BrokenStreamError, byte_chunks
from twinloop.data.decimals import read_decimals, to_scale
from twinloop.data.errors import ConfigError, DataError, DecodeError
from twinloop.data.instruments import MONEY_SCALE, Instrument
from twinloop.data.quality import Conservation
from twinloop.data.rowfile import Rows, pick
from twinloop.data.tablechecks import NUMBER_CODES, Verdicts
from twinloop.kernels import rows as table

Integers = NDArray[np.int64]

DISORDER_NS: Final = 1_000_000_000
SPAN_NS: Final = (
    62 * 86_400_000_000_000
)  # Ticks this far from the median time around them: a file holds a month at most.
LOOK_AHEAD: Final = (
    64  # Records judged again with those of the next chunk, so that one wild time is seen for what it is.
)
LINE_BYTES_MAX: Final = 1 << 20
QUARANTINED_MAX: Final = 1000
_INT_MAX: Final = int(np.iinfo(np.int64).max)
_KLINES: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "notional", "trades", "", "", "",
)  # fmt: skip
# Columns by kind and number of fields; "" is read by nobody. The longer ones are those of spot.
_TRADE: Final = ("id", "price", "qty", "", "time", "maker")
_AGGREGATE: Final = ("id", "price", "qty", "", "last_id", "time", "maker")
_LAYOUTS: Final[Mapping[str, Mapping[int, tuple[str, ...]]]] = {
    "trades": {6: _TRADE, 7: (*_TRADE, "")},
    "aggTrades": {7: _AGGREGATE, 8: (*_AGGREGATE, "")},
    "bookTicker": {7: ("id", "bid", "bid_qty", "ask", "ask_qty", "time", "event_time")},
    "klines": {12: _KLINES},
}
KINDS: Final = tuple(_LAYOUTS)
_HEADERS: Final = ("id,", "trade_id,", "agg_trade_id,", "update_id,", "open_time,")
_NAME: Final = re.compile(r"-(trades|aggTrades|bookTicker|\d+(?:s|m|h|d|w|mo|M))-\d{4}")
_PRICES: Final = ("price", "bid", "ask", "open", "high", "low", "close")
_QTYS: Final = ("qty", "bid_qty", "ask_qty", "volume")
_TIMES: Final = ("time", "event_time", "open_time", "close_time")
_COUNTS: Final = ("id", "last_id", "trades")
# 1973 to 2255. Seconds read as milliseconds lie in 1970; nanoseconds lie beyond.
_MS_RANGE: Final = (10**11, 9 * 10**12)
_US_RANGE: Final = (10**14, 9 * 10**15)


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """One line set aside, as text. line: 1-based, in its file."""

    file: str
    line: int
    code: str
    text: str


@dataclass(slots=True)
class ArchiveReport:
    """What became of every line; complete once the last array was taken.

    control: header, blank and repeated lines; the repeated ones are `duplicates`. ids_skipped: places where ids leave
    some out. lifted: records whose local_ns was lifted to their neighbours'. broken_files: damaged archives, by reason.
    """

    files: list[str] = field(default_factory=list)
    kind: str = ""
    lines: int = 0
    kept: int = 0
    control: int = 0
    duplicates: int = 0
    ids_skipped: int = 0
    lifted: int = 0
    rows: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedLine] = field(default_factory=list)
    broken_files: dict[str, str] = field(default_factory=dict)

    @property
    def conservation(self) -> Conservation:
        """Where every line went, as the catalog takes it."""
        return Conservation(
            read=self.lines, kept=self.kept, quarantined=dict(sorted(self.quarantined.items())), control=self.control
        )


def read_archive(
    paths: Path | Sequence[Path],
    instrument: Instrument,
    *,
    kind: str | None = None,
    latency_ns: int = 0,
    instrument_slot: int = 0,
    source: int = 0,
    on_quarantine: Callable[[RefusedLine], None] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> "ArchiveReader":
    """Reader of files of one kind and instrument, in order of time.

    kind: one of KINDS; told from the archive's file names unless given. latency_ns: receive time minus venue time.
    on_quarantine: called with every line set aside. Raises ConfigError for what cannot be read that way; iterating raises
    DataError for a missing file and DecodeError for a file of another layout.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    found = {kind} if kind else {kind_of(path) for path in files}
    chosen = found.pop() if len(found) == 1 else None
    if chosen is None or chosen not in _LAYOUTS:
        raise ConfigError(
            "cannot tell what these files hold", field="kind", expected="one of " + ", ".join(KINDS), got=chosen,
            remedy="name the kind, and read one kind at a time",
        )  # fmt: skip
    if latency_ns < 0:
        raise ConfigError("latency below 0", field="latency_ns", expected="0 or more", got=latency_ns)
    if chunk_bytes < 1:
        raise ConfigError("cannot read by such chunks", field="chunk_bytes", expected="1 or more", got=chunk_bytes)
    return ArchiveReader(files, instrument, chosen, latency_ns, instrument_slot, source, on_quarantine, chunk_bytes)


def kind_of(path: Path) -> str | None:
    """Kind by the archive's file name (BTCUSDT-aggTrades-2024-08-08.zip, BTCUSDT-1m-2024-08.csv), None for others."""
    match = _NAME.search(path.name)
    if match is None:
        return None
    return match[1] if match[1] in _LAYOUTS else "klines"


class ArchiveReader:
    """Iterator over arrays of rows, with a report; made by read_archive."""

    def __init__(
        self,
        paths: list[Path],
        instrument: Instrument,
        kind: str,
        latency_ns: int,
        instrument_slot: int,
        source: int,
        on_quarantine: Callable[[RefusedLine], None] | None,
        chunk_bytes: int,
    ) -> None:
        self.report = ArchiveReport(files=[str(path) for path in paths], kind=kind)
        self._paths = paths
        self._instrument = instrument
        self._kind = kind
        self._latency_ns = latency_ns
        self._header = np.zeros(1, table.ROW)
        self._header["instrument"] = instrument_slot
        self._header["source"] = source
        self._on_quarantine = on_quarantine
        self._chunk_bytes = chunk_bytes
        self._last_id = 0
        self._last_ns = 0
        self._last_local_ns = 0
        self._cut = False  # The last line of the batch is the piece that a broken stream left.

    def __iter__(self) -> Iterator[Rows]:
        for path in self._paths:
            layout: tuple[str, ...] | None = None
            for first_line, lines, ahead in self._lines(path):
                layout = layout or self._layout(path, lines)
                rows = self._rows(path, first_line, lines, layout, ahead)
                self.report.rows += rows.size
                if rows.size:
                    yield rows

    def _lines(self, path: Path) -> Iterator[tuple[int, list[str], int]]:
        """Batches of lines: number of the first, the lines, and how many at the end will come again."""
        rest, number, waiting = b"", 1, list[str]()
        self._cut = False
        try:
            for chunk in byte_chunks(path, self._chunk_bytes):
                text, whole, rest = (rest + chunk).rpartition(b"\n")
                waiting += _text_lines(text) if whole else []
                if len(rest) > LINE_BYTES_MAX:
                    raise DecodeError("not a table", file=path, expected=f"a line feed within {LINE_BYTES_MAX} bytes")
                if len(waiting) > 4 * LOOK_AHEAD:
                    yield number, waiting, LOOK_AHEAD
                    number += len(waiting) - LOOK_AHEAD
                    waiting = waiting[-LOOK_AHEAD:]
        except BrokenStreamError as error:
            self.report.broken_files[str(path)] = str(error)
            # A cut field may still be a number: the last line's is never taken.
            self._cut = bool(rest)
        except OSError as error:
            raise DataError("cannot read", file=path, got=error.strerror) from None
        waiting += _text_lines(rest) if rest else []
        if waiting:
            yield number, waiting, 0

    def _layout(self, path: Path, lines: list[str]) -> tuple[str, ...]:
        """Columns, by the number of fields most lines have."""
        layouts = _LAYOUTS[self._kind]
        counts = Counter(line.count(",") + 1 for line in lines if line)
        usual = counts.most_common(1)[0][0] if counts else min(layouts)
        if usual not in layouts:
            raise DecodeError(
                f"not an archive of {self._kind}", file=path, expected=f"{' or '.join(map(str, layouts))} fields",
                got=usual, remedy="name the kind the file has",
            )  # fmt: skip
        return layouts[usual]

    def _rows(self, path: Path, first_line: int, lines: list[str], layout: tuple[str, ...], ahead: int) -> Rows:
        """Rows of the lines but the last `ahead`, which only help to judge them."""
        settled = len(lines) - ahead
        texts = pl.Series("line", lines, dtype=pl.String)
        control = (texts == "").to_numpy().copy()
        if first_line == 1 and lines[0].startswith(_HEADERS):
            control[0] = True
        fields = texts.str.splitn(",", len(layout) + 1).struct.unnest()
        verdicts = Verdicts(len(lines))
        verdicts.mark(control, "control")
        if self._cut:
            verdicts.mark(np.arange(len(lines)) == len(lines) - 1, "truncated")
        verdicts.mark(fields.to_series(len(layout) - 1).is_null().to_numpy(), "truncated")
        verdicts.mark(fields.to_series(len(layout)).is_not_null().to_numpy(), "extra_fields")
        columns = {name: fields.to_series(index) for index, name in enumerate(layout) if name}
        values = self._values(columns, verdicts)
        if "id" in values:
            self._repeats(values["id"], verdicts)
        venue_ns = values["close_time"] if self._kind == "klines" else values["time"]
        self._disorder(venue_ns, verdicts)
        self._account(path, first_line, texts, verdicts.code[:settled])
        kept = np.flatnonzero(verdicts.fine[:settled])
        if not kept.size:
            return np.empty(0, table.ROW)
        chosen = {name: column[kept] for name, column in values.items()}
        return self._filled(chosen, venue_ns[kept])

    def _values(self, columns: Mapping[str, pl.Series], verdicts: Verdicts) -> dict[str, Integers]:
        """Integers of all columns; what cannot be read is marked and 0."""
        found = {}
        groups = (
            (_PRICES, self._instrument.price_scale),
            (_QTYS, self._instrument.qty_scale),
            (("notional",), MONEY_SCALE),
            ((*_TIMES, *_COUNTS), 0),
        )
        for names, scale in groups:
            for name in (name for name in names if name in columns):
                limits = {"limit": _INT_MAX} if name == "notional" or name in _TIMES else {}
                numbers = to_scale(read_decimals(columns[name], **limits), scale, **limits)
                verdicts.mark_numbers(numbers.status, NUMBER_CODES)
                verdicts.mark(numbers.mantissa < 0, "negative")
                found[name] = numbers.mantissa
        unit_ns = np.ones(len(verdicts.code), np.int64)
        for name in (name for name in _TIMES if name in found):
            stamp = found[name]
            micro = (stamp >= _US_RANGE[0]) & (stamp < _US_RANGE[1])
            milli = (stamp >= _MS_RANGE[0]) & (stamp < _MS_RANGE[1])
            verdicts.mark(~micro & ~milli, "time_out_of_range")
            unit_ns = np.where(micro, 1000, 1_000_000)
            found[name] = np.where(verdicts.fine, stamp, 0) * unit_ns
        if self._kind == "klines":
            found["close_time"] += unit_ns  # The archive states the last unit inside the bar.
            found["interval"] = found["close_time"] - found["open_time"]
            verdicts.mark(found["interval"] <= 0, "bad_interval")
            verdicts.high_low(*(found[name] for name in ("open", "high", "low", "close")))
            positive: tuple[str, ...] = ("open", "high", "low", "close")
        else:
            positive = ("price",) if "price" in found else ()
        for name in positive:
            verdicts.mark(found[name] == 0, "zero_price")
        if "maker" in columns:
            text = columns["maker"].str.strip_chars().str.to_lowercase().fill_null("")
            maker = (text == "true").to_numpy()
            verdicts.mark(~maker & (text != "false").to_numpy(), "bad_side")
            found["side"] = np.where(maker, -1, 1)
        return found

    def _repeats(self, ids: Integers, verdicts: Verdicts) -> None:
        """Mark lines whose id is that of the kept line before."""
        fine = np.flatnonzero(verdicts.fine)
        before = np.concatenate(([self._last_id], ids[fine][:-1]))
        again = np.zeros(ids.size, np.bool_)
        again[fine[(ids[fine] == before) & (before > 0)]] = True
        verdicts.mark(again, "repeated")

    def _disorder(self, venue_ns: Integers, verdicts: Verdicts) -> None:
        """Mark records outside the longest run of times, but those near enough to it."""
        if self._kind != "klines" and verdicts.fine.any():
            usual = int(np.median(venue_ns[verdicts.fine] // 1000)) * 1000  # Microseconds are exact in a float64.
            verdicts.mark(np.abs(venue_ns - usual) > SPAN_NS, "time_out_of_range")
        verdicts.mark(venue_ns < self._last_ns - DISORDER_NS, "out_of_order")
        fine = verdicts.fine
        run = Verdicts(venue_ns.size)
        run.mark(~fine, "skipped")
        run.longest_run(venue_ns)
        before = np.maximum.accumulate(np.where(run.fine, venue_ns, self._last_ns))
        verdicts.mark(fine & ~run.fine & (np.abs(venue_ns - before) > DISORDER_NS), "out_of_order")

    def _account(self, path: Path, first_line: int, texts: pl.Series, codes: NDArray[np.object_]) -> None:
        report = self.report
        counts = Counter(codes.tolist())
        report.lines += codes.size
        report.kept += counts.pop("", 0)
        repeated = counts.pop("repeated", 0)
        report.duplicates += repeated
        report.control += counts.pop("control", 0) + repeated
        if not counts:
            return
        report.quarantined.update(counts)
        for index in np.flatnonzero((codes != "") & (codes != "control") & (codes != "repeated")).tolist():
            bad = RefusedLine(str(path), first_line + index, codes[index], texts[index])
            if len(report.refused) < QUARANTINED_MAX:
                report.refused.append(bad)
            if self._on_quarantine is not None:
                self._on_quarantine(bad)

    def _filled(self, values: Mapping[str, Integers], venue_ns: Integers) -> Rows:
        """Rows of kept records, and what is remembered of them."""
        sent_ns = np.maximum(venue_ns, values["event_time"]) if "event_time" in values else venue_ns
        local_ns = np.maximum.accumulate(np.maximum(sent_ns + self._latency_ns, self._last_local_ns))
        self.report.lifted += int(np.count_nonzero(local_ns > sent_ns + self._latency_ns))
        self._last_ns = max(self._last_ns, int(venue_ns.max()))
        self._last_local_ns = int(local_ns[-1])
        rows = pick(self._header, np.zeros(venue_ns.size, np.int64))
        rows["venue_ns"], rows["local_ns"] = venue_ns, local_ns
        if "id" in values:
            ids = values["id"]
            steps = np.diff(ids, prepend=self._last_id or ids[0])
            if self._kind != "bookTicker":
                self.report.ids_skipped += int(np.count_nonzero(steps > 1))
            self._last_id = int(ids[-1])
            rows["sequence"] = ids
        if self._kind == "klines":
            return self._bars(rows, values)
        if self._kind == "bookTicker":
            rows["kind"] = table.QUOTE
            names: tuple[str, ...] = ("bid", "bid_qty", "ask", "ask_qty")
        else:
            rows["kind"] = table.TRADE
            rows["trade_id"] = values.get("last_id", values["id"])
            names = ("price", "qty", "side")
        for name in names:
            rows[name] = values[name]
        return rows

    def _bars(self, heads: Rows, values: Mapping[str, Integers]) -> Rows:
        """Two rows a bar."""
        heads["kind"] = table.BAR
        rows = pick(heads, np.repeat(np.arange(heads.size), 2))
        head, tail = rows[0::2], rows[1::2]
        head["flags"], tail["flags"] = table.FLAG_CONTINUES, table.FLAG_TAIL
        for name in ("open", "high", "low", "close"):
            head[name] = values[name]
        for name, column in (("volume", "volume"), ("notional", "notional"), ("trades", "trades")):
            tail[name] = values[column]
        tail["interval_ns"] = values["interval"]
        return rows


def _text_lines(text: bytes) -> list[str]:
    """Lines as text; bytes that are not UTF-8 make their line unreadable, not its neighbours."""
    return [line.removesuffix("\r") for line in text.decode("utf-8", errors="replace").split("\n")]
