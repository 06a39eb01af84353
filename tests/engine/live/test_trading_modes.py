"""How a USD-M account trades is checked before a session starts, and nothing is changed there."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data.errors import ConfigError
from twinloop.engine.exchange import requests
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.requests import Call
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.config import load_session
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def start(
    tmp_path: Path, strategy_folder: Path, change: Callable[[Account], None] | None = None, orders: str = ""
) -> tuple[list[str], Account]:
    """Start a session on an account that was changed so, and end it."""
    said: list[str] = []

    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: process.loop.counts.facts > 10, task)

    async def all_of_it() -> Account:
        async with Server(seed=4) as server:
            account = server.exchanges["usdm"].accounts[PRACTICE_KEY]
            if change is not None:
                change(account)
            before = (account.hedge, account.multi_assets, set(account.isolated), dict(account.leverages))
            try:
                await sessions.in_session(
                    configuration(tmp_path, server.port, strategy_folder, orders=orders), said, play
                )
            finally:
                now = (account.hedge, account.multi_assets, set(account.isolated), dict(account.leverages))
                assert now == before, "a session changes nothing there"
            return account

    return said, asyncio.run(all_of_it())


def set_hedge(account: Account) -> None:
    account.hedge = True


def set_multi_assets(account: Account) -> None:
    account.multi_assets = True


@pytest.mark.parametrize(
    ("change", "orders", "told"),
    [
        (set_hedge, "", "hedge mode.*expected one-way mode.*set the position mode to one-way"),
        (set_multi_assets, "", "multi-assets mode.*expected single-asset mode"),
        (lambda account: account.isolated.add("BTCUSDT"), "", "BTCUSDT marginType.*expected CROSSED.*got 'ISOLATED'"),
        (None, 'margin = "isolated"', "BTCUSDT marginType.*expected ISOLATED.*got 'CROSSED'"),
        (None, "leverage = 5", "BTCUSDT leverage.*expected 5x.*got '20x'.*nothing was changed"),
        (lambda account: account.leverages.update(BTCUSDT=7), "leverage = { BTCUSDT = 20 }", "expected 20x.*got '7x'"),
    ],
)
def test_an_account_that_trades_in_another_way_is_refused(
    tmp_path: Path, strategy_folder: Path, change: Callable[[Account], None] | None, orders: str, told: str
) -> None:
    with pytest.raises(SessionError) as refused:
        start(tmp_path, strategy_folder, change, orders)
    assert re.search(told, str(refused.value).replace("\n", " ")), str(refused.value)
    assert not (tmp_path / "sessions" / "live" / "journal").exists(), "nothing has begun"


@pytest.mark.parametrize(
    ("change", "orders", "told"),
    [
        (None, "", "BTCUSDT: one-way, cross margin, leverage 20x (not checked"),
        (None, "leverage = 20", "BTCUSDT: one-way, cross margin, leverage 20x (as the file says)"),
        (
            lambda account: account.isolated.add("BTCUSDT"),
            'margin = "isolated"\nleverage = { BTCUSDT = 20 }',
            "BTCUSDT: one-way, isolated margin, leverage 20x (as the file says)",
        ),
    ],
)
def test_an_account_that_trades_as_the_file_says_is_told(
    tmp_path: Path, strategy_folder: Path, change: Callable[[Account], None] | None, orders: str, told: str
) -> None:
    said, _ = start(tmp_path, strategy_folder, change, orders)
    assert any(told in line for line in said), said


@pytest.mark.parametrize("path", ["/fapi/v1/accountConfig", "/fapi/v1/symbolConfig"])
@pytest.mark.parametrize("answer", [None, {}, []])
def test_a_venue_that_does_not_say_is_a_refusal(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, answer: object
) -> None:
    if answer is None:
        monkeypatch.delitem(requests.USDM, ("GET", path))
    else:
        monkeypatch.setitem(requests.USDM, ("GET", path), Call(lambda *_: answer))
    with pytest.raises(SessionError):
        start(tmp_path, strategy_folder)


@pytest.mark.parametrize(
    ("market", "orders"),
    [("spot", "leverage = 3"), ("spot", 'margin = "cross"'), ("usdm", "leverage = { ETHUSDT = 3 }"), ("usdm", "leverage = 0"), ("usdm", "leverage = 126"), ("usdm", "leverage = true")],
)  # fmt: skip
def test_settings_that_cannot_be_checked_are_mistakes_of_the_file(
    tmp_path: Path, strategy_folder: Path, market: str, orders: str
) -> None:
    with pytest.raises((ConfigError, ExceptionGroup)):
        load_session(configuration(tmp_path, 1, strategy_folder, market, orders))
