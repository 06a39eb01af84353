"""A small market, and a paper session of the busy strategy on it: what tests of the live side and of replay run."""

from pathlib import Path
from typing import Any

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.data.synth import SynthSymbol, synthesise
from twinloop.engine.live.session import Session, StrategySpec


def busy_market(duration_s: float = 6.0) -> tuple[Instrument, Any]:
    """An instrument, and some seconds of its market as rows."""
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip
    instruments, chunks = synthesise([SynthSymbol(instrument=instrument)], duration_s=duration_s, seed=3)
    return instruments[0], join_rows(list(chunks))


def busy_session(market: tuple[Instrument, Any], folder: Path) -> Session:
    """A session of the strategy in a folder, which holds it as busy.py."""
    instrument, tape = market
    return Session(
        name="test", mode="paper", instruments=[instrument], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="busy", path="busy.py:Busy")], limits_section={"preset": "research"},
        start_ns=int(tape[0]["local_ns"]), folder=str(folder), entry_latency_ns=2_000_000, response_latency_ns=3_000_000,
    )  # fmt: skip
