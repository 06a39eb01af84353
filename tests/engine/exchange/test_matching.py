"""Price-time matching against a plain sorted list: same trades, same book, whatever is done."""

import random

from hypothesis import given
from hypothesis import strategies as st
from reference.exchange_world import SortedListBook, exchange

from twinloop.engine.exchange.matching import Book
from twinloop.engine.exchange.model import BUY, SELL, Account, Order
from twinloop.engine.exchange.symbols import symbol

USDM = symbol("BTCUSDT", "usdm")


@given(seed=st.integers(0, 2**32))
def test_orders_meet_by_price_then_time_as_in_a_plain_list(seed: int) -> None:
    draw = random.Random(seed)
    venue, *accounts = exchange("usdm")
    twin = SortedListBook()
    ids: dict[int, int] = {}
    for number in range(80):
        what, price, qty = draw.random(), 600_000 + draw.randrange(-5, 6), 10 * draw.randrange(1, 9)
        if what < 0.35 and twin.resting:
            chosen = draw.choice(twin.resting)
            owner = accounts[chosen[4]]
            if what < 0.2:
                venue.cancel(owner, "BTCUSDT", ids[chosen[3]])
                twin.resting.remove(chosen)
            elif what < 0.3 and chosen[5] > 1:  # Less at the same price keeps its place.
                order = owner.orders[ids[chosen[3]]]
                venue.amend(owner, "BTCUSDT", order.id, None, order.qty - 1, chosen[1])
                chosen[5] -= 1
            else:  # Anything else is a new arrival.
                order = owner.orders[ids[chosen[3]]]
                _, fills = venue.amend(owner, "BTCUSDT", order.id, None, order.filled + qty, price + chosen[0] * 20)
                twin.resting.remove(chosen)
                expected = twin.place(chosen[3], chosen[4], chosen[0], price + chosen[0] * 20, qty, "GTC")
                assert [(fill.price, fill.qty) for fill in fills] == [(at, got) for _, at, got in expected]
        else:
            owner_index, side = draw.randrange(2), draw.choice([BUY, SELL])
            market, force = draw.random() < 0.1, draw.choice(["GTC", "GTC", "GTC", "IOC", "FOK"])
            kind = "MARKET" if market else "LIMIT"
            order, fills = venue.place(
                accounts[owner_index], "BTCUSDT", side, kind, qty, price=0 if market else price, time_in_force=force
            )
            ids[number] = order.id
            expected = twin.place(number, owner_index, side, None if market else price, qty, force)
            assert [(fill.price, fill.qty) for fill in fills] == [(at, got) for _, at, got in expected]
        for side in (BUY, SELL):
            assert dict(venue.markets["BTCUSDT"].book.levels(side, 100)) == twin.levels(side)
            served = [each.id for each in venue.markets["BTCUSDT"].book.orders(side)]
            assert served == [ids[each[3]] for each in twin.others(-side, None)]
    for number in twin.gone:
        assert accounts[0].orders.get(ids[number], accounts[1].orders.get(ids[number])).status == "EXPIRED_IN_MATCH"  # type: ignore[union-attr]


@given(seed=st.integers(0, 2**32))
def test_what_an_order_would_reach_is_what_it_then_trades(seed: int) -> None:
    """Also where resting orders may only reduce and share one position."""
    draw = random.Random(seed)
    venue, first, second = exchange("usdm")
    state = venue.markets["BTCUSDT"]
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 100, price=600_000)
    venue.place(first, "BTCUSDT", BUY, "MARKET", 100)
    for _ in range(6):
        venue.place(
            first, "BTCUSDT", SELL, "LIMIT", draw.randrange(10, 90), price=600_000 + draw.randrange(4), reduce_only=draw.random() < 0.6
        )  # fmt: skip
    qty = draw.randrange(10, 400)
    probe = Order(1, "p", second, USDM, BUY, "LIMIT", "IOC", 600_002, qty, 0)
    expected = [(maker.id, got) for maker, got in venue.reach(state, probe)]
    trades = len(state.trades)
    venue.place(second, "BTCUSDT", BUY, "LIMIT", qty, price=600_002, time_in_force="IOC")
    sold = [(fill.order.id, fill.qty) for fill in first.fills if fill.order.side == SELL]
    assert sold == expected
    assert len(state.trades) == trades + len(expected)


def test_fill_or_kill_does_not_count_the_owners_own_orders() -> None:
    venue, first, second = exchange("usdm")
    venue.place(first, "BTCUSDT", SELL, "LIMIT", 100, price=600_000)
    venue.place(second, "BTCUSDT", SELL, "LIMIT", 100, price=600_001)
    order, fills = venue.place(first, "BTCUSDT", BUY, "LIMIT", 150, price=600_001, time_in_force="FOK")
    assert (order.status, fills) == ("EXPIRED", [])
    assert dict(venue.markets["BTCUSDT"].book.levels(SELL, 9)) == {600_000: 100, 600_001: 100}


def test_levels_are_listed_from_the_best_one() -> None:
    book, account = Book(), Account("a", "usdm", "", "")
    for number, price in enumerate([5, 3, 4]):
        book.add(Order(number, "", account, USDM, BUY, "LIMIT", "GTC", price, 1, 0))
        book.add(Order(10 + number, "", account, USDM, SELL, "LIMIT", "GTC", price + 10, 1, 0))
    assert book.levels(BUY, 2) == [(5, 1), (4, 1)]
    assert book.levels(SELL, 2) == [(13, 1), (14, 1)]
    assert book.levels(BUY, 9) == [(5, 1), (4, 1), (3, 1)]
