"""A session whose prints are the venue's aggregated ones: on USD-M a feed of two connections, which stands and falls with both."""

import asyncio
from pathlib import Path

import pytest
from reference import sessions
from reference.paper_config import paper_file
from reference.sessions import until
from reference.stream_relay import StreamRelay

from twinloop.engine.exchange.server import Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.kernels import rows as table


def configuration(folder: Path, stream: str, rest: str, strategy_folder: Path, shown: str) -> Path:
    feed = f'shown = "{shown}"\nprints = "aggTrade"\nmarks = false'
    return paper_file(folder, f"{strategy_folder / 'busy.py'}:Busy", stream, rest, feed=feed)


@pytest.mark.parametrize("shown", ["depth", "touch"])
def test_no_print_is_lost_or_doubled_when_one_of_two_connections_goes(
    tmp_path: Path, strategy_folder: Path, shown: str
) -> None:
    async def all_of_it() -> None:
        async with Server(seed=6, turns_per_s=100) as server, StreamRelay(server.stream) as relay:

            async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
                def prints() -> int:
                    return process.loop.counts.by_kind.get(table.TRADE, 0)

                feed = process.feed
                await until(lambda: not feed.stale and prints() > 30, task)
                assert (feed.connects, relay.open_markets) == (1, 2)
                for path in ("/market", "/public"):
                    connects = feed.connects
                    relay.reset(path)
                    await until(lambda connects=connects: feed.connects > connects, task)  # type: ignore[misc]
                    before = prints()
                    await until(lambda before=before: not feed.stale and prints() > before + 30, task)  # type: ignore[misc]
                    await until(lambda: relay.open_markets == 2, task)
                assert feed.arbiter.late_prints > 0
                assert feed.arbiter.unfilled == 0

            path = configuration(tmp_path, relay.address, server.rest, strategy_folder, shown)
            await sessions.in_session(path, [], play)

    asyncio.run(all_of_it())
    journal = next((tmp_path / "sessions").iterdir()) / "journal"
    numbers = [
        int(row["trade_id"])
        for commit in open_journal(journal).each()
        for row in commit.facts
        if int(row["kind"]) == table.TRADE
    ]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # On this exchange every trade stands alone.
    found = replay_journal(journal)
    assert found.difference is None, str(found.difference)
