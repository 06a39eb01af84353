"""The compiled turn against its twin: the same facts leave the same journal, byte for byte, the same requests and the same state."""

import dataclasses
import gzip
import os
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numba import config
from reference.streamed_book import MS, NOW, Venue

from twinloop.data import journal_write
from twinloop.data.feed_arbiter import FeedArbiter, FeedSettings
from twinloop.data.instruments import Instrument, preset
from twinloop.data.live_turn import BEGUN, COUNT_REFUSED, TAKEN, UNUSUAL, FrameWay
from twinloop.engine.journal import writer
from twinloop.engine.journal.errors import JournalError
from twinloop.engine.journal.writer import FileLayer, JournalWriter
from twinloop.engine.live import recorded
from twinloop.engine.live.feeds import Feeds
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.node import BATCH_ROWS, LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, session_to_plain
from twinloop.engine.seam import ReceiveClock
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


# ---- From frames.


Came = tuple[int, int, bytes]  # When, on which leg, and what.


def recording() -> Path | None:
    named = os.environ.get("TWINLOOP_REAL_DATA")
    path = Path(named or "") / "binance-raw-ws" / "usdm_btcusdt_20240808.gz"
    return path if named and path.exists() else None


def recorded_frames(count: int) -> list[Came]:
    path = recording()
    assert path is not None
    with gzip.open(path) as lines:
        parts = [line.rstrip(b"\n").partition(b" ") for line in islice(lines, count)]
    return [(int(local), 0, frame) for local, _, frame in parts]


def faulty_frames(seed: int) -> list[Came]:
    """Two legs of a small venue: the first loses updates and prints, gets some twice and some late, and falls silent at last."""
    draw = random.Random(seed)
    venue = Venue(draw)
    found, now_ns = [(NOW, leg, venue.next(NOW)) for leg in (0, 1)], NOW
    for number in range(1500):
        now_ns += 20 * MS
        frame = venue.next(now_ns) if draw.random() < 0.6 else venue.trade(now_ns)
        if number < 1200:
            found += [(now_ns, 0, frame)] * draw.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2])
        found.append((now_ns + draw.choice([0, MS]), 1, frame))
        if number % 25 == 0:
            found += [(now_ns, leg, venue.snapshot(now_ns)) for leg in (0, 1)]
        if draw.random() < 0.01:
            found.append((now_ns, 0, draw.choice([b"{}", b"nothing", frame[:-7], frame + b" "])))
    return found


def drive(
    session: Session,
    folder: Path,
    frames: list[Came],
    monkeypatch: pytest.MonkeyPatch,
    *,
    quick: bool,
    taken: list[int] | None = None,
    layer: FileLayer | None = None,
) -> tuple[LiveLoop, FeedArbiter, list[bytes]]:
    """A session's feeds, without the sockets. taken: filled with what the compiled way says of each frame."""
    now_ns = frames[0][0] - 1
    world: Any = Standing()
    world.wall_ns = world.monotonic_ns = lambda: now_ns  # The frames' times.
    monkeypatch.setattr(recorded, "WORLD", world)
    made = make(session, folder, quick=quick, layer=layer)
    sent: list[bytes] = []
    clock = ReceiveClock(world)
    loop = LiveLoop(made, clock, send=lambda rows: sent.append(rows.tobytes()))
    loop.start()
    arbiter = FeedArbiter("binance-usdm", session.instruments, FeedSettings(lag_ns=0), depth=True)
    unasked: Any = None
    take_frame = loop.take_frame
    assert (take_frame is not None) == quick

    def watched(way: FrameWay, frame: bytes, alone: bool) -> int:
        assert take_frame is not None
        found = take_frame(way, frame, alone)
        assert taken is not None
        taken.append(found)
        return found

    feeds = Feeds([], arbiter, take=loop.take, take_frame=watched if quick else None, clock=clock, client=unasked)
    loop.take(arbiter.begin(now_ns))
    legs = []
    for leg in range(1 + max(leg for _, leg, _ in frames)):
        opened, rows = arbiter.open(leg, now_ns)
        loop.take(rows)
        legs.append(opened)
    for number, (at_ns, leg, frame) in enumerate(frames):
        now_ns = at_ns
        if b'"lastUpdateId"' in frame[:40]:
            if legs[leg].stream.wanting:
                loop.take(arbiter.on_snapshot(legs[leg], "BTCUSDT", frame, now_ns))
        else:
            feeds.on_frame(legs[leg], frame)
        if number % 20 == 0:
            loop.take(arbiter.on_tick(now_ns))
            loop.tick()
    made.journal.close()
    return loop, arbiter, sent


