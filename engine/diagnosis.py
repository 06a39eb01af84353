"""Plain words about a run that needs them: why nothing filled, and what a reader of the numbers should know."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from twinloop.engine.limits import limits_named
from twinloop.engine.results import Run
from twinloop.engine.wording import WARNED, rule_text

MAKER_ONLY_MIN: Final = 50


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
    ends = fills.group_by("account", "strategy", "symbol", maintain_order=True).agg(pl.col("position_after_int").last())
    held = ends.filter(pl.col("position_after_int") != 0)
    if len(held):
        names = ", ".join(held["symbol"].unique(maintain_order=True))
        notes.append(
            f"a position is still open at the end ({names}): its profit is in the equity and not in the trades"
        )
    return notes


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
    return (
        f"the risk gate refused {len(refusals) + unrecorded:,} requests, mostly by {rule_text({'rule': rule, 'limits': limits})} "
        f"({times:,}{' of those recorded' if unrecorded else ''}; the first had {first['value']:,} against a limit of {first['limit']:,})"
    )


def _most_common(values: pl.Series) -> tuple[str, int]:
    counted = values.value_counts(name="times").sort(["times", values.name], descending=[True, False])
    name, times = counted.row(0)
    return str(name), int(times)
