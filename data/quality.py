"""What a stretch of rows is worth: counted while it is ingested, in chunks, in flat memory.

A report counts, it does not repair: what a reader refused comes in as quarantine counts by code, and the law of
conservation must hold for every file: records read == kept + quarantined + control. This module must not read files.
"""

from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.data.errors import DataError
from twinloop.data.rowfile import Rows, pick
from twinloop.data.times import to_text
from twinloop.kernels import rows as r

GAP_NS: Final = 10_000_000_000  # Silence of a tick stream above this is a gap.
OUTLIER_FACTOR: Final = 1.1  # A price this many times the one before it (or its inverse) is counted as an outlier.
GAPS_LISTED: Final = 20
OTHER_SYMBOL: Final = "other_symbol"  # The reason of a record that belongs to another symbol.
_QUANTILES: Final = (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0)
_BINS_PER_OCTAVE: Final = 64  # Latency quantiles are exact to 1.1 %, minimum and maximum exactly.
_BIN_COUNT: Final = 64 * _BINS_PER_OCTAVE
_PRICED: Final = (r.TRADE, r.LEVEL, r.SNAPSHOT_LEVEL, r.MARK, r.ORDER_ADD, r.ORDER_EXECUTE)


class Conservation(msgspec.Struct, kw_only=True, frozen=True):
    """Where every record of an input went.

    control: records that carry no fact of the instrument (subscription answers, heartbeats, other symbols); controls: the same by
    reason, as far as a reader tells them apart.
    """

    read: int
    kept: int
    quarantined: dict[str, int] = {}
    control: int = 0
    controls: dict[str, int] = {}

    def check(self, file: str | None = None) -> Self:
        """Itself; DataError when a record is missing or counted twice."""
        accounted = self.kept + sum(self.quarantined.values()) + self.control
        if accounted != self.read:
            raise DataError(
                "records are not conserved",
                file=file,
                expected=f"{self.read} records",
                got=accounted,
                remedy="report a bug",
            )
        assert not self.controls or sum(self.controls.values()) == self.control, "every control has its reason"
        return self

    def misfit(self) -> str:
        """What to say where most records are not what was declared: set aside, or of another symbol. Empty where they are."""
        strange = {**self.quarantined, OTHER_SYMBOL: self.controls.get(OTHER_SYMBOL, 0)}
        count = sum(strange.values())
        if count <= self.kept:
            return ""
        return (
            f"most of it is not what was declared: of {self.read} records {self.kept} are kept and {count} are not "
            f"({_by_reason(strange)}); check instrument, format and units"
        )

    def line(self) -> str:
        """Where every record went, in one line."""
        aside = sum(self.quarantined.values())
        parts = [(self.kept, "kept", ""), (aside, "quarantined", _by_reason(self.quarantined))]
        parts.append((self.control, "control", _by_reason(self.controls)))
        return f"{self.read} records read = " + " + ".join(
            f"{count} {name}" + (f" ({reasons})" if reasons else "") for count, name, reasons in parts
        )

    def plus(self, other: "Conservation") -> "Conservation":
        """Sum of two inputs."""
        return Conservation(
            read=self.read + other.read,
            kept=self.kept + other.kept,
            quarantined=_summed(self.quarantined, other.quarantined),
            control=self.control + other.control,
            controls=_summed(self.controls, other.controls),
        )


