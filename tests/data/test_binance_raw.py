"""The reader of recorded Binance lines: recorded facts and published results, snapshots, gaps, clocks, broken files."""

import gzip
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from reference import binance_lines as sample

from twinloop.data import binance_codes as codes
from twinloop.data import binance_raw
from twinloop.data.binance_raw import QuarantinedLine, ReadReport, estimate_clock_offset, read_raw
from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import (
    BINANCE_COINM_BTCUSD_PERP,
    BINANCE_SPOT_BTCUSDT,
    BINANCE_USDM_BTCUSDT,
    BINANCE_USDM_ETHUSDT,
    Instrument,
)
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as table

RAW = "binance-raw-ws"
# Levels of very small quantities have more decimals than the lot size.
BINANCE_SPOT = sample.SPOT
FILES: dict[str, Instrument] = {
    "usdm_btcusdt": BINANCE_USDM_BTCUSDT,
    "usdm_ethusdt": BINANCE_USDM_ETHUSDT,
    "spot_btcusdt": BINANCE_SPOT,
    "cm_btcusd_perp": BINANCE_COINM_BTCUSD_PERP,
}
UNCORRECTED: dict[str, Any] = {"clock_offset_ns": 0, "assumed_latency_ns": 0}


def instrument_of(name: str) -> Instrument:
    return FILES[name.rpartition("_")[0]]


def read_all(paths: Path | list[Path], instrument: Instrument, **more: Any) -> tuple[np.ndarray, ReadReport]:
    reader = read_raw(paths, instrument, **more)
    found = join_rows(list(reader))
    report = reader.report
    assert report.lines == report.kept + report.quarantined + sum(report.controls.values())
    assert sum(report.rows.values()) == found.size
    return found, report


def read_text(
    tmp_path: Path, text: bytes, instrument: Instrument = sample.BTC, **more: Any
) -> tuple[np.ndarray, ReadReport]:
    path = tmp_path / "recording"
    path.write_bytes(text)
    return read_all(path, instrument, **(UNCORRECTED | more))


def book_of(rows: np.ndarray) -> dict[int, dict[int, int]]:
    """Book after all rows: {side: {price: qty}}, by definition."""
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    for kind, side, price, qty in zip(*(rows[name].tolist() for name in ("kind", "side", "price", "qty")), strict=True):
        if kind == table.SNAPSHOT_BEGIN:
            sides = {1: {}, -1: {}}
        elif kind in {table.LEVEL, table.SNAPSHOT_LEVEL}:
            sides[side][price] = qty
            if qty == 0:
                del sides[side][price]
    return sides


