"""What is appended and committed is taken whole or refused by name, and nothing is called safe that is not."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from reference.small_journals import facts, read, writer, written

from twinloop.data import journal_write
from twinloop.data.errors import CorruptError
from twinloop.data.instruments import BINANCE_USDM_BTCUSDT
from twinloop.engine.journal.errors import JournalError, JournalFailedError, JournalFullError
from twinloop.engine.journal.folder import FolderLock, next_epoch
from twinloop.engine.journal.notices import MarkNotices
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import resume
from twinloop.engine.journal.writer import FileLayer, JournalWriter
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW, ROW_SIZE

EVER = 1 << 40
EIO, ENOSPC = 5, 28


class Faulty(FileLayer):
    """A disk with planned faults, and the names of what was asked of it."""

    def __init__(self, *faults: tuple[int, int, int, int], create: int = -1, trim: int = -1) -> None:
        self.faults = np.array(faults, np.int64).reshape(-1, 4)
        self.fail = {"create": create, "trim": trim}
        self.calls = {"create": 0, "trim": 0}

    def _count(self, name: str, number: int) -> None:
        self.calls[name] += 1
        if self.calls[name] == self.fail[name]:
            raise OSError(number, os.strerror(number))

    def create(self, path: Path, size: int) -> int:
        self._count("create", ENOSPC)
        return super().create(path, size)

    def trim(self, handle: int, size: int) -> None:
        self._count("trim", EIO)
        super().trim(handle, size)


def go_on(journal: JournalWriter, count: int, marks: list[int] | None = None, *, wait: bool = True) -> None:
    """Commits of one row each; those that became safe are added to `marks`."""
    for number in range(count):
        journal.append(facts(number, 1))
        mark = journal.commit(1, 1)
        if wait and journal.wait(mark, 10.0) and marks is not None:
            marks.append(mark)


def test_facts_requests_and_notes_are_told_apart(tmp_path: Path) -> None:
    rows = facts(0, 3)
    rows["kind"] = [table.TRADE, table.NEW, table.SENT]
    with writer(tmp_path) as journal:
        journal.append(rows)
        journal.commit(1, 2, 3)
    commit = next(open_journal(tmp_path).each())
    assert [each["kind"].tolist() for each in (commit.facts, commit.requests, commit.notes)] == [
        [table.TRADE], [table.NEW], [table.SENT],
    ]  # fmt: skip
    assert [int(commit.seal[name]) for name in ("rows", "monotonic_ns", "wall_ns", "local_ns")] == [3, 1, 2, 3]


def test_the_header_tells_the_session_and_its_instruments(tmp_path: Path) -> None:
    session = {"name": "s", "instruments": [msgspec.to_builtins(BINANCE_USDM_BTCUSDT)]}
    writer(tmp_path, session=session, code="code", config="config").close()
    header = open_journal(tmp_path).header
    assert (header.epoch, header.segment, header.code, header.config) == (1, 1, "code", "config")
    assert header.session == session
    assert header.instruments == (BINANCE_USDM_BTCUSDT,)


def test_rows_come_from_memory_as_from_arrays(tmp_path: Path) -> None:
    rows = facts(0, 5)
    with writer(tmp_path) as journal:
        journal.append(rows[:2])
        journal.append(rows[2:3].tobytes())
        journal.append_at(rows.ctypes.data + 3 * ROW_SIZE, 2)
        journal.commit(1, 1)
    assert read(tmp_path) == [rows.tobytes()]


def test_a_commit_of_nothing_is_the_last_mark(tmp_path: Path) -> None:
    with writer(tmp_path) as journal:
        assert journal.commit(1, 1) == 0
        journal.append(facts(0, 1))
        assert journal.commit(1, 1) == journal.commit(2, 2) == 1
    assert len(read(tmp_path)) == 1


def test_rows_without_a_seal_do_not_count(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(facts(0, 1))
    journal.commit(1, 1)
    journal.append(facts(1, 1))
    journal.close()
    assert read(tmp_path) == [facts(0, 1).tobytes()]
    assert open_journal(tmp_path).torn_bytes == 0


def sealed_by_user() -> Any:
    rows = facts(0, 2)
    rows["kind"][1] = table.SEAL
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (b"x" * 63, "no rows"),
        (np.zeros(1, ROW), "no rows"),
        (sealed_by_user(), "only the journal seals"),
        (facts(0, 64), "larger than a segment"),
    ],
)
def test_rows_that_cannot_stand_are_refused_whole(tmp_path: Path, rows: Any, said: str) -> None:
    with writer(tmp_path) as journal:
        journal.append(facts(0, 1))
        with pytest.raises(JournalError, match=said):
            journal.append(rows)
        journal.commit(1, 1)
        assert journal.failure == ""
    assert read(tmp_path) == [facts(0, 1).tobytes()]


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
def test_a_closed_journal_takes_nothing_and_its_marks_stay_safe(tmp_path: Path, durability: str) -> None:
    journal = writer(tmp_path, durability=durability)
    journal.append(facts(0, 1))
    mark = journal.commit(1, 1)
    journal.close()
    journal.close()
    assert journal.is_safe(mark)
    assert not journal.is_safe(mark + 1)
    assert journal.failure == ""
    with pytest.raises(JournalFailedError, match="was closed"):
        journal.append(facts(1, 1))


def test_async_syncs_no_commit_and_its_marks_are_reached_at_once(tmp_path: Path) -> None:
    with writer(tmp_path) as journal:
        _, before = journal.operations()
        for number in range(10):
            journal.append(facts(number, 1))
            assert journal.reached() == number
            assert journal.is_safe(journal.commit(1, 1))
        assert journal.operations() == (10, before)
        # All of it is in the file, though nothing was closed.
        assert [int(commit.rows["sequence"][0]) for commit in open_journal(tmp_path).each()] == list(range(10))


@pytest.mark.parametrize("durability", ["group", "strict"])
def test_a_mark_is_reached_only_behind_a_sync(tmp_path: Path, durability: str) -> None:
    with writer(tmp_path, durability=durability) as journal:
        _, before = journal.operations()
        journal.append(facts(0, 1))
        mark = journal.commit(1, 1)
        assert journal.wait(mark, 10.0)
        assert journal.reached() == mark
        assert journal.operations() == (1, before + 1)
        assert not journal.wait(mark + 1, 0.0)


def test_a_group_shares_one_sync(tmp_path: Path) -> None:
    with writer(tmp_path, durability="group", group_us=60_000_000, group_rows=20) as journal:
        _, before = journal.operations()
        for number in range(10):  # With its seal each is two rows: the tenth fills the group.
            assert journal.reached() == 0
            journal.append(facts(number, 1))
            mark = journal.commit(1, 1)
        assert journal.wait(mark, 10.0)
        assert journal.operations() == (1, before + 1)


def test_a_full_buffer_is_said_and_loses_nothing(tmp_path: Path) -> None:
    # The group never fills, so nothing is written before the journal is closed.
    journal = writer(tmp_path, durability="group", group_us=60_000_000, group_rows=1 << 20, buffer_rows=16)
    with pytest.raises(JournalFullError, match=r"buffer is full, 1024 bytes wait"):
        go_on(journal, 100, wait=False)
    assert journal.commits == 8
    assert journal.failure == ""
    assert journal.disk()["waiting_bytes"] == 16 * ROW_SIZE
    journal.close()
    assert read(tmp_path) == [facts(number, 1).tobytes() for number in range(8)]


def test_a_buffer_keeps_room_for_the_seal(tmp_path: Path) -> None:
    """Sixteen rows: five commits of three take fifteen, and one more row would have no room to be sealed in."""
    journal = writer(tmp_path, durability="group", group_us=60_000_000, group_rows=1 << 20, buffer_rows=16)
    for number in range(5):
        journal.append(facts(2 * number, 2))
        journal.commit(1, 1)
    with pytest.raises(JournalFullError):
        journal.append(facts(10, 1))
    journal.close()
    assert read(tmp_path) == [facts(2 * number, 2).tobytes() for number in range(5)]


def test_a_mark_never_runs_ahead_of_its_segment(tmp_path: Path) -> None:
    """A group over two segments, of which the second cannot be made: only the first one's commits are safe."""
    options: dict[str, Any] = {"segment_rows": 20, "group_us": 60_000_000, "group_rows": 40}
    journal = writer(tmp_path, layer=Faulty(create=2), durability="group", **options)
    go_on(journal, 20, wait=False)
    assert not journal.wait(20, 10.0)
    assert "new segment cannot be made" in journal.failure
    assert journal.reached() == 10
    journal.close()
    assert len(read(tmp_path)) == 10


