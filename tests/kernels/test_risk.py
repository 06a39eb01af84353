"""Each limit at limit - 1, limit and limit + 1 through the desk, each verdict by state and intent, and what facts do to states."""

from typing import Any

import pytest
from reference.risk_node import NOW, ONE, SECOND, Desk, inverse, linear

from twinloop.kernels import codes, rows
from twinloop.kernels.node import ACCOUNT_LIMIT, ACCOUNT_LIMIT_WORDS, INSTRUMENT_LIMIT_WORDS, NEVER, STANDARD

BID, ASK = 999, 1001  # Mid 1000 of 0.1: one unit of quantity (0.001) is worth 0.1 of the currency.
UNIT = ONE // 10
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.quote(BID, ASK)
    return made


def refused(desk: Desk, code: int, result: int, limit: int | None = None, value: int | None = None) -> None:
    """The verdict, its record for the risk table, and that nothing went out or was reserved for it."""
    assert codes.CODE_NAME[-result] == codes.CODE_NAME[code]
    record = desk.node["verdicts"][int(desk.node["verdict_count"]) - 1]
    assert record["verdict"] == code
    if limit is not None:
        assert record["limit"] == limit
    if value is not None:
        assert record["value"] == value


# Limits of one order. Each case: the limit set, the order that is just within, the order that is just beyond, the verdict.

BOUNDARIES: dict[str, Any] = {
    "max_order_qty": ({"max_order_qty": 50}, {"qty": 50}, {"qty": 51}, codes.REJECT_MAX_ORDER_QTY),
    "max_order_notional": ({"max_order_notional": 50 * UNIT}, {"qty": 50, "price": 1000}, {"qty": 50, "price": 1001}, codes.REJECT_MAX_ORDER_NOTIONAL),
    "max_order_pct": ({"max_order_e8": 500}, {"qty": 50, "price": 1000}, {"qty": 51, "price": 1000}, codes.REJECT_MAX_ORDER_NOTIONAL),
    "collar, high": ({"price_collar_e8": 2_000_000}, {"qty": 1, "price": 1020}, {"qty": 1, "price": 1021}, codes.REJECT_PRICE_COLLAR),
    "collar, low": ({"price_collar_e8": 2_000_000}, {"qty": 1, "price": 980}, {"qty": 1, "price": 979}, codes.REJECT_PRICE_COLLAR),
    "position": ({"max_position_long": 50}, {"qty": 50, "price": 1000}, {"qty": 51, "price": 1000}, codes.REJECT_MAX_POSITION),
    "position value": ({"max_position_notional": 50 * UNIT}, {"qty": 50, "price": 999}, {"qty": 51, "price": 999}, codes.REJECT_MAX_POSITION),
    "position share": ({"max_position_e8": 500}, {"qty": 50, "price": 999}, {"qty": 51, "price": 999}, codes.REJECT_MAX_POSITION),
    "no configured quantity": ({"max_order_qty": 0}, None, {"qty": 1}, codes.REJECT_MAX_ORDER_QTY),
    "not allowed": ({"allowed": 0b10}, None, {"qty": 1}, codes.REJECT_INSTRUMENT),
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDARIES)
def test_an_order_at_its_limit_passes_and_one_unit_beyond_does_not(desk: Desk, name: Any) -> None:
    limits, within, beyond, code = BOUNDARIES[name]
    desk.limit(**limits)
    if within is not None:
        order = desk.submit(1, **within)
        assert order > 0
        desk.answer(rows.CANCELLED, order)
    refused(desk, code, desk.submit(1, **beyond))
    assert desk.decision["open_count"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "max_order_qty",
        "max_order_notional",
        "max_order_pct",
        "collar, high",
        "collar, low",
        "position",
        "position value",
    ],
)
def test_an_amend_is_held_to_the_same_limits(desk: Desk, name: Any) -> None:
    limits, within, beyond, code = BOUNDARIES[name]
    order = desk.submit(1, 1, 1000)
    desk.limit(**limits)
    assert desk.amend(order, within.get("price", 1000), within["qty"]) == order
    refused(desk, code, desk.amend(order, beyond.get("price", 1000), beyond["qty"]))
    holding = desk.decision["account_holdings"][0, 0]["exposure"]
    assert holding["buy_qty"] == within["qty"]


