"""Segments that are put away come back byte for byte, and the chain keeps its beginning when they are gone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.small_journals import OPTIONS, append, facts, read, writer, written

from twinloop.data.errors import CorruptError
from twinloop.engine.journal import archive as archive_module
from twinloop.engine.journal.archive import archive, each_archived, restore_segment, retire, segment_bytes
from twinloop.engine.journal.archive_index import parquet_path, read_index
from twinloop.engine.journal.folder import segments_of
from twinloop.engine.journal.forecast import HOUR_NS, forecast
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import resume
from twinloop.engine.live.parity import every_commit
from twinloop.kernels.rows import ROW, ROW_SIZE

SECOND_NS = 1_000_000_000


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("segment-*.journal"))


def test_every_sealed_segment_but_the_newest_becomes_parquet_that_restores_it(tmp_path: Path) -> None:
    commits = written(tmp_path, [20] * 8)
    before = {name: (tmp_path / name).read_bytes() for name in segments(tmp_path)}
    done = archive(tmp_path)
    assert [entry.segment for entry in done] == [1, 2]
    assert [(entry.first_commit, entry.next_commit, entry.rows) for entry in done] == [(0, 3, 63), (3, 6, 63)]
    assert segments(tmp_path) == ["segment-000003.journal"]
    journal = open_journal(tmp_path)
    assert journal.first_commit == 6
    assert [commit.rows.tobytes() for commit in journal.each()] == commits[6:]
    for number, (name, content) in enumerate(list(before.items())[:2], 1):
        target = tmp_path / "again" / name
        restore_segment(parquet_path(tmp_path, number), target)
        assert target.read_bytes() == content
    assert archive(tmp_path) == []
    assert [commit.rows.tobytes() for commit in each_archived(tmp_path)] == commits[:6]
    assert [commit.number for commit in each_archived(tmp_path)] == list(range(6))
    # The restored segments and the one that stayed are the journal as it was.
    (tmp_path / "again" / "segment-000003.journal").write_bytes(before["segment-000003.journal"])
    assert read(tmp_path / "again") == commits


@given(words=st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=8, max_size=8), min_size=1, max_size=12))
def test_any_row_comes_back_from_parquet(tmp_path_factory: pytest.TempPathFactory, words: list[list[int]]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    rows: Any = np.array(words, np.int64).reshape(-1).view(ROW)
    rows["kind"][(rows["kind"] == 0) | (rows["kind"] == 96)] = 200
    with writer(folder) as journal:
        journal.append(rows)
        journal.commit(1, 1)
        journal.append(facts(0, 62))
        journal.commit(1, 1)
    content = (folder / "segment-000001.journal").read_bytes()
    archive(folder)
    assert segment_bytes(parquet_path(folder, 1)) == content


def test_a_journal_that_is_archived_while_it_is_opened_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session's start and the sidecar's round do not wait for each other."""
    commits = written(tmp_path, [20] * 10)

    def archived_before(folder: Path) -> list[Path]:
        archive(folder)
        return segments_of(folder)

    monkeypatch.setattr("twinloop.engine.journal.reader.segments_of", archived_before)
    journal = open_journal(tmp_path)
    assert journal.first_commit > 0
    assert [commit.rows.tobytes() for commit in every_commit(journal)] == commits


def test_a_journal_that_is_archived_while_it_is_read_gives_every_commit_once(tmp_path: Path) -> None:
    """As a replay does of a session that runs, for minutes."""
    commits = written(tmp_path, [20] * 10)
    archive(tmp_path, keep=3)
    journal = open_journal(tmp_path)
    assert journal.first_commit > 0
    archive(tmp_path)
    assert [commit.rows.tobytes() for commit in every_commit(journal)] == commits
    assert forecast(journal, free_bytes=1).bytes_per_s >= 0


def test_a_journal_that_was_archived_is_gone_on_with(tmp_path: Path) -> None:
    commits = written(tmp_path, [20] * 8)
    archive(tmp_path)
    recovered = resume(tmp_path, **OPTIONS)
    append(recovered.writer, facts(160, 2))
    recovered.writer.commit(1, 1)
    recovered.writer.close()
    assert recovered.writer.commits == 9
    assert segments(tmp_path) == ["segment-000003.journal", "segment-000004.journal"]
    assert read(tmp_path) == [*commits[6:], facts(160, 2).tobytes()]


def test_the_segment_being_written_is_never_put_away(tmp_path: Path) -> None:
    with writer(tmp_path) as journal:
        for number in range(6):
            journal.append(facts(20 * number, 20))
            journal.commit(1, 1)
            archive(tmp_path)
            assert len(segments(tmp_path)) == 1


def test_being_killed_between_the_index_and_the_removal_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = written(tmp_path, [20] * 8)

    class KilledError(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KilledError):
            archive(tmp_path)
    assert len(segments(tmp_path)) == 3
    assert read(tmp_path) == commits[3:], "what the index stands for is not read twice"
    assert [entry.segment for entry in archive(tmp_path)] == [2]
    assert segments(tmp_path) == ["segment-000003.journal"]


