"""Compiled code never outlives a source it was made from: edited kernels and helpers show in the next process.

The package is copied, so that a kernel can be edited; every process shares one cache folder.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import twinloop

PACKAGE = Path(twinloop.__file__).parent
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyx", "*.pxd", "*.c", "assets")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package in a folder to import it from."""
    folder = tmp_path_factory.mktemp("tree")
    target = folder / "twinloop"
    target.mkdir()
    for file in PACKAGE.glob("*.py"):
        shutil.copy(file, target)
    for part in ("kernels", "data", "engine"):
        shutil.copytree(PACKAGE / part, target / part, ignore=SKIPPED)
    return folder


def run(tree: Path, script: str, cache: Path, **environment: str) -> Any:
    """Run a script in a new process on the copied package; what it prints last, as JSON."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "TWINLOOP_"))}
    variables |= {"PYTHONPATH": f"{tree}{os.pathsep}{cache}", "TWINLOOP_CACHE_DIR": str(cache / "cache"), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


DIGEST = "import twinloop._cache as c, json; print(json.dumps([c.kernel_digest(), str(c.cache_folder()), c.__file__]))"
COMPILED = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in (*(PACKAGE / "kernels").glob("*.py"), *(PACKAGE / "engine").glob("strategy*.py"))
)


def _edit(path: Path) -> str:
    """Change one constant (or a word of the docstring) of a source; returns the source before."""
    source = path.read_text()
    edited, changes = re.subn(
        r"(?m)^([A-Z_0-9]+(?:: Final[^=]*)? = )(\d)",
        lambda found: f"{found[1]}{(int(found[2]) + 1) % 10}",
        source,
        count=1,
    )
    path.write_text(edited if changes else source + "\n# edited\n")
    return source


def test_an_edit_of_any_compiled_source_is_another_cache_folder(tree: Path, tmp_path: Path) -> None:
    digest, folder, file = run(tree, DIGEST, tmp_path)
    assert file.startswith(str(tree))
    assert Path(folder).name == f"kernels-{digest}"
    # In one process, by a fresh copy of the module for each edit: the digest is all that is asked.
    script = f"""
