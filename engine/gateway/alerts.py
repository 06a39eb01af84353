"""What a gateway wants a person or the process to know: a fixed set of alerts, each with what it asks for.

An alert carries numbers and words of ours; text that came from a venue is cut to plain ASCII first. Nothing here sends anything.
"""

from typing import Final, NamedTuple

NOTE: Final = 0  # Worth recording.
WARN: Final = 1
REDUCE: Final = 2  # The account should only lower its exposure until this is cleared.
HALT: Final = 3  # The account should stop.

ALERTS: Final = {
    1: ("REQUEST_UNPROVEN", WARN),
    2: ("PROVEN_ABSENT", WARN),
    3: ("LATE_APPEARANCE", REDUCE),
    4: ("FILL_BEFORE_ACK", NOTE),
    5: ("FILL_AFTER_END", WARN),
    6: ("OVERFILL", HALT),
    7: ("FILL_DIFFERS", WARN),
    8: ("FILL_MISSED_BY_STREAM", WARN),
    9: ("EXTERNAL_ORDER", WARN),
    10: ("EXTERNAL_FILL", WARN),
    11: ("FOREIGN_EPOCH", HALT),
    12: ("LOST_ORDER", REDUCE),
    13: ("UNSOLICITED_CANCEL", WARN),
    14: ("UNSOLICITED_AMEND", WARN),
    15: ("CANCEL_UNPROVEN", WARN),
    16: ("HELD_OFF", REDUCE),
    17: ("BANNED", HALT),
    18: ("KEY_REFUSED", HALT),
    19: ("CLOCK", REDUCE),
    20: ("STREAM_DOWN", REDUCE),
    21: ("STREAM_BACK", NOTE),
    22: ("UNKNOWN_FEE_CURRENCY", REDUCE),
    23: ("BAD_MESSAGE", WARN),
    24: ("DUPLICATE_REQUEST", HALT),
    25: ("DEAD_MAN_LATE", REDUCE),
    26: ("LIQUIDATION", HALT),
    27: ("SEEN_FULL", REDUCE),
    28: ("NOT_KNOWN_AT_VENUE", REDUCE),
    29: ("ROUNDED", WARN),
    30: ("UNKNOWN_INSTRUMENT", REDUCE),
    31: ("ORDER_EXPIRES", NOTE),
    32: ("REPLACE_HALF_DONE", WARN),
    33: ("SWEEP_LATE", REDUCE),
    34: ("RATE_BUDGET", WARN),
}  # fmt: skip
# A person has to look before trading goes on: nothing that the venue says later explains these.
STAYS: Final = frozenset({"LOST_ORDER", "UNKNOWN_FEE_CURRENCY", "UNKNOWN_INSTRUMENT"})
ALERT_CODE: Final = {name: code for code, (name, _) in ALERTS.items()}


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
        return ALERTS[self.code][0]

    @property
    def demand(self) -> int:
        """NOTE, WARN, REDUCE or HALT."""
        return ALERTS[self.code][1]


def alert(name: str, *, order_id: int = 0, instrument: int = -1, value: int = 0, detail: str = "") -> Alert:
    """An alert by name."""
    return Alert(ALERT_CODE[name], order_id, instrument, value, detail)
