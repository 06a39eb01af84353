"""Independent clients trade on the practice exchange: ccxt, python-binance and the venue's own SDKs, each a process of its own.

They need an environment of their own (tests/witnesses/requirements.txt), which TWINLOOP_WITNESS_PYTHON names.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from twinloop.engine.exchange.server import Server

PYTHON = os.environ.get("TWINLOOP_WITNESS_PYTHON", "")
SCRIPTS = Path(__file__).parents[2] / "witnesses"
BOTH = pytest.mark.parametrize("market", ["spot", "usdm"])
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="TWINLOOP_WITNESS_PYTHON does not name a Python that has the witnesses"
)


def witnessed(script: str, market: str) -> dict[str, Any]:
    """What a client found, trading on an exchange of its own."""

    async def run() -> dict[str, Any]:
        async with Server(seed=7) as server:
            process = await asyncio.create_subprocess_exec(
                PYTHON, SCRIPTS / script, market, server.rest, server.stream, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), 120)
            assert process.returncode == 0, err.decode()[-4000:]
            found = json.loads(out)
            assert isinstance(found, dict)
            return found

    return asyncio.run(run())


@BOTH
def test_ccxt_trades_watches_and_meets_refusals(market: str) -> None:
    found = witnessed("ccxt_client.py", market)
    refusals = found.pop("refusals")
    assert refusals == {
        "too much": ["InsufficientFunds"] if market == "spot" else ["ExchangeError", "-2019"], "cancel": ["OrderNotFound", "-2011"],
        "query": ["OrderNotFound", "-2013"], "time": ["InvalidNonce", "-1021"], "many": ["DDoSProtection", "-1003"],
    }  # fmt: skip
    position = {} if market == "spot" else {"position": [0.01]}
    assert found == position | {
        "limits": [0.01 if market == "spot" else 0.1, 5.0], "placed": ["open", 0.01], "watched": [[True, "open"]], "queried": "open",
        "open": [True], "cancelled": "canceled", "taken": "closed", "traded": 0.01, "balance": [True], "trades": True, "book": True,
    }  # fmt: skip


@BOTH
def test_python_binance_trades_listens_and_meets_refusals(market: str) -> None:
    found = witnessed("python_binance_client.py", market)
    refusals = found.pop("refusals")
    assert refusals == {
        "too much": [400, -2010 if market == "spot" else -2019], "cancel": [400, -2011], "query": [400, -2013], "time": [400, -1021],
        "many": [429, -1003],
    }  # fmt: skip
    own = {"account": True, "candle": "1m"} if market == "spot" else {"position": [0.01], "stop": ["NEW", 1]}
    assert found == own | {
        "heard": True, "queried": "NEW", "open": [True], "cancelled": "CANCELED", "traded": 0.01, "prices": True, "trade": True, "candles": 12,
    }  # fmt: skip


@BOTH
def test_the_venues_own_sdks_trade_listen_and_meet_refusals(market: str) -> None:
    found = witnessed("official_sdk_client.py", market)
    refusals = found.pop("refusals")
    assert refusals == {
        "too much": ["BadRequestError", -2010 if market == "spot" else -2019], "cancel": ["BadRequestError", -2011],
        "query": ["BadRequestError", -2013], "time": ["BadRequestError", -1021], "many": ["TooManyRequestsError", -1003],
    }  # fmt: skip
    own = {"over the socket": "NEW"} if market == "spot" else {
        "position": [0.01], "stop": ["NEW", "NEW", 1], "stop cancelled": "success", "quote": True, "heard": "OrderTradeUpdate",
    }  # fmt: skip
    assert found == own | {
        "symbols": ["BTCUSDT"], "placed": "NEW", "queried": "NEW", "open": 1, "cancelled": "CANCELED", "taken": "FILLED", "traded": 0.01,
        "account": True, "trade": True,
    }  # fmt: skip
