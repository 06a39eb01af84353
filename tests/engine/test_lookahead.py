"""The look-ahead check passes what the engine does and finds every planted violation."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.random_market import setup_of
from reference.run_small import DEPTH, MODES, PRINTS, TOUCH, Outcome, Setup, linear, row, run, tapes

from twinloop.engine.assembly import VenueSettings
from twinloop.engine.lookahead import Violation, look_ahead
from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
SYMBOLS = ["X", "Y"]
FILL_COLUMNS = (
    "sequence", "local_ns", "venue_ns", "side", "order_id", "price_int", "qty_int", "maker", "cause_id", "decided_ns", "arrived_ns",
    "decision_mid2_int",
)  # fmt: skip
ENTRY_NS, RESPONSE_NS = 3, 2


def tables(got: Outcome) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    fills = [
        {name: fill[name] for name in FILL_COLUMNS} | {"symbol": SYMBOLS[fill["instrument"]]} for fill in got.fills
    ]
    orders = [
        {name: order[name] for name in ("sequence", "decided_ns", "order_id")} | {"arrived_ns": order["acked_ns"]}
        for order in got.orders
    ]
    return fills, orders


def check(setup: Setup, fills: list[dict[str, Any]], orders: list[dict[str, Any]]) -> list[Violation]:
    schema = dict.fromkeys(FILL_COLUMNS, pl.Int64) | {"symbol": pl.String}
    order_schema = dict.fromkeys(("sequence", "decided_ns", "order_id", "arrived_ns"), pl.Int64)
    timing = setup.settings
    return look_ahead(
        pl.DataFrame(fills, schema=schema), pl.DataFrame(orders, schema=order_schema), SYMBOLS, *tapes(setup.facts),
        entry_ns=timing.entry_latency_ns, response_ns=timing.response_latency_ns,
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES, ids=["depth", "touch", "prints", "bars"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_the_engine_breaks_no_rule(mode: int, seed: int) -> None:
    setup = setup_of(seed, (mode, TOUCH))
    assert check(setup, *tables(run(setup, SIZE))) == []


def planted(mode: int) -> tuple[Setup, list[dict[str, Any]], list[dict[str, Any]]]:
    """A market order and a resting one that is filled, and the market that did it."""
    facts: list[dict[str, Any]] = []
    for at, middle in enumerate((100, 102, 104, 103, 101, 99, 97, 95)):
        venue_ns = 100 + 10 * at
        local_ns = venue_ns + 4
        if mode == TOUCH:
            facts.append(row(rows.QUOTE, venue_ns, local_ns, bid=middle - 1, bid_qty=50, ask=middle + 1, ask_qty=60))
        elif mode == PRINTS:
            facts.append(row(rows.TRADE, venue_ns, local_ns, price=middle, qty=20, side=-1))
        else:
            facts.append(row(rows.CLEAR, venue_ns, local_ns))
            facts += [
                row(rows.LEVEL, venue_ns, local_ns, side=side, price=middle + away, qty=30, flags=flags)
                for side, away, flags in ((1, -2, 0), (1, -1, 0), (-1, 2, 0), (-1, 1, rows.FLAG_EVENT_END))
            ]
    script = {
        1: [
            ("order", {"side": 1, "qty": 5, "type": codes.MARKET}),
            ("order", {"side": 1, "qty": 5, "type": codes.LIMIT, "price": 98}),
        ]
    }
    setup = Setup(
        [linear("X")], [mode], facts, script, VenueSettings(entry_latency_ns=ENTRY_NS, response_latency_ns=RESPONSE_NS)
    )
    fills, orders = tables(run(setup, SIZE))
    assert [bool(fill["maker"]) for fill in fills] == [False, True]
    assert check(setup, fills, orders) == []
    return setup, fills, orders


TAKER, MAKER = 0, 1
PLANTED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "known before the response latency": ("d", MAKER, {"local_ns": lambda fill: fill["venue_ns"] + RESPONSE_NS - 1}),
    "filled before the entry latency": ("d", TAKER, {"venue_ns": lambda fill: fill["decided_ns"] + ENTRY_NS - 1}),
    "priced from a later book": ("b", TAKER, {"price_int": lambda fill: fill["price_int"] + 1}),
    "priced better than shown": ("b", TAKER, {"price_int": lambda fill: fill["price_int"] - 2}),
    "caused by a row of the future": ("c", MAKER, {"cause_id": lambda fill: fill["cause_id"] + 1}),
    "caused by nothing": ("c", MAKER, {"cause_id": lambda _: -1}),
    "caused before it arrived": ("c", MAKER, {"arrived_ns": lambda fill: fill["venue_ns"]}),
    "caused by no row at all": ("c", MAKER, {"cause_id": lambda _: 10**6}),
    "decided on a later mid": ("a", TAKER, {"decision_mid2_int": lambda fill: fill["decision_mid2_int"] + 4}),
    "time goes back": ("a", MAKER, {"sequence": lambda _: 0}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("mode", [DEPTH, TOUCH, PRINTS], ids=["depth", "touch", "prints"])
def test_a_planted_violation_is_found(mode: int, name: str) -> None:
    setup, fills, orders = planted(mode)
    rule, which, changes = PLANTED[name]
    if mode == DEPTH and name == "priced better than shown":
        changes = {"price_int": lambda fill: fill["price_int"] - 3}  # On the bid side.
    if mode == DEPTH and name == "priced from a later book":
        changes = {"price_int": lambda fill: fill["price_int"] + 2}  # Beyond what is displayed.
    fills[which] |= {field: change(fills[which]) for field, change in changes.items()}
    assert rule in {each.rule for each in check(setup, fills, orders)}


def test_more_than_displayed_is_found() -> None:
    for mode in (DEPTH, TOUCH):
        setup, fills, orders = planted(mode)
        fills[TAKER]["qty_int"] = 61
        assert [each.rule for each in check(setup, fills, orders)] == ["b"]


def test_a_decision_ahead_of_its_rows_is_found() -> None:
    setup, fills, orders = planted(TOUCH)
    orders[0]["sequence"] = 0
    assert "a" in {each.rule for each in check(setup, fills, orders)}


def test_an_arrival_before_the_entry_latency_is_found() -> None:
    setup, fills, orders = planted(TOUCH)
    orders[1]["arrived_ns"] = orders[1]["decided_ns"] + ENTRY_NS - 1
    assert "d" in {each.rule for each in check(setup, fills, orders)}
