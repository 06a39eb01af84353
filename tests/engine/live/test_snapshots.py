"""A snapshot changes nothing but the time a recovery takes; one that cannot be trusted is passed over or refused."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloop.data.errors import CorruptError, DataError
from twinloop.data.instruments import Instrument
from twinloop.engine import cli
from twinloop.engine.journal.archive import archive, retire
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.retention import keep
from twinloop.engine.journal.snapshot import FOLDER, Head, keep_newest, read_snapshot, snapshots_of, write_snapshot
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.rebuild import Rebuilt
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.recovery import recover as bring_to_end
from twinloop.engine.live.session import Session, session_to_plain, with_digests
from twinloop.engine.live.session_errors import ParityError
from twinloop.engine.sidecar import replica as replica_module
from twinloop.engine.sidecar.replica import Replica

STEP = 400


def writer(folder: Path, session: Session, **more: Any) -> JournalWriter:
    return JournalWriter(
        folder, session=dict(session_to_plain(session)), code=session.code, config=session.digest(), durability="async",
        **({"segment_rows": 2000} | more),
    )  # fmt: skip


@pytest.fixture(scope="module")
def digested(session: Session) -> Session:
    return with_digests(session)


def handle(recorded: RecordedNode, tape: Any, sizes: Sequence[int], checkpoints: frozenset[int] = frozenset()) -> None:
    """Facts in commits of these sizes, again and again; a hash of the whole state behind some."""
    at = number = 0
    while at < len(tape):
        size = sizes[number % len(sizes)]
        recorded.handle(tape[at : at + size])
        if number in checkpoints:
            recorded.checkpoint()
        at, number = at + size, number + 1


def recover(folder: Path, session: Session) -> Rebuilt:
    return bring_to_end(open_journal(folder), session)


def orders_of(rebuilt: Rebuilt) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for epoch, rows in rebuilt.of_orders:
        found[epoch] = found.get(epoch, b"") + rows.tobytes()
    return found


def catch_up(replica: Replica) -> None:
    while replica.step():
        pass


def paper(folder: Path, session: Session, **more: Any) -> RecordedNode:
    recorded = RecordedNode(LiveNode(session, "paper"), writer(folder, session, **more))
    recorded.start()
    return recorded


def as_live(folder: Path, source: Path, session: Session) -> Session:
    """The journal of a paper session as if its venue had been elsewhere: its answers are facts."""
    session = msgspec.structs.replace(session, mode="live")
    node = LiveNode(session, "recorded")
    recorded = RecordedNode(node, writer(folder, session))
    recorded.start()
    for commit in open_journal(source).each():
        if commit.number and len(commit.facts):
            recorded.handle(commit.facts)
    recorded.journal.close()
    return session


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.sampled_from([1, 2, 7, 50, 300]), min_size=1, max_size=4),
    stop=st.integers(1, 3000),
    cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=3),
    live=st.booleans(),
    put_away=st.booleans(),
)
def test_a_recovery_from_any_snapshot_is_the_recovery_without_one(
    tmp_path_factory: pytest.TempPathFactory,
    digested: Session,
    market: tuple[Instrument, Any],
    sizes: list[int],
    stop: int,
    cuts: list[int],
    live: bool,
    put_away: bool,
) -> None:
    session, folder, tape = digested, tmp_path_factory.mktemp("any"), market[1][:3000]
    recorded = paper(folder / "paper", session)
    replica = Replica(folder / ("live" if live else "paper"), every_rows=10**9, every_ns=10**18)
    for begin, end in zip(
        [0, *sorted(min(cut, stop) for cut in cuts)], [*sorted(min(cut, stop) for cut in cuts), stop], strict=True
    ):
        handle(recorded, tape[begin:end], sizes, frozenset({3}))
        if not live and begin < end:
            catch_up(replica)
            replica.snapshot()
    recorded.journal.close()
    if live:
        session = as_live(folder / "live", folder / "paper", session)
        while replica.step():
            replica.snapshot()  # Wherever a piece of the journal ends.
    replica.close()
    place = replica.folder
    if put_away and not live:
        archive(place)
    with_one = recover(place, session)
    assert with_one.from_snapshot > 0
    assert with_one.passed_over == []
    keep = {path: path.read_bytes() for path in snapshots_of(place)}
    for path in keep:
        path.unlink()
    without = recover(place, session)
    assert without.from_snapshot == 0
    assert with_one.commit == without.commit
    assert with_one.facts < without.facts or with_one.from_snapshot == 1
    assert orders_of(with_one) == orders_of(without)
    for one, other in ((with_one.node, without.node),):
        assert one.state_hash() == other.state_hash()
        assert one.decision_hash() == other.decision_hash()
        assert one.decisions() == other.decisions()
        assert one.sequence == other.sequence
        assert one.node["measured"].tobytes() == other.node["measured"].tobytes()
        # And both go on alike, the simulated venue too.
        more = market[1][stop : stop + STEP]
        if live:
            one.go_live()
            other.go_live()
        handled, expected = one.handle(more), other.handle(more)
        assert handled.facts.tobytes() == expected.facts.tobytes()
        assert handled.requests.tobytes() == expected.requests.tobytes()
        assert one.state_hash() == other.state_hash()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, digested: Session, market: tuple[Instrument, Any]) -> Path:
    """A session's journal of many segments, with three snapshots, the newest at its end."""
    folder = tmp_path_factory.mktemp("followed") / "journal"
    recorded = paper(folder, digested, segment_rows=500)
    replica = Replica(folder, every_rows=10**9, every_ns=10**18)
    for at in range(0, 3000, 1000):
        handle(recorded, market[1][at : at + 1000], [25])
        catch_up(replica)
        replica.snapshot()
    recorded.journal.close()
    replica.close()
    assert len(snapshots_of(folder)) == 3
    return folder