class WithoutMemory(FileLayer):
    """A system that has no file as memory."""

    def room(self, handle: int, size: int) -> None:  # noqa: ARG002 - the layer's
        return None


def test_an_async_journal_is_the_same_through_memory_and_by_calls(tmp_path: Path) -> None:
    sizes = [1 + number * 7 % 61 for number in range(300)]
    commits = written(tmp_path / "memory", sizes)
    assert written(tmp_path / "calls", sizes, layer=WithoutMemory()) == commits
    for folder in ("memory", "calls"):
        assert read(tmp_path / folder) == commits


@pytest.mark.skipif(sys.platform != "linux", reason="through memory on Linux only")
def test_pages_are_ready_before_an_async_commit_comes_to_them(tmp_path: Path) -> None:
    with writer(tmp_path, segment_rows=1 << 15, buffer_rows=1 << 10) as journal:
        if journal._room is None:
            pytest.skip("this folder's file system is not one whose room stays given")
        rows, ready = facts(0, 15), []
        for number in range(1900):  # 1.9 MB
            rows["sequence"] = np.arange(15) + 15 * number
            journal.append(rows)
            journal.commit(1, 1)
            if number % 475 == 474:
                wanted = journal.core.bytes_sealed() + (1 << 17)
                for _ in range(3000):
                    if journal._room.ready >= wanted:
                        break
                    time.sleep(0.01)
                ready.append(journal._room.ready >= wanted)
        assert ready == [True] * 4
    assert len(read(tmp_path)) == 1900


