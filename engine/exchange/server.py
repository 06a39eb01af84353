"""The practice exchange's sockets: REST, market streams, user streams and the WebSocket API on one port of this machine.

    async with Server(symbols=["BTCUSDT"], seed=1) as server: ... server.address ...

Real time drives it; the agents act TURNS_PER_S times a second. Faults are armed at POST /control. It listens on the loopback interface and
is for practice: it keeps nothing, and its keys are no secrets.
"""

import asyncio
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from twinloop.engine.exchange import requests
from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.faults import KNOWN, Faults
from twinloop.engine.exchange.model import MONEY, Account, Market, VenueError, symbol
from twinloop.engine.exchange.order_calls import ReplaceError
from twinloop.engine.exchange.requests import Call
from twinloop.engine.exchange.signing import check_key, check_signed
from twinloop.engine.exchange.streams import Connection, Hub, encode

TURNS_PER_S: Final = 50.0
WEIGHT_PER_MINUTE: Final = {"spot": 6000, "usdm": 2400}
ORDERS_PER_10S: Final = {"spot": 100, "usdm": 300}
PRACTICE_KEY: Final = "practice-key"
PRACTICE_SECRET: Final = "practice-secret"  # noqa: S105 - printed at every start
_SIGNATURE: Final = re.compile(r"(^|&)signature=[^&]*")
_LOST: Final = object()


class Limits:
    """Weights of the last minute and orders of the last ten seconds, by market."""

    def __init__(self) -> None:
        self._weights: deque[tuple[int, int]] = deque()
        self._orders: deque[int] = deque()

    def spend(self, now_ms: int, weight: int, *, order: bool) -> tuple[int, int]:
        """Count a request: (weight used in this minute, orders in these ten seconds)."""
        self._weights.append((now_ms, weight))
        while self._weights[0][0] <= now_ms - 60_000:
            self._weights.popleft()
        if order:
            self._orders.append(now_ms)
        while self._orders and self._orders[0] <= now_ms - 10_000:
            self._orders.popleft()
        return sum(each for _, each in self._weights), len(self._orders)


