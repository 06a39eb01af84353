"""The HTTP client of everything that carries an order: what it is asked for leaves this machine once, or not at all.

aiohttp repeats GET, PUT and DELETE by itself when a kept connection breaks before the answer. A cancel or an amend would then go out a
second time without anybody's knowledge: no journal has it, no budget counts it. Here a broken connection is an error, as the gateway
expects it, and the gateway alone decides what is asked again. This module must not read an answer.
"""

import ssl
from typing import Final

import aiohttp

CONNECTIONS_MAX: Final = 64


class BrokenConnectionError(aiohttp.ClientError):
    """The connection went before the answer was there: whether the request arrived is not known."""


async def only_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware that names the failures which aiohttp would answer with a repetition by a name that it lets through."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(type(error).__name__) from None


def open_client(tls: ssl.SSLContext, headers: dict[str, str] | None = None) -> aiohttp.ClientSession:
    """A client without cookies, proxies or deadlines of its own: who asks sets the deadline of the whole answer."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=CONNECTIONS_MAX),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(only_once,),
    )
