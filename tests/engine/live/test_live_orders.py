"""Real orders on the practice exchange, over real sockets: what the engine believes is what the exchange's own books say."""

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data import journal_write
from twinloop.data.errors import ConfigError
from twinloop.engine import cli
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import FileLayer, JournalWriter
from twinloop.engine.live.config import load_session
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows
from twinloop.kernels.node import STANDARD

if TYPE_CHECKING:
    from twinloop.data.binance_orders import Market

Play = Callable[[Server, LiveProcess, asyncio.Task[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def run(
    tmp_path: Path, strategy_folder: Path, what: Play, *, times: int = 1, market: str = "usdm", orders: str = ""
) -> tuple[list[str], Server]:
    said: list[str] = []

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, market, orders)
            for _ in range(times):
                await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            return server

    return said, asyncio.run(all_of_it())


MARKETS = pytest.mark.parametrize("market", ["usdm", "spot"])


def account_of(server: Server, market: str = "usdm") -> Any:
    return server.exchanges[cast("Market", market)].accounts[PRACTICE_KEY]


def assert_books_agree(server: Server, process: LiveProcess, market: str = "usdm") -> None:
    """Fills, position, fees and money of the node against the exchange's own ledger."""
    account = account_of(server, market)
    node = process.loop.node
    if market == "spot":
        for currency, asset in enumerate(node.assembly.currencies):
            ours = int(node.decision["ledgers"][0][currency]["balance"])
            assert ours == sum(account.balances.get(asset, (0, 0))), asset
        signed = sum(fill.qty * fill.order.side for fill in account.fills)
        held = node.decision["account_holdings"][0][0]["position"]
        assert int(held["qty"]) == signed
        # What the account held before is no part of the session's money, whatever it is worth.
        in_base = sum(fill.fee for fill in account.fills if fill.fee_asset == "BTC")
        paid = in_base * int(node.decision["fx"][1]) // 10**8
        cash = int(node.decision["accounts"][0]["cash"])
        assert abs(cash - int(held["cost"]) - account.balances["USDT"][0] - account.balances["USDT"][1] + paid) <= len(
            account.fills
        )
    else:
        held = node.decision["account_holdings"][0][0]["position"]
        theirs = account.positions.get("BTCUSDT")
        assert int(held["qty"]) == (theirs.qty if theirs else 0)
        assert int(held["fees"]) == sum(fill.fee for fill in account.fills)
        # What a partial close realises is rounded, by each side in its own way; with the cost of what is open it is exact.
        cost = theirs.cost if theirs else 0
        assert int(held["realised"]) - int(held["cost"]) == sum(fill.realised for fill in account.fills) - cost
        assert int(node.decision["accounts"][0]["cash"]) - int(held["cost"]) == account.balances["USDT"][0] - cost
    working = {order.client_id for order in account.orders.values() if order.status in OPEN}
    assert len(working) <= int(node.decision["open_count"])


def replays(tmp_path: Path) -> None:
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
    assert found.requests >= 1


@pytest.mark.parametrize("websocket", [False, True])
@MARKETS
def test_orders_trade_and_both_books_agree(tmp_path: Path, strategy_folder: Path, market: str, websocket: bool) -> None:
    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        del server
        await sessions.traded(process, task, 5)

    last: list[LiveProcess] = []

    async def kept(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        last.append(process)
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: edge.gateway.sender.socket_up == websocket, task)
        await what(server, process, task)
        assert edge.gateway.sender.socket_up == websocket

    orders = "websocket = true" if websocket else ""
    said, server = run(tmp_path, strategy_folder, kept, market=market, orders=orders)
    assert_books_agree(server, last[0], market)
    account = account_of(server, market)
    assert not [order for order in account.orders.values() if order.status in OPEN], "the end leaves nothing working"
    assert len(account.fills) == last[0].loop.counts.fills >= 5
    in_base = sum(fill.fee_asset == "BTC" and fill.fee > 0 for fill in account.fills)
    assert last[0].loop.counts.by_kind.get(rows.FX, 0) == in_base, "a fee in the base asset comes with its rate"
    assert (in_base > 0) == (market == "spot")
    assert any("orders go to" in line for line in said)
    assert not any(PRACTICE_SECRET in line or PRACTICE_KEY in line for line in said)
    replays(tmp_path)


@MARKETS
@pytest.mark.parametrize(
    "fault", ["drop_response", "lose_request", "unknown_503", "html_403", "failed_503", "reject", "late_ack", "double_user_event",
              "lose_user_event", "drop_user", "wrong_time", "fail_query", "too_many"],
)  # fmt: skip
def test_whatever_happens_to_an_order_it_is_proven_and_booked_once(
    tmp_path: Path, strategy_folder: Path, fault: str, market: str
) -> None:
    kept: list[LiveProcess] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        kept.append(process)
        await sessions.traded(process, task, 1)
        server.faults.arm(fault, 1)
        await sessions.until(lambda: server.faults.met.get(fault, 0) >= 1, task)
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: edge.settled and process.loop.trading_state == "ACTIVE", task)
        await sessions.traded(process, task, 2)

        def agree() -> bool:
            theirs = account_of(server, market)
            return len(theirs.fills) == process.loop.counts.fills

        process.loop.command("halt")
        await sessions.until(lambda: agree() and not edge.gateway.open_orders, task)

    _, server = run(tmp_path, strategy_folder, what, market=market)
    assert_books_agree(server, kept[0], market)
    ids = [order.client_id for order in account_of(server, market).orders.values()]
    assert len(ids) == len(set(ids)), "no order twice"
    replays(tmp_path)


@MARKETS
def test_a_restart_proves_every_order_before_it_trades(tmp_path: Path, strategy_folder: Path, market: str) -> None:
    processes: list[LiveProcess] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        if len(processes) > 1:
            await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        await sessions.traded(process, task, 3)
        del server

    said, server = run(tmp_path, strategy_folder, what, times=2, market=market)
    assert any("every order is proven and the positions agree" in line for line in said)
    assert processes[1].loop.recorded.journal.epoch == 2
    assert_books_agree(server, processes[1], market)
    replays(tmp_path)


def working(server: Server) -> list[str]:
    """Client ids of what works on the account."""
    return [order.client_id for order in account_of(server).orders.values() if order.status in OPEN]


def alerts_of(process: LiveProcess) -> list[str]:
    assert process.orders is not None
    return [alert.name for alert in process.orders.alerts]


def unassigned(process: LiveProcess) -> int:
    """What the account holds that no strategy of the session traded."""
    node = process.loop.node
    return int(node.decision["strategy_holdings"][STANDARD.strategies][0]["position"]["qty"])


def test_a_trade_by_hand_is_booked_for_nobody_and_told(tmp_path: Path, strategy_folder: Path) -> None:
    """Both during a session and between two: what the venue can explain by its trades stops nobody."""
    processes: list[LiveProcess] = []
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        await sessions.traded(process, task, 1)
        if len(processes) == 1:
            server.exchanges["usdm"].place(account_of(server), "BTCUSDT", 1, "MARKET", 123)
        await sessions.until(lambda: unassigned(process) == 123 * len(processes), task)
        await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        await sessions.traded(process, task, 1)
        assert "EXTERNAL_FILL" in alerts_of(process)

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            server.exchanges["usdm"].place(account_of(server), "BTCUSDT", 1, "MARKET", 123)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            return server

    server = asyncio.run(all_of_it())
    assert_books_agree(server, processes[1])
    replays(tmp_path)


def test_orders_of_somebody_else_count_in_the_limits_until_they_are_gone(tmp_path: Path, strategy_folder: Path) -> None:
    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        exchange, account = server.exchanges["usdm"], account_of(server)
        exposure = process.loop.node.decision["account_holdings"][0][0]["exposure"]
        await sessions.traded(process, task, 1)
        low = exchange.markets["BTCUSDT"].last_price * 98 // 100
        low -= low % exchange.markets["BTCUSDT"].symbol.tick_size
        stranger, _ = exchange.place(account, "BTCUSDT", 1, "LIMIT", 50, price=low)
        await sessions.until(lambda: int(exposure["external_buy"]) == 50, task)
        assert "EXTERNAL_ORDER" in alerts_of(process)
        assert int(exposure["buy_qty"]) >= 50
        assert process.loop.trading_state == "ACTIVE"
        await sessions.traded(process, task, 1)
        exchange.cancel(account, "BTCUSDT", stranger.id)
        await sessions.until(lambda: int(exposure["external_buy"]) == 0, task)

    run(tmp_path, strategy_folder, what)
    replays(tmp_path)


def test_orders_of_somebody_else_that_ended_between_two_sessions_count_no_more(
    tmp_path: Path, strategy_folder: Path
) -> None:
    processes: list[LiveProcess] = []
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        exchange, account = server.exchanges["usdm"], account_of(server)
        exposure = process.loop.node.decision["account_holdings"][0][0]["exposure"]
        if len(processes) == 1:
            await sessions.traded(process, task, 1)
            low = exchange.markets["BTCUSDT"].last_price * 98 // 100
            low -= low % exchange.markets["BTCUSDT"].symbol.tick_size
            exchange.place(account, "BTCUSDT", 1, "LIMIT", 50, price=low, client_id="by-hand")
            await sessions.until(lambda: int(exposure["external_buy"]) == 50, task)
            return
        await sessions.traded(process, task, 1)
        assert int(exposure["external_buy"]) == 0

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            stranger = account_of(server).by_client["by-hand"]
            if stranger.status in OPEN:  # The end of a session cancels all that works on the account.
                server.exchanges["usdm"].cancel(account_of(server), "BTCUSDT", stranger.id)
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))

    asyncio.run(all_of_it())
    replays(tmp_path)


