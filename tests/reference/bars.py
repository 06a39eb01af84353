"""Bars from the definition: a list of trades per bar, exact integers of any size, Fraction for the one rounding."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

MONEY_MAX = 2**62
VOLUME_MAX = 2**62


@dataclass
class Bar:
    start_ns: int
    end_ns: int
    closed_ns: int
    trades: list[tuple[int, int, int]]  # price, qty, local_ns
    partial: bool
    money_per_unit: Fraction

    def as_dict(self) -> Any:
        prices = [price for price, _, _ in self.trades]
        volume = sum(qty for _, qty, _ in self.trades)
        notional = round(sum(price * qty for price, qty, _ in self.trades) * self.money_per_unit)
        flags = 4 * self.partial + 2 * (volume > VOLUME_MAX) + 1 * (abs(notional) > MONEY_MAX)
        return {
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "closed_ns": self.closed_ns,
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": min(volume, VOLUME_MAX),
            "notional": max(-MONEY_MAX, min(notional, MONEY_MAX)),
            "trades": len(prices),
            "flags": flags,
        }


@dataclass
class BarBuilder:
    kind: str  # "time", "tick", "volume", "notional"
    size: int
    price_scale: int
    qty_scale: int
    trades: list[tuple[int, int, int]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    @property
    def money_per_unit(self) -> Any:
        return Fraction(10**8, 10 ** (self.price_scale + self.qty_scale))

    def interval(self) -> Any:
        start = self.trades[0][2] // self.size * self.size
        return start, start + self.size

    def finish(self, now_ns: Any, partial: Any) -> Any:
        if self.kind == "time":
            start, end = self.interval()
        else:
            start, end = self.trades[0][2], self.trades[-1][2]
        self.bars.append(Bar(start, end, now_ns, self.trades, partial, self.money_per_unit))
        self.trades = []

    def clock(self, now_ns: Any) -> Any:
        if self.kind == "time" and self.trades and now_ns >= self.interval()[1]:
            self.finish(now_ns, partial=False)
            return 1
        return 0

    def trade(self, price: Any, qty: Any, local_ns: Any) -> Any:
        closed = self.clock(local_ns)
        self.trades.append((price, qty, local_ns))
        if self.kind == "time":
            return closed
        done = {
            "tick": len(self.trades),
            "volume": min(VOLUME_MAX, sum(q for _, q, _ in self.trades)),
            "notional": sum(p * q for p, q, _ in self.trades) * self.money_per_unit,
        }[self.kind]
        if done >= self.size:
            self.finish(local_ns, partial=False)
            return 1
        return closed

    def flush(self, now_ns: Any) -> Any:
        if not self.trades:
            return 0
        if not self.clock(now_ns):
            self.finish(now_ns, partial=True)
        return 1
