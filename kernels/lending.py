"""The venue reads the node's books while these hold what its own would, and keeps none meanwhile: most rows are then applied once.

On a shared tape the venue is ahead of the node by the rows that are on their way, and those stand on the tape between the two: row `at`,
the node's next, up to row `i`, the venue's. So what a level held before row i is what the latest row among these says of it, or else
the node's book. As soon as more is asked than that, the venue takes its books back: copies of the node's, with the rows between applied.

Only where depth alone is on the tape (Assembly.set_tape), and as long as no level is gone by a fill of ours (`deplete`). Whether books
are lent changes no answer, so it may depend on how the rows come.
"""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.book import ASK, BID, BOOK_SNAPSHOT, book_copy, book_set, qty_at
from twinloop.kernels.following import take_over
from twinloop.kernels.intrinsics import ROW_BYTES, out_of_line, record_at
from twinloop.kernels.jit import njit
from twinloop.kernels.matching import orders_on_level, other_row, print_row, venue_time
from twinloop.kernels.rows import ROW
from twinloop.kernels.venue import REQUESTS, concerns_level

# Rows between node and venue that are searched; when more are on their way, the books are taken back.
LENT_ROWS = 32


@njit(cache=True)
def lend(node: Any, venue: Any, at: int) -> None:
    """Have the venue read the node's books, if it may: no stop waits, no level is gone, no snapshot comes in, no row is between the two.

    A venue without orders that is behind is brought to the node's row first.
    """
    out_of_line()
    if venue["lent"] == 0:
        if venue["gone_count"] != 0 or (venue["next_row"] < at and venue["resting"] != 0):
            return
        for i in range(venue["instrument_count"]):
            market = venue["instruments"][i]
            if market["stops"] != 0 or node["decision"]["books"][market["book"]]["state"] == BOOK_SNAPSHOT:
                return
        for i in range(venue["instrument_count"]):
            venue["instruments"][i]["book_at"] = venue["instruments"][i]["node_book_at"]
        venue["lent"] = 1
    if venue["next_row"] < at:
        take_over(node, venue, at)


@njit(cache=True)
def take_back(node: Any, venue: Any, at: int, i: int) -> None:
    """Have the venue hold books of its own again, as of row i."""
    out_of_line()
    if venue["lent"] == 0:
        return
    venue["lent"] = 0
    for instrument in range(venue["instrument_count"]):
        market = venue["instruments"][instrument]
        book_copy(venue["books"][market["book"]], node["decision"]["books"][market["book"]])
        market["book_at"] = market["own_book_at"]
    for j in range(at, i):
        row = record_at(venue["market_rows"] + ROW_BYTES * j, ROW)
        if row["kind"] == rows.LEVEL:
            book = venue["books"][venue["instruments"][row["instrument"]]["book"]]
            book_set(book, 1 if row["side"] < 0 else 0, row["price"], row["qty"])


@njit(cache=True, forceinline=True)
def row_while_lent(node: Any, venue: Any, row: Any, at: int, i: int) -> None:
    """market_row, for row i of the tape, while the books are lent."""
    kind = int(row["kind"])
    market = venue["instruments"][row["instrument"]]
    if kind == rows.LEVEL:
        if concerns_level(market, row["side"] > 0, row["price"]):
            _level_while_lent(node, venue, market, row, at, i)
    elif kind == rows.TRADE:
        print_row(venue, market, row, venue["first_row"] + i)
    else:
        _other_while_lent(node, venue, market, row, at, i)


@njit(cache=True)
def _level_while_lent(node: Any, venue: Any, market: Any, row: Any, at: int, i: int) -> None:
    """A level that concerns our orders."""
    out_of_line()
    side = ASK if row["side"] < 0 else BID
    book = node["decision"]["books"][market["book"]]
    # Where the overflow is nearly full a row between might not have been kept; no quantity below zero is.
    roomy = book["overflow_count"][side] + LENT_ROWS <= book["overflow_key"].shape[1]
    if i - at > LENT_ROWS or not roomy or row["qty"] < 0:
        take_back(node, venue, at, i)
        own = venue["books"][market["book"]]
        book_set(own, side, row["price"], row["qty"])
        before = own["replaced_qty"]
    else:
        before = qty_at(book, side, row["price"])
        for back in range(1, i - at + 1):
            earlier = record_at(venue["market_rows"] + ROW_BYTES * (i - back), ROW)
            if (
                earlier["kind"] == rows.LEVEL
                and earlier["price"] == row["price"]
                and (earlier["side"] < 0) == (row["side"] < 0)
                and earlier["instrument"] == row["instrument"]
                and earlier["qty"] >= 0
            ):
                before = earlier["qty"]
                break
    orders_on_level(venue, market, row, side, before, venue_time(row), venue["first_row"] + i)


@njit(cache=True)
def _other_while_lent(node: Any, venue: Any, market: Any, row: Any, at: int, i: int) -> None:
    """Neither a level nor a print: what changes a book as a whole is done to one of the venue's own."""
    out_of_line()
    if row["kind"] != rows.QUOTE:
        take_back(node, venue, at, i)
    other_row(venue, market, row, row, int(row["kind"]), venue["first_row"] + i)


@njit(cache=True, forceinline=True)
def before_arrival(node: Any, venue: Any, at: int, i: int) -> None:
    """The oldest request arrives before row i and meets the node's books, unless that would not be the same."""
    request = venue["requests"][venue["request_tail"] & (REQUESTS - 1)]
    stop = (request["source"] == codes.STOP) | (request["source"] == codes.STOP_LIMIT)
    takes_away = (venue["deplete"] != 0) & (request["kind"] != rows.CANCEL)
    if i > at or stop | takes_away:
        _meet(node, venue, request, at, i)


@njit(cache=True)
def _meet(node: Any, venue: Any, request: Any, at: int, i: int) -> None:
    """Take the books back if a level is on its way, if a stop comes to wait, or if the order may take from a level (`deplete`)."""
    out_of_line()
    needed = request["source"] == codes.STOP or request["source"] == codes.STOP_LIMIT
    if venue["deplete"] != 0 and request["kind"] != rows.CANCEL:
        needed |= request["kind"] != rows.NEW or request["flags"] & codes.POST_ONLY == 0
    for j in range(at, i):
        needed |= record_at(venue["market_rows"] + ROW_BYTES * j, ROW)["kind"] == rows.LEVEL
    if needed:
        take_back(node, venue, at, i)
