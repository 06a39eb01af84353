"""Errors of strategies, in words, beside the journal: its rows hold no text.

The journal has the fact in hand and an ALERT; every replay of it raises the same error at the same fact. This module must not decide anything.
"""

import json
import traceback
from pathlib import Path
from typing import Final

from twinloop.engine.live.node import StrategyFailure

FILE: Final = "strategy-errors.jsonl"


def keep_failure(place: Path, failure: StrategyFailure, time_ns: int) -> None:
    """Write it down: what was raised and where; of a strategy in plain Python with its traceback."""
    error, cause = failure.error, failure.error.__cause__
    line = {
        "time_ns": time_ns, "sequence": failure.sequence, "strategy": failure.name, "callback": failure.callback, "error": str(error),
        "traceback": "" if cause is None else "".join(traceback.format_exception(cause)),
    }  # fmt: skip
    with (place / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
