"""The folder of a run: the same bytes for the same records, whatever the batches; partial and damaged runs."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from reference import fake_run

from twinloop.data.errors import DataError
from twinloop.engine.records import FILL
from twinloop.engine.results import RunWriter, load_run, write_run

TABLES = ("fills", "orders", "equity", "risk")


def write(folder: Path, **more: Any) -> Any:
    records = dict(zip(TABLES, fake_run.records(samples=800, fills=120), strict=True))
    return write_run(folder, fake_run.info(), **records, **more)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", timing={"run_seconds": 1.0})
    write(tmp_path / "b", timing={"run_seconds": 1.0})
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert set(digests(tmp_path / "a")) == {
        "manifest.json", "summary.json", "report.html", "orders.parquet", "fills.parquet", "trades.parquet",
        "equity.parquet", "risk.parquet",
    }  # fmt: skip


def test_wall_clock_facts_change_only_summary_and_report(tmp_path: Path) -> None:
    write(tmp_path / "a", timing={"run_seconds": 1.0})
    write(tmp_path / "b", timing={"run_seconds": 2.0})
    a, b = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} == {"summary.json", "report.html"}
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab")
    assert one.pop("timing") != two.pop("timing")
    assert one == two


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_do_not_change_a_byte(tmp_path: Path, size: int) -> None:
    write(tmp_path / "whole")
    records = dict(zip(TABLES, fake_run.records(samples=800, fills=120), strict=True))
    with RunWriter(tmp_path / "parts", fake_run.info()) as writer:
        for name, array in records.items():
            for start in range(0, len(array), size):
                writer.append(**{name: array[start : start + size]})
        writer.finish()
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")


def test_threads_do_not_change_a_byte(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from reference import fake_run; from twinloop.engine.results import write_run;"
        "names = ('fills', 'orders', 'equity', 'risk');"
        "write_run(sys.argv[2], fake_run.info(), **dict(zip(names, fake_run.records(samples=30000, fills=20000))))"
    )
    for threads in ("1", "4"):
        subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parents[1]), str(tmp_path / threads)],
            check=True,
            env={**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads},
        )
    assert digests(tmp_path / "1") == digests(tmp_path / "4")


def test_records_with_more_fields_and_garbage_padding_are_the_same(tmp_path: Path) -> None:
    fills = fake_run.records(samples=800, fills=120)[0]
    wider = np.zeros(
        len(fills), [*((name, fills.dtype[name]) for name in FILL.names or () if name != "pad"), ("extra", "i8")]
    )
    for name in fills.dtype.names:
        if name != "pad":
            wider[name] = fills[name]
    dirty = fills.copy()
    dirty["pad"] = b"xxxxxx"
    runs = [
        write_run(tmp_path / str(n), fake_run.info(), fills=f, report=False)
        for n, f in enumerate((fills, wider, dirty))
    ]
    assert len({run.manifest["hashes"]["records_fills"] for run in runs}) == 1


def test_run_read_back_equals_the_run_written(tmp_path: Path) -> None:
    written = write(tmp_path, counts={"rows": 5})
    read = load_run(tmp_path)
    assert read.summary == json.loads(json.dumps(written.summary))
    assert read.manifest == written.manifest
    assert read.instruments == [fake_run.BTC]
    assert read.complete
    for table in (*TABLES, "trades"):
        assert getattr(read, table).equals(getattr(written, table)), table


def test_tables_repeat_the_records_exactly(tmp_path: Path) -> None:
    fills, orders, equity, risk = fake_run.records(samples=800, fills=120)
    run = write(tmp_path)
    for name in ("sequence", "price_int", "qty_int", "fee_int", "position_after_int", "cause_id"):
        assert run.fills[name].to_numpy().tolist() == fills[name].tolist()
    assert run.fills["price"].to_list() == [price / 10 for price in fills["price_int"].tolist()]
    assert run.orders["state"].unique().sort().to_list() == ["cancelled", "filled", "rejected"]
    assert run.orders.filter(pl.col("filled_int") == 0)["average_price"].null_count() == 30
    assert run.equity["equity_int"].to_numpy().tolist() == equity["equity_int"].tolist()
    assert run.equity["position:BTCUSDT"].to_list() == [p / 1000 for p in equity["position_int"][:, 0].tolist()]
    assert set(run.risk["rule"]) == {"position_limit", "price_collar"}
    assert len(run.risk) == len(risk)
    assert len(run.orders) == len(orders)


def test_a_refusal_that_names_no_instrument_of_the_run_is_kept(tmp_path: Path) -> None:
    fills, orders, equity, risk = fake_run.records(samples=800, fills=120)
    risk["instrument"][:2] = 65535, 9  # An amend of an unknown order, an order for a slot that there is not.
    run = write_run(tmp_path, fake_run.info(), fills=fills, orders=orders, equity=equity, risk=risk)
    assert run.risk["symbol"].to_list()[:2] == ["", "9"]


def test_codes_without_a_name_are_shown_as_numbers(tmp_path: Path) -> None:
    _, orders, _, _ = fake_run.records(samples=100, fills=10)
    orders["state"] = 99
    assert set(write_run(tmp_path, fake_run.info(), orders=orders, report=False).orders["state"]) == {"99"}


def test_stopped_run_is_valid_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, complete=False, stopped="interrupted")
    run = load_run(tmp_path)
    assert not run.complete
    assert run.manifest["complete"] is False
    assert run.summary["warnings"][0] == "partial result: interrupted"
    assert len(run.fills) == 120


def test_a_run_that_died_is_not_taken_for_a_result(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(DataError, match="died before it ended"):
        load_run(tmp_path)


def test_starting_a_run_removes_the_one_before_and_leaving_drops_what_waits(tmp_path: Path) -> None:
    write(tmp_path)
    with RunWriter(tmp_path, fake_run.info()) as writer:
        writer.append(fills=fake_run.records(samples=100, fills=10)[0])
        assert not (tmp_path / "summary.json").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_one_run_at_a_time(tmp_path: Path) -> None:
    write(tmp_path / "alone")
    with RunWriter(tmp_path / "shared", fake_run.info()) as writer:
        writer.append(**dict(zip(TABLES, fake_run.records(samples=800, fills=120), strict=True)))
        with pytest.raises(DataError, match="another run is writing to this folder"):
            RunWriter(tmp_path / "shared", fake_run.info())
        writer.finish()
    assert digests(tmp_path / "shared") == digests(tmp_path / "alone")
    write(tmp_path / "shared")


def test_a_folder_that_could_not_be_opened_is_free_again(tmp_path: Path) -> None:
    (tmp_path / ".orders.records").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path)
    (tmp_path / ".orders.records").rmdir()
    write(tmp_path)
    assert load_run(tmp_path).complete


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("manifest.json", "{", "not a JSON document"), ("manifest.json", '{"format": 99}', "another version")],
)
def test_damaged_documents_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load_run(tmp_path)


def test_other_folders_are_not_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run's folder"):
        load_run(tmp_path / "nowhere")


def test_damaged_table_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "fills.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"fills\.parquet: not a readable table"):
        _ = load_run(tmp_path).fills


def test_records_lacking_a_field_are_our_bug(tmp_path: Path) -> None:
    with RunWriter(tmp_path, fake_run.info()) as writer, pytest.raises(AssertionError, match="lack the fields"):
        writer.append(fills=np.zeros(1, [("sequence", "i8")]))
