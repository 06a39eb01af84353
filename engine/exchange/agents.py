"""The practice exchange's other customers: seeded orders, cancels and takers that keep a market going.

A fair price walks at random. Makers place and cancel around it, takers take small quantities, and what the walk leaves behind is
withdrawn, so that the spread stays at one to a few ticks and some LEVELS levels a side are filled. Every order is a real entry of a
queue. The numbers aim at liveliness, not at any recorded market.
"""

from typing import Final

from twinloop.engine.exchange.core import Exchange, MarketState
from twinloop.engine.exchange.model import BUY, SELL, Order

LEVELS: Final = 40
THIN: Final = 12  # Fewer levels on a side are filled up at once.
STEP_TICKS: Final = 0.35  # Standard deviation of the fair price's step, in ticks.


class Agents:
    """All agents of one symbol. `act` is one moment: about three orders, cancels or trades."""

    def __init__(self, exchange: Exchange, state: MarketState) -> None:
        self._exchange = exchange
        self._state = state
        self._fair = float(state.symbol.first_price)
        self._mine: list[Order] = []
        for away in range(1, LEVELS + 1):
            for side in (BUY, SELL):
                self._place(side, away, self._size(4.0))
        exchange.publish(state)

    def _size(self, scale: float) -> int:
        """A quantity: a few lots mostly, many sometimes."""
        symbol = self._state.symbol
        unit: int = max(symbol.step_size, 10**symbol.qty_scale // 50)
        steps = 1 + int(scale * self._exchange.draw.paretovariate(1.6))
        return min(unit * steps, symbol.max_qty)

    def _place(self, side: int, away: int, qty: int) -> None:
        symbol = self._state.symbol
        price = (int(self._fair) // symbol.tick_size - side * away) * symbol.tick_size
        best = self._state.book.best(-side)
        if best and (price - best) * side >= 0:
            price = best - side * symbol.tick_size
        order, _ = self._exchange.place(None, symbol.name, side, "LIMIT", qty, price=price)
        if order.leaves:
            self._mine.append(order)

    def act(self) -> None:
        """One moment of the market; none of a halted one."""
        if self._state.halted:
            return
        exchange, state, draw = self._exchange, self._state, self._exchange.draw
        tick = state.symbol.tick_size
        self._fair = max(self._fair + draw.gauss(0.0, STEP_TICKS) * tick, 200.0 * tick)
        for _ in range(3):
            what = draw.random()
            side = BUY if draw.random() < 0.5 else SELL
            if what < 0.5:
                self._place(side, 1 + min(int(draw.expovariate(0.3)), LEVELS), self._size(2.0))
            elif what < 0.9:
                self._withdraw_one()
            else:
                exchange.place(None, state.symbol.name, side, "MARKET", self._size(5.0))
        self._follow()
        exchange.settle(state)

    def _withdraw_one(self) -> None:
        """Cancel an order, as long as enough is there."""
        if len(self._mine) < 2 * LEVELS:
            return
        at = self._exchange.draw.randrange(len(self._mine))
        order = self._mine[at]
        self._mine[at] = self._mine[-1]
        self._mine.pop()
        if order.leaves and order.status in {"NEW", "PARTIALLY_FILLED"}:
            self._state.book.remove(order)
            order.status = "CANCELED"

    def _follow(self) -> None:
        """The fair price moved through a level: whoever rests on its wrong side is taken; too thin a side is filled up."""
        state, tick = self._state, self._state.symbol.tick_size
        for side in (BUY, SELL):
            best = state.book.best(side)
            if best and (best - self._fair) * side > tick:
                self._exchange.place(
                    None, state.symbol.name, -side, "LIMIT", state.book.qty(side, best), price=best, time_in_force="IOC"
                )
            if not best or (self._fair - best) * side > 2 * tick:
                self._place(side, 1, self._size(3.0))
            for away in range(2, 2 + 2 * THIN):
                if state.book.depth(side) >= THIN:
                    break
                self._place(side, away, self._size(3.0))
        if len(self._mine) > 8 * LEVELS:
            self._mine = [each for each in self._mine if each.leaves and each.status in {"NEW", "PARTIALLY_FILLED"}]
            for order in self._mine[: max(len(self._mine) - 6 * LEVELS, 0)]:
                state.book.remove(order)
                order.status = "CANCELED"
            self._mine = [each for each in self._mine if each.status != "CANCELED"]
