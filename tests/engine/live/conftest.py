"""A small market and a busy strategy, for every test of the live side."""

from pathlib import Path
from typing import Any

import pytest
from reference.live_sessions import strategies

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.data.synth import SynthSymbol, synthesise
from twinloop.engine.live.session import Session, StrategySpec


@pytest.fixture(scope="module")
def market() -> tuple[Instrument, Any]:
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip
    instruments, chunks = synthesise([SynthSymbol(instrument=instrument)], duration_s=6.0, seed=3)
    return instruments[0], join_rows(list(chunks))


@pytest.fixture(scope="module")
def strategy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strategies(tmp_path_factory.mktemp("strategies")).parent


@pytest.fixture(scope="module")
def session(market: tuple[Instrument, Any], strategy_folder: Path) -> Session:
    instrument, tape = market
    return Session(
        name="test", mode="paper", instruments=[instrument], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="busy", path="busy.py:Busy")], limits_section={"preset": "research"},
        start_ns=int(tape[0]["local_ns"]), folder=str(strategy_folder), entry_latency_ns=2_000_000, response_latency_ns=3_000_000,
    )  # fmt: skip
