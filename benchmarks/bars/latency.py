"""The bars on latency: from a frame's bytes to an order in process, and at the venue's side of real sockets on this machine.

TWINLOOP_LATENCY_BLOCKS    blocks of the loopback bar, half of them the echo's (20)
TWINLOOP_LATENCY_BLOCK_S   seconds of one (10)
"""

import asyncio
import gzip
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from harness import ROOT, NotMetError, Outcome, bar, child_environment, recordings, say
from latency_session import ORDER_EVERY, make_arbiter, make_loop
from latency_venue import RATE, Venue, settle

CORE_FRAMES: Final = 60_000
CORE_WARM: Final = 5_000
TICK_FRAMES: Final = 100
CORE_P50_US: Final = 3.0
CORE_P99_US: Final = 10.0
PAIRED_US: Final = 15.0
UPPER_US: Final = 20.0
RESAMPLES: Final = 500
SETTLE_S: Final = 60.0  # What a side may take to start; kernels are compiled before.


class Then:
    """A world at the times of a recording; a look at its clock costs what one at the machine's does, and a little more."""

    def __init__(self) -> None:
        self.now_ns = 0

    def wall_ns(self) -> int:
        """Where it was put."""
        return self.now_ns

    def monotonic_ns(self) -> int:
        """Where it was put."""
        time.monotonic_ns()
        return self.now_ns


def touch_frames(count: int) -> list[tuple[int, bytes]]:
    """Recorded quotes and prints of a perpetual contract, each with the time it came at."""
    found = []
    with gzip.open(recordings("usdm", "btcusdt", "20240808")[0]) as lines:
        for line in lines:
            local, _, frame = line.rstrip(b"\n").partition(b" ")
            if b"@bookTicker" in frame[:60] or b"@trade" in frame[:60]:
                found.append((int(local), frame))
            if len(found) == count:
                break
    return found


def _core(folder: Path, frames: list[tuple[int, bytes]]) -> dict[str, Any]:
    from twinloop.engine.live.feeds import Feeds
    from twinloop.engine.seam import ReceiveClock
    from twinloop.kernels import rows as table

    world: Any = Then()
    world.now_ns = frames[0][0] - 1
    clock = ReceiveClock(world)
    now = time.perf_counter_ns
    sealed_ns = left_ns = 0
    requests: list[Any] = []

    def send(rows: Any) -> None:
        nonlocal left_ns
        left_ns = now()
        requests.append(rows)

    loop = make_loop(folder, clock, "async", every=ORDER_EVERY, send=send)
    arbiter = make_arbiter(lag_ns=0)
    unasked: Any = None  # Nothing here asks by REST.
    feeds = Feeds([], arbiter, take=loop.take, take_frame=loop.take_frame, clock=clock, client=unasked)
    loop.take(arbiter.begin(clock.local_ns()))
    leg, rows = arbiter.open(0, clock.local_ns())
    loop.take(rows)
    give = loop._frame_gave  # noqa: SLF001 - where the compiled turn ends

    def watched(made: int) -> None:
        nonlocal sealed_ns
        sealed_ns = now()  # The compiled turn is over: the order's row is in the outbox, and in the journal, sealed.
        give(made)

    turn = loop.recorded.frames_turn(clock, give=watched, refused=loop._frame_refused)  # noqa: SLF001
    assert turn is not None
    answer = np.zeros(1, table.ROW)
    answer["kind"] = table.EXPIRED
    orders_ns, handed_ns, others_ns = [], [], []
    cpu_ns = 0
    for number, (local_ns, frame) in enumerate(frames):
        world.now_ns = local_ns
        sealed_ns = left_ns = 0
        cpu = time.thread_time_ns()
        began = now()
        feeds.on_frame(leg, frame)
        ended = now()
        cpu = time.thread_time_ns() - cpu
        if number >= CORE_WARM:
            cpu_ns += cpu
            if left_ns:
                orders_ns.append((sealed_ns or left_ns) - began)
                handed_ns.append(left_ns - began)
            else:
                others_ns.append(ended - began)
        if number % TICK_FRAMES == 1:  # As the feeds' watch does: the first one has the market recover.
            loop.take(arbiter.on_tick(clock.local_ns()))
        for part in requests:  # The venue ends the order: no latency of ours.
            answer["local_ns"], answer["order_id"] = clock.local_ns(), part["order_id"][:1]
            answer["instrument"], answer["strategy"] = part["instrument"][:1], part["strategy"][:1]
            loop.take(answer)
        requests.clear()
    failure, refused, hash_ = loop.failure, loop.counts.refused, loop.node.decision_hash()
    facts = loop.counts.facts
    loop.recorded.journal.close()
    return {
        "orders": len(orders_ns), "failure": failure, "refused": refused, "hash": f"{hash_ & (2**64 - 1):016x}", "facts": facts,
        "order_us": _shares(orders_ns), "handed_on_us": _shares(handed_ns), "other_us": _shares(others_ns), "cpu_us_per_frame": round(cpu_ns / (len(frames) - CORE_WARM) / 1e3, 3),
    }  # fmt: skip


def _shares(found_ns: Any) -> dict[str, float]:
    shares = np.percentile(found_ns, [0, 50, 90, 99, 99.9]) / 1e3
    return dict(zip(("least", "p50", "p90", "p99", "p99.9"), np.round(shares, 2).tolist(), strict=True))


