"""`twinloop exchange` as a process of its own: what it prints, whom it serves, how it ends, what it refuses."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from reference.exchange_client import Client

from twinloop.data.errors import ConfigError
from twinloop.engine.cli.exchange import exchange

RUN = [sys.executable, "-c", "import sys; from twinloop.engine.cli import main; sys.exit(main())", "exchange"]


class _There:
    """Where a server of another process is."""

    def __init__(self, told: dict[str, str]) -> None:
        self.rest, self.stream = told["rest"], told["stream"]


def test_it_serves_its_customers_until_it_is_told_to_stop() -> None:
    async def what() -> None:
        arguments = ["--port", "0", "--json", "--symbols", "BTCUSDT,SOLUSDT", "--account", "desk:desk-key:desk-secret"]
        process = await asyncio.create_subprocess_exec(*RUN, *arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        text = b""
        async with asyncio.timeout(60):
            while not text.strip().endswith(b"}"):
                text += await process.stdout.readline()
        told = json.loads(text)
        assert (told["symbols"], told["accounts"]) == (["BTCUSDT", "SOLUSDT"], ["desk"])
        async with aiohttp.ClientSession() as http:
            client = Client(_There(told), http)  # type: ignore[arg-type]
            for key, secret in ((told["key"], told["secret"]), ("desk-key", "desk-secret")):
                status, body = await client.signed(
                    "POST", "/fapi/v1/order", key=key, secret=secret, symbol="SOLUSDT", side="BUY", type="MARKET", quantity="3"
                )  # fmt: skip
                assert (status, body["status"]) == (200, "FILLED")
                _, found = await client.signed("GET", "/fapi/v1/userTrades", key=key, secret=secret, symbol="SOLUSDT")
                assert sum(float(each["qty"]) for each in found) == 3
            status, body = await client.signed("GET", "/fapi/v1/openOrders", key="desk-key", secret="wrong")
            assert body["code"] == -1022
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0

    asyncio.run(what())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": "DOGEUSDT"}, "does not have this symbol"),
        ({"symbols": "BTCUSDT,BTCUSDT"}, "each symbol once"),
        ({"symbols": ","}, "one at least"),
        ({"speed": 0.0}, "--speed"),
        ({"speed": 21.0}, "--speed"),
        ({"account": ("desk:key",)}, "NAME:KEY:SECRET"),
        ({"account": ("a:k:s", "b:k:t")}, "a key of its own"),
        ({"account": ("a:k:@/nowhere/key.pem",)}, "cannot be read"),
    ],
)
def test_what_it_cannot_run_with_is_refused_by_name(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        exchange(**arguments)  # type: ignore[arg-type]


def test_a_public_key_is_read_from_its_file(tmp_path: Path) -> None:
    from twinloop.engine.cli.exchange import _customer

    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")
    assert _customer(f"desk:k:@{path}") == ("desk", "k", path.read_text().strip())
