"""The venue's side of the loopback bar: plain sockets in one thread, so that what it measures is the other side.

It serves a market stream and an order socket, sends messages at a fixed rate, and takes the time from the send of a marked one until an
order's bytes are back. Orders end at once, expired, as an IOC order does that meets nobody.
"""

import json
import select
import socket
import struct
import time
from typing import Any, Final

from harness import NotMetError
from latency_session import MARK, ORDER_EVERY
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

RATE: Final = 2_000  # Messages a second.
HANDSHAKE_S: Final = 60.0
GRACE_S: Final = 0.5
SETTLE_BLOCK_S: Final = 0.5


class Peer:
    """A WebSocket connection of the other side, handshake done."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(HANDSHAKE_S)
        self.socket = connection
        self.protocol = ServerProtocol(max_size=1 << 20)
        self.path = ""
        while not self.path:
            self.protocol.receive_data(connection.recv(65536))
            for event in self.protocol.events_received():
                assert isinstance(event, Request)
                self.path = event.path
                self.protocol.send_response(self.protocol.accept(event))
        self._flush()
        connection.setblocking(True)

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)

    def texts(self) -> list[bytes]:
        """Whole messages that came; pings are answered."""
        self.protocol.receive_data(self.socket.recv(65536))
        found = [bytes(event.data) for event in self.protocol.events_received() if event.opcode is Opcode.TEXT]  # type: ignore[union-attr]
        self._flush()
        return found

    def send(self, text: bytes) -> None:
        """A whole message."""
        self.socket.sendall(framed(text))

    def close(self) -> None:
        """End it."""
        self.protocol.send_close(1000)
        self._flush()
        self.socket.close()


def framed(text: bytes) -> bytes:
    """A message of a server as it goes over the wire."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    return (struct.pack(">BBH", 0x81, 126, size) if size < 1 << 16 else struct.pack(">BBQ", 0x81, 127, size)) + text


class Venue:
    """Accepts the connections of both sides, and streams to one at a time."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(HANDSHAKE_S)
        self.port = self._listening.getsockname()[1]
        self._update = 1_000_000
        self.orders = 0

    def accept(self) -> Peer:
        """The next connection."""
        return Peer(self._listening.accept()[0])

    def quote(self, marked: bool) -> bytes:
        """A message of the best bid and ask, stamped now. Prices move a little, as the recordings' do."""
        self._update += 3
        now_ms = time.time_ns() // 1_000_000
        bid = 617_000 + self._update // 3 % 7
        size = MARK if marked else b'"B":"%d.%03d"' % (self._update % 9 + 1, self._update % 700)
        return framed(
            b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%d.%d0",%b,"a":"%d.%d0","A":"2.510",'
            b'"T":%d,"E":%d}}'
            % (self._update, bid // 10, bid % 10, size, (bid + 1) // 10, (bid + 1) % 10, now_ms, now_ms)
        )

    def block(self, market: Peer, orders: Peer, seconds: float, *, answers: bool) -> list[float]:
        """Stream for so long: microseconds from the send of each marked message until its order was here."""
        found: list[float] = []
        waiting_ns: list[int] = []
        poll = select.poll()
        for each in {market, orders}:
            poll.register(each.socket, select.POLLIN)
        begun = time.monotonic_ns()
        for number in range(int(seconds * RATE)):
            marked = number % ORDER_EVERY == ORDER_EVERY - 1
            message = self.quote(marked)
            due = begun + number * 1_000_000_000 // RATE
            self._until(due, poll, market, orders, waiting_ns, found, answers)
            if marked:
                waiting_ns.append(time.monotonic_ns())
            market.socket.sendall(message)
        end = time.monotonic_ns() + int(GRACE_S * 1e9)
        while waiting_ns and time.monotonic_ns() < end:
            self._until(time.monotonic_ns() + 10_000_000, poll, market, orders, waiting_ns, found, answers)
        return found

    def _until(
        self,
        due_ns: int,
        poll: Any,
        market: Peer,
        orders: Peer,
        waiting_ns: list[int],
        found: list[float],
        answers: bool,
    ) -> None:
        """Wait, and take what comes; its time is read before anything else is done with it. Busy near the end: the pace has to be even."""
        descriptor = orders.socket.fileno()
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            ready = poll.poll(0 if left_ns < 1_100_000 else left_ns // 1_000_000)
            came_ns = time.monotonic_ns()
            for number, _ in ready:
                for text in (orders if number == descriptor else market).texts():
                    if b"order.place" not in text:
                        continue
                    if waiting_ns:
                        found.append((came_ns - waiting_ns.pop(0)) / 1e3)
                    self.orders += 1
                    if answers:
                        orders.send(self._expired(json.loads(text)))

    def _expired(self, asked: dict[str, Any]) -> bytes:
        terms = asked["params"]
        result = {
            "orderId": self.orders, "symbol": terms["symbol"], "status": "EXPIRED", "clientOrderId": terms["newClientOrderId"],
            "price": terms["price"], "avgPrice": "0.00", "origQty": terms["quantity"], "executedQty": "0.000", "cumQty": "0.000",
            "cumQuote": "0.00000", "timeInForce": "IOC", "type": "LIMIT", "reduceOnly": False, "side": terms["side"], "positionSide": "BOTH",
            "updateTime": time.time_ns() // 1_000_000,
        }  # fmt: skip
        return json.dumps({"id": asked["id"], "status": 200, "result": result}).encode()


def settle(venue: Venue, market: Peer, orders: Peer, seconds: float, *, answers: bool) -> None:
    """Stream until a side answers every marked message, so that nothing of its start is measured. NotMetError where it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (
            len(venue.block(market, orders, SETTLE_BLOCK_S, answers=answers))
            == int(SETTLE_BLOCK_S * RATE) // ORDER_EVERY
        ):
            return
    raise NotMetError(f"a side did not answer within {seconds:g} s of streaming")
