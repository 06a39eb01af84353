"""Spot orders, fills, accounts and user events as JSON objects, as Binance's documentation of 2026 describes them."""

from typing import Any

from twinloop.engine.exchange.decimals import SIDE, STP, money, price, qty
from twinloop.engine.exchange.model import BUY, Account, BalanceChanged, Fill, Order, OrderChanged


def order(order: Order) -> dict[str, Any]:
    """Answer to a query of an order."""
    symbol = order.symbol
    return {
        "symbol": symbol.name, "orderId": order.id, "orderListId": -1, "clientOrderId": order.client_id,
        "price": price(symbol, order.price), "origQty": qty(symbol, order.qty), "executedQty": qty(symbol, order.filled),
        "cummulativeQuoteQty": money(order.quote), "status": order.status, "timeInForce": _force(order), "type": order.type,
        "side": SIDE[order.side], "stopPrice": price(symbol, order.stop_price), "icebergQty": qty(symbol, 0), "time": order.time_ms,
        "updateTime": order.update_ms, "isWorking": order.triggered, "workingTime": order.time_ms if order.triggered else -1,
        "origQuoteOrderQty": money(order.spends), "selfTradePreventionMode": STP,
    }  # fmt: skip


def _force(order: Order) -> str:
    return "GTC" if order.type == "LIMIT_MAKER" else order.time_in_force


def placed(order: Order, fills: list[Fill], how: str = "FULL") -> dict[str, Any]:
    """Answer to a new order. how: ACK, RESULT or FULL."""
    symbol = order.symbol
    told: dict[str, Any] = {
        "symbol": symbol.name, "orderId": order.id, "orderListId": -1, "clientOrderId": order.client_id, "transactTime": order.time_ms,
    }  # fmt: skip
    if how == "ACK":
        return told
    told |= {
        "price": price(symbol, order.price), "origQty": qty(symbol, order.qty), "executedQty": qty(symbol, order.filled),
        "origQuoteOrderQty": money(order.spends), "cummulativeQuoteQty": money(order.quote), "status": order.status,
        "timeInForce": _force(order), "type": order.type, "side": SIDE[order.side],
        "workingTime": order.time_ms if order.triggered else -1, "selfTradePreventionMode": STP,
    }  # fmt: skip
    if how == "RESULT":
        return told
    fees = [
        {
            "price": price(symbol, each.price), "qty": qty(symbol, each.qty), "commission": money(each.fee),
            "commissionAsset": each.fee_asset, "tradeId": each.trade_id,
        }
        for each in fills
    ]  # fmt: skip
    return told | {"fills": fees}


def canceled(order: Order, cancel_id: str) -> dict[str, Any]:
    """Answer to a cancel."""
    symbol = order.symbol
    return {
        "symbol": symbol.name, "origClientOrderId": order.client_id, "orderId": order.id, "orderListId": -1,
        "clientOrderId": cancel_id, "transactTime": order.update_ms, "price": price(symbol, order.price),
        "origQty": qty(symbol, order.qty), "executedQty": qty(symbol, order.filled), "origQuoteOrderQty": money(order.spends),
        "cummulativeQuoteQty": money(order.quote), "status": order.status, "timeInForce": _force(order), "type": order.type,
        "side": SIDE[order.side], "selfTradePreventionMode": STP,
    }  # fmt: skip


def trade(fill: Fill) -> dict[str, Any]:
    """One of myTrades."""
    symbol = fill.order.symbol
    return {
        "symbol": symbol.name, "id": fill.trade_id, "orderId": fill.order.id, "orderListId": -1, "price": price(symbol, fill.price),
        "qty": qty(symbol, fill.qty), "quoteQty": money(fill.value), "commission": money(fill.fee), "commissionAsset": fill.fee_asset,
        "time": fill.time_ms, "isBuyer": fill.order.side == BUY, "isMaker": fill.maker, "isBestMatch": True,
    }  # fmt: skip


def account(account: Account, now_ms: int) -> dict[str, Any]:
    """The account."""
    return {
        "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True, "canWithdraw": False, "canDeposit": False, "brokered": False, "requireSelfTradePrevention": False,
        "preventSor": False, "updateTime": now_ms, "accountType": "SPOT",
        "balances": [{"asset": asset, "free": money(held[0]), "locked": money(held[1])} for asset, held in account.balances.items()],
        "permissions": ["SPOT"], "uid": 1,
    }  # fmt: skip


def report(event: OrderChanged, cancel_id: str = "") -> dict[str, Any]:
    """ExecutionReport."""
    order = event.order
    fill = event.fill
    symbol = order.symbol
    canceled = event.execution == "CANCELED"
    expired = {"eR": _expiry_reason(order)} if event.execution == "EXPIRED" else {}
    return {
        "e": "executionReport", "E": event.time_ms, "s": symbol.name, "c": cancel_id or f"c-{order.id}" if canceled else order.client_id,
        "S": SIDE[order.side], "o": order.type, "f": _force(order), "q": qty(symbol, order.qty), "p": price(symbol, order.price),
        "P": price(symbol, order.stop_price), "F": qty(symbol, 0), "g": -1, "C": order.client_id if canceled else "",
        "x": event.execution if event.execution != "AMENDMENT" else "REPLACED", "X": event.status, "r": "NONE",
        "i": order.id, "l": qty(symbol, fill.qty if fill else 0), "z": qty(symbol, event.filled),
        "L": price(symbol, fill.price if fill else 0), "n": money(fill.fee if fill else 0), "N": fill.fee_asset if fill else None,
        "T": event.time_ms, "t": fill.trade_id if fill else -1, "I": order.id, "w": order.status in {"NEW", "PARTIALLY_FILLED"},
        "m": bool(fill and fill.maker), "M": False, "O": order.time_ms, "Z": money(event.quote),
        "Y": money(fill.value if fill else 0), "Q": money(order.spends), "W": order.time_ms, "V": STP,
    } | expired  # fmt: skip


def _expiry_reason(order: Order) -> str:
    """Why an order expired: it met its owner's own, its time was over, or nothing was left to meet."""
    if order.status == "EXPIRED_IN_MATCH":
        return "SELF_TRADE_PREVENTION"
    return "EXPIRED" if order.limited and order.time_in_force in {"GTC", "GTX", "GTD"} else "INSUFFICIENT_LIQUIDITY"


def balances(account: Account, now_ms: int) -> dict[str, Any]:
    """OutboundAccountPosition."""
    return {
        "e": "outboundAccountPosition", "E": now_ms, "u": now_ms,
        "B": [{"a": asset, "f": money(held[0]), "l": money(held[1])} for asset, held in account.balances.items()],
    }  # fmt: skip


def balance(event: BalanceChanged) -> dict[str, Any]:
    """BalanceUpdate: money that came or went without an order."""
    return {"e": "balanceUpdate", "E": event.time_ms, "a": event.asset, "d": money(event.amount), "T": event.time_ms}
