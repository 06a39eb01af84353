"""A run's summary: every statistic that its data supports, with a stated reason in place of each that it does not.

Formulas live in `statistics.py`; here is the decision what they are applied to. Equity is read at the end of each clock
period in which it was sampled, so gaps and closed sessions add no fictitious zero returns, and the year is the clock's:
periods a year = periods / years between first and last sample. Annualised numbers need days of data, tails and intervals
need enough periods; a value is a number or None with a reason, never a guess, an infinity or NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isfinite, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine import statistics as st
from twinloop.engine.diagnosis import notes_on, why_no_fills
from twinloop.engine.results import Run
from twinloop.engine.wording import Stat, duration, iso

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
TRADES_MIN: Final = 10
BOOTSTRAP_LEVEL: Final = 0.90

Floats = npt.NDArray[np.float64]


class _Card:
    """Collects statistics; turns what is not a finite number into a reason."""

    def __init__(self) -> None:
        self.stats: list[Stat] = []

    def add(
        self,
        key: str,
        label: str,
        group: str,
        unit: str,
        value: float | None,
        reason: str | None = None,
        **more: Any,
    ) -> None:
        if reason is not None or value is None or not isfinite(value):
            self.stats.append(Stat(key, label, group, unit, None, f"n/a: {reason or 'undefined here'}", **more))
        else:
            self.stats.append(Stat(key, label, group, unit, float(value), **more))


def choose_period_ns(local_ns: npt.NDArray[np.int64]) -> int:
    """The longest period of PERIODS_NS with PERIODS_WANTED sampled periods, the shortest where none has."""
    for period_ns in PERIODS_NS:
        if local_ns.size and np.count_nonzero(np.diff(local_ns // period_ns)) + 1 >= PERIODS_WANTED:
            return period_ns
    return PERIODS_NS[-1]


def period_returns(equity: pl.DataFrame, period_ns: int) -> pl.DataFrame:
    """Equity at the end of each sampled period and its return: columns local_ns (period start), equity, return.

    The first period's return is from the first sample. equity: a run's equity table, in order of time.
    """
    first = float(equity["equity"][0])
    ends = (
        equity.lazy()
        .group_by((pl.col("local_ns") // period_ns * period_ns).alias("local_ns"), maintain_order=True)
        .agg(pl.col("equity").last())
        .with_columns(before=pl.col("equity").shift(1).fill_null(first))
        .select("local_ns", "equity", (pl.col("equity") / pl.col("before") - 1).alias("return"))
        .collect()
    )
    return ends  # noqa: RET504 - named for the reader


def summarise(
    run: Run,
    *,
    complete: bool,
    stopped: str | None,
    counts: dict[str, int],
    warnings: Sequence[str],
    timing: dict[str, float],
    bootstrap_resamples: int = 1000,
) -> dict[str, Any]:
    """The content of summary.json; see `results.RunWriter.finish` for the arguments."""
    start_ns, end_ns = _span(run)
    period_ns = choose_period_ns(run.equity["local_ns"].to_numpy())
    stats = compute(run, period_ns=period_ns, bootstrap_resamples=bootstrap_resamples)
    notes = list(warnings)
    if not complete:
        notes.insert(0, f"partial result: {stopped or 'the run was stopped before the end of its data'}")
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
    card = _Card()
    currency = run.manifest["account_currency"]
    _returns_block(card, run, period_ns, currency, bootstrap_resamples)
    _drawdown_block(card, run.equity, currency)
    _trade_block(card, run)
    _execution_block(card, run)
    return card.stats


def _span(run: Run) -> tuple[int, int]:
    columns = [table["local_ns"] for table in (run.equity, run.fills, run.risk) if not table.is_empty()] + [
        table["decided_ns"] for table in (run.orders,) if not table.is_empty()
    ]
    if not columns:
        return 0, 0
    return min(int(column.to_numpy().min()) for column in columns), max(
        int(column.to_numpy().max()) for column in columns
    )


# Returns ---------------------------------------------------------------------------------------------------------------


def _returns_block(card: _Card, run: Run, period_ns: int, currency: str, resamples: int) -> None:
    equity = run.equity
    group = "Returns"
    lacking = None
    if len(equity) < 2:
        lacking = "fewer than 2 equity samples"
    elif float(equity["equity"].min()) <= 0:  # type: ignore[arg-type]
        lacking = "equity reached zero"
    if lacking is None:
        first, last = int(equity["equity_int"][0]), int(equity["equity_int"][-1])
        profit, start = (last - first) / MONEY_ONE, first / MONEY_ONE
        span_ns = int(equity["local_ns"][-1]) - int(equity["local_ns"][0])
        table = period_returns(equity, period_ns)
        returns = table["return"]
    elif len(equity):
        profit, start = (int(equity["equity_int"][-1]) - int(equity["equity_int"][0])) / MONEY_ONE, 0.0
        span_ns, returns = 0, pl.Series("return", [], dtype=pl.Float64)
    else:
        profit, start, span_ns, returns = 0.0, 0.0, 0, pl.Series("return", [], dtype=pl.Float64)
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


def _benchmark_block(card: _Card, run: Run, period_ns: int, lacking: str | None, short: str | None) -> None:
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
    comparison = None
    if lacking is None:
        comparison = st.compare(period_returns(run.equity, period_ns)["return"].to_numpy(), benchmark)
    reason = lacking or (None if comparison else "returns do not vary")
    years = (int(run.equity["local_ns"][-1]) - int(run.equity["local_ns"][0])) / NS_PER_YEAR
    yearly = len(values) / years if years else 0.0
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


def _drawdown_block(card: _Card, equity: pl.DataFrame, currency: str) -> None:
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


# Trades and execution --------------------------------------------------------------------------------------------------


def _trade_block(card: _Card, run: Run) -> None:
    group = "Trades"
    trades = run.trades
    card.add("trades", "Closed trades", group, "count", len(trades))
    currencies = trades["currency"].unique(maintain_order=True).to_list()
    currency = currencies[0] if len(currencies) == 1 else None
    lacking = None if len(trades) else "no closed trade"
    mixed = lacking or (f"trades settle in {', '.join(currencies)}" if currency is None else None)
    few = lacking or (f"fewer than {TRADES_MIN} trades" if len(trades) < TRADES_MIN else None)
    row = trades.select(
        wins=(pl.col("net_int") > 0).sum(),
        losses=(pl.col("net_int") < 0).sum(),
        won=pl.col("net").filter(pl.col("net_int") > 0).sum(),
        lost=-pl.col("net").filter(pl.col("net_int") < 0).sum(),
        net=pl.col("net").mean(),
        best=pl.col("net").max(),
        worst=pl.col("net").min(),
        holding=pl.col("holding_ns").median(),
        adverse=pl.col("adverse").mean(),
        favourable=pl.col("favourable").mean(),
        gross=pl.col("gross").sum(),
        fee=pl.col("fee").sum(),
    ).row(0, named=True)
    wins, losses = row["wins"], row["losses"]
    card.add("win_rate", "Win rate", group, "fraction", wins / len(trades) if len(trades) else None, few)
    factor = row["won"] / row["lost"] if row["lost"] else None
    card.add(
        "profit_factor",
        "Profit factor",
        group,
        "ratio",
        factor,
        few or mixed or (None if losses else "no losing trade"),
    )
    card.add("expectancy", "Mean net of a trade", group, "money", row["net"], mixed, currency=currency)
    payoff = (row["won"] / wins) / (row["lost"] / losses) if wins and losses else None
    card.add(
        "payoff",
        "Mean win over mean loss",
        group,
        "ratio",
        payoff,
        few or mixed or (None if payoff else "no win or no loss"),
    )
    card.add("best_trade", "Best trade", group, "money", row["best"], mixed, currency=currency)
    card.add("worst_trade", "Worst trade", group, "money", row["worst"], mixed, currency=currency)
    card.add("holding_time", "Median holding time", group, "ns", row["holding"], lacking)
    marks = lacking or (None if row["adverse"] is not None else "no marks while trades were open")
    card.add("mae", "Mean adverse excursion", group, "fraction", row["adverse"], marks)
    card.add("mfe", "Mean favourable excursion", group, "fraction", row["favourable"], marks)
    streaks = (
        trades.lazy()
        .select(sign=pl.col("net_int").sign().rle())
        .unnest("sign")
        .select(
            won=pl.col("len").filter(pl.col("value") > 0).max(), lost=pl.col("len").filter(pl.col("value") < 0).max()
        )
        .collect()
        .row(0)
    )
    card.add("winning_streak", "Longest winning streak", group, "count", streaks[0] or 0, lacking)
    card.add("losing_streak", "Longest losing streak", group, "count", streaks[1] or 0, lacking)
    card.add(
        "exposure", "Time in the market", group, "fraction", _exposure(run), None if len(run.fills) else "no fills"
    )
    share = row["fee"] / row["gross"] if row["gross"] and row["gross"] > 0 else None
    card.add(
        "cost_share",
        "Fees over gross profit of trades",
        group,
        "fraction",
        share,
        mixed or (None if share is not None else "gross is not positive"),
    )


def _exposure(run: Run) -> float | None:
    """Share of the run's time with any position of any strategy open."""
    start_ns, end_ns = _span(run)
    if end_ns <= start_ns:
        return None
    key = ["account", "strategy", "symbol"]
    is_open = pl.col("position_after_int") != 0
    return float(
        run.fills.lazy()
        .with_columns(change=is_open.cast(pl.Int64).diff().over(key).fill_null(is_open.cast(pl.Int64)))
        .select(
            inside=pl.col("change").cum_sum() > 0,
            span=pl.col("local_ns").shift(-1).fill_null(end_ns) - pl.col("local_ns"),
        )
        .select(pl.col("span").filter("inside").sum())
        .collect()
        .item()
    ) / (end_ns - start_ns)


