"""The end of a run on a terminal: headline numbers, tables, warnings and where the report is; or the same as one dict.

Plain words where a number cannot be had. Nothing is computed here: it prints a run's summary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.engine.wording import WARNED, Stat, duration, interval_of, money, rule_text, speed, text_of

if TYPE_CHECKING:
    from twinloop.engine.results import Run

HEADLINES: Final = (
    ("net_profit", "total_return", "max_drawdown", "drawdown_duration", "sharpe", "psr", "cagr", "volatility"),
    ("trades", "win_rate", "profit_factor", "expectancy", "holding_time", "exposure", "fees", "turnover"),
    ("orders", "fills", "maker_share", "rejects", "slippage_bps", "latency_median"),
)
ROWS_MAX: Final = 12
REASONS_MAX: Final = 5
COLUMNS: Final = ("orders", "fills", "trades", "win rate", "gross", "fees", "net closed", "position")
NARROW: Final = 110  # Columns of a terminal below which the breakdown is shortened.
COLOURED: Final = frozenset({"net_profit", "total_return", "expectancy"})


def result_dict(run: "Run") -> dict[str, Any]:
    """What `--json` prints: the summary, the limits in force, and the run's folder and files."""
    files = {path.name: str(path) for path in sorted(run.folder.iterdir()) if not path.name.startswith(".")}
    limits = run.manifest["config"].get("limits_in_force")
    return {"folder": str(run.folder), "files": files, "limits_in_force": limits, **run.summary}


def print_run(run: "Run", console: Console | None = None, told: Sequence[str] = ()) -> None:
    """Print a run's result for a person; to standard output by default. told: warnings that the person has read already."""
    console = console or Console(highlight=False, emoji=False)
    summary = run.summary
    stats = {key: Stat(key=key, **values) for key, values in summary["statistics"].items()}
    _head(console, run)
    for warning in [text for text in summary["warnings"] if text not in told]:
        console.print(f"[yellow]![/yellow] {escape(warning)}", soft_wrap=True)
    _headlines(console, stats)
    _breakdown(console, summary)
    _refusals(console, summary)
    report = run.folder / "report.html"
    console.print(
        f"[dim]{'report' if report.exists() else 'results'}[/dim]  {escape(_location(run, report))}", soft_wrap=True
    )


def _location(run: "Run", report: Path) -> str:
    return str(report if report.exists() else run.folder)


def _head(console: Console, run: "Run") -> None:
    summary, timing = run.summary, run.summary["timing"]
    state = "[green]complete[/green]" if run.complete else "[yellow]partial[/yellow]"
    line = [f"[bold]{escape(summary['name'])}[/bold]", state]
    if summary["start"]:
        line.append(f"{summary['start'][:19]} to {summary['end'][:19]} UTC")
        line.append(duration(summary["end_ns"] - summary["start_ns"]))
    if "rows" in summary["counts"]:
        line.append(f"{summary['counts']['rows']:,} rows")
    if timing.get("run_seconds"):
        line.append(f"in {duration(timing['run_seconds'] * 1e9)}")
    if timing.get("rows_per_second"):
        line.append(speed(timing["rows_per_second"]))
    console.print("  ".join(line), soft_wrap=True)


def _headlines(console: Console, stats: dict[str, Stat]) -> None:
    """Three blocks side by side where the terminal is wide enough, else one below the other; n/a lines at the end."""
    blocks = []
    lacking: dict[str, list[str]] = {}
    for keys in HEADLINES:
        rows = []
        for key in keys:
            stat = stats.get(key)
            if stat is None:
                continue
            if stat.value is None:
                lacking.setdefault((stat.reason or "n/a").removeprefix("n/a: "), []).append(stat.label)
            else:
                rows.append((stat.label, _coloured(stat)))
        blocks.append(rows)
    if console.width >= 150:
        console.print(_grid(blocks))
    elif console.width >= 100:
        console.print(_grid([blocks[0] + blocks[2], blocks[1]]))
    else:
        console.print(_grid([[row for block in blocks for row in block]]))
    for reason, labels in lacking.items():
        console.print(f"[dim]n/a, {escape(reason)}: {escape(', '.join(labels))}[/dim]", soft_wrap=True)


def _grid(blocks: list[list[tuple[str, str]]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in blocks:
        table.add_column(style="dim", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
    for index in range(max(len(block) for block in blocks)):
        cells: list[str] = []
        for block in blocks:
            cells += block[index] if index < len(block) else ("", "")
        table.add_row(*cells)
    return table


def _coloured(stat: Stat) -> str:
    text = escape(text_of(stat))
    if stat.key in COLOURED and stat.value:
        colour = "green" if stat.value > 0 else "red"
        text = f"[{colour}]{text}[/{colour}]"
    interval = interval_of(stat)
    return f"{text} [dim]({escape(interval)})[/dim]" if interval else text


def _breakdown(console: Console, summary: dict[str, Any]) -> None:
    rows = summary["by_strategy_and_symbol"]
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("strategy", "symbol"):
        table.add_column(name, no_wrap=True, min_width=8)
    # A number is never cut: where there is no room, whole columns are left to the report.
    narrow = console.width < NARROW
    names = ("fills", "trades", "net closed", "position") if narrow else COLUMNS
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows[:ROWS_MAX]:
        rate = f"{row['wins'] / row['trades'] * 100:.1f} %" if row["trades"] else "n/a"
        counts = (f"{row['orders']:,}", f"{row['fills']:,}", f"{row['trades']:,}", rate)
        amounts = (money(row["gross"]), money(row["fees"]), money(row["net"]), f"{row['position']:g}")
        cells = dict(zip(COLUMNS, (*counts, *amounts), strict=True))
        shown = [cells[name] for name in names]
        table.add_row(escape(row["strategy"]), escape(row["symbol"]), *shown, row["currency"] or "")
    console.print(table)
    if len(rows) > ROWS_MAX:
        console.print(f"[dim]and {len(rows) - ROWS_MAX} more in summary.json[/dim]")


def _refusals(console: Console, summary: dict[str, Any]) -> None:
    lines = [
        (row["count"], rule_text(row), "risk gate", row["strategy"])
        for row in summary["verdicts"]
        if row["verdict"] != WARNED
    ]
    lines += [(row["count"], row["reject_code"], "venue", row["strategy"]) for row in summary["rejects"]]
    if not lines:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("refused", justify="right")
    for name in ("by", "reason", "strategy"):
        table.add_column(name)
    for count, reason, who, strategy in sorted(lines, reverse=True)[:REASONS_MAX]:
        table.add_row(f"{count:,}", who, escape(reason), escape(strategy))
    console.print(table)
    if len(lines) > REASONS_MAX:
        console.print(f"[dim]and {len(lines) - REASONS_MAX} more reasons in summary.json[/dim]")
