"""What a gateway wants a person or the process to know: a fixed set of alerts, each with what it asks for.

An alert carries numbers and words of ours; text that came from a venue is cut to plain ASCII first. Nothing here sends anything.
"""

from typing import Final, NamedTuple

import numpy as np

NOTE: Final = 0  # Worth recording.
WARN: Final = 1
REDUCE: Final = 2  # The account should only lower its exposure until this is cleared.
HALT: Final = 3  # The account should stop.


class AlertSpec(NamedTuple):
    """An alert's name, what it demands, and what has happened."""

    name: str
    demand: int
    meaning: str


ALERTS: Final = {
    1: AlertSpec("REQUEST_UNPROVEN", WARN, "no answer, or none that proves anything: the order is UNKNOWN and asked about"),
    2: AlertSpec("PROVEN_ABSENT", WARN, "two sources, asked after the venue's horizon, do not know the order: it never arrived"),
    3: AlertSpec("LATE_APPEARANCE", REDUCE, "an order taken for refused or absent is at the venue after all: it is cancelled"),
    4: AlertSpec("FILL_BEFORE_ACK", NOTE, "a fill came before its order was acknowledged"),
    5: AlertSpec("FILL_AFTER_END", WARN, "a fill came after its order had ended; it is booked"),
    6: AlertSpec("OVERFILL", HALT, "more was filled than was ordered; it is booked"),
    7: AlertSpec("FILL_DIFFERS", WARN, "a trade was told twice with different numbers; the first stands, of its fee the one with more places"),
    8: AlertSpec("FILL_MISSED_BY_STREAM", WARN, "only the sweep of trades told of a fill"),
    9: AlertSpec("EXTERNAL_ORDER", WARN, "an order works on the account that is not this session's; what it may still do counts in the limits"),
    10: AlertSpec("EXTERNAL_FILL", WARN, "a trade on the account that is not this session's; it is booked for nobody"),
    11: AlertSpec("FOREIGN_EPOCH", HALT, "an order of this prefix that this process did not make: another one runs"),
    12: AlertSpec("LOST_ORDER", REDUCE, "an order of an earlier run that its journal does not hold; it is cancelled"),
    13: AlertSpec("UNSOLICITED_CANCEL", WARN, "the venue cancelled an order that nobody here asked to cancel"),
    14: AlertSpec("UNSOLICITED_AMEND", WARN, "the venue shows other terms of an order than were asked for"),
    15: AlertSpec("CANCEL_UNPROVEN", WARN, "a cancel has no answer that proves anything; it is repeated"),
    16: AlertSpec("HELD_OFF", REDUCE, "the venue asks to wait (429); value: until when, ns"),
    17: AlertSpec("BANNED", HALT, "the venue has banned the address (418); value: until when, ns"),
    18: AlertSpec("KEY_REFUSED", HALT, "the venue refuses the API key; value: its code"),
    19: AlertSpec("CLOCK", REDUCE, "our clock is too far from the venue's, or it refused a request for its time"),
    20: AlertSpec("STREAM_DOWN", REDUCE, "the user stream is gone; fills come by sweeps"),
    21: AlertSpec("STREAM_BACK", NOTE, "the user stream is back"),
    22: AlertSpec("UNKNOWN_FEE_CURRENCY", REDUCE, "a fee in a currency that the session does not know, or has no rate of: it counts in no loss; value: the fee, 1e-8"),
    23: AlertSpec("BAD_MESSAGE", WARN, "a message of the venue that cannot be read"),
    24: AlertSpec("DUPLICATE_REQUEST", HALT, "an order id asked for twice; it is not sent again"),
    25: AlertSpec("DEAD_MAN_LATE", REDUCE, "the venue's dead-man timer may have fired: open orders are asked about"),
    26: AlertSpec("LIQUIDATION", HALT, "the venue closes positions by force"),
    27: AlertSpec("SEEN_FULL", REDUCE, "too many trades wait for a sweep to confirm them; nothing new is sent"),
    28: AlertSpec("NOT_KNOWN_AT_VENUE", REDUCE, "the venue does not know an order that it did know; that proves no end"),
    29: AlertSpec("ROUNDED", WARN, "a price or quantity of a fill does not fit the instrument's scales"),
    30: AlertSpec("UNKNOWN_INSTRUMENT", REDUCE, "an order or trade of a symbol that is not in the session"),
    31: AlertSpec("ORDER_EXPIRES", NOTE, "the order's time is over; it is cancelled"),
    32: AlertSpec("REPLACE_HALF_DONE", WARN, "a replacement cancelled the old order and could not place the new one"),
    33: AlertSpec("SWEEP_LATE", REDUCE, "no sweep of trades, or (without a symbol) of funding payments, was answered for long"),
    34: AlertSpec("RATE_BUDGET", WARN, "the venue's count of orders is used up"),
    35: AlertSpec("LIMIT_NEAR", WARN, "what is left of the venue's limits is kept for cancels and closing orders, nothing else is sent; value: until when, ns"),
    36: AlertSpec("ACCOUNT_NOT_TOLD", REDUCE, "the venue was asked twice what the account holds and did not say; unknown is not nothing"),
    37: AlertSpec("TRADE_BUST", REDUCE, "the venue has taken a trade back: it is reversed; value: the trade's id"),
    38: AlertSpec("STRATEGY_FAILED", WARN, "a strategy's callback raised an error: that strategy is halted and its orders are cancelled, the others go on; value: its slot"),
    39: AlertSpec("FUNDING_NOT_BOOKED", REDUCE, "funding of a symbol or in a currency that the session does not know: it is not booked; value: the transaction"),
    40: AlertSpec("MONEY_MOVED", WARN, "money came or left without a trade: `twinloop reconcile` shows what follows; value: how much, 1e-8 of the asset"),
    41: AlertSpec("ORDERS_DIFFER", HALT, "what was written to the venue is not what the strategies asked for"),
}  # fmt: skip
_WAITS: Final = frozenset({"HELD_OFF", "BANNED", "LIMIT_NEAR"})  # Their value is when the wait ends.
# A person has to look before trading goes on: nothing that the venue says later explains these.
STAYS: Final = frozenset(
    {"LOST_ORDER", "UNKNOWN_FEE_CURRENCY", "UNKNOWN_INSTRUMENT", "TRADE_BUST", "FUNDING_NOT_BOOKED"}
)
ALERT_CODE: Final = {spec.name: code for code, spec in ALERTS.items()}


