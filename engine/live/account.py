"""What a live session asks of its account before it trades: its keys, and what is on it."""

import os
from pathlib import Path
from typing import Final

from twinloop.data.binance_answers import read_account, read_error, read_server_time
from twinloop.data.binance_orders import Market, Request, requests_of, rest_text
from twinloop.data.binance_reports import AccountReport
from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
from twinloop.data.errors import ConfigError, DecodeError
from twinloop.engine.gateway.endpoints import Endpoints, tls_context
from twinloop.engine.gateway.http_client import ask, open_client
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.session_errors import SessionError

WINDOW_MS: Final = 5000
ASK_S: Final = 10.0


def read_credentials(loaded: LoadedSession) -> Credentials:
    """The keys that the configuration's [orders] names. ConfigError where one is not set."""
    orders = loaded.config.orders
    assert orders is not None
    return credentials_from(loaded.file, orders.key_variable, orders.secret_variable)


def credentials_from(file: Path, key_variable: str, secret_variable: str) -> Credentials:
    """Keys from environment variables. ConfigError where one is not set."""
    found = []
    for name in (key_variable, secret_variable):
        text = os.environ.get(name, "")
        if not text:
            raise ConfigError(
                "a key is not in the environment", file=file, field=f"${name}", expected="the venue's API key or secret",
                got="nothing", remedy="set it for this process only, and never write it into a file of the project",
            )  # fmt: skip
        found.append(Secret(text))
    return Credentials(found[0], HmacSigner(found[1]))


async def ask_account(endpoints: Endpoints, credentials: Credentials, market: Market) -> AccountReport:
    """Balances and positions, whole. SessionError where the venue does not say them: unknown is never nothing."""
    dialect = requests_of(market)
    headers = {"X-MBX-APIKEY": credentials.api_key.reveal()}
    async with open_client(tls_context(endpoints.ca_file), headers) as client:

        async def told(request: Request, text: str, what: str) -> bytes:
            answer = await ask(
                client, request.method, endpoints.rest + request.path, text, in_body=False, within_s=ASK_S
            )
            if answer is None:
                raise SessionError(
                    f"the venue does not tell {what}", field=endpoints.rest, got=f"no answer in {ASK_S:.0f} s"
                )
            status, _, body = answer
            if status != 200:
                raise SessionError(
                    f"the venue refuses {what}", expected="200", got=f"{status}: {_refusal(body)}", remedy="check the keys and their rights",
                )  # fmt: skip
            return body

        try:
            clock, account = dialect.server_time(), dialect.account()
            server_ms = read_server_time(await told(clock, "", "its time"))
            query = rest_text(account, server_ms, WINDOW_MS, credentials)
            return read_account(await told(account, query, "the account"))
        except DecodeError as error:
            raise SessionError("the account cannot be read", got=error.what) from None


def _refusal(body: bytes) -> str:
    try:
        refusal = read_error(body)
    except DecodeError:
        return "no reason"
    return f"{refusal.code} {refusal.message}"
