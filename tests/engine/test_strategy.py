"""What a strategy's callbacks see and ask for, over a node without a loop: events, ctx, orders, the book; compiled and as Python."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import KINDS, Bench, built, module_of, run_source

from twinloop.kernels import codes, rows

EVENTS = """
class S(tl.Strategy):
    out: tl.Array[float, 20]
    def on_trade(self, ctx, trade):
        self.out[0] = trade.price; self.out[1] = trade.qty; self.out[2] = trade.price_scaled
        self.out[3] = trade.qty_scaled; self.out[4] = trade.side; self.out[5] = trade.instrument
        self.out[6] = trade.ts_ns; self.out[7] = trade.venue_ns; self.out[8] = trade.off_market; self.out[9] = trade.trade_id
    def on_quote(self, ctx, quote):
        self.out[0] = quote.bid; self.out[1] = quote.ask; self.out[2] = quote.bid_qty; self.out[3] = quote.ask_qty
        self.out[4] = quote.bid_scaled; self.out[5] = quote.ask_qty_scaled
    def on_book(self, ctx, book):
        self.out[0] = book.bid; self.out[1] = book.ask; self.out[2] = book.bid_qty; self.out[3] = book.instrument
    def on_bar(self, ctx, bar):
        self.out[0] = bar.open; self.out[1] = bar.high; self.out[2] = bar.low; self.out[3] = bar.close
        self.out[4] = bar.volume; self.out[5] = bar.notional; self.out[6] = bar.trades; self.out[7] = bar.start_ns
        self.out[8] = bar.end_ns; self.out[9] = bar.instrument; self.out[10] = bar.count; self.out[11] = bar.size
    def on_timer(self, ctx, timer):
        self.out[0] = timer.id; self.out[1] = timer.due_ns; self.out[2] = timer.ts_ns
    def on_fill(self, ctx, fill):
        self.out[0] = fill.price; self.out[1] = fill.qty; self.out[2] = fill.fee; self.out[3] = fill.side
        self.out[4] = fill.order_id; self.out[5] = fill.maker; self.out[6] = fill.leaves; self.out[7] = fill.trade_id
    def on_order(self, ctx, order):
        self.out[0] = order.id; self.out[1] = order.state; self.out[2] = order.leaves; self.out[3] = order.price
        self.out[4] = order.filled; self.out[5] = order.instrument; self.out[6] = order.code; self.out[7] = order.kind
    def on_feed(self, ctx, feed):
        self.out[0] = feed.kind; self.out[1] = feed.code; self.out[2] = feed.source; self.out[3] = feed.instrument; self.out[4] = feed.ts_ns
