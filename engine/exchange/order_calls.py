"""Calls about orders and their fills, of both markets: what is asked, and the answer."""

from bisect import bisect_left
from typing import Any

from twinloop.engine.exchange import spot_text, usdm_text
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import LIMIT_TYPES, STOP_TYPES, Account, Order, VenueError
from twinloop.engine.exchange.parameters import Parameters, flag, force_of, need, number, side_of, whole


def place(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST order."""
    state = exchange.state(need(parameters, "symbol"))
    symbol = state.symbol
    side, kind = side_of(parameters), need(parameters, "type")
    if account.hedge:
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    spot = exchange.market == "spot"
    limits, stops = LIMIT_TYPES[exchange.market], STOP_TYPES[exchange.market]
    if kind not in {"MARKET", *limits, *stops}:
        raise VenueError(-1116, "Invalid orderType.")
    if not spot and kind in stops:
        raise VenueError(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    if kind in limits:
        need(parameters, "price")
    spends = number(parameters, "quoteOrderQty", 8) if spot and kind == "MARKET" else 0
    qty = exchange.worth(account, state, side, spends) if spends else 0
    if not spends:
        need(parameters, "quantity")
        qty = number(parameters, "quantity", symbol.qty_scale)
    order, fills = exchange.place(
        account, symbol.name, side, kind, qty, price=number(parameters, "price", symbol.price_scale),
        time_in_force=force_of(parameters, kind), stop_price=number(parameters, "stopPrice", symbol.price_scale),
        client_id=parameters.get("newClientOrderId", ""), reduce_only=flag(parameters, "reduceOnly"),
        expire_ms=whole(parameters, "goodTillDate"), spends=spends,
    )  # fmt: skip
    if not spot:
        return usdm_text.order(order)
    return spot_text.placed(
        order, fills, parameters.get("newOrderRespType") or ("FULL" if kind in {"MARKET", "LIMIT"} else "ACK")
    )


def which(parameters: Parameters) -> tuple[int | None, str | None]:
    """An order's two names."""
    order_id, client_id = whole(parameters, "orderId"), parameters.get("origClientOrderId")
    if not order_id and not client_id:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id or None, client_id


def cancel(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE order."""
    order = exchange.cancel(account, need(parameters, "symbol"), *which(parameters))
    return _canceled(exchange, order, parameters)


def _canceled(exchange: Exchange, order: Order, parameters: Parameters) -> Any:
    if exchange.market == "spot":
        return spot_text.canceled(order, parameters.get("newClientOrderId") or f"c-{order.id}")
    return usdm_text.order(order)


def _told(exchange: Exchange, order: Order) -> Any:
    return spot_text.order(order) if exchange.market == "spot" else usdm_text.order(order)


def query(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET order."""
    order = exchange.find(account, need(parameters, "symbol"), *which(parameters))
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
        order = exchange.find(account, name, *which(parameters))
        if order is not None and qty >= order.qty:
            raise VenueError(-2038, "The requested action would change no state; rejecting.")
    order, _ = exchange.amend(account, name, *which(parameters), qty, price)
    if exchange.market == "usdm":
        return usdm_text.order(order)
    return {"transactTime": exchange.now_ms, "executionId": order.id, "amendedOrder": spot_text.order(order)}


class ReplaceError(VenueError):
    """A cancel-replace of which a leg failed. data: both outcomes."""

    def __init__(self, code: int, message: str, status: int, data: dict[str, Any]) -> None:
        super().__init__(code, message, status)
        self.data = data


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


def trades(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """myTrades, userTrades."""
    name = need(parameters, "symbol")
    exchange.state(name)
    fills = account.fills_of.get(name, [])  # By id, and so by time.
    start, first = whole(parameters, "startTime"), whole(parameters, "fromId", -1)
    at = max(
        bisect_left(fills, start, key=lambda each: each.time_ms),
        bisect_left(fills, first, key=lambda each: each.trade_id),
    )
    order_id, limit = parameters.get("orderId"), min(whole(parameters, "limit", 500), 1000)
    tell = spot_text.trade if exchange.market == "spot" else usdm_text.trade
    if order_id:
        found = [each for each in fills[at:] if order_id == str(each.order.id)]
    else:
        found = fills[at : at + limit] if start or first >= 0 else fills[max(len(fills) - limit, 0) :]
    return [tell(each) for each in found[:limit]]
