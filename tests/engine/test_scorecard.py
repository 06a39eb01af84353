"""What a run's summary prints, and above all what it refuses to print."""

import json
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs
from reference import fake_run
from reference import statistics as slow

from twinloop.engine import scorecard
from twinloop.engine.records import equity_dtype
from twinloop.engine.results import write_run
from twinloop.engine.run_tables import equity_table
from twinloop.engine.scorecard import choose_period_ns, period_returns, statistics_of

DAY = 86_400 * 10**9


def curve(values: Any, step_ns: int, marks: Any = None) -> Any:
    samples = np.zeros(len(values), equity_dtype(1))
    samples["local_ns"] = fake_run.START_NS + np.arange(len(values)) * step_ns
    samples["equity_int"] = samples["cash_int"] = np.round(np.asarray(values) * 1e8).astype(np.int64)
    samples["mark2_int"][:, 0] = 1_200_000 if marks is None else marks
    return samples


def stats_of(folder: Path, equity: Any = None, **more: Any) -> dict[str, Any]:
    run = write_run(folder, fake_run.info(), equity=equity, report=False, **more)
    return {stat.key: stat for stat in statistics_of(run.summary)}


def walk(count: int, seed: int = 1, drift: float = 0.001) -> Any:
    draws = np.random.Generator(np.random.PCG64(seed)).normal(drift, 0.01, count)
    return 1000 * np.cumprod(1 + np.concatenate(([0.0], draws)))


def test_daily_run_equals_the_definitions(tmp_path: Path) -> None:
    values = np.round(walk(399), 8)
    stats = stats_of(tmp_path, curve(values, DAY))
    returns = (values[1:] / values[:-1] - 1).tolist()
    years = 399 / 365.2425
    yearly = 365.2425
    assert stats["periods"].value == 399
    assert stats["total_return"].value == pytest.approx(values[-1] / values[0] - 1)
    assert stats["cagr"].value == pytest.approx((values[-1] / values[0]) ** (1 / years) - 1)
    assert stats["volatility"].value == pytest.approx(slow.sample_sd(returns) * sqrt(yearly))
    assert stats["sharpe"].value == pytest.approx(slow.sharpe(returns) * sqrt(yearly))
    assert stats["sortino"].value == pytest.approx(slow.mean(returns) / slow.downside(returns) * sqrt(yearly))
    assert stats["max_drawdown"].value == pytest.approx(slow.max_drawdown(values.tolist()))
    assert stats["calmar"].value == pytest.approx(stats["cagr"].value / -stats["max_drawdown"].value)
    times = (fake_run.START_NS + np.arange(400) * DAY).tolist()
    assert stats["drawdown_duration"].value == slow.longest_underwater(times, values.tolist())
    low, high = stats["sharpe"].low, stats["sharpe"].high
    assert low < stats["sharpe"].value < high
    assert high - low == pytest.approx(2 * 1.645 * stats["sharpe"].error, rel=0.4)


@given(hs.lists(hs.integers(900, 1100), min_size=2, max_size=40))
def test_drawdown_times_equal_the_definitions(values: list[int]) -> None:
    table = equity_table(curve(values, 1000), ["BTCUSDT"], [fake_run.BTC])
    times = table["local_ns"].to_list()
    longest, recovery = scorecard._underwater(table["drawdown"].to_numpy(), table["local_ns"].to_numpy())
    assert longest == slow.longest_underwater(times, values)
    assert recovery == slow.recovery(times, values)
    assert min(table["drawdown"]) == pytest.approx(slow.max_drawdown(values))


def test_minutes_of_data_print_no_yearly_number(tmp_path: Path) -> None:
    stats = stats_of(tmp_path, curve(walk(600), 10**9))
    for key in ("cagr", "volatility", "sharpe", "sortino", "calmar", "alpha", "information_ratio"):
        assert stats[key].value is None, key
        assert stats[key].reason.startswith("n/a: "), key
    assert stats["sharpe"].reason == "n/a: fewer than 5 days"
    assert stats["cagr"].reason == "n/a: fewer than 30 days"
    assert stats["psr"].value is not None


