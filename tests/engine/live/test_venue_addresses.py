"""A file that names no address: the venue's own ones are called, over TLS that is verified, and a session trades there."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reference.live_config import configuration
from reference.venue_hosts import HOSTS, Authority, program, tls_before

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.endpoints import LIVE
from twinloop.engine.live.config import DEFAULT_REST, DEFAULT_STREAM
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.session_errors import SessionError

EXAMPLES = Path(__file__).parents[3] / "examples"
WAIT_S = 120.0


def begin(folder: Path, port: int, authority: Path | None, *words: str) -> subprocess.Popen[str]:
    """The command line, on a machine whose name service leads the venue's hosts to a port here. authority: whom it trusts."""
    environment = {
        **os.environ, "TWINLOOP_API_KEY": PRACTICE_KEY, "TWINLOOP_API_SECRET": PRACTICE_SECRET, "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    environment.pop("SSL_CERT_FILE", None)
    if authority is not None:
        environment["SSL_CERT_FILE"] = str(authority)
    return subprocess.Popen(
        [sys.executable, "-c", program(port), *words],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
    )  # fmt: skip


def facts(place: Path) -> int:
    """How much a session has handled; 0 while it does not answer."""
    try:
        return int(ask(place, {"command": "status"})["facts"])
    except SessionError:
        return 0


def without_addresses(path: Path) -> Path:
    """The file with the lines taken out that README.md says to take out."""
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("stream = ", "rest = "))]
    assert len(lines) - len(kept) == 2
    path.write_text("".join(kept))
    return path


def test_the_hosts_of_these_tests_are_those_that_a_session_would_call() -> None:
    called = [*DEFAULT_STREAM.values(), *DEFAULT_REST.values()]
    called += [getattr(each, name) for each in LIVE.values() for name in ("rest", "user", "orders", "rights")]
    assert {address.split("/")[2].partition(":")[0] for address in called} == HOSTS


@pytest.mark.parametrize(
    ("market", "hosts"), [("spot", {"api", "stream", "ws-api"}), ("usdm", {"api", "fapi", "fstream", "ws-fapi"})]
)
def test_a_file_without_addresses_trades_at_the_venues_own(
    tmp_path: Path, strategy_folder: Path, market: Any, hosts: set[str]
) -> None:
    """REST, market streams, the user stream and the WebSocket API, each at its host."""

    authority = Authority(tmp_path)

    async def play() -> tuple[int, str]:
        async with (
            Server(seed=4, turns_per_s=100) as server,
            tls_before(server.port, authority.context("good")) as port,
        ):
            path = without_addresses(configuration(tmp_path, server.port, strategy_folder, market, "websocket = true"))
            running = begin(tmp_path, port, authority.file, "live", str(path))
            account = server.exchanges[market].accounts[PRACTICE_KEY]
            try:
                async with asyncio.timeout(WAIT_S):
                    while len(account.fills) < 3 and running.poll() is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            finally:
                running.send_signal(signal.SIGTERM)
            output = (await asyncio.to_thread(running.communicate))[0]
            return running.returncode, output

    code, output = asyncio.run(play())
    assert f"orders go to {LIVE[market].rest}" in output
    assert "stopped:" in output, output
    assert "may still work" not in output
    assert code == 0
    assert authority.called == {f"{host}.binance.com" for host in hosts}


def test_the_practice_file_without_its_two_lines_trades_the_venues_market_on_paper(tmp_path: Path) -> None:
    async def play() -> str:
        authority = Authority(tmp_path)
        for name in ("practice.toml", "ema_cross.py"):
            (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
        path = without_addresses(tmp_path / "practice.toml")
        async with (
            Server(seed=4, turns_per_s=100) as server,
            tls_before(server.port, authority.context("good")) as port,
        ):
            running = begin(tmp_path, port, authority.file, "live", str(path), "--json")
            place = tmp_path / "sessions" / "practice" / SOCKET
            try:
                async with asyncio.timeout(WAIT_S):
                    while await asyncio.to_thread(facts, place) < 100 and running.poll() is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            finally:
                running.send_signal(signal.SIGTERM)
            return (await asyncio.to_thread(running.communicate))[0]

    output = asyncio.run(play())
    assert "paper session practice" in output
    assert "stopped:" in output


@pytest.mark.parametrize(
    ("what", "trusted", "told"),
    [
        ("good", False, "unable to get local issuer certificate"),
        ("expired", True, "certificate has expired"),
        ("itself", True, "self-signed certificate"),
        ("another", True, "Hostname mismatch"),
    ],
)
def test_a_certificate_that_is_not_trusted_ends_the_start_and_nothing_is_sent(
    tmp_path: Path, strategy_folder: Path, what: str, trusted: bool, told: str
) -> None:
    async def play() -> tuple[int, str, int]:
        authority = Authority(tmp_path)
        asked = 0

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += len(await reader.read(1))
            writer.close()

        plain = await asyncio.start_server(count, "127.0.0.1", 0)
        async with plain, tls_before(int(plain.sockets[0].getsockname()[1]), authority.context(what)) as port:
            path = without_addresses(configuration(tmp_path, 1, strategy_folder, "usdm"))
            running = begin(tmp_path, port, authority.file if trusted else None, "live", str(path))
            output = (await asyncio.to_thread(running.communicate, timeout=WAIT_S))[0]
            return running.returncode, output, asked

    code, output, asked = asyncio.run(play())
    assert code == 2
    assert "the venue's certificate is not trusted" in output
    assert told in output
    assert "Traceback" not in output
    assert asked == 0
