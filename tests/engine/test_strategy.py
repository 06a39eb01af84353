"""Strategies called by address over a node without a loop: events, ctx, state, errors; compiled and as Python, the same results."""

import math
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import TINY, Bench, module_of

from twinloop.engine.strategy import fields_of, parameter_values
from twinloop.engine.strategy_compiler import CompiledStrategy, compile_strategy
from twinloop.engine.strategy_errors import ParameterError, StrategyRunError
from twinloop.engine.strategy_python import PythonEntries
from twinloop.engine.strategy_requests import on_grid, to_scaled
from twinloop.kernels import codes, rows

KINDS = ["python"] if config.DISABLE_JIT else ["compiled", "python"]


def _build(cls: type, kind: str, params: dict[str, Any] | None = None) -> CompiledStrategy:
    """A strategy compiled, or the same class run by Python."""
    symbols = ("BTCUSDT", "ETHUSDT")
    if kind == "compiled" or config.DISABLE_JIT:
        return compile_strategy(cls, params or {}, TINY, symbols, cache=False)
    declared = fields_of(cls)
    values = parameter_values(declared, params or {}, {name: slot for slot, name in enumerate(symbols)})
    made = CompiledStrategy(cls.__name__, cls, TINY, declared, values, "", {}, compiled=False)
    made._python = PythonEntries(cls, declared, values, TINY, cls.__name__)
    made.addresses.update(made._python.addresses)
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _run(kind: str, folder: Path, source: str, params: dict[str, Any] | None = None) -> tuple[Bench, CompiledStrategy]:
    module = module_of(folder, "import math\nimport numpy as np\nimport twinloop as tl\n" + source)
    bench = Bench()
    made = _build(module.S, kind, params)
    bench.add(made)
    return bench, made


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
    bench, _ = _run(kind, tmp_path, EVENTS)
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
    bench, _ = _run(kind, tmp_path, READS)
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
    made = _build(module.S, kind)
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
    made = _build(module.S, kind)
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
    bench, made = _run(kind, tmp_path, ORDERS, {"which": 14})
    bench.trade(1)
    assert bench.node["status"] == codes.RUN_STRATEGY_ERROR
    assert "neither tl.BUY nor tl.SELL" in str(made.take_error(bench.node))


# Scaling, against decimal arithmetic.

STEPS = st.sampled_from([(1.0, 1), (10.0, 1), (100.0, 5), (1000.0, 2), (1e8, 1), (1e8, 1000), (10.0, 25)])


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
    bench, _ = _run(kind, tmp_path, PAIRS)
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


@given(step=STEPS, count=st.integers(-(2**30), 2**30))
def test_every_natural_value_on_the_grid_is_accepted_exactly(step: tuple[float, int], count: int) -> None:
    per_unit, size = step
    value = float(Decimal(count * size) / Decimal(per_unit))
    assert to_scaled(value, per_unit, size) == (count * size, codes.ALLOW)


@given(step=STEPS, count=st.integers(-(2**30), 2**30), off=st.floats(2e-6, 1 - 2e-6))
def test_a_value_further_off_the_grid_than_the_tolerance_is_refused(
    step: tuple[float, int], count: int, off: float
) -> None:
    per_unit, size = step
    value = float((Decimal(count) + Decimal(off)) * Decimal(size) / Decimal(per_unit))
    exact = Decimal(value) * Decimal(per_unit) / Decimal(size)
    distance = abs(exact - exact.to_integral_value(ROUND_HALF_UP))
    _, verdict = to_scaled(value, per_unit, size)
    tolerance = max(Decimal("1e-6"), abs(exact) * Decimal(2) ** -51)
    if distance > tolerance * Decimal("1.01"):
        assert verdict == codes.REJECT_OFF_GRID
    elif distance < tolerance * Decimal("0.99"):
        assert verdict == codes.ALLOW


@given(step=STEPS, value=st.floats(-1e4, 1e4))
def test_rounding_to_the_grid_brackets_the_value(step: tuple[float, int], value: float) -> None:
    per_unit, size = step
    down, near, up = (on_grid(value, per_unit, size, direction) for direction in (-1, 0, 1))
    exact = Decimal(value) * Decimal(per_unit) / Decimal(size)
    floor, ceiling = exact.to_integral_value(ROUND_FLOOR), exact.to_integral_value(ROUND_CEILING)
    slack = Decimal("2e-6")
    assert round(down * per_unit / size) in {int(floor), int(ceiling) if ceiling - exact < slack else int(floor)}
    assert round(up * per_unit / size) in {int(ceiling), int(floor) if exact - floor < slack else int(ceiling)}
    assert down <= near <= up
    for found in (down, near, up):
        assert to_scaled(found, per_unit, size)[1] == codes.ALLOW


