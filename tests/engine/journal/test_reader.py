"""Damage is told apart from an end cut short, wherever it is, and nothing that was not written is ever read."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import journal as twin
from reference.small_journals import OPTIONS, append, facts, read, writer, written

from twinloop.data import journal_scan
from twinloop.data.errors import CorruptError, DataError
from twinloop.data.rowfile import join_rows
from twinloop.engine.journal.format import HEADER_MAX, Header, header_bytes, read_header
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import cut_torn_tail, resume
from twinloop.engine.journal.segment import read_segment
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW, ROW_SIZE


def only_segment(folder: Path) -> Path:
    (path,) = folder.glob("segment-*.journal")
    return path


def small(folder: Path, sizes: list[int]) -> tuple[Path, bytes, list[bytes], list[int]]:
    """One segment: its path, bytes, commits, and the byte behind its header and behind each commit."""
    commits = written(folder, sizes)
    path = only_segment(folder)
    ends = itertools.accumulate((len(each) + ROW_SIZE for each in commits), initial=read_segment(path)[0].header_bytes)
    return path, path.read_bytes(), commits, list(ends)


@given(content=st.binary(max_size=200), before=st.integers(0, 2**32 - 1))
def test_the_checksum_is_crc32c_by_instruction_by_tables_and_by_definition(content: bytes, before: int) -> None:
    expected = twin.crc32c(content, before)
    assert journal_scan.crc32c(content, before) == expected
    assert journal_scan.crc32c(content, before, tables=True) == expected


def test_the_checksum_gives_the_published_check_value() -> None:
    assert journal_scan.crc32c(b"123456789") == 0xE3069283


def test_every_cut_of_the_file_leaves_the_whole_commits_before_it(tmp_path: Path) -> None:
    path, content, commits, ends = small(tmp_path, [2, 1, 3, 1])
    for length in range(ends[0], len(content)):
        path.write_bytes(content[:length])
        whole = sum(end <= length for end in ends[1:])
        journal = open_journal(tmp_path)
        assert [commit.rows.tobytes() for commit in journal.each()] == commits[:whole], length
        assert journal.torn_bytes <= length - ends[whole]
    for length in range(ends[0]):
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            open_journal(tmp_path)


def test_every_end_overwritten_by_zeros_leaves_the_whole_commits_before_it(tmp_path: Path) -> None:
    """As a process leaves it that dies: the room was given, not all of the rows were written."""
    path, content, commits, ends = small(tmp_path, [2, 1, 3])
    for length in range(ends[0], len(content)):
        path.write_bytes(content[:length] + bytes(len(content) - length + 1000))
        journal = open_journal(tmp_path)
        # A row's last bytes may be zeros anyway.
        whole = sum(end <= length or not any(content[length:end]) for end in ends[1:])
        assert [commit.rows.tobytes() for commit in journal.each()] == commits[:whole], length


def test_every_flipped_bit_is_seen_and_never_replayed(tmp_path: Path) -> None:
    path, content, commits, ends = small(tmp_path, [2, 1, 1])
    seen = {"changed": 0, "torn": 0, "header": 0}
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if bit // 8 < ends[0]:
            with pytest.raises(DataError):
                open_journal(tmp_path)
            seen["header"] += 1
        elif bit // 8 < ends[-2]:  # Whole commits stand behind it.
            number = sum(end <= bit // 8 for end in ends[1:])
            with pytest.raises(CorruptError) as caught:
                open_journal(tmp_path)
            row = (ends[number] - ends[0]) // ROW_SIZE
            assert f"{path.name}: a journal was changed after it was written, at byte {ends[number]}" in str(
                caught.value
            )
            assert f"expected a whole commit at row {row}" in str(caught.value)
            seen["changed"] += 1
        else:  # In the last commit: as one that was cut short, and told what it looks like.
            journal = open_journal(tmp_path)
            assert [commit.rows.tobytes() for commit in journal.each()] == commits[:-1]
            assert journal.torn_bytes > 0
            assert journal.segments[-1].tail != ""
            seen["torn"] += 1
    assert all(seen.values())


def test_a_flipped_bit_before_the_last_segment_is_always_damage(tmp_path: Path) -> None:
    """Also in a segment's last commit: the next header says what it was."""
    written(tmp_path, [20, 30, 40])
    first, last = sorted(tmp_path.glob("segment-*.journal"))
    content = first.read_bytes()
    assert last.stat().st_size > ROW_SIZE
    for byte in range(len(content)):
        damaged = bytearray(content)
        damaged[byte] ^= 1 << byte % 8
        first.write_bytes(damaged)
        with pytest.raises(DataError):
            open_journal(tmp_path)
    first.write_bytes(content)
    assert len(read(tmp_path)) == 3


