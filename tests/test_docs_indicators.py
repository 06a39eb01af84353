"""The page of indicators: it names each of them with the arguments it has, and its example runs."""

import inspect
import re
from pathlib import Path

import pytest

from twinloop.engine.backtest import Backtest
from twinloop.engine.config import load_config
from twinloop.engine.planning import make_plan
from twinloop.kernels import indicators

PAGE = Path(__file__).parents[1].joinpath("docs", "indicators.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("## All of them") : PAGE.index("## Sources")]
FUNCTIONS = {
    name: list(inspect.signature(getattr(value, "py_func", value)).parameters)
    for name, value in vars(indicators).items()
    if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == indicators.__name__
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_listed(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)


def test_functions_are_listed_with_their_arguments() -> None:
    listed = dict(re.findall(r"`([a-z_]+)\(([a-z_, ]*)\)`", TABLE))
    documented = {
        name: ["state" if each == "s" else each for each in text.split(", ")] for name, text in listed.items()
    }
    stateful = {name for name in FUNCTIONS if name.endswith(("_init", "_update", "_init_alpha"))}
    assert stateful <= documented.keys()
    for name, arguments in documented.items():
        if not name.endswith("_state"):
            assert arguments == FUNCTIONS[name], name


@pytest.mark.parametrize("name", ["EMA", "RSI", "ATR", "VWAP"])
def test_every_record_of_one_size_is_listed(name: str) -> None:
    assert f"`{name}`" in TABLE


def test_the_example_trades(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    (tmp_path / "bands.py").write_text(code[1], encoding="utf-8")
    base = {
        "data": [{"synth": {"symbols": ["BTCUSDT"], "duration": "1h"}}],
        "strategy": [{"path": str(tmp_path / "bands.py"), "bars": ["5s"]}],
        "run": {"cache": str(tmp_path / "cache"), "out": str(tmp_path / "runs"), "name": "bands"},
    }
    run = Backtest(make_plan(load_config(None, {}, base)).plan).run()
    assert len(run.fills) > 0
