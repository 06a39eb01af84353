"""No look-ahead, checked from a run's output alone: its fills and orders against the rows it ran over.

It shares no code with the loop or the simulated venue and must not: books are dicts, times are found by bisection. The rules:
 (a) a decision knows the market no later than its own row: its sequence has every earlier row behind it, sequences and times rise
     together, and the mid it noted is one the node could see at that moment;
 (b) an aggressive fill has a price and quantity that the venue showed at its arrival, after all rows with venue time <= arrival (of a
     triggered stop: after the row that triggered it);
 (c) a passive fill names a row of its own instrument that reaches its price, later than the order's arrival and not later than the fill;
 (d) nothing travels faster than the latencies: decision -> arrival, and venue -> strategy.
`python -m twinloop.engine.lookahead RUN ROWS [VENUE_ROWS]` checks a run's folder; it exits 1 when a rule is broken.
"""

import argparse
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from twinloop.kernels import rows

_BOOK: Final = (rows.LEVEL, rows.SNAPSHOT_BEGIN, rows.SNAPSHOT_LEVEL, rows.SNAPSHOT_END, rows.CLEAR)


class Violation(NamedTuple):
    """A broken rule: which of a-d, the inbox sequence of the fill or decision, and what is wrong with it."""

    rule: str
    sequence: int
    what: str


class _Shown:
    """What one instrument's rows show so far, kept as simply as possible."""

    def __init__(self) -> None:
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})  # Bid, ask: price -> quantity.
        self.touch: tuple[int, int, int, int] | None = None
        self.last = 0
        self.bar: tuple[int, int, int, int] | None = None  # Start, end, low, high.
        self.kinds: set[int] = set()

    def apply(self, row: Any, tail: Any) -> None:
        kind = row["kind"]
        self.kinds.add(kind)
        if kind in {rows.LEVEL, rows.SNAPSHOT_LEVEL}:
            side = self.levels[row["side"] < 0]
            side.pop(row["price"], None)
            if row["qty"] > 0:
                side[row["price"]] = row["qty"]
        elif kind in {rows.SNAPSHOT_BEGIN, rows.CLEAR}:
            self.levels = ({}, {})
        elif kind == rows.QUOTE:
            self.touch = (row["bid"], row["bid_qty"], row["ask"], row["ask_qty"])
        elif kind == rows.TRADE and not row["flags"] & rows.FLAG_OFF_MARKET:
            self.last = row["price"]
        elif kind == rows.BAR:
            self.bar = (row["venue_ns"] - tail["interval_ns"], row["venue_ns"], row["low"], row["high"])
            self.last = row["close"]


def _facts(tape: Any) -> list[tuple[int, dict[str, int], dict[str, int] | None]]:
    """(index, head, tail) of every fact, as plain integers."""
    names = (
        "venue_ns",
        "local_ns",
        "kind",
        "side",
        "flags",
        "instrument",
        "price",
        "qty",
        "bid",
        "bid_qty",
        "ask",
        "ask_qty",
    )
    more = ("low", "high", "close", "interval_ns")
    columns = {name: tape[name].tolist() for name in dict.fromkeys((*names, *more))}
    facts = []
    for i, flags in enumerate(columns["flags"]):
        if not flags & rows.FLAG_TAIL:
            head = {name: column[i] for name, column in columns.items()}
            tail = {"interval_ns": columns["interval_ns"][i + 1]} if flags & rows.FLAG_CONTINUES else None
            facts.append((i, head, tail))
    return facts


def _effective_ns(head: dict[str, int], tail: dict[str, int] | None) -> int:
    """When the venue has a row: its venue time, the local time where it states none; a bar from its start."""
    at = head["venue_ns"] or head["local_ns"]
    return at - tail["interval_ns"] if head["kind"] == rows.BAR and tail else at


def look_ahead(
    fills: pl.DataFrame,
    orders: pl.DataFrame,
    symbols: Sequence[str],
    local: Any,
    market: Any,
    *,
    entry_ns: int = 0,
    response_ns: int = 0,
    whole_fills: bool = False,
) -> list[Violation]:
    """Every broken rule.

    fills, orders: a run's tables. symbols: names by instrument slot. local, market: (n,) ROW, what the node saw and what the venue held.
    entry_ns, response_ns: the smallest latencies configured. whole_fills: a compatibility mode that fills whatever is displayed.
    """
    slots = {symbol: slot for slot, symbol in enumerate(symbols)}
    trades, made = fills.to_dicts(), orders.to_dicts()
    broken = _decisions(trades, made, slots, local)
    broken += _latencies(trades, made, entry_ns, response_ns)
    broken += _venue(trades, slots, _facts(market), whole_fills=whole_fills)
    return broken


