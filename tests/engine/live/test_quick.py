"""The compiled turn against its twin: the same facts leave the same journal, byte for byte, the same requests and the same state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numba import config

from twinloop.data import journal_write
from twinloop.data.instruments import Instrument
from twinloop.data.live_turn import BEGUN, COUNT_REFUSED, UNUSUAL
from twinloop.engine.journal import writer
from twinloop.engine.journal.errors import JournalError
from twinloop.engine.journal.writer import FileLayer, JournalWriter
from twinloop.engine.live import recorded
from twinloop.engine.live.node import BATCH_ROWS, LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, session_to_plain
from twinloop.kernels import rows as table

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="without compiled kernels there is only the twin")


class Standing:
    """A world whose time stands, so that two journals can be the same."""

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic_ns(self) -> int:
        return 5_000_000_000


@pytest.fixture(autouse=True)
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (recorded, writer):
        monkeypatch.setattr(module, "WORLD", Standing())


def make(session: Session, folder: Path, *, quick: bool, layer: FileLayer | None = None) -> RecordedNode:
    journal = JournalWriter(
        folder, session=dict(session_to_plain(session)), code="c", config="d", durability="async", segment_rows=1 << 13,
        layer=layer,
    )  # fmt: skip
    made = RecordedNode(LiveNode(session, "live"), journal)
    if not quick:
        made._turn = None
    return made


def play(made: RecordedNode, tape: Any, ends_order: bool = True) -> list[bytes]:
    """Facts in batches of every size, some with times that fall; every order is answered."""
    sent = [made.start().requests.tobytes()]
    draw = np.random.default_rng(5)
    at = 0
    while at < len(tape):
        size = int(draw.choice([1, 1, 1, 2, 7, 40, BATCH_ROWS + 100]))
        end = min(at + size, len(tape))
        while end < len(tape) and tape[end - 1]["flags"] & table.FLAG_CONTINUES:
            end += 1
        part = tape[at:end].copy()
        if draw.random() < 0.05:
            part["local_ns"][len(part) // 2 :] -= 1_000_000_000
        at = end
        requests = made.handle(part).requests
        sent.append(requests.tobytes())
        for request in requests:
            if request["kind"] == table.NEW and ends_order:
                answer = np.zeros(1, table.ROW)
                answer["kind"] = table.EXPIRED if draw.random() < 0.5 else table.ACK
                for name in ("order_id", "instrument", "strategy"):
                    answer[name] = request[name]
                answer["local_ns"] = part["local_ns"].max()
                sent.append(made.handle(answer).requests.tobytes())
    return sent


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".lock"}


def counted(made: RecordedNode, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each call of the compiled turn came back with."""
    found: list[int] = []
    turn: Any = made._turn
    assert turn is not None

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(turn, name)

        def handle(self, *arguments: Any) -> int:
            found.append(turn.handle(*arguments))
            return found[-1]

    monkeypatch.setattr(made, "_turn", Watched())
    return found


@pytest.mark.parametrize("refusing", [False, True])
def test_the_compiled_turn_leaves_what_its_twin_leaves(
    session: Session, market: tuple[Instrument, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: bool
) -> None:
    if refusing:
        session = msgspec.structs.replace(
            session, limits_section={"preset": "research", "max_messages_per_s": 2, "message_burst": 2}
        )
    quick, plain = (make(session, tmp_path / name, quick=name == "quick") for name in ("quick", "plain"))
    codes = counted(quick, monkeypatch)
    assert play(quick, market[1]) == play(plain, market[1])
    assert quick.node.decision_hash() == plain.node.decision_hash() != 0
    assert quick.node.state_hash() == plain.node.state_hash()
    assert quick.counts.tolist() == plain.counts.tolist()
    for each in (quick, plain):
        each.journal.close()
    theirs = files(tmp_path / "plain")
    assert files(tmp_path / "quick") == theirs
    assert len(theirs) > 2, "segments began anew on the way"
    # All ways were taken: the compiled one with and without requests, one that was left to the twin, and one that was begun.
    assert {UNUSUAL, 0, 1} <= set(codes)
    assert (BEGUN in codes) == refusing == bool(plain.counts[COUNT_REFUSED])
    assert int(plain.node.node["inbox_head"]) > len(plain.node.node["inbox"]), "the inbox went round"


def test_a_turn_whose_journal_fails_says_so(session: Session, market: tuple[Instrument, Any], tmp_path: Path) -> None:
    layer = FileLayer()
    layer.faults = np.array([[journal_write.WRITE, 40, 1 << 40, -28]], np.int64)
    made: Callable[..., RecordedNode] = make
    node = made(session, tmp_path, quick=True, layer=layer)
    with pytest.raises(JournalError, match="No space left"):
        play(node, market[1])
    assert node.journal.failure
    node.journal.close()