def test_a_market_order_is_valued_at_the_edge_of_the_collar(desk: Desk) -> None:
    desk.limit(price_collar_e8=10_000_000, max_order_notional=11 * UNIT)
    assert desk.submit(1, 10) > 0  # 10 * 1100
    refused(desk, codes.REJECT_MAX_ORDER_NOTIONAL, desk.submit(-1, 11), 11 * UNIT, 11 * 11 * UNIT // 10)


def test_a_stop_is_valued_from_its_trigger_and_collared_there(desk: Desk) -> None:
    desk.limit(price_collar_e8=10_000_000, max_order_notional=22 * UNIT)
    assert desk.submit(1, 10, type=codes.STOP, trigger_price=2000) > 0  # 10 * 2200
    refused(desk, codes.REJECT_MAX_ORDER_NOTIONAL, desk.submit(1, 10, type=codes.STOP, trigger_price=2001))
    assert desk.submit(1, 10, 2200, type=codes.STOP_LIMIT, trigger_price=2000) > 0
    refused(desk, codes.REJECT_PRICE_COLLAR, desk.submit(1, 9, 2201, type=codes.STOP_LIMIT, trigger_price=2000))


def test_an_inverse_contract_is_valued_where_it_costs_most() -> None:
    desk = Desk([inverse()], currency="BTC")
    desk.quote(BID, ASK)
    one = 100 * ONE // 100  # 100 dollars at 100.0
    desk.limit(max_order_notional=5 * one)
    assert desk.submit(-1, 5, 1000) > 0
    refused(desk, codes.REJECT_MAX_ORDER_NOTIONAL, desk.submit(-1, 5, 999))
    assert desk.submit(1, 5, 1001) > 0  # It may fill at the mid, not at more than its limit's value.
    desk.limit(max_order_notional=5 * one - 1)
    refused(desk, codes.REJECT_MAX_ORDER_NOTIONAL, desk.submit(1, 5, 1001))


@pytest.mark.parametrize(
    ("spread", "passes"), [(4, True), (5, True), (6, False)]
)  # fmt: skip
def test_max_spread(desk: Desk, spread: Any, passes: Any) -> None:
    desk.limit(max_spread=5)
    desk.quote(1000, 1000 + spread)
    assert (desk.submit(1, 1, 1000) > 0) is passes
    desk.limit(max_spread=NEVER, max_spread_e8=10**8 * 5 * 2 // 2005)
    desk.quote(1000, 1000 + spread)
    assert (desk.submit(1, 1, 1000) > 0) is (spread < 5)  # 5 / 1002.5 does not divide: the share is rounded down.


def test_without_two_sides_there_is_no_spread_within_a_limit(desk: Desk) -> None:
    desk.limit(max_spread=10**6)
    desk.feed(desk.row(rows.QUOTE, bid=0, ask=1001), desk.row(rows.TRADE, price=1000, qty=1))
    refused(desk, codes.REJECT_MAX_SPREAD, desk.submit(1, 1, 1000), 10**6, -1)


# The venue's rules.


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"side": 1, "qty": 10, "price": 1003}, codes.REJECT_OFF_GRID),
        ({"side": 1, "qty": 12, "price": 1000}, codes.REJECT_OFF_GRID),
        ({"side": 1, "qty": 15, "type": codes.STOP, "trigger_price": 1001}, codes.REJECT_OFF_GRID),
        ({"side": 1, "qty": 5, "price": 1000}, codes.REJECT_QTY),
        ({"side": 1, "qty": 105, "price": 1000}, codes.REJECT_QTY),
        ({"side": 1, "qty": 10, "price": 995}, codes.REJECT_MIN_NOTIONAL),
        ({"side": 1, "qty": 0, "price": 1000}, codes.REJECT_QTY),
        ({"side": 1, "qty": -5, "price": 1000}, codes.REJECT_QTY),
        ({"side": 0, "qty": 10, "price": 1000}, codes.REJECT_TYPE),
        ({"side": 2, "qty": 10, "price": 1000}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": -1000}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 0, "type": codes.LIMIT}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "type": codes.MARKET}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "type": 7}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "trigger_price": 5}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "type": codes.STOP}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "flags": 5}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "flags": 64}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "flags": codes.GTD}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 1000, "flags": codes.POST_ONLY | codes.IOC}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "flags": codes.POST_ONLY}, codes.REJECT_TYPE),
        ({"side": 1, "qty": 10, "price": 2**61}, codes.REJECT_OVERFLOW),
        ({"side": 1, "qty": 10, "price": INT64_MAX}, codes.REJECT_OVERFLOW),
        ({"side": INT64_MIN, "qty": INT64_MIN, "price": INT64_MIN}, codes.REJECT_QTY),
    ],
)
def test_what_the_venue_or_sense_forbids_is_refused(order: Any, code: Any) -> None:
    desk = Desk([linear(tick_size=5, lot_size=5, min_qty=10, max_qty=100, min_notional=10 * UNIT)])
    desk.quote(995, 1005)
    assert desk.submit(1, 10, 1000) > 0
    assert desk.submit(1, 100) > 0
    refused(desk, code, desk.submit(order.pop("side"), order.pop("qty"), order.pop("price", 0), **order))


@pytest.mark.parametrize("limit", [{"max_order_notional": NEVER - 1}, {"max_position_notional": NEVER - 1}])
def test_a_value_beyond_64_bits_is_refused(limit: Any) -> None:
    desk = Desk([linear(max_qty=10**18 - 1)])
    desk.quote(BID, ASK)
    desk.decision["instruments"][0]["max_qty"] = INT64_MAX
    desk.limit(**limit)
    most = INT64_MAX // 10**4 // 1000
    assert desk.submit(1, most, 1000) > 0
    desk.answer(rows.CANCELLED, STANDARD.orders)
    refused(desk, codes.REJECT_OVERFLOW, desk.submit(1, most + 1, 1000))
    refused(desk, codes.REJECT_OVERFLOW, desk.submit(1, INT64_MAX, 1000))


