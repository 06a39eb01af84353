"""The venue mode "hftbacktest": fills and books as hftbacktest 2.4.4 has them with its no-partial-fill venue. In venue time only.

What differs from the default mode: best prices by the rule of `newest_touch.py`; a resting order fills whole, at its own price, when a row
improves the other side's best to or through that price (no other move of a best fills it), when a print goes through its price,
or when prints at its price exceed the quantity ahead by at least one unit; each order is judged by itself, a print is not shared out;
a taker fills whole at the other side's best, whatever is displayed there, and takes nothing out of the book. Prints and arrivals
are in `matching.py` and `arrivals.py`; this module holds the book rows.
"""

from typing import Any

from twinloop.kernels import rows
from twinloop.kernels.book import ASK, BID
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.newest_touch import newest_apply, newest_price, newest_qty
from twinloop.kernels.queue import queue_displayed
from twinloop.kernels.venue import fill, remove_resting


@njit(cache=True)
def newest_depth_row(venue: Any, market: Any, row: Any, cause: int) -> None:
    """A row of the book: the book and its touch, then places in line on the row's side, then fills on the other."""
    out_of_line()
    book = venue["books"][market["book"]]
    newest = market["newest"]
    improved = newest_apply(newest, book, row)
    market["bid"] = newest_price(newest, BID)
    market["bid_qty"] = newest_qty(newest, book, BID)
    market["ask"] = newest_price(newest, ASK)
    market["ask_qty"] = newest_qty(newest, book, ASK)
    if market["count"] == 0 or not (row["kind"] == rows.LEVEL or row["kind"] == rows.SNAPSHOT_LEVEL):
        return
    before = book["replaced_qty"]
    side = int(row["side"])
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        following = order["next"]
        if order["working"] == 1:
            if order["side"] == side:
                if order["price"] == row["price"]:
                    queue_displayed(venue, order, before, row["qty"])
            elif improved and market["status"] == rows.TRADING and (order["price"] - row["price"]) * side <= 0:
                fill(venue, order, order["price"], order["leaves"], venue["now_ns"], True, cause)
                if order["leaves"] == 0:
                    remove_resting(venue, slot)
        slot = following
