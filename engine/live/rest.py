"""One GET of a venue's REST interface, as the live side makes them, and why one could not be reached, in words.

This module must not retry.
"""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from twinloop.data.binance_errors import BANNED, HELD_OFF, judge
from twinloop.engine.gateway.endpoints import is_loopback
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD

NOT_TRUSTED: Final = "the venue's certificate is not trusted"


async def get(client: aiohttp.ClientSession, url: str) -> bytes:
    """Body of a GET that was answered with 200. SessionError otherwise."""
    try:
        async with client.get(url) as answer:
            body = await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise unreachable(error, url) from None
    refuse_busy(url, answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
    if answer.status != 200:
        raise SessionError("the venue refused", field=url, expected="200", got=f"{answer.status} {body[:200]!r}")
    return body


def unreachable(error: Exception, url: str) -> SessionError:
    """Why an address did not answer, and what to do. No certificate is taken on trust: there is no way round it."""
    certificate = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    host = urlsplit(url).hostname or ""
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return SessionError(
            NOT_TRUSTED, field=url, expected=f"one for {host} that this system trusts", got=certificate.verify_message or str(certificate),
            remedy="nothing was sent; see who answers at that name, whether this machine's date is right, and which certificates it trusts",
        )  # fmt: skip
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    got = (cause.strerror if isinstance(cause, OSError) else "") or str(cause) or type(cause).__name__
    if isinstance(cause, TimeoutError):
        got = "no answer in time"
    remedy = (
        "see whether it runs there: `twinloop exchange` is a practice one"
        if is_loopback(host)
        else "see whether this machine reaches it: name service, route, firewall"
    )
    return SessionError("the venue does not answer", field=url, got=got, remedy=remedy)


def refuse_busy(url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """VenueBusyError where an answer asks to wait or bans. headers: names in lower case."""
    if status not in {418, 429}:
        return
    judgement = judge("usdm", status, headers, body)  # Of these two both markets say the same.
    assert judgement.kind in {BANNED, HELD_OFF}
    wait_ns = max(judgement.wait_ns, judgement.until_ns - WORLD.wall_ns())
    raise VenueBusyError(url, wait_ns=wait_ns, banned=judgement.kind == BANNED)
