"""The practice exchange's own matching and ledger: against plain twins, and what must be conserved whatever is done."""

import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, MONEY, OPEN, SELL, Account, VenueError, symbol

SPOT, USDM = symbol("BTCUSDT", "spot"), symbol("BTCUSDT", "usdm")


def exchange(market: Any, **more: Any) -> tuple[Exchange, Account, Account]:
    found = Exchange(market, [symbol("BTCUSDT", market)], **more)
    found.advance(1_700_000_000_000)
    rich = {"USDT": 10**7 * MONEY} | ({"BTC": 1000 * MONEY} if market == "spot" else {})
    return found, found.add_account("a", "ka", "s", dict(rich)), found.add_account("b", "kb", "s", dict(rich))


class Twin:
    """A book as a list, searched from the front each time."""

    def __init__(self) -> None:
        self.resting: list[list[int]] = []  # number, side, price, leaves

    def place(
        self, number: int, side: int, price: int, qty: int, market: bool, force: str
    ) -> list[tuple[int, int, int]]:
        trades = []
        if force == "FOK":
            there = sum(
                leaves for _, its, at, leaves in self.resting if its == -side and (market or (at - price) * side <= 0)
            )
            if there < qty:
                return []
        while qty:
            others = [each for each in self.resting if each[1] == -side and (market or (each[2] - price) * side <= 0)]
            if not others:
                break
            best = min(others, key=lambda each: each[2] * side)
            got = min(qty, best[3])
            trades.append((best[0], best[2], got))
            best[3] -= got
            qty -= got
            if best[3] == 0:
                self.resting.remove(best)
        if qty and not market and force in {"GTC", "GTX"}:
            self.resting.append([number, side, price, qty])
        return trades


@given(seed=st.integers(0, 2**32))
def test_orders_meet_by_price_then_time_as_in_a_plain_list(seed: int) -> None:
    draw = random.Random(seed)
    venue, first, second = exchange("usdm")
    twin = Twin()
    ids: dict[int, int] = {}
    for number in range(80):
        account, side = (first, BUY) if draw.random() < 0.5 else (second, SELL)
        if draw.random() < 0.2 and twin.resting:
            chosen = draw.choice(twin.resting)
            owner = first if chosen[1] == BUY else second
            venue.cancel(owner, "BTCUSDT", ids[chosen[0]])
            twin.resting.remove(chosen)
            continue
        price, qty = 600_000 + draw.randrange(-5, 6), 10 * draw.randrange(1, 9)
        market = draw.random() < 0.1
        force = draw.choice(["GTC", "GTC", "GTC", "IOC", "FOK"])
        order, fills = venue.place(
            account,
            "BTCUSDT",
            side,
            "MARKET" if market else "LIMIT",
            qty,
            price=0 if market else price,
            time_in_force=force,
        )
        ids[number] = order.id
        expected = twin.place(number, side, price, qty, market, "IOC" if market and force != "FOK" else force)
        assert [(fill.price, fill.qty) for fill in fills] == [(at, got) for _, at, got in expected]
        book = venue.markets["BTCUSDT"].book
        for its in (BUY, SELL):
            levels: dict[int, int] = {}
            for _, other, at, leaves in twin.resting:
                if other == its:
                    levels[at] = levels.get(at, 0) + leaves
            assert dict(book.levels(its, 100)) == levels


def random_life(venue: Exchange, accounts: tuple[Account, Account], seed: int, steps: int) -> None:
    draw = random.Random(seed)
    agents = Agents(venue, venue.markets["BTCUSDT"])
    for _ in range(steps):
        venue.advance(venue.now_ms + draw.randrange(500))
        agents.act()
        account = draw.choice(accounts)
        working = [each for each in account.orders.values() if each.status in OPEN]
        rules = venue.markets["BTCUSDT"].symbol
        price = venue.mark_price("BTCUSDT") + draw.randrange(-20, 21)
        qty = rules.step_size * draw.randrange(1, 4000) * (1 if venue.market == "usdm" else 10)
        try:
            what = draw.random()
            if what < 0.6 or not working:
                venue.place(
                    account,
                    "BTCUSDT",
                    draw.choice([BUY, SELL]),
                    draw.choice(["LIMIT", "MARKET", "LIMIT_MAKER"]),
                    qty,
                    price=price,
                )
            elif what < 0.8:
                venue.cancel(account, "BTCUSDT", draw.choice(working).id)
            else:
                venue.amend(account, "BTCUSDT", draw.choice(working).id, None, qty, price)
        except VenueError:
            pass


