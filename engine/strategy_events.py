"""What callbacks are handed: trade, quote, book, bar, timer, fill, order. Light views of the row in hand, nothing copied.

Each attribute is declared once, as a Field: where its number stands and in which unit it is read. Python reads it through the
descriptor; engine/strategy_types.py lowers the same declaration to a load (and a division for natural units: a product with
10**-scale would miss the nearest float, so that `trade.price == 61659.7` would be false).
An event is valid during its callback only; it must not be kept. Nothing here can be assigned.
"""

from typing import Any, Final, Generic, Literal, TypeVar, overload

from twinloop.kernels import rows

PRICE: Final = "price"  # float, natural units of the price
QTY: Final = "qty"  # float, natural units of the quantity
MONEY: Final = "money"  # float, currency units
INT: Final = "int"  # int, as stored
FLAG: Final = "flag"  # bool: the bits `mask` of the number
MONEY_PER_UNIT: Final = 1e8


_T = TypeVar("_T", float, int, bool)
Real = Literal["price", "qty", "money"]


class Field(Generic[_T]):
    """One attribute of an event: number `name` of the record `source`, minus number `minus` if given, in a unit."""

    __slots__ = ("doc", "mask", "minus", "name", "source", "unit")

    @overload
    def __init__(self: "Field[float]", source: str, name: str, unit: Real, doc: str, minus: str = "") -> None: ...
    @overload
    def __init__(
        self: "Field[int]", source: str, name: str, unit: Literal["int"], doc: str, minus: str = ""
    ) -> None: ...
    @overload
    def __init__(
        self: "Field[bool]", source: str, name: str, unit: Literal["flag"], doc: str, *, mask: int
    ) -> None: ...
    def __init__(self, source: str, name: str, unit: str, doc: str, minus: str = "", mask: int = 0) -> None:
        self.source = source
        self.name = name
        self.unit = unit
        self.minus = minus
        self.mask = mask
        self.doc = doc

    @overload
    def __get__(self, event: None, owner: type) -> "Field[_T]": ...
    @overload
    def __get__(self, event: "Event", owner: type) -> _T: ...
    def __get__(self, event: Any, owner: type) -> Any:
        if event is None:
            return self
        record = event.records[self.source]
        value = int(record[self.name])
        if self.minus:
            value -= int(record[self.minus])
        if self.unit == INT:
            return value
        if self.unit == FLAG:
            return value & self.mask != 0
        if self.unit == MONEY:
            return float(value) / MONEY_PER_UNIT
        market = event.records["market"]
        return float(value) / float(market["prices_per_unit" if self.unit == PRICE else "qtys_per_unit"])

    def __set__(self, event: Any, value: Any) -> None:
        raise AttributeError(f"{type(event).__name__}.{self.name} is read only")


def both(source: str, name: str, unit: Real, doc: str, minus: str = "") -> tuple[Field[float], Field[int]]:
    """A number in natural units, and the same as the scaled integer it is stored as."""
    return Field(source, name, unit, doc, minus), Field(source, name, INT, f"{doc}, scaled", minus)


class Event:
    """Base of events. `sources`: the records its fields stand in, in the order the compiled form holds them."""

    __slots__ = ("records",)
    sources: tuple[str, ...] = ("row", "market")

    def __init__(self, **records: Any) -> None:
        self.records = records

    def __repr__(self) -> str:
        names = [name for name, value in vars(type(self)).items() if isinstance(value, Field)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in names)})"


class Trade(Event):
    """A print."""

    __slots__ = ()
    price, price_scaled = both("row", "price", PRICE, "price")
    qty, qty_scaled = both("row", "qty", QTY, "quantity")
    side = Field("row", "side", INT, "+1 the aggressor bought, -1 sold, 0 unknown")
    instrument = Field("row", "instrument", INT, "instrument slot")
    trade_id = Field("row", "trade_id", INT, "the venue's id")
    off_market = Field("row", "flags", FLAG, "printed outside the order book", mask=rows.FLAG_OFF_MARKET)
    late = Field("row", "flags", FLAG, "asked for after a connection was back, not streamed", mask=rows.FLAG_LATE)
    ts_ns = Field("row", "local_ns", INT, "local time")
    venue_ns = Field("row", "venue_ns", INT, "venue time")


class Quote(Event):
    """A change of the best bid or ask."""

    __slots__ = ()
    bid, bid_scaled = both("row", "bid", PRICE, "best bid")
    ask, ask_scaled = both("row", "ask", PRICE, "best ask")
    bid_qty, bid_qty_scaled = both("row", "bid_qty", QTY, "quantity at the best bid")
    ask_qty, ask_qty_scaled = both("row", "ask_qty", QTY, "quantity at the best ask")
    instrument = Field("row", "instrument", INT, "instrument slot")
    ts_ns = Field("row", "local_ns", INT, "local time")
    venue_ns = Field("row", "venue_ns", INT, "venue time")


class BookEvent(Event):
    """The book after a venue's message; deeper levels by ctx.level_price and ctx.level_qty."""

    __slots__ = ()
    bid, bid_scaled = both("market", "bid", PRICE, "best bid")
    ask, ask_scaled = both("market", "ask", PRICE, "best ask")
    bid_qty, bid_qty_scaled = both("market", "bid_qty", QTY, "quantity at the best bid")
    ask_qty, ask_qty_scaled = both("market", "ask_qty", QTY, "quantity at the best ask")
    instrument = Field("row", "instrument", INT, "instrument slot")
    ts_ns = Field("row", "local_ns", INT, "local time")
    venue_ns = Field("row", "venue_ns", INT, "venue time")


