"""The order gateway of one market and one account: requests of the kernel out, the venue's word back as own-order rows.

    outcome = gateway.on_requests(outbox_rows, now_ns, mono_ns)
    outcome.facts    -> the journal, then the kernel
    outcome.outgoing -> the transport; what comes back goes to on_response or on_timeout, user frames to on_user_frame
    gateway.on_tick(now_ns, mono_ns) several times a second: queries, repeated cancels, sweeps, timers

No answer is not an answer: a request without proof of its outcome makes the order UNKNOWN, and it is asked about until proven. now_ns is
the local wall clock (it stamps rows and requests), mono_ns a clock that never jumps (it measures waits). This module must not open a
socket, read a clock or draw a random number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from twinloop.data.binance_orders import UsdmRequests, requests_of
from twinloop.data.binance_reports import AccountReport, OrderReport, plain
from twinloop.data.binance_signing import Credentials
from twinloop.data.binance_user_frames import read_user_frame
from twinloop.data.errors import DecodeError
from twinloop.data.rowfile import Rows
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway import recovery
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.answers import Answers
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.gateway.dead_man import DeadMan
from twinloop.engine.gateway.desk import Desk
from twinloop.engine.gateway.fills import FillBook
from twinloop.engine.gateway.funding import ACCOUNT, FundingBook
from twinloop.engine.gateway.money_moves import FUNDING_FEE, MoneyMoves
from twinloop.engine.gateway.orders import OPEN, Order
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.own_rows import read_row, read_rows
from twinloop.engine.gateway.prover import Prover
from twinloop.engine.gateway.rate_budget import OrderBudget, WeightBudget
from twinloop.engine.gateway.sender import Sender
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.strangers import Strangers
from twinloop.engine.gateway.sweep import SweepSchedule
from twinloop.engine.gateway.tracker import Tracker
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW

SWEEP_LATE_FACTOR: Final = 20  # Sweep intervals without an answer before it is told.


class Gateway:
    """weight: shared by gateways of the same market behind one address; one of its own without it. orders: where they are not the venue's."""

    def __init__(
        self,
        settings: GatewaySettings,
        credentials: Credentials,
        *,
        weight: WeightBudget | None = None,
        orders: OrderBudget | None = None,
    ) -> None:
        dialect = requests_of(settings.market)
        slots = list(settings.instruments)
        self.settings = settings
        self.ids = ClientIds(settings.prefix)
        self.tracker = Tracker()
        self.weight = weight or WeightBudget(dialect.weight_limit)
        orders = orders or OrderBudget(dialect.order_limits)
        self.sender = Sender(settings, dialect, credentials, self.weight, orders, self.ids)
        self.book = FillBook(settings, self.ids, self.tracker)
        self._trades = SweepSchedule(slots, settings.sweep_interval_ns)
        self._lists = SweepSchedule(slots, settings.sweep_interval_ns)
        self.money_moves = MoneyMoves()
        self.funding = FundingBook(settings, self.tracker)
        self.dead_man = DeadMan(
            settings.dead_man_timeout_ms if settings.market == "usdm" else 0, settings.dead_man_refresh_ns
        )
        self._prover = Prover(settings, self.ids, self.tracker, self.sender, self.book, self._trades, self._lists)
        self._desk = Desk(settings, self.tracker, self.sender, self.book, self._prover)
        self._answers = Answers(
            settings, self.tracker, self.sender, self.book, self._prover, self._trades, self._lists, self.dead_man,
            self.funding, self.money_moves,
        )  # fmt: skip
        self._swept_told: dict[int, int] = {}
        self._clock_due_ns = 0
        self._orphans_due_ns = 0
        self.stream_up = False
        self._up_mono_ns = 0
        self._waiting = False  # The venue wanted no requests when it was looked at last.
        self.unknown_frames = 0

    # Ways in.

    def _begin(self, now_ns: int, mono_ns: int) -> Outcome:
        outcome = Outcome()
        self.tracker.begin(now_ns, outcome)
        self.sender.begin(now_ns, mono_ns, outcome)
        if self.weight.shut:
            self._waiting = True
            self.weight.reopen(self.sender.venue_ns)
        if self._waiting and not self.weight.shut:
            self._waiting = False
            self._after_wait(mono_ns)
        return outcome

    def _after_wait(self, mono_ns: int) -> None:
        """The venue's wait is over: every cancel that is wanted leaves before anything else, and what happened meanwhile is asked for.

        Until that is answered the gateway has not caught up: a session that was told to reduce lets nothing but closing orders pass.
        """
        for order in list(self.tracker.open.values()):
            self._prover.cancel_now(order)
        self._cancel_strays()
        self._up_mono_ns = mono_ns
        self._urge_all()

    def on_requests(self, rows: Rows, now_ns: int, mono_ns: int) -> Outcome:
        """Outbox rows, journalled by the caller. Local refusals are facts at once."""
        outcome = self._begin(now_ns, mono_ns)
        for row in read_rows(rows):
            self._desk.take(row)
        return outcome

    def on_withdrawn(self, rows: Rows, now_ns: int, mono_ns: int) -> Outcome:
        """Outbox rows, journalled by the caller, that are not to be sent: new orders and amends, each refused at once."""
        outcome = self._begin(now_ns, mono_ns)
        for row in read_rows(rows):
            self._desk.withdraw(row)
        return outcome

    def frame(self, row: bytes, now_ns: int, mono_ns: int) -> bytes | None:
        """The frame of a plain new order's row, to leave over the WebSocket API at once, or None: it is one for `on_requests`.

        Nothing has happened yet: once the frame has left, and only then, it must be told to `on_left`.
        """
        sender = self.sender
        found = sender.way.frame(row, now_ns, mono_ns, sender.number + 1, self.book.high_water)
        return None if found is None or self.book.seen[sender.way.instrument].full else found

    def on_left(self, row: bytes, now_ns: int, mono_ns: int) -> Outgoing:
        """A row whose `frame` has left, with the times it was asked for with: all that `on_requests` would have done with it."""
        outcome = self._begin(now_ns, mono_ns)
        self.sender.gone = True
        try:
            self._desk.take(read_row(row))
        finally:
            self.sender.gone = False
        assert len(outcome.outgoing) == 1  # What let the frame leave is what lets an order be sent.
        assert not outcome.facts
        return outcome.outgoing[0]

    def on_response(
        self, outgoing: Outgoing, status: int, headers: Mapping[str, str], body: bytes, now_ns: int, mono_ns: int
    ) -> Outcome:
        """An answer, whatever it is. The same answer twice does no harm, nor does one that comes after its time-out."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.take(outgoing, status, headers, body)
        self._cancel_strays()
        return outcome

    def on_timeout(self, outgoing: Outgoing, now_ns: int, mono_ns: int) -> Outcome:
        """No whole answer by the deadline, or the connection broke."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.none(outgoing)
        return outcome

    def on_not_sent(self, outgoing: Outgoing, now_ns: int, mono_ns: int) -> Outcome:
        """Not a byte of it left this machine, for certain."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.not_sent(outgoing)
        return outcome

    def on_user_frame(self, frame: bytes, now_ns: int, mono_ns: int) -> Outcome:
        """A frame of the user stream."""
        outcome = self._begin(now_ns, mono_ns)
        try:
            report = read_user_frame(frame)
            if isinstance(report, OrderReport):
                self._answers.report(report)
            elif isinstance(report, AccountReport):
                self._note_account(report)
            elif report.ended:
                self._stream_down(plain(report.name))
            elif not report.known:
                self.unknown_frames += 1
        except DecodeError as error:
            self._answers.bad_messages += 1
            outcome.alerts.append(alert("BAD_MESSAGE", detail=plain(error.what)))
            self._urge_all()
        self._cancel_strays()
        return outcome

    def on_stream(self, *, up: bool, now_ns: int, mono_ns: int) -> Outcome:
        """The user stream is there, or it is not. While it is not, fills come by sweeps at a shorter interval."""
        outcome = self._begin(now_ns, mono_ns)
        if up and not self.stream_up:
            self.stream_up = True
            self._up_mono_ns = mono_ns
            outcome.alerts.append(alert("STREAM_BACK"))
            self._urge_all()  # What it did not tell while it was away.
        elif not up:
            self._stream_down("")
        return outcome

    def on_order_socket(self, *, up: bool) -> None:
        """The WebSocket API is there, or it is not and orders go over REST."""
        self.sender.socket_up = up

    def on_tick(self, now_ns: int, mono_ns: int) -> Outcome:
        """What is due now. Call it several times a second."""
        outcome = self._begin(now_ns, mono_ns)
        if self._answers.clock_wanted or mono_ns >= self._clock_due_ns or not self.sender.clock.known(now_ns, mono_ns):
            self._ask_time(mono_ns)
        self._answers.drop_stale_resigns()
        for order in list(self.tracker.open.values()):
            self._tick_order(order, mono_ns)
        self._ask_lists(mono_ns)
        self._ask_orphans(mono_ns)
        self._ask_funding(mono_ns)
        self.funding.book(self._trades)
        self._refresh_dead_man(mono_ns)
        self._cancel_strays()
        return outcome

    # Commands.

    def cancel_all(self, now_ns: int, mono_ns: int) -> Outcome:
        """Cancel everything on every instrument: in bulk first, then order by order until each is proven ended."""
        outcome = self._begin(now_ns, mono_ns)
        dialect = self.sender.dialect
        for slot, instrument in self.settings.instruments.items():
            requests = [dialect.cancel_all(instrument.symbol)]
            if isinstance(dialect, UsdmRequests):
                requests.append(dialect.cancel_all_stops(instrument.symbol))
            for request in requests:
                self.sender.send(kinds.CANCEL_ALL, request, instrument=slot, is_cancel=True)
        for order in list(self.tracker.open.values()):
            order.cancel_wanted = True
            self._prover.work(order)
        self._urge_all()
        self.dead_man.end()
        return outcome

    def venue_busy(self, until_ns: int, now_ns: int, mono_ns: int, *, banned: bool) -> Outcome:
        """Somebody else of this address was told to wait: so are we."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.wait(until_ns, banned=banned)
        return outcome

    def on_other_answer(
        self, status: int, headers: Mapping[str, str], body: bytes, now_ns: int, mono_ns: int
    ) -> Outcome:
        """An answer to a request of this address that the gateway did not make, such as for a listen key."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.overheard(status, headers, body)
        return outcome

    @property
    def may_ask(self) -> bool:
        """Whether the venue takes requests of this address, as of the last call: not while it holds it off or has banned it."""
        return not self.weight.shut

    def ask_account(self, now_ns: int, mono_ns: int) -> Outcome:
        """Ask for balances and positions; `account` has them when the answer is in, None while they are unknown."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.account = None
        self.sender.send(kinds.ACCOUNT, self.sender.dialect.account())
        return outcome

    def ask_income(self, since_ns: int, now_ns: int, mono_ns: int) -> Outcome:
        """Ask what came and left since a local time; `money_moves` has it when it is `told`. Of spot no list is asked for."""
        outcome = self._begin(now_ns, mono_ns)
        if isinstance(self.sender.dialect, UsdmRequests):
            self.money_moves.ask(max(since_ns + self.sender.clock.offset_ns, 0) // 1_000_000)
            self._answers.ask_income()
        return outcome

    def ask_trades_again(self, slot: int, from_id: int, now_ns: int, mono_ns: int) -> Outcome:
        """Ask which trades of an instrument the venue lists from an id on; `listed_again` has their ids when the answer is in."""
        outcome = self._begin(now_ns, mono_ns)
        self._answers.listed_again[slot] = None
        request = self.sender.dialect.trades(self.settings.instruments[slot].symbol, from_id=from_id)
        self.sender.send(kinds.TRADES_AGAIN, request, instrument=slot)
        return outcome

    def listed_again(self, slot: int) -> list[int] | None:
        """Ids that the venue listed; None while they are unknown."""
        return self._answers.listed_again.get(slot)

    # State.

    @property
    def account(self) -> AccountReport | None:
        """Balances and positions as last told whole."""
        return self._answers.account

    @property
    def clock_known(self) -> bool:
        """Whether requests may be signed: the venue's clock has been measured and is near enough. As of the last call."""
        return self.sender.clock.within(self.sender.now_ns, self.sender.mono_ns)

    @property
    def caught_up(self) -> bool:
        """Whether the venue answers, the user stream is up, and what either may have missed is asked for, answered and booked.

        That is trades, open orders and funding payments.
        """
        since_ns = self._up_mono_ns
        return (
            self.stream_up
            and not self.weight.shut
            and self._trades.answered_since(since_ns)
            and self._lists.answered_since(since_ns)
            and self.funding.schedule.answered_since(since_ns)
            and not self.funding.waits
        )

    def sweep(self) -> None:
        """Ask for the trades of every instrument, and for funding payments, at the next tick."""
        for slot in self.settings.instruments:
            self._trades.urge(slot)
        self.funding.urge()

    def swept_since(self, mono_ns: int) -> bool:
        """Whether the trades of every instrument, and funding payments, were asked for since then, and are booked."""
        asked = self._trades.answered_since(mono_ns) and self.funding.schedule.answered_since(mono_ns)
        return asked and not self.funding.waits

    def swept_rows(self, now_ns: int) -> Rows:
        """SWEPT annotations where more is known to be booked than at the last call; to be sealed behind all facts given out so far."""
        moved = {
            slot: seen.cursor for slot, seen in self.book.seen.items() if seen.cursor > self._swept_told.get(slot, 0)
        }
        self._swept_told |= moved
        rows = np.zeros(len(moved), ROW)
        rows["kind"], rows["local_ns"] = table.SWEPT, now_ns
        rows["instrument"], rows["trade_id"] = list(moved), list(moved.values())
        return rows

    @property
    def strangers(self) -> Strangers:
        """Orders of others that work on the account."""
        return self._answers.strangers

    @property
    def open_orders(self) -> list[Order]:
        """Orders with something left to happen or to be proven."""
        return list(self.tracker.open.values())

    @property
    def unproven(self) -> int:
        """Orders in doubt: what a start-up waits for before it trades."""
        return sum(
            order.unknown
            or order.missing_since_mono_ns != 0
            or any(leg.in_doubt for leg in order.legs)
            or (order.amend is not None and order.amend.in_doubt)
            for order in self.tracker.open.values()
        ) + len(self.book.orphans)

    def snapshot(self) -> dict[str, Any]:
        """Plain data (JSON would do) of all that a restart must know."""
        return recovery.snapshot(self)

    def restore(self, plain_state: Mapping[str, Any], now_ns: int, mono_ns: int) -> Outcome:
        """Take over a snapshot. What is open is in doubt until asked about; the kernel is told so. Raises DataError for another's."""
        outcome = self._begin(now_ns, mono_ns)
        recovery.restore(self, plain_state)
        for order in self.tracker.open.values():
            self.tracker.unknown(order)
        return outcome

    def rebuild(self, segments: Sequence[tuple[int, Rows]], now_ns: int, mono_ns: int) -> Outcome:
        """Take over journal rows, as (epoch, rows) in order, from the start or after `restore`. See recovery.rebuild."""
        outcome = self._begin(now_ns, mono_ns)
        recovery.rebuild(self, self._desk, segments)
        return outcome

    # Helpers.

    def _note_account(self, report: AccountReport) -> None:
        self.tracker.outcome.alerts += self.money_moves.take(report, self.sender.now_ns)
        if report.reason == FUNDING_FEE:
            self.funding.speaks(report.changes, report.time_ms, self.sender.mono_ns)
        known = self._answers.account
        if known is not None:
            self._answers.account = known._replace(
                time_ms=report.time_ms,
                balances={**known.balances, **report.balances},
                positions={**known.positions, **report.positions},
            )

    def _stream_down(self, detail: str) -> None:
        if self.stream_up:
            self.stream_up = False
            self.tracker.outcome.alerts.append(alert("STREAM_DOWN", detail=detail))
        self._urge_all()

    def _urge_all(self) -> None:
        for slot in self.settings.instruments:
            self._trades.urge(slot)
            self._lists.urge(slot)
        self.funding.urge()

    def _ask_time(self, mono_ns: int) -> None:
        if mono_ns < self._clock_due_ns and not self._answers.clock_due(mono_ns):
            return
        if not self.sender.send(kinds.SERVER_TIME, self.sender.dialect.server_time()):
            self._answers.clock_wanted = False
            known = self.sender.clock.known(self.sender.now_ns, mono_ns)
            self._clock_due_ns = mono_ns + (self.settings.clock_interval_ns if known else 1_000_000_000)

    def _tick_order(self, order: Order, mono_ns: int) -> None:
        grace_ns = self.settings.order_timeout_ns
        for leg in order.legs:
            if leg.answer_due_mono_ns and mono_ns - leg.answer_due_mono_ns > grace_ns:
                # The transport owes an answer or a time-out. Without either nothing is known.
                leg.answer_due_mono_ns = 0
                self.tracker.doubt(order, leg, 0)
        amend = order.amend
        if amend is not None and amend.answer_due_mono_ns and mono_ns - amend.answer_due_mono_ns > grace_ns:
            amend.answer_due_mono_ns = 0
            amend.in_doubt = True
            for leg in order.legs:
                if leg.state in OPEN:
                    self.tracker.doubt(order, leg, 0)
        if 0 < order.expire_ns <= self.sender.venue_ns and not order.cancel_wanted and not order.ended:
            order.expired = order.cancel_wanted = True
            self.tracker.outcome.alerts.append(alert("ORDER_EXPIRES", order_id=order.order_id))
        self._prover.work(order)

    def _ask_lists(self, mono_ns: int) -> None:
        dialect, settings = self.sender.dialect, self.settings
        timeout_ns = 2 * settings.query_timeout_ns
        interval_ns = settings.sweep_interval_ns if self.stream_up else settings.sweep_interval_blind_ns
        active = {order.instrument for order in self.tracker.open.values()}
        for schedule in (self._trades, self._lists):
            schedule.hasten(active, interval_ns)
        for slot in self._trades.due(mono_ns, timeout_ns):
            symbol, seen = settings.instruments[slot].symbol, self.book.seen[slot]
            start_ms = seen.start_ms or self.sender.venue_ns // 1_000_000
            request = dialect.trades(symbol, from_id=seen.cursor, start_ms=start_ms)
            if not self.sender.send(kinds.TRADES, request, instrument=slot):
                self._trades.sent(slot, mono_ns)
        for slot in self._lists.due(mono_ns, timeout_ns):
            symbol = settings.instruments[slot].symbol
            if not self.sender.send(kinds.OPEN_ORDERS, dialect.open_orders(symbol), instrument=slot):
                self._lists.sent(slot, mono_ns)
                if isinstance(dialect, UsdmRequests) and any(
                    leg.in_service for order in self.tracker.open.values() for leg in order.legs
                ):
                    self.sender.send(kinds.OPEN_STOPS, dialect.open_stops(symbol), instrument=slot)
        for slot in self._trades.late(mono_ns, SWEEP_LATE_FACTOR * settings.sweep_interval_ns):
            self.tracker.outcome.alerts.append(alert("SWEEP_LATE", instrument=slot))

    def _ask_orphans(self, mono_ns: int) -> None:
        if mono_ns < self._orphans_due_ns or not self.book.orphans:
            return
        self._orphans_due_ns = mono_ns + self.settings.query_interval_ns
        for slot, venue_id in list(self.book.orphans)[:16]:
            request = self.sender.dialect.query(self.settings.instruments[slot].symbol, venue_id=venue_id)
            if self.sender.send(kinds.QUERY_BY_VENUE_ID, request, instrument=slot, venue_id=venue_id):
                break

    def _ask_funding(self, mono_ns: int) -> None:
        dialect, funding = self.sender.dialect, self.funding
        if not isinstance(dialect, UsdmRequests):
            return
        funding.hasten(mono_ns, stream_up=self.stream_up)
        for _ in funding.schedule.due(mono_ns, 2 * self.settings.query_timeout_ns):
            if not self.sender.send(kinds.FUNDING, dialect.funding(funding.start_ms, funding.page)):
                funding.schedule.sent(ACCOUNT, mono_ns)
        for _ in funding.schedule.late(mono_ns, SWEEP_LATE_FACTOR * self.settings.sweep_interval_ns):
            self.tracker.outcome.alerts.append(alert("SWEEP_LATE"))

    def _refresh_dead_man(self, mono_ns: int) -> None:
        dialect = self.sender.dialect
        if not isinstance(dialect, UsdmRequests):
            return
        wanted = {order.instrument for order in self.tracker.open.values()}
        for slot, countdown_ms in self.dead_man.due(wanted, mono_ns):
            request = dialect.countdown(self.settings.instruments[slot].symbol, countdown_ms)
            # Like a cancel: what keeps orders from being left alone must not wait for new ones.
            refused = self.sender.send(kinds.COUNTDOWN, request, instrument=slot, is_cancel=True)
            if countdown_ms:
                self.dead_man.sent(slot, mono_ns, refused=bool(refused))
        for slot in self.dead_man.fired(mono_ns):
            self.tracker.outcome.alerts.append(alert("DEAD_MAN_LATE", instrument=slot))
            self._lists.urge(slot)
            for order in self.tracker.open.values():
                if order.instrument == slot:
                    for leg in order.legs:
                        leg.in_doubt = leg.in_doubt or leg.state in OPEN
                    self.tracker.unknown(order)

    def _cancel_strays(self) -> None:
        strays, self.book.stray_cancels = self.book.stray_cancels, []
        for slot, client_id in strays:
            request = self.sender.dialect.cancel(self.settings.instruments[slot].symbol, client_id)
            if self.sender.send(kinds.CANCEL, request, instrument=slot, is_cancel=True):
                self.book.stray_cancels.append((slot, client_id))  # Not now: it is sent as soon as it may be.