@pytest.mark.skipif(sys.platform != "linux", reason="through memory on Linux only")
def test_a_file_that_can_be_changed_no_more_is_noticed_although_pages_take_copies(tmp_path: Path) -> None:
    with writer(tmp_path, layer=Faulty((journal_write.TOUCH, 0, EVER, -EIO))) as journal:
        if journal._room is None:
            pytest.skip("this folder's file system is not one whose room stays given")
        go_on(journal, 2)
        for _ in range(3000):
            if journal.failure:
                break
            time.sleep(0.01)
        assert "Input/output" in journal.failure
        with pytest.raises(JournalFailedError):
            go_on(journal, 1)


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
@pytest.mark.parametrize("size", [1, 63, 64, 100])
def test_short_writes_are_gone_on_with(tmp_path: Path, durability: str, size: int) -> None:
    disk = Faulty((journal_write.WRITE, 0, EVER, size))
    commits = written(tmp_path, [3, 20, 50, 1, 60, 2], layer=disk, durability=durability)
    assert read(tmp_path) == commits


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
@pytest.mark.parametrize(
    ("effect", "said"), [(-EIO, "Input/output"), (-ENOSPC, "No space left"), (0, "nothing was taken")]
)
@pytest.mark.parametrize("call", [0, 1, 3])
def test_after_a_failed_write_nothing_more_is_written_or_synced(
    tmp_path: Path, durability: str, effect: int, said: str, call: int
) -> None:
    """The fault is one call long: whoever tried again would be told that all is well."""
    journal = writer(tmp_path, layer=Faulty((journal_write.WRITE, call, call + 1, effect)), durability=durability)
    marks: list[int] = []
    with pytest.raises(JournalFailedError, match=f"has failed: writing segment-000001.journal: {said}"):
        go_on(journal, 10, marks)
    assert marks == list(range(1, call + 1))
    assert journal.reached() == call
    assert not journal.is_safe(1), "nothing may rest on a journal that has failed"
    operations = journal.operations()
    for refused in (lambda: journal.append(facts(99, 1)), lambda: journal.commit(1, 1)):
        with pytest.raises(JournalFailedError):
            refused()
    journal.close()
    assert journal.operations() == operations
    assert len(read(tmp_path)) == call


@pytest.mark.parametrize("durability", ["group", "strict"])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_failed_sync_is_never_tried_again(tmp_path: Path, durability: str, call: int) -> None:
    disk = Faulty((journal_write.SYNC, call, call + 1, -EIO))  # Sync 0 is the header's.
    journal = writer(tmp_path, layer=disk, durability=durability)
    with pytest.raises(JournalFailedError, match=r"syncing segment-000001.journal: Input/output"):
        go_on(journal, 10)
    assert journal.reached() == call - 1
    journal.close()
    assert journal.operations()[1] == call + 1
    assert disk.calls["trim"] == 0, "a failed file is left as it is"


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
def test_a_full_disk_at_a_new_segment_stops_the_journal(tmp_path: Path, durability: str) -> None:
    journal = writer(tmp_path, layer=Faulty(create=2), durability=durability)
    with pytest.raises(JournalFailedError, match=r"new segment cannot be made: No space left.*no order"):
        go_on(journal, 40)
    assert journal.reached() == 32
    journal.close()
    assert read(tmp_path) == [facts(number, 1).tobytes() for number in range(32)]
    assert not list(tmp_path.glob("*.part"))


