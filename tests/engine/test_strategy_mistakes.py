"""Each planted mistake gives its file, its line and what to do; the line in the source is marked HERE."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from numba import config
from strategy_bench import TINY, module_of

from twinloop.engine.strategy import fields_of
from twinloop.engine.strategy_check import check_strategy
from twinloop.engine.strategy_compiler import StrategyError, StrategyErrors, compile_strategy

HEAD = """
import datetime
import random
import time
from enum import IntEnum
import json
import numpy as np
import twinloop as tl

LIMITS = [1, 2]
NAMES = {"a": 1}
FACTOR = 2.0
TABLE = np.arange(4.0)

class S(tl.Strategy):
    span: int = 10
    fast: tl.State[float] = 0.0
    count: tl.State[int] = 0
    window: tl.Array[float, 8]
"""


def _on_trade(*lines: str) -> str:
    return HEAD + "    def on_trade(self, ctx, trade):\n" + "".join(f"        {line}\n" for line in lines)


# name: (source, what the message says, what the remedy says, whether the check before compiling finds it)
MISTAKES: dict[str, tuple[str, str, str, bool]] = {
    "unknown attribute of self": (_on_trade("self.fast += self.spam  # HERE"), "spam", '"span"', True),
    "undeclared attribute assigned": (_on_trade("self.total = 1.0  # HERE"), "not declared", "total: tl.State[float]", True),
    "parameter assigned": (_on_trade("self.span = 5  # HERE"), "parameter", "tl.State", True),
    "parameter incremented": (_on_trade("self.span += 5  # HERE"), "parameter", "tl.State", True),
    "mutable default": (HEAD + "    seen: list = []  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n", "mutable", "tl.Array", True),
    "unannotated field": (HEAD + "    size = 3  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n", "no annotation", "size: int", True),
    "string parameter": (HEAD + '    mode: str = "a"  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n', "str", "IntEnum", True),
    "parameter without default": (HEAD + "    depth: int  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n", "without a default", "depth: ... = value", True),
    "array without a size": (HEAD + "    more: tl.Array[float]  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n", "no fixed size", "tl.Array[float, 64]", True),
    "wrong callback name": (HEAD + "    def on_trades(self, ctx, trade):  # HERE\n        self.fast = 1.0\n", "on_trades", '"on_trade"', True),
    "wrong callback signature": (HEAD + "    def on_trade(self, trade):  # HERE\n        self.fast = 1.0\n", "wrong arguments", "def on_trade(self, ctx, trade)", True),
    "no callback": (HEAD, "no callback", "on_trade", True),
    "init": (HEAD + "    def __init__(self):  # HERE\n        self.fast = 1.0\n", "__init__", "on_start", True),
    "decorated method": (HEAD + "    @staticmethod\n    def helper(x):  # HERE-1\n        return x\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n", "decorated", "decorator", True),
    "unknown ctx method": (_on_trade("ctx.buyy(0, 1.0)  # HERE"), "buyy", '"buy"', True),
    "too many arguments to ctx": (_on_trade("ctx.cancel(1, 2)  # HERE"), "ctx.cancel", "(order_id)", True),
    "too few arguments to ctx": (_on_trade("ctx.limit(0, tl.BUY, 1.0)  # HERE"), "ctx.limit", "instrument, side, price, qty", True),
    "unknown keyword to ctx": (_on_trade("ctx.limit(0, tl.BUY, 1.0, 1.0, post=True)  # HERE"), "ctx.limit", "post_only", True),
    "ctx method not called": (_on_trade("if ctx.position > 0:  # HERE", "    self.fast = 1.0"), "is a method", "ctx.position(", True),
    "ctx value called": (_on_trade("self.count = ctx.now_ns()  # HERE"), "value", "parentheses", True),
    "unknown event attribute": (_on_trade("self.fast = trade.prise  # HERE"), "prise", '"price"', True),
    "event assigned": (_on_trade("trade.price = 1.0  # HERE"), "assigned", "read only", True),
    "dict": (_on_trade("x = {1: 2}  # HERE"), "dict", "tl.Array", True),
    "list": (_on_trade("x = [1.0]  # HERE"), "list", "tl.Array", True),
    "list comprehension": (_on_trade("x = sum([i for i in range(3)])  # HERE"), "list", "tl.Array", True),
    "generator": (_on_trade("x = sum(i for i in range(3))  # HERE"), "generator", "for loop", True),
    "try": (_on_trade("try:  # HERE", "    self.fast = 1.0", "except ValueError:", "    pass"), "try", "PythonStrategy", True),
    "with": (_on_trade('with open("x") as f:  # HERE', "    pass"), "with", "PythonStrategy", True),
    "f-string": (_on_trade('print(f"{trade.price}")  # HERE'), "f-string", "--debug", True),
    "format": (_on_trade('print("{}".format(trade.price))  # HERE'), "format", "--debug", True),
    "percent format": (_on_trade('print("%f" % trade.price)  # HERE'), "formatting", "--debug", True),
    "import": (_on_trade("import math  # HERE"), "import", "top of the module", True),
    "lambda": (_on_trade("f = lambda x: x * self.span  # HERE"), "lambda", "function", True),
    "inner function": (_on_trade("def f(x):  # HERE", "    return x", "self.fast = f(1.0)"), "function inside", "method", True),
    "global": (_on_trade("global FACTOR  # HERE", "FACTOR = 3.0"), "global", "tl.State", True),
    "mutable global": (_on_trade("self.fast = LIMITS[0]  # HERE"), "LIMITS", "tuple", True),
    "mutable global dict": (_on_trade('self.fast = NAMES["a"]  # HERE'), "NAMES", "tuple", True),
    "foreign library": (_on_trade("self.fast = json.loads('1')  # HERE"), "json", "PythonStrategy", True),
    "clock": (_on_trade("self.fast = time.time()  # HERE"), "not deterministic", "ctx.now_ns", True),
    "datetime": (_on_trade("x = datetime.datetime.now()  # HERE"), "not deterministic", "ctx.now_ns", True),
    "random": (_on_trade("self.fast = random.random()  # HERE"), "not deterministic", "draw", True),
    "numpy random": (_on_trade("self.fast = np.random.normal()  # HERE"), "not deterministic", "draw", True),
    "compared with None": (_on_trade("if self.fast is None:  # HERE", "    return"), "None", "unset", True),
    "compared with a string": (_on_trade('if self.count == "up":  # HERE', "    return"), "string", "IntEnum", True),
    "type changes": (_on_trade("x = 1", 'x = "a"  # HERE', "self.fast = x"), "x", "one type", True),
    "index by a string": (_on_trade('self.window["a"] = 1.0  # HERE'), "indexed", "int(", True),
    "index by a float literal": (_on_trade("self.window[1.0] = 1.0  # HERE"), "indexed", "int(", True),
    "index beyond the array": (_on_trade("self.window[8] = 1.0  # HERE"), "outside", "self.window[7]", True),
    "array assigned": (_on_trade("self.window = 1.0  # HERE"), "as a whole", "self.window[:]", True),
    "undefined name": (_on_trade("self.fast = FACTORS  # HERE"), "FACTORS", '"FACTOR"', True),
    "builtin": (_on_trade("x = sorted(self.window)  # HERE"), "sorted", "PythonStrategy", True),
    "wrong arguments to a helper": (HEAD + "    def up(self, x):\n        return x\n    def on_trade(self, ctx, trade):\n        self.fast = self.up()  # HERE\n", "self.up", "(x)", True),
    "async": (HEAD + "    async def on_trade(self, ctx, trade):  # HERE\n        self.fast = 1.0\n", "async", "def", True),
    "recursion": (
        HEAD + "    def up(self, x):\n        return self.up(x - 1) if x > 0 else 0.0  # HERE\n    def on_trade(self, ctx, trade):\n        self.fast = self.up(1.0)\n",
        "calls itself",
        "loop",
        True,
    ),
    # What needs types.
    "index by a float": (_on_trade("self.window[trade.price] = 1.0  # HERE"), "index", "int(", False),
    "float in an int field": (_on_trade("self.count = trade.price  # HERE"), "count", "int(", False),
    "branches of different types": (_on_trade("if trade.side > 0:", "    x = (1.0, 2.0)", "else:", "    x = 1.0", "self.fast = x  # HERE~"), "x", "one type", False),
    "returns of different types": (HEAD + "    def up(self, x):  # HERE~\n        if x > 0:\n            return 1.0\n        return (1.0, 2.0)\n    def on_trade(self, ctx, trade):\n        self.fast = self.up(1.0)\n", "different types", "every path", False),
    "too large an integer": (_on_trade("self.count = 10**20  # HERE"), "64 bits", "float", False),
    "unsupported numpy function": (_on_trade("self.fast = np.busday_count(1, 2)  # HERE"), "busday_count", "PythonStrategy", False),
    "string stored": (_on_trade("self.fast = 'a'  # HERE"), "fast", "convert", False),
    "string passed to ctx": (_on_trade('ctx.buy("BTCUSDT", 1.0)  # HERE'), "ctx.buy", "tl.Symbol", False),
    "array plus tuple": (_on_trade("x = self.window + (1.0, None)  # HERE"), "+", "kind", False),
    "constant array written": (_on_trade("TABLE[0] = 1.0  # HERE"), "written", "tl.Array", False),
    "parameter assigned by a helper": (HEAD.replace("class S", "def spoil(s):\n    s.span = 3  # HERE\n\nclass S") + "    def on_trade(self, ctx, trade):\n        spoil(self)\n", "span", "tl.State", False),
    "unknown attribute in a helper": (HEAD.replace("class S", "def spoil(s):\n    return s.spam  # HERE\n\nclass S") + "    def on_trade(self, ctx, trade):\n        self.fast = spoil(self)\n", "spam", '"span"', False),
}  # fmt: skip


def build(cls: type) -> None:
    """Compile; with the JIT off, where compile_strategy lets pass what only compiled code cannot do, check strictly."""
    if config.DISABLE_JIT:
        found = check_strategy(cls, fields_of(cls))
        raise found[0] if len(found) == 1 else StrategyErrors(found)
    compile_strategy(cls, {}, TINY, cache=False)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_names_its_line_and_the_remedy(name: str, tmp_path: Path) -> None:
    source, what, fix, checked = MISTAKES[name]
    lines = source.splitlines()
    if not checked and config.DISABLE_JIT:
        pytest.skip("found by the compiler's types, which are off")
    module = module_of(tmp_path, source)
    with pytest.raises(StrategyError) as caught:
        build(module.S)
    error = caught.value
    text = str(error)
    assert what in text
    assert fix in text, text
    assert "Traceback" not in text
    assert "\n" not in text
    assert len(text) < 600
    marked = [number for number, line in enumerate(lines, start=1) if "HERE" in line]
    if marked:
        assert error.file == str(tmp_path / f"{module.__name__}.py")
        assert error.line is not None
        if "HERE~" not in source:
            assert error.line == marked[0] - ("HERE-1" in source)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    module = module_of(tmp_path, _on_trade("self.spam = 1.0", "ctx.buyy(0, 1.0)", "x = [1]"))
    with pytest.raises(StrategyError) as caught:
        build(module.S)
    assert len(caught.value.errors) == 3  # type: ignore[attr-defined]


def test_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    module = module_of(
        tmp_path,
        HEAD + "    big: tl.Array[float, 4096]\n    def on_trade(self, ctx, trade):\n        self.fast = 1.0\n",
    )
    with pytest.raises(StrategyError, match=r"mostly big.*at most 4096 bytes"):
        compile_strategy(module.S, {}, TINY, cache=False)


def test_what_is_not_a_strategy_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"tl\.Strategy or tl\.PythonStrategy"):
        compile_strategy(int, {}, TINY)


@pytest.mark.skipif(not config.DISABLE_JIT, reason="compiled code cannot")
def test_with_the_jit_off_a_strategy_may_be_debugged_with_any_python(tmp_path: Path) -> None:
    module = module_of(
        tmp_path, _on_trade('print(f"{trade.price}")', "import pdb", "breakpoint()", "self.fast = sum([1.0])")
    )
    assert compile_strategy(module.S, {}, TINY).addresses


def test_ctx_and_events_under_other_names_are_known(tmp_path: Path) -> None:
    if config.DISABLE_JIT:
        pytest.skip("found by the compiler's types, which are off")
    for line, what in (
        ("market.bidd(0)", '"bid"'),
        ("what.prise", '"price"'),
        ("market.bid(1.5)", "ctx.bid cannot take (float)"),
    ):
        source = (
            HEAD
            + f"    def up(self, market, what):\n        return {line}\n    def on_trade(self, ctx, trade):\n        self.fast = self.up(ctx, trade)\n"
        )
        with pytest.raises(StrategyError) as caught:
            build(module_of(tmp_path, source).S)
        assert what in str(caught.value)
        assert caught.value.line == 21


def test_an_attribute_is_not_taken_for_a_function_of_the_same_name(tmp_path: Path) -> None:
    """Of the strategy's module, or of a module that it imports: only what is called as such is compiled, hence checked."""
    name = module_of(tmp_path, "def level(x):\n    return [x]\n\ndef used(x):\n    return x\n").__name__
    source = f"""
import {name} as helpers
import twinloop as tl

def price(x):
    return {{"a": x}}

def trade(x):
    return [x]

class S(tl.Strategy):
    level: tl.State[float] = 0.0

    def on_trade(self, ctx, trade):
        self.level = helpers.used(self.trade(trade)) + self.level

    def trade(self, trade):
        return trade.price
"""
    cls = module_of(tmp_path, source).S
    assert check_strategy(cls, fields_of(cls)) == []
    called = module_of(tmp_path, source.replace("self.trade(trade)", "helpers.level(1.0)[0] + price(1.0)")).S
    found = {Path(str(error.file)).stem: error.line for error in check_strategy(called, fields_of(called))}
    assert found == {name: 2, called.__module__: 6}
