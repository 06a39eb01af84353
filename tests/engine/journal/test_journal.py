"""What was sealed is read back, whatever happened to the process, the disk or the file."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.errors import CorruptError, DataError
from twinloop.engine.journal.folder import FolderLock, next_epoch
from twinloop.engine.journal.reader import cut_torn_tail, open_journal
from twinloop.engine.journal.writer import Durability, FileLayer, JournalFailedError, JournalWriter
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW, ROW_SIZE

WORDS = np.random.Generator(np.random.PCG64(5))


def facts(first: int, count: int) -> Any:
    out = np.zeros(count, ROW)
    out["kind"], out["sequence"] = table.TRADE, np.arange(first, first + count)
    out["price"], out["qty"] = 100 + np.arange(count), 1 + np.arange(count) % 7
    return out


def writer(folder: Path, **more: Any) -> JournalWriter:
    options: dict[str, Any] = {
        "session": {"name": "test"},
        "code": "c",
        "config": "d",
        "durability": "async",
        "segment_rows": 64,
    }
    return JournalWriter(folder, **(options | more))


def written(folder: Path, sizes: list[int], **more: Any) -> list[bytes]:
    """Commits of these many rows; their bytes."""
    journal = writer(folder, **more)
    found, first = [], 0
    for number, size in enumerate(sizes):
        rows = facts(first, size)
        journal.append(rows)
        journal.commit(number, number + 1, sequence=first + size)
        found.append(rows.tobytes())
        first += size
    journal.close()
    return found


def read(folder: Path) -> list[bytes]:
    return [commit.rows.tobytes() for commit in open_journal(folder).each()]


@given(sizes=st.lists(st.integers(1, 20), max_size=30), durability=st.sampled_from(["async", "group", "strict"]))
def test_commits_come_back_in_order_over_segments(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], durability: Durability
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    commits = written(folder, sizes, durability=durability)
    journal = open_journal(folder)
    assert [commit.rows.tobytes() for commit in journal.each()] == commits
    assert [commit.number for commit in journal.each()] == list(range(len(sizes)))
    assert journal.torn_bytes == 0
    assert journal.next_sequence() == sum(sizes)


def test_facts_requests_and_notes_are_told_apart(tmp_path: Path) -> None:
    rows = facts(0, 3)
    rows["kind"] = [table.TRADE, table.NEW, table.SENT]
    journal = writer(tmp_path)
    journal.append(rows)
    journal.commit(1, 2, sequence=1)
    journal.close()
    commit = next(open_journal(tmp_path).each())
    assert [each["kind"].tolist() for each in (commit.facts, commit.requests, commit.notes)] == [
        [table.TRADE], [table.NEW], [table.SENT],
    ]  # fmt: skip
    assert (int(commit.seal["monotonic_ns"]), int(commit.seal["wall_ns"])) == (1, 2)


def test_a_second_process_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    first = written(tmp_path, [3, 4])
    journal = open_journal(tmp_path)
    again = writer(tmp_path, start=journal.start)
    assert again.epoch == 2
    again.append(facts(7, 2))
    again.commit(5, 6, sequence=9)
    again.close()
    both = open_journal(tmp_path)
    assert [commit.rows.tobytes() for commit in both.each()] == [*first, facts(7, 2).tobytes()]
    assert [segment.header.epoch for segment in both.segments] == [1, 2]
    assert both.next_sequence() == 9


def test_every_cut_of_the_file_leaves_the_whole_commits_before_it(tmp_path: Path) -> None:
    commits = written(tmp_path, [2, 1, 3])
    path = next(tmp_path.glob("segment-*"))
    data = path.read_bytes()
    header = open_journal(tmp_path).segments[0].header_bytes
    ends = np.cumsum([header, *((len(each) + ROW_SIZE) for each in commits)]).tolist()
    for length in range(header, len(data)):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends[1:])
        journal = open_journal(tmp_path)
        assert [commit.rows.tobytes() for commit in journal.each()] == commits[:whole], length
    for length in range(header):
        path.write_bytes(data[:length])
        with pytest.raises((CorruptError, DataError)):
            open_journal(tmp_path)


def test_every_flipped_bit_is_seen_and_never_replayed(tmp_path: Path) -> None:
    commits = written(tmp_path, [2, 1, 1])
    path = next(tmp_path.glob("segment-*"))
    data = path.read_bytes()
    header = open_journal(tmp_path).segments[0].header_bytes
    last = len(data) - len(commits[-1]) - ROW_SIZE
    for bit in range(8 * header, 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if bit // 8 < last:  # Whole commits stand behind it.
            with pytest.raises(CorruptError, match="changed after it was written"):
                open_journal(tmp_path)
        else:  # The last commit: as one that was cut short.
            assert read(tmp_path) == commits[:-1]
    for bit in range(8 * header):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises((CorruptError, DataError)):
            open_journal(tmp_path)


def test_a_torn_tail_is_cut_and_kept(tmp_path: Path) -> None:
    commits = written(tmp_path, [2, 3])
    path = next(tmp_path.glob("segment-*"))
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    journal = open_journal(tmp_path)
    torn, end = journal.torn_bytes, journal.segments[-1].end
    assert cut_torn_tail(journal) == torn > 0
    assert [kept.read_bytes() for kept in tmp_path.glob("*.torn-*")] == [data[end : end + torn]]
    assert read(tmp_path) == commits[:1]
    again = writer(tmp_path, start=open_journal(tmp_path).start)
    again.append(facts(2, 1))
    again.commit(1, 1, sequence=3)
    again.close()
    assert read(tmp_path) == [commits[0], facts(2, 1).tobytes()]


def test_a_missing_or_foreign_segment_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [20] * 8)
    paths = sorted(tmp_path.glob("segment-*"))
    assert len(paths) == 3
    kept = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(CorruptError, match="missing or renamed"):
        open_journal(tmp_path)
    paths[1].write_bytes(kept[:-1])
    with pytest.raises(CorruptError, match=r"breaks off|does not continue"):
        open_journal(tmp_path)
    paths[1].write_bytes(b"NOTTWINS" + kept[8:])
    with pytest.raises(DataError, match="not a journal segment"):
        open_journal(tmp_path)


@given(data=st.binary(max_size=600))
def test_random_bytes_never_read_as_commits(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("random")
    (folder / "segment-000001.journal").write_bytes(data)
    with pytest.raises((CorruptError, DataError)):
        open_journal(folder)


class FailingDisk(FileLayer):
    """Fails the n-th sync, or the n-th new file."""

    def __init__(self, *, sync: int = -1, create: int = -1) -> None:
        self.fail_sync, self.fail_create = sync, create
        self.syncs = self.creates = 0

    def sync(self, handle: int) -> None:
        self.syncs += 1
        if self.syncs == self.fail_sync:
            raise OSError(5, "Input/output error")
        assert self.syncs < self.fail_sync or self.fail_sync < 0, "a failed file was synced again"
        super().sync(handle)

    def create(self, path: Path, size: int) -> int:
        self.creates += 1
        if self.creates == self.fail_create:
            raise OSError(28, "No space left on device")
        return super().create(path, size)


def test_after_a_failed_sync_nothing_is_safe_and_nothing_is_synced_again(tmp_path: Path) -> None:
    disk = FailingDisk(sync=2)
    journal = writer(tmp_path, durability="strict", layer=disk)
    journal.append(facts(0, 1))
    assert journal.wait(journal.commit(1, 1), 10.0)
    journal.append(facts(1, 1))
    mark = journal.commit(2, 2)
    assert not journal.wait(mark, 10.0)
    with pytest.raises(JournalFailedError, match="Input/output error"):
        journal.append(facts(2, 1))
    assert not journal.is_safe(1), "nothing is safe behind a failed journal"
    journal.close()
    assert disk.syncs == 2


def test_a_full_disk_stops_the_journal_and_damages_nothing(tmp_path: Path) -> None:
    journal = writer(tmp_path, layer=FailingDisk(create=2))
    journal.append(facts(0, 60))
    journal.commit(1, 1, sequence=60)
    with pytest.raises(JournalFailedError, match="No space left"):
        journal.append(facts(60, 10))
    with pytest.raises(JournalFailedError):
        journal.commit(2, 2)
    journal.close()
    assert read(tmp_path) == [facts(0, 60).tobytes()]


def test_a_second_instance_is_refused_by_name(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    with pytest.raises(SessionError, match=f"in use.*{os.getpid()}"):
        FolderLock(tmp_path)
    journal.close()
    FolderLock(tmp_path).close()


def test_an_epoch_is_never_used_twice(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "epoch").write_text("x")
    with pytest.raises(CorruptError, match="epoch of this journal is damaged"):
        next_epoch(tmp_path)


CHILD = """
import os, sys
from pathlib import Path
import numpy as np
from twinloop.engine.journal.writer import JournalWriter
from twinloop.kernels import rows as table
journal = JournalWriter(Path(sys.argv[1]), session={}, code="c", config="d", durability=sys.argv[2], segment_rows=256)
out = np.zeros(3, table.ROW)
out["kind"] = table.TRADE
for number in range(100000):
    out["sequence"] = np.arange(3 * number, 3 * number + 3)
    journal.append(out)
    mark = journal.commit(number, number, sequence=3 * number + 3)
    if journal.wait(mark, 10.0):
        os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("durability", ["async", "strict"])
@pytest.mark.parametrize("after", [1, 40, 333])
def test_what_was_safe_survives_a_kill(tmp_path: Path, durability: str, after: int) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), durability]
    last = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            last = int(line)
            if last >= after:
                break
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    last = max([last, *(int(each) for each in rest.split(b"\n")[:-1])])
    commits = [commit.rows["sequence"].tolist() for commit in open_journal(tmp_path).each()]
    assert len(commits) > last
    assert commits == [[3 * n, 3 * n + 1, 3 * n + 2] for n in range(len(commits))]
