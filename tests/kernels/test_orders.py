"""What a venue says of our orders, in any order it comes: same position and cash, the proven state, no reserve left behind.

Own-order facts stand on the tape like market rows; the simulated venue hears of the orders too late to answer.
"""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.money import Contract
from reference.run_small import CASH, TOUCH, Drain, Outcome, Setup, linear, row

from twinloop.engine.assembly import ORDERS_KEPT, VenueSettings
from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
FIRST_ID = SIZE.orders  # Ids start at the capacity, with slot 0.
QTY = 10
CONTRACT = Contract("linear", 1, 3)


def fill(qty: int, price: int = 1000, fee: int = 7) -> dict[str, Any]:
    tail = {"cause_id": -1, "fee_currency": 0, "trade_id": 1, "leaves_qty": 0}
    return {"kind": rows.FILL, "price": price, "qty": qty, "fee": fee, "side": 1, "tail": tail}


def fact(kind: int, qty: int = QTY, price: int = 1000) -> dict[str, Any]:
    return {"kind": kind, "price": price, "qty": qty, "code": 5, "side": 1}


ACK, UNKNOWN = fact(rows.ACK), fact(rows.UNKNOWN)
CANCELLED, EXPIRED, REJECT = fact(rows.CANCELLED), fact(rows.EXPIRED), fact(rows.REJECT)
CANCEL_REJECT, AMEND_REJECT = fact(rows.CANCEL_REJECT), fact(rows.AMEND_REJECT)
AMEND_14, AMEND_6 = ("amend", 0, 1001, 14), ("amend", 0, 1001, 6)
CANCEL = ("cancel", 0)
# What the strategy sends after its order, what the venue says, the state it proves.
STORIES: dict[str, tuple[list[Any], list[dict[str, Any]], int]] = {
    "filled": ([], [ACK, fill(4), fill(6, 1001)], codes.STATE_FILLED),
    "filled at once": ([], [fill(10)], codes.STATE_FILLED),
    "cancelled": ([CANCEL], [ACK, fill(4), CANCELLED], codes.STATE_CANCELLED),
    "expired": ([], [ACK, fill(9), EXPIRED], codes.STATE_EXPIRED),
    "rejected": ([], [REJECT], codes.STATE_REJECTED),
    "cancel too late": ([CANCEL], [ACK, CANCEL_REJECT, fill(3), fill(7)], codes.STATE_FILLED),
    "amended up": ([AMEND_14], [ACK, fill(10), fact(rows.AMENDED, 14, 1001), fill(4)], codes.STATE_FILLED),
    "amended up, cancelled": ([AMEND_14, CANCEL], [ACK, fill(11), fact(rows.AMENDED, 14, 1001), CANCELLED], codes.STATE_CANCELLED),
    "amended down": ([AMEND_6], [ACK, fact(rows.AMENDED, 6, 1001), fill(6)], codes.STATE_FILLED),
    "amend refused": ([AMEND_14], [ACK, fill(7), AMEND_REJECT, fill(3)], codes.STATE_FILLED),
    "unknown, then cancelled": ([CANCEL], [ACK, UNKNOWN, fill(2), CANCELLED], codes.STATE_CANCELLED),
    "unknown, then filled": ([], [UNKNOWN, fill(5), fill(5)], codes.STATE_FILLED),
}  # fmt: skip


def tell(sent: list[Any], told: list[dict[str, Any]], *, each_step: Any = None) -> Outcome:
    """Run an order, what is sent with it, and facts one nanosecond apart."""
    header = {"order_id": FIRST_ID, "instrument": 0, "strategy": 0, "account": 0}
    facts: list[dict[str, Any]] = [row(rows.QUOTE, 10, 10, bid=998, bid_qty=50, ask=1002, ask_qty=50)]
    facts += [{**header, "venue_ns": 20 + at, "local_ns": 30 + at, **each} for at, each in enumerate(told)]
    order = ("order", {"side": 1, "qty": QTY, "price": 1000, "type": codes.LIMIT})
    setup = Setup([linear()], [TOUCH], facts, {0: [order, *sent]}, VenueSettings(entry_latency_ns=10**15))
    assembly, desk, log, failures = run_small.prepare(setup, SIZE)
    local, market = run_small.tapes(facts)
    # `order_id` and `trade_id` share bytes: a fill's tail has been given the head's header only.
    assembly.set_tape(local, market[:1])
    drain = Drain(assembly)
    status = 0
    for number in range(len(facts)):
        status = assembly.replay(1)
        assert not failures, failures
        assert assembly.node["status"] == 0
        if each_step is not None and number:
            each_step(assembly, told[:number])
    return run_small.outcome(assembly, desk, log, drain, status)


