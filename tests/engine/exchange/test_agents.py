"""The agents' market: as fast, narrow and cancelling as the recordings within the factors stated here, and the same for the same seed."""

import os
from pathlib import Path
from typing import Any

import pytest
from reference.flow_figures import figures, recorded
from reference.market_tape import tape

from twinloop.engine.exchange.agents import LAG_MS, Agents
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, SELL
from twinloop.engine.exchange.symbols import symbol

SKIP = "TWINLOOP_REAL_DATA does not name a folder of recorded markets"
FACTOR = 1.5  # Of every rate, and of sizes.
CANCEL_FACTOR = 2.0  # Of the share of what leaves the book that is traded.
NARROW = 0.08  # Of the share of quotes with a spread of one tick.
# Depth arrives every 53 ms on average in the USD-M recording; its levels are counted as they were put together.
MARKETS = (
    ("usdm", "BTCUSDT", "usdm_btcusdt_20240808.gz", "0.1", 53),
    ("usdm", "ETHUSDT", "usdm_ethusdt_20240808.gz", "0.01", 53),
    ("spot", "BTCUSDT", "spot_btcusdt_20240808.gz", "0.01", 20),
)


def recordings() -> Path | None:
    named = os.environ.get("TWINLOOP_REAL_DATA")
    folder = Path(named) / "binance-raw-ws" if named else None
    return folder if folder is not None and folder.is_dir() else None


@pytest.mark.skipif(recordings() is None, reason=SKIP)
@pytest.mark.parametrize(("market", "name", "file", "tick", "turn_ms"), MARKETS)
def test_the_flow_is_as_lively_as_the_recorded_one(market: str, name: str, file: str, tick: str, turn_ms: int) -> None:
    folder = recordings()
    assert folder is not None
    real = figures(recorded(folder / file, 100_000), tick)
    _, messages = tape(market, 5, 20, turn_ms=turn_ms, name=name)
    ours = figures(messages, tick)
    for figure in ("levels_per_s", "quotes_per_s", "trades_per_s", "events_per_s", "trade_qty"):
        ratio = getattr(ours, figure) / getattr(real, figure)
        assert 1 / FACTOR < ratio < FACTOR, (figure, ours, real)
    assert abs(ours.narrow_share - real.narrow_share) < NARROW, (ours, real)
    traded = (1 - ours.cancel_share) / (1 - real.cancel_share)
    assert 1 / CANCEL_FACTOR < traded < CANCEL_FACTOR, (ours, real)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_the_same_seed_gives_the_same_flow_however_time_is_cut(market: str) -> None:
    def trades(seed: int, turn_ms: int) -> list[tuple[int, int, bool]]:
        exchange, _ = tape(market, seed, 6, turn_ms=turn_ms)
        return [(each.price, each.qty, each.buyer_is_maker) for each in exchange.markets["BTCUSDT"].trades]

    first = trades(3, 20)
    assert len(first) > 60
    assert trades(3, 20) == first
    assert trades(3, 500) == first
    assert trades(3, 100) == first
    assert trades(4, 20) != first


def test_speed_is_of_the_markets_time() -> None:
    counts = {speed: tape("usdm", 3, 5, speed=speed)[0].markets["BTCUSDT"].trade_id for speed in (0.2, 1.0, 4.0)}
    assert 2.5 < counts[1.0] / counts[0.2] < 10
    assert 3 < counts[4.0] / counts[1.0] < 5


def test_what_is_missed_while_the_process_slept_is_not_made_up_for() -> None:
    exchange = Exchange("usdm", [symbol("BTCUSDT", "usdm")])
    agents, state = Agents(exchange, exchange.markets["BTCUSDT"]), exchange.markets["BTCUSDT"]
    agents.pass_time(0)
    agents.pass_time(3_600_000)
    assert 0 < state.trade_id < 200 * LAG_MS // 1000
    state.halted = True
    before = state.trade_id
    agents.pass_time(3_601_000)
    state.halted = False
    agents.pass_time(3_601_000)
    assert state.trade_id == before


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_the_book_stays_filled_and_bounded_and_every_order_of_it_is_somebodys(market: Any) -> None:
    exchange = Exchange(market, [symbol("BTCUSDT", market)])
    state = exchange.markets["BTCUSDT"]
    agents = Agents(exchange, state, 8)
    for turn in range(600):
        agents.pass_time(turn * 50)
        assert 0 < state.book.best(BUY) < state.book.best(SELL)
        assert min(state.book.depth(BUY), state.book.depth(SELL)) > 20
    resting = [*state.book.orders(BUY), *state.book.orders(SELL)]
    assert len(resting) < 2500
    for side in (BUY, SELL):
        by_price: dict[int, int] = {}
        for order in state.book.orders(side):
            by_price[order.price] = by_price.get(order.price, 0) + order.leaves
        assert dict(state.book.levels(side, 10**6)) == by_price