def test_a_worst_case_beyond_64_bits_is_refused(desk: Desk) -> None:
    desk.decision["instruments"][0]["max_qty"] = INT64_MAX
    assert desk.submit(1, INT64_MAX - 5, 1000) > 0
    assert desk.submit(1, 5, 1000) > 0
    refused(desk, codes.REJECT_OVERFLOW, desk.submit(1, 1, 1000))


# References and data.


def test_no_reference_no_order() -> None:
    empty = Desk()
    refused(empty, codes.REJECT_NO_REFERENCE, empty.submit(1, 1, 1000))
    refused(empty, codes.REJECT_NO_REFERENCE, empty.submit(1, 1))
    for row in (empty.row(rows.MARK, price=1000), empty.row(rows.TRADE, price=1000, qty=1)):
        empty.feed(row)
        assert empty.submit(1, 1) > 0


@pytest.mark.parametrize("age", [999, 1000, 1001])
@pytest.mark.parametrize("source", ["quote", "trade", "mark"])
def test_a_reference_may_be_as_old_as_max_data_age(age: Any, source: Any) -> None:
    desk = Desk()
    desk.limit(max_data_age_ns=1000)
    facts = {
        "quote": desk.row(rows.QUOTE, bid=BID, ask=ASK),
        "trade": desk.row(rows.TRADE, price=1000, qty=1),
        "mark": desk.row(rows.MARK, price=1000),
    }
    desk.feed(facts[source])
    desk.feed(desk.row(rows.STATUS, at=NOW + age))
    for price in (1000, 0):
        result = desk.submit(1, 1, price)
        if age <= 1000:
            assert result > 0
        else:
            refused(desk, codes.REJECT_STALE, result, 1000, 1001)


def test_a_stale_feed_and_a_broken_book_stop_new_orders(desk: Desk) -> None:
    desk.feed(desk.row(rows.FEED_STALE))
    refused(desk, codes.REJECT_STALE, desk.submit(1, 1, 1000))
    desk.feed(desk.row(rows.FEED_RECOVERED))
    assert desk.submit(1, 1, 1000) > 0
    deep = Desk(mode=0)
    end = rows.FLAG_EVENT_END
    levels = [
        deep.row(rows.LEVEL, side=1, price=999, qty=5),
        deep.row(rows.LEVEL, side=-1, price=1001, qty=5, flags=end),
    ]
    deep.feed(*levels)
    assert deep.decision["instruments"][0]["book"] == 0
    order = deep.submit(1, 1, 1000)
    assert order > 0
    deep.feed(deep.row(rows.FEED_GAP))
    refused(deep, codes.REJECT_STALE, deep.submit(1, 1, 1000))
    assert deep.cancel(order) == order


# Exposure.


def test_working_orders_count_at_worst_case_until_the_venue_proves_them_gone(desk: Desk) -> None:
    desk.limit(max_position_long=100, max_position_short=100)
    first = desk.submit(1, 60, 1000)
    desk.answer(rows.UNKNOWN, first)
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 41, 1000), 100, 101)
    assert desk.cancel(first) == first  # Pending-cancel frees nothing.
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 41, 1000))
    second = desk.submit(1, 40, 1000)
    assert second > 0
    assert desk.submit(-1, 100, 1001) > 0  # The other side has its own worst case: nothing else fills.
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(-1, 1, 1001), 100, 101)
    desk.fill(first, 1000, 60)
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000), 100, 101)
    desk.answer(rows.CANCELLED, second)
    assert desk.submit(1, 40, 1000) > 0
    assert desk.submit(-1, 60, 1001) > 0  # Long 60 now: the short side has room for as much more.
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(-1, 1, 1001))


def test_of_amends_under_way_the_largest_counts_until_the_last_answer(desk: Desk) -> None:
    desk.limit(max_position_long=100)
    order = desk.submit(1, 10, 1000)
    assert desk.amend(order, 1000, 100) == order
    assert desk.amend(order, 1000, 20) == order
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000), 100, 101)
    desk.answer(rows.AMEND_REJECT, order)
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000))
    desk.answer(rows.AMENDED, order, price=1000, qty=20)
    assert desk.submit(1, 80, 1000) > 0


def test_a_change_by_somebody_else_answers_no_amend_under_way(desk: Desk) -> None:
    desk.limit(max_position_long=100)
    order = desk.submit(1, 10, 1000)
    assert desk.amend(order, 1000, 100) == order
    desk.answer(rows.AMENDED, order, price=1001, qty=5, code=codes.REASON_UNSOLICITED)
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000), 100, 101)
    desk.answer(rows.AMENDED, order, price=1000, qty=100)
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000), 100, 101)
    desk.answer(rows.AMENDED, order, price=1001, qty=5, code=codes.REASON_UNSOLICITED)
    assert desk.submit(1, 95, 1000) > 0  # Nothing is under way any more.