# State, helpers, parameters.

STATE = """
SCALE = 3.0
WEIGHTS = np.array([1.0, 2.0])
def plain(x):
    return twice(x) + WEIGHTS[1]
def twice(x):
    return 2.0 * x
class Mode(IntEnum):
    SLOW = 0
    FAST = 5
class Base(tl.Strategy):
    span: int = 4
    def helper(self, x, y=1.0):
        return plain(x) * SCALE + y + self.span
class S(Base):
    mode: Mode = Mode.SLOW
    rate: float = 0.5
    on: bool = True
    symbol: tl.Symbol = "ETHUSDT"
    total: tl.State[float] = 1.5
    count: tl.State[int] = -1
    flag: tl.State[bool] = False
    grid: tl.Array[int, 2, 3]
    filled: tl.Array[float, 3] = 7.0
    bits = tl.array(int, 4)
    ema: tl.State[tl.indicators.EMA]
    sma = tl.record(tl.indicators.sma_state(3))
    def on_start(self, ctx):
        tl.indicators.ema_init(self.ema, self.span)
        tl.indicators.sma_init(self.sma)
    def on_trade(self, ctx, trade):
        self.total += self.helper(trade.price) + self.helper(1.0, y=self.rate)
        self.count += 1
        self.flag = self.on and trade.side > 0
        self.grid[1, 2] += trade.qty_scaled
        self.filled[self.count % 3] = tl.indicators.ema_update(self.ema, trade.price)
        self.bits[1] = not self.bits[1]
        tl.indicators.sma_update(self.sma, trade.price)
        if self.mode == Mode.FAST:
            self.total = self.ema.value + self.sma["value"]
        ctx.buy(self.symbol, 2)
"""


def _expected_state(prices: list[float], mode: int) -> tuple[float, list[float], float]:
    def helper(x: float, y: float) -> float:
        return (2.0 * x + 2.0) * 3.0 + y + 4

    total, ema, filled, seen = 1.5, 0.0, [7.0, 7.0, 7.0], []
    for count, price in enumerate(prices):
        total += helper(price, 1.0) + helper(1.0, 0.5)
        ema = price if count == 0 else ema + 0.4 * (price - ema)
        filled[count % 3] = ema
        seen.append(price)
        mean = sum(seen[-3:]) / len(seen[-3:])
        if mode == 5:
            total = ema + mean
    return total, filled, mean


@pytest.mark.parametrize("mode", ["SLOW", 5])
def test_state_helpers_records_and_parameters(kind: str, mode: Any, tmp_path: Path) -> None:
    source = "from enum import IntEnum\n" + STATE
    bench, made = _run(kind, tmp_path, source, {"mode": mode})
    assert made.parameters == {"span": 4, "mode": 0 if mode == "SLOW" else 5, "rate": 0.5, "on": True, "symbol": 1}
    assert len(made.initial_area()) == TINY.area_bytes
    first = made.read_state(made.initial_area())
    assert (first["total"], first["count"], list(first["filled"])) == (1.5, -1, [7.0] * 3)
    bench.call("on_start")
    for price in (101, 105, 98, 120):
        bench.trade(price, 3, side=1)
    assert bench.node["status"] == 0, made.take_error(bench.node)
    total, filled, mean = _expected_state([10.1, 10.5, 9.8, 12.0], made.parameters["mode"])
    state = bench.state()
    assert state["total"] == pytest.approx(total, rel=1e-14)
    assert list(state["filled"]) == pytest.approx(filled, rel=1e-14)
    assert state["sma"]["value"] == pytest.approx(mean, rel=1e-14)
    assert (state["count"], state["flag"], state["grid"][1, 2], list(state["bits"])) == (3, True, 12, [False] * 4)
    assert [request["instrument"] for request in bench.requests] == [1] * 4