def duplicated(told: list[dict[str, Any]], doubles: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Some facts other than fills once more, somewhere after."""
    out = list(told)
    for which, where in doubles:
        at = which % len(out)
        if out[at]["kind"] != rows.FILL:
            out.insert(at + 1 + where % (len(out) - at), out[at])
    return out


def check_end(got: Outcome, told: list[dict[str, Any]], state: int) -> None:
    order = got.assembly.decision["orders"][0]
    fills = [each for each in told if each["kind"] == rows.FILL]
    filled = sum(each["qty"] for each in fills)
    position = got.assembly.decision["account_holdings"][0][0]["position"]
    assert int(order["state"]) == state
    assert int(order["filled"]) == filled
    assert got.positions == [filled]
    assert int(position["cost"]) == sum(CONTRACT.value(each["qty"], each["price"]) for each in fills)
    assert got.cash == CASH - sum(each["fee"] for each in fills)
    assert int(order["reserved"]) == int(order["pending"]) == int(order["amends"]) == 0
    assert int(got.assembly.decision["open_count"]) == 0
    for holdings in ("account_holdings", "strategy_holdings"):
        exposure = got.assembly.decision[holdings][0][0]["exposure"]
        assert (int(exposure["buy_qty"]), int(exposure["sell_qty"])) == (0, 0)
    assert len({record["order_id"] for record in got.orders}) == 1
    assert len(got.fills) == len(fills)


def check_step(assembly: Any, told: list[dict[str, Any]]) -> None:
    """While nothing proves the end, what may still fill stays reserved; a fact is never foreign."""
    order = assembly.decision["orders"][0]
    exposure = assembly.decision["account_holdings"][0][0]["exposure"]
    assert int(exposure["buy_qty"]) == int(order["reserved"])
    ended = {rows.REJECT, rows.CANCELLED, rows.EXPIRED}
    filled = sum(each["qty"] for each in told if each["kind"] == rows.FILL)
    if int(order["state"]) < codes.STATE_FILLED:
        most = max(int(order["qty"]), int(order["amend_qty"]) if order["amends"] else 0)
        assert int(order["reserved"]) == max(most - filled, 0)
    else:
        assert int(order["reserved"]) == 0
        assert filled >= int(order["qty"]) or any(each["kind"] in ended for each in told)
    assert int(assembly.node["measured"]["foreign_facts"]) == 0


@pytest.mark.parametrize("story", STORIES)
def test_every_arrival_order_ends_the_same(story: str) -> None:
    sent, told, state = STORIES[story]
    for order in permutations(told):
        got = tell(sent, list(order), each_step=check_step)
        check_end(got, list(order), state)


@given(
    story=st.sampled_from(list(STORIES)),
    data=st.data(),
    doubles=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4),
)
def test_a_fact_told_twice_changes_nothing(story: str, data: Any, doubles: list[tuple[int, int]]) -> None:
    sent, told, state = STORIES[story]
    once = data.draw(st.permutations(told))
    twice = duplicated(once, doubles)
    check_end(tell(sent, twice, each_step=check_step), once, state)


@pytest.mark.parametrize(
    "ended", [CANCELLED, EXPIRED, REJECT, fill(10)], ids=["cancelled", "expired", "rejected", "filled"]
)
def test_a_fill_is_booked_whatever_the_state(ended: dict[str, Any]) -> None:
    got = tell([], [ended, fill(3)])
    before = ended["qty"] if ended["kind"] == rows.FILL else 0
    assert got.positions == [before + 3]
    assert got.cash == CASH - 7 * (1 + (before > 0))
    measured = got.assembly.node["measured"]
    assert int(measured["late_fills"]) + int(measured["overfills"]) == 1
    assert int(got.assembly.decision["orders"][0]["state"]) == {
        rows.CANCELLED: codes.STATE_CANCELLED, rows.EXPIRED: codes.STATE_EXPIRED, rows.REJECT: codes.STATE_REJECTED, rows.FILL: codes.STATE_FILLED,
    }[ended["kind"]]  # fmt: skip
    # The record written at the end knew nothing of the late fill: another follows, and the last counts.
    assert [int(record["filled_int"]) for record in got.orders] == [before, before + 3]


def test_more_than_ordered_is_booked_and_counted() -> None:
    got = tell([], [ACK, fill(6), fill(6)])
    assert got.positions == [12]
    assert int(got.assembly.node["measured"]["overfills"]) == 1
    assert int(got.assembly.decision["open_count"]) == 0


def test_a_late_fact_for_a_slot_used_again_is_foreign() -> None:
    """The slot's next order must not hear of it."""
    slots = min(ORDERS_KEPT, SIZE.orders)
    quote = row(rows.QUOTE, 10, 10, bid=998, bid_qty=50, ask=1002, ask_qty=50)
    own = {"instrument": 0, "strategy": 0, "account": 0, "order_id": FIRST_ID, "venue_ns": 20}
    quotes = [{**quote, "local_ns": 40 + at} for at in range(8)]
    facts = [quote, {**own, "local_ns": 30, **CANCELLED}, *quotes]
    facts += [
        {**own, "local_ns": 60 + at, **each} for at, each in enumerate([ACK, fact(rows.AMENDED, 3), CANCELLED, fill(4)])
    ]
    order = ("order", {"side": 1, "qty": QTY, "price": 1000, "type": codes.LIMIT})
    per_call = -(-slots // 8)
    script = {0: [order]} | {
        2 + at: [order] * min(per_call, slots - at * per_call) for at in range(8) if slots > at * per_call
    }
    setup = Setup([linear()], [TOUCH], facts, script, VenueSettings(entry_latency_ns=10**15))
    assembly, desk, _, failures = run_small.prepare(setup, SIZE)
    local, market = run_small.tapes(facts)
    assembly.set_tape(local, market[:1])
    for _ in range(len(facts)):
        assembly.replay(1)
        Drain(assembly)()
    assert not failures, failures
    assert len(desk.ids) == slots + 1
    assert desk.ids[-1] % SIZE.orders == FIRST_ID % SIZE.orders
    order_now = assembly.decision["orders"][0]
    assert int(order_now["id"]) == desk.ids[-1]
    assert (int(order_now["state"]), int(order_now["filled"]), int(order_now["qty"])) == (codes.STATE_NEW, 0, QTY)
    assert int(assembly.node["measured"]["foreign_facts"]) == 4
    # What was traded is ours whoever's order it was: the position has it, no order does.
    for holdings in ("account_holdings", "strategy_holdings"):
        assert int(assembly.decision[holdings][0][0]["position"]["qty"]) == 4
    assert int(assembly.decision["account_holdings"][0][0]["exposure"]["buy_qty"]) == QTY * slots
