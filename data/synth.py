"""A seeded synthetic market: order-flow driven L2 books with trades, as rows, for examples, tests and benchmarks.

Each symbol is an independent flow (kernels/flow.py) with its own random stream, named by seed and symbol; what symbols
share is one factor of their fundamentals. So adding a symbol changes no row of another one. The same arguments give the
same bytes on every machine, whatever the chunk size. Every row carries FLAG_SYNTHETIC: nobody should take it for a market.

The stream. A snapshot and a quote for each symbol, then messages: TRADE rows (against the book shown so far, side = the
aggressor's), the LEVEL rows that show them (the last one with FLAG_EVENT_END), a QUOTE if the best changed. All rows of a
message share venue_ns and local_ns; sequence is the trade id, and for LEVEL and QUOTE the update id, which starts at 1 with
the snapshot and only grows. venue_ns rises from message to message of a symbol, local_ns >= venue_ns + latency never falls.

Defaults are of the order of a busy BTC perpetual. Binance USD-M BTCUSDT, 2024-08-08 23:54 to 24:00 UTC, against 1.5 M
rows made with seed 1:
    rows/s 1,540 / 1,549; trades/s 62 / 63; LEVEL rows/s 1,286 / 1,331; quotes/s 192 / 154; book messages/s 19 / 188
    LEVEL rows that remove a level 22 % / 23 %, add to it 46 % / 56 %, take from it (removals included) 45 % / 44 %
    spread: one tick 94 % / 95 % of quotes, mean 2.0 / 2.0, 99th percentile 29 / 36 ticks; quotes that move the mid 3 % / 5 %
    best bid, BTC: median 2.7 / 2.5, mean 3.6 / 3.6; per tick 10 to 200 ticks behind it: mean 0.13 / 0.18
    print, BTC: median 0.016 / 0.029, mean 0.114 / 0.081, 99th percentile 1.15 / 0.88; same side as the one before 90 % / 93 %
    gaps between prints: standard deviation over mean 3.4 / 3.2
    mid over one second: standard deviation 1.2 / 1.2 bps
    feed latency beyond its smallest, ms: median 2.3 / 0.9, 99th percentile 12 / 7.6
The recorded venue gathers changes into a book message every 50 ms; here each event has its own. Not modelled: seasons of
the day, news, funding, queue priority, round sizes, liquidity that withdraws under stress, volatility that clusters. A
strategy that makes money here has learned this generator, not a market.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from math import sqrt
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import Instrument
from twinloop.data.merge import merge_streams
from twinloop.data.rowfile import CHUNK_ROWS, RowManifest, Rows, write_rows
from twinloop.kernels import flow as kernel
from twinloop.kernels.rows import ROW, ROW_SIZE

START_NS: Final = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z, a fixed default: nothing here reads a clock.
GRID_NS: Final = 10_000_000
_GRID_ROOT_S: Final = 0.1  # Square root of the grid step in seconds.
WINDOW_ROWS: Final = 1 << 13  # Small, so that several symbols stay in the processor's cache.
WORDS: Final = 1 << 12
TAIL_EXPONENT: Final = Decimal("1.5")
MARKET_SHARE: Final = 0.075
CLUSTERING: Final = 0.5  # Branching ratio: share of the intensity that earlier market orders cause.
DECAY_EVENTS: Final = 10.0  # Time in which the excitement halves, in mean gaps between events.
RATE_FACTOR: Final = 1.07  # Events cluster where the heat is: measured, so that events_per_s comes out
EVENT_OTHER_ROWS: Final = 1.2  # Trades and quotes beside the levels of an event, mean: measured
THRESHOLD: Final = 0.4  # In standard deviations of the fundamental over one second.
TIME_MAX_NS: Final = 2**62
SYMBOLS_MAX: Final = 256
assert WINDOW_ROWS >= kernel.EVENT_ROWS_MAX
assert WORDS >= 4 * kernel.DEPTH_MAX


class SynthSymbol(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol of a synthetic market. Raises ConfigError for settings that cannot stand.

    price, best_qty, trade_qty: natural decimals: first price, mean quantity of the best level, scale of a print's size.
    events_per_s: mean rate of messages. levels_per_event: limit orders and cancels in one, mean. volatility_bps: standard
    deviation of the fundamental over one second. depth_ticks: levels kept on each side, in ticks.
    latency_us, jitter_us: smallest feed latency, and the mean of what comes on top.
    """

    instrument: Instrument
    price: str = "60000"
    best_qty: str = "3.5"
    trade_qty: str = "0.05"
    events_per_s: float = 190.0
    levels_per_event: float = 7.0
    volatility_bps: float = 1.2
    depth_ticks: int = 1000
    latency_us: int = 2000
    jitter_us: int = 1000

    def __post_init__(self) -> None:
        """Check what the generator relies on."""
        ticks = self.start_ticks
        checks = (
            ("price", 100 <= ticks <= 10**12, "100 to 1e12 ticks", ticks),
            ("best_qty", 10 <= self._lots("best_qty") <= 10**9, "10 to 1e9 lots", self.best_qty),
            ("trade_qty", 1 <= self._lots("trade_qty") <= 10**9, "1 to 1e9 lots", self.trade_qty),
            ("events_per_s", 0.001 <= self.events_per_s <= 100_000.0, "0.001 to 100000", self.events_per_s),
            ("levels_per_event", 1.0 <= self.levels_per_event <= 30.0, "1 to 30", self.levels_per_event),
            ("volatility_bps", 0.0 <= self.volatility_bps <= 1000.0, "0 to 1000", self.volatility_bps),
            ("depth_ticks", 10 <= self.depth_ticks <= kernel.DEPTH_MAX, f"10 to {kernel.DEPTH_MAX}", self.depth_ticks),
            ("latency_us", 1 <= self.latency_us <= 10**7, "1 to 10000000", self.latency_us),
            ("jitter_us", 0 <= self.jitter_us <= 10**7, "0 to 10000000", self.jitter_us),
        )
        for field, fine, expected, got in checks:
            if not fine:
                name = self.instrument.key
                raise ConfigError(f"synthetic symbol {name} cannot stand", field=field, expected=expected, got=got)
        largest = max(ticks * 2 * self.instrument.tick_size, self._lots("best_qty") * 10**4 * self.instrument.lot_size)
        if largest >= 2**62:
            raise ConfigError(
                f"synthetic symbol {self.instrument.key} cannot stand",
                expected="prices and quantities below 2**62",
                got=largest,
            )

    @property
    def start_ticks(self) -> int:
        """The first price in ticks."""
        return self._scaled("price", self.instrument.price_int) // self.instrument.tick_size

    def _lots(self, field: str) -> int:
        return self._scaled(field, self.instrument.qty_int) // self.instrument.lot_size

    def _scaled(self, field: str, read: Callable[[str], int]) -> int:
        text = getattr(self, field)
        try:
            return read(text)
        except DataError as error:
            raise ConfigError(
                f"synthetic symbol {self.instrument.key}: {error.what}", field=field, expected=error.expected, got=text
            ) from None


