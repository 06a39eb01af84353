"""The HTTP client of everything that carries an order: what it is asked for leaves this machine once, or not at all.

aiohttp repeats GET, PUT and DELETE by itself when a kept connection breaks before the answer. A cancel or an amend would then go out a
second time without anybody's knowledge: no journal has it, no budget counts it. Here a broken connection is an error, as the gateway
expects it, and the gateway alone decides what is asked again. This module must not read an answer.
"""

import asyncio
import ssl
from typing import Final

import aiohttp
from yarl import URL

BODY_BYTES_MAX: Final = 8 << 20
READ_BYTES: Final = 1 << 16
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}

Answer = tuple[int, dict[str, str], bytes]  # Status, headers, body.


class BrokenConnectionError(aiohttp.ClientError):
    """The connection went before the answer was there: whether the request arrived is not known."""


async def only_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware that names the failures which aiohttp would answer with a repetition by a name that it lets through."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(type(error).__name__) from None


def open_client(tls: ssl.SSLContext, headers: dict[str, str] | None = None) -> aiohttp.ClientSession:
    """A client without cookies, proxies or deadlines of its own: who asks sets the deadline of the whole answer.

    Nor is there a limit on its connections, behind which a cancel would have to wait: the rate budget bounds what is under way.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(only_once,),
    )


async def ask(
    client: aiohttp.ClientSession, method: str, address: str, text: str, *, in_body: bool, within_s: float
) -> Answer | None:
    """A whole answer within a time, or None for anything else. text: encoded and signed already, as query or as form.

    Redirects are not followed: they would carry the key.
    """
    form = text.encode() if in_body else None
    url = URL(address if in_body or not text else f"{address}?{text}", encoded=True)
    try:
        async with asyncio.timeout(within_s):
            async with client.request(
                method, url, data=form, headers=_FORM if in_body else None, allow_redirects=False
            ) as response:
                body = bytearray()
                async for part in response.content.iter_chunked(READ_BYTES):
                    body += part
                    if len(body) > BODY_BYTES_MAX:
                        return None
                return response.status, dict(response.headers), bytes(body)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
