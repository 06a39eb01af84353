"""The venue of tests/reference/order_venue.py behind real sockets on this machine, with the ways in which a server can misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web
from reference.order_venue import Venue

CALLS = {
    "order.place": ("POST", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
}


class Server:
    """misbehave: how the next new order is treated: "", "drop", "drip", "huge", "redirect", "html"."""

    def __init__(self, market: str) -> None:
        self.venue = Venue(market, 2, 3)
        self.misbehave = ""
        self.streams: list[web.WebSocketResponse] = []
        self.listen_keys = 0
        self.kept_alive = 0
        self.keys_seen: set[str] = set()
        self.redirected = False
        self.port = 0
        self.refuse_logon = False
        self.frames_in = 0
        self.bytes_out = 0
        self.ban_s = 0  # The next question for a listen key is answered with a ban for so long.
        self.hears: Callable[[str], None] = lambda _: (
            None
        )  # Told of a listen key's or a connection's path as it is asked for.

    def _now(self) -> None:
        self.venue.now_ms = int(asyncio.get_running_loop().time() * 1000) + 1_700_000_000_000

    async def publish(self) -> None:
        """Send what happened to every user stream."""
        frames, self.venue.frames = self.venue.frames, []
        for frame in frames:
            for stream in list(self.streams):
                if not stream.closed:
                    await stream.send_bytes(frame)

    async def rest(self, request: web.Request) -> web.StreamResponse:
        self._now()
        self.keys_seen.add(request.headers.get("X-MBX-APIKEY", ""))
        text = request.query_string or (await request.text())
        path = request.path
        if path.endswith("/listenKey"):
            self.hears(path)
            ban_s, self.ban_s = self.ban_s, 0
            if ban_s:
                banned = {"code": -1003, "msg": "Way too many requests; IP banned."}
                return web.json_response(banned, status=418, headers={"Retry-After": str(ban_s)})
            self.listen_keys += request.method == "POST"
            self.kept_alive += request.method == "PUT"
            return web.json_response({"listenKey": f"key{self.listen_keys}"})
        if path == "/elsewhere":
            self.redirected = True
        if request.method == "POST" and path.endswith("/order") and self.misbehave:
            return await self._misbehave(request, text)
        status, body = self.venue.answer(request.method, path, text)
        await self.publish()
        return web.Response(status=status, body=body, content_type="application/json")

    async def _misbehave(self, request: web.Request, text: str) -> web.StreamResponse:
        how, self.misbehave = self.misbehave, ""
        self.venue.answer("POST", request.path, text)
        self.venue.frames.clear()
        if how == "redirect":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        if how == "html":
            return web.Response(text="<html>ok</html>", content_type="text/html")
        assert request.transport is not None
        if how == "drop":
            request.transport.close()
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:  # One byte after another, or as much as there is: never an end.
                await response.write(b" " if how == "drip" else b" " * (1 << 20))
                self.bytes_out += 1 if how == "drip" else 1 << 20
                await asyncio.sleep(0.02 if how == "drip" else 0)
        except ConnectionError:
            return response

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """The WebSocket API."""
        self.hears(request.path)
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            self._now()
            self.frames_in += 1
            asked: dict[str, Any] = json.loads(message.data)
            call, number = asked["method"], asked["id"]
            if call == "userDataStream.subscribe.signature":
                self.streams.append(response)
                await response.send_json({"id": number, "status": 200, "result": {"subscriptionId": 0}})
                continue
            if call == "session.logon":
                await response.send_json({"id": number, "status": 401 if self.refuse_logon else 200, "result": {}})
                continue
            if self.misbehave == "drop":
                self.misbehave = ""
                await response.close()
                continue
            status, body = self.venue.answer(*CALLS[call], urlencode(asked["params"]))
            shown: dict[str, Any] = {"id": number, "status": status}
            shown["result" if status == 200 else "error"] = json.loads(body)
            shown["rateLimits"] = [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 77}
            ]
            await response.send_json(shown)
            await self.publish()
        return response

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """A USD-M user stream."""
        self.hears(request.path)
        response = web.WebSocketResponse()
        await response.prepare(request)
        self.streams.append(response)
        async for _ in response:
            pass
        return response

    @asynccontextmanager
    async def serve(self, ssl_context: Any = None) -> AsyncIterator["Server"]:
        app = web.Application()
        app.router.add_get("/ws-api/v3", self.socket)
        app.router.add_get("/private/ws/{key}", self.stream)
        app.router.add_route("*", "/{path:.*}", self.rest)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            for stream in self.streams:
                await stream.close()
            await runner.cleanup()
