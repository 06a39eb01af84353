"""A live node takes the decisions of a backtest over the same facts, and the journal of what it handled takes them again."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.engine.live.node import LiveNode, ring_rows
from twinloop.engine.live.session import Session, session_from_plain, session_to_plain
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import codes, rows
from twinloop.kernels.rows import ROW


def paper_run(session: Session, tape: Any, sizes: list[int]) -> tuple[LiveNode, Any, Any]:
    node = LiveNode(session, "paper")
    facts: list[Any] = []
    requests = [node.start().requests]
    at = number = 0
    while at < len(tape):
        end = min(at + sizes[number % len(sizes)], len(tape))
        handled = node.handle(tape[at:end])
        facts.append(handled.facts)
        requests.append(handled.requests)
        at, number = end, number + 1
    return node, join_rows(facts), join_rows(requests)


def same(one: Any, other: Any) -> bool:
    return bool(one.tobytes() == other.tobytes())


def test_a_paper_session_makes_and_takes(session: Session, market: tuple[Instrument, Any]) -> None:
    node, facts, requests = paper_run(session, market[1], [len(market[1])])
    kinds = set(np.unique(facts["kind"]).tolist())
    assert {rows.FILL, rows.ACK, rows.CANCELLED, rows.TIMER} <= kinds
    assert set(np.unique(requests["kind"]).tolist()) == {rows.NEW, rows.AMEND, rows.CANCEL}
    assert len(requests) > 50
    assert node.sequence == len(facts)
    assert (facts["sequence"] == np.arange(len(facts))).all()
    assert (np.diff(facts["local_ns"]) >= 0).all()


@pytest.mark.parametrize("sizes", [[1], [7], [64, 3], [100_000]], ids=["1", "7", "64-3", "all"])
def test_batches_change_nothing(session: Session, market: tuple[Instrument, Any], sizes: list[int]) -> None:
    tape = market[1][:3000]
    whole, facts, requests = paper_run(session, tape, [len(tape)])
    parts, facts_2, requests_2 = paper_run(session, tape, sizes)
    assert same(requests, requests_2)
    assert whole.decision_hash() == parts.decision_hash()
    # How a row's facts interleave with answers does not depend on how many rows came at once.
    assert same(facts, facts_2)
    assert whole.state_hash() == parts.state_hash()


@settings(max_examples=5)
@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_the_facts_of_a_session_take_every_decision_again(
    session: Session, market: tuple[Instrument, Any], sizes: list[int]
) -> None:
    live, facts, requests = paper_run(session, market[1], [50])
    again = LiveNode(session_from_plain(session_to_plain(session)), "recorded")
    found = [again.start().requests]
    at = number = 0
    while at < len(facts):
        end = min(at + sizes[number % len(sizes)], len(facts))
        while end < len(facts) and facts[end]["flags"] & rows.FLAG_TAIL:
            end += 1
        found.append(again.handle(facts[at:end]).requests)
        at, number = end, number + 1
    assert same(join_rows(found), requests)
    assert again.decision_hash() == live.decision_hash()
    assert again.decisions() == live.decisions()
    assert again.state_hash() == live.state_hash()


def test_a_remote_venue_answers_by_facts(session: Session, market: tuple[Instrument, Any]) -> None:
    """Requests of a live node leave it; nothing answers until the edge says what the venue did."""
    node = LiveNode(session, "live")
    node.start()
    tape = market[1]
    handled = [node.handle(tape[at : at + 100]) for at in range(0, 4000, 100)]
    new = [row for each in handled for row in each.requests if row["kind"] == rows.NEW]
    assert new
    first = new[0]
    answer = np.zeros(1, ROW)
    answer["kind"], answer["order_id"], answer["local_ns"] = rows.ACK, first["order_id"], tape[3999]["local_ns"]
    answer["strategy"], answer["price"], answer["qty"] = 0, first["price"], first["qty"]
    slot = int(first["order_id"]) & (len(node.decision["orders"]) - 1)
    assert node.decision["orders"][slot]["state"] == codes.STATE_NEW
    node.handle(answer)
    assert node.decision["orders"][slot]["state"] == codes.STATE_ACKED


def test_time_passes_without_a_market(session: Session) -> None:
    node = LiveNode(session, "live")
    node.start()
    wake_ns = node.next_wake_ns()
    handled = node.handle(node.clock_row(wake_ns + 250_000_000))
    assert handled.facts["kind"].tolist()[-1] == rows.CLOCK
    assert node.next_wake_ns() > wake_ns


def test_a_ring_gives_back_rows_across_its_end() -> None:
    ring = np.zeros(8, ROW)
    ring["sequence"] = np.arange(8)
    assert ring_rows(ring, 6, 10)["sequence"].tolist() == [6, 7, 0, 1]
    assert len(ring_rows(ring, 5, 5)) == 0
    with pytest.raises(SessionError, match="more rows in one batch"):
        ring_rows(ring, 0, 9)
