"""A plain client of the practice exchange over real sockets, written from the venue's documentation."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import aiohttp

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server

HANG_S = 120.0  # Nothing takes so long, however busy the machine: what waits longer hangs.
PATHS = {"spot": "/api/v3", "usdm": "/fapi/v1"}


class Client:
    """A plain client, written from the venue's documentation."""

    def __init__(self, server: Server, http: aiohttp.ClientSession, clock: Callable[[], int] | None = None) -> None:
        self.server, self.http = server, http
        self.clock = clock or (lambda: time.time_ns() // 10**6)
        self.headers: dict[str, str] = {}  # Of the last signed answer.

    async def get(self, path: str, **parameters: Any) -> Any:
        async with self.http.get(self.server.rest + path, params=parameters) as answer:
            return await answer.json()

    async def signed(
        self,
        method: str,
        path: str,
        *,
        key: str = PRACTICE_KEY,
        secret: str = PRACTICE_SECRET,
        shift_ms: int = 0,
        **parameters: Any,
    ) -> tuple[int, Any]:
        """(status, document) of a signed call; what is not JSON comes as text."""
        parameters["timestamp"] = self.clock() + shift_ms
        query = urlencode(parameters)
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.server.rest}{path}?{query}&signature={signature}"
        headers = {"X-MBX-APIKEY": key}
        async with self.http.request(
            method, url, headers=headers, timeout=aiohttp.ClientTimeout(total=HANG_S)
        ) as answer:
            self.headers = dict(answer.headers)
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    def sign(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the WebSocket API with key, time and signature."""
        full = parameters | {"apiKey": PRACTICE_KEY, "timestamp": self.clock()}
        payload = "&".join(f"{name}={full[name]}" for name in sorted(full))
        return full | {"signature": hmac.new(PRACTICE_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()}

    async def order(self, market: str, **parameters: Any) -> tuple[int, Any]:
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"} | parameters
        if fields["type"] != "LIMIT":
            fields.pop("timeInForce")
        return await self.signed("POST", f"{PATHS[market]}/order", **fields)

    async def top(self, market: str) -> tuple[float, float]:
        found = await self.get(f"{PATHS[market]}/ticker/bookTicker", symbol="BTCUSDT")
        return float(found["bidPrice"]), float(found["askPrice"])

    async def away(self, market: str) -> str:
        """A price far below the bid."""
        bid, _ = await self.top(market)
        return f"{bid * 0.99:.1f}" if market == "usdm" else f"{bid * 0.99:.2f}"

    async def arm(self, fault: str, count: int = 1) -> None:
        async with self.http.post(self.server.rest + "/control", json={"fault": fault, "count": count}) as answer:
            assert answer.status == 200


Play = Callable[[Server, Client], Awaitable[None]]


class Clock:
    """The venue's clock, moved by the test: it stands still otherwise."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def play(what: Play, *, clock: Clock | None = None, **more: Any) -> None:
    """Run a scene on an exchange of its own; with a clock of its own too, the client goes by that."""

    async def run() -> None:
        given = more | ({"clock_ms": clock} if clock is not None else {})
        async with Server(seed=3, **given) as server, aiohttp.ClientSession() as http:
            await what(server, Client(server, http, clock))

    asyncio.run(run())


async def until(socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[Any], bool]) -> Any:
    for _ in range(5000):
        message = await asyncio.wait_for(socket.receive(), HANG_S)
        if message.type != aiohttp.WSMsgType.TEXT:
            raise ConnectionError(message.type)
        document = json.loads(message.data)
        if wanted(document):
            return document
    raise AssertionError("it never came")


async def happens(reached: Callable[[], bool]) -> None:
    """Wait for something that the exchange brings about."""
    async with asyncio.timeout(HANG_S):
        while not reached():  # noqa: ASYNC110 - a state of another task, which tells nobody
            await asyncio.sleep(0.005)


async def unanswered(server: Server, fault: str, asking: Awaitable[Any]) -> None:
    """Ask something that meets a fault which leaves it without an answer, and give up once the fault was met."""
    met = server.faults.met.get(fault, 0)
    task = asyncio.ensure_future(asking)
    await happens(lambda: server.faults.met.get(fault, 0) > met)
    for _ in range(10):  # An answer would be written in the loop's next turns.
        server.turn()
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def user_stream(server: Server, client: Client, market: str) -> aiohttp.ClientWebSocketResponse:
    if market == "usdm":
        headers = {"X-MBX-APIKEY": PRACTICE_KEY}
        async with client.http.post(server.rest + "/fapi/v1/listenKey", headers=headers) as answer:
            key = (await answer.json())["listenKey"]
        return await client.http.ws_connect(f"{server.stream}/private/ws/{key}")
    socket = await client.http.ws_connect(f"{server.stream}/ws-api/v3")
    await socket.send_json({"id": 1, "method": "userDataStream.subscribe.signature", "params": client.sign({})})
    assert (await socket.receive_json())["result"] == {"subscriptionId": 0}
    return socket


def order_of(event: Any) -> Any:
    event = event.get("event", event)
    if event.get("e") == "ORDER_TRADE_UPDATE":
        return event["o"]
    return event if event.get("e") == "executionReport" else {}
