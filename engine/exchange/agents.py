"""The practice exchange's other customers: seeded orders, cancels and takers that keep a market going.

Orders come at random times at the pace of a recorded market: most are placed and cancelled away from the best prices, a part of them at
the touch, and few are takers. Each is a real entry of a queue. The price goes where the queues run empty; nothing is drawn of the price
itself. How fast, narrow and cancelling the flow is, a test holds against the recordings; what it is worth to a strategy, it cannot say.
"""

import random
from dataclasses import dataclass
from typing import Final

from twinloop.engine.exchange.core import Exchange, MarketState
from twinloop.engine.exchange.model import BUY, CANCELED, OPEN, SELL, Order
from twinloop.engine.exchange.symbols import MONEY

REACH: Final = 400  # Ticks from the best price that an order is placed at most.
NEAR: Final = 20.0
TAIL: Final = 0.8
LEAN: Final = 0.3  # How one-sided the flow is at most: the share above a half that is on one side.
LEAN_MS: Final = 3000.0  # How long it leans one way in the mean.
LAG_MS: Final = 1000  # What is missed beyond this, while the process slept, is not made up for.
SIZE_SIGMA: Final = 1.2  # Of the logarithm of sizes.


@dataclass(frozen=True, slots=True)
class Profile:
    """A market's pace. Orders: placements and cancels together. Values in units of the quote asset (COIN-M: of the coin), the mean ones."""

    orders_per_s: float
    takes_per_s: float
    order_value: float
    take_value: float
    resting: int  # Orders in the book, about which placements and cancels balance.
    touch_share: float  # Of placements and of cancels, those at the best price.
    improve_share: float  # Of placements while the spread is wider than a tick, those inside it.


PROFILES: Final = {
    "spot": Profile(430.0, 22.0, 10_000, 1_300, 800, 0.12, 0.4),
    "usdm": Profile(1400.0, 50.0, 37_000, 7_000, 1200, 0.08, 0.4),
    "coinm": Profile(400.0, 8.0, 0.3, 0.05, 1200, 0.08, 0.4),
    "usdm ETH": Profile(1350.0, 33.0, 17_000, 1_900, 1200, 0.07, 0.4),
}


class Agents:
    """All agents of one symbol. The same seed and the same orders of customers give the same flow, however time is cut into turns."""

    def __init__(self, exchange: Exchange, state: MarketState, seed: int = 1) -> None:
        self._exchange, self._state = exchange, state
        self._profile = PROFILES.get(f"{exchange.market} {state.symbol.base}", PROFILES[exchange.market])
        self._draw = random.Random(f"{seed} {exchange.market} {state.symbol.name}")  # noqa: S311 - a market, not a secret
        self._mine: list[Order] = []
        self._at_ms: int | None = None  # Up to where time has passed.
        self._owed_ms = 0.0  # Of the market's own time, since the last event.
        self._wait_ms = self._next_wait_ms()
        self._lean, self._lean_ms = 0.0, 0.0
        for number in range(self._profile.resting):
            self._place(BUY if number % 2 else SELL, number // 2 if number < 40 else None)
        exchange.publish(state)

    # ---- Time.

    def pass_time(self, now_ms: int, speed: float = 1.0) -> None:
        """Do what is due by now. speed: of the market's time against this clock; a halted market's stands still."""
        elapsed_ms = min(now_ms - self._at_ms, LAG_MS) if self._at_ms is not None else 0
        self._at_ms = now_ms
        if self._state.halted:
            return
        self._owed_ms += elapsed_ms * speed
        while self._owed_ms >= self._wait_ms:
            self._owed_ms -= self._wait_ms
            self._lean_ms -= self._wait_ms
            self._wait_ms = self._next_wait_ms()
            self.act()
        self._exchange.settle(self._state)

    def _next_wait_ms(self) -> float:
        return 1000.0 * self._draw.expovariate(self._profile.orders_per_s + self._profile.takes_per_s)

    # ---- What they do.

    def act(self) -> None:
        """One order or one cancel of somebody."""
        draw, profile = self._draw, self._profile
        if self._lean_ms <= 0.0:
            self._lean, self._lean_ms = draw.uniform(-LEAN, LEAN), LEAN_MS * draw.expovariate(1.0)
        side = BUY if draw.random() < 0.5 + self._lean else SELL
        if draw.random() * (profile.orders_per_s + profile.takes_per_s) < profile.takes_per_s:
            self._exchange.place(None, self._state.symbol.name, side, "MARKET", self._size(profile.take_value))
            return
        crowded = len(self._mine) / profile.resting
        if draw.random() < 0.5 * crowded:
            self._cancel(-side)
        else:
            self._place(side)

    def _size(self, value: float) -> int:
        """A quantity of about this value in the mean: little mostly, much sometimes."""
        symbol = self._state.symbol
        steps = value * MONEY / symbol.value(self._state.last_price, symbol.step_size)
        drawn = steps * self._draw.lognormvariate(-(SIZE_SIGMA**2) / 2, SIZE_SIGMA)
        return max(1, min(int(drawn), symbol.max_qty // symbol.step_size)) * symbol.step_size

    def _place(self, side: int, away: int | None = None) -> None:
        """A limit order so many ticks from its side's best price, or as many as are drawn."""
        state, draw, profile = self._state, self._draw, self._profile
        tick, best, other = state.symbol.tick_size, state.book.best(side), state.book.best(-side)
        anchor = best or (
            other - side * tick if other else state.last_price // tick * tick - (tick if side == BUY else 0)
        )
        if away is not None:
            anchor = state.symbol.first_price // tick * tick + (tick if side == SELL else 0)
        elif best and other and (other - best) * side > tick and draw.random() < profile.improve_share:
            anchor, away = best + side * tick, 0
        elif draw.random() < profile.touch_share:
            away = 0
        else:
            away = 1 + min(int(NEAR * (draw.paretovariate(TAIL) - 1)), REACH)
        price = anchor - side * away * tick
        if price < state.symbol.min_price:
            return
        order, _ = self._exchange.place(
            None, state.symbol.name, side, "LIMIT", self._size(profile.order_value), price=price
        )
        if order.status in OPEN:
            self._mine.append(order)

    def _cancel(self, side: int) -> None:
        """Cancel the newest order at the touch, or any one."""
        book, draw = self._state.book, self._draw
        if draw.random() < self._profile.touch_share:
            order = book.last(side, book.best(side))
            if order is not None and order.account is self._exchange.house:
                self._withdraw(order)
            return
        while self._mine:
            at = draw.randrange(len(self._mine))
            order = self._mine[at]
            self._mine[at] = self._mine[-1]
            self._mine.pop()
            if order.status in OPEN:
                self._withdraw(order)
                return

    def _withdraw(self, order: Order) -> None:
        self._exchange.end(order, CANCELED)
