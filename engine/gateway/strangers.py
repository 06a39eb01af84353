"""Orders on the account that are not of this session, as long as they work: somebody's by hand, another program's.

They may fill, and what they fill is the account's; so what they could still do counts in its limits, and the kernel is told how much that
is. A list of open orders that was asked for after an order was last spoken of, and does not name it, proves it gone. Until the first list
is here what a process before knew counts too. This module must not send or decide anything.
"""

from collections.abc import Iterable
from typing import NamedTuple

Working = tuple[int, int]  # Quantity that may still be bought, and sold.


class Stranger(NamedTuple):
    """One order. told_mono_ns: when the venue last spoke of it."""

    side: int
    leaves: int
    told_mono_ns: int


class Strangers:
    """Orders of others by (instrument, the venue's id); stop orders by their service's id, below zero."""

    def __init__(self) -> None:
        self._working: dict[tuple[int, int], Stranger] = {}
        self._known: dict[int, Working] = {}  # By instrument: what the kernel was told.
        self._listed: set[int] = set()

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
        if not stops:
            self._listed.add(instrument)

    def working(self, instrument: int) -> Working:
        """What orders of others may still do on an instrument."""
        orders = [order for (slot, _), order in self._working.items() if slot == instrument]
        bought, sold = (sum(order.leaves for order in orders if order.side == side) for side in (1, -1))
        return bought, sold

    def news(self, instrument: int) -> Working | None:
        """What the kernel is to be told now, if that is another than before."""
        known = self._known.get(instrument, (0, 0))
        bought, sold = self.working(instrument)
        if instrument not in self._listed:
            bought, sold = max(bought, known[0]), max(sold, known[1])
        if (bought, sold) == known:
            return None
        self.kernel_knows(instrument, (bought, sold))
        return bought, sold

    def kernel_knows(self, instrument: int, working: Working) -> None:
        """The kernel was told this."""
        self._known[instrument] = working

    def to_plain(self) -> list[list[int]]:
        """What the kernel knows, as plain data."""
        return [[instrument, *working] for instrument, working in self._known.items()]

    def __len__(self) -> int:
        return len(self._working)
