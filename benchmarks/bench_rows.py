"""How fast do rows go into the catalog, out of Parquet, and past a reader that looks at every field?

Rows like a busy market (60 % book levels, 20 % trades, 20 % quotes, venue times in disorder), one instrument, one day. What
comes back is compared with what went in. The baseline of the warm read is NumPy's sum over the same memory. Rates are
medians, in millions of rows a second of wall-clock time; `cpu` is the same by CPU time, which a shared machine does not
distort. `cold_rows` includes writing, syncing and hashing the row file.

usage: bench_rows.py [--quick] [--rows N] [--repeats N] [--folder PATH]      prints one JSON object
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl

from twinloop.data.catalog import Catalog
from twinloop.data.instruments import BINANCE_USDM_BTCUSDT
from twinloop.data.merge import RowSource, merge_rows, open_tape, venue_order
from twinloop.data.rowfile import Rows, map_rows, rows_digest, whole_facts, words_of
from twinloop.kernels import rows as r
from twinloop.kernels.merge import sum_fields

SEED = 11
CHUNK = 1 << 18


def market(count: int, seed: int = SEED) -> Iterator[Rows]:
    """Chunks of synthetic market rows, the same for the same seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    local_ns, price, at = 1_723_165_200_000_000_000, 600_000, 0
    while at < count:
        size = min(CHUNK, count - at)
        rows = np.zeros(size, r.ROW)
        times = local_ns + np.cumsum(generator.integers(1, 1_000, size))
        prices = price + np.cumsum(generator.integers(-1, 2, size))
        local_ns, price = int(times[-1]), int(prices[-1])
        rows["local_ns"] = times
        rows["venue_ns"] = (times - generator.integers(1_000_000, 20_000_000, size)) // 1_000_000 * 1_000_000
        rows["kind"] = generator.choice([r.TRADE, r.QUOTE, r.LEVEL, r.LEVEL, r.LEVEL], size)
        rows["side"] = generator.choice([1, -1], size)
        rows["sequence"] = rows["order_id"] = np.arange(at, at + size)
        rows["price"], rows["qty"] = prices, generator.integers(1, 5000, size)
        quotes = rows["kind"] == r.QUOTE
        rows["ask"][quotes], rows["ask_qty"][quotes] = (
            prices[quotes] + 1,
            generator.integers(1, 5000, int(quotes.sum())),
        )
        yield rows
        at += size


def timed(work: Callable[[], Any], count: int, repeats: int) -> dict[str, float]:
    """Median rate of a piece of work over `count` rows, by wall clock and by CPU time, in millions a second."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "wall": round(count / statistics.median(walls) / 1e6, 2),
        "cpu": round(count / max(statistics.median(cpus), 1e-9) / 1e6, 2),
        "slowest_wall": round(count / max(walls) / 1e6, 2),
    }


def warm_read(sources: list[RowSource]) -> int:
    """Sum of every field of every row of mapped files, modulo 2**64."""
    total = 0
    for source in sources:
        total += sum_fields(words_of(map_rows(source.path)[source.start : source.stop]))
    return total


def numpy_read(sources: list[RowSource]) -> int:
    """The baseline: the words of the same memory summed by NumPy."""
    return sum(int(words_of(map_rows(source.path)).sum(dtype=np.int64)) for source in sources)


def cold_rows(catalog: Catalog) -> list[RowSource]:
    """Row files built from Parquet, the cached ones thrown away first."""
    shutil.rmtree(catalog.cache, ignore_errors=True)
    return catalog.rows("BTCUSDT")


def anonymous_mb() -> float:
    """Anonymous memory of this process; mapped files do not count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def run(count: int, repeats: int, folder: Path) -> dict[str, Any]:
    """All measurements."""
    catalog = Catalog(folder / "catalog")
    before = anonymous_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    catalog.ingest(market(count), BINANCE_USDM_BTCUSDT, source="synthetic")
    ingest = {"wall": count / (time.perf_counter() - wall) / 1e6, "cpu": count / (time.process_time() - cpu) / 1e6}
    cold_rows(catalog)  # Loads compiled code.
    cold = timed(lambda: cold_rows(catalog), count, repeats)
    after_cold = anonymous_mb()
    sources = catalog.rows("BTCUSDT")
    back = hash_of(part for source in sources for part in whole_facts(map_rows(source.path)))
    assert back == hash_of(market(count)), "rows did not come back as they went in"
    warm_read(sources)
    result = {
        "rows": count,
        "ingest": {name: round(value, 2) for name, value in ingest.items()},
        "cold_rows": cold,
        "warm_read": timed(lambda: warm_read(sources), count, repeats),
        "warm_read_numpy": timed(lambda: numpy_read(sources), count, repeats),
        "parquet_bytes_per_row": round(int(catalog.list()["size"].sum()) / count, 2),
    }
    slot = np.zeros(1, np.int64)
    parts = [np.ascontiguousarray(words_of(map_rows(sources[0].path))[i::2]).reshape(-1).view(r.ROW) for i in (0, 1)]
    merged = sum(part.size for part in parts)
    result["merge_two"] = timed(lambda: drain(merge_rows([(part, slot) for part in parts])), merged, repeats)
    result["venue_order"] = timed(lambda: drain(venue_order(map_rows(sources[0].path))), merged, repeats)
    tape = open_tape(sources, folder / "tape")
    assert tape.local.size == count
    result["memory"] = {
        "anonymous_mb_before": round(before),
        "anonymous_mb_after_cold_rows": round(after_cold),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return result


def drain(chunks: Iterator[Rows]) -> int:
    """Count of rows of an iterator of chunks."""
    return sum(chunk.size for chunk in chunks)


def hash_of(chunks: Iterator[Rows]) -> str:
    """Digest over the digests of pieces of CHUNK rows."""
    return "".join(rows_digest(chunk)[:16] for chunk in chunks)


def main() -> None:
    """Run and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    count, repeats = (300_000, 2) if chosen.quick else (chosen.rows, chosen.repeats)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        result = run(count, repeats, Path(folder))
    result["about"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "polars": pl.__version__,
        "polars_threads": pl.thread_pool_size(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "seed": SEED,
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
