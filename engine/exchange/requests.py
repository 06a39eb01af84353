"""The table of calls by method and path, for REST and the WebSocket API alike."""

from collections.abc import Callable, Mapping
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
    """answer: called with the exchange, the account (of a call with a key) and the parameters.

    weight: against the address's limit; steps: where it is heavier from so many rows on (`limit`), or without a symbol (0 rows).
    """

    answer: Answer
    weight: int = 1
    signed: bool = True
    kind: str = ""
    needs_key: bool = True
    steps: tuple[tuple[int, int], ...] = ()
    rows: int = 500  # Where no limit is asked for.
    without_symbol: int = 0

    def weight_of(self, parameters: Mapping[str, str]) -> int:
        """What a request with these parameters weighs."""
        if self.without_symbol and not parameters.get("symbol"):
            return self.without_symbol
        text = parameters.get("limit", "")
        rows = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else self.rows
        return next((weight for least, weight in reversed(self.steps) if rows >= least), self.weight)

    @property
    def counts(self) -> bool:
        """Whether it counts against the account's order limit."""
        return self.kind in {PLACE, REPLACE, AMEND}


def _public(answer: Answer, weight: int, **more: Any) -> Call:
    return Call(answer, weight, signed=False, needs_key=False, **more)


_SPOT_PUBLIC: Final = {
    "ping": _public(market_calls.ping, 1), "time": _public(market_calls.time, 1), "exchangeInfo": _public(market_calls.info, 20),
    "depth": _public(market_calls.depth, 5, steps=((101, 25), (501, 50), (1001, 250)), rows=100), "trades": _public(market_calls.recent, 25),
    "klines": _public(market_calls.klines, 2), "aggTrades": _public(market_calls.aggregated, 4),
    "ticker/price": _public(market_calls.last, 2, without_symbol=4), "ticker/24hr": _public(market_calls.day, 2, without_symbol=80),
    "ticker/bookTicker": _public(market_calls.top, 2, without_symbol=4), "avgPrice": _public(market_calls.average, 2),
}  # fmt: skip
_USDM_PUBLIC: Final = {
    "ping": _public(market_calls.ping, 1), "time": _public(market_calls.time, 1), "exchangeInfo": _public(market_calls.info, 1),
    "depth": _public(market_calls.depth, 2, steps=((100, 5), (500, 10), (1000, 20))), "trades": _public(market_calls.recent, 5),
    "klines": _public(market_calls.klines, 1, steps=((100, 2), (500, 5), (1001, 10))), "aggTrades": _public(market_calls.aggregated, 20),
    "ticker/price": _public(market_calls.last, 1, without_symbol=2), "ticker/24hr": _public(market_calls.day, 1, without_symbol=40),
    "ticker/bookTicker": _public(market_calls.top, 2, without_symbol=5), "premiumIndex": _public(market_calls.premium, 1, without_symbol=10),
}  # fmt: skip
SPOT: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/api/v3/{name}"): call for name, call in _SPOT_PUBLIC.items()},
    ("POST", "/api/v3/order"): Call(order_calls.place, kind=PLACE),
    ("GET", "/api/v3/order"): Call(order_calls.query, 4, kind=QUERY),
    ("DELETE", "/api/v3/order"): Call(order_calls.cancel, kind=CANCEL),
    ("POST", "/api/v3/order/cancelReplace"): Call(order_calls.cancel_replace, kind=REPLACE),
    ("PUT", "/api/v3/order/amend/keepPriority"): Call(order_calls.amend, 4, kind=AMEND),
    ("GET", "/api/v3/openOrders"): Call(order_calls.open_orders, 6, kind=LIST, without_symbol=80),
    ("DELETE", "/api/v3/openOrders"): Call(order_calls.cancel_all, kind=CANCEL_ALL),
    ("GET", "/api/v3/allOrders"): Call(order_calls.all_orders, 20, kind=LIST),
    ("GET", "/api/v3/myTrades"): Call(order_calls.trades, 20, kind=TRADES),
    ("GET", "/api/v3/account"): Call(account_calls.spot_account, 20, kind=LIST),
    ("GET", "/sapi/v1/bnbBurn"): Call(account_calls.burn),
    ("POST", "/sapi/v1/bnbBurn"): Call(account_calls.set_burn),
    ("GET", "/sapi/v1/account/apiRestrictions"): Call(account_calls.restrictions),
}
USDM: Final[dict[tuple[str, str], Call]] = {
    **{("GET", f"/fapi/v1/{name}"): call for name, call in _USDM_PUBLIC.items()},
    ("POST", "/fapi/v1/order"): Call(order_calls.place, kind=PLACE),
    ("GET", "/fapi/v1/order"): Call(order_calls.query, kind=QUERY),
    ("PUT", "/fapi/v1/order"): Call(order_calls.amend, kind=AMEND),
    ("DELETE", "/fapi/v1/order"): Call(order_calls.cancel, kind=CANCEL),
    ("GET", "/fapi/v1/openOrders"): Call(order_calls.open_orders, kind=LIST, without_symbol=40),
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
    ("GET", "/fapi/v1/accountConfig"): Call(account_calls.account_settings, 5),
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
    ("GET", "/fapi/v1/openAlgoOrders"): Call(algo_calls.open_algos, kind=LIST, without_symbol=40),
    ("GET", "/fapi/v1/allAlgoOrders"): Call(algo_calls.all_algos, 5, kind=LIST),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Call(algo_calls.cancel_all_algos, kind=CANCEL_ALL),
}
COINM: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"/dapi/v1/{name}"): call for name, call in _USDM_PUBLIC.items() if name != "premiumIndex"
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
