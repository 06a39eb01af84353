"""Damaged input: each mutation of each reader has an expected outcome, and the valid rows around it are kept exactly."""

import sys
from pathlib import Path

from harness import NotMetError, Outcome, bar, run_json

HERE = Path(__file__).resolve().parent
MUTATIONS = ("truncated", "reordered", "nan", "negative", "huge", "wrong unit")


@bar("bad-input", 0, "wrong")
def damaged() -> Outcome:
    """Truncated, reordered, NaN, negative, huge, wrong unit: kept, quarantined by code and exit code as expected."""
    cases = run_json([sys.executable, HERE / "ours_run.py", "bad-input"], pin=False)["cases"]
    readers = sorted({case["reader"] for case in cases})
    missing = [
        (name, kind)
        for name in readers
        for kind in MUTATIONS
        if not any(c["reader"] == name and c["mutation"] == kind for c in cases)
    ]
    if not cases:
        raise NotMetError("no case was tried")
    wrong = [case for case in cases if case["got"] != case["expected"]]
    detail = {"readers": readers, "cases": len(cases), "wrong": wrong[:10], "not_covered": missing}
    return Outcome(len(wrong), ok=not wrong and not missing, detail=detail)
