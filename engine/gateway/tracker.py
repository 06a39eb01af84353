"""The state of every order by proof: what the venue is known to have said, in whatever order, twice or late.

Evidence only adds: a leg goes from asked to live to ended, a fill is booked once, and an end is told to the kernel only when every leg has
ended and every fill that the venue speaks of is booked. So the last state does not depend on the order of arrival. Rows for the kernel
and alerts go to the outcome at hand; what has to be asked of the venue is the gateway's business. This module must not send, sign, or
read a clock.
"""

from collections import OrderedDict
from typing import Final

from twinloop.data.binance_reports import EXPIRED, FILLED, LIVE, REJECTED, OrderReport
from twinloop.engine.gateway import reasons
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.orders import ABSENT, ASKED, NEVER_PLACED, OPEN, REDUCE, Amend, Leg, Order
from twinloop.engine.gateway.outcome import Outcome
from twinloop.engine.gateway.own_rows import fact, fill
from twinloop.kernels import codes, rows

ENDED_MAX: Final = 4096  # Ended orders that are remembered, for facts that come late.


class Terms:
    """A fill in the instrument's scales."""

    __slots__ = ("currency", "executed", "fee", "maker", "price", "qty", "trade_id", "venue_ns")

    def __init__(
        self,
        trade_id: int,
        price: int,
        qty: int,
        fee: int,
        currency: int,
        executed: int,
        venue_ns: int,
        *,
        maker: bool,
    ) -> None:
        self.trade_id = trade_id
        self.price = price
        self.qty = qty
        self.fee = fee
        self.currency = currency
        self.executed = executed
        self.venue_ns = venue_ns
        self.maker = maker


