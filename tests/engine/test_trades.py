"""Round trips: first in first out, exact, nothing lost between the fills and the trades."""

from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as hs
from reference import fake_run
from reference import round_trips as slow

from twinloop.engine.records import FILL, SETTLE_CURRENCY
from twinloop.engine.trades import (
    _fill_values,
    divide_half_even,
    fill_value,
    round_trips,
    settlement_fee,
    with_excursions,
)

FINE = msgspec.structs.replace(
    fake_run.BTC, price_scale=8, qty_scale=8, contract_size=3
)  # values end in halves and thirds
INSTRUMENTS = [fake_run.BTC, fake_run.COIN]
FILLS = hs.lists(
    hs.tuples(
        hs.integers(0, 1), hs.integers(0, 1), hs.sampled_from([-1, 1]), hs.integers(500_000, 700_000), hs.integers(1, 30),
        hs.integers(-5_000, 5_000),
    ),
    max_size=30,
)  # fmt: skip


def fills_of(rows: list[Any]) -> Any:
    fills = np.zeros(len(rows), FILL)
    for index, (strategy, slot, side, price, qty, fee) in enumerate(rows):
        fill = fills[index]
        fill["sequence"], fill["local_ns"] = index + 1, 1000 * (index + 1)
        fill["strategy"], fill["instrument"], fill["side"] = strategy, slot, side
        fill["price_int"], fill["qty_int"], fill["fee_int"] = price, qty, fee
        fill["fee_currency"] = SETTLE_CURRENCY
    return fills


@given(hs.integers(-(10**30), 10**30), hs.integers(1, 10**20))
def test_division_rounds_half_to_even(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(FILLS)
def test_trades_equal_the_unit_by_unit_definition(rows: list[Any]) -> None:
    fills = fills_of(rows)
    got = round_trips(fills, INSTRUMENTS, ["a", "b"])
    expected = slow.trades(fills, INSTRUMENTS)
    assert got["qty_int"].to_list() == [trade["qty"] for trade in expected]
    assert got["side"].to_list() == [trade["side"] for trade in expected]
    assert got["entry_price_int"].to_list() == [trade["entry"] for trade in expected]
    assert got["exit_price_int"].to_list() == [trade["exit"] for trade in expected]
    for gross, trade in zip(got["gross_int"].to_list(), expected, strict=True):
        assert abs(gross - trade["gross"] * 10**8) <= 2 + len(rows) // 2  # each split rounds to one unit of 1e-8


@given(FILLS)
def test_closed_positions_lose_no_unit_of_money_or_fee(rows: list[Any]) -> None:
    held: dict[tuple[int, int], int] = {}
    for strategy, slot, side, _, qty, _ in rows:
        held[strategy, slot] = held.get((strategy, slot), 0) + side * qty
    flat = [
        (strategy, slot, -1 if position > 0 else 1, 600_000, abs(position), 7)
        for (strategy, slot), position in held.items()
        if position
    ]
    fills = fills_of(rows + flat)
    trades = round_trips(fills, INSTRUMENTS, ["a", "b"])
    total = 0
    for fill in fills:
        instrument = INSTRUMENTS[int(fill["instrument"])]
        value = fill_value(instrument, int(fill["price_int"]), int(fill["qty_int"]))
        total -= int(fill["side"]) * value * (-1 if instrument.contract == "inverse" else 1)
    assert trades["gross_int"].sum() == total
    assert trades["fee_int"].sum() == int(fills["fee_int"].sum())
    assert (trades["net_int"] == trades["gross_int"] - trades["fee_int"]).all()


@given(
    hs.lists(hs.tuples(hs.sampled_from([1, 5, 617_050, 10**9, 10**15]), hs.integers(1, 10**6)), min_size=1, max_size=9),
    hs.sampled_from([fake_run.BTC, fake_run.ETH, fake_run.COIN, FINE]),
)
def test_values_of_columns_equal_values_one_by_one(rows: list[tuple[int, int]], instrument: Any) -> None:
    fills = fills_of([(0, 0, 1, price, qty, 0) for price, qty in rows])
    expected = [fill_value(instrument, price, qty) for price, qty in rows]
    assert _fill_values(fills, [instrument]) == expected
    for (price, qty), value in zip(rows, expected, strict=True):
        assert value == round(slow.unit_value(instrument, price) * qty * 10**8)


def test_a_fill_through_flat_closes_and_opens() -> None:
    trades = round_trips(
        fills_of([(0, 0, 1, 600_000, 10, 100), (0, 0, -1, 610_000, 25, 250), (0, 0, 1, 600_000, 15, 0)]),
        INSTRUMENTS,
        ["a"],
    )
    assert trades["qty_int"].to_list() == [10, 15]
    assert trades["side"].to_list() == [1, -1]
    assert trades["fee_int"].to_list() == [200, 150]
    assert trades["gross"].to_list() == [10.0, 15.0]


def test_inverse_profit_is_in_the_base_currency() -> None:
    trades = round_trips(fills_of([(0, 1, 1, 500_000, 10, 0), (0, 1, -1, 600_000, 10, 0)]), INSTRUMENTS, ["a"])
    assert trades["gross_int"][0] == 2_000_000 - 1_666_667  # 10 contracts of 100 USD at 50,000 and at 60,000, in BTC
    assert trades["currency"][0] == "BTC"


@pytest.mark.parametrize(("currency", "expected"), [("USDT", 1_000), ("BTC", 60_000_000), ("BNB", None)])
def test_fees_in_other_currencies_convert_at_the_fill_or_not_at_all(currency: str, expected: int | None) -> None:
    assert settlement_fee(fake_run.BTC, 1_000, currency, 600_000) == expected


def test_no_fills_give_an_empty_table_with_its_columns() -> None:
    trades = round_trips(np.zeros(0, FILL), INSTRUMENTS, ["a"])
    assert trades.is_empty()
    assert "net_int" in trades.columns


@pytest.mark.parametrize("seed", range(3))
def test_excursions_equal_a_scan_of_the_marks(seed: int) -> None:
    fills, _, _, _ = fake_run.records(samples=400, fills=60, seed=seed)
    draw = np.random.Generator(np.random.PCG64(seed))
    times = np.sort(draw.choice(fills["local_ns"], 50))
    marks = pl.DataFrame({"local_ns": times, "mark:BTCUSDT": draw.normal(61_000, 500, 50)})
    trades = with_excursions(round_trips(fills, [fake_run.BTC], ["a"]), marks)
    assert len(trades) > 20
    for trade in trades.iter_rows(named=True):
        seen = [m for t, m in marks.iter_rows() if trade["entry_ns"] <= t <= trade["exit_ns"]]
        moves = [
            trade["side"] * (price / trade["entry_price"] - 1)
            for price in [*seen, trade["entry_price"], trade["exit_price"]]
        ]
        assert trade["adverse"] == pytest.approx(min(moves), abs=1e-12)
        assert trade["favourable"] == pytest.approx(max(moves), abs=1e-12)
