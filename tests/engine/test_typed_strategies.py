"""A user's strategy file passes a strict type checker, and what it gets wrong is found by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERY_FIELD = """
import enum

import twinloop as tl

SIZE = 16
AVERAGE = tl.indicators.sma_state(20)


class Mode(enum.IntEnum):
    SLOW = 0


class Typed(tl.Strategy):
    symbol: tl.Symbol = "BTCUSDT"
    mode: Mode = Mode.SLOW
    counts: tl.Array[int, SIZE]
    grid: tl.Array[float, 4, 16]
    plain = tl.array(float, 3)
    average = tl.record(AVERAGE)
    trend: tl.State[tl.indicators.EMA]
    price: tl.State[float] = 0.0
    shown: tl.State[bool] = False
    total: tl.State[int] = 0

    def on_trade(self, ctx: tl.Context, trade: tl.Trade) -> None:
        self.price = self.helper(trade)
        self.counts[0] += 1
        self.grid[1, 2] = tl.indicators.ema_update(self.trend, trade.price)
        self.total += trade.price_scaled
        self.shown = trade.off_market
        tl.indicators.sma_update(self.average, self.plain[0])
        ctx.buy(self.symbol, self.price)

    def helper(self, trade: tl.Trade) -> float:
        return trade.price
"""


def checked(folder: Path, *files: Path) -> tuple[int, str]:
    """Exit code and words of mypy --strict over files, with no settings but its own."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    environment = os.environ | {"MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, *map(str, files)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_examples_and_every_kind_of_field_pass_a_strict_checker(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    typed = tmp_path / "typed.py"
    typed.write_text(EVERY_FIELD, encoding="utf-8")
    code, said = checked(tmp_path, typed, *sorted((ROOT / "examples").glob("*.py")))
    assert code == 0, said
    typed.write_text(EVERY_FIELD.replace("= trade.off_market", "= trade.price"), encoding="utf-8")
    assert 'expression has type "float", variable has type "bool"' in checked(tmp_path, typed)[1]