class Alert(NamedTuple):
    """code: of ALERTS. value: a number that goes with it. detail: plain text, never a key, a signature or a query."""

    code: int
    order_id: int = 0
    instrument: int = -1
    value: int = 0
    detail: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return ALERTS[self.code].name

    @property
    def meaning(self) -> str:
        """What has happened."""
        return ALERTS[self.code].meaning

    @property
    def demand(self) -> int:
        """NOTE, WARN, REDUCE or HALT."""
        return ALERTS[self.code].demand


def told_of(alert: Alert) -> str:
    """An alert in one line for a person."""
    order = f" order {alert.order_id}" if alert.order_id else ""
    detail = alert.detail or (f"wait until {utc(alert.value)}" if alert.name in _WAITS else "")
    return f"! {alert.name}{order}: {alert.meaning}" + (f" ({detail})" if detail else "")


def utc(time_ns: int) -> str:
    """A time, ns since the epoch, to the second above."""
    seconds = np.datetime64(-(-time_ns // 10**9), "s")
    return f"{seconds}".replace("T", " ") + " UTC"


def alert(name: str, *, order_id: int = 0, instrument: int = -1, value: int = 0, detail: str = "") -> Alert:
    """An alert by name."""
    return Alert(ALERT_CODE[name], order_id, instrument, value, detail)
