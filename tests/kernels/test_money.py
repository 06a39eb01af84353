from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit
from reference import money as twin

from twinloop.kernels import money
from twinloop.kernels.money import MONEY_MAX, MONEY_RULE, money_rule

MODES = {"half_even": money.HALF_EVEN, "ceiling": money.CEILING, "floor": money.FLOOR, "down": money.DOWN}
INT64_MIN = -(2**63)
EXTREMES = [
    0,
    1,
    -1,
    2,
    2**31,
    2**32 - 1,
    2**32,
    2**32 + 1,
    2**62,
    MONEY_MAX - 1,
    MONEY_MAX,
    -MONEY_MAX,
    INT64_MIN,
    10**18,
]
INT64 = st.one_of(
    st.sampled_from(EXTREMES),
    st.integers(INT64_MIN, MONEY_MAX),
    st.integers(0, 62).flatmap(lambda bits: st.integers(-(2**bits), 2**bits)),
)


@njit
def mul_div(a: int, b: int, divisor: int, rounding: int) -> Any:
    return money.mul_div(a, b, divisor, rounding)


@njit
def checked_add(a: int, b: int) -> Any:
    return money.checked_add(a, b)


@njit
def checked_sub(a: int, b: int) -> Any:
    return money.checked_sub(a, b)


@njit
def checked_mul(a: int, b: int) -> Any:
    return money.checked_mul(a, b)


@njit
def saturating_add(a: int, b: int) -> Any:
    return money.saturating_add(a, b)


@njit
def position_value(rules: Any, qty: int, price: int) -> Any:
    return money.position_value(rules[0], qty, price)


@njit
def notional(rules: Any, qty: int, price: int) -> Any:
    return money.notional(rules[0], qty, price)


@njit
def mark_delta(rules: Any, qty: int, price_change: int) -> Any:
    return money.mark_delta(rules[0], qty, price_change)


@njit
def base_round_trip(rules: Any, qty: int, price: int) -> Any:
    balance, status = money.base_money(rules[0], qty)
    return balance, status, money.qty_held(rules[0], balance), money.base_value(rules[0], balance, price)


@njit
def fee_on(amount: int, rate: int) -> Any:
    return money.fee_on(amount, rate)


@njit
def convert(amount: int, rate: int) -> Any:
    return money.convert(amount, rate)


def build(function: Any, which: str) -> Any:
    return getattr(function, "py_func", function) if which == "python" else function


BUILDS = ["compiled", "python"]


def one(**fields: Any) -> Any:
    rules = np.zeros(1, dtype=MONEY_RULE)
    rules[0] = money_rule(**fields)
    return rules


def expected(value: int | None) -> tuple[int, int]:
    return (0, money.OVERFLOW) if value is None else (value, money.OK)


@pytest.mark.parametrize("which", BUILDS)
@given(a=INT64, b=INT64, divisor=INT64, mode=st.sampled_from(list(MODES)))
@example(a=INT64_MIN, b=INT64_MIN, divisor=INT64_MIN, mode="half_even")
@example(a=INT64_MIN, b=1, divisor=1, mode="half_even")
@example(a=INT64_MIN, b=1, divisor=-1, mode="half_even")
@example(a=MONEY_MAX, b=MONEY_MAX, divisor=MONEY_MAX, mode="half_even")
@example(a=MONEY_MAX, b=3, divisor=2, mode="floor")
@example(a=2 * (2**62 - 1) + 1, b=1, divisor=2, mode="half_even")
@example(a=2**62, b=2**62, divisor=2**61 + 1, mode="ceiling")
@example(a=2**32 - 1, b=2**32 + 1, divisor=2, mode="half_even")
@example(a=2**32 - 1, b=2**32 + 1, divisor=2, mode="down")
@example(a=MONEY_MAX, b=MONEY_MAX, divisor=INT64_MIN, mode="half_even")
@example(a=4611686022722355198, b=6173109829086559037, divisor=4611686022722355199, mode="down")  # Two corrections.
@example(a=2**32 - 1, b=2**62 + 2**31, divisor=2**62 + 1, mode="half_even")
def test_mul_div_is_the_exact_quotient_rounded_once(which: str, a: int, b: int, divisor: int, mode: str) -> None:
    got = build(mul_div, which)(a, b, divisor, MODES[mode])
    assert got == ((0, money.BAD_DIVISOR) if divisor == 0 else expected(twin.mul_div(a, b, divisor, mode)))


