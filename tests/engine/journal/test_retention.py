"""What leaves a journal's disk by itself: nothing that no verified copy holds, nothing the next start needs, and a failure is told."""

from pathlib import Path

import numpy as np
import pytest
from reference.small_journals import read, written

from twinloop.data.errors import CorruptError
from twinloop.engine.errors import ConfigErrors
from twinloop.engine.journal.archive import archive, copy_archive, each_archived, retire
from twinloop.engine.journal.archive_index import first_held, parquet_path, read_index
from twinloop.engine.journal.folder import ARCHIVE, FolderLock
from twinloop.engine.journal.retention import keep
from twinloop.engine.journal.snapshot import Head, snapshots_of, write_snapshot
from twinloop.engine.live.config import load_session
from twinloop.engine.seam import WORLD
from twinloop.engine.sidecar.disk import SPAN_NS, DiskWatch
from twinloop.engine.sidecar.retention import Retention

LATER_NS = 2**62


def snapshot(folder: Path, commit: int) -> None:
    head = Head(
        epoch=1, commit=commit, checksum=0, sequence=0, code="", config="", layout="", state_hash=0, decision_hash=0, decisions=0,
    )  # fmt: skip
    write_snapshot(folder, head, {"decision": np.ones(10, np.uint8)})


def held(folder: Path) -> list[int]:
    return [entry.segment for entry in read_index(folder) if parquet_path(folder, entry.segment).exists()]


def test_old_segments_go_once_a_copy_and_a_snapshot_stand_for_them(tmp_path: Path) -> None:
    folder, copies = tmp_path / "journal", tmp_path / "copies"
    commits = written(folder, [20] * 14)
    first = keep(folder, copies, age_ns=1, now_ns=LATER_NS)
    assert [entry.segment for entry in first.archived] == [entry.segment for entry in first.copied] == [1, 2, 3]
    assert first.retired == [], "no snapshot stands for anything yet"
    snapshot(folder, 7)
    assert keep(folder, copies, age_ns=None, now_ns=LATER_NS).retired == []
    assert [entry.segment for entry in keep(folder, copies, age_ns=1, now_ns=LATER_NS).retired] == [1, 2]
    assert (held(folder), first_held(folder), first_held(folder, copies)) == ([3], 6, 0)
    assert sorted(path.name for path in copies.iterdir()) == [parquet_path(folder, number).name for number in (1, 2, 3)]
    assert [commit.rows.tobytes() for commit in each_archived(folder, copies)] == commits[:9]
    assert read(folder) == commits[9:]


@pytest.mark.parametrize("damage", ["missing", "broken off", "of another segment"])
def test_nothing_goes_whose_copy_does_not_give_it_back(tmp_path: Path, damage: str) -> None:
    folder, copies = tmp_path / "journal", tmp_path / "copies"
    written(folder, [20] * 14)
    archive(folder)
    copy_archive(folder, copies)
    copy = copies / parquet_path(folder, 2).name
    if damage == "missing":
        copy.unlink()
    elif damage == "broken off":
        copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    else:
        copy.write_bytes((copies / parquet_path(folder, 3).name).read_bytes())
    with pytest.raises(CorruptError):
        retire(folder, now_ns=LATER_NS, age_ns=1, copies=copies)
    assert held(folder) == [2, 3, 4], "the first has a copy; at the second it stops"
    assert not read_index(folder)[1].retired_ns


def test_a_copy_of_another_journal_is_never_overwritten_and_stops_the_round(tmp_path: Path) -> None:
    folder, copies = tmp_path / "journal", tmp_path / "copies"
    written(tmp_path / "other", [10] * 14)
    archive(tmp_path / "other")
    copy_archive(tmp_path / "other", copies)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    written(folder, [20] * 14)
    snapshot(folder, 9)
    with pytest.raises(CorruptError, match="not of this journal"):
        keep(folder, copies, age_ns=1, now_ns=LATER_NS)
    assert held(folder) == [1, 2, 3]
    assert {path.name: path.read_bytes() for path in copies.iterdir() if path.name in before} == before


def test_the_sidecars_rounds_count_what_they_did_and_say_why_they_could_not(tmp_path: Path) -> None:
    folder, copies = tmp_path / "journal", tmp_path / "copies"
    assert not Retention(folder, None, 0).on
    retention = Retention(folder, copies, 1)
    assert retention.round() == "", "the session has not begun"
    written(folder, [20] * 14)
    snapshot(folder, 7)
    copies.write_text("a file where the folder should be")
    assert retention.round()
    copies.unlink()
    lock = FolderLock(folder / ARCHIVE)
    assert "in use by another process" in retention.round()
    lock.close()
    assert retention.round() == ""
    assert WORLD.wall_ns() > 10**18, "rows of 1970 are older than a day"
    assert retention.counts() == {"archived": 0, "copied": 3, "retired": 2, "retention_failed": 2}
    assert retention.freed_bytes > 0
    assert len(snapshots_of(folder)) == 1


def test_what_is_given_back_counts_in_the_forecast() -> None:
    grown = 64 * 10**6
    watch = DiskWatch()
    for span in range(1, 8):
        assert watch.look(span * SPAN_NS, span * 10**6, grown, "here", span * grown) is None
    assert watch.full_in_s is None
    for span in range(8, 11):
        alarm = watch.look(span * SPAN_NS, span * 10**6, grown, "here", 7 * grown)
    assert alarm is not None, "what is given back no more fills it"


def test_nothing_is_removed_by_a_configuration_without_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "paper.toml"
    text = 'limits = "conservative"\n[feed]\nvenue = "binance-usdm"\nsymbols = ["BTCUSDT"]\n[[strategy]]\npath = "x.py:X"\n[journal]\nkeep_days = 3\n'
    path.write_text(text)
    with pytest.raises(ConfigErrors, match="keep_days needs an archive"):
        load_session(path)
    path.write_text(text + f'archive = "{tmp_path}"\n')
    assert load_session(path).copies == tmp_path / "paper"
