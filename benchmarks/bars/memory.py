"""Flat memory: the same peak with ten times the data, and no growth from run to run."""

import statistics
import sys
from pathlib import Path

from harness import Outcome, bar, run_json

HERE = Path(__file__).resolve().parent
RUNS = 20
SHARE_MAX = 0.05


@bar("memory", 5.0, "% apart")
def scale() -> Outcome:
    """Peak anonymous memory of a streamed run at 1x and 10x data is the same."""
    found = {
        times: run_json([sys.executable, HERE / "ours_run.py", "stream", str(times)], pin=False) for times in (1, 10)
    }
    one, ten = (found[times]["peak_anonymous_bytes"] for times in (1, 10))
    percent = 100.0 * abs(ten / one - 1.0)
    grew = found[10]["rows"] >= 9 * found[1]["rows"]
    return Outcome(round(percent, 2), ok=percent <= 5.0 and grew, detail={str(k): v for k, v in found.items()})


@bar("memory-growth", 5.0, "% growth")
def growth() -> Outcome:
    """Twenty runs in one process: anonymous memory after the last five is that after the second to sixth."""
    after = run_json([sys.executable, HERE / "ours_run.py", "growth", str(RUNS)], pin=False)["after_bytes"]
    # The first run brings in compiled code and lazy imports; growth is what comes after. Medians: whether the allocator has just given
    # pages back moves a single figure by a tenth.
    percent = 100.0 * (statistics.median(after[-5:]) / statistics.median(after[1:6]) - 1.0)
    return Outcome(round(percent, 2), ok=percent <= 100.0 * SHARE_MAX, detail={"after_bytes": after})
