"""The connection of mark prices and of the funding they tell of: opened, read, watched and replaced by one task, beside the market's feeds.

    marks = MarkFeed([(PRIMARY, address)], stream, take=loop.take, clock=clock); await marks.run(tried)

Of a futures venue only. The decoder outlives its connections, so that funding which fell due while there was none is told by the first
message after it. A mark values nothing while a market has a mid or a last price: marks that stay away are told, asked for anew, and make
no market stale; what is valued by them is refused by their age. This module must not decode, and nothing a venue sends raises.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException

from twinloop.data.binance_stream import FRAME_BYTES_MAX, BinanceStream
from twinloop.data.cadence import Cadence
from twinloop.data.connect_pacing import Pacing
from twinloop.data.feed_codes import SOURCE_NAME
from twinloop.data.instruments import Instrument
from twinloop.data.prompt_socket import PromptConnection
from twinloop.data.rowfile import Rows
from twinloop.engine.seam import WORLD, ReceiveClock

OPEN_S: Final = 10.0
WATCH_S: Final = 0.25
PING_S: Final = 10.0
HOPELESS_NS: Final = 5_000_000_000  # Silent for so long beyond what is usual, and another connection is better.
ROTATE_NS: Final = 23 * 3_600_000_000_000  # The venue ends a connection at 24 hours.


class Tap(Protocol):
    """Who wants what came as it came."""

    def on_raw(self, place: int, text: bytes, local_ns: int) -> None:
        """A text of the instrument at a place; -1: of none, or nobody knows."""


class MarkFeed:
    """sources: number and address of each connection that tells marks, tried in turn. stream: of marks alone."""

    def __init__(
        self,
        sources: Sequence[tuple[int, str]],
        stream: BinanceStream,
        *,
        take: Callable[[Rows], None],
        clock: ReceiveClock,
        tap: Tap | None = None,
    ) -> None:
        self.stream = stream
        self.connects = 0
        self.reason = ""
        self._sources = list(sources)
        self._source = 0
        self._take = take
        self._clock = clock
        self._tap = tap
        self._cadences = [Cadence() for _ in stream.symbols]
        self._up = False
        self._last_ns = 0

    async def run(self, tried: Callable[[str, int], None]) -> None:
        """Keep a connection. Ends only with an error or by being cancelled. tried: told of each try, the host and the time.

        Its failures make nobody else wait; that it tried counts in what the venue allows to all.
        """
        pacing = Pacing()
        while True:
            number, address = self._sources[self._source]
            await WORLD.sleep(pacing.wait_s(self._clock.local_ns(), WORLD.random()))
            began_ns = self._clock.local_ns()
            pacing.tried(began_ns)
            tried(urlsplit(address).netloc, began_ns)
            try:
                socket = await WORLD.connect(
                    address, max_size=FRAME_BYTES_MAX, compression=None, open_timeout=OPEN_S, close_timeout=1.0,
                    create_connection=PromptConnection, ping_interval=PING_S, ping_timeout=PING_S,
                )  # fmt: skip
                began_ns = self._clock.local_ns()
                await self._read(socket, number)
            except (OSError, WebSocketException, TimeoutError) as error:
                self.reason = str(error) or type(error).__name__
            finally:
                self._up = False
            pacing.ended(self._clock.local_ns() - began_ns)
            self._source = (self._source + 1) % len(self._sources)

    async def _read(self, socket: Any, number: int) -> None:
        """Read until the connection is over, too old, or past hope."""
        self.connects += 1
        began_ns = self._clock.local_ns()
        for cadence in self._cadences:
            cadence.began(began_ns)

        def take(frame: bytes) -> None:
            self.on_frame(frame, number)

        async with socket:
            self._up, self.reason = True, ""
            reading = asyncio.ensure_future(socket.deliver(take))
            try:
                while not reading.done():
                    await asyncio.wait([reading], timeout=WATCH_S)
                    now_ns = self._clock.local_ns()
                    if now_ns - began_ns > ROTATE_NS or self.stream.closing or self._hopeless(now_ns):
                        self.stream.closing = False
                        return
                reading.result()
            finally:
                reading.cancel()
                await asyncio.gather(
                    reading, return_exceptions=True
                )  # However it ended, nobody is left with its error.

    def on_frame(self, frame: bytes, number: int) -> None:
        """A frame of the connection to a source goes to the node."""
        now_ns = self._clock.local_ns()
        rows = self.stream.on_frame(frame, now_ns)
        place = self.stream.place
        if self._tap is not None:
            self._tap.on_raw(place, frame, now_ns)
        if not len(rows):
            return
        self._cadences[place].heard(now_ns)
        self._last_ns = now_ns
        rows["source"] = number
        self._take(rows)

    def silent(self, now_ns: int) -> list[str]:
        """Symbols whose marks stay away, or all where there is no connection."""
        return [
            symbol
            for symbol, cadence in zip(self.stream.symbols, self._cadences, strict=True)
            if not self._up or cadence.silent(now_ns)
        ]

    def _hopeless(self, now_ns: int) -> bool:
        return all(cadence.silent(now_ns - HOPELESS_NS) for cadence in self._cadences)

    def told(self, now_ns: int) -> dict[str, Any]:
        """A document for a status view."""
        number, address = self._sources[self._source]
        silent = self.silent(now_ns)
        return {
            "feed": f"marks {SOURCE_NAME[number]} {address.partition('?')[0]}",
            "state": ("silent: " + ", ".join(silent[:3]) + (" ..." if len(silent) > 3 else "")) if self._up and silent
            else ("active" if self._up else "not connected"),
            "frames": self.stream.counts["frames"], "refused": self.stream.refused,
            "last": f"{(now_ns - self._last_ns) // 10**6} ms" if self._last_ns else "never", "connects": self.connects,
        } | ({"reason": self.reason} if self.reason and not self._up else {})  # fmt: skip


def make_marks(
    venue: str,
    instruments: Sequence[Instrument],
    bases: Sequence[tuple[int, str]],
    *,
    take: Callable[[Rows], None],
    clock: ReceiveClock,
    tap: Tap | None = None,
) -> MarkFeed:
    """The marks of a futures venue's instruments. bases: number and address of each source, without the streams' names."""
    stream = BinanceStream(venue, instruments, depth=False, marks=True)
    return MarkFeed([(number, stream.url(base)) for number, base in bases], stream, take=take, clock=clock, tap=tap)
