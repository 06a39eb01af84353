"""USD-M's service for conditional orders: stops and take-profits that become an order of the book once a price is reached.

Since December 2025 the order endpoint refuses them (-4120). They have ids and states of their own (NEW, TRIGGERING, TRIGGERED, FINISHED,
CANCELED, REJECTED, EXPIRED), bind no margin while they wait, and are judged again by the book when they trigger.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from twinloop.engine.exchange.checks import check_filters, immediately
from twinloop.engine.exchange.model import LIMIT_TYPES, OPEN, Account, AlgoChanged, Order, VenueError
from twinloop.engine.exchange.symbols import Symbol
from twinloop.engine.exchange.triggers import Triggers, waits_for_rise

if TYPE_CHECKING:
    from twinloop.engine.exchange.core import Exchange, MarketState

LAST: Final = "CONTRACT_PRICE"
MARK: Final = "MARK_PRICE"
FIRST_ID: Final = 2_000_000


@dataclass(slots=True, eq=False)
class Algo:
    """A conditional order. actual: the order it became. close_position: for whatever the position then is; its quantity is 0."""

    id: int
    client_id: str
    account: Account
    symbol: Symbol
    side: int
    type: str
    time_in_force: str
    qty: int
    price: int
    stop_price: int
    time_ms: int
    working_type: str = LAST
    reduce_only: bool = False
    close_position: bool = False
    expire_ms: int = 0
    status: str = "NEW"
    update_ms: int = 0
    trigger_ms: int = 0
    actual: Order | None = None


@dataclass
class _Book:
    """What waits for one symbol's prices."""

    by: dict[str, Triggers[Algo]] = field(default_factory=lambda: {LAST: Triggers(), MARK: Triggers()})


