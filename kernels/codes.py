"""Numbers with names: statuses, order states, order types, time in force, verdicts, reasons. Nothing here does work.

The numbers are part of the journal's format: they are never reused for another meaning.
"""

from typing import Final

# How a call of the loop ended.
RUN_ROWS_MAX: Final = 0  # The batch is done; call again.
RUN_IDLE: Final = 1  # The edge has nothing to publish now.
RUN_DONE: Final = 2  # Both tapes are exhausted.
RUN_RECORDS_FULL: Final = 3  # The caller must drain the records, then call again.
RUN_LOCAL_CHUNK: Final = 4  # The caller must supply the next chunk of what the node sees.
RUN_VENUE_CHUNK: Final = 5  # The caller must supply the next chunk of what the venue holds.
RUN_STRATEGY_ERROR: Final = 6  # A plain-Python callback raised; the caller holds the exception.
RUN_OVERFLOW: Final = 7  # A product of money left 64 bits; `error_sequence` names the row.
RUN_TIME_BACK: Final = 8  # Local time went back; `error_sequence` names the row.
RUN_BAD_ROW: Final = 9  # A row of unknown kind or instrument; `error_sequence` names it.
RUN_VENUE_FULL: Final = 10  # The simulated venue's request or response ring is full.

# Order types (`source` of a request row).
LIMIT: Final = 0
MARKET: Final = 1
STOP: Final = 2
STOP_LIMIT: Final = 3

# Time in force and instructions (`flags` of a request row).
GTC: Final = 0
IOC: Final = 1
FOK: Final = 2
DAY: Final = 3
GTD: Final = 4
TIME_IN_FORCE_MASK: Final = 7
POST_ONLY: Final = 8
REDUCE_ONLY: Final = 16

# Order states. Terminal ones are >= FILLED. A fill is accepted in every state.
STATE_NONE: Final = 0
STATE_NEW: Final = 1
STATE_SENT: Final = 2
STATE_ACKED: Final = 3
STATE_PARTIAL: Final = 4
STATE_UNKNOWN: Final = 5
STATE_FILLED: Final = 8
STATE_CANCELLED: Final = 9
STATE_EXPIRED: Final = 10
STATE_REJECTED: Final = 11
STATE_ABSENT: Final = 12
# What is under way besides the state.
PENDING_CANCEL: Final = 1
PENDING_AMEND: Final = 2

# Verdicts of the gate, and reasons of a venue's refusal: one space, so that a strategy reads one kind of number. A call returns an
# order id (> 0) or minus one of these.
ALLOW: Final = 0
WARN: Final = 1
REJECT_INSTRUMENT: Final = 10  # Unknown or not allowed for this strategy.
REJECT_OFF_GRID: Final = 11
REJECT_QTY: Final = 12  # Not positive, or outside the venue's min/max.
REJECT_MIN_NOTIONAL: Final = 13
REJECT_NOT_FINITE: Final = 14
REJECT_MAX_ORDER_QTY: Final = 15
REJECT_MAX_ORDER_NOTIONAL: Final = 16
REJECT_PRICE_COLLAR: Final = 17
REJECT_NO_REFERENCE: Final = 18
REJECT_MAX_SPREAD: Final = 19
REJECT_MAX_POSITION: Final = 20
REJECT_MAX_GROSS: Final = 21
REJECT_MAX_NET: Final = 22
REJECT_THROTTLE: Final = 23
REJECT_DUPLICATE: Final = 24
REJECT_DAILY_LOSS: Final = 25
REJECT_DRAWDOWN: Final = 26
REJECT_SLIPPAGE: Final = 27
REJECT_STALE: Final = 28
REJECT_SELF_MATCH: Final = 29
REJECT_MARGIN: Final = 30
REJECT_REDUCING: Final = 31
REJECT_HALTED: Final = 32
REJECT_OVERFLOW: Final = 33
REJECT_ORDERS_FULL: Final = 34
REJECT_OUTBOX_FULL: Final = 35
REJECT_UNKNOWN_ORDER: Final = 36
REJECT_TERMINAL: Final = 37
REJECT_REDUCE_ONLY: Final = 38
REJECT_TIMERS_FULL: Final = 39
REJECT_WARMUP: Final = 40
REJECT_MAX_LEVERAGE: Final = 41
REJECT_TYPE: Final = 42  # Side, type, time in force, price and trigger do not go together.
# Reasons given by a (simulated) venue.
REASON_POST_ONLY: Final = 64
REASON_NO_LIQUIDITY: Final = 65
REASON_FILL_OR_KILL: Final = 66
REASON_TIME: Final = 67
REASON_STATUS: Final = 68
REASON_UNKNOWN_ORDER: Final = 69
REASON_IOC: Final = 70
REASON_REDUCE_ONLY: Final = 71
REASON_REQUESTED: Final = 72
REASON_END_OF_DATA: Final = 73

CODE_NAME: Final = {
    value: name for name, value in globals().copy().items() if name.startswith(("REJECT_", "REASON_", "ALLOW", "WARN"))
}
STATE_NAME: Final = {
    value: name.removeprefix("STATE_")
    for name, value in globals().copy().items()
    if name.startswith("STATE_") and name != "STATE_NAME"
}
TYPE_NAME: Final = {LIMIT: "LIMIT", MARKET: "MARKET", STOP: "STOP", STOP_LIMIT: "STOP_LIMIT"}
TIME_IN_FORCE_NAME: Final = {GTC: "GTC", IOC: "IOC", FOK: "FOK", DAY: "DAY", GTD: "GTD"}
RUN_NAME: Final = {
    value: name for name, value in globals().copy().items() if name.startswith("RUN_") and name != "RUN_NAME"
}

# Strategy of a row that is no strategy's: of every account (a command), or of the account's unassigned book (a fill, an order).
UNASSIGNED: Final = 255

# Codes of RESUME and FLATTEN rows.
RESUME_BY_OPERATOR: Final = 0
RESUME_BY_ITSELF: Final = 1  # What a feed or a connection caused is over: no limit's and no operator's state is lifted.
FLATTEN_WITHIN_COLLAR: Final = 0
FLATTEN_AT_MARKET: Final = 1  # Without a reference price, market orders.

# Trading states of an account or a strategy.
ACTIVE: Final = 0
REDUCING: Final = 1
HALTED: Final = 2
FLATTENING: Final = 3  # Of a limit: what breaks it halts the account and closes its positions.

# Callback slots of a strategy.
ON_START: Final = 0
ON_TRADE: Final = 1
ON_QUOTE: Final = 2
ON_BOOK: Final = 3
ON_BAR: Final = 4
ON_TIMER: Final = 5
ON_FILL: Final = 6
ON_ORDER: Final = 7
ON_STOP: Final = 8
CALLBACKS: Final = (
    "on_start",
    "on_trade",
    "on_quote",
    "on_book",
    "on_bar",
    "on_timer",
    "on_fill",
    "on_order",
    "on_stop",
)
