"""The operator's socket: commands in, answers out, one JSON document a line, for whoever may open the file.

    {"command": "halt"}                           ->  {"ok": true, "sequence": 1234, "state": "HALTED"}
    {"command": "flatten", "at_market": true}     ->  the same; without a price, market orders
    {"command": "tighten", "limit": "max_order_qty", "value": "0.5", "symbol": "BTCUSDT"}  ->  the same
    {"command": "ack", "alert": 6}                ->  the same; a person has seen the alert of that number
    {"command": "status", "again": true}          ->  how it stands, as asked for a moment ago

The socket stands in the session's folder with mode 0600: who may read the folder may command. Every command is a row in the
journal, with the user number of who gave it in `code` and the time it came in `local_ns`; only a status that is asked for again, and a look at breaks, are not. This module must not act itself.
"""

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twinloop.data.errors import ConfigError, TwinloopError
from twinloop.engine.live.session_errors import SessionError

LINE_BYTES_MAX: Final = 4096
PATH_BYTES_MAX: Final = 107 if sys.platform == "linux" else 103  # The system's, of a socket's path.
ACTS: Final = ("halt", "reduce", "resume", "flatten")
ASKS: Final = ("status", "limits")
NOTED: Final = (*ASKS, "tighten")  # A NOTE in the journal has in `value` which it was, counted from 1.
COMMANDS: Final = (*ACTS, *NOTED, "ack", "breaks", "accept")
SOCKET: Final = "control.sock"

Answer = Callable[[str, dict[str, Any], int], dict[str, Any]]


def check_place(path: Path) -> None:
    """ConfigError where no socket can have this path."""
    size = len(os.fsencode(path))
    if size > PATH_BYTES_MAX:
        raise ConfigError(
            "the path of the session's control socket is too long", file=path, field="session.out, session.name",
            expected=f"at most {PATH_BYTES_MAX} bytes", got=size, remedy="give one of them a shorter name",
        )  # fmt: skip


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    """Listen on a socket. answer: called with the command, its document and the caller's user number."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - of a session that died; no other runs, the journal's lock says so

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await _line(reader):
                writer.write(_reply(line, answer, _caller(writer)) + b"\n")
                await writer.drain()
        except ConnectionError:  # Gone.
            pass
        except _TooLongError:
            writer.write(_refusal(f"a line of more than {LINE_BYTES_MAX} bytes is no command") + b"\n")
        finally:
            writer.close()

    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(client, path, limit=LINE_BYTES_MAX)
    finally:
        os.umask(before)


def _caller(writer: asyncio.StreamWriter) -> int:
    """User number of the other end; -1 where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    connection = writer.get_extra_info("socket")
    if option is None or connection is None:
        return -1
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(user)


class _TooLongError(Exception):
    """A line that is longer than any command."""


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise _TooLongError from None


def _reply(line: bytes, answer: Answer, user: int) -> bytes:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return _refusal('not a command, expected one JSON document a line such as {"command": "status"}')
    command = document.get("command") if isinstance(document, dict) else None
    if command not in COMMANDS:
        return _refusal(f"unknown command {command!r}, expected one of {', '.join(COMMANDS)}")
    try:
        return json.dumps({"ok": True, **answer(command, document, user)}, default=str).encode()
    except TwinloopError as error:
        return _refusal(str(error))
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and the log has where it was
        asyncio.get_running_loop().call_exception_handler({"message": f"{command} failed", "exception": error})
        return _refusal(f"{command} failed, which is a bug in twinloop: {type(error).__name__}: {error}")


def _refusal(error: str) -> bytes:
    return json.dumps({"ok": False, "error": error}).encode()


def ask(path: Path, document: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask a running session. SessionError where none listens or none answers."""
    if not path.exists():
        others = sorted({
            str(each.parent) for folder in (path.parent.parent, Path("sessions")) for each in folder.glob(f"*/{SOCKET}")
        })  # fmt: skip
        there = f"; there is one in {', '.join(others[:5])}" if others else ""
        raise SessionError(
            "no session runs here", file=path, expected="the control socket of a running session",
            remedy=f"start it with `twinloop live`, or name its folder{there}",
        )  # fmt: skip
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(document).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                part = connection.recv(65536)
                if not part:
                    break
                data += part
        except ConnectionRefusedError:
            raise SessionError(
                "the session's process has ended and did not end in order", file=path, expected="a process that answers", got="none",
                remedy="its orders may still work at the venue: start it again, which proves or cancels each of them",
            ) from None  # fmt: skip
        except TimeoutError:
            raise SessionError(
                "the session does not answer", file=path, got=f"nothing in {timeout_s:g} s",
                remedy="its process is stopped or busy: see its log; `twinloop sidecar` cancels for one that stays mute",
            ) from None  # fmt: skip
        except OSError as error:
            raise SessionError(
                "the session does not answer", file=path, got=str(error), remedy="see whether its process still runs"
            ) from None
    if not data.endswith(b"\n"):
        raise SessionError(
            "the session closed the connection without a whole answer", file=path, remedy="see whether its process still runs, and its log"
        )  # fmt: skip
    found: dict[str, Any] = json.loads(data)
    if not found.get("ok"):
        raise ConfigError(str(found.get("error", "refused")))
    return found