@pytest.mark.skipif(config.DISABLE_JIT, reason="there is nothing compiled to compare with")
def test_compiled_and_python_leave_the_same_bytes(tmp_path: Path) -> None:
    areas = []
    for kind in KINDS:
        bench, _ = _run(kind, tmp_path, "from enum import IntEnum\n" + STATE, {"mode": 5})
        bench.call("on_start")
        random = np.random.default_rng(7)
        for price, side in zip(random.integers(1, 10**6, 300), random.choice([-1, 1], 300), strict=True):
            bench.trade(int(price), int(price) % 97, side=int(side))
        areas.append(bytes(bench.node["decision"]["areas"][0]))
    assert areas[0] == areas[1]


def test_parameters_are_checked(tmp_path: Path) -> None:
    module = module_of(tmp_path, "import twinloop as tl\nimport numpy as np\nfrom enum import IntEnum\n" + STATE)

    def build(**params: Any) -> CompiledStrategy:
        return _build(module.S, "python", params)

    for params, message in (
        ({"spam": 3}, 'field spam, expected one of span.*did you mean "span"'),
        ({"total": 3}, "state, not a parameter"),
        ({"span": 2.5}, "field span, expected an integer"),
        ({"span": True}, "field span, expected a number"),
        ({"span": "4"}, "field span, expected a number"),
        ({"span": 2**63}, "64 bits"),
        ({"rate": math.nan}, "finite"),
        ({"on": 1}, "true or false"),
        ({"mode": "SLOWER"}, "one of SLOW, FAST"),
        ({"mode": 3}, "one of SLOW, FAST"),
        ({"symbol": "ETHUSD"}, 'did you mean "ETHUSDT"'),
        ({"symbol": 1}, "name of an instrument"),
    ):
        with pytest.raises(ParameterError, match=message):
            build(**params)
    assert build(span=8.0, rate=2, symbol="BTCUSDT", on=False).parameters == {
        "span": 8,
        "mode": 0,
        "rate": 2.0,
        "on": False,
        "symbol": 0,
    }


# Exceptions.

RAISING = """
def deep(x):
    if x > 3:
        raise ValueError("too much")
    return x
class S(tl.Strategy):
    which: int = 0
    zero: tl.State[float] = 0.0
    none: tl.State[int] = 0
    window: tl.Array[float, 4]
    at: tl.State[int] = 4
    after: tl.State[int] = 0
    def on_trade(self, ctx, trade):
        if self.which == 0:
            self.zero = 1.0 / self.zero  # LINE0
        elif self.which == 1:
            self.none = 1 // self.none  # LINE1
        elif self.which == 2:
            self.zero = self.window[self.at]  # LINE2
        elif self.which == 3:
            self.window[self.at] = 1.0  # LINE3
        elif self.which == 4:
            self.zero = deep(5.0)
        elif self.which == 5:
            self.zero = ctx.bid(2)
        elif self.which == 6:
            assert self.none > 0, "none left"  # LINE6
        elif self.which == 7:
            self.zero = self.window[0] / self.window[1]  # LINE7
        elif self.which == 8:
            self.none = self.none % self.none  # LINE8
        self.after += 1
"""
RAISED = {
    0: "ZeroDivisionError",
    1: "ZeroDivisionError",
    2: "IndexError",
    3: "IndexError",
    4: "ValueError: too much",
    5: "IndexError",
    6: "none left",
    7: "",
    8: "ZeroDivisionError",
}


@pytest.mark.parametrize("which", RAISED)
def test_an_exception_ends_the_run_with_its_line(kind: str, which: int, tmp_path: Path) -> None:
    bench, made = _run(kind, tmp_path, RAISING, {"which": which})
    bench.trade(1, sequence=41)
    assert bench.node["status"] == codes.RUN_STRATEGY_ERROR
    assert bench.node["error_sequence"] == 41
    error = made.take_error(bench.node)
    assert isinstance(error, StrategyRunError)
    assert RAISED[which] in str(error)
    assert "on_trade" in str(error)
    lines = Path(sys.modules[made.strategy.__module__].__file__ or "").read_text().splitlines()
    marked = [number for number, line in enumerate(lines, start=1) if f"LINE{which}" in line]
    if marked:
        assert error.line == marked[0]
    if which == 4:
        assert error.line == next(number for number, line in enumerate(lines, start=1) if "raise ValueError" in line)
    if kind == "python":
        assert error.__cause__ is not None
        assert error.__cause__.__traceback__ is not None
    bench.trade(1)  # Nothing runs any more.
    assert bench.state()["after"] == 0


CALLED_WRONG = {
    "ctx.bid(9)": "declare a tl.Symbol parameter",
    "ctx.level_price(0, 3, 1)": "pass tl.BUY or tl.SELL",
    "ctx.round_price(0, self.huge)": "test it with math.isfinite first",
}


