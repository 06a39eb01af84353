"""Judging a table's records: the first code a record gets stays, and no verdict touches another record.

The codes are listed in tables.py. This module must not read text or make rows.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data import decimals as d
from twinloop.data.decimals import Decimals

NUMBER_CODES: Final = {
    d.MISSING: "missing",
    d.NOT_FINITE: "nan",
    d.NOT_A_NUMBER: "not_a_number",
    d.TOO_LARGE: "too_large",
    d.TOO_FINE: "too_fine",
}
WINDOW_RECORDS: Final = 21  # Records whose median an outlier is measured against; fewer than half of them may be wrong.


class Verdicts:
    """Codes of (n,) records; "" is fine."""

    def __init__(self, count: int) -> None:
        self.code: NDArray[np.object_] = np.full(count, "", object)
        self._wrong = np.zeros(count, np.bool_)

    @property
    def fine(self) -> NDArray[np.bool_]:
        """(n,) bool: records that have no code yet."""
        return ~self._wrong

    def mark(self, wrong: NDArray[np.bool_], code: str) -> None:
        """Give a code to the wrong ones among the fine."""
        chosen = wrong & ~self._wrong
        if chosen.any():
            self.code[chosen] = code
            self._wrong |= chosen

    def mark_texts(self, codes: NDArray[np.object_]) -> None:
        """Give codes, "" for none."""
        chosen = np.asarray(codes != "", np.bool_) & ~self._wrong
        self.code[chosen] = codes[chosen]
        self._wrong |= chosen

    def mark_numbers(self, status: NDArray[np.int8], codes: Mapping[int, str]) -> None:
        """Give codes by the status of a number."""
        for value, code in codes.items():
            self.mark(status == value, code)

    def outliers(self, columns: Mapping[str, Decimals], jump_max: float) -> None:
        """Mark prices over jump_max times, or under its inverse of, the median of the records around them."""
        wild = np.zeros(self.code.size, np.bool_)
        fine = np.flatnonzero(self.fine)
        for numbers in columns.values():
            # A statistic: float is fine.
            prices = numbers.mantissa[fine].astype(np.float64) / 10.0 ** numbers.decimals[fine]
            usual = pl.Series(prices).rolling_median(WINDOW_RECORDS, min_samples=1, center=True).to_numpy()
            sound = (prices > 0) & (usual > 0)
            wild[fine] |= sound & ((prices > usual * jump_max) | (prices * jump_max < usual))
        self.mark(wild, "outlier")

    def high_low(
        self,
        opens: NDArray[np.int64],
        highs: NDArray[np.int64],
        lows: NDArray[np.int64],
        closes: NDArray[np.int64],
    ) -> None:
        """Mark bars whose high is not the highest or low not the lowest of their four prices; (n,) at one scale."""
        self.mark((highs < np.maximum(opens, closes)) | (lows > np.minimum(opens, closes)) | (highs < lows), "high_low")

    def repeats(self, keys: pl.Series) -> None:
        """Mark fine records whose key an earlier fine record has; a missing key repeats nothing."""
        fine = np.flatnonzero(self.fine)
        chosen = keys.gather(fine)
        again = (~chosen.is_first_distinct() & chosen.is_not_null()).to_numpy()
        wrong = np.zeros(self.code.size, np.bool_)
        wrong[fine[again]] = True
        self.mark(wrong, "duplicate")

    def longest_run(self, clock: NDArray[np.int64]) -> None:
        """Mark the fewest records without which times never fall (a longest non-decreasing subsequence stays).

        Patience sorting, O(n log n), over the stretches in disorder.
        """
        fine = np.flatnonzero(self.fine)
        times = clock[fine]
        # Records below everything after and above everything before are in every longest run.
        highest = np.maximum.accumulate(times)
        lowest = np.minimum.accumulate(times[::-1])[::-1]
        settled = (times >= highest) & (times <= lowest)
        wrong = np.zeros(self.code.size, np.bool_)
        edges = np.flatnonzero(np.diff(np.concatenate(([True], settled, [True])).astype(np.int8)))
        for start, stop in zip(edges[0::2], edges[1::2], strict=True):
            part = times[start:stop]
            # Among equally long runs, the one nearest to its sound neighbours: those after it at the start of a table.
            if start == 0:
                kept = [part.size - 1 - index for index in _longest_run((-part[::-1]).tolist())]
            else:
                kept = _longest_run(part.tolist())
            stretch = np.ones(part.size, np.bool_)
            stretch[kept] = False
            wrong[fine[start:stop][stretch]] = True
        self.mark(wrong, "out_of_order")

    def most_frequent(self) -> str:
        """Code that most records have, the first of equals by name."""
        counts = Counter(str(code) for code in self.code if code)
        return min(counts, key=lambda code: (-counts[code], code), default="")


def _longest_run(times: list[int]) -> list[int]:
    """Indices of a longest non-decreasing subsequence."""
    ends: list[int] = []
    at: list[int] = []
    before = [-1] * len(times)
    for index, value in enumerate(times):
        length = bisect_right(ends, value)
        before[index] = at[length - 1] if length else -1
        if length == len(ends):
            ends.append(value)
            at.append(index)
        else:
            ends[length] = value
            at[length] = index
    run = []
    index = at[-1] if at else -1
    while index >= 0:
        run.append(index)
        index = before[index]
    return run[::-1]
