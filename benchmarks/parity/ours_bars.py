"""twinloop's side of the bar comparison: SMA 10/30 on daily bars as backtesting.py 0.6.6 trades it, the rules in peer_backtesting.py.

The mode "backtesting": the venue knows bars only, and fills at their opens; no latency. Two things are the peer's alone and are made
here, not in the venue. Its entry is sized with all equity at the price of the fill, so the strategy is shown each open as a quote and
orders in that instant. It runs its broker once more behind the last bar, on the same prices, so the last bar comes twice.
"""
# ruff: noqa: ANN001, ANN201, ARG002, D102 - callbacks are compiled; their names and arguments are the strategy API's

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

import twinloop as tl
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows, pick
from twinloop.data.tables import read_table
from twinloop.engine.assembly import Assembly, BarRequest, StrategySlot, VenueSettings
from twinloop.engine.limits import Limits, apply_limits
from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.kernels import codes, rows
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.bars import TIME_BAR
from twinloop.kernels.node import FROM_BARS, STANDARD

FAST: Final = 10
SLOW: Final = 30
CASH: Final = 10_000
DAY_NS: Final = 86_400_000_000_000
NO_LIMITS: Final = Limits(name="off", values={}, self_match_prevention=False)  # The peer has no risk gate.


class SmaCross(tl.Strategy):
    """Long when the fast mean crosses over the slow one, short when under; sums of scaled closes are exact."""

    fast: int = FAST
    slow: int = SLOW
    bars: int = 1  # Of the file; behind the last one the position is only closed.
    closes: tl.Array[int, 64]  # The last closes; bar i at i % 64.
    seen: tl.State[int] = 0
    fast_sum: tl.State[int] = 0
    slow_sum: tl.State[int] = 0
    gap: tl.State[int] = 0  # (fast mean - slow mean) * slow, after the bar before.
    wanted: tl.State[int] = 0
    entering: tl.State[int] = 0
    price: tl.State[float] = 0.0  # The open, which is what a fill of this instant costs.

    def on_bar(self, ctx, bar):
        at = self.seen
        close = bar.close_scaled
        self.fast_sum += close
        self.slow_sum += close
        if at >= self.fast:
            self.fast_sum -= self.closes[(at - self.fast) % 64]
        if at >= self.slow:
            self.slow_sum -= self.closes[(at - self.slow) % 64]
        self.closes[at % 64] = close
        gap = self.fast_sum * (self.slow // self.fast) - self.slow_sum
        if at >= self.slow:
            if self.gap < 0 and gap > 0:
                self.wanted = 1
            elif self.gap > 0 and gap < 0:
                self.wanted = -1
        self.gap = gap
        self.seen = at + 1

    def on_quote(self, ctx, quote):
        self.price = quote.ask
        if self.seen == self.bars:
            self.wanted = 0
            self.close(ctx)
        elif self.wanted != 0:
            self.entering = self.wanted
            self.wanted = 0
            if ctx.position(0) == 0.0:
                self.enter(ctx)
            else:
                self.close(ctx)

    def on_fill(self, ctx, fill):
        if self.entering != 0 and ctx.position(0) == 0.0:
            self.enter(ctx)

    def close(self, ctx):
        """Sell what is held, or buy back what is short."""
        held = ctx.position(0)
        if held > 0.0:
            ctx.sell(0, held)
        elif held < 0.0:
            ctx.buy(0, -held)

    def enter(self, ctx):
        """All equity, a hair less: where it divides evenly the peer takes one share fewer. Cents are exact in float64."""
        side = self.entering
        self.entering = 0
        cents = int(ctx.cash() * 100.0 + 0.5)
        shares = (cents - 1) // int(self.price * 100.0 + 0.5)
        if shares > 0 and side > 0:
            ctx.buy(0, float(shares))
        elif shares > 0:
            ctx.sell(0, float(shares))


def tapes_of(path: Path) -> tuple[Instrument, Any, Any]:
    """Instrument, what the strategy sees (each open as a quote, each bar at its close), what the venue holds (bars); the last bar twice."""
    table = read_table(path, symbol=path.stem)
    bars = join_rows([join_rows([chunk]) for chunk in table.chunks()])
    heads = pick(bars, np.append(np.arange(0, len(bars), 2), len(bars) - 2))
    tails = pick(bars, np.append(np.arange(1, len(bars), 2), len(bars) - 1))
    heads["venue_ns"][-1] += DAY_NS
    tails["venue_ns"][-1] += DAY_NS
    heads["local_ns"], tails["local_ns"] = heads["venue_ns"], tails["venue_ns"]
    count = len(heads)
    out = np.zeros(3 * count, rows.ROW)
    words = out.view(np.int64).reshape(count, 3, 8)
    words[:, 1], words[:, 2] = heads.view(np.int64).reshape(-1, 8), tails.view(np.int64).reshape(-1, 8)
    quotes = np.zeros(count, rows.ROW)
    quotes["venue_ns"] = quotes["local_ns"] = heads["venue_ns"] - tails["interval_ns"]
    quotes["kind"] = rows.QUOTE
    for name in ("bid", "ask"):
        quotes[name] = heads["open"]
    for name in ("bid_qty", "ask_qty"):
        quotes[name] = 1
    words[:, 0] = quotes.view(np.int64).reshape(-1, 8)
    venue = np.ascontiguousarray(words[:, 1:]).reshape(-1).view(rows.ROW)
    instrument = msgspec.structs.replace(table.instrument, contract="linear", base=path.stem, quote="USD", settle="USD")
    return instrument, out[:-2], venue  # The second coming of the last bar only opens.


def sma_trades(path: Path) -> list[tuple[int, int, int, str, str]]:
    """(entry bar, exit bar, signed size, entry price, exit price) of every trade, prices as decimal text."""
    instrument, local, venue = tapes_of(path)
    assembly = Assembly(STANDARD)
    assembly.currency(instrument.settle)
    assembly.add_account(CASH * MONEY_ONE)
    assembly.add_instrument(instrument, venue_kernel.BARS)
    assembly.set_venue(VenueSettings(), seed=0)
    assembly.add_bars([BarRequest(0, TIME_BAR, DAY_NS, FROM_BARS)], [instrument])
    apply_limits(assembly.decision, NO_LIMITS, [instrument], CASH * MONEY_ONE)
    bars = len(venue) // 2 - 1
    compiled = compile_strategy(SmaCross, {"bars": bars}, STANDARD)
    number = assembly.add_strategy(StrategySlot("sma", compiled.addresses, compiled.initial_area(), [0], keep=compiled))
    assembly.set_tape(local, venue)
    assembly.callback(number, codes.ON_START)
    status = assembly.replay(10 * len(local))
    if status != codes.RUN_DONE:
        compiled.raise_error(assembly.node)
        raise SystemExit(f"the replay stopped with {codes.RUN_NAME[status]}")
    assert not assembly.node["measured"]["refused"].any(), "the gate refused an order, which the peer has no gate for"
    fills = assembly.node["fills"][: int(assembly.node["fill_count"])]
    # The bar behind the last is the last once more.
    at = np.minimum(np.searchsorted(venue["venue_ns"][::2], fills["venue_ns"], side="right"), bars - 1).tolist()
    prices = [
        f"{price / 10**instrument.price_scale:.{instrument.price_scale}f}" for price in fills["price_int"].tolist()
    ]
    sizes = (fills["side"] * fills["qty_int"] // 10**instrument.qty_scale).tolist()
    assert len(sizes) % 2 == 0
    assert all(sizes[i] == -sizes[i + 1] for i in range(0, len(sizes), 2)), "every entry is closed whole"
    return [(at[i], at[i + 1], sizes[i], prices[i], prices[i + 1]) for i in range(0, len(sizes), 2)]