def facts(real_data: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((real_data / RAW / "facts.json").read_text())
    return {fact["file"]: fact for fact in found}


def test_real_files_give_the_recorded_facts(real_data: Path) -> None:
    for name, fact in facts(real_data).items():
        instrument = instrument_of(name)
        rows, report = read_all(real_data / RAW / name, instrument, **UNCORRECTED, snapshot="as_received")
        messages = {"depthUpdate": "depth", "bookTicker": "quote", "trade": "trade", "snapshot": "snapshot"}
        messages["markPriceUpdate"] = "mark"
        assert report.lines == fact["lines"] == report.kept
        assert {key: report.messages[name] for key, name in messages.items() if report.messages[name]} == fact["counts"]
        assert report.rows["LEVEL"] == fact["level_updates"]
        assert report.findings["depth_gaps"] == fact["seq_gaps"]
        assert report.findings["trade_gaps"] == fact["trade_id_gaps"]
        assert report.findings["local_back"] == 0
        assert report.findings["fallback"] == 0
        assert (report.first_local_ns, report.last_local_ns) == (fact["first_local_ns"], fact["last_local_ns"])
        trades = rows[rows["kind"] == table.TRADE]
        market = trades[trades["flags"] & table.FLAG_OFF_MARKET == 0]
        assert len(trades) - len(market) == sum(fact.get("trade_X_other", {}).values())
        volume = round(fact["trade_volume"] * 10**instrument.qty_scale)
        notional = sum(int(price) * int(qty) for price, qty in zip(trades["price"], trades["qty"], strict=True))
        scale = 10 ** (instrument.price_scale + instrument.qty_scale)
        assert int(trades["qty"].sum()) == pytest.approx(volume, abs=1)
        assert notional / scale == pytest.approx(fact["trade_notional"], abs=1e-3)


def pairs(real_data: Path) -> Iterable[list[Path]]:
    """Recordings that continue each other, by market."""
    found: dict[tuple[str, str], list[Path]] = {}
    for name in sorted(facts(real_data)):
        market, _, day = name.rpartition("_")
        found.setdefault((market, day[:6]), []).append(real_data / RAW / name)
    return found.values()


def test_end_of_file_books_are_the_recorded_ones(real_data: Path) -> None:
    recorded = facts(real_data)
    for paths in pairs(real_data):
        for count in range(1, len(paths) + 1):
            instrument = instrument_of(paths[0].name)
            rows, _ = read_all(paths[:count], instrument, **UNCORRECTED)
            if "end_book" not in (fact := recorded[paths[count - 1].name]):
                continue
            book, expected = book_of(rows), fact["end_book"]
            assert (len(book[1]), len(book[-1])) == (expected["bid_levels"], expected["ask_levels"])
            for side, name in ((1, "top5_bids"), (-1, "top5_asks")):
                top = sorted(book[side], reverse=side == 1)[:5]
                texts = [(instrument.price_int(price), instrument.qty_int(qty)) for price, qty in expected[name]]
                assert [(price, book[side][price]) for price in top] == texts


def test_clock_offset_is_the_published_one(real_data: Path) -> None:
    published = json.loads((real_data / RAW / "published_results.json").read_text())["usdm_btcusdt_20240808"]
    path = real_data / RAW / "usdm_btcusdt_20240808.gz"
    without_quotes = (table.TRADE, table.LEVEL, table.SNAPSHOT_BEGIN)
    clock = estimate_clock_offset(path, BINANCE_USDM_BTCUSDT, kinds=without_quotes)
    assert clock.offset_ns == published["clock_offset_ns"]
    assert clock.latency_min_ns == 0
    # One quote was faster than any depth update or trade.
    assert estimate_clock_offset(path, BINANCE_USDM_BTCUSDT).offset_ns == 1272402468


def split_rows(exchange_ns: np.ndarray, local_ns: np.ndarray) -> int:
    """Rows added where the two orders differ: both orders are walked, a row that is not at both heads is taken twice."""
    by_exchange = np.argsort(exchange_ns, kind="stable").tolist()
    exchange, local = exchange_ns.tolist(), local_ns.tolist()
    added = here = there = 0
    while here < len(exchange) and there < len(local):
        first, second = by_exchange[here], there
        one, other = (exchange[first], local[first]), (exchange[second], local[second])
        here += one <= other
        there += one >= other
        added += one < other
    return added + len(exchange) - here


def test_decoding_equals_the_reference_row_for_row(real_data: Path) -> None:
    """Every event of the reference that is valid locally, in order: time, time, side, price, quantity.

    A snapshot is two clear events there, one for each side, and one SNAPSHOT_BEGIN here; rows split for the two orders of
    time are counted by the definition of the split.
    """
    published = json.loads((real_data / RAW / "published_results.json").read_text())["usdm_btcusdt_20240808"]
    reference = pl.read_parquet(next((real_data / RAW).glob("reference_events_*.parquet")))
    event = reference["ev"].to_numpy()
    local = (event >> 30) & 1 == 1
    kind = (event & 0xFF)[local]
    side = (((event >> 29) & 1).astype(np.int64) - ((event >> 28) & 1).astype(np.int64))[local]
    columns = {name: reference[name].to_numpy()[local] for name in ("exch_ts", "local_ts", "px", "qty")}
    rows, _ = read_all(
        real_data / RAW / "usdm_btcusdt_20240808.gz",
        BINANCE_USDM_BTCUSDT,
        clock_offset_ns=published["clock_offset_ns"],
        snapshot="as_received",
    )
    rows = rows[np.isin(rows["kind"], (table.LEVEL, table.TRADE, table.SNAPSHOT_LEVEL))]
    levels = kind != 3
    assert kind[levels].tolist() == [
        {table.LEVEL: 1, table.TRADE: 2, table.SNAPSHOT_LEVEL: 4}[k] for k in rows["kind"].tolist()
    ]
    assert np.array_equal(columns["exch_ts"][levels], rows["venue_ns"])
    assert np.array_equal(columns["local_ts"][levels], rows["local_ns"])
    assert np.array_equal(side[levels], rows["side"])
    assert np.array_equal(columns["px"][levels], rows["price"] / 10.0)
    assert np.array_equal(columns["qty"][levels], rows["qty"] / 1000.0)
    added = split_rows(columns["exch_ts"], columns["local_ts"])
    assert kind.size + added == reference.height == published["normalised_events"]


def test_published_depth_of_the_second_day(real_data: Path) -> None:
    published = json.loads((real_data / RAW / "published_results.json").read_text())
    samples = next(value for key, value in published.items() if key.startswith("usdm_btcusdt_20230405"))["depth3"]
    paths = [real_data / RAW / f"usdm_btcusdt_{day}.gz" for day in ("20230404", "20230405")]
    rows, _ = read_all(paths, BINANCE_USDM_BTCUSDT, clock_offset_ns=26_932_000, assumed_latency_ns=0)
    for at in samples:
        until = int(np.searchsorted(rows["local_ns"], at["local_us"] * 1000, side="right"))
        book = book_of(rows[:until])
        for side, name in ((1, "bids"), (-1, "asks")):
            top = sorted(book[side], reverse=side == 1)[:3]
            assert [[price / 10, book[side][price] / 1000] for price in top] == at[name]


def test_corrected_rows_never_arrive_before_they_happened(real_data: Path) -> None:
    for name in facts(real_data):
        rows, report = read_all(real_data / RAW / name, instrument_of(name))
        timed = rows[rows["kind"] != table.MARK]
        assert (timed["local_ns"] >= timed["venue_ns"]).all()
        assert (rows["venue_ns"] > 0).all()
        assert (np.diff(rows["local_ns"]) >= 0).all()
        assert report.clock.latency_min_ns >= 0
        assert report.findings["untimed"] == (report.messages["quote"] + report.messages["snapshot"]) * name.startswith(
            "spot"
        )


# Snapshots.


def chain(first: int, last: int, **more: Any) -> list[bytes]:
    """Depth updates with final ids first..last, each setting the bid at price id / 10 to 1."""
    return [sample.depth(i, i, i - 1, [(f"{i / 10}", "1")], at_ms=i, **more) for i in range(first, last + 1)]


def test_snapshot_is_put_before_the_updates_it_lacks(tmp_path: Path) -> None:
    lines = [*chain(10, 14), sample.quote(14, at_ms=14), sample.snapshot(12, at_ms=14.5), *chain(15, 16)]
    rows, report = read_text(tmp_path, b"".join(lines))
    kinds = [(table.KIND_NAME[int(row["kind"])], int(row["sequence"])) for row in rows]
    assert kinds == [
        ("QUOTE", 14), ("SNAPSHOT_BEGIN", 12), ("SNAPSHOT_LEVEL", 12), ("SNAPSHOT_LEVEL", 12), ("SNAPSHOT_END", 12),
        ("LEVEL", 12), ("LEVEL", 13), ("LEVEL", 14), ("LEVEL", 15), ("LEVEL", 16),
    ]  # fmt: skip
    received = rows["local_ns"][1]
    assert (rows["local_ns"][5:8] == received).all()
    assert rows["venue_ns"][5:8].tolist() == [(sample.START_MS + i) * 1_000_000 for i in (12, 13, 14)]
    assert (report.controls["superseded"], report.superseded_rows, report.replayed_rows) == (2, 2, 3)
    assert report.anchored


def test_spot_snapshot_contains_the_update_of_its_own_id(tmp_path: Path) -> None:
    spot = [sample.depth(i, i, None, [(f"{i / 10}", "1")], at_ms=i) for i in range(10, 15)]
    rows, report = read_text(tmp_path, b"".join([*spot, sample.snapshot(12, at_ms=14.5, timed=False)]), sample.SPOT)
    assert rows[rows["kind"] == table.LEVEL]["sequence"].tolist() == [13, 14]
    assert report.controls["superseded"] == 3
    assert report.findings["depth_gaps"] == 0


def test_updates_older_than_the_snapshot_are_left_out_after_it(tmp_path: Path) -> None:
    lines = [sample.snapshot(12, at_ms=9), *chain(10, 14)]
    rows, report = read_text(tmp_path, b"".join(lines))
    assert rows[rows["kind"] == table.LEVEL]["sequence"].tolist() == [12, 13, 14]
    assert report.controls["superseded"] == 2


def test_later_snapshot_is_followed_by_copies_of_what_it_lacks(tmp_path: Path) -> None:
    lines = [sample.snapshot(9, at_ms=9), *chain(10, 14), sample.snapshot(13, at_ms=14.5), *chain(15, 15)]
    rows, report = read_text(tmp_path, b"".join(lines))
    levels = rows[rows["kind"] == table.LEVEL]
    assert levels["sequence"].tolist() == [10, 11, 12, 13, 14, 13, 14, 15]
    assert (report.replayed_rows, report.controls["superseded"]) == (2, 0)
    assert (np.diff(rows["local_ns"]) >= 0).all()


def test_snapshot_older_than_the_first_update_is_a_gap(tmp_path: Path) -> None:
    for snapshot in ("synchronise", "as_received"):
        rows, report = read_text(tmp_path, b"".join([*chain(10, 12), sample.snapshot(5, at_ms=13)]), snapshot=snapshot)
        gap = rows[rows["kind"] == table.FEED_GAP]
        assert gap["code"].tolist() == [codes.GAP_SNAPSHOT_OLD]
        assert report.findings["depth_gaps"] == 1


def test_rows_go_on_when_no_snapshot_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_raw, "HOLD_NS", 3_000_000)
    lines = [*chain(10, 20), sample.snapshot(18, at_ms=20.5)]
    for chunk_bytes in (64, 1 << 20):
        rows, report = read_text(tmp_path, b"".join(lines), chunk_bytes=chunk_bytes)
        levels = rows[rows["kind"] == table.LEVEL]["sequence"].tolist()
        if chunk_bytes == 64:
            assert levels == [*range(10, 21), 18, 19, 20]
            assert not report.anchored
        assert (np.diff(rows["local_ns"]) >= 0).all()
    rows, report = read_text(tmp_path, b"".join(chain(10, 20)))
    assert rows["sequence"].tolist() == list(range(10, 21))
    assert not report.anchored


