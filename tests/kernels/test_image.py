"""Machine code kept in a file: another process runs it as it was compiled, and a damaged file is never run."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config, types

from twinloop.kernels import image, linking
from twinloop.kernels.intrinsics import out_of_line, record_at
from twinloop.kernels.jit import njit

if config.DISABLE_JIT:
    pytest.skip("there is no machine code with the JIT off", allow_module_level=True)

COUNTER = np.dtype([("total", "<i8"), ("calls", "<i8")], align=True)


@njit
def add(counter: Any, amount: int) -> int:
    """Out of line, so that its caller reaches it through a slot."""
    out_of_line()
    counter["total"] += amount
    return int(counter["total"])


@njit
def count(counter: Any) -> None:
    out_of_line()
    counter["calls"] += 1


@njit(error_model="python")
def share(counter: Any, parts: int) -> int:
    """May divide by zero."""
    out_of_line()
    return int(counter["total"] // parts)


@njit
def halve(counter: Any) -> int:
    """Half the total."""
    out_of_line()
    return int(counter["total"] >> 1)


def add_half(address: int) -> None:
    counter = record_at(address, COUNTER)
    add(counter, halve(counter))


def halve_door(address: int) -> None:
    counter = record_at(address, COUNTER)
    counter["total"] = halve(counter)
    count(counter)


def add_twice(address: int) -> None:
    counter = record_at(address, COUNTER)
    add(counter, add(counter, 5))
    count(counter)


def add_share(address: int) -> None:
    counter = record_at(address, COUNTER)
    counter["calls"] = share(counter, counter["calls"])


GROUPS = {"adding": {"add_twice": add_twice}, "sharing": {"add_share": add_share}}
COMMAND = "pass"  # The groups beside are made here: a process that does nothing leaves them to us.


def run(addresses: dict[str, int], start: tuple[int, int] = (1, 3)) -> tuple[int, int]:
    """Call both doors on one record."""
    counters = np.array([start], COUNTER)
    for name in ("add_twice", "add_share"):
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(addresses[name])(counters.ctypes.data)
    return int(counters[0]["total"]), int(counters[0]["calls"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use(monkeypatch, tmp_path)
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep images in a folder. Numba reads its settings from the environment again when that changed."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))


def in_another_process(folder: Path, what: str) -> list[str]:
    """Words of a sequence of numbers that a process computes which compiles nothing. what: Python, `t` is this module."""
    here = Path(__file__)
    places = os.pathsep.join([str(here.parent), str(here.parents[1]), *sys.path])
    script = (
        "import test_image as t; t.config.CACHE_DIR = __import__('sys').argv[1]\n"
        "def never(*_): raise AssertionError('it was compiled again')\n"
        f"t.image.make = never; print(*{what})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_another_process_runs_the_same_code(folder: Path) -> None:
    made = run(image.load("tiny", GROUPS, COMMAND))
    assert made == (12, 3)  # 1 + 5 = 6, 6 + 6 = 12; 12 shared among 3 + 1.
    before = {path.name: path.read_bytes() for path in folder.glob("*.image")}
    assert set(before) == {"tiny-adding.image", "tiny-sharing.image"}
    assert in_another_process(folder, "t.run(t.image.load('tiny', t.GROUPS, t.COMMAND))") == ["12", "3"]
    assert {path.name: path.read_bytes() for path in folder.glob("*.image")} == before


PROMISES = {"sharing": {count: types.none, halve: types.int64}}
CALLING = {"adding": {"add_twice": add_twice, "add_half": add_half}, "sharing": {"halve_door": halve_door}}


def run_calling(addresses: dict[str, int]) -> list[int]:
    counters = np.array([(7, 0)], COUNTER)
    for name in ("add_half", "add_twice"):
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(addresses[name])(counters.ctypes.data)
    return [int(counters[0]["total"]), int(counters[0]["calls"])]


def test_a_group_calls_what_another_group_compiles(folder: Path) -> None:
    """In the process that compiles them, and in one that finds both images, the caller's first."""
    addresses = image.load("tiny", CALLING, COMMAND, PROMISES)
    symbols = {name: {part[1] for part in image.read(folder / f"tiny-{name}.image") or []} for name in CALLING}
    assert any("halve" in symbol for symbol in symbols["sharing"])
    assert not any("5halve" in symbol or "5count" in symbol for symbol in symbols["adding"])
    assert run_calling(addresses) == [30, 1]  # 7 + 3 = 10; then 10 + 5 = 15, 15 + 15 = 30.
    what = "t.run_calling(t.image.load('tiny', t.CALLING, t.COMMAND, t.PROMISES))"
    assert in_another_process(folder, what) == ["30", "1"]


@pytest.mark.parametrize("promised", [{halve: types.none}, {share: types.int64}], ids=["another type", "may fail"])
def test_a_broken_promise_is_refused(folder: Path, promised: dict[Any, Any]) -> None:
    if config.BOUNDSCHECK and share in promised:
        pytest.skip("nothing is promised never to fail where bounds are checked")
    doors = {"halve_door": halve_door, "add_share": add_share}
    with pytest.raises(linking.BrokenPromiseError, match="was promised to return"):
        image.make("tiny", "sharing", doors, {"sharing": promised})
    assert not list(folder.glob("*.image"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_image_is_made_again(folder: Path, damage: str) -> None:
    image.load("tiny", GROUPS, COMMAND)
    path = folder / "tiny-adding.image"
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-100], "flip": whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:], "empty": b"", "other": b"x" * 99}[damage]
    )  # fmt: skip
    assert image.read(path) is None
    assert run(image.load("tiny", GROUPS, COMMAND)) == (12, 3)
    assert image.read(path) is not None


def test_a_folder_that_cannot_be_written_to_costs_only_time(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Path("/dev/null/nowhere"))
    assert run(image.load("tiny", GROUPS, COMMAND)) == (12, 3)


def test_callers_look_for_errors_only_where_there_may_be_some() -> None:
    seen: dict[str, bool] = {}
    proved = linking._never_fails

    def remember(library: Any, symbol: str) -> bool:
        seen[symbol] = proved(library, symbol)
        return seen[symbol]

    linking._never_fails, kept = remember, linking._never_fails
    try:
        image.make("tiny", "all", {**GROUPS["adding"], **GROUPS["sharing"]})
    finally:
        linking._never_fails = kept
    outcome = {
        name: held for name in ("add", "count", "share") for symbol, held in seen.items() if f"{name}B" in symbol
    }
    if config.BOUNDSCHECK:
        assert not outcome["share"]
    else:
        assert outcome == {"add": True, "count": True, "share": False}


def test_python_may_call_a_kernel_after_it_was_compiled_separately(folder: Path) -> None:
    del folder
    image.make("tiny", "again", GROUPS["adding"])
    counters = np.array([(1, 3)], COUNTER)
    assert add(counters[0], 2) == 3