def test_a_segment_stays_where_its_parquet_does_not_give_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, [20] * 8)
    monkeypatch.setattr(archive_module, "segment_bytes", lambda _: b"else")
    with pytest.raises(CorruptError, match="does not give it back"):
        archive(tmp_path)
    assert len(segments(tmp_path)) == 3
    assert not list((tmp_path / "archive").glob("*"))


def test_parquet_of_something_else_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [20] * 8)
    archive(tmp_path)
    first, second = parquet_path(tmp_path, 1), parquet_path(tmp_path, 2)
    first.write_bytes(second.read_bytes())
    with pytest.raises(CorruptError, match="does not give back what was put away"):
        restore_segment(first, tmp_path / "x.journal")
    with pytest.raises(CorruptError, match="does not give back what was put away"):
        next(each_archived(tmp_path))
    first.write_bytes(b"PAR1 not at all")
    with pytest.raises(CorruptError, match="cannot be read"):
        restore_segment(first, tmp_path / "x.journal")
    assert not (tmp_path / "x.journal").exists()


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [20] * 11)
    archive(tmp_path)
    index = tmp_path / "archive" / "index.json"
    content = index.read_text()
    index.write_text(content.replace('"segment": 2', '"segment": 5'))
    with pytest.raises(CorruptError, match="gap, expected segment 2"):
        open_journal(tmp_path)
    index.write_text(content[:-5])
    with pytest.raises(CorruptError, match="cannot be read"):
        open_journal(tmp_path)
    index.write_text("[]")
    with pytest.raises(CorruptError, match="missing or renamed, expected segment 1"):
        open_journal(tmp_path)


def aged(folder: Path) -> list[int]:
    """Four archived segments and one that stays, sealed one second apart: their Parquet files' sizes."""
    with writer(folder) as journal:
        for number in range(13):
            journal.append(facts(20 * number, 20))
            journal.commit(1, (number // 3 + 1) * SECOND_NS)
    archive(folder)
    return [entry.parquet_size for entry in read_index(folder)]


def test_the_oldest_are_retired_by_age(tmp_path: Path) -> None:
    aged(tmp_path)
    assert retire(tmp_path, now_ns=5 * SECOND_NS, age_ns=4 * SECOND_NS) == []
    removed = retire(tmp_path, now_ns=5 * SECOND_NS, age_ns=2 * SECOND_NS)
    assert [entry.segment for entry in removed] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "archive").glob("*.parquet")) == [
        "segment-000003.parquet", "segment-000004.parquet",
    ]  # fmt: skip
    assert open_journal(tmp_path).first_commit == 12
    assert [entry.retired_ns for entry in read_index(tmp_path)] == [5 * SECOND_NS] * 2 + [0, 0]
    assert retire(tmp_path, now_ns=5 * SECOND_NS, age_ns=2 * SECOND_NS) == []
    with pytest.raises(CorruptError, match=r"beginning of this journal was retired.*none before commit 3"):
        next(each_archived(tmp_path))


def test_the_oldest_are_retired_by_size(tmp_path: Path) -> None:
    sizes = aged(tmp_path)
    assert retire(tmp_path, now_ns=1, size=sum(sizes)) == []
    assert [entry.segment for entry in retire(tmp_path, now_ns=1, size=sum(sizes) - 1)] == [1]
    assert [entry.segment for entry in retire(tmp_path, now_ns=1, size=sizes[3])] == [2, 3]
    assert len(read(tmp_path)) == 1
    assert retire(tmp_path, now_ns=1) == []


@pytest.mark.parametrize("keep_segments", [1, 3])
def test_the_forecast_counts_the_last_hour_of_seals(tmp_path: Path, keep_segments: int) -> None:
    """Two hours; ten rows every ten minutes at first, thirty in the last hour."""
    rows_of_last_hour, at = 0, 0
    with writer(tmp_path, segment_rows=400 // keep_segments) as journal:
        for number in range(13):
            count = 30 if number > 6 else 10
            journal.append(facts(at, count))
            journal.commit(1, 1 + number * HOUR_NS // 6)
            at += count
            rows_of_last_hour += (count + 1) * (number > 6)
    found = forecast(open_journal(tmp_path), free_bytes=10**9)
    assert found.bytes_per_s == pytest.approx(rows_of_last_hour * ROW_SIZE / 3600)
    assert found.full_in_s == pytest.approx(10**9 / found.bytes_per_s)


def test_the_forecast_of_nothing_is_none(tmp_path: Path) -> None:
    writer(tmp_path).close()
    found = forecast(open_journal(tmp_path))
    assert (found.bytes_per_s, found.full_in_s) == (0.0, None)
    assert found.free_bytes > 0
