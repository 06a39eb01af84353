"""A venue's funding payments, divided among the books that held the position it was paid for.

The venue knows one position of the account; strategies hold parts of it. Each gets what its position at that time is of the account's, rounded
toward zero, with its sign: a strategy that is short while the account is long gets what the longs beyond the account's pay. What rounding
leaves, and all of it where the journal says that the account held nothing then, is the account's unassigned book's. The parts add up to the
venue's amount exactly. This module must not ask the venue.
"""

from collections.abc import Sequence

import numpy as np

from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.engine.live.busts import BookedFills
from twinloop.engine.live.node import LiveNode
from twinloop.kernels import codes


def divided(amount: int, positions: Sequence[int]) -> list[int]:
    """An amount by positions, each part rounded toward zero; behind the parts what is left."""
    total = sum(positions)
    parts = [0] * len(positions)
    if total:
        for at, qty in enumerate(positions):
            part = abs(amount * qty) // abs(total)
            parts[at] = part if (amount * qty > 0) == (total > 0) else -part
    return [*parts, amount - sum(parts)]


def by_books(paid: Rows, node: LiveNode, booked: BookedFills) -> Rows:
    """FUNDING_PAID facts as the gateway gives them, whole, as a row for each book that has a part of one.

    The positions are those of the payment's time: the node's, without the fills since. Of those the last 500 of an instrument are known.
    """
    strategies = [*range(len(node.session.strategies)), codes.UNASSIGNED]
    parts = []
    for at in range(len(paid)):
        row = paid[at : at + 1]
        slot, account = int(row["instrument"][0]), int(row["account"][0])
        since = booked.traded_after(slot, int(row["venue_ns"][0]))
        held = []
        for strategy in strategies:
            # As orders.book_of has it, which would be compiled here, while the session waits.
            book = strategy if strategy != codes.UNASSIGNED else node.decision["strategies"].shape[0] + account
            qty = int(node.decision["strategy_holdings"][book][slot]["position"]["qty"])
            held.append(qty - since.get(strategy, 0))
        *shares, rest = divided(int(row["value"][0]), held)
        shares[-1] += rest  # Of the unassigned book.
        rows = pick(row, np.zeros(len(strategies), np.int64))
        rows["strategy"], rows["value"] = strategies, shares
        parts.append(pick(rows, rows["value"] != 0))
    return join_rows(parts)
