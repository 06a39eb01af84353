"""The practice exchange without its sockets: accounts, orders and their matching, and the events it tells of.

Time is passed in, nothing is drawn, and the same calls give the same events. Whoever drives it takes the events from `events`
after each call. This module must not open a socket or read a clock.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Final

from twinloop.engine.exchange.candles import SECOND_MS, SECONDS_MAX, Candles
from twinloop.engine.exchange.checks import check_filters, check_money, check_order
from twinloop.engine.exchange.conditional import Conditional
from twinloop.engine.exchange.ledger import BURNT, MARGIN, Ledger
from twinloop.engine.exchange.matching import Book
from twinloop.engine.exchange.model import (
    BUY,
    CANCELED,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    OPEN,
    PARTIAL,
    SELL,
    STOP_TYPES,
    Account,
    BalanceChanged,
    Event,
    Fill,
    Income,
    LevelsChanged,
    Market,
    Order,
    OrderChanged,
    TopChanged,
    Trade,
    Traded,
    VenueError,
)
from twinloop.engine.exchange.sessions import ListenKeys
from twinloop.engine.exchange.symbols import PPM, Symbol
from twinloop.engine.exchange.triggers import Triggers

FUNDING_MS: Final = 8 * 3600 * 1000
FUNDING_PPM: Final = 100
TRADES_MAX: Final = 1000  # In one answer.
TRADES_KEPT: Final = 20_000


class MarketState:
    """One symbol's book and its counters."""

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.book = Book()
        self.update_id = 1_000_000
        self.trade_id = 0
        self.last_price = symbol.first_price
        self.trades: list[Trade] = []
        self.stops: Triggers[Order] = Triggers()
        self.candles = Candles()
        self.seconds = Candles(SECOND_MS, SECONDS_MAX)
        self.shown_top: tuple[int, int, int, int] = (0, 0, 0, 0)
        self.halted = False


