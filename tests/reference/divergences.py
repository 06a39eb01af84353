"""Ten divergences planted in recorded sessions, and the fact at which the replay of each has to report it.

    base = Base.recorded(folder)
    planted = DIVERGENCES["wall-clock"](base, folder / "planted")
    planted.replayed()     # the sequence at which the replay differed, which is planted.sequence, and what differed

Where it shows is worked out from the journal's rows, before any replay. A clock, a draw or an order of a dict that happens to be the same
again would show at a later fact: each moves a price by one of half a million values.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

import msgspec
import numpy as np
from reference.busy_session import busy_market, busy_session
from reference.live_sessions import BUSY, strategies

from twinloop.data.rowfile import Rows
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live import parity
from twinloop.engine.live.node import Handled, LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, session_to_plain, with_digests
from twinloop.kernels import codes, rows

BATCH: Final = 40  # Rows handled at once while a session is recorded.
_COMMAND: Final = "from twinloop.engine.cli import main; main()"
_QUOTE: Final = "bid if side > 0 else ask, self.qty, tl.GTC"


def record(folder: Path, session: Session, tape: Any, node: type[LiveNode] = LiveNode) -> RecordedNode:
    """A paper session over a tape, kept in a journal."""
    session = with_digests(session)
    journal = JournalWriter(
        folder, session=dict(session_to_plain(session)), code=session.code, config=session.digest(), durability="async"
    )
    recorded = RecordedNode(node(session, "paper"), journal)
    recorded.start()
    for at in range(0, len(tape), BATCH):
        recorded.handle(tape[at : at + BATCH])
    recorded.checkpoint()
    journal.close()
    return recorded


def again(folder: Path, target: Path, change: Callable[[list[Any]], None], **header: Any) -> Path:
    """A copy of a journal with its commits' rows changed, sealed anew: damage that no checksum shows."""
    commits = list(open_journal(folder).each())
    parts = [commit.rows.copy() for commit in commits]
    change(parts)
    first = open_journal(folder).segments[0].header
    fields: dict[str, Any] = {"session": first.session, "code": first.code, "config": first.config} | header
    writer = JournalWriter(target, durability="async", **fields)
    sequence = 0
    for number, part in enumerate(parts):
        sequence += len(commits[number].facts)
        writer.append(np.frombuffer(part.tobytes(), rows.ROW))
        writer.commit(number, number, sequence=sequence)
    writer.close()
    return target


def untouched(parts: list[Any]) -> None:
    """Change nothing."""
    assert parts


def rows_of_kind(parts: list[Any], kind: int) -> Iterator[tuple[int, int]]:
    """(commit, row) of every row of a kind."""
    for number, part in enumerate(parts):
        for at in np.flatnonzero(part["kind"] == kind).tolist():
            yield number, at


def decided(folder: Path, *types: int) -> list[int]:
    """The facts at which orders of these types were decided."""
    found = []
    for commit in open_journal(folder).each():
        part = commit.rows
        chosen = (part["kind"] == rows.NEW) & np.isin(part["source"], types)
        found += part["sequence"][chosen].tolist()
    return found


@dataclass(frozen=True)
class Base:
    """A recorded session that replays, to plant something in. folder: of everything; journal: of what was recorded."""

    folder: Path
    session: Session
    tape: Any
    journal: Path
    node: RecordedNode

    @classmethod
    def recorded(cls, folder: Path) -> "Base":
        """Record one, in a folder that is there."""
        sources = folder / "strategies"
        sources.mkdir()
        strategies(sources)
        market = busy_market()
        session = busy_session(market, sources)
        node = record(folder / "journal", session, market[1])
        return cls(folder, session, market[1], folder / "journal", node)

    def plain_session(self) -> Any:
        """The session in its journal's header, to be changed."""
        return msgspec.json.decode(msgspec.json.encode(open_journal(self.journal).segments[0].header.session))


