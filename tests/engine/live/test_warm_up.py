"""History before trading: seen by the strategies, never traded on, and in the journal like everything else."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data.catalog import Catalog
from twinloop.data.errors import ConfigError
from twinloop.data.instruments import BINANCE_USDM_BTCUSDT, Instrument
from twinloop.data.live_turn import COUNT_REQUESTS
from twinloop.data.rowfile import join_rows, pick
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.config import load_session
from twinloop.engine.live.loop import SESSION_START, WARM_UP, LiveLoop
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess, make_session
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.warm_up import history
from twinloop.kernels import rows
from twinloop.kernels.rows import FLAG_WARMUP

EAGER = '''
import twinloop as tl


class Busy(tl.Strategy):
    """Asks for an order at every print, whatever it is of."""

    instrument: tl.Symbol = "BTCUSDT"
    seen: tl.State[int] = 0
    refused: tl.State[int] = 0

    def on_trade(self, ctx, trade):
        self.seen += 1
        if ctx.limit_scaled(self.instrument, 1, trade.price_scaled - 50, 20) < 0:
            self.refused += 1
'''


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eager")
    (folder / "busy.py").write_text(EAGER)
    return folder


Play = Callable[[LiveProcess, asyncio.Task[None]], Awaitable[None]]


async def never(process: LiveProcess, task: asyncio.Task[None]) -> None:
    """Of a session that must not get as far as this."""
    raise AssertionError(f"it runs: {process.loop.trading_state}, {task}")


def run(
    tmp_path: Path, folder: Path, warmup: str, play: Play, market: str = "usdm", mode: str = "live"
) -> tuple[list[str], Server]:
    said: list[str] = []

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=200) as server:
            state = server.exchanges[market].markets["BTCUSDT"]  # type: ignore[index]
            waiting = asyncio.create_task(asyncio.sleep(sessions.WAIT_S))
            await sessions.until(lambda: len(state.trades) >= 100, waiting)
            waiting.cancel()
            path = configuration(tmp_path, server.port, folder, market)
            text = path.read_text() + f"\n[warmup]\n{warmup}\n"
            if mode == "paper":
                text = text.replace('mode = "live"', 'mode = "paper"').replace("[orders]", "")
            path.write_text(text)
            await sessions.in_session(path, said, play)
            return server

    return said, asyncio.run(all_of_it())


def facts_of(tmp_path: Path) -> Any:
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    return join_rows([commit.facts for commit in journal.each()]), join_rows(
        [commit.requests for commit in journal.each()]
    )


@pytest.mark.parametrize(("market", "mode"), [("usdm", "live"), ("spot", "live"), ("usdm", "paper")])
def test_history_is_seen_and_no_order_leaves_before_it_is_over(
    tmp_path: Path, eager: Path, market: str, mode: str
) -> None:
    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: process.loop.counts.requests > 0, task)
        await sessions.until(lambda: process.loop.counts.by_kind.get(rows.ACK, 0) > 0, task)

    said, server = run(tmp_path, eager, 'trades = "10m"', play, market, mode)
    facts, requests = facts_of(tmp_path)
    past = facts[(facts["flags"] & FLAG_WARMUP) != 0]
    (begun,) = np.flatnonzero((facts["kind"] == rows.HALT) & (facts["code"] == WARM_UP))
    (over,) = np.flatnonzero((facts["kind"] == rows.RESUME) & (facts["code"] == SESSION_START))
    places = np.flatnonzero((facts["flags"] & FLAG_WARMUP) != 0)
    assert len(past) >= 100
    assert begun < places[0]
    assert places[-1] < over
    assert (np.diff(past["trade_id"]) > 0).all()
    assert past["local_ns"].tolist() == np.maximum.accumulate(past["venue_ns"]).tolist(), "at its own times"
    assert len(requests) >= 1
    assert int(requests["sequence"].min()) > int(facts["sequence"][over]), "no request before trading began"
    told = next(line for line in said if line.startswith("warm-up:"))
    refused = int(re.search(r"([\d,]+) calls refused", told)[1].replace(",", ""))  # type: ignore[index]
    assert refused >= len(past), "at every print of it an order was asked for"
    if mode == "live":
        account = server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]
        began_ms = int(facts["local_ns"][over]) // 10**6
        assert account.orders
        assert all(order.time_ms >= began_ms - 5 for order in account.orders.values())
        assert not [order for order in account.orders.values() if order.status in OPEN]
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
    assert found.requests == len(requests)
    assert found.verdicts >= refused


def test_a_request_out_of_history_ends_the_session(
    tmp_path: Path, eager: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if neither the halt nor the gate held: what then comes out never has a way to the venue."""
    take = LiveLoop.take

    def with_request(self: LiveLoop, given: Any) -> None:
        take(self, given)
        self.recorded.counts[COUNT_REQUESTS] += int((given["flags"] & FLAG_WARMUP).any())

    monkeypatch.setattr(LiveLoop, "take", with_request)
    with pytest.raises(SessionError, match="a request came out of the warm-up"):
        run(tmp_path, eager, 'trades = "10m"', never)


