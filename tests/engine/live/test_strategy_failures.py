"""P5: an error in a strategy halts that strategy. The others go on, and every replay of the journal takes the same course."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from reference.busy_session import busy_session

from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows, pick
from twinloop.engine.live import node_state
from twinloop.engine.live.node import Handled, LiveNode
from twinloop.engine.live.rebuild import from_outside
from twinloop.engine.live.session import Session, StrategySpec
from twinloop.engine.strategy_errors import StrategyRunError
from twinloop.kernels import codes, rows
from twinloop.kernels.rows import ROW

BUSY, QUOTER = 0, 1
PYTHON = '''
import twinloop as tl


class Plain(tl.PythonStrategy):
    """Quotes, and raises once its quote works."""

    def on_start(self, ctx):
        self.ticks, self.buy = 0, 0
        ctx.set_timer(1, 0, 100_000_000)

    def on_timer(self, ctx, timer):
        self.ticks += 1
        bid = ctx.bid_scaled(0)
        if self.ticks > 12 and ctx.is_open(self.buy):
            raise ValueError("planted")
        if bid > 0 and not ctx.is_open(self.buy):
            self.buy = ctx.limit_scaled(0, 1, bid - 300, 5, tl.GTC, True)
'''
STARTS_WRONG = """
import twinloop as tl


class StartsWrong(tl.Strategy):
    zero: int = 0

    def on_start(self, ctx):
        if self.zero == 0:
            raise ValueError("planted at the start")
"""


@pytest.fixture(scope="module", params=["compiled", "python"])
def failing(request: pytest.FixtureRequest, market: tuple[Instrument, Any], strategy_folder: Path) -> Session:
    """A busy strategy, and one that raises once it has an order."""
    (strategy_folder / "plain.py").write_text(PYTHON)
    session = busy_session(market, strategy_folder)
    spec = StrategySpec(name="quoter", path="quoter.py:Quoter", parameters={"hangs_after": -12})
    if request.param == "python":
        spec = StrategySpec(name="quoter", path="plain.py:Plain")
    return msgspec.structs.replace(session, strategies=[*session.strategies, spec])


def run(node: LiveNode, tape: Any, size: int) -> Handled:
    """All that was handled, in parts of so many rows."""
    parts = [node.handle(tape[at]) for at in LiveNode.pieces(tape, size)]
    names = ("facts", "requests", "verdicts")
    return Handled(*(join_rows([getattr(part, name) for part in parts]) for name in names))


def begun(session: Session) -> LiveNode:
    node = LiveNode(session, "paper")
    node.start()
    return node


def test_a_strategy_that_raises_is_halted_alone_and_its_orders_are_cancelled(
    failing: Session, market: tuple[Instrument, Any]
) -> None:
    node = begun(failing)
    handled = run(node, market[1], 50)
    (failure,) = node.take_failures()
    assert (failure.slot, failure.name, failure.callback) == (QUOTER, "quoter", "on_timer")
    assert "planted" in str(failure.error)
    assert failure.error.line is not None
    assert node.take_failures() == []
    states = node.decision["strategies"]["state"][:2].tolist()
    assert states == [codes.ACTIVE, codes.HALTED]
    assert int(node.decision["accounts"][0]["state"]) == codes.ACTIVE
    own = pick(handled.requests, handled.requests["strategy"] == QUOTER)
    assert (own["sequence"] <= failure.sequence).all(), "nothing is asked for after it"
    last = own[own["sequence"] == failure.sequence]
    assert rows.CANCEL in last["kind"]
    assert (last["kind"] == rows.CANCEL).all()
    ended = handled.facts[(handled.facts["kind"] == rows.CANCELLED) & (handled.facts["strategy"] == QUOTER)]
    assert set(last["order_id"].tolist()) <= set(ended["order_id"].tolist())
    others = pick(handled.requests, handled.requests["strategy"] == BUSY)
    assert (others["sequence"] > failure.sequence).sum() > 20, "the other one goes on"


@pytest.mark.parametrize("size", [1, 100_000])
def test_neither_batches_nor_a_replay_change_what_a_failure_leads_to(
    failing: Session, market: tuple[Instrument, Any], size: int
) -> None:
    tape = market[1]
    node = begun(failing)
    handled = run(node, tape, 50)
    other = begun(failing)
    assert run(other, tape, size).requests.tobytes() == handled.requests.tobytes()
    recorded = LiveNode(failing, "recorded")
    recorded.start()
    assert run(recorded, handled.facts, size).requests.tobytes() == handled.requests.tobytes()
    assert [each.sequence for each in recorded.take_failures()] == [each.sequence for each in node.take_failures()]
    assert node.state_hash() == other.state_hash() == recorded.state_hash()


def test_a_halt_by_an_error_outlives_a_snapshot_and_ends_with_a_persons_word(
    failing: Session, market: tuple[Instrument, Any]
) -> None:
    tape = market[1]
    half = len(tape) * 2 // 3
    node = begun(failing)
    run(node, tape[:half], 50)
    node.take_failures()
    second = LiveNode(failing, "paper")
    parts = {name: memory.copy() for name, memory in node_state.parts_of(node).items()}
    node_state.restore(second, parts, node_state.words_of(node))
    for each in (node, second):
        assert (each.node["callbacks"][QUOTER] == 0).all()
        assert (each.node["callbacks"][BUSY] != 0).any()
    word = np.zeros(1, ROW)
    word["local_ns"] = int(node.decision["clock"]["now_ns"])
    for code, called in ((codes.RESUME_BY_ITSELF, False), (codes.RESUME_OF_START, False), (1000, True)):
        word["kind"], word["code"] = rows.RESUME, code
        for each in (node, second):
            each.handle(word.copy())
            assert (each.node["callbacks"][QUOTER] != 0).any() == called
    if failing.strategies[QUOTER].path.startswith("quoter"):  # Of plain Python no snapshot holds the state.
        rest = [run(each, tape[half:], 50) for each in (node, second)]
        assert rest[0].requests.tobytes() == rest[1].requests.tobytes()
        for each in (node, second):
            (failure,) = each.take_failures()  # It fails again.
            assert failure.sequence > 0
            assert int(each.decision["strategies"][QUOTER]["state"]) == codes.HALTED
        assert node.state_hash() == second.state_hash()


def test_a_session_does_not_begin_with_a_strategy_that_cannot_start(
    market: tuple[Instrument, Any], strategy_folder: Path
) -> None:
    (strategy_folder / "starts_wrong.py").write_text(STARTS_WRONG)
    session = busy_session(market, strategy_folder)
    wrong = StrategySpec(name="wrong", path="starts_wrong.py:StartsWrong")
    node = LiveNode(msgspec.structs.replace(session, strategies=[*session.strategies, wrong]), "paper")
    with pytest.raises(StrategyRunError, match="planted at the start"):
        node.start()


def test_what_is_made_again_is_made_again(failing: Session, market: tuple[Instrument, Any]) -> None:
    """A paper journal is replayed from the facts that came from outside."""
    node = begun(failing)
    handled = run(node, market[1], 50)
    again = begun(failing)
    assert run(again, from_outside(handled.facts), 64).facts.tobytes() == handled.facts.tobytes()