@dataclass(frozen=True)
class Planted:
    """A journal whose replay differs. sequence: where it must show. what: must stand in the words. batch: rows at once of the replay."""

    journal: Path
    sequence: int
    what: str
    batch: int = 0
    node: type[LiveNode] = LiveNode
    hash_seed: str = ""  # Of a replay in a process of its own.

    def replayed(self) -> tuple[int, str]:
        """Where a replay reported a difference, and in what; (-1, "the same") where it found none."""
        if self.hash_seed:
            return self._elsewhere()
        with mock.patch.object(parity, "LiveNode", self.node):
            found = parity.replay_journal(self.journal, batch=self.batch).difference
        return (-1, "the same") if found is None else (found.sequence, found.what)

    def _elsewhere(self) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, "replay", str(self.journal), "--json"], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONHASHSEED": self.hash_seed},
        )  # fmt: skip
        assert done.returncode in {0, 6}, done.stderr
        found = json.loads(done.stdout)["difference"]
        return (-1, "the same") if found is None else (int(found["sequence"]), str(found["what"]))


def flipped_price_bit(base: Base, target: Path) -> Planted:
    """The last bid before a buy at the bid gets one more bit."""
    where: list[int] = []

    def flip(parts: list[Any]) -> None:
        number, at = next(
            (number, at)
            for number, at in rows_of_kind(parts, rows.NEW)
            if parts[number][at]["side"] > 0 and parts[number][at]["source"] == codes.LIMIT
        )
        where.append(int(parts[number][at]["sequence"]))
        before = [each for each in rows_of_kind(parts, rows.QUOTE) if parts[each[0]][each[1]]["sequence"] < where[0]]
        number, at = before[-1]
        price = int(parts[number]["bid"][at])
        parts[number]["bid"][at] = price | 1 << next(bit for bit in range(4, 62) if not price >> bit & 1)

    return Planted(again(base.journal, target, flip), where[0], "requests")


def dropped_timer_row(base: Base, target: Path) -> Planted:
    """A timer is missing: the fact behind it takes its place in the inbox, so that its sequence is not the one it had."""
    where: list[int] = []

    def drop(parts: list[Any]) -> None:
        number, at = list(rows_of_kind(parts, rows.TIMER))[3]
        where.append(int(parts[number][at]["sequence"]))
        parts[number] = np.delete(parts[number], at)

    return Planted(again(base.journal, target, drop), where[0] + 1, "facts")


def swapped_rows(base: Base, target: Path) -> Planted:
    """Two rows of the market change places."""
    where: list[int] = []

    def swap(parts: list[Any]) -> None:
        number = next(
            n for n, part in enumerate(parts) if n > 20 and np.isin(part["kind"][:2], [rows.LEVEL, rows.TRADE]).all()
        )
        part = parts[number]
        where.append(int(part[1]["sequence"]))
        parts[number] = np.frombuffer(part[[1, 0]].tobytes() + part[2:].tobytes(), rows.ROW)

    return Planted(again(base.journal, target, swap), where[0], "facts")


def edited_limit(base: Base, target: Path) -> Planted:
    """The session's largest order is smaller than any that it sent."""
    session = base.plain_session()
    session["limits_section"]["max_order_qty"] = "0.015"
    first = decided(base.journal, codes.LIMIT, codes.MARKET)[0]
    return Planted(again(base.journal, target, untouched, session=session), first, "requests")


def changed_constant(base: Base, target: Path) -> Planted:
    """The strategy's file was edited after the session: every fourth timer takes, not every third."""
    changed = target.with_name(f"{target.name}-strategies")
    changed.mkdir()
    (changed / "busy.py").write_text(BUSY.replace("self.ticks % 3 == 0", "self.ticks % 4 == 0"))
    session = base.plain_session() | {"folder": str(changed)}
    first = decided(base.journal, codes.MARKET)[0]
    return Planted(again(base.journal, target, untouched, session=session), first, "requests")


