"""Plain words about a run that needs them: why nothing filled, and what a reader of the numbers should know."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.limits import limits_named
from twinloop.engine.results import Run
from twinloop.engine.wording import WARNED, few, money, rule_text

MAKER_ONLY_MIN: Final = 50
UNITS: Final = {  # What the gate measures; the other verdicts measure shares, counts or nothing.
    "REJECT_QTY": "qty",
    "REJECT_MAX_ORDER_QTY": "qty",
    "REJECT_MAX_ORDER_NOTIONAL": "money",
    "REJECT_MAX_POSITION": "money",
    "REJECT_MAX_GROSS": "money",
    "REJECT_MAX_NET": "money",
    "REJECT_MARGIN": "money",
    "REJECT_DAILY_LOSS": "money",
    "REJECT_DRAWDOWN": "money",
}
HINTS: Final = {
    "REJECT_QTY": "a quantity must be positive and between the instrument's smallest and largest",
    "REJECT_OFF_GRID": "prices and quantities must lie on the instrument's grid, see ctx.round_price and ctx.round_qty",
    "REJECT_NOT_FINITE": "a price or a quantity was NaN or infinite",
    "REJECT_MIN_NOTIONAL": "the value is below the instrument's smallest",
    "REJECT_NO_REFERENCE": "no price of the instrument was known yet",
    "REJECT_INSTRUMENT": "the instrument is not in the run, or the strategy may not trade it",
    "REJECT_MAX_SPREAD": 'without both sides of the market no spread is within a limit: for trades or bars alone set it to "none"',
    "REJECT_TYPE": "side, type, time in force, price and trigger do not go together",
}


def why_no_fills(run: Run, counts: Mapping[str, int]) -> str:
    """One sentence or two on why a run has no fill: no data, no order, refused, rejected, or never reached.

    counts: as given to `RunWriter.finish`; "rows" tells an empty market from a silent strategy.
    """
    rows = counts.get("rows")
    if rows == 0:
        return (
            "zero fills: the market data held no row in this period; check symbol and dates with `twinloop data list`"
        )
    refusals = run.risk.filter(pl.col("verdict") != WARNED)
    if run.orders.is_empty() and refusals.is_empty():
        seen = f" in {rows:,} rows" if rows else ""
        return (
            f"zero fills: the strategy sent no order{seen}; check that its callbacks match the data "
            "(on_quote needs quotes, on_trade trades, on_book levels, on_bar a bar setting) and that its thresholds are reached"
        )
    unrecorded = counts.get("verdicts_unrecorded", 0)
    if run.orders.is_empty():
        return f"zero fills: {_refusals(run, refusals, unrecorded)}"
    rejected = run.orders.filter(pl.col("reject_code") != "")
    if len(rejected) == len(run.orders):
        code, times = _most_common(rejected["reject_code"])
        return f"zero fills: the venue rejected all {len(rejected):,} orders, mostly for {code} ({times:,})"
    state, times = _most_common(run.orders["state"])
    text = f"zero fills: {len(run.orders):,} orders were sent and none traded; most ended as {state} ({times:,})"
    if not refusals.is_empty():
        text += f"; also, {_refusals(run, refusals, unrecorded)}"
    resting = run.orders.filter(pl.col("type").str.contains("limit"))
    if len(resting) * 2 > len(run.orders):
        text += "; their prices were not reached, or the queue ahead of them did not trade before they were cancelled"
    return text


def notes_on(run: Run) -> list[str]:
    """What a reader should know before trusting the numbers."""
    notes = []
    fills = run.fills
    if len(fills) >= MAKER_ONLY_MIN and bool(fills["maker"].all()):
        notes.append(
            "every fill was passive: the result rests on the queue model; compare it with the risk-averse queue and more latency"
        )
    if len(fills) and bool((fills["fee_int"] == 0).all()):
        notes.append("no fee was charged on any fill")
    if len(fills) and bool((fills["decided_ns"] == fills["arrived_ns"]).all()):
        notes.append("orders reached the venue in no time: set a latency before trusting the fills")
    foreign = _unpriced(run)
    if foreign:
        notes.append(f"fees in {', '.join(foreign)} have no price in this run and are left out of the trades' net")
    if short := _sold_short_on_spot(run):
        notes.append(
            f"spot was sold short ({few(short)}): a venue refuses to sell what the account does not hold, and so this result cannot be had there"
        )
    ends = fills.group_by("account", "strategy", "symbol", maintain_order=True).agg(pl.col("position_after_int").last())
    held = ends.filter(pl.col("position_after_int") != 0)
    if len(held):
        names = ", ".join(held["symbol"].unique(maintain_order=True))
        notes.append(
            f"a position is still open at the end ({names}): its profit is in the equity and not in the trades"
        )
    return notes


def _sold_short_on_spot(run: Run) -> list[str]:
    """Spot instruments of which an account, all its strategies together, sold more than it had bought.

    One without a base currency was made for a bare table, of which nobody said that it is spot.
    """
    spot = [
        name for name, each in zip(run.symbols, run.instruments, strict=True) if each.contract == "spot" and each.base
    ]
    lowest = (
        run.fills.filter(pl.col("symbol").is_in(spot))
        .group_by("account", "symbol", maintain_order=True)
        .agg((pl.col("side").cast(pl.Int64) * pl.col("qty_int")).cum_sum().min())
    )
    return list(lowest.filter(pl.col("side") < 0)["symbol"].unique(maintain_order=True))


def _unpriced(run: Run) -> list[str]:
    """Currencies of fees that neither the settlement currency nor the fill's own price can express."""
    names = set()
    for symbol, currency in run.fills.select("symbol", "fee_currency").unique().iter_rows():
        instrument = run.instruments[run.symbols.index(symbol)]
        crossed = instrument.quote if instrument.contract == "inverse" else instrument.base
        if currency not in {instrument.settle, crossed}:
            names.add(currency)
    return sorted(names)


