"""A live session's process: sockets in, the loop, the journal, and the operator's word, in one thread.

    asyncio.run(run_session(load_session(Path("paper.toml"))))

Start-up, in order: the venue's rules, the journal's lock, recovery of what it holds, the strategies, the operator's socket, the feed.
SIGTERM and Ctrl-C end it in order: no more orders, working ones cancelled, the journal sealed with a hash of the whole state. This module
must not decide about orders.
"""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
import numpy as np

from twinloop.data.binance_instruments import instruments_of
from twinloop.data.binance_reports import AccountReport
from twinloop.data.binance_signing import Credentials
from twinloop.data.binance_stream import info_path
from twinloop.data.errors import DataError, TwinloopError
from twinloop.data.feed_arbiter import FeedArbiter
from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, Instrument, from_scaled
from twinloop.data.rowfile import Rows
from twinloop.engine import crash_points
from twinloop.engine.errors import first_of, first_raised
from twinloop.engine.gateway.alerts import Alert, told_of
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.journal.folder import FolderLock
from twinloop.engine.journal.format import SEGMENT_PATTERN
from twinloop.engine.journal.recovery import Ready, make_ready
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live import fee_rate, handover_file
from twinloop.engine.live.account import AccountTold, ask_account
from twinloop.engine.live.closing import ClosingWatch
from twinloop.engine.live.config import MARKETS, LoadedSession
from twinloop.engine.live.control import SOCKET, check_place, serve
from twinloop.engine.live.doubts import doubts
from twinloop.engine.live.feeds import Feeds, make_feeds
from twinloop.engine.live.handover import differences, require_fit
from twinloop.engine.live.holdings import refuse_positions, stock, wallet
from twinloop.engine.live.inherited import Inherited
from twinloop.engine.live.keys import check_rights, read_credentials
from twinloop.engine.live.loop import SESSION_START, LiveLoop
from twinloop.engine.live.measured import Published
from twinloop.engine.live.node import LiveNode, StrategyFailure
from twinloop.engine.live.operator import Operator
from twinloop.engine.live.orders import OrderEdge
from twinloop.engine.live.rebuild import Rebuilt
from twinloop.engine.live.reconcile import Reconciler
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.recovery import recover
from twinloop.engine.live.rest import get
from twinloop.engine.live.session import Session, StrategySpec, compiled_strategies, session_to_plain, with_digests
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.live.status import paid_in_all
from twinloop.engine.live.strategy_failures import keep_failure
from twinloop.engine.live.telling import MarketWatch, limits_told, may_still_work, positions_left, refusals
from twinloop.engine.live.trading_modes import check_modes
from twinloop.engine.live.venue_wait import VenueWait, keep_wait, patiently, refuse_while_waiting
from twinloop.engine.live.warm_up import History, feed_history, feed_missed, history, missed_prints, short_series
from twinloop.engine.planning import KINDS
from twinloop.engine.seam import WORLD, ReceiveClock
from twinloop.engine.units import bar_kind, bar_size
from twinloop.engine.wording import iso
from twinloop.kernels.node import NEVER
from twinloop.kernels.rows import ROW

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

REQUEST_S: Final = 10.0  # Total time of one REST request.
TICK_S: Final = 0.02  # How late a timer may be where the market says nothing.
PROVE_S: Final = 0.05
CANCEL_S: Final = 20.0  # How long a session that ends waits for proof: the venue's horizon for what was never answered, and the queries after it.

Say = Callable[[str], None]


def make_session(loaded: LoadedSession, instruments: list[Instrument], start_ns: int) -> Session:
    """The session of a configuration."""
    config = loaded.config
    strategies = []
    for spec in config.strategy:
        path, _, cls = spec.path.partition(":")
        bars = []
        for text in spec.bars:
            kind, size = bar_kind(text)
            bars += [(KINDS[kind], bar_size(kind, size, each.qty_scale)) for each in instruments[:1]]
        parameters = {
            name: float(value) if not isinstance(value, int | str | bool) else value
            for name, value in spec.parameters.items()
        }
        strategies.append(
            StrategySpec(
                name=spec.name or cls or Path(path).stem,
                path=spec.path,
                parameters=parameters,
                symbols=list(spec.symbols),
                bars=bars,
            )
        )
    return Session(
        name=loaded.name, mode=config.session.mode, instruments=instruments, shown=[config.feed.shown] * len(instruments),
        strategies=strategies, currency=config.account.currency, cash=config.account.cash, limits_section=loaded.limits_section,
        start_ns=start_ns, folder=str(loaded.folder), seed=config.session.seed,
        entry_latency_ns=config.paper.entry_latency, response_latency_ns=config.paper.response_latency,
        queue_model=config.paper.queue_model,
        fx=fee_rate.currencies_without_cash(instruments, config.account.currency) if config.session.mode == "live" else dict(config.account.fx),
    )  # fmt: skip


