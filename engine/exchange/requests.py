"""The table of calls by method and path, for REST and the WebSocket API alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twinloop.engine.exchange import account_calls, algo_calls, market_calls, order_calls
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.parameters import Parameters

Answer = Callable[[Exchange, Account, Parameters], Any]


# What a call does, where it matters to limits and faults.
PLACE: Final = "place"
CANCEL: Final = "cancel"
CANCEL_ALL: Final = "cancel all"
REPLACE: Final = "replace"
AMEND: Final = "amend"
QUERY: Final = "query"
LIST: Final = "list"
TRADES: Final = "trades"
ORDERS: Final = frozenset({PLACE, CANCEL, CANCEL_ALL, REPLACE, AMEND})
READS: Final = frozenset({QUERY, LIST, TRADES})


@dataclass(frozen=True, slots=True)
class Call:
    """answer: called with the exchange, the account (of a call with a key) and the parameters. weight: against the address's limit."""

    answer: Answer
    weight: int = 1
    signed: bool = True
    kind: str = ""
    needs_key: bool = True

    @property
    def counts(self) -> bool:
        """Whether it counts against the account's order limit."""
        return self.kind in {PLACE, REPLACE, AMEND}


_PUBLIC: Final = {
    "ping": Call(market_calls.ping, 1, signed=False, needs_key=False), "time": Call(market_calls.time, 1, signed=False, needs_key=False), "exchangeInfo": Call(market_calls.info, 20, signed=False, needs_key=False),
    "depth": Call(market_calls.depth, 5, signed=False, needs_key=False), "trades": Call(market_calls.recent, 25, signed=False, needs_key=False), "klines": Call(market_calls.klines, 2, signed=False, needs_key=False),
    "aggTrades": Call(market_calls.aggregated, 4, signed=False, needs_key=False),
    "ticker/price": Call(market_calls.last, 2, signed=False, needs_key=False),
    "ticker/24hr": Call(market_calls.day, 2, signed=False, needs_key=False),
    "ticker/bookTicker": Call(market_calls.top, 2, signed=False, needs_key=False),
}  # fmt: skip
SPOT: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/api/v3/{name}"): call for name, call in _PUBLIC.items()},
    ("GET", "/api/v3/avgPrice"): Call(market_calls.average, 2, signed=False, needs_key=False),
    ("POST", "/api/v3/order"): Call(order_calls.place, kind=PLACE),
    ("GET", "/api/v3/order"): Call(order_calls.query, 4, kind=QUERY),
    ("DELETE", "/api/v3/order"): Call(order_calls.cancel, kind=CANCEL),
    ("POST", "/api/v3/order/cancelReplace"): Call(order_calls.cancel_replace, kind=REPLACE),
    ("PUT", "/api/v3/order/amend/keepPriority"): Call(order_calls.amend, 4, kind=AMEND),
    ("GET", "/api/v3/openOrders"): Call(order_calls.open_orders, 6, kind=LIST),
    ("DELETE", "/api/v3/openOrders"): Call(order_calls.cancel_all, kind=CANCEL_ALL),
    ("GET", "/api/v3/allOrders"): Call(order_calls.all_orders, 20, kind=LIST),
    ("GET", "/api/v3/myTrades"): Call(order_calls.trades, 20, kind=TRADES),
    ("GET", "/api/v3/account"): Call(account_calls.spot_account, 20, kind=LIST),
    ("GET", "/sapi/v1/bnbBurn"): Call(account_calls.burn),
    ("POST", "/sapi/v1/bnbBurn"): Call(account_calls.set_burn),
    ("GET", "/sapi/v1/account/apiRestrictions"): Call(account_calls.restrictions),
}
USDM: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/fapi/v1/{name}"): call for name, call in _PUBLIC.items()},
    ("GET", "/fapi/v1/premiumIndex"): Call(market_calls.premium, signed=False, needs_key=False),
    ("POST", "/fapi/v1/order"): Call(order_calls.place, kind=PLACE),
    ("GET", "/fapi/v1/order"): Call(order_calls.query, kind=QUERY),
    ("PUT", "/fapi/v1/order"): Call(order_calls.amend, kind=AMEND),
    ("DELETE", "/fapi/v1/order"): Call(order_calls.cancel, kind=CANCEL),
    ("GET", "/fapi/v1/openOrders"): Call(order_calls.open_orders, kind=LIST),
    ("DELETE", "/fapi/v1/allOpenOrders"): Call(order_calls.cancel_all, kind=CANCEL_ALL),
    ("GET", "/fapi/v1/allOrders"): Call(order_calls.all_orders, 5, kind=LIST),
    ("GET", "/fapi/v1/userTrades"): Call(order_calls.trades, 5, kind=TRADES),
    ("GET", "/fapi/v2/account"): Call(account_calls.usdm_account, 5, kind=LIST),
    ("GET", "/fapi/v3/account"): Call(account_calls.usdm_account, 5, kind=LIST),
    ("GET", "/fapi/v2/balance"): Call(account_calls.balance, 5, kind=LIST),
    ("GET", "/fapi/v3/balance"): Call(account_calls.balance, 5, kind=LIST),
    ("GET", "/fapi/v2/positionRisk"): Call(account_calls.positions, 5, kind=LIST),
    ("GET", "/fapi/v3/positionRisk"): Call(account_calls.positions, 5, kind=LIST),
    ("GET", "/fapi/v1/income"): Call(account_calls.income, 30, kind=LIST),
    ("GET", "/fapi/v1/leverageBracket"): Call(account_calls.brackets),
    ("POST", "/fapi/v1/countdownCancelAll"): Call(account_calls.countdown, 10),
    ("GET", "/fapi/v1/positionSide/dual"): Call(account_calls.position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): Call(account_calls.set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): Call(account_calls.asset_mode, 30),
    ("GET", "/fapi/v1/symbolConfig"): Call(account_calls.symbol_settings, 5),
    ("POST", "/fapi/v1/leverage"): Call(account_calls.set_leverage),
    ("POST", "/fapi/v1/marginType"): Call(account_calls.set_margin_type),
    ("GET", "/fapi/v1/feeBurn"): Call(account_calls.burn),
    ("POST", "/fapi/v1/feeBurn"): Call(account_calls.set_burn),
    ("POST", "/fapi/v1/listenKey"): Call(account_calls.open_listen_key, signed=False),
    ("PUT", "/fapi/v1/listenKey"): Call(account_calls.keep_listen_key, signed=False),
    ("DELETE", "/fapi/v1/listenKey"): Call(account_calls.close_listen_key, signed=False),
    ("POST", "/fapi/v1/algoOrder"): Call(algo_calls.place_algo, 0, kind=PLACE),
    ("GET", "/fapi/v1/algoOrder"): Call(algo_calls.query_algo, kind=QUERY),
    ("DELETE", "/fapi/v1/algoOrder"): Call(algo_calls.cancel_algo, kind=CANCEL),
    ("GET", "/fapi/v1/openAlgoOrders"): Call(algo_calls.open_algos, kind=LIST),
    ("GET", "/fapi/v1/allAlgoOrders"): Call(algo_calls.all_algos, 5, kind=LIST),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Call(algo_calls.cancel_all_algos, kind=CANCEL_ALL),
}
COINM: Final[dict[tuple[str, str], Call]] = {("GET", f"/dapi/v1/{name}"): call for name, call in _PUBLIC.items()}
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
