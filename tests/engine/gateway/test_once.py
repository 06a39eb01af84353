"""A request that carries an order leaves once, however its connection breaks: counted by a server that is nothing but a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from reference.gateway_world import credentials, settings

from twinloop.engine.gateway.endpoints import Endpoints
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.transport import Transport
from twinloop.engine.seam import ReceiveClock

WITHIN_NS = 5_000_000_000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}"
METHODS = ("GET", "POST", "PUT", "DELETE")


class Socket:
    """Answers on every connection until it is told to break: then it reads a request and closes without a word.

    requests: (method, number of the connection it came on).
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []
        self.connections = 0
        self.breaks = False
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        number = self.connections
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [
                    line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")
                ]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                if not head.startswith(
                    ("GET /fapi/v1/time", "POST /fapi/v1/listenKey")
                ):  # What a gateway asks by itself.
                    self.requests.append((head.split(" ")[0], number))
                    if self.breaks:
                        break
                writer.write(ANSWER)
                await writer.drain()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for writer in self._writers:
                writer.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_request_on_a_kept_connection_that_breaks_is_not_repeated(method: str) -> None:
    async def play() -> None:
        socket = Socket()
        async with socket.listening() as port:
            where = f"127.0.0.1:{port}"
            endpoints = Endpoints(rest=f"http://{where}", user=f"ws://{where}/{{listen_key}}")
            gateway = Gateway(settings("usdm"), credentials())
            transport = Transport(gateway, credentials(), endpoints, lambda _: None, ReceiveClock())
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(transport.run())
                await asyncio.sleep(0)

                async def asked() -> bool:
                    return (
                        await transport.rest(method, "/order", "a=1", method in {"POST", "PUT"}, WITHIN_NS) is not None
                    )

                assert await asked(), "the first one is answered, and its connection kept"
                socket.breaks, kept = True, socket.connections
                assert not await asked(), "the second one has no answer: it is for the gateway to find out"
                await asyncio.sleep(0.05)  # For what must not come.
                running.cancel()
            assert [each for each, _ in socket.requests] == [method, method]
            assert socket.requests[1][1] <= kept, "it went out on a connection that was there already"

    asyncio.run(play())


def test_the_library_itself_repeats_what_the_gateway_must_not_send_twice() -> None:
    """Why there is a middleware: where the library stops doing so, this fails and the middleware may go."""

    async def play(method: str) -> int:
        socket = Socket()
        async with socket.listening() as port, aiohttp.ClientSession() as client:
            where = f"http://127.0.0.1:{port}/order"
            async with client.request(method, where) as answer:
                assert answer.status == 200
            socket.breaks = True
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await client.request(method, where)
            return len(socket.requests) - 1

    assert {method: asyncio.run(play(method)) for method in METHODS} == {"GET": 2, "POST": 1, "PUT": 2, "DELETE": 2}
