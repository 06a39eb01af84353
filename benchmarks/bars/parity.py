"""The bars on parity: what a live session decided, its journal decides again, and a replay that differs says where.

A session's journal is replayed by `twinloop replay` in a process of its own; the faults come from tests/reference/faulty_sessions.py, the
planted divergences from tests/reference/divergences.py.
"""

import asyncio
import os
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness import ROOT, NotMetError, Outcome, bar, say

sys.path.insert(0, str(ROOT / "tests"))

if TYPE_CHECKING:
    from reference.faulty_sessions import Replayed

SESSIONS = 20
SECONDS = 60.0
AT_ONCE = 2
PLANTED = 10


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        raise NotMetError(f"{name} must be a number, got {text!r}") from None
    if not 0 <= value < 10**6:
        raise NotMetError(f"{name} must be from 0 to a million, got {text}")
    return value


@bar("parity", "0 of 20 sessions of 60 s", "sessions that failed")
def parity() -> Outcome:
    """20 live sessions of 60 s under disconnects, partial fills, rejects and failovers: every replay equal, bit for bit.

    TWINLOOP_PARITY_SESSIONS, TWINLOOP_PARITY_SECONDS and TWINLOOP_PARITY_AT_ONCE make it shorter or longer; a shorter one says what it
    did, and is not the bar held. TWINLOOP_SEED: of the first session.
    """
    count, seconds = int(_number("TWINLOOP_PARITY_SESSIONS", SESSIONS)), _number("TWINLOOP_PARITY_SECONDS", SECONDS)
    at_once = max(1, int(_number("TWINLOOP_PARITY_AT_ONCE", AT_ONCE)))
    first = int(_number("TWINLOOP_SEED", 1))
    found, failed = asyncio.run(_sessions(range(first, first + count), seconds, at_once))
    total: Counter[str] = Counter()
    for each in found:
        total.update(
            each.met
            | {"facts": each.facts, "decisions": each.decisions, "requests": each.requests, "hashes": each.hashes}
        )
    shortest = min((each.seconds for each in found), default=0.0)
    detail = {
        "sessions": len(found), "shortest_s": shortest, "first_seed": first, "failed": failed, "replayed": dict(total),
        "faults": dict(sum((Counter(each.faults) for each in found), Counter())),
    }  # fmt: skip
    whole = len(found) >= SESSIONS and shortest >= SECONDS
    if not failed and not whole:
        detail["reason"] = f"nothing failed, but the bar is {SESSIONS} sessions of {SECONDS:.0f} s"
    return Outcome(len(failed), ok=not failed and whole, detail=detail)


async def _sessions(seeds: range, seconds: float, at_once: int) -> tuple[list["Replayed"], list[str]]:
    from reference.faulty_sessions import session

    found, failed = [], []
    free = asyncio.Semaphore(at_once)

    async def one(seed: int) -> None:
        with tempfile.TemporaryDirectory() as place:
            async with free:
                try:
                    each = await session(Path(place), seed, seconds)
                except Exception as error:  # noqa: BLE001 - a session that fails is the result, the others still run
                    failed.append(f"seed {seed}: {type(error).__name__}: {error}"[:800])
                    say(traceback.format_exc())
                    return
        found.append(each)
        say(f"seed {seed}: {each}")
        if not each.same:
            failed.append(f"seed {seed}: the replay differs: {each.difference}")
        if each.missing():
            failed.append(f"seed {seed}: did not meet {', '.join(each.missing())}")

    await asyncio.gather(*(one(seed) for seed in seeds))
    return sorted(found, key=lambda each: each.seed), failed


@bar("planted-divergences", "10 of 10 at their fact", "divergences missed")
def planted_divergences() -> Outcome:
    """Ten planted divergences, from a flipped bit to np.random: the replay reports each at the fact where it first shows."""
    from reference.divergences import DIVERGENCES, Base

    missed, shown = [], {}
    with tempfile.TemporaryDirectory() as place:
        base = Base.recorded(Path(place))
        for name, plant in DIVERGENCES.items():
            planted = plant(base, Path(place) / name)
            sequence, what = planted.replayed()
            shown[name] = f"fact {sequence}: {what}"
            say(f"{name}: {shown[name]}, expected fact {planted.sequence}: {planted.what}")
            if sequence != planted.sequence or planted.what not in what:
                missed.append(name)
    return Outcome(len(missed), ok=not missed and len(shown) == PLANTED, detail={"shown": shown, "missed": missed})
