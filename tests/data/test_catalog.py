import os
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.data import atomic, ingest, ledger, parquet
from twinloop.data.binance_raw import RawReader, read_raw
from twinloop.data.catalog import Catalog
from twinloop.data.errors import CatalogError, ConfigError, CorruptError, DataError, OverlapError
from twinloop.data.instruments import BINANCE_SPOT_BTCUSDT, BINANCE_USDM_BTCUSDT, Instrument
from twinloop.data.merge import RowSource
from twinloop.data.quality import Conservation
from twinloop.data.rowfile import join_rows, map_rows
from twinloop.data.tables import read_table
from twinloop.data.times import DAY_NS, MINUTE_NS, to_ns
from twinloop.kernels import rows as r

START = to_ns("2024-08-08T23:59:00")
SINGLE = [kind.code for kind in r.KINDS if not kind.tail]


def random_rows(seed: int, count: int, start: int = START, span: int = 3 * MINUTE_NS) -> np.ndarray:
    """Rows of every kind with random bytes wherever a row may have any, over a date's end."""
    generator = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for local_ns in np.sort(generator.integers(start, start + span, count)):
        row = generator.integers(0, 256, (1, 64), dtype=np.uint8).view(r.ROW).reshape(-1)
        row["local_ns"] = local_ns
        row["kind"] = generator.choice(SINGLE)
        row["flags"] &= 0xFF ^ r.FLAG_CONTINUES ^ r.FLAG_TAIL
        row["instrument"] = 0
        if generator.random() < 0.2:
            row["kind"] = r.BAR
            tail = row.copy()
            row["flags"] |= r.FLAG_CONTINUES
            tail["flags"] = (tail["flags"] ^ r.FLAG_EVENT_END) | r.FLAG_TAIL
            tail["interval_ns"] = generator.choice([10**9, MINUTE_NS, DAY_NS, 30 * DAY_NS])
            parts += [row, tail]
        else:
            parts.append(row)
    return join_rows(parts)


def stored(catalog: Catalog, **choice: object) -> bytes:
    return b"".join(
        map_rows(source.path)[source.start : source.stop].tobytes()
        for source in catalog.rows("BTCUSDT", **choice)  # type: ignore[arg-type]
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "_cache" not in path.parts and path.name != ledger.LOCK_NAME
    }


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 60),
    chunk=st.integers(1, 30),
    part=st.sampled_from([2, 6, 1 << 20]),
)
def test_rows_of_every_kind_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, chunk: int, part: int
) -> None:
    rows = random_rows(seed, count)
    catalog = Catalog(tmp_path_factory.mktemp("catalog"))
    chunks = []
    at = 0
    while at < rows.size:
        stop = min(at + chunk, rows.size)
        stop += stop < rows.size and bool(rows["flags"][stop] & r.FLAG_TAIL)
        chunks.append(rows[at:stop])
        at = stop
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "PART_ROWS", part)
        report = catalog.ingest(chunks, BINANCE_USDM_BTCUSDT, source="random")
    assert report.rows == rows.size == sum(part.rows for part in report.parts)
    assert stored(catalog) == rows.tobytes()
    assert catalog.verify() == []


def test_start_and_end_cut_by_local_time(tmp_path: Path) -> None:
    rows = random_rows(3, 400)
    catalog = Catalog(tmp_path)
    catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    start, end = "2024-08-08T23:59:30", "2024-08-09T00:00:30Z"
    chosen = (rows["local_ns"] >= to_ns(start)) & (rows["local_ns"] < to_ns(end))
    assert stored(catalog, start=start, end=end) == rows[chosen].tobytes()
    trades = catalog.scan("BTCUSDT", "trades", start=start, end=end).collect()
    assert trades["price_int"].to_list() == rows[chosen & (rows["kind"] == r.TRADE)]["price"].tolist()
    only = stored(catalog, kinds=["trades", "quotes"])
    assert only == rows[np.isin(rows["kind"], [r.TRADE, r.QUOTE])].tobytes()