@bar("latency-core", "p50 3, p99 10", "us")
def latency_core() -> Outcome:
    """In process, a frame's bytes in hand to its order's row in the outbox and sealed in the journal: recorded quotes and prints."""
    frames = touch_frames(CORE_FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        found = _core(Path(folder), frames)
    say(f"  {found}")
    its = found["order_us"]
    fine = (
        not found["failure"]
        and not found["refused"]
        and found["orders"] >= (len(frames) - CORE_WARM) // ORDER_EVERY - 1
    )
    return Outcome(its["p50"], ok=fine and its["p50"] <= CORE_P50_US and its["p99"] <= CORE_P99_US, detail=found)


# ---- Over sockets.


@bar("latency", "median 15, upper 20", "us")
def latency() -> Outcome:
    """At the venue's side on loopback, a marked message to its order, less a bare echo's on the same library: paired, 20 blocks.

    Beside it: each durability, and the difference to an echo that answers, as the engine does, in the call that read the message.
    """
    blocks = int(os.environ.get("TWINLOOP_LATENCY_BLOCKS", "20"))
    block_s = float(os.environ.get("TWINLOOP_LATENCY_BLOCK_S", "10"))
    found: dict[str, Any] = {}
    with _core_of_its_own() as others, _rest() as rest:
        for name, echo, durability, pairs in (
            ("async", "echo", "async", blocks // 2), ("group", "echo", "group", 1), ("strict", "echo", "strict", 1),
            ("prompt_echo", "prompt-echo", "async", max(blocks // 10, 1)),
        ):  # fmt: skip
            found[name] = _compared(echo, durability, pairs, block_s, rest, others)
            say(f"  {name}: {found[name]}")
    found["write_and_sync_us"] = _bare_sync()
    its = found["async"]
    fine = its["answered"] == its["asked"]
    return Outcome(
        its["difference_us"],
        ok=fine and its["difference_us"] <= PAIRED_US and its["upper_us"] <= UPPER_US,
        detail=found,
    )


@contextmanager
def _core_of_its_own() -> Iterator[set[int]]:
    """The venue, which never sleeps, keeps to one core, so that the side measured is not moved to it or away from it; the other cores."""
    before = os.sched_getaffinity(0)
    venue, *others = sorted(before)
    os.sched_setaffinity(0, {venue})
    try:
        yield set(others or [venue])
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _rest() -> Iterator[str]:
    """The rest of a venue - clock, user stream, questions about orders -, in a thread of its own: nothing measured passes it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from reference.order_server import Server

    ready: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = queue.SimpleQueue()

    async def serve() -> None:
        done = asyncio.Event()
        async with Server("usdm").serve() as server:
            ready.put((asyncio.get_running_loop(), done, server.port))
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop, done, port = ready.get(timeout=30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


def _compared(echo: str, durability: str, pairs: int, block_s: float, rest: str, cores: set[int]) -> dict[str, Any]:
    """Blocks of both sides in turn: the orders' times, and their differences in pairs."""
    venue = Venue()
    address = f"ws://127.0.0.1:{venue.port}"
    children = [_side(cores, echo, f"{address}/market")]
    try:
        plain = venue.accept()
        children.append(_side(cores, durability, f"{address}/market", f"{address}/orders", rest))
        one, other = venue.accept(), venue.accept()
        market, orders = (one, other) if "market" in one.path else (other, one)
        settle(venue, plain, plain, SETTLE_S, answers=False)
        settle(venue, market, orders, SETTLE_S, answers=True)
        times: dict[str, list[list[float]]] = {"echo": [], durability: []}
        for _ in range(pairs):
            times["echo"].append(venue.block(plain, plain, block_s, answers=False))
            times[durability].append(venue.block(market, orders, block_s, answers=True))
        for each in (plain, market, orders):
            each.close()
        for child in children:
            child.wait(30)
    finally:
        for child in children:
            child.kill()
    return _judged(times["echo"], times[durability], pairs * (int(block_s * RATE) // ORDER_EVERY))


def _side(cores: set[int], *arguments: str) -> subprocess.Popen[bytes]:
    program = Path(__file__).with_name("latency_session.py")
    side = subprocess.Popen([sys.executable, str(program), *arguments], env=child_environment())
    os.sched_setaffinity(side.pid, cores)  # Before it has any other thread.
    return side


def _judged(echo: list[list[float]], ours: list[list[float]], asked: int) -> dict[str, Any]:
    """Differences order by order in neighbouring blocks; the bound draws pairs of blocks, whose orders belong together."""
    if not all(echo) or not all(ours):
        raise NotMetError("a side sent no order in a block")
    differences = [
        [its - bare for its, bare in zip(mine, theirs, strict=False)] for mine, theirs in zip(ours, echo, strict=True)
    ]
    draw = random.Random(7)
    medians = sorted(
        statistics.median(chain.from_iterable(differences[draw.randrange(len(differences))] for _ in differences))
        for _ in range(RESAMPLES)
    )
    return {
        "difference_us": round(statistics.median(chain.from_iterable(differences)), 2), "upper_us": round(medians[int(0.95 * RESAMPLES)], 2),
        "asked": asked, "answered": sum(map(len, ours)), "echo_us": _shares_us(echo), "ours_us": _shares_us(ours),
    }  # fmt: skip


def _shares_us(blocks: list[list[float]]) -> dict[str, float]:
    return _shares(np.concatenate([np.asarray(block) for block in blocks]) * 1e3)


def _bare_sync() -> float:
    """Median microseconds of writing one commit's bytes and having them last: what no journal of these levels can be quicker than."""
    with tempfile.TemporaryDirectory() as folder:
        handle = os.open(Path(folder) / "file", os.O_RDWR | os.O_CREAT)
        try:
            os.posix_fallocate(handle, 0, 1 << 20)
            times = []
            for number in range(300):
                began = time.perf_counter_ns()
                os.pwrite(handle, bytes(256), 256 * number)
                os.fdatasync(handle)
                times.append(time.perf_counter_ns() - began)
        finally:
            os.close(handle)
    return round(statistics.median(times) / 1e3, 1)
