"""The venue's codes and words for refusing or ending an order, as the reasons that strategies read (kernels/codes.py)."""

from typing import Final

from twinloop.kernels import codes

_BY_CODE: Final = {
    -1003: codes.REASON_RATE,
    -1008: codes.REASON_VENUE_BUSY,
    -1013: codes.REASON_FILTER,
    -1015: codes.REASON_RATE,
    -1021: codes.REASON_CLOCK,
    -5028: codes.REASON_CLOCK,
    -1002: codes.REASON_KEY,
    -1022: codes.REASON_KEY,
    -2014: codes.REASON_KEY,
    -2015: codes.REASON_KEY,
    -1111: codes.REASON_FILTER,
    -1121: codes.REASON_NO_INSTRUMENT,
    -2011: codes.REASON_UNKNOWN_ORDER,
    -2013: codes.REASON_UNKNOWN_ORDER,
    -2021: codes.REASON_WOULD_TRIGGER,  # Of USD-M; spot's -2021, a replacement half done, is no refusal.
    -2018: codes.REASON_BALANCE,
    -2019: codes.REASON_BALANCE,
    -2022: codes.REASON_REDUCE_ONLY,
    -2025: codes.REASON_RATE,
    -2027: codes.REASON_BALANCE,
    -2028: codes.REASON_BALANCE,
    -4001: codes.REASON_FILTER,
    -4002: codes.REASON_FILTER,
    -4003: codes.REASON_FILTER,
    -4004: codes.REASON_FILTER,
    -4005: codes.REASON_FILTER,
    -4013: codes.REASON_FILTER,
    -4014: codes.REASON_FILTER,
    -4016: codes.REASON_FILTER,
    -4023: codes.REASON_FILTER,
    -4024: codes.REASON_FILTER,
    -4045: codes.REASON_RATE,
    -4120: codes.REASON_UNSUPPORTED,
    -4131: codes.REASON_FILTER,
    -4164: codes.REASON_FILTER,
    -4184: codes.REASON_FILTER,
    -4400: codes.REASON_STATUS,
    -5021: codes.REASON_FILL_OR_KILL,
    -5022: codes.REASON_POST_ONLY,
    -5025: codes.REASON_UNSUPPORTED,
    -5026: codes.REASON_RATE,
    -5027: codes.REASON_NO_CHANGE,
}
_BY_TEXT: Final = (
    ("would trigger immediately", codes.REASON_WOULD_TRIGGER),
    ("would immediately match", codes.REASON_POST_ONLY),
    ("insufficient balance", codes.REASON_BALANCE),
    ("Market is closed", codes.REASON_STATUS),
    ("Filter failure", codes.REASON_FILTER),
    ("Unknown order", codes.REASON_UNKNOWN_ORDER),
    ("not supported", codes.REASON_UNSUPPORTED),
    ("Too many new orders", codes.REASON_RATE),
)
_BY_EXPIRY: Final = {
    "INSUFFICIENT_LIQUIDITY": codes.REASON_NO_LIQUIDITY,
    "EXPIRED_IN_MATCH": codes.REASON_SELF_MATCH,
    "GTX_ORDER": codes.REASON_POST_ONLY,
}


def refusal(code: int, message: str) -> int:
    """Reason of a venue's refusal, by its code and, for codes that mean many things, its text."""
    for text, reason in _BY_TEXT:
        if text in message:
            return reason
    return _BY_CODE.get(code, codes.REASON_VENUE)


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
