"""The strategy that `twinloop bench` replays: two averages of the trades, and a market order when they cross."""

import twinloop as tl


class BenchCross(tl.Strategy):
    """Long while the fast average is above the slow one, short below."""

    fast: float = 2.0 / 101.0
    slow: float = 2.0 / 401.0
    qty: float = 0.01
    fast_average: tl.State[float] = 0.0
    slow_average: tl.State[float] = 0.0
    seen: tl.State[int] = 0

    def on_trade(self, ctx: tl.Context, trade: tl.Trade) -> None:
        """Update both averages; trade their crossing."""
        if self.seen == 0:
            self.fast_average = trade.price
            self.slow_average = trade.price
        self.seen += 1
        self.fast_average += self.fast * (trade.price - self.fast_average)
        self.slow_average += self.slow * (trade.price - self.slow_average)
        if self.seen < 400 or ctx.open_orders(trade.instrument) > 0:
            return
        position = ctx.position(trade.instrument)
        if self.fast_average > self.slow_average and position <= 0.0:
            ctx.buy(trade.instrument, self.qty - position)
        elif self.fast_average < self.slow_average and position >= 0.0:
            ctx.sell(trade.instrument, self.qty + position)
