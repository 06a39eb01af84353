"""Funding of a live session on the practice exchange, over real sockets: what the venue paid is booked once, to whom it belongs."""

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def account_of(server: Server) -> Account:
    return server.exchanges["usdm"].accounts[PRACTICE_KEY]


def position(process: LiveProcess, book: int | None = None) -> Any:
    """Of the account, or of a book: strategies by slot, the unassigned one at STANDARD.strategies."""
    decision = process.loop.node.decision
    if book is None:
        return decision["account_holdings"][0][0]["position"]
    return decision["strategy_holdings"][book][0]["position"]


def assert_it_adds_up(server: Server, process: LiveProcess) -> None:
    """Venue's payments, account, ledger, books and cash: the same amount, exactly."""
    account, decision = account_of(server), process.loop.node.decision
    paid = sum(each.amount for each in account.income if each.kind == "FUNDING_FEE")
    assert paid
    held = position(process)
    assert int(held["funding"]) == int(decision["ledgers"][0][0]["funding"]) == paid
    assert sum(int(position(process, book)["funding"]) for book in (0, STANDARD.strategies)) == paid
    cost = account.positions["BTCUSDT"].cost
    assert int(decision["accounts"][0]["cash"]) - int(held["cost"]) == account.balances["USDT"][0] - cost
    ledger = decision["ledgers"][0][0]
    assert int(ledger["balance"]) == int(decision["accounts"][0]["cash"]), "one currency: the ledger is the cash"


def funded(process: LiveProcess) -> int:
    return int(process.loop.counts.by_kind.get(rows.FUNDING_PAID, 0))


async def holding(process: LiveProcess, task: asyncio.Task[None]) -> None:
    """A position, and nothing more under way."""
    await sessions.until(lambda: abs(int(position(process)["qty"])) >= 40, task)
    edge = process.orders
    assert edge is not None
    process.loop.command("halt")
    await sessions.until(lambda: not edge.gateway.open_orders and edge.settled, task)


def replays(tmp_path: Path) -> None:
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)


def test_a_payment_is_booked_to_the_strategy_and_the_rest_to_nobody(tmp_path: Path, strategy_folder: Path) -> None:
    """By position at the time of the payment, which trades that follow at once do not change. Shown in status and summary."""
    kept: list[LiveProcess] = []
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        kept.append(process)
        exchange, account = server.exchanges["usdm"], account_of(server)
        await holding(process, task)
        exchange.place(account, "BTCUSDT", 1, "MARKET", 123)
        await sessions.until(lambda: int(position(process, STANDARD.strategies)["qty"]) == 123, task)
        ours, nobodys = int(position(process, 0)["qty"]), 123
        server.faults.arm("pay_funding", 1)
        await sessions.until(lambda: server.faults.met.get("pay_funding", 0) == 1, task)
        exchange.now_ms += 1  # Whatever trades from here on is later.
        exchange.place(account, "BTCUSDT", 1, "MARKET", 7_000)
        await sessions.until(lambda: funded(process) >= 2, task)
        amount = sum(each.amount for each in account.income)
        share = Fraction(amount * ours, ours + nobodys)
        assert int(position(process, 0)["funding"]) == int(share)
        assert int(position(process, STANDARD.strategies)["funding"]) == amount - int(share)
        status = await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "status"})
        assert Fraction(status["funding"]) == Fraction(round(amount, -6), 10**8) or abs(amount) <= 10**8
        assert status["strategies"][0]["funding"][0]["symbol"] == "BTCUSDT"

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            return server

    server = asyncio.run(all_of_it())
    assert_it_adds_up(server, kept[0])
    paid = sum(each.amount for each in account_of(server).income)
    assert kept[0].result["funding"] == f"{'-' if paid < 0 else ''}{abs(paid) // 10**8}.{abs(paid) % 10**8:08}"
    assert any(line.startswith("stopped:") and "funding" in line for line in said)
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    told = [row for commit in journal.each() for row in commit.facts if row["kind"] == rows.FUNDING_PAID]
    assert {int(row["strategy"]) for row in told} == {0, codes.UNASSIGNED}
    assert len({int(row["trade_id"]) for row in told}) == 1
    replays(tmp_path)


@pytest.mark.parametrize("away", ["stream silent", "stream cut", "list late", "session away", "session away twice"])
def test_a_payment_that_came_while_nobody_listened_is_booked_once(
    tmp_path: Path, strategy_folder: Path, away: str
) -> None:
    processes: list[LiveProcess] = []
    said: list[str] = []
    between = away.startswith("session")

    def pay(server: Server) -> None:
        server.exchanges["usdm"].fund()

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        edge = process.orders
        assert edge is not None
        if len(processes) > 1:
            await sessions.until(lambda: any("positions agree: " in line for line in said), task)
            assert funded(process) >= 1, "nothing is said to agree before it is booked"
            said.clear()
            return
        await holding(process, task)
        if away == "stream silent":
            server.faults.arm("user_silence", -1)
            pay(server)
            await sessions.until(lambda: server.faults.met.get("user_silence", 0) >= 1, task)
            server.faults.arm("user_silence", 0)
            edge.gateway.sweep()
        elif away == "stream cut":
            server.faults.arm("drop_user", 1)
            await sessions.until(lambda: not edge.gateway.stream_up, task)
            pay(server)
        elif away == "list late":
            server.faults.arm("lag_query", -1)
            pay(server)
            await sessions.until(lambda: edge.gateway.funding.is_due_soon(edge.times()[1]), task)
            assert funded(process) == 0
            server.faults.arm("lag_query", 0)
        if not between:
            await sessions.until(lambda: funded(process) >= 1 and edge.settled, task)

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            count = 1 + between + away.endswith("twice")
            for number in range(count):
                await sessions.in_session(path, said, lambda process, task: what(server, process, task))
                if number < count - 1:
                    pay(server)
            return server

    server = asyncio.run(all_of_it())
    assert_it_adds_up(server, processes[-1])
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    told = [row for commit in journal.each() for row in commit.facts if row["kind"] == rows.FUNDING_PAID]
    assert sorted({int(row["trade_id"]) for row in told}) == [each.id for each in account_of(server).income]
    assert sum(int(row["value"]) for row in told) == sum(each.amount for each in account_of(server).income)
    replays(tmp_path)