def _decisions(
    trades: list[dict[str, Any]], made: list[dict[str, Any]], slots: dict[str, int], local: Any
) -> list[Violation]:
    """Rule (a)."""
    broken = []
    local_ns = local["local_ns"]
    for order in made:
        before = int(np.searchsorted(local_ns, order["decided_ns"], side="left"))
        if order["sequence"] < before and order["decided_ns"] > 0:
            broken.append(
                Violation("a", order["sequence"], f"decided at {order['decided_ns']} without {before} earlier rows")
            )
    points = sorted(
        {(each["sequence"], each["decided_ns"]) for each in made}
        | {(each["sequence"], each["local_ns"]) for each in trades}
    )
    for (_, earlier), (sequence, later) in pairwise(points):
        if later < earlier:
            broken.append(Violation("a", sequence, f"time goes back from {earlier} to {later}"))
    times, mids = _mids(local)
    for trade in trades:
        slot = slots[trade["symbol"]]
        first = max(bisect_left(times[slot], trade["decided_ns"]) - 1, 0)
        seen = set(mids[slot][first : bisect_right(times[slot], trade["decided_ns"])])
        if trade["decision_mid2_int"] and trade["decision_mid2_int"] not in seen:
            broken.append(
                Violation(
                    "a",
                    trade["sequence"],
                    f"mid {trade['decision_mid2_int']} / 2 was not to be seen at {trade['decided_ns']}",
                )
            )
    return broken


def _mids(local: Any) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Per instrument: when the node's view changed, and bid + ask from then on (twice the last price without a touch)."""
    shown: dict[int, _Shown] = defaultdict(_Shown)
    touch: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    times: dict[int, list[int]] = defaultdict(list)
    mids: dict[int, list[int]] = defaultdict(list)
    for _, head, tail in _facts(local):
        slot = head["instrument"]
        view = shown[slot]
        view.apply(head, tail)
        if head["kind"] == rows.QUOTE:
            touch[slot] = (head["bid"], head["ask"])
        elif head["kind"] == rows.SNAPSHOT_END or (head["kind"] in _BOOK and head["flags"] & rows.FLAG_EVENT_END):
            touch[slot] = (max(view.levels[0], default=0), min(view.levels[1], default=0))
        bid, ask = touch[slot]
        times[slot].append(head["local_ns"])
        mids[slot].append(bid + ask if bid > 0 and ask > 0 else 2 * view.last)
    return times, mids


def _latencies(
    trades: list[dict[str, Any]], made: list[dict[str, Any]], entry_ns: int, response_ns: int
) -> list[Violation]:
    """Rule (d)."""
    broken = [
        Violation("d", order["sequence"], f"arrived at {order['arrived_ns']}, decided at {order['decided_ns']}")
        for order in made
        if order["arrived_ns"] and order["arrived_ns"] < order["decided_ns"] + entry_ns
    ]
    for trade in trades:
        if trade["local_ns"] < trade["venue_ns"] + response_ns:
            broken.append(
                Violation("d", trade["sequence"], f"known at {trade['local_ns']}, filled at {trade['venue_ns']}")
            )
        if trade["venue_ns"] < trade["decided_ns"] + entry_ns:
            broken.append(
                Violation("d", trade["sequence"], f"filled at {trade['venue_ns']}, decided at {trade['decided_ns']}")
            )
    return broken


def _venue(
    trades: list[dict[str, Any]],
    slots: dict[str, int],
    facts: list[tuple[int, dict[str, int], dict[str, int] | None]],
    *,
    whole_fills: bool,
) -> list[Violation]:
    """Rules (b) and (c): fills are asked about when the rows they may know have been applied, and no more."""
    broken: list[Violation] = []
    effective = [_effective_ns(head, tail) for _, head, tail in facts]
    fact_of_row = {index: number for number, (index, _, _) in enumerate(facts)}
    asked: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for trade in trades:
        if trade["cause_id"] < 0:
            asked[bisect_right(effective, trade["venue_ns"])].append(trade)
        elif trade["cause_id"] not in fact_of_row:
            broken.append(Violation("c", trade["sequence"], f"there is no row {trade['cause_id']} to have caused it"))
        else:
            asked[fact_of_row[trade["cause_id"]] + 1].append(trade)
        if trade["maker"] and trade["cause_id"] < 0:
            broken.append(Violation("c", trade["sequence"], "a passive fill without a row that caused it"))
    shown: dict[int, _Shown] = defaultdict(_Shown)
    for number in range(len(facts) + 1):
        for trade in asked.get(number, ()):
            slot = slots[trade["symbol"]]
            if trade["cause_id"] >= 0:
                cause = facts[number - 1]
                broken += _caused(trade, slot, cause[1], cause[2], effective[number - 1])
            if not trade["maker"]:
                what = _priced(trade, shown[slot], whole_fills=whole_fills)
                if what:
                    broken.append(Violation("b", trade["sequence"], what))
        if number < len(facts):
            _, head, tail = facts[number]
            shown[head["instrument"]].apply(head, tail)
    return broken


