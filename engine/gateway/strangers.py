"""Orders on the account that are not of this session, as long as they work: somebody's by hand, another program's.

They may fill, and what they fill is the account's; so what they could still do counts. A list of open orders that was asked for after an
order was last spoken of, and does not name it, proves it gone. This module must not send or decide anything.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Stranger(NamedTuple):
    """One order. told_mono_ns: when the venue last spoke of it."""

    side: int
    leaves: int
    told_mono_ns: int


class Strangers:
    """Orders of others by (instrument, the venue's id); stop orders by their service's id, below zero."""

    def __init__(self) -> None:
        self._working: dict[tuple[int, int], Stranger] = {}

    def told(self, instrument: int, number: int, order: Stranger | None) -> None:
        """What the venue says of an order now; None: it does not work any more."""
        if order is None or order.leaves <= 0:
            self._working.pop((instrument, number), None)
        else:
            self._working[instrument, number] = order

    def listed(self, instrument: int, numbers: Iterable[int], *, stops: bool, sent_mono_ns: int) -> None:
        """The open orders of an instrument, or its stop orders, as asked for then."""
        there = set(numbers)
        gone = [
            key
            for key, order in self._working.items()
            if key[0] == instrument
            and (key[1] < 0) == stops
            and key[1] not in there
            and order.told_mono_ns < sent_mono_ns
        ]
        for key in gone:
            del self._working[key]

    def working(self, instrument: int) -> tuple[int, int]:
        """Quantity that may still be bought, and sold."""
        orders = [order for (slot, _), order in self._working.items() if slot == instrument]
        bought, sold = (sum(order.leaves for order in orders if order.side == side) for side in (1, -1))
        return bought, sold

    def __len__(self) -> int:
        return len(self._working)
