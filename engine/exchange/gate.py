"""A call carried out: limits, faults, signature, the call itself, and what becomes of its answer on the way back.

REST and the WebSocket API come through here alike. The gate knows no sockets; `None` for an answer means that none ever comes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from twinloop.engine.exchange import incidents
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.faults import Faults
from twinloop.engine.exchange.limits import Limits, Refusal, banned
from twinloop.engine.exchange.market_faults import offset
from twinloop.engine.exchange.model import Account, Market, Order, VenueError
from twinloop.engine.exchange.order_calls import ReplaceError, which
from twinloop.engine.exchange.parameters import Parameters
from twinloop.engine.exchange.requests import CANCEL, ORDERS, PLACE, QUERY, READS, REPLACE, TRADES, Call
from twinloop.engine.exchange.signing import check_key, check_signed, check_time

DELAY_MS: Final = 2000
BAN_MS: Final = 5000  # What the fault says; a real ban is longer.
TOO_MANY_S: Final = 2  # The same: a real one lasts until its minute ends.
PAGE: Final = "<html><body>The request could not be satisfied.</body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. page: sent instead of the document, and not JSON."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    page: str | None = None


class Gate:
    """The way into one market. dispatch: sends what the exchange tells of. cut_users: ends every user connection."""

    def __init__(
        self, exchange: Exchange, faults: Faults, dispatch: Callable[[], None], cut_users: Callable[[], None]
    ) -> None:
        self.exchange, self.faults = exchange, faults
        self.limits = Limits(exchange.market)
        self._dispatch, self._cut_users = dispatch, cut_users
        self._last: dict[tuple[str, str, Any], Any] = {}
        self.late: list[tuple[int, Callable[[], None]]] = []

    @property
    def market(self) -> Market:
        """Whose gate it is."""
        return self.exchange.market

    def carry_out(
        self, call: Call, raw: str, signed: str, key: str | None, address: str, *, session: Account | None = None
    ) -> Reply | None:
        """raw: the parameters as they came. signed: the text that the signature is of. session: who has logged on, and signs no more.

        None: the answer never comes.
        """
        exchange, faults = self.exchange, self.faults
        parameters = dict(parse_qsl(raw, keep_blank_values=True))
        headers, refusal = self.limits.weigh(address, exchange.now_ms, call.weight_of(parameters))
        if faults.take("banned"):
            refusal = banned(exchange.now_ms + BAN_MS, exchange.now_ms)
        elif faults.take("too_many"):
            refusal = self.limits.too_many(exchange.now_ms, TOO_MANY_S)
        if refusal is not None:
            return _refused(refusal, headers)
        try:
            account = self._whose(call, parameters, signed, key, session)
            if call.counts:
                counted, refusal = self.limits.count_order(account.key, exchange.now_ms)
                headers |= counted
                if refusal is not None:
                    return _refused(refusal, headers)
            reply = self._before(call, account, parameters)
            if reply is not None:
                return reply if reply is not _NONE else None
            body = call.answer(exchange, account, parameters)
        except ReplaceError as error:
            self._dispatch()
            return Reply(error.status, {"code": error.code, "msg": error.message, "data": error.data}, headers)
        except VenueError as error:
            self._dispatch()
            return Reply(error.status, {"code": error.code, "msg": error.message}, headers)
        self._dispatch()
        return self._after(call, account, parameters, Reply(200, body, headers))

    def _whose(
        self, call: Call, parameters: Parameters, signed: str, key: str | None, session: Account | None
    ) -> Account:
        """The account that a call is for. VenueError where it is not signed as it must be."""
        accounts, now_ms = self.exchange.accounts, self.exchange.now_ms
        if not call.needs_key:
            return Account("", self.market, "", "")
        if not call.signed:
            return session or check_key(accounts, key)
        if self.faults.take("maintenance"):
            raise VenueError(-1016, "This service is no longer available.", 503)
        if session is not None:
            check_time(parameters, now_ms)
            account = session
        else:
            account = check_signed(accounts, key, signed, parameters, now_ms)
        self._refuse("wrong_time", -1021, "Timestamp for this request is outside of the recvWindow.")
        return account

    def _refuse(self, fault: str, code: int, message: str, status: int = 400) -> None:
        """Refuse where a fault is armed."""
        if self.faults.take(fault):
            raise VenueError(code, message, status)

    # ---- Before the call.

    def _before(self, call: Call, account: Account, parameters: Parameters) -> Reply | None:
        """Faults that keep a call from being carried out: its answer, _NONE where none comes, None where it goes on."""
        if call.kind in READS:
            self._refuse("fail_query", -1000, "An unknown error occurred while processing the request.", 500)
        if call.kind == QUERY:
            self._refuse("query_unknown", -2013, "Order does not exist.")
        if call.kind == CANCEL:
            self._refuse("cancel_unknown", -2011, "Unknown order sent.")
            self._meet(account, parameters, "cancel_too_late", self._fill_first)
        if call.kind not in ORDERS:
            return None
        if self.faults.take("lose_request"):
            return _NONE
        if self.faults.take("delay_request"):
            self.late.append((self.exchange.now_ms + DELAY_MS, lambda: self._carry_out_late(call, account, parameters)))
            return _NONE
        if call.kind == PLACE:
            if self.market == "spot":
                self._refuse("reject", -2010, "Account has insufficient balance for requested action.")
            else:
                self._refuse("reject", -2019, "Margin is insufficient.")
        if call.kind == REPLACE and self.faults.take("half_replace"):
            parameters["quantity"] = "0"  # The second leg alone is refused.
        self._refuse("failed_503", -1008, "Service Unavailable.", 503)
        return None

    def _carry_out_late(self, call: Call, account: Account, parameters: Parameters) -> None:
        try:
            call.answer(self.exchange, account, parameters)
        except VenueError:
            return  # Nobody waits for the answer.

    def _meet(self, account: Account, parameters: Parameters, fault: str, what: Callable[[Order], None]) -> None:
        """Have a fault befall the order that a call is about, where it is one that rests."""
        if not self.faults.on(fault) or not parameters.get("symbol"):
            return
        order = self.exchange.find(account, parameters["symbol"], *which(parameters))
        if order is not None and incidents.resting(order) and self.faults.take(fault):
            what(order)

    def _fill_first(self, order: Order) -> None:
        self.exchange.fill_now(order, order.leaves)
        self._dispatch()

    # ---- After the call.

    def _after(self, call: Call, account: Account, parameters: Parameters, reply: Reply) -> Reply | None:
        """Faults that befall an order once it is accepted, or the answer on its way back."""
        faults = self.faults
        if not call.needs_key and faults.take("offset_prices"):
            return Reply(200, offset(reply.body), reply.headers)
        if call.kind in READS:
            return self._read_back(call, account, parameters, reply)
        if call.kind == PLACE:
            self._befall(account.orders.get(reply.body.get("orderId", 0)))
        if call.kind == CANCEL and faults.on("fill_after_cancel") and "orderId" in reply.body:
            order = account.orders[reply.body["orderId"]]
            if order.limited and faults.take("fill_after_cancel"):
                incidents.fill_ended(self.exchange, order)
                self._dispatch()
        if call.kind not in ORDERS:
            return reply
        if faults.take("drop_response"):
            return None
        if faults.take("unknown_503"):
            code = -1000 if self.market == "usdm" else -1006
            text = "Unknown error, please check your request or try again later."
            return Reply(503, {"code": code, "msg": text}, reply.headers)
        if faults.take("timeout_408"):
            text = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
            return Reply(408, {"code": -1007, "msg": text}, reply.headers)
        for fault, status, page in (("html_403", 403, PAGE), ("html_200", 200, PAGE), ("empty_200", 200, "")):
            if faults.take(fault):
                return Reply(status, None, reply.headers, page)
        return reply

    def _befall(self, order: Order | None) -> None:
        """What happens to an order that has just come to rest."""
        faults, exchange = self.faults, self.exchange
        if order is None or not incidents.resting(order):
            return
        if faults.take("unsolicited_cancel"):
            exchange.end(order, "EXPIRED")
        elif faults.take("overfill"):
            incidents.overfill(exchange, order)
        elif faults.take("partial_then_drop"):
            self._cut_users()
            incidents.fill_half(exchange, order)
        self._dispatch()

    def _read_back(self, call: Call, account: Account, parameters: Parameters, reply: Reply) -> Reply:
        """Answers to queries, late or rounded."""
        asked = (
            account.key,
            call.answer.__name__,
            tuple(sorted((name, value) for name, value in parameters.items() if name not in _NEVER_SAME)),
        )
        before, self._last[asked] = self._last.get(asked), reply.body
        if len(self._last) > 1000:
            self._last.pop(next(iter(self._last)))
        if before is not None and self.faults.take("lag_query"):
            self._last[asked] = before
            return Reply(200, before, reply.headers)
        if call.kind == TRADES and reply.body and self.faults.take("round_fills"):
            return Reply(200, [_rounded(trade) for trade in reply.body], reply.headers)
        return reply


_NEVER_SAME: Final = frozenset({"timestamp", "signature", "recvWindow"})
_NONE: Final = Reply(0, None)


def _refused(refusal: Refusal, headers: dict[str, str]) -> Reply:
    return Reply(refusal.status, refusal.body, headers | {"Retry-After": str(refusal.retry_after_s)})


def _rounded(trade: dict[str, Any]) -> dict[str, Any]:
    """A trade with other decimals: more places in price and quantity, fewer in the fee."""
    more = {name: f"{trade[name]}00" for name in ("price", "qty", "quoteQty")}
    fee = Decimal(trade["commission"]).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
    return trade | more | {"commission": str(fee)}
