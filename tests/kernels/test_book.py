"""The order book against a dict, by random operations around small windows, and against recorded markets."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import config, njit
from reference import book as reference

from twinloop.kernels import bits, book, rows
from twinloop.kernels.book_depth import depth_qty
from twinloop.kernels.book_window import NO_KEY

SMALL = book.book_dtype(64, 256)
ASKED = 12


@njit(cache=True)
def apply_rows(books: Any, events: Any, statuses: Any, replaced: Any) -> None:
    for i in range(len(events)):
        statuses[i] = book.book_apply(books[0], events[i])
        replaced[i] = books[0]["replaced_qty"]


@njit(cache=True)
def clear(books: Any, tick_size: int) -> int:
    return book.book_clear(books[0], tick_size)


@njit(cache=True)
def ask_depth(books: Any, side: int, levels: int, prices: Any, qtys: Any) -> int:
    return book.depth(books[0], side, levels, prices, qtys)


@njit(cache=True)
def ask_levels(books: Any, side: int, prices: Any, qtys: Any, following: Any) -> None:
    for i in range(len(prices)):
        qtys[i] = book.qty_at(books[0], side, prices[i])
        following[i] = book.next_level(books[0], side, prices[i])


@njit(cache=True)
def ask_sweep(books: Any, side: int, qty: int, limit: int) -> Any:
    return book.sweep_cost(books[0], side, qty, limit)


@njit(cache=True)
def ask_imbalance(books: Any, levels: int) -> Any:
    return book.imbalance(books[0], levels), depth_qty(books[0], 0, levels), depth_qty(books[0], 1, levels)


def new_book(tick_size: int = 1, dtype: np.dtype[np.void] = SMALL) -> Any:
    books = np.zeros(1, dtype)
    assert clear(books, tick_size) == book.BOOK_OK
    return books


def as_rows(events: list[tuple[int, int, int, int, int]]) -> Any:
    """(kind, side index, price or tick size, qty, flags) as ROWs."""
    table = np.zeros(len(events), rows.ROW)
    for row, (kind, side, price, qty, flags) in zip(table, events, strict=True):
        row["kind"], row["side"], row["flags"] = kind, -1 if side else 1, flags
        row["price"], row["qty"] = price, qty
        if kind == rows.INSTRUMENT:
            row["tick_size"] = price
    return table


def feed(books: Any, events: list[tuple[int, int, int, int, int]]) -> tuple[list[int], list[int]]:
    statuses, replaced = np.zeros(len(events), "i8"), np.zeros(len(events), "i8")
    apply_rows(books, as_rows(events), statuses, replaced)
    return statuses.tolist(), replaced.tolist()


def count_levels(books: Any, side: int) -> int:
    return int(np.count_nonzero(books[0]["qty"][side])) + int(books[0]["overflow_count"][side])


def ladder(books: Any, side: int) -> list[tuple[int, int]]:
    levels = count_levels(books, side)
    prices, qtys = np.zeros(levels + 1, "i8"), np.zeros(levels + 1, "i8")
    count = ask_depth(books, side, levels + 1, prices, qtys)
    assert count == levels
    return list(zip(prices[:count].tolist(), qtys[:count].tolist(), strict=True))


def check_inside(books: Any) -> None:
    """What kernels/book_window.py promises to hold between calls."""
    record = books[0]
    window = record["qty"].shape[1]
    for side in (0, 1):
        slots = np.flatnonzero(record["qty"][side])
        occupied = [slot for slot in range(window) if int(record["occupied"][side, slot >> 6]) >> (slot & 63) & 1]
        assert slots.tolist() == occupied
        full = [word for word in range(window // 64) if int(record["summary"][side, word >> 6]) >> (word & 63) & 1]
        assert full == np.flatnonzero(record["occupied"][side]).tolist()
        count = int(record["overflow_count"][side])
        assert (record["best_key"][side] == NO_KEY) == (len(slots) + count == 0)
        keys = record["overflow_key"][side, :count].tolist()
        assert keys == sorted(set(keys))
        assert (record["overflow_qty"][side, :count] > 0).all()
        on_grid = [key for key in keys if key % int(record["tick_size"]) == 0]
        assert all(key < record["base_key"][side] for key in on_grid)
        assert len(slots) > 0 or not on_grid


def check_same(books: Any, twin: reference.Book) -> None:
    check_inside(books)
    record = books[0]
    names = (("best_bid", "best_bid_qty"), ("best_ask", "best_ask_qty"))
    for side in (0, 1):
        assert ladder(books, side) == twin.ladder(side)
        price, qty = names[side]
        assert (record[price], record[qty]) == twin.best(side)
        known = list(twin.sides[side])[:ASKED]
        asked = np.array([*known, *(price + 1 for price in known), *(price - 7 for price in known), 0, 10**9], "i8")
        qtys, following = np.zeros(len(asked), "i8"), np.zeros(len(asked), "i8")
        ask_levels(books, side, asked, qtys, following)
        assert qtys.tolist() == [twin.sides[side].get(price, 0) for price in asked.tolist()]
        assert following.tolist() == [twin.next_level(side, price) for price in asked.tolist()]
        for want in (1, 9, 10**9):
            for limit in (None, *known[:2], 1005):
                answer = ask_sweep(books, side, want, book.NO_PRICE if limit is None else limit)
                assert answer == (*twin.sweep(side, want, limit), 0)
    for levels in (1, 5, 10**6):
        assert ask_imbalance(books, levels)[0] == twin.imbalance(levels)
    assert (record["state"], record["off_grid"], record["invalid"]) == (twin.state, twin.off_grid, twin.refused)
    assert (record["crossed"], record["lost"]) == (twin.crossed, 0)


# Prices near a drifting market, at the window's edges, far away, negative, and (with tick 5) off the grid.
NEAR = st.integers(960, 1040)
EDGE = st.integers(700, 1300)
FAR = st.sampled_from([5, 3000, 3001, 617_050, -40, 2_000_000_000_000])
PRICE = st.one_of(NEAR, NEAR, EDGE, FAR)
QTY = st.one_of(st.just(0), st.integers(1, 20))
END = st.sampled_from([0, rows.FLAG_EVENT_END])
SIDE = st.integers(0, 1)
LEVELS = st.tuples(st.just(rows.LEVEL), SIDE, PRICE, QTY, END)
OTHERS = st.one_of(
    st.tuples(st.sampled_from([rows.SNAPSHOT_LEVEL]), SIDE, PRICE, QTY, st.just(0)),
    st.tuples(
        st.sampled_from([rows.SNAPSHOT_BEGIN, rows.SNAPSHOT_END, rows.CLEAR, rows.FEED_GAP, rows.TRADE]),
        st.just(0),
        st.just(0),
        st.just(0),
        st.just(0),
    ),
    st.tuples(st.just(rows.INSTRUMENT), st.just(0), st.sampled_from([1, 2, 5, 8, 12]), st.just(0), st.just(0)),
)
ROWS = st.one_of(*([LEVELS] * 9), OTHERS)


@given(tick_size=st.sampled_from([1, 2, 5, 10]), events=st.lists(ROWS, max_size=120), chunk=st.integers(1, 40))
@example(tick_size=5, events=[(rows.LEVEL, 0, 1003, 4, 4), (rows.LEVEL, 0, 1003, 0, 4)], chunk=1)
def test_book_agrees_with_a_dict(tick_size: int, events: list[tuple[int, int, int, int, int]], chunk: int) -> None:
    books, twin = new_book(tick_size), reference.Book(tick_size)
    for start in range(0, len(events), chunk):
        part = events[start : start + chunk]
        feed(books, part)
        for event in part:
            twin.apply(*event)
        check_same(books, twin)


@given(
    moves=st.lists(st.tuples(st.integers(-90, 90), st.integers(1, 6), SIDE), min_size=5, max_size=40),
    tick=st.sampled_from([1, 3]),
)
def test_book_follows_a_market_that_runs_away(moves: list[tuple[int, int, int]], tick: int) -> None:
    books, twin = new_book(tick), reference.Book(tick)
    middle = 50_000
    for step, qty, side in moves:
        middle += step
        sign = 1 if side else -1
        events = [(rows.LEVEL, side, (middle + sign * k) * tick, qty + k, 0) for k in range(12)]
        # The side that the market ran over loses what lies on the wrong side of it.
        stale = [
            price for price in twin.sides[1 - side] if (price <= middle * tick if side == 0 else price >= middle * tick)
        ]
        events += [(rows.LEVEL, 1 - side, price, 0, rows.FLAG_EVENT_END) for price in stale]
        stale = [price for price in twin.sides[side] if (price > middle * tick if side == 0 else price < middle * tick)]
        events += [(rows.LEVEL, side, price, 0, rows.FLAG_EVENT_END) for price in stale]
        _, replaced = feed(books, events)
        expected = [twin.set(event[1], event[2], event[3]) for event in events]
        assert replaced == expected
        twin.state = int(books[0]["state"])
        twin.crossed = int(books[0]["crossed"])
        check_same(books, twin)


def test_zeroed_memory_is_an_empty_book_that_wants_a_tick_size() -> None:
    books = np.zeros(1, SMALL)
    assert books[0]["state"] == book.BOOK_EMPTY
    assert feed(books, [(rows.LEVEL, 0, 10, 1, 4)])[0] == [book.BOOK_BAD_TICK]
    assert books[0]["state"] == book.BOOK_INVALID
    assert clear(books, 0) == book.BOOK_BAD_TICK
    assert clear(books, 1) == book.BOOK_OK
    assert feed(books, [(rows.LEVEL, 0, 10, 1, 4)])[0] == [book.BOOK_OK]
    assert books[0]["state"] == book.BOOK_LIVE
    assert books[0]["invalid"] == 2


@pytest.mark.parametrize(
    ("price", "qty", "status"),
    [
        (10, -1, book.BOOK_BAD_QTY),
        (2**61, 1, book.BOOK_BAD_PRICE),
        (-(2**63), 1, book.BOOK_BAD_PRICE),
        (2**63 - 1, 1, book.BOOK_BAD_PRICE),
    ],
)
def test_impossible_level_is_refused_and_the_book_invalid(price: int, qty: int, status: int) -> None:
    for side in (0, 1):
        books = new_book()
        assert feed(books, [(rows.LEVEL, side, 10, 5, 4), (rows.LEVEL, side, price, qty, 4)])[0] == [
            book.BOOK_OK,
            status,
        ]
        assert books[0]["state"] == book.BOOK_INVALID
        assert ladder(books, side) == [(10, 5)]
        feed(
            books,
            [(rows.SNAPSHOT_BEGIN, 0, 0, 0, 0), (rows.SNAPSHOT_LEVEL, side, 9, 3, 0), (rows.SNAPSHOT_END, 0, 0, 0, 0)],
        )
        assert books[0]["state"] == book.BOOK_LIVE


def test_off_grid_level_is_kept_counted_and_can_be_the_best() -> None:
    books = new_book(10)
    events = [
        (rows.LEVEL, 0, 1000, 5, 4),
        (rows.LEVEL, 0, 1003, 2, 4),
        (rows.LEVEL, 1, 1020, 1, 4),
        (rows.LEVEL, 1, 1011, 7, 4),
    ]
    assert feed(books, events)[0] == [book.BOOK_OK, book.BOOK_OFF_GRID, book.BOOK_OK, book.BOOK_OFF_GRID]
    assert books[0]["off_grid"] == 2
    assert ladder(books, 0) == [(1003, 2), (1000, 5)]
    assert ladder(books, 1) == [(1011, 7), (1020, 1)]
    assert feed(books, [(rows.INSTRUMENT, 0, 1, 0, 0)])[0] == [book.BOOK_OK]
    assert books[0]["overflow_count"].tolist() == [0, 0]
    assert ladder(books, 0) == [(1003, 2), (1000, 5)]


def test_full_overflow_makes_the_book_invalid_until_the_next_snapshot() -> None:
    books = new_book(1, book.book_dtype(64, 4))
    events = [(rows.LEVEL, 0, 10_000, 1, 4), *((rows.LEVEL, 0, price, 1, 4) for price in (100, 200, 300, 400))]
    assert feed(books, events)[0] == [book.BOOK_OK] * 5
    assert books[0]["state"] == book.BOOK_LIVE
    assert feed(books, [(rows.LEVEL, 0, 500, 1, 4), (rows.LEVEL, 0, 50, 1, 4)])[0] == [book.BOOK_FULL] * 2
    assert (books[0]["lost"], books[0]["state"]) == (2, book.BOOK_INVALID)
    assert ladder(books, 0) == [(10_000, 1), (500, 1), (400, 1), (300, 1), (200, 1)]  # The farthest are lost.
    feed(books, [(rows.LEVEL, 0, 200, 0, 4), (rows.SNAPSHOT_END, 0, 0, 0, 0)])
    assert books[0]["state"] == book.BOOK_INVALID
    feed(books, [(rows.CLEAR, 0, 0, 0, 0)])
    assert books[0]["state"] == book.BOOK_EMPTY
    assert books[0]["lost"] == 2


@pytest.mark.parametrize("jump", [40, 200])
def test_window_that_leaves_too_many_levels_behind_loses_the_farthest(jump: int) -> None:
    books = new_book(1, book.book_dtype(64, 4))
    feed(books, [(rows.LEVEL, 0, 1000 - k, k + 1, 4) for k in range(30)])
    assert books[0]["state"] == book.BOOK_LIVE
    assert feed(books, [(rows.LEVEL, 0, 1000 + jump, 9, 4)])[0] == [book.BOOK_FULL]
    assert books[0]["state"] == book.BOOK_INVALID
    kept = ladder(books, 0)
    assert kept == [(1000 + jump, 9), *((1000 - k, k + 1) for k in range(len(kept) - 1))]
    assert len(kept) == 31 - books[0]["lost"]
    check_inside(books)


def test_tick_change_that_does_not_fit_the_overflow_makes_the_book_invalid() -> None:
    books = new_book(1, book.book_dtype(64, 4))
    feed(books, [(rows.LEVEL, 1, 1000 + k, k + 1, 4) for k in range(6)])
    assert feed(books, [(rows.INSTRUMENT, 0, 2, 0, 0)])[0] == [book.BOOK_FULL]
    assert (books[0]["lost"], books[0]["state"]) == (2, book.BOOK_INVALID)
    assert ladder(books, 1) == [(1000, 1), (1001, 2), (1002, 3), (1003, 4)]
    assert feed(books, [(rows.INSTRUMENT, 0, 0, 0, 0)])[0] == [book.BOOK_BAD_TICK]


def test_crossed_book_is_live_again_when_uncrossed_and_only_at_event_ends() -> None:
    books = new_book()
    feed(books, [(rows.LEVEL, 0, 100, 1, 4), (rows.LEVEL, 1, 101, 1, 4)])
    assert books[0]["state"] == book.BOOK_LIVE
    feed(books, [(rows.LEVEL, 0, 101, 1, 0)])
    assert books[0]["state"] == book.BOOK_LIVE
    feed(books, [(rows.LEVEL, 0, 99, 1, rows.FLAG_EVENT_END)])
    assert books[0]["state"] == book.BOOK_CROSSED
    feed(books, [(rows.LEVEL, 1, 101, 0, 4), (rows.LEVEL, 1, 102, 1, 4)])
    assert books[0]["state"] == book.BOOK_LIVE
    assert books[0]["crossed"] == 1


def test_sweep_whose_notional_does_not_fit_says_so() -> None:
    books = new_book()
    feed(books, [(rows.LEVEL, 1, 2**40, 2**30, 4)])
    assert ask_sweep(books, 1, 2**30, book.NO_PRICE) == (2**30, 0, 2**40, 1)
    assert ask_sweep(books, 1, 2**20, book.NO_PRICE) == (2**20, 2**60, 2**40, 0)


@pytest.mark.parametrize("window", [0, 32, 100, 2**19])
def test_window_must_be_a_power_of_two(window: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        book.book_dtype(window)
    with pytest.raises(ValueError, match="at least one"):
        book.book_dtype(64, 0)


@njit(cache=True)
def compiled_bits(distance: int, inverse_of: int, shift: int, word: int) -> Any:
    inverse = bits.odd_inverse(inverse_of)
    top = bits.highest_bit(word) if word != 0 else -1
    return inverse, bits.grid_offset(distance, 0, inverse, shift), top


@given(
    distance=st.integers(-(2**62), 2**62),
    step=st.one_of(st.integers(1, 200), st.sampled_from([10**6, 2**40, 10**12])),
    word=st.integers(-(2**63), 2**63 - 1),
)
def test_grid_offset_is_the_quotient_of_multiples_and_out_of_range_else(distance: int, step: int, word: int) -> None:
    shift = (step & -step).bit_length() - 1
    for value in (distance, distance - distance % step):
        inverse, offset, top = compiled_bits(value, step >> shift, shift, word)
        assert inverse == bits.odd_inverse(step >> shift)
        assert offset == bits.grid_offset(value, 0, inverse, shift)
        assert top == (bits.highest_bit(word) if word else -1) == (word % 2**64).bit_length() - 1
        if value % step == 0 and value >= 0:
            assert offset == value // step
        else:
            assert not 0 <= offset <= 2**62 // step


# Recorded markets.

PAIRS = {
    "usdm_btcusdt_2023": (("usdm_btcusdt_20230404.gz", "usdm_btcusdt_20230405.gz"), 2, 3, 10),
    "usdm_btcusdt_2024": (("usdm_btcusdt_20240808.gz",), 2, 3, 10),
    "usdm_ethusdt_2024": (("usdm_ethusdt_20240808.gz",), 2, 3, 1),
    "spot_btcusdt_2024": (("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"), 8, 8, 1_000_000),
    "cm_btcusd_2024": (("cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"), 1, 0, 1),
}


def scaled(text: str, scale: int) -> int:
    whole, _, fraction = text.partition(".")
    assert not fraction[scale:].strip("0")
    return int(whole + fraction[:scale].ljust(scale, "0"))


def recorded(path: Path, waiting: list[Any] | None, scales: tuple[int, int]) -> tuple[Any, Any]:
    """Rows of one recording and their local times. Diffs before the snapshot wait for it; those it covers are left out."""
    table: list[tuple[int, int, int, int, int]] = []
    stamps: list[str] = []

    def add(data: Any, kind: int, names: tuple[str, str]) -> None:
        found = [
            (kind, side, scaled(p, scales[0]), scaled(q, scales[1]), 0) for side in (0, 1) for p, q in data[names[side]]
        ]
        if found and kind == rows.LEVEL:
            found[-1] = (*found[-1][:4], rows.FLAG_EVENT_END)
        table.extend(found)

    with gzip.open(path, "rt") as lines:
        for line in lines:
            stamp, text = line.split(" ", 1)
            if "depthUpdate" in text:
                data = json.loads(text)["data"]
                if waiting is not None:
                    waiting.append(data)
                else:
                    add(data, rows.LEVEL, ("b", "a"))
            elif text.startswith('{"lastUpdateId"'):
                data = json.loads(text)
                table.append((rows.SNAPSHOT_BEGIN, 0, 0, 0, 0))
                add(data, rows.SNAPSHOT_LEVEL, ("bids", "asks"))
                table.append((rows.SNAPSHOT_END, 0, 0, 0, 0))
                for earlier in waiting or ():
                    if earlier["u"] >= data["lastUpdateId"]:
                        add(earlier, rows.LEVEL, ("b", "a"))
                waiting = None
            stamps.extend([stamp] * (len(table) - len(stamps)))
    columns = np.array(table, "i8")
    events = np.zeros(len(table), rows.ROW)
    for name, column in zip(("kind", "side", "price", "qty", "flags"), columns.T, strict=True):
        events[name] = column if name != "side" else 1 - 2 * column
    return events, np.array(stamps, "i8")


@pytest.mark.parametrize("name", PAIRS)
def test_recorded_market_begins_as_a_dict_has_it(real_data: Path, name: str) -> None:
    """The snapshot and the first messages behind it, few enough for a kernel without the JIT."""
    files, price_scale, qty_scale, tick_size = PAIRS[name]
    events, _ = recorded(real_data / "binance-raw-ws" / files[0], [], (price_scale, qty_scale))
    events = events[: 1 + np.flatnonzero(events["flags"][:15_000] & rows.FLAG_EVENT_END)[-1]]
    assert len(events) > 10_000
    books, twin = new_book(tick_size, book.book_dtype(4096)), reference.Book(tick_size)
    statuses, replaced = np.zeros(len(events), "i8"), np.zeros(len(events), "i8")
    apply_rows(books, events, statuses, replaced)
    assert not statuses.any()
    columns = (events["kind"], (events["side"] < 0).astype(int), events["price"], events["qty"], events["flags"])
    for event in zip(*(column.tolist() for column in columns), strict=True):
        twin.apply(*event)
    check_inside(books)
    for side, best in ((0, "best_bid"), (1, "best_ask")):
        assert ladder(books, side) == twin.ladder(side)
        assert (books[0][best], books[0][best + "_qty"]) == twin.best(side)
    assert (books[0]["state"], books[0]["off_grid"], books[0]["lost"]) == (book.BOOK_LIVE, twin.off_grid, 0)


@pytest.mark.skipif(
    bool(config.DISABLE_JIT), reason="whole recordings are for compiled kernels: their beginning is compared above"
)
@pytest.mark.parametrize("name", PAIRS)
def test_recorded_market_ends_with_the_published_book(real_data: Path, name: str) -> None:
    files, price_scale, qty_scale, tick_size = PAIRS[name]
    folder = real_data / "binance-raw-ws"
    facts = {fact["file"]: fact for fact in json.loads((folder / "facts.json").read_text())}
    published = json.loads((folder / "published_results.json").read_text())
    books = {window: new_book(tick_size, book.book_dtype(window)) for window in (4096, 16384)}
    for number, file in enumerate(files):
        events, stamps = recorded(folder / file, None if number else [], (price_scale, qty_scale))
        samples: list[Any] = []
        if file == "usdm_btcusdt_20230405.gz":
            samples = published["usdm_btcusdt_20230405 (book carried over from usdm_btcusdt_20230404)"]["depth3"]
            assert len(samples) >= 3
        # The published times lie on the source's corrected clock; the samples were taken each minute after the first event.
        minutes = [np.searchsorted(stamps, stamps[0] + 60_000_000 * (i + 1), side="right") for i in range(len(samples))]
        for held in books.values():
            start = 0
            for sample, end in zip([*samples, None], [*minutes, len(events)], strict=True):
                statuses, replaced = np.zeros(end - start, "i8"), np.zeros(end - start, "i8")
                apply_rows(held, events[start:end], statuses, replaced)
                assert not statuses.any()
                start = end
                for side, key in ((0, "bids"), (1, "asks")):
                    if sample is not None:
                        expected = sorted((tuple(level) for level in sample[key]), reverse=side == 0)
                        assert [(p / 100, q / 1000) for p, q in ladder(held, side)[:3]] == expected
            end_book = facts[file]["end_book"]
            assert [count_levels(held, side) for side in (0, 1)] == [end_book["bid_levels"], end_book["ask_levels"]]
            for side, key in ((0, "top5_bids"), (1, "top5_asks")):
                assert ladder(held, side)[:5] == [
                    (scaled(p, price_scale), scaled(q, qty_scale)) for p, q in end_book[key]
                ]
            assert held[0]["state"] == book.BOOK_LIVE
            assert (held[0]["lost"], held[0]["off_grid"], held[0]["invalid"]) == (0, 0, 0)
            check_inside(held)
    if name == "usdm_btcusdt_2024":
        farthest = published["usdm_btcusdt_20240808"]["end_of_file_book"]["asks_farthest5"]
        assert [[p / 100, q / 1000] for p, q in ladder(books[4096], 1)[-5:]] == farthest
