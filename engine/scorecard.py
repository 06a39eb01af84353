"""A run's summary: every statistic that its data supports, with a stated reason in place of each that it does not.

Formulas live in `statistics.py`; here is the decision what they are applied to. Equity is read at the end of each clock
period in which it was sampled, so gaps and closed sessions add no fictitious zero returns, and the year is the clock's:
periods a year = periods / years between first and last sample. Annualised numbers need days of data, tails and intervals
need enough periods; a value is a number or None with a reason, never a guess, an infinity or NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine import statistics as st
from twinloop.engine.diagnosis import notes_on, why_no_fills
from twinloop.engine.halts import halt_lines, halts_of
from twinloop.engine.ledger import breakdown, execution_block, span_of, trade_block
from twinloop.engine.limits import limits_named
from twinloop.engine.results import Run
from twinloop.engine.wording import Card, Stat, duration, iso

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_DAY: Final = 86_400 * NS_PER_SECOND
NS_PER_YEAR: Final = 365.2425 * NS_PER_DAY
PERIODS_NS: Final = tuple(
    seconds * NS_PER_SECOND for seconds in (86_400, 14_400, 3_600, 900, 300, 60, 10, 1)
)  # a day, 4 h, 1 h, 15 min, 5 min, 1 min, 10 s, 1 s
PERIODS_MIN: Final = 30  # below, no ratio is printed
TAIL_PERIODS_MIN: Final = 100  # five in a 5 % tail
PERIODS_WANTED: Final = 60
DAYS_FOR_RATIOS: Final = 5  # annualised volatility and Sharpe
DAYS_FOR_GROWTH: Final = 30  # compound annual growth
BOOTSTRAP_LEVEL: Final = 0.90

Floats = npt.NDArray[np.float64]


def choose_period_ns(local_ns: npt.NDArray[np.int64]) -> int:
    """The longest period of PERIODS_NS with PERIODS_WANTED sampled periods, the shortest where none has."""
    for period_ns in PERIODS_NS:
        if local_ns.size and np.count_nonzero(np.diff(local_ns // period_ns)) + 1 >= PERIODS_WANTED:
            return period_ns
    return PERIODS_NS[-1]


def period_returns(equity: pl.DataFrame, period_ns: int, capital: float | None = None) -> pl.DataFrame:
    """Equity at the end of each sampled period and its return: columns local_ns (period start), equity, return.

    equity: a run's equity table, in order of time. capital: what the first period starts from, the first sample by default;
    a first period that has nothing but that sample has no return and is left out.
    """
    first = float(equity["equity"][0])
    start = capital or first
    alone = len(equity) > 1 and int(equity["local_ns"][0]) // period_ns != int(equity["local_ns"][1]) // period_ns
    ends = (
        equity.lazy()
        .group_by((pl.col("local_ns") // period_ns * period_ns).alias("local_ns"), maintain_order=True)
        .agg(pl.col("equity").last())
        .with_columns(before=pl.col("equity").shift(1).fill_null(start))
        .select("local_ns", "equity", (pl.col("equity") / pl.col("before") - 1).alias("return"))
        .collect()
    )
    return ends[1:] if alone and start == first else ends


def summarise(
    run: Run,
    *,
    complete: bool,
    stopped: str | None,
    counts: dict[str, int],
    warnings: Sequence[str],
    halts: Sequence[Mapping[str, Any]],
    timing: dict[str, float],
    bootstrap_resamples: int = 1000,
) -> dict[str, Any]:
    """The content of summary.json; see `results.RunWriter.finish` for the arguments."""
    start_ns, end_ns = span_of(run)
    period_ns = choose_period_ns(run.equity["local_ns"].to_numpy())
    stats = compute(run, period_ns=period_ns, bootstrap_resamples=bootstrap_resamples)
    notes = list(warnings)
    if not complete:
        notes.insert(0, f"partial result: {stopped or 'the run was stopped before the end of its data'}")
    stops = halts_of(run, halts)
    notes += halt_lines(stops, run.manifest["account_currency"])
    if missing := counts.get("verdicts_unrecorded", 0):
        notes.append(
            f"{missing:,} verdicts of the risk gate are counted without a row in risk.parquet: one callback made more of them than are kept"
        )
    if run.fills.is_empty():
        notes.append(why_no_fills(run, counts))
    notes += notes_on(run)
    counts = {**counts, "orders": len(run.orders), "fills": len(run.fills), "trades": len(run.trades)}
    return {
        "name": run.manifest["name"],
        "complete": complete,
        "stopped": stopped,
        "account_currency": run.manifest["account_currency"],
        "start_ns": start_ns,
        "end_ns": end_ns,
        "start": iso(start_ns),
        "end": iso(end_ns),
        "period_ns": period_ns,
        "counts": {**counts, "verdicts": len(run.risk)},
        "statistics": {stat.key: {k: v for k, v in asdict(stat).items() if k != "key"} for stat in stats},
        "by_strategy_and_symbol": breakdown(run),
        "verdicts": verdicts(run),
        "halts": stops,
        "rejects": _count_by(run.orders.filter(pl.col("reject_code") != ""), ["strategy", "reject_code"]),
        "warnings": notes,
        "hashes": run.manifest["hashes"],
        "timing": timing,
    }


def statistics_of(summary: dict[str, Any]) -> list[Stat]:
    """The statistics of a summary, in the order they were computed or, read from a file, by name."""
    return [Stat(key=key, **values) for key, values in summary["statistics"].items()]


def compute(run: Run, *, period_ns: int, bootstrap_resamples: int = 1000) -> list[Stat]:
    """Every statistic of one run. period_ns: of the returns; the bootstrap draws from the run's own seed."""
    card = Card()
    currency = run.manifest["account_currency"]
    _returns_block(card, run, period_ns, currency, bootstrap_resamples)
    _drawdown_block(card, run.equity, currency)
    trade_block(card, run)
    execution_block(card, run)
    return card.stats


