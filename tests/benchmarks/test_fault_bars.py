"""The bars of faults name tests that there are, and every fault that they promise."""

import importlib.util
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
