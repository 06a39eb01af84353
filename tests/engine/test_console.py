"""What a person and a script read at the end of a run."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from reference import fake_run
from rich.console import Console

from twinloop.engine.console import print_run, result_dict
from twinloop.engine.results import load_run, write_run
from twinloop.engine.wording import Stat, duration, format_value, iso, money, text_of

TABLES = ("fills", "orders", "equity", "risk")


def printed(run: Any, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_run(run, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def make(folder: Path, **more: Any) -> Any:
    records: dict[str, Any] = dict(zip(TABLES, fake_run.records(samples=600, fills=80), strict=True))
    return write_run(folder, fake_run.info("my [bold]run"), **(records | more))


@pytest.mark.parametrize("width", [60, 80, 110, 170])
def test_headlines_tables_and_the_reports_path_are_printed(tmp_path: Path, width: int) -> None:
    text = printed(make(tmp_path, counts={"rows": 1234}, timing={"run_seconds": 0.5, "rows_per_second": 2e6}), width)
    for part in (
        "my [bold]run",
        "complete",
        "1,234 rows",
        "2.0 M rows/s",
        "Net profit",
        "position_limit",
        str(tmp_path / "report.html"),
    ):
        assert part in text, part
    assert "n/a, fewer than 5 days: Sharpe ratio, a year" in text


def test_missing_report_prints_the_folder(tmp_path: Path) -> None:
    run = make(tmp_path, report=False)
    assert f"results  {tmp_path}\n" in printed(run)


def test_zero_fills_print_why_and_partial_results_say_so(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(TABLES)
    text = printed(make(tmp_path, **nothing, complete=False, stopped="interrupted", counts={"rows": 9}))
    assert "! partial result: interrupted" in text
    assert "! zero fills: the strategy sent no order in 9 rows" in text


def test_json_is_the_summary_with_the_files(tmp_path: Path) -> None:
    run = make(tmp_path)
    document = json.loads(json.dumps(result_dict(run), allow_nan=False))
    assert document["folder"] == str(tmp_path)
    assert document["files"]["report.html"] == str(tmp_path / "report.html")
    assert document["statistics"]["net_profit"]["unit"] == "money"
    assert document["limits_in_force"] == {"preset": "research"}
    assert document == json.loads(json.dumps(result_dict(load_run(tmp_path))))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"), (999, "999 ns"), (1_500, "1.5 µs"), (2_000_000, "2 ms"), (59_900_000_000, "59.9 s"), (61_000_000_000, "1 min 1 s"),
        (3_600_000_000_000, "1 h"), (90_061_000_000_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations_read_in_their_two_largest_units(ns: int, text: str) -> None:
    assert duration(ns) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (1234.5, "1,234.50"), (-0.12345678, "-0.1235"), (0.00001234, "0.00001234"), (1e-20, "0.00")],
)
def test_amounts_keep_four_digits_when_small(value: float, text: str) -> None:
    assert money(value) == text


def test_values_read_in_their_units() -> None:
    assert format_value(0.1234, "fraction") == "12.34 %"
    assert format_value(12345.6, "count") == "12,346"
    assert format_value(1.5, "bps") == "1.50 bps"
    assert format_value(0.00001, "ratio") == "1.00e-05"
    assert text_of(Stat("k", "K", "g", "ratio", 1.5, error=0.25)) == "1.50 ± 0.25"
    assert text_of(Stat("k", "K", "g", "ratio", None, "n/a: because")) == "n/a: because"
    assert iso(0) is None
    assert iso(fake_run.START_NS + 1_234_567) == "2024-08-08T00:00:00.001234Z"
