"""Calls about USD-M's conditional orders: what is asked, and the answer."""

from typing import Any

from twinloop.engine.exchange import algo_text
from twinloop.engine.exchange.conditional import LAST, MARK
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import LIMIT_TYPES, STOP_TYPES, Account, VenueError
from twinloop.engine.exchange.parameters import Parameters, flag, force_of, need, number, side_of, whole


def place_algo(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST algoOrder: a conditional order of USD-M."""
    if need(parameters, "algoType") != "CONDITIONAL":
        raise VenueError(-1102, "Mandatory parameter 'algoType' was not sent, was empty/null, or malformed.")
    symbol = exchange.state(need(parameters, "symbol")).symbol
    if account.hedge:
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    side, kind = side_of(parameters), need(parameters, "type")
    if kind not in STOP_TYPES["usdm"]:
        raise VenueError(-1116, "Invalid orderType.")
    need(parameters, "triggerPrice")
    close = flag(parameters, "closePosition")
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
        time_in_force=force_of(parameters, kind), working_type=working_type, reduce_only=flag(parameters, "reduceOnly"),
        close_position=close, client_id=parameters.get("clientAlgoId", ""), expire_ms=whole(parameters, "goodTillDate"),
    )  # fmt: skip
    return algo_text.placed(algo)


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
    return algo_text.order(algo)


def open_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET openAlgoOrders."""
    name = parameters.get("symbol")
    if name:
        exchange.state(name)
    return [algo_text.order(each) for each in exchange.conditional.open(account, name or None)]


def all_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET allAlgoOrders."""
    name = need(parameters, "symbol")
    exchange.state(name)
    first, limit = whole(parameters, "algoId"), min(whole(parameters, "limit", 500), 1000)
    found = [each for each in exchange.conditional.history(account, name) if each.id >= first]
    return [algo_text.order(each) for each in (found[:limit] if first else found[-limit:])]


def cancel_all_algos(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """DELETE algoOpenOrders."""
    exchange.conditional.cancel_all(account, need(parameters, "symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}