@MARKETS
@pytest.mark.parametrize("fault", ["", "lose_request", "drop_response", "reject", "unknown_503"])
def test_flatten_closes_every_position_whatever_happens_to_its_orders(
    tmp_path: Path, strategy_folder: Path, fault: str, market: str
) -> None:
    kept: list[LiveProcess] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        kept.append(process)
        held = process.loop.node.decision["account_holdings"][0][0]["position"]
        await sessions.until(lambda: abs(int(held["qty"])) >= 40, task)
        process.loop.command("reduce")
        if fault:
            server.faults.arm(fault, 2)
        words = ["ctl", "flatten", str(process.loaded.place)]
        if not fault:
            assert await asyncio.to_thread(cli.run, [*words, "--at-market", "--confirm", "another"]) == cli.USAGE
            assert process.loop.trading_state == "REDUCING"
            words += ["--at-market", "--confirm", "live"]
        assert await asyncio.to_thread(cli.run, words) == cli.OK
        assert process.loop.trading_state == "HALTED"
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: int(held["qty"]) == 0 and not edge.gateway.open_orders, task)
        await sessions.until(lambda: int(process.loop.node.decision["accounts"][0]["flatten"]) == 0, task)
        assert process.loop.trading_state == "HALTED"

    said, server = run(tmp_path, strategy_folder, what, market=market)
    del said
    assert int(kept[0].loop.node.decision["account_holdings"][0][0]["position"]["qty"]) == 0
    assert_books_agree(server, kept[0], market)
    closing = [order for order in account_of(server, market).orders.values() if order.time_in_force == "IOC"]
    assert closing
    assert all(order.reduce_only for order in closing) or market == "spot"
    replays(tmp_path)


