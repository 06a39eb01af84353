"""One GET of a venue's REST interface, as the live side makes them. This module must not retry."""

from collections.abc import Mapping

import aiohttp

from twinloop.data.binance_errors import BANNED, HELD_OFF, judge
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD


async def get(client: aiohttp.ClientSession, url: str) -> bytes:
    """Body of a GET that was answered with 200. SessionError otherwise."""
    try:
        async with client.get(url) as answer:
            body = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SessionError("the venue does not answer", field=url, got=str(error) or type(error).__name__) from None
    refuse_busy(url, answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
    if answer.status != 200:
        raise SessionError("the venue refused", field=url, expected="200", got=f"{answer.status} {body[:200]!r}")
    return body


def refuse_busy(url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """VenueBusyError where an answer asks to wait or bans. headers: names in lower case."""
    if status not in {418, 429}:
        return
    judgement = judge("usdm", status, headers, body)  # Of these two both markets say the same.
    assert judgement.kind in {BANNED, HELD_OFF}
    wait_ns = max(judgement.wait_ns, judgement.until_ns - WORLD.wall_ns())
    raise VenueBusyError(url, wait_ns=wait_ns, banned=judgement.kind == BANNED)
