"""Cancelling everything on the practice exchange, over real sockets: proven or asked again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from twinloop.data.binance_orders import NewOrder, requests_of, rest_text
from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
from twinloop.data.instruments import Instrument
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.endpoints import endpoints_at, tls_context
from twinloop.engine.gateway.http_client import ask, open_client
from twinloop.engine.seam import WORLD
from twinloop.engine.sidecar.cancel_only import CancelOnly, Outcome
from twinloop.kernels import codes

KEYS = Credentials(Secret(PRACTICE_KEY), HmacSigner(Secret(PRACTICE_SECRET)))


def path_to(server: Server) -> CancelOnly:
    address = f"127.0.0.1:{server.port}"
    return CancelOnly(
        endpoints_at("usdm", rest=f"http://{address}", stream=f"ws://{address}"), KEYS, "usdm", ["BTCUSDT"]
    )


def working(server: Server) -> list[Any]:
    account = server.exchanges["usdm"].accounts[PRACTICE_KEY]
    return [order for order in account.orders.values() if order.status in OPEN]


async def place(server: Server, instrument: Instrument, count: int) -> None:
    """Orders some percent below the market, which begins at 60,000."""
    async with open_client(tls_context(""), {"X-MBX-APIKEY": PRACTICE_KEY}) as client:
        for number in range(count):
            order = NewOrder(instrument, f"mine{number}", 1, codes.LIMIT, codes.GTC, False, False, 20, 580_000 + number)
            request = requests_of("usdm").place(order)
            text = rest_text(request, WORLD.wall_ns() // 10**6, 5000, KEYS)
            answer = await ask(
                client, "POST", f"http://127.0.0.1:{server.port}{request.path}", text, in_body=True, within_s=60.0
            )
            assert answer is not None
            assert answer[0] == 200, answer


@pytest.fixture
def instrument() -> Instrument:
    return Instrument.make(
        symbol="BTCUSDT", venue="practice", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0", taker_fee="0",
    )  # fmt: skip


def play(instrument: Instrument, arm: Callable[[Server], None]) -> tuple[Outcome, list[Outcome]]:
    rounds: list[Outcome] = []

    async def all_of_it() -> Outcome:
        async with Server(seed=4, turns_per_s=20) as server:
            await place(server, instrument, 12)
            assert len(working(server)) == 12
            arm(server)
            async with asyncio.timeout(60):
                outcome = await path_to(server).cancel_everything(rounds.append)
            assert working(server) == []
            return outcome

    return asyncio.run(all_of_it()), rounds


def test_everything_is_cancelled_and_looked_at_twice(instrument: Instrument) -> None:
    outcome, rounds = play(instrument, lambda _: None)
    assert outcome.proven
    assert outcome.rounds == 2 == len(rounds)


@pytest.mark.parametrize("fault", ["drop_response", "unknown_503", "html_403", "too_many", "fail_query"])
def test_no_answer_is_asked_again(instrument: Instrument, fault: str) -> None:
    outcome, _ = play(instrument, lambda server: server.faults.arm(fault, 3))
    assert outcome.proven
    assert outcome.rounds >= 2


def test_a_venue_that_says_nothing_is_never_called_done() -> None:
    async def all_of_it() -> list[bool]:
        async with Server(seed=4, turns_per_s=20) as server:
            gone = path_to(server)
        proven: list[bool] = []
        asked_again = asyncio.Event()

        def told(outcome: Outcome) -> None:
            proven.append(outcome.proven)
            if len(proven) == 3:
                asked_again.set()

        asking = asyncio.create_task(gone.cancel_everything(told))
        async with asyncio.timeout(60):
            await asked_again.wait()
        assert not asking.done()
        asking.cancel()
        return proven

    assert not any(asyncio.run(all_of_it()))