def told_by(arbiter: FeedArbiter) -> list[Any]:
    """All that an arbiter's choices rest on."""
    found: list[Any] = [
        arbiter._floors.tolist(),
        arbiter.switches,
        arbiter._stale,
        list(arbiter._arrivals),
        list(arbiter._lags),
    ]
    for leg in arbiter.legs:
        found += [
            leg.last_ns,
            leg.late,
            leg._lag_floors,
            dict(leg.stream.counts),
            leg.stream._states.tolist(),
            leg is arbiter.active,
        ]
        found += [dataclasses.astuple(each) for each in (*leg.books, *leg.prints)]
    return found


@pytest.mark.parametrize("source", ["recorded", "faulty-1", "faulty-2"])
def test_frames_leave_what_they_leave_as_rows(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    if source == "recorded" and recording() is None:
        pytest.skip("needs the recordings: TWINLOOP_REAL_DATA names no folder with them")
    frames = recorded_frames(6000) if source == "recorded" else faulty_frames(int(source[-1]))
    qty = 20 if source == "recorded" else 2000  # Worth more than the venue's least: the small venue's prices are low.
    session = msgspec.structs.replace(
        session, instruments=[preset("binance-usdm", "BTCUSDT")], start_ns=frames[0][0] - 1,
        strategies=[msgspec.structs.replace(session.strategies[0], parameters={"qty": qty})],
    )  # fmt: skip
    taken: list[int] = []
    quick, feeds, sent = drive(session, tmp_path / "quick", frames, monkeypatch, quick=True, taken=taken)
    plain, feeds_of_plain, sent_by_plain = drive(session, tmp_path / "plain", frames, monkeypatch, quick=False)
    assert not quick.failure
    assert sent == sent_by_plain
    assert len(sent) > 5
    assert files(tmp_path / "quick") == files(tmp_path / "plain")
    assert quick.node.state_hash() == plain.node.state_hash()
    assert quick.recorded.counts.tolist() == plain.recorded.counts.tolist()
    assert told_by(feeds) == told_by(feeds_of_plain)
    assert taken.count(TAKEN) > len(taken) // 2, "the compiled way took most frames"
    if source != "recorded":
        assert {-1, 1} <= set(taken), "and left some, decoded and not"


def test_a_journal_that_fails_at_a_frame_ends_trading_and_no_frame_is_taken_any_more(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = faulty_frames(3)
    session = msgspec.structs.replace(
        session, instruments=[preset("binance-usdm", "BTCUSDT")], start_ns=frames[0][0] - 1,
        strategies=[msgspec.structs.replace(session.strategies[0], parameters={"qty": 2000})],
    )  # fmt: skip
    layer = FileLayer()
    layer.faults = np.array([[journal_write.WRITE, 300, 1 << 40, -28]], np.int64)
    taken: list[int] = []
    loop, _, _ = drive(session, tmp_path, frames, monkeypatch, quick=True, taken=taken, layer=layer)
    assert "No space left" in loop.failure
    last = max(at for at, each in enumerate(taken) if each == TAKEN)
    assert 100 < last < len(taken) - 100
    assert set(taken[last + 1 :]) == {-1}