def test_a_page_of_zeros_in_the_middle_is_damage(tmp_path: Path) -> None:
    path, content, _, ends = small(tmp_path, [3] * 12)
    for start in range(ends[0], ends[-3] - 512, 64):
        path.write_bytes(content[:start] + bytes(512) + content[start + 512 :])
        with pytest.raises(CorruptError, match="changed after it was written"):
            open_journal(tmp_path)


@pytest.mark.parametrize("other", [0, 2, 4])
def test_commits_that_change_places_are_damage(tmp_path: Path, other: int) -> None:
    path, content, _, ends = small(tmp_path, [2] * 6)
    size = ends[1] - ends[0]
    damaged = bytearray(content)
    a, b = ends[1], ends[other]
    damaged[a : a + size], damaged[b : b + size] = content[b : b + size], content[a : a + size]
    path.write_bytes(damaged)
    with pytest.raises(CorruptError, match="changed after it was written"):
        open_journal(tmp_path)


def test_a_commit_left_out_or_written_twice_is_damage(tmp_path: Path) -> None:
    path, content, _, ends = small(tmp_path, [2] * 5)
    for damaged in (content[: ends[1]] + content[ends[2] :], content[: ends[2]] + content[ends[1] :]):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match="changed after it was written"):
            open_journal(tmp_path)


@given(data=st.data())
def test_random_damage_is_never_read_as_something_else(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    path, content, commits, _ = small(folder, sizes)
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=130))
        damaged[at : at + len(piece)] = piece
    path.write_bytes(damaged)
    expected = twin.read(bytes(damaged))
    try:
        found = read(folder)
    except DataError:
        return
    assert found == commits[: len(found)]
    assert expected is not None
    assert found == expected.commits


@given(data=st.binary(max_size=3000))
def test_random_bytes_never_read_as_a_journal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("random")
    (folder / "segment-000001.journal").write_bytes(data)
    with pytest.raises(DataError):
        open_journal(folder)


HEADER = header_bytes(Header(epoch=1, segment=1, first_sequence=0, first_commit=0, checksum=0, code="", config=""))


@given(
    rows=st.lists(st.tuples(st.sampled_from([0, 1, 80, 96, 96, 96, 255]), st.integers(-2, 40)), max_size=60),
    rest=st.binary(max_size=63),
)
def test_random_rows_behind_a_header_read_as_the_slow_reader_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], rest: bytes
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    content = np.zeros(len(rows), ROW)
    content["kind"], content["rows"] = [kind for kind, _ in rows], [count for _, count in rows]
    damaged = HEADER + content.tobytes() + rest
    (folder / "segment-000001.journal").write_bytes(damaged)
    expected = twin.read(damaged)
    assert expected is not None
    assert read(folder) == expected.commits == []


def test_a_file_of_seals_is_judged_in_linear_time(tmp_path: Path) -> None:
    """Every row claims to close as many rows as it could: looked at one by one that would be 10**10 rows."""
    content = np.zeros(1 << 17, ROW)
    content["kind"], content["rows"] = table.SEAL, np.arange(1 << 17)
    (tmp_path / "segment-000001.journal").write_bytes(HEADER + content.tobytes())
    journal = open_journal(tmp_path)
    assert journal.commits == 0
    assert journal.torn_bytes > 0


def test_a_header_that_claims_much_takes_no_memory() -> None:
    claims = HEADER[:12] + (2**26).to_bytes(4, "little") + HEADER[16:]
    with pytest.raises(CorruptError, match="breaks off"):
        read_header(claims + bytes(HEADER_MAX + 64), "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": -1}, "cannot be read"),
        ({"checksum": 2**32}, "cannot be read"),
        ({"first_commit": 2**70}, "cannot be read"),
        ({"segment": 2}, "expected segment 1, got 'segment 2'"),
        ({"first_commit": 3}, "does not continue"),
        ({"checksum": 3}, "does not continue"),
    ],
)
def test_a_header_that_tells_nonsense_is_refused(tmp_path: Path, change: dict[str, int], said: str) -> None:
    fields = {"epoch": 1, "segment": 1, "first_sequence": 0, "first_commit": 0, "checksum": 0, "code": "", "config": ""}
    (tmp_path / "segment-000001.journal").write_bytes(header_bytes(Header(**(fields | change))))  # type: ignore[arg-type]
    with pytest.raises(CorruptError, match=said):
        open_journal(tmp_path)


