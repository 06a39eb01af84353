"""Names shared by the readers of recorded Binance lines: slots of the decoder's state, controls, quarantine codes.

The compiled scanner (`binance_scan.pyx`) and its Python twin (`binance_scan_py.py`) work on one int64 array, so that a
line may be read by either and the next one by the other. The scanner repeats the slot numbers as C constants and compares
them with `SLOTS` when it is imported. Nothing in this module does work.
"""

from typing import Final

# What the decoder remembers from line to line (times in ns, before the clock correction).
_MEMORY: Final = (
    "LAST_LOCAL",  # Receive time of the last kept line.
    "LAST_SEEN",  # Receive time of the last line that had one.
    "FIRST_UPDATE",  # First update id of the unbroken chain of depth updates.
    "LAST_UPDATE",  # Its last final update id; 0: none yet.
    "LAST_TRADE",
    "LAST_QUOTE",
    "SNAPSHOT_ID",  # lastUpdateId of the last REST snapshot; 0: none yet.
    "FUNDING_TIME",  # Next funding time as the last mark price message stated it.
    "FUNDING_RATE",
    "FUNDING_MARK",
)
# Lines by fate. Every line is exactly one of kept, quarantined, or one of the controls.
CONTROLS: Final = (
    "BLANK",  # Nothing on the line.
    "ANSWER",  # Answer to a subscription request.
    "OTHER_SYMBOL",
    "OTHER_EVENT",  # A stream this reader makes no row of (aggTrade, kline, partial depth ...).
    "EMPTY",  # A depth update that changes no level.
    "DUPLICATE",  # A depth update, quote or trade whose id is that of the one before.
)
_LINES: Final = ("LINES", "KEPT", "QUARANTINED", *CONTROLS)
# Kept messages by kind, and what was found on the way.
MESSAGES: Final = ("DEPTH", "QUOTE", "TRADE", "MARK", "SNAPSHOT")
FINDINGS: Final = (
    "DEPTH_GAPS",  # Breaks of the chain of update ids; each gave a FEED_GAP row.
    "TRADE_GAPS",  # Places where trade ids are left out.
    "TRADES_BACK",  # A trade id lower than the one before.
    "QUOTES_BACK",  # A quote's update id lower than the one before.
    "LOCAL_BACK",  # A receive time before the one of the line above: lifted to it.
    "CROSSED",  # Quotes with bid >= ask.
    "UNTIMED",  # Kept lines in which the venue states no time: venue_ns is estimated.
    "ROUNDED",  # Mark or index prices and rates with more decimals than their scale.
    "FALLBACK",  # Lines that the compiled scanner left to the Python twin.
)
SLOTS: Final = {name: slot for slot, name in enumerate((*_MEMORY, *_LINES, *MESSAGES, *FINDINGS))}
STATE_SIZE: Final = len(SLOTS)

# Why a line is set aside.
BAD_RECEIVE_TIME: Final = "bad_receive_time"  # Does not start with 13, 16 or 19 digits and a space.
BAD_JSON: Final = "bad_json"  # Truncated or otherwise not JSON in UTF-8.
DUPLICATE_KEY: Final = "duplicate_key"
UNEXPECTED_SHAPE: Final = "unexpected_shape"  # A field is missing, of the wrong type or of another market.
BAD_NUMBER: Final = "bad_number"  # Not a plain decimal: sign, exponent, letters, NaN.
TOO_MANY_DECIMALS: Final = "too_many_decimals"  # Non-zero digits beyond the instrument's scale.
OUT_OF_RANGE: Final = "out_of_range"
TIME_DISAGREES: Final = "time_disagrees"  # Receive time and venue time lie further apart than any clock should.
OUT_OF_ORDER: Final = (
    "out_of_order"  # Received long before the line above it: files in the wrong order, or a broken time.
)
LINE_TOO_LONG: Final = "line_too_long"
TRUNCATED_FILE: Final = (
    "truncated_file"  # The compressed stream breaks off or is damaged; the lines before it are kept.
)

# FEED_GAP codes.
GAP_UPDATE_IDS: Final = 1  # One or more depth updates are missing, or came in the wrong order.
GAP_SNAPSHOT_OLD: Final = 2  # A snapshot older than the first depth update we have.

TIME_TOLERANCE_NS: Final = 600_000_000_000  # Ten minutes.
RATE_SCALE: Final = 8
VALUE_MAX: Final = 10**18 - 1  # Largest scaled price or quantity: any 18 digits.
