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
ALLOW: Final = 0  # Nothing stands against it.
WARN: Final = 1  # Allowed, near a limit.
REJECT_INSTRUMENT: Final = 10  # Unknown or not allowed for this strategy.
REJECT_OFF_GRID: Final = 11  # The price is not a multiple of the tick, or the quantity of the lot.
REJECT_QTY: Final = 12  # Not positive, or outside the venue's min/max.
REJECT_MIN_NOTIONAL: Final = 13  # The order is worth less than the venue takes.
REJECT_NOT_FINITE: Final = 14  # A price or quantity that is no number, or not positive.
REJECT_MAX_ORDER_QTY: Final = 15  # More than one order may have.
REJECT_MAX_ORDER_NOTIONAL: Final = 16  # Worth more than one order may be.
REJECT_PRICE_COLLAR: Final = 17  # Too far from the reference price.
REJECT_NO_REFERENCE: Final = 18  # No price, or none fresh enough, to compare with.
REJECT_MAX_SPREAD: Final = 19  # The market's spread is too wide.
REJECT_MAX_POSITION: Final = 20  # The position could become too large, working orders counted.
REJECT_MAX_GROSS: Final = 21  # The account's gross exposure could.
REJECT_MAX_NET: Final = 22  # The account's net exposure could.
REJECT_THROTTLE: Final = 23  # Too many messages.
REJECT_DUPLICATE: Final = 24  # The same order too often in a short time.
REJECT_DAILY_LOSS: Final = 25  # The day's loss is at its limit.
REJECT_DRAWDOWN: Final = 26  # The drawdown is at its limit.
REJECT_SLIPPAGE: Final = 27  # The day's slippage budget is spent.
REJECT_STALE: Final = 28  # The market is not known to be up to date.
REJECT_SELF_MATCH: Final = 29  # It could trade with an own order.
REJECT_MARGIN: Final = 30  # The margin does not suffice.
REJECT_REDUCING: Final = 31  # Only what lowers the position may go.
REJECT_HALTED: Final = 32  # Only cancels may go.
REJECT_OVERFLOW: Final = 33  # A product does not fit 64 bits.
REJECT_ORDERS_FULL: Final = 34  # As many orders work as the table holds.
REJECT_OUTBOX_FULL: Final = 35  # More requests in one step than the outbox holds.
REJECT_UNKNOWN_ORDER: Final = 36  # No such order.
REJECT_TERMINAL: Final = 37  # The order has ended.
REJECT_REDUCE_ONLY: Final = 38  # Reduce-only, and it would not reduce.
REJECT_TIMERS_FULL: Final = 39  # As many timers run as the table holds.
REJECT_WARMUP: Final = 40  # The strategy is still being fed history.
REJECT_MAX_LEVERAGE: Final = 41  # The leverage could become too high.
REJECT_TYPE: Final = 42  # Side, type, time in force, price and trigger do not go together.
REJECT_BALANCE: Final = 43  # The account does not hold what the order would sell.
# Reasons given by a (simulated) venue.
REASON_POST_ONLY: Final = 64  # It would have traded at once.
REASON_NO_LIQUIDITY: Final = 65  # Nothing to trade with.
REASON_FILL_OR_KILL: Final = 66  # Not all of it could be filled at once.
REASON_TIME: Final = 67  # Its time was over.
REASON_STATUS: Final = 68  # The market is closed or halted.
REASON_UNKNOWN_ORDER: Final = 69  # No such order at the venue, or it has ended.
REASON_IOC: Final = 70  # What did not fill at once.
REASON_REDUCE_ONLY: Final = 71  # Nothing to reduce.
REASON_REQUESTED: Final = 72  # Cancelled as asked for.
REASON_END_OF_DATA: Final = 73  # The backtest's data ended.
# Reasons given by a real venue, or by the gateway before it.
REASON_VENUE: Final = 80  # Refused by the venue, for a reason not named here.
REASON_ABSENT: Final = 81  # Sent, never answered, and proven by two sources never to have arrived.
REASON_UNSOLICITED: Final = 82  # Cancelled, or amended, without our asking.
REASON_BALANCE: Final = 83  # Not enough balance or margin.
REASON_FILTER: Final = 84  # A rule on price, quantity or value.
REASON_VENUE_BUSY: Final = 85  # The venue was overloaded; nothing was executed.
REASON_RATE: Final = 86  # The venue's limits on requests or orders, its hold-off or ban, or our own budget under them.
REASON_CLOCK: Final = 87  # Our clock against the venue's: unknown, too far, or the request came too late.
REASON_KEY: Final = 88  # The API key may not.
REASON_UNSUPPORTED: Final = 89  # This venue has no such order.
REASON_AMEND_PENDING: Final = 90  # Another amend of the order is under way.
REASON_AMEND_LOST: Final = 91  # An amend cancelled the order and its replacement was refused.
REASON_SELF_MATCH: Final = 92  # It would have traded with an order of the same account.
REASON_LIQUIDATION: Final = 93  # The venue closed a position by force.
REASON_NOT_SENT: Final = 94  # Decided, journalled, and never handed to the socket.
REASON_GATEWAY_FULL: Final = 95  # Too many fills not yet confirmed by a sweep.
REASON_NO_INSTRUMENT: Final = 96  # None that the venue or the gateway knows.
REASON_WOULD_TRIGGER: Final = 97  # The stop price is reached already.
REASON_NO_CHANGE: Final = 98  # An amend to what the order is already.

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
RESUME_OF_START: Final = (
    -3
)  # A session goes on where the one before ended: its HALT is lifted, and nothing begins anew.
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
ON_FEED: Final = 9
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
    "on_feed",
)
