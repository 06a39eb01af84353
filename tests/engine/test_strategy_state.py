"""What a strategy keeps and how it may be written: state, parameters, helpers, inheritance; compiled and as Python, the same bytes."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import KINDS, TINY, Bench, built, module_of, run_source

from twinloop.engine.strategy_compiler import CompiledStrategy
from twinloop.engine.strategy_errors import ParameterError
from twinloop.kernels import rows

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
    bench, made = run_source(kind, tmp_path, source, {"mode": mode})
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
        bench, _ = run_source(kind, tmp_path, "from enum import IntEnum\n" + STATE, {"mode": 5})
        bench.call("on_start")
        random = np.random.default_rng(7)
        for price, side in zip(random.integers(1, 10**6, 300), random.choice([-1, 1], 300), strict=True):
            bench.trade(int(price), int(price) % 97, side=int(side))
        areas.append(bytes(bench.node["decision"]["areas"][0]))
    assert areas[0] == areas[1]


def test_parameters_are_checked(tmp_path: Path) -> None:
    module = module_of(tmp_path, "import twinloop as tl\nimport numpy as np\nfrom enum import IntEnum\n" + STATE)

    def build(**params: Any) -> CompiledStrategy:
        made: CompiledStrategy = built(module.S, "python", params)
        return made

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
    made = built(module.S, kind)
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
    bench.add(built(names["S"], kind))
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
    bench, made = run_source(kind, tmp_path, source)
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
    made = built(module_of(tmp_path, source).S, "compiled")
    code = made._kept[0].inspect_llvm()
    assert "define" in code
    for word in ("NRT_incref", "NRT_decref", "NRT_MemInfo", "PyObject", "PyGILState"):
        assert word not in code


def test_a_float_in_an_int_field_is_refused_by_python_too(tmp_path: Path) -> None:
    source = "class S(tl.Strategy):\n    n: tl.State[int] = 0\n    def on_trade(self, ctx, trade):\n        self.n = trade.price\n"
    bench, made = (
        run_source("python", tmp_path, source) if not config.DISABLE_JIT else run_source("compiled", tmp_path, source)
    )
    bench.trade(15)
    assert "cut off" in str(made.take_error(bench.node))
