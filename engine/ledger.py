"""Statistics of a run's own ledger: trades, fills, orders, and what they cost, in all and per strategy and symbol.

Amounts are in the settlement currency of what was traded; where a run settles in several, a sum over them is refused with
a reason instead of added up. Sums are exact or of integers, so no thread count shows in them.
"""

from math import fsum, isfinite
from typing import Any, Final

import polars as pl

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.results import Run
from twinloop.engine.wording import Card

TRADES_MIN: Final = 10


def span_of(run: Run) -> tuple[int, int]:
    """First and last local time anywhere in the run's tables; zeros for an empty run."""
    columns = [table["local_ns"] for table in (run.equity, run.fills, run.risk) if not table.is_empty()] + [
        table["decided_ns"] for table in (run.orders,) if not table.is_empty()
    ]
    if not columns:
        return 0, 0
    return min(int(column.to_numpy().min()) for column in columns), max(
        int(column.to_numpy().max()) for column in columns
    )


def trade_block(card: Card, run: Run) -> None:
    """Add the statistics of round trips."""
    group = "Trades"
    trades = run.trades
    card.add("trades", "Closed trades", group, "count", len(trades))
    currencies = trades["currency"].unique().sort().to_list()
    currency = currencies[0] if len(currencies) == 1 else None
    lacking = None if len(trades) else "no closed trade"
    mixed = lacking or (f"trades settle in {', '.join(currencies)}" if currency is None else None)
    few = lacking or (f"fewer than {TRADES_MIN} trades" if len(trades) < TRADES_MIN else None)
    row = trades.select(
        wins=(pl.col("net_int") > 0).sum(),
        losses=(pl.col("net_int") < 0).sum(),
        won=pl.col("net_int").filter(pl.col("net_int") > 0).sum() / MONEY_ONE,
        lost=-pl.col("net_int").filter(pl.col("net_int") < 0).sum() / MONEY_ONE,
        net=pl.col("net_int").sum() / MONEY_ONE / pl.len(),
        best=pl.col("net").max(),
        worst=pl.col("net").min(),
        holding=pl.col("holding_ns").median(),
        gross=pl.col("gross_int").sum() / MONEY_ONE,
        fee=pl.col("fee_int").sum() / MONEY_ONE,
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
    marks = lacking or (None if trades["adverse"].count() else "no marks while trades were open")
    card.add("mae", "Mean adverse excursion", group, "fraction", _mean(trades["adverse"]), marks)
    card.add("mfe", "Mean favourable excursion", group, "fraction", _mean(trades["favourable"]), marks)
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
    start_ns, end_ns = span_of(run)
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

    decision_bps: signed cost of the price against the mid at decision, positive is worse than the mid; null where the mid is unknown.
    """
    facts = pl.DataFrame([_facts(i, symbol) for i, symbol in zip(run.instruments, run.symbols, strict=True)])
    size = pl.col("qty") * pl.col("size")
    same, crossed = pl.col("fee_currency") == pl.col("currency"), pl.col("fee_currency") == pl.col("other")
    price = pl.when("inverse").then(1 / pl.col("price")).otherwise(pl.col("price"))

    mid = pl.when(pl.col("decision_mid2_int") > 0).then(pl.col("decision_mid2_int").cast(pl.Float64))
    return run.fills.join(facts, on="symbol", how="left", maintain_order="left").with_columns(
        value=pl.when("inverse").then(size / pl.col("price")).otherwise(size * pl.col("price")),
        fee_settled=pl.when(same).then(pl.col("fee")).when(crossed).then(pl.col("fee") * price),
        decision_bps=pl.col("side") * (2.0 * pl.col("price_int") / mid - 1) * 1e4,
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


def execution_block(card: Card, run: Run) -> None:
    """Add the statistics of orders and fills."""
    group = "Execution"
    fills = fill_values(run)
    lacking = None if len(fills) else "no fills"
    currencies = fills["currency"].unique().sort().to_list()
    mixed = lacking or (f"fills settle in {', '.join(currencies)}" if len(currencies) > 1 else None)
    currency = currencies[0] if len(currencies) == 1 else None
    value = _sum(fills["value"])
    fees, without_price = _sum(fills["fee_settled"]), fills["fee_settled"].null_count()
    slippage = _weighted(fills["decision_bps"], fills["value"])
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
    card.add(
        "maker_share", "Fills as maker", group, "fraction", int(fills["maker"].sum()) / max(len(fills), 1), lacking
    )
    card.add("traded_value", "Value traded", group, "money", value, mixed, currency=currency)
    unpriced = f"{without_price} fees are in another currency" if without_price else None
    card.add("fees", "Fees paid", group, "money", fees, mixed or unpriced, currency=currency)
    foreign = None if currency == run.manifest["account_currency"] else "traded in another currency than the account's"
    mean_equity = float(run.equity["equity"].to_numpy().mean()) if len(run.equity) else None
    turnover = value / mean_equity if mean_equity else None
    card.add("turnover", "Turnover, times mean equity", group, "ratio", turnover, mixed or foreign)
    fee_bps = fees / value * 1e4 if value else None
    card.add("fee_bps", "Fees over value traded", group, "bps", fee_bps, mixed or unpriced)
    unknown = lacking or "no mid known at the decisions"
    card.add("slippage_bps", "Cost against the mid at decision", group, "bps", slippage, _known(slippage, unknown))
    timed = no_orders or (None if orders["latency"] is not None else "no order arrived")
    card.add("latency_median", "Decision to arrival, median", group, "ns", orders["latency"], timed)
    card.add("latency_99", "Decision to arrival, 99th percentile", group, "ns", orders["latency_99"], timed)


def _sum(values: pl.Series) -> float:
    """Exact sum of what is not null; Polars' own differs in the last digits with its thread count."""
    return fsum(values.drop_nulls().to_numpy())


def _mean(values: pl.Series) -> float | None:
    return _sum(values) / values.count() if values.count() else None


def _weighted(values: pl.Series, weights: pl.Series) -> float | None:
    total = _sum(weights.filter(values.is_not_null()))
    return _sum(values * weights) / total if total else None


def _known(value: float | None, reason: str) -> str | None:
    return None if value is not None and isfinite(value) else reason


def breakdown(run: Run) -> list[dict[str, Any]]:
    """Per strategy and symbol: orders, fills, trades, wins, gross, fees, net and value traded in the settlement currency.

    gross and net are of closed trades (FIFO); fees and value are of every fill.
    """
    key = ["strategy", "symbol"]
    fills = fill_values(run).partition_by(key, as_dict=True)
    trades = run.trades.partition_by(key, as_dict=True)
    orders = {(strategy, symbol): count for strategy, symbol, count in run.orders.group_by(key).len().iter_rows()}
    scales = {symbol: 10**instrument.qty_scale for symbol, instrument in zip(run.symbols, run.instruments, strict=True)}
    rows = []
    for pair in sorted({*fills, *orders, *trades}):
        strategy, symbol = pair
        own, closed = fills.get(pair, run.fills.clear()), trades.get(pair, run.trades.clear())
        held = own.group_by("account").agg(pl.col("position_after_int").last())["position_after_int"].sum()
        rows.append(
            {
                "strategy": strategy,
                "symbol": symbol,
                "orders": orders.get(pair, 0),
                "fills": len(own),
                "trades": len(closed),
                "wins": int((closed["net_int"] > 0).sum()),
                "gross": int(closed["gross_int"].sum()) / MONEY_ONE,
                "net": int(closed["net_int"].sum()) / MONEY_ONE,
                "value": _sum(own["value"]) if len(own) else 0.0,
                "fees": _sum(own["fee_settled"]) if len(own) else 0.0,
                "currency": own["currency"][0] if len(own) else None,
                "position": held / scales[symbol],
            }
        )
    return rows
