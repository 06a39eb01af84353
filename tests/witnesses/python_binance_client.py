"""python-binance trades on the practice exchange, over REST and sockets: `python_binance_client.py spot|usdm REST STREAM`."""

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from meet import KEY, SECRET, arm, tell


async def refusal(what: Awaitable[Any]) -> list[int]:
    """[HTTP status, the venue's number]."""
    try:
        await what
    except BinanceAPIException as error:
        return [error.status_code, error.code]
    return [200, 0]


async def heard(socket: Any, event: str, kind: str = "") -> Any:
    """The next event of a kind."""
    for _ in range(500):
        message = await asyncio.wait_for(socket.recv(), 20)
        message = message.get("event", message.get("data", message))
        inner = message["o"] if isinstance(message.get("o"), dict) else message
        if message.get("e") == event and (not kind or inner["x"] == kind):
            return inner
    raise AssertionError(event)


async def run(market: str, rest: str, stream: str) -> None:
    spot = market == "spot"
    AsyncClient.API_URL, AsyncClient.FUTURES_URL, AsyncClient.MARGIN_API_URL = (
        f"{rest}/api",
        f"{rest}/fapi",
        f"{rest}/sapi",
    )
    AsyncClient.WS_API_URL, AsyncClient.WS_FUTURES_URL = f"{stream}/ws-api/v3", f"{stream}/ws-fapi/v1"
    BinanceSocketManager.STREAM_URL = BinanceSocketManager.FSTREAM_URL = f"{stream}/"
    client = await AsyncClient.create(KEY, SECRET)
    sockets = BinanceSocketManager(client)
    name: dict[str, Any] = {"symbol": "BTCUSDT"}
    place = client.create_order if spot else client.futures_create_order
    query = client.get_order if spot else client.futures_get_order
    cancel = client.cancel_order if spot else client.futures_cancel_order
    listed = client.get_open_orders if spot else client.futures_get_open_orders
    traded = client.get_my_trades if spot else client.futures_account_trades
    book = client.get_order_book if spot else client.futures_order_book
    limit = name | {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    found: dict[str, Any] = {}
    try:
        bid = float((await book(**name))["bids"][0][0])
        low = f"{bid * 0.99:.1f}"
        async with sockets.user_socket() if spot else sockets.futures_user_socket() as user:
            order = await place(**limit, price=low)
            report = await heard(user, "executionReport" if spot else "ORDER_TRADE_UPDATE", "NEW")
            found["heard"] = report["i"] == order["orderId"]
            which = name | {"orderId": order["orderId"]}
            found["queried"] = (await query(**which))["status"]
            found["open"] = [each["orderId"] == order["orderId"] for each in await listed(**name)]
            found["cancelled"] = (await cancel(**which))["status"]
            await heard(user, "executionReport" if spot else "ORDER_TRADE_UPDATE", "CANCELED")
            await place(**name, side="BUY", type="MARKET", quantity="0.01")
            await heard(user, "executionReport" if spot else "ORDER_TRADE_UPDATE", "TRADE")
        found["traded"] = sum(float(each["qty"]) for each in await traded(**name))
        if spot:
            found["account"] = (
                float(next(each for each in (await client.get_account())["balances"] if each["asset"] == "BTC")["free"])
                > 20
            )
            prices = (
                await client.get_avg_price(**name),
                await client.get_symbol_ticker(**name),
                await client.get_ticker(**name),
            )
            found["prices"] = all(
                abs(float(each.get("price", each.get("lastPrice"))) / bid - 1) < 0.01 for each in prices
            )
            async with sockets.trade_socket("BTCUSDT") as trades:
                found["trade"] = abs(float((await heard(trades, "trade"))["p"]) / bid - 1) < 0.01
            async with sockets.kline_socket("BTCUSDT") as candles:
                found["candle"] = (await heard(candles, "kline"))["k"]["i"]
        else:
            found["position"] = [
                float(each["positionAmt"]) for each in await client.futures_position_information(**name)
            ]
            found["prices"] = abs(float((await client.futures_mark_price(**name))["markPrice"]) / bid - 1) < 0.01
            stop = await place(
                **name,
                side="SELL",
                type="STOP_MARKET",
                triggerPrice=f"{bid * 0.98:.1f}",
                quantity="0.01",
                reduceOnly="true",
            )
            found["stop"] = [stop["algoStatus"], len(await client.futures_get_open_algo_orders(**name))]
            await client.futures_cancel_algo_order(algoId=stop["algoId"])
            async with sockets.aggtrade_futures_socket("BTCUSDT") as trades:
                found["trade"] = abs(float((await heard(trades, "aggTrade"))["p"]) / bid - 1) < 0.01
        found["candles"] = len((await (client.get_klines if spot else client.futures_klines)(**name, interval="1m"))[0])
        refusals = found["refusals"] = {}
        refusals["too much"] = await refusal(place(**limit | {"quantity": "140" if spot else "900"}, price=low))
        refusals["cancel"] = await refusal(cancel(**name, orderId=7))
        refusals["query"] = await refusal(query(**name, orderId=7))
        for key, fault in (("time", "wrong_time"), ("many", "too_many")):
            arm(rest, fault)
            refusals[key] = await refusal(listed(**name))
    finally:
        await client.close_connection()
    tell(found)


asyncio.run(run(*sys.argv[1:4]))
