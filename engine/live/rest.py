"""One GET of a venue's REST interface, as the live side makes them. This module must not retry."""

import aiohttp

from twinloop.engine.live.session_errors import SessionError


async def get(client: aiohttp.ClientSession, url: str) -> bytes:
    """Body of a GET that was answered with 200. SessionError otherwise."""
    try:
        async with client.get(url) as answer:
            body = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SessionError("the venue does not answer", field=url, got=str(error) or type(error).__name__) from None
    if answer.status != 200:
        raise SessionError("the venue refused", field=url, expected="200", got=f"{answer.status} {body[:200]!r}")
    return body