def reused_epoch(base: Base, target: Path) -> Planted:
    """A later process wrote under a number that one before it had gone beyond."""
    commits = list(open_journal(base.journal).each())[:40]
    again(base.journal, target, lambda parts: parts.__delitem__(slice(40, None)))
    first = open_journal(target).segments[0].header
    for epoch in ("5", "2"):
        (target / "epoch").write_text(epoch)
        writer = JournalWriter(
            target, session=first.session, code=first.code, config=first.config, durability="async",
            start=open_journal(target).start,
        )  # fmt: skip
        writer.close()
    return Planted(target, sum(len(commit.facts) for commit in commits), "an epoch was used again")


class PerBatch(LiveNode):
    """A node with a mistake: it makes orders larger for every batch it handled, not for every fact."""

    def handle(self, rows: Rows, *, begun: int | None = None) -> Handled:
        """Add a lot to the strategy's quantity, and go on."""
        dtype = self.strategies[0].state_dtype
        self.decision["areas"][0][: dtype.itemsize].view(dtype)["qty"] += len(rows) > 0
        return super().handle(rows, begun=begun)


def batch_size_dependence(base: Base, target: Path) -> Planted:
    """The first order's quantity tells how many batches there were."""
    record(target, base.session, base.tape, PerBatch)
    return Planted(target, decided(target, codes.LIMIT, codes.MARKET)[0], "requests", batch=1, node=PerBatch)


def _moved(base: Base, target: Path, above: str, moved: str) -> Path:
    """Record the strategy as plain Python, which may use any library, with its quotes moved away from the market by an expression."""
    folder = target.with_name(f"{target.name}-strategies")
    folder.mkdir()
    assert _QUOTE in BUSY
    changed = BUSY.replace("tl.Strategy", "tl.PythonStrategy")
    changed = changed.replace(_QUOTE, f"(bid if side > 0 else ask) - side * ({moved}), self.qty, tl.GTC")
    (folder / "busy.py").write_text(f"{above}\n{changed}")
    anywhere = {"preset": "research", "price_collar_bps": "none"}
    record(target, msgspec.structs.replace(base.session, folder=str(folder), limits_section=anywhere), base.tape)
    return target


def wall_clock(base: Base, target: Path) -> Planted:
    """Quotes are priced by the time of day."""
    journal = _moved(base, target, "import time\n", "time.time_ns() // 100 % 500_000")
    return Planted(journal, decided(journal, codes.LIMIT)[0], "requests")


def np_random(base: Base, target: Path) -> Planted:
    """Quotes are priced by a draw of NumPy's own generator."""
    journal = _moved(base, target, "import numpy as np\n", "int(np.random.randint(500_000))")
    return Planted(journal, decided(journal, codes.LIMIT)[0], "requests")


_DICT_ORDER = """
RANKS = dict.fromkeys({f"level-{each}" for each in range(16)}, 1)


def first_ranks():
    found = 0
    for name in RANKS:
        found = found * 17 + int(name.removeprefix("level-"))
    return found % 500_000

"""


def dict_order(base: Base, target: Path) -> Planted:
    """Quotes are priced by the order of a dict that was made of a set: another one in each process."""
    journal = _moved(base, target, _DICT_ORDER, "first_ranks()")
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    return Planted(journal, decided(journal, codes.LIMIT)[0], "requests", hash_seed=other)


DIVERGENCES: Final[dict[str, Callable[[Base, Path], Planted]]] = {
    "flipped-price-bit": flipped_price_bit,
    "wall-clock": wall_clock,
    "batch-size": batch_size_dependence,
    "dict-order": dict_order,
    "dropped-timer": dropped_timer_row,
    "reused-epoch": reused_epoch,
    "edited-limit": edited_limit,
    "changed-constant": changed_constant,
    "swapped-rows": swapped_rows,
    "np-random": np_random,
}
