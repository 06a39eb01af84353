"""Where a live session's requests go: the gateway, the venue's REST interface and its user stream.

Facts the gateway finds are handled by the loop like any other, so they are journalled before the kernel sees them. A SENT annotation is
sealed before a request's bytes reach the socket. This module moves bytes and must not judge what an answer means: the gateway does.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np
from websockets.exceptions import WebSocketException

from twinloop.data.binance_orders import UsdmRequests, signed_parameters
from twinloop.data.binance_signing import Credentials
from twinloop.data.rowfile import Rows, pick
from twinloop.engine.gateway import alerts
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.seam import WORLD
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW

TICK_S: Final = 0.05
KEEP_ALIVE_S: Final = 1800.0
BACKOFF_S: Final = (0.5, 30.0)
UNASSIGNED: Final = 255  # Strategy of facts that are nobody's: orders or fills that this session did not make.
ALERTS_KEPT: Final = 200
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class OrderEdge:
    """The gateway of a session and its connections. Every method is called by the session's one thread."""

    def __init__(
        self,
        gateway: Gateway,
        credentials: Credentials,
        loop: LiveLoop,
        client: aiohttp.ClientSession,
        *,
        rest: str,
        stream: str,
        tell: Callable[[Alert], None] | None = None,
    ) -> None:
        self.gateway = gateway
        self.loop = loop
        self.alerts: list[Alert] = []
        self.sent = 0
        self.credentials = credentials
        self.client = client
        self._rest, self._stream = rest, stream
        self._tell = tell
        self._tasks: asyncio.TaskGroup | None = None
        self._reducing = False
        self._early: list[Outgoing] = []

    def times(self) -> tuple[int, int]:
        """Local wall time and monotonic time, ns."""
        return self.loop.clock.local_ns(), WORLD.monotonic_ns()

    def send(self, requests: Rows) -> None:
        """Requests of the kernel, sealed already."""
        self.take(self.gateway.on_requests(requests, *self.times()))

    def take(self, outcome: Outcome) -> None:
        """What the gateway found and wants sent."""
        if outcome.facts:
            rows = outcome.rows
            ours = rows["strategy"] != UNASSIGNED
            if not ours.all():  # Told by an alert that halts; the kernel has no account for them.
                rows = pick(rows, ours)
            self.loop.take(rows)
        for each in outcome.outgoing:
            self._hand_over(each)
        for alert in outcome.alerts:
            self._note(alert)

    def _note(self, alert: Alert) -> None:
        self.alerts.append(alert)
        del self.alerts[:-ALERTS_KEPT]
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"], row["alert"], row["value"] = table.ALERT, self.times()[0], alert.code, alert.value
        row["code"] = alert.order_id
        if not self.loop.failure:
            self.loop.recorded.note(row)
        if self._tell is not None:
            self._tell(alert)
        external = alert.name in {"EXTERNAL_FILL", "FOREIGN_EPOCH"}
        if alert.demand == alerts.HALT or external:
            self.loop.command("halt", alert.code)
        elif alert.demand == alerts.REDUCE and self.loop.trading_state == "ACTIVE":
            self._reducing = True
            self.loop.command("reduce", alert.code)

    def _hand_over(self, outgoing: Outgoing) -> None:
        """Have a request leave: its task begins in the loop's next turn, after it was sealed that it leaves."""
        if self._tasks is None:  # Of a strategy's on_start: it leaves as soon as the connections may be used.
            self._early.append(outgoing)
            return
        coroutine = self._exchange(outgoing)
        try:
            self._tasks.create_task(coroutine, name=f"request-{outgoing.number}")
        except RuntimeError:  # The session ends, its connections are gone.
            coroutine.close()
            self._note_fate(outgoing, table.NOT_SENT)
            return
        self.sent += 1
        self._note_fate(outgoing, table.SENT)

    def _note_fate(self, outgoing: Outgoing, kind: int) -> None:
        """Seal whether a request of an order leaves."""
        if not outgoing.order_id or self.loop.failure:
            return
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"] = kind, outgoing.sent_ns
        row["request"], row["order_id"], row["code"] = outgoing.number, outgoing.order_id, outgoing.kind
        if kind == table.SENT:
            row["egress_ns"] = outgoing.sent_mono_ns
        self.loop.recorded.note(row)

    async def _exchange(self, outgoing: Outgoing) -> None:
        """One request and its answer, or none by its deadline."""
        wait_s = max((outgoing.deadline_mono_ns - WORLD.monotonic_ns()) / 1e9, 0.001)
        in_body = outgoing.method in {"POST", "PUT"}
        url = self._rest + outgoing.path + (f"?{outgoing.text}" if outgoing.text and not in_body else "")
        headers = {"X-MBX-APIKEY": self.credentials.api_key.reveal()} | (_FORM if in_body else {})
        try:
            async with (
                asyncio.timeout(wait_s),
                self.client.request(
                    outgoing.method, url, data=outgoing.text if in_body else None, headers=headers
                ) as answer,
            ):
                status, told, body = answer.status, dict(answer.headers), await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.take(self.gateway.on_timeout(outgoing, *self.times()))
            return
        self.take(self.gateway.on_response(outgoing, status, told, body, *self.times()))

    async def run(self) -> None:
        """Everything that goes on by itself: requests under way, the user stream, the gateway's clock."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            early, self._early = self._early, []
            for each in early:
                self._hand_over(each)
            tasks.create_task(self._ticks(), name="gateway-ticks")
            tasks.create_task(self._listen(), name="user-stream")

    async def _ticks(self) -> None:
        while True:
            self.take(self.gateway.on_tick(*self.times()))
            if self._reducing and self.settled:
                self._reducing = False
                if self.loop.trading_state == "REDUCING":
                    self.loop.command("resume")
            await WORLD.sleep(TICK_S)

    @property
    def settled(self) -> bool:
        """Whether the user stream is up, the venue's clock known, and no order in doubt."""
        return self.gateway.stream_up and self.gateway.clock_known and self.gateway.unproven == 0

    async def _listen(self) -> None:
        """The user stream, again and again."""
        wait_s = BACKOFF_S[0]
        while True:
            try:
                await self._one_stream()
                wait_s = BACKOFF_S[0]
            except (OSError, WebSocketException, aiohttp.ClientError, TimeoutError, msgspec.DecodeError, SessionError):
                wait_s = min(2 * wait_s, BACKOFF_S[1])
            now_ns, mono_ns = self.times()
            self.take(self.gateway.on_stream(up=False, now_ns=now_ns, mono_ns=mono_ns))
            await WORLD.sleep(wait_s * (0.5 + 0.5 * WORLD.random()))

    async def _one_stream(self) -> None:
        usdm = isinstance(self.gateway.sender.dialect, UsdmRequests)
        address = f"{self._stream}/private/ws/{await self._listen_key('POST')}" if usdm else f"{self._stream}/ws-api/v3"
        async with (
            await WORLD.connect(address, compression=None, open_timeout=10.0, close_timeout=1.0) as socket,
            asyncio.TaskGroup() as tasks,
        ):
            if not usdm:
                await socket.send(self._subscription())
            alive = tasks.create_task(self._keep_alive(), name="listen-key") if usdm else None
            now_ns, mono_ns = self.times()
            self.take(self.gateway.on_stream(up=True, now_ns=now_ns, mono_ns=mono_ns))
            with contextlib.suppress(WebSocketException):
                while True:
                    frame = await socket.recv(decode=False)
                    self.take(self.gateway.on_user_frame(frame, *self.times()))
            if alive is not None:
                alive.cancel()

    def _subscription(self) -> str:
        now_ms = (self.loop.clock.local_ns() + self.gateway.sender.clock.offset_ns) // 10**6
        parameters = dict(signed_parameters([("timestamp", str(now_ms))], self.credentials))
        stamped: dict[str, Any] = parameters | {"timestamp": int(parameters["timestamp"])}
        return msgspec.json.encode(
            {"id": "user", "method": "userDataStream.subscribe.signature", "params": stamped}
        ).decode()

    async def _listen_key(self, method: str) -> str:
        headers = {"X-MBX-APIKEY": self.credentials.api_key.reveal()}
        async with self.client.request(method, f"{self._rest}/fapi/v1/listenKey", headers=headers) as answer:
            body = await answer.read()
        if answer.status != 200:
            raise SessionError("the venue gives no user stream", expected="200", got=str(answer.status))
        return str(msgspec.json.decode(body).get("listenKey", ""))

    async def _keep_alive(self) -> None:
        while True:
            await WORLD.sleep(KEEP_ALIVE_S)
            await self._listen_key("PUT")
