"""A WebSocket connection that gives each message to its taker in the very call of the event loop that read it.

    socket = await connect(url, create_connection=PromptConnection)
    async with socket:
        await socket.deliver(take)   # until the connection is over

The library's own `recv` wakes a task instead: a future, another turn of the loop and three coroutines between the bytes and whoever wants
them. Of what waits in the system after a burst a portion is handled in one turn of the loop, so that what comes on other sockets, own orders'
events above all, waits for that portion and not for hundreds of kilobytes. Framing, pings, closing and limits are the library's. This module must not know what messages say.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from websockets.asyncio.client import ClientConnection
from websockets.frames import CONT, DATA_OPCODES, CloseCode, Frame

PORTION_BYTES: Final = 1 << 15  # Handled before other sockets are looked at: about two hundred messages.
FRAGMENTS_MAX: Final = 4096  # Of one message: its size is bounded elsewhere, but fragments may be empty.


class PromptConnection(ClientConnection):
    """`recv` has nothing to give here: every message goes to the taker of `deliver`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._take: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []  # Before there is a taker; the other side then waits.
        self._fragments: list[bytes] = []
        self._rest = b""  # Read, and not handled yet; nothing more is read meanwhile.
        self._over: asyncio.Future[None] = self.loop.create_future()

    async def deliver(self, take: Callable[[bytes], None]) -> NoReturn:
        """Have every whole message taken, in order, until the connection is over: raises the library's ConnectionClosed, or what take raised."""
        assert self._take is None
        try:
            self._take = take
            early, self._early = self._early, []
            for message in early:
                take(message)
            if early:
                self.transport.resume_reading()
            await self._over
        finally:
            self._take = _drop  # What comes while the connection is being closed.
        raise self.close_exc

    def data_received(self, data: bytes) -> None:
        """Bytes of the other side."""
        if not self._rest and len(data) <= PORTION_BYTES:
            super().data_received(data)
            return
        scheduled = bool(self._rest)
        self._rest += data
        self.transport.pause_reading()
        if not scheduled:
            self._go_on()

    def _go_on(self) -> None:
        """Handle a portion, and the next one in the next turn of the loop."""
        if not self._rest:  # The connection is over: it was all handled then.
            return
        portion, self._rest = self._rest[:PORTION_BYTES], self._rest[PORTION_BYTES:]
        super().data_received(portion)
        if self._rest:
            self.loop.call_soon(self._go_on)
        elif not self._early:
            self.transport.resume_reading()

    def _handle_rest(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            super().data_received(rest)

    def eof_received(self) -> None:
        """The other side sends no more."""
        self._handle_rest()
        super().eof_received()

    def process_event(self, event: Any) -> None:
        """An event of the library's protocol."""
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            super().process_event(event)
        elif event.fin and event.opcode is not CONT:
            self._give(bytes(event.data))
        else:
            self._join(event)

    def _join(self, frame: Frame) -> None:
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            message = b"".join(self._fragments)
            self._fragments.clear()
            self._give(message)
        elif len(self._fragments) > FRAGMENTS_MAX:
            self._fragments.clear()
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.send_data()

    def _give(self, message: bytes) -> None:
        take = self._take
        if take is None:
            self._early.append(message)
            self.transport.pause_reading()
            return
        try:
            take(message)
        except Exception as error:  # noqa: BLE001 - whoever waits in `deliver` raises it
            self._take = _drop
            if not self._over.done():
                self._over.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._handle_rest()
        super().connection_lost(exc)
        if not self._over.done():
            self._over.set_result(None)


def _drop(message: bytes) -> None:
    """Nobody wants it any more."""
