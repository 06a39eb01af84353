"""The practice exchange without its sockets: accounts, orders, matching, ledger, and the events it tells of.

Time is passed in, draws come from a seed, and the same calls give the same events. Whoever drives it takes the events from `events`
after each call. This module must not open a socket or read a clock.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from twinloop.engine.exchange.matching import Book
from twinloop.engine.exchange.model import (
    BUY,
    CANCELED,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    MONEY,
    NEW,
    OPEN,
    PARTIAL,
    PPM,
    SELL,
    Account,
    Event,
    Fill,
    Market,
    Order,
    Position,
    Symbol,
    VenueError,
)

LIMIT_TYPES: Final = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT", "STOP", "TAKE_PROFIT")
STOP_TYPES: Final = (
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT_MARKET",
)
FUNDING_MS: Final = 8 * 3600 * 1000
FUNDING_PPM: Final = 100


class MarketState:
    """One symbol's book and its counters."""

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.book = Book()
        self.update_id = 1_000_000
        self.trade_id = 0
        self.last_price = symbol.first_price
        self.trades: list[dict[str, Any]] = []
        self.stops: list[Order] = []
        self.klines: list[list[int]] = []  # Minutes: open time ms, open, high, low, close, quantity, trades.
        self.shown_top: tuple[int, int, int, int] = (0, 0, 0, 0)


