"""Best prices by the rule that the newest row wins a cross: a compatibility mode of the order book (hftbacktest's).

A book keeps every level that its feed set and did not remove. Here a level that sets a new best at or through the other side's best
passes over that side's levels: they stay stored, and are the best again only when a row sets them again. A book by the usual rule
shows them as crossed instead, until they are removed. A side's best is searched no farther than the farthest price set since the side was
last without a best.

The state lies beside a book (`NEWEST`), in keys: key = price of a bid, -price of an ask, so that a better level has the larger key on both
sides. `newest_apply` writes to both. The book's own best fields follow the usual rule, its state is never left CROSSED. Used by the node and
by the simulated venue alike; this module must not know orders.
"""

from typing import Any, Final

import numpy as np

from twinloop.kernels import rows
from twinloop.kernels.book import ASK, BID, BOOK_CROSSED, BOOK_LIVE, book_apply, book_set
from twinloop.kernels.book_depth import NO_PRICE, next_level, qty_at
from twinloop.kernels.book_window import NO_KEY
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit

NO_FARTHEST: Final = 2**62  # Above every key: nothing was set since the side was last without a best.

NEWEST: Final = np.dtype(
    [
        ("best_key", "<i8", (2,)),  # By side; NO_KEY without a best.
        ("farthest_key", "<i8", (2,)),
    ],
    align=True,
)


@njit(cache=True)
def newest_clear(newest: Any) -> None:
    """No best on either side."""
    for side in range(2):
        newest["best_key"][side] = NO_KEY
        newest["farthest_key"][side] = NO_FARTHEST


@njit(cache=True)
def newest_price(newest: Any, side: int) -> int:
    """Best price of a side (0 bid, 1 ask); 0 if there is none."""
    key = newest["best_key"][side]
    if key == NO_KEY:
        return 0
    return -key if side == ASK else key


@njit(cache=True)
def newest_qty(newest: Any, book: Any, side: int) -> int:
    """Quantity at a side's best; 0 if there is none."""
    key = newest["best_key"][side]
    if key == NO_KEY:
        return 0
    return int(qty_at(book, side, -key if side == ASK else key))


@njit(cache=True)
def _search(newest: Any, book: Any, side: int, key: int) -> int:
    """The best stored key below key and not beyond the farthest, or NO_KEY."""
    out_of_line()
    price = next_level(book, side, -key if side == ASK else key)
    if price == NO_PRICE:
        return NO_KEY
    found = -price if side == ASK else price
    return found if found >= newest["farthest_key"][side] else NO_KEY


@njit(cache=True)
def _leave(newest: Any, book: Any, side: int, key: int) -> None:
    """The best is now the first level below key."""
    newest["best_key"][side] = _search(newest, book, side, key)
    if newest["best_key"][side] == NO_KEY:
        newest["farthest_key"][side] = NO_FARTHEST


@njit(cache=True)
def _level_set(newest: Any, book: Any, side: int, price: int, qty: int) -> bool:
    """The book has just stored a level (quantity 0: removed it); whether it improved its side's best."""
    key = -price if side == ASK else price
    best_key = newest["best_key"][side]
    if qty <= 0:
        if key == best_key:
            _leave(newest, book, side, key)
        return False
    improved = key > best_key
    if improved:
        newest["best_key"][side] = key
        other = 1 - side
        if newest["best_key"][other] + key >= 0:  # Locked counts as crossed; without a best the sum is negative.
            newest["best_key"][other] = _search(newest, book, other, -key)
    newest["farthest_key"][side] = min(newest["farthest_key"][side], key)
    return improved


@njit(cache=True)
def _clear_through(newest: Any, book: Any, side: int, price: int) -> None:
    """Remove a side's levels from its best through a price. The level next to that price is not found again until it is set."""
    out_of_line()
    limit_key = -price if side == ASK else price
    key = newest["best_key"][side]
    while key != NO_KEY and key >= limit_key:
        level = -key if side == ASK else key
        following = next_level(book, side, level)
        book_set(book, side, level, 0)
        key = NO_KEY
        if following != NO_PRICE:
            key = -following if side == ASK else following
    _leave(newest, book, side, limit_key - book["tick_size"])


@njit(cache=True)
def newest_apply(newest: Any, book: Any, row: Any) -> bool:
    """Apply one row to a book and its best prices; whether a level improved the best of its side.

    A CLEAR row with a side removes that side's levels from its best through the row's price, and no others; without a side all.
    """
    out_of_line()
    kind = row["kind"]
    if kind == rows.LEVEL or kind == rows.SNAPSHOT_LEVEL:
        book_apply(book, row)
        if book["state"] == BOOK_CROSSED:  # By the stored levels; by this rule no book is.
            book["state"] = BOOK_LIVE
        return _level_set(newest, book, ASK if row["side"] < 0 else BID, row["price"], row["qty"])
    if kind == rows.CLEAR and row["side"] != 0:
        _clear_through(newest, book, ASK if row["side"] < 0 else BID, row["price"])
        return False
    book_apply(book, row)
    if kind == rows.CLEAR or kind == rows.SNAPSHOT_BEGIN:
        newest_clear(newest)
    return False
