import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data import atomic
from twinloop.data.errors import CatalogError, ConfigError, CorruptError, DataError
from twinloop.data.instruments import BINANCE_USDM_BTCUSDT
from twinloop.data.rowfile import (
    join_rows,
    manifest_path,
    open_rows,
    pick,
    read_manifest,
    rows_from_bytes,
    whole_facts,
    write_rows,
)
from twinloop.data.times import interval_label, parse_interval, to_ns, to_text
from twinloop.kernels.rows import BAR, FLAG_CONTINUES, FLAG_TAIL, QUOTE, ROW, TRADE


def some_rows(count: int = 10) -> np.ndarray:
    rows = np.zeros(count, ROW)
    rows["kind"] = TRADE
    rows["local_ns"] = 1000 + np.arange(count)
    rows["venue_ns"] = rows["local_ns"] - 5
    rows["price"] = np.arange(count)
    return rows


def test_what_is_written_is_mapped_back(tmp_path: Path) -> None:
    rows = some_rows()
    rows["kind"][3] = QUOTE
    path = tmp_path / "deep" / "a.rows"
    written = write_rows(path, [rows[:4], rows[4:4], rows[4:]], [BINANCE_USDM_BTCUSDT], source="s", details={"a": 1})
    mapped, manifest = open_rows(path, verify=True)
    assert mapped.tobytes() == rows.tobytes()
    assert manifest == written
    assert manifest.kinds == {"TRADE": 9, "QUOTE": 1}
    assert (manifest.first_local_ns, manifest.last_local_ns, manifest.first_venue_ns) == (1000, 1009, 995)
    assert manifest.venue_ordered
    assert manifest.instruments == (BINANCE_USDM_BTCUSDT,)
    assert not mapped.flags.writeable
    empty, _ = open_rows(tmp_path / "e.rows") if write_rows(tmp_path / "e.rows", [], []) else (None, None)
    assert empty is not None
    assert empty.size == 0


def test_venue_order_is_watched_across_chunks_and_silence_counts_as_local_time(tmp_path: Path) -> None:
    rows = some_rows(4)
    rows["venue_ns"] = [0, 1001, 0, 1003]
    assert write_rows(tmp_path / "a.rows", [rows[:1], rows[1:2], rows[2:]], []).venue_ordered
    rows["venue_ns"] = [1000, 1000, 999, 1003]
    assert not write_rows(tmp_path / "b.rows", [rows[:2], rows[2:]], []).venue_ordered


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("local_ns", 0, "never goes back"),
        ("kind", 255, "field kind"),
        ("instrument", 1, "an instrument of the file"),
        ("flags", FLAG_TAIL, "right after its head"),
        ("flags", FLAG_CONTINUES, "right after its head"),
    ],
)
def test_rows_that_break_a_rule_leave_no_file(tmp_path: Path, field: str, value: int, match: str) -> None:
    rows = some_rows()
    rows[field][6] = value
    with pytest.raises(DataError, match=match):
        write_rows(tmp_path / "a.rows", [rows[:6], rows[6:]], [BINANCE_USDM_BTCUSDT])
    assert list(tmp_path.iterdir()) == []


def test_a_fact_is_whole_and_at_one_time(tmp_path: Path) -> None:
    rows = some_rows(2)
    rows["kind"] = BAR
    rows["flags"] = [FLAG_CONTINUES, FLAG_TAIL]
    with pytest.raises(DataError, match="head's local time"):
        write_rows(tmp_path / "a.rows", [rows], [])
    with pytest.raises(DataError, match="inside a two-row fact"):
        write_rows(tmp_path / "a.rows", [rows[:1]], [])
    assert list(tmp_path.iterdir()) == []
    many = join_rows([rows] * 3)
    assert [part.size for part in whole_facts(many, 3)] == [4, 2]
    assert pick(many, np.array([1, 0])).tobytes() == many[[1, 0]].tobytes()


def test_unfinished_and_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    write_rows(path, [some_rows()], [])
    with pytest.raises(CatalogError, match="already there"):
        write_rows(path, [some_rows()], [])
    write_rows(path, [some_rows(3)], [], overwrite=True)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-64])
    with pytest.raises(CorruptError, match="another size"):
        open_rows(path)
    content[70] ^= 1
    path.write_bytes(content)
    open_rows(path)
    with pytest.raises(CorruptError, match="digest"):
        open_rows(path, verify=True)
    manifest_path(path).write_text("{}")
    with pytest.raises(CorruptError, match="cannot be read"):
        read_manifest(path)
    with pytest.raises(CatalogError, match=r"\.rows"):
        write_rows(tmp_path / "a.bin", [], [])
    with pytest.raises(DataError, match="whole rows"):
        rows_from_bytes(b"x" * 65)


@given(data=st.data())
def test_a_changed_row_file_is_never_opened(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.rows"
    sound = some_rows().tobytes()
    write_rows(path, [some_rows()], [BINANCE_USDM_BTCUSDT])
    spoiled = data.draw(st.sampled_from([path, manifest_path(path)]))
    content = bytearray(spoiled.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    spoiled.write_bytes(content)
    try:
        rows, manifest = open_rows(path, verify=True)
    except DataError:
        return
    # The manifest may say other words about the rows, but these are the rows that were written.
    assert rows.tobytes() == sound
    assert manifest.rows == rows.size


def test_a_crash_at_any_step_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows()
    for fail_at in range(1, 30):
        folder = tmp_path / str(fail_at)
        folder.mkdir()
        calls = 0

        def failing(function: object, fail_at: int = fail_at) -> object:
            def wrapped(*args: object) -> object:
                nonlocal calls
                calls += 1
                if calls == fail_at:
                    raise OSError(28, "No space left on device")
                return function(*args)  # type: ignore[operator]

            return wrapped

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(os.fsync))
            patch.setattr(os, "replace", failing(os.replace))
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            try:
                write_rows(folder / "a.rows", [rows], [])
                crashed = False
            except OSError:
                crashed = True
        try:
            mapped, _ = open_rows(folder / "a.rows", verify=True)
            assert mapped.tobytes() == rows.tobytes()
        except CatalogError:
            assert crashed
            write_rows(folder / "a.rows", [rows], [])
        if not crashed:
            assert fail_at > 5
            return
    pytest.fail("never ran through")


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    atomic.write_atomic(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            with pytest.raises(OSError, match="No space"):
                atomic.write_atomic(path, b"new")
        assert path.read_bytes() == b"old"
        assert [each.name for each in tmp_path.iterdir()] == ["x"]
    atomic.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_times_are_read_and_written_exactly() -> None:
    assert to_ns("2024-08-08") == 1723075200 * 10**9
    assert to_ns("2024-08-08T23:54:15.030000001Z") == 1723161255030000001
    assert to_ns("2024-08-08 23:54:15.5+02:00") == 1723154055500000000
    assert to_text(1723161255030000001) == "2024-08-08T23:54:15.030000001Z"
    assert to_text(1723161255030000000) == "2024-08-08T23:54:15.030Z"
    assert to_text(-1) == "1969-12-31T23:59:59.999999999Z"
    with pytest.raises(ConfigError, match="not a time"):
        to_ns("yesterday")
    assert [interval_label(parse_interval(text)) for text in ("1m", "90s", "4h", "1d", "7d", "1w", "1mo", "250ms")] == [
        "1m", "90s", "4h", "1d", "7d", "7d", "1mo", "250ms",
    ]  # fmt: skip
    for wrong in ("", "m", "0m", "2mo", "1y", 0, -5):
        with pytest.raises(ConfigError, match="not an interval"):
            parse_interval(wrong)
