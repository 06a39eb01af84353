"""Asking until it is proven: queries of what is in doubt, cancels until the venue says ended, the second leg of an amend.

`work` does for one order what is due now; it is called after every piece of evidence and at every tick. A leg that was asked for and never
spoken of is absent only when a query and the list of open orders, both sent after the venue's horizon, do not know it. Anything else that
fails is asked again, with waits that grow to a bound. This module must not read answers.
"""

from typing import Final

from twinloop.data.binance_orders import NewOrder, Request, Requests, SpotRequests, UsdmRequests
from twinloop.data.binance_reports import CANCELLED
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.gateway.fills import MS_NS, FillBook
from twinloop.engine.gateway.orders import ASKED, OPEN, Leg, Order
from twinloop.engine.gateway.sender import Sender
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.sweep import SweepSchedule
from twinloop.engine.gateway.tracker import Tracker
from twinloop.kernels import codes

_STOPS: Final = frozenset({codes.STOP, codes.STOP_LIMIT})
GOOD_TILL_MIN_NS: Final = (
    660_000_000_000  # The venue ends an order no sooner than 600 s from now; a minute for the way.
)


class Prover:
    """Requests that follow from the state of orders."""

    def __init__(
        self,
        settings: GatewaySettings,
        ids: ClientIds,
        tracker: Tracker,
        sender: Sender,
        book: FillBook,
        trades: SweepSchedule,
        lists: SweepSchedule,
    ) -> None:
        self.settings = settings
        self.ids = ids
        self.tracker = tracker
        self.sender = sender
        self.book = book
        self.trades = trades
        self.lists = lists

    @property
    def _dialect(self) -> Requests:
        return self.sender.dialect

    def _symbol(self, order: Order) -> str:
        return self.settings.instruments[order.instrument].symbol

    # Placing.

    def new_order(self, order: Order, leg: Leg) -> NewOrder:
        """The venue's form of a leg. A good-till-date that the venue cannot hold is held here."""
        flags = order.flags
        in_force = flags & codes.TIME_IN_FORCE_MASK
        good_till_ms = 0
        if in_force == codes.GTD and order.expire_ns - self.sender.venue_ns > GOOD_TILL_MIN_NS:
            good_till_ms = order.expire_ns // (1000 * MS_NS) * 1000  # Whole seconds, as the venue has it.
        return NewOrder(
            self.settings.instruments[order.instrument],
            leg.client_id,
            order.side,
            order.kind,
            in_force,
            post_only=flags & codes.POST_ONLY != 0,
            reduce_only=flags & codes.REDUCE_ONLY != 0,
            qty=leg.qty,
            price=leg.price,
            trigger_price=order.trigger_price,
            good_till_ms=good_till_ms,
        )

    def place(self, order: Order, leg: Leg) -> None:
        """Send a leg; what may not be sent is refused at once."""
        leg.in_service = order.kind in _STOPS and self._dialect.market == "usdm"
        refused = self.send_place(order, leg)
        if refused:
            self.tracker.refuse(leg, refused)
            return
        leg.asked_mono_ns = leg.asked_mono_ns or self.sender.mono_ns
        leg.answer_due_mono_ns = self.sender.mono_ns + self.settings.order_timeout_ns

    def send_place(self, order: Order, leg: Leg) -> int:
        """Send the request for a leg: 0, or why it may not go."""
        if order.flags & codes.TIME_IN_FORCE_MASK != codes.GTD:
            return self.sender.send_new(order, leg, self.new_order)
        return self.sender.send_for(kinds.PLACE, self._dialect.place(self.new_order(order, leg)), order, leg)

    def new_leg(self, order: Order, number: int, qty: int, price: int) -> Leg:
        """A further leg of an order."""
        client_id = self.ids.make(order.epoch, order.strategy, order.order_id, number)
        leg = Leg(number=number, client_id=client_id, qty=qty, price=price)
        order.legs.append(leg)
        return leg

    # What is due.

    def work(self, order: Order) -> None:
        """Send what the order's state asks for now."""
        if order.amend is not None and order.amend.waiting:
            self._advance_amend(order)
        for leg in order.legs:
            if leg.state in OPEN:
                if self._cancel_wanted(order, leg):
                    self._cancel(order, leg)
                if leg.in_doubt or (order.amend is not None and order.amend.in_doubt):
                    self._query(order, leg)
        self._chase_fills(order)

    def cancel_now(self, order: Order) -> None:
        """Send the cancels that an order's state asks for, however soon after one that could not leave."""
        for leg in order.legs:
            if leg.state in OPEN and self._cancel_wanted(order, leg):
                leg.cancel_due_mono_ns = 0
                self._cancel(order, leg)

    def _cancel_wanted(self, order: Order, leg: Leg) -> bool:
        amend = order.amend
        return order.cancel_wanted or (amend is not None and amend.waiting and leg.number != amend.leg)

    def _chase_fills(self, order: Order) -> None:
        """Sweep the trades when the venue speaks of fills that no stream has brought within the grace."""
        mono_ns = self.sender.mono_ns
        if not order.missing:
            order.missing_since_mono_ns = 0
        elif order.missing_since_mono_ns == 0:
            order.missing_since_mono_ns = max(mono_ns, 1)
        elif mono_ns - order.missing_since_mono_ns >= self.settings.fill_grace_ns:
            order.missing_since_mono_ns = mono_ns
            self.trades.urge(order.instrument)

    def _wait_ns(self, first_ns: int, most_ns: int, tries: int) -> int:
        return min(first_ns << min(tries, 16), most_ns)

    def _cancel(self, order: Order, leg: Leg) -> None:
        mono_ns, settings = self.sender.mono_ns, self.settings
        if leg.cancel_sent_mono_ns and mono_ns - leg.cancel_sent_mono_ns <= 2 * settings.order_timeout_ns:
            return
        if mono_ns < leg.cancel_due_mono_ns:
            return
        request: Request
        if leg.in_service and isinstance(self._dialect, UsdmRequests):
            request = self._dialect.cancel_stop(leg.client_id)
        else:
            request = self._dialect.cancel(self._symbol(order), leg.client_id)
        refused = self.sender.send_for(kinds.CANCEL, request, order, leg, is_cancel=True)
        wait_ns = self._wait_ns(settings.cancel_interval_ns, settings.cancel_interval_max_ns, leg.cancels)
        leg.cancel_due_mono_ns = mono_ns + wait_ns
        if not refused:
            leg.cancel_sent_mono_ns = max(mono_ns, 1)
            leg.cancels += 1

    def _query(self, order: Order, leg: Leg) -> None:
        mono_ns, settings = self.sender.mono_ns, self.settings
        if leg.query_sent_mono_ns and mono_ns - leg.query_sent_mono_ns <= 2 * settings.query_timeout_ns:
            return
        if mono_ns < leg.query_due_mono_ns:
            return
        if leg.asked_mono_ns == 0:
            leg.asked_mono_ns = mono_ns  # Of a former process: a full horizon from now.
        request: Request
        if leg.in_service and isinstance(self._dialect, UsdmRequests):
            request = self._dialect.query_stop(leg.client_id)
        elif leg.venue_id:
            request = self._dialect.query(self._symbol(order), venue_id=leg.venue_id)
        else:
            request = self._dialect.query(self._symbol(order), client_id=leg.client_id)
        refused = self.sender.send_for(kinds.QUERY, request, order, leg)
        wait_ns = self._wait_ns(settings.query_interval_ns, settings.query_interval_max_ns, leg.queries)
        leg.query_due_mono_ns = mono_ns + wait_ns
        decides_ns = leg.asked_mono_ns + settings.horizon_ns
        if mono_ns < decides_ns:  # The first question that can prove an absence is asked as soon as it can.
            leg.query_due_mono_ns = min(leg.query_due_mono_ns, decides_ns)
        if not refused:
            leg.query_sent_mono_ns = max(mono_ns, 1)
            leg.queries += 1

    def past_horizon(self, leg: Leg, sent_mono_ns: int) -> bool:
        """Whether a question sent then may prove that a leg never arrived."""
        return leg.asked_mono_ns > 0 and sent_mono_ns - leg.asked_mono_ns >= self.settings.horizon_ns

    def not_found(self, order: Order, leg: Leg, sent_mono_ns: int) -> None:
        """The venue does not know a leg by its id. Counts only after the horizon; the list of open orders is the second source."""
        if leg.state != ASKED or not self.past_horizon(leg, sent_mono_ns):
            return
        leg.absent_by_query = True
        self._weigh_absence(order, leg)
        if not leg.absent_by_list:
            self.lists.urge(order.instrument)
            self.trades.urge(order.instrument)

    def not_listed(self, order: Order, leg: Leg, sent_mono_ns: int) -> None:
        """A leg is not among the open orders: the second source on absence, and a reason to query a live one."""
        if leg.state == ASKED:
            if self.past_horizon(leg, sent_mono_ns):
                leg.absent_by_list = True
                self._weigh_absence(order, leg)
        elif leg.state in OPEN:
            leg.in_doubt = True

    def _weigh_absence(self, order: Order, leg: Leg) -> None:
        orphans = any(instrument == order.instrument for instrument, _ in self.book.orphans)
        if leg.absent_by_query and leg.absent_by_list and not orphans:
            self.tracker.prove_absent(order, leg)

    def _advance_amend(self, order: Order) -> None:
        """Place the new leg once the old one is proven ended and its fills are known."""
        amend = order.amend
        if amend is None or order.missing or any(leg.state in OPEN for leg in order.legs):
            return
        remaining = amend.qty - order.filled
        if order.cancel_wanted or order.legs[-1].state != CANCELLED or remaining <= 0:
            self.tracker.amend_refused(order, codes.REASON_UNSOLICITED if remaining > 0 else codes.REASON_UNKNOWN_ORDER)
            self.tracker.settle(order)
            return
        amend.waiting = False
        leg = self.new_leg(order, amend.leg, remaining, amend.price)
        self.place(order, leg)
        self.tracker.settle(order)

    def is_spot(self) -> bool:
        """Whether amends are those of the spot dialect."""
        return isinstance(self._dialect, SpotRequests)
