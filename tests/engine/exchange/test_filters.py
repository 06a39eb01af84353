"""Filters, fees, symbols and funding: what exchangeInfo tells is what is enforced, with the venue's numbers."""

from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import Any

import pytest
from reference.exchange_client import PATHS, Client, Clock, play
from reference.exchange_world import exchange

from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.core import FUNDING_MS, FUNDING_PPM, Exchange
from twinloop.engine.exchange.model import BUY, SELL, VenueError
from twinloop.engine.exchange.server import Server
from twinloop.engine.exchange.symbols import KNOWN, MONEY, PPM, symbol

BOTH = pytest.mark.parametrize("market", ["spot", "usdm"])


@pytest.mark.parametrize("name", KNOWN)
@BOTH
def test_each_told_limit_is_where_orders_begin_to_be_refused(market: str, name: str) -> None:
    async def what(__: Server, client: Client) -> None:
        info = await client.get(f"{PATHS[market]}/exchangeInfo", symbol=name)
        (found,) = info["symbols"]
        rules = {each["filterType"]: each for each in found["filters"]}
        mark = Decimal((await client.get(f"{PATHS[market]}/ticker/bookTicker", symbol=name))["bidPrice"])
        tick, step = Decimal(rules["PRICE_FILTER"]["tickSize"]), Decimal(rules["LOT_SIZE"]["stepSize"])
        least = Decimal(rules["NOTIONAL"]["minNotional"] if market == "spot" else rules["MIN_NOTIONAL"]["notional"])
        price = (mark * Decimal("0.99") / tick).to_integral_value() * tick
        enough = (least / price / step).to_integral_value(ROUND_CEILING) * step

        async def code(**order: Any) -> int:
            fields = {"symbol": name, "quantity": enough, "price": price} | order
            if fields.get("type") == "MARKET":
                del fields["price"]
            _, body = await client.order(market, **{key: f"{value}" for key, value in fields.items()})
            return int(body.get("code", 0))

        spot = market == "spot"
        assert await code() == 0
        too_small = -4164 if enough > step else -4004  # A step may be worth more than the least.
        assert await code(quantity=enough - step) == (-1013 if spot else too_small)
        assert await code(price=price + tick / 10) == -1111
        assert await code(quantity=enough + step / 10) == -1111
        assert await code(quantity=Decimal(rules["LOT_SIZE"]["maxQty"]) + step) == (-1013 if spot else -4005)
        most = Decimal(rules["MARKET_LOT_SIZE"]["maxQty"])
        assert await code(type="MARKET", quantity=most + step) == (-1013 if spot else -4005)
        assert await code(price=Decimal(rules["PRICE_FILTER"]["maxPrice"]) + tick) == (-1013 if spot else -4002)
        band = rules["PERCENT_PRICE_BY_SIDE" if spot else "PERCENT_PRICE"]
        up, down = (
            Decimal(band[key])
            for key in (("bidMultiplierUp", "bidMultiplierDown") if spot else ("multiplierUp", "multiplierDown"))
        )
        for multiplier, edge, refused in ((up, 1, -4016), (down, -1, -4024)):
            inside = (mark * multiplier / tick).to_integral_value() * tick - edge * 20 * tick
            outside = inside + edge * 60 * tick
            side = "SELL" if edge > 0 else "BUY"
            large = (least / inside / step).to_integral_value(ROUND_CEILING) * step + step
            assert await code(price=inside, side=side, quantity=large) == 0
            assert await code(price=outside, side=side, quantity=large) == (-1013 if spot else refused)

    play(what, symbols=KNOWN, clock=Clock())  # The market stands still, and with it what the limits go by.