def _summed(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


class Gap(msgspec.Struct, frozen=True):
    """Silence between two rows in a row: the local times around it."""

    from_ns: int
    to_ns: int


class QualityReport(msgspec.Struct, kw_only=True, frozen=True):
    """Counts over rows; times in ns.

    kinds: rows by kind name. gaps: how many silences longer than gap_ns, the longest listed. out_of_order: rows with
    local_ns below the row before. venue_back: rows with venue_ns below the largest so far, by at most venue_back_ns.
    duplicates: trades with the id of the trade before, quotes and bars that repeat the one before at the same venue time.
    trade_ids_skipped: ids left out between consecutive trades. crossed: quotes with bid > ask; locked: bid == ask.
    non_positive: prices <= 0 in a row that must have one; negative_qty. outliers: prices further than OUTLIER_FACTOR from
    the one before. latency_ns: quantiles of local_ns - venue_ns by name, of rows with a venue time; negative_latency: how
    many are below 0. clock_offset_ns: the correction the reader added to local times.
    """

    rows: int
    kinds: dict[str, int]
    first_local_ns: int
    last_local_ns: int
    gap_ns: int
    gaps: int
    gaps_longest: tuple[Gap, ...]
    out_of_order: int
    venue_back: int
    venue_back_ns: int
    without_venue_time: int
    duplicates: int
    trade_ids_skipped: int
    crossed: int
    locked: int
    non_positive: int
    negative_qty: int
    outliers: int
    latency_ns: dict[str, int]
    negative_latency: int
    clock_offset_ns: int
    conservation: Conservation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain

    def to_json(self) -> str:
        """Indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()

    def lines(self) -> list[str]:
        """Human text, one finding a line, findings of zero left out."""
        text = [f"{self.rows} rows, {to_text(self.first_local_ns)} to {to_text(self.last_local_ns)}"]
        text += [f"{count} {name}" for name, count in self.kinds.items()]
        for name in _FINDINGS:
            if value := getattr(self, name):
                text.append(f"{name.replace('_', ' ')}: {value}")
        text += [f"gap {to_text(gap.from_ns)} to {to_text(gap.to_ns)}" for gap in self.gaps_longest]
        if (others := self.gaps - len(self.gaps_longest)) > 0:
            text.append(f"and {others} gaps that are no longer than these")
        if any(self.latency_ns.values()):
            text += [f"latency {name}: {value} ns" for name, value in self.latency_ns.items()]
        if self.conservation is not None:
            text.append(self.conservation.line())
        return text


_FINDINGS: Final = (
    "gaps",
    "out_of_order",
    "venue_back",
    "without_venue_time",
    "duplicates",
    "trade_ids_skipped",
    "crossed",
    "locked",
    "non_positive",
    "negative_qty",
    "outliers",
    "negative_latency",
    "clock_offset_ns",
)


class QualityMeter:
    """Takes chunks of rows of one instrument in stream order and gives a QualityReport; memory does not grow.

    gap_ns: silence that counts as a gap; for bars, silence longer than the bar's interval counts instead.
    """

    def __init__(self, gap_ns: int = GAP_NS) -> None:
        self._gap_ns = gap_ns
        self._counts: dict[str, int] = dict.fromkeys(_FINDINGS, 0)
        self._venue_back_ns = 0
        self._kinds = np.zeros(256, np.int64)
        self._rows = 0
        self._first_ns = 0
        self._last_ns: int | None = None
        self._venue_max = np.iinfo(np.int64).min
        self._gaps: list[Gap] = []
        self._latency = np.zeros(_BIN_COUNT, np.int64)
        self._latency_min = np.iinfo(np.int64).max
        self._latency_max = np.iinfo(np.int64).min
        self._last: dict[str, NDArray[np.int64]] = {}

    def add(self, rows: Rows) -> None:
        """Count the next rows of the stream, (n,) ROW, whole facts."""
        if rows.size == 0:
            return
        self._kinds += np.bincount(rows["kind"], minlength=256)
        heads = pick(rows, (rows["flags"] & r.FLAG_TAIL) == 0)
        self._times(rows, heads)
        kind = heads["kind"]
        trades = pick(heads, kind == r.TRADE)
        quotes = pick(heads, kind == r.QUOTE)
        self._trades(trades)
        self._quotes(quotes)
        self._bars(rows)
        priced = pick(heads, np.isin(kind, _PRICED))
        self._counts["non_positive"] += int((priced["price"] <= 0).sum())
        self._counts["negative_qty"] += int((priced["qty"][priced["kind"] != r.MARK] < 0).sum())

    def _times(self, rows: Rows, heads: Rows) -> None:
        local_ns = rows["local_ns"]
        if self._last_ns is None:
            self._first_ns = self._last_ns = int(local_ns[0])
        before = np.concatenate(([self._last_ns], local_ns[:-1]))
        step = local_ns - before
        self._counts["out_of_order"] += int((step < 0).sum())
        if (rows["kind"] != r.BAR).any():
            self._silences(before, local_ns, step > self._gap_ns)
        self._last_ns = int(local_ns[-1])
        self._rows += rows.size
        venue_ns = heads["venue_ns"]
        known = venue_ns[venue_ns != 0]
        self._counts["without_venue_time"] += int(venue_ns.size - known.size)
        if not known.size:
            return
        highest = np.maximum.accumulate(np.concatenate(([self._venue_max], known)))
        back = highest[:-1] - known
        back = back[known < highest[:-1]]
        self._venue_max = int(highest[-1])
        if back.size:
            self._counts["venue_back"] += int(back.size)
            self._venue_back_ns = max(self._venue_back_ns, int(back.max()))
        latency = heads["local_ns"][venue_ns != 0] - known
        self._counts["negative_latency"] += int((latency < 0).sum())
        self._latency_min = min(self._latency_min, int(latency.min()))
        self._latency_max = max(self._latency_max, int(latency.max()))
        bins = np.log2(np.maximum(latency, 1)) * _BINS_PER_OCTAVE  # A statistic: float is fine.
        self._latency += np.bincount(bins.astype(np.int64), minlength=_BIN_COUNT)

    def _silences(self, before: NDArray[np.int64], after: NDArray[np.int64], long: NDArray[np.bool_]) -> None:
        self._counts["gaps"] += int(long.sum())
        if long.any():
            self._gaps += [Gap(int(a), int(b)) for a, b in zip(before[long], after[long], strict=True)]
            self._gaps = sorted(self._gaps, key=lambda gap: (gap.from_ns - gap.to_ns, gap.from_ns))[:GAPS_LISTED]

    def _with_last(self, name: str, columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(previous, current) records, both (n, columns), the first chunk's first record left out."""
        previous = self._last.get(name)
        self._last[name] = columns[-1:].copy()
        joined = columns if previous is None else np.concatenate((previous, columns))
        return joined[:-1], joined[1:]

    def _count_outliers(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
        fine = (before > 0) & (after > 0)
        ratio = after[fine] / before[fine]  # A statistic: float is fine.
        self._counts["outliers"] += int(((ratio > OUTLIER_FACTOR) | (ratio * OUTLIER_FACTOR < 1.0)).sum())

    def _trades(self, trades: Rows) -> None:
        if not trades.size:
            return
        before, after = self._with_last("trade", np.stack((trades["trade_id"], trades["price"]), axis=1))
        step = after[:, 0] - before[:, 0]
        named = (after[:, 0] != 0) & (before[:, 0] != 0)
        self._counts["duplicates"] += int((named & (step == 0)).sum())
        self._counts["trade_ids_skipped"] += int((step[named & (step > 1)] - 1).sum())
        self._count_outliers(before[:, 1], after[:, 1])

    def _quotes(self, quotes: Rows) -> None:
        if not quotes.size:
            return
        names = ("venue_ns", "sequence", "bid", "bid_qty", "ask", "ask_qty")
        before, after = self._with_last("quote", np.stack([quotes[name] for name in names], axis=1))
        self._counts["duplicates"] += int((after == before).all(axis=1).sum())
        both = (quotes["bid"] > 0) & (quotes["ask"] > 0)
        self._counts["crossed"] += int((both & (quotes["bid"] > quotes["ask"])).sum())
        self._counts["locked"] += int((both & (quotes["bid"] == quotes["ask"])).sum())
        self._counts["non_positive"] += int((quotes["bid"] < 0).sum() + (quotes["ask"] < 0).sum())
        self._counts["negative_qty"] += int((quotes["bid_qty"] < 0).sum() + (quotes["ask_qty"] < 0).sum())
        self._count_outliers(before[:, 2], after[:, 2])

    def _bars(self, rows: Rows) -> None:
        bars = pick(rows, rows["kind"] == r.BAR)
        tail = (bars["flags"] & r.FLAG_TAIL) != 0
        heads, tails = bars[~tail], bars[tail]
        assert heads.size == tails.size, "chunks hold whole facts"
        if not heads.size:
            return
        self._counts["negative_qty"] += int((tails["volume"] < 0).sum())
        self._counts["non_positive"] += int((heads["low"] <= 0).sum())
        columns = np.stack((heads["venue_ns"], heads["close"], tails["interval_ns"]), axis=1)
        before, after = self._with_last("bar", columns)
        step = after[:, 0] - before[:, 0]
        self._counts["duplicates"] += int((step == 0).sum())
        self._silences(before[:, 0], after[:, 0], step > np.maximum(before[:, 2], after[:, 2]))
        self._count_outliers(before[:, 1], after[:, 1])

    def report(self, *, conservation: Conservation | None = None, clock_offset_ns: int = 0) -> QualityReport:
        """Report of everything added so far."""
        counts = self._counts | {"clock_offset_ns": clock_offset_ns}
        return QualityReport(
            rows=self._rows,
            kinds={
                r.KIND_NAME.get(int(code), str(code)): int(self._kinds[code]) for code in np.flatnonzero(self._kinds)
            },
            first_local_ns=self._first_ns,
            last_local_ns=self._last_ns or 0,
            gap_ns=self._gap_ns,
            gaps_longest=tuple(self._gaps),
            venue_back_ns=self._venue_back_ns,
            latency_ns=self._latency_quantiles(),
            conservation=None if conservation is None else conservation.check(),
            **counts,
        )

    def _latency_quantiles(self) -> dict[str, int]:
        total = int(self._latency.sum())
        if not total:
            return {}
        reached = np.cumsum(self._latency)
        found = {}
        for quantile in _QUANTILES:
            at = int(np.searchsorted(reached, max(1, int(np.ceil(quantile * total)))))
            value = int(2.0 ** ((at + 0.5) / _BINS_PER_OCTAVE))
            found[f"p{100 * quantile:g}"] = min(max(value, self._latency_min), self._latency_max)
        found["p0"], found["p100"] = self._latency_min, self._latency_max
        return found


def clock_offset_ns(venue_ns: NDArray[np.int64], local_ns: NDArray[np.int64], least_ns: int = 1) -> int:
    """Constant to add to local times so that the smallest feed latency is least_ns; 0 when none is below it.

    Rows without a venue time (0) do not count. A constant keeps every difference between local times as measured.
    """
    known = venue_ns != 0
    if not known.any():
        return 0
    return max(0, least_ns - int((local_ns[known] - venue_ns[known]).min()))
