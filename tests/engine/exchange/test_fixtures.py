"""Each answer and event has the keys and types of the recorded message of its kind; those that the exchange never sends are named."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from reference.exchange_client import PATHS, Client, happens, order_of, play, until, user_stream

from twinloop.engine.exchange.server import Server

SKIP = "TWINLOOP_REAL_DATA does not name a folder of recorded markets"
# Recorded message -> name of ours, as `gathered` has it.
MEETS = {
    "futures/http_json/account_info_v2.json": "usdm account",
    "futures/http_json/balance.json": "usdm balance",
    "futures/http_json/open_algo_orders.json": "usdm open algos",
    "futures/http_json/order_response.json": "usdm query",
    "futures/http_json/position_risk.json": "usdm position",
    "futures/market_data_json/agg_trade_stream.json": "usdm aggTrade",
    "futures/market_data_json/book_ticker_stream.json": "usdm bookTicker",
    "futures/market_data_json/depth_update_stream.json": "usdm depth@100ms",
    "futures/market_data_json/kline_stream_closed.json": "usdm kline_1m",
    "futures/market_data_json/kline_stream_open.json": "usdm kline_1m",
    "futures/market_data_json/mark_price_stream.json": "usdm markPrice",
    "futures/market_data_json/ticker_stream.json": "usdm ticker",
    "futures/market_data_json/trade_stream.json": "usdm trade",
    "futures/user_data_json/account_update.json": "usdm ACCOUNT_UPDATE",
    "futures/user_data_json/algo_update_canceled.json": "usdm algo CANCELED",
    "futures/user_data_json/algo_update_new.json": "usdm algo NEW",
    "futures/user_data_json/order_update_new.json": "usdm NEW",
    "futures/user_data_json/order_update_trade.json": "usdm TRADE",
    "futures/user_data_json/order_update_trade_partial.json": "usdm partial",
    "futures/user_data_json/trade_lite.json": "usdm TRADE_LITE",
    "spot/http_json/account_response.json": "spot account",
    "spot/http_json/account_trades_response.json": "spot own trades",
    "spot/http_json/all_orders_response.json": "spot all orders",
    "spot/http_json/avg_price_response.json": "spot avgPrice",
    "spot/http_json/book_ticker_response.json": "spot ticker/bookTicker",
    "spot/http_json/cancel_open_orders_response.json": "spot cancel all",
    "spot/http_json/cancel_order_response.json": "spot cancel",
    "spot/http_json/depth_response.json": "spot depth",
    "spot/http_json/exchange_info_response.json": "spot exchangeInfo",
    "spot/http_json/klines_response.json": "spot klines",
    "spot/http_json/new_order_full_response.json": "spot market order",
    "spot/http_json/open_orders_response.json": "spot open orders",
    "spot/http_json/order_response.json": "spot query",
    "spot/http_json/ping_response.json": "spot ping",
    "spot/http_json/server_time_response.json": "spot time",
    "spot/http_json/ticker_24hr_response.json": "spot ticker/24hr",
    "spot/http_json/ticker_price_response.json": "spot ticker/price",
    "spot/http_json/trades_response.json": "spot trades",
    "spot/user_data_json/account_position.json": "spot outboundAccountPosition",
    "spot/user_data_json/account_position_wrapped.json": "spot wrapped outboundAccountPosition",
    "spot/user_data_json/balance_update.json": "spot balanceUpdate",
    "spot/user_data_json/balance_update_wrapped.json": "spot wrapped balanceUpdate",
    "spot/user_data_json/execution_report_canceled.json": "spot CANCELED",
    "spot/user_data_json/execution_report_expired.json": "spot EXPIRED",
    "spot/user_data_json/execution_report_new.json": "spot NEW",
    "spot/user_data_json/execution_report_stop_loss.json": "spot stop",
    "spot/user_data_json/execution_report_trade.json": "spot TRADE",
    "spot/user_data_json/execution_report_wrapped.json": "spot wrapped executionReport",
}
NEVER = {
    "futures/market_data_json/liquidation_stream.json": "nobody is liquidated",
    "futures/user_data_json/account_update_bnfcr.json": "no credits trading mode",
    "futures/user_data_json/order_update_adl.json": "no auto-deleveraging",
    "futures/user_data_json/order_update_calculated.json": "nobody is liquidated",
    "futures/user_data_json/order_update_calculated_pending.json": "nobody is liquidated",
    "futures/user_data_json/order_update_delivery.json": "perpetual contracts only",
    "futures/user_data_json/order_update_insurance.json": "nobody is liquidated",
    "futures/user_data_json/order_update_settlement.json": "perpetual contracts only",
    "spot/user_data_json/list_status_wrapped.json": "no order lists",
}
# Keys that only part of the recorded messages have: newer than the recordings that the market is held against, or of what is never there.
LACKING = {
    "futures/market_data_json/agg_trade_stream.json": {".st"},
    "futures/market_data_json/book_ticker_stream.json": {".st", ".ps"},
    "futures/market_data_json/depth_update_stream.json": {".st", ".ps"},
    "spot/http_json/exchange_info_response.json": {".sors"},
}


def fixtures() -> Path | None:
    named = os.environ.get("TWINLOOP_REAL_DATA")
    folder = Path(named) / "venue-message-fixtures" / "binance" if named else None
    return folder if folder is not None and folder.is_dir() else None


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def compared(mine: Any, theirs: Any, where: str = "") -> list[str]:
    """Keys of a recorded message that ours lacks, and values of another type; ours may have more."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        lacking = [f"{where}.{name}" for name in theirs if name not in mine]
        both = [name for name in theirs if name in mine]
        return lacking + [each for name in both for each in compared(mine[name], theirs[name], f"{where}.{name}")]
    if isinstance(theirs, list) and isinstance(mine, list):
        assert mine or not theirs, f"{where} is empty"
        return compared(mine[0], theirs[0], f"{where}[0]") if mine and theirs else []
    if mine is None or theirs is None:
        return []
    return [] if kind(mine) == kind(theirs) else [f"{where}: {kind(mine)} instead of {kind(theirs)}"]


