"""Keys: where they may come from, what they may do, and that they are never shown."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reference import sessions
from reference.canaries import CANARY_KEY, CANARY_SECRET, everything_under, leaks
from reference.live_config import configuration

from twinloop.data.binance_answers import KeyRights
from twinloop.data.errors import ConfigError
from twinloop.engine.cli.failure import show_failure
from twinloop.engine.exchange import requests
from twinloop.engine.exchange.requests import Call
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.config import load_session
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.keys import check_rights, credentials_from, read_credentials
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError

GOOD = {
    "ip_restrict": True, "enable_reading": True, "enable_withdrawals": False, "enable_internal_transfer": False,
    "permits_universal_transfer": False, "enable_spot_and_margin_trading": True, "enable_futures": True,
}  # fmt: skip
RIGHTS = ("GET", "/sapi/v1/account/apiRestrictions")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


@pytest.mark.parametrize(
    ("market", "changed", "told"),
    [
        ("spot", {"enable_withdrawals": True}, "can withdraw"),
        ("usdm", {"enable_internal_transfer": True}, "move money"),
        ("usdm", {"permits_universal_transfer": True}, "move money"),
        ("spot", {"ip_restrict": False}, "any address"),
        ("spot", {"enable_reading": False}, "cannot read"),
        ("spot", {"enable_spot_and_margin_trading": False}, "cannot trade on spot"),
        ("usdm", {"enable_futures": False}, "cannot trade on usdm"),
    ],
)
def test_a_key_with_too_many_rights_or_too_few_is_refused(market: Any, changed: dict[str, bool], told: str) -> None:
    check_rights(KeyRights(**GOOD), market)
    with pytest.raises(SessionError, match=told):
        check_rights(KeyRights(**{**GOOD, **changed}), market)


def start_with(tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, call: Call | None) -> list[str]:
    """Start a session on an exchange that answers so about rights; None: it has no such call."""
    said: list[str] = []
    if call is None:
        monkeypatch.delitem(requests.SPOT, RIGHTS)
    else:
        monkeypatch.setitem(requests.SPOT, RIGHTS, call)

    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: process.loop.counts.facts > 10, task)

    async def all_of_it() -> None:
        async with Server(seed=4) as server:
            await sessions.in_session(configuration(tmp_path, server.port, strategy_folder), said, play)

    asyncio.run(all_of_it())
    return said


def answer(document: dict[str, Any]) -> Call:
    return Call(lambda exchange, account, parameters: document)  # noqa: ARG005 - as the table calls it


def test_a_session_does_not_start_with_a_key_that_can_withdraw(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camel = {
        name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]): is_on
        for name, is_on in GOOD.items()
    }
    with pytest.raises(SessionError, match="a key that can withdraw"):
        start_with(tmp_path, strategy_folder, monkeypatch, answer(camel | {"enableWithdrawals": True}))
    assert not (tmp_path / "sessions").exists()
    del camel["ipRestrict"]
    with pytest.raises(SessionError, match="cannot be read"):
        start_with(tmp_path, strategy_folder, monkeypatch, answer(camel))


def test_a_venue_that_does_not_tell_rights_is_said(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = start_with(tmp_path, strategy_folder, monkeypatch, None)
    assert any("see to it that it cannot withdraw" in line for line in said)


def test_keys_come_from_a_keyring_where_the_configuration_says_so(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configuration(tmp_path, 1, strategy_folder)
    path.write_text(path.read_text().replace("[orders]", '[orders]\nkeyring = "mine"'))
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"twinloop\[keyring\]"):
        read_credentials(load_session(path))
    held = {("mine", "api-key"): "a-key"}
    keyring, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    errors.KeyringError = OSError  # type: ignore[attr-defined]
    keyring.get_password = lambda service, name: held.get((service, name))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    with pytest.raises(ConfigError, match="keyring set mine api-secret"):
        read_credentials(load_session(path))
    held["mine", "api-secret"] = "a-secret"
    found = read_credentials(load_session(path))
    assert found.api_key.reveal() == "a-key"
    assert found.signer.sign("x") != ""


def test_a_private_key_in_pem_form_signs_by_ed25519(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("TWINLOOP_API_SECRET", pem)
    signer = credentials_from(Path("x.toml"), "TWINLOOP_API_KEY", "TWINLOOP_API_SECRET").signer
    assert len(signer.sign("payload")) == 88


def test_no_key_is_in_a_log_a_journal_a_status_or_a_traceback(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session with every logger at DEBUG, through faults, an answer that is cut, and a refusal."""
    monkeypatch.setenv("TWINLOOP_API_KEY", CANARY_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", CANARY_SECRET)
    shown: list[str] = []

    async def play(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: process.loop.counts.fills >= 1, task)
        for fault in ("drop_response", "html_403", "reject", "drop_user"):
            server.faults.arm(fault, 1)
            await sessions.until(lambda name=fault: server.faults.met.get(name, 0) >= 1, task)  # type: ignore[misc]
        shown.append(str(await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "status"})))
        assert process.orders is not None
        shown.append(repr(vars(process.orders.transport)) + repr(process.orders.gateway.sender.__dict__))

    async def all_of_it() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with Server(seed=4, turns_per_s=100) as server:
            server.add_account("canary", CANARY_KEY, CANARY_SECRET)
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, shown, lambda process, task: play(server, process, task))
            monkeypatch.setenv("TWINLOOP_API_SECRET", CANARY_SECRET[:-1])
            with pytest.raises(SessionError) as refused:
                await LiveProcess(load_session(path), shown.append).run()
            shown.append(str(refused.getrepr(style="long", showlocals=False)))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(all_of_it())
    assert caplog.text
    assert "-1022" in shown[-1]
    assert leaks(caplog.text) == []
    assert leaks("\n".join(shown)) == []
    assert leaks(everything_under(tmp_path / "sessions")) == []
    assert leaks(f"key {CANARY_KEY[3:20]}"), "the search finds what it looks for"