"""


def test_events_show_the_row_in_hand(kind: str, tmp_path: Path) -> None:
    bench, _ = run_source(kind, tmp_path, EVENTS)
    decision = bench.node["decision"]

    def out(count: int) -> list[float]:
        return list(bench.state()["out"][:count])

    bench.trade(616597, 5, side=-1, local_ns=11, venue_ns=10, trade_id=77, flags=rows.FLAG_OFF_MARKET)
    assert out(10) == [61659.7, 0.005, 616597, 5, -1, 0, 11, 10, 1, 77]
    bench.row(rows.QUOTE, slot=3, instrument=1, bid=10005, bid_qty=4, ask=10010, ask_qty=6)
    bench.call("on_quote")
    assert out(6) == [100.05, 100.1, 4, 6, 10005, 6]
    market = decision["instruments"][1]
    market["bid"], market["ask"], market["bid_qty"] = 10005, 10010, 4
    bench.row(rows.LEVEL, instrument=1)
    bench.call("on_book")
    assert out(4) == [100.05, 100.1, 4, 1]
    slot = decision["bars"][1]
    slot["instrument"] = 0
    state = slot["state"]
    state["count"], state["size"] = 9, 60
    for name, value in {
        "open": 10,
        "high": 30,
        "low": 5,
        "close": 20,
        "volume": 1500,
        "notional": 250_000_000,
        "trades": 3,
        "start_ns": 60,
        "end_ns": 120,
    }.items():
        state["closed"][name] = value
    bench.node["current_bar"] = 1
    bench.call("on_bar")
    assert out(12) == [1.0, 3.0, 0.5, 2.0, 1.5, 2.5, 3, 60, 120, 0, 9, 60]
    bench.row(rows.TIMER, timer_id=4, due_ns=90, local_ns=95)
    bench.call("on_timer")
    assert out(3) == [4, 90, 95]
    bench.row(rows.FEED_SWITCHED, instrument=1, code=2, source=1, local_ns=96)
    bench.call("on_feed")
    assert out(5) == [rows.FEED_SWITCHED, 2, 1, 1, 96]
    tail = bench.node["inbox"][3]
    bench.row(
        rows.FILL,
        slot=2,
        price=616597,
        qty=5,
        fee=-150_000_000,
        order_id=33,
        side=1,
        flags=rows.FLAG_MAKER | rows.FLAG_CONTINUES,
    )
    tail["leaves_qty"], tail["trade_id"] = 2, 8
    bench.call("on_fill")
    assert out(8) == [61659.7, 0.005, -1.5, 1, 33, 1, 0.002, 8]
    order = decision["orders"][33 & 7]
    for name, value in {
        "id": 33,
        "state": codes.STATE_PARTIAL,
        "qty": 7,
        "filled": 5,
        "price": 616597,
        "code": 65,
        "instrument": 0,
    }.items():
        order[name] = value
    bench.row(rows.ACK, order_id=33)
    bench.call("on_order")
    assert out(8) == [33, codes.STATE_PARTIAL, 0.002, 61659.7, 0.005, 0, 65, rows.ACK]


READS = """
class S(tl.Strategy):
    out: tl.Array[float, 40]
    ids: tl.Array[int, 8]
    def on_trade(self, ctx, trade):
        i = 1
        o = self.out
        o[0] = ctx.bid(i); o[1] = ctx.ask(i); o[2] = ctx.mid(i); o[3] = ctx.spread(i); o[4] = ctx.last(i); o[5] = ctx.mark(i)
        o[6] = ctx.bid_qty(i); o[7] = ctx.ask_qty(i); o[8] = ctx.position(i); o[9] = ctx.position_scaled(i)
        o[10] = ctx.working(i, tl.BUY); o[11] = ctx.equity(); o[12] = ctx.cash(); o[13] = ctx.realised(i)
        o[14] = ctx.tick_size(i); o[15] = ctx.lot_size(i); o[16] = ctx.now_ns; o[17] = ctx.imbalance(i)
        o[18] = ctx.level_price(i, tl.BUY, 0); o[19] = ctx.level_qty(i, tl.SELL, 0); o[20] = ctx.level_price(i, tl.BUY, 3)
        o[21] = ctx.order_filled(33); o[22] = ctx.order_leaves(33); o[23] = ctx.order_price(33); o[24] = ctx.is_open(33)
        o[25] = ctx.is_open(34); o[26] = ctx.order_state(33); o[27] = ctx.order_state(-5); o[28] = ctx.sequence
        o[29] = ctx.floor_qty(i, 5.9); o[30] = ctx.ceil_qty(i, 5.9); o[31] = ctx.round_price(i, 1.02); o[32] = ctx.floor_price(i, 1.04)
        o[33] = ctx.ceil_price(i, 1.01); o[34] = ctx.mid(0); o[35] = ctx.book_state(i); o[36] = ctx.min_qty(i)
        o[37] = ctx.available(i); o[38] = ctx.available_scaled(i); o[39] = ctx.available(0)
        self.ids[0] = ctx.open_orders(); self.ids[1] = ctx.open_orders(1); self.ids[2] = ctx.open_order(0); self.ids[3] = ctx.open_order(1)
