"""How fast stored rows come back: from the row cache, and from Parquet."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ours
from harness import BENCHMARKS, REPEATS, NotMetError, Outcome, bar, child_environment, last_core
from numba import njit


@njit
def sum_fields(words: Any) -> int:
    """Every byte of every row read: the sum of its eight 64-bit words."""
    total = 0
    for i in range(words.shape[0]):
        for j in range(8):
            total += words[i, j]
    return total


@njit
def sum_by_name(rows: Any) -> int:
    """Every field of the header and of a trade's payload, by its name."""
    total = 0
    for i in range(len(rows)):
        row = rows[i]
        total += row["venue_ns"] + row["local_ns"] + row["sequence"] + row["kind"] + row["side"] + row["strategy"]
        total += row["account"] + row["source"] + row["flags"] + row["instrument"]
        total += row["price"] + row["qty"] + row["trade_id"] + row["code"]
    return total


def workload_rows() -> Any:
    """W2 as rows: level and trade rows of one day; the arrays the speed bars use."""
    sys.path.insert(0, str(BENCHMARKS / "workloads"))
    import generate

    return np.array(ours.workload_rows("w2", generate.prepare()))


@bar("rowcache", 50.0, "M rows/s")
def rowcache() -> Outcome:
    """A mapped row file, pages warm, every field of every row summed on one core."""
    from twinloop.data.instruments import preset
    from twinloop.data.rowfile import open_rows, write_rows

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w2.rows"
        source = workload_rows()
        write_rows(path, [source], [preset("binance-usdm", "BTCUSDT")], source="bars")
        rows, _ = open_rows(path)
        expected = int(sum_by_name(source))
        sum_by_name(rows[:10])
        times, found = [], 0
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            rows, _ = open_rows(path)
            found = int(sum_by_name(rows))
            times.append(time.perf_counter() - start)
        assert found == expected, "the sums differ: the file does not give back what was written"
        words = rows.view(np.int64).reshape(-1, 8)
        sum_fields(words[:10])
        start = time.perf_counter()
        sum_fields(words)
        by_words = time.perf_counter() - start
    rate = len(source) / statistics.median(times[1:]) / 1e6
    detail = {
        "rows": len(source),
        "seconds": [round(t, 4) for t in times[1:]],
        "as_words_m_rows_s": round(len(source) / by_words / 1e6, 1),
    }
    return Outcome(round(rate, 2), ok=rate >= 50.0, detail=detail)


@bar("parquet", 2.0, "M rows/s")
def parquet() -> Outcome:
    """The catalog's Parquet of W2 back to rows, on one core (one Polars thread)."""
    if os.environ.get("POLARS_MAX_THREADS") != "1":
        # Polars reads its thread count once, when it is imported: this bar runs itself again with one.
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent), "parquet"], capture_output=True, text=True, check=False, env=child_environment(),
            preexec_fn=lambda: os.sched_setaffinity(0, last_core()),
        )  # fmt: skip
        if not done.stdout.strip():
            raise NotMetError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
        line = json.loads(done.stdout.strip().splitlines()[-1])
        return Outcome(line["value"], ok=line["ok"], detail=line["detail"])
    from twinloop.data.catalog import Catalog
    from twinloop.data.instruments import preset
    from twinloop.data.rowfile import join_rows, map_rows

    with tempfile.TemporaryDirectory() as folder:
        source = workload_rows()
        instrument = preset("binance-usdm", "BTCUSDT")
        root = Path(folder) / "catalog"
        Catalog(root).ingest([source], instrument, source="bars")
        times, rows = [], None
        for turn in range(3):
            catalog = Catalog(
                root, Path(folder) / f"cache{turn}"
            )  # a new cache folder: rows are made from Parquet again
            start = time.perf_counter()
            sources = catalog.rows(instrument.symbol, venue=instrument.venue)
            times.append(time.perf_counter() - start)
            parts = [map_rows(each.path)[each.start : each.stop] for each in sources]
            rows = join_rows(parts)
        same = (
            rows is not None and len(rows) == len(source) and bool((rows.view(np.uint8) == source.view(np.uint8)).all())
        )
    rate = len(source) / statistics.median(times) / 1e6
    detail = {"rows": len(source), "seconds": [round(t, 3) for t in times], "rows_restored_exactly": same}
    return Outcome(round(rate, 3), ok=rate >= 2.0 and same, detail=detail)
