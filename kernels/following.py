"""The venue takes over the node's books: instead of applying row after row that concerns no order, it copies what they led to.

Both see the same rows in the same order when they share a tape, the node a feed latency later; a venue that holds no order of ours
is advanced lazily and so falls behind the node. The one difference there can be are levels that our own fills took from (`deplete`):
they are listed until the market's next word on them, and until then the venue goes row by row.
"""

from typing import Any

from twinloop.kernels import rows
from twinloop.kernels.book import book_copy
from twinloop.kernels.book_window import copying_cost
from twinloop.kernels.intrinsics import ROW_BYTES, out_of_line, record_at
from twinloop.kernels.jit import njit
from twinloop.kernels.rows import ROW
from twinloop.kernels.venue import BARS, DEPTH, GONE, NEWEST_DEPTH


@njit(cache=True)
def level_taken(venue: Any, instrument: int, side_index: int, price: int) -> None:
    """A fill of ours took from a level (of a touch: price 0)."""
    count = venue["gone_count"]
    for i in range(min(count, GONE)):
        gone = venue["gone"][i]
        if gone["instrument"] == instrument and gone["side_index"] == side_index and gone["price"] == price:
            return
    if count < GONE:
        gone = venue["gone"][count]
        gone["instrument"] = instrument
        gone["side_index"] = side_index
        gone["price"] = price
    venue["gone_count"] = min(count + 1, GONE + 1)


@njit(cache=True)
def level_spoken(venue: Any, row: Any) -> None:
    """A row of the market says what a level holds, or begins a book anew: what we took from there no longer counts."""
    out_of_line()
    count = venue["gone_count"]
    if count > GONE:
        return
    kind = row["kind"]
    instrument = row["instrument"]
    side_index = 1 if row["side"] < 0 else 0
    i = 0
    while i < count:
        gone = venue["gone"][i]
        if kind == rows.LEVEL:
            spoken = gone["side_index"] == side_index and gone["price"] == row["price"]
        elif kind == rows.QUOTE:
            spoken = gone["price"] == 0
        else:
            spoken = kind == rows.SNAPSHOT_BEGIN or kind == rows.CLEAR
        if gone["instrument"] == instrument and spoken:
            count -= 1
            last = venue["gone"][count]
            gone["instrument"] = last["instrument"]
            gone["side_index"] = last["side_index"]
            gone["price"] = last["price"]
        else:
            i += 1
    venue["gone_count"] = count


@njit(cache=True)
def follow_node(node: Any, venue: Any, published: int) -> None:
    """Bring the venue to row `published` of the shared tape, up to which the node has handled all, if copying is less work.

    The caller knows that no order of ours is there, that nothing of the books is gone, and that the rows lie in one chunk.
    """
    out_of_line()
    decision = node["decision"]
    if published <= venue["next_row"]:
        return
    behind = published - venue["next_row"] - venue["follow_rows"]
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        if market["mode"] == BARS or market["mode"] == NEWEST_DEPTH:
            return
        if market["mode"] == DEPTH:
            behind -= copying_cost(venue["books"][market["book"]])
            behind -= copying_cost(decision["books"][market["book"]])
    if behind <= 0:
        return
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        if market["mode"] == DEPTH:
            book_copy(venue["books"][market["book"]], decision["books"][market["book"]])
    take_over(node, venue, published)


@njit(cache=True)
def take_over(node: Any, venue: Any, published: int) -> None:
    """All of follow_node but the books."""
    decision = node["decision"]
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        seen = decision["instruments"][i]
        market["last_price"] = seen["last_price"]
        market["status"] = seen["status"]
        market["tick_size"] = seen["tick_size"]
        if market["mode"] != DEPTH:
            market["bid"] = seen["bid"]
            market["bid_qty"] = seen["bid_qty"]
            market["ask"] = seen["ask"]
            market["ask_qty"] = seen["ask_qty"]
    last = record_at(venue["market_rows"] + ROW_BYTES * (published - 1), ROW)
    venue["now_ns"] = max(venue["now_ns"], last["venue_ns"] if last["venue_ns"] > 0 else last["local_ns"])
    venue["next_row"] = published