# Chains of ids.


def test_a_missing_update_is_a_gap_row_before_the_next(tmp_path: Path) -> None:
    rows, report = read_text(tmp_path, b"".join([*chain(10, 11), *chain(13, 14)]))
    assert [table.KIND_NAME[int(kind)] for kind in rows["kind"]] == ["LEVEL", "LEVEL", "FEED_GAP", "LEVEL", "LEVEL"]
    assert (rows["sequence"][2], rows["code"][2]) == (11, codes.GAP_UPDATE_IDS)
    assert rows["local_ns"][2] == rows["local_ns"][3]
    assert report.findings["depth_gaps"] == 1


def test_a_snapshot_bridges_a_missing_update(tmp_path: Path) -> None:
    lines = [sample.snapshot(9, at_ms=9), *chain(10, 11), sample.snapshot(12, at_ms=12), *chain(13, 14)]
    _, report = read_text(tmp_path, b"".join(lines))
    assert report.findings["depth_gaps"] == 0
    _, report = read_text(tmp_path, b"".join([sample.snapshot(9, at_ms=9), *chain(12, 13)]))
    assert report.findings["depth_gaps"] == 1


def test_repeated_messages_are_controls(tmp_path: Path) -> None:
    lines = [sample.depth(10, 11, 9, [("100.0", "1")]), sample.quote(11), sample.trade(5)]
    rows, report = read_text(tmp_path, b"".join(one for line in lines for one in (line, line)))
    assert rows.size == 3
    assert (report.kept, report.controls["duplicate"]) == (3, 3)


