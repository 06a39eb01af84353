"""Whatever comes in on the operator's socket is answered, and the next command after it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from twinloop.data.errors import ConfigError
from twinloop.engine.live.control import LINE_BYTES_MAX, PATH_BYTES_MAX, SOCKET, ask, check_place, serve
from twinloop.engine.live.session_errors import SessionError

Said = Callable[[bytes], Awaitable[dict[str, Any]]]
STATUS = b'{"command": "status"}'


def answer(command: str, document: dict[str, Any], user: int) -> dict[str, Any]:
    """Answers status, and does with everything else what a mistake of ours would do."""
    del user
    if command == "status":
        return {"state": "ACTIVE"}
    if command == "tighten":
        raise OverflowError("a planted mistake")
    return {"found": {document["alert"]: 1}}  # A list is no key.


def talked(folder: Path, play: Callable[[Said], Awaitable[None]]) -> list[str]:
    """Talk over one connection: what the loop's exception handler heard."""
    heard: list[str] = []

    async def all_of_it() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(str(context["exception"])))
        server = await serve(folder / SOCKET, answer)
        reader, writer = await asyncio.open_unix_connection(folder / SOCKET)

        async def said(line: bytes) -> dict[str, Any]:
            writer.write(line + b"\n")
            found: dict[str, Any] = json.loads(await reader.readline())
            return found

        await play(said)
        writer.close()
        await writer.wait_closed()
        server.close()

    asyncio.run(all_of_it())
    return heard


@pytest.mark.parametrize(
    "line",
    [
        b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 4000, b'{"command": {}}', b'{"command": ["halt"]}', b'{"command": "HALT"}',
        b'{"command": NaN}', b'{"command": "sell everything"}', b'{"command": "halt" ' + b" " * 3000, b"9" * 4000,
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_and_the_next_one_answered(tmp_path: Path, line: bytes) -> None:
    async def play(said: Said) -> None:
        refused = await said(line)
        assert refused["ok"] is False
        assert "expected one" in refused["error"]
        assert (await said(STATUS))["state"] == "ACTIVE"

    assert talked(tmp_path, play) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"command": "tighten"}', "OverflowError: a planted mistake"),
        (b'{"command": "ack", "alert": []}', "TypeError"),
    ],
)
def test_a_mistake_of_ours_is_told_to_who_asked_and_to_the_log(tmp_path: Path, line: bytes, told: str) -> None:
    async def play(said: Said) -> None:
        refused = await said(line)
        assert refused["ok"] is False
        assert told in refused["error"]
        assert (await said(STATUS))["state"] == "ACTIVE"

    heard = talked(tmp_path, play)
    assert len(heard) == 1


def test_a_line_that_is_longer_than_any_command_is_told(tmp_path: Path) -> None:
    async def play(said: Said) -> None:
        refused = await said(b"x" * (2 * LINE_BYTES_MAX))
        assert "more than 4096 bytes" in refused["error"]

    assert talked(tmp_path, play) == []


def test_an_answer_that_breaks_off_is_told(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b'{"ok": tr')
            writer.close()

        server = await asyncio.start_unix_server(half, tmp_path / SOCKET)
        with pytest.raises(SessionError, match="without a whole answer"):
            await asyncio.to_thread(ask, tmp_path / SOCKET, {"command": "status"})
        server.close()

    asyncio.run(all_of_it())


def test_a_path_that_no_socket_can_have_is_refused_by_its_length(tmp_path: Path) -> None:
    room = PATH_BYTES_MAX - len(str(tmp_path / SOCKET)) - 1
    check_place(tmp_path / ("n" * room) / SOCKET)
    with pytest.raises(
        ConfigError, match=f"too long, field session.out, session.name, expected at most {PATH_BYTES_MAX}"
    ):
        check_place(tmp_path / ("ö" + "n" * (room - 1)) / SOCKET)
