"""How long a user waits: a small backtest with a warm cache, and everything compiled from nothing."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ours
from harness import REPEATS, NotMetError, Outcome, bar


def twinloop() -> list[str]:
    """The command of this interpreter's environment."""
    beside = Path(sys.executable).with_name("twinloop")
    found = str(beside) if beside.exists() else shutil.which("twinloop")
    if not found:
        raise NotMetError("no `twinloop` command: pip install -e . in the repository")
    return [found]


def timed(
    arguments: list[str], environment: dict[str, str] | None = None
) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Wall-clock seconds of a whole process, and what it said."""
    # Whoever installed it has Python's bytecode files; a setting of this shell must not have them made again at each start.
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(
        [*twinloop(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**usual, **(environment or {})},
    )
    elapsed = time.perf_counter() - start
    if done.returncode:
        raise NotMetError(
            f"twinloop {' '.join(arguments)} exited with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return elapsed, done


@bar("start", 1.5, "s")
def warm() -> Outcome:
    """A warm `twinloop backtest` of a small run, from the command to its printed result."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments = ours.small_run_command(Path(folder))
        except ours.NotBuiltError as reason:
            raise NotMetError(str(reason)) from None
        timed(arguments)  # compiles and builds the row cache, outside the clock
        times = [timed(arguments)[0] for _ in range(REPEATS)]
    middle = statistics.median(times)
    return Outcome(
        round(middle, 3), ok=middle <= 1.5, detail={"seconds": [round(t, 3) for t in times], "command": arguments}
    )


@bar("start-cold", 30.0, "s")
def cold() -> Outcome:
    """Everything compiled with an empty cache, showing progress."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments, environment = ours.cold_command(Path(folder))
        except ours.NotBuiltError as reason:
            raise NotMetError(str(reason)) from None
        elapsed, done = timed(arguments, environment)
        compiled = sum(1 for _ in Path(folder).rglob("*.nbc"))
    spoke = len((done.stdout + done.stderr).strip().splitlines())
    ok = elapsed <= 30.0 and compiled > 0 and spoke > 1
    return Outcome(
        round(elapsed, 2), ok=ok, detail={"cache_files": compiled, "lines_of_progress": spoke, "command": arguments}
    )
