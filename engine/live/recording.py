"""A recording in progress: the feeds of a live session with a recorder in place of a node.

    asyncio.run(Recording(plan, show).run())

Feeds are watched, replaced and connected again as in a session, and its rows are written. This module must not decode.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from twinloop.data.binance_instruments import instruments_of
from twinloop.data.binance_stream import BinanceStream, info_path
from twinloop.data.errors import DataError, TwinloopError
from twinloop.data.feed_arbiter import FeedArbiter, FeedSettings
from twinloop.data.feed_codes import PRIMARY
from twinloop.data.recorder import Recorder, sync
from twinloop.engine.errors import first_raised
from twinloop.engine.live.config import DEFAULT_REST, DEFAULT_STREAM
from twinloop.engine.live.feeds import Feeds, Source
from twinloop.engine.live.mark_feed import make_marks
from twinloop.engine.live.rest import get
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.seam import ReceiveClock

REQUEST_S: Final = 10.0
TEND_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """What to record, and where to. Times in ns; duration_ns 0: until it is stopped; sync_ns 0: when files are finished only."""

    venue: str
    symbols: list[str]
    folder: Path
    stream: str = ""
    rest: str = ""
    duration_ns: int = 0
    roll_ns: int = 3_600_000_000_000
    sync_ns: int = 5_000_000_000
    packed: bool = True
    rows: bool = True
    marks: bool = True  # And funding, of futures.


@dataclass(frozen=True, slots=True)
class RecordProgress:
    """How a recording stands."""

    seconds: float
    lines: int
    text_bytes: int
    rows: int
    lines_per_s: float
    stale: bool
    connects: int
    feeds: list[dict[str, Any]] = field(default_factory=list)


class _StoppedError(Exception):
    """It was told to stop, or its time is over."""


class Recording:
    """Runs until its duration is over, `stopping` is set, or the disk or venue make it impossible."""

    def __init__(self, plan: RecordPlan, show: Callable[[RecordProgress], None]) -> None:
        self.plan = plan
        self.stopping = asyncio.Event()
        self.recorder: Recorder
        self.feeds: Feeds
        self._show = show
        self._clock = ReceiveClock()
        self._rest = (plan.rest or DEFAULT_REST[plan.venue]).rstrip("/")
        self._began_ns = self._clock.local_ns()
        self._counted = (self._began_ns, 0)

    async def run(self) -> RecordProgress:
        """Record. Raises the project's errors; what was recorded before is whole."""
        plan = self.plan
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_S)) as client:
            instruments = instruments_of(
                await get(client, self._rest + info_path(plan.venue)), plan.venue, plan.symbols
            )
            self.recorder = Recorder(
                plan.folder, plan.venue, instruments, self._clock.local_ns(), roll_ns=plan.roll_ns, packed=plan.packed,
                rows=plan.rows,
            )  # fmt: skip
            names = BinanceStream(plan.venue, instruments, depth=True, quotes=True)
            base = (plan.stream or DEFAULT_STREAM[plan.venue]).rstrip("/")
            self.feeds = Feeds(
                [Source(PRIMARY, names.url(base), self._rest)],
                FeedArbiter(plan.venue, instruments, FeedSettings(), depth=True, quotes=True),
                take=self.recorder.on_rows, clock=self._clock, client=client, tap=self.recorder,
                marks=make_marks(
                    plan.venue, instruments, [(PRIMARY, base)], take=self.recorder.on_rows, clock=self._clock, tap=self.recorder
                ) if plan.marks and plan.venue != "binance-spot" else None,
            )  # fmt: skip
            try:
                with first_raised(TwinloopError):
                    try:
                        async with asyncio.TaskGroup() as tasks:
                            tasks.create_task(self.feeds.run(), name="feeds")
                            tasks.create_task(self._tend(client, names), name="tend")
                    except* _StoppedError:
                        pass
            finally:
                self.recorder.close()
        return self.progress()

    def progress(self) -> RecordProgress:
        """How it stands now."""
        now_ns = self._clock.local_ns()
        since_ns, lines = self._counted
        rate = (self.recorder.lines - lines) / max((now_ns - since_ns) / 1e9, 1e-3)
        if now_ns - since_ns >= 10**9:
            self._counted = now_ns, self.recorder.lines
        return RecordProgress(
            seconds=(now_ns - self._began_ns) / 1e9, lines=self.recorder.lines, text_bytes=self.recorder.text_bytes,
            rows=self.recorder.row_count, lines_per_s=rate, stale=self.feeds.stale, connects=self.feeds.connects,
            feeds=self.feeds.told(now_ns),
        )  # fmt: skip

    async def _tend(self, client: aiohttp.ClientSession, names: BinanceStream) -> None:
        """Syncs, new files, the time's end, and what a person sees."""
        plan = self.plan
        synced_ns = self._clock.local_ns()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), TEND_S)
            now_ns = self._clock.local_ns()
            if self.stopping.is_set() or 0 < plan.duration_ns <= now_ns - self._began_ns:
                raise _StoppedError
            if self.recorder.due(now_ns):
                self.recorder.roll(now_ns)
                await self._begin_with_books(client, names)
            elif plan.sync_ns and now_ns - synced_ns >= plan.sync_ns:
                synced_ns = now_ns
                await self._sync()
            self._show(self.progress())

    async def _sync(self) -> None:
        try:
            await asyncio.to_thread(sync, self.recorder.flush())
        except OSError as error:
            raise DataError("cannot record", file=self.plan.folder, got=error.strerror) from None

    async def _begin_with_books(self, client: aiohttp.ClientSession, names: BinanceStream) -> None:
        """A snapshot near the beginning of each new file, so that it can be read without the one before."""
        for place, symbol in enumerate(names.symbols):
            with suppress(SessionError):  # The file before it has the book; the next one tries again.
                body = await get(client, self._rest + names.snapshot_path(symbol))
                self.recorder.on_raw(place, body, self._clock.local_ns())
