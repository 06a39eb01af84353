"""The formulas against slow definitions and against numbers printed in the papers they come from."""

from math import sqrt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as hs
from reference import statistics as slow

from twinloop.engine import statistics as st

RETURNS = hs.lists(hs.floats(-0.5, 0.5).map(lambda r: round(r, 6)), min_size=5, max_size=60).filter(
    lambda values: max(values) - min(values) > 1e-3
)


def noise(count: Any, columns: Any = 1, seed: Any = 3, loc: Any = 0.0, scale: Any = 0.01) -> Any:
    return np.random.Generator(np.random.PCG64(seed)).normal(loc, scale, (count, columns))


@given(RETURNS)
def test_moments_equal_their_definitions(values: Any) -> None:
    got = st.moments(pl.Series(values))
    assert got.periods == len(values)
    assert got.mean == pytest.approx(slow.mean(values), abs=1e-12)
    assert got.sd == pytest.approx(slow.sample_sd(values), rel=1e-9)
    assert got.skew == pytest.approx(slow.standardised_moment(values, 3), abs=1e-6)
    assert got.kurtosis == pytest.approx(slow.standardised_moment(values, 4), rel=1e-6)


def test_kurtosis_is_raw_so_three_for_a_normal() -> None:
    assert st.moments(pl.Series(noise(200_000)[:, 0])).kurtosis == pytest.approx(3.0, abs=0.05)


def test_constant_returns_have_no_spread_and_no_division_by_zero() -> None:
    assert st.moments(pl.Series([0.01] * 9)) == st.Moments(9, 0.01, 0.0, 0.0, 3.0)


@given(RETURNS)
def test_downside_deviation_divides_by_all_periods(values: Any) -> None:
    assert st.downside_deviation(pl.Series(values), 0.01) == pytest.approx(slow.downside(values, 0.01), abs=1e-12)


@given(RETURNS)
def test_tails_equal_their_definitions(values: Any) -> None:
    series, quantile = pl.Series(values), slow.linear_quantile(values, 0.05)
    assert st.historical_var(series) == pytest.approx(-quantile, abs=1e-12)
    assert st.historical_cvar(series) == pytest.approx(-slow.mean([v for v in values if v <= quantile]), abs=1e-9)
    if any(v < 0 for v in values):
        assert st.omega(series) == pytest.approx(slow.omega(values), rel=1e-9)
    if abs(quantile) > 1e-9:
        assert st.tail_ratio(series) == pytest.approx(abs(slow.linear_quantile(values, 0.95) / quantile), rel=1e-9)


def test_no_losses_give_no_omega() -> None:
    assert st.omega(pl.Series([0.0, 0.1])) is None


# Bailey & Lopez de Prado (2012), "The Sharpe ratio efficient frontier": 24 months, monthly Sharpe ratio 0.458.
def test_published_probabilistic_sharpe_of_a_hedge_fund() -> None:
    assert st.probabilistic_sharpe(0.458, 0.0, 24) == pytest.approx(0.982, abs=5e-4)
    assert st.probabilistic_sharpe(0.458, 0.0, 24, skew=-2.448, kurtosis=10.164) == pytest.approx(0.913, abs=5e-4)