def test_a_disk_that_is_full_from_the_start_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(JournalFailedError, match=r"cannot be begun: No space left"):
        writer(tmp_path, layer=Faulty(create=1))
    FolderLock(tmp_path).close()


@pytest.mark.parametrize("durability", ["async", "group"])
def test_a_segment_that_cannot_be_closed_is_said(tmp_path: Path, durability: str) -> None:
    journal = writer(tmp_path, layer=Faulty(trim=1), durability=durability)
    journal.append(facts(0, 1))
    journal.commit(1, 1)
    journal.close()
    assert journal.failure == "closing: Input/output error"
    assert len(read(tmp_path)) == 1


def test_an_async_segment_put_away_is_synced_and_its_failure_stops_the_journal(tmp_path: Path) -> None:
    # The first sync is the first header's; the second the full segment's, made behind the caller's back.
    journal = writer(tmp_path, layer=Faulty((journal_write.SYNC, 1, 2, -EIO)))
    journal.append(facts(0, 60))
    journal.commit(1, 1)
    journal.append(facts(60, 10))
    journal.commit(1, 1)
    journal.close()
    assert "syncing" in journal.failure
    assert journal.operations()[1] == 2


def test_a_second_instance_is_refused_by_name(tmp_path: Path) -> None:
    with writer(tmp_path):
        for again in (lambda: FolderLock(tmp_path), lambda: writer(tmp_path), lambda: resume(tmp_path)):
            with pytest.raises(
                SessionError, match=rf"in use by another process, number {os.getpid()}, .*stop it first"
            ):
                again()
    FolderLock(tmp_path).close()
    assert (tmp_path / "epoch").read_text() == "1", "who is refused takes no epoch"


def test_a_journal_is_nobody_elses(tmp_path: Path) -> None:
    """Its segments, and the snapshots and the archive that come to lie in it."""
    folder = tmp_path / "session" / "journal"
    before = os.umask(0o022)
    try:
        written(folder, [2])
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o755
    assert next(folder.glob("segment-*")).stat().st_mode & 0o777 == 0o600


def test_an_epoch_is_never_used_twice(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path) for _ in range(3)] == [1, 2, 3]
    assert next_epoch(tmp_path, above=7) == 8
    assert next_epoch(tmp_path, above=2) == 9
    (tmp_path / "epoch").unlink()
    assert next_epoch(tmp_path, above=9) == 10
    for damaged in ("x", "", "-1", "9" * 30, "٣"):
        (tmp_path / "epoch").write_text(damaged, encoding="utf-8")
        with pytest.raises(CorruptError, match="epoch of this journal is damaged"):
            next_epoch(tmp_path)


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
def test_an_event_loop_is_told_of_marks_in_order(tmp_path: Path, durability: str) -> None:
    async def run() -> list[int]:
        found: list[int] = []
        with writer(tmp_path, durability=durability) as journal, MarkNotices(journal) as notices:

            async def follow(mark: int) -> None:
                await notices.reach(mark)
                assert journal.is_safe(mark)
                found.append(mark)

            async with asyncio.TaskGroup() as tasks:
                for number in range(20):
                    journal.append(facts(number, 1))
                    tasks.create_task(follow(journal.commit(1, 1)))
                    await asyncio.sleep(0)
        return found

    assert asyncio.run(run()) == list(range(1, 21))


def test_an_event_loop_is_told_of_a_failure(tmp_path: Path) -> None:
    async def run() -> None:
        disk = Faulty((journal_write.SYNC, 1, 2, -EIO))
        with writer(tmp_path, durability="strict", layer=disk) as journal, MarkNotices(journal) as notices:
            journal.append(facts(0, 1))
            with pytest.raises(JournalFailedError, match="Input/output"):
                await notices.reach(journal.commit(1, 1))
            with pytest.raises(JournalFailedError, match="Input/output"):
                await notices.reach(1)

    asyncio.run(run())
