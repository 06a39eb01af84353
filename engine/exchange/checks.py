"""What an order must meet to be accepted: the symbol's filters, the venue's rules, and the money for it.

Each refusal has the venue's number and words. Nothing here changes anything.
"""

from typing import TYPE_CHECKING, Final

from twinloop.engine.exchange.model import BUY, STOP_TYPES, Order, VenueError
from twinloop.engine.exchange.symbols import PPM, Symbol
from twinloop.engine.exchange.triggers import waits_for_rise

if TYPE_CHECKING:
    from twinloop.engine.exchange.core import Exchange, MarketState

# USD-M has a number for each way to miss a filter; spot has one for all.
_USDM: Final = {
    "min quantity": (-4004, "Quantity less than min quantity."),
    "max quantity": (-4005, "Quantity greater than max quantity."),
    "step size": (-4023, "Qty not increased by step size."),
    "min price": (-4013, "Price less than min price."),
    "max price": (-4002, "Price greater than max price."),
    "tick size": (-4014, "Price not increased by tick size."),
    "price up": (-4016, "Limit price can't be higher than the mark price's cap."),
    "price down": (-4024, "Limit price can't be lower than the mark price's floor."),
    "notional": (-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only)."),
    "orders": (-2025, "Reach max open order limit."),
    "stops": (-4045, "Reach max stop order limit."),
}


def check_order(exchange: "Exchange", state: "MarketState", order: Order) -> None:
    """Judge a new order before it is accepted. VenueError where it is refused."""
    spot = exchange.market == "spot"
    if state.halted:
        raise (
            VenueError(-1013, "Market is closed.")
            if spot
            else VenueError(-4140, "Invalid symbol status for opening position.")
        )
    _check_client_id(order, spot=spot)
    check_filters(order.symbol, order, reference=exchange.mark_price(order.symbol.name))
    waiting = order.type in STOP_TYPES[exchange.market]
    _check_count(order, waiting=waiting)
    if waiting:
        if order.stop_price <= 0:
            raise VenueError(-1102, "Mandatory parameter 'stopPrice' was not sent, was empty/null, or malformed.")
        if (state.last_price - order.stop_price) * (1 if waits_for_rise(order) else -1) >= 0:
            raise VenueError(-2010, "Stop price would trigger immediately.") if spot else immediately()
    best = state.book.best(-order.side)
    if order.time_in_force == "GTX" and best and (order.price - best) * order.side >= 0:
        if spot:
            raise VenueError(-2010, "Order would immediately match and take.")
        raise VenueError(
            -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."
        )
    check_money(exchange, state, order)


def immediately() -> VenueError:
    """USD-M: a stop price that is reached already."""
    return VenueError(-2021, "Order would immediately trigger.")


def _check_client_id(order: Order, *, spot: bool) -> None:
    """An id is free again once the order that had it has ended."""
    other = order.account.by_client.get(order.client_id)
    if other is not None and other.id in order.account.working.get(other.symbol.name, {}):
        raise VenueError(-2010, "Duplicate order sent.") if spot else VenueError(-4116, "ClientOrderId is duplicated.")


def _check_count(order: Order, *, waiting: bool) -> None:
    """MAX_NUM_ORDERS and MAX_NUM_ALGO_ORDERS."""
    symbol = order.symbol
    working = order.account.working.get(symbol.name, {})
    if len(working) >= symbol.max_orders:
        raise _refused(symbol, "MAX_NUM_ORDERS", "orders")
    if waiting and sum(not each.triggered for each in working.values()) >= symbol.max_stops:
        raise _refused(symbol, "MAX_NUM_ALGO_ORDERS", "stops")


def check_filters(symbol: Symbol, order: Order, *, reference: int) -> None:
    """PRICE_FILTER, LOT_SIZE, MARKET_LOT_SIZE, PERCENT_PRICE, NOTIONAL. reference: the price to compare with, the mark."""
    for price in (order.price if order.limited else 0, order.stop_price):
        if price:
            _check_price(symbol, price)
    if order.limited and order.price <= 0:
        raise _refused(symbol, "PRICE_FILTER", "min price")
    lot, largest = ("LOT_SIZE", symbol.max_qty) if order.limited else ("MARKET_LOT_SIZE", symbol.market_max_qty)
    if order.qty < symbol.min_qty:
        raise _refused(symbol, "LOT_SIZE", "min quantity")
    if order.qty > largest:
        raise _refused(symbol, lot, "max quantity")
    if (order.qty - symbol.min_qty) % symbol.step_size:
        raise _refused(symbol, "LOT_SIZE", "step size")
    if order.limited and order.triggered and abs(order.price - reference) * PPM > reference * symbol.band_ppm:
        way = "price up" if order.price > reference else "price down"
        raise _refused(symbol, "PERCENT_PRICE_BY_SIDE", way)
    value = symbol.value(order.price if order.limited else order.stop_price or reference, order.qty)
    if not symbol.min_notional <= value <= symbol.max_notional and not order.reduce_only:
        raise _refused(symbol, "NOTIONAL", "notional")


def _check_price(symbol: Symbol, price: int) -> None:
    if price < symbol.min_price:
        raise _refused(symbol, "PRICE_FILTER", "min price")
    if price > symbol.max_price:
        raise _refused(symbol, "PRICE_FILTER", "max price")
    if (price - symbol.min_price) % symbol.tick_size:
        raise _refused(symbol, "PRICE_FILTER", "tick size")


def _refused(symbol: Symbol, name: str, how: str) -> VenueError:
    return VenueError(-1013, f"Filter failure: {name}") if symbol.market == "spot" else VenueError(*_USDM[how])


def check_money(exchange: "Exchange", state: "MarketState", order: Order) -> None:
    """Spot: what the order will cost is free, to the last unit. USD-M: the margin for the worst that it and the others may become."""
    account, symbol = order.account, order.symbol
    if exchange.market == "spot":
        asset, needed = symbol.quote, 0
        if order.side != BUY:
            asset, needed = symbol.base, symbol.base_units(order.leaves)
        elif order.limited:
            needed = symbol.value(order.price, order.leaves)
        elif order.triggered:
            needed = sum(symbol.value(maker.price, qty) for maker, qty in exchange.reach(state, order))
        if account.free(asset) + order.locked < needed:
            raise VenueError(-2010, "Account has insufficient balance for requested action.")
        return
    if order.reduce_only:
        if account.held(symbol.name) * order.side >= 0:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        return
    before, after = exchange.margin(account, order, counted=False), exchange.margin(account, order)
    if after > before and exchange.equity(account) < after:
        raise VenueError(-2019, "Margin is insufficient.")