def test_the_same_rows_again_are_noticed_and_left_out(tmp_path: Path) -> None:
    rows = random_rows(4, 100)
    catalog = Catalog(tmp_path)
    first = catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    before = files(tmp_path)
    again = catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    assert again.number is None
    assert not again.parts
    assert len(again.already) == len(first.parts)
    assert files(tmp_path) == before


def test_other_rows_at_covered_times_are_refused_or_supersede(tmp_path: Path) -> None:
    rows, other = random_rows(5, 100), random_rows(6, 100)
    catalog = Catalog(tmp_path)
    catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    before = files(tmp_path)
    with pytest.raises(OverlapError, match=r"already holds .* pass replace=True"):
        catalog.ingest([other], BINANCE_USDM_BTCUSDT)
    assert files(tmp_path) == before
    cached = stored(catalog)
    report = catalog.ingest([other], BINANCE_USDM_BTCUSDT, replace=True)
    assert report.superseded
    again = stored(catalog)
    assert again != cached
    kept = [part for part in catalog.ingests()[0].parts if part.path not in report.superseded]
    assert len(again) == 64 * (other.size + sum(part.rows for part in kept))
    removed = catalog.prune()
    assert {tmp_path / path for path in report.superseded} <= set(removed)
    assert stored(catalog) == again


def test_a_later_recording_of_the_same_day_is_appended(tmp_path: Path) -> None:
    first = random_rows(7, 60, START, 10**9)
    later = random_rows(8, 60, START + 2 * 10**9, 10**9)
    catalog = Catalog(tmp_path)
    catalog.ingest([first], BINANCE_USDM_BTCUSDT)
    catalog.ingest([later], BINANCE_USDM_BTCUSDT)
    assert stored(catalog) == first.tobytes() + later.tobytes()
    listed = catalog.list()
    assert int(listed["rows"].sum()) == first.size + later.size


class CrashError(Exception):
    pass


def test_a_crash_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = random_rows(9, 40), random_rows(10, 40, START + DAY_NS)
    old, new = (rows[np.isin(rows["kind"], [r.TRADE, r.BAR])][-6:] for rows in (old, new))
    old, new = (rows[int(bool(rows["flags"][0] & r.FLAG_TAIL)) :] for rows in (old, new))
    calls = {"count": 0, "fail_at": -1}

    def failing(function: object) -> object:
        def wrapped(*args: object, **kwargs: object) -> object:
            calls["count"] += 1
            if calls["count"] == calls["fail_at"]:
                raise CrashError
            return function(*args, **kwargs)  # type: ignore[operator]

        return wrapped

    step = 0
    while True:
        root = tmp_path / str(step)
        catalog = Catalog(root)
        catalog.ingest([old], BINANCE_USDM_BTCUSDT)
        calls.update(count=0, fail_at=step)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(os.fsync))
            patch.setattr(os, "replace", failing(os.replace))
            patch.setattr(ingest, "write_records", failing(parquet.write_records))
            patch.setattr(Path, "write_bytes", failing(Path.write_bytes))
            # A crash removes nothing: clean-up must not be needed for what counts.
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            try:
                catalog.ingest([new], BINANCE_USDM_BTCUSDT)
                crashed = False
            except CrashError:
                crashed = True
        after = stored(Catalog(root))
        assert after in {old.tobytes(), old.tobytes() + new.tobytes()}
        assert catalog.verify() == []
        if step and not crashed:
            assert after == old.tobytes() + new.tobytes()
            break
        catalog.ingest([new], BINANCE_USDM_BTCUSDT)
        assert stored(catalog) == old.tobytes() + new.tobytes()
        catalog.prune()
        assert not list(root.rglob(f"*{atomic.TEMPORARY_MARK}*"))
        step += 1
    assert step > 20


def test_a_source_that_raises_adds_nothing(tmp_path: Path) -> None:
    def chunks() -> object:
        yield random_rows(11, 40)
        raise DataError("line is broken", file="x.csv", line=3)

    catalog = Catalog(tmp_path)
    with pytest.raises(DataError, match=r"x\.csv:3: line is broken"):
        catalog.ingest(chunks(), BINANCE_USDM_BTCUSDT)  # type: ignore[arg-type]
    assert files(tmp_path) == {}


