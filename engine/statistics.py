"""Formulas of performance and overfitting statistics, each a plain function of returns.

What applies them to a run, and decides when there is too little data to print a number, is `scorecard.py`. Returns are
per period (a fraction, not a percentage) in a float Series or array; `kurtosis` is always RAW (3 for a normal), because
passing excess kurtosis into the variance of the Sharpe ratio is the commonest mistake of the field and always flatters.
Floats are safe here: these are statistics, no money is booked from them. Sums are exact (`fsum`), as Polars' own
depend on its thread count. Nothing reads a clock; draws come from a seed.
"""

from collections.abc import Callable
from itertools import combinations
from math import ceil, comb, e, fsum, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

NORMAL: Final = NormalDist()
EULER_GAMMA: Final = 0.5772156649015329
PBO_CELLS_MAX: Final = 4_000_000  # combinations x strategies held at once
BOOTSTRAP_CELLS_MAX: Final = 1_000_000


class Moments(NamedTuple):
    """Moments of per-period returns: sd with ddof 1, skewness and RAW kurtosis with population moments."""

    periods: int
    mean: float
    sd: float
    skew: float
    kurtosis: float


def moments(returns: pl.Series) -> Moments:
    """Moments of a Series of returns; a constant series has sd 0, skew 0 and the normal's kurtosis 3."""
    values = returns.to_numpy()
    count = len(values)
    if count < 2 or values.min() == values.max():
        return Moments(count, float(values[0]) if count else 0.0, 0.0, 0.0, 3.0)
    mean = fsum(values) / count
    centred = values - mean
    second, third, fourth = (fsum(centred**power) / count for power in (2, 3, 4))
    return Moments(
        count, mean, sqrt(second * count / (count - 1)), third / (second * sqrt(second)), fourth / (second * second)
    )


def downside_deviation(returns: pl.Series, minimum: float = 0.0) -> float:
    """Root of the mean of min(r - minimum, 0)^2, divided by ALL periods (Sortino & Price 1994)."""
    below = (returns - minimum).clip(upper_bound=0.0)
    return sqrt(fsum((below * below).to_numpy()) / len(returns))


def sharpe_standard_error(sharpe: float, count: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Standard error of a per-period Sharpe ratio of independent returns (Mertens 2002; Lo 2002 when normal)."""
    return sqrt(_sharpe_variance(sharpe, skew, kurtosis) / (count - 1))


def _sharpe_variance(sharpe: float, skew: float, kurtosis: float) -> float:
    # Never negative for the moments of a real sample: kurtosis >= skew^2 + 1.
    return max(1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe, 0.0)


def autocorrelation_factor(returns: Floats) -> float:
    """Long-run over plain variance of the mean (Newey & West 1987, Bartlett weights): 1 for independent returns.

    The lag count is floor(4 (T/100)^(2/9)). Multiply a standard error by its root.
    """
    count = len(returns)
    centred = returns - returns.mean()
    variance = float(centred @ centred)
    if count < 3 or variance == 0.0:
        return 1.0
    lags = min(int(4 * (count / 100) ** (2 / 9)), count - 1)
    weighted = sum((1 - k / (lags + 1)) * float(centred[k:] @ centred[:-k]) for k in range(1, lags + 1))
    return max(1.0 + 2.0 * weighted / variance, 0.0)


def probabilistic_sharpe(
    sharpe: float, benchmark: float, count: int, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`; all per period (Bailey & Lopez de Prado 2012, eq. 11)."""
    error = sharpe_standard_error(sharpe, count, skew, kurtosis)
    if error == 0.0:
        return float(sharpe > benchmark)
    return NORMAL.cdf((sharpe - benchmark) / error)


def minimum_track_record(
    sharpe: float, benchmark: float, skew: float = 0.0, kurtosis: float = 3.0, confidence: float = 0.95
) -> float:
    """Periods needed to say at that confidence that the Sharpe ratio exceeds `benchmark` (same paper, eq. 13).

    Infinite where the estimate does not exceed the benchmark at all.
    """
    if sharpe <= benchmark:
        return float("inf")
    quantile = NORMAL.inv_cdf(confidence) / (sharpe - benchmark)
    return 1.0 + _sharpe_variance(sharpe, skew, kurtosis) * quantile * quantile


def expected_maximum_sharpe(trials_sd: float, trials: float) -> float:
    """Expected best per-period Sharpe ratio of so many skill-less trials (Bailey & Lopez de Prado 2014, eq. 1).

    trials_sd: standard deviation of the trials' Sharpe ratios; trials: effective number, may be fractional, >= 1.
    """
    if trials <= 1.0:
        return 0.0
    first = NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = NORMAL.inv_cdf(1.0 - 1.0 / (trials * e))
    return trials_sd * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second)


