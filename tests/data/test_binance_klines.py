"""Klines by REST: which are asked for, and the rows that stand for their trades."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.binance_klines import LENGTHS_NS, MINUTE_NS, kline_rows, klines_path, stretches
from twinloop.data.errors import DecodeError
from twinloop.data.instruments import PRESETS, Instrument
from twinloop.kernels import rows

USDM = PRESETS["binance-usdm:BTCUSDT"]
COINM = PRESETS["binance-coinm:BTCUSD_PERP"]
SECOND = 10**9
HOUR = 60 * MINUTE_NS


@given(
    sizes=st.sets(st.integers(1, 3000), min_size=1, max_size=4),
    unit=st.sampled_from([("binance-usdm", MINUTE_NS), ("binance-spot", SECOND)]),
    bars=st.integers(1, 30),
    seam=st.integers(10**9, 2 * 10**9),
)
def test_klines_tile_what_every_series_wants(sizes: set[int], unit: tuple[str, int], bars: int, seam: int) -> None:
    venue, step = unit
    wanted = {size * step for size in sizes}
    seam_ns = seam * SECOND + 7
    plan = stretches(venue, wanted, bars, seam_ns)
    assert all(before.end_ns == after.start_ns for before, after in itertools.pairwise(plan)), "no hole, no double"
    assert all(each.start_ns % each.length_ns == each.end_ns % each.length_ns == 0 for each in plan)
    assert {each.length_ns for each in plan} <= set(LENGTHS_NS[venue].values())
    assert 0 <= seam_ns - plan[-1].end_ns < MINUTE_NS
    for size in wanted:
        counted = [each for each in plan if size % each.length_ns == 0]
        assert counted == plan[len(plan) - len(counted) :], "from the first one that it counts on, all"
        assert counted[0].start_ns <= max(seam_ns // size - bars, 0) * size
        assert counted[0].start_ns % size == 0, "none of its bars is told in part"


def test_few_long_klines_are_asked_for_before_many_short_ones() -> None:
    now_ns = 1_700_000_000 * SECOND // HOUR * HOUR + 23 * MINUTE_NS + 5 * SECOND
    hour_ns = now_ns // HOUR * HOUR
    plan = stretches("binance-usdm", {HOUR, 5 * MINUTE_NS}, 200, now_ns)
    fives_ns = (hour_ns + 20 * MINUTE_NS - 1000 * MINUTE_NS) // HOUR * HOUR
    assert plan == [
        (HOUR, hour_ns - 200 * HOUR, fives_ns),
        (5 * MINUTE_NS, fives_ns, hour_ns + 20 * MINUTE_NS),
        (MINUTE_NS, hour_ns + 20 * MINUTE_NS, hour_ns + 23 * MINUTE_NS),
    ]
    assert "interval=5m" in klines_path("binance-usdm", "BTCUSDT", 5 * MINUTE_NS, 0, HOUR)


def kline(opens_ms: int, *, step_ms: int = 60_000, trades: int = 3, **more: str) -> list[Any]:
    told = {
        "open": "100.1",
        "high": "100.5",
        "low": "99.9",
        "close": "100.2",
        "volume": "2.5",
        "value": "250.325",
    } | more
    return [
        opens_ms, told["open"], told["high"], told["low"], told["close"], told["volume"], opens_ms + step_ms - 1, told["value"], trades,
        "1", "100", "0",
    ]  # fmt: skip


START_MS = 1_700_000_040_000
SPAN = (START_MS * 10**6, (START_MS + 600_000) * 10**6)


def read(*klines: Any, venue: str = "binance-usdm", instrument: Instrument = USDM) -> tuple[Any, int]:
    return kline_rows(json.dumps(klines).encode(), venue, instrument, 6, MINUTE_NS, *SPAN)


def test_a_kline_is_a_bar_in_its_last_moment_and_a_clock_at_its_end() -> None:
    found, until_ns = read(kline(START_MS), kline(START_MS + 60_000, trades=0), kline(START_MS + 120_000))
    assert found["kind"].tolist() == [rows.BAR, rows.BAR, rows.CLOCK, rows.CLOCK, rows.BAR, rows.BAR, rows.CLOCK]
    assert until_ns == (START_MS + 180_000) * 10**6 == int(found["local_ns"][-1])
    head, tail = found[0], found[1]
    assert (head["open"], head["high"], head["low"], head["close"]) == (1001, 1005, 999, 1002)
    assert (tail["volume"], tail["notional"], tail["trades"], tail["interval_ns"]) == (
        2500,
        25_032_500_000,
        3,
        MINUTE_NS,
    )
    assert int(head["venue_ns"]) == int(head["local_ns"]) + 1 == (START_MS + 60_000) * 10**6
    assert found["instrument"].tolist() == [6, 6, 0, 0, 6, 6, 0]
    nothing, until_ns = read()
    assert (len(nothing), until_ns) == (0, SPAN[0])


def test_a_day_of_more_value_than_an_order_may_have_is_read() -> None:
    found, _ = read(kline(START_MS, value="35123456789.12345678"))
    assert int(found["notional"][1]) == 3_512_345_678_912_345_678


def test_of_inverse_contracts_price_times_contracts_is_near_what_trades_give() -> None:
    draw = random.Random(3)
    trades = [(600_000 + draw.randrange(-300, 300), draw.randrange(1, 500)) for _ in range(200)]
    contracts = sum(qty for _, qty in trades)
    base = sum(qty * 100 / (price / 10) for price, qty in trades)
    found, _ = read(
        kline(START_MS, volume=str(contracts), value=f"{base:.8f}"), venue="binance-coinm", instrument=COINM
    )
    exact = sum(price * qty for price, qty in trades) * 10**7
    assert int(found["volume"][1]) == contracts
    assert int(found["notional"][1]) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    "klines",
    [
        [kline(START_MS), kline(START_MS)],
        [kline(START_MS + 60_000), kline(START_MS)],
        [kline(START_MS - 60_000)],
        [kline(START_MS + 600_000)],
        [kline(START_MS + 1)],
        [kline(START_MS, step_ms=180_000)],
        [kline(START_MS, high="99.0")],
        [kline(START_MS, low="0")],
        [kline(START_MS, close="1e2")],
        [kline(START_MS, open="100.15")],
        [kline(START_MS, volume="-1")],
        [kline(START_MS, trades=-1)],
        [kline(START_MS)[:8]],
        [{"openTime": START_MS}],
        ["no"],
    ],
)
def test_an_answer_of_which_any_part_cannot_be_read_is_none(klines: list[Any]) -> None:
    with pytest.raises(DecodeError, match="klines that cannot be read"):
        read(*klines)


@given(st.binary(max_size=60))
def test_bytes_are_klines_or_a_documented_error(body: bytes) -> None:
    try:
        found, _ = kline_rows(body, "binance-usdm", USDM, 0, MINUTE_NS, *SPAN)
    except DecodeError:
        return
    assert not len(found)


def test_the_venues_own_example_is_read(real_data: Path) -> None:
    body = (real_data / "venue-message-fixtures/binance/spot/http_json/klines_response.json").read_bytes()
    opens_ms, closes_ms = 1499040000000, 1499644799999  # A week, which is asked for as days; its form is the same.
    week = json.loads(body)
    assert (week[0][0], week[0][6]) == (opens_ms, closes_ms)
    week[0][0] = closes_ms + 1 - 86_400_000
    instrument = Instrument.make(
        symbol="ETHBTC", venue="binance-spot", contract="spot", tick_size="0.00000001", lot_size="0.00000001"
    )
    found, _ = kline_rows(
        json.dumps(week).encode(), "binance-spot", instrument, 0, 1440 * MINUTE_NS, week[0][0] * 10**6, (closes_ms + 1) * 10**6
    )  # fmt: skip
    assert (int(found["open"][0]), int(found["volume"][1]), int(found["trades"][1])) == (1634790, 14897611427815, 308)
