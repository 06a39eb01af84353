"""The table of calls by method and path, for REST and the WebSocket API alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twinloop.engine.exchange import account_calls, algo_calls, market_calls, order_calls
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.parameters import Parameters

Answer = Callable[[Exchange, Account, Parameters], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """answer: called with the exchange, the account (of a signed call) and the parameters. order: counts as an order."""

    answer: Answer
    weight: int = 1
    signed: bool = True
    order: bool = False
    query: bool = False


def _set(answer: dict[str, Any]) -> Answer:
    def told(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
        del exchange, account, parameters
        return answer

    return told


_PUBLIC: Final = {
    "ping": Call(market_calls.ping, 1, signed=False), "time": Call(market_calls.time, 1, signed=False), "exchangeInfo": Call(market_calls.info, 20, signed=False),
    "depth": Call(market_calls.depth, 5, signed=False), "trades": Call(market_calls.recent, 25, signed=False), "klines": Call(market_calls.klines, 2, signed=False),
    "ticker/bookTicker": Call(market_calls.top, 2, signed=False),
}  # fmt: skip
SPOT: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/api/v3/{name}"): call for name, call in _PUBLIC.items()},
    ("POST", "/api/v3/order"): Call(order_calls.place, order=True),
    ("GET", "/api/v3/order"): Call(order_calls.query, 4, query=True),
    ("DELETE", "/api/v3/order"): Call(order_calls.cancel, order=True),
    ("POST", "/api/v3/order/cancelReplace"): Call(order_calls.cancel_replace, order=True),
    ("PUT", "/api/v3/order/amend/keepPriority"): Call(order_calls.amend, 4, order=True),
    ("GET", "/api/v3/openOrders"): Call(order_calls.open_orders, 6, query=True),
    ("DELETE", "/api/v3/openOrders"): Call(order_calls.cancel_all, order=True),
    ("GET", "/api/v3/allOrders"): Call(order_calls.all_orders, 20, query=True),
    ("GET", "/api/v3/myTrades"): Call(order_calls.trades, 20, query=True),
    ("GET", "/api/v3/account"): Call(account_calls.spot_account, 20, query=True),
    ("GET", "/sapi/v1/account/apiRestrictions"): Call(account_calls.restrictions),
}
USDM: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/fapi/v1/{name}"): call for name, call in _PUBLIC.items()},
    ("GET", "/fapi/v1/premiumIndex"): Call(market_calls.premium, signed=False),
    ("POST", "/fapi/v1/order"): Call(order_calls.place, order=True),
    ("GET", "/fapi/v1/order"): Call(order_calls.query, query=True),
    ("PUT", "/fapi/v1/order"): Call(order_calls.amend, order=True),
    ("DELETE", "/fapi/v1/order"): Call(order_calls.cancel, order=True),
    ("GET", "/fapi/v1/openOrders"): Call(order_calls.open_orders, query=True),
    ("DELETE", "/fapi/v1/allOpenOrders"): Call(order_calls.cancel_all, order=True),
    ("GET", "/fapi/v1/allOrders"): Call(order_calls.all_orders, 5, query=True),
    ("GET", "/fapi/v1/userTrades"): Call(order_calls.trades, 5, query=True),
    ("GET", "/fapi/v2/account"): Call(account_calls.usdm_account, 5, query=True),
    ("GET", "/fapi/v3/account"): Call(account_calls.usdm_account, 5, query=True),
    ("GET", "/fapi/v2/balance"): Call(account_calls.balance, 5, query=True),
    ("GET", "/fapi/v3/balance"): Call(account_calls.balance, 5, query=True),
    ("GET", "/fapi/v2/positionRisk"): Call(account_calls.positions, 5, query=True),
    ("GET", "/fapi/v3/positionRisk"): Call(account_calls.positions, 5, query=True),
    ("POST", "/fapi/v1/countdownCancelAll"): Call(account_calls.countdown, 10),
    ("GET", "/fapi/v1/positionSide/dual"): Call(_set({"dualSidePosition": False}), 30),
    ("GET", "/fapi/v1/multiAssetsMargin"): Call(_set({"multiAssetsMargin": False}), 30),
    ("POST", "/fapi/v1/algoOrder"): Call(algo_calls.place_algo, 0, order=True),
    ("GET", "/fapi/v1/algoOrder"): Call(algo_calls.query_algo, query=True),
    ("DELETE", "/fapi/v1/algoOrder"): Call(algo_calls.cancel_algo, order=True),
    ("GET", "/fapi/v1/openAlgoOrders"): Call(algo_calls.open_algos, query=True),
    ("GET", "/fapi/v1/allAlgoOrders"): Call(algo_calls.all_algos, 5, query=True),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Call(algo_calls.cancel_all_algos, order=True),
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
