"""A small market and a busy strategy, for every test of the live side."""

from pathlib import Path
from typing import Any

import pytest
from reference.busy_session import busy_market, busy_session
from reference.live_sessions import strategies

from twinloop.data.instruments import Instrument
from twinloop.engine.live.session import Session


@pytest.fixture(scope="module")
def market() -> tuple[Instrument, Any]:
    return busy_market()


@pytest.fixture(scope="module")
def strategy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strategies(tmp_path_factory.mktemp("strategies")).parent


@pytest.fixture(scope="module")
def session(market: tuple[Instrument, Any], strategy_folder: Path) -> Session:
    return busy_session(market, strategy_folder)
