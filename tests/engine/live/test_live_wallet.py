"""The wallet of a live session against the venue's, on the practice exchange: what moves it, who explains it, what halts."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine import cli
from twinloop.engine.exchange import incidents
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.kernels import rows

OFTEN = 'reconcile_every = "500ms"'


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def account_of(server: Server, market: str = "usdm") -> Account:
    return server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]


def alerts_of(process: LiveProcess) -> list[str]:
    assert process.orders is not None
    return [alert.name for alert in process.orders.alerts]


def play(tmp_path: Path, strategy_folder: Path, what: Any, *, market: str = "usdm", orders: str = OFTEN) -> list[str]:
    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, market, orders)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task, said))

    asyncio.run(all_of_it())
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
    return said


@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_money_that_leaves_is_told_with_the_venues_word_halts_and_is_booked_when_accepted(
    tmp_path: Path, strategy_folder: Path, market: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, not at the next look of its own; the command shows what the venue told of, and that it explains the difference."""

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None], said: list[str]) -> None:
        place = process.loaded.place
        await sessions.traded(process, task, 3)
        await sessions.looked(process, task)
        assert process.reconciler.breaks == [], "a wallet that trades, fees and all, agrees"
        await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        server.faults.arm("transfer", 1)
        await sessions.until(lambda: process.loop.trading_state == "HALTED", task)
        assert "MONEY_MOVED" in alerts_of(process)
        assert not any("funding may be listed later" in line for line in said), "what is explained is not waited for"
        await sessions.looked(process, task)
        differing = {each.name: each for each in process.reconciler.breaks}
        word = "WITHDRAW -" if market == "usdm" else "BALANCE_UPDATE -"
        assert set(differing) == ({"USDT"} if market == "usdm" else {"BTC", "USDT"})
        await sessions.until(lambda: any(f"the venue told of: {word}" in line for line in said), task)
        await asyncio.to_thread(cli.run, ["reconcile", str(place), "--show"])
        shown = capsys.readouterr().out
        assert f"the venue told of: {word}" in shown
        assert "does not explain" not in shown
        assert await asyncio.to_thread(cli.run, ["reconcile", str(place), "--json"]) == cli.CHECK_FAILED
        breaks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["breaks"]}
        assert breaks["USDT"]["explained"]
        (told,) = breaks["USDT"]["told"]
        moved = Decimal(breaks["USDT"]["venue"]) - Decimal(breaks["USDT"]["journal"])
        assert abs(Decimal(told.split()[1]) - moved) < Decimal("0.01")
        words = ["reconcile", str(place), "--accept", breaks["USDT"]["id"], "--reason", "moved out"]
        await asyncio.to_thread(cli.run, words)
        assert process.loop.counts.by_kind[rows.TRANSFER] == 1
        kept = json.loads((place / "reconciliations.jsonl").read_text())
        assert kept["told"] == [told]
        if market == "usdm":
            account = process.loop.node.decision["accounts"][0]
            assert int(account["start_equity"]) < 990_001 * 10**8, "it is no loss"
            await asyncio.to_thread(ask, place / SOCKET, {"command": "resume"})
            await sessions.traded(process, task, 1)
            await sessions.looked(process, task)
            assert process.reconciler.breaks == []

    play(tmp_path, strategy_folder, what, market=market)


def test_what_was_transferred_while_the_session_was_away_is_found_in_the_venues_list(
    tmp_path: Path, strategy_folder: Path
) -> None:
    """No stream told of it. It halts all the same, and the line says what explains it; nothing is waited for."""
    processes: list[LiveProcess] = []
    said: list[str] = []

    async def what(process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        if len(processes) == 1:
            await sessions.traded(process, task, 2)
            return
        await sessions.until(lambda: any("differs from the journal" in line for line in said), task)
        assert process.loop.trading_state == "HALTED"
        assert not any("funding may be listed later" in line for line in said)
        (line,) = (line for line in said if "the venue told of: TRANSFER -" in line)
        assert "does not explain" not in line
        await sessions.looked(process, task)
        (found,) = process.reconciler.told()["breaks"]
        assert (found["name"], found["explained"], len(found["told"])) == ("USDT", True, 1)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, said, what)
            server._pass_time()  # Its clock stands between two turns: the transfer comes after the session.
            incidents.transfer(server.exchanges["usdm"], account_of(server))
            await sessions.in_session(path, said, what)

    asyncio.run(all_of_it())


def test_funding_that_is_listed_later_than_paid_is_no_difference(tmp_path: Path, strategy_folder: Path) -> None:
    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None], said: list[str]) -> None:
        held = process.loop.node.decision["account_holdings"][0][0]["position"]
        await sessions.until(lambda: abs(int(held["qty"])) >= 40, task)
        account = account_of(server)
        server.faults.arm("user_silence", 0)
        while not account.income:
            server.exchanges["usdm"].fund()
            await asyncio.sleep(0)
        hidden, account.income[:] = account.income[:], []
        await sessions.until(lambda: any("funding may be listed later" in line for line in said), task)
        account.income[:] = hidden
        await sessions.until(lambda: process.loop.counts.by_kind.get(rows.FUNDING_PAID, 0) == 1, task)
        await sessions.looked(process, task)
        assert process.reconciler.breaks == []
        assert process.loop.trading_state == "ACTIVE"
        assert "MONEY_MOVED" not in alerts_of(process)

    said = play(tmp_path, strategy_folder, what)
    assert not any("differs from the journal" in line for line in said)


def test_a_wallet_that_differs_and_nobody_explains_halts(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinloop.engine.live.reconcile.LAG_NS", 10**9)

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None], said: list[str]) -> None:
        await sessions.traded(process, task, 3)
        account_of(server).balances["USDT"][0] -= 2 * 10**6
        await sessions.until(lambda: process.loop.trading_state == "HALTED", task)
        assert any("the venue told of: nothing, which does not explain it" in line for line in said)
        await sessions.looked(process, task)
        (found,) = process.reconciler.breaks
        assert (found.name, found.slot, found.currency) == ("USDT", -1, 0)
        assert abs(found.ours - found.theirs - Decimal("0.02")) < Decimal("0.0001")

    play(tmp_path, strategy_folder, what)


def test_fees_in_a_third_asset_are_no_difference(tmp_path: Path, strategy_folder: Path) -> None:
    """They are told as what they are, a fee in a currency that has no rate yet; no wallet differs for them."""

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None], said: list[str]) -> None:
        del said
        account = account_of(server)
        account.balances.setdefault("BNB", [0, 0])[0] += 10**10
        account.burns = True
        await sessions.until(lambda: any(fill.fee_asset == "BNB" for fill in account.fills), task)
        await sessions.until(lambda: "UNKNOWN_FEE_CURRENCY" in alerts_of(process), task)
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: edge.settled, task)
        await sessions.looked(process, task)
        await sessions.looked(process, task)
        assert process.reconciler.breaks == []
        assert process.loop.trading_state == "REDUCING"

    play(tmp_path, strategy_folder, what)