@pytest.mark.parametrize("call", CALLED_WRONG)
def test_what_a_call_of_ctx_raises_is_placed_in_the_users_code(kind: str, call: str, tmp_path: Path) -> None:
    """With its line where Python runs it; compiled code keeps the callback's, and says how to get the line."""
    source = f"class S(tl.Strategy):\n    huge: float = 1e300\n    x: tl.State[float] = 0.0\n    def on_trade(self, ctx, trade):\n        self.x = 1.0\n        self.x = {call}\n"
    bench, made = _run(kind, tmp_path, source)
    bench.trade(1)
    error = made.take_error(bench.node)
    assert error is not None
    assert error.file == sys.modules[made.strategy.__module__].__file__
    assert error.line == (7 if kind == "compiled" else 9)
    assert CALLED_WRONG[call] in (error.remedy or "")
    assert kind == "python" or "--debug" in (error.remedy or "")


def test_what_a_library_raises_for_a_python_strategy_has_the_users_line(tmp_path: Path) -> None:
    source = "import statistics\nimport twinloop as tl\n\nclass S(tl.PythonStrategy):\n    def on_trade(self, ctx, trade):\n        {}\n"
    for line, what, fix in (
        ("statistics.median([])", "no median for empty data", "--traceback"),
        ('ctx.buy("BTCUSDT", 1.0)', "not supported between instances of 'int' and 'str'", "tl.Symbol"),
        ("ctx.limit(0, tl.BUY, 1.0)", "missing 1 required positional argument", "docs/strategy-api.md"),
    ):
        made = compile_strategy(module_of(tmp_path, source.format(line)).S, {}, TINY, ("BTCUSDT", "ETHUSDT"))
        bench = Bench()
        bench.add(made)
        bench.trade(1)
        error = made.take_error()
        assert error is not None
        assert (error.file, error.line) == (sys.modules[made.strategy.__module__].__file__, 6)
        assert what in str(error)
        assert fix in (error.remedy or "")


@pytest.mark.skipif(config.DISABLE_JIT, reason="of Python both keep their own error")
def test_only_the_strategy_that_raised_has_the_error(tmp_path: Path) -> None:
    bench, made = _run("compiled", tmp_path, RAISING)
    other = _build(module_of(tmp_path, "import twinloop as tl\n" + ORDERS).S, "compiled")
    bench.add(other, 1)
    bench.trade(1)
    bench.call("on_trade", 1)
    assert bench.requests == []
    assert other.take_error(bench.node) is None
    with pytest.raises(StrategyRunError, match="ZeroDivisionError"):
        made.raise_error(bench.node)


# Plain-Python strategies.

PYTHON = """
import json
import statistics
class S(tl.PythonStrategy):
    length: int = 3
    symbol: tl.Symbol = "ETHUSDT"
    def on_trade(self, ctx, trade):
        self.seen.append(trade.price)
        if len(self.seen) == self.length:
            answer = ctx.limit(self.symbol, tl.BUY, 100.05, 4)
            self.log = json.dumps({"median": statistics.median(self.seen), "answer": answer, "bid": ctx.bid(0)})
            self.off = ctx.limit(self.symbol, tl.BUY, 100.04, 4)
        if len(self.seen) > self.length:
            raise KeyError("enough")
    def on_start(self, ctx):
        self.seen = []
"""


def test_a_python_strategy_uses_any_library(tmp_path: Path) -> None:
    module = module_of(tmp_path, "import twinloop as tl\n" + PYTHON)
    made = compile_strategy(module.S, {"length": 2}, TINY, ("BTCUSDT", "ETHUSDT"))
    bench = Bench()
    bench.add(made)
    bench.node["decision"]["instruments"][0]["bid"] = 15
    bench.call("on_start")
    bench.trade(10)
    bench.trade(40)
    assert bench.node["status"] == 0, made.take_error()
    assert [request["price"] for request in bench.requests] == [10005]
    assert bench.node["verdicts"][0]["verdict"] == codes.REJECT_OFF_GRID
    assert bench.node["decision"]["hash"] != 0
    bench.trade(50, sequence=9)
    assert bench.node["status"] == codes.RUN_STRATEGY_ERROR
    error = made.take_error(bench.node)
    assert isinstance(error, StrategyRunError)
    assert isinstance(error.__cause__, KeyError)
    assert error.line is not None
    assert made.take_error(bench.node) is None
    bench.node["status"] = 0
    bench.call("on_start")  # A new run, a new object.
    bench.trade(10)
    assert bench.node["status"] == 0


