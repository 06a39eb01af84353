"""How fast is the order book, beside the least that a book can be?

Rows like a busy market near its touch: 88 % level sets and 12 % trades, 20 contiguous levels a side, spread 1-4 ticks, and a second
tape with a tenth of the sets far from the market. The floor is a plain loop over the same 64-byte rows that keeps two arrays
indexed by tick, large enough for everything, and finds the best by stepping: no window, no overflow, no states, no checks.
Both must agree on every best bid and ask (their sum is compared).

usage: bench_book.py [--quick] [--rows N] [--repeats N] [--window LEVELS]      prints one JSON object
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import njit

from twinloop.kernels import rows
from twinloop.kernels.book import book_apply, book_clear, book_dtype

SEED = 7
LEVELS = 20
START = 500_000  # ticks
FAR = 30_000  # ticks; beyond every window measured here
REACH = 60_000  # ticks the floor's arrays hold on either side of START


@njit
def generate(draws: Any, qtys: Any, far_share: float, table: Any) -> int:
    """Fill table (kind, side, tick, qty) from (n, 3) uniform draws; return how many rows were written."""
    bid, ask = START, START + 1
    count = 0
    for level in range(LEVELS):
        for side in (1, -1):
            table[count] = (rows.LEVEL, side, bid - level if side > 0 else ask + level, qtys[count])
            count += 1
    i = 0
    while count < len(table) - 4:
        choice, which, place = draws[i]
        qty = qtys[count]
        i += 1
        side = 1 if which < 0.5 else -1
        best = bid if side > 0 else ask
        if ask - bid > 3 or (ask - bid > 1 and choice < 0.06):  # A new best inside the spread; the last level goes.
            best += side
            table[count] = (rows.LEVEL, side, best, qty)
            table[count + 1] = (rows.LEVEL, side, best - side * LEVELS, 0)
            count += 2
        elif choice < 0.16:  # A trade at the best, then the level that shows it; one in eight takes the level away.
            emptied = place < 0.125 and START - 2000 < best < START + 2000
            table[count] = (rows.TRADE, -side, best, qty)
            table[count + 1] = (rows.LEVEL, side, best, 0 if emptied else qty)
            count += 2
            if emptied:
                best -= side
                table[count] = (rows.LEVEL, side, best - side * (LEVELS - 1), qty)
                count += 1
        elif place < far_share:
            distance = FAR + np.int64(choice * 1000) * 10
            table[count] = (rows.LEVEL, side, best - side * distance, 0 if qty & 1 else qty)
            count += 1
        else:
            distance = min(LEVELS - 1, np.int64(-np.log(1.0 - place * 0.9999) * 4.0))
            table[count] = (rows.LEVEL, side, best - side * distance, qty)
            count += 1
        if side > 0:
            bid = best
        else:
            ask = best
    return count


def tape(count: int, far_share: float, tick_size: int) -> Any:
    """A contiguous array of ROWs."""
    rng = np.random.default_rng(SEED)
    table = np.zeros((count, 4), "i8")
    qtys = (np.round(rng.lognormal(0.0, 0.8, count), 3) * 1000).astype("i8") + 50
    written = generate(rng.random((count, 3)), qtys, far_share, table)
    events = np.zeros(written, rows.ROW)
    for column, name in enumerate(("kind", "side", "price", "qty")):
        events[name] = table[:written, column]
    events["price"] *= tick_size
    events["flags"] = rows.FLAG_EVENT_END
    return events


@njit
def floor(events: Any, tick_size: int, bids: Any, asks: Any) -> int:
    """The plain loop."""
    bid, ask = 0, len(asks) - 1
    base = (START - REACH) * tick_size
    total = 0
    for i in range(len(events)):
        row = events[i]
        if row["kind"] == rows.LEVEL:
            tick = (row["price"] - base) // 10
            qty = row["qty"]
            if row["side"] > 0:
                bids[tick] = qty
                if qty > 0:
                    bid = max(bid, tick)
                elif tick == bid:
                    while bids[bid] == 0:
                        bid -= 1
            else:
                asks[tick] = qty
                if qty > 0:
                    ask = min(ask, tick)
                elif tick == ask:
                    while asks[ask] == 0:
                        ask += 1
            total += bid + ask
    return total


@njit
def through_book(events: Any, books: Any) -> int:
    """The book, through the call the engine makes."""
    book = books[0]
    total = 0
    for i in range(len(events)):
        row = events[i]
        if row["kind"] == rows.LEVEL:
            book_apply(book, row)
            total += book["best_bid"] + book["best_ask"]
    return total


@njit
def clear(books: Any, tick_size: int) -> int:
    """Compiled entry to book_clear."""
    return book_clear(books[0], tick_size)


def measure(run: Callable[[], int], prepare: Callable[[], Any]) -> float:
    """CPU seconds of one run on prepared state: on a shared machine wall time measures the neighbours."""
    prepare()
    start = time.process_time()
    run()
    return time.process_time() - start


def summary(seconds: list[float], count: int) -> dict[str, float]:
    """Median, p99 and spread of ns per row over the repeats."""
    per_row = sorted(value / count * 1e9 for value in seconds)
    return {
        "median_ns": round(statistics.median(per_row), 3),
        "p99_ns": round(per_row[min(len(per_row) - 1, int(len(per_row) * 0.99))], 3),
        "min_ns": round(per_row[0], 3),
        "spread": round((per_row[-1] - per_row[0]) / statistics.median(per_row), 3),
        "million_rows_per_second": round(1e3 / statistics.median(per_row), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, 3 repeats")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--window", type=int, default=4096)
    arguments = parser.parse_args()
    count, repeats = (200_000, 3) if arguments.quick else (arguments.rows, arguments.repeats)
    tick_size = 10
    books = np.zeros(1, book_dtype(arguments.window))
    bids, asks = np.zeros(2 * REACH, "i8"), np.zeros(2 * REACH, "i8")
    start = time.perf_counter()
    clear(books, tick_size)
    through_book(tape(1000, 0.0, tick_size), books)
    compile_s = time.perf_counter() - start
    results: dict[str, Any] = {}
    for name, far_share in (("near", 0.0), ("tenth_far", 0.1)):
        events = tape(count, far_share, tick_size)
        # The floor's ticks count from its arrays' start; the book's prices are scaled.
        levels = int((events["kind"] == rows.LEVEL).sum())

        def prepare_floor() -> None:
            bids[:] = 0
            asks[:] = 0

        def prepare_book() -> None:
            clear(books, tick_size)

        prepare_floor()
        prepare_book()
        floor_total = floor(events, tick_size, bids, asks)
        first_ask_missing = 2 * REACH - 1  # The floor's ask before the first ask row; the book's is 0.
        expected = (floor_total - first_ask_missing + 2 * (levels - 1) * (START - REACH) + (START - REACH)) * tick_size
        assert through_book(events, books) == expected
        times: dict[str, list[float]] = {"floor": [], "book": []}
        for _ in range(repeats):
            times["floor"].append(measure(lambda: floor(events, tick_size, bids, asks), prepare_floor))  # noqa: B023
            times["book"].append(measure(lambda: through_book(events, books), prepare_book))  # noqa: B023
        results[name] = {key: summary(value, len(events)) for key, value in times.items()}
        results[name]["book_over_floor"] = round(
            statistics.median(times["book"]) / statistics.median(times["floor"]), 3
        )
        results[name]["rows"] = len(events)
        results[name]["level_rows"] = levels
        results[name]["moves_of_the_window"] = int(books[0]["rebases"])
        assert books[0]["lost"] == 0
    report = {
        "question": "ns of CPU per row of the order book, beside a plain array loop",
        "seed": SEED,
        "window": arguments.window,
        "compile_s": round(compile_s, 2),
        "results": results,
        "versions": {"python": sys.version.split()[0], "numba": numba.__version__, "numpy": np.__version__},
        "cpu": platform.processor() or platform.machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
