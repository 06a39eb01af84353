"""The practice exchange over real sockets: what a client asks, gets, and meets when something goes wrong."""

import asyncio
import hashlib
import hmac
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from twinloop.engine.exchange.faults import KNOWN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server

SKIP = "TWINLOOP_REAL_DATA does not name a folder of recorded markets"
PATHS = {"spot": "/api/v3", "usdm": "/fapi/v1"}


class Client:
    """A plain client, written from the venue's documentation."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server, self.http = server, http

    async def get(self, path: str, **parameters: Any) -> Any:
        async with self.http.get(self.server.rest + path, params=parameters) as answer:
            return await answer.json()

    async def signed(
        self, method: str, path: str, *, secret: str = PRACTICE_SECRET, shift_ms: int = 0, **parameters: Any
    ) -> tuple[int, Any]:
        parameters["timestamp"] = time.time_ns() // 10**6 + shift_ms
        query = urlencode(parameters)
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.server.rest}{path}?{query}&signature={signature}"
        headers = {"X-MBX-APIKEY": PRACTICE_KEY}
        async with self.http.request(method, url, headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return answer.status, await answer.json(content_type=None)

    async def order(self, market: str, **parameters: Any) -> tuple[int, Any]:
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"} | parameters
        if fields["type"] != "LIMIT":
            fields.pop("timeInForce")
        return await self.signed("POST", f"{PATHS[market]}/order", **fields)

    async def top(self, market: str) -> tuple[float, float]:
        found = await self.get(f"{PATHS[market]}/ticker/bookTicker", symbol="BTCUSDT")
        return float(found["bidPrice"]), float(found["askPrice"])

    async def away(self, market: str) -> str:
        """A price far below the bid."""
        bid, _ = await self.top(market)
        return f"{bid * 0.99:.1f}" if market == "usdm" else f"{bid * 0.99:.2f}"

    async def arm(self, fault: str, count: int = 1) -> None:
        async with self.http.post(self.server.rest + "/control", json={"fault": fault, "count": count}) as answer:
            assert answer.status == 200


Play = Callable[[Server, Client], Awaitable[None]]


def play(what: Play) -> None:
    async def run() -> None:
        async with Server(seed=3) as server, aiohttp.ClientSession() as http:
            await what(server, Client(server, http))

    asyncio.run(run())


async def until(socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[Any], bool]) -> Any:
    for _ in range(5000):
        message = await asyncio.wait_for(socket.receive(), 20)
        if message.type != aiohttp.WSMsgType.TEXT:
            raise ConnectionError(message.type)
        document = json.loads(message.data)
        if wanted(document):
            return document
    raise AssertionError("it never came")


async def user_stream(server: Server, client: Client, market: str) -> aiohttp.ClientWebSocketResponse:
    if market == "usdm":
        headers = {"X-MBX-APIKEY": PRACTICE_KEY}
        async with client.http.post(server.rest + "/fapi/v1/listenKey", headers=headers) as answer:
            key = (await answer.json())["listenKey"]
        return await client.http.ws_connect(f"{server.stream}/private/ws/{key}")
    socket = await client.http.ws_connect(f"{server.stream}/ws-api/v3")
    parameters: dict[str, Any] = {"apiKey": PRACTICE_KEY, "timestamp": time.time_ns() // 10**6}
    payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    parameters["signature"] = hmac.new(PRACTICE_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    await socket.send_json({"id": 1, "method": "userDataStream.subscribe.signature", "params": parameters})
    assert (await socket.receive_json())["result"] == {"subscriptionId": 0}
    return socket


def order_of(event: Any) -> Any:
    event = event.get("event", event)
    if event.get("e") == "ORDER_TRADE_UPDATE":
        return event["o"]
    return event if event.get("e") == "executionReport" else {}


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
        assert await code(client.signed("GET", path, shift_ms=1500, symbol="BTCUSDT", orderId=1)) == -1021
        assert await code(client.order(market, **good | {"quantity": "0.0000001"})) == -1111
        assert await code(client.order(market, **good | {"quantity": "1e5"})) == -1100
        assert await code(client.order(market, **good | {"side": "HOLD"})) == -1117
        assert await code(client.order(market, **good | {"quantity": "900"})) == (-2010 if market == "spot" else -2019)
        async with client.http.get(server.rest + path) as answer:
            assert (await answer.json())["code"] == -2014

    play(what)


def test_limits_are_counted_and_end_in_429() -> None:
    async def what(server: Server, client: Client) -> None:
        for number in range(130):
            async with client.http.get(server.rest + "/fapi/v1/exchangeInfo") as answer:
                assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) == 20 * (number + 1)
                if answer.status == 429:
                    assert (await answer.json())["code"] == -1003
                    assert answer.headers["Retry-After"]
                    assert 20 * (number + 1) > 2400
                    return
        raise AssertionError("no limit")

    play(what)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_faults_of_orders_are_what_they_say(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        price = await client.away(market)

        async def exists(name: str) -> bool:
            path = f"{PATHS[market]}/order"
            status, _ = await client.signed("GET", path, symbol="BTCUSDT", origClientOrderId=name)
            return status == 200

        async def meet(fault: str) -> tuple[int, Any]:
            await client.arm(fault)
            return await client.order(market, quantity="0.010", price=price, newClientOrderId=fault)

        status, _ = await meet("unknown_503")
        assert status == 503
        assert await exists("unknown_503")
        status, body = await meet("failed_503")
        assert (status, body["code"]) == (503, -1008)
        assert not await exists("failed_503")
        status, _ = await meet("reject")
        assert status == 400
        assert not await exists("reject")
        status, body = await meet("banned")
        assert (status, body["code"]) == (418, -1003)
        for fault, there in (("drop_response", True), ("lose_request", False)):
            await client.arm(fault)
            asked = client.order(market, quantity="0.010", price=price, newClientOrderId=fault)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked, 0.3)
            assert await exists(fault) == there
        await client.arm("fail_query")
        status, _ = await client.signed("GET", f"{PATHS[market]}/openOrders", symbol="BTCUSDT")
        assert status == 500
        told = await client.get("/control")
        assert set(told["met"]) >= {"unknown_503", "drop_response", "lose_request", "fail_query"}
        assert set(told["known"]) == set(KNOWN)
        async with client.http.post(server.rest + "/control", json={"fault": "rain"}) as answer:
            assert answer.status == 400

    play(what)


def test_user_events_can_be_late_doubled_or_lost() -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, "usdm")
        price = await client.away("usdm")
        await client.arm("late_ack")
        await client.order("usdm", type="MARKET", quantity="0.010")
        kinds: list[str] = []
        while "NEW" not in kinds:
            kinds.append(order_of(await until(user, lambda each: bool(order_of(each))))["x"])
        assert kinds[0] == "TRADE"
        await client.arm("double_user_event")
        await client.order("usdm", quantity="0.010", price=price, newClientOrderId="two")
        first = await until(user, lambda each: order_of(each).get("c") == "two")
        assert await until(user, lambda each: order_of(each).get("c") == "two") == first
        await client.arm("lose_user_event")
        await client.order("usdm", quantity="0.010", price=price, newClientOrderId="lost")
        await client.order("usdm", quantity="0.010", price=price, newClientOrderId="next")
        told = await until(user, lambda each: order_of(each).get("c") in {"lost", "next"})
        assert order_of(told)["c"] == "next"

    play(what)


def test_a_market_can_fall_silent_and_break_off() -> None:
    async def what(server: Server, client: Client) -> None:
        url = f"{server.stream}/public/stream?streams=btcusdt@depth@0ms"
        async with client.http.ws_connect(url) as socket:
            first = (await until(socket, lambda _: True))["data"]
            await client.arm("lose_update")
            update = (await until(socket, lambda each: each["data"]["pu"] != first["u"]))["data"]
            while update["pu"] == first["u"]:
                first, update = update, (await until(socket, lambda _: True))["data"]
            await client.arm("drop_market")
            with pytest.raises(ConnectionError):
                await until(socket, lambda _: False)

    play(what)


def fixtures() -> Path | None:
    named = os.environ.get("TWINLOOP_REAL_DATA")
    folder = Path(named) / "venue-message-fixtures" / "binance" if named else None
    return folder if folder is not None and folder.is_dir() else None


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def compared(mine: Any, theirs: Any, where: str = "") -> list[str]:
    """Keys of a recorded message that ours lacks, and values of another type; ours may have more."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        lacking = [f"{where}.{name} is missing" for name in theirs if name not in mine]
        both = [name for name in theirs if name in mine]
        return lacking + [each for name in both for each in compared(mine[name], theirs[name], f"{where}.{name}")]
    if isinstance(theirs, list) and isinstance(mine, list):
        return compared(mine[0], theirs[0], f"{where}[0]") if mine and theirs else []
    if mine is None or theirs is None:
        return []
    return [] if kind(mine) == kind(theirs) else [f"{where}: {kind(mine)} instead of {kind(theirs)}"]


