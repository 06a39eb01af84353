"""Strategies for sessions on a practice exchange, once for all tests of a module."""

from pathlib import Path

import pytest
from reference.live_sessions import strategies


@pytest.fixture(scope="module")
def quoter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strategies(tmp_path_factory.mktemp("strategies"))
