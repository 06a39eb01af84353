"""kill -9 at every named point and at any moment: nothing lost, nothing twice, and the exchange's ledger to the unit.

A short form runs by default; TWINLOOP_KILL_TIMES=3 runs every point so often, TWINLOOP_KILLS=50 so many random kills; the seed is
TWINLOOP_SEED. The bar `kills` of benchmarks/bars does so too, and takes the time of each start.
"""

import asyncio
import os
import re
from pathlib import Path

import numpy as np
import pytest
from reference.kills import Survived, at_point, at_random
from reference.live_sessions import live_file

import twinloop
from twinloop.data.errors import ConfigError
from twinloop.engine import crash_points
from twinloop.engine.crash_points import POINTS, SWITCH, VARIABLE
from twinloop.engine.exchange.server import Server

SEED = int(os.environ.get("TWINLOOP_SEED", "1"))
TIMES = int(os.environ.get("TWINLOOP_KILL_TIMES", "0"))
KILLS = int(os.environ.get("TWINLOOP_KILLS", "2"))
SHORT = ("committed", "after-send", "answer", "start-proving")


def survive(
    folder: Path, quoter: Path, point: str = "", times: int = 1, seconds: list[float] | None = None
) -> Survived:
    async def all_of_it() -> Survived:
        async with Server(seed=SEED, turns_per_s=100) as server:
            path, place = live_file(folder, server.port, quoter, busy=True), folder / "sessions" / "live"
            if point:
                return await at_point(server, path, place, point, times, SEED)
            return await at_random(server, path, place, seconds or [])

    return asyncio.run(all_of_it())


@pytest.mark.parametrize("point", POINTS if TIMES else SHORT)
def test_a_death_at_a_named_point_loses_and_doubles_nothing(tmp_path: Path, quoter: Path, point: str) -> None:
    found = survive(tmp_path, quoter, point, times=max(TIMES, 1))
    assert found.deaths == max(TIMES, 1) + 1
    assert found.fills >= 4


def test_deaths_at_any_moment_lose_and_double_nothing(tmp_path: Path, quoter: Path) -> None:
    seconds = np.random.default_rng(SEED).uniform(0.3, 8.0, KILLS).tolist()
    found = survive(tmp_path, quoter, seconds=seconds)
    assert found.deaths == KILLS + 1


def test_a_process_crashes_for_tests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "commit")
    with pytest.raises(ConfigError, match="told to crash"):
        crash_points.arm_from_environment()
    monkeypatch.setenv(SWITCH, "1")
    crash_points.arm_from_environment()
    assert crash_points.armed == "commit"
    monkeypatch.setenv(VARIABLE, "nowhere")
    with pytest.raises(ConfigError, match="no such point"):
        crash_points.arm_from_environment()
    monkeypatch.setenv(VARIABLE, "")
    crash_points.arm_from_environment()
    assert crash_points.armed == ""


def test_every_named_point_stands_in_the_code_and_no_other(tmp_path: Path) -> None:
    del tmp_path
    sources = (Path(twinloop.__file__).parent / "engine").rglob("*.py")
    text = "\n".join(path.read_text() for path in sources if path.name != "crash_points.py")
    reached = set(re.findall(r'crash_points\.reach\("([a-z-]+)"\)', text)) | {"inbox-append", "outbox-append"}
    assert reached == set(POINTS)
