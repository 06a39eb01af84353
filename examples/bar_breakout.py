"""Breakout on bars: buy above the highest high of the last bars, sell below the lowest low, out at the middle."""

import twinloop as tl


class BarBreakout(tl.Strategy):
    """A channel of the last bars; the bars are asked for in the TOML, by time, trades, volume or notional."""

    lookback: int = 20
    qty: float = 0.05

    highs: tl.Array[float, 256]
    lows: tl.Array[float, 256]
    count: tl.State[int] = 0

    def on_bar(self, ctx: tl.Context, bar: tl.Bar) -> None:
        """Compare the closed bar with the channel of those before it, then take it in."""
        if self.count >= self.lookback:
            high = self.highs[0]
            low = self.lows[0]
            for i in range(1, self.lookback):
                high = max(high, self.highs[i])
                low = min(low, self.lows[i])
            self.trade(ctx, bar.instrument, bar.close, high, low)
        slot = self.count % self.lookback
        self.highs[slot] = bar.high
        self.lows[slot] = bar.low
        self.count += 1

    def trade(self, ctx: tl.Context, instrument: int, close: float, high: float, low: float) -> None:
        """Enter beyond the channel, leave at its middle."""
        if ctx.open_orders(instrument) > 0:
            return
        position = ctx.position(instrument)
        middle = 0.5 * (high + low)
        if close > high and position <= 0.0:
            ctx.buy(instrument, self.qty - position)
        elif close < low and position >= 0.0:
            ctx.sell(instrument, self.qty + position)
        elif position > 0.0 and close < middle:
            ctx.sell(instrument, position, reduce_only=True)
        elif position < 0.0 and close > middle:
            ctx.buy(instrument, -position, reduce_only=True)
