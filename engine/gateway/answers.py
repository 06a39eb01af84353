"""Answers of the venue to requests, and their absence, as evidence about orders.

Every answer is judged first (data/binance_errors.py): done, refused, held off, banned, or proof of nothing. An answer that does not decode
is proof of nothing. This module must not make a request for an order; it leaves the order in a state from which the prover does.
"""

from collections.abc import Mapping
from typing import Final

from twinloop.data import binance_errors as errors
from twinloop.data.binance_answers import (
    read_account,
    read_amended,
    read_income,
    read_order,
    read_orders,
    read_replaced,
    read_server_time,
    read_stop,
    read_stops,
    read_trades,
)
from twinloop.data.binance_errors import BANNED, DONE, HELD_OFF, REFUSED, UNPROVEN, Judgement
from twinloop.data.binance_orders import TRADES_MAX, UsdmRequests
from twinloop.data.binance_reports import LIVE, AccountReport, FillReport, OrderReport, plain
from twinloop.data.errors import DecodeError
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway import reasons
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.dead_man import DeadMan
from twinloop.engine.gateway.fills import MS_NS, FillBook, scaled
from twinloop.engine.gateway.funding import ACCOUNT, FundingBook
from twinloop.engine.gateway.money_moves import FUNDING_FEE, MoneyMoves
from twinloop.engine.gateway.orders import ASKED, OPEN, REDUCE, Leg, Order
from twinloop.engine.gateway.outcome import Outgoing
from twinloop.engine.gateway.own_rows import OwnOrder, fact
from twinloop.engine.gateway.prover import Prover
from twinloop.engine.gateway.sender import Sender
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.strangers import Stranger, Strangers
from twinloop.engine.gateway.sweep import SweepSchedule
from twinloop.engine.gateway.tracker import Tracker, leg_of
from twinloop.kernels import codes, rows

CLOCK_AGAIN_NS: Final = (
    1_000_000_000  # The venue's clock is asked for again so long after a question that had no answer.
)
RESIGN_NS_MAX: Final = 2_000_000_000  # A request refused for its time is signed anew once, if it is no older than this.


