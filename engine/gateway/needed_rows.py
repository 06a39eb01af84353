"""Which of a journal's rows about orders a gateway still needs to go on: a snapshot keeps those and no others.

    needed_rows([(epoch, rows), ...])     # the same, without what a rebuild would read and forget

A rebuild (recovery.py) remembers the last ENDED_MAX orders that ended. Of an order with so many ended ones behind it, nothing but its fills
has any effect: they keep their trades from being booked twice. So all its other rows go, and its fills too once a sweep has been past them
(SWEPT): what is below that no list brings again. The newest fills of an instrument stay, for a venue that takes one back, and the funding
payments of the last days, which the venue's list brings again. An order is taken for ended only where no later row
can open it again: its end was told, or all of it has filled, it was never amended, and every cancel was answered. This module must not
change a row.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.engine.gateway import tracker
from twinloop.engine.gateway.funding import KEPT_MS, OVERLAP_MS
from twinloop.engine.gateway.recovery import ENDS, OF_ORDERS
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_TAIL

READ: Final = frozenset(
    {table.NEW, table.FILL, table.BUST, table.FEE_CHANGED, table.FUNDING_PAID, table.EXTERNAL_WORKING, table.SWEPT}
    | OF_ORDERS
)  # What a rebuild reads.
FUNDING_KEPT_NS: Final = (OVERLAP_MS + KEPT_MS) * 1_000_000
FILLS_KEPT: Final = 500  # Of each instrument, the newest.
_IS_OF_ONE: Final = np.isin(np.arange(256), [table.NEW, *OF_ORDERS])
_IS_END: Final = np.isin(np.arange(256), list(ENDS))

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def needed_rows(segments: Sequence[tuple[int, Rows]]) -> list[tuple[int, Rows]]:
    """Rows of orders as (epoch they were written in, rows), without those that a rebuild forgets."""
    rows = join_rows([each for _, each in segments])
    if not len(rows):
        return list(segments)
    keep = ~(_of_forgotten(rows) | _outdated(rows))
    keep &= ~_swept(rows, keep)
    ends = np.cumsum([len(each) for _, each in segments])
    return [(epoch, pick(each, keep[end - len(each) : end])) for (epoch, each), end in zip(segments, ends, strict=True)]


def _of_forgotten(rows: Rows) -> Flags:
    """Rows, other than fills, of orders that have ENDED_MAX ended ones behind them."""
    kinds, ids = rows["kind"], np.ascontiguousarray(rows["order_id"])
    placed = np.flatnonzero(kinds == table.NEW)
    orders, first, count = np.unique(ids[placed], return_index=True, return_counts=True)
    ended = (_told(rows, orders) | _filled(rows, orders, placed[first])) & (count == 1)
    in_order = np.argsort(first)  # As they were placed, which is how a rebuild files them.
    ended_behind = np.cumsum(ended[in_order][::-1])[::-1] - ended[in_order]
    forgotten = orders[in_order][ended[in_order] & (ended_behind >= tracker.ENDED_MAX)]
    forgotten = forgotten[forgotten != orders.max(initial=0)]  # The highest id says where the next ones begin.
    found: Flags = _IS_OF_ONE[kinds] & np.isin(ids, forgotten)
    return found


def _swept(rows: Rows, keep: Flags) -> Flags:
    """Both rows of fills below what a sweep has been past, and changes of their fees; not the newest, nor those of orders that are kept."""
    kinds = rows["kind"]
    found = np.zeros(len(rows), np.bool_)
    kept = np.unique(rows["order_id"][keep & (kinds == table.NEW)])
    heads = _fill_heads(rows)
    ids = rows["trade_id"][heads + 1]
    for each in np.flatnonzero(keep & (kinds == table.SWEPT)):
        at = np.flatnonzero(rows["instrument"][heads] == rows["instrument"][each])
        at = at[: max(len(at) - FILLS_KEPT, 0)]
        at = at[(ids[at] > 0) & (ids[at] < rows["trade_id"][each]) & ~np.isin(rows["order_id"][heads[at]], kept)]
        found[heads[at]] = found[heads[at] + 1] = True
        fees = (kinds == table.FEE_CHANGED) & (rows["instrument"] == rows["instrument"][each])
        found |= fees & np.isin(rows["trade_id"], ids[at])
    return found


def _fill_heads(rows: Rows) -> Numbers:
    """Places of the first rows of whole fills."""
    kinds, flags = rows["kind"], rows["flags"]
    heads = np.flatnonzero((kinds == table.FILL) & (flags & FLAG_CONTINUES != 0))
    heads = heads[heads + 1 < len(rows)]
    whole: Numbers = heads[(kinds[heads + 1] == table.FILL) & (flags[heads + 1] & FLAG_TAIL != 0)]
    return whole


def _told(rows: Rows, orders: Numbers) -> Flags:
    """Which orders' end the kernel was told."""
    return np.isin(orders, rows["order_id"][_IS_END[rows["kind"]]])


def _filled(rows: Rows, orders: Numbers, placed: Numbers) -> Flags:
    """Which orders have filled wholly, and have no request under way. placed: the places of their NEW rows."""
    kinds, ids, heads = rows["kind"], rows["order_id"], _fill_heads(rows)
    trades = np.stack([rows["instrument"][heads].astype(np.int64), rows["trade_id"][heads + 1]], axis=1)
    _, once = np.unique(trades, axis=0, return_index=True)
    heads = heads[once]
    filled = _sum(orders, ids[heads], rows["qty"][heads])
    cancels = _sum(orders, ids[kinds == table.CANCEL], 1)
    answered = _sum(orders, ids[kinds == table.CANCEL_REJECT], 1)
    amended = np.isin(orders, ids[kinds == table.AMEND])
    found: Flags = (filled >= rows["qty"][placed]) & ~amended & (cancels == answered)
    return found


def _sum(orders: Numbers, ids: Any, values: Any) -> Numbers:
    """The sum of values by order; ids that are none of the orders' count nowhere."""
    places = np.searchsorted(orders, ids)
    there = places < len(orders)
    there[there] = orders[places[there]] == ids[there]
    total = np.zeros(len(orders), np.int64)
    np.add.at(total, places[there], np.broadcast_to(values, np.shape(ids))[there])
    return total


def _outdated(rows: Rows) -> Flags:
    """What others' orders could do and what was swept, told again since, by instrument; and rows that a rebuild does not read."""
    outdated = ~np.isin(rows["kind"], list(READ))
    for kind in (table.EXTERNAL_WORKING, table.SWEPT):
        told = np.flatnonzero(rows["kind"] == kind)
        _, last = np.unique(rows["instrument"][told][::-1], return_index=True)
        outdated[told] = True
        outdated[told[::-1][last]] = False
    paid = rows["kind"] == table.FUNDING_PAID
    if paid.any():
        outdated |= paid & (rows["venue_ns"] < int(rows["venue_ns"][paid].max()) - FUNDING_KEPT_NS)
    return outdated