def test_python_callbacks_are_named_and_called_right(tmp_path: Path) -> None:
    source = "import twinloop as tl\nclass S(tl.PythonStrategy):\n    def on_tick(self, ctx):\n        pass\n"
    with pytest.raises(Exception, match="on_tick"):
        compile_strategy(module_of(tmp_path, source).S, {}, TINY)


# The book.

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

    bench, made = _run(kind, tmp_path, BOOK)
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


# Ways of writing.

FUTURE = """
class Base(tl.Strategy):
    fast: tl.State[float] = 0.0
    def on_trade(self, ctx, trade):
        self.fast = self.level(ctx, trade) + outside(trade, ctx)
    def level(self, market, print_):
        return market.floor_price(1, print_.price) + self.weight
class S(Base):
    weight: float = 100.0
    def on_order(self, ctx, order):
        self.on_stop(ctx)
    def on_stop(self, ctx):
        print("stopped", self.fast)
def outside(event, where):
    return event.qty + where.now_ns
"""


def test_postponed_annotations_inheritance_callbacks_as_helpers_and_print(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module = module_of(tmp_path, "from __future__ import annotations\nimport twinloop as tl\n" + FUTURE)
    bench = Bench()
    made = _build(module.S, kind)
    bench.add(made)
    bench.trade(11, 2000, local_ns=7)
    bench.call("on_stop")
    bench.row(rows.ACK, order_id=1)
    bench.call("on_order")
    assert bench.node["status"] == 0, made.take_error(bench.node)
    assert bench.state()["fast"] == 1.1 + 100 + 2.0 + 7
    assert capfd.readouterr().out == "stopped 110.1\n" * 2


def test_a_strategy_without_a_source_file_is_compiled(kind: str) -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec(
        "import twinloop as tl\nclass S(tl.Strategy):\n    n: tl.State[int] = 0\n    def on_trade(self, ctx, trade):\n        self.n += trade.side\n",
        names,
    )
    bench = Bench()
    bench.add(_build(names["S"], kind))
    bench.trade(1, side=-1)
    assert bench.state()["n"] == -1


def test_a_njit_helper_may_use_what_numba_can(kind: str, tmp_path: Path) -> None:
    source = """
import numba
@numba.njit
def spread(x):
    values = [x, 2.0 * x]
    values.sort()
    return values[1] - values[0]
class S(tl.Strategy):
    out: tl.State[float] = 0.0
    def on_trade(self, ctx, trade):
        self.out = spread(trade.price)
"""
    bench, made = _run(kind, tmp_path, source)
    bench.trade(30)
    assert bench.node["status"] == 0, made.take_error(bench.node)
    assert bench.state()["out"] == 3.0


@pytest.mark.skipif(config.DISABLE_JIT, reason="there is no machine code")
def test_a_callback_allocates_nothing_and_counts_no_references(tmp_path: Path) -> None:
    source = """
import twinloop as tl
class S(tl.Strategy):
    rate: float = 0.1
    fast: tl.State[float] = 0.0
    window: tl.Array[float, 8]
    at: tl.State[int] = 0
    def helper(self, x):
        return self.rate * (x - self.fast)
    def on_trade(self, ctx, trade):
        self.fast += self.helper(trade.price)
        self.window[self.at] = self.fast
        self.at = (self.at + 1) % 8
        if ctx.position(trade.instrument) == 0.0 and self.fast > ctx.mid(trade.instrument):
            ctx.limit(trade.instrument, tl.BUY, ctx.floor_price(trade.instrument, trade.price), 0.001)
"""
    made = _build(module_of(tmp_path, source).S, "compiled")
    code = made._kept[0].inspect_llvm()
    assert "define" in code
    for word in ("NRT_incref", "NRT_decref", "NRT_MemInfo", "PyObject", "PyGILState"):
        assert word not in code


def test_a_float_in_an_int_field_is_refused_by_python_too(tmp_path: Path) -> None:
    source = "class S(tl.Strategy):\n    n: tl.State[int] = 0\n    def on_trade(self, ctx, trade):\n        self.n = trade.price\n"
    bench, made = _run("python", tmp_path, source) if not config.DISABLE_JIT else _run("compiled", tmp_path, source)
    bench.trade(15)
    assert "cut off" in str(made.take_error(bench.node))
