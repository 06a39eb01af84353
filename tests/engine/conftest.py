"""For tests of strategies: each runs compiled and as Python."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from strategy_bench import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """How a strategy runs."""
    return str(request.param)
