"""Reasons of a gateway or a venue for refusing or ending an order, in the one space of verdicts that strategies read.

The kernel's own numbers (kernels/codes.py) are used where they mean the same; those here start at 80 and are part of the journal's
format: never reused for another meaning.
"""

from typing import Final

from twinloop.kernels import codes

REASON_VENUE: Final = 80  # Refused by the venue, for a reason not named here.
REASON_ABSENT: Final = 81  # Sent, never answered, and proven by two sources never to have arrived.
REASON_UNSOLICITED: Final = 82  # Cancelled without our asking.
REASON_BALANCE: Final = 83  # Not enough balance or margin.
REASON_FILTER: Final = 84  # A rule on price, quantity or value.
REASON_VENUE_BUSY: Final = 85  # The venue was overloaded; nothing was executed.
REASON_RATE: Final = 86  # The venue's limits on requests or orders, its hold-off or ban, or our own budget under them.
REASON_CLOCK: Final = 87  # Our clock against the venue's: unknown, too far, or the request came too late.
REASON_KEY: Final = 88  # The API key may not.
REASON_UNSUPPORTED: Final = 89  # This venue has no such order.
REASON_AMEND_PENDING: Final = 90  # Another amend of the order is under way.
REASON_AMEND_LOST: Final = 91  # An amend cancelled the order and its replacement was refused.
REASON_SELF_MATCH: Final = 92
REASON_LIQUIDATION: Final = 93
REASON_NOT_SENT: Final = 94  # Decided, journalled, and never handed to the socket.
REASON_GATEWAY_FULL: Final = 95  # Too many fills not yet confirmed by a sweep.
REASON_NO_INSTRUMENT: Final = 96

REASON_NAME: Final = {value: name for name, value in globals().copy().items() if name.startswith("REASON_")}

_BY_CODE: Final = {
    -1003: REASON_RATE,
    -1008: REASON_VENUE_BUSY,
    -1013: REASON_FILTER,
    -1015: REASON_RATE,
    -1021: REASON_CLOCK,
    -5028: REASON_CLOCK,
    -1002: REASON_KEY,
    -1022: REASON_KEY,
    -2014: REASON_KEY,
    -2015: REASON_KEY,
    -1111: REASON_FILTER,
    -1121: REASON_NO_INSTRUMENT,
    -2011: codes.REASON_UNKNOWN_ORDER,
    -2013: codes.REASON_UNKNOWN_ORDER,
    -2018: REASON_BALANCE,
    -2019: REASON_BALANCE,
    -2022: codes.REASON_REDUCE_ONLY,
    -2025: REASON_RATE,
    -2027: REASON_BALANCE,
    -2028: REASON_BALANCE,
    -4003: REASON_FILTER,
    -4004: REASON_FILTER,
    -4005: REASON_FILTER,
    -4014: REASON_FILTER,
    -4016: REASON_FILTER,
    -4023: REASON_FILTER,
    -4024: REASON_FILTER,
    -4120: REASON_UNSUPPORTED,
    -4131: REASON_FILTER,
    -4164: REASON_FILTER,
    -4184: REASON_FILTER,
    -4400: codes.REASON_STATUS,
    -5021: codes.REASON_FILL_OR_KILL,
    -5022: codes.REASON_POST_ONLY,
}
_BY_TEXT: Final = (
    ("would immediately match", codes.REASON_POST_ONLY),
    ("insufficient balance", REASON_BALANCE),
    ("Market is closed", codes.REASON_STATUS),
    ("Filter failure", REASON_FILTER),
    ("Unknown order", codes.REASON_UNKNOWN_ORDER),
    ("not supported", REASON_UNSUPPORTED),
    ("Too many new orders", REASON_RATE),
)
_BY_EXPIRY: Final = {
    "INSUFFICIENT_LIQUIDITY": codes.REASON_NO_LIQUIDITY,
    "EXPIRED_IN_MATCH": REASON_SELF_MATCH,
    "GTX_ORDER": codes.REASON_POST_ONLY,
}


def refusal(code: int, message: str) -> int:
    """Reason of a venue's refusal, by its code and, for codes that mean many things, its text."""
    for text, reason in _BY_TEXT:
        if text in message:
            return reason
    return _BY_CODE.get(code, REASON_VENUE)


def expiry(kind: int, flags: int, text: str) -> int:
    """Reason of an expiry that the venue may have named, or that follows from the order's terms."""
    named = _BY_EXPIRY.get(text)
    if named is not None:
        return named
    in_force = flags & codes.TIME_IN_FORCE_MASK
    if in_force == codes.FOK:
        return codes.REASON_FILL_OR_KILL
    if flags & codes.POST_ONLY:
        return codes.REASON_POST_ONLY
    if in_force == codes.IOC:
        return codes.REASON_IOC
    if kind in {codes.MARKET, codes.STOP}:
        return codes.REASON_NO_LIQUIDITY
    return codes.REASON_TIME
