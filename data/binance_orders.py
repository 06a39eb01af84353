"""Requests of Binance's order API, spot and USD-M: what to send, not when or whether.

A `Request` names method, path, the WebSocket API's name of the same call, parameters in order, and what it costs of the venue's limits.
`rest_text` and `websocket_frame` put it on the wire, signed. Numbers are scaled integers of the instrument and become decimals here,
exactly. This module must not keep state, read a clock, or decide anything about an order; answers are read in binance_answers.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from twinloop.data.binance_signing import Credentials, quoted, signed_query
from twinloop.data.errors import DataError
from twinloop.data.instruments import Instrument, from_scaled
from twinloop.kernels import codes

Market = Literal["spot", "usdm"]
Parameters = tuple[tuple[str, str], ...]
TRADES_MAX: Final = 1000  # Trades in one answer.
INCOME_MAX: Final = 1000  # Entries of the list of income in one answer.


class Request(NamedTuple):
    """One call. weight: of the address's limit per minute; orders: of the account's order count; signed: needs time and signature."""

    method: str
    path: str
    call: str  # The WebSocket API's name; "" where it has none.
    parameters: Parameters
    weight: int = 1
    orders: int = 0
    signed: bool = True
    in_body: bool = False


class NewOrder(NamedTuple):
    """An order to place, in scaled integers. kind: LIMIT...; in_force: GTC...; good_till_ms: 0 unless the venue shall end it."""

    instrument: Instrument
    client_id: str
    side: int
    kind: int
    in_force: int
    post_only: bool
    reduce_only: bool
    qty: int
    price: int
    trigger_price: int = 0
    good_till_ms: int = 0


def _side(side: int) -> str:
    return "BUY" if side > 0 else "SELL"


_IN_FORCE: Final = {codes.GTC: "GTC", codes.IOC: "IOC", codes.FOK: "FOK", codes.DAY: "GTC", codes.GTD: "GTC"}


def _spot_terms(order: NewOrder) -> list[tuple[str, str]]:
    """Type, time in force, quantity and prices of a spot order."""
    rules = order.instrument
    if order.kind == codes.LIMIT and order.post_only:
        terms = [("type", "LIMIT_MAKER")]
    elif order.kind == codes.LIMIT:
        terms = [("type", "LIMIT"), ("timeInForce", _IN_FORCE[order.in_force])]
    elif order.kind == codes.MARKET:
        terms = [("type", "MARKET")]
    elif order.kind == codes.STOP:
        terms = [("type", "STOP_LOSS")]
    else:
        terms = [("type", "STOP_LOSS_LIMIT"), ("timeInForce", _IN_FORCE[order.in_force])]
    terms.append(("quantity", from_scaled(order.qty, rules.qty_scale)))
    if order.kind in {codes.LIMIT, codes.STOP_LIMIT}:
        terms.append(("price", from_scaled(order.price, rules.price_scale)))
    if order.kind in {codes.STOP, codes.STOP_LIMIT}:
        terms.append(("stopPrice", from_scaled(order.trigger_price, rules.price_scale)))
    return terms


def _usdm_terms(order: NewOrder) -> list[tuple[str, str]]:
    """Type, time in force, quantity, prices and instructions of a USD-M order."""
    rules = order.instrument
    limited = order.kind in {codes.LIMIT, codes.STOP_LIMIT}
    names = {codes.LIMIT: "LIMIT", codes.MARKET: "MARKET", codes.STOP: "STOP_MARKET", codes.STOP_LIMIT: "STOP"}
    terms = [("type", names[order.kind])]
    if limited:
        in_force = "GTX" if order.post_only else "GTD" if order.good_till_ms else _IN_FORCE[order.in_force]
        terms.append(("timeInForce", in_force))
    terms.append(("quantity", from_scaled(order.qty, rules.qty_scale)))
    if limited:
        terms.append(("price", from_scaled(order.price, rules.price_scale)))
        if order.good_till_ms and not order.post_only:
            terms.append(("goodTillDate", str(order.good_till_ms)))
    if order.reduce_only:
        terms.append(("reduceOnly", "true"))
    return terms


class SpotRequests:
    """The spot dialect. An amend is either `reduce` (keeps the place in line) or `replace` (a new order for an old one)."""

    market: Final[Market] = "spot"
    weight_limit: Final = 6000
    order_limits: Final = (("10S", 10_000, 100), ("1D", 86_400_000, 200_000))

    def place(self, order: NewOrder) -> Request:
        """A new order; the answer lists its fills."""
        parameters = (
            ("symbol", order.instrument.symbol),
            ("side", _side(order.side)),
            *_spot_terms(order),
            ("newClientOrderId", order.client_id),
            ("newOrderRespType", "FULL"),
        )
        return Request("POST", "/api/v3/order", "order.place", parameters, 1, 1, in_body=True)

    def cancel(self, symbol: str, client_id: str) -> Request:
        """Cancel one order."""
        return Request(
            "DELETE", "/api/v3/order", "order.cancel", (("symbol", symbol), ("origClientOrderId", client_id))
        )

    def reduce(self, instrument: Instrument, client_id: str, qty: int) -> Request:
        """Lower an order's total quantity; it keeps its place in line and its client id."""
        parameters = (
            ("symbol", instrument.symbol),
            ("origClientOrderId", client_id),
            ("newClientOrderId", client_id),
            ("newQty", from_scaled(qty, instrument.qty_scale)),
        )
        path = "/api/v3/order/amend/keepPriority"
        return Request("PUT", path, "order.amend.keepPriority", parameters, 4, in_body=True)

    def replace(self, old_client_id: str, order: NewOrder) -> Request:
        """Cancel an order that has not filled at all and place another; if the cancel fails nothing is placed."""
        parameters = (
            ("symbol", order.instrument.symbol),
            ("side", _side(order.side)),
            *_spot_terms(order),
            ("cancelReplaceMode", "STOP_ON_FAILURE"),
            ("cancelOrigClientOrderId", old_client_id),
            # A fill on the way in would make the two together larger than what was asked for.
            ("cancelRestrictions", "ONLY_NEW"),
            ("newClientOrderId", order.client_id),
            ("newOrderRespType", "FULL"),
        )
        return Request("POST", "/api/v3/order/cancelReplace", "order.cancelReplace", parameters, 1, 1, in_body=True)

    def query(self, symbol: str, *, client_id: str = "", venue_id: int = 0) -> Request:
        """One order, by the client's id or the venue's."""
        name = ("origClientOrderId", client_id) if client_id else ("orderId", str(venue_id))
        return Request("GET", "/api/v3/order", "order.status", (("symbol", symbol), name), 4)

    def open_orders(self, symbol: str) -> Request:
        """Every working order of a symbol."""
        return Request("GET", "/api/v3/openOrders", "openOrders.status", (("symbol", symbol),), 6)

    def trades(self, symbol: str, *, from_id: int = 0, start_ms: int = 0) -> Request:
        """Own trades of a symbol from a trade id on, or from a time on."""
        start = ("fromId", str(from_id)) if from_id else ("startTime", str(start_ms))
        parameters = (("symbol", symbol), start, ("limit", str(TRADES_MAX)))
        return Request("GET", "/api/v3/myTrades", "myTrades", parameters, 20)

    def cancel_all(self, symbol: str) -> Request:
        """Cancel every working order of a symbol."""
        return Request("DELETE", "/api/v3/openOrders", "openOrders.cancelAll", (("symbol", symbol),))

    def account(self) -> Request:
        """Balances."""
        return Request("GET", "/api/v3/account", "account.status", (("omitZeroBalances", "true"),), 20)

    def server_time(self) -> Request:
        """The venue's clock."""
        return Request("GET", "/api/v3/time", "time", (), 1, signed=False)