def test_each_strategy_is_held_to_the_limit_alone_as_well() -> None:
    desk = Desk(strategies=2)
    desk.quote(BID, ASK)
    desk.limit(max_position_long=50, max_position_short=50)
    assert desk.fill(desk.submit(1, 50, 1000, strategy=0), 1000, 50) == codes.RUN_DONE
    assert desk.fill(desk.submit(-1, 50, 1000, strategy=1), 1000, 50) == codes.RUN_DONE  # The account is flat.
    refused(desk, codes.REJECT_MAX_POSITION, desk.submit(1, 1, 1000, strategy=0), 50, 51)
    assert desk.submit(1, 50, 1000, strategy=1) > 0


@pytest.mark.parametrize(("name", "code"), [("max_gross", codes.REJECT_MAX_GROSS), ("max_net", codes.REJECT_MAX_NET)])
def test_gross_and_net_exposure_over_instruments(name: Any, code: Any) -> None:
    desk = Desk([linear("A"), linear("B")])
    for slot in (0, 1):
        desk.quote(BID, ASK, slot)
    desk.bound(**{name: 100 * UNIT})
    assert desk.submit(1, 60, 1000, instrument=0) > 0
    assert desk.submit(1, 40, 1000, instrument=1) > 0
    refused(desk, code, desk.submit(1, 1, 1000, instrument=1), 100 * UNIT, 101 * UNIT)
    assert desk.submit(-1, 40, 1000, instrument=1) > 0  # Not more than the buys there: the worst case stays.
    result = desk.submit(-1, 1, 1000, instrument=1)
    assert (result > 0) is (name == "max_net")
    desk.quote(BID + 10, ASK + 10, 0)  # The market moves; what is over its limit now is not refused to shrink.
    if name == "max_gross":
        assert desk.submit(-1, 60, 1010, instrument=0) > 0


def test_an_instrument_without_exposure_leaves_the_sum() -> None:
    desk = Desk([linear("A"), linear("B")])
    for slot in (0, 1):
        desk.quote(BID, ASK, slot)
    desk.bound(max_gross=100 * UNIT)
    order = desk.submit(1, 100, 1000, instrument=0)
    refused(desk, codes.REJECT_MAX_GROSS, desk.submit(1, 1, 1000, instrument=1))
    desk.answer(rows.CANCELLED, order)
    assert desk.submit(1, 100, 1000, instrument=1) > 0
    assert desk.decision["accounts"][0]["exposed_count"] == 1


