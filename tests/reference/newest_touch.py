"""Best prices where the newest row wins a cross, from the definition: a dict a side and a scan for every question."""


class NewestTouch:
    """side: +1 bid, -1 ask. best[side] is a price or None; lots[side] what is stored, passed over or not."""

    def __init__(self, tick: int) -> None:
        self.tick = tick
        self.lots: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.best: dict[int, int | None] = {1: None, -1: None}
        self.farthest: dict[int, int | None] = {1: None, -1: None}

    def behind(self, side: int, price: int) -> int | None:
        """The nearest stored price strictly farther from the market than price, no farther than the farthest set."""
        farthest = self.farthest[side]
        if farthest is None:
            return None
        found = [p for p in self.lots[side] if (p - price) * side < 0 <= (p - farthest) * side]
        return max(found, key=lambda p: p * side, default=None)

    def leave(self, side: int, price: int) -> None:
        self.best[side] = self.behind(side, price)
        if self.best[side] is None:
            self.farthest[side] = None

    def set(self, side: int, price: int, lots: int) -> bool:
        """Set a level; whether it improved its side's best."""
        best, other = self.best[side], self.best[-side]
        if lots == 0:
            self.lots[side].pop(price, None)
            if price == best:
                self.leave(side, price)
            return False
        self.lots[side][price] = lots
        improved = best is None or (price - best) * side > 0
        if improved:
            self.best[side] = price
            if other is not None and (price - other) * side >= 0:
                self.best[-side] = self.behind(-side, price)
        farthest = self.farthest[side]
        if farthest is None or (price - farthest) * side < 0:
            self.farthest[side] = price
        return improved

    def clear_through(self, side: int, price: int) -> None:
        """Remove what lies from the best through price; the level next to that price is skipped by the search."""
        best = self.best[side]
        if best is not None:
            for p in [p for p in self.lots[side] if (p - best) * side <= 0 <= (p - price) * side]:
                del self.lots[side][p]
        self.leave(side, price - side * self.tick)

    def clear(self) -> None:
        for side in (1, -1):
            self.lots[side].clear()
            self.best[side] = self.farthest[side] = None