class Exchange:
    """One market ("spot" or "usdm") of the practice exchange."""

    def __init__(self, market: Market, symbols: Sequence[Symbol], *, seed: int = 1) -> None:
        self.market: Market = market
        self.markets = {each.name: MarketState(each) for each in symbols}
        self.accounts: dict[str, Account] = {}
        self.draw = random.Random(seed)  # noqa: S311 - a market, not a secret
        self.events: list[Event] = []
        self.order_id = 1000
        self.now_ms = 0
        self.funded_ms = 0

    # ---- Accounts.

    def add_account(self, name: str, key: str, secret: str, balances: dict[str, int]) -> Account:
        """A customer with these amounts (1e-8)."""
        account = Account(name, self.market, key, secret)
        for asset, amount in balances.items():
            account.change(asset, amount, "deposit")
        self.accounts[key] = account
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

    def margin(self, account: Account) -> int:
        """Value of positions and working orders at the account's leverage, and what that binds."""
        bound = 0
        for name, state in self.markets.items():
            held = account.positions.get(name, Position())
            buys = sells = 0
            for order in account.orders.values():
                if order.status in OPEN and order.symbol is state.symbol and not order.reduce_only:
                    if order.side == BUY:
                        buys += order.leaves
                    else:
                        sells += order.leaves
            worst = max(abs(held.qty + buys), abs(held.qty - sells))
            bound += state.symbol.value(self.mark_price(name), worst)
        return bound // account.leverage

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
    ) -> tuple[Order, list[Fill]]:
        """A new order: accepted, matched, resting or ended, with the fills it got at once. VenueError when refused."""
        state = self.state(name)
        if kind == "LIMIT_MAKER":
            time_in_force = "GTX"
        if account is not None:
            self._check(state, account, side, kind, qty, price, stop_price, client_id, reduce_only, time_in_force)
        self.order_id += 1
        order = Order(
            self.order_id, client_id or f"x-{self.order_id}", account, state.symbol, side, kind, time_in_force, price, qty,
            self.now_ms, stop_price, reduce_only, update_ms=self.now_ms, triggered=kind not in STOP_TYPES, expire_ms=expire_ms,
        )  # fmt: skip
        if account is not None:
            account.orders[order.id] = order
            account.by_client[order.client_id] = order
            self._hold(order)
            self._tell(order, "NEW")
        if not order.triggered:
            state.stops.append(order)
            return order, []
        fills = self._work(state, order)
        self._after(state)
        return order, fills

    def _check(
        self, state: MarketState, account: Account, side: int, kind: str, qty: int, price: int, stop_price: int, client_id: str,
        reduce_only: bool, time_in_force: str,
    ) -> None:  # fmt: skip
        symbol, spot = state.symbol, self.market == "spot"
        limited = kind in LIMIT_TYPES
        if client_id in account.by_client and account.by_client[client_id].status in OPEN:
            raise (
                VenueError(-2010, "Duplicate order sent.")
                if spot
                else VenueError(-4116, "ClientOrderId is duplicated.")
            )
        for number, step, what in ((qty, symbol.step_size, "LOT_SIZE"), (price, symbol.tick_size, "PRICE_FILTER")):
            if number % step or number < 0:
                raise self._filter(what)
        if not symbol.min_qty <= qty <= symbol.max_qty:
            raise self._filter("LOT_SIZE")
        if limited and price <= 0:
            raise self._filter("PRICE_FILTER")
        reference = self.mark_price(symbol.name)
        if limited and abs(price - reference) * PPM > reference * symbol.band_ppm:
            raise self._filter("PERCENT_PRICE_BY_SIDE" if spot else "PERCENT_PRICE")
        value = symbol.value(price if limited else reference, qty)
        if value < symbol.min_notional and not reduce_only:
            raise (
                self._filter("NOTIONAL")
                if spot
                else VenueError(-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only).")
            )
        if kind in STOP_TYPES and stop_price <= 0:
            raise VenueError(-1102, "Mandatory parameter 'stopPrice' was not sent, was empty/null, or malformed.")
        if sum(each.status in OPEN for each in account.orders.values()) >= symbol.max_orders:
            raise self._filter("MAX_NUM_ORDERS")
        best = state.book.best(-side)
        if time_in_force == "GTX" and best and (price - best) * side >= 0:
            if spot:
                raise VenueError(-2010, "Order would immediately match and take.")
            raise VenueError(
                -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."
            )
        if spot:
            asset, need = (symbol.quote, value) if side == BUY else (symbol.base, symbol.base_units(qty))
            if account.balances.get(asset, [0, 0])[0] < need:
                raise VenueError(-2010, "Account has insufficient balance for requested action.")
            return
        held = account.positions.get(symbol.name, Position()).qty
        if reduce_only and (held * side >= 0 or qty > abs(held)):
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        if not reduce_only and held * side >= 0:
            equity = account.balances["USDT"][0] + sum(self.unrealised(account, each) for each in self.markets)
            if equity < self.margin(account) + value // account.leverage:
                raise VenueError(-2019, "Margin is insufficient.")

    def _filter(self, what: str) -> VenueError:
        if self.market == "spot":
            return VenueError(-1013, f"Filter failure: {what}")
        texts = {
            "LOT_SIZE": (-4003, "Quantity less than or equal to zero."),
            "PRICE_FILTER": (-4014, "Price not increased by tick size."),
            "PERCENT_PRICE": (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
            "MAX_NUM_ORDERS": (-2025, "Reach max open order limit."),
        }
        return VenueError(*texts.get(what, (-1111, "Precision is over the maximum defined for this asset.")))

    def _hold(self, order: Order) -> None:
        """Spot: lock what the order may cost."""
        if self.market != "spot" or order.account is None:
            return
        symbol = order.symbol
        if order.side == SELL:
            order.locked = symbol.base_units(order.leaves)
            order.account.lock(symbol.base, order.locked)
        elif order.price:
            order.locked = symbol.value(order.price, order.leaves)
            order.account.lock(symbol.quote, order.locked)

    def _release(self, order: Order, amount: int) -> None:
        if order.account is not None and order.locked:
            amount = min(amount, order.locked)
            order.locked -= amount
            order.account.lock(order.symbol.base if order.side == SELL else order.symbol.quote, -amount)

    def _work(self, state: MarketState, order: Order) -> list[Fill]:
        """Match an order that takes effect now; let the rest wait or end it."""
        limited = order.type in LIMIT_TYPES
        found: list[Fill] = []
        if order.time_in_force == "FOK" and state.book.reachable(order.side, order.price if limited else 0) < order.qty:
            self._end(order, EXPIRED)
            return found
        while order.leaves:
            maker = state.book.front(-order.side)
            if maker is None or (limited and (maker.price - order.price) * order.side > 0):
                break
            if maker.account is not None and maker.account is order.account:
                state.book.remove(maker)
                self._end(maker, EXPIRED_IN_MATCH)
                continue
            fill = self._trade(state, order, maker)
            if fill is not None:
                found.append(fill)
        if order.leaves == 0:
            return found
        if limited and order.time_in_force in {"GTC", "GTX", "GTD"}:
            state.book.add(order)
        else:
            self._end(order, EXPIRED)
        return found

    def _trade(self, state: MarketState, taker: Order, maker: Order) -> Fill | None:
        """One trade between two orders, at the resting one's price: the taker's fill, where a customer's."""
        qty, price = min(taker.leaves, maker.leaves), maker.price
        state.trade_id += 1
        state.last_price = price
        value = state.symbol.value(price, qty)
        for order in (maker, taker):
            order.filled += qty
            order.quote += value
            order.status = FILLED if order.leaves == 0 else PARTIAL
            order.update_ms = self.now_ms
        state.book.take_front(maker, qty)
        self._note_trade(state, price, qty, buyer_is_maker=maker.side == BUY)
        self._book(state, maker, price, qty, value, maker=True)
        return self._book(state, taker, price, qty, value, maker=False)

    def _note_trade(self, state: MarketState, price: int, qty: int, *, buyer_is_maker: bool) -> None:
        data = {
            "id": state.trade_id,
            "price": price,
            "qty": qty,
            "buyer_is_maker": buyer_is_maker,
            "time_ms": self.now_ms,
        }
        state.trades.append(data)
        del state.trades[:-1000]
        minute = self.now_ms // 60_000 * 60_000
        if not state.klines or state.klines[-1][0] != minute:
            state.klines.append([minute, price, price, price, price, 0, 0])
            del state.klines[:-1500]
        bar = state.klines[-1]
        bar[2], bar[3], bar[4] = max(bar[2], price), min(bar[3], price), price
        bar[5] += qty
        bar[6] += 1
        self.events.append(Event("trade", state.symbol, self.now_ms, data))

    def _book(self, state: MarketState, order: Order, price: int, qty: int, value: int, *, maker: bool) -> Fill | None:
        """Balances, position and fee of a customer's side of a trade."""
        account, symbol = order.account, state.symbol
        if account is None:
            return None
        ppm = symbol.maker_ppm if maker else symbol.taker_ppm
        realised = 0
        if self.market == "spot":
            units = symbol.base_units(qty)
            if order.side == BUY:
                self._release(order, symbol.value(order.price, qty) if order.price else 0)
                fee, asset = -(-units * ppm // PPM), symbol.base
                account.change(symbol.quote, -value, f"buy {state.trade_id}")
                account.change(symbol.base, units, f"buy {state.trade_id}")
            else:
                self._release(order, units)
                fee, asset = -(-value * ppm // PPM), symbol.quote
                account.change(symbol.base, -units, f"sell {state.trade_id}")
                account.change(symbol.quote, value, f"sell {state.trade_id}")
        else:
            fee, asset = -(-value * ppm // PPM), "USDT"
            held = account.positions.setdefault(symbol.name, Position())
            realised = _move(held, order.side * qty, order.side * value)
            if realised:
                account.change("USDT", realised, f"realised {state.trade_id}")
        account.change(asset, -fee, f"fee {state.trade_id}")
        fill = Fill(state.trade_id, order, price, qty, value, fee, asset, maker, self.now_ms, realised)
        account.fills.append(fill)
        self._tell(order, "TRADE", fill)
        if order.leaves == 0:
            self._release(order, order.locked)
        return fill

    def _end(self, order: Order, status: str) -> None:
        order.status = status
        order.update_ms = self.now_ms
        self._release(order, order.locked)
        self._tell(order, "CANCELED" if status == CANCELED else "EXPIRED")

    def _tell(self, order: Order, execution: str, fill: Fill | None = None, **more: Any) -> None:
        if order.account is not None:
            data = {
                "order": order,
                "execution": execution,
                "fill": fill,
                "status": order.status,
                "filled": order.filled,
                "quote": order.quote,
            }
            self.events.append(Event("order", order.symbol, self.now_ms, data | more))

    def find(self, account: Account, name: str, order_id: int | None, client_id: str | None) -> Order | None:
        """An account's order by either of its names."""
        self.state(name)
        order = account.orders.get(order_id or -1) if order_id else account.by_client.get(client_id or "")
        return order if order is not None and order.symbol.name == name else None

    def cancel(self, account: Account, name: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Cancel a working order. -2011 where there is none."""
        order = self.find(account, name, order_id, client_id)
        if order is None or order.status not in OPEN:
            raise VenueError(-2011, "Unknown order sent.")
        self._withdraw(order)
        self._end(order, CANCELED)
        self._after(self.state(name))
        return order

    def _withdraw(self, order: Order) -> None:
        state = self.markets[order.symbol.name]
        if not order.triggered:
            state.stops.remove(order)
        else:
            state.book.remove(order)

    def cancel_all(self, account: Account, name: str) -> list[Order]:
        """Cancel every working order of a symbol."""
        self.state(name)
        found = [each for each in account.orders.values() if each.status in OPEN and each.symbol.name == name]
        return [self.cancel(account, name, each.id) for each in found]

    def amend(
        self, account: Account, name: str, order_id: int | None, client_id: str | None, qty: int, price: int
    ) -> tuple[Order, list[Fill]]:
        """Change a working order: less quantity at its price keeps its place, anything else goes to the back, or takes."""
        order = self.find(account, name, order_id, client_id)
        if order is None or order.status not in OPEN:
            raise VenueError(-2013, "Order does not exist.")
        state = self.markets[name]
        price = price or order.price
        if qty <= order.filled or qty % state.symbol.step_size or price % state.symbol.tick_size:
            raise VenueError(-4028 if self.market == "usdm" else -2038, "The requested quantity is invalid.")
        if (qty, price) == (order.qty, order.price):
            raise VenueError(-5027, "No need to modify the order.")
        keeps = price == order.price and qty < order.qty
        if keeps:
            state.book.reduce(order, order.qty - qty)
            self._release(order, order.locked - order.locked * (qty - order.filled) // order.leaves)
            order.qty = qty
        else:
            state.book.remove(order)
            self._release(order, order.locked)
            order.qty, order.price = qty, price
            self._hold(order)
        order.update_ms = self.now_ms
        self._tell(order, "AMENDMENT")
        fills = [] if keeps else self._work(state, order)
        self._after(state)
        return order, fills

    # ---- The market.

    def _after(self, state: MarketState) -> None:
        """Stops that the last price reached, then what changed in the book as one event."""
        for order in [each for each in state.stops if self._reached(state, each)]:
            state.stops.remove(order)
            order.triggered = True
            self._work(state, order)
        self.publish(state)

    @staticmethod
    def _reached(state: MarketState, order: Order) -> bool:
        profit = order.type.startswith("TAKE_PROFIT")
        return (state.last_price - order.stop_price) * order.side * (-1 if profit else 1) >= 0

    def publish(self, state: MarketState) -> None:
        """One event for all levels that changed, one for a new top."""
        book = state.book
        if not book.changed:
            return
        levels = [(side, price, book.qty(side, price)) for side, price in book.changed]
        book.changed.clear()
        first = state.update_id + 1
        state.update_id += len(levels)
        self.events.append(
            Event(
                "levels",
                state.symbol,
                self.now_ms,
                {"first": first, "final": state.update_id, "previous": first - 1, "levels": levels},
            )
        )
        bid, ask = book.best(BUY), book.best(SELL)
        top = (bid, book.qty(BUY, bid), ask, book.qty(SELL, ask))
        if top != state.shown_top and bid and ask:
            state.shown_top = top
            self.events.append(Event("top", state.symbol, self.now_ms, {"id": state.update_id, "top": top}))

    def advance(self, now_ms: int) -> None:
        """Let time pass: orders that expire, dead-man timers, funding."""
        self.now_ms = max(self.now_ms, now_ms)
        for account in self.accounts.values():
            for name, due_ms in list(account.dead_man_ms.items()):
                if due_ms <= self.now_ms:
                    del account.dead_man_ms[name]
                    self.cancel_all(account, name)
            for order in list(account.orders.values()):
                if order.expire_ms and order.status in OPEN and order.expire_ms <= self.now_ms:
                    self._withdraw(order)
                    self._end(order, EXPIRED)
                    self._after(self.markets[order.symbol.name])
        if self.market == "usdm" and self.now_ms // FUNDING_MS != self.funded_ms // FUNDING_MS:
            if self.funded_ms:
                self._fund()
            self.funded_ms = self.now_ms

    def _fund(self) -> None:
        for account in self.accounts.values():
            for name, held in account.positions.items():
                if held.qty:
                    amount = -self.markets[name].symbol.value(self.mark_price(name), held.qty) * FUNDING_PPM // PPM
                    account.change("USDT", amount, "funding")
                    self.events.append(
                        Event("funding", self.markets[name].symbol, self.now_ms, {"account": account, "amount": amount})
                    )


def _move(held: Position, qty: int, value: int) -> int:
    """Change a position by a signed quantity of a signed value: what was realised, money."""
    if held.qty * qty >= 0:
        held.qty += qty
        held.cost += value
        return 0
    closed = min(abs(qty), abs(held.qty))
    cost = held.cost * closed // abs(held.qty)
    part = value * closed // abs(qty)
    realised = -(part + cost)
    held.cost -= cost
    held.qty += closed if qty > 0 else -closed
    rest = abs(qty) - closed
    if rest:
        held.qty += rest if qty > 0 else -rest
        held.cost += value - part
    return realised


__all__ = ["MONEY", "NEW", "Exchange", "MarketState"]