"""


def test_ctx_reads_the_node(kind: str, tmp_path: Path) -> None:
    bench, _ = run_source(kind, tmp_path, READS)
    decision = bench.node["decision"]
    market = decision["instruments"][1]
    for name, value in {
        "bid": 10005,
        "ask": 10015,
        "bid_qty": 6,
        "ask_qty": 2,
        "last_price": 10010,
        "mark_price": 10000,
    }.items():
        market[name] = value
    holding = decision["strategy_holdings"][0][1]
    holding["position"]["qty"], holding["position"]["realised"] = -8, 125_000_000
    holding["exposure"]["buy_qty"] = 4
    other = decision["strategy_holdings"][0][0]
    other["position"]["qty"], other["exposure"]["sell_qty"] = 9, 2
    decision["accounts"][0]["equity"], decision["accounts"][0]["cash"] = 100_050_000_000, 99_900_000_000
    order = decision["orders"][33 & 7]
    for name, value in {
        "id": 33,
        "state": codes.STATE_PARTIAL,
        "qty": 8,
        "filled": 2,
        "price": 10005,
        "instrument": 1,
    }.items():
        order[name] = value
    decision["open_count"] = 2
    decision["open_orders"][0], decision["open_orders"][1] = 33 & 7, 3
    decision["orders"][3]["strategy"] = 1
    bench.trade(1, local_ns=55, sequence=12)
    expected = [
        100.05, 100.15, 100.1, 0.1, 100.1, 100.0, 6, 2, -8, -8, 4, 1000.5, 999.0, 1.25, 0.05, 2, 55, 0.5, 100.05, 2, 0,
        2, 6, 100.05, 1, 0, codes.STATE_PARTIAL, 0, 12, 4, 6, 1.0, 1.0, 1.05, 0, -1, 2,
        0, 0, 0.007,
    ]  # fmt: skip
    assert list(bench.state()["out"][: len(expected)]) == expected
    assert list(bench.state()["ids"][:4]) == [1, 1, 33, 0]


ORDERS = """
class S(tl.Strategy):
    price: float = 61659.7
    qty: float = 0.005
    which: int = 0
    result: tl.State[int] = 0
    def on_trade(self, ctx, trade):
        if self.which == 0:
            self.result = ctx.buy(0, self.qty)
        elif self.which == 1:
            self.result = ctx.sell(0, self.qty, reduce_only=True)
        elif self.which == 2:
            self.result = ctx.limit(0, tl.SELL, self.price, self.qty, tif=tl.IOC, post_only=True)
        elif self.which == 3:
            self.result = ctx.limit(0, tl.BUY, self.price, self.qty, expire_ns=99)
        elif self.which == 4:
            self.result = ctx.stop(0, tl.SELL, self.price, self.qty)
        elif self.which == 5:
            self.result = ctx.stop_limit(0, tl.SELL, self.price, self.price, self.qty)
        elif self.which == 6:
            self.result = ctx.amend(33, self.price, self.qty)
        elif self.which == 7:
            self.result = ctx.cancel(33)
        elif self.which == 8:
            self.result = ctx.cancel_all()
        elif self.which == 9:
            self.result = ctx.set_timer(3, delay_ns=50, interval_ns=7)
        elif self.which == 10:
            self.result = ctx.cancel_timer(3)
        elif self.which == 11:
            self.result = ctx.limit_scaled(1, tl.BUY, 10005, 4)
        elif self.which == 12:
            self.result = ctx.buy(7, 1)
        elif self.which == 13:
            self.result = ctx.limit(0, tl.BUY, 7, 1)
        elif self.which == 14:
            self.result = ctx.limit(0, 2, self.price, self.qty)
        elif self.which == 15:
            self.result = ctx.market_scaled(0, tl.SELL, 12)
        elif self.which == 16:
            self.result = ctx.set_timer(3, interval_ns=7)
        elif self.which == 17:
            self.result = ctx.set_timer(3, delay_ns=9223372036854775807)
        elif self.which == 18:
            self.result = ctx.set_timer(3, delay_ns=-5, interval_ns=-7)