class Bar(Event):
    """A closed bar."""

    __slots__ = ()
    sources = ("closed", "slot", "state", "market")
    open, open_scaled = both("closed", "open", PRICE, "first price")
    high, high_scaled = both("closed", "high", PRICE, "highest price")
    low, low_scaled = both("closed", "low", PRICE, "lowest price")
    close, close_scaled = both("closed", "close", PRICE, "last price")
    volume, volume_scaled = both("closed", "volume", QTY, "traded quantity")
    notional = Field("closed", "notional", MONEY, "traded value, quote currency")
    trades = Field("closed", "trades", INT, "number of trades")
    start_ns = Field("closed", "start_ns", INT, "start of the bar")
    end_ns = Field("closed", "end_ns", INT, "end of the bar")
    ts_ns = Field("closed", "closed_ns", INT, "local time of the row that closed it")
    flags = Field("closed", "flags", INT, "bars.BAR_* flags")
    kind = Field("state", "kind", INT, "bars.TIME_BAR, TICK_BAR, VOLUME_BAR, NOTIONAL_BAR")
    size = Field("state", "size", INT, "what the series counts to: ns, trades, scaled quantity or money")
    count = Field("state", "count", INT, "bars of this series so far")
    instrument = Field("slot", "instrument", INT, "instrument slot")


class Timer(Event):
    """A timer set by ctx.set_timer fell due."""

    __slots__ = ()
    sources = ("row",)
    id = Field("row", "timer_id", INT, "the id it was set with")
    due_ns = Field("row", "due_ns", INT, "when it was due")
    ts_ns = Field("row", "local_ns", INT, "local time")


class Fill(Event):
    """An own order traded."""

    __slots__ = ()
    sources = ("row", "tail", "market")
    price, price_scaled = both("row", "price", PRICE, "price")
    qty, qty_scaled = both("row", "qty", QTY, "quantity")
    side = Field("row", "side", INT, "+1 bought, -1 sold")
    fee = Field("row", "fee", MONEY, "fee paid, negative a rebate")
    order_id = Field("row", "order_id", INT, "the order")
    instrument = Field("row", "instrument", INT, "instrument slot")
    maker = Field("row", "flags", FLAG, "our order was resting", mask=rows.FLAG_MAKER)
    leaves, leaves_scaled = both("tail", "leaves_qty", QTY, "quantity the order has left")
    trade_id = Field("tail", "trade_id", INT, "the venue's id")
    ts_ns = Field("row", "local_ns", INT, "local time")
    venue_ns = Field("row", "venue_ns", INT, "venue time")


class OrderEvent(Event):
    """An own order changed its state."""

    __slots__ = ()
    sources = ("row", "order", "market")
    id = Field("order", "id", INT, "the order")
    state = Field("order", "state", INT, "codes.STATE_*")
    code = Field("order", "code", INT, "codes.REASON_* or REJECT_* of the last refusal, 0 for none")
    pending = Field("order", "pending", INT, "codes.PENDING_CANCEL, PENDING_AMEND")
    type = Field("order", "type", INT, "codes.LIMIT, MARKET, STOP, STOP_LIMIT")
    side = Field("order", "side", INT, "+1 buy, -1 sell")
    price, price_scaled = both("order", "price", PRICE, "limit price")
    trigger_price, trigger_price_scaled = both("order", "trigger_price", PRICE, "stop price")
    qty, qty_scaled = both("order", "qty", QTY, "ordered quantity")
    filled, filled_scaled = both("order", "filled", QTY, "quantity filled")
    leaves, leaves_scaled = both("order", "qty", QTY, "quantity not filled", minus="filled")
    instrument = Field("order", "instrument", INT, "instrument slot")
    kind = Field("row", "kind", INT, "rows.ACK, FILL, CANCELLED, ...: the fact that changed it")
    ts_ns = Field("row", "local_ns", INT, "local time")
    venue_ns = Field("row", "venue_ns", INT, "venue time")


class FeedEvent(Event):
    """The feed of an instrument became stale or fresh, or its market is taken from another source."""

    __slots__ = ()
    sources = ("row",)
    kind = Field("row", "kind", INT, "rows.FEED_STALE, FEED_SWITCHED, FEED_RECOVERED")
    code = Field("row", "code", INT, "why, by the codes of the feed's rows")
    source = Field("row", "source", INT, "0 the first feed, 1 the second, 2 asked for by REST")
    instrument = Field("row", "instrument", INT, "instrument slot")
    ts_ns = Field("row", "local_ns", INT, "local time")


EVENTS: Final[dict[str, type[Event]]] = {
    "on_trade": Trade,
    "on_quote": Quote,
    "on_book": BookEvent,
    "on_bar": Bar,
    "on_timer": Timer,
    "on_fill": Fill,
    "on_order": OrderEvent,
    "on_feed": FeedEvent,
}


def fields(event: type[Event]) -> dict[str, Field[Any]]:
    """The attributes of an event class."""
    return {name: value for name, value in vars(event).items() if isinstance(value, Field)}
