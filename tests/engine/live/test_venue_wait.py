"""A venue that wants no request for a while gets none, from whatever part of the session and whatever start."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.gate import Gate
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.config import load_session
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.venue_wait import FILE


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def test_a_start_waits_out_a_short_wait_and_says_so(tmp_path: Path, strategy_folder: Path) -> None:
    said: list[str] = []

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            server.faults.arm("too_many")
            path = configuration(tmp_path, server.port, strategy_folder)

            async def trades(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)

            await sessions.in_session(path, said, trades)
            assert server.faults.met["too_many"] == 1

    asyncio.run(all_of_it())
    assert "! the venue asks to wait for 2 s: this address has asked too much of it; waiting" in said


def test_a_start_into_a_ban_says_until_when_and_the_next_one_asks_nothing(
    tmp_path: Path, strategy_folder: Path
) -> None:
    asked = 0

    async def all_of_it() -> None:
        nonlocal asked
        async with Server(seed=4, turns_per_s=100) as server:
            server.faults.arm("banned")
            loaded = load_session(configuration(tmp_path, server.port, strategy_folder))
            with pytest.raises(
                SessionError, match=r"the venue has banned this address, field .*, expected no request for \d+ s"
            ):
                await LiveProcess(loaded, print).run()
            kept = json.loads((loaded.place / FILE).read_bytes())
            assert kept["banned"] is True
            assert kept["until_ns"] > time.time_ns()
            server.faults.arm("banned", -1)
            with pytest.raises(SessionError, match=r"a start after .* UTC"):
                await LiveProcess(loaded, print).run()
            asked = server.faults.met["banned"]

    asyncio.run(all_of_it())
    assert asked == 1


def test_what_the_feed_is_told_holds_for_orders_too(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot is refused with 429: nothing at all is asked before the wait is over, and then the book and the orders go on."""
    requests: list[float] = []
    carry_out = Gate.carry_out

    def noted(gate: Gate, *arguments: object, **more: object) -> object:
        requests.append(time.monotonic())
        return carry_out(gate, *arguments, **more)  # type: ignore[arg-type]

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)

            async def plays(process: LiveProcess, task: asyncio.Task[None]) -> None:
                orders = process.orders
                assert orders is not None
                await sessions.until(lambda: process.loop.counts.fills >= 2, task)
                process.loop.command("halt")  # So that the snapshot is what meets the wait.
                await sessions.until(lambda: not orders.gateway.open_orders, task)
                monkeypatch.setattr(Gate, "carry_out", noted)
                server.faults.arm("too_many")
                server.faults.arm("lose_update")
                await sessions.until(lambda: orders.gateway.weight.shut, task)
                told, before = time.monotonic(), len(requests)
                await sessions.until(lambda: not process.feed.stale and len(requests) > before, task)
                assert server.faults.met["too_many"] == 1
                assert requests[before] - told >= 1.5  # Of two seconds, less what the answer took to come.
                process.loop.command("resume")
                fills = process.loop.counts.fills
                await sessions.until(lambda: process.loop.counts.fills > fills, task)

            await sessions.in_session(path, [], plays)

    asyncio.run(all_of_it())
