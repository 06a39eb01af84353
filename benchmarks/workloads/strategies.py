"""twinloop's side of the speed workloads: the strategies of peer_hftbacktest.py, decision for decision."""

# ruff: noqa: ANN001, ANN201, ARG002, FURB, PLR5501, SIM - strategies read like their users', and callbacks take what the API hands them
import twinloop as tl

SLOTS = 16  # Working orders the maker may have at once: old ones under cancellation beside the new.


class EmaCross(tl.Strategy):
    """W1: EMA(100) over EMA(400) of the trades, reversed by market order."""

    instrument: tl.Symbol = "X"
    qty: float = 1.0
    fast: tl.State[float] = 0.0
    slow: tl.State[float] = 0.0
    side: tl.State[int] = 0
    seen: tl.State[int] = 0

    def on_trade(self, ctx, trade):
        """Update both averages and reverse when they cross."""
        price = trade.price
        if self.seen == 0:
            self.fast = price
            self.slow = price
        self.seen += 1
        self.fast += 2.0 / 101.0 * (price - self.fast)
        self.slow += 2.0 / 401.0 * (price - self.slow)
        side = 1 if self.fast > self.slow else -1
        if side != self.side:
            qty = self.qty if self.side == 0 else 2.0 * self.qty
            self.side = side
            if side > 0:
                ctx.buy(trade.instrument, qty)
            else:
                ctx.sell(trade.instrument, qty)


class Maker(tl.Strategy):
    """W2: one post-only bid and ask at the best, position limit 5; on a timer or, with interval_ns 0, on each row."""

    instrument: tl.Symbol = "X"
    interval_ns: int = 0
    qty: int = 1000
    limit: int = 5000
    ids: tl.Array[int, SLOTS]
    prices: tl.Array[int, SLOTS]
    sides: tl.Array[int, SLOTS]
    leaving: tl.Array[int, SLOTS]
    used: tl.State[int] = 0

    def on_start(self, ctx):
        """Start the timer."""
        if self.interval_ns > 0:
            ctx.set_timer(1, 0, self.interval_ns)

    def on_timer(self, ctx, timer):
        """Quote on the grid."""
        self.quote(ctx)

    def on_book(self, ctx, book):
        """Quote on each row."""
        if self.interval_ns == 0:
            self.quote(ctx)

    def on_trade(self, ctx, trade):
        """Quote on each row."""
        if self.interval_ns == 0:
            self.quote(ctx)

    def forget(self, i):
        """Close the gap that an ended order leaves."""
        last = self.used - 1
        self.ids[i] = self.ids[last]
        self.prices[i] = self.prices[last]
        self.sides[i] = self.sides[last]
        self.leaving[i] = self.leaving[last]
        self.used = last

    def place(self, ctx, side, price):
        """Send a quote and remember it."""
        if self.used == SLOTS:
            return
        order_id = ctx.limit_scaled(self.instrument, side, price, self.qty, tl.GTC, True)
        if order_id > 0:
            i = self.used
            self.ids[i] = order_id
            self.prices[i] = price
            self.sides[i] = side
            self.leaving[i] = 0
            self.used = i + 1

    def quote(self, ctx):
        """Keep one quote at each best, cancel the others."""
        bid = ctx.bid_scaled(self.instrument)
        ask = ctx.ask_scaled(self.instrument)
        position = ctx.position_scaled(self.instrument)
        may_buy = position < self.limit
        may_sell = position > -self.limit
        have_bid = False
        have_ask = False
        bid_taken = False
        ask_taken = False
        i = 0
        while i < self.used:
            state = ctx.order_state(self.ids[i])
            if state >= tl.codes.STATE_FILLED or state == tl.codes.STATE_NONE:
                self.forget(i)
                continue
            buys = self.sides[i] > 0
            if self.prices[i] == bid:
                bid_taken = True
            if self.prices[i] == ask:
                ask_taken = True
            if buys and self.prices[i] == bid and may_buy:
                have_bid = True
            elif not buys and self.prices[i] == ask and may_sell:
                have_ask = True
            elif state >= tl.codes.STATE_ACKED and self.leaving[i] == 0:
                self.leaving[i] = 1
                ctx.cancel(self.ids[i])
            i += 1
        if may_buy and not have_bid and not bid_taken and bid > 0:
            self.place(ctx, 1, bid)
        if may_sell and not have_ask and not ask_taken and ask > 0:
            self.place(ctx, -1, ask)


class Mixed(tl.Strategy):
    """Exactness and determinism: makes and takes, long and short in turn, amends and cancels, on a timer."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 20
    interval_ns: int = 500_000_000
    ticks: tl.State[int] = 0
    quote: tl.State[int] = 0

    def on_start(self, ctx):
        """Start the timer."""
        ctx.set_timer(1, 0, self.interval_ns)

    def on_timer(self, ctx, timer):
        """Every third tick takes, the others rest at the touch; the side turns every seven ticks."""
        bid = ctx.bid_scaled(self.instrument)
        ask = ctx.ask_scaled(self.instrument)
        if bid <= 0 or ask <= 0:
            return
        self.ticks += 1
        side = 1 if (self.ticks // 7) % 2 == 0 else -1
        if self.ticks % 3 == 0:
            ctx.market_scaled(self.instrument, side, self.qty * (1 + self.ticks % 4))
        elif self.ticks % 5 == 0 and ctx.is_open(self.quote):
            ctx.amend_scaled(self.quote, bid if side > 0 else ask, self.qty)
        else:
            ctx.cancel_all(self.instrument)
            self.quote = ctx.limit_scaled(self.instrument, side, bid if side > 0 else ask, self.qty, tl.GTC, True)