class LiveProcess:
    """Everything of a running session. `run` returns when it was told to stop, or raises why it cannot go on."""

    def __init__(self, loaded: LoadedSession, say: Say, progress: Callable[[int, int], None] | None = None) -> None:
        self.loaded = loaded
        self._say = _as_far_as_heard(say)
        self._progress = progress
        self.clock = ReceiveClock()
        self.started_ns = self.clock.local_ns()
        self.stopping = asyncio.Event()
        self.loop: LiveLoop
        self.orders: OrderEdge | None = None
        self.reconciler: Reconciler
        self.result: dict[str, Any] = {}  # What it came to, once it has ended.
        self.feed: Feeds
        self.published: Published
        self._fees = fee_rate.FeesTold()
        self._fee_rate: fee_rate.FeeRate | None = None
        self._rebuilt: Outcome | None = None
        self._in_order = False  # Somebody asked for the end, and nothing else brought it about.
        self._cancelled = False  # Everything was asked to be cancelled, because the session ends.
        self._may_resume = False  # No person has to say that the journal's session goes on.

    async def run(self) -> None:
        """Start, trade, stop."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            await self._start(client)
            gc.freeze()  # What a session begins with stays with it: no pause to look through all of it for cycles again.
            place = self.loaded.place / SOCKET
            server: asyncio.Server | None = None
            try:
                operator = Operator(
                    self.loop, self.feed, self.loaded, self.orders, self.reconciler if self.orders is not None else None,
                    clock=self.clock, started_ns=self.started_ns, decided=self._person_decided,
                )  # fmt: skip
                server = await serve(place, operator.answer)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._until_stopped(), name="stop")
                    tasks.create_task(self.feed.run(), name="feeds")
                    tasks.create_task(self._time(), name="time")
                    if self.orders is not None:
                        tasks.create_task(self.orders.run(), name="orders")
                        tasks.create_task(self._reconcile(self.orders), name="reconcile")
                    if self._fee_rate is not None:
                        tasks.create_task(self._fee_rate.run(), name="fee-rate")
            except* _StoppedError:
                self._in_order = True
            except* Exception as group:
                await self._cancel_after(group)
                raise
            finally:
                if server is not None:
                    server.close()
                    place.unlink(missing_ok=True)
                self._finish()
                gc.unfreeze()  # Whoever runs another session in this process has this one's memory back.

    async def _start(self, client: aiohttp.ClientSession) -> None:
        loaded, config = self.loaded, self.loaded.config
        venue = config.feed.venue
        check_place(loaded.place / SOCKET)
        handover_file.refuse_sealed(loaded.place)
        inherited = self._handed_over()
        refuse_while_waiting(loaded.place, loaded.rest, self.clock.local_ns())
        asked = partial(patiently, loaded.place, loaded.rest, self._say)
        body = await asked(lambda: get(client, loaded.rest + info_path(venue)))
        fees = {name: from_scaled(getattr(config.feed, name + "_bps"), 8) for name in ("maker_fee", "taker_fee")}
        instruments = instruments_of(body, venue, list(config.feed.symbols), **fees)
        credentials = read_credentials(loaded) if config.session.mode == "live" else None
        session = make_session(loaded, instruments, self.started_ns)
        if session.mode == "paper":
            session.require_rates()
        compiled = compiled_strategies(session)  # A mistake in them is told before the account is asked.
        for line in doubts(loaded):
            self._say(f"! {line}")
        held: AccountReport | None = None
        if credentials is not None:
            keys = credentials
            told: AccountTold = await asked(lambda: ask_account(loaded.endpoints, keys, MARKETS[venue]))
            held, rights, modes, burns = told
            body_of = partial(get, client)
            self._fees = await asked(
                lambda: fee_rate.ask_at_start(body_of, loaded.rest, MARKETS[venue], session.currency, burns=burns)
            )
            if rights is None:
                self._say(
                    "! the venue does not tell what the key may do: see to it that it cannot withdraw or transfer"
                )
            else:
                check_rights(rights, MARKETS[venue])
            for line in [] if modes is None else check_modes(loaded, modes):
                self._say(line)
            own = stock(held, instruments, session.currency, session.fx)
            session = msgspec.structs.replace(session, cash=wallet(held, session.currency), stock=own)
        lock = FolderLock(loaded.place / "journal")
        try:
            handover_file.refuse_sealed(loaded.place)  # It may have been handed over while the venue was asked.
            if crash_points.armed:
                crash_points.reach("start-lock")
            self.published = Published(loaded.place)
            ready = make_ready(loaded.place / "journal")
            if crash_points.armed:
                crash_points.reach("start-ready")
            past = History(np.zeros(0, ROW), {})
            if ready.journal is None and inherited is not None:
                session = self._inherit(session, inherited)
            elif ready.journal is None:
                past = await asked(lambda: history(loaded, session, client, self.clock.local_ns()))
            if len(past.rows):
                session = msgspec.structs.replace(
                    session, start_ns=int(past.rows["local_ns"][0]), traded_from_ns=self.started_ns
                )
            found = self._open(with_digests(session, compiled), compiled, held, lock, ready)
        except BaseException:
            lock.close()
            raise
        try:
            await self._begin(client, credentials, found, past)
        except BaseException:
            asyncio.get_running_loop().remove_reader(self.loop.recorded.journal.notice_fd)
            self.loop.recorded.journal.close()  # And its lock: what the journal holds is whole, and so is how far it came.
            raise

    def _handed_over(self) -> Inherited | None:
        """What an earlier session handed over to one that has no journal yet; what its venue said about waiting holds for this one too."""
        loaded = self.loaded
        if not loaded.continues or any((loaded.place / "journal").glob(SEGMENT_PATTERN)):
            return None
        past = handover_file.read(loaded.continues)
        if past.now_ns > self.clock.local_ns():
            raise SessionError(
                "a handover of the future", file=loaded.continues, expected="a clock behind it", got=iso(past.now_ns)
            )
        handover_file.keep_wait_of(past, loaded.place)
        return past

    def _inherit(self, session: Session, past: Inherited) -> Session:
        """The session as it goes on from what an earlier one handed over, which is its own from here on."""
        require_fit(session, past)
        assert self.loaded.continues is not None
        handover_file.take(self.loaded.continues, self.loaded.place)
        if self.loaded.config.warmup.model_fields_set:
            self._say("no warm-up: strategies go on with the state that was handed over, and with what traded since")
        return msgspec.structs.replace(
            session, inherited=past, start_ns=past.now_ns, traded_from_ns=past.traded_from_ns
        )

    async def _begin(
        self, client: aiohttp.ClientSession, credentials: Credentials | None, found: Rebuilt | None, past: History
    ) -> None:
        """From a node behind a journal to a session that trades as soon as its sockets are open."""
        loaded = self.loaded
        session = self.loop.node.session
        if credentials is not None:
            self._make_edge(credentials, found)
        feed = make_feeds(loaded, session.instruments, self.loop, client, on_busy=self._venue_busy)
        if found is None:
            self.loop.start()
            if len(past.rows):
                await feed_history(self.loop, past.rows)
        else:
            if not self.loop.node.started:
                self.loop.start()
            await self._catch_up(client, found, feed.arbiter)
            if self._may_resume and credentials is None and self.loop.trading_state != "ACTIVE":
                self.loop.command("resume", SESSION_START)
        self.feed = feed
        if len(past.rows):
            self._end_warm_up(past)
        if self.orders is not None and found is None:  # Until fills are heard of as they come, as behind a journal.
            self.loop.command("reduce", SESSION_START)
            self._may_resume = True
        if self.orders is not None:  # After all that came before, whose times are earlier.
            market, ask = MARKETS[loaded.config.feed.venue], partial(feed.get, loaded.rest)
            self._fee_rate = fee_rate.FeeRate(self.loop, ask, market, self._say, self._fees, goes_on=found is not None)
        for line in limits_told(self.loop.node):
            self._say(line)
        journal = self.loop.recorded.journal
        self._say(f"{session.mode} session {session.name}, epoch {journal.epoch}, journal {journal.folder}")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)

    def _end_warm_up(self, past: History) -> None:
        """From history to now: timers in between fire, every market is stale and no book to be trusted, and only then it may trade."""
        loop, rows = self.loop, past.rows
        for slot, (
            number,
            venue_ns,
        ) in past.last_prints.items():  # What traded since is asked for when the feed is there.
            self.feed.arbiter.know_prints(slot, number, venue_ns)
        loop.take(self.feed.arbiter.begin(self.clock.local_ns()))
        refused = loop.counts.refused
        loop.command("resume", SESSION_START)
        for line in short_series(loop.node, self.loaded.config.warmup.bars):
            self._say(line)
        span_s = (int(rows["local_ns"][-1]) - int(rows["local_ns"][0])) / 1e9
        self._say(
            f"warm-up: {len(rows):,} rows of {span_s:,.0f} s of history, no order sent, {refused:,} calls refused meanwhile"
        )

    async def _catch_up(self, client: aiohttp.ClientSession, found: Rebuilt, arbiter: FeedArbiter) -> None:
        """What traded while nobody listened, at its own times, with every market stale: bars and indicators have no hole."""
        loop, instruments = self.loop, self.loop.node.session.instruments
        loaded = self.loaded
        rows, broken = await patiently(
            loaded.place, loaded.rest, self._say,
            lambda: missed_prints(loaded, instruments, client, found.last_prints, self.clock.local_ns()),
        )  # fmt: skip
        loop.take(arbiter.begin(int(loop.node.decision["clock"]["now_ns"])))
        await feed_missed(loop, rows)
        last = dict(found.last_prints)
        for row in rows:
            last[int(row["instrument"])] = int(row["trade_id"]), int(row["venue_ns"])
        for slot, (number, venue_ns) in last.items():
            arbiter.know_prints(slot, number, venue_ns)
        if len(rows):
            self._say(f"{len(rows):,} trades that were missed meanwhile came from the venue's list")
        for symbol in broken:
            self._say(
                f"! the venue does not tell all trades of {symbol} since the session stopped: bars and indicators have a hole"
            )

    def _open(
        self,
        session: Session,
        compiled: "list[CompiledStrategy]",
        held: AccountReport | None,
        lock: FolderLock,
        ready: Ready,
    ) -> Rebuilt | None:
        """The node, new or as its journal left it, behind a journal of a new epoch. None: there was no journal."""
        folder, live = self.loaded.place / "journal", session.mode == "live"
        found = None
        if ready.journal is not None:
            found = recover(ready.journal, session, compiled, self._progress)
            node = found.node
            session = node.session
            untold = session.inherited is None and int(node.decision["clock"]["now_ns"]) < session.traded_from_ns
            if found.said.warming or untold:  # History was to come, and it ended before or within that.
                raise SessionError(
                    "the journal ends in the middle of its warm-up", file=folder, expected="a session that has traded, or none",
                    got="strategies that saw half of their history", remedy="nothing was traded: remove the folder, or give the session another name",
                )  # fmt: skip
            if live:
                node.go_live()
            self._may_resume = found.may_resume
            if crash_points.armed:
                crash_points.reach("start-replayed")
            self._say(
                f"recovered {found.facts:,} facts and {node.decisions():,} decisions of {ready.journal.commits:,} commits"
                + (f", {found.from_snapshot:,} of them by a snapshot" if found.from_snapshot else "")
            )
            for line in found.passed_over:
                self._say(f"! {line}")
            if ready.torn_bytes:
                self._say(f"! {ready.torn_bytes} bytes of a torn end were cut and kept beside the journal")
        elif session.inherited is not None:
            found = Rebuilt(session, folder, compiled)
            node = found.node
            if live:
                node.go_live()
            self._may_resume = found.may_resume
            for line in differences(node, session.inherited):
                self._say(line)
        else:
            refuse_positions(held)
            node = LiveNode(session, "live" if live else "paper", compiled)
        fee_rate.require_rate(node, self._fees)
        behind = ready.behind
        if session.inherited is not None:  # Its client ids are of no epoch before.
            behind["epoch_above"] = max(int(behind.get("epoch_above", 0)), session.inherited.epoch)
        journal = JournalWriter(
            folder, session=dict(session_to_plain(session)), code=session.code, config=session.digest(),
            durability=self.loaded.config.session.durability, segment_rows=self.loaded.config.session.segment_rows, lock=lock, **behind,
        )  # fmt: skip
        if crash_points.armed:
            crash_points.reach("start-writer")
        asyncio.get_running_loop().add_reader(journal.notice_fd, self._released)
        self.loop = LiveLoop(
            RecordedNode(node, journal), self.clock, send=self._to_venue if live else None,
            withdraw=self._not_to_venue if live else None, fenced=self.published.fenced,
            tell_failure=self._tell_failure,
        )  # fmt: skip
        if found is not None:
            self.loop.last_word = found.said.last
        return found

    def _to_venue(self, requests: Rows) -> None:
        assert self.orders is not None
        self.orders.send(requests)

    def _not_to_venue(self, requests: Rows) -> None:
        assert self.orders is not None
        self.orders.withdraw(requests)

    def _make_edge(self, credentials: Credentials, found: Rebuilt | None) -> None:
        """The gateway of this epoch, with every order the journal knows in doubt until the venue has been asked."""
        loop, config = self.loop, self.loaded.config
        session = loop.node.session
        assert config.orders is not None
        settings = GatewaySettings(
            unpriced=fee_rate.unpriced(loop.node, self._fees), market=MARKETS[config.feed.venue], account=0, prefix=config.orders.prefix, epoch=loop.recorded.journal.epoch,
            instruments=dict(enumerate(session.instruments)),
            currencies={code: slot for slot, code in enumerate(loop.node.assembly.currencies)}, start_ns=session.traded_from_ns or session.start_ns,
            dead_man_timeout_ms=config.orders.dead_man_timeout // 10**6, websocket=config.orders.websocket,
        )  # fmt: skip
        gateway = Gateway(settings, credentials)
        endpoints = self.loaded.endpoints
        self.orders = OrderEdge(
            gateway, credentials, endpoints, loop,
            tell=self._tell,
        )  # fmt: skip
        every_ns = config.orders.reconcile_every
        self.reconciler = Reconciler(self.orders, self.loaded.place, every_ns, self._say, config.orders.cash_tolerance)
        self._say(
            f"orders go to {endpoints.rest}, wallet {from_scaled(session.cash, 8)} {session.currency} at the start"
        )
        if found is not None:
            if loop.trading_state == "ACTIVE":
                # At the journal's own time: what traded since is still to come.
                loop.command("reduce", SESSION_START, local_ns=int(loop.node.decision["clock"]["now_ns"]))
            self._rebuilt = gateway.rebuild(found.of_orders, *self.orders.times())
            self.orders.adopt()
            for _, rows in found.of_orders:
                self.orders.booked.take(rows)
            if crash_points.armed:
                crash_points.reach("start-rebuilt")

    def _tell(self, alert: Alert) -> None:
        if not (
            alert.name == "STREAM_DOWN" and self.stopping.is_set()
        ):  # Its connections are closed: nothing is wrong.
            self._say(told_of(alert))
        if alert.name in {"BANNED", "HELD_OFF"}:
            keep_wait(self.loaded.place, VenueWait(self.loaded.rest, alert.value, alert.name == "BANNED"))
            if hasattr(self, "feed"):
                self.feed.hold(self.loaded.rest, alert.value)

    def _venue_busy(self, rest: str, busy: VenueBusyError) -> None:
        """The feed's questions were too many: the limit is the address's, so orders heed it too."""
        until_ns = self.clock.local_ns() + busy.wait_ns
        if rest != self.loaded.rest:
            return
        if self.orders is not None:
            self.orders.take(self.orders.gateway.venue_busy(until_ns, *self.orders.times(), banned=busy.banned))
        else:
            self._say(f"! {busy}")
            keep_wait(self.loaded.place, VenueWait(rest, until_ns, busy.banned))

    def _tell_failure(self, failure: StrategyFailure) -> None:
        self._say(
            f"! strategy {failure.name} is halted by its own error, its orders are cancelled, others go on: {failure.error}"
        )
        keep_failure(self.loaded.place, failure, self.clock.local_ns())

    async def _reconcile(self, orders: OrderEdge) -> None:
        """Compare with the venue: after a restart before anything trades, and then again and again."""
        if self._rebuilt is not None:
            await self._prove(orders, self._rebuilt)
        else:
            while not orders.settled:
                await WORLD.sleep(PROVE_S)
            self.reconciler.note()  # An answer about the account may be as old as the beginning.
            self._trade(orders)
        await self.reconciler.run()

    async def _prove(self, orders: OrderEdge, rebuilt: Outcome) -> None:
        """After a restart: nothing but reducing orders until every order is proven and the positions agree."""
        orders.take(rebuilt)
        if crash_points.armed:
            crash_points.reach("start-proving")
        while not orders.settled:
            await WORLD.sleep(PROVE_S)
        if self._fee_rate is not None and self._fee_rate.first is not None:
            await self.reconciler.take_stock(fee_rate.ASSET, self._fee_rate.first)
        await self.reconciler.stop_on_breaks()
        if crash_points.armed:
            crash_points.reach("start-proven")
        if not self.reconciler.breaks:
            self._trade(orders)
            state = self.loop.trading_state
            self._say(f"every order is proven and the positions agree: {'trading' if state == 'ACTIVE' else state}")

    def _trade(self, orders: OrderEdge) -> None:
        """Begin to trade, where nobody and nothing has said otherwise."""
        if self._may_resume and not orders.needs_person and not self._ends:
            orders.begin_trading()

    @property
    def _ends(self) -> bool:
        """Whether everything is being cancelled, or is about to be: nothing begins to trade any more."""
        return self._cancelled or self.stopping.is_set()

    def _released(self) -> None:
        """The journal has news: commits became safe, or it failed."""
        self.loop.recorded.journal.clear_notice()
        self.loop.release()

    async def _until_stopped(self) -> None:
        await self.stopping.wait()
        if self.orders is not None and not self.loop.failure:
            self.loop.end_trading()
            await self._no_orders_left(self.orders)
        raise _StoppedError

    async def _cancel_after(self, group: BaseException) -> None:
        """The session ends by an error: whatever it was, cancel what works at the venue, as far as that can be done from here.

        The tasks are gone, the order connections with them: they are opened once more for this. The sidecar and the venue's own timer
        stand behind it, for a process that cannot even do that.
        """
        orders = self.orders
        reason = str(first_of(group)) or type(first_of(group)).__name__
        self._say(f"! the session ends by an error: {reason}")
        if orders is None or self._cancelled:
            return
        orders.transport.reopen()
        try:
            if not self.loop.failure:
                self.loop.end_trading()
        except Exception as error:  # noqa: BLE001 - a node that stopped handles nothing more; cancels need no node
            self.loop.failure = str(error)
        try:
            async with asyncio.timeout(CANCEL_S + REQUEST_S), asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(orders.transport.run(), name="cancels")
                await self._no_orders_left(orders)
                sending.cancel()
        except* Exception as again:  # noqa: BLE001 - the first error is raised; of this one a person has to know
            self._say(f"! its orders could not all be cancelled from here: {first_of(again)}; look at the venue")

    async def _no_orders_left(self, orders: OrderEdge) -> None:
        """Wait until the venue has proven that nothing of ours works there; say what remains when it takes too long."""
        self._cancelled = True
        orders.take(orders.gateway.cancel_all(*orders.times()))
        gateway = orders.gateway
        # By the clock: a busy machine sleeps longer than it is asked to.
        until_ns = WORLD.monotonic_ns() + int(CANCEL_S * 1e9)
        while (self.loop.waiting_orders or gateway.open_orders or gateway.dead_man.runs) and (
            WORLD.monotonic_ns() < until_ns
        ):
            await WORLD.sleep(PROVE_S)
            self.published.beat(self)
        for order in gateway.open_orders:
            self._say(may_still_work(self.loop.node, order))

    async def _time(self) -> None:
        """Timers and intervals that no fact tells of."""
        closing, market = ClosingWatch(self.loop.node), MarketWatch(self.clock.local_ns())
        while True:
            wake_ns = self.loop.node.next_wake_ns()
            now_ns = self.clock.local_ns()
            wait_s = TICK_S if wake_ns == NEVER else min(max((wake_ns - now_ns) / 1e9, 0.0005), TICK_S)
            await WORLD.sleep(wait_s)
            self.loop.tick()
            self.published.beat(self)
            if closed := closing.look():
                self._say(closed)
            if line := market.look(self.clock.local_ns(), stale=self.feed.stale, reasons=self.feed.reasons):
                self._say(line)
            if self.loop.failure or self.loop.is_fenced():
                if self.orders is not None:
                    await self._no_orders_left(self.orders)
                raise SessionError(self.loop.failure)

    def _person_decided(self) -> None:
        """Somebody said how trading goes on: from here on that is a person's."""
        self._may_resume = False
        if self.orders is not None:
            self.orders.operator_spoke()

    def _finish(self) -> None:
        """No more orders, working ones cancelled, the journal whole."""
        loop = self.loop
        journal = loop.recorded.journal
        # Told before the disk is waited for: a session that ends is not mute.
        self.published.end(failed=not self._in_order or bool(loop.failure))
        if not loop.failure:
            if self.orders is None:
                loop.end_trading()
            loop.recorded.checkpoint()
        asyncio.get_running_loop().remove_reader(journal.notice_fd)
        journal.close()
        session, equity = loop.node.session, int(loop.node.decision["accounts"][0]["equity"])
        fees, funding = (paid_in_all(loop.node.decision, what) for what in ("fees", "funding"))
        self.result = {
            "name": session.name, "mode": session.mode, "epoch": journal.epoch, "journal": str(journal.folder), "state": loop.trading_state,
            "failure": loop.failure, "facts": loop.counts.facts, "decisions": loop.node.decisions(), "requests": loop.counts.requests,
            "refused": loop.counts.refused, "refusals": refusals(loop.node), "positions": positions_left(loop.node), "fills": loop.counts.fills, "equity": from_scaled(equity, MONEY_SCALE),
            "fees": from_scaled(fees, MONEY_SCALE), "funding": from_scaled(funding, MONEY_SCALE), "currency": session.currency,
            "decision_hash": f"{loop.node.decision_hash() & (2**64 - 1):016x}",
            "failed_strategies": [
                spec.name for spec, failed in zip(session.strategies, loop.node.decision["strategies"]["failed"], strict=False) if failed
            ],
            "open_orders": [] if self.orders is None else [order.order_id for order in self.orders.gateway.open_orders],
        }  # fmt: skip
        decimals = session.money_decimals
        if refused := refusals(loop.node):
            self._say("refused so far: " + ", ".join(f"{name} {count:,}" for name, count in refused.items()))
        if left := positions_left(loop.node):
            self._say(f"positions left as they are: {', '.join(left)}")
        self._say(
            f"stopped: {loop.counts.facts:,} facts, {loop.node.decisions():,} decisions, {loop.counts.fills:,} fills, "
            f"equity {equity / MONEY_ONE:,.{decimals}f} {session.currency}, fees {fees / MONEY_ONE:,.{decimals}f}, "
            f"funding {funding / MONEY_ONE:+,.{decimals}f}"
        )


def _as_far_as_heard(say: Say) -> Say:
    """Lines for a person who may be gone: a closed terminal or pipe is no failure of the session, and may end none of its tasks."""

    def said(text: str) -> None:
        with contextlib.suppress(OSError):
            say(text)

    return said


class _StoppedError(Exception):
    """Somebody asked for the end."""


async def run_session(
    loaded: LoadedSession, say: Say, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Run a session until it is told to stop: what it came to. Raises the project's errors."""
    process = LiveProcess(loaded, say, progress)
    try:
        with first_raised(TwinloopError, OSError, msgspec.DecodeError):
            await process.run()
    except msgspec.DecodeError as error:
        raise DataError("the venue's answer cannot be read", got=str(error)) from None
    return process.result
