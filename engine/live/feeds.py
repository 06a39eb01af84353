"""The market's connections of a live session: opened, read, watched and replaced, each by one task. Thin: FeedArbiter decides.

    feeds = Feeds(addresses, arbiter, take=loop.take, clock=clock, client=client); await feeds.run()

A source has one connection, and a second one while the first is being replaced. A frame is handled in the call that reads it, and what
comes meanwhile waits in the system's sockets: the venue's sender waits, nothing here grows. This module must not decide which feed is used.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from websockets.exceptions import WebSocketException

from twinloop.data.binance_past_trades import PastTrades, trades_after
from twinloop.data.binance_polled import PolledMarket
from twinloop.data.binance_stream import FRAME_BYTES_MAX, BinanceStream
from twinloop.data.book_sync import EMPTY
from twinloop.data.connect_pacing import Pacing
from twinloop.data.errors import DecodeError, TwinloopError
from twinloop.data.feed_arbiter import FeedArbiter, FeedSettings, Leg, Wanted
from twinloop.data.feed_codes import BACKUP, PRIMARY, SOURCE_NAME
from twinloop.data.instruments import Instrument
from twinloop.data.live_turn import TAKEN, FrameWay
from twinloop.data.prompt_socket import PromptConnection
from twinloop.data.rowfile import Rows
from twinloop.engine.errors import first_raised
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.mark_feed import MarkFeed, Tap, make_marks
from twinloop.engine.live.rest import get, unreachable
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD, ReceiveClock

OPEN_S: Final = 10.0
WATCH_S: Final = 0.05  # Between two looks at the watchdogs.
SNAPSHOT_WAIT_S: Final = 0.5
PING_S: Final = 10.0
LEGS_MAX: Final = 2  # Of one source.


@dataclass(frozen=True, slots=True)
class Source:
    """Where one feed comes from. stream: with its streams' names; rest: for snapshots. more: addresses of what belongs to it besides."""

    number: int
    stream: str
    rest: str
    more: tuple[str, ...] = ()


class TakeFrame(Protocol):
    """LiveLoop.take_frame."""

    def __call__(self, way: FrameWay, frame: bytes, alone: bool, /) -> int:
        """Handle a frame of the active leg, received now: LiveTurn.frame."""


@dataclass(eq=False)
class _Connection:
    """The sockets of one leg, one or more: it stands and falls with all of them. Its task is the only one that reads them."""

    source: Source
    leg: Leg
    sockets: list[Any]
    asking: set[str] = field(default_factory=set)
    closing: bool = False


