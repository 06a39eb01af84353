"""Which bars a strategy gets: the series it asked for, made from what the data has, and no one else's."""

from pathlib import Path
from typing import Any

import pytest

from twinloop.data.errors import ConfigError
from twinloop.engine.backtest import Backtest
from twinloop.engine.config import load_config
from twinloop.engine.planning import make_plan

MINUTE_NS = 60 * 10**9
STRATEGIES = """
import twinloop as tl


class One(tl.PythonStrategy):
    seen = []

    def on_bar(self, ctx, bar):
        self.seen.append((bar.size, bar.start_ns, bar.end_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count))


class Two(tl.PythonStrategy):
    seen = []

    def on_bar(self, ctx, bar):
        self.seen.append((bar.size, bar.start_ns, bar.end_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count))


class Other(tl.PythonStrategy):
    seen = []

    def on_trade(self, ctx, trade):
        self.seen.append(trade.price)
"""
START_NS = 1_704_067_200 * 10**9  # 2024-01-01 00:00 UTC


def minutes(missing: set[int] = frozenset(), count: int = 20) -> str:  # type: ignore[assignment]
    """Minute bars from 00:00 on, stamped with their start."""
    lines = ["time,open,high,low,close,volume"]
    lines += [
        f"{START_NS // 10**9 + 60 * i},{100 + i},{110 + i},{90 - i},{101 + i},{i + 1}"
        for i in range(count)
        if i not in missing
    ]
    return "\n".join(lines)


TRADES = "time,price,qty\n" + "\n".join(f"{START_NS // 10**9 + 7 * i},{100 + i % 9},{1 + i % 3}" for i in range(120))


def run(folder: Path, strategies: list[dict[str, Any]], data: str, **table: Any) -> Any:
    """Strategies of a finished run by name, and the run's warnings."""
    folder.mkdir(exist_ok=True)
    (folder / "s.py").write_text(STRATEGIES, encoding="utf-8")
    (folder / "data.csv").write_text(data, encoding="utf-8")
    (folder / "run.toml").write_text("", encoding="utf-8")
    base = {
        "data": [{"file": "data.csv", "symbol": "AAA"} | table],
        "strategy": strategies,
        "run": {"cache": str(folder / "cache"), "out": str(folder / "runs")},
    }
    plan = make_plan(load_config(folder / "run.toml", {}, base)).plan
    done = Backtest(plan).run()
    return {each.name: each.strategy.seen for each in plan.strategies}, done.summary["warnings"]  # type: ignore[attr-defined]


def expected(minutes_each: int, count: int = 20, missing: tuple[int, ...] = ()) -> list[tuple[Any, ...]]:
    """Bars of so many minutes out of `minutes`, those whose end was seen."""
    found: list[tuple[Any, ...]] = []
    for first in range(0, count, minutes_each):
        inside = [i for i in range(first, min(first + minutes_each, count)) if i not in missing]
        later = any(i not in missing for i in range(first + minutes_each, count))
        if inside and (inside[-1] == first + minutes_each - 1 or later):
            found.append((
                minutes_each * MINUTE_NS, START_NS + first * MINUTE_NS, START_NS + (first + minutes_each) * MINUTE_NS,
                100.0 + inside[0], 110.0 + inside[-1], 90.0 - inside[-1], 101.0 + inside[-1], sum(i + 1.0 for i in inside), len(found) + 1,
            ))  # fmt: skip
    return found


def test_bars_of_the_datas_own_length_come_as_they_are(tmp_path: Path) -> None:
    seen, _ = run(tmp_path, [{"path": "s.py:One", "bars": ["1m"]}], minutes())
    assert seen["One"] == expected(1)


def test_a_strategy_that_asks_for_no_bars_gets_those_of_bar_data(tmp_path: Path) -> None:
    seen, _ = run(tmp_path, [{"path": "s.py:One"}], minutes())
    assert seen["One"] == expected(1)


@pytest.mark.parametrize("missing", [(), (4,), (3, 4), (4, 5), (5, 6, 7, 8, 9), (19,)], ids=str)
def test_longer_bars_are_put_together_from_the_datas(tmp_path: Path, missing: tuple[int, ...]) -> None:
    seen, _ = run(tmp_path, [{"path": "s.py:One", "bars": ["5m"]}], minutes(set(missing)), interval="1m")
    assert seen["One"] == expected(5, missing=missing)


@pytest.mark.parametrize(("data", "sizes"), [(minutes(), ("1m", "5m")), (TRADES, ("1m", "2m"))], ids=["bars", "trades"])
def test_each_strategy_sees_the_bars_that_it_asked_for_and_no_other(
    tmp_path: Path, data: str, sizes: tuple[str, str]
) -> None:
    table = {"kind": "trades"} if data is TRADES else {}
    alone = [
        run(tmp_path / size, [{"path": f"s.py:{name}", "bars": [size]}], data, **table)[0][name]
        for name, size in zip(("One", "Two"), sizes, strict=True)
    ]
    together, _ = run(
        tmp_path,
        [{"path": "s.py:One", "bars": [sizes[0]]}, {"path": "s.py:Two", "bars": [sizes[1]]}, {"path": "s.py:Other"}],
        data,
        **table,
    )
    assert [together["One"], together["Two"]] == alone
    assert len(alone[0]) > len(alone[1]) > 1


def test_two_strategies_may_ask_for_the_same_bars(tmp_path: Path) -> None:
    seen, _ = run(
        tmp_path, [{"path": "s.py:One", "bars": ["1m", "5m"]}, {"path": "s.py:Two", "bars": ["5m"]}], minutes()
    )
    assert [bar for bar in seen["One"] if bar[0] == 5 * MINUTE_NS] == seen["Two"] == expected(5)


@pytest.mark.parametrize(
    ("bars", "said"),
    [("100 ticks", "bars only, and no trades"), ("10 volume", "got 'volume bars'"), ("30s", "at least 1 min"), ("90s", "lies in two")],
)  # fmt: skip
def test_bars_that_the_data_cannot_give_are_refused_before_the_run(tmp_path: Path, bars: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, [{"path": "s.py:One", "bars": [bars]}], minutes())


def test_a_callback_that_no_bar_will_reach_is_told(tmp_path: Path) -> None:
    seen, warnings = run(tmp_path, [{"path": "s.py:One"}], TRADES, kind="trades")
    assert seen["One"] == []
    assert any("One has on_bar but asks for no bars" in warning for warning in warnings)
