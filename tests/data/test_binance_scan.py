"""The compiled scanner against its Python twin: equal on real files, on mutated lines, at every split point."""

import ctypes
import gzip
import mmap
import random
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import binance_lines as sample
from reference.mutations import mutated

from twinloop.data import binance_codes as codes
from twinloop.data import binance_message, binance_scan, generate_row_header
from twinloop.data.binance_raw import read_raw
from twinloop.data.binance_scan_py import BadLineError, scaled, scaled_rounded
from twinloop.data.instruments import BINANCE_USDM_ETHUSDT, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as table

FALLBACK = codes.SLOTS["FALLBACK"]
INSTRUMENTS = {"usdm_btcusdt": sample.BTC, "usdm_ethusdt": BINANCE_USDM_ETHUSDT, "spot_btcusdt": sample.SPOT}
MESSAGES = [
    sample.depth(10, 12, 9, [("100.0", "1.5"), ("99.90", "0.000")], [("100.1", "2")], at_ms=1),
    sample.quote(12, at_ms=2),
    sample.trade(7, at_ms=3),
    sample.trade(8, at_ms=3.5, X="INSURANCE_FUND"),
    sample.snapshot(11, [("100.0", "1"), ("99.5", "3.25")], at_ms=4),
    sample.depth(13, 14, 12, [], [("100.2", "0.001")], at_ms=5),
    sample.depth(20, 21, 19, [("98.7", "1")], [], at_ms=6),
    sample.mark(at_ms=7, funding_ms=8),
    sample.mark("-1", at_ms=7.5),
    sample.mark("100.15", "-0.000000005", at_ms=9, funding_ms=28_800_000),
    sample.quote(21, at_ms=10),
    sample.quote(21, at_ms=11),
    sample.line({"result": None, "id": 1}, at_ms=12),
    sample.line(sample.wrap("btcusdt@aggTrade", {"e": "aggTrade", "s": "BTCUSDT"}), at_ms=13),
    sample.line(sample.wrap("ethusdt@trade", {"e": "trade"}), at_ms=14),
]
TEXT = b"".join(MESSAGES)


def read_text(
    folder: Path, text: bytes, instrument: Instrument = sample.BTC, **more: Any
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    """Rows, state and quarantined (line, code) through the whole reader, in order of the lines."""
    path = folder / "recording"
    path.write_bytes(text)
    options: dict[str, Any] = {"clock_offset_ns": 0, "assumed_latency_ns": 0, "snapshot": "as_received"} | more
    reader = read_raw(path, instrument, **options)
    found = join_rows(list(reader))
    report = reader.report
    assert report.lines == report.kept + report.quarantined + sum(report.controls.values())
    assert sum(report.rows.values()) == found.size
    return found, reader._state, [(bad.line, bad.code) for bad in report.quarantined_lines]


def assert_equal_to_twin(
    folder: Path, text: bytes, instrument: Instrument = sample.BTC, *, futures: bool = True, **more: Any
) -> None:
    found, state, bad = read_text(folder, text, instrument, **more)
    expected, expected_state, expected_bad = sample.twin_only(text, instrument, futures=futures)
    assert bad == expected_bad
    assert found.tobytes() == expected.tobytes()
    assert np.delete(state, FALLBACK).tolist() == np.delete(expected_state, FALLBACK).tolist()


def test_row_header_is_up_to_date() -> None:
    assert generate_row_header.PATH.read_text(encoding="utf-8") == generate_row_header.render()


def test_c_row_has_the_layout_of_the_table() -> None:
    assert table.ROW.fields is not None
    expected = {name: (field[1], field[0].itemsize) for name, field in table.ROW.fields.items()}
    assert binance_message.row_layout() == expected


def test_usual_messages_need_no_fallback(tmp_path: Path) -> None:
    usual = [one for one in MESSAGES if b'"-1"' not in one and b"result" not in one and b"aggTrade" not in one]
    _, state, bad = read_text(tmp_path, b"".join(usual))
    assert not bad
    assert state[FALLBACK] == 0


def test_every_sample_gives_what_the_twin_gives(tmp_path: Path) -> None:
    assert_equal_to_twin(tmp_path, TEXT)
    for one in MESSAGES:
        if b"ethusdt@" not in one:  # A file of nothing but another symbol's lines is refused as a whole.
            assert_equal_to_twin(tmp_path, one)


@pytest.mark.parametrize("market", ["usdm_btcusdt", "usdm_ethusdt", "spot_btcusdt", "cm_btcusd_perp"])
def test_scanner_equals_twin_on_real_files(tmp_path: Path, real_data: Path, market: str) -> None:
    paths = sorted((real_data / "binance-raw-ws").glob(f"{market}_*.gz"))
    assert paths
    for path in paths:
        with gzip.open(path) as file:
            text = b"".join(one for one, _ in zip(file, range(4000), strict=False))
        instrument = INSTRUMENTS.get(market, sample.COIN)
        assert_equal_to_twin(tmp_path, text, instrument, futures=not market.startswith("spot"))


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 64, 1000])
def test_any_split_of_the_bytes_gives_the_same_rows(tmp_path: Path, chunk_bytes: int) -> None:
    whole, state, bad = read_text(tmp_path, TEXT)
    again, other, bad_again = read_text(tmp_path, TEXT, chunk_bytes=chunk_bytes)
    assert again.tobytes() == whole.tobytes()
    assert other.tolist() == state.tolist()
    assert bad_again == bad


