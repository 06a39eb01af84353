"""What came is written as it came: readable while it grows, whole after the end, never overwritten, never lost without a word."""

import errno
import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.streamed_book import NOW, Venue, trade

from twinloop.data.byte_chunks import BrokenStreamError, byte_chunks
from twinloop.data.errors import DataError
from twinloop.data.instruments import PRESETS, read_instruments
from twinloop.data.recorder import Recorder, sync
from twinloop.data.rowfile import open_rows
from twinloop.kernels import rows as table

USDM, ETH = PRESETS["binance-usdm:BTCUSDT"], PRESETS["binance-usdm:ETHUSDT"]
HOUR = 3_600_000_000_000
PERIOD = NOW - NOW % HOUR


def recorder(folder: Path, **more: Any) -> Recorder:
    return Recorder(folder, "binance-usdm", [USDM, ETH], PERIOD, roll_ns=HOUR, **more)


def rows_of(place: int, count: int, at_ns: int) -> Any:
    rows = np.zeros(count, table.ROW)
    rows["kind"], rows["instrument"], rows["local_ns"] = table.TRADE, place, at_ns
    rows["price"] = rows["qty"] = rows["trade_id"] = 1
    return rows


def readable(path: Path) -> bytes:
    """What a reader gets of a file that may break off."""
    found = b""
    try:
        for chunk in byte_chunks(path):
            found += chunk
    except BrokenStreamError:
        pass
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_each_instrument_has_its_own_lines_and_rows(tmp_path: Path, packed: bool) -> None:
    record = recorder(tmp_path, packed=packed)
    for number in range(100):
        record.on_raw(number % 2, trade(number), NOW + number)
        record.on_rows(rows_of(number % 2, 3, NOW + number))
    record.on_raw(-1, b'{"e":"serverShutdown",\n"E":1}', NOW + 100)
    record.close()
    end = ".gz" if packed else ".txt"
    names = ["usdm_btcusdt_20231114T220000", "usdm_ethusdt_20231114T220000"]
    assert sorted(path.name for path in record.finished) == sorted(
        name + each for name in names for each in (end, ".rows")
    )
    lines = readable(tmp_path / (names[0] + end)).splitlines()
    assert lines[0] == b"%d %b" % (NOW, trade(0))
    assert len(lines) == 51
    assert lines[-1] == b'%d {"e":"serverShutdown", "E":1}' % (NOW + 100)
    for place, name in enumerate(names):
        rows, manifest = open_rows(tmp_path / f"{name}.rows", verify=True)
        assert len(rows) == 150
        assert manifest.instruments == ((USDM, ETH)[place],)
        assert set(rows["instrument"].tolist()) == {0}
    assert list(read_instruments(tmp_path / "instruments.toml").values()) == [USDM, ETH]
    assert not list(tmp_path.glob("*.part"))


def test_what_was_flushed_can_be_read_after_a_crash(tmp_path: Path) -> None:
    """Nothing is closed: what another process finds in the folder is what a crash leaves."""
    record = recorder(tmp_path)
    for number in range(500):
        record.on_raw(0, trade(number), NOW + number)
    sync(record.flush())
    for number in range(500, 510):
        record.on_raw(0, trade(number), NOW + number)
    part = next(tmp_path.glob("usdm_btcusdt*.gz.part"))
    lines = readable(part).splitlines()
    assert lines == [b"%d %b" % (NOW + number, trade(number)) for number in range(500)]
    record.close()


def test_files_roll_at_whole_periods_and_an_empty_one_leaves_nothing(tmp_path: Path) -> None:
    record = recorder(tmp_path, rows=False)
    assert not record.due(PERIOD + HOUR - 1)
    assert record.due(PERIOD + HOUR)
    record.on_raw(0, trade(1), PERIOD)
    record.roll(PERIOD + HOUR)
    record.on_raw(1, trade(2), PERIOD + HOUR)
    record.close()
    assert sorted(path.name for path in tmp_path.glob("*.gz")) == [
        "usdm_btcusdt_20231114T220000.gz", "usdm_ethusdt_20231114T230000.gz",
    ]  # fmt: skip
    assert gzip.decompress((tmp_path / "usdm_ethusdt_20231114T230000.gz").read_bytes()).startswith(
        b"%d " % (PERIOD + HOUR)
    )


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    record.on_raw(0, trade(1), NOW)
    record.close()
    with pytest.raises(DataError, match="would overwrite a recording"):
        recorder(tmp_path)


def test_times_of_rows_never_fall(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    for at in (5, 3, 9, 7):
        record.on_rows(rows_of(0, 2, NOW + at))
    record.close()
    rows, _ = open_rows(next(tmp_path.glob("usdm_btcusdt*.rows")))
    assert (rows["local_ns"] - NOW).tolist() == [5, 5, 5, 5, 9, 9, 9, 9]


@pytest.mark.parametrize("packed", [True, False])
def test_a_full_disk_ends_the_recording_with_a_word(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorder(tmp_path, packed=packed)
    venue = Venue(random.Random(1))
    stream = record._raw[0]._stream

    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    monkeypatch.setattr(record._raw[0], "_stream", Full())
    record.on_raw(1, trade(1), NOW)

    def until_full() -> None:
        for number in range(100_000):
            record.on_raw(0, venue.next(), NOW + number)

    with pytest.raises(DataError, match=r"cannot record.*No space left"):
        until_full()
    with pytest.raises(DataError, match=r"cannot record.*No space left"):
        record.close()
    assert stream.closed
    assert [path.name for path in tmp_path.glob("*.part")] == [
        f"usdm_btcusdt_20231114T220000.{'gz' if packed else 'txt'}.part"
    ]
    assert sum(path.suffix != ".rows" for path in record.finished) == 1, "the other file is whole"


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_a_disk_took_in_part_stays_a_part_though_there_is_room_again(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines behind a hole would be read as if nothing were missing, or not at all."""
    record = recorder(tmp_path, packed=packed)
    stream: Any = record._raw[0]._stream
    writes: list[int] = []

    class FullOnce:
        def write(self, content: Any) -> int:
            writes.append(len(content))
            if len(writes) > 1:
                return int(stream.write(content))
            stream.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    monkeypatch.setattr(record._raw[0], "_stream", FullOnce())
    for place in (0, 1):
        record.on_raw(place, trade(1), NOW)
    with pytest.raises(DataError, match="No space left"):
        record.flush()
    with pytest.raises(DataError, match="No space left"):
        record.close()
    assert stream.closed
    assert [path.name.partition(".")[0] for path in tmp_path.glob("*.part")] == ["usdm_btcusdt_20231114T220000"]
    assert [path.name.partition("_2")[0] for path in record.finished if path.suffix != ".rows"] == ["usdm_ethusdt"]


def test_a_row_file_that_a_full_disk_cut_is_no_row_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorder(tmp_path)
    for place in (0, 1):
        record.on_raw(place, trade(1), NOW)
        record.on_rows(rows_of(place, 100, NOW))
    stream: Any = record._rows[0]._stream

    class Full:
        def write(self, content: Any) -> int:
            stream.write(content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    monkeypatch.setattr(record._rows[0], "_stream", Full())
    with pytest.raises(DataError, match="No space left"):
        record.flush()
    record.close()
    assert [path.name for path in tmp_path.glob("*.rows")] == ["usdm_ethusdt_20231114T220000.rows"]
    assert len(open_rows(next(tmp_path.glob("*.rows")), verify=True)[0]) == 0
    assert len(list(tmp_path.glob("*.gz"))) == 2
