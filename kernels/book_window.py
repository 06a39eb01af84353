"""Where the order book keeps its levels: a ring of consecutive prices near the market, a sorted list for the rest.

A side's levels are handled by key, not by price: key = price of a bid, -price of an ask, so that on both sides a better level has
the larger key and the same code serves both without a branch. The window holds the levels with base_key <= key < base_key +
window * tick_size that lie on the tick grid; offset = (key - base_key) / tick_size, and slot = (base_slot + offset) & mask is its
place in `qty`. Because slots go round, moving the window moves only the levels that enter or leave it. A bit per slot and a
summary bit per 64 slots find the next level in a few instructions. Everything else (keys below base_key, keys off the grid) is
in `overflow_key`, ascending, so that the levels nearest the market are the cheapest to insert and remove.

What always holds between calls: no key on the grid is above the window; a window without levels has no on-grid level in the
overflow; slots without a level hold quantity 0. Only kernels/book.py and kernels/book_depth.py call these functions.
"""

from typing import Any, Final

import numpy as np

from twinloop.kernels.bits import (
    BIT_MASK,
    WORD_SHIFT,
    Int,
    bit,
    bits_through,
    grid_offset,
    highest_bit,
    move_entries,
)
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import INNER, njit

# A tick size is > 0 wherever something is divided by it: no path for a division by zero. Numba hands down callers' forceinline else.
BOOK_INNER: Final[dict[str, Any]] = {**INNER, "forceinline": False, "error_model": "numpy"}

NO_KEY: Final = -(2**62)  # best_key of a side without levels; two of them still sum within int64.


@njit(**BOOK_INNER)
def window_find(book: np.void, side: Int, offset: Int) -> Int:
    """The largest offset <= offset (0 <= offset < window) that holds a level, or -1. Reads at most summary words + 2 words."""
    mask = book["qty"].shape[1] - 1
    base_slot = book["base_slot"][side]
    slot = (base_slot + offset) & mask
    word = slot >> WORD_SHIFT
    bits = book["occupied"][side, word] & bits_through(slot & BIT_MASK)
    if bits == 0:
        # Words below this one, then round the ring; the last turn comes back to the rest of this word.
        summary_words = book["summary"].shape[1]
        summary = word >> WORD_SHIFT
        place = word & BIT_MASK
        words = book["summary"][side, summary] & bits_through(place - 1) if place > 0 else np.int64(0)
        for _ in range(summary_words):
            if words != 0:
                break
            summary = summary - 1 if summary > 0 else summary_words - 1
            words = book["summary"][side, summary]
        if words == 0:
            return -1
        word = (summary << WORD_SHIFT) + highest_bit(words)
        bits = book["occupied"][side, word]
    found = (((word << WORD_SHIFT) + highest_bit(bits)) - base_slot) & mask
    return found if found <= offset else -1


@njit(**BOOK_INNER)
def window_is_empty(book: np.void, side: Int) -> bool:
    """Whether the window holds no level. Nothing counts them: each row of a market would, and this is asked seldom."""
    words = np.int64(0)
    for summary in range(book["summary"].shape[1]):
        words |= book["summary"][side, summary]
    return bool(words == 0)


@njit(**BOOK_INNER)
def copying_cost(book: np.void) -> Int:
    """About how many levels a copy of the book moves: those in the overflow, and 16 for each 64 slots that hold any."""
    cost = np.int64(0)
    for side in range(2):
        cost += book["overflow_count"][side]
        for summary in range(book["summary"].shape[1]):
            words = book["summary"][side, summary]
            while words != 0:
                words ^= bit(highest_bit(words))
                cost += 16
    return cost


@njit(**BOOK_INNER)
def window_flip(book: np.void, side: Int, slot: Int, present: bool) -> None:
    """Set or clear the bits of a slot whose level appeared or vanished."""
    word = slot >> WORD_SHIFT
    bits = book["occupied"][side, word] ^ bit(slot & BIT_MASK)
    book["occupied"][side, word] = bits
    if present:
        book["summary"][side, word >> WORD_SHIFT] |= bit(word & BIT_MASK)
    elif bits == 0:
        book["summary"][side, word >> WORD_SHIFT] &= ~bit(word & BIT_MASK)


