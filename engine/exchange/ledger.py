"""Who has what: balances, locks, positions and fees, moved by trades. Sums are exact and conserved.

What the agents trade is booked to one account of the house, and every fee is counted, so that per asset the customers' balances, the
house's and the fees always add up to what was deposited.
"""

from typing import Final

from twinloop.engine.exchange.model import BUY, Account, Fill, Market, Order, Position, Trade
from twinloop.engine.exchange.symbols import MONEY, PPM

MARGIN: Final = "USDT"
BURNT: Final = "BNB"
BURN_DISCOUNT_PPM: Final = {"spot": 250_000, "usdm": 100_000, "coinm": 0}


class Ledger:
    """The ledger of one market."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.house = Account("house", market, "", "")
        self.fees: dict[str, int] = {}
        self.deposits: dict[str, int] = {}
        self.burnt_price = 600 * MONEY  # Of BNB in USDT; of its market where there is one.

    def deposit(self, account: Account, asset: str, amount: int) -> None:
        """Money from outside; negative: to the outside."""
        account.change(asset, amount, "deposit")
        self.deposits[asset] = self.deposits.get(asset, 0) + amount

    def hold(self, order: Order, *, ended: bool = False) -> None:
        """Spot: lock exactly what a working order may still cost; nothing once it ended. A market order locks nothing: it is over at once."""
        account, symbol = order.account, order.symbol
        if self.market != "spot" or account is self.house:
            return
        asset, needed, leaves = symbol.quote, 0, 0 if ended else max(order.leaves, 0)
        if order.side != BUY:
            asset, needed = symbol.base, symbol.base_units(leaves)
        elif order.limited:
            needed = symbol.value(order.price, leaves)
        account.lock(asset, needed - order.locked)
        order.locked = needed

    def settle(self, order: Order, trade: Trade, *, maker: bool) -> Fill | None:
        """Book one side of a trade, by which the order's quantities have changed already: its fill, None where it is the house's."""
        account, symbol, sign = order.account, order.symbol, order.side
        self.hold(order)
        realised = 0
        if self.market == "spot":
            self._move(account, symbol.quote, -sign * trade.value, f"trade {trade.id}")
            self._move(account, symbol.base, sign * symbol.base_units(trade.qty), f"trade {trade.id}")
        else:
            held = account.positions.setdefault(symbol.name, Position())
            realised = move(held, sign * trade.qty, sign * trade.value)
            self._move(account, MARGIN, realised, f"realised {trade.id}")
        if account is self.house:
            return None
        fee, asset = self._fee(order, trade, maker=maker)
        account.change(asset, -fee, f"fee {trade.id}")
        self.fees[asset] = self.fees.get(asset, 0) + fee
        fill = Fill(
            trade.id, order, trade.price, trade.qty, trade.value, fee, asset, maker, trade.time_ms, realised
        )  # fmt: skip
        account.fills.append(fill)
        account.fills_of.setdefault(symbol.name, []).append(fill)
        return fill

    def _fee(self, order: Order, trade: Trade, *, maker: bool) -> tuple[int, str]:
        """What is taken, rounded up: of what was received on spot, of the margin asset on USD-M; or all of it in BNB, with a discount."""
        symbol = order.symbol
        ppm = symbol.maker_ppm if maker else symbol.taker_ppm
        if order.account.burns:
            discounted = ppm * (PPM - BURN_DISCOUNT_PPM[self.market])
            fee = -(-trade.value * discounted * MONEY // (PPM * PPM * self.burnt_price))
            if order.account.free(BURNT) >= fee:
                return fee, BURNT
        if self.market == "usdm":
            return -(-trade.value * ppm // PPM), MARGIN
        if order.side == BUY:
            return -(-symbol.base_units(trade.qty) * ppm // PPM), symbol.base
        return -(-trade.value * ppm // PPM), symbol.quote

    def reverse(self, fill: Fill) -> None:
        """Undo a fill: what it moved moves back, fee and all, and it is in no list any more. Its trade stays on the tape."""
        order, account, symbol = fill.order, fill.order.account, fill.order.symbol
        why = f"bust {fill.trade_id}"
        if self.market == "spot":
            for asset, amount in (
                (symbol.quote, order.side * fill.value),
                (symbol.base, -order.side * symbol.base_units(fill.qty)),
            ):
                self._move(account, asset, amount, why)
                self._move(self.house, asset, -amount, why)
        else:
            for its, sign in ((account, -order.side), (self.house, order.side)):
                held = its.positions.setdefault(symbol.name, Position())
                self._move(its, MARGIN, move(held, sign * fill.qty, sign * fill.value), why)
        account.change(fill.fee_asset, fill.fee, why)
        self.fees[fill.fee_asset] -= fill.fee
        account.fills.remove(fill)
        account.fills_of[symbol.name].remove(fill)
        order.filled -= fill.qty
        order.quote -= fill.value

    def fund(self, account: Account, name: str, amount: int) -> None:
        """Pay (negative) or get funding of a position; the house is the other side of it."""
        self._move(account, MARGIN, amount, f"funding {name}")
        self._move(self.house, MARGIN, -amount, "")

    def _move(self, account: Account, asset: str, amount: int, why: str) -> None:
        if account is self.house:
            account.balances.setdefault(asset, [0, 0])[0] += amount
        elif amount:
            account.change(asset, amount, why)


def move(held: Position, qty: int, value: int) -> int:
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