class Conditional:
    """The service of one exchange."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._next = FIRST_ID
        self._waiting = {name: _Book() for name in exchange.markets}
        self._all: dict[Account, dict[int, Algo]] = {}
        self._by_client: dict[tuple[Account, str], Algo] = {}
        self._of_order: dict[int, Algo] = {}

    def place(
        self, account: Account, name: str, side: int, kind: str, qty: int, *, stop_price: int, price: int = 0, time_in_force: str = "GTC",
        working_type: str = LAST, reduce_only: bool = False, close_position: bool = False, client_id: str = "", expire_ms: int = 0,
    ) -> Algo:  # fmt: skip
        """A new conditional order. VenueError when refused."""
        exchange, state = self._exchange, self._exchange.state(name)
        self._next += 1
        algo = Algo(
            self._next, client_id or f"a-{self._next}", account, state.symbol, side, kind, time_in_force, qty, price, stop_price,
            exchange.now_ms, working_type, reduce_only or close_position, close_position, expire_ms, update_ms=exchange.now_ms,
        )  # fmt: skip
        self._check(state, algo)
        self._all.setdefault(account, {})[algo.id] = algo
        self._by_client[account, algo.client_id] = algo
        self._waiting[name].by[working_type].add(algo)
        if expire_ms:
            exchange.expires(expire_ms, algo.id, lambda: self._expire(algo))
        self._tell(algo, "NEW")
        return algo

    def _check(self, state: "MarketState", algo: Algo) -> None:
        exchange, symbol = self._exchange, state.symbol
        other = self._by_client.get((algo.account, algo.client_id))
        if other is not None and other.status == "NEW":
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if sum(each.account is algo.account for each in self.waiting(symbol.name)) >= symbol.max_stops:
            raise VenueError(-4045, "Reach max stop order limit.")
        if algo.stop_price <= 0:
            raise VenueError(-1102, "Mandatory parameter 'triggerPrice' was not sent, was empty/null, or malformed.")
        judged = Order(
            0, "", algo.account, symbol, algo.side, algo.type, algo.time_in_force, algo.price, algo.qty, 0, algo.stop_price,
            algo.reduce_only, triggered=False,
        )  # fmt: skip
        if not algo.close_position:
            check_filters(symbol, judged, reference=exchange.mark_price(symbol.name))
        if (self._price(state, algo.working_type) - algo.stop_price) * (1 if waits_for_rise(algo) else -1) >= 0:
            raise immediately()

    def _price(self, state: "MarketState", working_type: str) -> int:
        return state.last_price if working_type == LAST else self._exchange.mark_price(state.symbol.name)

    def find(self, account: Account, algo_id: int | None, client_id: str | None) -> Algo | None:
        """An account's conditional order by either of its names."""
        if algo_id:
            return self._all.get(account, {}).get(algo_id)
        return self._by_client.get((account, client_id or ""))

    def waiting(self, name: str) -> Iterator[Algo]:
        """Those of a symbol that have not triggered."""
        for triggers in self._waiting[name].by.values():
            yield from triggers

    def open(self, account: Account, name: str | None = None) -> list[Algo]:
        """An account's that have not triggered, oldest first."""
        names = [name] if name else [*self._waiting]
        found = [each for its in names for each in self.waiting(its) if each.account is account]
        return sorted(found, key=lambda each: each.id)

    def history(self, account: Account, name: str) -> list[Algo]:
        """Every one an account ever had in a symbol, oldest first."""
        return [each for each in self._all.get(account, {}).values() if each.symbol.name == name]

    def cancel(self, account: Account, algo_id: int | None = None, client_id: str | None = None) -> Algo:
        """Cancel one that has not triggered. -2011 where there is none."""
        algo = self.find(account, algo_id, client_id)
        if algo is None or algo.status != "NEW":
            raise VenueError(-2011, "Unknown order sent.")
        self._waiting[algo.symbol.name].by[algo.working_type].remove(algo)
        self._tell(algo, "CANCELED")
        return algo

    def cancel_all(self, account: Account, name: str) -> list[Algo]:
        """Cancel every one of a symbol that has not triggered."""
        self._exchange.state(name)
        return [self.cancel(account, each.id) for each in self.open(account, name)]

    def _expire(self, algo: Algo) -> None:
        if algo.status == "NEW":
            self._waiting[algo.symbol.name].by[algo.working_type].remove(algo)
            self._tell(algo, "EXPIRED")

    def trigger(self, state: "MarketState") -> bool:
        """Turn one that its price has reached into an order: whether there was one."""
        for working_type, triggers in self._waiting[state.symbol.name].by.items():
            algo = triggers.reached(self._price(state, working_type))
            if algo is not None:
                self._send(algo)
                return True
        return False

    def _send(self, algo: Algo) -> None:
        """Give the book the order that a triggered one stands for."""
        exchange, qty = self._exchange, algo.qty
        algo.trigger_ms = exchange.now_ms
        self._tell(algo, "TRIGGERING")
        if algo.close_position:
            held = algo.account.held(algo.symbol.name)
            qty = abs(held) if held * algo.side < 0 else 0
        if qty == 0:
            self._tell(algo, "REJECTED", "ReduceOnly Order is rejected.")
            return
        kind = "LIMIT" if algo.type in LIMIT_TYPES["usdm"] else "MARKET"
        number = exchange.order_id + 1
        self._of_order[number] = algo
        try:
            exchange.place(
                algo.account, algo.symbol.name, algo.side, kind, qty, price=algo.price, time_in_force=algo.time_in_force,
                client_id=algo.client_id, reduce_only=algo.reduce_only, origin=algo.type, stop_price=algo.stop_price,
            )  # fmt: skip
        except VenueError as error:
            del self._of_order[number]
            self._tell(algo, "REJECTED", error.message)

    def order_changed(self, order: Order) -> None:
        """What the order of a triggered one does: it stands in the book, or it ended."""
        algo = self._of_order.get(order.id)
        if algo is None:
            return
        if algo.actual is None:
            algo.actual = order
            self._tell(algo, "TRIGGERED")
        if order.status not in OPEN:
            del self._of_order[order.id]
            self._tell(algo, "FINISHED")

    def _tell(self, algo: Algo, status: str, reason: str = "") -> None:
        algo.status, algo.update_ms = status, self._exchange.now_ms
        self._exchange.events.append(AlgoChanged(algo.symbol, self._exchange.now_ms, algo, status, reason))
