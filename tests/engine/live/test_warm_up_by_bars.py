"""Klines before trading: the same bars as from every single trade, nothing missing and nothing twice where trades take over."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data.errors import ConfigError
from twinloop.data.rowfile import join_rows, pick
from twinloop.engine.exchange.server import Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live import warm_up
from twinloop.engine.live.config import load_session
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session import session_from_plain
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows
from twinloop.kernels.rows import FLAG_WARMUP, ROW

STRATEGY = """
import twinloop as tl


class Busy(tl.Strategy):
    closed: tl.State[int] = 0

    def on_bar(self, ctx, bar):
        self.closed += 1
"""
PAST_S = 2 * 3600 + 1000
CLOSED = ("start_ns", "end_ns", "open", "high", "low", "close", "volume", "notional", "trades", "flags")
OPEN = ("start_ns", "due_ns", "trades", "open", "high", "low", "close", "volume", "notional_low", "notional_high")


class Clock:
    """A venue's: at first in the past, by hand; then the world's."""

    def __init__(self) -> None:
        self.past_ms: int | None = int(time.time() * 1000) - PAST_S * 1000

    def __call__(self) -> int:
        return time.time_ns() // 10**6 if self.past_ms is None else self.past_ms


def exchange_with_a_past(market: str) -> Server:
    """An exchange whose market has traded for more than two hours, quietly: some minutes have no trade."""
    clock = Clock()
    server = Server(seed=4, turns_per_s=100, speed=0.01, clock_ms=clock)
    server.agents = [each for each in server.agents if each._exchange.market == market]
    assert clock.past_ms is not None
    now_ms = int(time.time() * 1000)
    while clock.past_ms < now_ms:
        clock.past_ms += 1000
        server.turn()
    clock.past_ms, server._speed = None, 1.0
    return server


def in_session(tmp_path: Path, market: str, bars: str, warmup: str) -> tuple[list[str], Any]:
    (tmp_path / "busy.py").write_text(STRATEGY)
    said: list[str] = []

    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        before = process.loop.counts.by_kind.get(rows.TRADE, 0)
        await sessions.until(lambda: process.loop.counts.by_kind.get(rows.TRADE, 0) >= before + 20, task)

    async def all_of_it() -> Any:
        async with exchange_with_a_past(market) as server:
            path = configuration(tmp_path, server.port, tmp_path, market)
            text = path.read_text().replace('mode = "live"', 'mode = "paper"').replace("[orders]", "")
            path.write_text(f"{text}\nbars = [{bars}]\n[warmup]\n{warmup}\n")
            await sessions.in_session(path, said, play)
            return server.exchanges[market].markets["BTCUSDT"].trades  # type: ignore[index]

    return said, asyncio.run(all_of_it())


def bars_of(node: LiveNode, given: Any) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """Every bar that closes, by kind and size of its series, and at the end the open one."""
    node.start()
    series = node.decision["bars"][: int(node.decision["bars_used"])]
    found: dict[tuple[int, int], list[tuple[int, ...]]] = {
        (int(each["state"]["kind"]), int(each["state"]["size"])): [] for each in series
    }
    counts = [0] * len(series)
    for row in one_by_one(given):
        node.handle(row)
        for at, each in enumerate(series):
            state = each["state"]
            assert int(state["count"]) - counts[at] in {0, 1}
            if int(state["count"]) != counts[at]:
                counts[at] = int(state["count"])
                found[int(state["kind"]), int(state["size"])].append(
                    tuple(int(state["closed"][name]) for name in CLOSED)
                )
    for each in series:
        state = each["state"]
        found[int(state["kind"]), int(state["size"])].append(tuple(int(state[name]) for name in OPEN))
    return found


def one_by_one(given: Any) -> Iterator[Any]:
    at = 0
    while at < len(given):
        count = 2 if given[at]["flags"] & rows.FLAG_CONTINUES else 1
        yield given[at : at + count]
        at += count


def as_rows(trades: Any, node: LiveNode, until_ns: int) -> Any:
    """A venue's trades, each at its own time, and the time when it is over."""
    found = np.zeros(len(trades) + 1, ROW)
    for row, each in zip(found, trades, strict=False):
        row["kind"], row["price"], row["qty"], row["trade_id"] = rows.TRADE, each.price, each.qty, each.id
        row["side"], row["local_ns"] = -1 if each.buyer_is_maker else 1, each.time_ms * 10**6
    found["venue_ns"] = found["local_ns"]
    found = pick(found, found["local_ns"] <= until_ns)
    end = node.clock_row(until_ns)
    return join_rows([pick(found, found["kind"] == rows.TRADE), end])


@pytest.mark.parametrize(
    ("market", "bars", "warmup"),
    [
        ("usdm", '"1m", "10m", "1h", "50 ticks"', "bars = 2"),
        ("usdm", '"1h"', 'bars = 1\ntrades = "5m"'),
        ("spot", '"7s", "1m", "90s"', "bars = 40"),
        ("usdm", '"45m", "30m", "2m", "3m"', "bars = 2"),
    ],
)
def test_bars_of_klines_and_trades_are_those_of_every_trade(
    tmp_path: Path, market: str, bars: str, warmup: str
) -> None:
    said, trades = in_session(tmp_path, market, bars, warmup)
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    facts = join_rows([commit.facts for commit in journal.each()])
    past = facts[(facts["flags"] & FLAG_WARMUP) != 0]
    session = session_from_plain(journal.header.session)
    warm, seen = LiveNode(session, "recorded"), LiveNode(session, "recorded")
    every = as_rows(trades, seen, int(past["local_ns"][-1]))
    seen.assembly.decision["clock"]["now_ns"] = 0
    got, want = bars_of(warm, past), bars_of(seen, every)
    counted = [key for key in got if key[0] != 0]
    for key in counted:  # What counts trades sees only those that came as such.
        assert len(got.pop(key)) < len(want.pop(key))
    for key, told in got.items():
        assert told == want[key][-len(told) :]
        assert len(told) - 1 >= int(warmup.partition("\n")[0].removeprefix("bars = ")) * 2 // 3
    shown = facts[facts["kind"] == rows.TRADE]
    assert (np.diff(shown["trade_id"]) == 1).all(), "from the first trade of the warm-up on each once"
    assert len(shown) > int(((shown["flags"] & FLAG_WARMUP) != 0).sum())
    assert any(line.startswith("warm-up:") for line in said)
    given = int(warmup.partition("\n")[0].removeprefix("bars = "))
    short = [key for key, told in got.items() if len(told) - 1 < given]
    assert len([line for line in said if "other intervals had no trade" in line]) == len(short)
    found = replay_journal(journal.folder)
    assert found.difference is None, str(found.difference)


def refused(tmp_path: Path, bars: str, warmup: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        in_session(tmp_path, "usdm", bars, warmup)


def test_bars_that_the_venue_has_no_klines_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PAST_S", 100)
    refused(tmp_path, '"7s"', "bars = 5", ConfigError, "no klines that such bars could be put together from.*7 s")
    refused(tmp_path, '"50 ticks"', "bars = 5", ConfigError, "without bars")
    monkeypatch.setattr(warm_up, "PAGES_MAX", 0)
    refused(tmp_path, '"1m"', "bars = 5", SessionError, "warm-up is too long")


def test_bars_and_a_catalog_do_not_stand_together(tmp_path: Path) -> None:
    path = configuration(tmp_path, 1, tmp_path)
    path.write_text(path.read_text() + '\n[warmup]\nbars = 5\ncatalog = "catalog"\n')
    with pytest.raises(Exception, match="twice"):
        load_session(path)
