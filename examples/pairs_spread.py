"""Pairs trading: two symbols whose prices return to one another; sell the rich one and buy the cheap one."""

import math

import twinloop as tl

LOOK = 1


class PairsSpread(tl.Strategy):
    """The log ratio of two mids against its own slow average, in standard deviations; both legs traded together."""

    first: tl.Symbol = "AAAUSDT"
    second: tl.Symbol = "BBBUSDT"
    interval_ms: int = 200
    warmup: int = 300  # Looks before the first trade.
    memory: int = 1500  # Looks that the average remembers, about.
    enter: float = 1.5
    leave: float = 0.2
    notional: float = 5000.0

    looks: tl.State[int] = 0
    mean: tl.State[float] = 0.0
    variance: tl.State[float] = 0.0

    def on_start(self, ctx: tl.Context) -> None:
        """Look at both symbols by the clock, since their rows do not come together."""
        ctx.set_timer(LOOK, interval_ns=self.interval_ms * tl.MILLISECOND)

    def on_timer(self, ctx: tl.Context, timer: tl.Timer) -> None:
        """Measure the spread, then trade it."""
        a = ctx.mid(self.first)
        b = ctx.mid(self.second)
        if a == 0.0 or b == 0.0:
            return
        spread = math.log(a / b)
        if self.looks == 0:
            self.mean = spread
        self.looks += 1
        weight = max(1.0 / self.looks, 1.0 / self.memory)
        gap = spread - self.mean
        self.mean += weight * gap
        self.variance += weight * (gap * gap - self.variance)
        if self.looks < self.warmup or self.variance <= 0.0:
            return
        if ctx.open_orders(self.first) > 0 or ctx.open_orders(self.second) > 0:
            return
        score = gap / math.sqrt(self.variance)
        held = ctx.position(self.first)
        if held == 0.0 and abs(score) > self.enter:
            side = -1 if score > 0.0 else 1
            self.move(ctx, self.first, side * self.notional / a)
            self.move(ctx, self.second, -side * self.notional / b)
        elif held != 0.0 and (score if held < 0.0 else -score) < self.leave:
            self.move(ctx, self.first, -held)
            self.move(ctx, self.second, -ctx.position(self.second))

    def move(self, ctx: tl.Context, instrument: int, qty: float) -> None:
        """Trade a signed quantity at the market, to the nearest lot."""
        rounded = ctx.round_qty(instrument, abs(qty))
        if rounded == 0.0:
            return
        if qty > 0.0:
            ctx.buy(instrument, rounded)
        else:
            ctx.sell(instrument, rounded)
