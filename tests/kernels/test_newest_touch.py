"""Best prices where the newest row wins a cross, against a dict, by random rows around a small window."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.newest_touch import NewestTouch

from twinloop.kernels import book, rows
from twinloop.kernels.jit import njit
from twinloop.kernels.newest_touch import NEWEST, newest_apply, newest_clear, newest_price, newest_qty

BOOK = book.book_dtype(64, 256)


@njit(cache=True)
def start(books: Any, newests: Any, tick: int) -> None:
    book.book_clear(books[0], tick)
    newest_clear(newests[0])


@njit(cache=True)
def drive(books: Any, newests: Any, events: Any, seen: Any) -> None:
    """seen: (rows, 5) int64: improved, bid, its quantity, ask, its quantity after each row."""
    for i in range(events.shape[0]):
        seen[i, 0] = newest_apply(newests[0], books[0], events[i])
        for side in range(2):
            seen[i, 1 + 2 * side] = newest_price(newests[0], side)
            seen[i, 2 + 2 * side] = newest_qty(newests[0], books[0], side)


def run(events: list[tuple[int, int, int, int]], tick: int) -> list[list[int]]:
    return run_books(events, tick)[1]


def run_books(events: list[tuple[int, int, int, int]], tick: int) -> tuple[Any, list[list[int]]]:
    """The book, and what was seen after each row; every row ends its message."""
    books, newests = np.zeros(1, BOOK), np.zeros(1, NEWEST)
    start(books, newests, tick)
    table = np.zeros(len(events), rows.ROW)
    for row, (kind, side, price, qty) in zip(table, events, strict=True):
        row["kind"], row["side"], row["price"], row["qty"] = kind, side, price * tick, qty
        row["flags"] = rows.FLAG_EVENT_END
    seen = np.zeros((len(events), 5), np.int64)
    drive(books, newests, table, seen)
    return books[0], seen.tolist()


def expected(events: list[tuple[int, int, int, int]], tick: int) -> list[list[int]]:
    twin = NewestTouch(tick)
    seen = []
    for kind, side, price, qty in events:
        improved = False
        if kind == rows.CLEAR and side != 0:
            twin.clear_through(side, price * tick)
        elif kind in (rows.CLEAR, rows.SNAPSHOT_BEGIN):
            twin.clear()
        elif kind != rows.SNAPSHOT_END:
            improved = twin.set(side, price * tick, qty)
        state = [int(improved)]
        for of in (1, -1):
            best = twin.best[of]
            state += [0, 0] if best is None else [best, twin.lots[of].get(best, 0)]
        seen.append(state)
    return seen


SIDE = st.sampled_from((1, -1))
PRICE = st.integers(1000, 1012) | st.integers(900, 1100)
LEVEL = st.tuples(st.just(rows.LEVEL), SIDE, PRICE, st.integers(0, 3))
OTHER = st.tuples(st.just(rows.CLEAR), st.sampled_from((1, -1, 1, -1, 0)), PRICE, st.just(0))
EVENTS = st.lists(st.one_of(*[LEVEL] * 12, OTHER), max_size=200)


@given(events=EVENTS, tick=st.sampled_from((1, 5)))
def test_best_prices_equal_the_twin_after_every_row(events: list[tuple[int, int, int, int]], tick: int) -> None:
    assert run(events, tick) == expected(events, tick)


@pytest.mark.parametrize("side", [1, -1])
def test_a_crossing_level_passes_over_the_other_side(side: int) -> None:
    # Levels of the other side at 1 and 2 steps; ours arrives at 2 steps; what was passed over returns only when set again.
    other = [(rows.LEVEL, -side, 1000 + side * step, 1) for step in (1, 2, 3)]
    ours = [(rows.LEVEL, side, 1000 + side * 2, 1), (rows.LEVEL, side, 1000 + side * 2, 0)]
    again = [(rows.LEVEL, -side, 1000 + side, 2)]
    seen = run(other + ours + again, 1)
    at = 3 if side > 0 else 1
    assert [row[at] for row in seen] == [1000 + side * step for step in (1, 1, 1, 3, 3, 1)]


def test_passed_over_levels_do_not_make_a_crossed_book() -> None:
    record, seen = run_books([(rows.LEVEL, -1, 1000, 1), (rows.LEVEL, -1, 1003, 1), (rows.LEVEL, 1, 1001, 1)], 1)
    assert seen[-1][1::2] == [1001, 1003]
    assert record["state"] == book.BOOK_LIVE
    assert record["best_ask"] == 1000


def test_a_snapshot_clears_both_sides() -> None:
    begin, end = (rows.SNAPSHOT_BEGIN, 0, 0, 0), (rows.SNAPSHOT_END, 0, 0, 0)
    levels = [(rows.SNAPSHOT_LEVEL, 1, 1000, 2), (rows.SNAPSHOT_LEVEL, -1, 1001, 3)]
    events = [(rows.LEVEL, 1, 1005, 1), begin, *levels, end]
    assert run(events, 1) == expected(events, 1)
    assert run(events, 1)[-1] == [0, 1000, 2, 1001, 3]
