"""Speed against hftbacktest in its fastest configuration, on the same rows, in one interleaved measurement."""

import statistics
import sys
from pathlib import Path

import ours
from harness import (
    BENCHMARKS,
    NotMetError,
    Outcome,
    bar,
    facts_of,
    interleave,
    peers_python,
    ratio_interval,
    run_json,
    say,
)

HERE = Path(__file__).resolve().parent
COST_REPEATS = 3


def compare(workload: str, mode: str, floor: float, goal: float) -> Outcome:
    """The peer, the plain loop and ours in turn. Holds when the ratio of medians reaches the floor."""
    python = peers_python("hftbacktest", "numba")
    folder = Path(run_json_text([python, BENCHMARKS / "workloads" / "generate.py"]))
    workloads = BENCHMARKS / "workloads"
    on = ",".join(ours.FEATURES[workload])
    own = [sys.executable, HERE / "ours_run.py", "speed", folder, workload, mode]
    sides = {
        "hftbacktest": [python, workloads / "peer_hftbacktest.py", folder, workload, mode],
        "floor": [python, workloads / "floor.py", folder, workload, mode],
        "twinloop": [*own, on],
    }
    missing = None
    try:
        run_json(sides["twinloop"])
    except NotMetError as reason:
        # The peer and the floor are measured all the same: their figures are wanted on every machine.
        missing = str(reason)
        del sides["twinloop"]
    runs = interleave(sides)
    rates = {name: [one["rate"] for one in each] for name, each in runs.items()}
    detail = {
        "workload": f"{workload} {mode}",
        "rates": {name: {"median": statistics.median(each), "runs": each} for name, each in rates.items()},
        # By the process's own CPU time: what the ratio would be on a machine that does nothing else.
        "cpu_rates": {name: statistics.median(one["cpu_rate"] for one in each) for name, each in runs.items()},
        "traded": {name: facts_of(each) for name, each in runs.items()},
        "floor_ratio": floor,
        "goal_ratio": goal,
        "features_on": on.split(","),
    }
    if missing is not None:
        return Outcome(None, ok=False, detail={"reason": missing, **detail})
    ratio, low, high = ratio_interval(rates["twinloop"], rates["hftbacktest"])
    costs = {}
    base = statistics.median(rates["twinloop"])
    for name in ours.FEATURES[workload]:
        less = ",".join(each for each in ours.FEATURES[workload] if each != name)
        rate = statistics.median(run_json([*own, less])["rate"] for _ in range(COST_REPEATS))
        costs[name] = {"rate_without": rate, "cost_ns_per_row": round(1e9 / base - 1e9 / rate, 3)}
        say(f"  without {name}: {rate / 1e6:.2f} M rows/s")
    detail |= {
        "cpu_ratio": round(
            ratio_interval(*([one["cpu_rate"] for one in runs[n]] for n in ("twinloop", "hftbacktest")))[0], 3
        ),
        "ratio_interval_95": [round(low, 3), round(high, 3)],
        "goal_reached": ratio >= goal,
        "share_of_floor": round(base / statistics.median(rates["floor"]), 4),
        "feature_costs": costs,
    }
    return Outcome(round(ratio, 3), ok=ratio >= floor, detail=detail)


def run_json_text(command: list[str | Path]) -> str:
    """Last line of a child's output, as text."""
    import subprocess

    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMetError(f"{command[1]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip().splitlines()[-1]


@bar("speed-w1", 3.0, "x")
def w1() -> Outcome:
    """W1: 5 M quotes and trades, EMA crossover with IOC orders: rate over hftbacktest's (goal 5)."""
    return compare("w1", "feed", 3.0, 5.0)


@bar("speed-w1b", 3.0, "x")
def w1b() -> Outcome:
    """W1b: the same as L2-only rows, read one to one by both (goal 5)."""
    return compare("w1b", "feed", 3.0, 5.0)


@bar("speed-w2", 3.0, "x")
def w2() -> Outcome:
    """W2: 5 M L2 deltas and trades, two-sided maker asked at each row (goal 5)."""
    return compare("w2", "feed", 3.0, 5.0)


@bar("speed-w2-100ms", 2.0, "x")
def w2_polled() -> Outcome:
    """W2: the same maker asked every 100 ms (goal 3)."""
    return compare("w2", "100ms", 2.0, 3.0)
