"""Bytes of a gateway: REST calls, the order socket and the user stream, each with one owning task.

    transport = Transport(gateway, credentials, endpoints, deliver, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(transport.run())
    transport.request(rows)          # the kernel's requests, once they may leave

Every request ends in exactly one on_response, on_timeout or on_not_sent, within its deadline whatever the other side does: the deadline
is for the whole answer, not for each read. What is asked for before `run` waits for it in a bounded queue; after it nothing leaves.
`deliver` gets every outcome with facts or alerts; it is never called from inside `request`. Nothing of a request, an answer or an error
of a library is logged: they carry keys and signatures. This module must not decide about orders.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from twinloop.data.binance_answers import read_websocket_answer
from twinloop.data.binance_orders import session_frame
from twinloop.data.binance_signing import Credentials
from twinloop.data.errors import DecodeError
from twinloop.data.order_text import draw_masks, masked_frame
from twinloop.data.rowfile import Rows
from twinloop.engine import crash_points
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.endpoints import Endpoints, tls_context
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.http_client import Answer, ask, open_client
from twinloop.engine.gateway.orders_out import OrdersOut
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.user_stream import UserStream
from twinloop.engine.seam import WORLD, ReceiveClock, World

TICK_S: Final = 0.05
EARLY_MAX: Final = 256  # Requests kept for `run`; those that do not fit are not sent.
FRAME_BYTES_MAX: Final = 4 << 20
UNSENT_BYTES_MAX: Final = 1 << 18  # More than this in the socket's buffer: the other side does not read.
BACKOFF_S: Final = (0.25, 30.0)
SESSION_S: Final = 23 * 3600.0  # The venue ends a connection at 24 hours.
LOGON: Final = "session.logon"
NOTHING: Final = logging.getLogger("twinloop.engine.gateway.nothing")
NOTHING.disabled = True  # A library's debug lines show frames, and with them keys and signatures.

Deliver = Callable[[Outcome], None]


class Departures(Protocol):
    """Told of every request what becomes of it, before any of its bytes reaches a socket."""

    def leaves(self, outgoing: Outgoing) -> bool:
        """A request is about to leave. False: it must not; nothing of it was sent then."""

    def departure(self, order_id: int, number: int, now_ns: int, mono_ns: int) -> bytes | None:
        """What is to be recorded of a new order that is about to leave as a message of this number, before it is booked. None: it must not."""

    def seals(self, departure: bytes) -> bool:
        """Record it. False: the order must not leave."""

    def stays(self, outgoing: Outgoing) -> None:
        """A request has not left and never will."""


class Untold:
    """Nobody keeps a record: everything may leave."""

    def leaves(self, outgoing: Outgoing) -> bool:
        """Yes."""
        del outgoing
        return True

    def departure(self, order_id: int, number: int, now_ns: int, mono_ns: int) -> bytes | None:
        """Nothing."""
        del order_id, number, now_ns, mono_ns
        return b""

    def seals(self, departure: bytes) -> bool:
        """Yes."""
        del departure
        return True

    def stays(self, outgoing: Outgoing) -> None:
        """Nothing to do."""


class Transport:
    """Moves what a gateway asks for. departures: keeps the record of what left; audit: compares it; world: the outside, for tests."""

    def __init__(
        self,
        gateway: Gateway,
        credentials: Credentials,
        endpoints: Endpoints,
        deliver: Deliver,
        clock: ReceiveClock,
        *,
        departures: Departures | None = None,
        audit: OrdersOut | None = None,
        world: World | None = None,
    ) -> None:
        self.gateway = gateway
        self.sent = 0
        self._credentials = credentials
        self._endpoints = endpoints
        self._deliver = deliver
        self._clock = clock
        self._world = world or WORLD
        self._tls = tls_context(endpoints.ca_file)
        self._departures = departures or Untold()
        self._audit = audit
        self._client: aiohttp.ClientSession | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[Outgoing] = []
        self._ended = False
        self._socket: Any = None
        self._pending: dict[str, Outgoing] = {}
        self._at_hand: tuple[Any, bytes, int, int] = (
            None,
            b"",
            0,
            0,
        )  # The order that is leaving: socket, row and times.
        self.user = UserStream(self)

    # What the rest of the session calls.

    @property
    def times(self) -> tuple[int, int]:
        """(local wall ns, monotonic ns)."""
        return self._clock.both()

    def request(self, rows: Rows) -> None:
        """The kernel's requests leave. Facts about them come later, through `deliver`."""
        if self._audit is not None:
            self._audit.came(rows.tobytes())
        outcome = self.gateway.on_requests(rows, *self.times)
        self.send(outcome.outgoing)
        if outcome.facts or outcome.alerts:
            asyncio.get_running_loop().call_soon(self._deliver, outcome)

    def withdraw(self, rows: Rows) -> None:
        """Requests of the kernel that never leave. Their refusals come later, through `deliver`."""
        if self._audit is not None:
            self._audit.came(rows.tobytes())
        outcome = self.gateway.on_withdrawn(rows, *self.times)
        self.send(outcome.outgoing)
        asyncio.get_running_loop().call_soon(self._deliver, outcome)

    def request_row(self, row: bytes) -> bool:
        """A plain new order leaves now and is booked after that. False: nothing was done, the row is one for `request`."""
        found = self.leaving(row)
        if found is None or not self._departures.seals(found[1]):
            return False
        self.left(found[0])
        return True

    def leaving(self, row: bytes) -> tuple[bytes, bytes] | None:
        """The frame of a plain new order, and what is to be recorded before it is written by `left`; None: the row is one for `request`.

        Nothing has happened yet, and where `left` is not called nothing has to be undone.
        """
        socket = self._socket
        if socket is None or socket.protocol.state is not State.OPEN or self._ended or crash_points.armed:
            return None
        gateway = self.gateway
        now_ns, mono_ns = self._clock.both()
        frame = gateway.frame(row, now_ns, mono_ns)
        if frame is None:
            return None
        sender = gateway.sender
        departure = self._departures.departure(sender.way.order_id, sender.number + 1, now_ns, mono_ns)
        if departure is None:
            return None
        self._at_hand = socket, row, now_ns, mono_ns
        return frame, departure

    def left(self, frame: bytes) -> None:
        """Write the frame of the order that was asked about last, and book it."""
        socket, row, now_ns, mono_ns = self._at_hand
        socket.transport.write(frame)
        if self._audit is not None:
            self._audit.came(row)
            self._audit.wrote_frame(frame)
        outgoing = self.gateway.on_left(row, now_ns, mono_ns)
        self._pending[str(outgoing.number)] = outgoing
        self.sent += 1
        self._bound(socket)

    def take(self, outcome: Outcome) -> None:
        """Act on an outcome of the gateway: send, and deliver."""
        self.send(outcome.outgoing)
        if outcome.facts or outcome.alerts:
            self._deliver(outcome)

    async def run(self) -> None:
        """Everything, until cancelled."""
        headers = {"X-MBX-APIKEY": self._credentials.api_key.reveal()}
        try:
            async with open_client(self._tls, headers) as client, asyncio.TaskGroup() as tasks:
                self._client, self._tasks = client, tasks
                early, self._early = self._early, []
                self.send(early)
                tasks.create_task(self._tick(), name="gateway-tick")
                tasks.create_task(self.user.run(), name="gateway-user-stream")
                if self._endpoints.orders and self.gateway.settings.websocket:
                    tasks.create_task(self._order_socket(), name="gateway-order-socket")
        finally:
            self._ended = True
            early, self._early = self._early, []
            for each in early:
                self._departures.stays(each)

    def reopen(self) -> None:
        """After `run` has ended: what is sent from here on waits until it runs again."""
        self._ended, self._tasks, self._client = False, None, None

    async def _tick(self) -> None:
        while True:
            draw_masks()
            self.take(self.gateway.on_tick(*self.times))
            self._give_up_late()
            await self._world.sleep(TICK_S)

    # Sending.

    def send(self, outgoing: list[Outgoing]) -> None:
        """Hand requests to the socket, cancels first; that of an order that leaves with it leaves behind it."""
        if len(outgoing) > 1:
            placed = {each.order_id for each in outgoing if each.kind == kinds.PLACE}
            outgoing = sorted(outgoing, key=lambda each: not each.is_cancel or each.order_id in placed)
        for each in outgoing:
            if self._ended:
                self._departures.stays(each)
            elif self._tasks is None:
                self._keep(each)
            elif each.frame:
                self._send_frame(each)
            else:
                self._begin_call(self._tasks, each)

    def _keep(self, outgoing: Outgoing) -> None:
        """Of a strategy's on_start, say: it leaves as soon as there is a way."""
        if len(self._early) < EARLY_MAX:
            self._early.append(outgoing)
        else:
            self._not_sent(outgoing)

    def _begin_call(self, tasks: asyncio.TaskGroup, outgoing: Outgoing) -> None:
        """Have a REST call made: its task begins in the loop's next turn, after it is recorded that it leaves."""
        call = self._call(outgoing)
        try:
            task = tasks.create_task(call, name=f"gateway-request-{outgoing.number}")
        except RuntimeError:  # The group is shut: the session ends, its connections are gone.
            call.close()
            self._ended = True
            self._departures.stays(outgoing)
            return
        if self._departures.leaves(outgoing):
            self._wrote(outgoing)
        else:
            task.cancel()
            self._not_sent(outgoing)

    def _not_sent(self, outgoing: Outgoing) -> None:
        self._departures.stays(outgoing)
        asyncio.get_running_loop().call_soon(lambda: self.take(self.gateway.on_not_sent(outgoing, *self.times)))

    def _timed_out(self, outgoing: Outgoing) -> None:
        self.take(self.gateway.on_timeout(outgoing, *self.times))

    async def _call(self, outgoing: Outgoing) -> None:
        """One REST call, whole answer within its deadline."""
        remaining_ns = outgoing.deadline_mono_ns - self._world.monotonic_ns()
        answer = await self.rest(outgoing.method, outgoing.path, outgoing.text, outgoing.request.in_body, remaining_ns)
        if answer is None:
            self._timed_out(outgoing)
        else:
            if crash_points.armed:
                crash_points.reach("sent")
            self.take(self.gateway.on_response(outgoing, *answer, *self.times))

    async def rest(self, method: str, path: str, text: str, in_body: bool, within_ns: int) -> Answer | None:
        """A whole answer in time, or None."""
        if self._client is None or within_ns <= 0:
            return None
        return await ask(
            self._client, method, self._endpoints.rest + path, text, in_body=in_body, within_s=within_ns / 1e9
        )

    # The order socket.

    def _send_frame(self, outgoing: Outgoing) -> None:
        socket = self._socket
        if socket is None or socket.state is not State.OPEN:
            self._not_sent(outgoing)
            return
        if not self._departures.leaves(outgoing):
            self._not_sent(outgoing)
            return
        self._wrote(outgoing)
        self._pending[str(outgoing.number)] = outgoing
        # What the coroutine `socket.send` comes to, which then waits for room; here there is no turn of the loop in between.
        socket.transport.write(masked_frame(outgoing.frame.encode()))
        self._bound(socket)

    def _wrote(self, outgoing: Outgoing) -> None:
        self.sent += 1
        if self._audit is not None:
            self._audit.wrote(outgoing)

    @staticmethod
    def _bound(socket: Any) -> None:
        if socket.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            socket.transport.abort()

    def _give_up_late(self) -> None:
        now_ns = self._world.monotonic_ns()
        late = [number for number, outgoing in self._pending.items() if outgoing.deadline_mono_ns <= now_ns]
        for number in late:
            self._timed_out(self._pending.pop(number))

    async def connect(self, address: str) -> Any:
        """A WebSocket connection, quiet and bounded."""
        return await self._world.connect(
            address,
            ssl=self._tls if address.startswith("wss:") else None,
            max_size=FRAME_BYTES_MAX,
            compression=None,
            open_timeout=10,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=20,
            logger=NOTHING,
            proxy=None,
        )

    async def _order_socket(self) -> None:
        """Keep a connection of the WebSocket API; what is pending when it goes has no answer."""
        wait_s = BACKOFF_S[0]
        while True:
            await self.may_ask()
            try:
                async with await self.connect(self._endpoints.orders) as socket:
                    if await self._log_on(socket):
                        self._socket = socket
                        self.gateway.on_order_socket(up=True)
                        wait_s = BACKOFF_S[0]
                        await self._read_answers(socket)
            except (OSError, WebSocketException, TimeoutError):
                pass
            finally:
                self._socket = None
                self.gateway.on_order_socket(up=False)
                pending, self._pending = list(self._pending.values()), {}
                for outgoing in pending:
                    self._timed_out(outgoing)
            wait_s = await self.back_off(wait_s)

    async def may_ask(self) -> None:
        """Wait until the venue takes requests of this address: one in a ban, a connection's too, lengthens it."""
        while not self.gateway.may_ask:
            await self._world.sleep(TICK_S)

    async def back_off(self, wait_s: float) -> float:
        """Wait, with jitter that never comes near zero; the next wait."""
        await self._world.sleep(wait_s * (0.5 + 0.5 * self._world.random()))
        return min(2 * wait_s, BACKOFF_S[1])

    def sign_session(self, call: str) -> str:
        """A signed frame about a connection itself, number 0."""
        timestamp_ms = (self.times[0] + self.gateway.sender.clock.offset_ns) // 1_000_000
        return session_frame(call, 0, timestamp_ms, self.gateway.settings.window_ms, self._credentials)

    async def confirmed(self, socket: Any, call: str) -> bool:
        """Send a frame about the connection and wait for its answer; whether it was done."""
        await socket.send(self.sign_session(call))
        async with asyncio.timeout(10):
            while True:
                try:
                    number, status, _, _ = read_websocket_answer(await socket.recv(decode=False))
                except DecodeError:
                    continue
                if number == "0":
                    return status == 200

    async def _log_on(self, socket: Any) -> bool:
        return not self.gateway.settings.logged_on or await self.confirmed(socket, LOGON)

    async def _read_answers(self, socket: Any) -> None:
        ends_ns = self._world.monotonic_ns() + int(SESSION_S * 1e9)
        while self._world.monotonic_ns() < ends_ns or self._pending:
            frame = await socket.recv(decode=False)
            try:
                number, status, headers, body = read_websocket_answer(frame)
            except DecodeError:
                continue  # Its request runs into its deadline.
            outgoing = self._pending.pop(number, None)
            if outgoing is not None:
                if crash_points.armed:
                    crash_points.reach("sent")
                self.take(self.gateway.on_response(outgoing, status, headers, body, *self.times))

    @property
    def world(self) -> World:
        """The outside."""
        return self._world

    @property
    def endpoints(self) -> Endpoints:
        """Addresses."""
        return self._endpoints
