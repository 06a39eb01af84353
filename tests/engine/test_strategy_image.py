"""A strategy's callbacks come from its image in the next process, and from Numba where the image cannot serve."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import config

from twinloop._cache import cache_folder

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="there is no machine code with the JIT off")

STRATEGY = """
import twinloop as tl


class Counting(tl.Strategy):
    step: int = 3
    count: tl.State[int]

    def on_start(self, ctx: tl.Context) -> None:
        self.count += self.step
        BODY
"""
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from twinloop.engine.assembly import Assembly, StrategySlot
from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.engine.user_code import load_strategy
from twinloop.kernels import codes
assembly = Assembly()
assembly.currency("USDT")
assembly.add_account(10**8)
compiled = compile_strategy(load_strategy(sys.argv[1], [Path(".")]), {}, assembly.size)
assembly.add_strategy(StrategySlot("s", compiled.addresses, compiled.initial_area(), [], keep=compiled))
assembly.callback(0, codes.ON_START)
assembly.callback(0, codes.ON_START)
error = compiled.take_error(assembly.node) if assembly.node["status"] == codes.RUN_STRATEGY_ERROR else None
print(json.dumps({
    "count": int(compiled.read_state(assembly.decision["areas"][0])["count"]),
    "cached": compiled.cached,
    "numba": "twinloop.engine.strategy_types" in sys.modules,
    "error": None if error is None else str(error),
}))
"""


def _process(folder: Path, body: str) -> tuple[dict[str, Any], list[Path]]:
    """What a new process finds, and the images in the cache after it."""
    file = folder / "counting.py"
    file.write_text(STRATEGY.replace("BODY", body))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"{file}:Counting"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    places = cache_folder() / "strategies"
    return json.loads(done.stdout.splitlines()[-1]), sorted(places.glob("Counting-*/*.image"))


def test_the_next_process_loads_the_image_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    first, before = _process(tmp_path, "pass")
    second, images = _process(tmp_path, "pass")
    assert first["count"] == second["count"] == 6
    assert second["cached"]
    assert not second["numba"]
    assert images == before
    newest = max(images, key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    third, _ = _process(tmp_path, "pass")
    assert third["count"] == 6
    assert third["numba"]


def test_an_edited_strategy_has_another_image(tmp_path: Path) -> None:
    _process(tmp_path, "pass")
    edited, _ = _process(tmp_path, "self.count += 10")
    assert (edited["count"], edited["cached"]) == (26, False)


def test_an_exception_from_an_image_is_described(tmp_path: Path) -> None:
    body = "self.count = self.step // (self.count - 3)"
    errors = [_process(tmp_path, body)[0] for _ in range(2)]
    assert not errors[1]["numba"] or errors[1]["cached"]
    assert errors[0]["error"] == errors[1]["error"]
    assert "division by zero" in str(errors[1]["error"])


def test_what_only_numba_can_load_has_no_image(tmp_path: Path) -> None:
    first, before = _process(tmp_path, 'print("count", self.count)')
    second, after = _process(tmp_path, 'print("count", self.count)')
    assert first["count"] == second["count"] == 6
    assert before == after
