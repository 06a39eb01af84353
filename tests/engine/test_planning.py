"""From a configuration to a plan: units, names, currencies and what does not fit together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.times import to_ns
from twinloop.engine.backtest import Backtest, Plan
from twinloop.engine.config import load_config
from twinloop.engine.planning import Planned, describe, make_plan
from twinloop.engine.strategy_errors import StrategyError
from twinloop.kernels.bars import NOTIONAL_BAR, TICK_BAR, TIME_BAR, VOLUME_BAR

STRATEGY = "import twinloop as tl\n\n\nclass One(tl.Strategy):\n    qty: float = 1.0\n\n    def on_trade(self, ctx, trade):\n        pass\n"
BARS = "time,open,high,low,close,volume\n2024-01-01,10,12,9,11,5\n2024-01-02,11,13,10,12,6\n"


def planned(folder: Path, **overrides: Any) -> Planned:
    (folder / "one.py").write_text(STRATEGY, encoding="utf-8")
    base = {
        "data": [{"synth": {"symbols": ["AAA"], "rows": 500}}],
        "strategy": [{"path": "one.py"}],
        "run": {"cache": str(folder / "cache"), "out": str(folder / "runs")},
    }
    file = folder / "run.toml"
    file.write_text("", encoding="utf-8")
    return make_plan(load_config(file, {key.replace("__", "."): value for key, value in overrides.items()}, base))


def test_settings_reach_the_plan_in_the_engines_units(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        account__cash="1234.5",
        venue__entry_latency="2ms",
        venue__fee_tiers=[[0, "-0.5", 2], [1000000, -1, "1.5"]],
        venue__session_end="00:00 UTC",
        strategy__bars=["1m", "100 ticks", "10 volume", "1e6 notional"],
        strategy__parameters__qty=2,
        run__sample_interval="1s",
    ).plan
    assert plan.cash == 123_450_000_000
    assert plan.venue.entry_latency_ns == 2_000_000
    assert plan.venue.fee_tiers == [(0, -5000, 20000), (10**14, -10000, 15000)]
    assert plan.venue.session_end_ns > int(plan.local[0]["local_ns"])
    assert plan.venue.session_end_ns % 86_400_000_000_000 == plan.session_start_ns == 0
    assert plan.strategies[0].bars == [
        (TIME_BAR, 60 * 10**9), (TICK_BAR, 100), (VOLUME_BAR, 10_000), (NOTIONAL_BAR, 10**14)
    ]  # fmt: skip
    assert plan.strategies[0].name == "One"
    assert plan.sample_interval_ns == 10**9
    assert plan.config["limits_in_force"]["preset"] == "research"
    assert any("limits in force, research: max_order_pct 10,000" in line for line in describe(plan))


def test_a_second_plan_comes_from_the_cache_with_the_same_digest(tmp_path: Path) -> None:
    first, second = planned(tmp_path), planned(tmp_path)
    assert (first.cached, second.cached) == (False, True)
    assert first.plan.data_digest == second.plan.data_digest


def test_a_bare_table_is_settled_in_the_accounts_currency(tmp_path: Path) -> None:
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    plan = planned(
        tmp_path, data=[{"file": "goog.csv", "symbol": "GOOG", "interval": "1d"}], account__currency="EUR"
    ).plan
    assert (plan.instruments[0].quote, plan.instruments[0].settle) == ("EUR", "EUR")


def test_two_inputs_become_one_tape(tmp_path: Path) -> None:
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    data = [{"synth": {"symbols": ["AAA"], "rows": 500}}, {"file": "goog.csv", "symbol": "GOOG", "interval": "1d"}]
    plan = planned(tmp_path, data=data).plan
    assert [each.symbol for each in plan.instruments] == ["AAA", "GOOG"]
    assert (np.diff(plan.local["local_ns"]) >= 0).all()


def test_a_market_given_twice_is_told(tmp_path: Path) -> None:
    def notes(*data: Any) -> list[str]:
        return [note for note in planned(tmp_path, data=list(data)).plan.notes if "two [[data]] tables" in note]

    one = {"synth": {"symbols": ["AAA", "BBB"], "rows": 5000}}
    assert notes(one) == []
    assert notes(one, {"synth": {"symbols": ["CCC"], "rows": 5000}}) == []
    text = "two [[data]] tables give {} rows of synthetic:BBB for the same times, and both are in the run"
    assert notes(one, {"synth": {"symbols": ["BBB"], "rows": 5000, "seed": 2}}) == [
        text.format(kind) for kind in ("LEVEL", "QUOTE", "TRADE")
    ]
    (tmp_path / "a.csv").write_text(BARS, encoding="utf-8")
    (tmp_path / "b.csv").write_text(BARS.replace("2024", "2025"), encoding="utf-8")
    first, second = ({"file": name, "symbol": "GOOG", "interval": "1d"} for name in ("a.csv", "b.csv"))
    assert notes(first, second) == []
    assert len(notes(first, first)) == 1


def test_measured_latencies_are_read_by_line(tmp_path: Path) -> None:
    (tmp_path / "latency.csv").write_text("time_ns,entry_ns,response_ns\n10,1,2\n20,3,4\n", encoding="utf-8")
    plan = planned(tmp_path, venue__latency_model="measured", venue__latency_file="latency.csv").plan
    assert plan.venue.measured.tolist() == [[10, 1, 2], [20, 3, 4]]
    for text, said in (("10,1\n", "latency.csv:1"), ("10,1,2\n10,1,2\n", "rising time"), ("", "one or more")):
        (tmp_path / "latency.csv").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=said):
            planned(tmp_path, venue__latency_model="measured", venue__latency_file="latency.csv")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"strategy": [{"path": "one.py"}, {"path": "one.py:One"}]}, "two strategies of one name"),
        ({"strategy.bars": ["0.00001 volume"]}, "bars that cannot be built"),
        ({"limits": "resarch"}, "did you mean 'research'"),
        ({"limits.max_order_pt": 1}, "did you mean 'max_order_pct'"),
        ({"data": [{"file": "one.py", "instrument": "nope"}]}, "cannot tell the format|no such instrument"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(tmp_path: Path, overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        planned(tmp_path, **overrides)


def test_a_run_over_a_change_of_clocks_says_which_sessions_end_at_another_time(tmp_path: Path) -> None:
    """16:00 in New York is 21:00 UTC in winter and 20:00 in summer: counted in whole days, summer's ends come an hour late."""
    days = [f"2024-03-{day:02d}T15:00:00Z,10,12,9,11,5" for day in (6, 7, 8, 11, 12)]
    (tmp_path / "bars.csv").write_text("\n".join(["time,open,high,low,close,volume", *days]), encoding="utf-8")
    data = [{"file": "bars.csv", "symbol": "SPY", "interval": "1h"}]
    over = planned(tmp_path, data=data, venue__session_end="16:00 America/New_York")
    assert over.plan.venue.session_end_ns == to_ns("2024-03-06T21:00:00Z")
    assert [note for note in over.plan.notes if "clocks" in note] == [
        (
            "the clocks of venue.session_end change within the run: from 2024-03-10 on, sessions end 1 h late; "
            "run the parts before and after on their own"
        )
    ]
    data[0] |= {"start": "2024-03-10"}
    after = planned(tmp_path, data=data, venue__session_end="16:00 America/New_York")
    assert after.plan.venue.session_end_ns == to_ns("2024-03-11T20:00:00Z")
    assert not [note for note in after.plan.notes if "clocks" in note]