class UsdmRequests:
    """The USD-M futures dialect. Stop orders live in the venue's conditional-order service, under the same client id."""

    market: Final[Market] = "usdm"
    weight_limit: Final = 2400
    order_limits: Final = (("10S", 10_000, 300), ("1M", 60_000, 1200))

    def place(self, order: NewOrder) -> Request:
        """A new order; the answer tells its state, not its fills."""
        head = (("symbol", order.instrument.symbol), ("side", _side(order.side)))
        if order.kind in {codes.STOP, codes.STOP_LIMIT}:
            trigger = from_scaled(order.trigger_price, order.instrument.price_scale)
            tail = (("triggerPrice", trigger), ("clientAlgoId", order.client_id))
            parameters = (("algoType", "CONDITIONAL"), *head, *_usdm_terms(order), *tail)
            return Request("POST", "/fapi/v1/algoOrder", "algoOrder.place", parameters, 0, 1, in_body=True)
        parameters = (
            *head, *_usdm_terms(order), ("newClientOrderId", order.client_id), ("newOrderRespType", "RESULT"),
        )  # fmt: skip
        return Request("POST", "/fapi/v1/order", "order.place", parameters, 0, 1, in_body=True)

    def cancel(self, symbol: str, client_id: str) -> Request:
        """Cancel one order."""
        parameters = (("symbol", symbol), ("origClientOrderId", client_id))
        return Request("DELETE", "/fapi/v1/order", "order.cancel", parameters)

    def cancel_stop(self, client_id: str) -> Request:
        """Cancel a stop order that has not triggered."""
        return Request("DELETE", "/fapi/v1/algoOrder", "algoOrder.cancel", (("clientAlgoId", client_id),))

    def amend(self, instrument: Instrument, client_id: str, side: int, qty: int, price: int) -> Request:
        """Change an order's total quantity and price."""
        parameters = (
            ("symbol", instrument.symbol),
            ("side", _side(side)),
            ("quantity", from_scaled(qty, instrument.qty_scale)),
            ("price", from_scaled(price, instrument.price_scale)),
            ("origClientOrderId", client_id),
        )
        return Request("PUT", "/fapi/v1/order", "order.modify", parameters, 1, 1, in_body=True)

    def query(self, symbol: str, *, client_id: str = "", venue_id: int = 0) -> Request:
        """One order, by the client's id or the venue's."""
        name = ("origClientOrderId", client_id) if client_id else ("orderId", str(venue_id))
        return Request("GET", "/fapi/v1/order", "order.status", (("symbol", symbol), name))

    def query_stop(self, client_id: str) -> Request:
        """A stop order, as long as it has not triggered."""
        return Request("GET", "/fapi/v1/algoOrder", "", (("clientAlgoId", client_id),))

    def open_orders(self, symbol: str) -> Request:
        """Every working order of a symbol."""
        return Request("GET", "/fapi/v1/openOrders", "", (("symbol", symbol),))

    def open_stops(self, symbol: str) -> Request:
        """Every stop order of a symbol that has not triggered."""
        return Request("GET", "/fapi/v1/openAlgoOrders", "", (("symbol", symbol),))

    def trades(self, symbol: str, *, from_id: int = 0, start_ms: int = 0) -> Request:
        """Own trades of a symbol from a trade id on, or from a time on."""
        start = ("fromId", str(from_id)) if from_id else ("startTime", str(start_ms))
        return Request("GET", "/fapi/v1/userTrades", "", (("symbol", symbol), start, ("limit", str(TRADES_MAX))), 5)

    def income(self, start_ms: int, page: int) -> Request:
        """All that changed the account from a time on, that of trades too. page: from 1 on."""
        parameters = (("startTime", str(start_ms)), ("page", str(page)), ("limit", str(INCOME_MAX)))
        return Request("GET", "/fapi/v1/income", "", parameters, 30)

    def funding(self, start_ms: int, page: int) -> Request:
        """Funding payments of the account, of every symbol, from a time on. page: from 1 on."""
        parameters = (
            ("incomeType", "FUNDING_FEE"), ("startTime", str(start_ms)), ("page", str(page)), ("limit", str(INCOME_MAX)),
        )  # fmt: skip
        return Request("GET", "/fapi/v1/income", "", parameters, 30)

    def cancel_all(self, symbol: str) -> Request:
        """Cancel every working order of a symbol."""
        return Request("DELETE", "/fapi/v1/allOpenOrders", "", (("symbol", symbol),))

    def cancel_all_stops(self, symbol: str) -> Request:
        """Cancel every stop order of a symbol that has not triggered."""
        return Request("DELETE", "/fapi/v1/algoOpenOrders", "", (("symbol", symbol),))

    def countdown(self, symbol: str, countdown_ms: int) -> Request:
        """Dead-man timer: cancel every order of a symbol unless called again in time; 0 disarms."""
        parameters = (("symbol", symbol), ("countdownTime", str(countdown_ms)))
        return Request("POST", "/fapi/v1/countdownCancelAll", "", parameters, 10, in_body=True)

    def account(self) -> Request:
        """Balances and positions."""
        return Request("GET", "/fapi/v3/account", "v2/account.status", (), 5)

    def server_time(self) -> Request:
        """The venue's clock."""
        return Request("GET", "/fapi/v1/time", "", (), 1, signed=False)

    def account_settings(self) -> Request:
        """Position mode and asset mode, in one question; each by its own would have six times its weight."""
        return Request("GET", "/fapi/v1/accountConfig", "", (), 5)

    def fee_burn(self) -> Request:
        """Whether fees are paid in BNB."""
        return Request("GET", "/fapi/v1/feeBurn", "", (), 30)

    def symbol_settings(self) -> Request:
        """Margin type and leverage of every symbol."""
        return Request("GET", "/fapi/v1/symbolConfig", "", (), 5)

    def listen_key(self, method: str) -> Request:
        """Open (POST), keep alive (PUT) or close (DELETE) the user stream. Needs the API key, no signature."""
        return Request(method, "/fapi/v1/listenKey", "", (), 1, signed=False)


