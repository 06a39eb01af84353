"""Exact money: checked int64 arithmetic, one 128-bit multiply-divide, and what a trade is worth.

Money is int64 in units of 1e-8 of a currency; a price is `price_int / 10**price_scale`, a quantity `qty_int / 10**qty_scale`.
Results lie within +-(2**63 - 1). What does not fit comes back as 0 with a status; nothing wraps, nothing is a float.
This module must not know of positions, orders or books.

The checked operations have two bodies: plain Python integers (JIT off, and whoever calls from Python), and LLVM's own
overflow-reporting instructions, which compiled callers get through `numba.extending.overload`. A 128-bit `sdiv` is not
used: LLVM lowers it to a call of `__divti3`, which Numba's JIT does not link.
"""

import math
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit

MONEY_SCALE: Final = 8
MONEY_UNIT: Final = 10**MONEY_SCALE  # One of a currency; also the unit of rates (1e-8).
MONEY_MAX: Final = 2**63 - 1
SCALE_MAX: Final = 18  # Largest power of ten an int64 holds.

# Statuses are bits, so that those of several steps combine with `|`; 0 is success.
OK: Final = 0
OVERFLOW: Final = 1  # The result does not fit in +-(2**63 - 1).
BAD_DIVISOR: Final = 2  # Division by zero, also through an unset (all-zero) rule.
BAD_PRICE: Final = 4  # An inverse contract has no value at a price <= 0.
NOT_ADDITIVE: Final = 8  # The value is not a whole multiple of price x quantity: recompute it.

# Rounding modes, named as in Python's decimal module.
HALF_EVEN: Final = 0
CEILING: Final = 1
FLOOR: Final = 2
DOWN: Final = 3  # Towards zero.
UP_AWAY: Final = CEILING  # Away from us: a fee we pay (> 0) rounds up, a rebate we receive (< 0) rounds down in size.

# Contract kinds; 0 is no contract, so a rule that was never set is refused.
LINEAR: Final = 1
INVERSE: Final = 2
SPOT: Final = 3
CONTRACT_CODE: Final = {"linear": LINEAR, "inverse": INVERSE, "spot": SPOT}

NO_CURRENCY: Final = -1

# How an instrument's scaled price and quantity become money; made by money_rule(), read-only afterwards.
#   linear, spot: money = price * qty * multiplier / divisor     inverse: money = -qty * multiplier / (divisor * price)
MONEY_RULE: Final = np.dtype(
    [
        ("multiplier", "<i8"),
        ("divisor", "<i8"),
        ("base_unit", "<i8"),  # Spot: base currency (1e-8) in one unit of qty; 0 otherwise.
        ("price_unit", "<i8"),  # 10**price_scale
        ("settle_currency", "<i4"),  # Slot of the currency that PnL, fees and funding are in; spot: the quote currency.
        ("base_currency", "<i4"),  # Slot of the base currency; only spot moves it.
        ("contract", "u1"),
        ("additive", "u1"),  # 1: divisor is 1 and the contract is not inverse, so values of parts sum to the whole.
        ("price_scale", "u1"),
        ("qty_scale", "u1"),
        ("padding", "<i4"),
    ],
    align=True,
)
assert MONEY_RULE.itemsize == 48


