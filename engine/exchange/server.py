"""The practice exchange's sockets: REST, market streams, user streams and the WebSocket API on one port of this machine.

    async with Server(symbols=["BTCUSDT"], seed=1) as server: ... server.address ...

Real time drives it, in TURNS_PER_S turns a second; how much happens does not depend on that. Faults are armed at POST /control. It listens on the loopback interface and
is for practice: it keeps nothing, and its keys are no secrets.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from aiohttp import WSCloseCode, WSMsgType, web

from twinloop.engine.exchange import incidents, requests
from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.connection import STREAMS_MAX, Connection
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.decimals import encode
from twinloop.engine.exchange.faults import KNOWN, Faults
from twinloop.engine.exchange.gate import Gate
from twinloop.engine.exchange.model import Market
from twinloop.engine.exchange.session_api import SessionApi
from twinloop.engine.exchange.streams import Hub
from twinloop.engine.exchange.symbols import KNOWN_COINM, MONEY, symbol

TURNS_PER_S: Final = 50.0
PRACTICE_KEY: Final = "practice-key"
PRACTICE_SECRET: Final = "practice-secret"  # noqa: S105 - printed at every start
PLENTY: Final[dict[str, int]] = {"USDT": 1_000_000, "BTC": 20, "ETH": 400, "BNB": 500, "SOL": 5000}
SKEW_MS: Final = 3000
BURST: Final = 20
_ANSWERED_NEVER_S: Final = 3600
_SIGNATURE: Final = re.compile(r"(^|&)signature=[^&]*")


class Server:
    """Spot and USD-M behind one port, and COIN-M's market (no customers) where one of its symbols is named. speed: of the agents' time. clock_ms: the venue's clock, for tests."""

    def __init__(
        self, *, symbols: Sequence[str] = ("BTCUSDT",), seed: int = 1, port: int = 0, turns_per_s: float = TURNS_PER_S,
        speed: float = 1.0, clock_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:  # fmt: skip
        self.faults = Faults()
        self.exchanges: dict[Market, Exchange] = {}
        self.hubs: dict[Market, Hub] = {}
        self.gates: dict[Market, Gate] = {}
        self.agents: list[Agents] = []
        self._clock_ms = clock_ms
        self._port, self._pause_s, self._speed = port, 1.0 / turns_per_s, speed
        self._marked_s = 0
        coins = [name for name in symbols if name in KNOWN_COINM]
        others = [name for name in symbols if name not in KNOWN_COINM]
        markets: dict[Market, list[str]] = {"spot": others, "usdm": others}
        if coins:
            markets["coinm"] = coins
        for market, names in markets.items():
            exchange = Exchange(market, [symbol(name, market) for name in names])
            exchange.advance(clock_ms())
            hub = Hub(exchange, self.faults)
            self.exchanges[market], self.hubs[market] = exchange, hub
            self.gates[market] = Gate(exchange, self.faults, hub.dispatch, self._cut_users)
            self.agents += [Agents(exchange, state, seed) for state in exchange.markets.values()]
        self.add_account("practice", PRACTICE_KEY, PRACTICE_SECRET)

    def add_account(self, name: str, key: str, secret: str) -> None:
        """A customer on both markets with a plentiful balance. secret: an Ed25519 public key in PEM where it signs with that."""
        bases = {"BTC", "ETH"} | {state.symbol.base for state in self.exchanges["spot"].markets.values()}
        held = {base: PLENTY[base] * MONEY for base in PLENTY if base in bases}
        self.exchanges["spot"].add_account(name, key, secret, {"USDT": PLENTY["USDT"] * MONEY} | held)
        margin: dict[str, int] = {
            asset: PLENTY[asset] * MONEY for asset in PLENTY if asset == "USDT" or (asset == "BNB" and asset in bases)
        }
        self.exchanges["usdm"].add_account(name, key, secret, margin)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/ws-api/v3", self._ws_api)
        app.router.add_get("/ws-fapi/v1", self._ws_api)
        for prefix in ("", "/public", "/market", "/private"):
            app.router.add_get(f"{prefix}/ws", self._stream)
            app.router.add_get(f"{prefix}/ws/{{names:.*}}", self._stream)
            app.router.add_get(f"{prefix}/stream", self._stream)
        app.router.add_route("*", "/control", self._control)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.port = int(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr] # noqa: SLF001
        self._turning = asyncio.create_task(self._turns(), name="exchange-turns")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._turning.cancel()
        with suppress(asyncio.CancelledError):
            await self._turning
        for hub in self.hubs.values():
            for connection in list(hub.connections):
                await connection.socket.close()
        await self._runner.cleanup()

    @property
    def rest(self) -> str:
        """Address of the REST interfaces."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream(self) -> str:
        """Address of the WebSocket interfaces."""
        return f"ws://127.0.0.1:{self.port}"

    # ---- Time.

    async def _turns(self) -> None:
        while True:
            self.turn()
            await asyncio.sleep(self._pause_s)

    def turn(self) -> None:
        """Time passes, agents act, what nobody asked for happens, events go out."""
        self._pass_time()
        self._happen()
        speed = self._speed * (BURST if self.faults.take("burst") else 1)
        for agents in self.agents:
            agents.pass_time(self.exchanges["usdm"].now_ms, speed)
        for market, gate in self.gates.items():
            now_ms = self.exchanges[market].now_ms
            due = [what for at_ms, what in gate.late if at_ms <= now_ms]
            gate.late = [each for each in gate.late if each[0] > now_ms]
            for what in due:
                what()
            self.hubs[market].dispatch()
            self.hubs[market].pass_time()
        now_s = self.exchanges["usdm"].now_ms // 1000
        if now_s != self._marked_s:
            self._marked_s = now_s
            for name in self.exchanges["usdm"].markets:
                self.hubs["usdm"].tell_mark(name)

    def _pass_time(self) -> None:
        now_ms = self._clock_ms() + (SKEW_MS if self.faults.on("skew_clock") else 0)
        for exchange in self.exchanges.values():
            exchange.advance(now_ms)
            for state in exchange.markets.values():
                state.halted = self.faults.on("halt")

    def _happen(self) -> None:
        """Faults that no request and no message brings about."""
        faults = self.faults
        for fault, users in (("drop_market", False), ("drop_user", True)):
            if faults.take(fault):
                for hub in self.hubs.values():
                    hub.cut(users=users)
        if faults.take("cut_old"):
            for hub in self.hubs.values():
                hub.cut(users=False)
                hub.cut(users=True)
        if faults.take("server_shutdown"):
            for hub in self.hubs.values():
                hub.shut_down()
        for fault, befalls in (
            ("bust_trade", incidents.bust_last_trade), ("foreign_order", incidents.foreign_order), ("transfer", incidents.transfer),
        ):  # fmt: skip
            if faults.take(fault):
                for exchange in self.exchanges.values():
                    for account in exchange.accounts.values():
                        befalls(exchange, account)
        for fault, changes in (
            ("change_rules", incidents.coarser_rules),
            ("fire_dead_man", incidents.fire_dead_man),
            ("pay_funding", incidents.pay_funding),
        ):
            if faults.take(fault):
                for exchange in self.exchanges.values():
                    changes(exchange)

    def _cut_users(self) -> None:
        for hub in self.hubs.values():
            hub.cut(users=True)

    # ---- REST.

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        market: Market = {"/fapi": "usdm", "/dapi": "coinm"}.get(request.path[:5], "spot")  # type: ignore[assignment]
        calls = {"spot": requests.SPOT, "usdm": requests.USDM, "coinm": requests.COINM}[market]
        call = calls.get((request.method, request.path))
        if call is None or market not in self.gates:
            return _json({"code": -5000, "msg": f"Path {request.path}, Method {request.method} is invalid"}, 404)
        body = await request.text()
        raw = "&".join(part for part in (request.query_string, body) if part)
        self._pass_time()
        reply = self.gates[market].carry_out(
            call, raw, _unsigned(request.query_string) + _unsigned(body), request.headers.get("X-MBX-APIKEY"), request.remote or ""
        )  # fmt: skip
        if reply is None:
            await asyncio.sleep(_ANSWERED_NEVER_S)
            raise web.HTTPServiceUnavailable
        if reply.page is not None:
            return web.Response(text=reply.page, status=reply.status, headers=reply.headers, content_type="text/html")
        return _json(reply.body, reply.status, reply.headers)

    async def _control(self, request: web.Request) -> web.Response:
        """POST {"fault": name, "count": n}; GET tells what is armed, what was met, and what there is."""
        if request.method != "POST":
            return _json(self.faults.told())
        try:
            document = json.loads(await request.text())
            self.faults.arm(str(document["fault"]), int(document.get("count", 1)))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            return _json(
                {"error": 'expected {"fault": one of the known, "count": a number}', "known": list(KNOWN)}, 400
            )
        return _json(self.faults.told())

    # ---- WebSockets.

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Market streams of both markets, and the USD-M user stream by its listen key."""
        combined = request.path.endswith("/stream")
        names = request.query.get("streams", "") if combined else request.match_info.get("names", "")
        wanted = {name for name in (*names.split("/"), request.query.get("listenKey", "")) if name}
        owned = any(self.exchanges["usdm"].listen_keys.owner(name) for name in wanted)
        # One port serves both markets: the USD-M streams stand under its paths, or are asked for with market=usdm.
        usdm = request.path.startswith(("/public", "/market", "/private")) or request.query.get("market") == "usdm"
        market: Market = "usdm" if usdm or owned else "spot"
        if "coinm" in self.exchanges and any(name.partition("@")[0].upper() in KNOWN_COINM for name in wanted):
            market = "coinm"  # Its streams stand under spot's path, and have symbols of their own.
        if not owned and not request.path.startswith("/private") and self.faults.take("refuse_market"):
            return web.Response(status=503)
        route = request.path.split("/")[1] if usdm else ""
        return await self._open(
            request, market, SessionApi.on_stream_message, combined=combined, streams=wanted,
            route=route if route in {"public", "market", "private"} else "",
        )  # fmt: skip

    async def _ws_api(self, request: web.Request) -> web.StreamResponse:
        """Requests over a socket; of spot the user stream too."""
        market: Market = "spot" if request.path == "/ws-api/v3" else "usdm"
        api = SessionApi(self.gates[market], self.hubs[market], request.remote or "")

        def answer(hub: Hub, connection: Connection, document: dict[str, Any]) -> dict[str, Any] | None:
            del hub
            self._pass_time()
            return api.on_call(connection, document)

        return await self._open(request, market, answer, wrapped_user=True)

    async def _open(
        self, request: web.Request, market: Market, answer: Callable[[Hub, Connection, dict[str, Any]], dict[str, Any] | None], **more: Any,
    ) -> web.StreamResponse:  # fmt: skip
        hub, now_ms = self.hubs[market], self.exchanges[market].now_ms
        if not self.gates[market].limits.connect(request.remote or "", now_ms):
            return web.Response(status=429, text="too many connections")
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = Connection(socket, market, now_ms, **more)
        if len(connection.streams) > STREAMS_MAX:
            await socket.close()
            return socket
        await self._serve(hub, connection, lambda document: answer(hub, connection, document))
        return socket

    async def _serve(
        self, hub: Hub, connection: Connection, answer: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        """Read a connection until it ends; a task of its own writes."""
        hub.join(connection)
        writing = asyncio.create_task(connection.write())
        try:
            async for message in connection.socket:
                now_ms = hub.exchange.now_ms
                if message.type == WSMsgType.PING:
                    await connection.socket.pong(message.data)
                elif message.type == WSMsgType.PONG:
                    connection.ponged()
                elif message.type == WSMsgType.TEXT:
                    if not connection.wrapped_user and not connection.heard(now_ms):
                        await connection.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                        break
                    told = _answered(message.data, answer)
                    if told is not None:
                        connection.send(encode(told))
        finally:
            hub.leave(connection)
            writing.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, RuntimeError):
                await writing


def _answered(
    text: str, answer: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any] | None:  # fmt: skip
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return {"error": {"code": 3, "msg": "Invalid JSON: expected an object"}}
    return answer(document)


def _unsigned(text: str) -> str:
    """A query or form without its signature."""
    return _SIGNATURE.sub("", text)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=encode(document), status=status, headers=headers, content_type="application/json")
