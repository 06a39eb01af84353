"""Messages of a WebSocket reach their taker in the call that read their last byte, whole and in order, however the bytes come."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from twinloop.data import prompt_socket
from twinloop.data.prompt_socket import FRAGMENTS_MAX, PromptConnection


class Wire:
    """The transport below a connection."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int, low: int | None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


def connected() -> tuple[PromptConnection, Any]:
    wire: Any = Wire()
    protocol = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=1 << 16)
    made = PromptConnection(protocol, ping_interval=None)
    made.connection_made(wire)
    made.response = Response(101, "Switching Protocols", Headers())
    return made, wire


def frames(message: bytes, cuts: list[int], *, text: bool) -> Iterator[bytes]:
    """A message as a server sends it, cut into fragments."""
    ends = [*sorted(cut % (len(message) + 1) for cut in cuts), len(message)]
    start, opcode = 0, Opcode.TEXT if text else Opcode.BINARY
    for end in ends[:-1]:
        yield Frame(opcode, message[start:end], fin=False).serialize(mask=False)
        start, opcode = end, Opcode.CONT
    yield Frame(opcode, message[start:]).serialize(mask=False)


async def begun(made: PromptConnection, take: Any) -> "asyncio.Task[None]":
    task = asyncio.ensure_future(made.deliver(take))
    await asyncio.sleep(0)
    return task


MESSAGES = st.lists(
    st.tuples(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.booleans()), max_size=8
)


@given(messages=MESSAGES, size=st.integers(1, 400), early=st.integers(0, 4))
def test_messages_come_whole_and_in_order_in_the_call_that_reads_them(messages: Any, size: int, early: int) -> None:
    async def run() -> None:
        made, wire = connected()
        stream = b"".join(
            part
            for message, cuts, text in messages
            for part in (*frames(message, cuts, text=text), Frame(Opcode.PING, b"p").serialize(mask=False))
        )
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        for piece in pieces[:early]:
            made.data_received(piece)
        came: list[bytes] = []
        task = await begun(made, came.append)
        assert not wire.paused
        for piece in pieces[early:]:
            made.data_received(piece)  # No turn of the event loop in between.
        assert came == [message for message, _, _ in messages]
        assert len(wire.written) == len(messages)  # Pongs.
        made.connection_lost(None)
        with pytest.raises(ConnectionClosed):
            await task

    asyncio.run(run())


@given(
    messages=st.lists(st.binary(max_size=90), min_size=1, max_size=40), portion=st.integers(1, 300), sizes=st.lists(st.integers(1, 2000), min_size=1),
    early=st.booleans(), end=st.sampled_from(["lost", "eof", "waited"]),
)  # fmt: skip
def test_what_waited_is_handled_portion_by_portion_and_whole(
    messages: list[bytes], portion: int, sizes: list[int], early: bool, end: str
) -> None:
    """Whatever the portion, the pieces and the end: every message once and in order."""

    async def run() -> None:
        made, wire = connected()
        stream = b"".join(part for message in messages for part in frames(message, [], text=False))
        came: list[bytes] = []
        task = None if early else await begun(made, came.append)
        at, number = 0, 0
        while at < len(stream):
            size = sizes[number % len(sizes)]
            made.data_received(stream[at : at + size])
            at, number = at + size, number + 1
        if task is None:
            task = await begun(made, came.append)
        if end == "waited":
            while len(came) < len(messages):  # noqa: ASYNC110 - every turn is one of the loop
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not wire.paused
        elif end == "eof":
            made.eof_received()
        made.connection_lost(None)
        assert came == messages
        with pytest.raises(ConnectionClosed):
            await task

    before = prompt_socket.PORTION_BYTES
    prompt_socket.PORTION_BYTES = portion  # type: ignore[misc]
    try:
        asyncio.run(run())
    finally:
        prompt_socket.PORTION_BYTES = before  # type: ignore[misc]


def test_other_callbacks_run_between_two_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_socket, "PORTION_BYTES", 100)

    async def run() -> None:
        made, wire = connected()
        came: list[bytes] = []
        task = await begun(made, came.append)
        message = bytes(98)
        made.data_received(b"".join(frames(message, [], text=False)) * 5)
        counts = []
        for _ in range(5):
            counts.append(len(came))
            assert wire.paused == (len(came) < 5)
            await asyncio.sleep(0)
        assert counts == [1, 2, 3, 4, 5]
        assert not wire.paused
        made.connection_lost(None)
        with pytest.raises(ConnectionClosed):
            await task

    asyncio.run(run())


def test_the_other_side_waits_until_there_is_a_taker() -> None:
    async def run() -> None:
        made, wire = connected()
        made.data_received(b"".join(frames(b"first", [], text=True)))
        assert wire.paused
        came: list[bytes] = []
        task = await begun(made, came.append)
        assert came == [b"first"]
        assert not wire.paused
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made.data_received(b"".join(frames(b"of nobody", [], text=True)))
        assert came == [b"first"]

    asyncio.run(run())


def test_an_error_of_the_taker_is_raised_where_it_is_waited_for() -> None:
    async def run() -> None:
        made, _ = connected()
        came = []

        def take(message: bytes) -> None:
            came.append(message)
            raise ValueError("no")

        task = await begun(made, take)
        made.data_received(b"".join(frames(b"one", [], text=True)) * 3)
        with pytest.raises(ValueError, match="no"):
            await task
        made.data_received(b"".join(frames(b"two", [], text=True)))
        made.connection_lost(None)
        assert came == [b"one"]

    asyncio.run(run())


def test_an_error_over_what_came_early_is_raised_too() -> None:
    async def run() -> None:
        made, _ = connected()
        made.data_received(b"".join(frames(b"one", [], text=True)))

        def take(message: bytes) -> None:
            raise KeyError(message)

        with pytest.raises(KeyError):
            await made.deliver(take)

    asyncio.run(run())


def test_a_message_of_endless_fragments_ends_the_connection() -> None:
    async def run() -> None:
        made, wire = connected()
        came: list[bytes] = []
        task = await begun(made, came.append)
        made.data_received(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=False))
        empty = Frame(Opcode.CONT, b"", fin=False).serialize(mask=False)
        for _ in range(FRAGMENTS_MAX):
            made.data_received(empty)
        made.data_received(Frame(Opcode.CONT, b"late").serialize(mask=False))
        assert came == []
        assert len(wire.written) == 1  # The closing frame.
        made.connection_lost(None)
        with pytest.raises(ConnectionClosed, match="too many fragments"):
            await task

    asyncio.run(run())
