"""Where a live session's requests go: the gateway's facts into the loop, its alerts to a person, its departures into the journal.

Facts the gateway finds are handled by the loop like any other, so they are journalled before the kernel sees them. A SENT annotation is
sealed before a request's bytes reach the socket. This module must not move bytes (the transport does) or judge an answer (the gateway
does).
"""

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from twinloop.data.binance_signing import Credentials
from twinloop.data.rowfile import Rows, pick
from twinloop.engine import crash_points
from twinloop.engine.gateway import alerts
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.endpoints import Endpoints
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.orders_out import OrdersOut
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.own_rows import fate
from twinloop.engine.gateway.transport import Transport
from twinloop.engine.live.busts import BookedFills, Fill, undone
from twinloop.engine.live.funding import by_books
from twinloop.engine.live.holdings import with_rates
from twinloop.engine.live.loop import OF_ALERT, SESSION_START, LiveLoop
from twinloop.engine.seam import WORLD
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW

TICK_S: Final = 0.05
ALERTS_KEPT: Final = 200
SWEPT_EVERY_NS: Final = 60_000_000_000


class OrderEdge:
    """The gateway of a session, behind its loop. Every method is called by the session's one thread."""

    def __init__(
        self,
        gateway: Gateway,
        credentials: Credentials,
        endpoints: Endpoints,
        loop: LiveLoop,
        *,
        tell: Callable[[Alert], None] | None = None,
    ) -> None:
        self.gateway = gateway
        self.loop = loop
        self.alerts: list[Alert] = []
        self._audit = OrdersOut(gateway.ids, gateway.settings.instruments, gateway.tracker.find)
        self._asked_before = self._asked
        self.transport = Transport(
            gateway, credentials, endpoints, self._deliver, loop.clock, departures=self, audit=self._audit
        )
        self._tell = tell
        loop.use_short_way(self.transport)
        self.after_money: Callable[[], None] | None = None  # Called when money has come or left without a trade.
        self.after_facts: Callable[[], None] | None = None  # Called when the node has taken facts.
        self.needs_person = False  # An alert stopped trading that time does not explain.
        self.booked = BookedFills()
        self.account_missed = False  # The venue does not tell what the account holds.
        self._reducing = False  # An alert had positions only shrink until everything is proven.

    def times(self) -> tuple[int, int]:
        """Local wall time and monotonic time, ns."""
        return self.transport.times

    def adopt(self) -> None:
        """What works at the venue from before was rebuilt from the journal."""
        self._audit.adopt(self.gateway.open_orders)

    def take(self, outcome: Outcome) -> None:
        """What the gateway found and wants sent."""
        self.transport.take(outcome)

    def send(self, requests: Rows) -> None:
        """Requests of the kernel, sealed already."""
        self.transport.request(requests)

    def withdraw(self, requests: Rows) -> None:
        """Requests of the kernel, sealed already, that do not leave any more."""
        self.transport.withdraw(requests)

    async def run(self) -> None:
        """Everything that goes on by itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.transport.run(), name="gateway")
            tasks.create_task(self._go_on(), name="reducing-ends")
            tasks.create_task(self._compare(), name="orders-out")

    # What the gateway found.

    def _deliver(self, outcome: Outcome) -> None:
        if outcome.facts:
            rows = outcome.rows
            # What a strategy of another session traded is of none of this one's.
            rows["strategy"][rows["strategy"] >= len(self.loop.node.session.strategies)] = codes.UNASSIGNED
            if crash_points.armed:
                crash_points.reach("answer")
            is_funding = rows["kind"] == table.FUNDING_PAID
            if not is_funding.all():
                traded = pick(rows, ~is_funding)
                self.loop.take(with_rates(traded, self.loop.node))
                self.booked.take(traded)
            if is_funding.any():  # Behind the trades: it belongs to whose positions they left.
                self.loop.take(by_books(pick(rows, is_funding), self.loop.node, self.booked))
            if crash_points.armed:
                crash_points.reach("answered")
            if self.after_facts is not None:
                self.after_facts()
        for alert in outcome.alerts:
            self._note(alert)

    def _note(self, alert: Alert) -> None:
        self.alerts.append(alert)
        del self.alerts[:-ALERTS_KEPT]
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"], row["alert"], row["value"] = table.ALERT, self.times()[0], alert.code, alert.value
        row["code"] = alert.order_id
        self.loop.note(row)
        if self._tell is not None:
            self._tell(alert)
        if alert.name == "MONEY_MOVED" and self.after_money is not None:
            self.after_money()
        if alert.demand == alerts.HALT:
            self._reducing, self.needs_person = False, True
            self.loop.command("halt", OF_ALERT - alert.code)
        elif alert.demand == alerts.REDUCE and self.loop.trading_state != "HALTED":
            stays = alert.name in alerts.STAYS
            self.needs_person = self.needs_person or stays
            if stays or self.loop.trading_state == "ACTIVE":
                self._reducing = not stays
                self.loop.command("reduce", OF_ALERT - alert.code)

    def miss_account(self) -> None:
        """The venue was asked what the account holds and did not say: positions only shrink until it does."""
        self.account_missed = True
        self._note(alerts.alert("ACCOUNT_NOT_TOLD"))

    def take_back(self, fills: list[Fill]) -> None:
        """Reverse trades that the venue has taken back."""
        rows = undone(fills, self.times()[0])
        self.loop.take(rows)
        self.booked.take(rows)
        if self.after_facts is not None:
            self.after_facts()
        for each in fills:
            instrument, order_id = int(each.rows["instrument"][0]), int(each.rows["order_id"][0])
            self._note(alerts.alert("TRADE_BUST", order_id=order_id, instrument=instrument, value=each.trade_id))

    def operator_spoke(self) -> None:
        """A person decides from here on: what an alert began does not end by itself any more."""
        self._reducing = self.needs_person = False

    def begin_trading(self) -> None:
        """Everything of the session before is proven: trade again."""
        by_itself = self.loop.trading_state == "REDUCING"
        self.loop.command("resume", codes.RESUME_BY_ITSELF if by_itself else SESSION_START)

    async def _go_on(self) -> None:
        """Trade again where an alert had positions only shrink, once everything is proven; seal now and then how far trades are swept."""
        swept_ns = 0
        while True:
            now_ns, mono_ns = self.times()
            if mono_ns - swept_ns >= SWEPT_EVERY_NS:
                swept_ns = mono_ns
                rows = self.gateway.swept_rows(now_ns)
                if len(rows):
                    self.loop.note(rows)
            if self._reducing and self.settled:
                self._reducing = False
                if self.loop.trading_state == "REDUCING":
                    self.loop.command("resume", codes.RESUME_BY_ITSELF)
            await WORLD.sleep(TICK_S)

    @property
    def _asked(self) -> int:
        """New orders that the kernel counts."""
        return int(self.loop.node.node["measured"]["orders"])

    async def _compare(self) -> None:
        """Hold what was written to the venue against what the kernel asked for."""
        while not self.loop.failure:
            for found in self._audit.check(
                self._asked - self._asked_before - self.loop.waiting_orders, self.times()[1]
            ):
                self._note(found)
            await WORLD.sleep(TICK_S)

    @property
    def settled(self) -> bool:
        """Whether the venue's clock and the account are known, no order in doubt, and nothing told while the user stream was away missing."""
        known = self.gateway.clock_known and not self.account_missed
        return known and self.gateway.caught_up and self.gateway.unproven == 0

    # What becomes of a request.

    def leaves(self, outgoing: Outgoing) -> bool:
        """Seal that a request leaves. Without a journal or behind a fence no order does; cancels and questions go all the same."""
        if outgoing.kind in kinds.MAY_FILL and self.loop.is_fenced():
            return False
        if crash_points.armed:
            crash_points.reach("before-send")
        self._note_fate(outgoing, table.SENT)
        if crash_points.armed:
            crash_points.reach("after-send")
        return not self.loop.failure or outgoing.kind not in kinds.MAY_FILL

    def departure(self, order_id: int, number: int, now_ns: int, mono_ns: int) -> bytes | None:
        """The row that says that a new order leaves; None: it must not."""
        if self.loop.failure or self.loop.fence_is_up:
            return None
        return fate(table.SENT, now_ns, mono_ns, number, order_id, kinds.PLACE)

    def seals(self, row: bytes) -> bool:
        """Seal a departure; whether it may happen."""
        self.loop.note(row)
        return not self.loop.failure

    def stays(self, outgoing: Outgoing) -> None:
        """Seal that a request never leaves."""
        self._note_fate(outgoing, table.NOT_SENT)

    def _note_fate(self, outgoing: Outgoing, kind: int) -> None:
        if not outgoing.order_id:
            return
        egress_ns = outgoing.sent_mono_ns if kind == table.SENT else 0
        self.loop.note(fate(kind, outgoing.sent_ns, egress_ns, outgoing.number, outgoing.order_id, outgoing.kind))
