"""The parity maker and taker as twinloop strategies: SEMANTICS.md section 7, on a 100 ms timer.

Parameters are scaled integers of the instrument (price and quantity in their smallest decimal), set from spec.py by ours_replay.py. Each
response of the venue appends (local time, position) to a journal that the caller empties between batches.
"""
# ruff: noqa: ANN001, ANN201, ARG002, D102 - callbacks are compiled; their names and arguments are the strategy API's

import twinloop as tl

SLOTS = 16  # Quotes the maker can hold, both sides together.
NOTES = 2048  # Responses between two looks at the journal: no batch of the replay is longer.


class Paced(tl.Strategy):
    """What both share: the grid, and the journal of positions."""

    first_ns: int = 1
    last_ns: int = 1
    grid_ns: int = 100_000_000
    tick: int = 1
    order_qty: int = 1
    orders_max: int = 1
    notes: tl.State[int] = 0
    note_ns: tl.Array[int, NOTES]
    note_position: tl.Array[int, NOTES]

    def on_start(self, ctx):
        ctx.set_timer(1, at_ns=self.first_ns, interval_ns=self.grid_ns)

    def on_order(self, ctx, order):
        self.note(ctx)

    def on_fill(self, ctx, fill):
        self.note(ctx)

    def note(self, ctx):
        """Keep the position after all responses of one local time: a later one of the same time writes over."""
        at = self.notes
        if at > 0 and self.note_ns[at - 1] == ctx.now_ns:
            at -= 1
        self.note_ns[at] = ctx.now_ns
        self.note_position[at] = ctx.position_scaled(0)
        self.notes = at + 1


class Maker(Paced):
    """Post-only quotes behind the best bid and ask, moved by inventory."""

    levels: int = 3
    skew: int = 1
    spacing: int = 2
    quotes: tl.Array[int, SLOTS]
    targets: tl.Array[int, SLOTS]

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(0)
        ask = ctx.ask_scaled(0)
        if ctx.now_ns > self.last_ns or bid == 0 or ask == 0:
            return
        held = ctx.position_scaled(0) // self.order_qty
        for slot in range(2 * self.levels):
            behind = (slot % self.levels) * self.spacing
            if slot < self.levels:
                side = tl.BUY
                target = min(bid - held * self.skew, ask - self.tick) - behind
            else:
                side = tl.SELL
                target = max(ask - held * self.skew, bid + self.tick) + behind
            allowed = side * held < self.orders_max
            quote = self.quotes[slot]
            if quote > 0 and ctx.is_open(quote):
                if ctx.order_state(quote) == tl.codes.STATE_NEW or (allowed and self.targets[slot] == target):
                    continue  # Not answered yet, or already right.
                ctx.cancel(quote)
            self.quotes[slot] = 0
            if allowed:
                self.quotes[slot] = ctx.limit_scaled(0, side, target, self.order_qty, post_only=True)
                self.targets[slot] = target


class Taker(Paced):
    """Follows the imbalance of the two best quantities with IOC orders, one at a time."""

    percent: int = 60
    lots: float = 1000.0
    last_order: tl.State[int] = 0

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(0)
        ask = ctx.ask_scaled(0)
        if ctx.now_ns > self.last_ns or bid == 0 or ask == 0:
            return
        if self.last_order > 0 and ctx.order_state(self.last_order) == tl.codes.STATE_NEW:
            return
        # Whole lots: the nearest integer of a quantity is exact far beyond any displayed one.
        bids = int(ctx.bid_qty(0) * self.lots + 0.5)
        asks = int(ctx.ask_qty(0) * self.lots + 0.5)
        held = ctx.position_scaled(0) // self.order_qty
        if 100 * bids > self.percent * (bids + asks) and held < self.orders_max:
            self.last_order = ctx.limit_scaled(0, tl.BUY, ask, self.order_qty, tif=tl.IOC)
        elif 100 * asks > self.percent * (bids + asks) and -held < self.orders_max:
            self.last_order = ctx.limit_scaled(0, tl.SELL, bid, self.order_qty, tif=tl.IOC)