def fill_values(run: Run) -> pl.DataFrame:
    """Per fill: value in the settlement currency, fee in it (null where it has no price there), its name, slippages in bps.

    decision_bps, arrival_bps: signed cost of the price against the mid at decision and at arrival, positive is worse than
    the mid; null where the mid is unknown.
    """
    facts = pl.DataFrame([_facts(i, symbol) for i, symbol in zip(run.instruments, run.symbols, strict=True)])
    size = pl.col("qty") * pl.col("size")
    same, crossed = pl.col("fee_currency") == pl.col("currency"), pl.col("fee_currency") == pl.col("other")
    price = pl.when("inverse").then(1 / pl.col("price")).otherwise(pl.col("price"))

    def cost(mid2: str) -> pl.Expr:
        mid = pl.when(pl.col(mid2) > 0).then(pl.col(mid2).cast(pl.Float64))
        return pl.col("side") * (2.0 * pl.col("price_int") / mid - 1) * 1e4

    return run.fills.join(facts, on="symbol", how="left", maintain_order="left").with_columns(
        value=pl.when("inverse").then(size / pl.col("price")).otherwise(size * pl.col("price")),
        fee_settled=pl.when(same).then(pl.col("fee")).when(crossed).then(pl.col("fee") * price),
        decision_bps=cost("decision_mid2_int"),
        arrival_bps=cost("arrival_mid2_int"),
    )


