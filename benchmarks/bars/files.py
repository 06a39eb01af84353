"""How fast stored rows come back: from the row cache, and from Parquet."""

from typing import Any

from numba import njit

ROWS = 5_000_000


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