def test_another_format_is_named(tmp_path: Path) -> None:
    path, content, _, _ = small(tmp_path, [1])
    path.write_bytes(content[:8] + (2).to_bytes(4, "little") + content[12:])
    with pytest.raises(DataError, match="another format, expected version 1, got 2; read it with the version"):
        open_journal(tmp_path)
    path.write_bytes(b"NOTTWINS" + content[8:])
    with pytest.raises(DataError, match="not a journal segment"):
        open_journal(tmp_path)


def test_a_missing_or_renamed_segment_is_named(tmp_path: Path) -> None:
    written(tmp_path, [20] * 8)
    paths = sorted(tmp_path.glob("segment-*.journal"))
    assert len(paths) == 3
    kept = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(CorruptError, match=r"missing or renamed, expected segment 2"):
        open_journal(tmp_path)
    paths[1].write_bytes(kept[: len(kept) - 21 * ROW_SIZE])
    with pytest.raises(CorruptError, match=r"does not continue the one before"):
        open_journal(tmp_path)
    paths[1].write_bytes(kept[:-1])
    with pytest.raises(CorruptError, match=r"breaks off at byte \d+, with another behind it"):
        open_journal(tmp_path)
    paths[1].write_bytes(kept)
    paths[0].unlink()
    with pytest.raises(CorruptError, match=r"missing or renamed, expected segment 1"):
        open_journal(tmp_path)
    for path in tmp_path.glob("segment-*.journal"):
        path.unlink()
    with pytest.raises(DataError, match="without journal segments"):
        open_journal(tmp_path)
    with pytest.raises(DataError, match="no such journal"):
        open_journal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("sequences", "row", "expected", "got"),
    [
        ([0, 1, 3, 4], 3, 2, 3),
        ([0, 1, 1, 2], 3, 2, 1),
        ([0, 0, 1, 2], 1, 1, 0),
        ([5, 6, 7, 8], 0, 0, 5),
        ([0, 1, 3, 5], 3, 2, 3),
    ],
)
def test_facts_missing_or_repeated_are_named_and_not_gone_on_with(
    tmp_path: Path, sequences: list[int], row: int, expected: int, got: int
) -> None:
    rows = facts(0, 4)
    rows["sequence"] = sequences
    with writer(tmp_path) as journal:
        for part in (rows[:2], rows[2:]):
            journal.append(part)
            journal.commit(1, 1)
    found = open_journal(tmp_path)
    first = found.problems[0]
    assert (first.what, first.row, first.expected, first.got) == ("facts are missing or repeated", row, expected, got)
    # A replay may still look at all of it; a session does not go on with it.
    assert b"".join(commit.rows.tobytes() for commit in found.each()) == rows.tobytes()
    with pytest.raises(CorruptError, match=f"missing or repeated at row {row}"):
        resume(tmp_path, **OPTIONS)
    assert (tmp_path / "epoch").read_text() == "1"


def test_requests_and_annotations_have_no_place_in_the_sequence(tmp_path: Path) -> None:
    rows = facts(0, 6)
    rows["kind"][[1, 3]] = [table.NEW, table.VERDICT]
    rows["sequence"] = [0, 0, 1, 7, 2, 3]
    with writer(tmp_path) as journal:
        journal.append(rows)
        journal.commit(1, 1)
    found = open_journal(tmp_path)
    assert found.problems == []
    assert found.next_sequence() == 4


def test_an_epoch_that_falls_is_a_problem(tmp_path: Path) -> None:
    for epoch in ("5", "0"):
        (tmp_path / "epoch").write_text(epoch)
        start = open_journal(tmp_path).start if any(tmp_path.glob("segment-*.journal")) else (0, 0, 0)
        writer(tmp_path, start=start).close()
    assert [(each.what, each.expected, each.got) for each in open_journal(tmp_path).problems] == [
        ("an epoch that falls", 6, 1)
    ]


