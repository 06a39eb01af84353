"""A small market, a busy strategy and a paper session of both: what tests of the live side and of replay run."""

from pathlib import Path
from typing import Any

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.data.synth import SynthSymbol, synthesise
from twinloop.engine.live.session import Session, StrategySpec

STRATEGY = '''
import twinloop as tl


class Busy(tl.Strategy):
    """Makes and takes, on a timer and on the book, so that every kind of request and answer occurs."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 20
    ticks: tl.State[int] = 0
    quote: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, 0, 100_000_000)

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(self.instrument)
        ask = ctx.ask_scaled(self.instrument)
        if bid <= 0 or ask <= 0:
            return
        self.ticks += 1
        side = 1 if (self.ticks // 7) % 2 == 0 else -1
        if self.ticks % 3 == 0:
            ctx.market_scaled(self.instrument, side, self.qty)
        elif self.ticks % 5 == 0 and ctx.is_open(self.quote):
            ctx.amend_scaled(self.quote, bid if side > 0 else ask, self.qty)
        else:
            ctx.cancel_all(self.instrument)
            self.quote = ctx.limit_scaled(self.instrument, side, bid if side > 0 else ask, self.qty, tl.GTC, True)
'''


def busy_market() -> tuple[Instrument, Any]:
    """An instrument, and six seconds of its market as rows."""
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip
    instruments, chunks = synthesise([SynthSymbol(instrument=instrument)], duration_s=6.0, seed=3)
    return instruments[0], join_rows(list(chunks))


def busy_session(market: tuple[Instrument, Any], folder: Path) -> Session:
    """A session of the strategy in a folder, which holds it as busy.py."""
    instrument, tape = market
    return Session(
        name="test", mode="paper", instruments=[instrument], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="busy", path="busy.py:Busy")], limits_section={"preset": "research"},
        start_ns=int(tape[0]["local_ns"]), folder=str(folder), entry_latency_ns=2_000_000, response_latency_ns=3_000_000,
    )  # fmt: skip