def move(server: Server, market: str, units: int, asset: str = "BTC") -> None:
    """A transfer: what the account holds changes without a trade."""
    account = account_of(server, market)
    if market == "spot" or asset == "USDT":
        account.balances[asset][0] += units * 10**5  # A unit of quantity is 0.001.
    else:
        account.positions["BTCUSDT"].qty += units


async def reconcile(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = await asyncio.to_thread(cli.run, ["reconcile", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("market", "name"),
    [("usdm", "BTCUSDT"), ("usdm", "USDT"), ("spot", "BTC"), ("spot", "USDT")],
    ids=["usdm", "usdm-cash", "spot", "spot-cash"],
)
def test_a_difference_that_no_trade_explains_halts_until_a_person_accepts_it(
    tmp_path: Path, strategy_folder: Path, market: str, name: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Between two sessions; the command shows it, refuses what it is not, and books it; the journal replays."""
    monkeypatch.setattr("twinloop.engine.live.reconcile.LAG_NS", 10**9)
    processes: list[LiveProcess] = []
    said: list[str] = []
    place = tmp_path / "sessions" / "live"

    async def what(process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        if len(processes) == 1:
            await sessions.traded(process, task, 1)
            return
        await sessions.until(lambda: any("differs from the journal" in line for line in said), task)
        assert process.loop.trading_state == "HALTED"
        code, found = await reconcile(capsys, str(place))
        assert code == cli.CHECK_FAILED
        (difference,) = found["breaks"]
        assert difference["name"] == name
        assert abs(Decimal(difference["venue"]) - Decimal(difference["journal"])) == Decimal("0.123")
        with pytest.raises(ConfigError, match="every difference accepted or gone"):
            await asyncio.to_thread(ask, place / SOCKET, {"command": "resume"})
        assert process.loop.trading_state == "HALTED"
        assert (await reconcile(capsys, str(place), "--accept", "ffffffff", "--reason", "x"))[0] == cli.USAGE
        assert (await reconcile(capsys, str(place), "--accept", difference["id"]))[0] == cli.USAGE
        code, found = await reconcile(capsys, str(place), "--accept", difference["id"], "--reason", "moved in by hand")
        assert (code, found["breaks"]) == (cli.OK, [])
        assert process.loop.trading_state == "HALTED", "accepting is not resuming"
        await asyncio.to_thread(ask, place / SOCKET, {"command": "resume"})
        await sessions.traded(process, task, 1)

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, market)
            await sessions.in_session(path, said, what)
            move(server, market, 123, name)
            await sessions.in_session(path, said, what)
            return server

    server = asyncio.run(all_of_it())
    node = processes[1].loop.node
    moved = Decimal(node.session.instruments[0].qty_text(unassigned(processes[1])))
    assert moved == (Decimal(0) if name == "USDT" else Decimal("0.123"))
    assert processes[1].loop.counts.by_kind.get(rows.TRANSFER, 0) == (name != "BTCUSDT")
    if market == "spot":
        for currency, asset in enumerate(node.assembly.currencies):
            assert int(node.decision["ledgers"][0][currency]["balance"]) == sum(
                account_of(server, market).balances.get(asset, (0, 0))
            )
    kept = json.loads((place / "reconciliations.jsonl").read_text())
    assert (kept["reason"], kept["user"]) == ("moved in by hand", os.getuid())
    replays(tmp_path)


@MARKETS
def test_a_difference_that_arises_while_a_session_trades_halts_it(
    tmp_path: Path, strategy_folder: Path, market: str
) -> None:
    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.traded(process, task, 3)
        looked = process.reconciler.looked_ns
        await sessions.until(lambda: process.reconciler.looked_ns > looked, task)
        assert process.loop.trading_state == "ACTIVE", "fills on their way are no difference"
        move(server, market, 7)
        await sessions.until(lambda: process.loop.trading_state == "HALTED", task)
        # What is realised of a position that somebody moved differs too.
        assert {each.name for each in process.reconciler.breaks} - {"USDT"} == {
            "BTC" if market == "spot" else "BTCUSDT"
        }

    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, market, 'reconcile_every = "500ms"')
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))

    asyncio.run(all_of_it())
    replays(tmp_path)


@pytest.mark.parametrize("since", ["the start", "a look"])
def test_answers_about_the_account_that_lag_prove_nothing(tmp_path: Path, strategy_folder: Path, since: str) -> None:
    """They are asked for again, and nothing stops; once they do not lag, the look ends."""
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        if since == "a look":
            await sessions.traded(process, task, 2)
            looked = process.reconciler.looked_ns
            await sessions.until(lambda: process.reconciler.looked_ns > looked, task)
        server.faults.arm("lag_query", -1)
        await sessions.until(lambda: any("some time ago" in line for line in said), task)
        await sessions.traded(process, task, 4)
        assert process.loop.trading_state == "ACTIVE"
        server.faults.arm("lag_query", 0)
        looked = process.reconciler.looked_ns
        await sessions.until(lambda: process.reconciler.looked_ns > looked, task)
        assert process.reconciler.breaks == []
        assert process.loop.trading_state == "ACTIVE"

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, "usdm", 'reconcile_every = "500ms"')
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))

    asyncio.run(all_of_it())
    assert not any("differs from the journal" in line for line in said)


@MARKETS
def test_a_trade_that_the_venue_takes_back_is_reversed_and_told(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, market: str
) -> None:
    """The fill stays, a BUST fact reverses it; the books agree then and after a restart, and a person has to look."""
    monkeypatch.setattr("twinloop.engine.live.busts.AGE_NS", 0)
    processes: list[LiveProcess] = []
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        processes.append(process)
        if len(processes) == 2:
            await sessions.until(lambda: any("positions agree: " in line for line in said), task)
            assert process.loop.trading_state != "ACTIVE", (
                "what a person has to look at is looked at, over a restart too"
            )
            return
        await sessions.traded(process, task, 3)
        process.loop.command("reduce")
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: not edge.gateway.open_orders, task)
        server.faults.arm("bust_trade", 1)
        await sessions.until(lambda: "TRADE_BUST" in alerts_of(process), task)
        assert edge.needs_person
        assert process.loop.trading_state == "REDUCING"
        assert process.loop.counts.by_kind[rows.BUST] == 2

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, market, 'reconcile_every = "500ms"')
            for _ in range(2):
                await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            return server

    server = asyncio.run(all_of_it())
    account = account_of(server, market)
    node = processes[1].loop.node
    held = node.decision["account_holdings"][0][0]["position"]
    assert int(held["qty"]) == sum(fill.qty * fill.order.side for fill in account.fills)
    cash = int(node.decision["accounts"][0]["cash"])
    if market == "spot":
        assert_books_agree(server, processes[1], market)
    else:
        assert int(held["fees"]) == sum(fill.fee for fill in account.fills)
        assert cash - int(held["cost"]) == account.balances["USDT"][0] - account.positions["BTCUSDT"].cost
    replays(tmp_path)


def test_an_account_that_is_not_told_twice_lets_positions_only_shrink(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinloop.engine.live.reconcile.ASK_AGAIN_S", 0.2)

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.traded(process, task, 1)
        server.faults.arm("fail_query", -1)
        await sessions.until(lambda: "ACCOUNT_NOT_TOLD" in alerts_of(process), task)
        assert process.loop.trading_state == "REDUCING"
        assert not process.orders.settled  # type: ignore[union-attr]
        server.faults.arm("fail_query", 0)
        await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        await sessions.traded(process, task, 1)

    run(tmp_path, strategy_folder, what, orders='reconcile_every = "500ms"')
    replays(tmp_path)


@pytest.mark.parametrize("word", ["reduce", "halt"])
def test_what_a_person_stopped_stays_stopped_over_a_restart(tmp_path: Path, strategy_folder: Path, word: str) -> None:
    processes: list[LiveProcess] = []
    said: list[str] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        del server
        processes.append(process)
        if len(processes) == 1:
            await sessions.traded(process, task, 1)
            await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": word})
            return
        await sessions.until(lambda: any("positions agree" in line for line in said), task)
        assert process.loop.trading_state != "ACTIVE"
        await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "resume"})
        await sessions.traded(process, task, 1)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            for _ in range(2):
                await sessions.in_session(path, said, lambda process, task: what(server, process, task))

    asyncio.run(all_of_it())
    replays(tmp_path)


class FailingDisk(FileLayer):
    """A disk on which one operation fails from a moment on: every time, or the first time alone, as kernels report a failed sync."""

    def __init__(self, operation: int, error: int, *, once: bool) -> None:
        self.once = once
        self.plan = self.faults = np.array([[operation, 1 << 40, 1 << 40, -error]], np.int64)

    def fail(self, done: int) -> None:
        """done: how often the operation was done so far."""
        self.plan[0, 1:3] = (done + 1, done + 2) if self.once else (0, 1 << 40)


@pytest.mark.parametrize(
    ("operation", "error", "once", "said"),
    [
        pytest.param(journal_write.WRITE, errno.ENOSPC, False, "No space left", id="k1-full"),
        pytest.param(journal_write.SYNC, errno.EIO, True, "Input/output error", id="k2-one-failed-sync"),
        pytest.param(journal_write.WRITE, errno.EIO, True, "Input/output error", id="k2-one-failed-write"),
    ],
)
def test_a_disk_that_fails_ends_trading_and_nothing_is_left_working(
    tmp_path: Path,
    strategy_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: int,
    error: int,
    once: bool,
    said: str,
) -> None:
    """Without a journal no order leaves; cancels do, and again where they are lost, until the venue has proven that nothing works."""
    disk = FailingDisk(operation, error, once=once)
    monkeypatch.setattr("twinloop.engine.live.process.JournalWriter", partial(JournalWriter, layer=disk))

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            process = LiveProcess(load_session(path), lambda _: None)
            task = asyncio.create_task(process.run())
            await sessions.until(lambda: hasattr(process, "feed"), task)
            await sessions.until(lambda: bool(working(server)), task)
            journal = process.loop.recorded.journal
            disk.fail(journal.operations()[operation == journal_write.SYNC])
            while not process.loop.failure:  # noqa: ASYNC110 - in the very turn
                await asyncio.sleep(0)
            server.faults.arm("lose_request", 2)
            with pytest.raises(ExceptionGroup) as ended:
                await task
            assert ended.group_contains(SessionError, match=said)
            assert not once or journal.operations()[operation == journal_write.SYNC] <= int(disk.plan[0, 2]), (
                "never tried again"
            )
            return server

    server = asyncio.run(all_of_it())
    orders = list(account_of(server).orders.values())
    assert orders
    assert not working(server)
    assert server.faults.met["lose_request"] == 2
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    asked = {int(row["order_id"]) for commit in journal.each() for row in commit.requests if row["kind"] == rows.NEW}
    there = {int(order.client_id.split("-")[3], 36) for order in orders}
    assert there <= asked, "no order is at the venue that the journal does not hold"


def test_keys_are_needed_and_never_shown(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_of_it() -> None:
        async with Server(seed=4) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            monkeypatch.setenv("TWINLOOP_API_SECRET", "canary-of-a-wrong-secret")
            with pytest.raises(SessionError, match="-1022") as refused:
                await LiveProcess(load_session(path), lambda _: None).run()
            assert "canary" not in str(refused.value)
            monkeypatch.delenv("TWINLOOP_API_SECRET")
            with pytest.raises(ConfigError, match="a key is not in the environment"):
                await LiveProcess(load_session(path), lambda _: None).run()

    asyncio.run(all_of_it())


def test_no_key_is_in_the_journal(tmp_path: Path, strategy_folder: Path) -> None:
    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        del server
        await sessions.traded(process, task, 1)

    run(tmp_path, strategy_folder, what)
    for path in (tmp_path / "sessions").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert PRACTICE_SECRET.encode() not in data
            assert PRACTICE_KEY.encode() not in data
    assert rows.SENT


def test_a_ban_is_told_with_its_end_and_a_restart_asks_nothing(tmp_path: Path, strategy_folder: Path) -> None:
    said: list[str] = []
    paths: list[Path] = []

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.traded(process, task, 1)
        server.faults.arm("banned", 1)
        await sessions.until(lambda: "BANNED" in alerts_of(process), task)
        await sessions.until(lambda: process.loop.trading_state == "HALTED", task)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            paths.append(configuration(tmp_path, server.port, strategy_folder))
            await sessions.in_session(paths[0], said, lambda process, task: what(server, process, task))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("twinloop.engine.live.process.CANCEL_S", 0.2)  # Nothing can be proven during a ban.
        asyncio.run(all_of_it())
    told = next(line for line in said if "BANNED" in line)
    assert " UTC)" in told
    # The exchange is gone: whatever would have been asked now would be another error.
    with pytest.raises(SessionError, match=r"banned this address.*expected a start after .* UTC.*nothing was sent"):
        asyncio.run(LiveProcess(load_session(paths[0]), said.append).run())


@pytest.mark.parametrize("stock", ["0", "0.00001", "1"])
def test_flatten_on_spot_sells_what_the_account_holds_and_says_what_is_left(
    tmp_path: Path, strategy_folder: Path, stock: str
) -> None:
    """The venue takes a purchase's fee of the base asset: without enough of it from before, the whole position cannot be sold."""
    kept: list[LiveProcess] = []
    said: list[str] = []
    before = int(Decimal(stock) * 10**8)

    async def what(server: Server, process: LiveProcess, task: asyncio.Task[None]) -> None:
        kept.append(process)
        node, edge = process.loop.node, process.orders
        assert edge is not None
        held = node.decision["account_holdings"][0][0]["position"]
        server.exchanges["spot"].place(account_of(server, "spot"), "BTCUSDT", 1, "MARKET", 12_345)
        await sessions.until(lambda: int(held["qty"]) >= 12_345, task)
        process.loop.command("halt")
        await sessions.until(lambda: not edge.gateway.open_orders, task)
        refused = sum(order.status == "REJECTED" for order in account_of(server, "spot").orders.values())
        assert await asyncio.to_thread(cli.run, ["ctl", "flatten", str(process.loaded.place)]) == cli.OK
        await sessions.until(lambda: any("closing has ended" in line for line in said), task)
        assert sum(order.status == "REJECTED" for order in account_of(server, "spot").orders.values()) == refused

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            account_of(server, "spot").balances["BTC"] = [before, 0]
            path = configuration(tmp_path, server.port, strategy_folder, "spot")
            await sessions.in_session(path, said, lambda process, task: what(server, process, task))
            return server

    server = asyncio.run(all_of_it())
    assert_books_agree(server, kept[0], "spot")
    instrument = kept[0].loop.node.session.instruments[0]
    position = int(kept[0].loop.node.decision["account_holdings"][0][0]["position"]["qty"])
    left = sum(account_of(server, "spot").balances["BTC"])
    line = next(line for line in said if "closing has ended" in line)
    if stock == "1":
        assert position == 0
        assert line.endswith("no position is left")
        assert left < before, "the fees, out of what was there before"
    else:
        assert position > 0, "what the fees took"
        assert instrument.qty_text(position) in line
        assert left < 10**8 // 10**instrument.qty_scale * instrument.lot_size, "less than a lot is left to sell"
    replays(tmp_path)