class Tracker:
    """Orders that are open, and the last ENDED_MAX that are not."""

    def __init__(self) -> None:
        self.open: dict[int, Order] = {}
        self.ended: OrderedDict[int, Order] = OrderedDict()
        self.by_venue_id: dict[tuple[int, int], tuple[int, int]] = {}  # (instrument, venue id) -> (order id, leg)
        self.now_ns = 0  # Local time of the facts being made.
        self.outcome = Outcome()

    def begin(self, now_ns: int, outcome: Outcome) -> None:
        """Facts from here on carry this local time and go to this outcome."""
        self.now_ns = now_ns
        self.outcome = outcome

    def find(self, order_id: int) -> Order | None:
        """An order that is remembered."""
        return self.open.get(order_id) or self.ended.get(order_id)

    def add(self, order: Order) -> None:
        """Remember a new order."""
        self.open[order.order_id] = order

    def _tell(self, kind: int, order: Order, code: int = 0, *, venue_ns: int = 0, qty: int | None = None) -> None:
        leaves = max(order.qty - order.filled, 0) if qty is None else qty
        self.outcome.facts.append(fact(kind, order.own, venue_ns, self.now_ns, order.price, leaves, code))

    def _alert(self, name: str, order: Order, value: int = 0, detail: str = "") -> None:
        self.outcome.alerts.append(
            alert(name, order_id=order.order_id, instrument=order.instrument, value=value, detail=detail)
        )

    def know_venue_id(self, order: Order, leg: Leg, venue_id: int) -> None:
        """The venue's id of a leg."""
        if venue_id:
            leg.venue_id = venue_id
            self.by_venue_id[order.instrument, venue_id] = (order.order_id, leg.number)

    # What the venue says.

    def take_report(self, order: Order, leg: Leg, report: OrderReport, executed: int) -> None:
        """Where a leg stands, from any source. executed: the report's, scaled. Proves that the leg arrived."""
        if not report.stop:
            self.know_venue_id(order, leg, report.venue_id)
        state = report.status
        if leg.state in NEVER_PLACED and state != REJECTED:
            self._appeared(order, leg)
        leg.executed = max(leg.executed, executed)
        leg.in_doubt = False
        leg.placed = leg.placed or state != REJECTED
        if leg.state in OPEN:
            leg.state = state
            if state == EXPIRED:
                leg.reason = reasons.expiry(order.kind, order.flags, report.reason)
            elif state == REJECTED:
                leg.reason = reasons.refusal(0, report.reason)

    def _appeared(self, order: Order, leg: Leg) -> None:
        """A leg that was taken for refused or absent is at the venue after all."""
        leg.state = LIVE
        leg.reason = 0
        self._alert("LATE_APPEARANCE", order, leg.number)
        order.cancel_wanted = True
        if order.order_id in self.ended:
            self.open[order.order_id] = self.ended.pop(order.order_id)

    def refuse(self, leg: Leg, reason: int) -> None:
        """The request that would have placed a leg was definitely not executed."""
        leg.answer_due_mono_ns = 0
        if leg.state == ASKED and leg.filled == 0 and not leg.placed:
            leg.state = REJECTED
            leg.reason = reason
            leg.in_doubt = False

    def doubt(self, order: Order, leg: Leg, code: int) -> None:
        """A request for a leg has no answer that proves anything; what was proven before stays so."""
        if leg.state not in OPEN:
            return
        leg.in_doubt = True
        leg.query_due_mono_ns = 0
        self._alert("REQUEST_UNPROVEN", order, code)
        self.unknown(order)

    def unknown(self, order: Order) -> None:
        """Tell the kernel once that nothing is known."""
        if not order.ended and not order.unknown:
            order.unknown = True
            self._tell(rows.UNKNOWN, order)

    def prove_absent(self, order: Order, leg: Leg) -> None:
        """Two sources, asked after the venue's horizon, do not know a leg that the venue never spoke of."""
        if leg.state != ASKED or leg.placed or leg.filled:
            return
        leg.state = ABSENT
        leg.reason = codes.REASON_ABSENT
        leg.in_doubt = False
        self._alert("PROVEN_ABSENT", order, leg.number)

    def take_fill(self, order: Order, leg: Leg, terms: Terms) -> None:
        """Book a fill that has not been booked, in whatever state its order is."""
        if leg.state in NEVER_PLACED:
            self._appeared(order, leg)
        if order.ended and order.ended != rows.FILL:
            self._alert("FILL_AFTER_END", order, terms.qty)
        elif leg.state == ASKED and not order.acknowledged:
            self._alert("FILL_BEFORE_ACK", order, terms.qty)
        leg.placed = True
        if leg.state == ASKED:
            leg.state = LIVE
            leg.in_doubt = False
        leg.filled += terms.qty
        leg.executed = max(leg.executed, terms.executed)
        order.filled += terms.qty
        most = order.qty if order.amend is None else max(order.qty, order.amend.qty)
        if order.filled > most:
            self._alert("OVERFILL", order, order.filled - most)
        self.outcome.facts.append(
            fill(
                order.own,
                terms.venue_ns,
                self.now_ns,
                price=terms.price,
                qty=terms.qty,
                fee=terms.fee,
                fee_currency=terms.currency,
                trade_id=terms.trade_id,
                leaves=max(order.qty - order.filled, 0),
                maker=terms.maker,
            )
        )
        changing = order.amend is not None and order.amend.leg == leg.number
        if leg.state == LIVE and leg.filled >= leg.qty and not changing:
            leg.state = FILLED
            leg.executed = max(leg.executed, leg.filled)

    # What it comes to.

    def amended(self, order: Order, leg: Leg, qty: int, price: int, venue_ns: int) -> None:
        """The venue says that a leg now has this total quantity and price."""
        amend = order.amend
        target = (qty + order.filled_elsewhere(leg), price)
        ours = amend is not None and amend.leg == leg.number and target == (amend.qty, amend.price)
        if not ours and ((qty, price) == (leg.qty, leg.price) or venue_ns <= leg.amended_ns):
            return  # An echo, or told again after a later one.
        if not ours and leg.state not in OPEN and _is_replaced(order, leg):
            return  # What came of it is told by its fills: the order is what its present leg is.
        leg.qty, leg.price = qty, price
        leg.amended_ns = max(leg.amended_ns, venue_ns)
        if ours:
            order.amend = None
        else:
            self._alert("UNSOLICITED_AMEND", order, qty)
        if order.ended:
            return
        # Legs that ended before keep what they filled; the order is as large as those and the present leg.
        order.qty = qty + order.filled_elsewhere(leg)
        order.price = price
        code = 0 if ours else codes.REASON_UNSOLICITED
        self._tell(rows.AMENDED, order, code, venue_ns=venue_ns, qty=order.qty)
        if leg.state == LIVE and leg.filled >= leg.qty:
            leg.state = FILLED

    def amend_refused(self, order: Order, reason: int) -> None:
        """The amend under way changed nothing."""
        if order.amend is None:
            return
        order.amend = None
        if not order.ended:
            self._tell(rows.AMEND_REJECT, order, reason)

    def cancel_refused(self, order: Order, reason: int) -> None:
        """Answer the kernel's cancel, or the amend that became one: it did not do what was asked."""
        if order.shrunk:
            order.shrunk = False
            self._tell(rows.AMEND_REJECT, order, reason)
        if order.cancel_asked:
            order.cancel_asked = False
            self._tell(rows.CANCEL_REJECT, order, reason)

    def _settle_replacement(self, order: Order, amend: Amend) -> None:
        """An amend by a second leg is done when that leg is proven placed or refused."""
        if amend.waiting:
            return
        leg = order.legs[-1]
        if leg.number != amend.leg or leg.state == ASKED:
            return
        if leg.state in NEVER_PLACED:
            self.amend_refused(order, leg.reason)
            return
        if any(other.state in OPEN for other in order.legs[:-1]):
            return  # Both count until the old one is proven ended.
        order.amend = None
        order.qty, order.price = amend.qty, amend.price
        if not order.ended:
            self._tell(rows.AMENDED, order, qty=order.qty)

    def settle(self, order: Order, venue_ns: int = 0) -> None:
        """Tell the kernel what the present evidence comes to. Called after every piece of it."""
        amend = order.amend
        if amend is not None and amend.how > REDUCE:
            self._settle_replacement(order, amend)
        if not order.ended:
            if order.filled >= order.qty and order.amend is None:
                self.cancel_refused(order, codes.REASON_UNKNOWN_ORDER)
                order.ended = rows.FILL  # The kernel knows by the fills.
            elif any(leg.state == LIVE and not leg.in_doubt for leg in order.legs):
                self._acknowledge(order, venue_ns)
            if not order.ended and not order.open:
                self._end(order, venue_ns)
            elif not order.ended and order.amend is not None and self._only_amend_is_open(order):
                # Nothing is left that an in-place amend could change.
                self.amend_refused(order, codes.REASON_UNKNOWN_ORDER)
                self.settle(order, venue_ns)
                return
        if order.ended and not order.open:
            self._file(order)

    def _only_amend_is_open(self, order: Order) -> bool:
        amend = order.amend
        if amend is None or amend.how > REDUCE:
            return False
        return not order.missing and not any(leg.state in OPEN for leg in order.legs)

    def _acknowledge(self, order: Order, venue_ns: int) -> None:
        if order.unknown or not order.acknowledged:
            # A fill before it has said as much; the kernel needs it only to leave UNKNOWN.
            if order.unknown or order.filled == 0:
                self._tell(rows.ACK, order, venue_ns=venue_ns)
            order.acknowledged = True
            order.unknown = False

    def _end(self, order: Order, venue_ns: int) -> None:
        placed = [leg for leg in order.legs if leg.state not in NEVER_PLACED]
        leg = placed[-1] if placed else order.legs[0]
        kind, code = rows.CANCELLED, codes.REASON_UNSOLICITED
        if leg.state == EXPIRED:
            kind, code = rows.EXPIRED, leg.reason
        elif leg.state in NEVER_PLACED:
            kind, code = rows.REJECT, leg.reason
        elif order.expired:
            kind, code = rows.EXPIRED, codes.REASON_TIME
        elif order.cancel_wanted:
            code = codes.REASON_REQUESTED
        elif leg is not order.legs[-1]:
            code = codes.REASON_AMEND_LOST
        else:
            self._alert("UNSOLICITED_CANCEL", order)
        if kind != rows.CANCELLED or not order.cancel_wanted:
            self.cancel_refused(order, codes.REASON_UNKNOWN_ORDER)
        order.cancel_asked = order.shrunk = False
        order.ended = kind
        self._tell(kind, order, code, venue_ns=venue_ns)

    def _file(self, order: Order) -> None:
        """Move an order that has nothing left to happen among the ended ones; the oldest of those is forgotten."""
        self.open.pop(order.order_id, None)
        self.ended[order.order_id] = order
        self.ended.move_to_end(order.order_id)
        while len(self.ended) > ENDED_MAX:
            _, oldest = self.ended.popitem(last=False)
            for leg in oldest.legs:
                self.by_venue_id.pop((oldest.instrument, leg.venue_id), None)


def _is_replaced(order: Order, leg: Leg) -> bool:
    """Whether a later leg stands for the order, as far as is known."""
    return any(other.number > leg.number and other.state not in NEVER_PLACED for other in order.legs)


def leg_of(order: Order, number: int) -> Leg | None:
    """A leg by its number."""
    for leg in order.legs:
        if leg.number == number:
            return leg
    return None
