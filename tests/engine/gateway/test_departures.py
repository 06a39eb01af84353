"""What becomes of a request is recorded before a byte of it leaves; what has not left is refused, not in doubt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from reference.gateway_world import LOT, credentials, request_row, settings
from reference.order_server import Server
from reference.order_venue import KernelOrder, kernel_view

from twinloop.engine.gateway.endpoints import endpoints_at
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import CANCEL, CANCEL_ALL, PLACE, Outcome, Outgoing
from twinloop.engine.gateway.transport import EARLY_MAX, Transport
from twinloop.engine.seam import ReceiveClock
from twinloop.kernels import codes, rows


class Session:
    """A gateway with a record of departures; `closed`: kinds that may not leave."""

    def __init__(self, server: Server, **changes: Any) -> None:
        host = f"127.0.0.1:{server.port}"
        endpoints = endpoints_at("spot", rest=f"http://{host}", stream=f"ws://{host}")
        self.server = server
        self.gateway = Gateway(settings("spot", **{"clock_offset_max_ns": 10**19, **changes}), credentials())
        self.transport = Transport(
            self.gateway, credentials(), endpoints, self.deliver, ReceiveClock(), departures=self
        )
        self.closed: set[int] = set()
        self.at_once: list[tuple[int, int, int, int]] = []
        self.log: list[tuple[str, int, int]] = []  # (what, kind, requests that the server had seen by then)
        self.orders: dict[int, KernelOrder] = {}
        self.answers: list[tuple[int, int]] = []  # (kind, code)

    def deliver(self, outcome: Outcome) -> None:
        if outcome.facts:
            self.answers += [(int(row["kind"]), int(row["code"])) for row in outcome.rows]
            kernel_view(self.orders, outcome.rows, [])

    def leaves(self, outgoing: Outgoing) -> bool:
        self.log.append(("leaves", outgoing.kind, len(self.server.venue.requests)))
        return outgoing.kind not in self.closed

    def departure(self, order_id: int, number: int, now_ns: int, mono_ns: int) -> bytes | None:
        self.at_once.append((order_id, number, now_ns, mono_ns))
        return b"%d" % number

    def seals(self, departure: bytes) -> bool:
        assert departure == b"%d" % self.at_once[-1][1]
        self.log.append(("leaves", PLACE, len(self.server.venue.requests)))
        return PLACE not in self.closed

    def stays(self, outgoing: Outgoing) -> None:
        self.log.append(("stays", outgoing.kind, len(self.server.venue.requests)))

    def new(self, number: int) -> None:
        self.orders[number] = KernelOrder(LOT, 10_000)
        self.transport.request(request_row(rows.NEW, number))

    def asked(self, path: str) -> int:
        return sum(each.endswith(path) for _, each, _ in self.server.venue.requests)

    def count(self, what: str, kind: int) -> int:
        return sum(each[:2] == (what, kind) for each in self.log)


@asynccontextmanager
async def connected() -> AsyncIterator[Session]:
    """A session whose gateway is connected and knows the venue's clock, until the block ends."""
    async with Server("spot").serve() as server, asyncio.TaskGroup() as tasks:
        session = Session(server)
        running = tasks.create_task(session.transport.run())
        await until(lambda: session.gateway.clock_known)
        yield session
        running.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of many objects
            await asyncio.sleep(0.005)


def test_a_request_is_recorded_before_the_server_can_have_it() -> None:
    async def play() -> None:
        async with connected() as session:
            session.new(17)
            seen = session.log[-1]
            assert seen[:2] == ("leaves", PLACE)
            await until(lambda: session.orders[17].state == "ACKED")
            assert [path for _, path, _ in session.server.venue.requests[: seen[2]] if path.endswith("/order")] == []

    asyncio.run(play())


def test_what_may_not_leave_is_refused_and_cancels_leave_all_the_same() -> None:
    async def play() -> None:
        async with connected() as session:
            session.new(17)
            await until(lambda: session.orders[17].state == "ACKED")
            session.closed = {PLACE}
            session.new(18)
            await until(lambda: session.orders[18].state == "REJECTED")
            assert session.answers[-1] == (rows.REJECT, codes.REASON_NOT_SENT)
            session.transport.request(request_row(rows.CANCEL, 17))
            await until(lambda: session.orders[17].state == "CANCELLED")
            assert len(session.server.venue.orders) == 1
            assert (session.count("stays", PLACE), session.count("stays", CANCEL)) == (1, 0)

    asyncio.run(play())