@pytest.mark.parametrize("which", BUILDS)
@given(
    divisor=st.integers(2**32, MONEY_MAX), quotient=st.integers(0, MONEY_MAX), digit=st.sampled_from([0, 1, 2**32 - 1])
)
def test_mul_div_survives_the_hard_cases_of_long_division(which: str, divisor: int, quotient: int, digit: int) -> None:
    """Products just around quotient * divisor, where an estimated digit is one or two too large."""
    divisor = (divisor & ~(2**32 - 1)) | digit
    for a in (divisor - 1, divisor, divisor + 1):
        if a <= MONEY_MAX:
            got = build(mul_div, which)(a, quotient, divisor, money.DOWN)
            assert got == expected(twin.mul_div(a, quotient, divisor, "down"))


@pytest.mark.parametrize("which", BUILDS)
@pytest.mark.parametrize(
    ("mode", "decimal_mode"),
    [("half_even", ROUND_HALF_EVEN), ("ceiling", ROUND_CEILING), ("floor", ROUND_FLOOR), ("down", ROUND_DOWN)],
)
def test_rounding_modes_mean_what_decimal_means(which: str, mode: str, decimal_mode: str) -> None:
    for tenths in range(-45, 46):
        with localcontext():
            wanted = int((Decimal(tenths) / 10).quantize(Decimal(1), rounding=decimal_mode))
        assert build(mul_div, which)(tenths, 1, 10, MODES[mode]) == (wanted, money.OK)
        assert build(mul_div, which)(tenths, -1, -10, MODES[mode]) == (wanted, money.OK)


@pytest.mark.parametrize("which", BUILDS)
@given(a=INT64, b=INT64)
@example(a=-MONEY_MAX, b=-1)
@example(a=INT64_MIN, b=0)
def test_checked_operations_report_what_does_not_fit(which: str, a: int, b: int) -> None:
    assert build(checked_add, which)(a, b) == expected(twin.fits(a + b))
    assert build(checked_sub, which)(a, b) == expected(twin.fits(a - b))
    assert build(checked_mul, which)(a, b) == expected(twin.fits(a * b))
    if a >= 0 and b >= 0:
        assert build(saturating_add, which)(a, b) == min(a + b, MONEY_MAX)


SCALES = st.integers(0, 9)
SIZES = st.sampled_from([10**8, 10**10, 10**9, 10**5, 25 * 10**6, 33333333, 1])
QTYS = st.one_of(st.integers(-(10**9), 10**9), INT64)
PRICES = st.one_of(st.integers(1, 10**9), INT64)


@pytest.mark.parametrize("which", BUILDS)
@given(
    kind=st.sampled_from(["linear", "inverse"]),
    price_scale=SCALES,
    qty_scale=SCALES,
    size=SIZES,
    qty=QTYS,
    price=PRICES,
)
@example(kind="linear", price_scale=2, qty_scale=6, size=10**8, qty=MONEY_MAX, price=1)
@example(kind="linear", price_scale=2, qty_scale=6, size=10**8, qty=MONEY_MAX, price=2)
@example(kind="linear", price_scale=9, qty_scale=9, size=10**8, qty=MONEY_MAX, price=10**10)
def test_position_value_is_the_contract_formula_rounded_once(
    which: str, kind: str, price_scale: int, qty_scale: int, size: int, qty: int, price: int
) -> None:
    rules = one(contract=kind, price_scale=price_scale, qty_scale=qty_scale, contract_size=size)
    contract = twin.Contract(kind, price_scale, qty_scale, size)
    got = build(position_value, which)(rules, qty, price)
    value, status = got
    if kind == "inverse" and price <= 0:
        assert got == (0, money.BAD_PRICE)
        return
    wanted = twin.fits(contract.value(qty, price))
    if status == money.OVERFLOW and wanted is not None:
        # An intermediate product may leave 64 bits before the value does: only where the factor is no plain power of ten.
        multiplier, divisor = int(rules[0]["multiplier"]), int(rules[0]["divisor"])
        assert twin.fits(divisor * price if kind == "inverse" else qty * multiplier) is None
        return
    assert got == expected(wanted)
    assert build(notional, which)(rules, qty, price) == (abs(value), status)


