"""The practice exchange over real sockets: what a client asks and gets."""

import itertools
import json
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from reference.exchange_client import PATHS, Client, order_of, play, until, user_stream

from twinloop.engine.exchange.server import Server

SKIP = "TWINLOOP_REAL_DATA does not name a folder of recorded markets"


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
        assert await code(client.order(market, **good | {"quantity": "140" if market == "spot" else "900"})) == (
            -2010 if market == "spot" else -2019
        )
        async with client.http.get(server.rest + path) as answer:
            assert (await answer.json())["code"] == -2014

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
