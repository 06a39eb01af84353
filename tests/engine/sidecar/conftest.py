"""Strategies for sessions on a practice exchange, once for all tests of a module."""

import socket
from pathlib import Path

import pytest
from reference.live_sessions import strategies


@pytest.fixture(scope="module")
def quoter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strategies(tmp_path_factory.mktemp("strategies"))


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
