"""What does a session pay to seal what happened before anything leaves?

append + commit of 1, 2, 3 and 64 rows on the calling thread, at each durability, in turn with bare calls on a file of the same kind in
the same folder: `pwrite` of as many bytes (rows and seal), and `pwrite` + `fdatasync`. With `group` and `strict` also until the mark is
reached. Times are microseconds of wall-clock time, each the duration of one call from Python, the cost of reading the clock taken off.
`per_row` is the slope between 3 and 64 rows. Reading: millions of rows a second of a whole check, beside NumPy's sum over the same
bytes. The journal that was timed is read back and compared.

usage: bench_journal.py [--quick] [--commits N] [--folder PATH]      prints one JSON object
"""

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from twinloop.data.journal_scan import by_instruction, crc32c
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import Durability, JournalWriter
from twinloop.kernels import rows as table

SIZES = (1, 2, 3, 64)
BLOCK = 200  # Calls before the next thing is measured: a machine's slow moments then meet all of them.


def facts(first: int, count: int) -> Any:
    """Rows like a market's."""
    out = np.zeros(count, table.ROW)
    out["kind"], out["sequence"] = table.TRADE, np.arange(first, first + count)
    out["price"], out["qty"] = 600_000 + np.arange(count), 1
    return out


def clock_ns() -> float:
    """Median of two readings of the clock in a row."""
    found = np.empty(10_000, np.int64)
    for at in range(len(found)):
        start = time.perf_counter_ns()
        found[at] = time.perf_counter_ns() - start
    return float(np.median(found))


def told(times_ns: list[int], overhead_ns: float) -> dict[str, float]:
    """Microseconds."""
    found = (np.array(times_ns) - overhead_ns) / 1e3
    names = ("p50", "p90", "p99", "p99_9")
    at = np.percentile(found, [50, 90, 99, 99.9])
    return {name: round(float(value), 2) for name, value in zip(names, at, strict=True)} | {
        "worst": round(float(found.max()), 1)
    }


class Timed:
    """A journal and how long its calls took."""

    def __init__(self, folder: Path, durability: Durability, group_us: int) -> None:
        self.journal = JournalWriter(
            folder, session={}, code="", config="", durability=durability, group_us=group_us, segment_rows=1 << 18
        )
        self.calls: dict[int, list[int]] = {size: [] for size in SIZES}
        self.reached: dict[int, list[int]] = {size: [] for size in SIZES}
        self.sequence = 0
        self.waits = durability != "async"

    def block(self, size: int, calls: int) -> None:
        """Commits of `size` rows."""
        journal = self.journal
        for _ in range(calls):
            rows = facts(self.sequence, size)
            self.sequence += size
            start = time.perf_counter_ns()
            journal.append(rows)
            mark = journal.commit(start, start)
            self.calls[size].append(time.perf_counter_ns() - start)
            if self.waits:
                assert journal.wait(mark, 60.0), journal.failure
                self.reached[size].append(time.perf_counter_ns() - start)


class Bare:
    """The same bytes by the system's calls alone."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(self.handle, 0, 1 << 26)
        self.sync = sync
        self.calls: dict[int, list[int]] = {size: [] for size in SIZES}
        self.at = 0

    def block(self, size: int, calls: int) -> None:
        """Writes of `size` rows and one more."""
        content = facts(0, size + 1).tobytes()
        for _ in range(calls):
            if self.at + len(content) > 1 << 26:
                self.at = 0
            start = time.perf_counter_ns()
            os.pwrite(self.handle, content, self.at)
            if self.sync:
                os.fdatasync(self.handle)
            self.calls[size].append(time.perf_counter_ns() - start)
            self.at += len(content)


def rate(count: int, work: Callable[[], Any], repeats: int) -> float:
    """Millions a second, median."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return round(count / float(np.median(found)) / 1e6, 2)


def run(commits: int, folder: Path) -> dict[str, Any]:
    """All measurements."""
    overhead = clock_ns()
    kinds: tuple[tuple[str, Durability, int], ...] = (
        ("async", "async", 0), ("group", "group", 200), ("strict", "strict", 0),
    )  # fmt: skip
    journals = {name: Timed(folder / name, durability, group_us) for name, durability, group_us in kinds}
    bare = {"pwrite": Bare(folder / "a", sync=False), "pwrite_fdatasync": Bare(folder / "b", sync=True)}
    for each in (*journals.values(), *bare.values()):
        each.block(1, 50)
        each.calls[1].clear()
    blocks = max(commits // BLOCK, 1)
    for number, size in itertools.product(range(blocks), SIZES):
        journals["async"].block(size, BLOCK)
        bare["pwrite"].block(size, BLOCK)
        if number % 10 == 0:  # A sync takes a hundred times as long.
            for each in (journals["group"], journals["strict"], bare["pwrite_fdatasync"]):
                each.block(size, BLOCK)
    result: dict[str, Any] = {"append_commit_us": {}, "until_reached_us": {}, "bare_us": {}}
    for name, each in journals.items():
        each.journal.close()
        result["append_commit_us"][name] = {size: told(each.calls[size], overhead) for size in SIZES}
        if each.waits:
            result["until_reached_us"][name] = {size: told(each.reached[size], overhead) for size in SIZES}
        check(folder / name, each.sequence)
    for name, each in bare.items():
        result["bare_us"][name] = {size: told(each.calls[size], overhead) for size in SIZES}
    at = result["append_commit_us"]["async"]
    result["per_row_us"] = round((at[64]["p50"] - at[3]["p50"]) / 61, 4)
    result["reading_rows_m_s"] = reading(folder / "async")
    block = bytes(1 << 20)
    result["checksum_mb_s"] = round(rate(len(block), lambda: crc32c(block), 20), 0)
    result["checksum_by_instruction"] = by_instruction()
    return result


def check(folder: Path, sequence: int) -> None:
    """What was timed is what is there."""
    journal = open_journal(folder)
    assert journal.problems == []
    assert journal.torn_bytes == 0
    assert journal.next_sequence() == sequence


def reading(folder: Path) -> dict[str, float]:
    """How fast a whole journal is checked."""
    journal = open_journal(folder)
    count = sum(segment.rows for segment in journal.segments)
    content = [np.fromfile(segment.path, np.int64, offset=segment.header_bytes) for segment in journal.segments]
    return {
        "check": rate(count, lambda: open_journal(folder), 5),
        "check_and_give_commits": rate(count, lambda: sum(1 for _ in journal.each()), 3),
        "numpy_sum": rate(count, lambda: [part.sum() for part in content], 5),
        "rows": count,
    }


def main() -> None:
    """Run and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--commits", type=int, default=40_000, help="of each size with async; a tenth with the others")
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        result = run(2_000 if chosen.quick else chosen.commits, Path(folder))
    result["about"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "commits": 2_000 if chosen.quick else chosen.commits,
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
