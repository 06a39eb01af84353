"""Reader of recorded Binance market streams: files of `<local receive time> <JSON>` lines to 64-byte rows.

    reader = read_raw([first_day, second_day], instrument)
    for rows in reader: ...            # arrays of ROW in order of receipt, in flat memory
    print(reader.report.as_dict())     # what was kept, set aside and found, to be read after the last array

Every line is kept, quarantined with a code, or counted as a control; nothing is dropped silently. The module must not
know catalogs or strategies, and never repairs a price.

Rules, beside those of `binance_scan_py` which defines what a line means:

- Clock: the recorder's clock may lag the venue's. Unless given, the offset is found by a first pass: the smallest number
  that, added to every receive time, leaves no latency below 0 (`estimate_clock_offset`). It is constant over the files.
- Lines without venue time (spot quotes and snapshots): venue_ns = corrected receive time - median latency of the trades
  (of all timed messages where there are no trades), counted as `untimed` in the report.
- Snapshot: it arrives after the first depth updates. With snapshot="synchronise" all rows before the first snapshot wait
  for it (at most HOLD_NS or HOLD_ROWS, then the stream goes on without one); updates that it already contains are left
  out and counted as superseded; those it does not contain follow it, with its receive time, counted as replayed. A later
  snapshot is followed by copies of the updates it lacks. With snapshot="as_received" rows stand in order of the lines.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from twinloop.data import binance_codes as codes
from twinloop.data import binance_scan
from twinloop.data.binance_scan_py import BadLineError, LineDecoder
from twinloop.data.byte_chunks import CHUNK_BYTES, BrokenStreamError, byte_chunks
from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import Instrument
from twinloop.data.quality import OTHER_SYMBOL, Conservation
from twinloop.data.rowfile import join_rows, pick, words_of
from twinloop.kernels import rows as table

Market = Literal["spot", "usdm", "coinm"]
Rows = npt.NDArray[np.void]

MARKETS: Final[dict[str, Market]] = {"binance-spot": "spot", "binance-usdm": "usdm", "binance-coinm": "coinm"}
HOLD_NS: Final = 30_000_000_000
HOLD_ROWS: Final = 1 << 18
RECENT_ROWS: Final = 1 << 17  # Depth rows remembered for a later snapshot.
LINE_BYTES_MAX: Final = 1 << 24
QUARANTINED_MAX: Final = 1000  # Lines held by a report; all of them are counted and go to on_quarantine.
SYMBOLS_NAMED: Final = 5  # Of the symbols that a file has instead of the one asked for.
_SYMBOL: Final = re.compile(rb'"s":"([A-Z0-9_]{1,30})"')
_FUTURES_DEPTH: Final = b'"pu":'
_TIMED_KINDS: Final = (table.TRADE, table.QUOTE, table.LEVEL, table.SNAPSHOT_BEGIN)
_LATENCY_BIN_NS: Final = 100_000
_LATENCY_BINS: Final = 200_001
_SLOT: Final = codes.SLOTS


@dataclass(frozen=True, slots=True)
class QuarantinedLine:
    """One line set aside, as it was read. line: 1-based, in its file."""

    file: str
    line: int
    code: str
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What was added to local receive times, and the latencies that leaves.

    offset_ns: >= 0; 0 where no receive time lies before its venue time. latency_median_ns: of trades, to 0.1 ms.
    messages: how many stated a venue time.
    """

    offset_ns: int
    latency_min_ns: int
    latency_median_ns: int
    messages: int