@njit(**BOOK_INNER)
def window_clear(book: np.void, side: Int) -> None:
    """Empty the window; visits only slots that hold a level."""
    for summary in range(book["summary"].shape[1]):
        words = book["summary"][side, summary]
        while words != 0:
            low = highest_bit(words)
            words ^= bit(low)
            word = (summary << WORD_SHIFT) + low
            bits = book["occupied"][side, word]
            while bits != 0:
                place = highest_bit(bits)
                bits ^= bit(place)
                book["qty"][side, (word << WORD_SHIFT) + place] = 0
            book["occupied"][side, word] = 0
        book["summary"][side, summary] = 0


@njit(**BOOK_INNER)
def window_copy(book: np.void, source: np.void, side: Int) -> None:
    """Give a side the levels of another book's, window and overflow; the fields before `summary` are the caller's. O(levels of both)."""
    window_clear(book, side)
    for summary in range(book["summary"].shape[1]):
        words = source["summary"][side, summary]
        book["summary"][side, summary] = words
        while words != 0:
            low = highest_bit(words)
            words ^= bit(low)
            word = (summary << WORD_SHIFT) + low
            bits = source["occupied"][side, word]
            book["occupied"][side, word] = bits
            while bits != 0:
                place = highest_bit(bits)
                bits ^= bit(place)
                slot = (word << WORD_SHIFT) + place
                book["qty"][side, slot] = source["qty"][side, slot]
    for i in range(source["overflow_count"][side]):
        book["overflow_key"][side, i] = source["overflow_key"][side, i]
        book["overflow_qty"][side, i] = source["overflow_qty"][side, i]


