"""Settings as people write them, exact and with their unit."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.engine import units


@pytest.mark.parametrize(
    ("text", "ns"),
    [("1ms", 10**6), ("250us", 250_000), ("250µs", 250_000), ("1.5s", 1_500_000_000), ("0ms", 0), ("2m", 120 * 10**9),
     ("1h", 3600 * 10**9), ("1d", 86400 * 10**9), ("1_000 ns", 1000), ("0.000000001s", 1)],
)  # fmt: skip
def test_a_duration_is_exact(text: str, ns: int) -> None:
    assert units.duration_ns(text) == ns


@pytest.mark.parametrize("value", [5, 5.0, Decimal(5)])
def test_a_bare_number_is_no_duration_and_the_message_names_units(value: object) -> None:
    with pytest.raises(ValueError, match=r"with its unit.*ms"):
        units.duration_ns(value)


@pytest.mark.parametrize(
    "value", ["", "ms", "5", "-1ms", "1 fortnight", "0.5ns", "1e3s", True, None, [], "9" * 30 + "d", "nan s"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"duration|whole"):
        units.duration_ns(value)


@given(st.integers(0, 2**61))
def test_nanoseconds_survive_every_digit(ns: int) -> None:
    assert units.duration_ns(f"{ns}ns") == ns


@pytest.mark.parametrize(
    ("value", "money"),
    [("100000", 10**13), (250, 250 * 10**8), (Decimal("0.00000001"), 1), ("-3.5", -350_000_000), ("1e3", 10**11)],
)
def test_money_is_exact(value: object, money: int) -> None:
    assert units.money_int(value) == money


@pytest.mark.parametrize(
    "value", ["x", "0.000000001", "1e30", "1e999999999", "-1e999999999", "nan", "inf", True, None, ""]
)
def test_what_is_no_money_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"amount"):
        units.money_int(value)


@pytest.mark.parametrize(("bps", "rate"), [(2, 20_000), ("0.5", 5_000), (Decimal("-0.25"), -2_500), (0, 0)])
def test_basis_points_become_rates(bps: object, rate: int) -> None:
    assert units.rate_of_bps(bps) == rate


@pytest.mark.parametrize("bps", ["0.00001", 10_000, "x", None])
def test_what_is_no_rate_is_refused(bps: object) -> None:
    with pytest.raises(ValueError, match=r"basis points"):
        units.rate_of_bps(bps)


@pytest.mark.parametrize(
    ("text", "kind", "size", "scaled"),
    [("1m", "time", 60 * 10**9, 60 * 10**9), ("250ms", "time", 250 * 10**6, 250 * 10**6), ("100 ticks", "tick", 100, 100),
     ("10 volume", "volume", 10, 10_000), ("0.5 volume", "volume", Decimal("0.5"), 500),
     ("1e6 notional", "notional", 10**6, 10**14)],
)  # fmt: skip
def test_bars_by_kind(text: str, kind: str, size: object, scaled: int) -> None:
    assert units.bar_kind(text) == (kind, size)
    assert units.bar_size(*units.bar_kind(text), qty_scale=3) == scaled


@pytest.mark.parametrize("text", ["", "m", "100", "0 ticks", "1.5 ticks", "-1m", "3 tiks", "1us", 60, None])
def test_what_are_no_bars_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"bars|positive"):
        units.bar_kind(text)


def test_a_volume_that_the_instrument_cannot_express_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quantity"):
        units.bar_size("volume", Decimal("0.0005"), qty_scale=3)


def test_a_session_ends_by_the_clock_of_its_place() -> None:
    at, zone = units.time_of_day("17:00 America/New_York")
    noon = int(datetime(2024, 7, 1, 12, tzinfo=UTC).timestamp()) * 10**9
    assert units.next_time_ns(noon, at, zone) == int(datetime(2024, 7, 1, 21, tzinfo=UTC).timestamp()) * 10**9
    winter = int(datetime(2024, 1, 1, 22, 30, tzinfo=UTC).timestamp()) * 10**9
    assert units.next_time_ns(winter, at, zone) == int(datetime(2024, 1, 2, 22, tzinfo=UTC).timestamp()) * 10**9


def test_session_ends_follow_a_change_of_the_places_clocks() -> None:
    at, zone = units.time_of_day("16:00 America/New_York")
    first, last = (int(datetime(2024, 3, day, 12, tzinfo=UTC).timestamp()) * 10**9 for day in (8, 11))
    ends = units.session_ends_ns(first, last, at, zone)
    assert ends[0] == int(datetime(2024, 3, 8, 21, tzinfo=UTC).timestamp()) * 10**9
    assert [(b - a) // (3600 * 10**9) for a, b in itertools.pairwise(ends)] == [24, 23, 24]


@pytest.mark.parametrize("text", ["17:00", "25:00 UTC", "17:00 Mars/Olympus", "", None, "17:00 UTC extra"])
def test_what_is_no_time_of_day_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"time and its zone"):
        units.time_of_day(text)