@pytest.mark.parametrize("which", BUILDS)
@given(price_scale=SCALES, qty_scale=SCALES, size=SIZES, qty=QTYS, start=st.integers(-(10**9), 10**9), change=PRICES)
def test_mark_delta_is_the_exact_change_of_value(
    which: str, price_scale: int, qty_scale: int, size: int, qty: int, start: int, change: int
) -> None:
    rules = one(contract="linear", price_scale=price_scale, qty_scale=qty_scale, contract_size=size)
    contract = twin.Contract("linear", price_scale, qty_scale, size)
    assert bool(rules[0]["additive"]) == contract.is_exact()
    got = build(mark_delta, which)(rules, qty, change)
    if not contract.is_exact():
        assert got == (0, money.NOT_ADDITIVE)
        return
    assert got == expected(twin.fits(contract.value(qty, start + change) - contract.value(qty, start)))


@pytest.mark.parametrize("which", BUILDS)
@given(amount=st.integers(0, 10**17), rate=st.integers(-(10**7), 10**7))
@example(amount=1, rate=1)
@example(amount=1, rate=-1)
def test_a_fee_is_rounded_away_from_us(which: str, amount: int, rate: int) -> None:
    fee, status = build(fee_on, which)(amount, rate)
    assert (fee, status) == (twin.fee(amount, rate), money.OK)
    assert 0 <= fee * 10**8 - amount * rate < 10**8


@pytest.mark.parametrize("which", BUILDS)
@given(qty_scale=st.integers(0, 8), price_scale=SCALES, qty=st.integers(-(10**10), 10**10), price=st.integers(1, 10**9))
def test_a_spot_quantity_becomes_base_money_and_back(
    which: str, qty_scale: int, price_scale: int, qty: int, price: int
) -> None:
    rules = one(contract="spot", price_scale=price_scale, qty_scale=qty_scale)
    balance, status, held, value = build(base_round_trip, which)(rules, qty, price)
    contract = twin.Contract("spot", price_scale, qty_scale)
    assert (balance, status) == expected(twin.fits(contract.base_money(qty)))
    if status == money.OK:
        assert held == (qty, money.OK)
        assert value == expected(twin.fits(contract.value(qty, price)))


@pytest.mark.parametrize("which", BUILDS)
@given(amount=INT64, rate=INT64)
def test_conversion_is_rounded_half_even_once(which: str, amount: int, rate: int) -> None:
    assert build(convert, which)(amount, rate) == expected(twin.mul_div(amount, rate, 10**8, "half_even"))


@pytest.mark.parametrize("which", BUILDS)
def test_an_unset_rule_is_refused(which: str) -> None:
    rules = np.zeros(1, dtype=MONEY_RULE)
    assert build(position_value, which)(rules, 5, 7) == (0, money.BAD_DIVISOR)
    assert build(mark_delta, which)(rules, 5, 7) == (0, money.NOT_ADDITIVE)
    assert build(base_round_trip, which)(rules, 5, 7)[1] == money.BAD_DIVISOR


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contract": "option", "price_scale": 1, "qty_scale": 1}, "contract must be one of linear, inverse, spot"),
        ({"contract": "linear", "price_scale": -1, "qty_scale": 1}, "price_scale must be within 0..18, got -1"),
        ({"contract": "linear", "price_scale": 1, "qty_scale": 19}, "qty_scale must be within 0..18, got 19"),
        (
            {"contract": "linear", "price_scale": 1, "qty_scale": 1, "contract_size": 0},
            "contract_size must be positive",
        ),
        ({"contract": "spot", "price_scale": 1, "qty_scale": 1, "contract_size": 5}, "contract_size of a spot"),
        ({"contract": "spot", "price_scale": 1, "qty_scale": 9}, "qty_scale of a spot instrument must be at most 8"),
        ({"contract": "linear", "price_scale": 18, "qty_scale": 18}, "does not fit in 64 bits"),
        ({"contract": "inverse", "price_scale": 12, "qty_scale": 0}, "does not fit|at most"),
    ],
)
def test_a_rule_that_no_instrument_can_have_is_refused(fields: Any, message: str) -> None:
    if fields["contract"] == "inverse":
        fields = {**fields, "contract_size": 10**10}
    with pytest.raises(ValueError, match=message):
        money_rule(**fields)
