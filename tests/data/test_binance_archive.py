"""Binance archive files: every layout against the plain reader, and what becomes of lines that are wrong."""

import gzip
import io
import random
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import archive_lines as plain
from reference.binance_lines import BTC, SPOT

from twinloop.data import binance_archive
from twinloop.data.binance_archive import ArchiveReport, kind_of, read_archive
from twinloop.data.errors import ConfigError, DataError, DecodeError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import RowChecker, join_rows
from twinloop.kernels import rows as table

MS = 1_704_067_200_000
HEADERS = {
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
    "bookTicker": "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
    "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
}


def make_lines(kind: str, count: int, *, spot: bool = False, micro: bool = False, seed: int = 1) -> list[str]:
    """Lines as the archive writes them, with times 0 to 90 ms apart and ids one apart."""
    rng = random.Random(seed)
    unit = 1000 if micro else 1
    lines, at = [], MS * unit
    for i in range(count):
        at += rng.randrange(90) * unit
        price, qty = f"{42000 + rng.randrange(-99, 99)}.{rng.randrange(10)}", f"0.{rng.randrange(1, 999):03d}"
        maker = rng.choice(("True", "False") if spot else ("true", "false"))
        if spot:
            price, qty = price + "0000000", qty + "00000"
        best = ",True" if spot else ""
        if kind == "trades":
            lines.append(f"{900 + i},{price},{qty},12.5,{at},{maker}{best}")
        elif kind == "aggTrades":
            lines.append(f"{900 + i},{price},{qty},{2000 + 2 * i},{2001 + 2 * i},{at},{maker}{best}")
        elif kind == "bookTicker":
            lines.append(f"{900 + 3 * i},{price},{qty},{price[:-1]}9,{qty},{at},{at + rng.randrange(4)}")
        else:
            start, end = (MS + 60_000 * i) * unit, (MS + 60_000 * (i + 1)) * unit - 1
            ohlc = f"42000.1,{42100 + i}.5,41900.0,{42000 + i}.2"
            lines.append(f"{start},{ohlc},{qty},{end},1234567.12345678,{i},0.1,1.5,0")
    return lines


def read_text(
    tmp_path: Path, text: str | bytes, kind: str, instrument: Instrument = BTC, **more: Any
) -> tuple[np.ndarray, ArchiveReport]:
    path = tmp_path / "archive.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reader = read_archive(path, instrument, kind=kind, **more)
    checker = RowChecker()
    batches = []
    for batch in reader:
        checker.check(batch)
        batches.append(batch)
    checker.finish()
    reader.report.conservation.check()
    return join_rows(batches), reader.report


def assert_rows_state(rows: np.ndarray, facts: list[dict[str, Any]], kind: str) -> None:
    """Rows hold the facts, field by field."""
    tails = ("volume", "notional", "trades", "interval_ns")
    heads, ends = (rows[0::2], rows[1::2]) if kind == "klines" else (rows, rows)
    assert heads.size == len(facts)
    for name in facts[0]:
        column = ends[name] if name in tails else heads[name]
        assert column.tolist() == [fact[name] for fact in facts], name


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("micro", [False, True])
@pytest.mark.parametrize(
    ("kind", "spot"),
    [
        ("trades", False),
        ("trades", True),
        ("aggTrades", False),
        ("aggTrades", True),
        ("bookTicker", False),
        ("klines", False),
    ],
)
def test_every_layout_equals_the_plain_reader(tmp_path: Path, kind: str, spot: bool, micro: bool, header: bool) -> None:
    instrument = SPOT if spot else BTC
    lines = make_lines(kind, 700, spot=spot, micro=micro)
    text = "\n".join([HEADERS[kind]] * header + lines) + "\n"
    rows, report = read_text(tmp_path, text, kind, instrument, chunk_bytes=4096)
    assert_rows_state(rows, plain.read(text, kind, instrument.price_scale, instrument.qty_scale), kind)
    assert (report.kept, report.control, report.ids_skipped) == (700, int(header), 0)
    expected = {"trades": table.TRADE, "aggTrades": table.TRADE, "bookTicker": table.QUOTE, "klines": table.BAR}
    assert set(rows["kind"].tolist()) == {expected[kind]}


