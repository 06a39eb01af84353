"""A session that ends by an error of its own leaves nothing working at the venue."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.orders import ASKED
from twinloop.engine.live import process as process_module
from twinloop.engine.live.config import load_session
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.seam import RealWorld


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def fails(*_: Any, **__: Any) -> Any:
    """Stands for a mistake of ours somewhere in the session."""
    raise ArithmeticError("a planted error")


def stops(*_: Any, **__: Any) -> Any:
    """Stands for a kernel that stopped."""
    raise SessionError("the loop stopped: planted")


def in_a_feed(process: LiveProcess) -> None:
    process.feed.arbiter.on_tick = fails  # type: ignore[method-assign]


def in_the_node(process: LiveProcess) -> None:
    process.loop.recorded.handle = stops  # type: ignore[method-assign]


def test_a_terminal_that_is_gone_ends_no_session_and_keeps_none_from_ending(
    tmp_path: Path, strategy_folder: Path
) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if len(said) > 4:
            raise BrokenPipeError

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            process = LiveProcess(load_session(configuration(tmp_path, server.port, strategy_folder)), say)
            task = asyncio.create_task(process.run())
            await sessions.until(lambda: hasattr(process, "feed") and process.loop.counts.fills >= 2, task)
            server.faults.arm("drop_user")
            await sessions.until(lambda: sum("STREAM_BACK" in line for line in said) >= 2, task)
            process.stopping.set()
            await asyncio.wait_for(task, 120)

    asyncio.run(all_of_it())
    assert "stopped:" in said[-1]


@pytest.mark.parametrize("market", ["usdm", "spot"])
@pytest.mark.parametrize(("plant", "told"), [(in_a_feed, "a planted error"), (in_the_node, "the loop stopped")])
def test_a_session_that_fails_cancels_what_works_and_says_why(
    tmp_path: Path, strategy_folder: Path, plant: Callable[[LiveProcess], None], told: str, market: Any
) -> None:
    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            exchange = server.exchanges[market]
            account = exchange.accounts[PRACTICE_KEY]

            def working() -> int:
                return sum(order.status in OPEN for order in account.orders.values())

            path = configuration(tmp_path, server.port, strategy_folder, market)
            process = LiveProcess(load_session(path), said.append)
            task = asyncio.create_task(process.run())
            await sessions.until(lambda: working() > 0, task)
            # One more that the strategy never touches, so that something works whenever the error comes.
            far = exchange.markets["BTCUSDT"].last_price * 99 // 100
            far -= far % exchange.markets["BTCUSDT"].symbol.tick_size
            exchange.place(account, "BTCUSDT", 1, "LIMIT", 50 if market == "usdm" else 50_000, price=far)
            plant(process)
            with pytest.raises(ExceptionGroup) as ended:
                await task
            assert told in repr(ended.value)
            assert working() == 0
            assert process.result["open_orders"] == []

    asyncio.run(all_of_it())
    assert any("the session ends by an error" in line and told in line for line in said), said
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)


def test_an_order_that_was_never_answered_is_proven_before_a_failing_session_is_gone(
    tmp_path: Path, strategy_folder: Path
) -> None:
    """Its proof counts only after the venue's horizon, so a session that ends waits longer than that."""
    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            process = LiveProcess(load_session(path), said.append)
            task = asyncio.create_task(process.run())
            await sessions.until(lambda: hasattr(process, "feed") and process.loop.counts.fills >= 1, task)
            orders, known = process.orders, server.exchanges["usdm"].accounts[PRACTICE_KEY].orders
            assert orders is not None
            server.faults.arm("lose_request", -1)

            def never_arrived() -> bool:
                there = {order.client_id for order in known.values()}
                return any(
                    leg.state == ASKED and leg.client_id not in there
                    for order in orders.gateway.open_orders
                    for leg in order.legs
                )

            await sessions.until(lambda: never_arrived() and server.faults.met.get("lose_request", 0) > 0, task)
            server.faults.arm("lose_request", 0)
            in_the_node(process)
            with pytest.raises(ExceptionGroup):
                await task
            assert process.result["open_orders"] == []

    asyncio.run(all_of_it())
    assert not [line for line in said if "may still work" in line]


@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_a_session_that_is_told_to_stop_while_it_proves_its_orders_begins_no_trading(
    tmp_path: Path, strategy_folder: Path, market: Any
) -> None:
    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            account = server.exchanges[market].accounts[PRACTICE_KEY]
            path = configuration(tmp_path, server.port, strategy_folder, market)

            async def plays(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await sessions.until(lambda: process.loop.counts.fills >= 1, task)

            await sessions.in_session(path, [], plays)
            for _ in range(3):
                again = LiveProcess(load_session(path), said.append)
                again.stopping.set()
                await again.run()
                assert again.result["open_orders"] == []
                assert not [order for order in account.orders.values() if order.status in OPEN]

    asyncio.run(all_of_it())
    assert not [line for line in said if line.endswith(": trading")]


class Busy(RealWorld):
    """A machine on which every sleep takes a second more, of a clock that moves by nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.monotonic_ns = lambda: self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9) + 10**9


def test_what_may_still_work_is_named_in_time_on_a_machine_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after so many sleeps: what stands around the wait would end it first, and without a name."""
    world, said = Busy(), list[str]()
    monkeypatch.setattr(process_module, "WORLD", world)
    monkeypatch.setattr(process_module, "may_still_work", lambda _, order: f"{order} may still work")
    process: Any = LiveProcess.__new__(LiveProcess)
    process.loop = SimpleNamespace(waiting_orders=0, node=None)
    process.published = SimpleNamespace(beat=lambda _: None)
    process._say = said.append
    gateway = SimpleNamespace(open_orders=[17], dead_man=SimpleNamespace(runs=False), cancel_all=lambda *_: None)
    orders: Any = SimpleNamespace(gateway=gateway, take=lambda _: None, times=lambda: (0, 0))
    asyncio.run(process._no_orders_left(orders))
    assert said == ["17 may still work"]
    assert process_module.CANCEL_S <= world.now_ns / 1e9 < process_module.CANCEL_S + process_module.REQUEST_S