Requests = SpotRequests | UsdmRequests
SPOT_FEE_BURN: Final = Request("GET", "/sapi/v1/bnbBurn", "", ())  # On the host of a key's rights.
KEY_RIGHTS: Final = Request(
    "GET", "/sapi/v1/account/apiRestrictions", "", ()
)  # On the host of spot, for keys of every market.


def requests_of(market: Market) -> Requests:
    """The dialect of a market."""
    dialects: dict[str, Callable[[], Requests]] = {"spot": SpotRequests, "usdm": UsdmRequests}
    if market not in dialects:
        raise DataError("no such market at this venue", expected="spot or usdm", got=market)
    return dialects[market]()


def rest_text(request: Request, timestamp_ms: int, window_ms: int, credentials: Credentials) -> str:
    """The query or form of a REST call, percent-encoded, signed where the call needs it.

    Client ids and decimals are plain; only a symbol may need encoding, and the encoded text is what is signed.
    """
    text = "&".join(
        [f"{name}={value}" if value.isascii() else f"{name}={quoted(value)}" for name, value in request.parameters]
    )
    if not request.signed:
        return text
    payload = f"{text}&recvWindow={window_ms}&timestamp={timestamp_ms}" if text else (
        f"recvWindow={window_ms}&timestamp={timestamp_ms}"
    )  # fmt: skip
    return signed_query(payload, credentials.signer)


