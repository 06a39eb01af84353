"""Conditional orders of USD-M, without a socket: what they wait for, what they become, and what the owner is told."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.exchange_world import RICH, exchange

from twinloop.engine.exchange.conditional import LAST, MARK, Algo
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, SELL, Account, AlgoChanged, Order, OrderChanged, VenueError
from twinloop.engine.exchange.symbols import symbol
from twinloop.engine.exchange.triggers import Triggers


def market(*, long: int = 0) -> tuple[Exchange, Account, Account]:
    """A book of one bid at 599,990 and one ask at 600,010, last price 600,000; the first account may hold a position."""
    venue, first, second = exchange("usdm")
    for name in ("c", "d"):
        venue.add_account(name, f"k{name}", "s", RICH["usdm"])
    venue.place(second, "BTCUSDT", SELL, "LIMIT", max(long, 1), price=600_000)
    venue.place(first if long else second, "BTCUSDT", BUY, "MARKET", max(long, 1))
    venue.place(second, "BTCUSDT", BUY, "LIMIT", 5000, price=599_990)
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 5000, price=600_010)
    venue.events.clear()
    return venue, first, second


def told(venue: Exchange, account: Account) -> list[str]:
    found = []
    for event in venue.events:
        if isinstance(event, AlgoChanged):
            found.append(event.status)
        elif isinstance(event, OrderChanged) and event.order.account is account:
            found.append(f"order {event.execution}")
    return found


def place(
    venue: Exchange, account: Account, side: int, kind: str, stop_price: int, qty: int = 100, **more: Any
) -> Algo:
    return venue.conditional.place(account, "BTCUSDT", side, kind, qty, stop_price=stop_price, **more)


def trade_at(venue: Exchange, price: int) -> None:
    """Have two others trade at a price inside the book."""
    one, other = venue.accounts["kc"], venue.accounts["kd"]
    venue.place(one, "BTCUSDT", SELL, "LIMIT", 10, price=price)
    venue.place(other, "BTCUSDT", BUY, "LIMIT", 10, price=price)
    assert price in [each.price for each in venue.markets["BTCUSDT"].trades[-2:]]


def test_a_stop_becomes_a_market_order_once_the_last_price_reaches_it() -> None:
    venue, first, _ = market(long=100)
    stop = place(venue, first, SELL, "STOP_MARKET", 599_995, client_id="s1", reduce_only=True)
    assert told(venue, first) == ["NEW"]
    assert venue.conditional.open(first) == [stop]
    assert first.working["BTCUSDT"] == {}
    venue.events.clear()
    trade_at(venue, 599_996)
    assert stop.status == "NEW"
    venue.events.clear()
    trade_at(venue, 599_995)
    order = stop.actual
    assert order is not None
    assert (order.client_id, order.type, order.origin, order.status) == ("s1", "MARKET", "STOP_MARKET", "FILLED")
    assert [each for each in told(venue, first) if each in {"TRIGGERING", "order NEW", "TRIGGERED", "FINISHED"}][-4:] == [
        "TRIGGERING", "order NEW", "TRIGGERED", "FINISHED",
    ]  # fmt: skip
    assert stop.status == "FINISHED"
    assert venue.conditional.open(first) == []
    assert venue.conditional.find(first, None, "s1") is stop


def test_a_limit_rests_and_the_service_tells_of_its_end() -> None:
    venue, first, _ = market()
    stop = place(venue, first, BUY, "STOP", 600_005, price=600_006)
    trade_at(venue, 600_005)
    assert stop.status == "TRIGGERED"
    assert stop.actual is not None
    assert stop.actual.status == "NEW"
    venue.cancel(first, "BTCUSDT", stop.actual.id)
    assert stop.status == "FINISHED"
    with pytest.raises(VenueError, match="Unknown order"):
        venue.conditional.cancel(first, stop.id)


@pytest.mark.parametrize(
    ("side", "kind", "at", "reached", "not_reached"),
    [
        (BUY, "STOP_MARKET", 600_005, 600_005, 600_004),
        (SELL, "STOP_MARKET", 599_995, 599_995, 599_996),
        (BUY, "TAKE_PROFIT_MARKET", 599_995, 599_995, 599_996),
        (SELL, "TAKE_PROFIT_MARKET", 600_005, 600_005, 600_004),
    ],
)
def test_each_kind_waits_for_its_own_side_of_the_price(
    side: int, kind: str, at: int, reached: int, not_reached: int
) -> None:
    venue, first, _ = market()
    algo = place(venue, first, side, kind, at)
    trade_at(venue, not_reached)
    assert algo.status == "NEW"
    trade_at(venue, reached)
    assert algo.status == "FINISHED"
    with pytest.raises(VenueError, match="immediately trigger") as caught:
        place(venue, first, side, kind, venue.markets["BTCUSDT"].last_price)
    assert caught.value.code == -2021


def test_the_mark_triggers_what_waits_for_the_mark_and_nothing_else() -> None:
    venue, first, second = market()
    by_mark = place(venue, first, BUY, "STOP_MARKET", 600_100, working_type=MARK)
    by_last = place(venue, first, BUY, "STOP_MARKET", 600_100, working_type=LAST)
    venue.cancel_all(second, "BTCUSDT")
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 5000, price=600_300)
    venue.place(second, "BTCUSDT", BUY, "LIMIT", 5000, price=599_900)
    assert (by_mark.status, by_last.status) == ("FINISHED", "FINISHED")  # The market buy it became traded at 600,300.
    assert by_mark.actual is not None
    assert by_last.actual is not None
    assert by_mark.actual.id < by_last.actual.id


def test_what_may_only_reduce_is_rejected_when_there_is_nothing_to_reduce() -> None:
    venue, first, _ = market()
    reduce = place(venue, first, SELL, "STOP_MARKET", 599_995, reduce_only=True)
    close = place(venue, first, SELL, "STOP_MARKET", 599_995, qty=0, close_position=True)
    trade_at(venue, 599_995)
    assert (reduce.status, close.status) == ("REJECTED", "REJECTED")
    assert first.held("BTCUSDT") == 0


def test_closing_takes_whatever_the_position_then_is() -> None:
    venue, first, _ = market(long=300)
    close = place(venue, first, SELL, "STOP_MARKET", 599_995, qty=0, close_position=True)
    trade_at(venue, 599_995)
    assert (close.status, first.held("BTCUSDT")) == ("FINISHED", 0)


def test_margin_is_judged_when_it_triggers_not_before() -> None:
    venue, _, _ = market()
    poor = venue.add_account("poor", "kp", "s", {"USDT": 10**9})
    algo = place(venue, poor, BUY, "STOP_MARKET", 600_005, qty=5000)
    venue.events.clear()
    trade_at(venue, 600_005)
    assert algo.status == "REJECTED"
    assert [event.reason for event in venue.events if isinstance(event, AlgoChanged)][-1] == "Margin is insufficient."


def test_cancels_expiries_and_refusals_are_the_venues() -> None:
    venue, first, _ = market()
    place(venue, first, BUY, "STOP_MARKET", 600_100, client_id="one")
    with pytest.raises(VenueError, match="duplicated"):
        place(venue, first, BUY, "STOP_MARKET", 600_100, client_id="one")
    assert venue.conditional.cancel(first, client_id="one").status == "CANCELED"
    again = place(venue, first, BUY, "STOP_MARKET", 600_100, client_id="one", expire_ms=venue.now_ms + 5)
    venue.advance(venue.now_ms + 5)
    assert again.status == "EXPIRED"
    for number in range(first_many := symbol("BTCUSDT", "usdm").max_stops):
        place(venue, first, BUY, "STOP_MARKET", 600_100 + number)
    with pytest.raises(VenueError, match="max stop order"):
        place(venue, first, BUY, "STOP_MARKET", 600_100)
    assert len(venue.conditional.cancel_all(first, "BTCUSDT")) == first_many
    with pytest.raises(VenueError, match="less than min quantity"):
        place(venue, first, BUY, "STOP", 600_100, qty=0, price=600_000)


def test_stops_that_set_each_other_off_all_take_effect() -> None:
    """A ladder: each market buy lifts the last price to the next one's stop."""
    venue, first, second = market()
    for number in range(60):
        venue.place(second, "BTCUSDT", SELL, "LIMIT", 10, price=600_011 + number)
    ladder = [place(venue, first, BUY, "STOP_MARKET", 600_011 + number, qty=10) for number in range(60)]
    venue.place(first, "BTCUSDT", BUY, "LIMIT", 5010, price=600_011)
    assert {each.status for each in ladder} == {"FINISHED"}
    assert venue.markets["BTCUSDT"].last_price == 600_070


