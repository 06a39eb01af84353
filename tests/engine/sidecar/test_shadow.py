"""The shadow is the session itself where its venue is simulated, and shows by how much where it is not."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from reference.busy_session import busy_market

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.retention import keep
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.measured import shown_gap
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, StrategySpec, compiled_strategies, session_to_plain, with_digests
from twinloop.engine.live.shared import SIDECAR
from twinloop.engine.sidecar.replica import Replica
from twinloop.engine.sidecar.shadow import Gap
from twinloop.kernels.rows import FILL, FLAG_CONTINUES, FLAG_MAKER

LATENCIES = (2_000_000, 3_000_000)


@pytest.fixture(scope="module")
def tape() -> tuple[Instrument, Any]:
    return busy_market(8.0)


@pytest.fixture(scope="module")
def session(tape: tuple[Instrument, Any], quoter: Path) -> Session:
    found = Session(
        name="test", mode="paper", instruments=[tape[0]], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="quoter", path=f"{quoter}:Quoter")], limits_section={"preset": "research"},
        start_ns=int(tape[1][0]["local_ns"]), entry_latency_ns=LATENCIES[0], response_latency_ns=LATENCIES[1],
    )  # fmt: skip
    return with_digests(found, compiled_strategies(found))


def writer(folder: Path, session: Session) -> JournalWriter:
    return JournalWriter(
        folder, session=dict(session_to_plain(session)), code=session.code, config=session.digest(), durability="async",
        segment_rows=3000,
    )  # fmt: skip


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory, session: Session, tape: tuple[Instrument, Any]) -> Path:
    """The journal of a paper session."""
    folder = tmp_path_factory.mktemp("paper") / "journal"
    recorded = RecordedNode(LiveNode(session, "paper"), writer(folder, session))
    recorded.start()
    for at in range(0, len(tape[1]), 40):
        recorded.handle(tape[1][at : at + 40])
    assert int(recorded.node.node["measured"]["fills"]) > 5
    recorded.journal.close()
    return folder


def as_live(folder: Path, paper: Path, session: Session, change: Any) -> Path:
    """The session's journal as if its venue had been elsewhere, with facts changed on their way."""
    session = msgspec.structs.replace(session, mode="live")
    recorded = RecordedNode(LiveNode(session, "recorded"), writer(folder, session))
    recorded.start()
    for commit in open_journal(paper).each():
        if commit.number:
            facts = commit.facts.copy()
            recorded.handle(change(facts))
    recorded.journal.close()
    return folder


def followed(folder: Path, latencies: tuple[int, int] = LATENCIES, **more: Any) -> tuple[Replica, Gap]:
    replica = Replica(folder, shadow=latencies, every_ns=10**18, **more)
    while replica.step():
        pass
    replica.close()
    assert replica.gap is not None
    return replica, replica.gap


def test_the_shadow_of_a_paper_session_is_the_session(paper: Path) -> None:
    replica, gap = followed(paper)
    assert replica.rebuilt is not None
    assert replica.shadow is not None
    assert gap == Gap(gap.fills_live, gap.fills_live, 0, 0, 0)
    assert gap.fills_live > 5
    assert replica.shadow.node.state_hash() == replica.rebuilt.node.state_hash()


def test_a_venue_elsewhere_that_did_what_the_simulation_says_leaves_no_gap(
    paper: Path, session: Session, tmp_path: Path
) -> None:
    _, gap = followed(as_live(tmp_path / "same", paper, session, lambda facts: facts))
    assert gap == Gap(gap.fills_live, gap.fills_live, 0, 0, 0)
    assert gap.fills_live > 5