RECORDED = (
    ("spot market", "spot/http_json/new_order_full_response.json"),
    ("spot query", "spot/http_json/order_response.json"),
    ("spot open", "spot/http_json/open_orders_response.json"),
    ("spot cancel", "spot/http_json/cancel_order_response.json"),
    ("spot depth", "spot/http_json/depth_response.json"),
    ("account", "spot/http_json/account_response.json"),
    ("trades", "spot/http_json/account_trades_response.json"),
    ("spot new", "spot/user_data_json/execution_report_new.json"),
    ("spot trade", "spot/user_data_json/execution_report_trade.json"),
    ("usdm query", "futures/http_json/order_response.json"),
    ("account v2", "futures/http_json/account_info_v2.json"),
    ("balance", "futures/http_json/balance.json"),
    ("position", "futures/http_json/position_risk.json"),
    ("usdm new", "futures/user_data_json/order_update_new.json"),
    ("usdm trade", "futures/user_data_json/order_update_trade.json"),
)


@pytest.mark.skipif(fixtures() is None, reason=SKIP)
def test_answers_have_the_keys_and_types_of_recorded_ones() -> None:
    folder = fixtures()
    assert folder is not None
    found: dict[str, Any] = {}

    async def what(server: Server, client: Client) -> None:
        for market in ("spot", "usdm"):
            user = await user_stream(server, client, market)
            path = f"{PATHS[market]}/order"
            _, placed = await client.order(market, quantity="0.010", price=await client.away(market))
            which = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
            found[f"{market} new"] = order_of(await until(user, lambda each: bool(order_of(each))))
            _, found[f"{market} query"] = await client.signed("GET", path, **which)
            _, found[f"{market} open"] = await client.signed("GET", f"{PATHS[market]}/openOrders", symbol="BTCUSDT")
            _, found[f"{market} cancel"] = await client.signed("DELETE", path, **which)
            _, found[f"{market} market"] = await client.order(market, type="MARKET", quantity="0.010")
            found[f"{market} trade"] = order_of(await until(user, lambda each: order_of(each).get("x") == "TRADE"))
            found[f"{market} depth"] = await client.get(f"{PATHS[market]}/depth", symbol="BTCUSDT")
        _, found["account"] = await client.signed("GET", "/api/v3/account")
        _, found["trades"] = await client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")
        _, found["account v2"] = await client.signed("GET", "/fapi/v2/account")
        _, found["balance"] = await client.signed("GET", "/fapi/v2/balance")
        _, found["position"] = await client.signed("GET", "/fapi/v2/positionRisk", symbol="BTCUSDT")

    play(what)
    for mine, name in RECORDED:
        theirs = json.loads((folder / name).read_text())
        assert (
            compared(
                found[mine],
                theirs.get("o", theirs) if mine.startswith("usdm ") and "user_data" in name else theirs,
                mine,
            )
            == []
        )