# Returns ---------------------------------------------------------------------------------------------------------------


def _returns_block(card: Card, run: Run, period_ns: int, currency: str, resamples: int) -> None:
    equity = run.equity
    group = "Returns"
    lacking = None
    if len(equity) < 2:
        lacking = "fewer than 2 equity samples"
    elif float(equity["equity"].min()) <= 0:  # type: ignore[arg-type]
        lacking = "equity reached zero"
    returns = pl.Series("return", [], dtype=pl.Float64)
    profit = start = 0.0
    span_ns = 0
    if len(equity):
        capital_int = run.manifest["capital_int"] or int(equity["equity_int"][0])
        profit, start = (int(equity["equity_int"][-1]) - capital_int) / MONEY_ONE, capital_int / MONEY_ONE
    if lacking is None:
        span_ns = int(equity["local_ns"][-1]) - int(equity["local_ns"][0])
        returns = period_returns(equity, period_ns, start)["return"]
    count = len(returns)
    years = span_ns / NS_PER_YEAR
    yearly = count / years if years > 0 else 0.0
    moments = st.moments(returns)
    enough = lacking or _too_few(count, PERIODS_MIN, moments.sd)
    ratios = enough or _too_short(span_ns, DAYS_FOR_RATIOS)
    growth = lacking or _too_short(span_ns, DAYS_FOR_GROWTH)
    tails = lacking or _too_few(count, TAIL_PERIODS_MIN, moments.sd)
    downside = st.downside_deviation(returns) if count else 0.0
    sharpe = moments.mean / moments.sd if moments.sd else 0.0
    factor = st.autocorrelation_factor(returns.to_numpy()) if count > 2 else 1.0
    # Independence is the null: a factor below one would only narrow the error, so it is not used.
    error = (
        st.sharpe_standard_error(sharpe, count, moments.skew, moments.kurtosis) * sqrt(max(factor, 1.0))
        if count > 1
        else 0.0
    )
    scale = sqrt(yearly)
    intervals = _intervals(returns, years, yearly, run.manifest["seed"], resamples, bool(enough))

    card.add("net_profit", "Net profit", group, "money", profit, None if len(equity) else lacking, currency=currency)
    card.add(
        "total_return",
        "Total return",
        group,
        "fraction",
        (profit / start) if start else None,
        lacking,
        **intervals("total_return"),
    )
    annual = (1 + profit / start) ** (1 / years) - 1 if not growth else None
    card.add("cagr", "Compound annual growth", group, "fraction", annual, growth, **intervals("cagr"))
    card.add(
        "volatility", "Volatility, a year", group, "fraction", moments.sd * scale, ratios, **intervals("volatility")
    )
    card.add("downside_deviation", "Downside deviation, a year", group, "fraction", downside * scale, ratios)
    card.add(
        "sharpe",
        "Sharpe ratio, a year",
        group,
        "ratio",
        sharpe * scale,
        ratios,
        error=None if ratios else error * scale,
        **intervals("sharpe"),
    )
    sortino = moments.mean / downside * scale if downside else None
    card.add(
        "sortino",
        "Sortino ratio, a year",
        group,
        "ratio",
        sortino,
        ratios or (None if downside else "no losing period"),
        **intervals("sortino"),
    )
    group = "Is it luck?"
    card.add("periods", f"Return periods of {duration(period_ns)}", group, "count", count)
    card.add("sharpe_period", "Sharpe ratio, a period", group, "ratio", sharpe, enough, error=None if enough else error)
    card.add("psr", "Probability that Sharpe > 0", group, "fraction", _psr(sharpe, error), enough)
    needed = st.minimum_track_record(sharpe, 0.0, moments.skew, moments.kurtosis) if sharpe > 0 else None
    card.add(
        "min_track_record",
        "Periods for 95 % confidence",
        group,
        "periods",
        needed,
        enough or (None if needed else "the mean return is not positive"),
    )
    card.add("skew", "Skewness", group, "ratio", moments.skew, enough)
    card.add("kurtosis", "Kurtosis (3 if normal)", group, "ratio", moments.kurtosis, enough)
    card.add("autocorrelation_factor", "Autocorrelation factor of the error", group, "ratio", factor, enough)
    group = "Tails"
    card.add(
        "var_95",
        "Value at risk 95 %, a period",
        group,
        "fraction",
        st.historical_var(returns) if count else None,
        tails,
    )
    card.add(
        "cvar_95",
        "Expected shortfall 95 %, a period",
        group,
        "fraction",
        st.historical_cvar(returns) if count else None,
        tails,
    )
    card.add("tail_ratio", "Tail ratio", group, "ratio", st.tail_ratio(returns) if count else None, tails)
    card.add("omega", "Omega", group, "ratio", st.omega(returns) if count else None, enough)
    card.add("best_period", "Best period", group, "fraction", returns.max() if count else None, enough)  # type: ignore[arg-type]
    card.add("worst_period", "Worst period", group, "fraction", returns.min() if count else None, enough)  # type: ignore[arg-type]
    _benchmark_block(card, run, period_ns, enough, ratios)