def test_the_command_line_shows_no_key(tmp_path: Path, strategy_folder: Path) -> None:
    """The process as a user runs it: its output, its files, and the traceback of its failures."""
    environment = {
        **os.environ, "TWINLOOP_API_KEY": CANARY_KEY, "TWINLOOP_API_SECRET": CANARY_SECRET, "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    output: list[str] = []

    def command(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", "from twinloop.engine.cli import main; main()", *words],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip

    async def all_of_it() -> int:
        async with Server(seed=4, turns_per_s=100) as server:
            server.add_account("canary", CANARY_KEY, CANARY_SECRET)
            path = configuration(tmp_path, server.port, strategy_folder)
            running = command("live", str(path), "--traceback", "--json")
            account = server.exchanges["usdm"].accounts[CANARY_KEY]
            until = time.monotonic() + 120
            while not account.fills and running.poll() is None and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            output.append((await asyncio.to_thread(running.communicate))[0])
            environment["TWINLOOP_API_SECRET"] = CANARY_SECRET[:-1]
            refused = command("live", str(path), "--traceback")
            output.append((await asyncio.to_thread(refused.communicate))[0])
            assert refused.returncode == 2
            return int(running.returncode)

    assert asyncio.run(all_of_it()) == 0, output
    assert "stopped:" in output[0]
    result = json.loads(next(line for line in output[0].splitlines() if line.startswith("{")))
    assert (result["state"], result["failure"], result["open_orders"]) == ("HALTED", "", [])
    assert result["fills"] >= 1
    assert "Traceback" in output[1]
    assert "-1022" in output[1]
    assert leaks("\n".join(output)) == []
    assert leaks(everything_under(tmp_path / "sessions")) == []


def test_a_venue_that_cannot_be_reached_shows_no_key(tmp_path: Path, strategy_folder: Path) -> None:
    """Nobody listens at the address: the whole traceback of that is free of keys."""
    path = configuration(tmp_path, 1, strategy_folder)
    found = subprocess.run(
        [sys.executable, "-X", "dev", "-c", "from twinloop.engine.cli import main; main()", "live", str(path), "--traceback", "--json"],
        env={
            **os.environ, "TWINLOOP_API_KEY": CANARY_KEY, "TWINLOOP_API_SECRET": CANARY_SECRET, "PYTHONASYNCIODEBUG": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        text=True, capture_output=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert found.returncode != 0
    assert "Traceback" in found.stderr
    assert leaks(found.stdout + found.stderr) == []
    assert leaks(everything_under(tmp_path)) == []


def test_words_between_colons_stay_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_failure(ConfigError("not a name", got=":key: :warning:"), 2, json=False, trace=False)
    assert ":key: :warning:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{CANARY_KEY}\n", "a blank or line break"),
        (f" {CANARY_KEY}", "a blank or line break"),
        (f'"{CANARY_KEY}"', "quotes around it"),
        (f"{CANARY_KEY}\u00e9", "neither letter nor digit"),
        (f"{CANARY_KEY}\x00", "neither letter nor digit"),
    ],
)
@pytest.mark.parametrize("variable", ["TWINLOOP_API_KEY", "TWINLOOP_API_SECRET"])
def test_a_key_that_was_copied_badly_is_told_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, text: str, told: str, variable: str
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, variable: text})
    with pytest.raises(ConfigError, match=told) as refused:
        credentials_from(Path("x.toml"), "TWINLOOP_API_KEY", "TWINLOOP_API_SECRET")
    assert refused.value.field == f"${variable}"
    assert CANARY_KEY not in str(refused.value)
