import decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data import decimals as d

NUMBER = st.one_of(
    st.from_regex(r"\A[+-]?[0-9]{1,10}(\.[0-9]{0,8})?\Z"),
    st.from_regex(r"\A[+-]?\.[0-9]{1,8}\Z"),
    st.from_regex(r"\A-?[0-9]{1,3}(\.[0-9]{0,3})?[eE][+-]?[0-9]\Z"),
)


@given(texts=st.lists(NUMBER, min_size=1, max_size=20))
def test_numbers_are_read_as_written(texts: list[str]) -> None:
    numbers = d.read_decimals(pl.Series(texts))
    for text, mantissa, places, status in zip(texts, *numbers, strict=True):
        value = decimal.Decimal(text)
        assert status == d.FINE
        assert decimal.Decimal(int(mantissa)).scaleb(-int(places)) == value
        assert places == max(0, -int(value.normalize().as_tuple().exponent))
    scale = d.scale_of(numbers)
    for text, mantissa, status in zip(texts, *d.to_scale(numbers, scale)[::2], strict=True):
        exact = decimal.Decimal(text).scaleb(scale)
        assert status == (d.FINE if abs(exact) < 10**18 else d.TOO_LARGE)
        assert status != d.FINE or mantissa == exact


@given(texts=st.lists(st.text(max_size=8), min_size=1, max_size=20))
def test_whatever_is_no_number_is_marked(texts: list[str]) -> None:
    numbers = d.read_decimals(pl.Series(texts, dtype=pl.String))
    for text, status in zip(texts, numbers.status, strict=True):
        if status == d.FINE:
            decimal.Decimal(text.strip())


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (None, d.MISSING),
        ("", d.MISSING),
        ("  ", d.MISSING),
        ("NaN", d.NOT_FINITE),
        ("-inf", d.NOT_FINITE),
        ("null", d.NOT_FINITE),
        ("1.2.3", d.NOT_A_NUMBER),
        ("1.-5", d.NOT_A_NUMBER),
        ("1,000", d.NOT_A_NUMBER),
        (".", d.NOT_A_NUMBER),
        ("-", d.NOT_A_NUMBER),
        ("0x10", d.NOT_A_NUMBER),
        ("1_000", d.NOT_A_NUMBER),
        ("٣", d.NOT_A_NUMBER),
        ("9" * 19, d.TOO_LARGE),
        ("-9223372036854775808", d.TOO_LARGE),
        ("1e18", d.TOO_LARGE),
        ("0." + "1" * 19, d.TOO_FINE),
        ("1e-40", d.FINE),
        ("-0.50", d.FINE),
        (" 7 ", d.FINE),
        ("0.000000000000000000000000", d.FINE),
    ],
)
def test_status_tells_what_is_wrong(text: str | None, status: int) -> None:
    assert d.read_decimals(pl.Series([text], dtype=pl.String)).status.tolist() == [status]


def test_a_scale_too_small_marks_and_never_rounds() -> None:
    numbers = d.to_scale(d.read_decimals(pl.Series(["1.25", "1.20", "2"])), 1)
    assert numbers.status.tolist() == [d.TOO_FINE, d.FINE, d.FINE]
    assert numbers.mantissa.tolist() == [0, 12, 20]
    assert d.round_text(pl.Series(["1.25", "0.30000000000000004", "x", None]), 1).to_list() == ["1.2", "0.3", "x", None]
