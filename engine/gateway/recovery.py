"""A gateway's state as plain data, and again from a journal.

A snapshot holds the orders that are remembered, the booked trades, the bans. A journal holds what was decided (NEW, AMEND, CANCEL), what
was handed to the socket (SENT, NOT_SENT) and what the kernel was told (own-order rows): enough to know every order that may be at the
venue, and every trade that is booked. Whatever may still be open is in doubt after either, and is asked about before anything is proven.
This module must not send anything.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twinloop.data.binance_reports import CANCELLED, EXPIRED, FILLED, LIVE, REJECTED, FillReport
from twinloop.data.errors import DataError
from twinloop.data.rowfile import Rows
from twinloop.engine.gateway.orders import MODIFY, OPEN, REDUCE, REPLACE, Amend, Order, from_plain, to_plain
from twinloop.engine.gateway.outcome import MAY_FILL
from twinloop.engine.gateway.own_rows import RowFields, read_rows
from twinloop.engine.gateway.sweep import SeenTrades
from twinloop.kernels import codes
from twinloop.kernels import rows as kinds
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_TAIL

if TYPE_CHECKING:
    from twinloop.engine.gateway.desk import Desk
    from twinloop.engine.gateway.gateway import Gateway

FORMAT: Final = 2


def snapshot(gateway: "Gateway") -> dict[str, Any]:
    """Plain data of a gateway: dictionaries, lists, numbers, text. No key, no signature."""
    book, tracker = gateway.book, gateway.tracker
    return {
        "format": FORMAT,
        "market": gateway.settings.market,
        "account": gateway.settings.account,
        "epoch": gateway.settings.epoch,
        "high_water": book.high_water,
        "open": [to_plain(order) for order in tracker.open.values()],
        "ended": [to_plain(order) for order in tracker.ended.values()],
        "seen": [[slot, seen.to_plain()] for slot, seen in book.seen.items()],
        "foreign": [[slot, venue_id, client_id] for (slot, venue_id), client_id in book.foreign.items()],
        "orphans": [
            [slot, venue_id, [list(report) for report in kept.values()]]
            for (slot, venue_id), kept in book.orphans.items()
        ],
        "strangers": gateway.strangers.to_plain(),
        "funding": gateway.funding.to_plain(),
        "weight": gateway.weight.to_plain(),
    }


def restore(gateway: "Gateway", plain: Mapping[str, Any]) -> None:
    """Take over a snapshot of the same market and account. Raises DataError for another's or another format's."""
    for field, expected in (
        ("format", FORMAT),
        ("market", gateway.settings.market),
        ("account", gateway.settings.account),
    ):
        if plain.get(field) != expected:
            raise DataError("not a snapshot of this gateway", field=field, expected=expected, got=str(plain.get(field)))
    book, tracker = gateway.book, gateway.tracker
    book.high_water = max(book.high_water, int(plain["high_water"]))
    for group, orders in (("open", tracker.open), ("ended", tracker.ended)):
        for each in plain[group]:
            order = from_plain(each)
            orders[order.order_id] = order
            for leg in order.legs:
                if not leg.in_service:
                    tracker.know_venue_id(order, leg, leg.venue_id)
    for slot, seen in plain["seen"]:
        if int(slot) in book.seen:
            book.seen[int(slot)] = SeenTrades.from_plain(seen)
    for slot, venue_id, client_id in plain["foreign"]:
        book.foreign[int(slot), int(venue_id)] = str(client_id)
    for slot, venue_id, reports in plain["orphans"]:
        kept = [_report(report) for report in reports]
        book.orphans[int(slot), int(venue_id)] = {report.trade_id: report for report in kept}
    for slot, bought, sold in plain["strangers"]:
        gateway.strangers.kernel_knows(int(slot), (int(bought), int(sold)))
    gateway.funding.from_plain(plain["funding"])
    gateway.weight.from_plain(plain["weight"])


def _report(fields: list[Any]) -> FillReport:
    return FillReport._make(fields)


def rebuild(gateway: "Gateway", desk: "Desk", segments: Sequence[tuple[int, Rows]]) -> None:
    """Take over journal rows in order, as (epoch they were written in, rows): from the start, or from a restored snapshot on.

    An order without SENT may be at the venue or not: it is in doubt, as is every open one, and the outcome says so to the kernel. One that
    has filled wholly is not: it has ended. One with NOT_SENT alone is refused. Fills are booked from their rows and not told again.
    """
    journal = _Journal(gateway, desk)
    for epoch, array in segments:
        journal.epoch = epoch
        for row in read_rows(array):
            journal.take(row)
    journal.finish()


OF_ORDERS: Final = frozenset(
    {
        kinds.AMEND, kinds.CANCEL, kinds.SENT, kinds.NOT_SENT, kinds.ACK, kinds.REJECT, kinds.CANCELLED, kinds.EXPIRED,
        kinds.AMENDED, kinds.UNKNOWN, kinds.CANCEL_REJECT, kinds.AMEND_REJECT,
    }
)  # fmt: skip
ENDS: Final = {kinds.CANCELLED: CANCELLED, kinds.EXPIRED: EXPIRED, kinds.REJECT: REJECTED}


class _Journal:
    """Journal rows as the same state that was there when they were written, as far as rows tell it."""

    def __init__(self, gateway: "Gateway", desk: "Desk") -> None:
        self.book, self.tracker, self.desk = gateway.book, gateway.tracker, desk
        self.strangers = gateway.strangers
        self.funding = gateway.funding
        self.epoch = 0
        self.head: RowFields | None = None
        self.touched: dict[int, Order] = {}
        self.sent: set[int] = set()
        self.not_sent: set[int] = set()
        self.unanswered: Counter[int] = Counter()  # Amends by order.
        # Of each order, (number, row) of those among them that came while another was under way: the desk refused them, whose answers are to
        # come, or they waited for the disk and leave behind the other's answer.
        self.behind: defaultdict[int, list[tuple[int, RowFields]]] = defaultdict(list)

    def take(self, row: RowFields) -> None:
        """One row; others' kinds mean nothing here."""
        if row.kind == kinds.NEW:
            self._new(row)
        elif row.kind == kinds.FILL:
            if row.flags & FLAG_CONTINUES:
                self.head = row
            elif row.flags & FLAG_TAIL and self.head is not None:
                self._fill(self.head, row)
                self.head = None
        elif row.kind == kinds.SWEPT and row.instrument in self.book.seen:
            self.book.seen[row.instrument].begin_at(row.word_48)
        elif row.kind == kinds.FEE_CHANGED:
            self._fee(row)
        elif row.kind == kinds.FUNDING_PAID:
            self.funding.is_booked(row.instrument, row.word_48, row.venue_ns)
        elif row.kind == kinds.EXTERNAL_WORKING:
            self.strangers.kernel_knows(row.instrument, (row.word_32, row.word_40))
        elif row.kind in OF_ORDERS:
            order = self._order(row.word_48)
            if order is not None:
                self._fact(order, row)

    def _order(self, order_id: int) -> Order | None:
        order = self.tracker.find(order_id)
        if order is not None and self.touched.get(order_id) is not order:
            self.touched[order_id] = order
            self.unanswered[order_id] = (order.amend is not None) + order.shrunk  # As a snapshot has it.
        return order

    def _new(self, row: RowFields) -> None:
        self.book.high_water = max(self.book.high_water, row.word_48)
        if row.instrument not in self.book.seen:
            return
        order = self.desk.order_of(row, self.epoch)
        self.tracker.ended.pop(order.order_id, None)
        self.tracker.add(order)
        self.touched[order.order_id] = order

    def _fill(self, head: RowFields, tail: RowFields) -> None:
        seen = self.book.seen.get(head.instrument)
        if seen is not None and seen.judge(tail.word_48, (head.word_32, head.word_40, head.word_56)) == 0:
            seen.book(tail.word_48, (head.word_32, head.word_40, head.word_56))
            order = self._order(head.word_48)
            if order is not None:
                order.filled += head.word_40
                order.acknowledged = True
                if len(order.legs) == 1:
                    order.legs[0].filled += head.word_40  # Of several legs a row does not say which.

    def _fee(self, row: RowFields) -> None:
        seen = self.book.seen.get(row.instrument)
        known = seen.known(row.word_48) if seen is not None else None
        if seen is not None and known is not None:
            seen.book(row.word_48, (known[0], known[1], known[2] + row.word_56))

    def _fact(self, order: Order, row: RowFields) -> None:
        if row.kind == kinds.AMEND:
            self._amend(order, row)
        elif row.kind == kinds.CANCEL:
            order.cancel_wanted = order.cancel_asked = True
        elif row.kind == kinds.SENT:
            self.sent.add(order.order_id)
            if row.word_56 in MAY_FILL and order.amend is None and self.behind[order.order_id]:
                self._begin_amend(order, *self.behind[order.order_id].pop(0))
        elif row.kind == kinds.NOT_SENT:
            self.not_sent.add(order.order_id)
        elif row.kind == kinds.ACK:
            order.acknowledged = True
            order.unknown = False
            order.legs[0].placed = True
            if order.legs[0].state in OPEN:
                order.legs[0].state = LIVE
        elif row.kind == kinds.AMENDED:
            self._amended(order, row)
        elif row.kind == kinds.AMEND_REJECT:
            self._amend_refused(order, row)
        elif row.kind == kinds.UNKNOWN:
            order.unknown = True
        elif row.kind == kinds.CANCEL_REJECT:
            order.cancel_asked = False
        elif row.kind in ENDS:
            order.ended = row.kind
            order.amend = None
            for leg in order.legs:
                leg.state = leg.state if leg.state not in OPEN else ENDS[row.kind]
                leg.reason = row.word_56

    def _amend(self, order: Order, row: RowFields) -> None:
        """By the desk's rules. One that turns out to have never been sent is for the venue to say: its leg will be proven absent."""
        order.amends += 1
        self.unanswered[order.order_id] += 1
        if order.amend is not None or order.ended or order.cancel_wanted:
            self.behind[order.order_id].append((order.amends, row))
            return
        self._begin_amend(order, order.amends, row)

    def _begin_amend(self, order: Order, number: int, row: RowFields) -> None:
        if row.word_40 <= order.filled:
            order.cancel_wanted = True
            return
        how, leg = MODIFY, order.legs[-1].number
        if self.desk.prover.is_spot():
            how = REDUCE if row.word_32 == order.price and row.word_40 < order.qty else REPLACE
        if how == REPLACE:
            leg = number
            self.desk.prover.new_leg(order, leg, max(row.word_40 - order.filled, 0), row.word_32)
        order.amend = Amend(number, how, row.word_40, row.word_32, leg, in_doubt=True)

    def _amended(self, order: Order, row: RowFields) -> None:
        order.qty, order.price = row.word_40, row.word_32
        last = order.legs[-1]
        if row.word_56 == codes.REASON_UNSOLICITED:  # Somebody else's: what was asked for here has no answer yet.
            placing = order.amend is not None and order.amend.how == REPLACE
            leg = order.legs[-2] if placing else last
            leg.qty, leg.price = order.qty - order.filled_elsewhere(leg), order.price
            return
        self.unanswered[order.order_id] -= 1
        if order.amend is not None and order.amend.how == REPLACE:
            last.state, last.placed = (
                LIVE,
                True,
            )  # The old one has ended too, but what it filled is for the venue to say.
        else:
            last.qty = order.qty - order.filled_elsewhere(last)
            last.price = order.price
        order.amend = None

    def _amend_refused(self, order: Order, row: RowFields) -> None:
        """Of an amend that the desk refused, as long as one of those has no answer: that says nothing of the one under way."""
        self.unanswered[order.order_id] -= 1
        if self.behind[order.order_id]:
            self.behind[order.order_id].pop(0)
            return
        if order.amend is None or row.word_56 == codes.REASON_AMEND_PENDING:
            return
        if order.amend.how == REPLACE and order.legs[-1].state in OPEN:
            order.legs[-1].state = REJECTED
            order.legs[-1].reason = row.word_56
        order.amend = None

    def finish(self) -> None:
        """What is open is in doubt; what was never sent is refused; what has ended is filed."""
        self.funding.forget()
        for order in self.touched.values():
            never_sent = order.order_id in self.not_sent and order.order_id not in self.sent
            if never_sent and not order.ended and order.filled == 0:
                order.amend = None
                for leg in order.legs:
                    self.tracker.refuse(leg, codes.REASON_NOT_SENT)
            filled = not order.ended and order.amend is None and order.filled >= order.qty
            if filled and len(order.legs) == 1 and order.legs[0].state in OPEN:
                order.legs[
                    0
                ].state = FILLED  # Of several legs the rows do not say which has filled: they are asked about.
            for leg in order.legs:
                leg.in_doubt = leg.state in OPEN
            # The kernel counts amends without an answer: what ends the order answers one that has nothing under way.
            order.shrunk = self.unanswered[order.order_id] > (order.amend is not None)
            if order.open and not order.ended and not never_sent and not order.unknown:
                self.tracker.unknown(order)
            self.tracker.settle(order)
