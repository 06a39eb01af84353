"""What the entries for recorded lines and live frames share: the slots of the state, and one message's rows."""

from libc.stdint cimport int64_t

from twinloop.data.binance_fields cimport Settings
from twinloop.data.json_text cimport Text
from twinloop.data.row cimport Row

# Slots of the state; compared with binance_codes.SLOTS when the module is loaded.
# Slots of the state; compared with binance_codes.SLOTS below.
cdef enum:
    LAST_LOCAL, LAST_SEEN, FIRST_UPDATE, LAST_UPDATE, LAST_TRADE, LAST_QUOTE, SNAPSHOT_ID, FUNDING_TIME, FUNDING_RATE
    FUNDING_MARK
    LINES, KEPT, QUARANTINED, BLANK, ANSWER, OTHER_SYMBOL, OTHER_EVENT, EMPTY, DUPLICATE
    DEPTH, QUOTE, TRADE, MARK, SNAPSHOT
    DEPTH_GAPS, TRADE_GAPS, TRADES_BACK, QUOTES_BACK, LOCAL_BACK, CROSSED, UNTIMED, ROUNDED, FALLBACK
    SLOT_COUNT

cdef enum:
    ROW_BYTES_MIN = 8  # No level takes fewer bytes of a message.
    ROWS_EXTRA = 4

cdef Py_ssize_t message_rows(Text at, Text stop, int64_t local_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil
