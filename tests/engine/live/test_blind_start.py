"""A session whose user stream never comes: it takes no risk that it would hear of late."""

import asyncio
from pathlib import Path

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.user_stream import UserStream
from twinloop.engine.live.process import LiveProcess


@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_a_first_start_opens_no_position_before_the_user_stream_is_there(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, market: str
) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)
    there = asyncio.Event()
    run = UserStream.run

    async def waits(self: UserStream) -> None:
        await there.wait()
        await run(self)

    monkeypatch.setattr(UserStream, "run", waits)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            account = server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]
            path = configuration(tmp_path, server.port, strategy_folder, market)

            async def plays(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await sessions.until(lambda: process.loop.counts.refused + process.loop.counts.requests >= 20, task)
                assert process.loop.trading_state == "REDUCING"
                assert not account.by_client
                there.set()
                await sessions.traded(process, task, 2)
                assert process.loop.trading_state == "ACTIVE"

            await sessions.in_session(path, [], plays)

    asyncio.run(all_of_it())