def test_rows_no_reader_may_make_are_refused(tmp_path: Path) -> None:
    rows = random_rows(12, 40)
    back = rows.copy()
    back["local_ns"][-1] = 0
    catalog = Catalog(tmp_path)
    with pytest.raises(DataError, match="never goes back"):
        catalog.ingest([back], BINANCE_USDM_BTCUSDT)
    unknown = rows.copy()
    unknown["kind"][0] = 255
    with pytest.raises(DataError, match="field kind"):
        catalog.ingest([unknown], BINANCE_USDM_BTCUSDT)
    assert files(tmp_path) == {}


def test_a_damaged_part_is_found(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    report = catalog.ingest([random_rows(13, 40)], BINANCE_USDM_BTCUSDT)
    path = tmp_path / report.parts[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [problem.file for problem in catalog.verify()] == [str(path)]
    path.write_bytes(b"PAR1")
    with pytest.raises(CorruptError, match="ingest it again"):
        stored(catalog)
    path.unlink()
    assert "cannot be read" in str(catalog.verify()[0])


def test_a_part_with_other_values_is_never_replayed(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    report = catalog.ingest([random_rows(19, 40)], BINANCE_USDM_BTCUSDT)
    path = tmp_path / report.parts[0].path
    frame = pl.read_parquet(path, hive_partitioning=False)
    parquet.write_records(path, frame.with_columns(pl.col("local_ns") + 1), {})
    with pytest.raises(CorruptError, match="other rows than were ingested"):
        stored(catalog)


def test_two_venues_and_changed_scales_are_told_apart(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.ingest([random_rows(14, 10)], BINANCE_USDM_BTCUSDT)
    catalog.ingest([random_rows(15, 10)], BINANCE_SPOT_BTCUSDT)
    with pytest.raises(CatalogError, match="name the venue"):
        catalog.scan("BTCUSDT", "trades")
    for name, instrument in (
        ("binance-spot:BTCUSDT", BINANCE_SPOT_BTCUSDT),
        ("binance-usdm:BTCUSDT", BINANCE_USDM_BTCUSDT),
    ):
        assert catalog.instrument(name) == instrument
    with pytest.raises(CatalogError, match="binance-spot:BTCUSDT, binance-usdm:BTCUSDT"):
        catalog.rows("DOGE")
    tape = catalog.tape(["binance-usdm:BTCUSDT", "binance-spot:BTCUSDT"])
    assert tape.instruments == (BINANCE_USDM_BTCUSDT, BINANCE_SPOT_BTCUSDT)
    changed = Instrument.make(symbol="BTCUSDT", venue="binance-spot", tick_size="0.001", lot_size="1")
    with pytest.raises(CatalogError, match="other scales"):
        catalog.ingest([random_rows(16, 10, START + DAY_NS)], changed)
    with pytest.raises(CatalogError, match="no such kind"):
        catalog.scan("BTCUSDT", "candles", venue="binance-spot")
    with pytest.raises(ConfigError, match="start is after end"):
        catalog.rows("binance-spot:BTCUSDT", start=2, end=1)


def test_a_second_writer_is_turned_away(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    with ledger.locked(tmp_path), pytest.raises(CatalogError, match="another process"):
        catalog.ingest([random_rows(17, 3)], BINANCE_USDM_BTCUSDT)


def test_odd_symbols_are_one_folder_each(tmp_path: Path) -> None:
    odd = Instrument.make(symbol="../BTC/USD:X=1", venue="a b", tick_size="0.1", lot_size="1")
    catalog = Catalog(tmp_path / "root")
    rows = random_rows(18, 30)
    catalog.ingest([rows], odd)
    assert {path.name for path in tmp_path.iterdir()} == {"root"}
    source = catalog.rows("a b:../BTC/USD:X=1")
    assert b"".join(map_rows(each.path)[each.start : each.stop].tobytes() for each in source) == rows.tobytes()
    assert isinstance(source[0], RowSource)


@pytest.mark.parametrize("kind", ["trades", "quotes", "bars"])
def test_what_was_exported_is_read_again_as_it_was(tmp_path: Path, kind: str) -> None:
    rows = np.zeros(40, r.ROW)
    at = np.arange(40) // 2 if kind == "bars" else np.arange(40)
    rows["venue_ns"] = START + (at + 1) * MINUTE_NS
    rows["local_ns"] = rows["venue_ns"] + (0 if kind == "bars" else 7_000)
    rows["kind"] = {"trades": r.TRADE, "quotes": r.QUOTE, "bars": r.BAR}[kind]
    if kind == "trades":
        rows["side"] = np.where(at % 3 == 0, 1, -1)
        for name, value in (("price", 600_001 + at), ("qty", 1 + at % 5), ("trade_id", 9 + at), ("sequence", 9 + at)):
            rows[name] = value
    elif kind == "quotes":
        for name, value in (("bid", 600_001 + at), ("bid_qty", 1 + at), ("ask", 600_003 + at), ("ask_qty", 2 + at)):
            rows[name] = value
    else:
        rows["flags"] = np.where(np.arange(40) % 2 == 0, r.FLAG_CONTINUES, r.FLAG_TAIL)
        for name, first in (("open", 600_001), ("high", 600_009), ("low", 599_999), ("close", 600_002)):
            rows[name][::2] = first + at[::2]
        for name, amount in (("volume", 5), ("notional", 0), ("trades", 3), ("interval_ns", MINUTE_NS)):
            rows[name][1::2] = amount
    catalog = Catalog(tmp_path / "catalog")
    catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    path = catalog.export(tmp_path / "out.csv", "BTCUSDT", kind)
    read = read_table(path, symbol="BTCUSDT", venue="x", instrument=BINANCE_USDM_BTCUSDT)
    again = join_rows(list(read.chunks()))
    names = {
        "trades": ("price", "qty", "trade_id", "side"),
        "quotes": ("bid", "bid_qty", "ask", "ask_qty"),
        "bars": ("open", "close"),
    }
    for name in ("kind", "venue_ns", "local_ns", *names[kind]):
        assert again[name].tolist() == rows[name].tolist(), name


def test_export_writes_exact_decimals(tmp_path: Path) -> None:
    rows = np.zeros(3, r.ROW)
    rows["kind"] = r.TRADE
    rows["local_ns"] = rows["venue_ns"] = START
    rows["price"] = [1, 616597, -12]
    rows["qty"] = [1, 1000, 10**15 + 1]
    catalog = Catalog(tmp_path)
    catalog.ingest([rows], BINANCE_USDM_BTCUSDT)
    text = pl.read_csv(catalog.export(tmp_path / "out.csv", "BTCUSDT", "trades"), infer_schema=False)
    assert text["price"].to_list() == ["0.1", "61659.7", "-1.2"]
    assert text["qty"].to_list() == ["0.001", "1.000", "1000000000000.001"]
    columns = pl.read_parquet(catalog.export(tmp_path / "out.parquet", "BTCUSDT", "trades"))
    assert columns["price"].to_list() == [0.1, 61659.7, -1.2]
    assert columns["price_int"].to_list() == [1, 616597, -12]
    with pytest.raises(ConfigError, match=r"\.parquet or \.csv"):
        catalog.export(tmp_path / "out.xlsx", "BTCUSDT", "trades")


def conservation_of(reader: RawReader) -> Conservation:
    return reader.report.conservation


def test_recorded_messages_come_back_and_are_conserved(real_data: Path, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    given = []
    for name in ("usdm_btcusdt_20230404.gz", "usdm_btcusdt_20230405.gz"):
        path = real_data / "binance-raw-ws" / name
        given.append(join_rows([chunk.copy() for chunk in read_raw(path, BINANCE_USDM_BTCUSDT)]))
        reader = read_raw(path, BINANCE_USDM_BTCUSDT)
        report = catalog.ingest(
            reader,
            BINANCE_USDM_BTCUSDT,
            source=name,
            conservation=partial(conservation_of, reader),
            clock_offset_ns=reader.report.clock.offset_ns,
        )
        assert report.quality.conservation == reader.report.conservation
        assert report.quality.negative_latency == 0
        assert report.quality.out_of_order == 0
    if given[0]["local_ns"][-1] < given[1]["local_ns"][0]:
        assert stored(catalog) == join_rows(given).tobytes()
    tape = catalog.tape("BTCUSDT")
    assert (tape.local["local_ns"][1:] >= tape.local["local_ns"][:-1]).all()
    keys = np.where(tape.venue["venue_ns"] == 0, tape.venue["local_ns"], tape.venue["venue_ns"])
    assert (keys[1:] >= keys[:-1]).all()
    assert tape.venue.size == tape.local.size == sum(rows.size for rows in given)


def test_quality_is_measured_on_what_the_catalog_holds(tmp_path: Path) -> None:
    rows = np.zeros(3, r.ROW)
    rows["kind"] = r.TRADE
    rows["local_ns"] = rows["venue_ns"] = START + np.array([0, 1, 60 * 10**9])
    rows["price"], rows["trade_id"] = 5, [1, 2, 4]
    catalog = Catalog(tmp_path)
    given = catalog.ingest([rows], BINANCE_USDM_BTCUSDT).quality
    held = catalog.quality("BTCUSDT")
    assert held == given
    assert (held.gaps, held.trade_ids_skipped) == (1, 1)
    assert catalog.ingests()[0].quality == given.to_dict()


def test_bars_of_two_intervals_are_two_kinds(tmp_path: Path) -> None:
    parts = []
    for i, interval_ns in enumerate((MINUTE_NS, MINUTE_NS, 60 * MINUTE_NS)):
        bar = np.zeros(2, r.ROW)
        bar["kind"], bar["flags"] = r.BAR, [r.FLAG_CONTINUES, r.FLAG_TAIL]
        bar["local_ns"] = START + i
        bar["open"][0], bar["volume"][1], bar["interval_ns"][1] = 7, 3, interval_ns
        parts.append(bar)
    catalog = Catalog(tmp_path)
    report = catalog.ingest(parts, BINANCE_USDM_BTCUSDT)
    assert [(part.kind, part.date, part.records) for part in report.parts] == [
        ("bars-1h", "2024-08", 1),
        ("bars-1m", "2024-08", 2),
    ]
    with pytest.raises(CatalogError, match="bars-1h, bars-1m"):
        catalog.scan("BTCUSDT", "bars")
    minutes = catalog.scan("BTCUSDT", "bars-1m").collect()
    assert minutes["open"].to_list() == [0.7, 0.7]
    assert minutes["volume"].to_list() == [0.003, 0.003]
    assert stored(catalog) == join_rows(parts).tobytes()
    assert catalog.scan("BTCUSDT", "bars-1m", start="2030-01-01").collect().height == 0
    odd = parts[0].copy()
    odd["sequence"][1] = 9
    with pytest.raises(DataError, match=r"bars record differ, field sequence.*give the tail row"):
        catalog.ingest([odd], BINANCE_SPOT_BTCUSDT)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.ingest([random_rows(20, 5)], BINANCE_USDM_BTCUSDT)
    path = next((tmp_path / ledger.LEDGER_FOLDER).glob("*.json"))
    text = path.read_text()
    path.write_text(text.replace('"format": 1', '"format": 9', 1))
    with pytest.raises(CorruptError, match="another format"):
        catalog.list()
    path.write_text(text[:50])
    with pytest.raises(CorruptError, match=path.name):
        catalog.list()


def test_times_without_rows_are_told(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    with pytest.raises(CatalogError, match="none: it is empty"):
        catalog.rows("BTCUSDT")
    catalog.ingest([random_rows(21, 5)], BINANCE_USDM_BTCUSDT)
    with pytest.raises(CatalogError, match="no rows of binance-usdm:BTCUSDT there"):
        catalog.tape("BTCUSDT", start="2030-01-01")


def test_a_file_that_broke_off_is_told_where_a_run_goes_beyond_it(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog")
    rows = random_rows(5, 60)
    broken = {"day.gz": "the gzip stream breaks off"}
    catalog.ingest([rows], BINANCE_USDM_BTCUSDT, details=lambda: {"broken_files": broken})
    last_ns = int(rows["local_ns"][-1])
    assert catalog.breaks(["BTCUSDT"]) == broken
    assert catalog.breaks(["BTCUSDT"], end=last_ns + 1) == broken
    assert catalog.breaks(["BTCUSDT"], end=last_ns) == {}