@given(seed=st.integers(0, 2**32))
def test_spot_money_is_moved_and_never_made(seed: int) -> None:
    venue, *accounts = exchange("spot", seed=seed)
    random_life(venue, (accounts[0], accounts[1]), seed, 60)
    for account in accounts:
        for asset in ("USDT", "BTC"):
            free, locked = account.balances[asset]
            assert free >= 0
            assert locked >= 0
            # Entries are free and locked together; locks only move between the two.
            assert free + locked == sum(amount for its, amount, _ in account.entries if its == asset)
        base = sum(SPOT.base_units(fill.qty) * fill.order.side for fill in account.fills)
        quote = -sum(fill.value * fill.order.side for fill in account.fills)
        fees = {asset: sum(fill.fee for fill in account.fills if fill.fee_asset == asset) for asset in ("USDT", "BTC")}
        assert sum(account.balances["BTC"]) == 1000 * MONEY + base - fees["BTC"]
        assert sum(account.balances["USDT"]) == 10**7 * MONEY + quote - fees["USDT"]
        for order in account.orders.values():
            if order.status not in OPEN:
                assert order.locked == 0


@given(seed=st.integers(0, 2**32))
def test_a_position_and_its_money_are_the_sum_of_its_fills(seed: int) -> None:
    venue, *accounts = exchange("usdm", seed=seed)
    random_life(venue, (accounts[0], accounts[1]), seed, 60)
    for account in accounts:
        held = account.positions.get("BTCUSDT")
        qty = sum(fill.qty * fill.order.side for fill in account.fills)
        assert (held.qty if held else 0) == qty
        # Money: what was paid and got for everything, plus what is open at its cost, is what was realised.
        flow = -sum(fill.value * fill.order.side for fill in account.fills)
        realised = sum(fill.realised for fill in account.fills)
        assert flow + (held.cost if held else 0) == realised
        funding = sum(amount for _, amount, why in account.entries if why == "funding")
        fees = sum(fill.fee for fill in account.fills)
        assert account.balances["USDT"][0] == 10**7 * MONEY + realised - fees + funding


def test_the_same_seed_and_calls_give_the_same_events() -> None:
    def told() -> list[Any]:
        venue, *accounts = exchange("usdm", seed=9)
        random_life(venue, (accounts[0], accounts[1]), 9, 200)
        return [
            (each.kind, each.time_ms, str(each.data.get("levels", each.data.get("price", "")))) for each in venue.events
        ]

    assert told() == told()


def test_update_ids_chain_and_levels_rebuild_the_book() -> None:
    venue, *accounts = exchange("usdm", seed=4)
    random_life(venue, (accounts[0], accounts[1]), 4, 300)
    last, book = 1_000_000, {}
    for event in venue.events:
        if event.kind == "levels":
            assert event.data["first"] == last + 1
            assert event.data["previous"] == last
            last = event.data["final"]
            for side, price, qty in event.data["levels"]:
                book[side, price] = qty
    real = venue.markets["BTCUSDT"].book
    for side in (BUY, SELL):
        assert {price: qty for (its, price), qty in book.items() if its == side and qty} == dict(
            real.levels(side, 10**6)
        )


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_agents_keep_a_market_of_a_few_ticks_and_many_levels(market: Any) -> None:
    venue, _, _ = exchange(market, seed=8)
    state = venue.markets["BTCUSDT"]
    agents = Agents(venue, state)
    spreads = []
    for _ in range(2000):
        agents.act()
        spreads.append((state.book.best(SELL) - state.book.best(BUY)) // state.symbol.tick_size)
        assert len(state.book.levels(BUY, 10)) >= 8
        assert len(state.book.levels(SELL, 10)) >= 8
    assert min(spreads) >= 1
    assert sum(each <= 3 for each in spreads) > 1600
    assert max(spreads) < 20
    assert state.trade_id > 300
    assert len(list(state.book.orders())) < 2000


@pytest.mark.parametrize(
    ("market", "order", "code"),
    [
        ("spot", {"qty": 10**6, "price": 6_000_000, "side": BUY}, 0),
        ("spot", {"qty": 10**6 * 200_000, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 20_000 * 10**5, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 300 * 10**5, "price": 6_000_000, "side": BUY}, -2010),
        ("spot", {"qty": 1, "price": 6_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 10**5, "price": 5_000_000, "side": BUY}, -1013),
        ("spot", {"qty": 10**5, "price": 7_000_000, "side": BUY, "kind": "LIMIT_MAKER"}, -1013),
        ("spot", {"qty": 10**5, "price": 6_010_000, "side": BUY, "kind": "LIMIT_MAKER"}, -2010),
        ("usdm", {"qty": 1000, "price": 600_100, "side": BUY, "time_in_force": "GTX"}, -5022),
        ("usdm", {"qty": 10**6, "price": 600_000, "side": BUY}, 0),
        ("usdm", {"qty": 10**6 + 1, "price": 600_000, "side": BUY}, -4003),
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
