"""What a person reads of a session: numbers that are never cut, why it does not trade, what was refused, and what it leaves behind."""

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import sessions
from reference.gateway_world import World
from reference.live_config import configuration
from rich.console import Console

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.alerts import ALERT_CODE
from twinloop.engine.limits import parse_limits
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.fitting import Fitting, Packed
from twinloop.engine.live.loop import OF_ALERT, OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.status import status_table
from twinloop.engine.live.telling import (
    SHARES,
    STALE_TOLD_NS,
    MarketWatch,
    limits_in_money,
    may_still_work,
    why_stopped,
)
from twinloop.kernels import codes
from twinloop.kernels.rows import FLATTEN, HALT, REDUCE

S = 1_000_000_000
WORDS = st.text("abcdefgh0123456789.,-", min_size=1, max_size=24)


def drawn(what: Any, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, emoji=False).print(what)
    return out.getvalue().splitlines()


@given(
    rows=st.integers(1, 8).flatmap(
        lambda count: st.lists(st.lists(WORDS, min_size=count, max_size=count), min_size=1, max_size=4)
    ),
    width=st.integers(40, 120),
)
def test_no_number_is_cut_whatever_the_width(rows: list[list[str]], width: int) -> None:
    named = [{f"n{at}": text for at, text in enumerate(row)} for row in rows]
    for what, told in ((Fitting(named), named), *((Packed(row), [row]) for row in named)):
        lines = drawn(what, width)
        assert all(len(line) <= width for line in lines)
        words = " ".join(lines).split()
        assert not [text for row in told for text in row.values() if text not in words]


def node(state: int, reason: int) -> Any:
    account = np.zeros(1, [("state", "<i8"), ("halt_code", "<i8")])
    account["state"], account["halt_code"] = state, reason
    return SimpleNamespace(decision={"accounts": account})


@pytest.mark.parametrize(
    ("word", "reason", "told"),
    [
        ((HALT, OF_PERSON + 1000), codes.REJECT_HALTED, "user 1000"),
        ((HALT, OF_PERSON - 1), codes.REJECT_HALTED, "a person"),
        ((HALT, SESSION_START), codes.REJECT_HALTED, "`twinloop reconcile`"),
        ((REDUCE, SESSION_START), codes.REJECT_HALTED, "ends by itself"),
        ((HALT, SESSION_END), codes.REJECT_HALTED, "the session ends"),
        ((HALT, WARM_UP), codes.REJECT_HALTED, "history is fed"),
        ((REDUCE, OF_ALERT - ALERT_CODE["STREAM_DOWN"]), codes.REJECT_HALTED, "STREAM_DOWN: the user stream is gone"),
        ((FLATTEN, codes.FLATTEN_AT_MARKET), codes.REJECT_HALTED, "`twinloop ctl resume`"),
        ((0, 0), codes.REJECT_HALTED, "`twinloop journal show"),
        ((HALT, OF_PERSON), codes.REJECT_DRAWDOWN, "REJECT_DRAWDOWN"),
    ],
)
def test_whoever_finds_it_halted_reads_why_and_what_to_do(word: tuple[int, int], reason: int, told: str) -> None:
    assert told in why_stopped(node(codes.HALTED, reason), word)
    assert why_stopped(node(codes.ACTIVE, codes.ALLOW), word) == ""


def test_shares_of_the_capital_are_told_as_money() -> None:
    limits = parse_limits({"preset": "conservative", "max_daily_loss": "100", "max_order_pct": "0.5"}, default=None)
    told = limits_in_money(limits, SHARES, 1_000_000 * 10**8, "USDT")
    assert told.startswith("  of a capital of 1,000,000.00 USDT: max_order 5,000.00, max_position 50,000.00, ")
    assert "max_daily_loss" not in told, "it is given as money already"
    assert "max_order " not in limits_in_money(limits, SHARES[1:], 10**8, "USDT")
    assert limits_in_money(limits, (), 10**8, "USDT") == ""


def test_a_stale_market_is_told_once_and_its_return_too_and_a_blink_is_not() -> None:
    watch = MarketWatch(0)
    assert watch.look(S // 2, stale=True, reasons={}) == ""
    assert watch.look(S * 6 // 10, stale=False, reasons={}) == "", "the start took no longer than usual"
    assert watch.look(10 * S, stale=True, reasons={0: "no route"}) == ""
    told = watch.look(10 * S + STALE_TOLD_NS, stale=True, reasons={0: "no route"})
    assert told.startswith("! a market is stale")
    assert "no route" in told
    assert watch.look(12 * S, stale=True, reasons={}) == ""
    assert watch.look(14 * S, stale=False, reasons={}) == "the market is up to date again, after 4.0 s"
    assert watch.look(15 * S, stale=False, reasons={}) == ""


def test_an_order_that_may_still_work_is_told_as_the_venue_knows_it() -> None:
    world = World("usdm")
    world.new(17)
    world.settle()
    (order,) = world.gateway.open_orders
    instrument = world.settings.instruments[order.instrument]
    session = SimpleNamespace(instruments=world.settings.instruments)
    told = may_still_work(SimpleNamespace(session=session), order)  # type: ignore[arg-type]
    assert "may still work" in told
    for text in ("buy", instrument.symbol, order.legs[0].client_id, instrument.price_text(order.price)):
        assert text in told


def test_a_session_tells_why_it_stands_still_what_it_refused_and_what_it_leaves(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)
    said: list[str] = []
    shown: dict[str, Any] = {}

    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        place = process.loaded.place / SOCKET

        async def ctl(**document: Any) -> dict[str, Any]:
            return await asyncio.to_thread(ask, place, document)

        await sessions.until(lambda: process.loop.counts.fills >= 2 and process.loop.node.next_wake_ns() > 0, task)
        await ctl(command="halt")
        refused = process.loop.counts.refused
        await sessions.until(lambda: process.loop.counts.refused > refused, task)
        shown.update(await ctl(command="status"))

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            path = configuration(tmp_path, server.port, strategy_folder)
            await sessions.in_session(path, said, play)

    asyncio.run(all_of_it())
    assert shown["refusals"]["REJECT_HALTED"] > 0
    assert "gave the word; `twinloop ctl resume` trades again" in shown["why"]
    narrow = "\n".join(drawn(status_table(shown), 60))
    assert "…" not in narrow
    for text in (shown["symbols"][0]["bid"], shown["symbols"][0]["position"], "REJECT_HALTED", str(shown["process"])):
        assert text in narrow
    assert any("refused so far: " in line and "REJECT_HALTED" in line for line in said)
    assert not any("STREAM_DOWN" in line for line in said), "its connections are closed because it ends"
    assert said[-1].startswith("stopped: ")
