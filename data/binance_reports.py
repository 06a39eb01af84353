"""What a venue says about orders, trades and accounts, as reports that know no wire format; and how untrusted bytes are read.

Prices and quantities stay decimal text: the reader knows the instrument's scales. Text of the venue is untrusted: `plain` cuts it to
printable ASCII before it may be shown. This module must not know a message of the venue, or keep state.
"""

from typing import Any, Final, NamedTuple

import msgspec

from twinloop.data.errors import DecodeError

# Where an order stands at the venue.
LIVE: Final = 1
FILLED: Final = 2
CANCELLED: Final = 3
EXPIRED: Final = 4
REJECTED: Final = 5
_STATUS: Final = {
    "NEW": LIVE,
    "PENDING_NEW": LIVE,
    "PARTIALLY_FILLED": LIVE,
    "PENDING_CANCEL": LIVE,
    "NEW_ADL": LIVE,
    "NEW_INSURANCE": LIVE,
    "FILLED": FILLED,
    "CANCELED": CANCELLED,
    "EXPIRED": EXPIRED,
    "EXPIRED_IN_MATCH": EXPIRED,
    "REJECTED": REJECTED,
    # Of the conditional-order service. A triggered one goes on as an order of the engine's.
    "WORKING": LIVE,
    "TRIGGERING": LIVE,
    "TRIGGERED": LIVE,
    "FINISHED": LIVE,
}
TEXT_MAX: Final = 120
INT64_MAX: Final = 2**63 - 1


class FillReport(NamedTuple):
    """One execution. trade_id: 0 when the venue gives none. executed: the order's total with it, "" when not stated."""

    symbol: str
    venue_id: int
    client_id: str
    trade_id: int
    side: int
    price: str
    qty: str
    fee: str
    fee_asset: str
    maker: bool
    time_ms: int
    executed: str = ""


class OrderReport(NamedTuple):
    """Where one order stands. amended: price and qty are news, not an echo of the order. actual_id: of a triggered stop order."""

    symbol: str
    client_id: str
    venue_id: int
    status: int
    execution: str
    side: int
    price: str
    qty: str
    executed: str
    time_ms: int
    reason: str = ""
    fills: tuple[FillReport, ...] = ()
    amended: bool = False
    stop: bool = False
    actual_id: int = 0


class ReplaceReport(NamedTuple):
    """The two legs of a cancel-replace; a leg's order is None when the venue says it failed, its code then says why."""

    cancelled: OrderReport | None
    cancel_result: str
    cancel_code: int
    placed: OrderReport | None
    place_result: str
    place_code: int
    place_text: str


class AccountReport(NamedTuple):
    """Balances and positions. balances: asset -> decimal text; positions: (symbol, position side) -> decimal text. complete: all there are.

    changes: (asset, decimal text) of what came or left by neither a trade's result nor its fee.
    """

    time_ms: int
    reason: str
    balances: dict[str, str]
    positions: dict[tuple[str, str], str]
    complete: bool
    changes: tuple[tuple[str, str], ...] = ()


class IncomeReport(NamedTuple):
    """What changed an account. kind: the venue's word. symbol: "" for none. number: of its transaction among those of a kind.

    amount: decimal text, negative where it left.
    """

    kind: str

    symbol: str
    number: int
    asset: str
    amount: str
    time_ms: int


class StreamReport(NamedTuple):
    """A frame that is about the stream, or an event without meaning for orders. ended: the stream gives no more. known: documented."""

    name: str
    ended: bool
    known: bool


class VenueError(NamedTuple):
    """The venue's refusal. code: negative; 0 when the body is not the documented form."""

    code: int
    message: str


UserReport = OrderReport | AccountReport | StreamReport


BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw, what: str) -> Any:
    """Typed value of a body. what: its name in the DecodeError."""
    try:
        return decoder.decode(body)
    except BROKEN:
        # The text of a decoder's error may quote the body: it stays out, as does the error itself.
        pass
    raise DecodeError(f"not {what} of the venue", expected="the documented fields", got=f"{len(bytes(body))} bytes")


def plain(text: object) -> str:
    """Untrusted text as it may be shown: printable ASCII, one line, no longer than TEXT_MAX."""
    return "".join(character if " " <= character <= "~" else "?" for character in str(text)[:TEXT_MAX])


def status_of(text: str) -> int:
    """Where an order stands, by the venue's word. DecodeError for a word nobody knows."""
    if text not in _STATUS:
        raise DecodeError("a state of an order that nobody knows", got=plain(text))
    return _STATUS[text]


def sign(side: str) -> int:
    """+1, -1, or 0 when not stated."""
    return {"BUY": 1, "SELL": -1}.get(side, 0)


def whole(value: int) -> int:
    """An id that fits a row."""
    if not -INT64_MAX <= value <= INT64_MAX:
        raise DecodeError("a number that fits no row", expected="64 bits", got=f"{value.bit_length()} bits")
    return value


def sum_of(free: str, locked: str) -> str:
    """Sum of two decimals, exactly. Both have the venue's eight decimals; what has not is told apart by the reader of the text."""
    whole_a, _, part_a = free.partition(".")
    whole_b, _, part_b = locked.partition(".")
    width = max(len(part_a), len(part_b))
    texts = (whole_a + part_a.ljust(width, "0"), whole_b + part_b.ljust(width, "0"))
    if not all(text.isascii() and text.isdecimal() and len(text) < 40 for text in (*texts, whole_a, whole_b)):
        raise DecodeError("not a balance", expected="two decimals", got=plain(f"{free} {locked}"))
    total = str(int(texts[0]) + int(texts[1])).rjust(width + 1, "0")
    return f"{total[:-width]}.{total[-width:]}" if width else total