def test_every_truncation_keeps_the_whole_lines_before_it(tmp_path: Path) -> None:
    whole, *_ = read_text(tmp_path, TEXT)
    for end in range(0, len(TEXT), 7):
        found, _, bad = read_text(tmp_path, TEXT[:end])
        assert found.tobytes() == whole[: found.size].tobytes()
        partial = TEXT[:end].rpartition(b"\n")[2]
        lines = TEXT[:end].count(b"\n")
        other_symbol = b'"ethusdt@' in partial  # Counted as such from its first bytes on.
        if partial and TEXT[end : end + 1] != b"\n" and not other_symbol:
            assert bad[-1][0] == lines + 1
            found_whole, *_ = read_text(tmp_path, TEXT[: end - len(partial)])
            assert found.tobytes() == found_whole.tobytes()


@given(seed=st.integers(0, 2**32))
def test_mutated_lines_give_what_the_twin_gives(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Each mutation gives valid rows or a counted quarantine, the same for both decoders."""
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp()
    lines = [mutated(rng, one, MESSAGES) for one in MESSAGES * 4]
    assert_equal_to_twin(folder, b"".join(lines))


@given(junk=st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_random_bytes_never_harm_the_lines_around_them(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    good = [sample.trade(100 + i, at_ms=i) for i in range(len(junk) + 1)]
    mixed = good[0] + b"".join(bad.replace(b"\n", b"") + b"\n" + one for bad, one in zip(junk, good[1:], strict=True))
    found, state, bad = read_text(folder, mixed)
    expected, *_ = read_text(folder, b"".join(good))
    assert found.tobytes() == expected.tobytes()
    blank = int(state[codes.SLOTS["BLANK"]])
    assert len(bad) + blank == len(junk)


EDGES: list[tuple[tuple[bytes, bytes], str | None]] = [
    # change, (quarantine code or None)
    ((b'"100.1"', b'"100.10000000000000000000"'), None),
    ((b'"100.1"', b'"100.11"'), codes.TOO_MANY_DECIMALS),
    ((b'"100.1"', b'"-100.1"'), codes.BAD_NUMBER),
    ((b'"100.1"', b'"NaN"'), codes.BAD_NUMBER),
    ((b'"100.1"', b"NaN"), codes.BAD_JSON),
    ((b'"100.1"', b'"1e2"'), codes.BAD_NUMBER),
    ((b'"100.1"', b'"100."'), codes.BAD_NUMBER),
    ((b'"100.1"', b'".1"'), codes.BAD_NUMBER),
    ((b'"100.1"', b"100.1"), codes.BAD_NUMBER),
    ((b'"100.1"', b'"00000000000000000000100.1"'), None),
    ((b'"100.1"', b'"99999999999999999.9"'), None),
    ((b'"100.1"', b'"999999999999999999.9"'), codes.OUT_OF_RANGE),
    ((b'"100.1"', b'"' + b"9" * 5000 + b'"'), codes.BAD_NUMBER),
    ((b'"100.1"', b'"0"'), codes.OUT_OF_RANGE),
    ((b'"0.002"', b'"0.000"'), codes.OUT_OF_RANGE),
    ((b'"m":true', b'"m":1'), codes.UNEXPECTED_SHAPE),
    ((b'"m":true', b'"m":true,"m":true'), codes.DUPLICATE_KEY),
    ((b'"m":true', b'"m":true,"new":{"a":[1]}'), None),
    ((b'"m":true', b'"m":true,"new":"\\u00e9","n":-1.5'), None),
    ((b'"t":7', b'"t":7.0'), codes.UNEXPECTED_SHAPE),
    ((b'"t":7', b'"t":1000000000000000000'), codes.OUT_OF_RANGE),
    ((b'"t":7', b'"t":-7'), codes.OUT_OF_RANGE),
    ((b'"s":"BTCUSDT",', b""), codes.UNEXPECTED_SHAPE),
    ((b'"e":"trade"', b'"e":null'), codes.UNEXPECTED_SHAPE),
    ((b'"T":17', b'"T":27'), codes.TIME_DISAGREES),
    ((b'"E":17', b'"E":0,"Z":17'), codes.OUT_OF_RANGE),
    ((b"}}\n", b"}\n"), codes.BAD_JSON),
    ((b"}}\n", b"}}}\n"), codes.BAD_JSON),
    ((b"}}\n", b"}}\r\n"), None),
    ((b"}}\n", b"}} \n"), None),
    ((b'":', b'" : '), None),
    ((b"17", b"017"), codes.BAD_RECEIVE_TIME),
    ((b" {", b"{"), codes.BAD_RECEIVE_TIME),
]


@pytest.mark.parametrize(("change", "code"), EDGES)
def test_each_mutation_of_a_trade_has_its_expected_end(
    tmp_path: Path, change: tuple[bytes, bytes], code: str | None
) -> None:
    before, changed, after = (
        sample.trade(6, at_ms=1),
        sample.trade(7, at_ms=2).replace(*change, 1),
        sample.trade(8, at_ms=3),
    )
    if b'" : ' in change[1]:
        changed = sample.trade(7, at_ms=2).replace(*change)
    found, _, bad = read_text(tmp_path, before + changed + after)
    assert [code for _, code in bad] == ([code] if code else [])
    assert found["trade_id"].tolist() == ([6, 8] if code else [6, 7, 8])
    assert_equal_to_twin(tmp_path, before + changed + after)


def test_decimals_are_read_from_digits_and_never_rounded() -> None:
    assert scaled("61659.70", 1) == 616597
    assert scaled("0.00000001", 8) == 1
    assert scaled("9007199254740993", 0) == 9007199254740993  # Not a float64.
    with pytest.raises(BadLineError, match="at most 1 decimals"):
        scaled("61659.71", 1)


@given(value=st.integers(-(10**8), 10**8), decimals=st.integers(0, 9), scale=st.integers(0, 9))
def test_rounding_is_half_to_even(value: int, decimals: int, scale: int) -> None:
    text = f"{Decimal(value).scaleb(-decimals):f}"
    expected = int(Decimal(text).scaleb(scale).to_integral_value(ROUND_HALF_EVEN))
    assert scaled_rounded(text, scale)[0] == expected


def test_marks_round_alike_in_both_decoders(tmp_path: Path) -> None:
    texts = [
        "100.05",
        "100.15",
        "100.0500000001",
        "100.25000",
        "0.049999",
        "0.05",
        "99.95",
        "100",
        "-0.01",
        "7.949999999",
    ]
    text = b"".join(sample.mark(one, one, at_ms=i, i=one) for i, one in enumerate(texts))
    assert_equal_to_twin(tmp_path, text)


def scan_at_page_end(text: bytes) -> tuple[int, int, int]:
    """Scan a text whose last byte is the last of a mapped page, the page after it unreadable."""
    page = mmap.PAGESIZE
    size = (len(text) // page + 1) * page
    area = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(address + size), page, 0) == 0
    view = memoryview(area)[size - len(text) : size]
    view[:] = text
    state = np.zeros(codes.STATE_SIZE, np.int64)
    options: dict[str, Any] = {
        "futures": True,
        "clock_offset_ns": 0,
        "assumed_latency_ns": 0,
        "instrument_slot": 0,
        "source": 0,
    }
    scanner = binance_scan.Scanner("BTCUSDT", 1, 3, state=state, **options)
    out = np.zeros(4096, table.ROW).view(np.uint8)
    return scanner.scan(view, 0, out, 0)


def test_scanner_reads_nothing_past_the_last_line_feed() -> None:
    """Every prefix of a line, ended by a line feed at the edge of readable memory; a read beyond it would crash."""
    for one in MESSAGES:
        for end in range(0, len(one), 3):
            scan_at_page_end(one[:end] + b"\n")


def test_scanner_refuses_places_outside_its_buffers() -> None:
    state = np.zeros(codes.STATE_SIZE, np.int64)
    options: dict[str, Any] = {
        "futures": True,
        "clock_offset_ns": 0,
        "assumed_latency_ns": 0,
        "instrument_slot": 0,
        "source": 0,
    }
    scanner = binance_scan.Scanner("BTCUSDT", 1, 3, state=state, **options)
    out = np.zeros(8, table.ROW).view(np.uint8)
    for start, used in ((-1, 0), (9, 0), (0, 9), (0, -1)):
        with pytest.raises(ValueError, match="outside its buffer"):
            scanner.scan(b"12345678", start, out, used)
    assert scanner.scan(b"", 0, out, 0) == (binance_scan.END, 0, 0)
    assert scanner.scan(MESSAGES[0], 0, out[: 2 * 64], 0) == (binance_scan.FULL, 0, 0)