def money_rule(
    contract: str,
    price_scale: int,
    qty_scale: int,
    contract_size: int = MONEY_UNIT,
    settle_currency: int = NO_CURRENCY,
    base_currency: int = NO_CURRENCY,
) -> np.void:
    """The MONEY_RULE record of an instrument; plain Python, for construction time.

    contract: "linear", "inverse" or "spot". price_scale, qty_scale: decimal digits. contract_size: 1e-8 units; of a linear
    contract the base units, of an inverse one the quote units, that a quantity of 1 stands for. Currencies are slots.
    Raises ValueError for what no instrument can be, or for factors that do not fit in an int64.
    """
    code = CONTRACT_CODE.get(contract)
    if code is None:
        raise ValueError(f"contract must be one of {', '.join(CONTRACT_CODE)}, got {contract!r}")
    for name, scale in (("price_scale", price_scale), ("qty_scale", qty_scale)):
        if not 0 <= scale <= SCALE_MAX:
            raise ValueError(f"{name} must be within 0..{SCALE_MAX}, got {scale}")
    if contract_size <= 0:
        raise ValueError(f"contract_size must be positive, got {contract_size}")
    if code == SPOT and contract_size != MONEY_UNIT:
        raise ValueError(f"contract_size of a spot instrument must be {MONEY_UNIT} (one), got {contract_size}")
    if code == SPOT and qty_scale > MONEY_SCALE:
        raise ValueError(f"qty_scale of a spot instrument must be at most {MONEY_SCALE}, got {qty_scale}")
    if code == INVERSE:
        multiplier, divisor = contract_size * 10**price_scale, 10**qty_scale
    else:
        multiplier, divisor = contract_size, 10 ** (price_scale + qty_scale)
    common = math.gcd(multiplier, divisor)
    multiplier, divisor = multiplier // common, divisor // common
    if max(multiplier, divisor) > MONEY_MAX:
        raise ValueError(
            f"price_scale {price_scale}, qty_scale {qty_scale} and contract_size {contract_size} need the factor "
            f"{multiplier}/{divisor}, which does not fit in 64 bits; use fewer decimals"
        )
    rule: np.void = np.zeros(1, dtype=MONEY_RULE)[0]
    rule["multiplier"] = multiplier
    rule["divisor"] = divisor
    rule["base_unit"] = 10 ** (MONEY_SCALE - qty_scale) if code == SPOT else 0
    rule["price_unit"] = 10**price_scale
    rule["settle_currency"] = settle_currency
    rule["base_currency"] = base_currency
    rule["contract"] = code
    rule["additive"] = code != INVERSE and divisor == 1
    rule["price_scale"] = price_scale
    rule["qty_scale"] = qty_scale
    return rule


@njit(cache=True)
def position_value(rule: np.void, qty: int, price: int) -> tuple[int, int]:
    """Signed value of a signed quantity at a price, in the settlement currency, and a status.

    Linear, spot: qty * price * contract_size. Inverse: -qty * contract_size / price, so that for every contract
    PnL = value at the later price - value at the earlier one. Exact where rule["additive"], else rounded half to even once.
    """
    if rule["contract"] == INVERSE:
        if price <= 0:
            return 0, BAD_PRICE
        divisor, too_large = checked_mul(rule["divisor"], price)
        if too_large:
            return 0, OVERFLOW
        value, status = mul_div(qty, rule["multiplier"], divisor, HALF_EVEN)
        return -value, status
    if rule["additive"]:
        lots_price, overflow_first = checked_mul(qty, price)
        value, overflow_second = checked_mul(lots_price, rule["multiplier"])
        if overflow_first | overflow_second:
            return 0, OVERFLOW
        return value, OK
    scaled_qty, too_large = checked_mul(qty, rule["multiplier"])
    if too_large:
        return 0, OVERFLOW
    return mul_div(scaled_qty, price, rule["divisor"], HALF_EVEN)


@njit(cache=True)
def notional(rule: np.void, qty: int, price: int) -> tuple[int, int]:
    """Size of a trade or position, >= 0, in the settlement currency, and a status; the sign of qty does not matter."""
    value, status = position_value(rule, qty, price)
    return abs(value), status


@njit(cache=True)
def mark_delta(rule: np.void, qty: int, price_change: int) -> tuple[int, int]:
    """Exact change of a position's value when the price moves, and a status; the hot path of every quote.

    Only where rule["additive"] (each linear and spot instrument with at most 8 decimals in price and quantity together);
    otherwise NOT_ADDITIVE: the caller recomputes.
    """
    if rule["additive"] == 0:
        return 0, NOT_ADDITIVE
    lots_change, overflow_first = checked_mul(qty, price_change)
    delta, overflow_second = checked_mul(lots_change, rule["multiplier"])
    if overflow_first | overflow_second:
        return 0, OVERFLOW
    return delta, OK


