"""Money from the definition: Fractions, rounded by the rule's own words, and None where the result does not fit."""

import math
from dataclasses import dataclass
from fractions import Fraction

MONEY = 10**8
LIMIT = 2**63 - 1


def rounded(exact: Fraction, mode: str) -> int:
    if mode == "ceiling":
        return math.ceil(exact)
    if mode == "floor":
        return math.floor(exact)
    if mode == "down":
        return math.trunc(exact)
    assert mode == "half_even"
    return round(exact)


def fits(value: int) -> int | None:
    return value if abs(value) <= LIMIT else None


def mul_div(a: int, b: int, divisor: int, mode: str) -> int | None:
    """None when divisor is 0 or the result does not fit."""
    return None if divisor == 0 else fits(rounded(Fraction(a) * b / divisor, mode))


@dataclass(frozen=True)
class Contract:
    kind: str
    price_scale: int
    qty_scale: int
    contract_size: int = MONEY

    def exact_value(self, qty: int, price: int) -> Fraction:
        """Signed value in whole units of the settlement currency, such that PnL = later value - earlier value."""
        true_qty = Fraction(qty, 10**self.qty_scale)
        true_price = Fraction(price, 10**self.price_scale)
        size = Fraction(self.contract_size, MONEY)
        return -true_qty * size / true_price if self.kind == "inverse" else true_qty * size * true_price

    def value(self, qty: int, price: int) -> int:
        """The same in money, rounded half to even once."""
        return rounded(self.exact_value(qty, price) * MONEY, "half_even")

    def is_exact(self) -> bool:
        """Whether every price and quantity gives whole money: the value of one unit at the smallest price is whole."""
        return self.kind != "inverse" and (self.exact_value(1, 1) * MONEY).denominator == 1

    def base_money(self, qty: int) -> int:
        exact = Fraction(qty, 10**self.qty_scale) * MONEY
        assert exact.denominator == 1
        return int(exact)


def fee(amount: int, rate: int) -> int:
    """Away from us: what we pay is rounded up, what we receive is rounded down."""
    exact = Fraction(amount * rate, MONEY)
    return math.ceil(exact) if exact > 0 else -math.floor(-exact)