# The same paper: years of record to show that an annual Sharpe ratio of 2 exceeds 1 at 95 %, for normal returns.
@pytest.mark.parametrize(("a_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_published_minimum_track_records(a_year: Any, years: Any) -> None:
    needed = st.minimum_track_record(2 / sqrt(a_year), 1 / sqrt(a_year))
    assert needed / a_year == pytest.approx(years, abs=5e-3)


def test_record_of_minimum_length_reaches_the_confidence() -> None:
    needed = st.minimum_track_record(0.2, 0.05, skew=-1.0, kurtosis=6.0, confidence=0.975)
    error = st.sharpe_standard_error(0.2, 1000, -1.0, 6.0) * sqrt(999 / (needed - 1))
    assert slow.normal_cdf((0.2 - 0.05) / error) == pytest.approx(0.975, abs=1e-9)


def test_record_is_never_long_enough_when_the_sharpe_is_below_the_benchmark() -> None:
    assert st.minimum_track_record(0.1, 0.1) == float("inf")


# Bailey & Lopez de Prado (2014), "The deflated Sharpe ratio", section 5: annual 2.5 over 1250 days, 100 trials with an
# annual variance of 1/2, skewness -3, kurtosis 10.
def test_published_deflated_sharpe() -> None:
    sharpe, trials_sd = 2.5 / sqrt(250), sqrt(0.5 / 250)
    assert st.expected_maximum_sharpe(trials_sd, 100) == pytest.approx(0.1132, abs=5e-5)
    assert st.deflated_sharpe(sharpe, 1250, trials_sd, 100, skew=-3, kurtosis=10) == pytest.approx(0.9004, abs=5e-5)
    assert st.deflated_sharpe(sharpe, 1250, trials_sd, 46, skew=-3, kurtosis=10) == pytest.approx(0.9505, abs=5e-4)
    assert st.deflated_sharpe(sharpe, 1250, trials_sd, 88) == pytest.approx(0.9505, abs=5e-4)


def test_one_trial_deflates_nothing() -> None:
    assert st.expected_maximum_sharpe(0.1, 1) == 0.0
    assert st.deflated_sharpe(0.1, 500, 0.1, 1) == st.probabilistic_sharpe(0.1, 0.0, 500)


def test_perfectly_correlated_trials_are_one() -> None:
    assert st.effective_trials(100, 1.0) == 1.0
    assert st.effective_trials(100, 0.0) == 100.0


def test_standard_error_matches_its_spread_in_simulation() -> None:
    draws = noise(400, 5000, loc=0.002)
    sharpes = draws.mean(axis=0) / draws.std(axis=0, ddof=1)
    assert st.sharpe_standard_error(0.2, 400) == pytest.approx(sharpes.std(), rel=0.05)


def test_autocorrelation_factor_equals_its_definition_and_sees_persistence() -> None:
    white = noise(500)[:, 0]
    assert st.autocorrelation_factor(white) == pytest.approx(slow.newey_west_factor(white.tolist(), 5), rel=1e-9)
    assert st.autocorrelation_factor(np.convolve(white, np.ones(5) / 5)) > 2.5
    assert st.autocorrelation_factor(np.ones(10)) == 1.0


@pytest.mark.parametrize(("periods", "strategies", "blocks"), [(40, 4, 4), (67, 7, 6), (90, 3, 8)])
def test_overfitting_equals_the_slow_definition(periods: Any, strategies: Any, blocks: Any) -> None:
    returns = noise(periods, strategies, seed=periods)
    got = st.probability_of_overfitting(returns, blocks)
    share, slope, loss, logits = slow.pbo(returns.T.tolist(), blocks)
    assert got.probability == pytest.approx(share)
    assert got.slope == pytest.approx(slope, abs=1e-9)
    assert got.loss_probability == pytest.approx(loss)
    assert np.sort(got.logits) == pytest.approx(sorted(logits))
    assert got.combinations == len(logits)


def test_noise_is_overfitted_about_half_the_time_and_skill_never() -> None:
    noisy = noise(800, 20)
    probabilities = [st.probability_of_overfitting(noise(320, 20, seed=s), 8).probability for s in range(12)]
    assert 0.3 < np.mean(probabilities) < 0.75
    noisy[:, 3] += 0.01
    skilled = st.probability_of_overfitting(noisy)
    assert (skilled.probability, skilled.loss_probability, skilled.combinations) == (0.0, 0.0, 12_870)


def test_overfitting_chunks_do_not_change_the_result(monkeypatch: Any) -> None:
    returns = noise(64, 5)
    whole = st.probability_of_overfitting(returns, 8)
    monkeypatch.setattr(st, "PBO_CELLS_MAX", 33)
    parts = st.probability_of_overfitting(returns, 8)
    assert np.array_equal(whole.logits, parts.logits)


@pytest.mark.parametrize(("shape", "blocks"), [((40, 4), 5), ((40, 1), 4), ((7, 4), 4)])
def test_overfitting_refuses_what_it_cannot_split(shape: Any, blocks: Any) -> None:
    with pytest.raises(ValueError, match="expected an even number of blocks"):
        st.probability_of_overfitting(np.zeros(shape), blocks)


def test_bootstrap_is_seeded_and_covers_the_truth() -> None:
    def means(sample: Any) -> Any:
        return sample.mean(axis=1, keepdims=True)

    returns = noise(300, loc=0.001)[:, 0]
    first = st.bootstrap(returns, means, seed=5)
    assert np.array_equal(first, st.bootstrap(returns, means, seed=5))
    assert not np.array_equal(first, st.bootstrap(returns, means, seed=6))
    hits = 0
    for trial in range(200):
        low, high = st.bootstrap(noise(100, seed=trial)[:, 0], means, seed=trial, resamples=200)[0]
        hits += low <= 0 <= high
    assert 160 <= hits <= 195  # 90 % nominal


def test_bootstrap_blocks_keep_dependence() -> None:
    persistent = np.convolve(noise(2000)[:, 0], np.ones(10) / 10, "valid")

    def means(sample: Any) -> Any:
        return sample.mean(axis=1, keepdims=True)

    single = np.diff(st.bootstrap(persistent, means, seed=1, block=1)[0])[0]
    blocks = np.diff(st.bootstrap(persistent, means, seed=1, block=40)[0])[0]
    assert blocks > 2 * single


def test_comparison_with_itself_and_with_twice_itself() -> None:
    benchmark = noise(100)[:, 0]
    same = st.compare(benchmark, benchmark)
    assert same is not None
    assert (same.beta, same.alpha, same.correlation) == pytest.approx((1, 0, 1))
    assert same.information_ratio is None
    twice = st.compare(2 * benchmark, benchmark)
    assert twice is not None
    assert (twice.beta, twice.up_capture, twice.down_capture) == pytest.approx((2, 2, 2))
    assert st.compare(benchmark, np.zeros(100)) is None