def test_bars_are_two_rows_that_end_where_the_next_begins(tmp_path: Path) -> None:
    rows, _ = read_text(tmp_path, "\n".join(make_lines("klines", 5)), "klines")
    assert rows["flags"].tolist() == [table.FLAG_CONTINUES, table.FLAG_TAIL] * 5
    assert rows["venue_ns"][0::2].tolist() == [(MS + 60_000 * i) * 1_000_000 for i in range(1, 6)]
    assert set(rows["interval_ns"][1::2].tolist()) == {60_000_000_000}


def test_plain_gzip_and_zip_give_the_same(tmp_path: Path) -> None:
    text = "\n".join(make_lines("trades", 300)).encode()
    expected, _ = read_text(tmp_path, text, "trades")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2024-01-01.csv", text)
    for content in (gzip.compress(text), packed.getvalue()):
        rows, report = read_text(tmp_path, content, "trades")
        assert rows.tobytes() == expected.tobytes()
        assert not report.broken_files


def test_damaged_zip_is_told(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", "\n".join(make_lines("trades", 3000)))
    content = bytearray(packed.getvalue())
    content[len(content) // 2] ^= 0xFF
    _, report = read_text(tmp_path, bytes(content), "trades")
    assert report.broken_files
    _, report = read_text(tmp_path, bytes(content[: len(content) // 2]), "trades")
    assert report.broken_files


def broken_behind(text: bytes) -> bytes:
    """A gzip stream that breaks off right behind this text."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)


@pytest.mark.parametrize("kind", list(HEADERS))
def test_the_piece_of_a_line_that_a_broken_stream_leaves_is_never_kept(tmp_path: Path, kind: str) -> None:
    lines = make_lines(kind, 12)
    whole, _ = read_text(tmp_path, "\n".join(lines[:11]), kind)
    for cut in (1, 2, len(lines[11])):
        rows, report = read_text(tmp_path, broken_behind("\n".join(lines)[:-cut].encode()), kind)
        assert rows.tobytes() == whole.tobytes()
        assert dict(report.quarantined) == ({"truncated": 1} if cut < len(lines[11]) else {})
        assert report.broken_files


@pytest.mark.parametrize("kind", list(HEADERS))
def test_a_file_whose_times_are_seconds_is_not_a_file_of_1970(tmp_path: Path, kind: str) -> None:
    lines = [re.sub(r"\b(1704\d{6})\d{3}\b", r"\1", line) for line in make_lines(kind, 12)]
    rows, report = read_text(tmp_path, "\n".join(lines), kind)
    assert rows.size == 0
    assert dict(report.quarantined) == {"time_out_of_range": 12}


@given(junk=st.lists(st.binary(max_size=60), min_size=1, max_size=6), kind=st.sampled_from(list(HEADERS)))
def test_random_bytes_never_harm_the_lines_around_them(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes], kind: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    lines = [line.encode() for line in make_lines(kind, 40)]
    whole, _ = read_text(folder, b"\n".join(lines), kind)
    mixed = lines[:20] + [piece.replace(b"\n", b"") for piece in junk] + lines[20:]
    rows, report = read_text(folder, b"\n".join(mixed), kind)
    assert rows.tobytes() == whole.tobytes()
    assert (report.lines, report.kept) == (len(mixed), 40)


def test_times_of_both_units_in_one_file_are_told_apart(tmp_path: Path) -> None:
    lines = [f"1,42000.1,1,1,{MS},true", f"2,42000.1,1,1,{MS + 1}500,true"]
    rows, _ = read_text(tmp_path, "\n".join(lines), "trades")
    assert (rows["venue_ns"] // 1000).tolist() == [MS * 1000, (MS + 1) * 1000 + 500]


@pytest.mark.parametrize("kind", list(HEADERS))
@pytest.mark.parametrize("chunk_bytes", [1, 13, 500])
def test_any_split_gives_the_same_rows(tmp_path: Path, kind: str, chunk_bytes: int) -> None:
    text = "\n".join(make_lines(kind, 400))
    whole, _ = read_text(tmp_path, text, kind)
    again, report = read_text(tmp_path, text, kind, chunk_bytes=chunk_bytes)
    assert again.tobytes() == whole.tobytes()
    assert report.kept == 400


EDGES = [
    ("x,price,qty,quote,{time},true", "not_a_number"),
    ("500,42000.1,0.5,1,{time}", "truncated"),
    ("500,42000.1,0.5,1,{time},true,1", "extra_fields"),
    ("500,42000.12,0.5,1,{time},true", "too_fine"),
    ("500,-42000.1,0.5,1,{time},true", "negative"),
    ("500,0,0.5,1,{time},true", "zero_price"),
    ("500,NaN,0.5,1,{time},true", "nan"),
    ("500,,0.5,1,{time},true", "missing"),
    ("500,999999999999999999,0.5,1,{time},true", "too_large"),
    ("500,42000.1,0.5,1,{time}0,true", "time_out_of_range"),
    ("500,42000.1,0.5,1,-5,true", "negative"),
    ("500,42000.1,0.5,1,2{time},true", "time_out_of_range"),
    ("500,42000.1,0.5,1,2704067200000,true", "time_out_of_range"),
    ("500,42000.1,0.5,1,1704167200000,true", "out_of_order"),
    ("500,42000.1,0.5,1,1604067200000,true", "time_out_of_range"),
    ("500,42000.1,0.5,1,{time},maybe", "bad_side"),
]


@pytest.mark.parametrize(("line", "code"), EDGES)
@pytest.mark.parametrize("at", [0, 150, 350, 380])
def test_each_wrong_line_has_its_code_and_harms_no_other(tmp_path: Path, line: str, code: str, at: int) -> None:
    lines = make_lines("trades", 400)
    expected, _ = read_text(tmp_path, "\n".join(lines), "trades")
    wrong = line.format(time=lines[at].split(",")[4])
    mixed = "\n".join([*lines[:at], wrong, *lines[at:]])
    rows, report = read_text(tmp_path, mixed, "trades", chunk_bytes=2000)
    assert dict(report.quarantined) == {code: 1}
    assert [(bad.line, bad.text) for bad in report.refused] == [(at + 1, wrong)]
    assert rows.tobytes() == expected.tobytes()


@given(seed=st.integers(0, 2**32))
def test_mutated_lines_never_harm_the_lines_around_them(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Rows of untouched lines stay as they are, up to a lifted receive time."""
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp()
    lines = make_lines("trades", 500, seed=seed)
    touched = {rng.randrange(500) for _ in range(5)}
    for index in touched:
        text = list(lines[index])
        for _ in range(rng.randrange(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(["", "9", "-", ".", "e", ",", "x", "\0", "\u00e9", "\r"])
        lines[index] = "".join(text)
    rows, report = read_text(folder, "\n".join(lines), "trades", chunk_bytes=3000)
    facts = plain.read("\n".join(make_lines("trades", 500, seed=seed)), "trades", BTC.price_scale, BTC.qty_scale)
    by_id: dict[int, list[np.void]] = {}
    for row in rows:
        by_id.setdefault(int(row["sequence"]), []).append(row)
    for index, fact in enumerate(facts):
        if index not in touched:
            assert any(
                all(row[name] == value for name, value in fact.items()) for row in by_id.get(fact["sequence"], [])
            )
    assert report.lines == 500


def test_small_disorder_keeps_its_place_and_lifts_receive_times(tmp_path: Path) -> None:
    times = [0, 500, 480, 490, 700]
    lines = [f"{i},42000.1,1,1,{MS + time},true" for i, time in enumerate(times, start=1)]
    rows, report = read_text(tmp_path, "\n".join(lines), "trades", latency_ns=7)
    assert rows["sequence"].tolist() == [1, 2, 3, 4, 5]
    assert (rows["venue_ns"] // 1_000_000 - MS).tolist() == times
    assert ((rows["local_ns"] - 7) // 1_000_000 - MS).tolist() == [0, 500, 500, 500, 700]
    assert report.lifted == 2


def test_repeats_and_left_out_ids_are_counted(tmp_path: Path) -> None:
    lines = [f"{i},42000.1,1,1,{MS},true" for i in (5, 5, 6, 9, 9, 10)]
    rows, report = read_text(tmp_path, "\n".join(lines), "trades")
    assert rows["sequence"].tolist() == [5, 6, 9, 10]
    assert (report.duplicates, report.control, report.ids_skipped) == (2, 2, 1)


def test_quotes_arrive_after_the_venue_sent_them(tmp_path: Path) -> None:
    rows, _ = read_text(tmp_path, f"7,42000.1,1,42000.2,2,{MS},{MS + 3}", "bookTicker", latency_ns=1000)
    assert (rows["local_ns"] - rows["venue_ns"]).tolist() == [3_001_000]


def test_blank_lines_bytes_and_returns(tmp_path: Path) -> None:
    lines = make_lines("trades", 3)
    text = f"{lines[0]}\r\n\n{lines[1]}\n".encode() + b"\xff\xfe,1,2\n" + lines[2].encode()
    rows, report = read_text(tmp_path, text, "trades")
    assert rows.size == 3
    assert (report.lines, report.control, report.quarantined.total()) == (5, 1, 1)
    rows, report = read_text(tmp_path, b"", "trades")
    assert (rows.size, report.lines) == (0, 0)


def test_files_follow_each_other(tmp_path: Path) -> None:
    lines = make_lines("aggTrades", 40)
    paths = [tmp_path / f"BTCUSDT-aggTrades-2024-01-0{day}.csv" for day in (1, 2)]
    for path, part in zip(paths, (lines[:20], lines[20:]), strict=True):
        path.write_text("\n".join([HEADERS["aggTrades"], *part]))
    reader = read_archive(paths, BTC)
    rows = join_rows(list(reader))
    assert rows["sequence"].tolist() == list(range(900, 940))
    assert (reader.report.control, reader.report.ids_skipped) == (2, 0)


def test_kinds_are_told_by_name_and_other_layouts_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_of(Path("BTCUSDT-trades-2024-01-01.zip")) == "trades"
    assert kind_of(Path("BTCUSD_PERP-bookTicker-2024-01.zip")) == "bookTicker"
    assert kind_of(Path("BTCUSDT-1m-2024-01.csv")) == "klines"
    assert kind_of(Path("GOOG.csv")) is None
    with pytest.raises(ConfigError, match="trades, aggTrades, bookTicker, klines"):
        read_archive(tmp_path / "GOOG.csv", BTC)
    with pytest.raises(DecodeError, match="not an archive of klines"):
        read_text(tmp_path, "\n".join(make_lines("trades", 9)), "klines")
    with pytest.raises(DataError, match="cannot read"):
        list(read_archive(tmp_path / "nowhere", BTC, kind="trades"))
    with pytest.raises(ConfigError, match="latency"):
        read_archive(tmp_path / "x", BTC, kind="trades", latency_ns=-1)
    monkeypatch.setattr(binance_archive, "LINE_BYTES_MAX", 100)
    with pytest.raises(DecodeError, match="line feed"):
        read_text(tmp_path, "9" * 1000, "trades")