class Answers:
    """Takes what came back for an Outgoing."""

    def __init__(
        self,
        settings: GatewaySettings,
        tracker: Tracker,
        sender: Sender,
        book: FillBook,
        prover: Prover,
        trades: SweepSchedule,
        lists: SweepSchedule,
        dead_man: DeadMan,
        funding: FundingBook,
        money_moves: MoneyMoves,
    ) -> None:
        self.settings = settings
        self.tracker = tracker
        self.sender = sender
        self.book = book
        self.prover = prover
        self.trades = trades
        self.lists = lists
        self.dead_man = dead_man
        self.funding = funding
        self.money_moves = money_moves
        # As the venue last told it whole. None while unknown: from the moment it is asked for, so that no answer is not an answer.
        self.account: AccountReport | None = None
        # Ids of the trades that were asked for again, by instrument; None while unknown.
        self.listed_again: dict[int, list[int] | None] = {}
        self.strangers = Strangers()
        self.clock_wanted = True
        self._clock_not_before_ns = 0
        self.resign: list[Outgoing] = []
        self.bad_messages = 0

    # The way in.

    def take(self, sent: Outgoing, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """An answer. headers: names in any case."""
        lower = {name.lower(): value for name, value in headers.items()}
        venue_ns = self.sender.venue_ns
        self.sender.weight.hears(lower, venue_ns)
        self.sender.orders.hears(lower, venue_ns)
        judgement = errors.judge(self.settings.market, status, lower, body)
        self._heed(sent, judgement)
        two_legs = sent.kind == kinds.REPLACE and judgement.code in {errors.REPLACE_HALF_DONE, errors.REPLACE_FAILED}
        if judgement.kind == DONE or two_legs:
            try:
                self._done(sent, body)
            except DecodeError as error:
                self.bad_messages += 1
                self._alert_bad(sent, error)
                self._route(sent, Judgement(UNPROVEN))
        else:
            self._route(sent, judgement)
        self._follow_up(sent)

    def none(self, sent: Outgoing) -> None:
        """No answer within the deadline, or a connection that broke."""
        self._route(sent, Judgement(UNPROVEN))
        self._follow_up(sent)

    def not_sent(self, sent: Outgoing) -> None:
        """It never left: proof that nothing came of it."""
        self._route(sent, Judgement(REFUSED), codes.REASON_NOT_SENT)
        self._follow_up(sent)

    def overheard(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """An answer to a request that was none of the gateway's: what it says of the venue's limits holds for all of them."""
        lower = {name.lower(): value for name, value in headers.items()}
        self.sender.weight.hears(lower, self.sender.venue_ns)
        judgement = errors.judge(self.settings.market, status, lower, body)
        if judgement.kind in {BANNED, HELD_OFF}:
            self.wait(self._wait_until_ns(judgement), banned=judgement.kind == BANNED)

    def _wait_until_ns(self, judgement: Judgement) -> int:
        return max(self.sender.venue_ns + judgement.wait_ns, judgement.until_ns)

    def _alert_bad(self, sent: Outgoing, error: DecodeError) -> None:
        self.tracker.outcome.alerts.append(
            alert("BAD_MESSAGE", order_id=sent.order_id, instrument=sent.instrument, detail=plain(error.what))
        )

    def wait(self, until_ns: int, *, banned: bool) -> None:
        """The venue wants no request until then."""
        if banned:
            self.sender.weight.ban(until_ns)
        else:
            self.sender.weight.hold_off(until_ns)
        self.tracker.outcome.alerts.append(alert("BANNED" if banned else "HELD_OFF", value=until_ns))

    def _heed(self, sent: Outgoing, judgement: Judgement) -> None:
        """What a judgement means for everybody: hold-offs, bans, keys, clocks."""
        alerts = self.tracker.outcome.alerts
        until_ns = self._wait_until_ns(judgement)
        if judgement.kind == BANNED:
            self.wait(until_ns, banned=True)
        elif judgement.kind == HELD_OFF:
            if judgement.code == errors.TOO_MANY_ORDERS:
                self.sender.orders.fill_up(self.sender.venue_ns)
                alerts.append(alert("RATE_BUDGET", value=judgement.code))
            else:
                self.wait(until_ns, banned=False)
        elif judgement.kind == REFUSED:
            if judgement.code in errors.KEY_REFUSED:
                alerts.append(alert("KEY_REFUSED", value=judgement.code, detail=sent.path))
            elif judgement.code in {errors.TIME_OUTSIDE, errors.TIME_OUTSIDE_ENGINE}:
                self.sender.clock.forget()
                self.clock_wanted = True
                alerts.append(alert("CLOCK", value=judgement.code))

    def clock_due(self, mono_ns: int) -> bool:
        """Whether the venue's clock is wanted, and may be asked for again."""
        return self.clock_wanted and mono_ns >= self._clock_not_before_ns

    def _order(self, sent: Outgoing) -> tuple[Order, Leg] | None:
        order = self.tracker.find(sent.order_id)
        leg = None if order is None else leg_of(order, sent.leg)
        return None if order is None or leg is None else (order, leg)

    def _follow_up(self, sent: Outgoing) -> None:
        order = self.tracker.find(sent.order_id)
        if order is not None:
            self.tracker.settle(order)
            self.prover.work(order)

    # Done.

    def _done(self, sent: Outgoing, body: bytes) -> None:
        if sent.kind in {kinds.PLACE, kinds.CANCEL, kinds.QUERY, kinds.AMEND, kinds.REPLACE}:
            found = self._order(sent)
            if found is not None:
                self._done_with_order(sent, *found, body)
            elif sent.kind == kinds.CANCEL:
                self.report(read_order(body))
        elif sent.kind == kinds.TRADES:
            self._swept(sent, read_trades(body))
        elif sent.kind in {kinds.OPEN_ORDERS, kinds.OPEN_STOPS}:
            self._listed(sent, read_orders(body) if sent.kind == kinds.OPEN_ORDERS else read_stops(body))
        elif sent.kind == kinds.QUERY_BY_VENUE_ID:
            self._identified(sent, read_order(body))
        elif sent.kind == kinds.SERVER_TIME:
            server_ns = read_server_time(body) * MS_NS
            self.sender.clock.sample(sent.sent_mono_ns, self.sender.mono_ns, self.sender.now_ns, server_ns)
            self.clock_wanted = False
            self._resign()
        elif sent.kind == kinds.ACCOUNT:
            self.account = read_account(body)
        elif sent.kind == kinds.FUNDING:
            sent_ms = (sent.sent_ns + self.sender.clock.offset_ns) // MS_NS
            if self.funding.listed(read_income(body, FUNDING_FEE), sent_ms=sent_ms, mono_ns=self.sender.mono_ns):
                for slot in self.settings.instruments:
                    self.trades.urge(slot)
        elif sent.kind == kinds.INCOME:
            if self.money_moves.listed(read_income(body), self.sender.clock.offset_ns):
                self.ask_income()
        elif sent.kind == kinds.TRADES_AGAIN:
            self.listed_again[sent.instrument] = [trade.trade_id for trade in read_trades(body)]
        elif sent.kind == kinds.COUNTDOWN:
            self.dead_man.armed(sent.instrument, sent.sent_mono_ns)
        elif sent.kind == kinds.CANCEL_ALL and body.strip().startswith(b"["):
            for report in read_orders(body):
                self.report(report)

    def _done_with_order(self, sent: Outgoing, order: Order, leg: Leg, body: bytes) -> None:
        in_service = leg.in_service and sent.kind != kinds.REPLACE
        if sent.kind == kinds.REPLACE:
            self._replaced(sent, order, leg, body)
        elif sent.kind == kinds.AMEND:
            report = read_amended(body)
            self.apply(order, leg, report)
            if order.amend is not None and order.amend.number == sent.amend:
                order.amend.answer_due_mono_ns = 0
        elif sent.kind == kinds.CANCEL and in_service:
            leg.cancel_sent_mono_ns = 0
            leg.in_doubt = leg.state in OPEN  # The service says no more than that it has heard.
        else:
            report = read_stop(body) if in_service else read_order(body)
            if sent.kind == kinds.PLACE:
                leg.answer_due_mono_ns = 0
            elif sent.kind == kinds.CANCEL:
                leg.cancel_sent_mono_ns = 0
            else:
                leg.query_sent_mono_ns = 0
                self._prove_amend(order, leg, report, sent.sent_mono_ns)
                report = self._shown(order, report)
            self.apply(order, leg, report)

    def _prove_amend(self, order: Order, leg: Leg, report: OrderReport, sent_mono_ns: int) -> None:
        """A query answers what became of an in-place amend whose answer was lost."""
        amend = order.amend
        if amend is None or not amend.in_doubt or amend.how > REDUCE or amend.leg != leg.number:
            return
        rules = self.settings.instruments[order.instrument]
        qty, price = scaled(report.qty, rules.qty_scale)[0], scaled(report.price, rules.price_scale)[0]
        others = order.filled_elsewhere(leg)
        if (qty + others, price) == (amend.qty, amend.price):
            self.tracker.amended(order, leg, qty, price, report.time_ms * MS_NS)
        elif amend.sent_mono_ns == 0:
            amend.sent_mono_ns = sent_mono_ns
        elif sent_mono_ns - amend.sent_mono_ns >= self.settings.horizon_ns:
            self.tracker.amend_refused(order, codes.REASON_ABSENT)

    @staticmethod
    def _shown(order: Order, report: OrderReport) -> OrderReport:
        """A working limit order's price and quantity as a query or list shows them: news, if no amend of ours is under way."""
        quiet = order.amend is None and order.kind == codes.LIMIT and report.status == LIVE and not report.stop
        return report._replace(amended=quiet)

    def _replaced(self, sent: Outgoing, order: Order, leg: Leg, body: bytes) -> None:
        """Two legs, each with its own outcome."""
        found = read_replaced(body)
        old_id = dict(sent.request.parameters)["cancelOrigClientOrderId"]
        old = next(each for each in order.legs if each.client_id == old_id)
        if order.amend is not None and order.amend.leg == leg.number:
            order.amend.answer_due_mono_ns = 0
        if found.cancelled is not None:
            self.apply(order, old, found.cancelled)
        else:
            old.in_doubt = old.state in OPEN  # Why it failed is to be asked: filled, cancelled, or filling.
        if found.placed is not None:
            self.apply(order, leg, found.placed)
        elif (
            found.place_result in {"FAILURE", "NOT_ATTEMPTED"}
            and (found.place_code or found.cancelled is None)
            and found.place_code not in errors.EXECUTION_UNKNOWN
        ):
            reason = reasons.refusal(found.place_code or found.cancel_code, found.place_text)
            self.tracker.refuse(leg, reason)
        else:
            self.tracker.doubt(order, leg, found.place_code)
        if found.cancelled is not None and leg.state not in OPEN:
            self.tracker.outcome.alerts.append(
                alert("REPLACE_HALF_DONE", order_id=order.order_id, instrument=order.instrument, value=found.place_code)
            )

    # Not done.

    def _route(self, sent: Outgoing, judgement: Judgement, reason: int = 0) -> None:
        """Anything but a readable success. reason: where it is not the judgement's."""
        if sent.kind in {kinds.PLACE, kinds.CANCEL, kinds.QUERY, kinds.AMEND, kinds.REPLACE}:
            found = self._order(sent)
            if found is not None:
                self._not_done_with_order(sent, *found, judgement, reason)
        elif sent.kind == kinds.TRADES:
            self.trades.failed(sent.instrument, self.sender.mono_ns)
        elif sent.kind in {kinds.OPEN_ORDERS, kinds.OPEN_STOPS}:
            self.lists.failed(sent.instrument, self.sender.mono_ns)
        elif sent.kind == kinds.FUNDING:
            self.funding.schedule.failed(ACCOUNT, self.sender.mono_ns)
        elif sent.kind == kinds.SERVER_TIME:
            self.clock_wanted = True
            self._clock_not_before_ns = self.sender.mono_ns + CLOCK_AGAIN_NS

    def _not_done_with_order(self, sent: Outgoing, order: Order, leg: Leg, judgement: Judgement, reason: int) -> None:
        proof = judgement.kind != UNPROVEN
        unknown_order = judgement.kind == REFUSED and judgement.code in errors.UNKNOWN_ORDER
        late = judgement.code in {errors.TIME_OUTSIDE, errors.TIME_OUTSIDE_ENGINE}
        if not reason:
            held = judgement.kind > UNPROVEN
            reason = codes.REASON_RATE if held else reasons.refusal(judgement.code, judgement.message)
        if sent.kind == kinds.QUERY:
            leg.query_sent_mono_ns = 0
            if unknown_order:
                self._unknown_by_query(sent, order, leg)
        elif sent.kind == kinds.CANCEL:
            self._cancel_failed(order, leg, judgement, unknown_order=unknown_order)
        elif sent.kind == kinds.PLACE:
            leg.answer_due_mono_ns = 0
            if late and proof and not leg.resigned and leg.state == ASKED:
                leg.resigned = True
                self.resign.append(sent)
            elif proof:
                self.tracker.refuse(leg, reason)
            else:
                self.tracker.doubt(order, leg, judgement.code)
        else:
            self._amend_failed(sent, order, leg, judgement, reason, late=late)

    def _unknown_by_query(self, sent: Outgoing, order: Order, leg: Leg) -> None:
        if leg.state == ASKED and not leg.placed:
            self.prover.not_found(order, leg, sent.sent_mono_ns)
            return
        if leg.in_service:
            leg.in_service = False  # It has left the conditional-order service: ask the engine.
            return
        if leg.queries % 8 == 1:
            # It was there. The venue's word that it does not know it is no proof of an end.
            self.tracker.outcome.alerts.append(
                alert("NOT_KNOWN_AT_VENUE", order_id=order.order_id, instrument=order.instrument, value=leg.queries)
            )
        self.trades.urge(order.instrument)

    def _cancel_failed(self, order: Order, leg: Leg, judgement: Judgement, *, unknown_order: bool) -> None:
        leg.cancel_sent_mono_ns = 0
        if unknown_order:
            # Too late, or not there yet: filled only on proof.
            leg.in_doubt = leg.state in OPEN
            leg.query_due_mono_ns = 0
            return
        if leg.cancels > 1 or judgement.kind == UNPROVEN:
            self.tracker.outcome.alerts.append(
                alert("CANCEL_UNPROVEN", order_id=order.order_id, instrument=order.instrument, value=judgement.code)
            )
        if judgement.kind == UNPROVEN:
            leg.in_doubt = leg.state in OPEN
            self.tracker.unknown(order)

    def _amend_failed(
        self, sent: Outgoing, order: Order, leg: Leg, judgement: Judgement, reason: int, *, late: bool
    ) -> None:
        amend = order.amend
        if amend is None or amend.number != sent.amend:
            return
        amend.answer_due_mono_ns = 0
        if judgement.kind == UNPROVEN:
            amend.in_doubt = True
            for each in order.legs:
                if each.state in OPEN:
                    self.tracker.doubt(order, each, judgement.code)
            return
        if late and not amend.resigned:
            amend.resigned = True
            leg.resigned = leg.resigned or sent.kind == kinds.REPLACE  # The leg that it places.
            self.resign.append(sent)
            return
        if sent.kind == kinds.REPLACE:
            self.tracker.refuse(leg, reason)
            return
        if judgement.code == errors.NO_NEED_TO_AMEND:
            others = order.filled_elsewhere(leg)
            self.tracker.amended(order, leg, amend.qty - others, amend.price, 0)
            return
        self.tracker.amend_refused(order, reason)
        if judgement.code in errors.UNKNOWN_ORDER:
            leg.in_doubt = leg.state in OPEN
            leg.query_due_mono_ns = 0

    def _resign(self) -> None:
        """Sign anew, once, what was refused for its time, now that the offset is measured again. The window is not widened."""
        waiting, self.resign = self.resign, []
        for sent in waiting:
            found = self._order(sent)
            if found is None:
                continue
            order, leg = found
            fresh = self.sender.mono_ns - sent.sent_mono_ns <= RESIGN_NS_MAX and not order.cancel_wanted
            refused = codes.REASON_CLOCK
            if fresh and sent.kind == kinds.PLACE:
                refused = self.prover.send_place(order, leg)
            elif fresh:
                refused = self.sender.send_for(sent.kind, sent.request, order, leg, amend=sent.amend)
            self._resigned(sent, order, leg, refused)
            self.tracker.settle(order)

    def _resigned(self, sent: Outgoing, order: Order, leg: Leg, refused: int) -> None:
        due_ns = self.sender.mono_ns + self.settings.order_timeout_ns
        if refused:
            if sent.kind in {kinds.PLACE, kinds.REPLACE}:
                self.tracker.refuse(leg, refused)
            else:
                self.tracker.amend_refused(order, refused)
        elif sent.kind == kinds.PLACE:
            leg.answer_due_mono_ns = due_ns
            leg.asked_mono_ns = self.sender.mono_ns
        elif order.amend is not None:
            order.amend.answer_due_mono_ns = due_ns
            order.amend.sent_mono_ns = self.sender.mono_ns

    def drop_stale_resigns(self) -> None:
        """No server time came in time: refuse what waited for it."""
        if any(self.sender.mono_ns - sent.sent_mono_ns > RESIGN_NS_MAX for sent in self.resign):
            self._resign()

    # Evidence of any source.

    def apply(self, order: Order, leg: Leg, report: OrderReport) -> None:
        """A report about a leg: fills first, then where it stands."""
        rules = self.settings.instruments[order.instrument]
        if report.stop:
            if report.actual_id:
                leg.in_service = False
                self.tracker.know_venue_id(order, leg, report.actual_id)
        elif leg.in_service and report.venue_id:
            leg.in_service = False
        for fill in report.fills:
            self.book.take(fill._replace(client_id=fill.client_id or leg.client_id))
        executed = scaled(report.executed, rules.qty_scale)[0] if report.executed else 0
        self.tracker.take_report(order, leg, report, executed)
        if report.amended and report.qty:
            qty, price = scaled(report.qty, rules.qty_scale)[0], scaled(report.price, rules.price_scale)[0]
            self.tracker.amended(order, leg, qty, price, report.time_ms * MS_NS)

    def report(self, report: OrderReport) -> None:
        """A report from a stream or a list: ours, or a stranger's."""
        instrument = self.book.slots.get(report.symbol)
        if instrument is None:
            self.tracker.outcome.alerts.append(alert("UNKNOWN_INSTRUMENT", detail=plain(report.symbol)))
            return
        found = self.book.find(instrument, report.client_id, 0 if report.stop else report.venue_id)
        if found is None:
            live = report.status == LIVE
            self.book.stranger(instrument, report.client_id, report.venue_id, report.side, live=live)
            for fill in report.fills:
                self.book.take(fill)
            if not report.stop:
                self._settle_all(self.book.adopt(instrument, report.venue_id, report.client_id, report.side, live=live))
            self._strange(instrument, report)  # Behind its fills: until they are booked they could still happen.
            return
        order, leg = found
        self.apply(order, leg, report)
        if not report.stop and (instrument, report.venue_id) in self.book.orphans:
            self.book.adopt(instrument, report.venue_id, leg.client_id, report.side, live=False)
        self.tracker.settle(order, report.time_ms * MS_NS)
        self.prover.work(order)

    def _strange(self, instrument: int, report: OrderReport) -> None:
        """An order that nobody here answers for: what it may still do counts as long as it works."""
        number = -report.venue_id if report.stop else report.venue_id
        working = None
        if report.status == LIVE:
            scale = self.settings.instruments[instrument].qty_scale
            qty, executed = (scaled(text, scale)[0] if text else 0 for text in (report.qty, report.executed))
            working = Stranger(report.side, qty - executed, self.sender.mono_ns)
        self.strangers.told(instrument, number, working)
        self._tell_strangers(instrument)

    def _tell_strangers(self, instrument: int) -> None:
        news = self.strangers.news(instrument)
        if news is not None:
            nobody = OwnOrder(0, codes.UNASSIGNED, self.settings.account, self.settings.source, instrument, 0)
            self.tracker.outcome.facts.append(fact(rows.EXTERNAL_WORKING, nobody, 0, self.tracker.now_ns, *news, 0))

    def _settle_all(self, orders: list[Order]) -> None:
        for order in orders:
            self.tracker.settle(order)
            self.prover.work(order)

    # Lists.

    def _swept(self, sent: Outgoing, trades: list[FillReport]) -> None:
        """Trades of a symbol: book what is news. A trade whose order nobody knows holds the cursor until it is told whose it is."""
        orders: dict[int, Order] = {}
        venue_ms = self.sender.venue_ns // MS_NS
        for trade in trades:
            order = self.book.take(trade, swept=True, venue_now_ms=venue_ms)
            if order is not None:
                orders[order.order_id] = order
        waiting = [
            trade_id
            for (instrument, _), kept in self.book.orphans.items()
            if instrument == sent.instrument
            for trade_id in kept
        ]
        first = min(waiting, default=None)
        told = [(trade.trade_id, trade.time_ms) for trade in trades if first is None or trade.trade_id < first]
        sent_ms = (sent.sent_ns + self.sender.clock.offset_ns) // MS_NS
        full = len(trades) >= TRADES_MAX
        seen = self.book.seen[sent.instrument]
        before = seen.cursor
        seen.swept(told, sent_ms=sent_ms, complete=not full and first is None)
        if full and seen.cursor == before and first is None:
            # A full page inside the overlap: go on behind it all the same, it is booked.
            seen.cursor = trades[-1].trade_id + 1
        active = any(order.instrument == sent.instrument for order in self.tracker.open.values())
        self.trades.answered(sent.instrument, self.sender.mono_ns, active=active, more=full and first is None)
        self._settle_all(list(orders.values()))

    def ask_income(self) -> None:
        """Ask for the page of the list of income that is wanted."""
        dialect = self.sender.dialect
        assert isinstance(dialect, UsdmRequests)
        self.sender.send(kinds.INCOME, dialect.income(self.money_moves.start_ms, self.money_moves.page))

    def _listed(self, sent: Outgoing, reports: list[OrderReport]) -> None:
        """The open orders of a symbol: reports of those listed, questions about those that are not."""
        stops = sent.kind == kinds.OPEN_STOPS
        listed = {report.client_id for report in reports} | {report.venue_id for report in reports}
        numbers = (-report.venue_id if stops else report.venue_id for report in reports)
        self.strangers.listed(sent.instrument, numbers, stops=stops, sent_mono_ns=sent.sent_mono_ns)
        for report in reports:
            found = self.book.find(sent.instrument, report.client_id, report.venue_id)
            self.report(report if found is None else self._shown(found[0], report))
        for order in list(self.tracker.open.values()):
            if order.instrument != sent.instrument:
                continue
            for leg in order.legs:
                missing = leg.client_id not in listed and (leg.venue_id == 0 or leg.venue_id not in listed)
                if missing and leg.in_service == stops and leg.state in OPEN and leg.asked_mono_ns < sent.sent_mono_ns:
                    self.prover.not_listed(order, leg, sent.sent_mono_ns)
            self.tracker.settle(order)
            self.prover.work(order)
        self._tell_strangers(sent.instrument)
        active = any(order.instrument == sent.instrument for order in self.tracker.open.values())
        self.lists.answered(sent.instrument, self.sender.mono_ns, active=active, more=False)

    def _identified(self, sent: Outgoing, report: OrderReport) -> None:
        """Whose an orphan trade's order is."""
        self.report(report)
        venue_id = report.venue_id or sent.venue_id
        live = report.status == LIVE
        self._settle_all(self.book.adopt(sent.instrument, venue_id, report.client_id, report.side, live=live))
        self.trades.urge(sent.instrument)
