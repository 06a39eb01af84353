"""Answers of Binance's order API, REST and WebSocket, spot and USD-M, as reports.

Decoding is typed: whatever does not have the documented shape is a DecodeError, which for an order means that nothing is known. This
module must not keep state or decide what an answer means for an order.
"""

from typing import Any, Final

import msgspec

from twinloop.data.binance_reports import (
    BROKEN,
    AccountReport,
    FillReport,
    IncomeReport,
    OrderReport,
    ReplaceReport,
    VenueError,
    plain,
    read,
    sign,
    status_of,
    sum_of,
    whole,
)
from twinloop.data.errors import DecodeError


class _Fill(msgspec.Struct, rename="camel"):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int = 0


class _Order(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    client_order_id: str
    status: str
    side: str = ""
    price: str = "0"
    orig_qty: str = ""
    qty: str = ""
    executed_qty: str = "0"
    orig_client_order_id: str = ""
    update_time: int = 0
    transact_time: int = 0
    fills: list[_Fill] = []


class _OrderList(msgspec.Struct, rename="camel"):
    order_reports: list[_Order]


class _Amended(msgspec.Struct, rename="camel"):
    amended_order: _Order
    transact_time: int = 0


class _Error(msgspec.Struct, rename="camel"):
    code: int
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Replaced(msgspec.Struct, rename="camel"):
    cancel_result: str
    new_order_result: str
    cancel_response: msgspec.Raw = msgspec.Raw(b"null")
    new_order_response: msgspec.Raw = msgspec.Raw(b"null")


class _Algo(msgspec.Struct, rename="camel"):
    algo_id: int
    client_algo_id: str
    symbol: str = ""
    side: str = ""
    algo_status: str = "NEW"
    quantity: str = ""
    price: str = "0"
    update_time: int = 0
    actual_order_id: str | int = ""


class _Trade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool | None = None
    is_maker: bool = False
    buyer: bool | None = None
    maker: bool = False


class _Income(msgspec.Struct, rename="camel"):
    symbol: str
    income_type: str
    income: str
    asset: str
    time: int
    tran_id: int


class _ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class _ListenKey(msgspec.Struct, rename="camel"):
    listen_key: str


class _SpotBalance(msgspec.Struct, rename="camel"):
    asset: str
    free: str
    locked: str


class _UsdmAsset(msgspec.Struct, rename="camel"):
    asset: str
    wallet_balance: str


class _UsdmPosition(msgspec.Struct, rename="camel"):
    symbol: str
    position_amt: str
    position_side: str = "BOTH"


class _SpotAccount(msgspec.Struct, rename="camel"):
    balances: list[_SpotBalance]
    update_time: int = 0


class _UsdmAccount(msgspec.Struct, rename="camel"):
    assets: list[_UsdmAsset]
    positions: list[_UsdmPosition] = []


class _WebsocketAnswer(msgspec.Struct, rename="camel"):
    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    rate_limits: list[dict[str, Any]] = []


_ORDER: Final = msgspec.json.Decoder(_Order)
_ORDERS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ORDER_LIST: Final = msgspec.json.Decoder(_OrderList)
_AMENDED: Final = msgspec.json.Decoder(_Amended)
_ERROR: Final = msgspec.json.Decoder(_Error)
_REPLACED: Final = msgspec.json.Decoder(_Replaced)
_ALGO: Final = msgspec.json.Decoder(_Algo)
_ALGOS: Final = msgspec.json.Decoder(list[_Algo])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_INCOME: Final = msgspec.json.Decoder(list[_Income])
_TIME: Final = msgspec.json.Decoder(_ServerTime)
_LISTEN_KEY: Final = msgspec.json.Decoder(_ListenKey)
_SPOT_ACCOUNT: Final = msgspec.json.Decoder(_SpotAccount)
_USDM_ACCOUNT: Final = msgspec.json.Decoder(_UsdmAccount)
_WEBSOCKET: Final = msgspec.json.Decoder(_WebsocketAnswer)


def _report(order: _Order, *, amended: bool = False, time_ms: int = 0) -> OrderReport:
    client_id = order.orig_client_order_id or order.client_order_id
    moment = time_ms or order.transact_time or order.update_time
    side = sign(order.side)
    venue_id = whole(order.order_id)
    fills = tuple(
        FillReport(
            order.symbol, venue_id, client_id, whole(fill.trade_id), side, fill.price, fill.qty,
            fill.commission, fill.commission_asset, maker=False, time_ms=moment,
        )
        for fill in order.fills
    )  # fmt: skip
    reason = order.status if order.status == "EXPIRED_IN_MATCH" else ""
    return OrderReport(
        order.symbol, client_id, venue_id, status_of(order.status), "", side, order.price,
        order.orig_qty or order.qty, order.executed_qty, moment, reason, fills, amended,
    )  # fmt: skip


def read_order(body: bytes | msgspec.Raw) -> OrderReport:
    """Answer to a new order, a cancel or a query."""
    return _report(read(_ORDER, body, "an order"))


def read_amended(body: bytes | msgspec.Raw) -> OrderReport:
    """Answer to a spot amend that keeps the place in line, or to a USD-M amend."""
    raw = bytes(body)
    if b'"amendedOrder"' in raw:
        found = read(_AMENDED, raw, "an amended order")
        return _report(found.amended_order, amended=True, time_ms=found.transact_time)
    return _report(read(_ORDER, raw, "an amended order"), amended=True)


def read_orders(body: bytes | msgspec.Raw) -> list[OrderReport]:
    """List of orders; an order list in it is opened."""
    reports = []
    for part in read(_ORDERS, body, "a list of orders"):
        if b'"orderReports"' in bytes(part):
            reports += [_report(order) for order in read(_ORDER_LIST, part, "an order list").order_reports]
        else:
            reports.append(read_order(part))
    return reports


def _stop_report(found: _Algo) -> OrderReport:
    actual = int(found.actual_order_id) if str(found.actual_order_id).isdecimal() else 0
    return OrderReport(
        found.symbol, found.client_algo_id, whole(found.algo_id), status_of(found.algo_status), "", sign(found.side),
        found.price, found.quantity, "0", found.update_time, stop=True, actual_id=whole(actual),
    )  # fmt: skip


def read_stop(body: bytes | msgspec.Raw) -> OrderReport:
    """Answer about one stop order of the conditional-order service."""
    return _stop_report(read(_ALGO, body, "a stop order"))


def read_stops(body: bytes | msgspec.Raw) -> list[OrderReport]:
    """List of stop orders of the conditional-order service."""
    return [_stop_report(found) for found in read(_ALGOS, body, "a list of stop orders")]


def read_trades(body: bytes | msgspec.Raw) -> list[FillReport]:
    """Own trades of a symbol, in the order of their ids."""
    reports = []
    for trade in read(_TRADES, body, "a list of trades"):
        buyer = trade.buyer if trade.is_buyer is None else trade.is_buyer
        if buyer is None:
            raise DecodeError("a trade without a side", expected="isBuyer or buyer")
        report = FillReport(
            trade.symbol,
            whole(trade.order_id),
            "",
            whole(trade.id),
            1 if buyer else -1,
            trade.price,
            trade.qty,
            trade.commission,
            trade.commission_asset,
            trade.is_maker or trade.maker,
            trade.time,
        )
        reports.append(report)
    return reports


def read_income(body: bytes | msgspec.Raw, kind: str = "") -> list[IncomeReport]:
    """Income of an account, of one kind where that was asked for: another one among it is refused."""
    reports = []
    for income in read(_INCOME, body, "a list of income"):
        if kind and income.income_type != kind:
            raise DecodeError("income that was not asked for", expected=kind, got=plain(income.income_type))
        reports.append(
            IncomeReport(
                income.income_type,
                income.symbol,
                whole(income.tran_id),
                income.asset,
                income.income,
                whole(income.time),
            )
        )
    return reports


def read_replaced(body: bytes | msgspec.Raw) -> ReplaceReport:
    """The two legs of a cancel-replace, from an answer or from the `data` of an error."""
    raw = bytes(body)
    error = read_error(raw)
    if error.code:
        raw = bytes(read(_ERROR, raw, "an error").data)
    found = read(_REPLACED, raw, "a cancel-replace")

    def leg(result: str, part: msgspec.Raw) -> tuple[OrderReport | None, int, str]:
        text = bytes(part)
        refused = read_error(text)
        if refused.code or text in {b"null", b""}:
            return None, refused.code, refused.message
        return (read_order(text), 0, "") if result == "SUCCESS" else (None, 0, "")

    cancelled, cancel_code, _ = leg(found.cancel_result, found.cancel_response)
    placed, place_code, place_text = leg(found.new_order_result, found.new_order_response)
    return ReplaceReport(
        cancelled, found.cancel_result, cancel_code, placed, found.new_order_result, place_code, place_text
    )


def read_server_time(body: bytes | msgspec.Raw) -> int:
    """The venue's clock in ms."""
    return whole(read(_TIME, body, "a time").server_time)


def read_listen_key(body: bytes | msgspec.Raw) -> str:
    """Name of a user stream: a secret, never shown."""
    key = str(read(_LISTEN_KEY, body, "a listen key").listen_key)
    if not key.isascii() or not key.isalnum():
        raise DecodeError("not a listen key", expected="letters and digits")
    return key


def read_account(body: bytes | msgspec.Raw) -> AccountReport:
    """Balances, and positions where the market has them."""
    raw = bytes(body)
    if b'"assets"' in raw:
        usdm = read(_USDM_ACCOUNT, raw, "an account")
        positions = {(part.symbol, part.position_side): part.position_amt for part in usdm.positions}
        return AccountReport(0, "", {part.asset: part.wallet_balance for part in usdm.assets}, positions, complete=True)
    spot = read(_SPOT_ACCOUNT, raw, "an account")
    return AccountReport(
        spot.update_time, "", {b.asset: sum_of(b.free, b.locked) for b in spot.balances}, {}, complete=True
    )


class KeyRights(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What an API key may do; every one of these is told, or nothing is."""

    ip_restrict: bool
    enable_reading: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool
    enable_spot_and_margin_trading: bool
    enable_futures: bool


class SymbolSettings(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """How a USD-M account trades a symbol. margin_type: CROSSED or ISOLATED. leverage: times the margin."""

    symbol: str
    margin_type: str
    leverage: int


class AccountModes(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """dual_side_position: hedge mode, a long and a short position of one symbol. multi_assets_margin: every asset of the wallet is margin."""

    dual_side_position: bool
    multi_assets_margin: bool


_ACCOUNT_MODES: Final = msgspec.json.Decoder(AccountModes)
_SYMBOL_SETTINGS: Final = msgspec.json.Decoder(list[SymbolSettings])


def read_account_modes(body: bytes) -> AccountModes:
    """How a USD-M account trades."""
    modes: AccountModes = read(_ACCOUNT_MODES, body, "an account's settings")
    return modes


def read_symbol_settings(body: bytes) -> dict[str, SymbolSettings]:
    """Margin type and leverage by symbol."""
    return {each.symbol: each for each in read(_SYMBOL_SETTINGS, body, "settings of symbols")}


class _SpotFeeBurn(msgspec.Struct):
    spotBNBBurn: bool  # noqa: N815 - the venue's name


class _UsdmFeeBurn(msgspec.Struct, rename="camel"):
    fee_burn: bool


_SPOT_FEE_BURN: Final = msgspec.json.Decoder(_SpotFeeBurn)
_USDM_FEE_BURN: Final = msgspec.json.Decoder(_UsdmFeeBurn)


def read_spot_fee_burn(body: bytes) -> bool:
    """Whether the fees of spot trades are paid in BNB, as long as there is any."""
    return bool(read(_SPOT_FEE_BURN, body, "the currency of fees").spotBNBBurn)


def read_usdm_fee_burn(body: bytes) -> bool:
    """The same of USD-M."""
    return bool(read(_USDM_FEE_BURN, body, "the currency of fees").fee_burn)


_KEY_RIGHTS: Final = msgspec.json.Decoder(KeyRights)


def read_key_rights(body: bytes) -> KeyRights:
    """Rights of the key that signed the question."""
    rights: KeyRights = read(_KEY_RIGHTS, body, "the rights of a key")
    return rights


def read_error(body: bytes | msgspec.Raw) -> VenueError:
    """The venue's refusal, with code 0 for anything that is not one."""
    try:
        found = _ERROR.decode(body)
    except BROKEN:
        return VenueError(0, "")
    return VenueError(found.code, found.msg) if found.code < 0 else VenueError(0, "")


def read_websocket_answer(frame: bytes) -> tuple[str, int, dict[str, str], bytes]:
    """(request's id, HTTP-like status, headers as REST would give them, body) of an answer of the WebSocket API; id "" if it is none."""
    found = read(_WEBSOCKET, frame, "an answer")
    if found.status == 0 or found.id is None:
        return "", 0, {}, b""
    headers = {}
    for limit in found.rate_limits:
        letter = str(limit.get("interval", "?"))[:1]
        window = f"{limit.get('intervalNum')}{letter}"
        name = {"REQUEST_WEIGHT": "x-mbx-used-weight", "ORDERS": "x-mbx-order-count"}.get(
            str(limit.get("rateLimitType"))
        )
        if name:
            headers[f"{name}-{window.lower()}"] = str(limit.get("count"))
    return str(found.id), found.status, headers, bytes(found.result or found.error)
