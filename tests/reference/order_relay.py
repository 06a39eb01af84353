"""A TCP relay between a client and a venue's REST address that loses answers, and keeps what was said. Real sockets; it shares nothing with
the code under test.

    async with OrderRelay(exchange.port, b"POST /fapi/v1/order") as relay: ... relay.address ...; relay.lose = 1
"""

import asyncio
import contextlib
from typing import Self


class OrderRelay:
    """lose: of how many of the next requests that begin with `marked` the answer is lost, and the connection with it.

    keep: whether the bytes of both ways are kept, as `asked` and `answered`.
    """

    def __init__(self, port: int, marked: bytes, *, keep: bool = False) -> None:
        self.upstream = port
        self.marked = marked
        self.keep = keep
        self.asked, self.answered = bytearray(), bytearray()
        self.lose = 0
        self.lost = 0

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.close()
            return
        losing = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(1 << 16):
                if self.keep:
                    self.asked += data
                if self.lose and data.startswith(self.marked):
                    self.lose -= 1
                    losing.set()
                onward.write(data)
                await onward.drain()

        async def down() -> None:
            while data := await back.read(1 << 16):
                if losing.is_set():  # The venue has taken it and has answered: nobody hears of that.
                    self.lost += 1
                    return
                if self.keep:
                    self.answered += data
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            onward.close()
            writer.transport.abort() if losing.is_set() else writer.close()