def test_a_torn_tail_is_cut_and_kept_once(tmp_path: Path) -> None:
    path, content, commits, ends = small(tmp_path, [2, 3])
    torn = content[: -ROW_SIZE - 10]
    path.write_bytes(torn + bytes(5000))
    recovered = resume(tmp_path, **OPTIONS)
    recovered.writer.close()
    assert recovered.torn_bytes == len((torn[ends[1] :]).rstrip(b"\0"))
    assert recovered.tail == "a row of kind 0"
    kept = tmp_path / "segment-000001.torn-1"
    assert kept.read_bytes() == torn[ends[1] :].rstrip(b"\0")
    assert path.stat().st_size == ends[1]
    # Killed between keeping and cutting: the same bytes are not kept twice.
    path.write_bytes(torn)
    (tmp_path / "segment-000002.journal").unlink()
    cut_torn_tail(open_journal(tmp_path))
    assert [each.name for each in tmp_path.glob("*.torn-*")] == [kept.name]
    path.write_bytes(torn + b"x")
    cut_torn_tail(open_journal(tmp_path))
    assert len(list(tmp_path.glob("*.torn-*"))) == 2
    assert read(tmp_path) == commits[:1]


def test_a_segment_that_lost_everything_with_the_power_is_begun_again(tmp_path: Path) -> None:
    commits = written(tmp_path, [20] * 4)
    paths = sorted(tmp_path.glob("segment-*.journal"))
    paths[1].write_bytes(bytes(9000))
    assert read(tmp_path) == commits[:3]
    recovered = resume(tmp_path, **OPTIONS)
    append(recovered.writer, facts(60, 1))
    recovered.writer.commit(1, 1)
    recovered.writer.close()
    assert read(tmp_path) == [*commits[:3], facts(60, 1).tobytes()]


def test_commits_stay_readable_while_the_journal_is_written(tmp_path: Path) -> None:
    seen = []
    with writer(tmp_path) as journal:
        for number in range(100):
            journal.append(facts(number, 1))
            journal.commit(number, number)
            if number % 9 == 0:
                seen.append(len(read(tmp_path)))
    assert seen == list(range(1, 101, 9))


def test_rows_outlive_the_reading_and_the_file(tmp_path: Path) -> None:
    commits = written(tmp_path / "j", [3, 2])
    held = [commit.rows for commit in open_journal(tmp_path / "j").each()]
    shutil.rmtree(tmp_path / "j")
    assert [rows.tobytes() for rows in held] == commits
    assert not held[0].flags.writeable


@pytest.mark.parametrize(("count", "commits"), [(2, 1), (1, 0), (3, 0), (-1, 0), (2**62, 0)])
def test_a_seal_of_another_number_of_rows_closes_nothing(tmp_path: Path, count: int, commits: int) -> None:
    """Also where its checksum is right: no row may have gone before it was sealed."""
    content = join_rows([facts(0, 2), np.zeros(1, ROW)])
    content["kind"][2], content["rows"][2] = table.SEAL, count
    content["checksum"][2] = twin.crc32c(content.tobytes())
    (tmp_path / "segment-000001.journal").write_bytes(HEADER + content.tobytes())
    journal = open_journal(tmp_path)
    assert journal.commits == commits
    assert journal.segments[0].tail == ("" if commits else "a seal of another number of rows")


def test_a_commit_of_another_number_is_damage_though_it_checks(tmp_path: Path) -> None:
    content = join_rows([facts(0, 2), np.zeros(1, ROW)])
    content["kind"][2], content["rows"][2], content["sequence"][2] = table.SEAL, 2, 7
    content["checksum"][2] = twin.crc32c(content.tobytes())
    (tmp_path / "segment-000001.journal").write_bytes(HEADER + content.tobytes())
    with pytest.raises(CorruptError, match="got 'commit 7 instead of 0'"):
        open_journal(tmp_path)


def test_a_lost_counter_does_not_bring_an_epoch_back(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        recovered = resume(tmp_path, **OPTIONS)
        assert recovered.writer.epoch == expected
        recovered.writer.close()
        (tmp_path / "epoch").unlink()
    assert [segment.header.epoch for segment in open_journal(tmp_path).segments] == [1, 2, 3]