def test_ids_that_go_back_or_leap_are_counted(tmp_path: Path) -> None:
    lines = [sample.trade(5), sample.trade(9), sample.trade(7), sample.quote(20), sample.quote(18, "100.2", "100.1")]
    rows, report = read_text(tmp_path, b"".join(lines))
    assert rows.size == 5
    found = {name: count for name, count in report.findings.items() if count}
    assert found == {"trade_gaps": 1, "trades_back": 1, "quotes_back": 1, "crossed": 1}


def test_trade_side_is_the_aggressors_and_fund_prints_are_off_market(tmp_path: Path) -> None:
    lines = [
        sample.trade(5, m=True),
        sample.trade(6, m=False),
        sample.trade(7, X="INSURANCE_FUND"),
        sample.trade(8, "0", "0", X="NA"),
    ]
    rows, _ = read_text(tmp_path, b"".join(lines))
    assert rows["side"].tolist() == [-1, 1, -1, -1]
    assert rows["flags"].tolist() == [0, 0, table.FLAG_OFF_MARKET, table.FLAG_OFF_MARKET]


def test_funding_is_what_the_last_mark_price_before_it_announced(tmp_path: Path) -> None:
    hours = 28_800_000
    lines = [
        sample.mark("100.0", "0.0001", funding_ms=1000, at_ms=0),
        sample.mark("100.2", "0.00012", funding_ms=1000, at_ms=1000.5),
        sample.mark("100.3", "0.0003", funding_ms=hours, at_ms=2000),
    ]
    rows, _ = read_text(tmp_path, b"".join(lines))
    assert [table.KIND_NAME[int(kind)] for kind in rows["kind"]] == ["MARK", "MARK", "FUNDING", "MARK"]
    funding = rows[2]
    assert (funding["price"], funding["rate"]) == (1002, 12000)
    assert funding["venue_ns"] == (sample.START_MS + 1000) * 1_000_000
    assert funding["local_ns"] == rows[3]["local_ns"]


