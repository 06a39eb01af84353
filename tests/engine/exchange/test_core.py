"""The practice exchange without its sockets: its rules, its events, and what time does."""

import subprocess
import sys
from typing import Any

import pytest
from reference.exchange_world import exchange, random_life

from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.model import BUY, SELL, LevelsChanged, VenueError


def test_the_same_seed_and_calls_give_the_same_events() -> None:
    def told() -> list[str]:
        venue, *accounts = exchange("usdm")
        random_life(venue, accounts, 9, 200)
        return [
            str((type(each).__name__, each.time_ms, getattr(each, "levels", getattr(each, "trade", ""))))
            for each in venue.events
        ]

    assert told() == told()


def test_update_ids_chain_and_levels_rebuild_the_book() -> None:
    venue, *accounts = exchange("usdm")
    random_life(venue, accounts, 4, 300)
    last, book = 1_000_000, {}
    for event in venue.events:
        if isinstance(event, LevelsChanged):
            assert event.first == last + 1
            assert event.previous == last
            last = event.final
            for side, price, qty in event.levels:
                book[side, price] = qty
    real = venue.markets["BTCUSDT"].book
    for side in (BUY, SELL):
        assert {price: qty for (its, price), qty in book.items() if its == side and qty} == dict(
            real.levels(side, 10**6)
        )


@pytest.mark.parametrize(
    ("market", "order", "code"),
    [
        ("spot", {"qty": 10**6, "price": 6_000_000, "side": BUY}, 0),
        ("spot", {"qty": 10**6 * 200_000, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 20_000 * 10**5, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 300 * 10**5, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 1, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 10**5, "price": 5_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 10**5, "price": 7_000_000, "side": BUY, "kind": "LIMIT_MAKER"}, -1013),
        ("spot", {"qty": 10**5, "price": 6_010_000, "side": BUY, "kind": "LIMIT_MAKER"}, -2010),
        ("usdm", {"qty": 1000, "price": 600_100, "side": BUY, "time_in_force": "GTX"}, -5022),
        ("usdm", {"qty": 10**6, "price": 600_000, "side": BUY}, 0),
        ("usdm", {"qty": 10**6 + 1, "price": 600_000, "side": BUY}, -4005),
        ("usdm", {"qty": 1000, "price": 600_000, "side": BUY, "reduce_only": True}, -2022),
    ],
)
def test_rules_are_the_venues(market: Any, order: dict[str, Any], code: int) -> None:
    venue, account, _ = exchange(market)
    Agents(venue, venue.markets["BTCUSDT"])
    fields = {"kind": "LIMIT"} | order
    side, kind, qty = fields.pop("side"), fields.pop("kind"), fields.pop("qty")
    if code == 0:
        venue.place(account, "BTCUSDT", side, kind, qty, **fields)
        return
    with pytest.raises(VenueError) as caught:
        venue.place(account, "BTCUSDT", side, kind, qty, **fields)
    assert caught.value.code == code


def test_unknown_orders_and_symbols_are_refused_as_the_venue_does() -> None:
    venue, account, _ = exchange("usdm")
    with pytest.raises(VenueError, match="Unknown order sent") as caught:
        venue.cancel(account, "BTCUSDT", 5)
    assert caught.value.code == -2011
    with pytest.raises(VenueError, match="Invalid symbol"):
        venue.cancel(account, "XYZ", 5)


def test_stops_dead_man_and_expiry_act_in_time() -> None:
    venue, first, second = exchange("usdm")
    order, _ = venue.place(first, "BTCUSDT", BUY, "LIMIT", 1000, price=599_000)
    first.dead_man_ms["BTCUSDT"] = venue.now_ms + 1000
    venue.advance(venue.now_ms + 999)
    assert order.status == "NEW"
    venue.advance(venue.now_ms + 1)
    assert order.status == "CANCELED"
    late, _ = venue.place(
        first, "BTCUSDT", BUY, "LIMIT", 1000, price=599_000, time_in_force="GTD", expire_ms=venue.now_ms + 10
    )
    venue.advance(venue.now_ms + 10)
    assert late.status == "EXPIRED"
    stop, _ = venue.place(first, "BTCUSDT", SELL, "STOP_MARKET", 100, stop_price=599_500)
    venue.place(second, "BTCUSDT", BUY, "LIMIT", 500, price=599_400)
    assert stop.status == "NEW"
    venue.place(first, "BTCUSDT", SELL, "LIMIT", 100, price=599_400)
    assert stop.status == "FILLED"


def test_it_knows_nothing_of_the_engine_it_tests() -> None:
    code = (
        "import sys, twinloop.engine.exchange.core, twinloop.engine.exchange.agents, twinloop.engine.exchange.server;"
        "print([name for name in sys.modules if name.startswith('twinloop.kernels') or name == 'numba'])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