def _facts(instrument: Instrument, symbol: str) -> dict[str, Any]:
    inverse = instrument.contract == "inverse"
    return {
        "symbol": symbol,
        "currency": instrument.settle,
        "other": instrument.quote if inverse else instrument.base,
        "size": instrument.contract_size / MONEY_ONE,
        "inverse": inverse,
    }


def _execution_block(card: _Card, run: Run) -> None:
    group = "Execution"
    fills = fill_values(run)
    lacking = None if len(fills) else "no fills"
    currencies = fills["currency"].unique(maintain_order=True).to_list()
    mixed = lacking or (f"fills settle in {', '.join(currencies)}" if len(currencies) > 1 else None)
    currency = currencies[0] if len(currencies) == 1 else None
    weight = pl.col("value")

    def weighted(name: str) -> pl.Expr:
        known = pl.col(name).is_not_null()
        return (pl.col(name) * weight).filter(known).sum() / weight.filter(known).sum()

    row = fills.select(
        maker=pl.col("maker").mean(),
        value=weight.sum(),
        fees=pl.col("fee_settled").sum(),
        unpriced=pl.col("fee_settled").null_count(),
        decision=weighted("decision_bps"),
        arrival=weighted("arrival_bps"),
    ).row(0, named=True)
    orders = run.orders.select(
        filled=(pl.col("filled_int") > 0).mean(),
        rejected=(pl.col("reject_code") != "").sum(),
        latency=(pl.col("arrived_ns") - pl.col("decided_ns")).filter(pl.col("arrived_ns") > 0).median(),
        latency_99=(pl.col("arrived_ns") - pl.col("decided_ns")).filter(pl.col("arrived_ns") > 0).quantile(0.99),
    ).row(0, named=True)
    no_orders = None if len(run.orders) else "no orders"
    card.add("orders", "Orders", group, "count", len(run.orders))
    card.add("fills", "Fills", group, "count", len(fills))
    card.add("order_fill_rate", "Orders with a fill", group, "fraction", orders["filled"], no_orders)
    card.add("rejects", "Orders rejected", group, "count", orders["rejected"], no_orders)
    card.add("maker_share", "Fills as maker", group, "fraction", row["maker"], lacking)
    card.add("traded_value", "Value traded", group, "money", row["value"], mixed, currency=currency)
    unpriced = f"{row['unpriced']} fees are in another currency" if row["unpriced"] else None
    card.add("fees", "Fees paid", group, "money", row["fees"], mixed or unpriced, currency=currency)
    foreign = None if currency == run.manifest["account_currency"] else "traded in another currency than the account's"
    mean_equity = float(run.equity["equity"].to_numpy().mean()) if len(run.equity) else None
    turnover = row["value"] / mean_equity if mean_equity else None
    card.add("turnover", "Turnover, times mean equity", group, "ratio", turnover, mixed or foreign)
    fee_bps = row["fees"] / row["value"] * 1e4 if row["value"] else None
    card.add("fee_bps", "Fees over value traded", group, "bps", fee_bps, mixed or unpriced)
    unknown = lacking or "no mid known at the decisions"
    card.add(
        "slippage_bps",
        "Cost against the mid at decision",
        group,
        "bps",
        row["decision"] if lacking is None else None,
        _known(row["decision"], unknown),
    )
    card.add(
        "arrival_slippage_bps",
        "Cost against the mid at arrival",
        group,
        "bps",
        row["arrival"] if lacking is None else None,
        _known(row["arrival"], unknown),
    )
    timed = no_orders or (None if orders["latency"] is not None else "no order arrived")
    card.add("latency_median", "Decision to arrival, median", group, "ns", orders["latency"], timed)
    card.add("latency_99", "Decision to arrival, 99th percentile", group, "ns", orders["latency_99"], timed)


