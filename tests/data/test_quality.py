import json

import numpy as np
import pytest

from twinloop.data.errors import DataError
from twinloop.data.quality import Conservation, QualityMeter, QualityReport, clock_offset_ns
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as r

SECOND = 10**9


def trades(records: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Rows of (local s, venue s, id, price)."""
    rows = np.zeros(len(records), r.ROW)
    rows["kind"] = r.TRADE
    for i, (local_s, venue_s, trade_id, price) in enumerate(records):
        rows["local_ns"][i], rows["venue_ns"][i] = local_s * SECOND, venue_s * SECOND
        rows["trade_id"][i], rows["price"][i], rows["qty"][i] = trade_id, price, 1
    return rows


def quotes(records: list[tuple[int, int, int]]) -> np.ndarray:
    """Rows of (local s, bid, ask)."""
    rows = np.zeros(len(records), r.ROW)
    rows["kind"] = r.QUOTE
    for i, (local_s, bid, ask) in enumerate(records):
        rows["local_ns"][i] = rows["venue_ns"][i] = local_s * SECOND
        rows["bid"][i], rows["ask"][i], rows["bid_qty"][i], rows["ask_qty"][i] = bid, ask, 1, 1
        rows["sequence"][i] = i
    return rows


def measured(rows: np.ndarray, chunk: int = 1 << 20) -> QualityReport:
    meter = QualityMeter()
    for start in range(0, rows.size, chunk):
        meter.add(rows[start : start + chunk])
    return meter.report()


SAMPLE = trades(
    [
        (1, 1, 7, 100),
        (2, 2, 7, 100),
        (3, 1, 9, 100),
        (30, 30, 12, 130),
        (29, 31, 13, 0),
        (32, 0, 14, -5),
        (33, 33, 15, 131),
    ]
)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_every_finding_is_counted_once_in_any_chunks(chunk: int) -> None:
    report = measured(SAMPLE, chunk)
    assert report.rows == 7
    assert report.kinds == {"TRADE": 7}
    assert report.gaps == 1
    assert [(gap.from_ns, gap.to_ns) for gap in report.gaps_longest] == [(3 * SECOND, 30 * SECOND)]
    assert report.out_of_order == 1
    assert (report.venue_back, report.venue_back_ns) == (1, SECOND)
    assert report.without_venue_time == 1
    assert report.duplicates == 1
    assert report.trade_ids_skipped == 1 + 2
    assert report.non_positive == 2
    assert report.outliers == 1
    assert report.negative_latency == 1
    assert report.latency_ns["p0"] == -2 * SECOND
    assert report.latency_ns["p100"] == 2 * SECOND


def test_crossed_locked_and_repeated_quotes() -> None:
    rows = quotes([(1, 10, 11), (2, 11, 11), (3, 12, 11), (4, 0, 11)])
    rows = join_rows([rows, rows[-1:]])
    report = measured(rows)
    assert (report.locked, report.crossed, report.duplicates, report.non_positive) == (1, 1, 1, 0)


def test_latency_quantiles_are_within_a_bin() -> None:
    rows = trades([(0, 0, i + 1, 1) for i in range(10_000)])
    rows["venue_ns"] = 1_000_000 * SECOND
    rows["local_ns"] = rows["venue_ns"] + 1000 * np.arange(1, 10_001)
    latency = measured(rows).latency_ns
    assert (latency["p0"], latency["p100"]) == (1000, 10_000_000)
    assert latency["p50"] == pytest.approx(5_000_000, rel=0.012)
    assert latency["p99"] == pytest.approx(9_900_000, rel=0.012)


def test_bars_are_late_by_their_own_interval() -> None:
    rows = np.zeros(8, r.ROW)
    rows["kind"] = r.BAR
    for i, at in enumerate((60, 120, 240, 240)):
        rows["venue_ns"][2 * i : 2 * i + 2] = rows["local_ns"][2 * i : 2 * i + 2] = at * SECOND
        rows["flags"][2 * i], rows["flags"][2 * i + 1] = r.FLAG_CONTINUES, r.FLAG_TAIL
        rows["low"][2 * i] = rows["close"][2 * i] = 5
        rows["interval_ns"][2 * i + 1] = 60 * SECOND
    report = measured(rows, 2)
    assert (report.gaps, report.duplicates) == (1, 1)
    assert report.gaps_longest[0].from_ns == 120 * SECOND


def test_conservation_holds_or_is_an_error() -> None:
    sound = Conservation(read=10, kept=7, quarantined={"nan": 2}, control=1)
    assert sound.check() is sound
    assert sound.plus(sound) == Conservation(read=20, kept=14, quarantined={"nan": 4}, control=2)
    with pytest.raises(DataError, match=r"x\.csv: records are not conserved, expected 11 records, got 10"):
        Conservation(read=11, kept=7, quarantined={"nan": 2}, control=1).check("x.csv")
    report = QualityMeter().report(conservation=sound)
    assert report.conservation == sound
    assert report.lines()[-1] == "10 records read = 7 kept + 2 quarantined (2 nan) + 1 control"
    none = QualityMeter().report(conservation=Conservation(read=1, kept=1))
    assert none.lines()[-1] == "1 records read = 1 kept + 0 quarantined + 0 control"


def test_report_renders() -> None:
    report = measured(SAMPLE)
    assert json.loads(report.to_json()) == json.loads(json.dumps(report.to_dict()))
    text = "\n".join(report.lines())
    assert "7 rows, 1970-01-01T00:00:01Z to" in text
    assert "out of order: 1" in text
    assert "crossed" not in text
    assert QualityMeter().report().lines()[0].startswith("0 rows")


def test_gaps_beyond_the_listed_are_counted() -> None:
    text = measured(trades([(at * 100, at * 100, at, 100) for at in range(1, 26)])).lines()
    assert "gaps: 24" in text
    assert sum(line.startswith("gap ") for line in text) == 20
    assert "and 4 gaps that are no longer than these" in text
    assert not any(line.startswith("latency") for line in text)
    few = measured(trades([(at * 100, at * 100 - 1, at, 100) for at in range(1, 22)])).lines()
    assert not any("no longer than these" in line for line in few)
    assert sum(line.startswith("latency") for line in few) == 7


def test_clock_offset_makes_the_smallest_latency_positive() -> None:
    venue = np.array([0, 1000, 2000])
    local = np.array([5, 900, 2500])
    assert clock_offset_ns(venue, local) == 101
    assert clock_offset_ns(venue, local + 200) == 0
    assert clock_offset_ns(venue[:1], local[:1]) == 0


def test_where_records_went_is_told_with_every_reason() -> None:
    counted = Conservation(
        read=10, kept=4, quarantined={"bad_json": 2}, control=4, controls={"answer": 1, "other_symbol": 3}
    )
    assert (
        counted.check().line()
        == "10 records read = 4 kept + 2 quarantined (2 bad_json) + 4 control (1 answer, 3 other_symbol)"
    )
    assert counted.plus(counted).controls == {"answer": 2, "other_symbol": 6}


@pytest.mark.parametrize(
    ("kept", "quarantined", "other_symbol", "answers", "fits"),
    [(5, 5, 0, 0, True), (5, 6, 0, 0, False), (5, 3, 3, 0, False), (5, 0, 0, 90, True), (0, 0, 1, 0, False)],
)
def test_more_strange_records_than_kept_ones_do_not_fit(
    kept: int, quarantined: int, other_symbol: int, answers: int, *, fits: bool
) -> None:
    controls = {"other_symbol": other_symbol, "answer": answers}
    counted = Conservation(
        read=kept + quarantined + other_symbol + answers,
        kept=kept,
        quarantined={"bad_json": quarantined},
        control=other_symbol + answers,
        controls=controls,
    )
    assert (counted.check().misfit() == "") == fits
