"""The practice exchange over real sockets: what a client asks and gets."""

import itertools
from collections.abc import Awaitable
from typing import Any

import pytest
from reference.exchange_client import PATHS, Client, order_of, play, until, user_stream

from twinloop.engine.exchange.server import Server


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_an_order_lives_and_its_owner_hears_of_it(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        path = f"{PATHS[market]}/order"
        _, ask = await client.top(market)
        status, placed = await client.order(
            market, quantity="0.010", price=await client.away(market), newClientOrderId="one"
        )
        assert (status, placed["status"], placed["clientOrderId"]) == (200, "NEW", "one")
        told = order_of(await until(user, lambda each: order_of(each).get("x") == "NEW"))
        assert (told["c"], told["X"]) == ("one", "NEW")
        status, found = await client.signed("GET", path, symbol="BTCUSDT", origClientOrderId="one")
        assert (status, found["orderId"]) == (200, placed["orderId"])
        status, canceled = await client.signed("DELETE", path, symbol="BTCUSDT", orderId=placed["orderId"])
        assert (status, canceled["status"]) == (200, "CANCELED")
        await until(user, lambda each: order_of(each).get("x") == "CANCELED")
        status, _ = await client.order(market, type="MARKET", quantity="0.010")
        assert status == 200
        told = order_of(await until(user, lambda each: order_of(each).get("x") == "TRADE"))
        assert told["X"] in {"PARTIALLY_FILLED", "FILLED"}
        assert abs(float(told["L"]) - ask) < 50
        trades = "/api/v3/myTrades" if market == "spot" else "/fapi/v1/userTrades"
        _, found = await client.signed("GET", trades, symbol="BTCUSDT")
        assert sum(float(each["qty"]) for each in found) == pytest.approx(0.01)

    play(what)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_depth_updates_chain_and_continue_the_snapshot(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        prefix = "/public" if market == "usdm" else ""
        url = f"{server.stream}{prefix}/stream?streams=btcusdt@depth@100ms/btcusdt@trade"
        async with client.http.ws_connect(url) as socket:
            updates: list[Any] = []
            snapshot: Any = None
            while len(updates) < 15:
                document = await until(socket, lambda each: each["stream"] == "btcusdt@depth@100ms")
                updates.append(document["data"])
                if len(updates) == 5:
                    snapshot = await client.get(f"{PATHS[market]}/depth", symbol="BTCUSDT", limit=1000)
        for before, after in itertools.pairwise(updates):
            assert after["U"] == before["u"] + 1
            if market == "usdm":
                assert after["pu"] == before["u"]
        last = snapshot["lastUpdateId"]
        book = {(side, at): qty for side, name in (("b", "bids"), ("a", "asks")) for at, qty in snapshot[name]}
        kept = [each for each in updates if each["u"] > last]
        assert kept[0]["U"] <= last + 1
        book |= {(side, at): qty for each in kept for side in "ba" for at, qty in each[side]}
        bids = [float(at) for (side, at), qty in book.items() if side == "b" and float(qty)]
        asks = [float(at) for (side, at), qty in book.items() if side == "a" and float(qty)]
        assert max(bids) < min(asks)

    play(what)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_refusals_have_the_venues_numbers(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        path = f"{PATHS[market]}/order"
        good = {"quantity": "0.010", "price": await client.away(market)}
        plain: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}

        async def code(found: Awaitable[tuple[int, Any]]) -> int:
            return int((await found)[1]["code"])

        assert await code(client.signed("DELETE", path, symbol="BTCUSDT", orderId=1)) == -2011
        assert await code(client.signed("GET", path, symbol="BTCUSDT", orderId=1)) == -2013
        assert await code(client.order(market, **good | {"symbol": "NOPE"})) == -1121
        assert await code(client.signed("POST", path, secret="wrong", **plain)) == -1022
        assert await code(client.signed("GET", path, shift_ms=-6000, symbol="BTCUSDT", orderId=1)) == -1021
        assert await code(client.signed("GET", path, shift_ms=60_000, symbol="BTCUSDT", orderId=1)) == -1021
        assert await code(client.order(market, **good | {"quantity": "0.0000001"})) == -1111
        assert await code(client.order(market, **good | {"quantity": "1e5"})) == -1100
        assert await code(client.order(market, **good | {"side": "HOLD"})) == -1117
        assert await code(client.order(market, **good | {"quantity": "140" if market == "spot" else "900"})) == (
            -2010 if market == "spot" else -2019
        )
        async with client.http.get(server.rest + path) as answer:
            assert (await answer.json())["code"] == -2014

    play(what)