def _psr(sharpe: float, error: float) -> float:
    return st.NORMAL.cdf(sharpe / error) if error else float(sharpe > 0)


def _too_few(count: int, minimum: int, sd: float) -> str | None:
    if count < minimum:
        return f"fewer than {minimum} periods"
    return None if sd > 0 else "returns do not vary"


def _too_short(span_ns: int, days: int) -> str | None:
    return f"fewer than {days} days" if span_ns < days * NS_PER_DAY else None


def _intervals(
    returns: pl.Series, years: float, yearly: float, seed: int, resamples: int, skip: bool
) -> Callable[[str], dict[str, float]]:
    """Bootstrap interval of each headline number, as the keywords of a statistic."""
    names = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown")
    if skip or resamples <= 0:
        return lambda _: {}

    def measures(sample: Floats) -> Floats:
        mean, sd = sample.mean(axis=1), sample.std(axis=1, ddof=1)
        downside = np.sqrt((np.minimum(sample, 0.0) ** 2).mean(axis=1))
        growth = np.cumsum(np.log1p(sample), axis=1)
        total = np.expm1(growth[:, -1])
        worst = np.expm1((growth - np.maximum.accumulate(np.maximum(growth, 0.0), axis=1)).min(axis=1))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            columns = (
                total,
                np.expm1(growth[:, -1] / years),
                sd * sqrt(yearly),
                mean / sd * sqrt(yearly),
                mean / downside * sqrt(yearly),
                worst,
            )
        return np.column_stack([np.nan_to_num(column, nan=0.0) for column in columns])

    bounds = st.bootstrap(returns.to_numpy(), measures, seed=seed, resamples=resamples, level=BOOTSTRAP_LEVEL)
    table = dict(zip(names, bounds.tolist(), strict=True))

    def interval(name: str) -> dict[str, float]:
        low, high = table[name]
        return {"low": low, "high": high} if isfinite(low) and isfinite(high) else {}

    return interval


