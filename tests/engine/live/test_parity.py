"""A journal replays as it ran, bit for bit; and whatever differs is reported at the fact where it first shows."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from twinloop.data.errors import CorruptError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.engine.journal.reader import Commit, open_journal
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import Parity, replay_journal
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, session_to_plain, with_digests
from twinloop.kernels import codes, rows


def record(folder: Path, session: Session, tape: Any, *, batch: int = 40) -> RecordedNode:
    """A paper session over a tape, kept in a journal."""
    session = with_digests(session)
    journal = JournalWriter(
        folder, session=dict(session_to_plain(session)), code=session.code, config=session.digest(), durability="async"
    )
    recorded = RecordedNode(LiveNode(session, "paper"), journal)
    recorded.start()
    for at in range(0, len(tape), batch):
        recorded.handle(tape[at : at + batch])
    recorded.checkpoint()
    journal.close()
    return recorded


@pytest.fixture(scope="module")
def journal_of(
    tmp_path_factory: pytest.TempPathFactory, session: Session, market: tuple[Instrument, Any]
) -> tuple[Path, RecordedNode]:
    folder = tmp_path_factory.mktemp("journal")
    return folder, record(folder, session, market[1])


def again(folder: Path, target: Path, change: Callable[[list[Any]], None], **header: Any) -> Path:
    """A copy of a journal with its commits' rows changed, sealed anew: damage that no checksum shows."""
    journal = open_journal(folder)
    commits = [commit.rows.copy() for commit in journal.each()]
    change(commits)
    first = journal.segments[0].header
    fields: dict[str, Any] = {"session": first.session, "code": first.code, "config": first.config} | header
    writer = JournalWriter(target, durability="async", **fields)
    for number, part in enumerate(commits):
        writer.append(np.frombuffer(part.tobytes(), rows.ROW))
        writer.commit(number, number, sequence=1)
    writer.close()
    return target


def untouched(commits: list[Any]) -> None:
    """Change nothing."""
    assert commits


def commits_with(commits: list[Any], kind: int) -> Iterator[tuple[int, int]]:
    """(commit, row) of every row of a kind."""
    for number, part in enumerate(commits):
        for at in np.flatnonzero(part["kind"] == kind).tolist():
            yield number, at


def test_a_session_replays_bit_for_bit(journal_of: tuple[Path, RecordedNode]) -> None:
    folder, recorded = journal_of
    found = replay_journal(folder)
    assert found.difference is None
    assert found.changed == []
    assert found.decisions == recorded.node.decisions() > 50
    assert found.decision_hash == f"{recorded.node.decision_hash() & (2**64 - 1):016x}"
    assert found.requests > 50
    assert found.hashes > 30
    assert found.facts == recorded.node.sequence


def assert_at(found: Parity, sequence: int) -> None:
    assert found.difference is not None
    assert found.difference.sequence == sequence, str(found.difference)


def test_a_flipped_price_bit_shows_at_the_order_priced_by_it(
    journal_of: tuple[Path, RecordedNode], tmp_path: Path
) -> None:
    where = []

    def flip(commits: list[Any]) -> None:
        """The last bid before a buy at the bid gets one more bit."""
        number, at = next(
            (number, at)
            for number, at in commits_with(commits, rows.NEW)
            if commits[number][at]["side"] > 0 and commits[number][at]["source"] == codes.LIMIT
        )
        decided = int(commits[number][at]["sequence"])
        back, row = [
            (each, row) for each, row in commits_with(commits, rows.QUOTE) if commits[each][row]["sequence"] < decided
        ][-1]
        price = int(commits[back]["bid"][row])
        bit = next(bit for bit in range(4, 62) if not price >> bit & 1)
        commits[back]["bid"][row] = price | 1 << bit
        where.append(decided)

    found = replay_journal(again(journal_of[0], tmp_path / "j", flip))
    assert_at(found, where[0])


@pytest.mark.parametrize(
    ("kind", "which", "what", "behind"),
    # The fact behind a timer takes its place in the inbox: its sequence is not the one it had.
    [(rows.TIMER, 3, "facts", 1), (rows.NEW, 5, "requests", 0)],
    ids=["a timer shows at the next fact", "a request shows at its decision"],
)
def test_a_dropped_row_shows(
    journal_of: tuple[Path, RecordedNode], tmp_path: Path, kind: int, which: int, what: str, behind: int
) -> None:
    where = []

    def drop(commits: list[Any]) -> None:
        number, at = list(commits_with(commits, kind))[which]
        where.append(int(commits[number][at]["sequence"]))
        commits[number] = np.delete(commits[number], at)

    found = replay_journal(again(journal_of[0], tmp_path / "j", drop))
    assert_at(found, where[0] + behind)
    assert found.difference is not None
    assert found.difference.what == what


