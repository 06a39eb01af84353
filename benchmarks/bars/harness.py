"""What every bar needs: the registry, child processes, the folders of real data and peers, medians and intervals.

A bar measures when it is run; nothing here keeps a result. It knows no engine: those are in ours.py and the peers' scripts.
"""

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

BENCHMARKS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = BENCHMARKS.parent
REPEATS: Final = 7
RESAMPLES: Final = 10_000
TIMEOUT_S: Final = 1800


class NotMetError(Exception):
    """The bar cannot be measured or does not hold; the text says why and what to do."""


@dataclass(slots=True)
class Outcome:
    """What a bar found. value and limit are in `unit`; detail is free but printable as JSON."""

    value: float | str | bool | None
    ok: bool
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bar:
    """A named check. limit: what `value` is held against, in words or as a number."""

    name: str
    limit: float | str
    unit: str
    about: str
    measure: Callable[[], Outcome]


BARS: Final[dict[str, Bar]] = {}


def bar(name: str, limit: float | str, unit: str) -> Callable[[Callable[[], Outcome]], Callable[[], Outcome]]:
    """Register a check under a name; its docstring's first line is what `--list` prints."""

    def register(measure: Callable[[], Outcome]) -> Callable[[], Outcome]:
        assert name not in BARS, name
        BARS[name] = Bar(name, limit, unit, (measure.__doc__ or "").strip().splitlines()[0], measure)
        return measure

    return register


def say(text: str) -> None:
    """Progress, for a person: standard error, so that the result stays the last line of the output."""
    print(text, file=sys.stderr, flush=True)


def real_data() -> Path:
    """The folder of recordings, from TWINLOOP_REAL_DATA."""
    named = os.environ.get("TWINLOOP_REAL_DATA")
    if not named:
        raise NotMetError("set TWINLOOP_REAL_DATA to the folder that holds binance-raw-ws and ohlcv-bars")
    path = Path(named)
    if not path.is_dir():
        raise NotMetError(f"TWINLOOP_REAL_DATA names no folder: {path}")
    return path


def recordings(market: str = "*", symbol: str = "*", day: str = "*") -> list[Path]:
    """Raw recordings binance-raw-ws/<market>_<symbol>_<day>.gz, oldest first."""
    found = sorted((real_data() / "binance-raw-ws").glob(f"{market}_{symbol}_{day}.gz"))
    if not found:
        raise NotMetError(f"no recording {market}_{symbol}_{day}.gz in {real_data() / 'binance-raw-ws'}")
    return found


def market_of(recording: Path) -> tuple[str, str, str]:
    """(market, symbol, day) of a recording's name; the symbol may hold underscores."""
    market, rest = recording.name.removesuffix(".gz").split("_", 1)
    symbol, day = rest.rsplit("_", 1)
    return market, symbol, day


def peers_python(*modules: str) -> str:
    """The interpreter that has the peers: TWINLOOP_PEERS_PYTHON, or this one. NotMetError names the missing install."""
    python = os.environ.get("TWINLOOP_PEERS_PYTHON", sys.executable)
    check = subprocess.run([python, "-c", "import " + ", ".join(modules)], capture_output=True, text=True, check=False)
    if check.returncode:
        reason = (check.stderr.strip().splitlines() or ["?"])[-1]
        raise NotMetError(
            f"{python} cannot import {', '.join(modules)} ({reason}): run `{python} -m pip install -e '.[bars]'` in the "
            "repository, or name an interpreter that has them in TWINLOOP_PEERS_PYTHON"
        )
    return python


def child_environment(**more: str) -> dict[str, str]:
    """One thread per numeric library, and the working repository's own compile cache."""
    one = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1")
    return {**os.environ, **one, **more}


def last_core() -> set[int]:
    """One core of those this process may use: the last, which the system uses least."""
    return {max(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else set()


def run_json(
    command: Sequence[str | Path],
    *,
    pin: bool = True,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> dict[str, Any]:
    """Run a child process to its end and read the last line of its output as JSON."""
    arguments = [str(part) for part in command]
    core = last_core() if pin else set()

    def settle() -> None:
        if core:
            os.sched_setaffinity(0, core)

    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=cwd,
        env=child_environment() if environment is None else dict(environment), preexec_fn=settle if core else None,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-4:]
        raise NotMetError(
            f"{Path(arguments[1]).name} {' '.join(arguments[2:])} exited with {done.returncode}: {' | '.join(said)}"
        )
    found = json.loads(lines[-1])
    if found.get("not_built"):
        raise NotMetError(found["not_built"])
    return dict(found)


def interleave(sides: Mapping[str, Sequence[str | Path]], repeats: int = REPEATS) -> dict[str, list[dict[str, Any]]]:
    """A B C A B C ..., each run its own process, so that slow minutes of the machine meet all sides alike."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, command in sides.items():
            one = run_json(command)
            found[name].append(one)
            say(f"  run {turn + 1}/{repeats} {name}: {one['rate'] / 1e6:.2f} M rows/s")
    return found


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of the medians, and its 95 % bootstrap interval over whole turns (pairs stay together)."""
    pairs = list(zip(ours, theirs, strict=True))
    draw = random.Random(7)
    ratios = []
    for _ in range(RESAMPLES):
        sample = [pairs[draw.randrange(len(pairs))] for _ in pairs]
        ratios.append(statistics.median(a for a, _ in sample) / statistics.median(b for _, b in sample))
    ratios.sort()
    low, high = ratios[int(0.025 * RESAMPLES)], ratios[int(0.975 * RESAMPLES)]
    return statistics.median(ours) / statistics.median(theirs), low, high


def facts_of(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What one side traded, from its runs; NotMetError when its own runs disagree: then a rate means nothing."""
    runs = list(runs)
    names = ("fills", "position", "fee", "requests", "balance", "rows")
    facts = {name: runs[0][name] for name in names if name in runs[0]}
    for other in runs[1:]:
        if {name: other[name] for name in facts} != facts:
            raise NotMetError(f"{runs[0].get('engine')} did not repeat itself: {facts} then {other}")
    return facts


def measure(chosen: Bar) -> tuple[dict[str, Any], bool]:
    """Run one bar. Returns the line to print, and whether it holds; a reason for not being met is a result, not a crash."""
    try:
        outcome = chosen.measure()
    except NotMetError as reason:
        outcome = Outcome(None, ok=False, detail={"reason": str(reason)})
    except Exception as error:  # noqa: BLE001 - whatever breaks, the bar's line says so and the next bar runs
        outcome = Outcome(None, ok=False, detail={"reason": f"{type(error).__name__}: {error}"})
    found = asdict(outcome)
    line = {"bar": chosen.name, "value": found["value"], "limit": chosen.limit, "unit": chosen.unit, "ok": found["ok"]}
    return {**line, "detail": found["detail"]}, outcome.ok
