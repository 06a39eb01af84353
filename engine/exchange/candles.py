"""Candles of one symbol: seconds and minutes as they trade, longer intervals put together from minutes when asked for."""

from dataclasses import dataclass, replace
from typing import Final

from twinloop.engine.exchange.model import Trade

MINUTE_MS: Final = 60_000
MINUTES_MAX: Final = 7 * 1440
SECONDS_MAX: Final = 7200
SECOND_MS: Final = 1000
INTERVALS: Final = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip


@dataclass(slots=True)
class Candle:
    """Prices in ticks, quantities in lots, values in 1e-8 of the quote asset. bought: where the taker bought."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    qty: int = 0
    value: int = 0
    trades: int = 0
    bought_qty: int = 0
    bought_value: int = 0
    first_id: int = -1
    last_id: int = -1

    def take(self, other: "Candle") -> None:
        """Add what came after. A candle begins with its first trade, also where minutes without one came before."""
        if self.trades == 0:
            self.open, self.high, self.low = other.open, other.high, other.low
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.qty += other.qty
        self.value += other.value
        self.trades += other.trades
        self.bought_qty += other.bought_qty
        self.bought_value += other.bought_value
        if other.first_id >= 0:
            self.first_id = other.first_id if self.first_id < 0 else self.first_id
            self.last_id = other.last_id


class Candles:
    """The last count_max candles of step_ms each; one without a trade repeats the close before it."""

    def __init__(self, step_ms: int = MINUTE_MS, count_max: int = MINUTES_MAX) -> None:
        self.step_ms, self.count_max = step_ms, count_max
        self.minutes: list[Candle] = []

    def add(self, trade: Trade) -> None:
        """Take a trade in."""
        minute = trade.time_ms // self.step_ms * self.step_ms
        price, bought = trade.price, not trade.buyer_is_maker
        one = Candle(
            minute, price, price, price, price, trade.qty, trade.value, 1, trade.qty * bought, trade.value * bought, trade.id, trade.id,
        )  # fmt: skip
        if self.minutes and self.minutes[-1].open_ms == minute:
            self.minutes[-1].take(one)
            return
        self.fill_up(minute)
        self.minutes.append(one)
        del self.minutes[: -self.count_max]

    def fill_up(self, until_ms: int) -> None:
        """Candles without a trade after the last one, up to a moment that the next one begins at."""
        if self.minutes:
            last = self.minutes[-1]
            start = max(last.open_ms + self.step_ms, until_ms - self.count_max * self.step_ms)
            self.minutes += [Candle(at, *[last.close] * 4) for at in range(start, until_ms, self.step_ms)]
            del self.minutes[: -self.count_max]

    def of(self, minutes: int, limit: int) -> list[Candle]:
        """The last candles of so many minutes (of so many steps) each, oldest first."""
        return self._put_together(self.minutes[-minutes * (limit + 1) :], minutes)[-limit:]

    def since(self, minutes: int, limit: int, first_ms: int, last_ms: int) -> list[Candle]:
        """The first candles of so many minutes each that begin in a span of time."""
        step_ms = minutes * self.step_ms
        inside = [each for each in self.minutes if first_ms <= each.open_ms // step_ms * step_ms <= last_ms]
        return self._put_together(inside, minutes)[:limit]

    def _put_together(self, found: list[Candle], minutes: int) -> list[Candle]:
        step_ms, longer = minutes * self.step_ms, list[Candle]()
        for minute in found:
            at = minute.open_ms // step_ms * step_ms
            if longer and longer[-1].open_ms == at:
                longer[-1].take(minute)
            else:
                longer.append(replace(minute, open_ms=at))
        return longer

    def day(self) -> Candle | None:
        """The last 24 hours as one; None before the first trade."""
        if not self.minutes:
            return None
        found = replace(self.minutes[max(len(self.minutes) - 1440, 0)])
        for minute in self.minutes[max(len(self.minutes) - 1440, 0) + 1 :]:
            found.take(minute)
        return found