import importlib.util, json, re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_stale_code import _edit
root = Path({str(tree / "twinloop")!r})
def digest():
    spec = importlib.util.spec_from_file_location("fresh", root / "_cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel_digest()
found = {{}}
before = digest()
for name in {COMPILED!r}:
    source = _edit(root / name)
    found[name] = digest()
    (root / name).write_text(source)
print(json.dumps([before, found, digest()]))
"""
    before, found, after = run(tree, script, tmp_path)
    assert before == after == digest
    assert len(found) == len(COMPILED) > 20
    assert digest not in found.values()
    assert len(set(found.values())) == len(found)


def test_numbas_settings_and_inherited_folders(tree: Path, tmp_path: Path) -> None:
    digest, folder, _ = run(tree, DIGEST, tmp_path)
    assert run(tree, DIGEST, tmp_path, NUMBA_BOUNDSCHECK="1")[0] != digest
    assert run(tree, DIGEST, tmp_path, NUMBA_OPT="0")[0] != digest
    given = tmp_path / "given"
    assert run(tree, DIGEST, tmp_path, TWINLOOP_CACHE_DIR="", NUMBA_CACHE_DIR=str(given))[1] == str(
        given / f"kernels-{digest}"
    )
    assert run(tree, DIGEST, tmp_path, TWINLOOP_CACHE_DIR="", NUMBA_CACHE_DIR=str(given / f"kernels-{'0' * 24}"))[
        1
    ] == str(given / f"kernels-{digest}")
    refused = tmp_path / "file"
    refused.write_text("")
    assert run(tree, DIGEST, tmp_path, TWINLOOP_CACHE_DIR=str(refused))[1].endswith(f"kernels-{digest}")
    assert folder == str(tmp_path / "cache" / f"kernels-{digest}")


KERNEL = """
import json
import numpy as np
import twinloop
from twinloop.kernels.timers import set_timer
from twinloop.kernels.node import TIMER, CLOCK
dtype = np.dtype([("timers", TIMER, (2,)), ("timers_used", "<i8"), ("clock", CLOCK)], align=True)
decision = np.zeros(1, dtype)
print(json.dumps([int(set_timer(decision[0], 0, 0, 5, 0)), int(set_timer(decision[0], 0, 1, 5, 0)), int(set_timer(decision[0], 0, 2, 5, 0))]))
"""


def test_an_edited_constant_of_another_kernel_file_shows_in_the_next_process(tree: Path, tmp_path: Path) -> None:
    before = run(tree, KERNEL, tmp_path)
    assert before[2] < 0
    path = tree / "twinloop/kernels/codes.py"
    source = path.read_text()
    path.write_text(re.sub(r"REJECT_TIMERS_FULL: Final = \d+", "REJECT_TIMERS_FULL: Final = 55", source))
    try:
        assert run(tree, KERNEL, tmp_path)[2] == -55
    finally:
        path.write_text(source)
    assert run(tree, KERNEL, tmp_path) == before


# Strategies.

STRATEGY = """
import twinloop as tl
from helpers import scaled
import helpers.deep
class S(tl.Strategy):
    out: tl.State[float] = 0.0
    def on_trade(self, ctx, trade):
        self.out = scaled(trade.price) + helpers.deep.OFFSET + helpers.deep.jitted(1.0)
"""
DEEP = """
from numba import njit
OFFSET = 10.0
FACTOR = {factor}
def times(x):
    return x * FACTOR
@njit(cache=True)
def jitted(x):
    return inner(x)
from helpers.more import inner
"""
CALL = """
import json, sys, time
sys.path[:0] = [{tests!r}, {folder!r}]
from strategy_bench import TINY, Bench
from twinloop.engine.strategy_compiler import compile_strategy
import {module}
bench = Bench()
made = compile_strategy({module}.S, {{}}, TINY)
bench.add(made)
bench.trade(20)
assert bench.node["status"] == 0, made.take_error(bench.node)
print(json.dumps([bench.state()["out"], made.cached, made.source_digest]))
"""


def _user_code(folder: Path, factor: str = "3.0", more: str = "100.0") -> str:
    package = folder / "helpers"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("from helpers.deep import times\ndef scaled(x):\n    return times(x)\n")
    (package / "deep.py").write_text(DEEP.format(factor=factor))
    (package / "more.py").write_text(
        f"from numba import njit\n@njit(cache=True)\ndef inner(x):\n    return x * {more}\n"
    )
    (folder / "edited.py").write_text(STRATEGY)
    return CALL.format(tests=str(Path(__file__).parent / "engine"), folder=str(folder), module="edited")


def test_a_second_process_loads_a_strategy_and_an_edited_helper_is_compiled_anew(tree: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    script = _user_code(user)
    value, cached, digest = run(tree, script, tmp_path)
    assert (value, cached) == (2.0 * 3 + 10 + 100, False)
    assert run(tree, script, tmp_path) == [value, True, digest]
    _user_code(user, factor="4.0")
    value, cached, edited = run(tree, script, tmp_path)
    assert (value, cached) == (2.0 * 4 + 10 + 100, False)
    assert edited != digest
    # Behind a cached njit helper, in a file that the strategy's module does not import itself.
    _user_code(user, factor="4.0", more="200.0")
    assert run(tree, script, tmp_path)[0] == 2.0 * 4 + 10 + 200
    # A value that is in no source.
    deep = user / "helpers/deep.py"
    deep.write_text(deep.read_text().replace("FACTOR = 4.0", "import os\nFACTOR = float(os.environ['FACTOR'])"))
    assert run(tree, script, tmp_path, FACTOR="5")[0] == 2.0 * 5 + 10 + 200
    assert run(tree, script, tmp_path, FACTOR="6")[0] == 2.0 * 6 + 10 + 200
    assert run(tree, script, tmp_path, FACTOR="5")[1] is True


TWIN = """
import twinloop as tl
def value(x):
    return x + {number}
class S(tl.Strategy):
    out: tl.State[float] = 0.0
    def helper(self, x):
        return value(x)
    def on_trade(self, ctx, trade):
        self.out = self.helper(0.0)
"""
BOTH = """
import json, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from strategy_bench import TINY, Bench, module_of
from twinloop.engine.strategy_compiler import compile_strategy
outs = []
for number in {numbers!r}:
    folder = Path({folder!r}) / str(number)
    folder.mkdir(exist_ok=True, parents=True)
    module = module_of(folder, {source!r}.format(number=number), "same_name")
    made = compile_strategy(module.S, {{}}, TINY)
    bench = Bench()
    bench.add(made)
    bench.trade(1)
    outs.append([bench.state()["out"], made.cached])
print(json.dumps(outs))
"""


def test_strategies_of_one_name_from_two_processes_do_not_run_each_others_code(tree: Path, tmp_path: Path) -> None:
    def script(numbers: list[int]) -> str:
        return BOTH.format(
            tests=str(Path(__file__).parent / "engine"), folder=str(tmp_path / "user"), source=TWIN, numbers=numbers
        )

    assert run(tree, script([1]), tmp_path) == [[1.0, False]]
    assert run(tree, script([2]), tmp_path) == [[2.0, False]]
    assert run(tree, script([1, 2]), tmp_path) == [[1.0, True], [2.0, True]]
    assert run(tree, script([2, 3, 1]), tmp_path) == [[2.0, True], [3.0, False], [1.0, True]]


def test_importing_the_package_is_quick_and_loads_nothing_heavy(tree: Path, tmp_path: Path) -> None:
    script = "import json, sys, twinloop; print(json.dumps([name for name in ('numba', 'numpy', 'polars', 'llvmlite') if name in sys.modules]))"
    assert run(tree, script, tmp_path) == []
    script = "import json, twinloop as tl; print(json.dumps([getattr(tl, name) is not None for name in tl.__all__] + [set(tl.__all__) <= set(dir(tl))]))"
    assert all(run(tree, script, tmp_path))
