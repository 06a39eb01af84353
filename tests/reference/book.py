"""A slow, obvious order book: one dict of price -> quantity a side, sorted at every question."""

from twinloop.kernels import rows

EMPTY, SNAPSHOT, LIVE, CROSSED, GAP, INVALID = range(6)
NO_PRICE = -(2**63)


class Book:
    """What kernels/book.py must agree with, whatever its window does."""

    def __init__(self, tick_size: int) -> None:
        self.off_grid = 0
        self.refused = 0
        self.crossed = 0
        self.clear(tick_size)

    def clear(self, tick_size: int) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.tick_size = tick_size
        self.state = EMPTY

    def set(self, side: int, price: int, qty: int) -> int:
        """The quantity that was there before."""
        if not -(2**61) < price < 2**61 or qty < 0:
            self.refuse()
            return 0
        if price % self.tick_size:
            self.off_grid += 1
        before = self.sides[side].pop(price, 0)
        if qty > 0:
            self.sides[side][price] = qty
        return before

    def refuse(self) -> None:
        self.refused += 1
        self.state = INVALID

    def ladder(self, side: int) -> list[tuple[int, int]]:
        """All (price, quantity), best first."""
        return sorted(self.sides[side].items(), reverse=side == 0)

    def best(self, side: int) -> tuple[int, int]:
        return (self.ladder(side) or [(0, 0)])[0]

    def next_level(self, side: int, price: int) -> int:
        farther = [p for p, _ in self.ladder(side) if (p < price if side == 0 else p > price)]
        return farther[0] if farther else NO_PRICE

    def sweep(self, side: int, qty: int, limit: int | None) -> tuple[int, int, int]:
        filled = notional = 0
        last = NO_PRICE
        for price, available in self.ladder(side):
            if filled >= qty or (limit is not None and (price < limit if side == 0 else price > limit)):
                break
            taken = min(available, qty - filled)
            filled, notional, last = filled + taken, notional + taken * price, price
        return filled, notional, last

    def imbalance(self, levels: int) -> float:
        bid, ask = (sum(qty for _, qty in self.ladder(side)[:levels]) for side in (0, 1))
        return (bid - ask) / (bid + ask) if bid + ask else 0.0

    def settle(self) -> None:
        crossed = bool(self.sides[0] and self.sides[1]) and max(self.sides[0]) >= min(self.sides[1])
        self.crossed += crossed and self.state != CROSSED
        seen = self.state in (LIVE, CROSSED) or self.sides[0] or self.sides[1]
        self.state = CROSSED if crossed else LIVE if seen else EMPTY

    def apply(self, kind: int, side: int = 0, price: int = 0, qty: int = 0, flags: int = 0) -> None:
        """One row; price is the tick size of an INSTRUMENT row."""
        if kind == rows.LEVEL:
            self.set(side, price, qty)
            if flags & rows.FLAG_EVENT_END and self.state in (EMPTY, LIVE, CROSSED):
                self.settle()
        elif kind == rows.SNAPSHOT_LEVEL:
            refused = self.refused
            self.set(side, price, qty)
            if self.state != SNAPSHOT and refused == self.refused:
                self.refuse()
        elif kind == rows.SNAPSHOT_BEGIN:
            self.clear(self.tick_size)
            self.state = SNAPSHOT
        elif kind == rows.SNAPSHOT_END:
            if self.state == SNAPSHOT:
                self.settle()
            elif self.state != INVALID:
                self.refuse()
        elif kind == rows.CLEAR:
            self.clear(self.tick_size)
        elif kind == rows.FEED_GAP:
            if self.state != INVALID:
                self.state = GAP
        elif kind == rows.INSTRUMENT:
            self.tick_size = price