"""
SENT = {
    0: {
        "service": "submit",
        "side": 1,
        "type": codes.MARKET,
        "flags": codes.IOC,
        "qty": 5,
        "price": 0,
        "instrument": 0,
    },
    1: {"service": "submit", "side": -1, "type": codes.MARKET, "flags": codes.IOC | codes.REDUCE_ONLY, "qty": 5},
    2: {
        "service": "submit",
        "side": -1,
        "type": codes.LIMIT,
        "flags": codes.IOC | codes.POST_ONLY,
        "qty": 5,
        "price": 616597,
    },
    3: {"service": "submit", "side": 1, "type": codes.LIMIT, "flags": codes.GTD, "expire_ns": 99},
    4: {"service": "submit", "side": -1, "type": codes.STOP, "flags": codes.GTC, "price": 0, "trigger_price": 616597},
    5: {"service": "submit", "side": -1, "type": codes.STOP_LIMIT, "price": 616597, "trigger_price": 616597},
    6: {"service": "amend", "order_id": 33, "price": 616597, "qty": 5, "instrument": 0},
    7: {"service": "cancel", "order_id": 33},
    8: {"service": "cancel_all", "instrument": -1},
    9: {"service": "set_timer", "order_id": 3, "expire_ns": 1050, "qty": 7},
    10: {"service": "set_timer", "order_id": 3, "expire_ns": 0, "qty": 0},
    11: {"service": "submit", "instrument": 1, "price": 10005, "qty": 4, "type": codes.LIMIT},
    12: {"service": "submit", "instrument": 7, "qty": 0},
    13: {"service": "submit", "price": 70, "qty": 1000},
    15: {"service": "submit", "side": -1, "qty": 12, "type": codes.MARKET},
    16: {"service": "set_timer", "expire_ns": 1007, "qty": 7},
    17: {"service": "set_timer", "expire_ns": 2**63 - 2, "qty": 0},
    18: {"service": "set_timer", "expire_ns": 993, "qty": 0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_order_calls_fill_the_request_and_return_its_result(kind: str, tmp_path: Path) -> None:
    module = module_of(tmp_path, "import twinloop as tl\n" + ORDERS)
    made = built(module.S, kind)
    for which, expected in SENT.items():
        bench = Bench()
        bench.add(made)
        area = bench.node["decision"]["areas"][0][: made.state_dtype.itemsize].view(made.state_dtype)
        area["which"] = which
        order = bench.node["decision"]["orders"][33 & 7]
        order["id"], order["state"], order["side"] = 33, codes.STATE_ACKED, 1
        bench.trade(1, local_ns=1000)
        assert bench.node["status"] == 0, made.take_error(bench.node)
        assert len(bench.requests) == 1, which
        sent = bench.requests[0]
        assert {name: sent[name] for name in expected} == expected
        assert bench.state()["result"] == 100


REFUSED = [
    (2, 61659.75, 0.005, codes.REJECT_OFF_GRID),
    (2, 61659.7, 0.0055, codes.REJECT_OFF_GRID),
    (2, 61659.7000002, 0.005, codes.REJECT_OFF_GRID),
    (2, 1e18, 0.005, codes.REJECT_OFF_GRID),
    (6, 61659.75, 0.005, codes.REJECT_OFF_GRID),
    (2, math.nan, 0.005, codes.REJECT_NOT_FINITE),
    (0, 1.0, math.inf, codes.REJECT_NOT_FINITE),
    (5, -math.inf, 0.005, codes.REJECT_NOT_FINITE),
    (6, 61659.7, math.nan, codes.REJECT_NOT_FINITE),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_off_the_grid_or_not_finite_is_refused_and_recorded(kind: str, tmp_path: Path) -> None:
    module = module_of(tmp_path, "import twinloop as tl\n" + ORDERS)
    made = built(module.S, kind)
    hashes = []
    for which, price, qty, verdict in REFUSED:
        bench = Bench()
        bench.add(made)
        area = bench.node["decision"]["areas"][0][: made.state_dtype.itemsize].view(made.state_dtype)
        area["which"], area["price"], area["qty"] = which, price, qty
        order = bench.node["decision"]["orders"][33 & 7]
        order["id"], order["state"], order["side"] = 33, codes.STATE_ACKED, 1
        bench.trade(1, local_ns=1000)
        assert bench.node["status"] == 0, made.take_error(bench.node)
        assert bench.requests == []
        assert bench.state()["result"] == -verdict
        assert bench.node["verdict_count"] == 1
        assert bench.node["verdicts"][0]["verdict"] == verdict
        assert bench.node["verdicts"][0]["operation"] == (rows.AMEND if which == 6 else rows.NEW)
        assert bench.node["measured"]["refused"][verdict] == 1
        assert bench.node["decision"]["decision_number"] == 1
        hashes.append(int(bench.node["decision"]["hash"]))
    assert all(hashes)


def test_a_side_that_is_none_ends_the_run(kind: str, tmp_path: Path) -> None:
    bench, made = run_source(kind, tmp_path, ORDERS, {"which": 14})
    bench.trade(1)
    assert bench.node["status"] == codes.RUN_STRATEGY_ERROR
    assert "neither tl.BUY nor tl.SELL" in str(made.take_error(bench.node))


# Scaling, against decimal arithmetic.


TOUCH = ("bid", "ask", "bid_qty", "ask_qty")
PAIRS = f"""
class S(tl.Strategy):
    natural: tl.Array[float, 9]
    scaled: tl.Array[int, 9]
    def on_book(self, ctx, book):
{"".join(f"        self.natural[{i}] = ctx.{name}(1); self.scaled[{i}] = ctx.{name}_scaled(1)" + chr(10) for i, name in enumerate(TOUCH))}
{"".join(f"        self.natural[{i}] = book.{name}; self.scaled[{i}] = book.{name}_scaled" + chr(10) for i, name in enumerate(TOUCH, 4))}
    def on_order(self, ctx, order):
        self.natural[8] = order.leaves; self.scaled[8] = order.leaves_scaled
