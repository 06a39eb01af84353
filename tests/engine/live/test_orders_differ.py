"""What leaves is compared with what was asked for: a mistake of ours between the risk gate and the socket stops the session."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data.binance_templates import Template
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.live.process import LiveProcess


@pytest.mark.parametrize("websocket", [False, True])
def test_orders_that_leave_for_more_than_was_asked_for_halt_the_session(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, websocket: bool
) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)
    name = "frame" if websocket else "rest_text"
    text = getattr(Template, name)

    def twice(template: Template, qty: int, *rest: Any, **more: Any) -> Any:
        return text(template, 2 * qty, *rest, **more)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder, orders="websocket = true" if websocket else "")

            async def plays(process: LiveProcess, task: asyncio.Task[None]) -> None:
                assert process.orders is not None
                if websocket:
                    await sessions.until(lambda: process.orders.gateway.sender.socket_up, task)  # type: ignore[union-attr]
                await sessions.until(lambda: process.loop.counts.fills >= 2, task)
                told = [alert.name for alert in process.orders.alerts]
                assert "ORDERS_DIFFER" not in told
                with pytest.MonkeyPatch.context() as planted:
                    planted.setattr(Template, name, twice)
                    planted.setattr(process.orders.gateway, "frame", lambda *_: None)
                    await sessions.until(
                        lambda: "ORDERS_DIFFER" in [alert.name for alert in process.orders.alerts],  # type: ignore[union-attr]
                        task,
                    )
                assert process.loop.trading_state == "HALTED"
                account = server.exchanges["usdm"].accounts[PRACTICE_KEY]
                await sessions.until(lambda: not any(order.status in OPEN for order in account.orders.values()), task)

            await sessions.in_session(path, [], plays)

    asyncio.run(all_of_it())