class Feeds:
    """Every connection of a session's market. take, take_frame: the loop's; without the second, and with a tap, frames go as rows.

    poll_after_ns: 0 never asks by REST for what does not stream. marks: beside them, where wanted. past: how each instrument's past trades are asked for, where that is wanted.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        arbiter: FeedArbiter,
        *,
        take: Callable[[Rows], None],
        take_frame: TakeFrame | None = None,
        clock: ReceiveClock,
        client: aiohttp.ClientSession,
        polled: PolledMarket | None = None,
        poll_after_ns: int = 0,
        poll_every_ns: int = 2_000_000_000,
        tap: Tap | None = None,
        past: Sequence[PastTrades] = (),
        marks: MarkFeed | None = None,
        on_busy: Callable[[str, VenueBusyError], None] | None = None,
    ) -> None:
        self.arbiter = arbiter
        self.marks = marks
        self._past = past
        self.sources = list(sources)
        self.connects = 0
        self.reasons: dict[int, str] = {}
        self._take = take
        self._take_frame = take_frame if tap is None else None
        self._tap = tap
        self._clock = clock
        self._client = client
        self._polled = polled
        self._poll_after_ns = poll_after_ns
        self._poll_every_ns = poll_every_ns
        self._connections: list[_Connection] = []
        self._pacings: dict[str, Pacing] = {}
        self._held_until_ns: dict[str, int] = {}
        self._on_busy = on_busy
        self._tasks: asyncio.TaskGroup

    @property
    def connected(self) -> bool:
        """Whether any connection is up."""
        return bool(self._connections)

    @property
    def stale(self) -> bool:
        """Whether any market is."""
        return self.arbiter.stale

    async def run(self) -> None:
        """Keep every source connected. Ends only with an error or by being cancelled."""
        self._take(self.arbiter.begin(self._clock.local_ns()))
        with first_raised(TwinloopError):
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for source in self.sources:
                    tasks.create_task(self._keep(source), name=f"feed-{SOURCE_NAME[source.number]}")
                tasks.create_task(self._watch(), name="feed-watch")
                if self.marks is not None:
                    tasks.create_task(
                        self.marks.run(lambda host, now_ns: self._pacing(host).tried(now_ns)), name="feed-marks"
                    )
                if self._polled is not None and self._poll_after_ns:
                    tasks.create_task(self._poll(self._polled), name="feed-polled")

    # ---- Connections.

    def _pacing(self, host: str) -> Pacing:
        """Of all connections to a host."""
        return self._pacings.setdefault(host, Pacing())

    async def _keep(self, source: Source) -> None:
        """Have a connection, and another one as soon as it is to be replaced."""
        pacing = self._pacing(urlsplit(source.stream).netloc)
        while True:
            await WORLD.sleep(pacing.wait_s(self._clock.local_ns(), WORLD.random()))
            try:
                sockets = await self._connected(source, pacing)
            except (OSError, WebSocketException, TimeoutError) as error:
                self.reasons[source.number] = _why(error, source.stream)
                pacing.ended(0)
                continue
            began_ns = self._clock.local_ns()
            connection = self._opened(source, sockets, began_ns)
            reading = self._tasks.create_task(self._read(connection), name=f"feed-read-{source.number}")
            while not reading.done() and not (connection.leg.retiring and self._count(source) < LEGS_MAX):
                await asyncio.wait([reading], timeout=WATCH_S)
            if reading.done():
                pacing.ended(self._clock.local_ns() - began_ns)

    async def _connected(self, source: Source, pacing: Pacing) -> list[Any]:
        """Every connection of a source, or none."""
        sockets: list[Any] = []
        try:
            for address in (source.stream, *source.more):
                pacing.tried(self._clock.local_ns())
                sockets.append(
                    await WORLD.connect(
                        address, max_size=FRAME_BYTES_MAX, compression=None, open_timeout=OPEN_S, close_timeout=1.0,
                        create_connection=PromptConnection, ping_interval=PING_S, ping_timeout=PING_S,
                    )
                )  # fmt: skip
        except BaseException:
            for socket in sockets:
                await socket.close()
            raise
        return sockets

    def _count(self, source: Source) -> int:
        return sum(each.source is source for each in self._connections)

    def _opened(self, source: Source, sockets: list[Any], now_ns: int) -> _Connection:
        self.connects += 1
        self.reasons.pop(source.number, None)
        leg, rows = self.arbiter.open(source.number, now_ns)
        connection = _Connection(source, leg, sockets)
        self._connections.append(connection)
        self._take(rows)
        return connection

    async def _read(self, connection: _Connection) -> None:
        """Read until the connection is over, however it ends. A session that ends tells nobody of it."""
        leg, sockets = connection.leg, connection.sockets
        stream = leg.stream

        def take(frame: bytes) -> None:
            self.on_frame(leg, frame)
            if stream.place >= 0 and stream.waits(stream.place):
                self._ask(connection)

        try:
            async with AsyncExitStack() as stack:
                for socket in sockets:
                    await stack.enter_async_context(socket)
                await (sockets[0].deliver(take) if len(sockets) == 1 else _first_over(sockets, take))
        except (OSError, WebSocketException) as error:
            self.reasons[connection.source.number] = str(error) or type(error).__name__
        self._connections.remove(connection)
        self._take(self.arbiter.on_closed(leg, self._clock.local_ns()))

    def on_frame(self, leg: Leg, frame: bytes) -> None:
        """A frame of a connection goes to the node. The usual one of the active leg in one call, and what only watchdogs ask for after it."""
        arbiter = self.arbiter
        if leg is arbiter.active and not arbiter.holes and self._take_frame is not None:
            way = leg.way
            left = self._take_frame(way, frame, len(arbiter.legs) == 1)
            now_ns = way.local_ns
            if left == TAKEN:
                arbiter.took(leg, now_ns)
                return
        else:
            left, now_ns = -1, self._clock.local_ns()
        rows = arbiter.on_frame(leg, frame, now_ns, left)
        if self._tap is not None and leg is arbiter.active:
            self._tap.on_raw(leg.stream.place, frame, now_ns)
        if len(rows):
            self._take(rows)

    def hold(self, rest: str, until_ns: int) -> None:
        """Ask nothing of a venue's address before then (local ns): it said so, to us or to another part of the session."""
        self._held_until_ns[rest] = max(self._held_until_ns.get(rest, 0), until_ns)

    async def get(self, rest: str, path: str) -> bytes:
        """Body of a GET. SessionError where none was to be had, and where none may be asked for yet."""
        left_ns = self._held_until_ns.get(rest, 0) - self._clock.local_ns()
        if left_ns > 0:
            raise VenueBusyError(rest, wait_ns=left_ns, banned=False)
        try:
            return await get(self._client, rest + path)
        except VenueBusyError as busy:
            self.hold(rest, self._clock.local_ns() + busy.wait_ns)
            if self._on_busy is not None:
                self._on_busy(rest, busy)
            raise

    def _ask(self, connection: _Connection) -> None:
        for symbol in connection.leg.stream.wanting:
            if symbol not in connection.asking:
                connection.asking.add(symbol)
                self._tasks.create_task(self._snapshot(connection, symbol), name=f"snapshot-{symbol}")

    async def _snapshot(self, connection: _Connection, symbol: str) -> None:
        """Ask for a book's snapshot until one can be used."""
        stream, source = connection.leg.stream, connection.source
        try:
            while connection in self._connections and symbol in stream.wanting:
                try:
                    body = await self.get(source.rest, stream.snapshot_path(symbol))
                except SessionError as error:
                    self.reasons[source.number] = str(error)
                else:
                    now_ns = self._clock.local_ns()
                    rows = self.arbiter.on_snapshot(connection.leg, symbol, body, now_ns)
                    if self._tap is not None and connection.leg is self.arbiter.active:
                        self._tap.on_raw(stream.symbols.index(symbol), body, now_ns)
                    self._take(rows)
                if symbol in stream.wanting:
                    await WORLD.sleep(SNAPSHOT_WAIT_S)
        finally:
            connection.asking.discard(symbol)

    async def _watch(self) -> None:
        """Watchdogs, and the end of connections that are replaced or past hope."""
        while True:
            await WORLD.sleep(WATCH_S)
            now_ns = self._clock.local_ns()
            self._take(self.arbiter.on_tick(now_ns))
            for wanted in self.arbiter.wanted() if self._past else ():
                self._tasks.create_task(self._ask_past(wanted), name="feed-past")
            for each in self._connections:
                if not each.closing and (each.leg.dismissed or each.leg.hopeless(now_ns)):
                    each.closing = True
                    self._tasks.create_task(self._close(each), name="feed-close")

    async def _ask_past(self, wanted: Wanted) -> None:
        """Have the prints given out that no connection saw."""
        rows, whole = EMPTY, False
        for source in self.sources:

            async def body(path: str, rest: str = source.rest) -> bytes:
                return await self.get(rest, path)

            try:
                past, now_ns = self._past[wanted.place], self._clock.local_ns()
                rows, whole = await trades_after(body, past, wanted.after_id, wanted.after_ns, now_ns)
            except (SessionError, DecodeError) as error:
                self.reasons[source.number] = str(error)
            else:
                break
        self._take(self.arbiter.on_past(wanted, rows, self._clock.local_ns(), whole=whole))

    @staticmethod
    async def _close(connection: _Connection) -> None:
        for socket in connection.sockets:
            await socket.close()

    # ---- The last resort.

    async def _poll(self, polled: PolledMarket) -> None:
        """Ask for prices while nothing streams that may be used."""
        unfit_since_ns = self._clock.local_ns()
        while True:
            await WORLD.sleep(self._poll_every_ns / 1e9)
            now_ns = self._clock.local_ns()
            if not self.arbiter.unfit:
                unfit_since_ns = now_ns
            elif now_ns - unfit_since_ns >= self._poll_after_ns:
                for place in range(len(self.arbiter.slots)):
                    if self.arbiter.starves(place, now_ns):
                        await self._poll_one(polled, place)

    async def _poll_one(self, polled: PolledMarket, place: int) -> None:
        for source in self.sources:
            try:
                book, prints = [await self.get(source.rest, path) for path in polled.paths(place)]
            except SessionError as error:
                self.reasons[source.number] = str(error)
                continue
            now_ns = self._clock.local_ns()
            self._take(self.arbiter.on_polled(place, polled.rows(place, book, prints, now_ns), now_ns))
            return

    # ---- For a person.

    def told(self, now_ns: int) -> list[dict[str, Any]]:
        """One document a connection or an unreachable source, for a status view."""
        found = []
        lag_ns = self.arbiter.lag_ns()
        for source in self.sources:
            its = [each for each in self._connections if each.source is source]
            for each in its:
                stream, leg = each.leg.stream, each.leg
                found.append({
                    "feed": f"{SOURCE_NAME[source.number]} {source.stream.partition('?')[0]}",
                    "state": "active" if leg is self.arbiter.active else ("standby" if leg.fit_since_ns else "not fit"),
                    "frames": stream.counts["frames"], "refused": stream.refused, "unusual": stream.counts["unusual"],
                    "last": f"{(now_ns - leg.last_ns) // 10**6} ms" if leg.last_ns else "never",
                } | ({"late": f"{lag_ns / 1e6:.1f} ms"} if lag_ns is not None and leg is self.arbiter.active else {}))  # fmt: skip
            if not its:
                found.append({
                    "feed": f"{SOURCE_NAME[source.number]} {source.stream.partition('?')[0]}", "state": "not connected",
                    "reason": self.reasons.get(source.number, ""),
                })  # fmt: skip
        if found:
            found[0] |= {"connects": self.connects, "switches": self.arbiter.switches}
            if self.arbiter.late_prints or self.arbiter.unfilled:
                found[0] |= {"late prints": self.arbiter.late_prints, "holes": self.arbiter.unfilled}
        return found if self.marks is None else [*found, self.marks.told(now_ns)]