@BOTH
def test_only_so_many_orders_and_stops_may_work(market: Any) -> None:
    venue, first, _ = exchange(market)
    rules = venue.markets["BTCUSDT"].symbol
    price, qty = rules.first_price * 99 // 100, rules.step_size * 10 ** (rules.qty_scale - 2)
    for _ in range(rules.max_orders):
        venue.place(first, "BTCUSDT", BUY, "LIMIT", qty, price=price)
    with pytest.raises(VenueError) as caught:
        venue.place(first, "BTCUSDT", BUY, "LIMIT", qty, price=price)
    assert (caught.value.code, "MAX_NUM_ORDERS" in caught.value.message) == (
        (-1013, True) if market == "spot" else (-2025, False)
    )
    venue.cancel_all(first, "BTCUSDT")
    if market == "spot":
        for _ in range(rules.max_stops):
            venue.place(first, "BTCUSDT", BUY, "STOP_LOSS", qty, stop_price=rules.first_price * 101 // 100)
        with pytest.raises(VenueError, match="MAX_NUM_ALGO_ORDERS"):
            venue.place(first, "BTCUSDT", BUY, "STOP_LOSS", qty, stop_price=rules.first_price * 101 // 100)
    venue.place(first, "BTCUSDT", BUY, "LIMIT", qty, price=price)


@pytest.mark.parametrize(
    ("market", "maker_ppm", "taker_ppm", "discount"),
    [("spot", 1000, 1000, Fraction(3, 4)), ("usdm", 200, 500, Fraction(9, 10))],
)
def test_fees_are_taken_in_base_quote_or_a_third_asset(
    market: Any, maker_ppm: int, taker_ppm: int, discount: Fraction
) -> None:
    venue, first, second = exchange(market)
    rules = venue.markets["BTCUSDT"].symbol
    price, qty = rules.first_price, 10 ** (rules.qty_scale - 1)
    venue.place(first, "BTCUSDT", SELL, "LIMIT", 2 * qty, price=price)
    venue.place(second, "BTCUSDT", BUY, "MARKET", qty)
    sold, bought = first.fills[-1], second.fills[-1]
    value, units = rules.value(price, qty), rules.base_units(qty)
    assert (sold.fee, sold.fee_asset) == (value * maker_ppm // PPM, "USDT")
    assert (bought.fee, bought.fee_asset) == (
        (units * taker_ppm // PPM, "BTC") if market == "spot" else (value * taker_ppm // PPM, "USDT")
    )  # fmt: skip
    venue.ledger.deposit(second, "BNB", MONEY)
    second.burns = True
    venue.place(second, "BTCUSDT", BUY, "MARKET", qty)
    burnt = second.fills[-1]
    assert burnt.fee_asset == "BNB"
    assert burnt.fee == Fraction(value * taker_ppm, PPM) * discount * MONEY / venue.ledger.burnt_price
    assert second.free("BNB") == MONEY - burnt.fee
    assert venue.ledger.fees["BNB"] == burnt.fee
    venue.ledger.deposit(second, "BNB", -second.free("BNB"))
    venue.place(first, "BTCUSDT", SELL, "LIMIT", qty, price=price)
    venue.place(second, "BTCUSDT", BUY, "MARKET", qty)
    assert second.fills[-1].fee_asset == bought.fee_asset  # None left: as before.


@BOTH
def test_the_switch_for_such_fees_is_the_venues_and_they_are_told_of(market: str) -> None:
    async def what(__: Server, client: Client) -> None:
        path, name = ("/sapi/v1/bnbBurn", "spotBNBBurn") if market == "spot" else ("/fapi/v1/feeBurn", "feeBurn")
        assert (await client.signed("GET", path))[1][name] is False
        await client.signed("POST", path, **{name: "true"})  # type: ignore[arg-type]
        assert (await client.signed("GET", path))[1][name] is True
        prices = f"{'/api/v3' if market == 'spot' else '/fapi/v1'}/ticker/price"
        assert Decimal((await client.get(prices, symbol="BNBUSDT"))["price"]) > 0
        await client.order(market, type="MARKET", quantity="0.010")
        trades = "/api/v3/myTrades" if market == "spot" else "/fapi/v1/userTrades"
        _, found = await client.signed("GET", trades, symbol="BTCUSDT")
        assert {each["commissionAsset"] for each in found} == {"BNB"}
        if market == "usdm":
            _, assets = await client.signed("GET", "/fapi/v3/balance")
            held = {each["asset"]: Decimal(each["balance"]) for each in assets}
            assert held["BNB"] == 500 - sum(Decimal(each["commission"]) for each in found)

    play(what, symbols=("BTCUSDT", "BNBUSDT"))


def test_funding_moves_from_longs_to_shorts_every_eight_hours() -> None:
    venue, first, second = exchange("usdm")
    venue.place(first, "BTCUSDT", SELL, "LIMIT", 1000, price=600_000)
    venue.place(second, "BTCUSDT", BUY, "MARKET", 1000)
    before = first.free("USDT"), second.free("USDT")
    venue.advance((venue.now_ms // FUNDING_MS + 1) * FUNDING_MS - 1)
    assert (first.free("USDT"), second.free("USDT")) == before
    venue.advance(venue.now_ms + 1)
    paid = 60_000 * MONEY * FUNDING_PPM // PPM
    assert (first.free("USDT") - before[0], second.free("USDT") - before[1]) == (paid, -paid)


def test_symbols_have_books_and_positions_of_their_own() -> None:
    venue = Exchange("usdm", [symbol(name, "usdm") for name in KNOWN])
    account = venue.add_account("a", "k", "s", {"USDT": 10**6 * MONEY})
    for state in venue.markets.values():
        Agents(venue, state, 2)
    for name in ("ETHUSDT", "SOLUSDT"):
        venue.place(account, name, BUY, "MARKET", 1000 if name == "ETHUSDT" else 10)
    assert {name: held.qty for name, held in account.positions.items()} == {"ETHUSDT": 1000, "SOLUSDT": 10}
    both = venue.margin(account)
    assert both == sum(
        state.symbol.value(venue.mark_price(name), account.held(name)) for name, state in venue.markets.items()
    ) // account.leverage  # fmt: skip
    with pytest.raises(VenueError, match="Margin is insufficient"):
        venue.place(account, "BTCUSDT", BUY, "LIMIT", 340_000, price=600_000 * 104 // 100)


def test_a_spot_market_order_may_be_given_an_amount_instead() -> None:
    async def what(__: Server, client: Client) -> None:
        status, placed = await client.order("spot", type="MARKET", quoteOrderQty="1000")
        assert (status, placed["status"]) == (200, "FILLED")
        spent = Decimal(placed["cummulativeQuoteQty"])
        assert Decimal(1000) - Decimal("0.61") < spent <= 1000
        assert Decimal(placed["origQuoteOrderQty"]) == 1000
        for how, more in (("ACK", set()), ("RESULT", {"status", "price"}), ("FULL", {"status", "price", "fills"})):
            _, placed = await client.order("spot", type="MARKET", quantity="0.001", newOrderRespType=how)
            assert {"status", "price", "fills"} & set(placed) == more

    play(what)


@BOTH
def test_what_fees_are_paid_in_has_a_price_though_it_is_not_traded(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        path = f"{'/api/v3' if market == 'spot' else '/fapi/v1'}/ticker/price"
        server.exchanges[market].ledger.burnt_price = 61_234 * MONEY // 100  # type: ignore[index]
        found = await client.get(path, symbol="BNBUSDT")
        traded = await client.get(path, symbol="BTCUSDT")
        assert (found["symbol"], found["price"], found.keys()) == ("BNBUSDT", "612.34", traded.keys())
        assert (await client.get(path, symbol="ETHUSDT"))["code"] == -1121

    play(what)