# Clocks.


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
def test_receive_times_of_three_units(tmp_path: Path, unit: int) -> None:
    message = json.loads(sample.trade(5).partition(b" ")[2])
    rows, _ = read_text(tmp_path, sample.line(message, at_ms=7, unit=unit))
    assert rows["local_ns"].tolist() == [(sample.START_MS + 7) * 1_000_000]


def test_receive_time_that_goes_back_is_lifted_and_counted(tmp_path: Path) -> None:
    lines = [sample.trade(5, at_ms=9), sample.trade(6, at_ms=3), sample.trade(7, at_ms=10)]
    rows, report = read_text(tmp_path, b"".join(lines))
    assert ((rows["local_ns"] // 1_000_000) - sample.START_MS).tolist() == [9, 9, 10]
    assert report.findings["local_back"] == 1


def test_files_in_the_wrong_order_are_set_aside_not_mixed(tmp_path: Path) -> None:
    hour = 3_600_000
    paths = [tmp_path / "second", tmp_path / "first"]
    paths[0].write_bytes(sample.trade(5, at_ms=hour) + sample.trade(6, at_ms=hour + 1))
    paths[1].write_bytes(sample.trade(3, at_ms=0) + sample.quote(9, timed=False, at_ms=1))
    rows, report = read_all(paths, sample.BTC, **UNCORRECTED)
    assert rows["trade_id"].tolist() == [5, 6]
    assert report.quarantined_by_code == {codes.OUT_OF_ORDER: 2}
    assert [(bad.file, bad.line) for bad in report.quarantined_lines] == [(str(paths[1]), 1), (str(paths[1]), 2)]


def test_untimed_lines_far_from_their_neighbours_are_set_aside(tmp_path: Path) -> None:
    day = 86_400_000
    lines = [
        sample.quote(5, timed=False),
        sample.quote(6, timed=False, at_ms=day),
        sample.quote(7, timed=False, at_ms=1),
    ]
    rows, report = read_text(tmp_path, b"".join(lines), sample.SPOT)
    assert rows["sequence"].tolist() == [5, 7]
    assert report.quarantined_by_code == {codes.TIME_DISAGREES: 1}
    # After a real pause one line is the price of that.
    lines = [sample.quote(5, timed=False), *(sample.quote(i, timed=False, at_ms=day + i) for i in (6, 7, 8))]
    rows, report = read_text(tmp_path, b"".join(lines), sample.SPOT)
    assert rows["sequence"].tolist() == [5, 7, 8]


def test_untimed_quotes_get_the_median_latency_of_trades(tmp_path: Path) -> None:
    texts = []
    for i, latency_ms in enumerate((3, 5, 40)):
        data = json.loads(sample.trade(i + 1, at_ms=100 * i).partition(b" ")[2])
        texts.append(sample.line(data, at_ms=100 * i + latency_ms))
    texts.append(sample.quote(9, timed=False, at_ms=1000))
    path = tmp_path / "recording"
    path.write_bytes(b"".join(texts))
    rows, report = read_all(path, sample.SPOT)
    assert report.clock.offset_ns == 0
    assert abs(report.assumed_latency_ns - 5_000_000) <= 100_000
    assert rows[-1]["local_ns"] - rows[-1]["venue_ns"] == report.assumed_latency_ns
    # A lagging clock: the offset lifts the smallest latency to 0, and is not changed by one pass over two files.
    assert estimate_clock_offset(path, sample.SPOT).latency_min_ns == 3_000_000


def test_given_clock_offset_is_used_as_it_is(tmp_path: Path) -> None:
    rows, report = read_text(tmp_path, sample.trade(5), clock_offset_ns=77)
    assert rows["local_ns"].tolist() == [sample.START_MS * 1_000_000 + 77]
    assert report.clock.offset_ns == 77


# Files.


def test_gzip_and_plain_files_give_the_same(tmp_path: Path) -> None:
    text = b"".join(chain(10, 60))
    plain, _ = read_text(tmp_path, text)
    (tmp_path / "recording.gz").write_bytes(gzip.compress(text[:999]) + gzip.compress(text[999:]) + b"\0" * 512)
    packed, report = read_all(tmp_path / "recording.gz", sample.BTC, **UNCORRECTED)
    assert packed.tobytes() == plain.tobytes()
    assert not report.broken_files


def test_truncated_gzip_keeps_the_lines_before_the_break(tmp_path: Path) -> None:
    text = b"".join(chain(1000, 4000))
    packed = gzip.compress(text)
    whole, _ = read_text(tmp_path, text)
    for end in (len(packed) // 3, len(packed) - 9, len(packed) - 1):
        (tmp_path / "broken.gz").write_bytes(packed[:end])
        rows, report = read_all(tmp_path / "broken.gz", sample.BTC, **UNCORRECTED)
        assert rows.tobytes() == whole[: rows.size].tobytes()
        assert list(report.broken_files) == [str(tmp_path / "broken.gz")]
        assert set(report.quarantined_by_code) <= {codes.TRUNCATED_FILE}
        assert rows.size > 500


def test_damaged_gzip_keeps_the_lines_before_the_damage(tmp_path: Path) -> None:
    text = b"".join(chain(1000, 4000))
    packed = bytearray(gzip.compress(text))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "broken.gz").write_bytes(packed)
    whole, _ = read_text(tmp_path, text)
    rows, report = read_all(tmp_path / "broken.gz", sample.BTC, **UNCORRECTED)
    assert report.broken_files
    assert rows[:900].tobytes() == whole[:900].tobytes()


def test_endless_line_is_set_aside_in_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_raw, "LINE_BYTES_MAX", 4096)
    text = sample.trade(5) + b"x" * 50_000 + b"\n" + sample.trade(6)
    for chunk_bytes in (100, 4096, 1 << 20):
        seen: list[QuarantinedLine] = []
        rows, report = read_text(tmp_path, text, chunk_bytes=chunk_bytes, on_quarantine=seen.append)
        assert rows["trade_id"].tolist() == [5, 6]
        assert report.quarantined == 1
        assert seen == report.quarantined_lines
        assert seen[0].line == 2
        assert seen[0].code in {codes.LINE_TOO_LONG, codes.BAD_RECEIVE_TIME}


def test_missing_file_and_unknown_market_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_all(tmp_path / "nowhere", sample.BTC, **UNCORRECTED)
    other = msgspec.structs.replace(sample.BTC, venue="elsewhere")
    with pytest.raises(ConfigError, match="spot, usdm or coinm"):
        read_raw(tmp_path, other)
    assert read_text(tmp_path, sample.trade(5), other, market="usdm")[0].size == 1


def test_wrong_market_is_told_by_the_shape_of_depth_updates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="recorded from a futures market"):
        read_text(tmp_path, sample.depth(5, 6, 4) + sample.trade(7), market="spot")
    _, report = read_text(tmp_path, sample.depth(5, 6, None, [("100.0", "1")]) + sample.depth(7, 8, 6), market="spot")
    assert report.quarantined_by_code == {
        codes.UNEXPECTED_SHAPE: 1
    }  # Among updates of the market itself, a stray line.


def test_empty_file_and_report_as_plain_data(tmp_path: Path) -> None:
    rows, report = read_text(tmp_path, b"")
    assert rows.size == 0
    _, report = read_all(tmp_path / "recording", sample.BTC)
    assert json.loads(json.dumps(report.as_dict()))["lines"] == 0


def test_slots_are_written_into_every_row(tmp_path: Path) -> None:
    rows, _ = read_text(
        tmp_path, sample.trade(5) + sample.trade(6).replace(b'"T":', b'"T" :'), instrument_slot=513, source=7
    )
    assert rows["instrument"].tolist() == [513, 513]
    assert rows["source"].tolist() == [7, 7]


def test_a_futures_recording_is_not_read_as_spot(real_data: Path, tmp_path: Path) -> None:
    with gzip.open(next((real_data / "binance-raw-ws").glob("usdm_btcusdt_2024*.gz"))) as file:
        (tmp_path / "usdm.txt").write_bytes(b"".join(islice(file, 500)))
    with pytest.raises(DataError, match="recorded from a futures market"):
        list(read_raw(tmp_path / "usdm.txt", BINANCE_SPOT_BTCUSDT))
    assert list(read_raw(tmp_path / "usdm.txt", BINANCE_USDM_BTCUSDT))
