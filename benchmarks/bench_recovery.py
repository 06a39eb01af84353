"""How long does a session take to start again after so many facts, with a snapshot near its end and without one?

A paper session over a synthetic market, three facts a commit, every decision taken by a strategy that quotes on a timer. Timed in one process,
each after the other and in turn: opening and checking the whole journal, and building the node again. `before` is the way of replaying
commit by commit, as recovery did without joining them. The states that come out are compared; times are seconds of wall-clock time.

usage: bench_recovery.py [--quick] [--facts N] [--repeats N] [--folder PATH]      prints one JSON object
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.rowfile import join_rows
from twinloop.data.synth import SynthSymbol, synthesise
from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.snapshot import snapshots_of
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.rebuild import Rebuilt
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.recovery import recover
from twinloop.engine.live.session import Session, StrategySpec, compiled_strategies, session_to_plain, with_digests
from twinloop.engine.sidecar.replica import Replica

COMMIT_FACTS = 3
STRATEGY = '''
import twinloop as tl


class Quoter(tl.Strategy):
    """Moves one quote on a timer."""

    instrument: tl.Symbol = "BTCUSDT"
    quote: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, 0, 250_000_000)

    def on_timer(self, ctx, timer):
        bid = ctx.bid_scaled(self.instrument)
        if bid > 0:
            ctx.cancel_all(self.instrument)
            self.quote = ctx.limit_scaled(self.instrument, 1, bid, 20, tl.GTC, True)
'''


def market(facts: int) -> tuple[Instrument, Any]:
    """A synthetic market of at least so many facts."""
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip
    seconds = 10.0
    while True:
        instruments, chunks = synthesise([SynthSymbol(instrument=instrument)], duration_s=seconds, seed=3)
        tape = join_rows(list(chunks))
        if len(tape) >= facts:
            return instruments[0], tape[:facts]
        seconds = seconds * 1.1 * facts / len(tape)


def written(folder: Path, facts: int) -> Session:
    """The session's journal, and a snapshot of it after 95 % of its rows."""
    strategy = folder / "quoter.py"
    strategy.write_text(STRATEGY)
    instrument, tape = market(facts)
    session = Session(
        name="bench", mode="paper", instruments=[instrument], shown=["depth"], currency="USDT", cash=100_000 * MONEY_ONE,
        strategies=[StrategySpec(name="quoter", path=f"{strategy}:Quoter")], limits_section={"preset": "research"},
        start_ns=int(tape[0]["local_ns"]), entry_latency_ns=2_000_000, response_latency_ns=3_000_000,
    )  # fmt: skip
    session = with_digests(session, compiled_strategies(session))
    journal = JournalWriter(
        folder / "journal",
        session=dict(session_to_plain(session)),
        code=session.code,
        config=session.digest(),
        durability="async",
    )
    recorded = RecordedNode(LiveNode(session, "paper"), journal)
    replica = Replica(folder / "journal", every_rows=10**9, every_ns=10**18)
    recorded.start()
    snapshot_at = int(facts * 0.95)
    for at in range(0, facts, COMMIT_FACTS):
        recorded.handle(tape[at : at + COMMIT_FACTS])
        if at <= snapshot_at < at + COMMIT_FACTS:
            while replica.step():
                pass
            replica.snapshot()
    journal.close()
    replica.close()
    return session


def by_commit(folder: Path, session: Session) -> Rebuilt:
    """A node built again one commit at a time."""
    rebuilt = Rebuilt(session, folder)
    follower = JournalFollower(folder)
    while found := follower.read():
        for commit in found:
            rebuilt.take([commit], follower.epoch)
    follower.close()
    return rebuilt


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of a call, and what it gave."""
    start = time.perf_counter()
    found = call(*arguments)
    return time.perf_counter() - start, found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    facts, repeats = (20_000, 1) if wanted.quick else (wanted.facts, wanted.repeats)
    with tempfile.TemporaryDirectory(dir=wanted.folder) as place:
        folder = Path(place)
        session = written(folder, facts)
        journal = folder / "journal"
        kept = {path: path.read_bytes() for path in snapshots_of(journal)}
        times: dict[str, list[float]] = {"open": [], "before": [], "joined": [], "snapshot": []}
        hashes = set()
        for _ in range(repeats):
            seconds, opened = timed(open_journal, journal)
            times["open"].append(seconds)
            seconds, found = timed(recover, opened, session)
            assert found.from_snapshot > 0
            times["snapshot"].append(seconds)
            hashes.add(found.node.state_hash())
            for path in kept:
                path.unlink()
            seconds, found = timed(recover, opened, session)
            assert found.from_snapshot == 0
            times["joined"].append(seconds)
            hashes.add(found.node.state_hash())
            seconds, found = timed(by_commit, journal, session)
            times["before"].append(seconds)
            hashes.add(found.node.state_hash())
            for path, content in kept.items():
                path.write_bytes(content)
        assert len(hashes) == 1, "the ways lead to different states"
        print(json.dumps({
            "facts": facts, "commits": opened.commits, "journal_bytes": opened.rows * 64,
            "snapshot_bytes": sum(len(content) for content in kept.values()),
            "seconds": {name: round(statistics.median(each), 3) for name, each in times.items()},
            "spread": {name: [round(min(each), 3), round(max(each), 3)] for name, each in times.items()},
            "python": sys.version.split()[0], "machine": platform.processor() or platform.machine(), "seed": 3,
        }))  # fmt: skip


if __name__ == "__main__":
    main()