def _refusals(run: Run, refusals: pl.DataFrame, unrecorded: int) -> str:
    """unrecorded: verdicts beyond those in the table."""
    rule, times = _most_common(refusals["rule"])
    first = refusals.filter(pl.col("rule") == rule).row(0, named=True)
    limits = limits_named(rule, run.manifest["config"].get("limits_in_force") or {})
    text = f"the risk gate refused {len(refusals) + unrecorded:,} requests, mostly by {rule_text({'rule': rule, 'limits': limits})}"
    text += f" ({times:,}{' of those recorded' if unrecorded else ''}{_measured(run, rule, limits, first)})"
    return f"{text}: {HINTS[rule]}" if rule in HINTS else text


def _measured(run: Run, rule: str, limits: str, first: Mapping[str, Any]) -> str:
    """What the gate measured at the first refusal, in the unit of its limit; nothing where it measures no amount."""
    unit = UNITS.get(rule)
    if rule == "REJECT_MAX_POSITION" and "_qty" in limits:
        unit = None if "_pct" in limits or "_notional" in limits else "qty"
    if unit == "money":
        currency = run.manifest["account_currency"]
        value, limit = (money(first[name] / MONEY_ONE) for name in ("value", "limit"))
        return f"; the first had {value} {currency} against a limit of {limit}"
    if unit == "qty" and first["symbol"] in run.symbols:
        unit_size = 10.0 ** run.instruments[run.symbols.index(first["symbol"])].qty_scale
        return f"; the first had {first['value'] / unit_size:,g} against a limit of {first['limit'] / unit_size:,g}"
    return ""


def _most_common(values: pl.Series) -> tuple[str, int]:
    counted = values.value_counts(name="times").sort(["times", values.name], descending=[True, False])
    name, times = counted.row(0)
    return str(name), int(times)
