"""A live node takes the decisions of a backtest over the same facts, and the journal of what it handled takes them again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.data.synth import SynthSymbol, synthesise
from twinloop.engine.live.node import LiveNode, ring_rows
from twinloop.engine.live.session import Session, StrategySpec, session_from_plain, session_to_plain
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import codes, rows
from twinloop.kernels.rows import ROW

STRATEGY = '''
import twinloop as tl


class Busy(tl.Strategy):
    """Makes and takes, on a timer and on the book, so that every kind of request and answer occurs."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 20
    ticks: tl.State[int] = 0
    quote: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, 0, 100_000_000)

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(self.instrument)
        ask = ctx.ask_scaled(self.instrument)
        if bid <= 0 or ask <= 0:
            return
        self.ticks += 1
        side = 1 if (self.ticks // 7) % 2 == 0 else -1
        if self.ticks % 3 == 0:
            ctx.market_scaled(self.instrument, side, self.qty)
        elif self.ticks % 5 == 0 and ctx.is_open(self.quote):
            ctx.amend_scaled(self.quote, bid if side > 0 else ask, self.qty)
        else:
            ctx.cancel_all(self.instrument)
            self.quote = ctx.limit_scaled(self.instrument, side, bid if side > 0 else ask, self.qty, tl.GTC, True)
'''


@pytest.fixture(scope="module")
def market() -> tuple[Instrument, Any]:
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip
    instruments, chunks = synthesise([SynthSymbol(instrument=instrument)], duration_s=6.0, seed=3)
    return instruments[0], join_rows(list(chunks))


@pytest.fixture(scope="module")
def strategy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "busy.py").write_text(STRATEGY)
    return folder


@pytest.fixture(scope="module")
def session(market: tuple[Instrument, Any], strategy_folder: Path) -> Session:
    instrument, tape = market
    return Session(
        name="test", mode="paper", instruments=[instrument], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="busy", path="busy.py:Busy")], limits_section={"preset": "research"},
        start_ns=int(tape[0]["local_ns"]), folder=str(strategy_folder), entry_latency_ns=2_000_000, response_latency_ns=3_000_000,
    )  # fmt: skip


def paper_run(session: Session, tape: Any, sizes: list[int]) -> tuple[LiveNode, Any, Any]:
    node = LiveNode(session, "paper")
    facts, requests = [], [node.start().requests]
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