def effective_trials(trials: int, mean_correlation: float) -> float:
    """Independent trials worth of `trials` correlated ones: rho + (1 - rho) N (same paper, appendix 3)."""
    return mean_correlation + (1.0 - mean_correlation) * trials


def deflated_sharpe(
    sharpe: float, count: int, trials_sd: float, trials: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probabilistic Sharpe ratio against the best that luck gives after `trials` attempts (same paper, eq. 2)."""
    return probabilistic_sharpe(sharpe, expected_maximum_sharpe(trials_sd, trials), count, skew, kurtosis)


class Overfitting(NamedTuple):
    """Outcome of the combinatorially symmetric cross-validation."""

    probability: float  # PBO: share of halves whose best in-sample choice ranks at or below the median out of sample
    slope: float  # of out-of-sample on in-sample Sharpe of the choices; 0 where the in-sample values do not vary
    loss_probability: float  # share of halves whose choice has a negative out-of-sample Sharpe
    combinations: int
    logits: Floats


def probability_of_overfitting(returns: Floats, blocks: int = 16) -> Overfitting:
    """PBO by CSCV (Bailey, Borwein, Lopez de Prado & Zhu 2017) with the Sharpe ratio as the measure.

    returns: (periods, strategies). The first periods beyond a multiple of `blocks` are left out. Ties share their mean
    rank. Raises ValueError for an odd number of blocks, fewer than 2 strategies, or blocks of fewer than 2 periods.
    """
    periods, strategies = returns.shape
    length = periods // blocks
    if blocks < 2 or blocks % 2 or strategies < 2 or length < 2:
        raise ValueError(
            f"expected an even number of blocks, 2 or more strategies and 2 or more periods a block, got {blocks} blocks, "
            f"{strategies} strategies, {periods} periods"
        )
    kept = returns[periods - length * blocks :]
    centre = kept.mean(axis=0)
    parts = (kept - centre).reshape(blocks, length, strategies)  # centred, so that the squares do not cancel
    sums, squares = parts.sum(axis=1), (parts * parts).sum(axis=1)
    count = length * blocks // 2
    half_sets = combinations(range(blocks), blocks // 2)
    total = comb(blocks, blocks // 2)
    step = max(PBO_CELLS_MAX // strategies, 1)
    logits, inside, outside = np.empty(total), np.empty(total), np.empty(total)
    for start in range(0, total, step):
        stop = min(start + step, total)
        mask = np.zeros((stop - start, blocks))
        for row in range(stop - start):
            mask[row, next(half_sets)] = 1.0
        in_sample = _sharpe_of_sums(mask @ sums, mask @ squares, count, centre)
        out_of_sample = _sharpe_of_sums((1 - mask) @ sums, (1 - mask) @ squares, count, centre)
        chosen = in_sample.argmax(axis=1)
        rows = np.arange(stop - start)
        inside[start:stop], outside[start:stop] = in_sample[rows, chosen], out_of_sample[rows, chosen]
        own = outside[start:stop, None]
        rank = (out_of_sample < own).sum(axis=1) + ((out_of_sample == own).sum(axis=1) + 1) / 2
        share = rank / (strategies + 1)
        logits[start:stop] = np.log(share / (1 - share))
    spread = inside - inside.mean()
    variance = float(spread @ spread)
    slope = float(spread @ outside) / variance if variance > 0 else 0.0
    return Overfitting(float((logits <= 0).mean()), slope, float((outside < 0).mean()), total, logits)


def _sharpe_of_sums(sums: Floats, squares: Floats, count: int, centre: Floats) -> Floats:
    """Sharpe ratios from sums of centred returns and of their squares; 0 where the returns do not vary."""
    mean = sums / count
    variance = (squares - sums * mean) / (count - 1)
    tiny = 1e-24
    return np.where(variance > tiny, (mean + centre) / np.sqrt(np.maximum(variance, tiny)), 0.0)


def block_length(count: int) -> int:
    """Default length of a bootstrap block: the rate-optimal cube root of the sample size, at least 1."""
    return max(1, ceil(float(np.cbrt(count))))


def bootstrap(
    returns: Floats,
    measures: Callable[[Floats], Floats],
    *,
    seed: int,
    resamples: int = 1000,
    block: int | None = None,
    level: float = 0.90,
) -> Floats:
    """Percentile intervals of measures of returns by the circular block bootstrap (Politis & Romano 1992).

    measures: maps (rows, periods) resampled returns to (rows, measures). Gives (measures, 2): low and high of the central
    `level`. Blocks keep short-range dependence, which single draws would destroy. Same seed, same intervals.
    """
    count = len(returns)
    block = block or block_length(count)
    generator = np.random.Generator(np.random.PCG64(seed))
    per_row = -(-count // block)
    step = max(1, BOOTSTRAP_CELLS_MAX // count)
    offsets = np.arange(block)
    values = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        first = generator.integers(0, count, (rows, per_row))
        index = ((first[:, :, None] + offsets) % count).reshape(rows, per_row * block)[:, :count]
        values.append(measures(returns[index]))
    tail = (1 - level) / 2
    return np.asarray(np.quantile(np.concatenate(values), [tail, 1 - tail], axis=0).T, dtype=np.float64)


def historical_var(returns: pl.Series, tail: float = 0.05) -> float:
    """Historical value at risk: the loss, as a positive fraction, not exceeded but in a `tail` share of periods."""
    return -float(returns.quantile(tail, "linear") or 0.0)


def historical_cvar(returns: pl.Series, tail: float = 0.05) -> float:
    """Mean loss, as a positive fraction, of the periods at or below the quantile (expected shortfall)."""
    quantile = returns.quantile(tail, "linear")
    beyond = returns.filter(returns <= quantile).to_numpy()
    return -fsum(beyond) / len(beyond)


def tail_ratio(returns: pl.Series) -> float | None:
    """Size of the 95th percentile over that of the 5th; None where the 5th is 0."""
    high, low = returns.quantile(0.95, "linear"), returns.quantile(0.05, "linear")
    return abs(high / low) if high is not None and low else None


def omega(returns: pl.Series, threshold: float = 0.0) -> float | None:
    """Gains over losses about a threshold (Keating & Shadwick 2002); None without losses."""
    excess = returns - threshold
    losses = -fsum(excess.clip(upper_bound=0.0).to_numpy())
    return fsum(excess.clip(lower_bound=0.0).to_numpy()) / losses if losses > 0 else None


class Comparison(NamedTuple):
    """Returns against a benchmark's, per period except where the name says otherwise; None where undefined."""

    alpha: float
    beta: float
    correlation: float
    tracking_error: float
    information_ratio: float | None
    up_capture: float | None
    down_capture: float | None


def compare(returns: Floats, benchmark: Floats) -> Comparison | None:
    """Alpha and beta by least squares, information ratio, captures (mean return over the benchmark's in its up periods)."""
    if len(returns) < 2 or np.ptp(benchmark) == 0.0 or np.ptp(returns) == 0.0:
        return None
    covariance = np.cov(returns, benchmark, ddof=1)
    beta = float(covariance[0, 1] / covariance[1, 1])
    active = returns - benchmark
    error = float(active.std(ddof=1))
    up, down = benchmark > 0, benchmark < 0
    return Comparison(
        alpha=float(returns.mean() - beta * benchmark.mean()),
        beta=beta,
        correlation=float(covariance[0, 1] / sqrt(covariance[0, 0] * covariance[1, 1])),
        tracking_error=error,
        information_ratio=float(active.mean()) / error if error > 0 else None,
        up_capture=float(returns[up].mean() / benchmark[up].mean()) if up.any() else None,
        down_capture=float(returns[down].mean() / benchmark[down].mean()) if down.any() else None,
    )
