"""What a strategy raises ends its run, with the line and a remedy; compiled and as Python."""

import sys
from pathlib import Path

import pytest
from numba import config

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import TINY, Bench, built, module_of, run_source

from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.engine.strategy_errors import StrategyRunError
from twinloop.kernels import codes

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
    bench, made = run_source(kind, tmp_path, RAISING, {"which": which})
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
    bench, made = run_source(kind, tmp_path, source)
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


BUYING = """
import twinloop as tl
class S(tl.Strategy):
    def on_trade(self, ctx, trade):
        ctx.buy(0, 0.005)
"""


@pytest.mark.skipif(config.DISABLE_JIT, reason="of Python both keep their own error")
def test_only_the_strategy_that_raised_has_the_error(tmp_path: Path) -> None:
    bench, made = run_source("compiled", tmp_path, RAISING)
    other = built(module_of(tmp_path, BUYING).S, "compiled")
    bench.add(other, 1)
    bench.trade(1)
    bench.call("on_trade", 1)
    assert bench.requests == []
    assert other.take_error(bench.node) is None
    with pytest.raises(StrategyRunError, match="ZeroDivisionError"):
        made.raise_error(bench.node)