def test_few_periods_print_no_ratio(tmp_path: Path) -> None:
    stats = stats_of(tmp_path, curve(walk(10), 10**9))
    assert stats["psr"].reason == "n/a: fewer than 30 periods"
    assert stats["var_95"].reason == "n/a: fewer than 100 periods"
    assert stats["net_profit"].value is not None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1000.0] * 200, "returns do not vary"),
        ([100.0, 50.0, -1.0, 20.0] * 50, "equity reached zero"),
        ([5.0], "fewer than 2 equity samples"),
    ],
)
def test_degenerate_equity_has_reasons(tmp_path: Path, values: list[float], reason: str) -> None:
    stats = stats_of(tmp_path, curve(values, DAY))
    assert stats["sharpe"].reason == f"n/a: {reason}"


def test_every_statistic_is_finite_or_has_a_reason_whatever_is_missing(tmp_path: Path) -> None:
    fills, orders, equity, risk = fake_run.records(samples=300, fills=40)
    cases: list[dict[str, Any]] = [
        {}, {"fills": fills}, {"orders": orders}, {"equity": equity}, {"risk": risk}, {"fills": fills[:1], "equity": equity[:1]},
        {"fills": fills, "orders": orders, "equity": equity, "risk": risk},
    ]  # fmt: skip
    for number, case in enumerate(cases):
        run = write_run(tmp_path / str(number), fake_run.info(), **case)
        json.dumps(run.summary, allow_nan=False)
        for stat in statistics_of(run.summary):
            assert (stat.value is None) != (stat.reason is None), stat
            assert stat.value is None or isfinite(stat.value), stat


def test_gaps_add_no_returns_and_the_year_is_the_clocks() -> None:
    equity = curve([100.0, 101.0, 102.0, 103.0], DAY)
    equity["local_ns"][2:] += 5 * DAY
    table = equity_table(equity, ["BTCUSDT"], [fake_run.BTC])
    assert period_returns(table, DAY)["return"].to_list() == pytest.approx([0.01, 102 / 101 - 1, 103 / 102 - 1])


@pytest.mark.parametrize(
    ("days", "seconds"), [(400, 86_400), (60, 86_400), (12, 14_400), (3, 3_600), (1, 900), (1 / 24, 60), (1 / 600, 1)]
)
def test_period_gives_enough_returns(days: float, seconds: int) -> None:
    times = fake_run.START_NS + np.linspace(0, days * DAY, 100_000).astype(np.int64)
    assert choose_period_ns(times) == seconds * 10**9
    assert choose_period_ns(times[:0]) == 10**9


def test_stated_capital_is_what_returns_start_from(tmp_path: Path) -> None:
    run = write_run(
        tmp_path, fake_run.info(capital_int=1000 * 10**8), equity=curve([990.0, 1010.0, 1020.0], DAY), report=False
    )
    stats = {stat.key: stat.value for stat in statistics_of(run.summary)}
    assert stats["net_profit"] == 20.0
    assert stats["total_return"] == pytest.approx(0.02)
    assert period_returns(run.equity, DAY, 1000.0)["return"].to_list() == pytest.approx(
        [-0.01, 1010 / 990 - 1, 1020 / 1010 - 1]
    )