def _why(error: Exception, stream: str) -> str:
    """Why a connection could not be had, in few words."""
    if isinstance(error, WebSocketException):
        return str(error) or type(error).__name__
    found = unreachable(error, stream)
    return f"{found.what}: {found.got}"


async def _first_over(sockets: Sequence[Any], take: Callable[[bytes], None]) -> None:
    """Have the messages of several sockets taken until one of them is over: raises why."""
    reading = [asyncio.ensure_future(socket.deliver(take)) for socket in sockets]
    try:
        done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


def make_feeds(
    loaded: LoadedSession,
    instruments: Sequence[Instrument],
    loop: LiveLoop,
    client: aiohttp.ClientSession,
    *,
    on_busy: Callable[[str, VenueBusyError], None] | None = None,
) -> Feeds:
    """The feeds of a session's configuration."""
    config = loaded.config.feed
    depth = config.shown == "depth"
    markets = loop.node.decision["instruments"]
    arbiter = FeedArbiter(
        config.venue, instruments,
        FeedSettings(
            stale_ns=config.stale_after, lag_ns=config.lag_max, late_ns=config.late_after, dwell_ns=config.dwell, disagree_bps=config.disagree_bps,
            rotate_ns=config.rotate_after,
        ),
        depth=depth, touch=lambda slot: (int(markets[slot]["bid"]), int(markets[slot]["ask"])), past=True, prints=config.prints,
    )  # fmt: skip
    names = BinanceStream(config.venue, instruments, depth=depth, prints=config.prints)
    first, *more = names.urls(loaded.stream)
    sources = [Source(PRIMARY, first, loaded.rest, tuple(more))]
    bases = [(PRIMARY, loaded.stream)]
    if config.backup_stream:
        rest = (config.backup_rest or loaded.rest).rstrip("/")
        bases.append((BACKUP, config.backup_stream.rstrip("/")))
        first, *more = names.urls(bases[1][1])
        sources.append(Source(BACKUP, first, rest, tuple(more)))
    return Feeds(
        sources, arbiter, take=loop.take, take_frame=loop.take_frame, clock=loop.clock, client=client,
        polled=PolledMarket(config.venue, instruments, depth=depth, prints=config.prints), poll_after_ns=config.poll_after,
        poll_every_ns=config.poll_every, past=[PastTrades(config.venue, each, slot, aggregated=config.prints == "aggTrade") for slot, each in enumerate(instruments)],
        on_busy=on_busy, marks=make_marks(config.venue, instruments, bases, take=loop.take, clock=loop.clock) if config.tells_marks else None,
    )  # fmt: skip
