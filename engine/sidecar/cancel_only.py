"""Cancelling everything of an account's symbols, by a key of its own, until the venue says that nothing works there.

It builds three kinds of request and no other: cancel all, what is open, and the venue's clock. Two looks apart must find nothing, because
an order may still have been on its way when the session was ended. No answer is not an answer: it is asked again, as long as it takes, and
what is not known is never called done. This module must not place, amend, or know the session.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import msgspec

from twinloop.data.binance_answers import read_server_time
from twinloop.data.binance_orders import Market, Request, UsdmRequests, requests_of, rest_text
from twinloop.data.binance_signing import Credentials
from twinloop.data.errors import DecodeError
from twinloop.engine.gateway.endpoints import Endpoints, tls_context
from twinloop.engine.gateway.http_client import Answer, ask, open_client
from twinloop.engine.seam import WORLD

WINDOW_MS: Final = 5000
ASK_S: Final = 3.0
LOOK_AGAIN_S: Final = 1.0
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
HELD_OFF_S: Final = 2.0  # After 429 and 418 without a time of its own.
NOTHING_OPEN_LOOKS: Final = 2
_NO_SUCH: Final = -2011  # Nothing there to cancel.


@dataclass
class Outcome:
    """proven: nothing works there any more. open: symbols with orders at the last look, or not known. said: why not."""

    proven: bool = False
    rounds: int = 0
    refused: int = 0
    unanswered: int = 0
    open: list[str] = field(default_factory=list)
    said: str = ""


class CancelOnly:
    """The cancel path of one account. symbols: all that the session may trade."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials, market: Market, symbols: Sequence[str]) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._dialect = requests_of(market)
        self._symbols = tuple(symbols)
        self._offset_ms: int | None = None

    async def cancel_everything(self, tell: Callable[[Outcome], None] | None = None) -> Outcome:
        """Cancel until it is proven, for as long as that takes: who is tired of it cancels this. tell: called after every round."""
        outcome = Outcome()
        headers = {"X-MBX-APIKEY": self._credentials.api_key.reveal()}
        wait_s, quiet = FIRST_WAIT_S, 0
        async with open_client(tls_context(self._endpoints.ca_file), headers) as client:
            while True:
                outcome.rounds += 1
                outcome.open = [symbol for symbol in self._symbols if not await self._is_empty(client, symbol, outcome)]
                quiet = 0 if outcome.open else quiet + 1
                outcome.proven = quiet >= NOTHING_OPEN_LOOKS
                if tell is not None:
                    tell(outcome)
                if outcome.proven:
                    return outcome
                await WORLD.sleep(LOOK_AGAIN_S if not outcome.open else wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S) if outcome.open else FIRST_WAIT_S

    async def _is_empty(self, client: aiohttp.ClientSession, symbol: str, outcome: Outcome) -> bool:
        """Cancel what a symbol has, then look: whether it has nothing."""
        dialect = self._dialect
        cancels, looks = [dialect.cancel_all(symbol)], [dialect.open_orders(symbol)]
        if isinstance(dialect, UsdmRequests):
            cancels.append(dialect.cancel_all_stops(symbol))
            looks.append(dialect.open_stops(symbol))
        await asyncio.gather(*(self._call(client, each, outcome) for each in cancels))
        found = await asyncio.gather(*(self._call(client, each, outcome) for each in looks))
        return all(answer is not None and answer[0] == 200 and _is_empty_list(answer[2]) for answer in found)

    async def _call(self, client: aiohttp.ClientSession, request: Request, outcome: Outcome) -> Answer | None:
        if self._offset_ms is None and not await self._ask_clock(client):
            outcome.unanswered += 1
            outcome.said = "the venue does not tell its time"
            return None
        assert self._offset_ms is not None
        text = rest_text(request, WORLD.wall_ns() // 10**6 + self._offset_ms, WINDOW_MS, self._credentials)
        answer = await ask(
            client, request.method, self._endpoints.rest + request.path, text, in_body=request.in_body, within_s=ASK_S
        )
        if answer is None:
            outcome.unanswered += 1
            outcome.said = f"no answer within {ASK_S:.0f} s"
            return None
        status, told, body = answer
        if status != 200 and _code(body) != _NO_SUCH:
            outcome.refused += 1
            outcome.said = f"{status}, code {_code(body)}"
            self._offset_ms = None  # Perhaps the clock: it is asked again.
            if status in {418, 429}:
                await WORLD.sleep(_retry_after(told))
        return answer

    async def _ask_clock(self, client: aiohttp.ClientSession) -> bool:
        request = self._dialect.server_time()
        answer = await ask(
            client, request.method, self._endpoints.rest + request.path, "", in_body=False, within_s=ASK_S
        )
        if answer is None or answer[0] != 200:
            return False
        try:
            self._offset_ms = read_server_time(answer[2]) - WORLD.wall_ns() // 10**6
        except DecodeError:
            return False
        return True


def _is_empty_list(body: bytes) -> bool:
    """Whether an answer is a list of nothing; what cannot be read is not."""
    try:
        return bool(msgspec.json.decode(body) == [])
    except msgspec.DecodeError:
        return False


def _code(body: bytes) -> int:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    code = found.get("code") if isinstance(found, dict) else 0
    return code if isinstance(code, int) else 0


def _retry_after(told: dict[str, str]) -> float:
    for name, value in told.items():
        if name.lower() == "retry-after" and value.isascii() and value.isdigit():
            return min(float(value), 3600.0)
    return HELD_OFF_S