def websocket_frame(
    request: Request, number: int, timestamp_ms: int, window_ms: int, credentials: Credentials | None
) -> str:
    """A frame of the WebSocket API. credentials: None on a session that has logged on, where nothing more is signed."""
    parameters = list(request.parameters)
    if request.signed:
        parameters += [("recvWindow", str(window_ms)), ("timestamp", str(timestamp_ms))]
        if credentials is not None:
            parameters = signed_parameters(parameters, credentials)
    inside = ",".join([f'"{name}":{_value(name, value)}' for name, value in parameters])
    return f'{{"id":"{number}","method":"{request.call}","params":{{{inside}}}}}'


def session_frame(call: str, number: int, timestamp_ms: int, window_ms: int, credentials: Credentials) -> str:
    """`session.logon` (Ed25519 only) or `userDataStream.subscribe.signature`: a signed frame about the connection itself."""
    request = Request("", "", call, ())
    return websocket_frame(request, number, timestamp_ms, window_ms, credentials)


def signed_parameters(parameters: list[tuple[str, str]], credentials: Credentials) -> list[tuple[str, str]]:
    """Parameters of the WebSocket API with API key and signature: the payload is `name=value` in the names' order, not encoded."""
    full = sorted([*parameters, ("apiKey", credentials.api_key.reveal())])
    signature = credentials.signer.sign("&".join([f"{name}={value}" for name, value in full]))
    return [*full, ("signature", signature)]


_WHOLE: Final = frozenset(
    {"recvWindow", "timestamp", "orderId", "fromId", "startTime", "limit", "page", "goodTillDate", "countdownTime"}
)


def _value(name: str, value: str) -> str:
    """JSON of a parameter. Values are ids, words, decimals and symbols: nothing in them needs an escape."""
    return value if name in _WHOLE else f'"{value}"'