def test_requests_before_the_start_wait_and_those_that_do_not_fit_are_not_sent() -> None:
    async def play() -> None:
        async with Server("spot").serve() as server, asyncio.TaskGroup() as tasks:
            session = Session(server)
            for _ in range(EARLY_MAX // 2 + 3):  # Two instruments, a request for each.
                session.transport.take(session.gateway.cancel_all(*session.transport.times))
            await asyncio.sleep(0)
            assert session.count("stays", CANCEL_ALL) == 6
            assert not server.venue.requests
            running = tasks.create_task(session.transport.run())
            await until(lambda: session.asked("/openOrders") >= EARLY_MAX)
            assert session.count("leaves", CANCEL_ALL) == EARLY_MAX
            running.cancel()

    asyncio.run(play())


def test_what_never_got_the_chance_and_what_comes_after_the_end_is_recorded_as_not_sent() -> None:
    async def play() -> None:
        async with Server("spot").serve() as server:
            session = Session(server)
            task = asyncio.create_task(session.transport.run())
            await until(lambda: session.gateway.clock_known)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            session.new(17)
            assert session.log[-1][:2] == ("stays", PLACE)
            assert not session.asked("/order")

    asyncio.run(play())


def test_an_order_for_a_socket_that_is_gone_is_refused_at_once() -> None:
    async def play() -> None:
        async with connected() as session:
            # The gateway still believes in a socket that its transport has lost.
            session.gateway.sender.settings = settings("spot", websocket=True)
            session.gateway.on_order_socket(up=True)
            session.new(17)
            await until(lambda: session.orders[17].state == "REJECTED")
            assert session.answers[-1] == (rows.REJECT, codes.REASON_NOT_SENT)
            assert session.count("leaves", PLACE) == 0
            assert session.gateway.unproven == 0

    asyncio.run(play())


@asynccontextmanager
async def on_socket() -> AsyncIterator[Session]:
    """A session whose orders go over the WebSocket API, and one of its kind has."""
    async with Server("spot").serve() as server, asyncio.TaskGroup() as tasks:
        session = Session(server, websocket=True)
        running = tasks.create_task(session.transport.run())
        await until(lambda: session.gateway.clock_known and session.gateway.sender.socket_up)
        session.new(17)
        await until(lambda: session.orders[17].state == "ACKED")
        yield session
        running.cancel()


def test_an_order_that_leaves_at_once_is_recorded_before_the_server_can_have_it() -> None:
    async def play() -> None:
        async with on_socket() as session:
            gateway, venue = session.gateway, session.server.venue
            session.orders[18] = KernelOrder(LOT, 10_000)
            before = sum(path.endswith("/order") for _, path, _ in venue.requests)
            assert session.transport.request_row(request_row(rows.NEW, 18).tobytes())
            assert session.log[-1][:2] == ("leaves", PLACE)
            assert session.at_once[-1][:2] == (18, gateway.sender.number)
            assert [order.order_id for order in gateway.open_orders] == [17, 18]
            seen = venue.requests[: session.log[-1][2]]
            assert sum(path.endswith("/order") for _, path, _ in seen) == before
            await until(lambda: session.orders[18].state == "ACKED")
            assert gateway.unproven == 0
            assert not session.transport.request_row(request_row(rows.NEW, 18).tobytes()), "never twice"
            assert len(venue.orders) == 2

    asyncio.run(play())


def test_an_order_that_may_not_leave_at_once_is_not_sent() -> None:
    async def play() -> None:
        async with on_socket() as session:
            session.closed = {PLACE}
            row = request_row(rows.NEW, 18)
            sent, number = session.transport.sent, session.gateway.sender.number
            assert not session.transport.request_row(row.tobytes())
            assert (session.transport.sent, session.gateway.sender.number) == (sent, number)
            assert [order.order_id for order in session.gateway.open_orders] == [17]
            session.orders[18] = KernelOrder(LOT, 10_000)
            session.transport.request(row)
            await until(lambda: session.orders[18].state == "REJECTED")
            assert session.answers[-1] == (rows.REJECT, codes.REASON_NOT_SENT)
            assert len(session.server.venue.orders) == 1

    asyncio.run(play())


def test_without_its_socket_nothing_leaves_at_once() -> None:
    async def play() -> None:
        async with on_socket() as session:
            await session.transport._socket.close()
            assert not session.transport.request_row(request_row(rows.NEW, 18).tobytes())
            assert not session.at_once

    asyncio.run(play())