def _benchmark_block(card: Card, run: Run, period_ns: int, lacking: str | None, short: str | None) -> None:
    """Against holding the symbols in equal weights, from their marks."""
    group = "Against buy and hold"
    marks = [f"mark:{symbol}" for symbol in run.symbols if f"mark:{symbol}" in run.equity.columns]
    ends = (
        run.equity.select("local_ns", *(pl.col(name).forward_fill() for name in marks))
        .group_by((pl.col("local_ns") // period_ns).alias("period"), maintain_order=True)
        .agg(pl.col(name).last() for name in marks)
        if marks and len(run.equity) > 1
        else pl.DataFrame()
    )
    marks = [name for name in marks if not ends.is_empty() and ends[name].null_count() == 0]
    if not marks:
        card.add("benchmark_return", "Buy and hold", group, "fraction", None, "no marks over the whole run")
        return
    firsts = [run.equity[name].drop_nulls()[0] for name in marks]
    values = np.mean([ends[name].to_numpy() / first for name, first in zip(marks, firsts, strict=True)], axis=0)
    benchmark = np.diff(values, prepend=1.0) / np.concatenate(([1.0], values[:-1]))
    card.add("benchmark_return", "Buy and hold, equal weights", group, "fraction", float(values[-1]) - 1)
    comparison, count = None, len(values)
    if lacking is None:
        capital = run.manifest["capital_int"] / MONEY_ONE
        returns = period_returns(run.equity, period_ns, capital)["return"].to_numpy()
        count = len(returns)
        comparison = st.compare(returns, benchmark[len(benchmark) - count :])
    reason = lacking or (None if comparison else "returns do not vary")
    years = (int(run.equity["local_ns"][-1]) - int(run.equity["local_ns"][0])) / NS_PER_YEAR
    yearly = count / years if years else 0.0
    annual = short or reason
    c = comparison or st.Comparison(0.0, 0.0, 0.0, 0.0, None, None, None)
    card.add("alpha", "Alpha, a year", group, "fraction", c.alpha * yearly, annual)
    card.add("beta", "Beta", group, "ratio", c.beta, reason)
    card.add("correlation", "Correlation", group, "ratio", c.correlation, reason)
    card.add("tracking_error", "Tracking error, a year", group, "fraction", c.tracking_error * sqrt(yearly), annual)
    ratio = c.information_ratio * sqrt(yearly) if c.information_ratio is not None else None
    card.add("information_ratio", "Information ratio, a year", group, "ratio", ratio, annual)
    card.add("up_capture", "Up capture", group, "fraction", c.up_capture, reason)
    card.add("down_capture", "Down capture", group, "fraction", c.down_capture, reason)


def _drawdown_block(card: Card, equity: pl.DataFrame, currency: str) -> None:
    group = "Drawdown"
    lacking = "fewer than 2 equity samples" if len(equity) < 2 else None
    if lacking is None and float(equity["equity"].min()) <= 0:  # type: ignore[arg-type]
        lacking = "equity reached zero"
    depth = equity["drawdown"].to_numpy()
    time_ns = equity["local_ns"].to_numpy()
    money = float(equity["drawdown_int"].min() or 0) / MONEY_ONE if len(equity) else None  # type: ignore[arg-type]
    card.add(
        "max_drawdown_money",
        "Largest drawdown, amount",
        group,
        "money",
        money,
        None if len(equity) else lacking,
        currency=currency,
    )
    worst = float(depth.min()) if lacking is None else None
    card.add("max_drawdown", "Largest drawdown", group, "fraction", worst, lacking)
    longest, recovery = _underwater(depth, time_ns) if lacking is None else (0, None)
    card.add("drawdown_duration", "Longest time below a peak", group, "ns", longest, lacking)
    reason = lacking or (None if recovery is not None else "not recovered by the end")
    card.add("recovery", "Recovery from the largest", group, "ns", recovery, reason)
    ulcer = None
    if lacking is None and time_ns[-1] > time_ns[0]:  # weighted by time, as samples are not evenly spaced
        ulcer = sqrt(float((depth[:-1] ** 2 * np.diff(time_ns)).sum()) / float(time_ns[-1] - time_ns[0]))
    card.add("ulcer", "Ulcer index", group, "fraction", ulcer, lacking)
    annual = next((stat for stat in card.stats if stat.key == "cagr"), None)
    reason = lacking or (f"fewer than {DAYS_FOR_GROWTH} days" if annual is None or annual.value is None else None)
    calmar = annual.value / abs(worst) if annual and annual.value is not None and worst else None
    card.add("calmar", "Calmar ratio", group, "ratio", calmar, reason or (None if worst else "no drawdown"))


def _underwater(depth: Floats, time_ns: npt.NDArray[np.int64]) -> tuple[int, int | None]:
    """(longest ns from a peak to its recovery or the end, ns from the deepest point to its recovery or None)."""
    at_peak = np.flatnonzero(depth == 0.0)  # the first sample is always one
    ends = np.append(at_peak[1:], len(depth) - 1)
    below = ends - at_peak > (ends < len(depth) - 1)  # at least one sample strictly between, or open at the end
    spans = np.where(below | (depth[ends] < 0), time_ns[ends] - time_ns[at_peak], 0)
    trough = int(depth.argmin())
    if depth[trough] == 0.0:
        return 0, 0
    after = at_peak[at_peak > trough]
    return int(spans.max()), int(time_ns[after[0]] - time_ns[trough]) if len(after) else None


def verdicts(run: Run) -> list[dict[str, Any]]:
    """What the risk gate refused or warned of by rule and verdict, most frequent first; limits: the keys behind the rule that are on."""
    in_force = run.manifest["config"].get("limits_in_force") or {}
    counted = _count_by(run.risk, ["strategy", "rule", "verdict"])
    return [{**each, "limits": limits_named(each["rule"], in_force)} for each in counted]


def _count_by(table: pl.DataFrame, key: list[str]) -> list[dict[str, Any]]:
    counted = table.group_by(key).agg(count=pl.len())
    return counted.sort(["count", *key], descending=[True, *(False for _ in key)]).to_dicts()