def test_worse_prices_of_takers_are_slippage_and_profit_to_the_unit(
    paper: Path, session: Session, tmp_path: Path
) -> None:
    """Every taker fill a tick worse, whatever follows: the gap is ticks times quantity, in money."""
    worse: list[int] = []

    def change(facts: Any) -> Any:
        heads = (facts["kind"] == FILL) & (facts["flags"] & FLAG_CONTINUES != 0) & (facts["flags"] & FLAG_MAKER == 0)
        facts["price"][heads] += facts["side"][heads]
        worse.append(int(facts["qty"][heads].sum()))
        return facts

    _, gap = followed(as_live(tmp_path / "worse", paper, session, change))
    money = sum(worse) * 10**4  # 0.1 x 0.001 in 1e-8.
    assert money > 0
    assert (gap.fills_live, gap.gap_qty) == (gap.fills_shadow, 0)
    assert gap.gap_slippage == money
    assert gap.gap_profit == -money


def test_a_sidecar_that_starts_again_goes_on_with_its_shadow(paper: Path, session: Session, tmp_path: Path) -> None:
    def late(facts: Any) -> Any:
        return facts

    folder = as_live(tmp_path / "again", paper, session, late)
    whole, gap = followed(folder)
    first = Replica(folder, shadow=LATENCIES, every_ns=10**18)
    for _ in range(2):
        assert first.step()
    first.snapshot()
    first.close()
    second, again = followed(folder)
    assert second.rebuilt is not None
    assert second.rebuilt.from_snapshot > 0
    assert again == gap
    assert whole.shadow is not None
    assert second.shadow is not None
    assert whole.shadow.node.state_hash() == second.shadow.node.state_hash()
    # A snapshot without this shadow cannot be gone on with: it has to live through all of it.
    other = Replica(folder, shadow=(1, 1), every_ns=10**18)
    other.step()
    assert other.rebuilt is not None
    assert other.rebuilt.from_snapshot == 0
    other.close()


def test_a_sidecar_starts_again_where_the_beginning_of_its_journal_was_retired(
    paper: Path, session: Session, tmp_path: Path
) -> None:
    folder, copies = as_live(tmp_path / "retired", paper, session, lambda facts: facts), tmp_path / "copies"
    _, gap = followed(folder)
    first = Replica(folder, shadow=LATENCIES, every_ns=10**18)
    for _ in range(2):
        assert first.step()
    first.snapshot()
    first.close()
    assert keep(folder, copies, age_ns=1, now_ns=2**62).retired
    second, again = followed(folder)
    assert second.rebuilt is not None
    assert second.rebuilt.from_snapshot > 0
    assert again == gap
    # A shadow that the snapshot does not hold lives through all of it, from the copies.
    other, _ = followed(folder, latencies=(1, 1), copies=copies)
    assert other.rebuilt is not None
    assert other.rebuilt.from_snapshot == 0
    assert other.rebuilt.node.state_hash() == second.rebuilt.node.state_hash()
    # Without them there is none, and the journal is followed all the same.
    without = Replica(folder, shadow=(1, 1), every_ns=10**18)
    while without.step():
        pass
    assert without.shadow is None
    assert [about for about, _ in without.said] == ["shadow"]
    assert without.rebuilt is not None
    assert without.rebuilt.node.state_hash() == second.rebuilt.node.state_hash()
    without.close()


def test_a_sidecar_that_starts_again_behind_all_there_is_tells_the_gap_at_once(
    paper: Path, session: Session, tmp_path: Path
) -> None:
    folder = as_live(tmp_path / "quiet", paper, session, lambda facts: facts)
    first, gap = followed(folder)
    first.snapshot()
    again = Replica(folder, shadow=LATENCIES, every_ns=10**18)
    assert again.step() == []
    assert again.gap == gap
    again.close()


def test_the_gap_is_shown_and_measured() -> None:
    words = dict.fromkeys(SIDECAR, 0) | {"fills_live": 4, "fills_shadow": 6, "gap_profit": -150_000_000}
    assert shown_gap(words) == {"fills": "4 (6 simulated)", "slippage gap": "0.00000000", "profit gap": "-1.50000000"}
    assert set(msgspec.structs.asdict(Gap(0, 0, 0, 0, 0))) <= set(SIDECAR)
    assert np.int64(words["gap_profit"]) < 0
