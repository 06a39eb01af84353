"""What a status and a body prove about a request: done, refused, held off, or nothing at all.

No answer is not an answer. A refusal counts only in the venue's documented form, with a code that says the request did not reach the
matching engine or was turned down by it. Everything else (5xx, a proxy's page, an empty body, codes whose text says the execution is
unknown) proves nothing. This module must not know orders or keep state.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from twinloop.data.binance_answers import read_error
from twinloop.data.binance_orders import Market

DONE: Final = 1  # Accepted: the body says more.
REFUSED: Final = 2  # Not executed, and it will not be.
UNPROVEN: Final = 3  # It may have been executed, or may yet be.
HELD_OFF: Final = 4  # Too many requests: not executed; wait.
BANNED: Final = 5  # The address is banned: not executed; stop.

# Codes of refusals that need more than passing the refusal on.
TIME_OUTSIDE: Final = -1021
TIME_OUTSIDE_ENGINE: Final = -5028
TOO_MANY_REQUESTS: Final = -1003
TOO_MANY_ORDERS: Final = -1015
NEW_ORDER_REJECTED: Final = -2010
CANCEL_REJECTED: Final = -2011
NO_SUCH_ORDER: Final = -2013
REPLACE_HALF_DONE: Final = -2021
REPLACE_FAILED: Final = -2022
NO_NEED_TO_AMEND: Final = -5027
DUPLICATE_ID: Final = -4116
KEY_REFUSED: Final = frozenset({-1002, -2014, -2015})
UNKNOWN_ORDER: Final = frozenset({CANCEL_REJECTED, NO_SUCH_ORDER})
EXECUTION_UNKNOWN: Final = frozenset({-1000, -1001, -1006, -1007, -1016})
_USDM_FAILED: Final = ("Service Unavailable", "Internal error; unable to process your request")
HOLD_OFF_NS: Final = 60_000_000_000  # Where the venue does not say for how long.
BAN_NS: Final = 120_000_000_000
BAN_NS_MAX: Final = 3 * 86_400_000_000_000
UNTIL_NS_MAX: Final = 2**62  # In the year 2116: whatever the venue says, it fits a row.
_UNTIL: Final = re.compile(r"until (\d{13})\b", re.ASCII)
_DUPLICATE_TEXT: Final = "Duplicate order sent"


class Judgement(NamedTuple):
    """kind: DONE...; code and message as the venue gave them; for HELD_OFF and BANNED: how long, and until when if it said so."""

    kind: int
    code: int = 0
    message: str = ""
    wait_ns: int = 0
    until_ns: int = 0


def judge(market: Market, status: int, headers: Mapping[str, str], body: bytes) -> Judgement:
    """What an answer proves. headers: names in lower case."""
    code, message = read_error(body)
    if status == 418:
        until = _UNTIL.search(message)
        until_ns = min(int(until[1]) * 1_000_000, UNTIL_NS_MAX) if until else 0
        return Judgement(BANNED, code, message, _wait_ns(headers, BAN_NS), until_ns)
    if status == 429 or code == TOO_MANY_REQUESTS:
        return Judgement(HELD_OFF, code, message, _wait_ns(headers, HOLD_OFF_NS))
    if 200 <= status < 300 and code == 0:
        return Judgement(DONE) if body.strip()[:1] in {b"{", b"["} else Judgement(UNPROVEN)
    if code == 0:
        return Judgement(UNPROVEN)
    if status >= 500:
        failed = market == "usdm" and (code == -1008 or message.startswith(_USDM_FAILED))
        return Judgement(REFUSED if failed else UNPROVEN, code, message)
    if status == 403 or status == 408 or code in EXECUTION_UNKNOWN:
        return Judgement(UNPROVEN, code, message)
    if code == DUPLICATE_ID or (code == NEW_ORDER_REJECTED and message.startswith(_DUPLICATE_TEXT)):
        # Our own id is taken: by this very order, on a way we did not hear of.
        return Judgement(UNPROVEN, code, message)
    return Judgement(REFUSED, code, message)


def _wait_ns(headers: Mapping[str, str], default_ns: int) -> int:
    text = headers.get("retry-after", "")
    if not text.isascii() or not text.isdecimal() or len(text) > 7:
        return default_ns
    return min(max(int(text), 1) * 1_000_000_000, BAN_NS_MAX)
