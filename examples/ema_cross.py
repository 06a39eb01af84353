"""Trend following on trades: long while a fast average of the price is above a slow one, short while it is below."""

import twinloop as tl


class EmaCross(tl.Strategy):
    """Two exponential averages of the trade price; a market order turns the position when they cross."""

    fast_trades: int = 400  # Parameters: annotated, with a default; set in the TOML or by --param.
    slow_trades: int = 2000
    band_bps: float = 0.3  # The averages must part by so much: without it every wiggle is a crossing.
    qty: float = 0.05

    fast: tl.State[
        tl.indicators.EMA
    ]  # State: lives in the engine's own record, so that a run can be replayed and hashed.
    slow: tl.State[tl.indicators.EMA]

    def on_start(self, ctx: tl.Context) -> None:
        """Set the indicators up."""
        tl.indicators.ema_init(self.fast, self.fast_trades)
        tl.indicators.ema_init(self.slow, self.slow_trades)

    def on_trade(self, ctx: tl.Context, trade: tl.Trade) -> None:
        """Follow the averages with every trade."""
        fast = tl.indicators.ema_update(self.fast, trade.price)
        slow = tl.indicators.ema_update(self.slow, trade.price)
        ready = tl.indicators.is_ready(self.fast) and tl.indicators.is_ready(self.slow)
        if not ready or ctx.open_orders(trade.instrument) > 0:
            return
        band = slow * self.band_bps * 1e-4
        position = ctx.position(trade.instrument)
        if fast > slow + band and position <= 0.0:
            ctx.buy(trade.instrument, self.qty - position)
        elif fast < slow - band and position >= 0.0:
            ctx.sell(trade.instrument, self.qty + position)
