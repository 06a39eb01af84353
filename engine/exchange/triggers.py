"""Orders that wait for a price: kept by their price, so that a price that moves looks at those it reaches and at no other."""

from bisect import insort
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits for a price."""

    @property
    def id(self) -> int:
        """Unique, by arrival."""

    @property
    def side(self) -> int:
        """1 buys, -1 sells."""

    @property
    def type(self) -> str:
        """Its name at the venue."""

    @property
    def stop_price(self) -> int:
        """What it waits for."""


T = TypeVar("T", bound=Waiting)


class Triggers(Generic[T]):
    """Waiting orders of one symbol and one kind of price (last or mark)."""

    def __init__(self) -> None:
        self._above: list[tuple[int, int, T]] = []  # Reached from below, ascending: (price, id, order).
        self._below: list[tuple[int, int, T]] = []  # Reached from above: (-price, id, order), ascending.

    def __len__(self) -> int:
        """How many wait."""
        return len(self._above) + len(self._below)

    def __iter__(self) -> Iterator[T]:
        """Those that wait."""
        for _, _, order in (*self._above, *self._below):
            yield order

    def add(self, order: T) -> None:
        """Have an order wait for its stop price."""
        rising = waits_for_rise(order)
        insort(self._above if rising else self._below, (order.stop_price * (1 if rising else -1), order.id, order))

    def remove(self, order: T) -> None:
        """An order waits no longer."""
        rising = waits_for_rise(order)
        (self._above if rising else self._below).remove(
            (order.stop_price * (1 if rising else -1), order.id, order)
        )  # fmt: skip

    def reached(self, price: int) -> T | None:
        """One order that this price triggers, taken out; None when there is none."""
        if self._above and self._above[0][0] <= price:
            return self._above.pop(0)[2]
        if self._below and self._below[0][0] <= -price:
            return self._below.pop(0)[2]
        return None


def waits_for_rise(order: Waiting) -> bool:
    """Whether the price must rise to an order's stop price: a buying stop and a selling take-profit."""
    return (order.side > 0) != order.type.startswith("TAKE_PROFIT")
