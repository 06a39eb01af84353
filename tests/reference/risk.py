"""The risk gate from its definition: a list of orders, a list of fills, exact fractions. Slow, obvious, sharing nothing with the kernels.

Every question walks all orders ever made. Limits of None are off. Prices and quantities are scaled integers, money is 1e-8 of a currency.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

E8 = 10**8
Within = Callable[[str, int, int | None], None]


@dataclass
class Market:
    """What the twin knows of one instrument."""

    contract: str = "linear"
    multiplier: Fraction = Fraction(
        1
    )  # Money of price 1 and quantity 1; of an inverse contract, of quantity 1 over price 1.
    tick: int = 1
    lot: int = 1
    min_qty: int = 0
    max_qty: int = 10**18
    base_unit: int = 0  # Of spot: 1e-8 of the base asset that a unit of quantity is.
    fx: int = E8
    bid: int = 0
    ask: int = 0
    last: int = 0

    def mid2(self) -> int:
        return self.bid + self.ask if 0 < self.bid <= self.ask else 0

    def price2(self) -> int:
        return self.mid2() or 2 * self.last

    def value(self, qty: int, price: int) -> int:
        """Notional in the account's currency, rounded up after the instrument's own currency was rounded half to even."""
        qty = abs(qty)
        exact = qty * self.multiplier / price if self.contract == "inverse" else qty * price * self.multiplier
        return ceil(Fraction(round(exact) * self.fx, E8))

    def costly_half(self, price2: int) -> int:
        return max(price2 // 2, 1) if self.contract == "inverse" else -(-price2 // 2)


@dataclass
class Order:
    """An order as its own history: every quantity that was asked for and not yet answered counts."""

    strategy: int
    instrument: int
    side: int
    price: int
    qty: int
    filled: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)  # (price, total quantity) of amends under way.
    open: bool = True

    def remaining(self) -> int:
        return (
            max(max(qty for qty in (self.qty, *(asked for _, asked in self.asked))) - self.filled, 0)
            if self.open
            else 0
        )

    def prices(self) -> list[int]:
        return [self.price, *(price for price, _ in self.asked)]


@dataclass
class Limits:
    """One instrument's and the account's limits, as the node has them; None is off."""

    max_order_qty: int | None = None
    max_order_notional: int | None = None
    max_order_e8: int | None = None
    max_position_long: int | None = None
    max_position_short: int | None = None
    max_position_notional: int | None = None
    max_position_e8: int | None = None
    price_collar_e8: int | None = None
    max_spread: int | None = None
    max_gross: int | None = None
    max_net: int | None = None
    initial_margin_e8: int = 0
    self_match: bool = False
    covered: int = 0


class Account:
    """One account's orders and fills."""

    def __init__(self, markets: Sequence[Market], limits: Limits, capital: int) -> None:
        self.markets, self.limits, self.capital = list(markets), limits, capital
        self.equity = capital
        self.orders: list[Order] = []
        self.fills: list[tuple[int, int, int]] = []  # (strategy, instrument, signed quantity)
        self.base_fees: list[int] = []  # Taken out of what was bought, 1e-8 of the one base asset there is.
        self.base_start = 0

    def position(self, instrument: int, strategy: int | None = None) -> int:
        return sum(qty for who, what, qty in self.fills if what == instrument and strategy in (None, who))

    def working(self, instrument: int, side: int, strategy: int | None = None) -> int:
        return sum(
            order.remaining()
            for order in self.orders
            if order.instrument == instrument and order.side == side and strategy in (None, order.strategy)
        )

    def base_left(self, instrument: int, added: int = 0) -> int:
        """What the account would hold of the base asset, 1e-8, if all its sells filled, `added` of an instrument among them."""
        bought = sum(qty * self.markets[what].base_unit for _, what, qty in self.fills)
        selling = sum(self.working(i, -1) * market.base_unit for i, market in enumerate(self.markets))
        held = self.base_start + bought - sum(self.base_fees)
        return held - selling - added * self.markets[instrument].base_unit

    def sellable(self, strategy: int, instrument: int) -> int:
        """What a strategy may still sell of its long position."""
        unit, own = self.markets[instrument].base_unit, self.position(instrument, strategy)
        own -= self.working(instrument, -1, strategy)
        return max(min(own, floor(Fraction(self.base_left(instrument), unit)) if unit else own), 0)

    def worst(self, instrument: int, side: int, strategy: int | None = None, added: int = 0) -> int:
        return side * self.position(instrument, strategy) + self.working(instrument, side, strategy) + added

    def gross(self, instrument: int = -1, side: int = 1, added: int = 0) -> int:
        total = 0
        for i, market in enumerate(self.markets):
            sides = [self.worst(i, s, added=added if i == instrument and s == side else 0) for s in (1, -1)]
            if max(sides) > 0:
                total += market.value(max(sides), market.costly_half(market.price2()))
        return total

    def net(self, side: int, instrument: int = -1, added: int = 0) -> int:
        total = 0
        for i, market in enumerate(self.markets):
            qty = self.worst(i, side, added=added if i == instrument else 0)
            if qty != 0:
                total += (1 if qty > 0 else -1) * market.value(qty, market.costly_half(market.price2()))
        return total

    def valuation(self, market: Market, side: int, price: int) -> int:
        """The costliest price at which a limit (or, at 0, a market) order may fill."""
        inverse = market.contract == "inverse"
        if price == 0:
            collar = self.limits.price_collar_e8
            if collar is None:
                return market.costly_half(market.price2())
            edge = Fraction(market.price2() * (E8 - min(collar, E8) if inverse else E8 + collar), 2 * E8)
            return max(floor(edge), 1)
        if (side > 0) != inverse:
            return price
        return (min if inverse else max)(price, market.costly_half(market.price2()))

    def findings(
        self, strategy: int, instrument: int, side: int, price: int, qty: int, amended: Order | None = None
    ) -> set[str]:
        """Names of all limits that a limit order (price 0: a market order) would break."""
        market, limits = self.markets[instrument], self.limits
        found: set[str] = set()

        def within(name: str, value: int, most: int | None) -> None:
            if most is not None and not value <= most:
                found.add(name)

        if price % market.tick or qty % market.lot:
            found.add("OFF_GRID")
        if not market.min_qty <= qty <= market.max_qty:
            found.add("QTY")
        within("MAX_ORDER_QTY", qty, limits.max_order_qty)
        if price:
            distance = abs(Fraction(price) - Fraction(market.price2(), 2)) / Fraction(market.price2(), 2)
            within("PRICE_COLLAR", ceil(distance * E8), limits.price_collar_e8)
        if limits.max_spread is not None and not (market.mid2() and market.ask - market.bid <= limits.max_spread):
            found.add("MAX_SPREAD")
        value = market.value(qty, self.valuation(market, side, price))
        within("MAX_ORDER_NOTIONAL", value, limits.max_order_notional)
        within(
            "MAX_ORDER_NOTIONAL",
            value * E8,
            None if limits.max_order_e8 is None else limits.max_order_e8 * self.capital,
        )
        added = qty
        if amended is not None:
            added = max(qty - amended.filled - amended.remaining(), 0)
        if added > 0:
            if limits.covered and side < 0 and self.base_left(instrument, added) < 0:
                found.add("BALANCE")
            self._exposure(found, within, strategy, instrument, side, added)
        if limits.self_match:
            self._self_match(found, instrument, side, price)
        return found

    def _exposure(self, found: set[str], within: Within, strategy: int, instrument: int, side: int, added: int) -> None:
        market, limits = self.markets[instrument], self.limits
        beyond = max(self.worst(instrument, side, added=added), self.worst(instrument, side, strategy, added))
        if beyond > 0:
            within("MAX_POSITION", beyond, limits.max_position_long if side > 0 else limits.max_position_short)
            value = market.value(beyond, market.costly_half(market.price2()))
            within("MAX_POSITION", value, limits.max_position_notional)
            within(
                "MAX_POSITION",
                value * E8,
                None if limits.max_position_e8 is None else limits.max_position_e8 * self.capital,
            )
        within("MAX_NET", self.net(side, instrument, added), limits.max_net)
        if self.worst(instrument, side, added=added) > self.worst(instrument, -side):
            gross = self.gross(instrument, side, added)
            within("MAX_GROSS", gross, limits.max_gross)
            if not gross * limits.initial_margin_e8 <= self.equity * E8:
                found.add("MARGIN")

    def _self_match(self, found: set[str], instrument: int, side: int, price: int) -> None:
        for order in self.orders:
            if not order.open or order.instrument != instrument or order.side == side or order.price == 0:
                continue
            if any(price == 0 or (price >= own if side > 0 else price <= own) for own in order.prices()):
                found.add("SELF_MATCH")
