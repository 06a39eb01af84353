"""A WebSocket relay between a client and a venue's market streams, with the faults of a network on switches. Real sockets.

    async with StreamRelay(f"ws://127.0.0.1:{exchange.port}") as relay: ... relay.address ...; relay.frozen = True; relay.reset()

It passes messages on in order and shares nothing with the code under test.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from typing import Any, Self

import aiohttp
from aiohttp import WSMsgType, web


class StreamRelay:
    """silent: no data, pings answered. frozen: nothing at all, half open. refuse: no new connection. delay_s: of every message.

    lose, double, swap, corrupt: how many of the next depth updates meet that. connects, passed and what is injected are of the book's and
    the prints' connections, not of the one of marks beside them, which meets everything else as they do.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.silent = self.frozen = self.refuse = False
        self.mute_marks = False  # Marks alone are silent.
        self.delay_s = 0.0
        self.lose = self.double = self.swap = self.corrupt = 0
        self.connects = 0
        self.passed = 0
        self.clients: dict[web.WebSocketResponse, web.Request] = {}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reset()
        await self.session.close()
        await self.runner.cleanup()

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open_markets(self) -> int:
        """Connections of books and prints that are open."""
        return sum(is_of_market(request) for request in self.clients.values())

    def reset(self, path: str = "/") -> None:
        """Every connection below a path ends with a TCP reset, without a word."""
        for request in [each for each in self.clients.values() if each.path.startswith(path)]:
            transport = request.transport
            if transport is not None:
                raw = transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()

    async def inject(self, frames: list[str]) -> None:
        """Send these to every client of the market's streams as fast as its socket takes them."""
        for client in [client for client, request in self.clients.items() if is_of_market(request)]:
            for frame in frames:
                await client.send_str(frame)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse | web.Response:
        if self.refuse:
            return web.Response(status=503)
        client = web.WebSocketResponse(autoping=False, compress=False)
        await client.prepare(request)
        self.connects += is_of_market(request)
        self.clients[client] = request
        try:
            async with self.session.ws_connect(self.upstream + request.path_qs, max_msg_size=0) as upstream:
                tasks = [
                    asyncio.create_task(self._down(upstream, client, of_marks=is_of_marks(request))),
                    asyncio.create_task(self._up(client)),
                ]
                done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                del done
        finally:
            del self.clients[client]
            with contextlib.suppress(ConnectionError, RuntimeError):
                await client.close()
        return client

    async def _up(self, client: web.WebSocketResponse) -> None:
        """What the client sends: pings, answered unless nothing is."""
        while True:
            message = await client.receive()
            if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}:
                return
            while self.frozen:  # noqa: ASYNC110 - a test sets it from outside
                await asyncio.sleep(0.01)
            if message.type == WSMsgType.PING:
                await client.pong(message.data)

    async def _down(self, upstream: Any, client: web.WebSocketResponse, *, of_marks: bool) -> None:
        """What the venue sends, some time later."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[float, str]] = deque()
        held: str | None = None
        while True:
            due = waiting[0][0] - loop.time() if waiting else None
            try:
                message = await asyncio.wait_for(upstream.receive(), due)
            except TimeoutError:
                message = None
            if message is not None:
                if message.type != WSMsgType.TEXT:
                    return
                waiting.append((loop.time() + self.delay_s, message.data))
            while waiting and waiting[0][0] <= loop.time() + 1e-4:
                text = waiting.popleft()[1]
                if self.silent or self.frozen or (of_marks and self.mute_marks):
                    continue
                for each in self._treated(text):
                    if held is None and self.swap and "depthUpdate" in each:
                        self.swap -= 1
                        held = each
                        continue
                    await client.send_str(each)
                    self.passed += 1
                    if held is not None and "depthUpdate" in each:  # Whatever else comes in between.
                        late, held = held, None
                        await client.send_str(late)

    def _treated(self, text: str) -> list[str]:
        if "depthUpdate" not in text:
            return [text]
        if self.lose:
            self.lose -= 1
            return []
        if self.double:
            self.double -= 1
            return [text, text]
        if self.corrupt:
            self.corrupt -= 1
            return [text[: len(text) // 2] + "\x01" + text[len(text) // 2 + 1 :]]
        return [text]


def is_of_marks(request: web.Request) -> bool:
    """Whether a connection has marks alone."""
    return "@markPrice" in request.query_string


def is_of_market(request: web.Request) -> bool:
    """Whether a connection has a book, quotes or prints: a user's stream and marks pass here too."""
    return "streams=" in request.query_string and not is_of_marks(request)