"""


def test_the_touch_and_what_an_order_has_left_are_had_in_both_units(kind: str, tmp_path: Path) -> None:
    bench, _ = run_source(kind, tmp_path, PAIRS)
    market = bench.node["decision"]["instruments"][1]
    market["bid"], market["ask"], market["bid_qty"], market["ask_qty"] = 10005, 10010, 4, 6
    bench.row(rows.LEVEL, instrument=1)
    bench.call("on_book")
    order = bench.node["decision"]["orders"][1]
    order["id"], order["qty"], order["filled"] = 1, 7, 5
    bench.row(rows.ACK, order_id=1)
    bench.call("on_order")
    assert bench.state()["scaled"].tolist() == [10005, 10010, 4, 6] * 2 + [2]
    assert bench.state()["natural"].tolist() == [100.05, 100.1, 4.0, 6.0] * 2 + [0.002]


BOOK = """
class S(tl.Strategy):
    out: tl.Array[float, 20]
    def on_book(self, ctx, book):
        o = self.out
        for level in range(4):
            o[level] = ctx.level_price(0, tl.BUY, level); o[4 + level] = ctx.level_qty(0, tl.BUY, level)
            o[8 + level] = ctx.level_price(0, tl.SELL, level)
        o[12] = ctx.depth_qty(0, tl.SELL, 2); o[13] = ctx.imbalance(0, 3); o[14] = ctx.qty_at(0, tl.BUY, 9.9)
        o[15] = ctx.qty_at(0, tl.BUY, 5.0); o[16] = ctx.book_state(0); o[17] = ctx.qty_at(0, tl.BUY, 9.95)
"""


def test_ctx_reads_the_book(kind: str, tmp_path: Path) -> None:
    from twinloop.kernels.book import BOOK_LIVE, book_clear, book_event_end, book_set

    bench, made = run_source(kind, tmp_path, BOOK)
    decision = bench.node["decision"]
    decision["instruments"][0]["book"] = 0
    book = decision["books"][0]
    book_clear(book, 1)
    for side, price, qty in ((0, 100, 5000), (0, 99, 2000), (0, 97, 1000), (1, 101, 1000), (1, 105, 3000)):
        book_set(book, side, price, qty)
    book_event_end(book)
    market = decision["instruments"][0]
    market["bid"], market["bid_qty"], market["ask"], market["ask_qty"] = 100, 5000, 101, 1000
    bench.row(rows.LEVEL)
    bench.call("on_book")
    assert bench.node["status"] == 0, made.take_error(bench.node)
    expected = [10.0, 9.9, 9.7, 0, 5, 2, 1, 0, 10.1, 10.5, 0, 0, 4, 4 / 12, 2, 0, BOOK_LIVE, 0]
    assert list(bench.state()["out"][: len(expected)]) == pytest.approx(expected, rel=1e-15)