@njit(**BOOK_INNER)
def window_anchor(book: np.void, side: Int, key: Int) -> None:
    """Lay an empty window so that an on-grid key comes to three quarters of it: room for the market to come nearer."""
    window = book["qty"].shape[1]
    book["base_key"][side] = key - (window - window // 4) * book["tick_size"]
    book["base_slot"][side] = 0


@njit(**BOOK_INNER)
def window_raise(book: np.void, side: Int, steps: Int) -> Int:
    """Move the window steps > 0 towards the market; levels falling out go to the overflow. Returns how many were lost."""
    window = book["qty"].shape[1]
    lost = window_evict(book, side, min(steps, window))
    book["base_key"][side] += steps * book["tick_size"]
    book["base_slot"][side] = (book["base_slot"][side] + steps) & (window - 1)
    book["rebases"] += 1
    return lost


@njit(**BOOK_INNER)
def window_lower(book: np.void, side: Int, steps: Int) -> None:
    """Move the window steps > 0 away from the market, its steps best offsets being empty; take in what the overflow holds there."""
    book["base_key"][side] -= steps * book["tick_size"]
    book["base_slot"][side] = (book["base_slot"][side] - steps) & (book["qty"].shape[1] - 1)
    book["rebases"] += 1
    window_pull(book, side)


@njit(**BOOK_INNER)
def window_evict(book: np.void, side: Int, end: Int) -> Int:
    """Move the levels at offsets below end to the overflow. Returns how many levels the overflow had no room for.

    A backward merge in place: O(levels moved + off-grid entries nearer than they), and one memmove when levels are lost.
    The lost ones are the overflow's farthest.
    """
    leaving = 0
    offset = window_find(book, side, end - 1)
    while offset >= 0:
        leaving += 1
        offset = window_find(book, side, offset - 1) if offset > 0 else -1
    if leaving == 0:
        return 0
    mask = book["qty"].shape[1] - 1
    capacity = book["overflow_key"].shape[1]
    count = book["overflow_count"][side]
    lost = max(count + leaving - capacity, 0)
    dropped = min(lost, count)
    if dropped > 0:
        count -= dropped
        move_entries(book["overflow_key"], side, 0, dropped, count)
        move_entries(book["overflow_qty"], side, 0, dropped, count)
    to = min(count + leaving, capacity) - 1
    book["overflow_count"][side] = to + 1
    source = count - 1
    offset = window_find(book, side, end - 1)
    while offset >= 0:
        key = book["base_key"][side] + offset * book["tick_size"]
        while source >= 0 and to >= 0 and book["overflow_key"][side, source] > key:
            book["overflow_key"][side, to] = book["overflow_key"][side, source]
            book["overflow_qty"][side, to] = book["overflow_qty"][side, source]
            source -= 1
            to -= 1
        slot = (book["base_slot"][side] + offset) & mask
        if to >= 0:
            book["overflow_key"][side, to] = key
            book["overflow_qty"][side, to] = book["qty"][side, slot]
            to -= 1
        book["qty"][side, slot] = 0
        window_flip(book, side, slot, False)
        offset = window_find(book, side, offset - 1) if offset > 0 else -1
    return lost


@njit(**BOOK_INNER)
def window_pull(book: np.void, side: Int) -> None:
    """Move the overflow's levels that lie in the window into it; entries off the grid stay. O(entries at or above base_key)."""
    base_key = book["base_key"][side]
    window = book["qty"].shape[1]
    count = book["overflow_count"][side]
    start = overflow_search(book, side, base_key)
    kept = start
    for i in range(start, count):
        key = book["overflow_key"][side, i]
        qty = book["overflow_qty"][side, i]
        offset = grid_offset(key, base_key, book["tick_inverse"], book["tick_shift"])
        if 0 <= offset < window:
            slot = (book["base_slot"][side] + offset) & (window - 1)
            book["qty"][side, slot] = qty
            window_flip(book, side, slot, True)
        else:
            book["overflow_key"][side, kept] = key
            book["overflow_qty"][side, kept] = qty
            kept += 1
    book["overflow_count"][side] = kept


@njit(**BOOK_INNER)
def window_refill(book: np.void, side: Int) -> None:
    """Lay an empty window at the overflow's best on-grid level, if there is one, and take in what it then covers."""
    i = book["overflow_count"][side] - 1
    while i >= 0 and book["overflow_key"][side, i] % book["tick_size"] != 0:
        i -= 1
    if i >= 0:
        window_anchor(book, side, book["overflow_key"][side, i])
        book["rebases"] += 1
        window_pull(book, side)


@njit(**BOOK_INNER)
def overflow_search(book: np.void, side: Int, key: Int) -> Int:
    """Index of the first overflow entry with a key >= key; the count if there is none."""
    low = np.int64(0)
    size = np.int64(book["overflow_count"][side])
    while size > 0:  # Halves without a branch on the comparison, which no processor could predict.
        half = (size + 1) >> 1
        low += half if book["overflow_key"][side, low + half - 1] < key else 0
        size -= half
    return low


@njit(**BOOK_INNER)
def overflow_set(book: np.void, side: Int, key: Int, qty: Int) -> Int:
    """Set an entry, qty 0 removing it; removing what is absent does nothing. Returns the number of levels lost (0 or 1).

    One binary search and one memmove of the entries nearer the market; full, of the farther ones, the farthest being lost.
    `replaced_qty` is kept.
    """
    out_of_line()
    count = book["overflow_count"][side]
    at = overflow_search(book, side, key)
    if at < count and book["overflow_key"][side, at] == key:
        book["replaced_qty"] = book["overflow_qty"][side, at]
        if qty > 0:
            book["overflow_qty"][side, at] = qty
            return 0
        move_entries(book["overflow_key"], side, at, at + 1, count - 1 - at)
        move_entries(book["overflow_qty"], side, at, at + 1, count - 1 - at)
        book["overflow_count"][side] = count - 1
        return 0
    book["replaced_qty"] = 0
    if qty == 0:
        return 0
    if count == book["overflow_key"].shape[1]:
        if at == 0:
            return 1
        at -= 1
        move_entries(book["overflow_key"], side, 0, 1, at)
        move_entries(book["overflow_qty"], side, 0, 1, at)
        book["overflow_key"][side, at] = key
        book["overflow_qty"][side, at] = qty
        return 1
    move_entries(book["overflow_key"], side, at + 1, at, count - at)
    move_entries(book["overflow_qty"], side, at + 1, at, count - at)
    book["overflow_key"][side, at] = key
    book["overflow_qty"][side, at] = qty
    book["overflow_count"][side] = count + 1
    return 0
