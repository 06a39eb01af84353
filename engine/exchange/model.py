"""What the practice exchange's matching and ledger are made of: symbols, orders, fills, events, and a venue's refusals.

Prices and quantities are ints in the symbol's scales, money ints of 1e-8 of its asset; decimal text exists only at the sockets.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

MONEY: Final = 10**8
PPM: Final = 10**6
BUY: Final = 1
SELL: Final = -1
Market = Literal["spot", "usdm"]
# Statuses, as the venue writes them.
NEW: Final = "NEW"
PARTIAL: Final = "PARTIALLY_FILLED"
FILLED: Final = "FILLED"
CANCELED: Final = "CANCELED"
EXPIRED: Final = "EXPIRED"
EXPIRED_IN_MATCH: Final = "EXPIRED_IN_MATCH"
OPEN: Final = (NEW, PARTIAL)


class VenueError(Exception):
    """A refusal with the venue's number and words."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol's rules. Fees in parts per million of the value; min_notional in 1e-8 of the quote asset."""

    name: str
    market: Market
    base: str
    quote: str
    price_scale: int
    qty_scale: int
    tick_size: int
    step_size: int
    min_qty: int
    max_qty: int
    min_notional: int
    first_price: int
    maker_ppm: int = 200
    taker_ppm: int = 500
    max_orders: int = 200
    band_ppm: int = 50_000  # A limit price may lie so far from the last one.

    def value(self, price: int, qty: int) -> int:
        """Price times quantity, 1e-8 of the quote asset; exact, since the scales add up to at most 8."""
        return price * qty * int(10 ** (8 - self.price_scale - self.qty_scale))

    def base_units(self, qty: int) -> int:
        """A quantity as 1e-8 of the base asset."""
        return qty * int(10 ** (8 - self.qty_scale))


def symbol(name: str, market: Market) -> Symbol:
    """The rules of a symbol that the exchange knows. VenueError for any other."""
    known = {"BTCUSDT": ("BTC", 60_000), "ETHUSDT": ("ETH", 2_500)}
    if name not in known:
        raise VenueError(-1121, "Invalid symbol.")
    base, price = known[name]
    if market == "usdm":
        scale = 1 if base == "BTC" else 2
        return Symbol(name, market, base, "USDT", scale, 3, 1, 1, 1, 1_000_000, 5 * MONEY, price * 10**scale)
    return Symbol(name, market, base, "USDT", 2, 5, 1, 1, 1, 900_000_000, 5 * MONEY, price * 100, 1000, 1000)


@dataclass(slots=True, eq=False)
class Order:
    """An order, from its acceptance to its end. account None: of the exchange's own agents."""

    id: int
    client_id: str
    account: "Account | None"
    symbol: Symbol
    side: int
    type: str
    time_in_force: str
    price: int
    qty: int
    time_ms: int
    stop_price: int = 0
    reduce_only: bool = False
    filled: int = 0
    quote: int = 0  # Value of what was filled.
    status: str = NEW
    update_ms: int = 0
    triggered: bool = True  # False: waits for its stop price.
    expire_ms: int = 0
    locked: int = 0  # Of the account's free balance, held for this order.

    @property
    def leaves(self) -> int:
        """What is not filled yet."""
        return self.qty - self.filled


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of one trade. realised: USD-M only. fee: 1e-8 of fee_asset."""

    trade_id: int
    order: Order
    price: int
    qty: int
    value: int
    fee: int
    fee_asset: str
    maker: bool
    time_ms: int
    realised: int = 0


@dataclass(slots=True)
class Position:
    """A one-way position. cost: value paid for what is open, signed like the quantity."""

    qty: int = 0
    cost: int = 0


@dataclass(slots=True, eq=False)
class Account:
    """A customer. balances: free and locked by asset (spot); wallet: of USDT (USD-M). entries: every change of a balance, in order."""

    name: str
    market: Market
    key: str
    secret: str
    balances: dict[str, list[int]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    by_client: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    entries: list[tuple[str, int, str]] = field(default_factory=list)
    dead_man_ms: dict[str, int] = field(default_factory=dict)
    leverage: int = 20

    def change(self, asset: str, amount: int, why: str) -> None:
        """Move a free balance, and write it down."""
        self.balances.setdefault(asset, [0, 0])[0] += amount
        self.entries.append((asset, amount, why))

    def lock(self, asset: str, amount: int) -> None:
        """Hold a part of a free balance, or (negative) let it go."""
        held = self.balances.setdefault(asset, [0, 0])
        held[0] -= amount
        held[1] += amount


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. kind: "levels", "top", "trade", "order", "balance". data: what it was, by name."""

    kind: str
    symbol: Symbol
    time_ms: int
    data: dict[str, Any]
