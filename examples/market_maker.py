"""Market making on the order book: a bid and an ask around the mid, both leaning against the inventory."""

import twinloop as tl

REQUOTE = 1


class MarketMaker(tl.Strategy):
    """Quotes both sides every interval; the more it holds, the lower both quotes (and the other way round)."""

    symbol: tl.Symbol = "BTCUSDT"
    half_spread_bps: float = 0.5
    skew_bps: float = 2.0  # How far the quotes lean at the full inventory.
    qty: float = 0.05
    inventory_max: float = 0.5
    interval_ms: int = 100

    bid_order: tl.State[int] = 0
    ask_order: tl.State[int] = 0

    def on_start(self, ctx: tl.Context) -> None:
        """Quote by the clock, not by every row."""
        ctx.set_timer(REQUOTE, interval_ns=self.interval_ms * tl.MILLISECOND)

    def on_timer(self, ctx: tl.Context, timer: tl.Timer) -> None:
        """Move both quotes to where they should be now."""
        mid = ctx.mid(self.symbol)
        if mid == 0.0:
            return
        lean = ctx.position(self.symbol) / self.inventory_max * self.skew_bps
        half = self.half_spread_bps
        bid = ctx.floor_price(self.symbol, min(mid * (1.0 - (half + lean) * 1e-4), ctx.bid(self.symbol)))
        ask = ctx.ceil_price(self.symbol, max(mid * (1.0 + (half - lean) * 1e-4), ctx.ask(self.symbol)))
        room = ctx.position(self.symbol)
        self.bid_order = self.quote(ctx, self.bid_order, tl.BUY, bid, room < self.inventory_max)
        self.ask_order = self.quote(ctx, self.ask_order, tl.SELL, ask, room > -self.inventory_max)

    def quote(self, ctx: tl.Context, order: int, side: int, price: float, wanted: bool) -> int:
        """Keep one post-only order at a price: helpers are compiled with the callbacks that use them."""
        if ctx.is_open(order):
            if wanted and abs(ctx.order_price(order) - price) < 0.5 * ctx.tick_size(self.symbol):
                return order
            ctx.cancel(order)
            return order  # The new quote goes out once the venue has answered, so that both never rest at once.
        return ctx.limit(self.symbol, side, price, self.qty, post_only=True) if wanted else 0
