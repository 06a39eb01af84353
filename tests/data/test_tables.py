import csv
import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.catalog import Catalog
from twinloop.data.errors import ConfigError, DataError, DecodeError
from twinloop.data.instruments import BINANCE_USDM_BTCUSDT
from twinloop.data.rowfile import map_rows
from twinloop.data.tables import TableRead, TableSettings, read_table
from twinloop.data.times import DAY_NS, HOUR_NS, MINUTE_NS, to_ns
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_TAIL

MINUTE = timedelta(minutes=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
COUNT = 40


def bar_lines() -> list[str]:
    """A header and COUNT sound one-minute bars."""
    lines = ["timestamp,open,high,low,close,volume"]
    for i in range(COUNT):
        price = 10000 + 7 * i
        lines.append(f"{(START + i * MINUTE):%Y-%m-%d %H:%M:%S},{price}.5,{price + 3}.0,{price - 2}.0,{price}.0,{i}.25")
    return lines


def save(tmp_path: Path, lines: list[str], name: str = "x.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def bars_of(table: TableRead) -> list[tuple[int, ...]]:
    heads, tails = table.rows[0::2], table.rows[1::2]
    assert (heads["flags"] == FLAG_CONTINUES).all()
    assert (tails["flags"] == FLAG_TAIL).all()
    names = ("venue_ns", "local_ns", "open", "high", "low", "close")
    return list(zip(*(heads[name].tolist() for name in names), tails["volume"].tolist(), strict=True))


def read(tmp_path: Path, lines: list[str], **settings: object) -> TableRead:
    return read_table(save(tmp_path, lines), symbol="X", settings=TableSettings(**settings))  # type: ignore[arg-type]


def field(index: int, value: str) -> Callable[[str], str]:
    def change(line: str) -> str:
        fields = line.split(",")
        fields[index] = value
        return ",".join(fields)

    return change


# Each mutation of one line and the code it must get; the table stands in the docstring of tables.py.
MUTATIONS: dict[str, tuple[Callable[[str], str], str]] = {
    "cut in the middle": (lambda line: line[: len(line) // 2], "truncated"),
    "cut in the time": (lambda line: line[:7], "truncated"),
    "a field too many": (lambda line: line + ",1", "extra_fields"),
    "no time": (field(0, ""), "bad_time"),
    "text for time": (field(0, "yesterday"), "bad_time"),
    "a 13th month": (field(0, "2024-13-01 00:00:00"), "bad_time"),
    "an epoch among dates": (field(0, "1704067200"), "bad_time"),
    "a year too far": (field(0, "9999-01-01 00:00:00"), "time_out_of_range"),
    "a year too many": (field(0, "2025-01-01 00:10:00"), "out_of_order"),
    "a year too few": (field(0, "2023-01-01 00:10:00"), "out_of_order"),
    "an empty price": (field(1, ""), "missing"),
    "NaN": (field(2, "NaN"), "nan"),
    "infinity": (field(3, "-inf"), "nan"),
    "text": (field(4, "12a"), "not_a_number"),
    "two points": (field(4, "1.2.3"), "not_a_number"),
    "a thousands mark": (field(4, "10 000"), "not_a_number"),
    "huge": (field(2, "1e30"), "too_large"),
    "huge digits": (field(5, "9" * 25), "too_large"),
    "a million times": (field(2, "10003000000.0"), "outlier"),
    "a millionth": (field(3, "0.01"), "outlier"),
    "negative price": (field(1, "-10000.5"), "negative"),
    "negative volume": (field(5, "-1"), "negative"),
    "zero price": (field(3, "0"), "zero_price"),
    "high below low": (lambda line: field(3, "10900")(field(2, "9999")(line)), "high_low"),
    "close above high": (field(4, "11000"), "high_low"),
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
@pytest.mark.parametrize("at", [1, 2, 17, COUNT])
def test_a_mutated_line_gets_its_code_and_its_neighbours_stay_exact(tmp_path: Path, mutation: str, at: int) -> None:
    if mutation == "a year too many" and at == COUNT:
        pytest.skip("a gap before the last bar is no disorder")
    if mutation == "a year too few" and at == 1:
        pytest.skip("a gap after the first bar is no disorder")
    change, code = MUTATIONS[mutation]
    lines = bar_lines()
    sound = bars_of(read(tmp_path, lines))
    lines[at] = change(lines[at])
    table = read(tmp_path, lines)
    assert table.quarantine.select("line", "code").rows() == [(at + 1, code)]
    assert bars_of(table) == sound[: at - 1] + sound[at:]
    assert table.conservation.quarantined == {code: 1}
    assert table.conservation.read == COUNT + 1 == table.conservation.kept + 1 + table.conservation.control


def test_swapped_and_doubled_lines(tmp_path: Path) -> None:
    lines = bar_lines()
    sound = bars_of(read(tmp_path, lines))
    swapped = [*lines]
    swapped[10], swapped[11] = swapped[11], swapped[10]
    table = read(tmp_path, swapped)
    assert table.quarantine["code"].to_list() == ["out_of_order"]
    kept = bars_of(table)
    assert len(kept) == COUNT - 1
    assert [bar for bar in sound if bar in kept] == kept
    assert bars_of(read(tmp_path, swapped, sort=True)) == sound
    doubled = [*lines[:12], lines[11], *lines[12:]]
    table = read(tmp_path, doubled)
    assert table.quarantine.select("line", "code").rows() == [(13, "duplicate")]
    assert bars_of(table) == sound
    newest_first = [lines[0], *lines[:0:-1]]
    table = read(tmp_path, newest_first)
    assert bars_of(table) == sound
    assert table.stated["order"] == "newest first, reversed"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epoch_times_are_told_by_size_and_one_in_another_unit_is_quarantined(tmp_path: Path, unit: str) -> None:
    lines = bar_lines()
    sound = bars_of(read(tmp_path, lines))
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    epochs = [int((START + i * MINUTE).timestamp()) for i in range(COUNT)]
    lines = [lines[0], *(field(0, str(at * factor[unit]))(line) for at, line in zip(epochs, lines[1:], strict=True))]
    table = read(tmp_path, lines)
    assert bars_of(table) == sound
    assert table.stated["time_unit"] == unit
    for wrong in sorted({"s", "ms", "us", "ns"} - {unit}):
        mixed = [*lines]
        mixed[5] = field(0, str(epochs[4] * factor[wrong]))(mixed[5])
        table = read(tmp_path, mixed)
        assert table.quarantine.select("line", "code").rows() == [(6, "time_out_of_range")]
        assert bars_of(table) == sound[:4] + sound[5:]
        with pytest.raises(DataError, match=f"make no sense in this unit, field time_unit, expected {unit}"):
            read(tmp_path, lines, time_unit=wrong)


NUMBERS = st.decimals(min_value="0.01", max_value="99999", places=2, allow_nan=False)


@given(
    bars=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 10**6)), min_size=2, max_size=30),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoted=st.booleans(),
    packing=st.sampled_from(["plain", "gz", "zip", "parquet"]),
)
def test_bars_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    bars: list[tuple[Decimal, Decimal, Decimal, Decimal, int]],
    delimiter: str,
    quoted: bool,
    packing: str,
) -> None:
    folder = tmp_path_factory.mktemp("bars")
    records = []
    for i, (a, b, c, d, volume) in enumerate(bars):
        time = (START + i * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
        records.append([time, str(a), str(max(a, b, c, d)), str(min(a, b, c, d)), str(b), str(volume)])
    names = ["Date Time", "Open", "High", "Low", "Close", "Volume"]
    path = folder / "table"
    if packing == "parquet":
        pl.DataFrame(records, schema=names, orient="row").write_parquet(path)
    else:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL).writerows(
            [names, *records]
        )
        content = text.getvalue().encode()
        if packing == "gz":
            path.write_bytes(gzip.compress(content))
        elif packing == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("inner.csv", content)
        else:
            path.write_bytes(content)
    table = read_table(path, symbol="X", settings=TableSettings(jump_max=0))
    scale = 10**table.instrument.price_scale
    for i, bar in enumerate(bars_of(table)):
        opened = to_ns(START) + i * MINUTE_NS
        wanted = [Decimal(value) * scale for value in records[i][1:5]]
        assert bar == (
            opened + MINUTE_NS,
            opened + MINUTE_NS,
            *wanted,
            Decimal(records[i][5]) * 10**table.instrument.qty_scale,
        )
    assert table.conservation.quarantined == {}


def test_trades_keep_side_id_and_receive_time_with_a_stated_correction(tmp_path: Path) -> None:
    lines = [
        "id,price,amount,side,timestamp,local_timestamp",
        "1,61659.70,0.010,buy,1723161600000000,1723161599000000",
        "2,61659.8,1,sell,1723161600000500,1723161599000700",
        "2,61659.8,1,sell,1723161600000500,1723161599000700",
        "3,61660,2,lift,1723161600000600,1723161599000800",
    ]
    table = read(tmp_path, lines)
    assert table.rows["price"].tolist() == [616597, 616598]
    assert table.rows["qty"].tolist() == [1, 100]
    assert table.rows["side"].tolist() == [1, -1]
    assert table.rows["trade_id"].tolist() == table.rows["sequence"].tolist() == [1, 2]
    assert table.clock_offset_ns == 1_000_000_001
    assert (table.rows["local_ns"] - table.rows["venue_ns"]).tolist() == [1, 200_001]
    assert table.conservation.quarantined == {"duplicate": 1, "bad_side": 1}
    report = table.quality()
    assert report.clock_offset_ns == table.clock_offset_ns
    assert report.kinds == {"TRADE": 2}


def test_quotes_with_own_names_decimal_commas_and_a_time_zone(tmp_path: Path) -> None:
    lines = ["Zeit;Geld;Brief", "2024-07-01 09:00:00;1,0871;1,0872", "2024-07-01 09:00:01;1,0870;1,0873"]
    table = read(
        tmp_path,
        lines,
        columns={"time": "Zeit", "bid": "Geld", "ask": 2},
        timezone="Europe/Berlin",
        latency_ns=5,
    )
    assert table.rows["bid"].tolist() == [10871, 10870]
    assert table.rows["ask"].tolist() == [10872, 10873]
    assert table.rows["venue_ns"].tolist()[0] == to_ns("2024-07-01T07:00:00Z")
    assert table.rows["local_ns"].tolist()[0] == to_ns("2024-07-01T07:00:00Z") + 5
    assert table.stated["bid_qty"] == "not in the table, taken as 0"
    assert table.stated["decimal"] == ","


def test_a_day_is_a_calendar_day_of_the_time_zone(tmp_path: Path) -> None:
    lines = ["date,open,high,low,close"] + [f"2024-03-{day:02},1,1,1,1" for day in (8, 9, 10, 11)]
    table = read(tmp_path, lines, timezone="America/New_York")
    assert table.rows["interval_ns"][1::2].tolist() == [DAY_NS, DAY_NS, DAY_NS - HOUR_NS, DAY_NS]
    assert table.rows["venue_ns"][-1] == to_ns("2024-03-12T04:00:00Z")


def test_months_named_by_first_or_last_day(tmp_path: Path) -> None:
    for days in (("2024-01-31", "2024-02-29", "2024-03-31"), ("2024-01-01", "2024-02-01", "2024-03-01")):
        lines = ["date,open,high,low,close", *(f"{day},1,1,1,1" for day in days)]
        table = read(tmp_path, lines)
        assert table.rows["venue_ns"][::2].tolist() == [to_ns(f"2024-0{month}-01") for month in (2, 3, 4)]
        assert table.rows["interval_ns"][1::2].tolist() == [31 * DAY_NS, 29 * DAY_NS, 31 * DAY_NS]
        assert table.stated["interval"] == "1mo"


def test_date_and_time_in_two_columns_and_a_table_without_header(tmp_path: Path) -> None:
    two = [
        "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>",
        "2024.01.01,00:00,1,2,1,2,5",
        "2024.01.01,00:05,1,2,1,2,5",
    ]
    table = read(tmp_path, two)
    assert table.rows["venue_ns"].tolist()[0] == to_ns("2024-01-01T00:05:00Z")
    assert table.rows["volume"][1] == 5
    bare = ["1704067200000,1,2,1,2,5", "1704067500000,1,2,1,2,5"]
    names = {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}
    assert read(tmp_path, bare, columns=names).rows.tobytes() == table.rows.tobytes()


def test_scales_come_from_the_instrument_and_nothing_is_rounded_unless_told(tmp_path: Path) -> None:
    lines = ["time,price,qty", "2024-01-01 00:00:00,61659.70,1", "2024-01-01 00:00:01,61659.75,1"]
    path = save(tmp_path, lines)
    table = read_table(path, symbol="ignored", instrument=BINANCE_USDM_BTCUSDT)
    assert table.instrument == BINANCE_USDM_BTCUSDT
    assert table.rows["price"].tolist() == [616597]
    assert table.quarantine["code"].to_list() == ["too_fine"]
    table = read(tmp_path, lines, price_scale=1, round=True)
    assert table.rows["price"].tolist() == [616597, 616598]
    noisy = ["time,price,qty", "2024-01-01 00:00:00,0.30000000000000004,1", "2024-01-01 00:00:01,0.31,1"]
    table = read(tmp_path, noisy)
    assert table.rows["price"].tolist() == [30, 31]
    assert "1 records of 16 digits or more" in table.stated["price.rounded"]
    with pytest.raises(DecodeError, match=r"pass price_scale=\.\.\. and round=True"):
        read(tmp_path, noisy[:2])


@pytest.mark.parametrize(
    ("lines", "settings", "error", "match"),
    [
        ([""], {}, DecodeError, "no records"),
        (["time,open,high,low,close"], {}, DecodeError, "the header only"),
        (["time,last,size2", "2024-01-01,1,1"], {}, DecodeError, "columns are missing"),
        (["a,open,high,low,close", "2024-01-01,1,1,1,1"], {}, DecodeError, "no time column"),
        (["time,open,high,low,close", "2024-01-01,1,1,1,1"], {}, ConfigError, "got '1 of 1 records kept'"),
        (
            ["time,open,high,low,close", "2024-01-01,1,1,1,1", "2024-01-02,-1,1,1,1", "2024-01-03,1,1,1,-1"],
            {},
            ConfigError,
            "got '1 of 3 records kept, most others are negative'",
        ),
        (["time,open,high,low,close", "2024-01-01,NaN,1,1,1"], {}, DecodeError, "most are nan"),
        (["time,open,high,low,close", "2024-01-01,1,1"], {}, DecodeError, "every line is cut"),
        (["time,open,high,low,close", "soon,1,1,1,1"], {}, DataError, "times cannot be read"),
        (["time,price,qty", "01/02/2024,1,1"], {}, DataError, "two ways"),
        (["time,price,qty", "2024-01-01,1,1"], {"timezone": "Mars/Base"}, ConfigError, "no such time zone"),
        (["time,price,qty", "2024-01-01,1,1"], {"columns": {"price": "nope"}}, ConfigError, "no such column"),
        (["time,price,qty", "2024-01-01,1,1"], {"columns": {"cost": "price"}}, ConfigError, "no such field"),
        (["time,price,qty", "2024-01-01,1,1"], {"kind": "candles"}, ConfigError, "not a kind of table"),
        (["time,price,qty", "2024-01-01,1,1"], {"time_unit": "min"}, ConfigError, "not a time unit"),
        (["time,price,qty", "2024-01-01,1,1"], {"round": True}, ConfigError, "nothing to round to"),
        (["time,price,qty", "2024-01-01,1,1"], {"stamp": "middle"}, ConfigError, "not a stamp"),
        (["time,price,qty", "2024-01-01,1,1"], {"price_scale": 40}, ConfigError, "not a scale"),
        (["time,price,qty", "2024-01-01,1,1"], {"decimal": "'"}, ConfigError, "not a decimal mark"),
        (["time,price,qty", "2024-01-01,1,1"], {"latency_ns": -1}, ConfigError, "below 0"),
        (["time,price,qty", "2024-01-01,1,1"], {"delimiter": ",,"}, ConfigError, "not a delimiter"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, lines: list[str], settings: dict[str, object], error: type[DataError], match: str
) -> None:
    with pytest.raises(error, match=match):
        read(tmp_path, lines, **settings)


def test_damaged_files_say_so(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(bar_lines()).encode())
    cases = {
        "cut.gz": packed[:-20],
        "bad.zip": b"PK\x03\x04" + b"x" * 50,
        "bad.parquet": b"PAR1" + b"x" * 50,
        "latin.csv": b"time,price\xe9,qty\n",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DecodeError, match=name):
            read_table(path, symbol="X")
    with pytest.raises(DecodeError, match="No such file"):
        read_table(tmp_path / "absent.csv", symbol="X")
    (tmp_path / "noise.parquet").write_bytes(b"\xff" * 50)
    with pytest.raises(DecodeError, match="not a Parquet file"):
        read_table(tmp_path / "noise.parquet", symbol="X")


@given(content=st.binary(max_size=300))
def test_random_bytes_are_an_error_or_rows(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x"
    path.write_bytes(b"time,price,qty\n" + content)
    try:
        table = read_table(path, symbol="X")
    except (DataError, ConfigError):
        return
    assert table.conservation.kept == table.rows.size > 0


@given(cut=st.integers(1, 10**6))
def test_a_table_cut_anywhere_keeps_the_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    content = "\n".join(bar_lines()).encode()
    folder = tmp_path_factory.mktemp("cut")
    whole = folder / "whole.csv"
    whole.write_bytes(content)
    sound = bars_of(read_table(whole, symbol="X"))
    short = content[: cut % len(content)]
    path = folder / "cut.csv"
    path.write_bytes(short)
    lines = short.count(b"\n")
    if lines < 4:
        return
    kept = bars_of(read_table(path, symbol="X", settings=TableSettings(price_scale=1, qty_scale=2)))
    assert kept[: lines - 1] == sound[: lines - 1]
    assert len(kept) <= lines


@given(data=st.data())
def test_a_damaged_parquet_file_is_an_error_or_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    packed = io.BytesIO()
    times = [START + i * MINUTE for i in range(COUNT)]
    pl.DataFrame({"time": times, "price": [100.0 + i for i in range(COUNT)], "qty": [1.5] * COUNT}).write_parquet(
        packed
    )
    content = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path = tmp_path_factory.mktemp("parquet") / "x.parquet"
    path.write_bytes(content)
    try:
        table = read_table(path, symbol="X")
    except (DataError, ConfigError):
        return
    assert table.conservation.kept == table.rows.size > 0


def test_parquet_with_typed_columns(tmp_path: Path) -> None:
    times = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 250, tzinfo=UTC)]
    frame = pl.DataFrame(
        {"time": times, "price": [0.1, 1e-7], "size": [3, 4], "side": ["SELL", "b"], "extra": [[1], [2]]}
    )
    for name, column in (("zoned", pl.col("time")), ("naive", pl.col("time").dt.replace_time_zone(None))):
        path = tmp_path / name
        frame.with_columns(column).write_parquet(path)
        table = read_table(path, symbol="X", settings=TableSettings(jump_max=0))
        assert table.rows["venue_ns"].tolist() == [to_ns("2024-01-01"), to_ns("2024-01-01") + 250_000]
        assert table.rows["price"].tolist() == [1_000_000, 1]
        assert table.rows["side"].tolist() == [-1, 1]
        assert table.instrument.price_scale == 7
    frame.clear().write_parquet(path)
    with pytest.raises(DecodeError, match="no records"):
        read_table(path, symbol="X")


def test_what_a_table_does_not_say_is_stated(tmp_path: Path) -> None:
    lines = [
        "time,price,qty,id",
        "2024-01-01 00:00:00,1,1,a-1",
        "2024-01-01 00:00:00,1,1,a-2",
        "2024-01-01 00:00:00,1,1,a-2",
    ]
    table = read(tmp_path, lines)
    assert table.rows["trade_id"].tolist() == [0, 0]
    assert table.conservation.quarantined == {"duplicate": 1}
    assert "taken as 0" in table.stated["side"]
    assert "taken as 0" in table.stated["trade_id"]
    lines = [
        "close_time,open,high,low,close,volume,trades,quote_volume",
        "1704067259,1,2,1,2,5,7,8.5",
        "1704067319,1,2,1,2,5,-1,8.5",
    ]
    table = read(tmp_path, lines, interval="1m")
    assert table.rows["venue_ns"][0] == 1704067259 * 10**9
    assert (table.rows["trades"][1], table.rows["notional"][1]) == (7, 850_000_000)
    assert table.stated["stamp"] == "stamp is the close"
    assert table.conservation.quarantined == {"negative": 1}


def test_dates_in_two_orders_are_told_apart_by_a_13th(tmp_path: Path) -> None:
    for dates, second in ((("12/01/2024", "13/01/2024"), "2024-01-13"), (("01/12/2024", "01/13/2024"), "2024-01-13")):
        lines = ["time,price,qty", *(f"{date} 10:30,1,1" for date in dates)]
        assert read(tmp_path, lines).rows["venue_ns"][1] == to_ns(f"{second}T10:30:00")
    lines = ["time,price,qty", "01/02/2024 10:30,1,1"]
    assert read(tmp_path, lines, time_format="%d/%m/%Y %H:%M").rows["venue_ns"][0] == to_ns("2024-02-01T10:30:00")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, lines, time_format="%Y")


def test_an_archive_of_two_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(DecodeError, match=r"one file in it, got 'a\.csv, b\.csv'"):
        read_table(path, symbol="X")


EXPECTED_BARS = {
    "GOOG.csv": (2148, "1d"),
    "EURUSD.csv": (5000, "1h"),
    "BTCUSD.csv": (156, "1mo"),
    "basana_binance_btcusdt_day_2020.csv": (366, "1d"),
    "basana_bitstamp_btcusd_day_2015.csv": (365, "1d"),
    "basana_bitstamp_btcusd_min_2020_01_01.csv": (1440, "1m"),
    "fxcm_gbpusd-m1-bid-2012.csv.gz": (30117, "1m"),
    "fxcm_gbpusd-m1-ask-2012.csv.gz": (30117, "1m"),
    "btc-perp-20211231-20220201_1m.csv.gz": (45031, "1m"),
}


@pytest.mark.parametrize("name", EXPECTED_BARS)
def test_recorded_bars_load_whole_and_survive_the_catalog(real_data: Path, tmp_path: Path, name: str) -> None:
    count, interval = EXPECTED_BARS[name]
    path = real_data / "ohlcv-bars" / name
    table = read_table(path, symbol="X")
    assert table.conservation.kept == count
    assert table.quarantine.is_empty()
    assert table.stated["interval"] == interval
    opener = gzip.open if name.endswith("gz") else open
    with opener(path, "rt") as stream:
        records = list(csv.reader(stream))[1:]
    scale = 10**table.instrument.price_scale
    for bar, record in zip(bars_of(table), records, strict=True):
        assert list(bar[2:6]) == [Decimal(value) * scale for value in record[1:5]]
    report = table.quality()
    assert report.kinds == {"BAR": 2 * count}
    assert (report.out_of_order, report.duplicates, report.non_positive) == (0, 0, 0)
    catalog = Catalog(tmp_path)
    catalog.ingest(table.chunks(), table.instrument, source=table.source, conservation=table.conservation)
    stored = b"".join(map_rows(source.path)[source.start : source.stop].tobytes() for source in catalog.rows("X"))
    assert stored == table.rows.tobytes()
    assert catalog.scan("X", "bars").collect()["close"].to_list() == [float(record[4]) for record in records]


def test_a_mistake_about_times_names_the_file_and_its_column(tmp_path: Path) -> None:
    path = tmp_path / "dates.csv"
    path.write_text("day,open,high,low,close\n02/01/2024,10,12,9,11\n03/01/2024,10,12,9,11\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_table(path, symbol="A", venue="x", settings=TableSettings(columns={"time": "day"}))
    assert (caught.value.file, caught.value.field) == (str(path), "day")
    assert "time_format" in str(caught.value)
