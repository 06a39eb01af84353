"""What a request asks of the exchange, and the answer: one table of calls by method and path, for REST and the WebSocket API alike."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twinloop.engine.exchange import text
from twinloop.engine.exchange.candles import INTERVALS, MINUTE_MS
from twinloop.engine.exchange.conditional import LAST, MARK
from twinloop.engine.exchange.core import TRADES_MAX, Exchange
from twinloop.engine.exchange.model import BUY, LIMIT_TYPES, SELL, STOP_TYPES, Account, Order, VenueError

Parameters = dict[str, str]
Answer = Callable[[Exchange, Account, Parameters], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """answer: called with the exchange, the account (of a signed call) and the parameters. order: counts as an order."""

    answer: Answer
    weight: int = 1
    signed: bool = True
    order: bool = False
    query: bool = False


def need(parameters: Parameters, name: str) -> str:
    """A parameter that must be there. VenueError otherwise."""
    value = parameters.get(name)
    if not value:
        raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def number(parameters: Parameters, name: str, scale: int) -> int:
    """A decimal parameter as a scaled integer, 0 where it is not there."""
    value = parameters.get(name)
    if not value:
        return 0
    try:
        return text.scaled(value, scale)
    except OverflowError:
        raise VenueError(-1111, f"Parameter '{name}' has too much precision.") from None
    except ValueError:
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
        ) from None


def _which(parameters: Parameters) -> tuple[int | None, str | None]:
    order_id, client_id = parameters.get("orderId"), parameters.get("origClientOrderId")
    if not order_id and not client_id:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return (int(order_id) if order_id and order_id.isdigit() else None), client_id


def _side(parameters: Parameters) -> int:
    side = {"BUY": BUY, "SELL": SELL}.get(need(parameters, "side"))
    if side is None:
        raise VenueError(-1117, "Invalid side.")
    return side


def _force(parameters: Parameters, kind: str) -> str:
    force = need(parameters, "timeInForce") if kind == "LIMIT" else parameters.get("timeInForce") or "GTC"
    if force not in {"GTC", "IOC", "FOK", "GTX", "GTD"}:
        raise VenueError(-1115, "Invalid timeInForce.")
    return force


def _true(parameters: Parameters, name: str) -> bool:
    return parameters.get(name, "false").lower() == "true"


def whole(parameters: Parameters, name: str, default: int = 0) -> int:
    """A whole parameter, or the default where it is not there."""
    value = parameters.get(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 19:
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(value)


def place(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST order."""
    symbol = exchange.state(need(parameters, "symbol")).symbol
    side, kind = _side(parameters), need(parameters, "type")
    spot = exchange.market == "spot"
    limits, stops = LIMIT_TYPES[exchange.market], STOP_TYPES[exchange.market]
    if kind not in {"MARKET", *limits, *stops}:
        raise VenueError(-1116, "Invalid orderType.")
    if not spot and kind in stops:
        raise VenueError(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    need(parameters, "quantity")
    if kind in limits:
        need(parameters, "price")
    order, fills = exchange.place(
        account, symbol.name, side, kind, number(parameters, "quantity", symbol.qty_scale),
        price=number(parameters, "price", symbol.price_scale), time_in_force=_force(parameters, kind),
        stop_price=number(parameters, "stopPrice", symbol.price_scale), client_id=parameters.get("newClientOrderId", ""),
        reduce_only=_true(parameters, "reduceOnly"), expire_ms=whole(parameters, "goodTillDate"),
    )  # fmt: skip
    return text.spot_placed(order, fills) if spot else text.usdm_order(order)


def place_algo(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST algoOrder: a conditional order of USD-M."""
    if need(parameters, "algoType") != "CONDITIONAL":
        raise VenueError(-1102, "Mandatory parameter 'algoType' was not sent, was empty/null, or malformed.")
    symbol = exchange.state(need(parameters, "symbol")).symbol
    side, kind = _side(parameters), need(parameters, "type")
    if kind not in STOP_TYPES["usdm"]:
        raise VenueError(-1116, "Invalid orderType.")
    need(parameters, "triggerPrice")
    close = _true(parameters, "closePosition")
    if close and (kind in LIMIT_TYPES["usdm"] or parameters.get("quantity")):
        raise VenueError(-4137, "Quantity must be zero with closePosition equals true.")
    if not close:
        need(parameters, "quantity")
    if kind in LIMIT_TYPES["usdm"]:
        need(parameters, "price")
    working_type = parameters.get("workingType") or LAST
    if working_type not in {LAST, MARK}:
        raise VenueError(-4054, "Invalid workingType.")
    algo = exchange.conditional.place(
        account, symbol.name, side, kind, number(parameters, "quantity", symbol.qty_scale),
        stop_price=number(parameters, "triggerPrice", symbol.price_scale), price=number(parameters, "price", symbol.price_scale),
        time_in_force=_force(parameters, kind), working_type=working_type, reduce_only=_true(parameters, "reduceOnly"),
        close_position=close, client_id=parameters.get("clientAlgoId", ""), expire_ms=whole(parameters, "goodTillDate"),
    )  # fmt: skip
    return text.algo_placed(algo)


def _which_algo(parameters: Parameters) -> tuple[int | None, str | None]:
    if not parameters.get("algoId") and not parameters.get("clientAlgoId"):
        raise VenueError(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    return whole(parameters, "algoId") or None, parameters.get("clientAlgoId")


def cancel_algo(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE algoOrder."""
    algo = exchange.conditional.cancel(account, *_which_algo(parameters))
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def query_algo(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET algoOrder."""
    algo = exchange.conditional.find(account, *_which_algo(parameters))
    if algo is None:
        raise VenueError(-2013, "Order does not exist.")
    return text.algo_order(algo)


def open_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET openAlgoOrders."""
    name = parameters.get("symbol")
    if name:
        exchange.state(name)
    return [text.algo_order(each) for each in exchange.conditional.open(account, name or None)]


def all_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET allAlgoOrders."""
    name = need(parameters, "symbol")
    exchange.state(name)
    first, limit = whole(parameters, "algoId"), min(whole(parameters, "limit", 500), 1000)
    found = [each for each in exchange.conditional.history(account, name) if each.id >= first]
    return [text.algo_order(each) for each in (found[:limit] if first else found[-limit:])]


def cancel_all_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE algoOpenOrders."""
    exchange.conditional.cancel_all(account, need(parameters, "symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def cancel(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE order."""
    order = exchange.cancel(account, need(parameters, "symbol"), *_which(parameters))
    return _canceled(exchange, order, parameters)


def _canceled(exchange: Exchange, order: Order, parameters: Parameters) -> Any:
    if exchange.market == "spot":
        return text.spot_canceled(order, parameters.get("newClientOrderId") or f"c-{order.id}")
    return text.usdm_order(order)


def _told(exchange: Exchange, order: Order) -> Any:
    return text.spot_order(order) if exchange.market == "spot" else text.usdm_order(order)


def query(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET order."""
    order = exchange.find(account, need(parameters, "symbol"), *_which(parameters))
    if order is None:
        raise VenueError(-2013, "Order does not exist.")
    return _told(exchange, order)


def open_orders(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET openOrders."""
    name = parameters.get("symbol")
    if name:
        exchange.state(name)
    return [
        _told(exchange, each)
        for its, working in account.working.items() if name in {None, "", its}
        for each in working.values()
    ]  # fmt: skip


def all_orders(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET allOrders."""
    name = need(parameters, "symbol")
    exchange.state(name)
    return [_told(exchange, each) for each in account.history.get(name, [])[-500:]]


def cancel_all(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE openOrders or allOpenOrders."""
    found = exchange.cancel_all(account, need(parameters, "symbol"))
    if exchange.market == "usdm":
        return {"code": 200, "msg": "The operation of cancel all open order is done."}
    if not found:
        raise VenueError(-2011, "Unknown order sent.")
    return [_canceled(exchange, each, {}) for each in found]


def amend(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """PUT order (USD-M), order/amend/keepPriority (spot)."""
    name = need(parameters, "symbol")
    symbol = exchange.state(name).symbol
    qty = number(parameters, "newQty" if exchange.market == "spot" else "quantity", symbol.qty_scale)
    price = number(parameters, "price", symbol.price_scale)
    if exchange.market == "spot":
        order = exchange.find(account, name, *_which(parameters))
        if order is not None and qty >= order.qty:
            raise VenueError(-2038, "The requested action would change no state; rejecting.")
    order, _ = exchange.amend(account, name, *_which(parameters), qty, price)
    if exchange.market == "usdm":
        return text.usdm_order(order)
    return {"transactTime": exchange.now_ms, "executionId": order.id, "amendedOrder": text.spot_order(order)}


def cancel_replace(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST order/cancelReplace, STOP_ON_FAILURE or ALLOW_FAILURE: two legs, each with an outcome of its own."""
    found: dict[str, Any] = {
        "cancelResult": "SUCCESS",
        "newOrderResult": "NOT_ATTEMPTED",
        "cancelResponse": None,
        "newOrderResponse": None,
    }
    which = {
        "orderId": parameters.get("cancelOrderId", ""),
        "origClientOrderId": parameters.get("cancelOrigClientOrderId", ""),
    }
    try:
        found["cancelResponse"] = cancel(
            exchange,
            account,
            {"symbol": need(parameters, "symbol"), **{key: value for key, value in which.items() if value}},
        )
    except VenueError as error:
        found |= {"cancelResult": "FAILURE", "cancelResponse": {"code": error.code, "msg": error.message}}
        if parameters.get("cancelReplaceMode") != "ALLOW_FAILURE":
            raise ReplaceError(-2022, "Order cancel-replace failed.", 400, found) from None
    try:
        found["newOrderResponse"] = place(exchange, account, parameters)
        found["newOrderResult"] = "SUCCESS"
    except VenueError as error:
        found |= {"newOrderResult": "FAILURE", "newOrderResponse": {"code": error.code, "msg": error.message}}
        partly = found["cancelResult"] == "SUCCESS"
        raise ReplaceError(
            -2021 if partly else -2022,
            f"Order cancel-replace {'partially ' if partly else ''}failed.",
            409 if partly else 400,
            found,
        ) from None
    return found


class ReplaceError(VenueError):
    """A cancel-replace of which a leg failed. data: both outcomes."""

    def __init__(self, code: int, message: str, status: int, data: dict[str, Any]) -> None:
        super().__init__(code, message, status)
        self.data = data


def trades(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """myTrades, userTrades."""
    name = need(parameters, "symbol")
    exchange.state(name)
    fills = account.fills_of.get(name, [])  # By id, and so by time.
    start, first = int(parameters.get("startTime") or 0), int(parameters.get("fromId") or -1)
    at = max(
        bisect_left(fills, start, key=lambda each: each.time_ms),
        bisect_left(fills, first, key=lambda each: each.trade_id),
    )
    order_id, limit = parameters.get("orderId"), min(int(parameters.get("limit") or 500), 1000)
    tell = text.spot_trade if exchange.market == "spot" else text.usdm_trade
    if order_id:
        found = [each for each in fills[at:] if order_id == str(each.order.id)]
    else:
        found = fills[at : at + limit] if start or first >= 0 else fills[max(len(fills) - limit, 0) :]
    return [tell(each) for each in found[:limit]]


def spot_account(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET account."""
    return text.spot_account(account, exchange.now_ms)


def usdm_account(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET account."""
    return text.usdm_account(exchange, account)


def positions(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET positionRisk."""
    name = parameters.get("symbol")
    return [text.usdm_position(exchange, account, each) for each in exchange.markets if name in {None, "", each}]


def balance(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET balance."""
    asset = text.usdm_account(exchange, account)["assets"][0]
    names = (
        "asset",
        "crossWalletBalance",
        "crossUnPnl",
        "availableBalance",
        "maxWithdrawAmount",
        "marginAvailable",
        "updateTime",
    )
    return [{"accountAlias": "practice", "balance": asset["walletBalance"]} | {name: asset[name] for name in names}]


def countdown(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST countdownCancelAll: the dead-man timer. 0 stops it."""
    name, wait = need(parameters, "symbol"), need(parameters, "countdownTime")
    exchange.state(name)
    if int(wait):
        account.dead_man_ms[name] = exchange.now_ms + int(wait)
    else:
        account.dead_man_ms.pop(name, None)
    return {"symbol": name, "countdownTime": wait}


def restrictions(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET apiRestrictions: what the key may do."""
    del account
    return {
        "ipRestrict": True, "createTime": exchange.now_ms, "enableReading": True, "enableWithdrawals": False, "enableInternalTransfer": False,
        "enableMargin": False, "enableFutures": True, "permitsUniversalTransfer": False, "enableVanillaOptions": False,
        "enableSpotAndMarginTrading": True,
    }  # fmt: skip


def ping(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ping."""
    del exchange, account, parameters
    return {}


def time(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET time."""
    del account, parameters
    return {"serverTime": exchange.now_ms}


def info(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET exchangeInfo."""
    del account
    found = text.rules(exchange)
    if parameters.get("symbol"):
        exchange.state(parameters["symbol"])
        found["symbols"] = [each for each in found["symbols"] if each["symbol"] == parameters["symbol"]]
    return found


def depth(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET depth."""
    del account
    limit = int(parameters.get("limit", "100") or 100)
    return text.depth(exchange.state(need(parameters, "symbol")), min(limit, 5000), exchange.now_ms)


def recent(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET trades."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    limit = min(int(parameters.get("limit") or 500), TRADES_MAX)
    return [text.past_trade(state.symbol, each) for each in state.trades[-limit:]]


def klines(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET klines."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    minutes = INTERVALS.get(need(parameters, "interval"))
    if minutes is None:
        raise VenueError(-1120, "Invalid interval.")
    found = state.candles.of(minutes, min(int(parameters.get("limit") or 500), 1500))
    return [text.candle(state.symbol, each, minutes * MINUTE_MS) for each in found]


def top(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ticker/bookTicker."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    symbol, (bid, bid_qty, ask, ask_qty) = state.symbol, state.shown_top
    return {
        "symbol": symbol.name, "bidPrice": text.price(symbol, bid), "bidQty": text.qty(symbol, bid_qty), "askPrice": text.price(symbol, ask),
        "askQty": text.qty(symbol, ask_qty),
    } | ({"time": exchange.now_ms} if exchange.market == "usdm" else {})  # fmt: skip


def premium(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET premiumIndex."""
    del account
    name = need(parameters, "symbol")
    mark = text.price(exchange.state(name).symbol, exchange.mark_price(name))
    return {
        "symbol": name, "markPrice": mark, "indexPrice": mark, "estimatedSettlePrice": mark, "lastFundingRate": "0.00010000",
        "interestRate": "0.00010000", "nextFundingTime": (exchange.now_ms // 28_800_000 + 1) * 28_800_000, "time": exchange.now_ms,
    }  # fmt: skip


def _set(answer: dict[str, Any]) -> Answer:
    def told(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
        del exchange, account, parameters
        return answer

    return told


_PUBLIC: Final = {
    "ping": Call(ping, 1, signed=False), "time": Call(time, 1, signed=False), "exchangeInfo": Call(info, 20, signed=False),
    "depth": Call(depth, 5, signed=False), "trades": Call(recent, 25, signed=False), "klines": Call(klines, 2, signed=False),
    "ticker/bookTicker": Call(top, 2, signed=False),
}  # fmt: skip
SPOT: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/api/v3/{name}"): call for name, call in _PUBLIC.items()},
    ("POST", "/api/v3/order"): Call(place, order=True),
    ("GET", "/api/v3/order"): Call(query, 4, query=True),
    ("DELETE", "/api/v3/order"): Call(cancel, order=True),
    ("POST", "/api/v3/order/cancelReplace"): Call(cancel_replace, order=True),
    ("PUT", "/api/v3/order/amend/keepPriority"): Call(amend, 4, order=True),
    ("GET", "/api/v3/openOrders"): Call(open_orders, 6, query=True),
    ("DELETE", "/api/v3/openOrders"): Call(cancel_all, order=True),
    ("GET", "/api/v3/allOrders"): Call(all_orders, 20, query=True),
    ("GET", "/api/v3/myTrades"): Call(trades, 20, query=True),
    ("GET", "/api/v3/account"): Call(spot_account, 20, query=True),
    ("GET", "/sapi/v1/account/apiRestrictions"): Call(restrictions),
}
USDM: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/fapi/v1/{name}"): call for name, call in _PUBLIC.items()},
    ("GET", "/fapi/v1/premiumIndex"): Call(premium, signed=False),
    ("POST", "/fapi/v1/order"): Call(place, order=True),
    ("GET", "/fapi/v1/order"): Call(query, query=True),
    ("PUT", "/fapi/v1/order"): Call(amend, order=True),
    ("DELETE", "/fapi/v1/order"): Call(cancel, order=True),
    ("GET", "/fapi/v1/openOrders"): Call(open_orders, query=True),
    ("DELETE", "/fapi/v1/allOpenOrders"): Call(cancel_all, order=True),
    ("GET", "/fapi/v1/allOrders"): Call(all_orders, 5, query=True),
    ("GET", "/fapi/v1/userTrades"): Call(trades, 5, query=True),
    ("GET", "/fapi/v2/account"): Call(usdm_account, 5, query=True),
    ("GET", "/fapi/v3/account"): Call(usdm_account, 5, query=True),
    ("GET", "/fapi/v2/balance"): Call(balance, 5, query=True),
    ("GET", "/fapi/v3/balance"): Call(balance, 5, query=True),
    ("GET", "/fapi/v2/positionRisk"): Call(positions, 5, query=True),
    ("GET", "/fapi/v3/positionRisk"): Call(positions, 5, query=True),
    ("POST", "/fapi/v1/countdownCancelAll"): Call(countdown, 10),
    ("GET", "/fapi/v1/positionSide/dual"): Call(_set({"dualSidePosition": False}), 30),
    ("GET", "/fapi/v1/multiAssetsMargin"): Call(_set({"multiAssetsMargin": False}), 30),
    ("POST", "/fapi/v1/algoOrder"): Call(place_algo, 0, order=True),
    ("GET", "/fapi/v1/algoOrder"): Call(query_algo, query=True),
    ("DELETE", "/fapi/v1/algoOrder"): Call(cancel_algo, order=True),
    ("GET", "/fapi/v1/openAlgoOrders"): Call(open_algos, query=True),
    ("GET", "/fapi/v1/allAlgoOrders"): Call(all_algos, 5, query=True),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Call(cancel_all_algos, order=True),
}
# The WebSocket API's names of the same calls.
SPOT_CALLS: Final = {
    "ping": ("GET", "/api/v3/ping"), "time": ("GET", "/api/v3/time"), "order.place": ("POST", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"), "order.status": ("GET", "/api/v3/order"), "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "order.amend.keepPriority": ("PUT", "/api/v3/order/amend/keepPriority"), "openOrders.status": ("GET", "/api/v3/openOrders"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"), "account.status": ("GET", "/api/v3/account"), "myTrades": ("GET", "/api/v3/myTrades"),
}  # fmt: skip
USDM_CALLS: Final = {
    "ping": ("GET", "/fapi/v1/ping"), "time": ("GET", "/fapi/v1/time"), "order.place": ("POST", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"), "order.status": ("GET", "/fapi/v1/order"), "order.modify": ("PUT", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"), "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
}  # fmt: skip
