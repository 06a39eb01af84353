"""A reader beside the writer: every sealed commit once, nothing that is not sealed, and damage never taken for patience."""

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.small_journals import OPTIONS, append, facts, read, writer, written

from twinloop.data.errors import CorruptError, DataError
from twinloop.engine.journal import follower as following
from twinloop.engine.journal.archive import archive, retire
from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import resume

# Commits of one to four rows as fast as they go, in small segments, until the process is killed.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from twinloop.engine.journal.recovery import resume
from twinloop.kernels import rows as table

recovered = resume(Path(sys.argv[1]), session={}, code="c", config="d", durability=sys.argv[2], segment_rows=200, group_us=50)
journal = recovered.writer
_, _, sequence = recovered.journal.start if recovered.journal else (0, 0, 0)
out = np.zeros(4, table.ROW)
out["kind"] = table.TRADE
print("writes", flush=True)
while True:
    count = sequence % 4 + 1
    out["sequence"] = np.arange(sequence, sequence + 4)
    journal.append(out[:count])
    sequence += count
    mark = journal.commit(sequence, sequence)
    assert journal.wait(mark, 10.0)
"""


def all_of(follower: JournalFollower) -> list[Any]:
    found = []
    while more := follower.read():
        found += more
    return found


@pytest.mark.parametrize("durability", ["async", "group", "strict"])
def test_a_follower_reads_what_a_real_writer_seals_across_kills(tmp_path: Path, durability: str) -> None:
    generator = random.Random(7)
    follower = JournalFollower(tmp_path)
    assert follower.read() == []  # Nobody wrote anything yet.
    number, sequence, digest = 0, 0, b""
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), durability], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"writes\n"
            until = number + generator.randrange(200, 900)
            while number < until:
                for commit in follower.read():
                    assert commit.number == number
                    assert commit.rows["sequence"].tolist() == list(range(sequence, sequence + len(commit.rows)))
                    number, sequence = number + 1, sequence + len(commit.rows)
                    digest += commit.rows.tobytes()
            child.send_signal(signal.SIGKILL)
    rest = all_of(follower)
    digest += b"".join(commit.rows.tobytes() for commit in rest)
    assert digest == b"".join(read(tmp_path))
    assert follower.commit == number + len(rest) == open_journal(tmp_path).start[0]


def test_what_is_not_sealed_is_not_there_yet(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    written(whole, [1, 2, 3, 1])
    path = whole / "segment-000001.journal"
    content = path.read_bytes()
    journal = open_journal(whole)
    ends, end = [], journal.segments[0].header_bytes
    for commit in journal.each():
        end += (len(commit.rows) + 1) * 64
        ends.append(end)
    growing = tmp_path / "growing"
    growing.mkdir()
    target = growing / path.name
    follower = JournalFollower(growing)
    seen = 0
    for size in range(journal.segments[0].header_bytes, len(content) + 1, 16):
        target.write_bytes(content[:size] + bytes(len(content) - size))  # As a writer that is so far leaves its file.
        seen += len(follower.read())
        assert seen == sum(each <= size for each in ends)
    assert seen == 4
    follower.close()


def test_a_torn_tail_is_waited_for_until_another_process_cut_it(tmp_path: Path) -> None:
    written(tmp_path, [2, 2])
    follower = JournalFollower(tmp_path)
    assert len(follower.read()) == 2
    path = tmp_path / "segment-000001.journal"
    path.write_bytes(path.read_bytes() + facts(4, 3).tobytes())
    for _ in range(3):
        assert follower.read() == []
    recovered = resume(tmp_path, **OPTIONS)
    assert 128 < recovered.torn_bytes <= 192  # Up to the last byte that is not zero.
    append(recovered.writer, facts(4, 1))
    assert recovered.writer.wait(recovered.writer.commit(1, 1), 10.0)
    assert [commit.number for commit in follower.read()] == [2]
    assert follower.header is not None
    assert follower.header.epoch == 2
    recovered.writer.close()


def test_a_commit_larger_than_a_piece_is_read(tmp_path: Path) -> None:
    sizes = [1, 70_000, 2]
    content = written(tmp_path, sizes, segment_rows=1 << 17, buffer_rows=1 << 17)
    assert [commit.rows.tobytes() for commit in all_of(JournalFollower(tmp_path))] == content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(byte=st.integers(0, 10**9), bit=st.integers(0, 7), segment=st.sampled_from([1, 2]))
def test_a_flipped_bit_is_an_alarm_or_not_yet_and_never_a_commit(
    tmp_path_factory: pytest.TempPathFactory, byte: int, bit: int, segment: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    content = written(folder, [3, 1, 20, 40, 2, 2, 5], segment_rows=64)
    path = folder / f"segment-{segment:06d}.journal"
    damaged = bytearray(path.read_bytes())
    damaged[byte % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    follower = JournalFollower(folder)
    found = []
    try:
        found = all_of(follower)
        alarm = False
    except DataError:  # Also a header that is none.
        alarm = True
    assert [commit.rows.tobytes() for commit in found] == content[: len(found)]
    # What a later commit or segment stands behind cannot become whole any more; the last commit of all may still be being written.
    last = open_journal_or_none(folder)
    if segment == 1:
        assert alarm
    elif not alarm:
        assert last is not None
        assert last.torn_bytes > 0


def open_journal_or_none(folder: Path) -> Any:
    try:
        return open_journal(folder)
    except DataError:
        return None


@pytest.mark.parametrize("what", ["gap", "order", "foreign"])
def test_what_checks_and_should_not_stand_there_is_an_alarm(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "journal"
    if what == "gap":
        with writer(folder) as journal:
            for first in (0, 2, 5):
                append(journal, facts(first, 2))
                journal.commit(1, 1)
    else:
        written(folder, [40, 40])
        other = tmp_path / "other"
        written(other, [30, 20, 40] if what == "foreign" else [41, 40])
        (other / "segment-000002.journal").replace(folder / "segment-000002.journal")
    follower = JournalFollower(folder)
    with pytest.raises(CorruptError, match="facts are missing" if what == "gap" else "does not continue"):
        all_of(follower)


def test_a_follower_begins_where_it_is_told_and_knows_its_journal(tmp_path: Path) -> None:
    content = written(tmp_path, [3, 10, 40, 30, 2, 50, 1], segment_rows=64)
    seals = [int(commit.seal["checksum"]) for commit in open_journal(tmp_path).each()]
    for commit in range(1, 8):
        follower = JournalFollower(tmp_path, commit=commit, checksum=seals[commit - 1])
        assert [each.rows.tobytes() for each in all_of(follower)] == content[commit:]
        assert follower.commit == 7
    for commit in range(1, 8):
        with pytest.raises(CorruptError, match="not the journal that was read before"):
            all_of(JournalFollower(tmp_path, commit=commit, checksum=seals[commit - 1] ^ 1))
    beyond = JournalFollower(tmp_path, commit=9, checksum=1)
    assert all_of(beyond) == []  # Not sealed yet, as far as it can know.


def test_a_journal_may_be_archived_under_its_follower(tmp_path: Path) -> None:
    follower = JournalFollower(tmp_path)
    found: list[bytes] = []
    content: list[bytes] = []
    sequence = 0
    with writer(tmp_path, segment_rows=16, buffer_rows=64) as journal:
        for size in range(1, 13):
            append(journal, facts(sequence, size))
            sequence += size
            journal.commit(1, size)
            content.append(facts(sequence - size, size).tobytes())
            if size == 4:
                found += [commit.rows.tobytes() for commit in follower.read()]
            if size in {4, 9, 12}:
                archive(tmp_path)
        assert follower.header is not None
        assert follower.header.segment < open_journal(tmp_path).segments[0].header.segment - 1
        found += [commit.rows.tobytes() for commit in all_of(follower)]
        assert found == content
        assert [commit.rows.tobytes() for commit in all_of(JournalFollower(tmp_path))] == content
        assert retire(tmp_path, now_ns=2**62, age_ns=1)
        with pytest.raises(CorruptError, match="retired"):
            all_of(JournalFollower(tmp_path))


def test_a_missing_segment_is_an_alarm(tmp_path: Path) -> None:
    written(tmp_path, [40] * 5, segment_rows=64)
    follower = JournalFollower(tmp_path)
    assert len(follower.read()) == 1
    (tmp_path / "segment-000002.journal").unlink()
    with pytest.raises(CorruptError, match="is missing"):
        all_of(follower)
    (tmp_path / "segment-000001.journal").unlink()
    with pytest.raises(CorruptError, match="the beginning of a journal is missing"):
        JournalFollower(tmp_path).read()


def test_rows_that_were_given_do_not_change(tmp_path: Path) -> None:
    written(tmp_path, [2])
    (commit,) = JournalFollower(tmp_path).read()
    assert not commit.rows.flags.writeable
    assert np.array_equal(commit.facts["sequence"], [0, 1])


def test_a_segment_that_goes_while_it_is_looked_for_is_found_in_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's round runs beside the follower: it may come between any two of its steps."""
    commits = written(tmp_path, [20] * 10)
    reader = JournalFollower(tmp_path)
    assert [commit.rows.tobytes() for commit in reader.read()] == commits[:3]
    opened = following._File

    def archived_meanwhile(path: Path) -> Any:
        archive(tmp_path)
        return opened(path)

    monkeypatch.setattr(following, "_File", archived_meanwhile)
    assert [commit.rows.tobytes() for commit in reader.read()] == commits[3:6]
    reader.close()


def test_a_name_without_a_file_ends_neither_the_beginning_nor_a_look_at_how_far_behind(tmp_path: Path) -> None:
    """What was listed may be archived by the time it is looked at."""
    written(tmp_path, [20] * 6)
    later = tmp_path / "segment-000009.journal"
    later.symlink_to(tmp_path / "gone")
    reader = JournalFollower(tmp_path)
    assert reader.read()
    assert reader.behind_bytes == (tmp_path / "segment-000002.journal").stat().st_size
    assert [header.segment for header in following.headers_of(tmp_path)] == [2, 1]
    reader.close()
