"""One statistic and how a person reads it: numbers, units and reasons as text, the same on a terminal and on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor, isfinite, log10
from typing import Any, Final

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_DAY: Final = 86_400 * NS_PER_SECOND

WARNED: Final = "WARN"  # The verdict that lets a request pass, near a limit.


@dataclass(frozen=True, slots=True)
class Stat:
    """One statistic: a value or the reason for having none.

    unit: "fraction", "ratio", "money", "ns", "count", "bps" or "periods". low, high: bootstrap interval.
    """

    key: str
    label: str
    group: str
    unit: str
    value: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    currency: str | None = None


class Card:
    """Collects statistics; what is not a finite number becomes a reason, so that NaN never leaves."""

    def __init__(self) -> None:
        self.stats: list[Stat] = []

    def add(
        self,
        key: str,
        label: str,
        group: str,
        unit: str,
        value: float | None,
        reason: str | None = None,
        **more: Any,
    ) -> None:
        """Add a value, or n/a where a reason is given or the value is not a finite number; `more` are fields of Stat.

        A value that is withheld has no interval and no error either: they would tell it all the same.
        """
        if reason is not None or value is None or not isfinite(value):
            kept = {name: known for name, known in more.items() if name not in {"low", "high", "error"}}
            self.stats.append(Stat(key, label, group, unit, None, f"n/a: {reason or 'undefined here'}", **kept))
        else:
            self.stats.append(Stat(key, label, group, unit, float(value), **more))


def iso(ts_ns: int) -> str | None:
    """UTC time to the microsecond; None for 0, which means unknown."""
    if not ts_ns:
        return None
    whole, rest = divmod(ts_ns, NS_PER_SECOND)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest // 1000:06d}Z"


def text_of(stat: Stat) -> str:
    """A statistic as a person reads it: "12.40 %", "1.31 ± 0.40", "n/a: fewer than 30 periods"."""
    if stat.value is None:
        return stat.reason or "n/a"
    text = format_value(stat.value, stat.unit, stat.currency)
    if stat.error is not None:
        text += f" ± {format_value(stat.error, stat.unit)}"
    return text


def interval_of(stat: Stat) -> str:
    """The bootstrap interval as text, empty without one."""
    if stat.low is None or stat.high is None or stat.value is None:
        return ""
    return f"{format_value(stat.low, stat.unit)} to {format_value(stat.high, stat.unit)}"


def format_value(value: float, unit: str, currency: str | None = None) -> str:
    """A number in its unit."""
    if unit == "fraction":
        return f"{_digits(value * 100)} %"
    if unit == "money":
        return f"{money(value)} {currency}" if currency else money(value)
    if unit == "ns":
        return duration(value)
    if unit in {"count", "periods"}:
        return f"{value:,.0f}"
    return f"{_digits(value)} bps" if unit == "bps" else _digits(value)


def _digits(value: float) -> str:
    """Two decimals, more for what would vanish, none that pretend for what is large."""
    value += 0.0  # no "-0.00"
    size = abs(value)
    if value == 0 or size >= 0.1:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.001 else f"{value:.2e}"


def money(value: float) -> str:
    """An amount: two decimals, or four significant digits where it is smaller than one."""
    value += 0.0  # no "-0.00"
    size = abs(value)
    decimals = 2 if size >= 1 or size < 1e-12 else min(3 - floor(log10(size)), 8)
    return f"{value:,.{decimals}f}"


def duration(ns: float) -> str:
    """A span of time in its two largest fitting units."""
    units = (("d", NS_PER_DAY), ("h", 3600 * NS_PER_SECOND), ("min", 60 * NS_PER_SECOND), ("s", NS_PER_SECOND))
    for index, (name, size) in enumerate(units):
        if ns >= size:
            if name == "s":
                return f"{ns / size:.3g} s"
            whole, rest = divmod(int(ns), size)
            below, below_size = units[index + 1]
            part = int(rest // below_size)
            return f"{whole} {name} {part} {below}" if part else f"{whole} {name}"
    for name, size in (("ms", 1_000_000), ("µs", 1_000)):
        if ns >= size:
            return f"{ns / size:.3g} {name}"
    return f"{ns:.0f} ns"


def few(names: Sequence[str]) -> str:
    """Names in a sentence: all of a few, else the first ones and how many more."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def sentence(text: str) -> str:
    """A warning as a sentence of its own: capital first, unless it begins with a name, which stays as it is."""
    first = text.split(" ", 1)[0]
    return (text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text) + "."


def speed(per_second: float) -> str:
    """Rows a second, short."""
    return f"{per_second / 1e6:.1f} M rows/s" if per_second >= 1e6 else f"{per_second / 1e3:.0f} k rows/s"


def rule_text(row: Mapping[str, Any]) -> str:
    """What stood behind a verdict, for a person: "max_order_pct (REJECT_MAX_ORDER_NOTIONAL)", or the rule alone."""
    limits = row.get("limits")  # Not in a result of before.
    return f"{limits} ({row['rule']})" if limits else str(row["rule"])