def note(found: dict[str, Any], market: str, message: Any) -> None:
    """Keep an event by what it is."""
    event = message.get("event", message)
    if market == "spot":
        found[f"spot wrapped {event['e']}"] = message
    if event["e"] != "ACCOUNT_UPDATE" or event["a"]["P"]:  # Money that comes or goes is of no position.
        found[f"{market} {event['e']}"] = event
    order = order_of(message)
    if not order:
        if event["e"] == "ALGO_UPDATE":
            found[f"usdm algo {event['o']['X']}"] = event
        return
    told = event if market == "usdm" else order
    found[f"{market} {order['x']}"] = told
    if order["X"] == "PARTIALLY_FILLED":
        found[f"{market} partial"] = told
    if order["o"] == "STOP_LOSS_LIMIT":
        found["spot stop"] = told


async def gathered(server: Server, client: Client) -> dict[str, Any]:
    """One of everything."""
    found: dict[str, Any] = {}

    async def listen(market: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        def keep(message: Any) -> bool:
            note(found, market, message)
            return False

        await until(socket, keep)

    async def streams(market: str, names: tuple[str, ...]) -> None:
        for name in names:
            of_public = name.partition("@")[0] in {"trade", "bookTicker", "depth"}
            prefix = ("/public" if of_public else "/market") if market == "usdm" else ""
            async with client.http.ws_connect(f"{server.stream}{prefix}/ws/btcusdt@{name}") as socket:
                found[f"{market} {name}"] = await until(socket, lambda _: True)

    for market in ("spot", "usdm"):
        path = PATHS[market]
        symbol: dict[str, Any] = {"symbol": "BTCUSDT"}
        user = await user_stream(server, client, market)
        listening = asyncio.create_task(listen(market, user))
        price = await client.away(market)
        _, placed = await client.order(market, quantity="0.010", price=price)
        which = symbol | {"orderId": placed["orderId"]}
        _, found[f"{market} query"] = await client.signed("GET", f"{path}/order", **which)
        _, found[f"{market} open orders"] = await client.signed("GET", f"{path}/openOrders", **symbol)
        _, found[f"{market} all orders"] = await client.signed("GET", f"{path}/allOrders", **symbol)
        _, found[f"{market} cancel"] = await client.signed("DELETE", f"{path}/order", **which)
        await client.order(market, quantity="0.010", price=price)
        _, found[f"{market} cancel all"] = await client.signed(
            "DELETE", f"{path}/{'openOrders' if market == 'spot' else 'allOpenOrders'}", **symbol
        )
        _, found[f"{market} market order"] = await client.order(
            market, type="MARKET", quantity="5" if market == "spot" else "90"
        )
        await client.arm("unsolicited_cancel")
        await client.order(market, quantity="0.010", price=price)
        await client.arm("transfer")
        if market == "spot":
            await client.order(
                market, type="STOP_LOSS_LIMIT", side="SELL", quantity="0.01", price=price, stopPrice=price, timeInForce="GTC"
            )  # fmt: skip
            _, found["spot account"] = await client.signed("GET", "/api/v3/account")
            _, found["spot own trades"] = await client.signed("GET", "/api/v3/myTrades", **symbol)
            found["spot avgPrice"] = await client.get(f"{path}/avgPrice", **symbol)
        else:
            algo: dict[str, Any] = {
                "algoType": "CONDITIONAL",
                "side": "SELL",
                "type": "STOP",
                "quantity": "0.01",
                "price": price,
                "triggerPrice": price,
            }
            _, placed = await client.signed("POST", f"{path}/algoOrder", **symbol, **algo)
            _, found["usdm open algos"] = await client.signed("GET", f"{path}/openAlgoOrders", **symbol)
            await client.signed("DELETE", f"{path}/algoOrder", algoId=placed["algoId"])
            for name, asked in (("account", "account"), ("balance", "balance"), ("position", "positionRisk")):
                _, found[f"usdm {name}"] = await client.signed("GET", f"/fapi/v2/{asked}")
        names = (
            "ping",
            "time",
            "exchangeInfo",
            "depth",
            "trades",
            "klines",
            "ticker/price",
            "ticker/24hr",
            "ticker/bookTicker",
        )
        for name in names:
            more = symbol if name not in {"ping", "time", "exchangeInfo"} else {}
            more = more | ({"interval": "1m"} if name == "klines" else {})
            found[f"{market} {name}"] = await client.get(f"{path}/{name}", **more)
        usdm_only = ("markPrice",) if market == "usdm" else ()
        await streams(market, ("trade", "aggTrade", "bookTicker", "depth@100ms", "kline_1m", "ticker", *usdm_only))
        wanted = {mine for mine in MEETS.values() if mine.startswith(f"{market} ")}
        await happens(lambda wanted=wanted: wanted <= set(found))  # type: ignore[misc]
        listening.cancel()
    return found


@pytest.mark.skipif(fixtures() is None, reason=SKIP)
def test_every_recorded_message_is_met_or_named_as_never_sent() -> None:
    folder = fixtures()
    assert folder is not None
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.json") if "_sbe" not in str(path)}
    assert there == set(MEETS) | set(NEVER)
    found: dict[str, Any] = {}

    async def what(server: Server, client: Client) -> None:
        found.update(await gathered(server, client))

    play(what)
    for name, mine in MEETS.items():
        theirs = json.loads((folder / name).read_text())
        missing = set(compared(found[mine], theirs)) - LACKING.get(name, set())
        assert not missing, (name, missing)
        assert not LACKING.get(name, set()) - set(compared(found[mine], theirs)), f"{name}: no longer lacking"
