"""Requests made ready to go: refused here where the venue must not be asked, or counted, timed and signed.

Nothing is queued: a request that may not go now is refused with a reason, and a cancel or a query is asked for again by whoever wants it.
This module must not know why a request is made.
"""

from collections.abc import Callable
from typing import Final

from twinloop.data import order_way
from twinloop.data.binance_orders import NewOrder, Request, Requests, rest_text, websocket_frame
from twinloop.data.binance_signing import Credentials
from twinloop.data.binance_templates import Template
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.gateway.clock_offset import AGE_MAX_NS, STEP_MAX_NS, ClockOffset
from twinloop.engine.gateway.orders import Leg, Order
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.rate_budget import OrderBudget, WeightBudget
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.kernels import codes

MS_NS: Final = 1_000_000
_SHORT_TYPES: Final = frozenset({codes.LIMIT, codes.MARKET})  # These may come by `way`.
_SHORT_IN_FORCE: Final = frozenset({codes.GTC, codes.IOC, codes.FOK})
_ORDERS: Final = frozenset({kinds.PLACE, kinds.CANCEL, kinds.AMEND, kinds.REPLACE})


class Sender:
    """Makes Outgoing of Request. The times of the call at hand are set by `begin`."""

    def __init__(
        self,
        settings: GatewaySettings,
        dialect: Requests,
        credentials: Credentials,
        weight: WeightBudget,
        orders: OrderBudget,
        ids: ClientIds,
    ) -> None:
        self.settings = settings
        self.dialect = dialect
        self.clock = ClockOffset(settings.clock_offset_max_ns)
        self.weight = weight
        self.orders = orders
        self._credentials = credentials
        self._ids = ids
        self.number = 0  # Of the last request.
        self.gone = (
            False  # The new order at hand has left already, by `way`: only what follows from that is to be done.
        )
        self.way = order_way.OrderWay(
            self.clock.words, weight.words, orders.words, age_max_ns=AGE_MAX_NS, step_max_ns=STEP_MAX_NS,
            sign=not settings.logged_on,
        )  # fmt: skip
        self._templates: dict[tuple[int, int, int, int, int], Template] = {}  # By all that makes a kind.
        self._cancels: dict[str, Template] = {}  # By symbol.
        self.now_ns = 0
        self.mono_ns = 0
        self.outcome = Outcome()
        self._told_ns = 0
        self.socket_up = False  # Of the WebSocket API; without it orders go over REST.

    def begin(self, now_ns: int, mono_ns: int, outcome: Outcome) -> None:
        """Requests from here on are made at these times and go to this outcome."""
        self.now_ns, self.mono_ns, self.outcome = now_ns, mono_ns, outcome

    @property
    def venue_ns(self) -> int:
        """The venue's clock now, as far as it is known."""
        return self.now_ns + self.clock.offset_ns

    def _refusal(self, request: Request, *, is_cancel: bool, is_closing: bool) -> int:
        # A cancel goes out with the best time known: at worst the venue refuses it.
        if request.signed and not is_cancel and not self.clock.within(self.now_ns, self.mono_ns):
            return codes.REASON_CLOCK
        venue_ns = self.now_ns + self.clock.offset_ns
        if not self.weight.takes(request.weight, venue_ns, is_cancel=is_cancel, is_closing=is_closing):
            blocked_ns = self.weight.blocked_until_ns(venue_ns)  # Told of when it began.
            if not blocked_ns:
                self._tell_wait(self.weight.next_minute_ns(venue_ns))
            return codes.REASON_RATE
        if request.orders and not self.orders.takes(request.orders, venue_ns, is_closing=is_closing):
            self._tell_wait(self.orders.full_until_ns)
            return codes.REASON_RATE
        return 0

    def _tell_wait(self, until_ns: int) -> None:
        """What is left of a limit is kept, or nothing is left: told once for each time that it lasts."""
        if until_ns > self._told_ns:
            self._told_ns = until_ns
            self.outcome.alerts.append(alert("LIMIT_NEAR", value=until_ns))

    def send(
        self,
        kind: int,
        request: Request,
        *,
        order_id: int = 0,
        leg: int = 0,
        amend: int = 0,
        instrument: int = -1,
        venue_id: int = 0,
        is_cancel: bool = False,
        is_closing: bool = False,
    ) -> int:
        """Put a request into the outcome: 0, or the reason why it may not go now. is_closing: an order that only lowers a position."""
        refused = self._refusal(request, is_cancel=is_cancel, is_closing=is_closing)
        if refused:
            return refused
        settings = self.settings
        self.number += 1
        timestamp_ms = self.venue_ns // MS_NS
        text = frame = ""
        if self.socket_up and settings.websocket and request.call and kind in _ORDERS:
            frame = self._frame(kind, request, timestamp_ms)
        else:
            text = rest_text(request, timestamp_ms, settings.window_ms, self._credentials)
        timeout_ns = settings.order_timeout_ns if kind in _ORDERS else settings.query_timeout_ns
        made = Outgoing(
            number=self.number,
            kind=kind,
            request=request,
            text=text,
            frame=frame,
            order_id=order_id,
            leg=leg,
            amend=amend,
            instrument=instrument,
            venue_id=venue_id,
            sent_mono_ns=self.mono_ns,
            sent_ns=self.now_ns,
            deadline_mono_ns=self.mono_ns + timeout_ns,
            is_cancel=is_cancel,
        )
        self.outcome.outgoing.append(made)
        return 0

    def send_for(
        self, kind: int, request: Request, order: Order, leg: Leg, *, amend: int = 0, is_cancel: bool = False
    ) -> int:
        """Put a request about a leg into the outcome: 0, or the reason why it may not go now."""
        return self.send(
            kind,
            request,
            order_id=order.order_id,
            leg=leg.number,
            amend=amend,
            instrument=order.instrument,
            is_cancel=is_cancel,
            is_closing=kind == kinds.PLACE and order.flags & codes.REDUCE_ONLY != 0,
        )

    def send_new(self, order: Order, leg: Leg, form: Callable[[Order, Leg], NewOrder]) -> int:
        """Put a new order into the outcome: 0, or the reason why it may not go now. form: gives the order in the venue's form.

        The same as `send`, with the text from a template. An order of a kind that came this way may come by `way` from then on.
        """
        template = self._template(order, leg, form)
        refused = self._refusal(template.request, is_cancel=False, is_closing=order.flags & codes.REDUCE_ONLY != 0)
        if refused:
            return refused
        self.number = number = self.number + 1
        timestamp_ms = (self.now_ns + self.clock.offset_ns) // MS_NS
        text = frame = ""
        if self.gone:
            pass
        elif self.socket_up and self.settings.websocket:
            sign = not self.settings.logged_on
            frame = template.frame(
                leg.qty, leg.price, order.trigger_price, leg.client_id, timestamp_ms, number, sign=sign
            )
        else:
            text = template.rest_text(leg.qty, leg.price, order.trigger_price, leg.client_id, timestamp_ms)
        made = Outgoing(
            number, kinds.PLACE, template.request, text, frame, order.order_id, leg.number, 0, order.instrument, 0,
            self.mono_ns, self.now_ns, self.mono_ns + self.settings.order_timeout_ns, is_cancel=False,
        )  # fmt: skip
        self.outcome.outgoing.append(made)
        return 0

    def _frame(self, kind: int, request: Request, timestamp_ms: int) -> str:
        """The message of a request; of an order's cancel from a template."""
        window_ms, sign = self.settings.window_ms, not self.settings.logged_on
        if kind != kinds.CANCEL or len(request.parameters) != 2:
            return websocket_frame(request, self.number, timestamp_ms, window_ms, self._credentials if sign else None)
        (_, symbol), (_, client_id) = request.parameters
        template = self._cancels.get(symbol)
        if template is None:
            template = self._cancels[symbol] = Template(request, 0, 0, window_ms, self._credentials)
        return template.frame(0, 0, 0, client_id, timestamp_ms, self.number, sign=sign)

    def _template(self, order: Order, leg: Leg, form: Callable[[Order, Leg], NewOrder]) -> Template:
        """What the order's request is written from, made with the first of a kind."""
        key = (order.strategy, order.instrument, order.side, order.kind, order.flags)
        template = self._templates.get(key)
        if template is None:
            terms = form(order, leg)
            rules = terms.instrument
            request = self.dialect.place(terms)
            template = Template(request, rules.qty_scale, rules.price_scale, self.settings.window_ms, self._credentials)
            self._templates[key] = template
            if order.kind in _SHORT_TYPES and order.flags & codes.TIME_IN_FORCE_MASK in _SHORT_IN_FORCE:
                head = self._ids.head(self.settings.epoch, order.strategy).encode()
                closing = order.flags & codes.REDUCE_ONLY != 0
                self.way.learn(*key, template.text, head, request.weight, closing=closing)
        return template
