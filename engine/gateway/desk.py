"""The kernel's requests, one by one: new orders, amends, cancels, as the venue can carry them out.

A request that cannot be sent is refused at once with an own-order row; nothing waits but a cancel. This module must not read answers.
"""

from twinloop.data.binance_orders import SpotRequests, UsdmRequests
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.fills import FillBook
from twinloop.engine.gateway.orders import (
    ASKED,
    CANCEL_THEN_PLACE,
    MODIFY,
    OPEN,
    REDUCE,
    REPLACE,
    Amend,
    Leg,
    Order,
)
from twinloop.engine.gateway.own_rows import OwnOrder, RowFields, fact
from twinloop.engine.gateway.prover import Prover
from twinloop.engine.gateway.sender import Sender
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.tracker import Tracker
from twinloop.kernels import codes, rows


class Desk:
    """Takes outbox rows."""

    def __init__(
        self, settings: GatewaySettings, tracker: Tracker, sender: Sender, book: FillBook, prover: Prover
    ) -> None:
        self.settings = settings
        self.tracker = tracker
        self.sender = sender
        self.book = book
        self.prover = prover

    def take(self, row: RowFields) -> None:
        """One request."""
        if row.kind == rows.NEW:
            self._new(row)
        elif row.kind == rows.AMEND:
            self._amend(row)
        elif row.kind == rows.CANCEL:
            self._cancel(row)

    def withdraw(self, row: RowFields) -> None:
        """One request that is not to be sent any more: refused, as one whose bytes have not left this machine."""
        if row.kind == rows.NEW:
            self._new(row, withdrawn=True)
        elif row.kind == rows.AMEND:
            order = self.tracker.find(row.word_48)
            if order is not None:
                order.amends += 1
            self._answer(rows.AMEND_REJECT, row, codes.REASON_NOT_SENT)

    def _own(self, row: RowFields) -> OwnOrder:
        return OwnOrder(
            row.word_48, row.strategy, self.settings.account, self.settings.source, row.instrument, row.side
        )

    def _answer(self, kind: int, row: RowFields, reason: int) -> None:
        """A refusal of a request that leaves its order as it is."""
        self.tracker.outcome.facts.append(
            fact(kind, self._own(row), 0, self.tracker.now_ns, row.word_32, row.word_40, reason)
        )

    # New orders.

    def order_of(self, row: RowFields, epoch: int) -> Order:
        """The order that a NEW row asks for, with its first leg. Journals are read with it too."""
        client_id = self.book.ids.make(epoch, row.strategy, row.word_48)
        return Order(
            order_id=row.word_48,
            epoch=epoch,
            strategy=row.strategy,
            account=self.settings.account,
            source=self.settings.source,
            instrument=row.instrument,
            side=row.side,
            kind=row.source,
            flags=row.flags,
            qty=row.word_40,
            price=row.word_32,
            trigger_price=row.word_56,
            expire_ns=row.venue_ns,
            legs=[Leg(number=0, client_id=client_id, qty=row.word_40, price=row.word_32)],
        )

    def _unsupported(self, order: Order) -> int:
        """Why this venue cannot take the order, or 0."""
        in_force = order.flags & codes.TIME_IN_FORCE_MASK
        if order.instrument not in self.settings.instruments:
            return codes.REASON_NO_INSTRUMENT
        if self.book.seen[order.instrument].full:
            return codes.REASON_GATEWAY_FULL
        if order.kind > codes.STOP_LIMIT or in_force > codes.GTD or order.side == 0:
            return codes.REASON_UNSUPPORTED
        if in_force >= codes.DAY and order.expire_ns <= 0:
            return codes.REASON_UNSUPPORTED  # No end is known: the venue would keep it for ever.
        if order.flags & codes.POST_ONLY and order.kind != codes.LIMIT:
            return codes.REASON_UNSUPPORTED
        if order.flags & codes.REDUCE_ONLY and self.prover.is_spot() and order.side > 0:
            return codes.REASON_UNSUPPORTED  # A spot balance is never short; a sale never exceeds it.
        return 0

    def _new(self, row: RowFields, *, withdrawn: bool = False) -> None:
        if row.word_48 <= self.book.high_water:
            # Never under a new id, never twice under the old one.
            self.tracker.outcome.alerts.append(
                alert("DUPLICATE_REQUEST", order_id=row.word_48, instrument=row.instrument)
            )
            return
        self.book.high_water = row.word_48
        order = self.order_of(row, self.settings.epoch)
        self.tracker.add(order)
        leg = order.legs[0]
        refused = codes.REASON_NOT_SENT if withdrawn else self._unsupported(order)
        if refused:
            self.tracker.refuse(leg, refused)
        else:
            self.prover.place(order, leg)
        if leg.state != ASKED:
            self.tracker.settle(order)

    # Amends.

    def _amend(self, row: RowFields) -> None:
        order = self.tracker.find(row.word_48)
        refused = codes.REASON_UNKNOWN_ORDER
        if order is not None:
            order.amends += 1  # Refused ones too: a journal gives the same numbers again.
            refused = self._amend_refusal(order)
        if order is None or refused:
            self._answer(rows.AMEND_REJECT, row, refused)
            return
        if row.word_40 <= order.filled:
            # Nothing would be left: as the venues have it, that is a cancel.
            order.cancel_wanted = order.shrunk = True
            self.prover.work(order)
            return
        live = [leg for leg in order.legs if leg.state in OPEN][-1]
        if isinstance(self.sender.dialect, UsdmRequests):
            self._modify(self.sender.dialect, order, live, row)
        else:
            self._amend_spot(self.sender.dialect, order, live, row)
        self.tracker.settle(order)
        self.prover.work(order)

    def _amend_refusal(self, order: Order) -> int:
        if order.ended or order.cancel_wanted or not any(leg.state in OPEN for leg in order.legs):
            return codes.REASON_UNKNOWN_ORDER
        if order.amend is not None:
            return codes.REASON_AMEND_PENDING
        if order.kind not in {codes.LIMIT, codes.STOP_LIMIT} or order.legs[-1].in_service:
            return codes.REASON_UNSUPPORTED
        return 0

    def _modify(self, dialect: UsdmRequests, order: Order, live: Leg, row: RowFields) -> None:
        rules = self.settings.instruments[order.instrument]
        qty = row.word_40 - order.filled_elsewhere(live)
        request = dialect.amend(rules, live.client_id, order.side, qty, row.word_32)
        order.amend = Amend(order.amends, MODIFY, row.word_40, row.word_32, live.number)
        self._sent(order, self.sender.send_for(kinds.AMEND, request, order, live, amend=order.amends))

    def _amend_spot(self, dialect: SpotRequests, order: Order, live: Leg, row: RowFields) -> None:
        rules = self.settings.instruments[order.instrument]
        if row.word_32 == order.price and row.word_40 < order.qty:
            qty = row.word_40 - order.filled_elsewhere(live)
            order.amend = Amend(order.amends, REDUCE, row.word_40, row.word_32, live.number)
            request = dialect.reduce(rules, live.client_id, qty)
            self._sent(order, self.sender.send_for(kinds.AMEND, request, order, live, amend=order.amends))
        elif order.filled == 0 and live.executed == 0:
            order.amend = Amend(order.amends, REPLACE, row.word_40, row.word_32, order.amends)
            leg = self.prover.new_leg(order, order.amends, row.word_40, row.word_32)
            request = dialect.replace(live.client_id, self.prover.new_order(order, leg))
            refused = self.sender.send_for(kinds.REPLACE, request, order, leg, amend=order.amends)
            if refused:
                self.tracker.refuse(leg, refused)
            else:
                leg.asked_mono_ns = self.sender.mono_ns
            self._sent(order, refused)
        else:
            # Filled in part: one request for both legs could fill more than was asked for. The old one goes first.
            order.amend = Amend(order.amends, CANCEL_THEN_PLACE, row.word_40, row.word_32, order.amends, waiting=True)

    def _sent(self, order: Order, refused: int) -> None:
        if refused:
            self.tracker.amend_refused(order, refused)
        elif order.amend is not None:
            order.amend.sent_mono_ns = max(self.sender.mono_ns, 1)
            order.amend.answer_due_mono_ns = self.sender.mono_ns + self.settings.order_timeout_ns

    # Cancels.

    def _cancel(self, row: RowFields) -> None:
        order = self.tracker.find(row.word_48)
        if order is None or order.ended:
            self._answer(rows.CANCEL_REJECT, row, codes.REASON_UNKNOWN_ORDER)
            return
        order.cancel_wanted = True
        order.cancel_asked = True
        self.prover.work(order)
