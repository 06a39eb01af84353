"""Whatever a user names becomes row files: once, and again when the file or a setting changes."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import pytest

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.rowfile import map_rows, read_manifest
from twinloop.engine.config import DataTable
from twinloop.engine.sources import Source, format_of, instrument_named, prepare
from twinloop.kernels import rows

BARS = "time,open,high,low,close,volume\n2024-01-01,10,12,9,11,5\n2024-01-02,11,13,10,12,6\n2024-01-03,12,12,8,9,7\n"


def prepared(folder: Path, **table: Any) -> Source:
    return prepare(DataTable.model_validate(table), folder, folder / "cache", {})


def count(source: Source) -> int:
    return sum(
        (each.stop if each.stop is not None else read_manifest(each.path).rows) - each.start for each in source.files
    )


def test_a_table_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    table = {"file": "goog.csv", "symbol": "GOOG", "interval": "1d"}
    first, second = prepared(tmp_path, **table), prepared(tmp_path, **table)
    assert (first.cached, second.cached) == (False, True)
    assert first.files == second.files
    assert count(first) == 6
    assert read_manifest(first.files[0].path).instruments[0].symbol == "GOOG"


def test_another_setting_or_another_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "goog.csv"
    path.write_text(BARS, encoding="utf-8")
    first = prepared(tmp_path, file="goog.csv", symbol="GOOG", interval="1d")
    other = prepared(tmp_path, file="goog.csv", symbol="GOOG", interval="1d", price_scale=4)
    assert other.files != first.files
    path.write_text(BARS + "2024-01-04,9,9,8,8,1\n", encoding="utf-8")
    assert count(prepared(tmp_path, file="goog.csv", symbol="GOOG", interval="1d")) == 8


def test_times_cut_a_file_without_reading_it_again(tmp_path: Path) -> None:
    (tmp_path / "goog.csv").write_text(BARS, encoding="utf-8")
    table = {"file": "goog.csv", "symbol": "GOOG", "interval": "1d", "stamp": "close"}
    prepared(tmp_path, **table)
    cut = prepared(tmp_path, **table, start="2024-01-02", end="2024-01-03")
    assert cut.cached
    assert count(cut) == 2
    with pytest.raises(DataError, match=r"no rows between .* got '2025-01-01T00:00:00Z to the end'"):
        prepared(tmp_path, **table, start="2025-01-01")


def test_records_set_aside_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BARS + "2024-01-04,x,9,8,8,1\n", encoding="utf-8")
    source = prepared(tmp_path, file="bad.csv", symbol="GOOG", interval="1d")
    assert len(source.notes) == 1
    assert "1 of 5 records set aside" in source.notes[0] or "1 of 4 records set aside" in source.notes[0]


def test_a_synthetic_market_is_made_once(tmp_path: Path) -> None:
    table = {"synth": {"symbols": ["AAA", {"symbol": "BBB", "price": 100}], "rows": 2000, "correlation": 0.5}}
    first, second = prepared(tmp_path, **table), prepared(tmp_path, **table)
    assert (first.cached, second.cached) == (False, True)
    assert [each.symbol for each in read_manifest(first.files[0].path).instruments] == ["AAA", "BBB"]
    other = prepared(tmp_path, synth={"symbols": ["AAA"], "rows": 2000, "seed": 2})
    assert other.files[0].path != first.files[0].path


def test_instruments_are_named_by_table_or_preset(tmp_path: Path) -> None:
    tables: dict[str, dict[str, Any]] = {
        "SOL": {"like": "binance-usdm:BTCUSDT", "symbol": "SOLUSDT", "base": "SOL", "tick_size": "0.01", "lot_size": 1},
        "SOL2": {"like": "binance-usdm:ETHUSDT", "symbol": "SOL2"},
    }
    sol = instrument_named("SOL", tables, None)
    assert (sol.symbol, sol.price_scale, sol.tick_size, sol.lot_size) == ("SOLUSDT", 2, 1, 1)
    assert instrument_named("binance-usdm:BTCUSDT", tables, None).symbol == "BTCUSDT"
    with pytest.raises(ConfigError, match=r"one of SOL, SOL2, binance-usdm:BTCUSDT"):
        instrument_named("SOLX", tables, tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.rows", b"", "rows"),
        ("a.parquet", b"", "parquet"),
        ("BTCUSDT-aggTrades-2024-08-08.zip", b"", "binance-archive"),
        ("a.csv", b"time,open\n", "csv"),
        ("a.gz", gzip.compress(b'1723161255030314667 {"stream":"x"}\n', mtime=0), "binance-raw"),
        ("a.txt", b'1723161255030314667 {"stream":"x"}\n', "binance-raw"),
        ("a.csv.gz", gzip.compress(b"time,open\n", mtime=0), "csv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formats_are_told_apart(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert format_of(tmp_path / name) == expected


def test_a_puzzling_or_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01")
    with pytest.raises(ConfigError, match="cannot tell the format"):
        format_of(tmp_path / "a.bin")
    (tmp_path / "a.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="cannot be read"):
        format_of(tmp_path / "a.gz")
    with pytest.raises(DataError, match="no such file"):
        format_of(tmp_path / "b.csv")


def test_a_stream_needs_its_instrument(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b'1723161255030314667 {"stream":"x"}\n')
    with pytest.raises(ConfigError, match="needs its instrument"):
        prepared(tmp_path, file="a.txt")


def test_a_recorded_stream_is_read_with_its_clock_told(tmp_path: Path, real_data: Path) -> None:
    recorded = min((real_data / "binance-raw-ws").glob("usdm_btcusdt_*.gz"))
    source = prepared(tmp_path, file=str(recorded), instrument="binance-usdm:BTCUSDT")
    found = map_rows(source.files[0].path)
    assert (found["kind"] == rows.TRADE).any()
    manifest = read_manifest(source.files[0].path)
    counted = manifest.details["conservation"]
    assert counted["read"] == counted["kept"] + sum(counted["quarantined"].values()) + counted["control"]
    assert bool(manifest.details["clock_offset_ns"]) == any("receive times moved" in text for text in source.notes)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["no bytes", "no text"])
def test_an_empty_file_is_bad_data_and_not_a_puzzle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.gz").write_bytes(content)
    with pytest.raises(DataError, match="file is empty"):
        format_of(tmp_path / "empty.gz")


def test_most_records_set_aside_is_told_as_a_wrong_declaration(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BARS + "2024-01-04,x,9,8,8,1\n" * 4, encoding="utf-8")
    source = prepared(tmp_path, file="bad.csv", symbol="GOOG", interval="1d")
    assert len(source.notes) == 1
    assert "most of it is not what was declared" in source.notes[0]
    assert "4 bad_number" in source.notes[0] or "4 not_a_number" in source.notes[0]


def test_a_recording_that_breaks_off_is_told_unless_the_run_ends_before_the_break(tmp_path: Path) -> None:
    at = 1_723_161_255_000
    trades = [
        f'{(at + k) * 1_000_000} {{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at + k},"T":{at + k},"t":{k + 1},'
        '"s":"BTCUSDT","p":"57000.1","q":"0.002","m":true}}\n'
        for k in range(5)
    ]
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "cut.gz").write_bytes(packer.compress("".join(trades).encode()) + packer.flush(zlib.Z_FULL_FLUSH))
    table = {"file": "cut.gz", "instrument": "binance-usdm:BTCUSDT"}
    for source in (prepared(tmp_path, **table), prepared(tmp_path, **table)):  # Read, then from the cache.
        assert len(source.broken) == 1
        assert "cut.gz breaks off" in source.broken[0]
    assert prepared(tmp_path, **table, end=(at + 3) * 1_000_000).broken == []
    assert prepared(tmp_path, **table, end=(at + 9) * 1_000_000).broken != []
