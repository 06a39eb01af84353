"""A file as memory is the file: what is copied is what others read, and pages that cannot be had are said, not met."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.small_journals import facts

from twinloop.data.journal_write import ASYNC, CommitBuffer
from twinloop.data.segment_room import SegmentRoom, segment_room
from twinloop.kernels.rows import ROW, ROW_SIZE, SEAL

SIZE = 1 << 20
AHEAD = 1 << 18
PAGE = 1 << 16
HEADER = 64

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="segments are written through memory on Linux only")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path / "segment", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(handle, 0, SIZE)
    yield handle
    os.close(handle)


def room_of(handle: int) -> SegmentRoom:
    room = segment_room(handle, SIZE)
    if room is None:
        pytest.skip("this folder's file system is not one whose room stays given")
    return room


def refused(code: int) -> None:
    raise AssertionError(code)


Make = Callable[..., CommitBuffer]


@pytest.fixture
def buffer() -> Iterator[Make]:
    made = []

    def make(**more: Any) -> CommitBuffer:
        core = CommitBuffer(
            level=ASYNC, buffer_rows=1 << 12, segment_rows=(SIZE - HEADER) // ROW_SIZE, group_rows=1, group_ns=0, start=(0, 0, 0),
            refuse=refused, roll=lambda: None, **more,
        )  # fmt: skip
        made.append(core)
        return core

    yield make
    for core in made:
        core.close_pipes()


def commit(core: CommitBuffer, count: int, rows: int = 3) -> None:
    for _ in range(count):
        core.append(facts(core.next_sequence(), rows))
        core.commit(1, 1)


def written(handle: int, core: CommitBuffer) -> Any:
    return np.frombuffer(os.pread(handle, core.bytes_sealed(), HEADER), ROW)


def calls() -> int:
    """How often this process has asked the system to write."""
    told = Path("/proc/self/io").read_text(encoding="ascii")
    return int(next(line for line in told.splitlines() if line.startswith("syscw")).split()[1])


def test_pages_are_made_ready_ahead_of_what_is_written_up_to_the_end(file: int, buffer: Make) -> None:
    room = room_of(file)
    core = buffer()
    core.begin_segment(file, HEADER, room)
    assert room.ready == 0
    assert room.make_ready(1)
    assert room.ready == PAGE
    assert room.make_ready(AHEAD)
    assert AHEAD <= room.ready <= AHEAD + PAGE
    commit(core, AHEAD // (4 * ROW_SIZE))
    assert room.make_ready(AHEAD)
    assert room.ready >= 2 * AHEAD
    assert room.make_ready(10 * SIZE)
    assert room.ready == SIZE


def test_what_is_copied_is_what_calls_would_have_written_wherever_the_pages_end(
    file: int, buffer: Make, tmp_path: Path
) -> None:
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    through, by_calls = buffer(), buffer()
    room = room_of(file)
    room.make_ready(PAGE)  # Some commits: later ones find no page, and are written.
    through.begin_segment(file, HEADER, room)
    by_calls.begin_segment(other, HEADER)
    for rows in (1, 2, 5, 64, 700, 300, 400, 3):
        commit(through, 1, rows)
        commit(by_calls, 1, rows)
    assert through.bytes_sealed() > PAGE
    assert through.operations() == by_calls.operations()
    assert written(file, through).tobytes() == written(other, by_calls).tobytes()
    assert (written(file, through)["kind"] == SEAL).sum() == 8
    os.close(other)


def test_no_call_is_made_where_pages_are_ready(file: int, buffer: Make) -> None:
    room = room_of(file)
    core = buffer()
    core.begin_segment(file, HEADER, room)
    room.make_ready(SIZE)
    before = calls()
    commit(core, 1000)
    assert calls() - before < 10, "the calls of this test itself"
    plain = buffer()
    plain.begin_segment(file, HEADER)
    before = calls()
    commit(plain, 1000)
    assert calls() - before >= 1000


@pytest.mark.parametrize("taken", [1, 63, 64, 100])
def test_after_a_short_write_rows_are_copied_again_from_the_next_whole_one(
    file: int, buffer: Make, tmp_path: Path, taken: int
) -> None:
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    through, by_calls = buffer(faults=np.array([[0, 2, 4, taken]], np.int64)), buffer()
    room = room_of(file)
    room.make_ready(SIZE)
    through.begin_segment(file, HEADER, room)
    by_calls.begin_segment(other, HEADER)
    commit(through, 10)
    commit(by_calls, 10)
    assert written(file, through).tobytes() == written(other, by_calls).tobytes()
    os.close(other)


def test_where_the_file_system_may_take_room_back_there_is_no_memory() -> None:
    read, write = os.pipe()
    assert segment_room(write, SIZE) is None
    with Path("/proc/self/status").open("rb") as file:
        assert segment_room(file.fileno(), SIZE) is None
    os.close(read)
    os.close(write)


def test_pages_that_cannot_be_had_are_said_and_the_file_is_written_by_calls(file: int, buffer: Make) -> None:
    room = room_of(file)
    os.ftruncate(file, PAGE)  # As if the room had been taken away: a copy behind it would end this process.
    assert room.make_ready(PAGE // 2)
    assert not room.make_ready(SIZE)
    assert room.ready == PAGE
    core = buffer()
    core.begin_segment(file, HEADER, room)
    commit(core, 1000)
    assert core.bytes_sealed() > 2 * PAGE
    assert (written(file, core)["kind"] == SEAL).sum() == 1000


def test_a_closed_room_is_written_no_more(file: int, buffer: Make) -> None:
    room = room_of(file)
    core = buffer()
    core.begin_segment(file, HEADER, room)
    room.make_ready(SIZE)
    commit(core, 1)
    room.close()
    room.close()
    assert room.ready == 0
    assert not room.make_ready(1)
    commit(core, 1)
    assert (written(file, core)["kind"] == SEAL).sum() == 2