@dataclass(slots=True)
class ReadReport:
    """What a reader found; complete once its last array was taken.

    lines == kept + quarantined + sum(controls). controls: lines that carry no market fact, by reason; superseded are
    depth updates that a snapshot already contained. rows: by kind, as given out. replayed_rows: level rows moved or
    copied behind a snapshot. findings: see binance_codes. anchored: a snapshot was seen before HOLD_NS had passed.
    """

    files: list[str] = field(default_factory=list)
    lines: int = 0
    kept: int = 0
    quarantined: int = 0
    controls: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    quarantined_by_code: dict[str, int] = field(default_factory=dict)
    quarantined_lines: list[QuarantinedLine] = field(default_factory=list)
    broken_files: dict[str, str] = field(default_factory=dict)
    clock: ClockOffset = ClockOffset(0, 0, 0, 0)
    assumed_latency_ns: int = -1
    superseded_rows: int = 0
    replayed_rows: int = 0
    anchored: bool = False
    first_local_ns: int = 0
    last_local_ns: int = 0
    first_venue_ns: int = 0
    last_venue_ns: int = 0

    @property
    def conservation(self) -> Conservation:
        """Where every line went, as the catalog takes it."""
        return Conservation(
            read=self.lines,
            kept=self.kept,
            quarantined=self.quarantined_by_code,
            control=sum(self.controls.values()),
            controls={reason: count for reason, count in self.controls.items() if count},
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and names, for a manifest or a quality report; quarantined lines without their bytes."""
        found = {name: getattr(self, name) for name in self.__slots__ if name not in {"quarantined_lines", "clock"}}
        found["clock"] = {name: getattr(self.clock, name) for name in self.clock.__slots__}
        found["quarantined_lines"] = [
            {"file": bad.file, "line": bad.line, "code": bad.code, "reason": bad.reason}
            for bad in self.quarantined_lines
        ]
        return found


def read_raw(
    paths: Path | Sequence[Path],
    instrument: Instrument,
    *,
    market: Market | None = None,
    clock_offset_ns: int | None = None,
    assumed_latency_ns: int | None = None,
    snapshot: Literal["synchronise", "as_received"] = "synchronise",
    instrument_slot: int = 0,
    source: int = 0,
    on_quarantine: Callable[[QuarantinedLine], None] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> "RawReader":
    """Reader of one instrument's lines in one or more files, which continue each other in the order given.

    market: taken from the instrument's venue unless given. clock_offset_ns, assumed_latency_ns: estimated by a first pass
    over the files unless given. on_quarantine: called with every line set aside. chunk_bytes: text decoded at a time.
    Iterate once; DataError for a missing file, ConfigError for an unknown market.
    """
    return RawReader(
        [paths] if isinstance(paths, Path) else list(paths),
        instrument,
        market=market,
        clock_offset_ns=clock_offset_ns,
        assumed_latency_ns=assumed_latency_ns,
        snapshot=snapshot,
        instrument_slot=instrument_slot,
        source=source,
        on_quarantine=on_quarantine,
        chunk_bytes=chunk_bytes,
    )


def estimate_clock_offset(
    paths: Path | Sequence[Path],
    instrument: Instrument,
    *,
    market: Market | None = None,
    kinds: Sequence[int] = _TIMED_KINDS,
) -> ClockOffset:
    """Constant to add to receive times so that the smallest latency of the messages of these kinds is not negative.

    kinds: row kinds that count (a snapshot by SNAPSHOT_BEGIN); mark prices never do, they state no time of their own
    making. The rule is that of hftbacktest's `correct_local_timestamp`, which sees depth, snapshot and trades only.
    """
    reader = read_raw(
        paths, instrument, market=market, clock_offset_ns=0, assumed_latency_ns=-1, snapshot="as_received"
    )
    smallest, messages = np.iinfo(np.int64).max, 0
    centre: int | None = None
    bins = {True: np.zeros(_LATENCY_BINS, np.int64), False: np.zeros(_LATENCY_BINS, np.int64)}
    for batch in reader:
        counted = np.isin(batch["kind"], kinds) & (batch["venue_ns"] != 0)
        # One latency a message: of depth updates the last row, whose flag says so.
        counted &= (batch["kind"] != table.LEVEL) | (batch["flags"] & table.FLAG_EVENT_END != 0)
        timed = pick(batch, counted)
        if not timed.size:
            continue
        latency_ns = timed["local_ns"] - timed["venue_ns"]
        smallest = min(smallest, int(latency_ns.min()))
        messages += timed.size
        centre = int(latency_ns[0]) if centre is None else centre
        index = np.clip((latency_ns - centre) // _LATENCY_BIN_NS + _LATENCY_BINS // 2, 0, _LATENCY_BINS - 1)
        for is_trade in (True, False):
            chosen = index[(timed["kind"] == table.TRADE) == is_trade]
            bins[is_trade] += np.bincount(chosen, minlength=_LATENCY_BINS)
    if centre is None:
        return ClockOffset(0, 0, 0, 0)
    offset_ns = max(0, -smallest)
    chosen = bins[True] if bins[True].any() else bins[False]
    middle = int(np.searchsorted(np.cumsum(chosen), (chosen.sum() + 1) // 2))
    median_ns = centre + (middle - _LATENCY_BINS // 2) * _LATENCY_BIN_NS + _LATENCY_BIN_NS // 2
    return ClockOffset(offset_ns, smallest + offset_ns, max(median_ns + offset_ns, 0), messages)


class RawReader:
    """Iterator over arrays of rows, with a report; made by read_raw."""

    def __init__(
        self,
        paths: list[Path],
        instrument: Instrument,
        *,
        market: Market | None,
        clock_offset_ns: int | None,
        assumed_latency_ns: int | None,
        snapshot: Literal["synchronise", "as_received"],
        instrument_slot: int,
        source: int,
        on_quarantine: Callable[[QuarantinedLine], None] | None,
        chunk_bytes: int,
    ) -> None:
        market = market or MARKETS.get(instrument.venue)
        if market is None or market not in MARKETS.values():
            raise ConfigError(
                "cannot tell the Binance market", field="market", expected="spot, usdm or coinm",
                got=market or instrument.venue, remedy="name it, or use an instrument of a Binance venue",
            )  # fmt: skip
        if not instrument.symbol.isascii():
            raise ConfigError("cannot read this symbol", field="symbol", expected="ASCII", got=instrument.symbol)
        if chunk_bytes < 1:
            raise ConfigError("cannot read by such chunks", field="chunk_bytes", expected=">= 1", got=chunk_bytes)
        self.report = ReadReport(files=[str(path) for path in paths])
        self._paths = paths
        self._on_quarantine = on_quarantine
        self._chunk_bytes = chunk_bytes
        self._symbol, self._futures = instrument.symbol, market != "spot"
        self._quarantined: Counter[str] = Counter()
        self._settle_clock(instrument, market, clock_offset_ns, assumed_latency_ns)
        self._state = np.zeros(codes.STATE_SIZE, np.int64)
        settings: dict[str, Any] = {
            "futures": market != "spot",
            "clock_offset_ns": self.report.clock.offset_ns,
            "assumed_latency_ns": self.report.assumed_latency_ns,
            "instrument_slot": instrument_slot,
            "source": source,
            "state": self._state,
        }
        scales = (instrument.symbol, instrument.price_scale, instrument.qty_scale)
        self._scanner = binance_scan.Scanner(*scales, **settings)
        self._twin = LineDecoder(*scales, **settings)
        self._buffer = np.zeros(max(CHUNK_BYTES, chunk_bytes) // 16 + 64, table.ROW)
        self._snapshots = (
            _SnapshotOrder(self.report, first_kept=1 if market == "spot" else 0) if snapshot == "synchronise" else None
        )
        self._kinds = np.zeros(256, np.int64)

    def _settle_clock(
        self, instrument: Instrument, market: Market, clock_offset_ns: int | None, assumed_latency_ns: int | None
    ) -> None:
        clock = ClockOffset(clock_offset_ns or 0, 0, 0, 0)
        if clock_offset_ns is None or assumed_latency_ns is None:
            estimate = estimate_clock_offset(self._paths, instrument, market=market)
            shift_ns = 0 if clock_offset_ns is None else clock_offset_ns - estimate.offset_ns
            clock = ClockOffset(
                estimate.offset_ns + shift_ns,
                estimate.latency_min_ns + shift_ns,
                max(estimate.latency_median_ns + shift_ns, 0),
                estimate.messages,
            )
        self.report.clock = clock
        self.report.assumed_latency_ns = clock.latency_median_ns if assumed_latency_ns is None else assumed_latency_ns

    def __iter__(self) -> Iterator[Rows]:
        for batch in self._ordered():
            if batch.size:
                self._note(batch)
                yield batch
        self._close_report()
        self._require_own_lines()
        self._require_own_market()

    def _require_own_lines(self) -> None:
        """Raise DataError where the files speak of other symbols only: a snapshot, which names none, proves nothing."""
        report = self.report
        others = report.controls[OTHER_SYMBOL]
        if not others or report.kept > report.messages["snapshot"]:
            return
        names = sorted({name.decode() for name in _SYMBOL.findall(self._first_bytes())})
        raise DataError(
            "recorded from another symbol", file=", ".join(report.files), field="instrument", expected=f"lines of {self._symbol}",
            got=f"none in {report.lines}, {others} of {', '.join(names[:SYMBOLS_NAMED]) or 'others'}",
            remedy="name the instrument that was recorded",
        )  # fmt: skip

    def _require_own_market(self) -> None:
        """Raise DataError where a futures' recording is read as spot: its quotes and prints would pass, its book would be missing."""
        report = self.report
        if (
            self._futures
            or not report.quarantined
            or report.messages["depth"]
            or _FUTURES_DEPTH not in self._first_bytes()
        ):
            return
        raise DataError(
            "recorded from a futures market", file=", ".join(report.files), field="instrument", expected="lines of the spot market",
            got="depth updates with the id of the update before them, which only futures have",
            remedy="name the instrument of the market that was recorded",
        )  # fmt: skip

    def _first_bytes(self) -> bytes:
        try:
            return next(byte_chunks(self._paths[0], self._chunk_bytes), b"")
        except BrokenStreamError:
            return b""

    def _ordered(self) -> Iterator[Rows]:
        for path in self._paths:
            for batch in self._file(path):
                yield batch if self._snapshots is None else self._snapshots.push(batch)
        if self._snapshots is not None:
            yield self._snapshots.flush()

    def _file(self, path: Path) -> Iterator[Rows]:
        """Rows in order of the lines of one file."""
        first_line = int(self._state[_SLOT["LINES"]])
        carry = b""
        skipping = False
        try:
            for chunk in byte_chunks(path, self._chunk_bytes):
                text = carry + chunk if carry else chunk
                if skipping:
                    end = text.find(b"\n") + 1
                    text, skipping = text[end:] if end else b"", end == 0
                end = text.rfind(b"\n") + 1
                yield from self._decode(path, first_line, text, end)
                carry = text[end:]
                if len(carry) > LINE_BYTES_MAX:
                    reason = f"expected a line feed within {LINE_BYTES_MAX} bytes"
                    self._refuse(path, first_line, carry[:4096], codes.LINE_TOO_LONG, reason)
                    carry, skipping = b"", True
        except BrokenStreamError as error:
            self.report.broken_files[str(path)] = str(error)
        except OSError as error:
            raise DataError("cannot read", file=path, got=error.strerror) from None
        if carry:
            yield from self._decode(path, first_line, carry + b"\n", len(carry) + 1)

    def _decode(self, path: Path, first_line: int, text: bytes, end: int) -> Iterator[Rows]:
        """Rows of the whole lines in text[:end]."""
        position = used = 0
        while True:
            octets = self._buffer.view(np.uint8)
            reason, position, used = self._scanner.scan(text, position, octets, used)
            if reason == binance_scan.END:
                break
            stop = text.index(b"\n", position)
            if reason == binance_scan.LINE:
                found = self._fallback(path, first_line, text[position:stop])
                position = stop + 1
            else:
                found = np.empty(0, table.ROW)
            if reason == binance_scan.FULL or used + found.size > self._buffer.size:
                if used:
                    yield join_rows([self._buffer[:used]])
                    used = 0
                needed = max(found.size, (stop - position) // 8 + 8)
                if needed > self._buffer.size:
                    self._buffer = np.zeros(needed, table.ROW)
            words_of(self._buffer)[used : used + found.size] = words_of(found)
            used += found.size
        assert position == end
        if used:
            yield join_rows([self._buffer[:used]])

    def _fallback(self, path: Path, first_line: int, line: bytes) -> Rows:
        """Rows of a line that the scanner left; none when it is set aside."""
        self._state[_SLOT["FALLBACK"]] += 1
        try:
            return self._twin.decode(line)
        except BadLineError as error:
            self._note_quarantined(path, first_line, line, error.code, error.reason)
            return np.empty(0, table.ROW)

    def _refuse(self, path: Path, first_line: int, line: bytes, code: str, reason: str) -> None:
        """Set aside a line no decoder saw."""
        self._state[_SLOT["LINES"]] += 1
        self._state[_SLOT["QUARANTINED"]] += 1
        self._note_quarantined(path, first_line, line, code, reason)

    def _note_quarantined(self, path: Path, first_line: int, line: bytes, code: str, reason: str) -> None:
        if str(path) in self.report.broken_files:
            code = codes.TRUNCATED_FILE
        number = int(self._state[_SLOT["LINES"]]) - first_line
        bad = QuarantinedLine(str(path), number, code, reason, line)
        self._quarantined[code] += 1
        if len(self.report.quarantined_lines) < QUARANTINED_MAX:
            self.report.quarantined_lines.append(bad)
        if self._on_quarantine is not None:
            self._on_quarantine(bad)

    def _note(self, batch: Rows) -> None:
        """Count what is given out."""
        report = self.report
        self._kinds += np.bincount(batch["kind"], minlength=256)
        if report.first_local_ns == 0:
            report.first_local_ns = int(batch["local_ns"][0])
            report.first_venue_ns = int(batch["venue_ns"][0])
        report.last_local_ns = int(batch["local_ns"][-1])
        report.last_venue_ns = int(batch["venue_ns"][-1])

    def _close_report(self) -> None:
        report, state = self.report, self._state
        superseded = report.controls.get("superseded", 0)
        report.lines = int(state[_SLOT["LINES"]])
        report.kept = int(state[_SLOT["KEPT"]]) - superseded
        report.quarantined = int(state[_SLOT["QUARANTINED"]])
        report.controls = {name.lower(): int(state[_SLOT[name]]) for name in codes.CONTROLS} | {
            "superseded": superseded
        }
        report.messages = {name.lower(): int(state[_SLOT[name]]) for name in codes.MESSAGES}
        report.findings = {name.lower(): int(state[_SLOT[name]]) for name in codes.FINDINGS}
        report.rows = {table.KIND_NAME[kind]: count for kind, count in enumerate(self._kinds.tolist()) if count}
        report.quarantined_by_code = dict(sorted(self._quarantined.items()))


class _SnapshotOrder:
    """Puts depth updates and snapshots into the order in which a book can take them; see the module's rules.

    first_kept: what is added to a snapshot's id to give the first final update id it lacks (futures 0, spot 1).
    """

    def __init__(self, report: ReadReport, first_kept: int) -> None:
        self._report = report
        self._first_kept = first_kept
        self._held: list[Rows] | None = []
        self._held_rows = 0
        self._recent: deque[Rows] = deque()
        self._recent_rows = 0
        self._skip_below = 0

    def push(self, batch: Rows) -> Rows:
        """Rows that can be given out now; empty while the first snapshot is awaited."""
        if self._held is None:
            return self._flow(batch)
        self._held.append(batch)
        self._held_rows += batch.size
        has_snapshot = bool((batch["kind"] == table.SNAPSHOT_BEGIN).any())
        waited_ns = int(batch["local_ns"][-1]) - int(self._held[0]["local_ns"][0])
        if has_snapshot or waited_ns > HOLD_NS or self._held_rows > HOLD_ROWS:
            return self._release(anchored=has_snapshot)
        return batch[:0]

    def flush(self) -> Rows:
        """Rows still held at the end."""
        return np.empty(0, table.ROW) if self._held is None else self._release(anchored=False)

    def _release(self, *, anchored: bool) -> Rows:
        assert self._held is not None
        batch = join_rows(self._held)
        self._held = None
        if not anchored:
            return self._flow(batch)
        self._report.anchored = True
        begin = int(np.argmax(batch["kind"] == table.SNAPSHOT_BEGIN))
        before, after = batch[:begin], batch[begin:]
        depth = (before["kind"] == table.LEVEL) | (before["kind"] == table.FEED_GAP)
        # The chain is broken only where a gap lies after what the snapshot contains.
        lacking = depth & (before["sequence"] >= int(after["update_id"][0]) + self._first_kept)
        self._supersede(pick(before, depth & ~lacking))
        self._remember(pick(before, lacking))
        return join_rows([pick(before, ~depth), self._flow(after, moved=True)])

    def _flow(self, batch: Rows, *, moved: bool = False) -> Rows:
        """Rows of a running stream; moved: the remembered updates were not given out yet."""
        parts = []
        while True:
            begins = np.flatnonzero(batch["kind"] == table.SNAPSHOT_BEGIN)
            if not begins.size:
                parts.append(self._past(batch))
                break
            begin = int(begins[0])
            end = begin + int(np.argmax(batch["kind"][begin:] == table.SNAPSHOT_END)) + 1
            parts += [self._past(batch[:begin]), batch[begin:end]]
            self._skip_below = int(batch["update_id"][begin]) + self._first_kept
            lacking = self._recall(self._skip_below, batch[end - 1], moved=moved)
            parts.append(lacking)
            batch, moved = batch[end:], False
        return parts[0] if len(parts) == 1 else join_rows(parts)

    def _past(self, batch: Rows) -> Rows:
        """Rows without the updates the last snapshot already contains; what is left of depth is remembered."""
        if self._skip_below:
            levels = batch["kind"] == table.LEVEL
            old = levels & (batch["sequence"] < self._skip_below)
            if old.any():
                self._supersede(pick(batch, old))
                batch = pick(batch, ~old)
            elif levels.any():
                self._skip_below = 0
        self._remember(pick(batch, batch["kind"] == table.LEVEL))
        return batch

    def _supersede(self, dropped: Rows) -> None:
        messages = int(np.count_nonzero(dropped["flags"] & table.FLAG_EVENT_END))
        controls = self._report.controls
        controls["superseded"] = controls.get("superseded", 0) + messages
        self._report.superseded_rows += dropped.size

    def _remember(self, levels: Rows) -> None:
        if levels.size:
            self._recent.append(levels)
            self._recent_rows += levels.size
        while self._recent_rows > RECENT_ROWS and len(self._recent) > 1:
            self._recent_rows -= self._recent.popleft().size

    def _recall(self, first_id: int, snapshot_end: np.void, *, moved: bool) -> Rows:
        """Remembered updates from this final id on, as received with the snapshot; only a move keeps gap rows."""
        lacking = join_rows([pick(part, part["sequence"] >= first_id) for part in self._recent])
        lacking["local_ns"] = snapshot_end["local_ns"]
        self._report.replayed_rows += int(np.count_nonzero(lacking["kind"] == table.LEVEL))
        assert moved or not (lacking["kind"] == table.FEED_GAP).any()
        return lacking