def test_only_currencies_that_can_hold_money_take_room(tmp_path: Path) -> None:
    """Nine contracts settle in one currency; nine spot instruments hold nine."""

    def of(contract: str) -> Plan:
        tables = {
            f"X{k}": {"like": "binance-usdm:BTCUSDT", "symbol": f"X{k}USDT", "base": f"X{k}", "contract": contract}
            for k in range(9)
        }
        data = [{"synth": {"symbols": [name], "rows": 50}} for name in tables]
        return planned(tmp_path, instruments=tables, data=data).plan

    assert Backtest(of("linear")).assembly.currencies == ["USDT"]
    with pytest.raises(ConfigError, match="at most 8 that can hold money, got '10: USDT, X0, X1, X2"):
        Backtest(of("spot"))


def test_how_a_table_was_understood_is_told_and_kept(tmp_path: Path) -> None:
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    found = planned(tmp_path, data=[{"file": "goog.csv", "symbol": "GOOG"}])
    assert found.read_as == [
        (
            "goog.csv read as bars of 1d, times as %Y-%m-%d, in UTC, stamp is the open, price scale 0, qty scale 0, "
            "oldest first"
        )
    ]
    assert found.plan.data[0]["read_as"] == found.read_as


def test_a_synthetic_market_is_called_one(tmp_path: Path) -> None:
    assert any("the market is synthetic" in note for note in planned(tmp_path).plan.notes)
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    table = {"file": "goog.csv", "symbol": "GOOG", "interval": "1d"}
    assert planned(tmp_path, data=[table]).plan.notes == []


@pytest.mark.parametrize(
    ("strategy", "parameters", "said"),
    [
        (STRATEGY, {"qtty": 1}, "no such parameter.*did you mean .qty."),
        (STRATEGY.replace("on_trade", "on_trad"), {}, "did you mean .on_trade."),
        (STRATEGY.replace("pass", "self.x = trade.prize"), {}, "prize|not declared"),
    ],
)
def test_a_mistake_of_a_strategy_is_told_before_any_data_is_read(
    tmp_path: Path, strategy: str, parameters: dict[str, int], said: str
) -> None:
    (tmp_path / "two.py").write_text(strategy, encoding="utf-8")
    with pytest.raises(StrategyError, match=said):
        planned(tmp_path, strategy=[{"path": "two.py", "parameters": parameters}])
    assert not (tmp_path / "cache").exists()


def test_limits_of_a_flag_are_not_blamed_on_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown preset") as caught:
        planned(tmp_path, limits="resarch")
    assert caught.value.file == "command line"
