"""Prices and quantities in natural units: what is on the instrument's grid, what is refused, what rounding gives."""

import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from twinloop.engine.strategy_requests import on_grid, to_scaled
from twinloop.kernels import codes

STEPS = st.sampled_from([(1.0, 1), (10.0, 1), (100.0, 5), (1000.0, 2), (1e8, 1), (1e8, 1000), (10.0, 25)])


@given(step=STEPS, count=st.integers(-(2**30), 2**30))
def test_every_natural_value_on_the_grid_is_accepted_exactly(step: tuple[float, int], count: int) -> None:
    per_unit, size = step
    value = float(Decimal(count * size) / Decimal(per_unit))
    assert to_scaled(value, per_unit, size) == (count * size, codes.ALLOW)


@given(step=STEPS, count=st.integers(-(2**30), 2**30), off=st.floats(2e-6, 1 - 2e-6))
def test_a_value_further_off_the_grid_than_the_tolerance_is_refused(
    step: tuple[float, int], count: int, off: float
) -> None:
    per_unit, size = step
    value = float((Decimal(count) + Decimal(off)) * Decimal(size) / Decimal(per_unit))
    exact = Decimal(value) * Decimal(per_unit) / Decimal(size)
    distance = abs(exact - exact.to_integral_value(ROUND_HALF_UP))
    _, verdict = to_scaled(value, per_unit, size)
    tolerance = max(Decimal("1e-6"), abs(exact) * Decimal(2) ** -51)
    if distance > tolerance * Decimal("1.01"):
        assert verdict == codes.REJECT_OFF_GRID
    elif distance < tolerance * Decimal("0.99"):
        assert verdict == codes.ALLOW


@given(step=STEPS, value=st.floats(-1e4, 1e4))
def test_rounding_to_the_grid_brackets_the_value(step: tuple[float, int], value: float) -> None:
    per_unit, size = step
    down, near, up = (on_grid(value, per_unit, size, direction) for direction in (-1, 0, 1))
    exact = Decimal(value) * Decimal(per_unit) / Decimal(size)
    floor, ceiling = exact.to_integral_value(ROUND_FLOOR), exact.to_integral_value(ROUND_CEILING)
    slack = Decimal("2e-6")
    assert round(down * per_unit / size) in {int(floor), int(ceiling) if ceiling - exact < slack else int(floor)}
    assert round(up * per_unit / size) in {int(ceiling), int(floor) if exact - floor < slack else int(ceiling)}
    assert down <= near <= up
    for found in (down, near, up):
        assert to_scaled(found, per_unit, size)[1] == codes.ALLOW