class Server:
    """Both markets behind one port. clock_ms: the venue's clock, for tests."""

    def __init__(
        self, *, symbols: Sequence[str] = ("BTCUSDT",), seed: int = 1, port: int = 0, turns_per_s: float = TURNS_PER_S,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:  # fmt: skip
        self.faults = Faults()
        self.exchanges: dict[Market, Exchange] = {}
        self.hubs: dict[Market, Hub] = {}
        self.agents: list[Agents] = []
        self._limits: dict[Market, Limits] = {"spot": Limits(), "usdm": Limits()}
        self._clock_ms = clock_ms
        self._port, self._pause_s = port, 1.0 / turns_per_s
        self._listen_keys: dict[str, Account] = {}
        markets: tuple[Market, ...] = ("spot", "usdm")
        for number, market in enumerate(markets):
            exchange = Exchange(market, [symbol(name, market) for name in symbols], seed=seed + 1000 * number)
            exchange.advance(clock_ms())
            self.exchanges[market] = exchange
            self.hubs[market] = Hub(exchange, self.faults)
            self.agents += [Agents(exchange, state) for state in exchange.markets.values()]
        self.add_account("practice", PRACTICE_KEY, PRACTICE_SECRET)

    def add_account(self, name: str, key: str, secret: str) -> None:
        """A customer on both markets with a plentiful balance."""
        self.exchanges["spot"].add_account(
            name, key, secret, {"USDT": 1_000_000 * MONEY, "BTC": 20 * MONEY, "ETH": 400 * MONEY}
        )
        self.exchanges["usdm"].add_account(name, key, secret, {"USDT": 1_000_000 * MONEY})

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
        self._turning = asyncio.create_task(self._turn(), name="exchange-turns")
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

    async def _turn(self) -> None:
        """Time passes, agents act, events go out."""
        marked_s = 0
        while True:
            self._pass_time()
            for agents in self.agents:
                agents.act()
            self._dispatch()
            now_s = self.exchanges["usdm"].now_ms // 1000
            if now_s != marked_s:
                marked_s = now_s
                for name in self.exchanges["usdm"].markets:
                    self.hubs["usdm"].tell_mark(name)
            if self.faults.take("drop_market"):
                self._cut(lambda each: bool(each.streams))
            if self.faults.take("drop_user"):
                self._cut(lambda each: bool(each.accounts))
            await asyncio.sleep(self._pause_s)

    def _cut(self, chosen: Callable[[Connection], bool]) -> None:
        for hub in self.hubs.values():
            for each in list(hub.connections):
                if chosen(each):
                    each.cut()

    def _pass_time(self) -> None:
        now_ms = self._clock_ms()
        for exchange in self.exchanges.values():
            exchange.advance(now_ms)

    def _dispatch(self) -> None:
        for hub in self.hubs.values():
            hub.dispatch()

    # ---- REST.

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        market: Market = "usdm" if request.path.startswith("/fapi/") else "spot"
        call = (requests.SPOT if market == "spot" else requests.USDM).get((request.method, request.path))
        if request.path == "/fapi/v1/listenKey":
            return self._listen_key(request)
        if call is None:
            return _json({"code": -5000, "msg": f"Path {request.path}, Method {request.method} is invalid"}, 404)
        raw = request.query_string + (await request.text())
        found = self._carry_out(market, call, raw, request.headers.get("X-MBX-APIKEY"))
        if found is _LOST:
            await asyncio.sleep(3600)
        status, body, headers = found
        if status == 403:
            return web.Response(text="<html><body>403 Forbidden</body></html>", status=403, content_type="text/html")
        return _json(body, status, headers)

    def _carry_out(self, market: Market, call: Call, raw: str, key: str | None, *, signing: str | None = None) -> Any:
        """(status, document, headers) of a request, or _LOST where no answer ever comes. raw: its parameters as they came."""
        self._pass_time()
        exchange, faults = self.exchanges[market], self.faults
        weight, orders = self._limits[market].spend(exchange.now_ms, call.weight, order=call.order)
        headers = {"X-MBX-USED-WEIGHT-1M": str(weight), "X-MBX-ORDER-COUNT-10S": str(orders)}
        if faults.take("banned"):
            return (
                418,
                {"code": -1003, "msg": "Way too many requests; IP banned until further notice."},
                headers | {"Retry-After": "5"},
            )
        if weight > WEIGHT_PER_MINUTE[market] or faults.take("too_many"):
            return (
                429,
                {"code": -1003, "msg": "Too many requests; please use the websocket for live updates."},
                headers | {"Retry-After": "1"},
            )
        if call.order and orders > ORDERS_PER_10S[market]:
            return 429, {"code": -1015, "msg": "Too many new orders."}, headers | {"Retry-After": "1"}
        try:
            parameters = dict(parse_qsl(raw, keep_blank_values=True))
            account = Account("", market, "", "")
            if call.signed:
                signed = _SIGNATURE.sub("", raw) if signing is None else signing
                account = check_signed(exchange.accounts, key, signed, parameters, exchange.now_ms)
                self._refuse("wrong_time", -1021, "Timestamp for this request is outside of the recvWindow.")
            if call.query and faults.take("fail_query"):
                return 500, {"code": -1000, "msg": "An unknown error occurred while processing the request."}, headers
            if call.order:
                if faults.take("lose_request"):
                    return _LOST
                if market == "spot":
                    self._refuse("reject", -2010, "Account has insufficient balance for requested action.")
                else:
                    self._refuse("reject", -2019, "Margin is insufficient.")
                if faults.take("failed_503"):
                    return 503, {"code": -1008, "msg": "Service Unavailable."}, headers
            body = call.answer(exchange, account, parameters)
        except ReplaceError as error:
            self._dispatch()
            return error.status, {"code": error.code, "msg": error.message, "data": error.data}, headers
        except VenueError as error:
            self._dispatch()
            return error.status, {"code": error.code, "msg": error.message}, headers
        except ValueError:
            return 400, {"code": -1100, "msg": "Illegal characters found in a parameter."}, headers
        self._dispatch()
        if call.order and faults.take("drop_response"):
            return _LOST
        if call.order and faults.take("unknown_503"):
            unknown = "Unknown error, please check your request or try again later."
            return 503, {"code": -1000 if market == "usdm" else -1006, "msg": unknown}, headers
        if call.order and faults.take("html_403"):
            return 403, {}, headers
        return 200, body, headers

    def _refuse(self, fault: str, code: int, message: str) -> None:
        """Refuse where a fault is armed."""
        if self.faults.take(fault):
            raise VenueError(code, message)

    def _listen_key(self, request: web.Request) -> web.Response:
        try:
            account = check_key(self.exchanges["usdm"].accounts, request.headers.get("X-MBX-APIKEY"))
        except VenueError as error:
            return _json({"code": error.code, "msg": error.message}, error.status)
        key = next((name for name, its in self._listen_keys.items() if its is account), None)
        if request.method == "POST":
            if key is None:
                key = secrets.token_hex(32)
                self._listen_keys[key] = account
            return _json({"listenKey": key})
        if key is None:
            return _json({"code": -1125, "msg": "This listenKey does not exist."}, 400)
        if request.method == "DELETE":
            del self._listen_keys[key]
        return _json({"listenKey": key} if request.method == "PUT" else {})

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

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        """Market streams of both markets, and the USD-M user stream by its listen key."""
        socket = web.WebSocketResponse(heartbeat=None, autoping=True, max_msg_size=1 << 16)
        await socket.prepare(request)
        combined = request.path.endswith("/stream")
        names = request.query.get("streams", "") if combined else request.match_info.get("names", "")
        # One port serves both markets: the USD-M streams stand under its paths or are told by their symbol's suffix.
        usdm = request.path.startswith(("/public", "/market", "/private")) or request.query.get("market") == "usdm"
        wanted = [name for name in names.split("/") if name]
        keys = [name for name in wanted if name in self._listen_keys]
        hub = self.hubs["usdm" if usdm or keys else "spot"]
        connection = Connection(socket, hub.exchange, combined)
        connection.streams |= {name for name in wanted if name not in self._listen_keys}
        for key in keys:
            connection.accounts[0] = self._listen_keys[key]
        await self._serve(hub, connection, self._on_stream_message)
        return socket

    def _on_stream_message(self, connection: Connection, document: dict[str, Any]) -> dict[str, Any]:
        method, parameters, number = document.get("method"), document.get("params") or [], document.get("id")
        if method == "SUBSCRIBE":
            connection.streams |= {str(each) for each in parameters}
        elif method == "UNSUBSCRIBE":
            connection.streams -= {str(each) for each in parameters}
        elif method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(connection.streams), "id": number}
        else:
            return {"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}, "id": number}
        return {"result": None, "id": number}

    async def _ws_api(self, request: web.Request) -> web.WebSocketResponse:
        """Requests over a socket; of spot the user stream too."""
        socket = web.WebSocketResponse(autoping=True, max_msg_size=1 << 16)
        await socket.prepare(request)
        market: Market = "spot" if request.path == "/ws-api/v3" else "usdm"
        hub = self.hubs[market]
        connection = Connection(socket, hub.exchange, wrapped_user=True)
        await self._serve(hub, connection, lambda its, document: self._on_call(market, its, document))
        return socket

    def _on_call(self, market: Market, connection: Connection, document: dict[str, Any]) -> dict[str, Any] | None:
        number, method = document.get("id"), str(document.get("method"))
        parameters = {str(name): _plain(value) for name, value in (document.get("params") or {}).items()}
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "signature")
        if method in {"userDataStream.subscribe.signature", "userDataStream.unsubscribe"}:
            return self._subscribe(market, connection, number, parameters, payload)
        names = requests.SPOT_CALLS if market == "spot" else requests.USDM_CALLS
        if method not in names:
            return {"id": number, "status": 400, "error": {"code": -1121, "msg": f"Unknown method: {method}"}}
        call = (requests.SPOT if market == "spot" else requests.USDM)[names[method]]
        raw = "&".join(f"{name}={value}" for name, value in parameters.items())
        found = self._carry_out(market, call, raw, parameters.get("apiKey"), signing=payload)
        if found is _LOST:
            return None
        status, body, headers = found
        limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE[market],
                   "count": int(headers["X-MBX-USED-WEIGHT-1M"])}]  # fmt: skip
        told = {"result": body} if status == 200 else {"error": body}
        return {"id": number, "status": status, **told, "rateLimits": limits}

    def _subscribe(
        self, market: Market, connection: Connection, number: Any, parameters: dict[str, str], payload: str
    ) -> dict[str, Any]:
        self._pass_time()
        exchange = self.exchanges[market]
        try:
            account = check_signed(exchange.accounts, parameters.get("apiKey"), payload, parameters, exchange.now_ms)
        except VenueError as error:
            return {"id": number, "status": error.status, "error": {"code": error.code, "msg": error.message}}
        subscription = len(connection.accounts)
        connection.accounts[subscription] = account
        return {"id": number, "status": 200, "result": {"subscriptionId": subscription}}

    async def _serve(
        self, hub: Hub, connection: Connection, answer: Callable[[Connection, dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        hub.connections.add(connection)
        writing = asyncio.create_task(connection.write())
        try:
            async for message in connection.socket:
                if message.type != WSMsgType.TEXT:
                    continue
                try:
                    document = json.loads(message.data)
                except json.JSONDecodeError:
                    document = None
                if not isinstance(document, dict):
                    connection.send(encode({"error": {"code": 3, "msg": "Invalid JSON"}}))
                    continue
                told = answer(connection, document)
                if told is not None:
                    connection.send(encode(told))
        finally:
            hub.connections.discard(connection)
            writing.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, RuntimeError):
                await writing


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=encode(document), status=status, headers=headers, content_type="application/json")