def synthetic_instrument(symbol: str) -> Instrument:
    """A linear contract of the venue "synthetic", with the tick, lot and fees of a large BTC perpetual."""
    return Instrument.make(
        symbol=symbol, venue="synthetic", contract="linear", base=symbol.removesuffix("USDT") or symbol, quote="USDT",
        tick_size="0.1", lot_size="0.001", max_qty="1000", min_notional="100", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip


def synthesise(
    symbols: Sequence[SynthSymbol | str],
    *,
    rows: int | None = None,
    duration_s: float | None = None,
    seed: int,
    start_ns: int = START_NS,
    correlation: float = 0.0,
    reversion_s: float = 0.0,
    chunk_rows: int = CHUNK_ROWS,
) -> tuple[tuple[Instrument, ...], Iterator[Rows]]:
    """Instruments by slot, and chunks of rows sorted by local_ns: chunk_rows rows each, the last one fewer.

    symbols: settings, or just names for the defaults. rows: end with the message in which the count is reached;
    duration_s: end before the first message at or past start + duration; one of them or both (the earlier ends it).
    correlation: of the fundamentals' moves, 0 to 1. reversion_s: time constant with which a symbol's own part of the
    fundamental returns to zero (0: never), so that pairs with a high correlation and a reversion stay together.
    Raises ConfigError.
    """
    settings = [SynthSymbol(instrument=synthetic_instrument(s)) if isinstance(s, str) else s for s in symbols]
    keys = [setting.instrument.key for setting in settings]
    checks = (
        ("symbols", 1 <= len(keys) <= SYMBOLS_MAX and len(set(keys)) == len(keys), "1 to 256 different symbols", keys),
        ("rows", rows is None or rows > 0, "a positive count", rows),
        ("duration_s", duration_s is None or 0.0 < duration_s <= 1e9, "seconds above 0", duration_s),
        ("rows", rows is not None or duration_s is not None, "rows or duration_s", None),
        ("seed", 0 <= seed < 2**64, "0 to 2**64 - 1", seed),
        ("start_ns", 0 < start_ns < TIME_MAX_NS // 2, "nanoseconds since the epoch", start_ns),
        ("correlation", 0.0 <= correlation <= 1.0, "0 to 1", correlation),
        ("reversion_s", reversion_s == 0.0 or reversion_s >= 0.1, "0 or at least 0.1 s", reversion_s),
        ("chunk_rows", chunk_rows > 0, "a positive count", chunk_rows),
    )
    for field, fine, expected, got in checks:
        if not fine:
            raise ConfigError("synthetic market cannot stand", field=field, expected=expected, got=got)
    stop_ns = TIME_MAX_NS if duration_s is None else start_ns + int(duration_s * 1e9)
    flows = [_Flow(setting, seed, start_ns, correlation, reversion_s) for setting in settings]
    streams = [flow.chunks(stop_ns) for flow in flows]
    if len(streams) == 1:
        merged: Iterator[Rows] = (chunk for chunk, _ in streams[0])
    else:
        slots = [np.array([slot], np.int64) for slot in range(len(streams))]
        merged = merge_streams(streams, slots, window_rows=WINDOW_ROWS)
    ended = merged if rows is None else _whole_messages(merged, rows)
    return tuple(setting.instrument for setting in settings), _rechunk(ended, chunk_rows)


def need_room(path: Path, symbols: Sequence[SynthSymbol], *, rows: int | None, duration_s: float | None) -> None:
    """Raise DataError where the disk of `path` cannot take such a market, before it is filled with the beginning of one."""
    ends = [] if rows is None else [float(rows)]
    if duration_s is not None:
        ends.append(
            duration_s * sum(each.events_per_s * (each.levels_per_event + EVENT_OTHER_ROWS) for each in symbols)
        )
    size = ROW_SIZE * min(ends)
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            "the disk has no room for this synthetic market",
            file=folder,
            expected=f"about {size / 1e9:,.1f} GB free",
            got=f"{free / 1e9:,.1f} GB free",
            remedy="ask for a shorter duration or fewer rows",
        )


def write_synth(
    path: Path,
    symbols: Sequence[SynthSymbol | str],
    *,
    rows: int | None = None,
    duration_s: float | None = None,
    seed: int,
    start_ns: int = START_NS,
    correlation: float = 0.0,
    reversion_s: float = 0.0,
    overwrite: bool = False,
) -> RowManifest:
    """Write a synthetic market (see synthesise) to a row file with its manifest, which holds every setting."""
    instruments, chunks = synthesise(
        symbols,
        rows=rows,
        duration_s=duration_s,
        seed=seed,
        start_ns=start_ns,
        correlation=correlation,
        reversion_s=reversion_s,
    )
    details = {
        "seed": seed,
        "rows": rows,
        "duration_s": duration_s,
        "start_ns": start_ns,
        "correlation": correlation,
        "reversion_s": reversion_s,
        "symbols": [{"symbol": s} if isinstance(s, str) else msgspec.to_builtins(s) for s in symbols],
    }
    return write_rows(path, chunks, instruments, source="synthetic", details=details, overwrite=overwrite)


class _Flow:
    """One symbol's flow: the kernel's record, its random streams and buffers."""

    def __init__(self, symbol: SynthSymbol, seed: int, start_ns: int, correlation: float, reversion_s: float) -> None:
        # The stream's name is the symbol's, not its place: neighbours do not matter.
        name = int.from_bytes(hashlib.sha256(symbol.instrument.key.encode()).digest()[:8], "little")
        self._own = np.random.PCG64(np.random.SeedSequence([seed, 1, name]))
        self._common = np.random.PCG64(np.random.SeedSequence([seed, 0]))
        self._words = _draw(self._own, WORDS)
        self._common_words = _draw(self._common, WORDS)
        self._out = np.zeros((WINDOW_ROWS, 8), np.int64)
        self._record = np.zeros(1, kernel.FLOW)
        _configure(self._record[0], symbol, start_ns, correlation, reversion_s)

    def chunks(self, stop_ns: int) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
        """Rows and their local times, at most WINDOW_ROWS a time; valid until the next are asked for."""
        flow = self._record[0]
        filled = kernel.flow_start(flow, self._words, self._out)
        while True:
            if filled:
                yield self._out[:filled].reshape(-1).view(ROW), self._out[:filled, 1]
            status = kernel.flow_run(flow, self._words, self._common_words, self._out, stop_ns)
            filled = int(flow["filled"])
            if status == kernel.FLOW_WORDS:
                _refill(self._words, self._own, int(flow["words_at"]))
                flow["words_at"] = 0
            elif status == kernel.FLOW_COMMON_WORDS:
                _refill(self._common_words, self._common, int(flow["common_at"]))
                flow["common_at"] = 0
            elif status == kernel.FLOW_DONE:
                if filled:
                    yield self._out[:filled].reshape(-1).view(ROW), self._out[:filled, 1]
                return


def _configure(flow: np.void, symbol: SynthSymbol, start_ns: int, correlation: float, reversion_s: float) -> None:
    instrument = symbol.instrument
    heat = CLUSTERING / (1.0 - CLUSTERING)  # Mean heat that gives this branching ratio.
    step_ticks = symbol.start_ticks * symbol.volatility_bps * 1e-4 * _GRID_ROOT_S
    fields = {
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "depth_ticks": symbol.depth_ticks,
        "grid_ns": GRID_NS,
        "start_ns": start_ns,
        "start_ticks": symbol.start_ticks,
        "gap_ns": RATE_FACTOR * 1e9 * (1.0 + heat) / symbol.events_per_s,
        "excitation": heat / (MARKET_SHARE * DECAY_EVENTS),
        "decay_ns": DECAY_EVENTS * 1e9 / symbol.events_per_s,
        "market_share": int(MARKET_SHARE * 65536),
        "actions": symbol.levels_per_event - 1.0,
        "best_lots": symbol._lots("best_qty"),  # noqa: SLF001 - same module
        "trade_lots": symbol._lots("trade_qty"),  # noqa: SLF001
        "offset_ticks": symbol.depth_ticks * 0.25,
        "threshold_ticks": max(1.0, THRESHOLD * step_ticks / _GRID_ROOT_S),
        "common_ticks": step_ticks * sqrt(correlation),
        "own_ticks": step_ticks * sqrt(1.0 - correlation),
        "reversion": GRID_NS * 1e-9 / reversion_s if reversion_s else 0.0,
        "latency_ns": symbol.latency_us * 1000,
        "jitter_ns": symbol.jitter_us * 1000.0,
    }
    for name, value in fields.items():
        flow[name] = value
    flow["exponential"], flow["pareto"] = _tables()


def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles of the unit exponential and of the Pareto law, rounded once from 40 digits: the same on any machine."""
    exponential, pareto = [], []
    with localcontext() as context:
        context.prec = 40
        for i in range(kernel.TABLE):
            log = (Decimal(kernel.TABLE) / (kernel.TABLE - i)).ln()
            exponential.append(float(log))
            pareto.append(float((log / TAIL_EXPONENT).exp()))
    return np.array(exponential), np.array(pareto)


def _draw(source: np.random.PCG64, count: int) -> NDArray[np.int64]:
    """63 random bits each."""
    return (source.random_raw(count) >> np.uint64(1)).astype(np.int64)


def _refill(words: NDArray[np.int64], source: np.random.PCG64, used: int) -> None:
    rest = words[used:].copy()
    words[: rest.size] = rest
    words[rest.size :] = _draw(source, used)


def _whole_messages(chunks: Iterator[Rows], count: int) -> Iterator[Rows]:
    """The first `count` rows and what is left of their last message."""
    left = count
    last = (0, 0)  # venue_ns and instrument name a message.
    for chunk in chunks:
        start = 0
        if left > 0:
            start = min(left, chunk.size)
            left -= start
            last = (int(chunk["venue_ns"][start - 1]), int(chunk["instrument"][start - 1]))
        if left == 0:
            tail = chunk[start:]
            other: NDArray[np.bool_] = np.logical_or(tail["venue_ns"] != last[0], tail["instrument"] != last[1])
            rest = int(np.argmax(other)) if other.any() else other.size
            yield chunk[: start + rest]
            if rest < other.size:
                return
        else:
            yield chunk


def _rechunk(chunks: Iterator[Rows], chunk_rows: int) -> Iterator[Rows]:
    """The same rows in fresh arrays of chunk_rows."""
    out = np.empty((chunk_rows, 8), np.int64)
    filled = 0
    for chunk in chunks:
        words = chunk.view(np.int64).reshape(-1, 8)
        at = 0
        while at < words.shape[0]:
            count = min(chunk_rows - filled, words.shape[0] - at)
            out[filled : filled + count] = words[at : at + count]
            filled += count
            at += count
            if filled == chunk_rows:
                yield out.reshape(-1).view(ROW)
                out = np.empty((chunk_rows, 8), np.int64)
                filled = 0
    if filled:
        yield out[:filled].reshape(-1).view(ROW)
