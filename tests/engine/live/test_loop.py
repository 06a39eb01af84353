"""Nothing leaves before it is sealed, cancels never wait, and without a journal nothing but cancels leaves."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba import config

from twinloop.data.instruments import Instrument
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.loop import WAIT_MAX_NS, LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.recorded import RecordedNode, Sealed, as_rows
from twinloop.engine.live.session import Session, session_to_plain
from twinloop.engine.live.warm_up import feed_missed
from twinloop.engine.seam import ReceiveClock
from twinloop.kernels import codes, rows


class Stopped:
    """A world whose clocks stand where they are put."""

    def __init__(self, wall_ns: int) -> None:
        self.now_ns = wall_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns - 10**15


MakeLoop = Callable[..., tuple[LiveLoop, list[Any]]]


@pytest.fixture
def withdrawn() -> list[Any]:
    """Requests that did not leave."""
    return []


@pytest.fixture
def make_loop(session: Session, tmp_path: Path, withdrawn: list[Any]) -> MakeLoop:
    def make(durability: Any = "async", name: str = "", **more: Any) -> tuple[LiveLoop, list[Any]]:
        journal = JournalWriter(
            tmp_path / name,
            session=dict(session_to_plain(session)),
            code="c",
            config="d",
            durability=durability,
            **more,
        )
        sent: list[Any] = []
        world: Any = Stopped(session.start_ns)
        loop = LiveLoop(
            RecordedNode(LiveNode(session, "live"), journal), ReceiveClock(world), send=sent.append,
            withdraw=withdrawn.append,
        )  # fmt: skip
        loop.start()
        return loop, sent

    return make


def kinds(sent: list[Any]) -> list[int]:
    return [int(kind) for part in sent for kind in part["kind"]]


def test_requests_leave_once_they_are_sealed(
    make_loop: MakeLoop, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    loop, sent = make_loop()
    loop.take(market[1][:4000])
    assert rows.NEW in kinds(sent)
    loop.recorded.journal.close()
    sealed = [int(kind) for commit in open_journal(tmp_path).each() for kind in commit.requests["kind"]]
    assert sorted(kinds(sent)) == sorted(sealed)


@pytest.mark.parametrize("durability", ["async", "group"])
def test_what_was_missed_comes_in_commits_that_the_smallest_segment_holds(
    make_loop: MakeLoop, market: tuple[Instrument, Any], tmp_path: Path, durability: str
) -> None:
    loop, _ = make_loop(durability, segment_rows=4096)
    missed = market[1][:9000]
    asyncio.run(feed_missed(loop, missed))
    assert loop.failure == ""
    loop.recorded.journal.close()
    written = [commit for commit in open_journal(tmp_path).each() if len(commit.facts)]
    assert sum(len(commit.facts) for commit in written) >= len(missed)
    assert max(len(commit.rows) for commit in written) < 4096 // 4


def acknowledged(loop: LiveLoop, order_id: int) -> np.ndarray[Any, Any]:
    row = np.zeros(1, rows.ROW)
    row["kind"], row["order_id"], row["local_ns"] = rows.ACK, order_id, loop.node.decision["clock"]["now_ns"]
    return row


def open_orders(loop: LiveLoop) -> set[int]:
    decision = loop.node.decision
    return {int(decision["orders"][int(slot)]["id"]) for slot in decision["open_orders"][: int(decision["open_count"])]}


def test_orders_wait_for_their_commit_and_cancels_do_not(
    make_loop: MakeLoop, market: tuple[Instrument, Any], monkeypatch: pytest.MonkeyPatch, withdrawn: list[Any]
) -> None:
    loop, sent = make_loop()
    journal = loop.recorded.journal
    journal.durability = "strict"
    safe = True
    monkeypatch.setattr(journal, "is_safe", lambda mark: mark >= 0 and safe)
    at = 0
    while not (left := open_orders(loop)):
        loop.take(market[1][at : at + 50])
        at += 50
    loop.take(acknowledged(loop, min(left)))
    safe = False  # From here on the disk takes its time.
    before = len(sent)
    while open_orders(loop) <= left:
        loop.take(market[1][at : at + 50])
        at += 50
    loop.command("halt")
    gone = [row for part in sent[before:] for row in part]
    assert {int(row["kind"]) for row in gone} == {rows.CANCEL}
    assert {int(row["order_id"]) for row in gone} <= left
    safe = True
    loop.release()
    assert rows.NEW not in kinds(sent[before:]), "trading was halted while they waited"
    assert set(kinds(withdrawn)) == {rows.NEW}
    journal.close()


def waits(loop: LiveLoop, tape: Any) -> int:
    """Feed a loop until an order waits; its id."""
    at = 0
    while not (waiting := open_orders(loop)):
        loop.take(tape[at : at + 50])
        at += 50
    (order_id,) = waiting
    assert loop.waiting_orders == 1
    return order_id


def test_an_order_whose_cancel_comes_while_it_waits_for_the_disk_never_leaves(
    make_loop: MakeLoop, market: tuple[Instrument, Any], monkeypatch: pytest.MonkeyPatch, withdrawn: list[Any]
) -> None:
    """A market order could not be called back any more."""
    loop, sent = make_loop()
    journal = loop.recorded.journal
    monkeypatch.setattr(journal, "is_safe", lambda _: False)
    order_id = waits(loop, market[1])
    loop.command("halt")
    assert kinds(sent) == []
    assert [(int(row["kind"]), int(row["order_id"])) for part in withdrawn for row in part] == [(rows.NEW, order_id)]
    assert loop.waiting_orders == 0
    monkeypatch.undo()
    loop.release()
    assert kinds(sent) == []
    journal.close()


def test_an_order_waits_for_a_slow_disk_for_so_long_and_no_longer(
    make_loop: MakeLoop, market: tuple[Instrument, Any], monkeypatch: pytest.MonkeyPatch, withdrawn: list[Any]
) -> None:
    loop, sent = make_loop()
    journal = loop.recorded.journal
    monkeypatch.setattr(journal, "is_safe", lambda _: False)
    order_id = waits(loop, market[1])
    world: Any = loop.clock._world
    world.now_ns += WAIT_MAX_NS
    loop.release()
    assert withdrawn == []
    assert loop.waiting_orders == 1
    world.now_ns += 1
    loop.tick()
    assert [(int(row["kind"]), int(row["order_id"])) for part in withdrawn for row in part] == [(rows.NEW, order_id)]
    assert order_id not in loop._orders_waiting()
    assert rows.NEW not in kinds(sent)
    monkeypatch.undo()
    journal.close()


def request_rows(*asked: tuple[int, int]) -> Any:
    found = np.zeros(len(asked), rows.ROW)
    found["kind"], found["order_id"] = zip(*asked, strict=True)
    return found


def test_what_waits_behind_a_withdrawn_order_leaves_in_its_place(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, withdrawn: list[Any]
) -> None:
    """The gateway takes no order behind a later one: what does not leave is told of in its turn."""
    loop, sent = make_loop()
    journal = loop.recorded.journal
    told: list[tuple[str, int, int]] = []
    for name, parts in (("sent", sent), ("withdrawn", withdrawn)):
        note = lambda part, name=name: told.extend((name, int(row["kind"]), int(row["order_id"])) for row in part)  # noqa: E731
        monkeypatch.setattr(loop, "_send" if parts is sent else "_withdraw", note)
    safe = False
    monkeypatch.setattr(journal, "is_safe", lambda _: safe)
    first = request_rows((rows.NEW, 1), (rows.NEW, 2), (rows.AMEND, 2), (rows.NEW, 3))
    loop._leave(Sealed(first.tobytes(), 0, 1))
    loop._leave(Sealed(request_rows((rows.NEW, 4), (rows.NEW, 5), (rows.CANCEL, 5)).tobytes(), 1, 2))
    loop._leave(Sealed(request_rows((rows.CANCEL, 2), (rows.CANCEL, 4), (rows.CANCEL, 9)).tobytes(), 3, 3))
    assert told == [("sent", rows.CANCEL, 9)]
    assert loop.waiting_orders == 5
    safe = True
    loop.release()
    assert told[1:] == [
        ("sent", rows.NEW, 1), ("withdrawn", rows.NEW, 2), ("sent", rows.NEW, 3), ("withdrawn", rows.NEW, 4),
        ("withdrawn", rows.NEW, 5),
    ]  # fmt: skip
    assert loop.waiting_orders == 0
    told.clear()
    together = request_rows((rows.NEW, 6), (rows.CANCEL, 6))
    loop._leave(Sealed(together.tobytes(), 1, 4))
    assert told == [("sent", rows.NEW, 6), ("sent", rows.CANCEL, 6)], "nothing has to wait"
    safe = False
    together["order_id"] = 7
    loop._leave(Sealed(together.tobytes(), 1, 5))
    assert told[2:] == [("withdrawn", rows.NEW, 7)]
    journal.close()


def test_without_a_journal_no_order_that_waited_leaves(
    make_loop: MakeLoop, market: tuple[Instrument, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, sent = make_loop()
    journal = loop.recorded.journal
    journal.durability = "strict"
    monkeypatch.setattr(journal, "is_safe", lambda _: False)
    waits(loop, market[1])
    monkeypatch.setattr(type(journal), "failure", property(lambda _: "the disk is gone"))
    loop.release()
    assert rows.NEW not in kinds(sent)
    assert loop.waiting_orders == 0
    monkeypatch.undo()
    journal.close()


@pytest.mark.parametrize("durability", ["async", "strict"])
def test_a_short_way_gets_each_row_in_order_until_one_is_not_for_it(
    make_loop: MakeLoop, market: tuple[Instrument, Any], durability: str
) -> None:
    long_loop, sent = make_loop("async")
    for at in range(0, 4000, 50):
        long_loop.take(market[1][at : at + 50])
    long_loop.recorded.journal.close()
    loop, others = make_loop(durability, "short")
    offered: list[bytes] = []
    left: list[bytes] = []

    def send_row(row: bytes) -> bool:
        assert loop.is_caught_up or durability == "strict"
        offered.append(row)
        if len(offered) % 3 == 0:
            return False
        left.append(row)
        return True

    way: Any = SimpleNamespace(leaving=lambda row: None, request_row=send_row)  # noqa: ARG005
    loop.use_short_way(way)
    journal = loop.recorded.journal
    for at in range(0, 4000, 50):
        loop.take(market[1][at : at + 50])
        assert journal.wait(journal.commits, 60)  # Before a cancel comes of what waits.
        loop.release()
    requests = b"".join(part.tobytes() for part in sent)
    assert len(left) > 5
    assert sorted(left + [row.tobytes() for part in others for row in part]) == sorted(
        requests[at : at + 64] for at in range(0, len(requests), 64)
    )
    journal.close()


class Way:
    """A short way that takes every new order but each fifth one; `events`: (what, order, commits by then)."""

    def __init__(self, loop: LiveLoop) -> None:
        self.loop = loop
        self.at_hand = b""
        self.events: list[tuple[str, bytes, int]] = []

    def _happens(self, what: str, row: bytes) -> None:
        self.events.append((what, row, self.loop.recorded.journal.commits))

    def leaving(self, row: bytes) -> tuple[bytes, bytes] | None:
        asked = as_rows(row)[0]
        if asked["kind"] != rows.NEW or asked["order_id"] % 5 == 0:
            return None
        self._happens("leaving", row)
        self.at_hand = row
        sent = np.zeros(1, rows.ROW)
        sent["kind"], sent["order_id"] = rows.SENT, asked["order_id"]
        return b"frame of " + row, sent.tobytes()

    def left(self, frame: bytes) -> None:
        assert frame == b"frame of " + self.at_hand
        assert self.loop.is_caught_up or self.loop.recorded.journal.durability == "strict"  # Its order is safe then.
        self._happens("left", self.at_hand)

    def request_row(self, row: bytes) -> bool:
        found = self.leaving(row)
        if found is None:
            return False
        self.loop.note(found[1])
        self.left(found[0])
        return True


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="without compiled kernels there is only the twin")
def test_a_departure_is_sealed_with_its_order_and_before_the_order_leaves(
    make_loop: MakeLoop, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    ways, others = [], []
    for name in ("quick", "twin"):
        loop, sent = make_loop("async", name)
        if name == "twin":
            loop.recorded._turn = None
        ways.append(Way(loop))
        loop.use_short_way(ways[-1])
        for at in range(4000):
            loop.take(market[1][at : at + 1].copy())
        assert not loop.failure
        loop.recorded.journal.close()
        others.append([part.tobytes() for part in sent])
    quick, twin = (way.events for way in ways)
    assert [event[:2] for event in quick] == [event[:2] for event in twin]
    assert others[0] == others[1] != []
    assert len(quick) > 20
    commits = {name: list(open_journal(tmp_path / name).each()) for name in ("quick", "twin")}
    mine, theirs = (np.concatenate([commit.rows for commit in commits[name]]) for name in ("quick", "twin"))
    assert mine[mine["kind"] != rows.SEAL].tobytes() == theirs[theirs["kind"] != rows.SEAL].tobytes()
    together = 0
    for (_, _, before), (what, row, after) in zip(quick[::2], quick[1::2], strict=True):
        assert (what, after) == ("left", before + 1)
        order_id = int(as_rows(row)["order_id"][0])
        its = commits["quick"][before].rows
        kinds_of_it = its["kind"][(its["order_id"] == order_id) & np.isin(its["kind"], [rows.NEW, rows.SENT])].tolist()
        assert kinds_of_it in (
            [rows.NEW, rows.SENT],
            [rows.SENT],
        )  # With its order, or behind it where a turn asked for several.
        together += len(kinds_of_it) == 2
    assert together > 2


def test_without_a_safe_commit_no_departure_is_sealed_with_its_order(
    make_loop: MakeLoop, market: tuple[Instrument, Any]
) -> None:
    loop, _ = make_loop("strict")
    way = Way(loop)
    loop.use_short_way(way)
    for at in range(0, 4000, 20):
        loop.take(market[1][at : at + 20])
    assert loop.recorded.journal.wait(loop.recorded.journal.commits, 60)
    loop.release()
    assert way.events
    for (_, row, before), (_, _, after) in zip(way.events[::2], way.events[1::2], strict=True):
        assert after == before + 1, row
    loop.recorded.journal.close()


def test_a_failed_journal_halts_and_only_cancels_leave(make_loop: MakeLoop, market: tuple[Instrument, Any]) -> None:
    loop, sent = make_loop()
    loop.take(market[1][:4000])
    journal = loop.recorded.journal
    journal.fail("no space left on device")
    before = len(sent)
    loop.take(market[1][4000:6000])
    assert loop.failure
    assert loop.trading_state == "HALTED"
    assert set(kinds(sent[before:])) <= {rows.CANCEL}
    loop.take(market[1][6000:])
    assert set(kinds(sent[before:])) <= {rows.CANCEL}
    journal.close()


def test_a_clock_that_goes_back_does_not_stop_the_loop(make_loop: MakeLoop, market: tuple[Instrument, Any]) -> None:
    loop, _ = make_loop()
    tape = market[1][:2000].copy()
    tape["local_ns"][1000:] -= 3_600 * 10**9
    loop.take(tape[:1000])
    loop.take(tape[1000:])
    assert loop.counts.facts >= 2000
    assert not loop.failure
    loop.recorded.journal.close()


def test_an_operators_word_is_a_fact_before_it_acts(
    make_loop: MakeLoop, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    loop, _ = make_loop()
    loop.take(market[1][:500])
    sequence = loop.command("reduce", 1000)
    assert loop.trading_state == "REDUCING"
    assert loop.command("halt") == sequence + 1
    assert loop.trading_state == "HALTED"
    loop.command("resume")
    assert loop.trading_state == "ACTIVE"
    loop.recorded.journal.close()
    facts = [
        row
        for commit in open_journal(tmp_path).each()
        for row in commit.facts
        if row["kind"] in {rows.REDUCE, rows.HALT}
    ]
    assert [(int(row["sequence"]), int(row["code"]), int(row["strategy"])) for row in facts] == [
        (sequence, 1000, 255), (sequence + 1, 0, 255),
    ]  # fmt: skip


def test_a_halted_session_refuses_every_order(make_loop: MakeLoop, market: tuple[Instrument, Any]) -> None:
    loop, sent = make_loop()
    loop.command("halt")
    loop.take(market[1])
    assert rows.NEW not in kinds(sent)
    assert loop.counts.refused > 10
    assert int(loop.node.decision["accounts"][0]["halt_code"]) == codes.REJECT_HALTED
    loop.recorded.journal.close()