def test_swapped_rows_show_at_the_first_of_them(journal_of: tuple[Path, RecordedNode], tmp_path: Path) -> None:
    where = []

    def swap(commits: list[Any]) -> None:
        number = next(
            n for n, part in enumerate(commits) if n > 20 and np.isin(part["kind"][:2], [rows.LEVEL, rows.TRADE]).all()
        )
        part = commits[number]
        where.append(int(part[1]["sequence"]))
        commits[number] = np.frombuffer(part[[1, 0]].tobytes() + part[2:].tobytes(), rows.ROW)

    found = replay_journal(again(journal_of[0], tmp_path / "j", swap))
    assert_at(found, where[0])


def test_an_edited_limit_shows_where_it_refuses(journal_of: tuple[Path, RecordedNode], tmp_path: Path) -> None:
    first = open_journal(journal_of[0]).segments[0].header
    session = msgspec.json.decode(msgspec.json.encode(first.session))
    session["limits_section"]["max_order_qty"] = "0.015"
    decided = next(
        int(part["sequence"][part["kind"] == rows.NEW][0]) for part in _parts(journal_of[0]) if rows.NEW in part["kind"]
    )
    found = replay_journal(again(journal_of[0], tmp_path / "j", untouched, session=session))
    assert_at(found, decided)


def _parts(folder: Path) -> list[Any]:
    return [commit.rows for commit in open_journal(folder).each()]


def test_a_changed_constant_of_the_strategy_shows_at_the_first_decision(
    journal_of: tuple[Path, RecordedNode], tmp_path: Path, strategy_folder: Path
) -> None:
    """The strategy's file was edited after the session: said in words, and where it first decides otherwise."""
    changed = tmp_path / "strategies"
    changed.mkdir()
    (changed / "busy.py").write_text(
        (strategy_folder / "busy.py").read_text().replace("self.ticks % 3 == 0", "self.ticks % 4 == 0")
    )
    first = open_journal(journal_of[0]).segments[0].header
    session = msgspec.json.decode(msgspec.json.encode(first.session)) | {"folder": str(changed)}
    found = replay_journal(again(journal_of[0], tmp_path / "j", untouched, session=session))
    assert found.changed == ["strategy busy (busy.py:Busy)"]
    takes = [
        int(part["sequence"][at])
        for part in _parts(journal_of[0])
        for at in np.flatnonzero((part["kind"] == rows.NEW) & (part["source"] != 0)).tolist()
    ]
    assert_at(found, takes[0])


def test_an_epoch_used_again_is_named(journal_of: tuple[Path, RecordedNode], tmp_path: Path) -> None:
    target = again(journal_of[0], tmp_path / "j", lambda commits: commits.__delitem__(slice(40, None)))
    journal = open_journal(target)
    (target / "epoch").write_text("0")
    first = journal.segments[0].header
    writer = JournalWriter(
        target, session=first.session, code=first.code, config=first.config, durability="async", start=journal.start
    )
    writer.close()
    assert open_journal(target).segments[-1].header.epoch == 1
    (target / "epoch").write_text("5")
    writer = JournalWriter(
        target,
        session=first.session,
        code=first.code,
        config=first.config,
        durability="async",
        start=open_journal(target).start,
    )
    writer.close()
    (target / "epoch").write_text("2")
    writer = JournalWriter(
        target,
        session=first.session,
        code=first.code,
        config=first.config,
        durability="async",
        start=open_journal(target).start,
    )
    writer.close()
    found = replay_journal(target)
    assert found.difference is not None
    assert "epoch" in found.difference.what


def test_damage_is_no_difference_but_an_error(journal_of: tuple[Path, RecordedNode], tmp_path: Path) -> None:
    target = again(journal_of[0], tmp_path / "j", untouched)
    path = next(target.glob("segment-*"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<q", data, len(data) // 2 // 64 * 64 + 32, 7)
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="changed after it was written"):
        replay_journal(target)


def test_a_commit_tells_what_it_holds(journal_of: tuple[Path, RecordedNode]) -> None:
    commits = list(open_journal(journal_of[0]).each())
    assert isinstance(commits[0], Commit)
    assert sum(len(commit.facts) for commit in commits) == journal_of[1].node.sequence
    assert len(join_rows([commit.requests for commit in commits if len(commit.requests)])) > 50