@given(seed=st.integers(0, 2**32))
def test_a_price_takes_out_what_it_reaches_as_a_scan_of_all_would(seed: int) -> None:
    draw = random.Random(seed)
    rules, account = symbol("BTCUSDT", "usdm"), Account("a", "usdm", "", "")
    triggers: Triggers[Order] = Triggers()
    twin: list[Order] = []
    for number in range(60):
        side, kind = draw.choice([BUY, SELL]), draw.choice(["STOP_MARKET", "TAKE_PROFIT_MARKET"])
        order = Order(number, "", account, rules, side, kind, "GTC", 0, 1, 0, draw.randrange(90, 110))
        triggers.add(order)
        twin.append(order)
        if draw.random() < 0.2:
            gone = draw.choice(twin)
            triggers.remove(gone)
            twin.remove(gone)
        if draw.random() < 0.3:
            price = draw.randrange(90, 110)
            expected = {
                each.id
                for each in twin
                if (
                    price >= each.stop_price
                    if (each.side == BUY) == (each.type == "STOP_MARKET")
                    else price <= each.stop_price
                )
            }
            found = set()
            while (reached := triggers.reached(price)) is not None:
                found.add(reached.id)
            assert found == expected
            twin = [each for each in twin if each.id not in expected]
        assert len(triggers) == len(twin)
        assert {each.id for each in triggers} == {each.id for each in twin}