def _priced(trade: dict[str, Any], view: _Shown, *, whole_fills: bool) -> str:
    """What is wrong with an aggressive fill, given what the venue showed."""
    price, side = trade["price_int"], trade["side"]
    if view.kinds & set(_BOOK):
        there = view.levels[side > 0]
        displayed = there.get(price, 0)
        if not displayed:
            return f"no quantity was displayed at {price}"
    elif view.touch is not None:
        best, displayed = (view.touch[2], view.touch[3]) if side > 0 else (view.touch[0], view.touch[1])
        if price != best:
            return f"filled at {price}, the venue showed {best}"
    elif view.bar is not None:
        start, end, low, high = view.bar
        inside = start <= trade["venue_ns"] <= end and low <= price <= high
        return "" if inside else f"{price} at {trade['venue_ns']} is not on the bar {view.bar}"
    else:
        return "" if price == view.last else f"filled at {price}, the last price was {view.last}"
    if trade["qty_int"] > displayed and not whole_fills:
        return f"filled {trade['qty_int']} at {price}, {displayed} was displayed"
    return ""


def _caused(
    trade: dict[str, Any], slot: int, head: dict[str, int], tail: dict[str, int] | None, effective_ns: int
) -> list[Violation]:
    """What is wrong with the row that a fill names."""
    found = []
    if head["instrument"] != slot:
        found.append("its row is another instrument's")
    if effective_ns > trade["venue_ns"]:
        found.append(f"its row is of {effective_ns}, after the fill at {trade['venue_ns']}")
    if head["kind"] == rows.BAR:
        assert tail is not None
        if effective_ns + tail["interval_ns"] <= trade["arrived_ns"]:
            found.append(f"its bar ended before the arrival at {trade['arrived_ns']}")
    else:
        if effective_ns <= trade["arrived_ns"]:
            found.append(f"its row is of {effective_ns}, not after the arrival at {trade['arrived_ns']}")
        if trade["maker"] and not _reaches(trade, head):
            found.append(f"its row does not reach {trade['price_int']}")
    return [Violation("c", trade["sequence"], what) for what in found]


def _reaches(trade: dict[str, Any], head: dict[str, int]) -> bool:
    """Whether a row brings the other side to a resting order's price, or a print to or through it."""
    price, side = trade["price_int"], trade["side"]
    if head["kind"] == rows.TRADE:
        return bool((price - head["price"]) * side >= 0 and head["side"] != side)
    if head["kind"] in {rows.LEVEL, rows.SNAPSHOT_LEVEL}:
        return bool(head["side"] == -side and head["qty"] > 0 and (price - head["price"]) * side >= 0)
    if head["kind"] == rows.QUOTE:
        other, qty = (head["ask"], head["ask_qty"]) if side > 0 else (head["bid"], head["bid_qty"])
        return bool(qty > 0 and (price - other) * side >= 0)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a run's folder: prints every broken rule; 0 when there is none."""
    from twinloop.engine.results import load_run  # noqa: PLC0415 - only as a script

    parser = argparse.ArgumentParser(description="check a run for look-ahead from its output alone")
    parser.add_argument("run", type=Path)
    parser.add_argument("rows", type=Path, help="the row file the node saw")
    parser.add_argument("venue_rows", type=Path, nargs="?", help="the same rows in venue order, where that differs")
    parser.add_argument("--entry-ns", type=int, default=0, help="smallest entry latency")
    parser.add_argument("--response-ns", type=int, default=0, help="smallest response latency")
    parser.add_argument("--whole-fills", action="store_true", help="of a run in the hftbacktest mode")
    chosen = parser.parse_args(arguments)
    run = load_run(chosen.run)
    local = np.memmap(chosen.rows, rows.ROW, mode="r")
    market = local if chosen.venue_rows is None else np.memmap(chosen.venue_rows, rows.ROW, mode="r")
    broken = look_ahead(
        run.fills, run.orders, run.symbols, local, market,
        entry_ns=chosen.entry_ns, response_ns=chosen.response_ns, whole_fills=chosen.whole_fills,
    )  # fmt: skip
    for each in broken:
        sys.stdout.write(f"rule {each.rule}, sequence {each.sequence}: {each.what}\n")
    sys.stdout.write(f"{len(run.fills)} fills, {len(run.orders)} orders, {len(broken)} broken rules\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
