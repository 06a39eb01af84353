"""ctx.slice as a strategy uses it, compiled and as plain Python."""

from pathlib import Path

import pytest

from twinloop.engine.backtest import Backtest
from twinloop.engine.config import load_config
from twinloop.engine.planning import make_plan

SOURCE = """
import twinloop as tl


class Large(tl.{kind}):
    {declared}

    def on_start(self, ctx):
        self.sliced = 0
        self.left = 0.0

    def on_trade(self, ctx, trade):
        if self.sliced == 0:
            self.sliced = ctx.slice(0, tl.BUY, 10.0, 4.0, price=200.0, interval_ns=5 * tl.SECOND)
        elif trade.ts_ns < {half}:
            self.left = ctx.slice_left(self.sliced)
        else:
            ctx.cancel(self.sliced)
"""
START_S = 1_704_067_200


@pytest.mark.parametrize("kind", ["Strategy", "PythonStrategy"])
def test_a_large_order_is_traded_in_slices(tmp_path: Path, kind: str) -> None:
    declared = "sliced: tl.State[int] = 0\n    left: tl.State[float] = 0.0" if kind == "Strategy" else "pass"
    half = (START_S + 8) * 10**9
    (tmp_path / "s.py").write_text(SOURCE.format(kind=kind, declared=declared, half=half), encoding="utf-8")
    lines = ["time,price,qty", *(f"{START_S + i},{100 + i % 3},5" for i in range(30))]
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "run.toml").write_text("", encoding="utf-8")
    base = {
        "data": [{"file": "data.csv", "symbol": "AAA", "kind": "trades"}],
        "strategy": [{"path": "s.py"}],
        "run": {"cache": str(tmp_path / "cache"), "out": str(tmp_path / "runs")},
    }
    run = Backtest(make_plan(load_config(tmp_path / "run.toml", {}, base)).plan).run()
    # The first at the first trade, the second when the interval has passed; the cancel comes before the third.
    assert run.orders["qty"].to_list() == [4.0, 4.0]
    assert [(at - START_S * 10**9) // 10**9 for at in run.orders["decided_ns"]] == [0, 5]
    assert run.fills["qty"].sum() == 8.0
