"""The bar on kill -9: a live session on the practice exchange dies at every named point and at random moments.

What is lost, doubled or different is found in the exchange's own books (tests/reference/kills.py), which share no code with the engine.
"""

import asyncio
import os
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from harness import ROOT, NotMetError, Outcome, bar, say

sys.path.insert(0, str(ROOT / "tests"))

TIMES = 3
RANDOM = 50
RANDOM_EACH = 10  # Random kills of one session before its books are compared.
REDUCING_S = 10.0


@bar("kills", "0 lost or doubled, REDUCING within 10 s", "points that failed")
def kills() -> Outcome:
    """Kill -9 at every named point, three times each, and 50 times at random: nothing lost, nothing twice, back within 10 s.

    TWINLOOP_KILLS_ONLY: names of points, and random-0 to random-4, separated by commas; a part says what it did, and is not the bar held.
    """
    from reference.kills import at_point, at_random

    from twinloop.engine.crash_points import POINTS

    seed = int(os.environ.get("TWINLOOP_SEED", "1"))
    generator = np.random.default_rng(seed)
    failed, started, deaths = [], [], 0
    runs: list[tuple[str, Callable[..., Awaitable[object]]]] = [
        (point, lambda *place, point=point: at_point(*place, point, TIMES, seed)) for point in POINTS
    ]
    for number in range(RANDOM // RANDOM_EACH):
        seconds = generator.uniform(0.3, 8.0, RANDOM_EACH).tolist()
        runs.append((f"random-{number}", lambda *place, seconds=seconds: at_random(*place, seconds)))
    wanted = [name for name in os.environ.get("TWINLOOP_KILLS_ONLY", "").split(",") if name]
    unknown = sorted(set(wanted) - {name for name, _ in runs})
    if unknown:
        known = ", ".join(name for name, _ in runs)
        raise NotMetError(f"TWINLOOP_KILLS_ONLY names {', '.join(unknown)}; what can be run is: {known}")
    chosen = [(name, run) for name, run in runs if not wanted or name in wanted]
    for name, run in chosen:
        try:
            found = asyncio.run(_on_exchange(run, seed))
        except Exception as error:  # noqa: BLE001 - a point that fails is the result, the others are still tried
            failed.append(f"{name}: {type(error).__name__}: {error}"[:500])
            say(traceback.format_exc())
            continue
        deaths += found.deaths
        started += found.started_s
        say(f"{name}: {found}")
    slowest = max(started, default=0.0)
    detail = {"deaths": deaths, "failed": failed, "slowest_start_s": round(slowest, 2), "seed": seed}
    whole = len(chosen) == len(runs)
    if not whole:
        detail["reason"] = f"{len(chosen)} of the bar's {len(runs)} runs: {', '.join(name for name, _ in chosen)}"
    return Outcome(len(failed), ok=not failed and whole and slowest <= REDUCING_S, detail=detail)


async def _on_exchange(run: Callable[..., Awaitable[object]], seed: int) -> object:
    from reference.live_sessions import live_file, strategies

    from twinloop.engine.exchange.server import Server

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with Server(seed=seed, turns_per_s=100) as server:
            path = live_file(folder, server.port, strategies(folder), busy=True)
            return await run(server, path, folder / "sessions" / "live")