@njit(cache=True)
def fee_on(amount: int, fee_rate: int) -> tuple[int, int]:
    """Fee on an amount >= 0 at a rate in 1e-8 (negative: a rebate), rounded away from us, and a status.

    Amount and fee are in the same currency: the notional, or base_money() where a spot venue charges the base currency.
    """
    product, too_large = checked_mul(amount, fee_rate)
    if too_large:
        return mul_div(amount, fee_rate, MONEY_UNIT, UP_AWAY)
    return -(-product // MONEY_UNIT), OK  # Division by a constant costs a multiplication; by a variable, twenty.


@njit(cache=True)
def convert(amount: int, fx_rate: int) -> tuple[int, int]:
    """Amount in another currency at fx_rate (1e-8: units of the other for one of this), half to even, and a status."""
    return mul_div(amount, fx_rate, MONEY_UNIT, HALF_EVEN)


@njit(cache=True)
def base_money(rule: np.void, qty: int) -> tuple[int, int]:
    """A spot quantity as money of the base currency, exact, and a status (BAD_DIVISOR: not a spot rule)."""
    if rule["base_unit"] == 0:
        return 0, BAD_DIVISOR
    return checked_mul(qty, rule["base_unit"])


@njit(cache=True)
def base_value(rule: np.void, balance: int, price: int) -> tuple[int, int]:
    """A spot base-currency balance (1e-8) valued in the quote currency, half to even, and a status."""
    return mul_div(balance, price, rule["price_unit"], HALF_EVEN)


@njit(cache=True)
def qty_held(rule: np.void, balance: int) -> tuple[int, int]:
    """The whole quantity that a spot base-currency balance can deliver (floor), and a status."""
    return mul_div(balance, 1, rule["base_unit"], FLOOR)


def checked_add(a: int, b: int) -> tuple[int, int]:
    """Sum a + b and OK, or 0 and OVERFLOW."""
    return _fit(int(a) + int(b))


def checked_sub(a: int, b: int) -> tuple[int, int]:
    """Difference a - b and OK, or 0 and OVERFLOW."""
    return _fit(int(a) - int(b))


def checked_mul(a: int, b: int) -> tuple[int, int]:
    """Product a * b and OK, or 0 and OVERFLOW."""
    return _fit(int(a) * int(b))


def saturating_add(a: int, b: int) -> int:
    """Sum a + b of two numbers >= 0, held at MONEY_MAX: for running statistics that must never stop a fill."""
    return min(int(a) + int(b), MONEY_MAX)


def mul_div(a: int, b: int, divisor: int, rounding: int) -> tuple[int, int]:
    """Quotient a * b / divisor through a 128-bit product, rounded once; and OK, OVERFLOW or BAD_DIVISOR.

    Any sign, all of int64. Rounding: HALF_EVEN, CEILING, FLOOR, DOWN.
    """
    product, divisor = int(a) * int(b), int(divisor)
    if divisor == 0:
        return 0, BAD_DIVISOR
    quotient, rest = divmod(abs(product), abs(divisor))
    negative = (product < 0) != (divisor < 0)
    up = (
        (2 * rest, quotient & 1) > (abs(divisor), 0)
        if rounding == HALF_EVEN
        else rest > 0 and ((rounding == CEILING and not negative) or (rounding == FLOOR and negative))
    )
    quotient += up
    return _fit(-quotient if negative else quotient)


def _fit(value: int) -> tuple[int, int]:
    return (value, OK) if -MONEY_MAX <= value <= MONEY_MAX else (0, OVERFLOW)


# What compiled callers get in place of the Python bodies above.


_untyped: Any = types  # Numba's stubs say too little for strict typing.
_SIGNED_PAIR: Final = _untyped.UniTuple(types.int64, 2)
_UNSIGNED_PAIR: Final = _untyped.UniTuple(types.uint64, 2)
_intrinsic: Any = intrinsic  # The same: its stub keeps the `typing` argument that callers never pass.


def _are_integers(*arguments: Any) -> bool:
    return all(isinstance(argument, types.Integer) for argument in arguments)


def _overflow_intrinsic(operation: str) -> Any:
    """Intrinsic (int64, int64) -> (value, status) over LLVM's s<operation>.with.overflow."""

    @_intrinsic
    def checked(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pair = getattr(builder, f"s{operation}_with_overflow")(*arguments)
            value = builder.extract_value(pair, 0)
            lowest = builder.icmp_signed("==", value, ir.Constant(_I64, -(2**63)))
            failed = builder.or_(builder.extract_value(pair, 1), lowest)
            result = builder.select(failed, ir.Constant(_I64, 0), value)
            return context.make_tuple(builder, signature.return_type, (result, builder.zext(failed, _I64)))

        return _SIGNED_PAIR(types.int64, types.int64), generate

    return checked


_I64: Final = ir.IntType(64)
_I128: Final = ir.IntType(128)
assert OVERFLOW == 1  # The intrinsics return the overflow bit as the status.
_add_overflow = _overflow_intrinsic("add")
_sub_overflow = _overflow_intrinsic("sub")
_mul_overflow = _overflow_intrinsic("mul")


@_intrinsic
def _wide_product(typing: Any, a: Any, b: Any) -> Any:
    """(uint64, uint64) -> (high, low) halves of the product."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.mul(builder.zext(arguments[0], _I128), builder.zext(arguments[1], _I128))
        high = builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)
        return context.make_tuple(builder, signature.return_type, (high, builder.trunc(product, _I64)))

    return _UNSIGNED_PAIR(types.uint64, types.uint64), generate


@_intrinsic
def _leading_zeros(typing: Any, value: Any) -> Any:
    """Zero bits above the highest set bit of a uint64 > 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


_HALF: Final = np.uint64(32)
_DIGIT: Final = np.uint64(2**32)
_LOW_DIGIT: Final = np.uint64(2**32 - 1)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_WORD: Final = np.uint64(64)
_UNSIGNED_MAX: Final = np.uint64(MONEY_MAX)


@njit(cache=True, error_model="numpy")
def _next_digit(top: np.uint64, digit: np.uint64, divisor: np.uint64) -> np.uint64:
    """One base-2**32 digit of (top * 2**32 + digit) / divisor; divisor has its top bit set and top < divisor."""
    divisor_high = divisor >> _HALF
    divisor_low = divisor & _LOW_DIGIT
    estimate = top // divisor_high
    rest = top - estimate * divisor_high
    # At most 2**32 + 1, so no product below wraps; at most two too large (Knuth, theorem 4.3.1 B).
    while rest < _DIGIT and estimate * divisor_low > (rest << _HALF) + digit:
        estimate -= _ONE
        rest += divisor_high
    return estimate


@njit(cache=True, error_model="numpy")
def _wide_quotient(high: np.uint64, low: np.uint64, divisor: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(quotient, remainder) of the 128-bit high:low by divisor, high < divisor.

    Long division in base 2**32: Knuth, The Art of Computer Programming, volume 2, algorithm 4.3.1 D.
    """
    shift = _leading_zeros(divisor)
    scaled = divisor << shift
    top = high << shift
    if shift > _ZERO:
        top |= low >> (_WORD - shift)
    bottom = low << shift
    first = _next_digit(top, bottom >> _HALF, scaled)
    middle = (top << _HALF) + (bottom >> _HALF) - first * scaled  # Modulo 2**64: the true value is below the divisor.
    second = _next_digit(middle, bottom & _LOW_DIGIT, scaled)
    quotient = (first << _HALF) + second
    return quotient, low - quotient * divisor


@njit(cache=True)
def _magnitude(value: np.int64) -> np.uint64:
    unsigned = np.uint64(value)
    return _ZERO - unsigned if value < 0 else unsigned


@njit(cache=True, error_model="numpy")
def _mul_div(a: np.int64, b: np.int64, divisor: np.int64, rounding: np.int64) -> tuple[np.int64, np.int64]:
    out_of_line()
    if divisor == 0:
        return np.int64(0), np.int64(BAD_DIVISOR)
    size = _magnitude(divisor)
    high, low = _wide_product(_magnitude(a), _magnitude(b))
    if high == _ZERO:
        quotient = low // size
        rest = low - quotient * size
    elif high >= size:
        return np.int64(0), np.int64(OVERFLOW)
    else:
        quotient, rest = _wide_quotient(high, low, size)
    negative = (a < 0) ^ (b < 0) ^ (divisor < 0)
    if rounding == HALF_EVEN:
        missing = size - rest
        up = rest > missing or (rest == missing and quotient & _ONE == _ONE)
    else:
        up = rest > _ZERO and ((rounding == CEILING and not negative) or (rounding == FLOOR and negative))
    if quotient > _UNSIGNED_MAX or (up and quotient == _UNSIGNED_MAX):
        return np.int64(0), np.int64(OVERFLOW)
    value = np.int64(quotient) + np.int64(up)
    return (-value if negative else value), np.int64(OK)


def _register(face: Any, operation: Any) -> None:
    """Let compiled callers of face(a, b), both integers, run the intrinsic."""

    @overload(face)
    def choose(a: Any, b: Any) -> Any:
        def call(a: Any, b: Any) -> Any:
            return operation(np.int64(a), np.int64(b))

        return call if _are_integers(a, b) else None


_register(checked_add, _add_overflow)
_register(checked_sub, _sub_overflow)
_register(checked_mul, _mul_overflow)


@overload(saturating_add)
def _compiled_saturating_add(a: Any, b: Any) -> Any:
    def add(a: Any, b: Any) -> Any:
        total, overflow = _add_overflow(np.int64(a), np.int64(b))
        return np.int64(MONEY_MAX) if overflow else total

    return add if _are_integers(a, b) else None


@overload(mul_div)
def _compiled_mul_div(a: Any, b: Any, divisor: Any, rounding: Any) -> Any:
    def divide(a: Any, b: Any, divisor: Any, rounding: Any) -> Any:
        return _mul_div(np.int64(a), np.int64(b), np.int64(divisor), np.int64(rounding))

    return divide if _are_integers(a, b, divisor, rounding) else None
