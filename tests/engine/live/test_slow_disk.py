"""A disk that takes its time: orders wait for their commit, for so long and no longer, and one that is cancelled meanwhile never leaves."""

import asyncio
from pathlib import Path

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.recorded import as_rows
from twinloop.kernels import codes, rows


def rests(process: LiveProcess) -> bool:
    """Whether an order waits that will rest at the venue."""
    waiting = [row for _, _, text in process.loop._waiting for row in as_rows(text)]
    return any(row["kind"] == rows.NEW and row["source"] == codes.LIMIT for row in waiting)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_an_order_that_waits_for_the_disk_while_trading_is_halted_never_leaves(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, market: str, ends: bool
) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            account = server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]
            path = configuration(tmp_path, server.port, strategy_folder, market)

            def working() -> list[str]:
                return [order.client_id for order in account.orders.values() if order.status in OPEN]

            async def plays(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await sessions.until(lambda: process.loop.counts.fills >= 2, task)
                journal = process.loop.recorded.journal
                stuck = True
                orders = process.orders
                assert orders is not None
                is_safe = type(journal).is_safe
                monkeypatch.setattr(journal, "is_safe", lambda mark: not stuck and is_safe(journal, mark))
                await sessions.until(lambda: rests(process), task)
                waiting = process.loop._orders_waiting()
                if ends:
                    process.stopping.set()
                else:
                    process.loop.command("halt")
                await sessions.until(lambda: not process.loop.waiting_orders, task)
                stuck = False
                process.loop.release()
                if not ends:
                    await sessions.until(lambda: not orders.gateway.open_orders, task)
                    assert working() == []

                named = [orders.gateway.ids.parse(client_id) for client_id in account.by_client]
                assert not {each.order_id for each in named if each is not None} & set(waiting), (
                    "none went to the venue"
                )
                assert "ORDERS_DIFFER" not in {alert.name for alert in orders.alerts}

            await sessions.in_session(path, [], plays)
            assert working() == []

    asyncio.run(all_of_it())
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