def test_a_session_that_broke_off_in_its_history_does_not_go_on(
    tmp_path: Path, eager: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: Any) -> None:
        raise SessionError("broke off")

    with monkeypatch.context() as patched:
        patched.setattr(LiveProcess, "_end_warm_up", breaks_off)
        with pytest.raises(SessionError, match="broke off"):
            run(tmp_path, eager, 'trades = "10m"', never)
    with pytest.raises(SessionError, match="in the middle of its warm-up"):
        run(tmp_path, eager, 'trades = "10m"', never)


def test_a_session_that_broke_off_before_its_history_does_not_go_on(
    tmp_path: Path, eager: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal has begun, and nothing in it says that history was to come but its own session."""

    async def breaks_off(*_: Any) -> None:
        raise SessionError("broke off")

    with monkeypatch.context() as patched:
        patched.setattr("twinloop.engine.live.process.feed_history", breaks_off)
        with pytest.raises(SessionError, match="broke off"):
            run(tmp_path, eager, 'trades = "10m"', never)
    with pytest.raises(SessionError, match="in the middle of its warm-up"):
        run(tmp_path, eager, 'trades = "10m"', never)


def test_history_that_ends_long_before_now_is_refused(tmp_path: Path, eager: Path) -> None:
    with pytest.raises(SessionError, match="ends long before now"):
        run(tmp_path, eager, 'trades = "10m"\ngap_max = "0s"', never)


NOW_NS = 1_790_000_000 * 10**9


def catalog_of(folder: Path, instrument: Instrument) -> None:
    """Sixty trades, a second apart, the last a second before now; with a quote after each."""
    trades = np.zeros(60, rows.ROW)
    trades["kind"], trades["price"], trades["qty"], trades["side"] = rows.TRADE, 600_000, 10, 1
    trades["trade_id"] = trades["sequence"] = np.arange(1, 61)
    trades["local_ns"] = trades["venue_ns"] = NOW_NS - np.arange(60, 0, -1) * 10**9
    quotes = np.zeros(60, rows.ROW)
    quotes["kind"], quotes["local_ns"], quotes["venue_ns"] = rows.QUOTE, trades["local_ns"], trades["venue_ns"]
    quotes["bid"], quotes["ask"], quotes["bid_qty"], quotes["ask_qty"] = 599_999, 600_001, 5, 5
    both = join_rows([trades, quotes])
    Catalog(folder).ingest([pick(both, np.argsort(both["local_ns"], kind="stable"))], instrument)


def history_of(tmp_path: Path, warmup: str, shown: str = "depth", instrument: Instrument | None = None) -> Any:
    path = configuration(tmp_path, 1, tmp_path)
    text = path.read_text().replace('symbols = ["BTCUSDT"]', f'symbols = ["BTCUSDT"]\nshown = "{shown}"')
    path.write_text(f"{text}\n[warmup]\n{warmup}\n")
    loaded = load_session(path)
    session = make_session(loaded, [instrument or BINANCE_USDM_BTCUSDT], NOW_NS)
    return asyncio.run(history(loaded, session, cast("Any", None), NOW_NS)).rows


def test_history_of_a_catalog_is_what_the_session_shows_of_its_last_part(tmp_path: Path) -> None:
    catalog_of(tmp_path / "catalog", BINANCE_USDM_BTCUSDT)
    every = history_of(tmp_path, 'catalog = "catalog"')
    assert every["trade_id"].tolist() == list(range(1, 61)), "beside a book no quotes"
    assert ((every["flags"] & FLAG_WARMUP) != 0).all()
    last = history_of(tmp_path, 'catalog = "catalog"\nlast = "9500ms"', shown="touch")
    assert last["kind"].tolist() == [rows.TRADE, rows.QUOTE] * 10
    assert int(last["trade_id"][0]) == 51
    with pytest.raises(SessionError, match="ends long before now"):
        history_of(tmp_path, 'catalog = "catalog"\ngap_max = "500ms"')


def test_a_catalog_in_other_scales_is_refused(tmp_path: Path) -> None:
    catalog_of(tmp_path / "catalog", BINANCE_USDM_BTCUSDT)
    other = msgspec.structs.replace(BINANCE_USDM_BTCUSDT, price_scale=BINANCE_USDM_BTCUSDT.price_scale + 1)
    with pytest.raises(ConfigError, match="in other scales than the venue"):
        history_of(tmp_path, 'catalog = "catalog"', instrument=other)
