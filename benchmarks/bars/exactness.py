"""Exact money, and one answer whatever the batch, the process, the Python or the compiler."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ours
import recompute
from harness import NotMetError, Outcome, bar, child_environment, run_json

HERE = Path(__file__).resolve().parent
BATCHES = ("1", "7", "64", "full", "random")
FILLS_MIN = 100


@bar("exactness", 0, "wrong")
def money() -> Outcome:
    """Cash, position and PnL from fills.parquet in exact fractions equal the run's, per currency, linear and inverse."""
    detail: dict[str, Any] = {}
    wrong = 0
    thin = []
    with tempfile.TemporaryDirectory() as folder:
        for contract in ("linear", "inverse"):
            try:
                run = ours.run_folder(contract, Path(folder) / contract)
            except ours.NotBuiltError as reason:
                raise NotMetError(str(reason)) from None
            found = recompute.recompute(run)
            detail[contract] = found
            wrong += len(found["wrong"])
            full = found["contracts"] == [contract] and found["fills"] >= FILLS_MIN and found["cash_compared"]
            if not (full and 0 < found["makers"] < found["fills"] and found["long"] and found["short"]):
                thin.append(contract)
    detail["proves_too_little"] = thin
    return Outcome(wrong, ok=wrong == 0 and not thin, detail=detail)


def other_pythons() -> list[str]:
    """Interpreters of other versions that have twinloop: the paths in TWINLOOP_OTHER_PYTHONS."""
    named = os.environ.get("TWINLOOP_OTHER_PYTHONS", "")
    paths = [path for path in named.split(os.pathsep) if path]
    test = ["-c", "import twinloop.kernels.rows"]
    return [path for path in paths if subprocess.run([path, *test], capture_output=True, check=False).returncode == 0]


@bar("determinism", 1, "hashes")
def determinism() -> Outcome:
    """Two processes, two Pythons, JIT on and off, batches of 1/7/64/full/random: the same decisions and hash."""
    runs: dict[str, dict[str, Any]] = {}

    def take(name: str, python: str, batch: str, **environment: str) -> None:
        command = [python, HERE / "ours_run.py", "hash", batch, "0"]
        runs[name] = run_json(command, pin=False, environment=child_environment(**environment))

    for batch in BATCHES:
        take(f"batch {batch}", sys.executable, batch)
    take("second process", sys.executable, "full", PYTHONHASHSEED="12345")
    take("JIT off", sys.executable, "64", NUMBA_DISABLE_JIT="1")
    others = other_pythons()
    for path in others:
        take(f"python {path}", path, "64")
    hashes = {str(found["hash"]) for found in runs.values()}
    same = len({str(sorted(found.items())) for found in runs.values()}) == 1
    few = all(found["decisions"] == 0 for found in runs.values())
    detail = {
        "runs": runs,
        "other_pythons": len(others),
        "note": "" if others else "name a second Python in TWINLOOP_OTHER_PYTHONS",
    }
    return Outcome(len(hashes), ok=same and not few and bool(others), detail=detail)


@bar("unrelated", "equal", "fills")
def unrelated() -> Outcome:
    """An added unrelated instrument changes no fill."""
    alone, beside = (run_json([sys.executable, HERE / "ours_run.py", "hash", "64", extra], pin=False) for extra in "01")
    same = alone["fills"] == beside["fills"]
    return Outcome("equal" if same else "differ", ok=same, detail={"alone": alone, "beside": beside})
