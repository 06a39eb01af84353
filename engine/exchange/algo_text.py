"""USD-M's conditional orders as JSON objects, as Binance's documentation of 2026 describes them."""

from typing import Any

from twinloop.engine.exchange.conditional import Algo
from twinloop.engine.exchange.decimals import SIDE, STP, average, price, qty
from twinloop.engine.exchange.model import AlgoChanged


def placed(algo: Algo) -> dict[str, Any]:
    """Answer to a new conditional order."""
    symbol = algo.symbol
    return {
        "algoId": algo.id, "clientAlgoId": algo.client_id, "algoType": "CONDITIONAL", "orderType": algo.type, "symbol": symbol.name,
        "side": SIDE[algo.side], "positionSide": "BOTH", "timeInForce": algo.time_in_force, "quantity": qty(symbol, algo.qty),
        "algoStatus": algo.status, "triggerPrice": price(symbol, algo.stop_price), "price": price(symbol, algo.price),
        "icebergQuantity": None, "selfTradePreventionMode": STP, "workingType": algo.working_type, "priceMatch": "NONE",
        "closePosition": algo.close_position, "priceProtect": False, "reduceOnly": algo.reduce_only, "activatePrice": "", "callbackRate": "",
        "createTime": algo.time_ms, "updateTime": algo.update_ms, "triggerTime": algo.trigger_ms, "goodTillDate": algo.expire_ms,
    }  # fmt: skip


def order(algo: Algo) -> dict[str, Any]:
    """Answer to a query of a conditional order, alone or in a list: with the order that it became."""
    actual = algo.actual
    return placed(algo) | {
        "type": algo.type, "actualOrderId": str(actual.id) if actual else "", "actualPrice": average(actual) if actual else "0.00000",
        "actualType": actual.type if actual else "", "actualQty": qty(algo.symbol, actual.filled) if actual else "0",
        "tpTriggerPrice": "0.000", "tpPrice": "0.000", "slTriggerPrice": "0.000", "slPrice": "0.000", "tpOrderType": "",
    }  # fmt: skip


def update(event: AlgoChanged) -> dict[str, Any]:
    """ALGO_UPDATE."""
    algo, symbol = event.algo, event.symbol
    actual = algo.actual
    return {
        "e": "ALGO_UPDATE", "T": event.time_ms, "E": event.time_ms,
        "o": {
            "caid": algo.client_id, "aid": algo.id, "at": "CONDITIONAL", "o": algo.type, "s": symbol.name, "S": SIDE[algo.side], "ps": "BOTH",
            "f": algo.time_in_force, "q": qty(symbol, algo.qty), "X": event.status, "ai": str(actual.id) if actual else "",
            "ap": average(actual) if actual else "0.00000", "aq": qty(symbol, actual.filled) if actual else "0.00000",
            "act": actual.type if actual else "0", "tp": price(symbol, algo.stop_price), "p": price(symbol, algo.price), "V": STP,
            "wt": algo.working_type, "pm": "NONE", "cp": algo.close_position, "pP": False, "R": algo.reduce_only, "tt": algo.trigger_ms,
            "gtd": algo.expire_ms, "rm": event.reason,
        },
    }  # fmt: skip
