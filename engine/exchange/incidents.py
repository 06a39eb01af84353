"""What happens to orders and accounts without their owners' doing: the venue's side of the faults that no request brings about."""

from dataclasses import replace
from typing import Final

from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, OPEN, Account, BalanceChanged, Order, VenueError

TRANSFER_PART: Final = 100  # One in so many units leaves.
COARSER: Final = 10


def overfill(exchange: Exchange, order: Order) -> None:
    """Fill a resting order by twice its quantity, where the account can pay for that."""
    symbol = order.symbol
    extra = symbol.value(order.price, order.qty) if order.side == BUY else symbol.base_units(order.qty)
    asset = symbol.quote if order.side == BUY else symbol.base
    affordable = exchange.market != "spot" or order.account.free(asset) >= extra
    exchange.fill_now(order, order.leaves + (order.qty if affordable else 0))


def fill_ended(exchange: Exchange, order: Order) -> None:
    """Fill what was left of an order that has ended: only where its account can pay."""
    asset = order.symbol.quote if order.side == BUY else order.symbol.base
    cost = order.symbol.value(order.price, order.leaves) if order.side == BUY else order.symbol.base_units(order.leaves)
    if exchange.market != "spot" or order.account.free(asset) >= cost:
        exchange.fill_now(order, order.leaves)


def fill_half(exchange: Exchange, order: Order) -> None:
    """Fill about half of a resting order."""
    step = order.symbol.step_size
    exchange.fill_now(order, max(order.leaves // 2 // step, 1) * step)


def bust_last_trade(exchange: Exchange, account: Account) -> bool:
    """Reverse an account's last trade: whether there was one it can be reversed for."""
    if not account.fills:
        return False
    fill = account.fills[-1]
    exchange.ledger.reverse(fill)
    exchange.events.append(
        BalanceChanged(
            fill.order.symbol.name, exchange.now_ms, account, fill.order.symbol.quote, fill.order.side * fill.value, "ADJUSTMENT"
        )
    )  # fmt: skip
    return True


def foreign_order(exchange: Exchange, account: Account) -> Order | None:
    """Somebody with the same account buys a little at the market, under a name of their own."""
    name = next(iter(exchange.markets))
    symbol = exchange.markets[name].symbol
    price = exchange.mark_price(name)
    steps = -(-3 * symbol.min_notional // symbol.value(price, symbol.step_size))
    try:
        order, _ = exchange.place(
            account, name, BUY, "MARKET", steps * symbol.step_size, client_id=f"web_{exchange.order_id + 1}"
        )
    except VenueError:  # Poor, or at its limits: nothing happens to it.
        return None
    return order


def transfer(exchange: Exchange, account: Account) -> None:
    """A hundredth of what is free of each asset leaves."""
    for asset in [*account.balances]:
        amount = account.free(asset) // TRANSFER_PART
        if amount > 0:
            exchange.ledger.deposit(account, asset, -amount)
            exchange.note_income(account, "", "TRANSFER", asset, -amount)
            exchange.events.append(BalanceChanged("", exchange.now_ms, account, asset, -amount, "WITHDRAW"))


def pay_funding(exchange: Exchange) -> None:
    """Funding of every position is paid now; there is none on spot."""
    if exchange.market == "usdm":
        exchange.fund()


def coarser_rules(exchange: Exchange) -> None:
    """Tick, step, smallest quantity and smallest value become ten times as large; what rests stays as it is."""
    for state in exchange.markets.values():
        old = state.symbol
        state.symbol = replace(
            old, tick_size=old.tick_size * COARSER, min_price=old.tick_size * COARSER, step_size=old.step_size * COARSER,
            min_qty=old.step_size * COARSER, min_notional=old.min_notional * COARSER,
        )  # fmt: skip


def fire_dead_man(exchange: Exchange) -> None:
    """Every timer that runs is due now."""
    for account in exchange.accounts.values():
        for name in account.dead_man_ms:
            account.dead_man_ms[name] = exchange.now_ms
    exchange.advance(exchange.now_ms)


def resting(order: Order | None) -> bool:
    """Whether an order stands in the book."""
    return order is not None and order.status in OPEN and order.triggered
