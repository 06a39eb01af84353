"""Strategies that Python runs: any library, the same calls and checks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import TINY, Bench, module_of

from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.engine.strategy_errors import StrategyRunError
from twinloop.kernels import codes

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
