"""The user stream of one account: opened, kept alive, renewed before the venue ends it, and its going told to the gateway.

Spot's comes over the WebSocket API by a signed subscription; USD-M's over an address with a listen key, which is a secret and is kept alive
by REST. Before a connection is a day old its successor is opened, and read once the old one is closed: what comes on both does no harm.
This module must not read what a frame says.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from websockets.exceptions import WebSocketException

from twinloop.data.binance_answers import read_listen_key
from twinloop.data.binance_orders import UsdmRequests
from twinloop.data.binance_signing import Secret
from twinloop.data.errors import DecodeError

if TYPE_CHECKING:
    from twinloop.engine.gateway.transport import Transport

SUBSCRIBE: Final = "userDataStream.subscribe.signature"
BACKOFF_S: Final = 0.25
WAIT_S: Final = 0.05
KEEP_ALIVE_S: Final = 30 * 60.0  # A listen key lives for 60 minutes.
SESSION_S: Final = 23 * 3600.0
REQUEST_NS: Final = 10_000_000_000


class UserStream:
    """One account's stream. Its tasks are the only ones that use its sockets."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport
        self._key = Secret("")
        self.session_s = SESSION_S
        self.keep_alive_s = KEEP_ALIVE_S
        self.connects = 0

    async def run(self) -> None:
        """Connect, read, renew; again for ever."""
        transport, wait_s = self._transport, BACKOFF_S
        while True:
            try:
                await transport.may_ask()
                if not transport.gateway.clock_known:
                    await transport.world.sleep(WAIT_S)  # Nothing can be signed yet.
                    continue
                before = self.connects
                await self._chain()
                wait_s = BACKOFF_S if self.connects > before else wait_s
            except (OSError, WebSocketException, TimeoutError):
                pass
            wait_s = await transport.back_off(wait_s)

    async def _chain(self) -> None:
        """One connection after another, each opened before the one before it is closed; until one breaks."""
        socket = await self._open()
        while socket is not None:
            following: list[Any] = []
            try:
                self._told_up()
                await self._read(socket, following)
            finally:
                if not following:
                    self._told_down()
                await socket.close()
            socket = following[0] if following else None

    async def _open(self) -> Any:
        """A connection that is subscribed; None if the venue would not."""
        transport = self._transport
        if isinstance(transport.gateway.sender.dialect, UsdmRequests):
            if not await self._listen_key("POST"):
                return None
            return await transport.connect(transport.endpoints.user.replace("{listen_key}", self._key.reveal()))
        socket = await transport.connect(transport.endpoints.user)
        if await transport.confirmed(socket, SUBSCRIBE):
            return socket
        await socket.close()
        return None

    async def _read(self, socket: Any, following: list[Any]) -> None:
        """Read until the connection is closed, by the venue, or by the renewal once its successor (put in `following`) stands."""
        transport, gateway = self._transport, self._transport.gateway
        async with asyncio.TaskGroup() as tasks:
            renewal = tasks.create_task(self._renew(socket, following), name="gateway-user-renewal")
            try:
                while gateway.stream_up:
                    frame = await socket.recv(decode=False)
                    transport.take(gateway.on_user_frame(frame, *transport.times))
            except (OSError, WebSocketException):
                pass
            finally:
                renewal.cancel()

    async def _renew(self, socket: Any, following: list[Any]) -> None:
        """Keep the listen key alive; when the connection is old, open its successor. Closes it then, or when the key could not be kept."""
        transport = self._transport
        left_s = self.session_s
        usdm = isinstance(transport.gateway.sender.dialect, UsdmRequests)
        while left_s > 0:
            wait_s = min(left_s, self.keep_alive_s) if usdm else left_s
            await transport.world.sleep(wait_s)
            left_s -= wait_s
            await transport.may_ask()
            if usdm and left_s > 0 and not await self._listen_key("PUT"):
                break
        else:
            try:
                successor = await self._open()
            except (OSError, WebSocketException, TimeoutError):
                successor = None
            if successor is not None:
                following.append(successor)
        await socket.close()

    async def _listen_key(self, method: str) -> bool:
        """Open or keep alive the key; whether that was done."""
        request = UsdmRequests().listen_key(method)
        transport = self._transport
        answer = await transport.rest(method, request.path, "", in_body=False, within_ns=REQUEST_NS)
        if answer is None:
            return False
        transport.take(transport.gateway.on_other_answer(*answer, *transport.times))
        if answer[0] != 200:
            return False
        if method == "POST":
            try:
                self._key = Secret(read_listen_key(answer[2]))
            except DecodeError:
                return False
        return True

    def _told_up(self) -> None:
        self.connects += 1
        now_ns, mono_ns = self._transport.times
        self._transport.take(self._transport.gateway.on_stream(up=True, now_ns=now_ns, mono_ns=mono_ns))

    def _told_down(self) -> None:
        now_ns, mono_ns = self._transport.times
        self._transport.take(self._transport.gateway.on_stream(up=False, now_ns=now_ns, mono_ns=mono_ns))
