"""A strategy that can be told to hang, one that is busy, and a session of either on a practice exchange."""

from pathlib import Path

QUOTER = '''
import twinloop as tl


class Quoter(tl.Strategy):
    """Keeps orders on both sides of the market, takes now and then, and hangs after so many timers; raises where negative."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 5
    hangs_after: int = 0
    ticks: tl.State[int] = 0
    buy: tl.State[int] = 0
    sell: tl.State[int] = 0
    word: tl.State[int] = 1

    def on_start(self, ctx):
        ctx.set_timer(1, 0, 100_000_000)

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(self.instrument)
        ask = ctx.ask_scaled(self.instrument)
        if bid <= 0 or ask <= 0:
            return
        self.ticks += 1
        if self.hangs_after < 0 and self.ticks > -self.hangs_after and ctx.is_open(self.buy):
            raise ValueError("planted")
        if self.hangs_after > 0 and self.ticks > self.hangs_after and ctx.is_open(self.buy):
            while self.word != 0:
                self.word = (self.word * 1103515245 + 12345) % 2147483648 | 1
        if self.ticks % 6 == 0:
            ctx.market_scaled(self.instrument, 1 if self.ticks % 12 == 0 else -1, self.qty)
        if not ctx.is_open(self.buy):
            self.buy = ctx.limit_scaled(self.instrument, 1, bid - 300, self.qty, tl.GTC, True)
        if not ctx.is_open(self.sell):
            self.sell = ctx.limit_scaled(self.instrument, -1, ask + 300, self.qty, tl.GTC, True)
'''

BUSY = '''
import twinloop as tl


class Busy(tl.Strategy):
    """Makes, amends, cancels and takes, on a timer and on the book: every kind of request and answer occurs, and many fills."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 20
    every_ms: int = 100
    ticks: tl.State[int] = 0
    quote: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, 0, self.every_ms * 1_000_000)

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


def strategies(folder: Path) -> Path:
    """Write both strategies into a folder: the file of the one that can hang, beside it that of the busy one."""
    (folder / "busy.py").write_text(BUSY)
    (folder / "quoter.py").write_text(QUOTER)
    return folder / "quoter.py"


def live_file(
    folder: Path, port: int, quoter: Path, more: str = "", *, hangs_after: int = 0, busy: bool = False, stream: str = "",
    feed: str = "", orders: str = "", mute_after: str = "30s",
) -> Path:  # fmt: skip
    """A session's file: of the strategy that hangs after so many timers, or of the busy one beside it.

    more: tables and keys behind [sidecar]; stream: where the market comes from, if not from the exchange itself. orders: keys of
    [orders]. mute_after: where a test is about that, soon; a busy machine can hold up any session for a while.
    """
    strategy = f"{quoter.with_name('busy.py')}:Busy" if busy else f"{quoter}:Quoter"
    parameters = "qty = 5, every_ms = 60" if busy else f"hangs_after = {hangs_after}"
    path = folder / "live.toml"
    path.write_text(
        f"""
[session]
mode = "live"
out = "{folder / "sessions"}"
durability = "group"
segment_rows = 4096

[limits]
preset = "conservative"
max_order_pct = 10
max_position_pct = 50
max_messages_per_s = 100
message_burst = 200
duplicate_max = 1000
max_spread_bps = 100

[feed]
venue = "binance-usdm"
symbols = ["BTCUSDT"]
stream = "{stream or f"ws://127.0.0.1:{port}"}"
rest = "http://127.0.0.1:{port}"
{feed}

[orders]
dead_man_timeout = "60s"
{orders}

[sidecar]
mute_after = "{mute_after}"
snapshot_every = "1s"
{more}

[[strategy]]
path = "{strategy}"
parameters = {{ {parameters} }}
"""
    )
    return path
