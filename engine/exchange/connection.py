"""One WebSocket connection: what waits to be sent on it, what it listens to, and when it is cut.

A connection that does not keep up is cut, as the venue does: each has a bounded queue and a task of its own that writes.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from twinloop.engine.exchange.model import Account, Market
from twinloop.engine.exchange.sessions import DAY_MS

QUEUE_MAX: Final = 20_000
STREAMS_MAX: Final = 1024
# How often the venue pings, and how long it waits for the answer; messages a client may send in a second.
PING_MS: Final[dict[str, int]] = {"spot": 20_000, "usdm": 180_000, "coinm": 180_000}
PONG_MS: Final[dict[str, int]] = {"spot": 60_000, "usdm": 600_000, "coinm": 600_000}
INBOUND_PER_S: Final[dict[str, int]] = {"spot": 5, "usdm": 10, "coinm": 10}
_PING: Final = ""
# What USD-M sends under each of its paths; of anything else asked for there nothing ever comes.
_PUBLIC: Final = ("depth", "bookTicker", "trade")


@dataclass(eq=False)
class Connection:
    """accounts: whose user events it gets, by subscription number; keys: by which listen key. wrapped_user: the WebSocket API's way."""

    socket: web.WebSocketResponse
    market: Market
    opened_ms: int
    combined: bool = False
    wrapped_user: bool = False
    route: str = ""  # "public", "market" or "private" of USD-M; empty: every stream comes.
    streams: set[str] = field(default_factory=set)
    accounts: dict[int, Account] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    session: Account | None = None  # Logged on: nothing more has to be signed.
    ended: bool = False
    queue: "asyncio.Queue[str]" = field(default_factory=lambda: asyncio.Queue(QUEUE_MAX))
    _pinged_ms: int = 0
    _waiting_ms: int | None = None  # When the first ping was sent that is not answered yet.
    _inbound: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._pinged_ms = self.opened_ms

    def send(self, message: str) -> None:
        """Send soon; a connection with too much waiting is cut."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.cut()

    def hears(self, stream: str) -> bool:
        """Whether a stream is sent here, where it is asked for."""
        of_public = stream.partition("@")[2].partition("@")[0] in _PUBLIC
        return not self.route or self.route == ("public" if of_public else "market")

    def listen_for(self, account: Account, key: str = "") -> int:
        """Hear of an account's events from here on: the subscription's number."""
        number = max(self.accounts, default=-1) + 1
        self.accounts[number] = account
        self.keys[number] = key
        return number

    def cut(self) -> None:
        """End it at once, without a word."""
        self.ended = True
        transport = self.socket._req.transport if self.socket._req is not None else None  # noqa: SLF001 - aiohttp has no other way
        if transport is not None:
            transport.abort()

    def ponged(self) -> None:
        """The client answered a ping, or sent a pong of its own."""
        self._waiting_ms = None

    def heard(self, now_ms: int) -> bool:
        """Count a message of the client: whether it may still send so many."""
        self._inbound.append(now_ms)
        while self._inbound[0] <= now_ms - 1000:
            self._inbound.popleft()
        return len(self._inbound) <= INBOUND_PER_S[self.market]

    def pass_time(self, now_ms: int) -> None:
        """Ping when it is time; cut a client that does not answer, and any after a day."""
        mute = self._waiting_ms is not None and now_ms - self._waiting_ms > PONG_MS[self.market]
        if mute or now_ms - self.opened_ms >= DAY_MS:
            self.cut()
        elif now_ms - self._pinged_ms >= PING_MS[self.market]:
            self._pinged_ms = now_ms
            self._waiting_ms = self._waiting_ms or now_ms
            self.send(_PING)

    async def write(self) -> None:
        """The connection's writing task."""
        while True:
            message = await self.queue.get()
            if message == _PING:
                await self.socket.ping(str(self._pinged_ms).encode())
            else:
                await self.socket.send_str(message)