@pytest.mark.parametrize("qty", [99, 100, 101])
def test_margin_is_needed_for_the_worst_case(qty: Any) -> None:
    desk = Desk(cash=UNIT * 10)
    desk.quote(BID, ASK)
    desk.bound(initial_margin_e8=10_000_000)
    result = desk.submit(1, qty, 1000)
    if qty <= 100:
        assert result > 0
    else:
        refused(desk, codes.REJECT_MARGIN, result, UNIT * 10, UNIT * 101 // 10)


def test_limits_are_in_the_account_currency_and_need_a_rate() -> None:
    desk = Desk([linear(settle="EUR", quote="EUR")])
    desk.quote(BID, ASK)
    desk.limit(max_order_notional=15 * UNIT)
    currency = desk.assembly.currency("EUR")
    desk.decision["fx"][currency] = ONE * 3 // 2
    assert desk.submit(1, 10, 1000) > 0
    refused(desk, codes.REJECT_MAX_ORDER_NOTIONAL, desk.submit(1, 11, 1000))
    desk.decision["fx"][currency] = 0
    refused(desk, codes.REJECT_NO_REFERENCE, desk.submit(1, 1, 1000))


# Pace.


def test_the_throttle_refills_with_local_time_and_never_refuses_a_cancel(desk: Desk) -> None:
    desk.bound(messages_per_s=2, message_burst=3)
    orders = [desk.submit(1, 1, 1000) for _ in range(3)]
    assert min(orders) > 0
    refused(desk, codes.REJECT_THROTTLE, desk.submit(1, 1, 1000), 2)
    refused(desk, codes.REJECT_THROTTLE, desk.amend(orders[0], 999, 1))
    assert desk.cancel(orders[0]) == orders[0]
    for wait, passes in ((SECOND // 2 - 1, False), (SECOND // 2, True), (SECOND // 2, False), (SECOND, True)):
        desk.feed(desk.row(rows.STATUS, at=NOW + wait))
        assert (desk.submit(1, 1, 1000) > 0) is passes, wait
    desk.feed(desk.row(rows.STATUS, at=NOW + 3600 * SECOND))
    assert [desk.submit(1, 1, 1000) > 0 for _ in range(4)] == [True, True, True, False]


def test_a_refused_order_costs_no_message(desk: Desk) -> None:
    desk.bound(messages_per_s=1, message_burst=1)
    desk.decision["strategies"]["tokens_e9"] = SECOND
    desk.limit(max_order_qty=5)
    refused(desk, codes.REJECT_MAX_ORDER_QTY, desk.submit(1, 6, 1000))
    assert desk.submit(1, 5, 1000) > 0


def test_equal_orders_are_counted_in_the_window(desk: Desk) -> None:
    desk.bound(duplicate_window_ns=1000, duplicate_max=2)
    assert desk.submit(1, 1, 1000) > 0
    assert desk.submit(1, 1, 1000) > 0
    refused(desk, codes.REJECT_DUPLICATE, desk.submit(1, 1, 1000), 2, 3)
    for other in ({"qty": 2}, {"price": 1001}, {"flags": codes.DAY, "qty": 3}):
        assert desk.submit(1, **({"qty": 1, "price": 1000} | other)) > 0
    assert desk.submit(-1, 1, 1000) > 0
    for price, trigger in ((1002, 1001), (1002, 1001), (1001, 1002)):  # Of the last, price and trigger are swapped.
        assert desk.submit(1, 1, price, type=codes.STOP_LIMIT, trigger_price=trigger) > 0
    desk.feed(desk.row(rows.STATUS, at=NOW + 1000))
    refused(desk, codes.REJECT_DUPLICATE, desk.submit(1, 1, 1000))
    desk.feed(desk.row(rows.STATUS, at=NOW + 1001))
    assert desk.submit(1, 1, 1000) > 0


# Own orders on the other side.


@pytest.mark.parametrize(
    ("price", "flags", "kind", "meets"),
    [
        (1004, codes.GTC, codes.LIMIT, False),
        (1005, codes.GTC, codes.LIMIT, True),
        (1006, codes.IOC, codes.LIMIT, True),
        (0, codes.IOC, codes.MARKET, True),
        (0, codes.GTC, codes.STOP, False),
    ],
)
def test_an_order_that_would_meet_our_own_is_refused(price: Any, flags: Any, kind: Any, meets: Any) -> None:
    desk = Desk(strategies=2)
    desk.quote(BID, ASK)
    desk.bound(self_match=1)
    resting = desk.submit(-1, 5, 1005, strategy=1)
    trigger = 1010 if kind == codes.STOP else 0
    result = desk.submit(1, 1, price, type=kind, flags=flags, trigger_price=trigger)
    if meets:
        refused(desk, codes.REJECT_SELF_MATCH, result, 1005, price)
    else:
        assert result > 0
    desk.answer(rows.CANCELLED, resting)
    assert desk.submit(1, 1, price, type=kind, flags=flags, trigger_price=trigger) > 0


def test_an_amend_under_way_stands_at_both_prices(desk: Desk) -> None:
    desk.bound(self_match=1)
    resting = desk.submit(-1, 5, 1005)
    desk.amend(resting, 1003, 5)
    refused(desk, codes.REJECT_SELF_MATCH, desk.submit(1, 1, 1003), 1003, 1003)
    desk.answer(rows.AMEND_REJECT, resting)
    buy = desk.submit(1, 1, 1003)
    assert buy > 0
    refused(desk, codes.REJECT_SELF_MATCH, desk.amend(buy, 1005, 1), 1005, 1005)


# Slippage.


def deep_book() -> Desk:
    desk = Desk(mode=0)
    levels = [(-1, 1001, 5), (-1, 1002, 5), (-1, 1010, 5), (1, 999, 5)]
    made = [desk.row(rows.LEVEL, side=side, price=price, qty=qty) for side, price, qty in levels]
    made[-1]["flags"] = rows.FLAG_EVENT_END
    desk.feed(*made)
    return desk


@pytest.mark.parametrize(
    ("qty", "cost"), [(5, 5), (10, 15), (15, 65), (16, 65 + 100)]
)  # In 0.1 * 0.001; what the book does not show is bought at the collar's edge, 1100.
def test_slippage_is_estimated_from_the_depth_before_sending(qty: Any, cost: Any) -> None:
    share = cost * 10**8 // (qty * 1000)
    for limit, passes in (
        (share + 1, True),
        (share if cost * 10**8 % (qty * 1000) == 0 else share + 1, True),
        (share - 1, False),
    ):
        desk = deep_book()
        desk.limit(max_slippage_e8=limit, price_collar_e8=10_000_000)
        result = desk.submit(1, qty)
        if passes:
            assert result > 0
        else:
            refused(desk, codes.REJECT_SLIPPAGE, result, limit, share)
            assert desk.submit(1, qty, 999) > 0  # A resting order takes nothing.


def test_only_what_a_limit_order_takes_is_estimated() -> None:
    desk = deep_book()
    desk.limit(max_slippage_e8=150_000)
    assert desk.submit(1, 10**6, 1002) > 0  # 15 / 10,000
    desk.limit(max_slippage_e8=149_999)
    refused(desk, codes.REJECT_SLIPPAGE, desk.submit(1, 10**6, 1002))
    assert desk.submit(1, 10**6, 1002, flags=codes.POST_ONLY) > 0


def test_the_days_budget_reserves_then_counts_what_fills_cost(desk: Desk) -> None:
    desk.bound(max_slippage_day=30 * UNIT // 1000)
    one = desk.submit(1, 10)  # 10 * 0.1 * 0.001 expected at the ask.
    two = desk.submit(1, 20)
    assert two > 0
    refused(desk, codes.REJECT_SLIPPAGE, desk.submit(1, 1), 30 * UNIT // 1000, 31 * UNIT // 1000)
    assert desk.submit(1, 1, 999) > 0
    desk.answer(rows.CANCELLED, two)
    assert desk.decision["accounts"][0]["slippage_reserved"] == 10 * UNIT // 1000
    desk.fill(one, 1004, 10)  # Four times as much.
    state = desk.decision["accounts"][0]
    assert (state["slippage_reserved"], state["slippage_day"], state["state"]) == (0, 40 * UNIT // 1000, codes.ACTIVE)
    refused(desk, codes.REJECT_SLIPPAGE, desk.submit(1, 1))
    refused(desk, codes.REJECT_SLIPPAGE, desk.submit(1, 1, 1001))
    resting = desk.submit(1, 21, 999)
    assert resting > 0  # Passive orders only.


@pytest.mark.parametrize(
    ("price", "state"), [(1006, codes.ACTIVE), (1007, codes.REDUCING), (1009, codes.REDUCING), (1010, codes.HALTED)]
)
def test_a_budget_spent_twice_reduces_and_three_times_halts(desk: Desk, price: Any, state: Any) -> None:
    desk.bound(max_slippage_day=30 * UNIT // 1000)
    order = desk.submit(1, 10)
    other = desk.submit(1, 1, 990)
    desk.fill(order, price, 10)
    assert desk.state == state
    assert bool(desk.order(other)["pending"] & codes.PENDING_CANCEL) is (state != codes.ACTIVE)


# States: every cell of the table in docs/risk.md.

INTENTS = {
    "opens": lambda desk: desk.submit(1, 1, 1000),
    "adds": lambda desk: desk.submit(1, 1, 1000, instrument=1),
    "reduces": lambda desk: desk.submit(-1, 5, 1000, instrument=1),
    "closes": lambda desk: desk.submit(-1, 10, 1000, instrument=1),
    "flips": lambda desk: desk.submit(-1, 11, 1000, instrument=1),
    "amend up": lambda desk: desk.amend(desk.resting, 990, 3),
    "amend price": lambda desk: desk.amend(desk.resting, 991, 2),
    "cancel": lambda desk: desk.cancel(desk.resting),
    "cancel all": lambda desk: desk.call("cancel_all", 0, instrument=-1),
}  # fmt: skip
TABLE = {
    codes.ACTIVE: dict.fromkeys(INTENTS, codes.ALLOW),
    codes.REDUCING: {
        "opens": codes.REJECT_REDUCING, "adds": codes.REJECT_REDUCING, "reduces": codes.ALLOW, "closes": codes.ALLOW,
        "flips": codes.REJECT_REDUCING, "amend up": codes.REJECT_REDUCING, "amend price": codes.REJECT_REDUCING,
        "cancel": codes.ALLOW, "cancel all": codes.ALLOW,
    },
    codes.HALTED: dict.fromkeys(INTENTS, codes.REJECT_HALTED) | {"cancel": codes.ALLOW, "cancel all": codes.ALLOW},
}  # fmt: skip


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("whose", ["account", "strategy"])
def test_state_by_intent(state: Any, intent: Any, whose: Any) -> None:
    desk: Any = Desk([linear("A"), linear("B")])
    for slot in (0, 1):
        desk.quote(BID, ASK, slot)
    desk.fill(desk.submit(1, 10, 1000, instrument=1), 1000, 10)
    desk.resting = desk.submit(1, 2, 990)
    (desk.decision["accounts"][0] if whose == "account" else desk.decision["strategies"][0])["state"] = state
    desk.limit(max_order_qty=10 if intent != "flips" else 11)
    result = INTENTS[intent](desk)
    verdict = TABLE[state][intent]
    if verdict == codes.ALLOW:
        assert result > 0
    else:
        refused(desk, verdict, result)


@pytest.mark.parametrize("intent", ["reduces", "opens"])
def test_a_state_outranks_every_other_finding_and_all_are_kept(desk: Desk, intent: Any) -> None:
    desk.limit(max_order_qty=1, price_collar_e8=0)
    desk.decision["accounts"][0]["state"] = codes.HALTED if intent == "reduces" else codes.REDUCING
    code = codes.REJECT_HALTED if intent == "reduces" else codes.REJECT_REDUCING
    refused(desk, code, desk.submit(1, 2, 1001))
    expected = 1 << code | 1 << codes.REJECT_MAX_ORDER_QTY | 1 << codes.REJECT_PRICE_COLLAR
    assert int(desk.node["verdicts"][0]["findings"]) == expected


def test_working_orders_count_when_reducing(desk: Desk) -> None:
    desk.fill(desk.submit(1, 10, 1000), 1000, 10)
    assert desk.submit(-1, 6, 1001) > 0
    desk.decision["accounts"][0]["state"] = codes.REDUCING
    refused(desk, codes.REJECT_REDUCING, desk.submit(-1, 5, 1001), 0, 1)
    assert desk.submit(-1, 4, 1001) > 0


# Losses.


def loses(desk: Desk, amount: int) -> None:
    """A long of 100 whose bid falls by an amount of 0.1."""
    desk.quote(999 - amount, ASK)


@pytest.mark.parametrize("fall", [9, 10, 11])
@pytest.mark.parametrize(
    ("limit", "code"), [("max_daily_loss", codes.REJECT_DAILY_LOSS), ("max_drawdown", codes.REJECT_DRAWDOWN)]
)
def test_a_loss_beyond_its_limit_halts_and_cancels_in_the_same_step(
    desk: Desk, limit: Any, code: Any, fall: Any
) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    resting = desk.submit(1, 1, 900)
    desk.bound(**{limit: 10 * 100 * UNIT // 1000})
    loses(desk, fall)
    state = desk.decision["accounts"][0]
    assert state["equity"] == 10**6 * ONE - fall * 100 * UNIT // 1000
    if fall <= 10:
        assert state["state"] == codes.ACTIVE
        assert desk.order(resting)["pending"] == 0
        return
    assert (state["state"], state["halt_code"], state["cancel_all"]) == (codes.HALTED, code, 0)
    assert desk.order(resting)["pending"] == codes.PENDING_CANCEL
    refused(desk, codes.REJECT_HALTED, desk.submit(-1, 1, 1000), codes.ACTIVE, code)


def test_a_breach_leads_to_reducing_where_that_is_configured(desk: Desk) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    desk.bound(max_daily_loss=0, breach_state=codes.REDUCING)
    resting = desk.submit(1, 1, 900)
    loses(desk, 1)
    assert desk.state == codes.REDUCING
    assert desk.order(resting)["pending"] == codes.PENDING_CANCEL
    refused(desk, codes.REJECT_REDUCING, desk.submit(1, 1, 990))
    assert desk.submit(-1, 100, 990) > 0


def test_a_fee_counts_towards_the_loss(desk: Desk) -> None:
    desk.bound(max_daily_loss=ONE)
    desk.fill(desk.submit(1, 1, 999), 999, 1, fee=ONE + 1)
    assert desk.state == codes.HALTED


def test_a_warning_from_80_percent_on_is_recorded_and_passes(desk: Desk) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    desk.bound(max_daily_loss=10 * 100 * UNIT // 1000)
    loses(desk, 8)
    assert desk.submit(1, 1, 990) > 0
    assert desk.node["verdict_count"] == 0
    loses(desk, 9)
    assert desk.submit(1, 1, 990) > 0
    record = desk.node["verdicts"][0]
    assert (record["verdict"], record["value"]) == (codes.WARN, 9 * 100 * UNIT // 1000)
    assert record["rule"] == codes.REJECT_DAILY_LOSS


def roll(desk: Desk) -> None:
    clock = desk.decision["clock"]
    clock["roll_ns"] = clock["edge_ns"] = int(clock["now_ns"]) + 1
    clock["roll_interval_ns"] = 86400 * SECOND
    desk.feed(desk.row(rows.STATUS, at=int(clock["now_ns"]) + 1))


@pytest.mark.parametrize(("limit", "after"), [("max_daily_loss", codes.ACTIVE), ("max_drawdown", codes.HALTED)])
def test_the_session_roll_ends_what_a_daily_limit_did_and_nothing_else(desk: Desk, limit: Any, after: Any) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    desk.bound(**{limit: 0})
    loses(desk, 1)
    assert desk.state == codes.HALTED
    roll(desk)
    assert desk.state == after
    assert desk.decision["accounts"][0]["day_equity"] == desk.decision["accounts"][0]["equity"]
    if after == codes.ACTIVE:
        loses(desk, 2)  # The new day has its own cap.
        assert desk.state == codes.HALTED


def test_an_operators_halt_outlives_the_session_and_a_loss_before_it(desk: Desk) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    desk.bound(max_daily_loss=0)
    loses(desk, 1)
    desk.feed(desk.row(rows.HALT, strategy=255))
    roll(desk)
    assert desk.state == codes.HALTED
    desk.feed(desk.row(rows.RESUME, strategy=255))
    assert desk.state == codes.ACTIVE


def test_resume_starts_the_drawdown_anew_but_not_the_days_loss(desk: Desk) -> None:
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    step = 100 * UNIT // 1000
    desk.bound(max_drawdown=5 * step)
    loses(desk, 6)
    assert desk.state == codes.HALTED
    desk.feed(desk.row(rows.RESUME, strategy=255))
    loses(desk, 11)
    assert desk.state == codes.ACTIVE
    loses(desk, 12)
    assert desk.state == codes.HALTED
    assert desk.decision["accounts"][0]["max_drawdown"] == 12 * step  # What the report shows counts from the peak.
    desk.feed(desk.row(rows.RESUME, strategy=255))
    desk.bound(max_daily_loss=11 * step)
    loses(desk, 13)
    assert desk.state == codes.HALTED


def test_shares_of_capital_follow_the_equity_at_the_roll(desk: Desk) -> None:
    desk.decision["account_limits"][0]["max_daily_loss_e8"] = 2_000_000
    desk.fill(desk.submit(1, 100, 999), 999, 100)
    loses(desk, 9)
    roll(desk)
    equity = int(desk.decision["accounts"][0]["equity"])
    assert desk.decision["account_limits"][0]["max_daily_loss"] == equity * 2 // 100


def test_a_position_over_its_limit_reduces_and_an_overfill_halts_the_strategy(desk: Desk) -> None:
    desk.limit(max_position_long=10)
    order = desk.submit(1, 10, 1000)
    desk.fill(order, 1000, 12)
    assert desk.state == codes.REDUCING
    assert desk.decision["strategies"][0]["state"] == codes.HALTED
    desk.feed(desk.row(rows.RESUME, strategy=255))
    assert desk.decision["strategies"][0]["state"] == codes.ACTIVE


def test_a_new_rate_values_the_whole_account_anew() -> None:
    desk = Desk([linear(settle="EUR", quote="EUR")])
    currency = desk.assembly.currency("EUR")
    desk.decision["fx"][currency] = ONE
    desk.quote(BID, ASK)
    desk.fill(desk.submit(1, 1000, 1000), 1000, 1000, fee=7)
    desk.fill(desk.submit(-1, 400, 1000), 1010, 400)
    desk.quote(1020, 1022)
    realised, unrealised = 400 * 10 * 10**4, 600 * 20 * 10**4
    start = 10**6 * ONE
    assert desk.decision["accounts"][0]["equity"] == start + realised + unrealised - 7
    desk.feed(desk.row(rows.FX, currency=currency, rate=ONE * 3 // 2))
    assert desk.decision["accounts"][0]["unrealised"] == unrealised * 3 // 2
    assert desk.decision["accounts"][0]["cash"] == start + round((realised - 7) * 1.5)
    desk.quote(1019, 1022)
    assert desk.decision["accounts"][0]["unrealised"] == 600 * 19 * 10**4 * 3 // 2
    assert desk.feed(desk.row(rows.FX, currency=99, rate=ONE)) == codes.RUN_BAD_ROW


def test_money_beyond_64_bits_stops_the_run(desk: Desk) -> None:
    order = desk.submit(1, 1, 999)
    desk.decision["accounts"][0]["cash"] = INT64_MIN + 5
    assert desk.fill(order, 999, 1, fee=100) == codes.RUN_OVERFLOW


def word_of(records: Any, name: str) -> int:
    return list(records.dtype.names).index(name)


@pytest.mark.parametrize("qty", [4, 5, 6])
def test_a_limit_changed_by_an_operator_holds_from_its_row(qty: int) -> None:
    desk = Desk()
    desk.quote(BID, ASK)
    assert desk.submit(1, 100, 1000) > 0
    limit = word_of(desk.decision["instrument_limits"], "max_order_qty")
    assert desk.feed(desk.row(rows.LIMIT_CHANGE, limit=limit, value=5)) == codes.RUN_DONE
    if qty <= 5:
        assert desk.submit(1, qty, 1000) > 0
    else:
        refused(desk, codes.REJECT_MAX_ORDER_QTY, desk.submit(1, qty, 1000), 5, qty)


def test_a_lowered_loss_cap_stops_an_account_that_is_beyond_it_already() -> None:
    desk = Desk()
    desk.quote(BID, ASK)
    state = desk.decision["accounts"][0]
    state["cash"] -= 1000
    limit = ACCOUNT_LIMIT + word_of(desk.decision["account_limits"], "max_daily_loss")
    assert desk.feed(desk.row(rows.LIMIT_CHANGE, limit=limit, value=1000)) == codes.RUN_DONE
    assert desk.state == codes.ACTIVE
    assert desk.feed(desk.row(rows.LIMIT_CHANGE, limit=limit, value=999)) == codes.RUN_DONE
    assert (desk.state, int(state["halt_code"])) == (codes.HALTED, codes.REJECT_DAILY_LOSS)


@pytest.mark.parametrize(
    ("limit", "value"),
    [(-1, 5), (INSTRUMENT_LIMIT_WORDS, 5), (ACCOUNT_LIMIT - 1, 5), (ACCOUNT_LIMIT + ACCOUNT_LIMIT_WORDS, 5), (1, -1)],
)
def test_a_limit_that_does_not_exist_stops_the_run(limit: int, value: int) -> None:
    desk = Desk()
    assert desk.feed(desk.row(rows.LIMIT_CHANGE, limit=limit, value=value)) == codes.RUN_BAD_ROW


def test_a_gap_in_a_feed_without_a_book_refuses_until_it_recovers() -> None:
    desk = Desk()
    desk.quote(BID, ASK)
    desk.feed(desk.row(rows.FEED_GAP))
    assert desk.submit(1, 1, 1000) == -codes.REJECT_STALE
    desk.feed(desk.row(rows.FEED_RECOVERED))
    assert desk.submit(1, 1, 1000) > 0
