"""The venue's own SDKs trade on the practice exchange, over REST and streams: `official_sdk_client.py spot|usdm REST STREAM`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketAPI, ConfigurationWebSocketStreams
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_spot.spot import Spot
from meet import KEY, SECRET, arm, tell

BTC = "BTCUSDT"


def refusal(what: Callable[[], Any]) -> list[Any]:
    """[class of the SDK's error, the venue's number]."""
    try:
        what()
    except (BadRequestError, TooManyRequestsError) as error:
        return [type(error).__name__, error.status_code]
    return ["none", 0]


def plain(answer: Any) -> Any:
    """The data of an answer as plain objects."""
    data = answer.data()
    return [each.to_dict() for each in data] if isinstance(data, list) else data.to_dict()


async def first(subscribe: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool] = bool) -> Any:
    """The first message of a stream that is wanted."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    stream = await subscribe()
    stream.on("message", queue.put_nowait)
    async with asyncio.timeout(20):
        while True:
            message = await queue.get()
            inner = getattr(message, "actual_instance", None) or message
            if wanted(inner):
                return inner


async def spot(rest: str, stream: str) -> dict[str, Any]:
    client = Spot(
        config_rest_api=ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=rest, retries=0),
        config_ws_api=ConfigurationWebSocketAPI(api_key=KEY, api_secret=SECRET, stream_url=f"{stream}/ws-api/v3"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=stream),
    )
    api, found = client.rest_api, dict[str, Any]()
    found["symbols"] = [each["symbol"] for each in plain(api.exchange_info())["symbols"]]
    bid = float(plain(api.depth(BTC))["bids"][0][0])
    low: dict[str, Any] = {
        "side": "BUY",
        "type": "LIMIT",
        "time_in_force": "GTC",
        "quantity": 0.01,
        "price": round(bid * 0.99, 2),
    }
    placed = plain(api.new_order(symbol=BTC, **low))
    which = {"symbol": BTC, "order_id": placed["orderId"]}
    found["placed"], found["queried"] = placed["status"], plain(api.get_order(**which))["status"]
    found["open"] = len(plain(api.get_open_orders(symbol=BTC)))
    found["cancelled"] = plain(api.delete_order(**which))["status"]
    found["taken"] = plain(api.new_order(symbol=BTC, side="BUY", type="MARKET", quantity=0.01))["status"]
    found["traded"] = sum(float(each["qty"]) for each in plain(api.my_trades(BTC)))
    found["account"] = len(plain(api.get_account())["balances"]) > 1
    streams = await client.websocket_streams.create_connection()
    trade = await first(lambda: streams.trade(symbol=BTC.lower()))
    found["trade"] = abs(float(trade.p) / bid - 1) < 0.01
    socket = await client.websocket_api.create_connection()
    answer = await socket.order_place(symbol=BTC, **low)
    found["over the socket"] = answer.data().result.status
    await streams.close_connection()
    await socket.close_connection()
    found["refusals"] = refusals(
        rest,
        lambda: api.new_order(symbol=BTC, **low | {"quantity": 140.0}),
        lambda: api.delete_order(symbol=BTC, order_id=7),
        lambda: api.get_order(symbol=BTC, order_id=7),
        lambda: api.get_open_orders(symbol=BTC),
    )
    return found


async def usdm(rest: str, stream: str) -> dict[str, Any]:
    client = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=rest, retries=0),
        config_ws_api=ConfigurationWebSocketAPI(api_key=KEY, api_secret=SECRET, stream_url=f"{stream}/ws-fapi/v1"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=stream),
    )
    api, found = client.rest_api, dict[str, Any]()
    found["symbols"] = [each["symbol"] for each in plain(api.exchange_information())["symbols"]]
    bid = float(plain(api.order_book(BTC))["bids"][0][0])
    low: dict[str, Any] = {
        "side": "BUY",
        "type": "LIMIT",
        "time_in_force": "GTC",
        "quantity": 0.01,
        "price": round(bid * 0.99, 1),
    }
    placed = plain(api.new_order(symbol=BTC, **low))
    which = {"symbol": BTC, "order_id": placed["orderId"]}
    found["placed"], found["queried"] = placed["status"], plain(api.query_order(**which))["status"]
    found["open"] = len(plain(api.current_all_open_orders(symbol=BTC)))
    found["cancelled"] = plain(api.cancel_order(**which))["status"]
    found["taken"] = plain(
        api.query_order(
            symbol=BTC, order_id=plain(api.new_order(symbol=BTC, side="BUY", type="MARKET", quantity=0.01))["orderId"]
        )
    )["status"]
    found["traded"] = sum(float(each["qty"]) for each in plain(api.account_trade_list(BTC)))
    found["position"] = [float(each["positionAmt"]) for each in plain(api.position_information_v3(symbol=BTC))]
    found["account"] = float(plain(api.account_information_v3())["totalWalletBalance"]) > 0
    stop = plain(
        api.new_algo_order(
            algo_type="CONDITIONAL", symbol=BTC, side="SELL", type="STOP_MARKET", quantity=0.01, trigger_price=round(bid * 0.98, 1)
        )
    )  # fmt: skip
    held = plain(api.query_algo_order(algo_id=stop["algoId"]))
    found["stop"] = [stop["algoStatus"], held["algoStatus"], len(plain(api.current_all_algo_open_orders(symbol=BTC)))]
    found["stop cancelled"] = plain(api.cancel_algo_order(algo_id=stop["algoId"]))["msg"]
    streams = await client.websocket_streams.create_connection()
    trade = await first(lambda: streams.aggregate_trade_streams(symbol=BTC.lower()))
    found["trade"] = abs(float(trade.p) / bid - 1) < 0.01
    quote = await first(lambda: streams.individual_symbol_book_ticker_streams(symbol=BTC.lower()))
    found["quote"] = float(quote.b) < float(quote.a)
    key = plain(api.start_user_data_stream())["listenKey"]
    users = await streams.user_data(key)
    queue: asyncio.Queue[Any] = asyncio.Queue()
    users.on("message", queue.put_nowait)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(lambda: api.new_order(symbol=BTC, **low))
    async with asyncio.timeout(20):
        event = await queue.get()
    event = getattr(event, "actual_instance", None) or event
    found["heard"] = getattr(event, "e", None) or type(event).__name__
    await streams.close_connection()
    found["refusals"] = refusals(
        rest,
        lambda: api.new_order(symbol=BTC, **low | {"quantity": 900.0}),
        lambda: api.cancel_order(symbol=BTC, order_id=7),
        lambda: api.query_order(symbol=BTC, order_id=7),
        lambda: api.current_all_open_orders(symbol=BTC),
    )
    return found


def refusals(rest: str, *calls: Callable[[], Any]) -> dict[str, list[Any]]:
    """The last call is made twice: with a bad time, and once too often."""
    found = {name: refusal(call) for name, call in zip(("too much", "cancel", "query"), calls[:3], strict=True)}
    for name, fault in (("time", "wrong_time"), ("many", "too_many")):
        arm(rest, fault)
        found[name] = refusal(calls[3])
    return found


tell(asyncio.run({"spot": spot, "usdm": usdm}[sys.argv[1]](*sys.argv[2:4])))
