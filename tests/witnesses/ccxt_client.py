"""ccxt (REST) and ccxt.pro (WebSocket) trade on the practice exchange: `ccxt_client.py spot|usdm REST STREAM`."""

import asyncio
import sys
from typing import Any

import ccxt.pro
from meet import KEY, SECRET, arm, tell


def client(market: str, rest: str, stream: str) -> Any:
    spot = market == "spot"
    exchange = ccxt.pro.binance(
        {
            "apiKey": KEY, "secret": SECRET, "enableRateLimit": False,
            "options": {
                "defaultType": "spot" if spot else "future", "fetchMarkets": {"types": ["spot" if spot else "linear"]},
                "fetchCurrencies": False, "fetchMargins": False,
            },
        }
    )  # fmt: skip
    api = exchange.urls["api"]
    api.update(public=f"{rest}/api/v3", private=f"{rest}/api/v3", v1=f"{rest}/api/v1", sapi=f"{rest}/sapi/v1")
    for version in ("1", "2", "3"):
        suffix = "" if version == "1" else f"V{version}"
        api.update(
            {f"fapiPublic{suffix}": f"{rest}/fapi/v{version}", f"fapiPrivate{suffix}": f"{rest}/fapi/v{version}"}
        )
    api["ws"].update(spot=f"{stream}/ws", linear=f"{stream}/ws")
    api["ws"]["ws-api"].update(spot=f"{stream}/ws-api/v3", linear=f"{stream}/ws-fapi/v1")
    return exchange


async def refusal(what: Any) -> list[str]:
    """[class of ccxt's error, the venue's number in its text]."""
    try:
        await what
    except ccxt.BaseError as error:
        return [
            type(error).__name__,
            *(code for code in ("-2010", "-2011", "-2013", "-2019", "-1021", "-1003") if code in str(error)),
        ]
    return ["none"]


async def run(market: str, rest: str, stream: str) -> None:
    exchange = client(market, rest, stream)
    symbol = "BTC/USDT" if market == "spot" else "BTC/USDT:USDT"
    found: dict[str, Any] = {}
    try:
        await exchange.load_markets()
        found["limits"] = [
            exchange.markets[symbol]["precision"]["price"],
            exchange.markets[symbol]["limits"]["cost"]["min"],
        ]
        book = await exchange.fetch_order_book(symbol, 20)
        bid = book["bids"][0][0]
        watching = asyncio.create_task(exchange.watch_orders(symbol))
        await asyncio.sleep(1)
        placed = await exchange.create_order(symbol, "limit", "buy", 0.01, bid * 0.99)
        found["placed"] = [placed["status"], placed["amount"]]
        found["watched"] = [
            [each["id"] == placed["id"], each["status"]] for each in await asyncio.wait_for(watching, 20)
        ]
        found["queried"] = (await exchange.fetch_order(placed["id"], symbol))["status"]
        found["open"] = [each["id"] == placed["id"] for each in await exchange.fetch_open_orders(symbol)]
        found["cancelled"] = (await exchange.cancel_order(placed["id"], symbol))["status"]
        taken = await exchange.create_order(symbol, "market", "buy", 0.01)
        found["taken"] = (await exchange.fetch_order(taken["id"], symbol))["status"]
        found["traded"] = sum(each["amount"] for each in await exchange.fetch_my_trades(symbol))
        balance = await exchange.fetch_balance()
        found["balance"] = [balance["USDT"]["total"] > 900_000]
        if market == "usdm":
            found["position"] = [each["contracts"] for each in await exchange.fetch_positions([symbol])]
        trades = await asyncio.wait_for(exchange.watch_trades(symbol), 20)
        found["trades"] = all(abs(each["price"] / bid - 1) < 0.01 for each in trades)
        watched = await asyncio.wait_for(exchange.watch_order_book(symbol), 20)
        found["book"] = watched["bids"][0][0] < watched["asks"][0][0]
        refusals = found["refusals"] = {}
        refusals["too much"] = await refusal(
            exchange.create_order(symbol, "limit", "buy", 140 if market == "spot" else 900, bid)
        )
        refusals["cancel"] = await refusal(exchange.cancel_order("7", symbol))
        refusals["query"] = await refusal(exchange.fetch_order("7", symbol))
        for name, fault in (("time", "wrong_time"), ("many", "too_many")):
            arm(rest, fault)
            refusals[name] = await refusal(exchange.fetch_open_orders(symbol))
    finally:
        await exchange.close()
    tell(found)


asyncio.run(run(*sys.argv[1:4]))