def _known(value: float | None, reason: str) -> str | None:
    return None if value is not None and isfinite(value) else reason


def breakdown(run: Run) -> list[dict[str, Any]]:
    """Per strategy and symbol: orders, fills, trades, wins, gross, fees, net and value traded in the settlement currency.

    gross and net are of closed trades (FIFO); fees and value are of every fill.
    """
    key = ["strategy", "symbol"]
    orders = run.orders.group_by(key, maintain_order=True).agg(orders=pl.len())
    fills = (
        fill_values(run)
        .group_by(key, maintain_order=True)
        .agg(
            fills=pl.len(),
            value=pl.col("value").sum(),
            fees=pl.col("fee_settled").sum(),
            currency=pl.col("currency").first(),
            position=pl.col("position_after_int").last(),
        )
    )
    trades = run.trades.group_by(key, maintain_order=True).agg(
        trades=pl.len(), wins=(pl.col("net_int") > 0).sum(), gross=pl.col("gross").sum(), net=pl.col("net").sum()
    )
    table = (
        orders.join(fills, on=key, how="full", coalesce=True, maintain_order="left_right")
        .join(trades, on=key, how="full", coalesce=True, maintain_order="left_right")
        .with_columns(
            pl.col("orders", "fills", "trades", "wins").fill_null(0),
            pl.col("value", "fees", "gross", "net").fill_null(0.0),
        )
        .sort(key)
    )
    scales = {symbol: 10**instrument.qty_scale for symbol, instrument in zip(run.symbols, run.instruments, strict=True)}
    rows = table.to_dicts()
    for row in rows:
        row["position"] = (row["position"] or 0) / scales[row["symbol"]]
    return rows


def verdicts(run: Run) -> list[dict[str, Any]]:
    """Refusals of the risk gate by rule and verdict, most frequent first."""
    return _count_by(run.risk, ["strategy", "rule", "verdict"])


def _count_by(table: pl.DataFrame, key: list[str]) -> list[dict[str, Any]]:
    counted = table.group_by(key).agg(count=pl.len())
    return counted.sort(["count", *key], descending=[True, *(False for _ in key)]).to_dicts()
