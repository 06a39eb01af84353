"""The bars of faults name tests that there are, and every fault that they promise."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

BARS = Path(__file__).parents[2] / "benchmarks" / "bars"
PROMISED = (
    *("N1", "N2", "N3", "N11", "N12", "V1", "V2", "V3", "V7", "V8", "V9", "V10", "V11", "V12", "V13", "V23", "V24"),
    *("D1", "D2", "D11", "P1", "P2", "P4", "P5", "P8", "K1", "K2", "K3", "K4"),
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BARS))
    for name in ("harness", "named_tests"):  # Bars register themselves once per import.
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("faults", BARS / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_every_promised_fault_names_tests_that_there_are(module: ModuleType) -> None:
    assert tuple(module.FAULTS) == PROMISED
    exists = sys.modules["named_tests"].exists
    missing = [name for tests in module.FAULTS.values() for name in tests if not exists(name)]
    assert missing == []
    assert not exists("tests/engine/live/test_order_faults.py::test_v1")


def test_every_planted_bug_names_tests_that_there_are(module: ModuleType) -> None:
    from planted_bugs import BUGS

    exists = sys.modules["named_tests"].exists
    assert module.FAULTS
    assert len(BUGS) == 12
    assert [name for bug in BUGS.values() for name in bug.tests if not exists(name)] == []


def test_the_bar_on_security_names_tests_that_there_are(module: ModuleType) -> None:
    exists = sys.modules["named_tests"].exists
    assert module.FAULTS
    names = re.findall(r'"(test_\w+|tests/[^"]+::\w+)"', (BARS / "security.py").read_text())
    assert len(names) >= 10
    names = [name if "::" in name else f"tests/engine/live/test_keys.py::{name}" for name in names]
    assert [name for name in names if not exists(name)] == []
