"""A journal replays as it ran, bit for bit; and whatever differs is reported at the fact where it first shows."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.divergences import DIVERGENCES, Base, PerBatch, Planted, again, decided, rows_of_kind, untouched

from twinloop.data.errors import ConfigError, CorruptError
from twinloop.data.rowfile import join_rows
from twinloop.engine.journal.reader import Commit, open_journal
from twinloop.engine.live.parity import replay_journal
from twinloop.kernels import codes, rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.recorded(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_a_session_replays_bit_for_bit_however_its_facts_come_in_batches(base: Base, batch: int) -> None:
    found = replay_journal(base.journal, batch=batch)
    node = base.node.node
    assert found.difference is None
    assert found.changed == []
    assert found.decisions == node.decisions() > 50
    assert found.decision_hash == f"{node.decision_hash() & (2**64 - 1):016x}"
    assert found.requests > 50
    assert found.hashes > 30
    assert found.facts == node.sequence


def test_a_batch_of_less_than_nothing_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match="a batch has rows"):
        replay_journal(base.journal, batch=-1)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_planted_divergence_shows_at_its_fact(base: Base, tmp_path: Path, name: str) -> None:
    planted = DIVERGENCES[name](base, tmp_path / "journal")
    sequence, what = planted.replayed()
    assert sequence == planted.sequence
    assert planted.what in what


def test_what_depends_on_batches_hides_in_those_of_the_session(base: Base, tmp_path: Path) -> None:
    """Which is why a replay can cut them otherwise."""
    planted = DIVERGENCES["batch-size"](base, tmp_path / "journal")
    assert Planted(planted.journal, -1, "", node=PerBatch).replayed() == (-1, "the same")


def test_a_dropped_request_shows_at_its_decision(base: Base, tmp_path: Path) -> None:
    where = []

    def drop(parts: list[Any]) -> None:
        number, at = list(rows_of_kind(parts, rows.NEW))[5]
        where.append(int(parts[number][at]["sequence"]))
        parts[number] = np.delete(parts[number], at)

    found = replay_journal(again(base.journal, tmp_path / "j", drop))
    assert found.difference is not None
    assert found.difference.sequence == where[0] == decided(base.journal, codes.LIMIT, codes.MARKET)[5]
    assert found.difference.what == "requests"


def test_an_edited_strategy_is_named(base: Base, tmp_path: Path) -> None:
    planted = DIVERGENCES["changed-constant"](base, tmp_path / "journal")
    assert replay_journal(planted.journal).changed == ["strategy busy (busy.py:Busy)"]


def test_damage_is_no_difference_but_an_error(base: Base, tmp_path: Path) -> None:
    target = again(base.journal, tmp_path / "j", untouched)
    path = next(target.glob("segment-*"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<q", data, len(data) // 2 // 64 * 64 + 32, 7)
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="changed after it was written"):
        replay_journal(target)


def test_a_commit_tells_what_it_holds(base: Base) -> None:
    commits = list(open_journal(base.journal).each())
    assert isinstance(commits[0], Commit)
    assert sum(len(commit.facts) for commit in commits) == base.node.node.sequence
    assert len(join_rows([commit.requests for commit in commits if len(commit.requests)])) > 50
