"""Slices: never more than was asked for, one at a time, each through the gate."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.run_small import TOUCH, Outcome, Setup, linear, row

from twinloop.engine.assembly import VenueSettings
from twinloop.engine.limits import Limits, parse_limits
from twinloop.kernels import codes, rows
from twinloop.kernels.node import SLICED_IDS, STANDARD

SECOND = 10**9
SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD


def quote(at: int, bid: int = 998, ask: int = 1002, qty: int = 50) -> dict[str, Any]:
    return row(rows.QUOTE, at, at, bid=bid, bid_qty=qty, ask=ask, ask_qty=qty)


def slices(qty: int, slice_qty: int, side: int = 1, **fields: int) -> tuple[str, dict[str, int]]:
    return ("slices", {"side": side, "qty": qty, "slice_qty": slice_qty, **fields})


def play(
    facts: list[dict[str, Any]], script: Any, limits: Limits | None = None, **settings: Any
) -> tuple[Outcome, list[Any]]:
    """A run, and its orders as (side, price, qty, filled, flags, decided) in the order they were made."""
    setup = Setup([linear()], [TOUCH], facts, script, VenueSettings(**settings), limits=limits or parse_limits({}))
    got = run_small.run(setup, SIZE)
    assert got.status == codes.RUN_DONE
    made = sorted(got.orders, key=lambda each: each["order_id"])
    names = ("side", "price_int", "qty_int", "filled_int", "flags", "decided_ns")
    return got, [tuple(each[name] for name in names) for each in made]


def whole(got: Outcome) -> dict[str, int]:
    sliced = got.assembly.decision["sliced"][0]
    return {name: int(sliced[name]) for name in sliced.dtype.names}


def test_a_quantity_is_traded_in_slices_one_after_the_other() -> None:
    got, orders = play(
        [quote(10 * i) for i in range(1, 12)], {0: [slices(10, 4)]}, entry_latency_ns=5, response_latency_ns=5
    )
    assert [each[:4] for each in orders] == [(1, 1002, 4, 4), (1, 1002, 4, 4), (1, 1002, 2, 2)]
    assert {each[4] for each in orders} == {codes.IOC}
    ends = [each["ended_ns"] for each in sorted(got.orders, key=lambda each: each["order_id"])]
    assert all(decided >= ended for decided, ended in zip([each[5] for each in orders[1:]], ends[:-1], strict=True))
    assert got.positions == [10]
    assert (whole(got)["active"], whole(got)["code"]) == (0, codes.ALLOW)
    assert int(got.assembly.decision["slicing"]) == 0


def test_the_interval_passes_between_two_slices() -> None:
    _, orders = play([quote(10 * i) for i in range(1, 30)], {0: [slices(9, 3, expire_ns=70)]})
    assert [each[5] for each in orders] == [10, 80, 150]


def test_no_slice_goes_beyond_the_limit() -> None:
    facts = [quote(10), quote(20, 1000, 1005), quote(30, 1000, 1006), quote(40), quote(50)]
    got, orders = play(facts, {0: [slices(9, 3, price=1004)]}, entry_latency_ns=5, response_latency_ns=5)
    assert [(each[1], each[5]) for each in orders] == [(1002, 10), (1002, 40), (1002, 50)]
    assert got.positions == [9]


def test_what_a_slice_did_not_get_is_asked_for_again_and_not_at_once_where_nothing_was() -> None:
    got, orders = play([quote(SECOND * i, qty=2) for i in range(1, 12)], {0: [slices(6, 4, side=-1)]})
    # At zero latency the second slice meets what the first one left.
    assert [(each[2], each[3], each[5] // SECOND) for each in orders] == [
        (4, 2, 1),
        (4, 0, 1),
        (4, 2, 2),
        (2, 0, 2),
        (2, 2, 3),
    ]
    assert got.positions == [-6]


def test_a_cancel_ends_it_and_the_slice_that_works() -> None:
    facts = [quote(10 * i) for i in range(1, 20)]
    got, orders = play(facts, {0: [slices(20, 4)], 1: [("cancel", 0)], 9: [("cancel", 0)]}, entry_latency_ns=200)
    assert len(orders) == 1
    assert [result for name, result in got.results if name == "cancel"] == [
        SLICED_IDS + SIZE_OF_TABLE,
        -codes.REJECT_TERMINAL,
    ]
    assert int(got.assembly.node["measured"]["cancels"]) == 1
    assert whole(got)["code"] == codes.REASON_REQUESTED


SIZE_OF_TABLE = 32  # The first id's count times the table's size.


@pytest.mark.parametrize("words", [[("cancel_all", -1)], [("cancel_all", 0)]])
def test_cancel_all_ends_slices(words: list[Any]) -> None:
    got, orders = play([quote(10 * i) for i in range(1, 9)], {0: [slices(20, 4, expire_ns=15)], 1: words})
    assert len(orders) == 1
    assert whole(got)["active"] == 0


def test_a_halt_ends_slices() -> None:
    halt = {"kind": rows.HALT, "venue_ns": 15, "local_ns": 15, "instrument": 0, "strategy": codes.UNASSIGNED, "code": 0}
    got, orders = play([quote(10), halt, quote(20), quote(30)], {0: [slices(20, 4)]}, entry_latency_ns=50)
    assert len(orders) == 1
    assert (whole(got)["active"], int(got.assembly.decision["slicing"])) == (0, 0)


def test_a_refusal_of_the_moment_is_tried_again_and_another_ends_it() -> None:
    wide = [quote(10), quote(20, 900, 1100), quote(10**9), quote(2 * 10**9)]
    got, orders = play(wide, {0: [slices(8, 4, expire_ns=5)]}, parse_limits({"max_spread": "1"}))
    assert [each[5] for each in orders] == [10, 10**9]
    assert got.positions == [8]
    got, orders = play(wide, {0: [slices(8, 4)]}, parse_limits({"max_order_qty": "0.003"}))
    assert orders == []
    assert whole(got)["code"] == codes.REJECT_MAX_ORDER_QTY


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ({"qty": 0}, codes.REJECT_QTY), ({"slice_qty": 0}, codes.REJECT_QTY), ({"price": -1}, codes.REJECT_QTY),
        ({"side": 2}, codes.REJECT_TYPE), ({"instrument": 1}, codes.REJECT_INSTRUMENT),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(asked: dict[str, int], verdict: int) -> None:
    got, orders = play([quote(10), quote(20)], {0: [("slices", {"side": 1, "qty": 8, "slice_qty": 4, **asked})]})
    assert got.results == [("slice_order", -verdict)]
    assert orders == []


def test_a_full_table_refuses() -> None:
    got, _ = play([quote(10), quote(20)], {0: [slices(50, 1, expire_ns=10**9)] * (SIZE_OF_TABLE + 1)})
    assert [result < 0 for _, result in got.results] == [False] * SIZE_OF_TABLE + [True]
    assert got.results[-1][1] == -codes.REJECT_ORDERS_FULL


@given(
    qty=st.integers(1, 40), slice_qty=st.integers(1, 15), shown=st.lists(st.integers(1, 9), min_size=5, max_size=40),
    entry=st.integers(0, 25), response=st.integers(0, 25), interval=st.integers(0, 30), stop=st.integers(0, 60),
)  # fmt: skip
def test_never_more_than_asked_for_and_one_at_a_time(
    qty: int, slice_qty: int, shown: list[int], entry: int, response: int, interval: int, stop: int
) -> None:
    facts = [quote(10 * at, qty=each) for at, each in enumerate(shown, 1)]
    got, orders = play(
        facts, {0: [slices(qty, slice_qty, expire_ns=interval)], stop + 1: [("cancel", 0)]},
        entry_latency_ns=entry, response_latency_ns=response,
    )  # fmt: skip
    filled = sum(each[3] for each in orders)
    assert got.positions == [filled]
    assert filled <= qty
    assert all(each[2] <= slice_qty for each in orders)
    assert whole(got)["filled"] == filled
    spans = sorted((each["decided_ns"], each["ended_ns"] or 10**18) for each in got.orders)
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans))
    assert all(later[0] - earlier[0] >= interval for earlier, later in pairwise(spans))
