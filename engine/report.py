"""report.html: one offline page of a run, built from its folder alone.

Everything is inside the file: style, script, uPlot, and the data as base64 typed arrays; a content security policy forbids
the page to fetch anything. Sections appear only for what the run has. Long series are thinned to the lowest and highest
point of each time bucket, samples at fills kept. The page repeats the summary and decides nothing: it must not compute a
statistic.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.engine.histogram import histogram
from twinloop.engine.ledger import fill_values
from twinloop.engine.results import Run
from twinloop.engine.scorecard import statistics_of
from twinloop.engine.wording import WARNED, Stat, duration, few, interval_of, money, rule_text, sentence, speed, text_of

ASSETS: Final = Path(__file__).parent / "assets"
POINTS_MAX: Final = 200_000  # of one series; more is thinned
FILLS_MAX: Final = 50_000  # shown a symbol, evenly chosen beyond
TRADES_MAX: Final = 50_000  # in the table, the latest beyond

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def write_report(run: Run, path: Path | None = None) -> Path:
    """Write the page of a run, into its folder unless a path is given; gives the path."""
    path = path or run.folder / "report.html"
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(render(run), encoding="utf-8")
    partial.replace(path)
    return path


def render(run: Run) -> str:
    """The page as text."""
    stats = {stat.key: stat for stat in statistics_of(run.summary)}
    sections = _sections(run, stats)
    nav = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections if title)
    values = {
        "title": f"{escape(run.summary['name'])} · twinloop",
        "name": escape(run.summary["name"]),
        "nav": f'<a href="#overview">Overview</a>{nav}',
        "status": _status(run),
        "facts": _facts(run),
        "warnings": _warnings(run.summary["warnings"]),
        "cards": _cards(stats),
        "sections": "".join(body for _, _, body in sections),
        # The only character that could end the script element early.
        "data": json.dumps(_data(run), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "uplot_css": _asset("uplot.min.css"),
        "uplot_js": _asset("uplot.min.js"),
        "uplot_licence": escape(_asset("uplot.LICENSE.txt")),
        "css": _asset("report.css"),
        "js": _asset("report.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _asset("report.html"))


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


# Head ------------------------------------------------------------------------------------------------------------------


def _status(run: Run) -> str:
    if run.complete:
        return '<span class="pill good">complete</span>'
    return '<span class="pill warn">partial result</span>'


def _facts(run: Run) -> str:
    summary, manifest = run.summary, run.manifest
    counts, timing = summary["counts"], summary["timing"]
    facts = [
        ("Strategies" if len(manifest["strategies"]) > 1 else "Strategy", ", ".join(manifest["strategies"]) or "none"),
        ("Symbols" if len(run.symbols) > 1 else "Symbol", few(run.symbols)),
        ("Venue", few(sorted({instrument.venue for instrument in run.instruments}))),
    ]
    if summary["start"]:
        start, end = summary["start"][:19].replace("T", " "), summary["end"][:19].replace("T", " ")
        span = duration(summary["end_ns"] - summary["start_ns"])
        facts.append(("Period", f"{start} to {end[11:] if end[:10] == start[:10] else end} UTC ({span})"))
    if "rows" in counts:
        facts.append(("Market rows", f"{counts['rows']:,}"))
    if timing.get("rows_per_second"):
        facts.append(("Speed", speed(timing["rows_per_second"])))
    if timing.get("run_seconds"):
        facts.append(("Ran in", duration(timing["run_seconds"] * 1e9)))
    facts.append(("Seed", str(manifest["seed"])))
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(sentence(text))}</li>" for text in warnings)
    return f'<section class="warnings" role="note"><ul>{items}</ul></section>'


def _cards(stats: Mapping[str, Stat]) -> str:
    def note(key: str, label: str) -> str:
        return f"{text_of(stats[key])} {label}" if stats[key].value is not None else ""

    sharpe = "sharpe" if stats["sharpe"].value is not None else "psr"
    sharpe_note = note("psr", "likely above 0") if sharpe == "sharpe" else "too short to annualise a ratio"
    below = note("drawdown_duration", "below a peak, longest")
    cards = (
        ("Net profit", "net_profit", note("total_return", "of the start"), True),
        ("Largest drawdown", "max_drawdown", below, False),
        (stats[sharpe].label, sharpe, sharpe_note, False),
        ("Profit factor", "profit_factor", note("payoff", "mean win over mean loss"), False),
        ("Win rate", "win_rate", f"{text_of(stats['trades'])} closed trades", False),
        ("Mean net of a trade", "expectancy", note("holding_time", "held, median"), True),
        ("Fees paid", "fees", note("fee_bps", "of value traded"), False),
        ("Fills", "fills", note("maker_share", "as maker"), False),
    )
    return "".join(_card(label, stats[key], text, colour=colour) for label, key, text, colour in cards)


def _card(label: str, stat: Stat, note: str, *, colour: bool) -> str:
    if stat.value is None:
        reason = (stat.reason or "").removeprefix("n/a: ")
        body, note, tone = '<span class="none">n/a</span>', reason, ""
    else:
        text, _, rest = text_of(stat).partition(f" {stat.currency}" if stat.currency else " ±")
        tail = stat.currency or (f"±{rest}" if stat.error is not None else "")
        body = escape(text) + (f" <small>{escape(tail)}</small>" if tail else "")
        tone = (" good-text" if stat.value > 0 else " bad-text" if stat.value < 0 else "") if colour else ""
    return (
        f'<div class="card"><div class="label">{escape(label)}</div><div class="value{tone}">{body}</div>'
        f'<div class="note">{escape(note)}</div></div>'
    )


# Sections --------------------------------------------------------------------------------------------------------------

RESET: Final = '<button type="button" data-reset disabled>Show all</button>'


def _sections(run: Run, stats: Mapping[str, Stat]) -> list[tuple[str, str, str]]:
    """(anchor, name in the navigation or "", HTML) of each section the run has something for."""
    sections = []
    if len(run.equity) > 1:
        sections.append(("equity-panel", "Equity", _equity_section(run)))
    if len(run.fills) or any(f"mark:{symbol}" in run.equity.columns for symbol in run.symbols if len(run.equity) > 1):
        sections.append(("market", "Market", _market_section(run)))
    if len(run.trades):
        sections.append(("trade-panel", "Trades", _trade_section(run)))
    if len(run.fills) or len(run.orders):
        sections.append(("execution", "Execution", _execution_section(run)))
    sections.append(("statistics", "Statistics", _statistics_section(stats.values())))
    if run.summary["by_strategy_and_symbol"]:
        sections.append(("by", "", _breakdown_section(run)))
    if run.summary["verdicts"] or run.summary["rejects"]:
        sections.append(("risk", "Risk", _risk_section(run)))
    sections.append(("run", "Run", _run_section(run)))
    return sections


def _panel(anchor: str, title: str, body: str, extra: str = "") -> str:
    return (
        f'<section class="panel" id="{anchor}"><div class="title"><h2>{escape(title)}</h2>{extra}</div>{body}</section>'
    )


def _equity_section(run: Run) -> str:
    currency = escape(run.manifest["account_currency"])
    extra = (
        '<label class="check"><input type="checkbox" id="hold">buy and hold</label><span class="spacer"></span>'
        f'<span class="readout" data-readout="equity"></span>{RESET}'
    )
    body = (
        '<div id="equity" class="chart"></div><div class="caption">Below the highest equity so far '
        '<span class="readout" data-readout="drawdown"></span></div><div id="drawdown" class="chart"></div>'
    )
    return _panel("equity-panel", f"Equity, {currency}", body, extra)


def _market_section(run: Run) -> str:
    tabs = ""
    if len(run.symbols) > 1:
        buttons = "".join(
            f'<button type="button" data-symbol="{slot}" aria-pressed="{"true" if slot == 0 else "false"}">{escape(symbol)}</button>'
            for slot, symbol in enumerate(run.symbols)
        )
        tabs = f'<span class="tabs">{buttons}</span>'
    legend = '<span class="legend"><span class="buy">buy</span><span class="sell">sell</span></span>'
    extra = f'{tabs}{legend}<span class="spacer"></span><span class="readout" data-readout="price"></span>{RESET}'
    body = '<div id="price" class="chart"></div>'
    if len(run.equity) > 1:
        body += (
            '<div class="caption">Position <span class="readout" data-readout="position"></span></div>'
            '<div id="position" class="chart"></div>'
        )
    title = "Price and fills" if len(run.symbols) > 1 else f"{run.symbols[0]}, price and fills"
    return _panel("market", title, body, extra)


def _trade_section(run: Run) -> str:
    strategies, symbols = run.manifest["strategies"], run.symbols
    columns = [("number", "#", True), ("side", "Side", False)]
    columns += [("strategy", "Strategy", False)] if len(strategies) > 1 else []
    columns += [("symbol", "Symbol", False)] if len(symbols) > 1 else []
    columns += [
        ("entry", "Opened", False), ("holding", "Held", True), ("qty", "Quantity", True), ("from", "Entry", True),
        ("to", "Exit", True), ("fee", "Fees", True), ("net", "Net", True), ("gain", "Return", True),
        ("adverse", "Worst", True), ("favourable", "Best", True),
    ]  # fmt: skip
    ascending = ' aria-sort="ascending"'
    head = "".join(
        f'<th class="sortable{" number" if is_number else ""}" data-key="{key}" tabindex="0"'
        f"{ascending if key == 'number' else ''}>{title}</th>"
        for key, title, is_number in columns
    )
    selects = ""
    if len(strategies) > 1:
        selects += _select("by-strategy", "all strategies", enumerate(strategies))
    if len(symbols) > 1:
        selects += _select("by-symbol", "all symbols", enumerate(symbols))
    selects += _select("by-side", "long and short", ((1, "long"), (-1, "short")))
    shown = ""
    if len(run.trades) > TRADES_MAX:
        shown = f"<p class='caption'>The latest {TRADES_MAX:,} of {len(run.trades):,} trades; all are in trades.parquet.</p>"
    body = (
        f'<div class="scroll"><table id="trades"><thead><tr>{head}</tr></thead><tbody></tbody></table></div>'
        '<div class="pager"><button type="button" id="previous" aria-label="Previous page">&lsaquo;</button>'
        '<button type="button" id="next" aria-label="Next page">&rsaquo;</button><span id="page"></span></div>'
        f'{shown}<p class="caption">Round trips, first in first out. Worst and best are price moves against the entry while open, '
        "from sampled marks. Click a row to see it on the charts.</p>"
    )
    panel = _panel("trade-panel", "Trades", body, f'<span class="spacer"></span>{selects}')
    if len(strategies) > 1 and run.trades["currency"].n_unique() == 1:
        currency = run.trades["currency"][0]
        keys = "".join(
            f'<span style="--key: var({colour})">{escape(name)}</span>'
            for name, colour in zip(strategies, _palette(len(strategies)), strict=True)
        )
        extra = f'<span class="legend">{keys}</span><span class="spacer"></span><span class="readout" data-readout="strategies"></span>{RESET}'
        chart = '<div id="strategies" class="chart"></div>'
        panel = _panel("strategy-panel", f"Net of closed trades by strategy, {currency}", chart, extra) + panel
    return panel


def _palette(count: int) -> list[str]:
    colours = ("--accent", "--accent-2", "--up", "--warn", "--down", "--muted")
    return [colours[index % len(colours)] for index in range(count)]


def _select(key: str, everything: str, choices: Iterable[tuple[int, str]]) -> str:
    options = "".join(f'<option value="{value}">{escape(name)}</option>' for value, name in choices)
    return f'<select id="{key}" aria-label="Filter"><option value="">{everything}</option>{options}</select>'


def _execution_section(run: Run) -> str:
    parts = []
    arrived = run.orders.filter(pl.col("arrived_ns") > 0)
    if len(arrived):
        latency = (arrived["arrived_ns"] - arrived["decided_ns"]).to_numpy() / 1.0
        scale, unit = next(
            (s, u) for s, u in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")) if latency.max() >= s or s == 1
        )
        parts.append(("Latency, decision to arrival at the venue", histogram(latency / scale, unit, noun="orders")))
    if len(run.fills):
        slippage = fill_values(run)["decision_bps"].drop_nulls().to_numpy()
        if len(slippage):
            chart = histogram(slippage, "bps", noun="fills", signed="cost")
            parts.append(("Cost against the mid at decision, without fees", chart))
    if len(run.trades) and run.trades["currency"].n_unique() == 1:
        currency = str(run.trades["currency"][0])
        chart = histogram(run.trades["net"].to_numpy(), currency, noun="trades", signed="gain")
        parts.append(("Net of a trade", chart))
        holding = run.trades["holding_ns"].to_numpy() / 1e9
        scale, unit = next(
            (s, u)
            for s, u in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
            if np.median(holding) >= s or s == 1e-3
        )
        parts.append(("Time a trade was held", histogram(holding / scale, unit, noun="trades")))
    if not parts:
        return ""
    body = "".join(f"<div><h3>{escape(title)}</h3>{chart}</div>" for title, chart in parts)
    return _panel("execution", "Execution", f'<div class="quad">{body}</div>')


def _statistics_section(stats: Iterable[Stat]) -> str:
    groups: dict[str, list[Stat]] = {}
    for stat in stats:
        groups.setdefault(stat.group, []).append(stat)
    body = ""
    for name, members in groups.items():
        rows = ""
        for stat in members:
            interval = interval_of(stat)
            text = escape(text_of(stat))
            cell = f'<span class="none">{text}</span>' if stat.value is None else text
            below = f'<span class="interval">90 % interval {escape(interval)}</span>' if interval else ""
            rows += f'<tr><td>{escape(stat.label)}</td><td class="number">{cell}{below}</td></tr>'
        body += f'<div class="group"><h3>{escape(name)}</h3><table>{rows}</table></div>'
    caption = (
        '<p class="caption">± is one standard error, with skewness, kurtosis and autocorrelation allowed for. Intervals are from '
        "a circular block bootstrap of the period returns with the run's seed.</p>"
    )
    return _panel("statistics", "Statistics", f'<div class="stats">{body}</div>{caption}')


def _breakdown_section(run: Run) -> str:
    head = (
        "Strategy",
        "Symbol",
        "Orders",
        "Fills",
        "Trades",
        "Win rate",
        "Value traded",
        "Gross",
        "Fees",
        "Net closed",
        "Position",
        "",
    )
    rows = []
    for row in run.summary["by_strategy_and_symbol"]:
        rate = f"{row['wins'] / row['trades']:.1%}".replace("%", " %") if row["trades"] else "n/a"
        cells = (row["strategy"], row["symbol"], f"{row['orders']:,}", f"{row['fills']:,}", f"{row['trades']:,}", rate)
        amounts = (
            money(row["value"]),
            money(row["gross"]),
            money(row["fees"]),
            money(row["net"]),
            f"{row['position']:g}",
        )
        rows.append((*cells, *amounts, row["currency"] or ""))
    return _panel("by", "By strategy and symbol", _table(head, rows, text_columns=(0, 1, 11)))


def _risk_section(run: Run) -> str:
    parts = []
    if run.summary["verdicts"]:
        rows = [
            (rule_text(r), "passed" if r["verdict"] == WARNED else "refused", r["strategy"], f"{r['count']:,}")
            for r in run.summary["verdicts"][:12]
        ]
        table = _table(("Limit", "Request", "Strategy", "Times"), rows, text_columns=(0, 1, 2))
        parts.append(f"<div><h3>At or near a limit of the risk gate</h3>{table}</div>")
    if run.summary["rejects"]:
        codes = [(r["reject_code"], r["strategy"], f"{r['count']:,}") for r in run.summary["rejects"][:12]]
        table = _table(("Code", "Strategy", "Orders"), codes, text_columns=(0, 1))
        parts.append(f"<div><h3>Rejected by the venue</h3>{table}</div>")
    return _panel("risk", "Risk and rejections", f'<div class="quad">{"".join(parts)}</div>')


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int]) -> str:
    def cell(tag: str, index: int, text: str) -> str:
        kind = "" if index in text_columns else ' class="number"'
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    top = "".join(cell("th", index, title) for index, title in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _run_section(run: Run) -> str:
    manifest, summary = run.manifest, run.summary
    rows = [
        (f"{name} hash", f'<span class="digest">{escape(str(value))}</span>')
        for name, value in manifest["hashes"].items()
    ]
    rows += [(f"{name} version", escape(str(value))) for name, value in manifest["versions"].items()]
    rows += [(name.replace("_", " "), f"{value:,}") for name, value in summary["counts"].items()]
    rows += [(name.replace("_", " "), f"{value:,.4g}") for name, value in summary["timing"].items()]
    table = "".join(f"<tr><td>{escape(name)}</td><td>{value}</td></tr>" for name, value in rows)
    blocks = ""
    for title, key in (
        ("Parameters", "parameters"),
        ("Configuration", "config"),
        ("Data", "data"),
        ("Instruments", "instruments"),
    ):
        if manifest[key]:
            text = escape(json.dumps(manifest[key], indent=2, ensure_ascii=False))
            blocks += f"<details><summary>{title}</summary><pre>{text}</pre></details>"
    return _panel("run", "Run", f'<div class="scroll"><table class="keys">{table}</table></div>{blocks}')


# Data ------------------------------------------------------------------------------------------------------------------


def _data(run: Run) -> dict[str, Any]:
    equity, fills = run.equity, run.fills
    data: dict[str, Any] = {
        "start": run.summary["start_ns"] / 1e6,
        "end": run.summary["end_ns"] / 1e6,
        "strategies": run.manifest["strategies"],
        "equity": None,
        "symbols": [],
        "trades": _trade_data(run) if len(run.trades) else None,
    }
    times = equity["local_ns"].to_numpy()
    at_fills = np.isin(times, fills["local_ns"].to_numpy())
    shared: Ints | None = None
    if len(equity) > 1:
        chosen = thin(times, equity["equity"].to_numpy(), POINTS_MAX, at_fills)
        shared = chosen if len(chosen) == len(equity) else None
        data["equity"] = {"t": _milliseconds(times[chosen]), "value": _packed(equity["equity"].to_numpy()[chosen])}
    budget = max(POINTS_MAX // max(len(run.symbols), 1), 5_000)
    for slot, symbol in enumerate(run.symbols):
        instrument = run.instruments[slot]
        digits = (
            _decimals(instrument.tick_size, instrument.price_scale),
            _decimals(instrument.lot_size, instrument.qty_scale),
        )
        entry: dict[str, Any] = {"name": symbol, "digits": digits[0], "lot": digits[1], "currency": instrument.settle}
        if len(equity) > 1:
            mark = equity[f"mark:{symbol}"].fill_null(float("nan")).to_numpy()
            position = equity[f"position:{symbol}"].fill_null(float("nan")).to_numpy()
            marked = bool(np.isfinite(mark).any())
            own = np.isin(times, fills.filter(pl.col("symbol") == symbol)["local_ns"].to_numpy())
            every = shared is not None and len(equity) <= budget
            chosen = np.arange(len(equity)) if every else thin(times, mark if marked else position, budget, own)
            if not every:
                entry["t"] = _milliseconds(times[chosen])
            if marked:
                entry["mark"] = _packed(mark[chosen])
            if np.isfinite(position).all():
                entry["position"] = _packed(position[chosen])
        entry["fills"] = _fill_data(run, symbol)
        data["symbols"].append(entry)
    return data


def _decimals(step: int, scale: int) -> int:
    """Decimals that multiples of a step need."""
    return max(scale - (len(str(step)) - len(str(step).rstrip("0"))), 0)


def _fill_data(run: Run, symbol: str) -> dict[str, Any] | None:
    fills = run.fills.filter(pl.col("symbol") == symbol).sort("local_ns", maintain_order=True)
    if fills.is_empty():
        return None
    if len(fills) > FILLS_MAX:
        fills = fills[np.linspace(0, len(fills) - 1, FILLS_MAX).astype(np.int64)]
    strategies = {name: slot for slot, name in enumerate(run.manifest["strategies"])}
    return {
        "t": _milliseconds(fills["local_ns"].to_numpy()),
        "price": _packed(fills["price"].to_numpy()),
        "qty": _packed(fills["qty"].to_numpy(), exact=True),
        "fee": _packed(fills["fee"].to_numpy()),
        "side": _raw(fills["side"].to_numpy(), "i8"),
        "maker": _raw(fills["maker"].cast(pl.Int8).to_numpy(), "i8"),
        "strategy": _raw(fills["strategy"].replace_strict(strategies, return_dtype=pl.Int32).to_numpy(), "i32"),
    }


def _trade_data(run: Run) -> dict[str, Any]:
    trades = run.trades.tail(TRADES_MAX)
    strategies = {name: slot for slot, name in enumerate(run.manifest["strategies"])}
    symbols = {name: slot for slot, name in enumerate(run.symbols)}
    floats = {"qty": "qty", "from": "entry_price", "to": "exit_price", "fee": "fee", "net": "net", "gain": "return"}
    return {
        "number": _raw(trades["trade"].to_numpy(), "i32"),
        "strategy": _raw(trades["strategy"].replace_strict(strategies, return_dtype=pl.Int32).to_numpy(), "i32"),
        "symbol": _raw(trades["symbol"].replace_strict(symbols, return_dtype=pl.Int32).to_numpy(), "i32"),
        "side": _raw(trades["side"].to_numpy(), "i8"),
        "entry": _milliseconds(trades["entry_ns"].to_numpy()),
        "exit": _milliseconds(trades["exit_ns"].to_numpy()),
        "holding": _packed(trades["holding_ns"].to_numpy() / 1e6),
        **{name: _packed(trades[column].to_numpy(), exact=True) for name, column in floats.items()},
        "adverse": _packed(trades["adverse"].fill_null(float("nan")).to_numpy()),
        "favourable": _packed(trades["favourable"].fill_null(float("nan")).to_numpy()),
    }


def thin(time_ns: Ints, values: Floats, points_max: int, keep: npt.NDArray[np.bool_]) -> Ints:
    """Indices to draw: all up to points_max, else first, last, lowest and highest of each time bucket, and `keep`.

    time_ns: (n,) not decreasing. What is kept can exceed points_max by the number of samples in `keep`.
    """
    count = len(time_ns)
    if count <= points_max:
        return np.arange(count)
    buckets = max(points_max // 4, 1)
    span = max(int(time_ns[-1] - time_ns[0]), 1)
    bucket = ((time_ns - time_ns[0]) / span * buckets).astype(np.int64)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
    lengths = np.diff(np.append(starts, count))
    finite = np.nan_to_num(values, nan=float(np.nanmean(values)) if np.isfinite(values).any() else 0.0)
    chosen = keep.copy()
    chosen[starts] = chosen[starts + lengths - 1] = True
    for extreme in (np.minimum, np.maximum):
        hits = np.flatnonzero(finite == np.repeat(extreme.reduceat(finite, starts), lengths))
        first = np.concatenate(([True], np.diff(bucket[hits]) > 0))
        chosen[hits[first]] = True
    return np.flatnonzero(chosen)


def _milliseconds(time_ns: Ints) -> dict[str, Any]:
    return _raw(time_ns / 1e6, "f64")


def _packed(values: Floats, *, exact: bool = False) -> dict[str, Any]:
    """32-bit differences to the first value, or 64 bits where asked or where 32 would lose the sixth digit."""
    finite = values[np.isfinite(values)]
    if exact or not len(finite):
        return _raw(values, "f64")
    base = float(finite[0])
    return {**_raw(values - base, "f32"), "base": base}


def _raw(values: npt.NDArray[Any], kind: str) -> dict[str, Any]:
    dtype = {"f64": "<f8", "f32": "<f4", "i32": "<i4", "i8": "i1"}[kind]
    return {"type": kind, "bytes": b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")}
