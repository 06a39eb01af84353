"""One symbol's order book: price, then time. Every order of it, the agents' too, is an entry of a queue.

Adding, removing and serving an order cost the same whatever the length of its queue; only a new price costs the number of prices.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator

from twinloop.engine.exchange.model import BUY, Order


class Book:
    """Queues by price on both sides. `changed` collects the levels that were touched since it was last emptied."""

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], OrderedDict[int, Order]] = {}
        self._prices: dict[int, list[int]] = {1: [], -1: []}  # Ascending.
        self._qty: dict[tuple[int, int], int] = {}
        self.changed: dict[tuple[int, int], None] = {}

    def best(self, side: int) -> int:
        """Best price of a side, 0 without one."""
        prices = self._prices[side]
        return 0 if not prices else prices[-1] if side == BUY else prices[0]

    def depth(self, side: int) -> int:
        """Number of levels of a side."""
        return len(self._prices[side])

    def qty(self, side: int, price: int) -> int:
        """Quantity of a level."""
        return self._qty.get((side, price), 0)

    def levels(self, side: int, limit: int) -> list[tuple[int, int]]:
        """(price, quantity), best first."""
        prices = self._prices[side]
        chosen = prices[: -limit - 1 : -1] if side == BUY else prices[:limit]
        return [(price, self._qty[side, price]) for price in chosen]

    def add(self, order: Order) -> None:
        """Put an order at the end of its queue."""
        key = (order.side, order.price)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = OrderedDict()
            insort(self._prices[order.side], order.price)
            self._qty[key] = 0
        queue[order.id] = order
        self._qty[key] += order.leaves
        self.changed[key] = None

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        key = (order.side, order.price)
        del self._queues[key][order.id]
        self._shrink(key, order.leaves)

    def reduce(self, order: Order, qty: int) -> None:
        """A resting order became so much smaller, and keeps its place. Its own quantities are the caller's."""
        self._shrink((order.side, order.price), qty)

    def front(self, side: int) -> Order | None:
        """The order that is served next on a side."""
        price = self.best(side)
        return next(iter(self._queues[side, price].values())) if price else None

    def last(self, side: int, price: int) -> Order | None:
        """The newest order of a level."""
        queue = self._queues.get((side, price))
        return next(reversed(queue.values())) if queue else None

    def filled(self, order: Order, qty: int) -> None:
        """A resting order was filled by qty (its own quantities are up to date already); it goes when nothing is left."""
        key = (order.side, order.price)
        if order.leaves == 0:
            del self._queues[key][order.id]
        self._shrink(key, qty)

    def _shrink(self, key: tuple[int, int], qty: int) -> None:
        self._qty[key] -= qty
        self.changed[key] = None
        if not self._queues[key]:
            del self._queues[key]
            del self._qty[key]
            prices = self._prices[key[0]]
            del prices[bisect_left(prices, key[1])]

    def orders(self, side: int) -> Iterator[Order]:
        """Every order of a side, in the order in which they are served."""
        prices = self._prices[side]
        for price in reversed(prices) if side == BUY else prices:
            yield from self._queues[side, price].values()
