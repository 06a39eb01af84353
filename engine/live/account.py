"""What a live session asks of its venue before it trades: what is on the account, and what the key may do."""

from typing import Final, NamedTuple

import aiohttp

from twinloop.data.binance_answers import (
    KeyRights,
    read_account,
    read_account_modes,
    read_error,
    read_key_rights,
    read_server_time,
    read_spot_fee_burn,
    read_symbol_settings,
    read_usdm_fee_burn,
)
from twinloop.data.binance_orders import (
    KEY_RIGHTS,
    SPOT_FEE_BURN,
    Market,
    Request,
    UsdmRequests,
    requests_of,
    rest_text,
)
from twinloop.data.binance_reports import AccountReport
from twinloop.data.binance_signing import Credentials
from twinloop.data.errors import DecodeError
from twinloop.engine.gateway.endpoints import Endpoints, tls_context
from twinloop.engine.gateway.http_client import ask, open_client
from twinloop.engine.live.rest import refuse_busy
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.trading_modes import TradingModes
from twinloop.engine.seam import WORLD

WINDOW_MS: Final = 5000
ASK_S: Final = 10.0
_REMEDY: Final = {
    -1022: "the secret is not the one of this key: look at both",
    -2014: "the key is not as the venue writes it: copy it again",
    -2015: "see whether it is the key of this venue and not the secret, from which addresses it may be used, and what it may do",
}


class AccountTold(NamedTuple):
    """held: balances and positions, whole. modes: None on spot. burns: whether fees are paid in BNB.

    rights, burns: None where the venue has no such call (a test network, say).
    """

    held: AccountReport
    rights: KeyRights | None
    modes: TradingModes | None
    burns: bool | None


async def ask_account(endpoints: Endpoints, credentials: Credentials, market: Market) -> AccountTold:
    """What is on the account, how it trades, and what the key may do.

    SessionError where the venue does not say: unknown is never nothing.
    """
    dialect = requests_of(market)
    headers = {"X-MBX-APIKEY": credentials.api_key.reveal()}
    async with open_client(tls_context(endpoints.ca_file), headers) as client:
        try:
            clock, account = dialect.server_time(), dialect.account()

            server_ms = read_server_time(await _told(client, endpoints.rest, clock, "", "its time"))
            told_ns = WORLD.monotonic_ns()

            async def signed(
                request: Request, what: str, host: str = endpoints.rest, *, optional: bool = False
            ) -> bytes:
                # The time now: on a busy machine the questions before this one may have taken longer than the window.
                now_ms = server_ms + (WORLD.monotonic_ns() - told_ns) // 10**6
                query = rest_text(request, now_ms, WINDOW_MS, credentials)
                return await _told(client, host, request, query, what, optional=optional)

            held = read_account(await signed(account, "the account"))
            modes = None
            fees = "whether fees are paid in BNB"
            if isinstance(dialect, UsdmRequests):
                how = read_account_modes(await signed(dialect.account_settings(), "position mode and asset mode"))
                modes = TradingModes(
                    hedge=how.dual_side_position,
                    multi_assets=how.multi_assets_margin,
                    symbols=read_symbol_settings(await signed(dialect.symbol_settings(), "margin type and leverage")),
                )
                body = await signed(dialect.fee_burn(), fees, optional=True)
                burns = read_usdm_fee_burn(body) if body else None
            else:
                body = await signed(SPOT_FEE_BURN, fees, endpoints.rights, optional=True)
                burns = read_spot_fee_burn(body) if body else None
            body = await signed(KEY_RIGHTS, "what the key may do", endpoints.rights, optional=True)
            return AccountTold(held, read_key_rights(body) if body else None, modes, burns)
        except DecodeError as error:
            raise SessionError("the account cannot be read", got=error.what) from None


async def _told(
    client: aiohttp.ClientSession, host: str, request: Request, text: str, what: str, *, optional: bool = False
) -> bytes:
    """Body of an answer that was given. optional: empty where there is no such call."""
    answer = await ask(client, request.method, host + request.path, text, in_body=False, within_s=ASK_S)
    if answer is None:
        raise SessionError(f"the venue does not tell {what}", field=host, got=f"no answer in {ASK_S:.0f} s")
    status, headers, body = answer
    refuse_busy(host, status, headers, body)
    if status == 404 and optional:
        return b""
    if status != 200:
        code, reason = _refusal(body)
        raise SessionError(
            f"the venue refuses {what}", field=host, expected="200", got=f"{status}: {reason}",
            remedy=_REMEDY.get(code, "" if status == 404 else "check the keys and their rights") or f"see whether {host} is this market's address",
        )  # fmt: skip
    return body


def _refusal(body: bytes) -> tuple[int, str]:
    """The venue's number, and its words."""
    try:
        refusal = read_error(body)
    except DecodeError:
        return 0, "no reason"
    return refusal.code, f"{refusal.code} {refusal.message}"