@pytest.fixture
def copied(followed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(followed, tmp_path / "journal"))


def test_a_damaged_snapshot_is_passed_over_for_an_older_one(copied: Path, digested: Session) -> None:
    whole = recover(copied, digested)
    newest, older, oldest = snapshots_of(copied)
    newest.write_bytes(newest.read_bytes()[:-1])
    found = recover(copied, digested)
    assert found.from_snapshot == read_snapshot(older)[0].commit
    assert "is not used" in found.passed_over[0]
    assert newest.name in found.passed_over[0]
    for path in (older, oldest):
        path.write_bytes(b"")
    found = recover(copied, digested)
    assert (found.from_snapshot, len(found.passed_over)) == (0, 3)
    assert found.node.state_hash() == whole.node.state_hash()


def test_a_snapshot_newer_than_its_journal_is_refused(copied: Path, digested: Session) -> None:
    segments = sorted(copied.glob("segment-*.journal"))
    segments[-1].unlink()
    with pytest.raises(CorruptError, match="newer than its journal"):
        recover(copied, digested)


def test_a_snapshot_of_another_journal_is_refused(
    copied: Path, digested: Session, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    recorded = paper(other, digested)
    handle(recorded, market[1][100:4000], [25])
    recorded.journal.close()
    (copied / FOLDER).rename(other / FOLDER)
    with pytest.raises(CorruptError, match="not the journal that was read before"):
        recover(other, digested)


@pytest.mark.parametrize(
    ("field", "value"), [("code", "x"), ("config", "x"), ("layout", "x"), ("state_hash", 1), ("decision_hash", 1)]
)
def test_a_snapshot_of_other_code_or_another_state_is_passed_over(
    copied: Path, digested: Session, field: str, value: Any
) -> None:
    newest = snapshots_of(copied)[0]
    head, parts = read_snapshot(newest)
    write_snapshot(copied, msgspec.structs.replace(head, **{field: value}), parts)
    found = recover(copied, digested)
    assert found.from_snapshot < head.commit
    assert len(found.passed_over) == 1


def test_a_journal_that_leads_elsewhere_stops_the_replica(
    digested: Session, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    recorded = paper(tmp_path, digested)
    handle(recorded, market[1][:500], [25])
    recorded.node.decision["accounts"][0]["cash"] += 1  # No fact says so.
    recorded.checkpoint()
    replica = Replica(tmp_path)
    with pytest.raises(ParityError, match="state hash"):
        catch_up(replica)
    recorded.journal.close()
    assert snapshots_of(tmp_path) == []


def test_an_archived_session_replays_and_goes_on_and_a_retired_one_goes_on_from_its_snapshot(
    copied: Path, digested: Session
) -> None:
    whole, parity = recover(copied, digested), replay_journal(copied)
    assert archive(copied)
    assert open_journal(copied).first_commit > 0
    again = replay_journal(copied)
    assert again.difference is None
    assert (again.commits, again.facts, again.decision_hash) == (parity.commits, parity.facts, parity.decision_hash)
    newest = snapshots_of(copied)[0]
    kept = newest.read_bytes()
    newest.write_bytes(b"")
    assert recover(copied, digested).node.state_hash() == whole.node.state_hash()
    newest.write_bytes(kept)
    assert retire(copied, now_ns=2**62, age_ns=1, up_to_commit=read_snapshot(newest)[0].commit)
    assert recover(copied, digested).node.state_hash() == whole.node.state_hash()
    for path in snapshots_of(copied):
        path.unlink()
    with pytest.raises(CorruptError, match="retired, and no snapshot"):
        replay_journal(copied)
    with pytest.raises(CorruptError, match="retired"):
        recover(copied, digested)


def test_a_retired_journal_replays_from_its_oldest_snapshot_and_from_its_copies_as_a_whole(
    copied: Path, digested: Session, tmp_path: Path
) -> None:
    whole, parity = recover(copied, digested), replay_journal(copied)
    oldest = read_snapshot(snapshots_of(copied)[-1])[0]
    copies = tmp_path / "copies"
    kept = keep(copied, copies, age_ns=1, now_ns=2**62)
    assert [each.segment for each in kept.copied] == [each.segment for each in kept.archived]
    assert kept.retired
    assert kept.retired[-1].next_commit <= oldest.commit
    assert kept.freed_bytes > 0
    assert keep(copied, copies, age_ns=1, now_ns=2**62).freed_bytes == 0
    assert recover(copied, digested).node.state_hash() == whole.node.state_hash()
    # Without the copies: from the snapshot on, and it says so.
    part = replay_journal(copied)
    assert (part.difference, part.decision_hash, part.decisions) == (None, parity.decision_hash, parity.decisions)
    assert (part.from_commit, part.from_sequence) == (oldest.commit, oldest.sequence)
    assert part.commits == parity.commits - oldest.commit
    assert part.uncovered == f"facts 0 to {oldest.sequence - 1} (commits 0 to {oldest.commit - 1})"
    # With them, or once they are back in place: all of it, and recovery needs no snapshot.
    again = replay_journal(copied, copies=copies)
    assert (again.difference, again.commits, again.facts, again.uncovered) == (None, parity.commits, parity.facts, "")
    for path in copies.iterdir():
        shutil.copy(path, copied / "archive" / path.name)
    assert replay_journal(copied).facts == parity.facts
    shutil.rmtree(copied / FOLDER)
    found = recover(copied, digested)
    assert (found.from_snapshot, found.node.state_hash()) == (0, whole.node.state_hash())


def test_a_replay_from_a_snapshot_shows_a_difference_behind_it_and_passes_over_a_damaged_one(
    copied: Path, tmp_path: Path
) -> None:
    keep(copied, tmp_path / "copies", age_ns=1, now_ns=2**62)
    oldest, older = snapshots_of(copied)[-1], snapshots_of(copied)[-2]
    oldest.write_bytes(b"")
    found = replay_journal(copied)
    assert found.from_commit == read_snapshot(older)[0].commit
    assert oldest.name in found.passed_over[0]
    head, parts = read_snapshot(older)
    parts["decision"][:] = 0
    write_snapshot(copied, head, parts)
    newest = read_snapshot(snapshots_of(copied)[0])[0]
    assert replay_journal(copied).from_commit == newest.commit, "a state that is not what it says is no beginning"


def test_the_command_line_says_what_a_replay_does_not_cover(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = tmp_path / "copies"
    keep(copied, copies, age_ns=1, now_ns=2**62)
    assert cli.run(["replay", str(copied)]) == cli.INCOMPLETE
    assert "! not covered: facts 0 to " in capsys.readouterr().out
    assert cli.run(["replay", str(copied), "--archive", str(copies)]) == cli.OK
    assert "not covered" not in capsys.readouterr().out


def test_snapshots_come_by_rows_and_the_oldest_go(
    digested: Session, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    recorded = paper(tmp_path, digested)
    replica = Replica(tmp_path, every_rows=300, every_ns=10**18, kept=2)
    for at in range(0, 3000, 250):
        handle(recorded, market[1][at : at + 250], [50])
        replica.step()
    recorded.journal.close()
    assert replica.counts.snapshots > 3
    assert len(snapshots_of(tmp_path)) == 2
    second = Replica(tmp_path)  # Begins where the first one's snapshots end.
    catch_up(second)
    assert second.rebuilt is not None
    assert second.rebuilt.from_snapshot == replica.counts.snapshot_commit
    assert second.rebuilt.node.state_hash() == recorded.node.state_hash()
    assert replay_journal(tmp_path).difference is None


def test_a_disk_that_takes_no_snapshot_ends_no_following_and_is_asked_again(
    digested: Session, market: tuple[Instrument, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "AGAIN_NS", 0)
    recorded = paper(tmp_path, digested)
    handle(recorded, market[1][:500], [50])
    (tmp_path / FOLDER).write_bytes(b"")  # No folder can be made there.
    replica = Replica(tmp_path, every_rows=1, every_ns=10**18)
    assert len(replica.step()) == 11
    assert [about for about, _ in replica.said] == ["snapshot"]
    assert replica.counts.snapshots == 0
    (tmp_path / FOLDER).unlink()
    handle(recorded, market[1][500:600], [50])
    assert len(replica.step()) == 2
    assert replica.counts.snapshots == 1
    assert replica.rebuilt is not None
    assert read_snapshot(snapshots_of(tmp_path)[0])[0].state_hash == recorded.node.state_hash()
    recorded.journal.close()
    replica.close()


def test_what_is_only_caught_up_with_is_no_growth(
    digested: Session, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    """A sidecar that starts reads a whole journal in seconds: no disk fills at that rate."""
    recorded = paper(tmp_path, digested)
    handle(recorded, market[1][:500], [50])
    replica = Replica(tmp_path, every_rows=10**9, every_ns=10**18)
    catch_up(replica)
    assert (replica.caught_up, replica.counts.grown) == (True, 0)
    before = replica.counts.rows
    assert before > 500
    handle(recorded, market[1][500:600], [50])
    catch_up(replica)
    assert replica.counts.grown == replica.counts.rows - before > 100
    recorded.journal.close()
    replica.close()


def small(folder: Path, commit: int = 5, seed: int = 3) -> tuple[Path, dict[str, Any]]:
    generator = random.Random(seed)
    memory = np.zeros(50_000, np.uint8)
    memory[generator.sample(range(50_000), 5)] = 7
    parts = {"one": memory, "two": np.arange(4096 * 2, dtype=np.uint64).view(np.uint8), "none": np.zeros(10, np.uint8)}
    head = Head(
        epoch=1, commit=commit, checksum=2, sequence=3, code="c", config="d", layout="l", state_hash=-4, decision_hash=5, decisions=6,
    )  # fmt: skip
    return write_snapshot(folder, head, parts), parts


def test_a_snapshot_gives_back_the_memory_and_is_small(tmp_path: Path) -> None:
    path, parts = small(tmp_path)
    head, found = read_snapshot(path)
    assert head.state_hash == -4
    assert {name: memory.tobytes() for name, memory in found.items()} == {
        name: memory.tobytes() for name, memory in parts.items()
    }
    assert path.stat().st_size < 5 * 4100 + 4096 * 16 + 2000


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(byte=st.integers(0, 10**9), change=st.integers(1, 255), cut=st.booleans())
def test_any_damage_of_a_snapshot_is_seen(
    tmp_path_factory: pytest.TempPathFactory, byte: int, change: int, cut: bool
) -> None:
    path, _ = small(tmp_path_factory.mktemp("damage"))
    content = bytearray(path.read_bytes())
    byte %= len(content)
    path.write_bytes(content[:byte] if cut else content[:byte] + bytes([content[byte] ^ change]) + content[byte + 1 :])
    with pytest.raises(DataError):
        read_snapshot(path)


def test_the_newest_are_kept_and_what_a_dead_writer_left_goes(tmp_path: Path) -> None:
    for commit in (5, 100, 20, 3):
        small(tmp_path, commit)
    (tmp_path / FOLDER / "snapshot-000000000200.state.twinloop-partial-1").write_bytes(b"x")
    keep_newest(tmp_path, 2)
    assert [path.name for path in sorted((tmp_path / FOLDER).iterdir())] == [
        "snapshot-000000000020.state", "snapshot-000000000100.state",
    ]  # fmt: skip