class Exchange:
    """One market ("spot" or "usdm") of the practice exchange."""

    def __init__(self, market: Market, symbols: Sequence[Symbol]) -> None:
        self.market: Market = market
        self.markets = {each.name: MarketState(each) for each in symbols}
        self.ledger = Ledger(market)
        self.house = self.ledger.house
        self.accounts: dict[str, Account] = {}
        self.events: list[Event] = []
        self.order_id = 1000
        self.now_ms = 0
        self.funded_ms = 0
        self._income_id = 7_000_000
        self._expiring: list[tuple[int, int, Callable[[], None]]] = []
        self.listen_keys = ListenKeys()
        self._settling = False
        self.conditional = Conditional(self)

    # ---- Accounts.

    def add_account(self, name: str, key: str, secret: str, balances: dict[str, int]) -> Account:
        """A customer with these amounts (1e-8)."""
        account = self.accounts[key] = Account(name, self.market, key, secret)
        for asset, amount in balances.items():
            self.ledger.deposit(account, asset, amount)
        return account

    def state(self, name: str) -> MarketState:
        """A symbol's state. VenueError for an unknown one."""
        if name not in self.markets:
            raise VenueError(-1121, "Invalid symbol.")
        return self.markets[name]

    def mark_price(self, name: str) -> int:
        """What positions are valued at: the middle of the book, else the last price."""
        state = self.markets[name]
        bid, ask = state.book.best(BUY), state.book.best(SELL)
        return (bid + ask) // 2 if bid and ask else state.last_price

    def unrealised(self, account: Account, name: str) -> int:
        """PnL of what is open at the mark."""
        held = account.positions.get(name)
        return 0 if held is None else self.markets[name].symbol.value(self.mark_price(name), held.qty) - held.cost

    def equity(self, account: Account) -> int:
        """Wallet and open PnL."""
        return account.free(MARGIN) + sum(self.unrealised(account, name) for name in account.positions)

    def margin(self, account: Account, order: Order | None = None, *, counted: bool = True) -> int:
        """What the worst that positions and working orders may become binds at the account's leverage.

        order: judged as it stands whether it is working or not, or (not counted) left out.
        """
        bound = 0
        names = {*account.positions, *(name for name, working in account.working.items() if working)}
        for name in sorted(names | ({order.symbol.name} if order is not None else set())):
            orders = [each for each in account.working.get(name, {}).values() if each is not order]
            if order is not None and counted and order.symbol.name == name:
                orders.append(order)
            open_qty = {BUY: 0, SELL: 0}
            for each in orders:
                open_qty[each.side] += 0 if each.reduce_only else each.leaves
            worst = max(abs(account.held(name) + open_qty[BUY]), abs(account.held(name) - open_qty[SELL]))
            bound += self.markets[name].symbol.value(self.mark_price(name), worst) // account.leverage_of(name)
        return bound

    # ---- Orders.

    def place(
        self,
        account: Account | None,
        name: str,
        side: int,
        kind: str,
        qty: int,
        *,
        price: int = 0,
        time_in_force: str = "GTC",
        stop_price: int = 0,
        client_id: str = "",
        reduce_only: bool = False,
        expire_ms: int = 0,
        origin: str = "",
        spends: int = 0,
    ) -> tuple[Order, list[Fill]]:
        """A new order: accepted, matched, resting or ended, with the fills it got at once. VenueError when refused.

        account: None for an agent's order, which only has to match.
        """
        state = self.state(name)
        number = self.order_id + 1
        order = Order(
            number, client_id or f"x-{number}", account or self.house, state.symbol, side, kind,
            "GTX" if kind == "LIMIT_MAKER" else time_in_force, price, qty, self.now_ms, stop_price, reduce_only, expire_ms,
            update_ms=self.now_ms, triggered=kind not in STOP_TYPES[self.market], origin=origin, spends=spends,
        )  # fmt: skip
        if account is not None:
            check_order(self, state, order)
            account.register(order)
        self.order_id = number
        self.ledger.hold(order)
        self._tell(order, "NEW")
        if expire_ms:
            self.expires(expire_ms, number, partial(self._expire, order))
        if not order.triggered:
            state.stops.add(order)
            return order, []
        fills = self._work(state, order)
        self.settle(state)
        return order, fills

    def worth(self, account: Account, state: MarketState, side: int, amount: int) -> int:
        """The quantity that so much of the quote asset buys or sells for now, in whole steps."""
        symbol, qty = state.symbol, 0
        probe = Order(0, "", account, symbol, side, "MARKET", "GTC", 0, symbol.max_qty, self.now_ms)
        for maker, there in self.reach(state, probe):
            got = min(there, amount // symbol.value(maker.price, 1))
            qty, amount = qty + got, amount - symbol.value(maker.price, got)
            if got < there:
                break
        return qty // symbol.step_size * symbol.step_size

    def expires(self, at_ms: int, number: int, what: Callable[[], None]) -> None:
        """Have something ended at a time. number: orders what is due at the same one."""
        heappush(self._expiring, (at_ms, number, what))

    def _expire(self, order: Order) -> None:
        if order.status in OPEN:
            self.end(order, EXPIRED)

    def reach(self, state: MarketState, order: Order) -> Iterator[tuple[Order, int]]:
        """(resting order, quantity) that an order would trade with now, best first; nothing is changed."""
        left = order.leaves
        rooms: dict[Account, int] = {}
        for maker in state.book.orders(-order.side):
            if left == 0 or (order.limited and (maker.price - order.price) * order.side > 0):
                return
            if maker.account is order.account and maker.account is not self.house:
                continue
            qty = min(left, maker.leaves)
            if maker.account is not self.house:
                room = rooms.get(maker.account, -maker.account.held(order.symbol.name) * maker.side)
                if maker.reduce_only:
                    qty = min(qty, max(room, 0))
                rooms[maker.account] = room - qty
            left -= qty
            if qty:
                yield maker, qty

    def _work(self, state: MarketState, order: Order) -> list[Fill]:
        """Match an order that takes effect now; let the rest wait or end it."""
        found: list[Fill] = []
        if order.time_in_force == "FOK" and sum(qty for _, qty in self.reach(state, order)) < order.leaves:
            self._end(order, EXPIRED)
            return found
        while order.leaves and order.status in OPEN:
            maker = state.book.front(-order.side)
            if maker is None or (order.limited and (maker.price - order.price) * order.side > 0):
                break
            if maker.account is order.account and maker.account is not self.house:
                state.book.remove(maker)
                self._end(maker, EXPIRED_IN_MATCH)
                continue
            qty = min(self._fillable(order), self._fillable(maker))
            if qty == 0:  # The taker may only reduce, and there is nothing left to reduce.
                break
            fill = self._trade(state, order, maker, qty)
            if fill is not None:
                found.append(fill)
        if order.status not in OPEN:
            return found
        rests = order.limited and order.time_in_force in {"GTC", "GTX", "GTD"} and self._fillable(order)
        if rests:
            state.book.add(order)
        else:
            self._end(order, EXPIRED)
        return found

    @staticmethod
    def _fillable(order: Order) -> int:
        """What an order may trade: all that is left, of one that only reduces at most the position."""
        if not order.reduce_only:
            return order.leaves
        return min(order.leaves, max(-order.account.held(order.symbol.name) * order.side, 0))

    def fill_now(self, order: Order, qty: int) -> None:
        """Have the house take so much of a customer's order at its price, whether it still works or has ended."""
        state = self.markets[order.symbol.name]
        rests = order.status in OPEN and order.triggered
        if rests and qty >= order.leaves:
            state.book.remove(order)
            rests = False
        self.order_id += 1
        other = Order(self.order_id, "", self.house, state.symbol, -order.side, "MARKET", "GTC", 0, qty, self.now_ms)
        self._trade(state, other, order, qty, rests=rests)
        self.settle(state)

    def _trade(self, state: MarketState, taker: Order, maker: Order, qty: int, *, rests: bool = True) -> Fill | None:
        """One trade between two orders, at the first one's price: the taker's fill, where a customer's. rests: the maker is in the book."""
        state.trade_id += 1
        price = state.last_price = maker.price
        if state.symbol.base == BURNT:
            self.ledger.burnt_price = price * int(10 ** (8 - state.symbol.price_scale))
        value = state.symbol.value(price, qty)
        trade = Trade(state.trade_id, price, qty, value, maker.side == BUY, self.now_ms)
        for order in (maker, taker):
            order.filled += qty
            order.quote += value
            order.status = FILLED if order.leaves <= 0 else PARTIAL
            order.update_ms = self.now_ms
            if order.status == FILLED:
                self._forget(order)
        if rests:
            state.book.filled(maker, qty)
        state.trades.append(trade)
        if len(state.trades) > 2 * TRADES_KEPT:
            del state.trades[:-TRADES_KEPT]
        state.candles.add(trade)
        if self.market == "spot":
            state.seconds.add(trade)
        self.events.append(Traded(state.symbol, self.now_ms, trade))
        fills = []
        for order in (maker, taker):
            fill = self.ledger.settle(order, trade, maker=order is maker)
            if fill is not None:
                self._tell(order, "TRADE", fill)
            fills.append(fill)
        for order in (maker, taker):
            if self.market == "usdm" and order.account is not self.house:
                self._drop_spent(state, order.account, taker)
        return fills[1]

    def _drop_spent(self, state: MarketState, account: Account, taker: Order) -> None:
        """End an account's resting orders that may only reduce and have nothing left to reduce. taker: ends by itself."""
        for order in [*account.working.get(state.symbol.name, {}).values()]:
            if order.reduce_only and order.triggered and order is not taker and not self._fillable(order):
                state.book.remove(order)
                self._end(order, EXPIRED)

    def _forget(self, order: Order) -> None:
        """An order that ended is not among the working ones."""
        order.account.working.get(order.symbol.name, {}).pop(order.id, None)

    def _end(self, order: Order, status: str) -> None:
        order.status = status
        order.update_ms = self.now_ms
        self._forget(order)
        self.ledger.hold(order, ended=True)
        self._tell(order, "CANCELED" if status == CANCELED else "EXPIRED")

    def _tell(self, order: Order, execution: str, fill: Fill | None = None) -> None:
        if order.account is not self.house:
            self.events.append(
                OrderChanged(order.symbol, self.now_ms, order, execution, order.status, order.filled, order.quote, fill)
            )
            self.conditional.order_changed(order)

    def find(self, account: Account, name: str, order_id: int | None, client_id: str | None) -> Order | None:
        """An account's order by either of its names."""
        self.state(name)
        order = account.orders.get(order_id) if order_id else account.by_client.get(client_id or "")
        return order if order is not None and order.symbol.name == name else None

    def cancel(self, account: Account, name: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Cancel a working order. -2011 where there is none."""
        order = self.find(account, name, order_id, client_id)
        if order is None or order.status not in OPEN:
            raise VenueError(-2011, "Unknown order sent.")
        self.end(order, CANCELED)
        return order

    def end(self, order: Order, status: str) -> None:
        """Take a working order out, a customer's or an agent's."""
        state = self.markets[order.symbol.name]
        if order.triggered:
            state.book.remove(order)
        else:
            state.stops.remove(order)
        self._end(order, status)
        self.settle(state)

    def cancel_all(self, account: Account, name: str) -> list[Order]:
        """Cancel every working order of a symbol."""
        self.state(name)
        found = [*account.working.get(name, {}).values()]
        return [self.cancel(account, name, each.id) for each in found]

    def amend(
        self, account: Account, name: str, order_id: int | None, client_id: str | None, qty: int, price: int
    ) -> tuple[Order, list[Fill]]:
        """Change a working order: less quantity at its price keeps its place, anything else goes to the back, or takes."""
        order = self.find(account, name, order_id, client_id)
        if order is None or order.status not in OPEN or not order.triggered:
            raise VenueError(-2013, "Order does not exist.")
        state = self.markets[name]
        price = price or order.price
        keeps = price == order.price and qty < order.qty
        self._check_amend(state, order, qty, price, keeps=keeps)
        if keeps:
            state.book.reduce(order, order.qty - qty)
            order.qty = qty
        else:
            state.book.remove(order)
            order.qty, order.price = qty, price
        self.ledger.hold(order)
        order.update_ms = self.now_ms
        self._tell(order, "AMENDMENT")
        fills = [] if keeps else self._work(state, order)
        self.settle(state)
        return order, fills

    def _check_amend(self, state: MarketState, order: Order, qty: int, price: int, *, keeps: bool) -> None:
        """Judge the order as it would become, with what it holds already counted as free."""
        if self.market == "spot" and not keeps:
            raise VenueError(-2038, "The requested action would change no state; rejecting.")
        if qty <= order.filled:
            raise VenueError(-4028 if self.market == "usdm" else -2038, "The requested quantity is invalid.")
        if (qty, price) == (order.qty, order.price):
            raise VenueError(-5027, "No need to modify the order.")
        before = order.qty, order.price
        order.qty, order.price = qty, price
        try:
            check_filters(state.symbol, order, reference=self.mark_price(state.symbol.name))
            best = state.book.best(-order.side)
            if order.time_in_force == "GTX" and best and (price - best) * order.side >= 0:
                raise VenueError(
                    -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."
                )
            if not keeps:
                check_money(self, state, order)
        finally:
            order.qty, order.price = before

    # ---- The market.

    def settle(self, state: MarketState) -> None:
        """Everything that the prices have reached by now, one after the other, then what changed in the book as one event."""
        if self._settling:  # An order that was just triggered; what it triggers in turn is the outer call's.
            return
        self._settling = True
        try:
            while self._trigger_stop(state) or self.conditional.trigger(state):
                pass
        finally:
            self._settling = False
        self.publish(state)

    def _trigger_stop(self, state: MarketState) -> bool:
        """Let one spot stop take effect that the last price has reached: whether there was one."""
        order = state.stops.reached(state.last_price)
        if order is None:
            return False
        order.triggered = True
        order.update_ms = self.now_ms
        try:
            check_money(self, state, order)
        except VenueError:  # A market order locks nothing while it waits.
            self._end(order, EXPIRED)
        else:
            self._work(state, order)
        return True

    def publish(self, state: MarketState) -> None:
        """One event for all levels that changed, one for a new top."""
        book = state.book
        if not book.changed:
            return
        levels = [(side, price, book.qty(side, price)) for side, price in book.changed]
        book.changed.clear()
        first = state.update_id + 1
        state.update_id += len(levels)
        self.events.append(LevelsChanged(state.symbol, self.now_ms, first, state.update_id, first - 1, levels))
        bid, ask = book.best(BUY), book.best(SELL)
        top = (bid, book.qty(BUY, bid), ask, book.qty(SELL, ask))
        if top != state.shown_top and bid and ask:
            state.shown_top = top
            self.events.append(TopChanged(state.symbol, self.now_ms, state.update_id, top))

    def advance(self, now_ms: int) -> None:
        """Let time pass: orders that expire, dead-man timers, funding."""
        self.now_ms = max(self.now_ms, now_ms)
        while self._expiring and self._expiring[0][0] <= self.now_ms:
            heappop(self._expiring)[2]()
        for account in self.accounts.values():
            for name, due_ms in [*account.dead_man_ms.items()]:
                if due_ms <= self.now_ms:
                    del account.dead_man_ms[name]
                    self.cancel_all(account, name)
        if self.market == "usdm" and self.now_ms // FUNDING_MS != self.funded_ms // FUNDING_MS:
            if self.funded_ms:
                self.fund()
            self.funded_ms = self.now_ms

    def fund(self) -> None:
        """Pay funding now."""
        for account in self.accounts.values():
            for name, held in account.positions.items():
                if held.qty:
                    amount = -self.markets[name].symbol.value(self.mark_price(name), held.qty) * FUNDING_PPM // PPM
                    self.ledger.fund(account, name, amount)
                    self.note_income(account, name, "FUNDING_FEE", MARGIN, amount)
                    # Margin is across all symbols: the event names the asset and no position.
                    self.events.append(BalanceChanged("", self.now_ms, account, MARGIN, amount, "FUNDING_FEE"))

    def note_income(self, account: Account, name: str, kind: str, asset: str, amount: int) -> None:
        """Write down what came or left without a trade: the list of income tells it. name: the symbol, or ""."""
        self._income_id += 1
        account.income.append(Income(self._income_id, name, kind, asset, amount, self.now_ms))
