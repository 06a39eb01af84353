"""Plain twins of the practice exchange's matching and ledger, and the random customers that both are put through."""

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.conditional import LAST, MARK
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, SELL, STOP_TYPES, Account, VenueError
from twinloop.engine.exchange.symbols import MONEY, symbol

START_MS = 1_700_000_000_000
RICH = {"spot": {"USDT": 10**7 * MONEY, "BTC": 1000 * MONEY}, "usdm": {"USDT": 10**7 * MONEY}}
POOR = {"spot": {"USDT": 3000 * MONEY, "BTC": MONEY // 20}, "usdm": {"USDT": 300 * MONEY}}


def exchange(market: Any) -> tuple[Exchange, Account, Account]:
    """A market with two rich customers and no agents."""
    found = Exchange(market, [symbol("BTCUSDT", market)])
    found.advance(START_MS)
    return found, *(found.add_account(name, f"k{name}", "s", RICH[market]) for name in ("a", "b"))  # type: ignore[return-value]


def random_life(venue: Exchange, accounts: list[Account], seed: int, steps: int, *, agents: bool = True) -> None:
    """Customers do what comes to their mind: every type of order, amends, cancels, too much for their purse as often as not."""
    draw = random.Random(seed)
    others = Agents(venue, venue.markets["BTCUSDT"], seed) if agents else None
    rules = venue.markets["BTCUSDT"].symbol
    stops = sorted(STOP_TYPES[venue.market])
    for _ in range(steps):
        venue.advance(venue.now_ms + draw.randrange(40))
        if others is not None:
            others.pass_time(venue.now_ms)
        account = draw.choice(accounts)
        working = [*account.working.get("BTCUSDT", {}).values()]
        mark = venue.mark_price("BTCUSDT")
        price, side = mark + draw.randrange(-20, 21), draw.choice([BUY, SELL])
        qty = rules.step_size * draw.randrange(1, 4000) * (1 if venue.market == "usdm" else 10)
        kind = draw.choice(["LIMIT", "LIMIT", "MARKET", "LIMIT_MAKER" if venue.market == "spot" else "LIMIT", *stops])
        force = draw.choice(["GTC", "GTC", "IOC", "FOK", "GTD"]) if kind == "LIMIT" else "GTC"
        reduce_only = venue.market == "usdm" and draw.random() < 0.3
        stop_price = mark + draw.randrange(-30, 31)
        try:
            what = draw.random()
            if kind in stops and venue.market == "usdm":
                venue.conditional.place(
                    account, "BTCUSDT", side, kind, qty, price=price, stop_price=stop_price, reduce_only=reduce_only,
                    working_type=draw.choice([LAST, MARK]),
                )  # fmt: skip
            elif what < 0.7 or not working:
                venue.place(
                    account, "BTCUSDT", side, kind, qty, price=price, stop_price=stop_price, time_in_force=force,
                    reduce_only=reduce_only, expire_ms=venue.now_ms + draw.randrange(1, 5000) if force == "GTD" else 0,
                )  # fmt: skip
            elif what < 0.8:
                venue.cancel(account, "BTCUSDT", draw.choice(working).id)
            else:
                venue.amend(account, "BTCUSDT", draw.choice(working).id, None, qty, price)
        except VenueError:
            pass


@dataclass
class Recomputed:
    """What an account must have, recomputed from its deposits and fills alone, in fractions of whole units."""

    cash: dict[str, Fraction] = field(default_factory=dict)
    qty: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)


def recomputed(account: Account) -> Recomputed:
    """From the decimal meaning of each fill: quantity, price, fee; USD-M by average cost."""
    found = Recomputed()
    for asset, amount, why in account.entries:
        if why == "deposit" or why.startswith("funding"):
            found.cash[asset] = found.cash.get(asset, Fraction(0)) + Fraction(amount, MONEY)

    def pay(asset: str, amount: Fraction) -> None:
        found.cash[asset] = found.cash.get(asset, Fraction(0)) + amount

    for fill in account.fills:
        rules, side = fill.order.symbol, fill.order.side
        qty = Fraction(fill.qty, 10**rules.qty_scale)
        value = qty * Fraction(fill.price, 10**rules.price_scale)
        pay(fill.fee_asset, -Fraction(fill.fee, MONEY))
        if account.market == "spot":
            pay(rules.base, side * qty)
            pay(rules.quote, -side * value)
            continue
        found.qty += side * qty
        found.cost += side * value
        realised = Fraction(fill.realised, MONEY)
        found.cost += realised  # What was paid for what is open: everything paid, without what was taken out as profit.
        pay("USDT", realised)
    return found


class SortedListBook:
    """Price-time matching as one list that is sorted before each use. Orders: [side, price, arrival, number, owner, leaves]."""

    def __init__(self) -> None:
        self.resting: list[list[Any]] = []
        self.arrival = 0
        self.gone: list[int] = []  # Orders taken out because they would have met their owner's own.

    def others(self, side: int, price: int | None) -> list[list[Any]]:
        """What an order of a side could meet, best first."""
        met = [each for each in self.resting if each[0] == -side and (price is None or (each[1] - price) * side <= 0)]
        return sorted(met, key=lambda each: (each[1] * side, each[2]))

    def place(
        self, number: int, owner: int, side: int, price: int | None, qty: int, force: str
    ) -> list[tuple[int, int, int]]:
        """(resting order's number, price, quantity) of each trade."""
        trades: list[tuple[int, int, int]] = []
        if force == "FOK" and sum(each[5] for each in self.others(side, price) if each[4] != owner) < qty:
            return trades
        for other in self.others(side, price):
            if qty == 0:
                break
            if other[4] == owner:
                self.resting.remove(other)
                self.gone.append(other[3])
                continue
            got = min(qty, other[5])
            trades.append((other[3], other[1], got))
            other[5] -= got
            qty -= got
            if other[5] == 0:
                self.resting.remove(other)
        if qty and price is not None and force == "GTC":
            self.arrival += 1
            self.resting.append([side, price, self.arrival, number, owner, qty])
        return trades

    def find(self, number: int) -> list[Any]:
        """A resting order."""
        return next(each for each in self.resting if each[3] == number)

    def levels(self, side: int) -> dict[int, int]:
        """Quantity by price."""
        found: dict[int, int] = {}
        for its, price, *_, leaves in self.resting:
            if its == side:
                found[price] = found.get(price, 0) + leaves
        return found
