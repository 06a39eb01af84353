"""What the practice exchange's matching and ledger are made of: symbols, orders, fills, events, and a venue's refusals.

Prices and quantities are ints in the symbol's scales, money ints of 1e-8 of its asset; decimal text exists only at the sockets.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from twinloop.engine.exchange.symbols import Symbol

if TYPE_CHECKING:
    from twinloop.engine.exchange.conditional import Algo

BUY: Final = 1
SELL: Final = -1
Market = Literal["spot", "usdm", "coinm"]  # Of COIN-M there is the market, and no customer.
# Statuses, as the venue writes them.
NEW: Final = "NEW"
PARTIAL: Final = "PARTIALLY_FILLED"
FILLED: Final = "FILLED"
CANCELED: Final = "CANCELED"
EXPIRED: Final = "EXPIRED"
EXPIRED_IN_MATCH: Final = "EXPIRED_IN_MATCH"
OPEN: Final = (NEW, PARTIAL)
# Types of order with a limit price, and those that wait for a stop price first. TAKE_PROFIT is a market order on spot.
LIMIT_TYPES: Final[dict[str, frozenset[str]]] = {
    "spot": frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"}),
    "usdm": frozenset({"LIMIT", "STOP", "TAKE_PROFIT"}),
    "coinm": frozenset({"LIMIT"}),
}
STOP_TYPES: Final[dict[str, frozenset[str]]] = {
    "spot": frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}),
    "usdm": frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"}),
    "coinm": frozenset(),
}


class VenueError(Exception):
    """A refusal with the venue's number and words."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(slots=True, eq=False)
class Order:
    """An order, from its acceptance to its end."""

    id: int
    client_id: str
    account: "Account"
    symbol: Symbol
    side: int
    type: str
    time_in_force: str
    price: int
    qty: int
    time_ms: int
    stop_price: int = 0
    reduce_only: bool = False
    expire_ms: int = 0
    filled: int = 0
    quote: int = 0  # Value of what was filled.
    status: str = NEW
    update_ms: int = 0
    triggered: bool = True  # False: waits for its stop price.
    origin: str = ""  # Type of the conditional order it was, if it was one.
    spends: int = 0  # Spot: the amount of the quote asset that a market order was given instead of a quantity.
    locked: int = 0  # Of the account's free balance, held for this order.

    @property
    def leaves(self) -> int:
        """What is not filled yet."""
        return self.qty - self.filled

    @property
    def limited(self) -> bool:
        """Whether it has a limit price."""
        return self.type in LIMIT_TYPES[self.symbol.market]


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade, as everyone sees it."""

    id: int
    price: int
    qty: int
    value: int
    buyer_is_maker: bool
    time_ms: int


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
    """A customer. balances: free and locked by asset (USD-M: the wallet). entries: every change of a balance, in order.

    Orders and fills are kept by symbol, the working ones apart, so that no request costs what the account once did.
    """

    name: str
    market: Market
    key: str
    secret: str
    balances: dict[str, list[int]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    by_client: dict[str, Order] = field(default_factory=dict)
    working: dict[str, dict[int, Order]] = field(default_factory=dict)
    history: dict[str, list[Order]] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    fills_of: dict[str, list[Fill]] = field(default_factory=dict)
    entries: list[tuple[str, int, str]] = field(default_factory=list)
    income: list["Income"] = field(default_factory=list)  # In order of time.
    dead_man_ms: dict[str, int] = field(default_factory=dict)
    leverage: int = 20  # Of every symbol that has none of its own.
    leverages: dict[str, int] = field(default_factory=dict)
    isolated: set[str] = field(
        default_factory=set
    )  # Symbols in isolated margin: told only, margin is counted across all.
    hedge: bool = (
        False  # Long and short positions of one symbol: told, and then every order of one-way mode is refused.
    )
    multi_assets: bool = False  # Told only.
    burns: bool = False  # Pays its fees in BNB, at a discount, as long as it has any.

    def free(self, asset: str) -> int:
        """What may be spent of an asset."""
        return self.balances.get(asset, (0, 0))[0]

    def leverage_of(self, name: str) -> int:
        """The leverage of a symbol."""
        return self.leverages.get(name, self.leverage)

    def change(self, asset: str, amount: int, why: str) -> None:
        """Move a free balance, and write it down."""
        self.balances.setdefault(asset, [0, 0])[0] += amount
        self.entries.append((asset, amount, why))

    def lock(self, asset: str, amount: int) -> None:
        """Hold a part of a free balance, or (negative) let it go."""
        held = self.balances.setdefault(asset, [0, 0])
        held[0] -= amount
        held[1] += amount

    def held(self, name: str) -> int:
        """The position in a symbol."""
        found = self.positions.get(name)
        return found.qty if found is not None else 0

    def register(self, order: Order) -> None:
        """Take an accepted order in."""
        name = order.symbol.name
        self.orders[order.id] = self.by_client[order.client_id] = order
        self.working.setdefault(name, {})[order.id] = order
        self.history.setdefault(name, []).append(order)


# ---- What the exchange tells of.


@dataclass(frozen=True, slots=True)
class LevelsChanged:
    """levels: (side, price, quantity), 0 where one went. Ids: update ids of this change, and the one before."""

    symbol: Symbol
    time_ms: int
    first: int
    final: int
    previous: int
    levels: list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class TopChanged:
    """top: bid, its quantity, ask, its quantity."""

    symbol: Symbol
    time_ms: int
    id: int
    top: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Traded:
    """A trade."""

    symbol: Symbol
    time_ms: int
    trade: Trade


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order's state right after what happened to it. execution: NEW, TRADE, CANCELED, EXPIRED, AMENDMENT."""

    symbol: Symbol
    time_ms: int
    order: Order
    execution: str
    status: str
    filled: int
    quote: int
    fill: Fill | None = None


@dataclass(frozen=True, slots=True)
class Income:
    """Money of an account that came (< 0: left) without a trade. name: of the symbol, "" for none. kind: FUNDING_FEE, TRANSFER."""

    id: int
    name: str
    kind: str
    asset: str
    amount: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class BalanceChanged:
    """A balance moved without an order. name: the symbol of the position that is told with it. why: FUNDING_FEE, DEPOSIT, ADJUSTMENT."""

    name: str
    time_ms: int
    account: Account
    asset: str
    amount: int
    why: str


@dataclass(frozen=True, slots=True)
class AlgoChanged:
    """A conditional order's new state. reason: why it was rejected."""

    symbol: Symbol
    time_ms: int
    algo: "Algo"
    status: str
    reason: str


Event = LevelsChanged | TopChanged | Traded | OrderChanged | BalanceChanged | AlgoChanged