def test_sampling_more_often_does_not_change_the_returns() -> None:
    fine = curve(walk(10_000), DAY // 100)
    coarse = fine[np.sort(np.unique(np.concatenate(([0], np.arange(99, 10_001, 100), [10_000]))))]
    a, b = (period_returns(equity_table(e, ["BTCUSDT"], [fake_run.BTC]), DAY) for e in (fine, coarse))
    assert a.equals(b)


def test_trade_statistics_equal_a_plain_count(tmp_path: Path) -> None:
    fills, orders, equity, _ = fake_run.records(samples=2000, fills=300)
    run = write_run(tmp_path, fake_run.info(), fills=fills, orders=orders, equity=equity, report=False)
    stats = {stat.key: stat.value for stat in statistics_of(run.summary)}
    nets = [net / 1e8 for net in run.trades["net_int"].to_list()]
    wins, losses = [n for n in nets if n > 0], [n for n in nets if n < 0]
    assert stats["win_rate"] == pytest.approx(len(wins) / len(nets))
    assert stats["profit_factor"] == pytest.approx(sum(wins) / -sum(losses))
    assert stats["payoff"] == pytest.approx(slow.mean(wins) / -slow.mean(losses))
    assert stats["expectancy"] == pytest.approx(slow.mean(nets))
    streak = best = 0
    for net in nets:
        streak = streak + 1 if net > 0 else 0
        best = max(best, streak)
    assert stats["winning_streak"] == best
    assert stats["fees"] == pytest.approx(fills["fee_int"].sum() / 1e8)
    value = sum(int(f["price_int"]) * int(f["qty_int"]) for f in fills) / 1e4
    assert stats["traded_value"] == pytest.approx(value)
    assert stats["fee_bps"] == pytest.approx(fills["fee_int"].sum() / 1e8 / value * 1e4)
    costs = [
        (
            int(f["price_int"]) * int(f["qty_int"]),
            int(f["side"]) * (2 * int(f["price_int"]) / int(f["decision_mid2_int"]) - 1) * 1e4,
        )
        for f in fills
    ]
    assert stats["slippage_bps"] == pytest.approx(sum(w * c for w, c in costs) / sum(w for w, _ in costs))


def test_exposure_is_by_time(tmp_path: Path) -> None:
    fills, _, _, _ = fake_run.records(samples=100, fills=4)
    start = fake_run.START_NS
    fills["local_ns"] = [start + 10, start + 30, start + 50, start + 90]
    fills["position_after_int"] = [5, 0, -5, 0]
    equity = curve([1000.0, 1000.0], 100)
    run = write_run(tmp_path, fake_run.info(), fills=fills, equity=equity, report=False)
    assert run.summary["statistics"]["exposure"]["value"] == pytest.approx(0.6)


def test_exposure_counts_overlapping_positions_once(tmp_path: Path) -> None:
    fills, _, _, _ = fake_run.records(samples=100, fills=4)
    start = fake_run.START_NS
    fills["local_ns"] = [start + 10, start + 30, start + 50, start + 90]
    fills["strategy"] = [0, 1, 0, 1]
    fills["position_after_int"] = [5, 5, 0, 0]
    run = write_run(
        tmp_path, fake_run.info(strategies=("a", "b")), fills=fills, equity=curve([1000.0, 1000.0], 100), report=False
    )
    assert run.summary["statistics"]["exposure"]["value"] == pytest.approx(0.8)


def test_several_settlement_currencies_are_not_added_up(tmp_path: Path) -> None:
    fills, orders, equity, _ = fake_run.records(samples=500, fills=100, instruments=(fake_run.BTC, fake_run.COIN))
    info = fake_run.info(instruments=(fake_run.BTC, fake_run.COIN))
    run = write_run(tmp_path, info, fills=fills, orders=orders, equity=equity, report=True)
    stats = {stat.key: stat for stat in statistics_of(run.summary)}
    assert stats["fees"].value is None
    assert stats["fees"].reason == "n/a: fills settle in BTC, USDT"
    assert stats["win_rate"].value is not None
    assert {row["currency"] for row in run.summary["by_strategy_and_symbol"]} == {"BTC", "USDT"}


def test_fees_in_an_unpriced_currency_are_not_added_up(tmp_path: Path) -> None:
    fills, _, equity, _ = fake_run.records(samples=500, fills=100)
    fills["fee_currency"][:3] = 0
    run = write_run(tmp_path, fake_run.info(currencies=("BNB",)), fills=fills, equity=equity, report=False)
    assert run.summary["statistics"]["fees"]["reason"] == "n/a: 3 fees are in another currency"


def test_holding_the_benchmark_has_beta_one(tmp_path: Path) -> None:
    values = walk(200)
    marks = np.round(values * 1000).astype(np.int64)
    stats = stats_of(tmp_path, curve(marks / 1000, DAY, marks))
    assert stats["beta"].value == pytest.approx(1.0)
    assert stats["benchmark_return"].value == pytest.approx(stats["total_return"].value)
    assert stats["information_ratio"].value is None or abs(stats["information_ratio"].value) < 1e6


def test_several_days_in_one_process_give_the_same_intervals(tmp_path: Path) -> None:
    a, b = (stats_of(tmp_path / name, curve(walk(200), DAY)) for name in "ab")
    assert a == b


def test_what_is_withheld_has_no_interval_and_no_error(tmp_path: Path) -> None:
    """A day of minutes carries a bootstrap, but neither a yearly growth nor a yearly ratio: their intervals would tell them."""
    stats = stats_of(tmp_path, curve(walk(1000), 60 * 10**9))
    withheld = [stat for stat in stats.values() if stat.value is None]
    assert {"cagr", "sharpe", "sortino", "volatility"} <= {stat.key for stat in withheld}
    assert all(stat.low is stat.high is stat.error is None for stat in withheld)
    assert stats["total_return"].low is not None
