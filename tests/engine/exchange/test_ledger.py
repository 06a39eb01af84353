"""The ledger: money is moved and never made, nobody spends what they do not have, and fills alone give every balance again."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.exchange_world import POOR, RICH, exchange, random_life, recomputed

from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, OPEN, SELL, Account, VenueError
from twinloop.engine.exchange.symbols import MONEY


def lived(market: Any, seed: int, *, agents: bool) -> tuple[Exchange, list[Account]]:
    venue, first, second = exchange(market)
    accounts = [first, second, venue.add_account("poor", "kp", "s", POOR[market])]
    random_life(venue, accounts, seed, 100, agents=agents)
    return venue, accounts


@given(seed=st.integers(0, 2**32), agents=st.booleans())
def test_spot_money_is_conserved_and_never_overdrawn(seed: int, agents: bool) -> None:
    venue, accounts = lived("spot", seed, agents=agents)
    for asset, deposited in venue.ledger.deposits.items():
        customers = sum(sum(each.balances.get(asset, [0])) for each in accounts)
        house = sum(venue.house.balances.get(asset, [0]))
        assert customers + house + venue.ledger.fees.get(asset, 0) == deposited
    for account in accounts:
        assert min(min(held) for held in account.balances.values()) >= 0
        found = recomputed(account)
        for asset, held in account.balances.items():
            assert Fraction(sum(held), MONEY) == found.cash[asset]
            assert sum(held) == sum(amount for its, amount, _ in account.entries if its == asset)
            locked = {"BTC": 0, "USDT": 0}
            for order in account.working.get("BTCUSDT", {}).values():
                locked["BTC" if order.side == SELL else "USDT"] += order.locked
            assert held[1] == locked[asset]
        assert all(each.locked == 0 for each in account.orders.values() if each.status not in OPEN)


@given(seed=st.integers(0, 2**32), agents=st.booleans())
def test_a_position_and_its_money_are_the_sum_of_its_fills(seed: int, agents: bool) -> None:
    venue, accounts = lived("usdm", seed, agents=agents)
    everyone = [*accounts, venue.house]
    assert sum(each.held("BTCUSDT") for each in everyone) == 0
    open_cost = sum(each.positions["BTCUSDT"].cost for each in everyone if each.positions)
    wallets = sum(sum(each.balances.get("USDT", [0])) for each in everyone)
    assert wallets + venue.ledger.fees.get("USDT", 0) - open_cost == venue.ledger.deposits["USDT"]
    for account in accounts:
        found = recomputed(account)
        assert Fraction(account.free("USDT"), MONEY) == found.cash["USDT"]
        assert Fraction(account.held("BTCUSDT"), 1000) == found.qty
        if account.positions:
            assert Fraction(account.positions["BTCUSDT"].cost, MONEY) == found.cost


def test_a_market_buy_must_be_paid_at_the_books_prices_not_at_the_mark() -> None:
    venue, first, _ = exchange("spot")
    poor = venue.add_account("poor", "kp", "s", {"USDT": 12_100 * MONEY})
    for price in (6_000_000, 6_200_000):
        venue.place(first, "BTCUSDT", SELL, "LIMIT", 10_000, price=price)
    with pytest.raises(VenueError, match="insufficient balance") as caught:
        venue.place(poor, "BTCUSDT", BUY, "MARKET", 20_000)
    assert caught.value.code == -2010
    assert poor.balances == {"USDT": [12_100 * MONEY, 0]}
    order, _ = venue.place(poor, "BTCUSDT", BUY, "MARKET", 19_800)
    assert order.status == "FILLED"
    assert poor.free("USDT") == (12_100 - 6000 - 6076) * MONEY


def test_a_waiting_market_buy_that_cannot_be_paid_when_it_triggers_expires() -> None:
    venue, first, second = exchange("spot")
    poor = venue.add_account("poor", "kp", "s", {"USDT": 6_050 * MONEY})
    for price in (6_000_000, 6_100_000, 6_200_000):
        venue.place(first, "BTCUSDT", SELL, "LIMIT", 10_000, price=price)
    stop, _ = venue.place(poor, "BTCUSDT", BUY, "STOP_LOSS", 10_000, stop_price=6_010_000)
    venue.place(second, "BTCUSDT", BUY, "MARKET", 11_000)
    assert stop.status == "EXPIRED"
    assert poor.balances == {"USDT": [6_050 * MONEY, 0]}


def test_an_order_that_only_reduces_never_turns_the_position() -> None:
    venue, first, second = exchange("usdm")
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 100, price=600_000)
    venue.place(first, "BTCUSDT", BUY, "MARKET", 100)
    resting, _ = venue.place(first, "BTCUSDT", SELL, "LIMIT", 80, price=600_010, reduce_only=True)
    other, _ = venue.place(first, "BTCUSDT", SELL, "LIMIT", 70, price=600_020, reduce_only=True)
    venue.place(second, "BTCUSDT", BUY, "LIMIT", 500, price=600_030)
    assert first.held("BTCUSDT") == 0
    assert (resting.filled, resting.status) == (80, "FILLED")
    assert (other.filled, other.status) == (20, "EXPIRED")
    assert not first.working["BTCUSDT"]
    with pytest.raises(VenueError, match="ReduceOnly"):
        venue.place(first, "BTCUSDT", SELL, "MARKET", 10, reduce_only=True)


def test_closing_a_position_ends_what_would_only_have_reduced_it() -> None:
    venue, first, second = exchange("usdm")
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 100, price=600_000)
    venue.place(first, "BTCUSDT", BUY, "MARKET", 100)
    resting, _ = venue.place(first, "BTCUSDT", SELL, "LIMIT", 100, price=600_100, reduce_only=True)
    venue.place(second, "BTCUSDT", BUY, "LIMIT", 100, price=599_990)
    venue.place(first, "BTCUSDT", SELL, "MARKET", 100)
    assert resting.status == "EXPIRED"
    assert not venue.markets["BTCUSDT"].book.levels(SELL, 9)


def test_turning_a_position_round_needs_the_margin_of_what_it_becomes() -> None:
    venue, first, _ = exchange("usdm")
    poor = venue.add_account("poor", "kp", "s", {"USDT": 100 * MONEY})
    venue.place(first, "BTCUSDT", BUY, "LIMIT", 10_000, price=600_000)
    venue.place(poor, "BTCUSDT", SELL, "MARKET", 10)
    venue.place(first, "BTCUSDT", SELL, "LIMIT", 10_000, price=600_001)
    with pytest.raises(VenueError, match="Margin is insufficient"):
        venue.place(poor, "BTCUSDT", BUY, "MARKET", 5000)
    order, _ = venue.place(poor, "BTCUSDT", BUY, "MARKET", 20)
    assert (order.status, poor.held("BTCUSDT")) == ("FILLED", 10)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_an_amended_order_must_be_paid_too(market: Any) -> None:
    venue, _, _ = exchange(market)
    poor = venue.add_account("poor", "kp", "s", {"USDT": 1000 * MONEY})
    lot = 1000 if market == "spot" else 10
    price = 6_000_000 if market == "spot" else 600_000
    order, _ = venue.place(poor, "BTCUSDT", BUY, "LIMIT", lot, price=price)
    with pytest.raises(VenueError):
        venue.amend(poor, "BTCUSDT", order.id, None, lot * 1000, price)
    assert (order.qty, order.status) == (lot, "NEW")
    venue.amend(poor, "BTCUSDT", order.id, None, lot // 2, price)
    assert poor.balances["USDT"] == ([700 * MONEY, 300 * MONEY] if market == "spot" else [1000 * MONEY, 0])


def test_everything_asked_about_costs_what_works_not_what_ever_was() -> None:
    """Ended orders are in no collection that placing, matching, cancelling, amending or the passing of time looks through."""
    venue, first, second = exchange("usdm")
    for _ in range(300):
        venue.place(first, "BTCUSDT", BUY, "LIMIT", 10, price=600_000)
        venue.place(second, "BTCUSDT", SELL, "MARKET", 10)
        order, _ = venue.place(
            first, "BTCUSDT", BUY, "LIMIT", 10, price=599_000, time_in_force="GTD", expire_ms=venue.now_ms + 5
        )
        venue.advance(venue.now_ms + 5)
        assert order.status == "EXPIRED"
    assert not any(account.working["BTCUSDT"] for account in (first, second))
    assert not venue._expiring
    assert len(venue.markets["BTCUSDT"].stops) == 0
    assert RICH["usdm"]["USDT"] > first.free("USDT") > 0
