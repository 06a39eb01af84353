"""Nothing leaves before it is sealed, cancels never wait, and without a journal nothing but cancels leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinloop.data.instruments import Instrument
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, session_to_plain
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
def make_loop(session: Session, tmp_path: Path) -> MakeLoop:
    def make(durability: Any = "async", name: str = "") -> tuple[LiveLoop, list[Any]]:
        journal = JournalWriter(
            tmp_path / name, session=dict(session_to_plain(session)), code="c", config="d", durability=durability
        )
        sent: list[Any] = []
        world: Any = Stopped(session.start_ns)
        loop = LiveLoop(RecordedNode(LiveNode(session, "live"), journal), ReceiveClock(world), send=sent.append)
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


def test_orders_wait_for_their_commit_and_cancels_do_not(
    make_loop: MakeLoop, market: tuple[Instrument, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, sent = make_loop()
    journal = loop.recorded.journal
    journal.durability = "strict"
    safe = False
    monkeypatch.setattr(journal, "is_safe", lambda mark: mark >= 0 and safe)  # The disk takes its time.
    loop.take(market[1][:4000])
    new = np.zeros(1, rows.ROW)
    assert rows.NEW not in kinds(sent)
    order = loop.node.decision["orders"][int(loop.node.decision["open_orders"][0])]
    new["kind"], new["order_id"], new["local_ns"] = rows.ACK, order["id"], market[1][3999]["local_ns"]
    loop.take(new)
    loop.command("halt")
    assert rows.CANCEL in kinds(sent)
    assert rows.NEW not in kinds(sent)
    safe = True
    loop.release()
    assert rows.NEW in kinds(sent)
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

    loop.send_row = send_row
    journal = loop.recorded.journal
    for at in range(0, 4000, 50):
        loop.take(market[1][at : at + 50])
    assert journal.wait(journal.commits, 60)
    loop.release()
    requests = b"".join(part.tobytes() for part in sent)
    assert len(left) > 5
    assert sorted(left + [row.tobytes() for part in others for row in part]) == sorted(
        requests[at : at + 64] for at in range(0, len(requests), 64)
    )
    journal.close()


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
