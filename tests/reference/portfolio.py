"""Positions and cash from the definition: lists of fills and payments, folded with plain integers and Fractions.

Nothing is kept that can be derived: PnL comes from the whole history each time it is asked for.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

from reference.money import Contract, fee


def half_even(exact: Fraction) -> int:
    return round(exact)


@dataclass
class Fill:
    side: int
    price: int
    qty: int
    fee: int = 0
    fee_currency: int = 0


@dataclass
class Holding:
    contract: Contract
    fills: list[Fill] = field(default_factory=list)

    def fold(self) -> tuple[int, int, int]:
        """(signed quantity, cost, realised) after all fills."""
        qty = cost = realised = 0
        for fill in self.fills:
            signed = fill.side * fill.qty
            value = self.contract.value(signed, fill.price)
            if qty * signed < 0:
                closed = min(abs(qty), abs(signed))
                closing_value = half_even(Fraction(value * closed, abs(signed)))
                released = half_even(Fraction(cost * closed, abs(qty)))
                realised -= closing_value + released
                cost += value - closing_value - released
            else:
                cost += value
            qty += signed
        return qty, cost, realised

    def realised(self) -> int:
        return self.fold()[2]

    def unrealised(self, mark: int) -> int:
        qty, cost, _ = self.fold()
        return self.contract.value(qty, mark) - cost if qty else 0

    def exact_pnl(self, mark: int) -> Fraction:
        """PnL before fees without any rounding, in money: where the position ends, less what it took to get there."""
        qty = sum(fill.side * fill.qty for fill in self.fills)
        spent = sum((self.contract.exact_value(f.side * f.qty, f.price) for f in self.fills), Fraction(0))
        worth = self.contract.exact_value(qty, mark) if qty else Fraction(0)
        return (worth - spent) * 10**8


def funding(contract: Contract, qty: int, mark: int, rate: int) -> int:
    """Received: a long pays a positive rate. The payment is a fee: rounded away from us."""
    return -fee((1 if qty > 0 else -1) * abs(contract.value(qty, mark)), rate) if qty else 0


def balances(holding: Holding, settle: int, base: int, start: dict[int, int]) -> dict[int, int]:
    """Balance of every currency from the fills alone."""
    balance: dict[int, int] = defaultdict(int, start)
    for fill in holding.fills:
        balance[fill.fee_currency] -= fill.fee
        if holding.contract.kind == "spot":
            signed = fill.side * fill.qty
            balance[settle] -= holding.contract.value(signed, fill.price)
            balance[base] += holding.contract.base_money(signed)
    if holding.contract.kind != "spot":
        balance[settle] += holding.realised()
    return balance
