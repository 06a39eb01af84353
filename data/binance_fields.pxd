"""Fields of one Binance message: which keys it may have, and what they say, as a struct.

Keys may stand in any order, spaces may stand between them; anything else is NULL, for the twin. Level rows go straight to the caller's
buffer, half filled: a depth update has hundreds.
"""

from libc.stdint cimport int64_t, uint8_t

from twinloop.data.json_text cimport Text, decimal, integer, literal, plain_string, same, scalar, spaces
from twinloop.data.row cimport Row

# Keys seen in one object, one bit each.
cdef enum:
    HAS_EVENT = 1
    HAS_EVENT_TIME = 2
    HAS_TIME = 4
    HAS_SYMBOL = 8
    HAS_FIRST = 16
    HAS_FINAL = 32
    HAS_PREVIOUS = 64
    HAS_BIDS = 128  # `b` as levels, or `bids`
    HAS_ASKS = 256
    HAS_BID = 512  # `b` as a price
    HAS_ASK = 1024
    HAS_BID_QTY = 2048
    HAS_ASK_QTY = 4096
    HAS_TRADE_ID = 8192
    HAS_PRICE = 16384
    HAS_QTY = 32768
    HAS_ORIGIN = 65536
    HAS_MAKER = 131072
    HAS_INDEX = 262144
    HAS_RATE = 524288
    HAS_SNAPSHOT_ID = 1048576
    HAS_BUYER = 2097152  # `b` as an order id
    HAS_SELLER = 4194304
    HAS_LONG_BIDS = 8388608  # the key was `bids`
    HAS_LONG_ASKS = 16777216
    HAS_LAST = 33554432
    HAS_SNAPSHOT_SIDES = HAS_LONG_BIDS | HAS_LONG_ASKS
    B_KEYS = HAS_BIDS | HAS_BID | HAS_BUYER
    A_KEYS = HAS_ASKS | HAS_ASK | HAS_SELLER
    DEPTH_KEYS = HAS_EVENT_TIME | HAS_FIRST | HAS_FINAL | HAS_BIDS | HAS_ASKS | HAS_SYMBOL
    QUOTE_KEYS = HAS_FINAL | HAS_BID | HAS_ASK | HAS_BID_QTY | HAS_ASK_QTY | HAS_SYMBOL
    TRADE_KEYS = HAS_EVENT_TIME | HAS_TRADE_ID | HAS_PRICE | HAS_QTY | HAS_MAKER | HAS_SYMBOL
    AGGREGATE_KEYS = HAS_EVENT_TIME | HAS_SELLER | HAS_LAST | HAS_PRICE | HAS_QTY | HAS_MAKER | HAS_SYMBOL
    MARK_KEYS = HAS_EVENT_TIME | HAS_PRICE | HAS_SYMBOL
    SNAPSHOT_KEYS = HAS_SNAPSHOT_ID | HAS_BIDS | HAS_ASKS | HAS_SNAPSHOT_SIDES
    DATA_KEYS_MAX = 24

cdef enum:
    EVENT_NONE, EVENT_DEPTH, EVENT_QUOTE, EVENT_TRADE, EVENT_AGGREGATE, EVENT_MARK


cdef struct Settings:
    int price_scale
    int qty_scale
    bint futures
    bint aggregate  # Prints are those of aggTrade, not of trade.
    int64_t clock_offset_ns
    int64_t assumed_latency_ns
    int instrument
    int source
    Text symbol
    Text stream_symbol
    Py_ssize_t symbol_size


cdef struct Message:
    unsigned int has
    int event
    bint wrapped
    bint maker
    int64_t event_time
    int64_t time
    int64_t first
    int64_t final
    int64_t previous
    int64_t trade_id
    int64_t last_trade
    int64_t number_a  # `a` as a number: of an aggregated trade its id.
    int64_t snapshot_id
    int64_t bid
    int64_t bid_qty
    int64_t ask
    int64_t ask_qty
    Text price
    Text qty
    Text index
    Text rate
    Text origin
    Py_ssize_t levels


cdef inline Text levels(Text at, int side, Settings* settings, Row* out, Py_ssize_t* count) noexcept nogil:
    """List of ["price", "quantity"] pairs as half-filled rows out[count:]."""
    cdef Row* row
    at = spaces(at + 1)
    if at[0] == c']':
        return at + 1
    while True:
        if at[0] != c'[':
            return NULL
        row = &out[count[0]]
        at = decimal(spaces(at + 1), settings.price_scale, &row.price)
        if at == NULL or row.price == 0:
            return NULL
        at = spaces(at)
        if at[0] != c',':
            return NULL
        at = decimal(spaces(at + 1), settings.qty_scale, &row.qty)
        if at == NULL:
            return NULL
        at = spaces(at)
        if at[0] != c']':
            return NULL
        row.side = <char>side
        count[0] += 1
        at = spaces(at + 1)
        if at[0] == c']':
            return at + 1
        if at[0] != c',':
            return NULL
        at = spaces(at + 1)


cdef inline Text stated(Message* message, unsigned int bit, unsigned int excludes, Text after) noexcept nogil:
    """Mark a key as seen; NULL when it was already."""
    if after == NULL or message.has & excludes:
        return NULL
    message.has |= bit
    return after


cdef inline Text side_value(Text at, bint bid, Settings* settings, Message* message, Row* out) noexcept nogil:
    """Value of `b` or `a`: levels, a price or an order id."""
    cdef int64_t number
    cdef unsigned int keys = B_KEYS if bid else A_KEYS
    if at[0] == c'[':
        at = levels(at, 1 if bid else -1, settings, out, &message.levels)
        return stated(message, HAS_BIDS if bid else HAS_ASKS, keys, at)
    if at[0] == c'"':
        at = decimal(at, settings.price_scale, &message.bid if bid else &message.ask)
        return stated(message, HAS_BID if bid else HAS_ASK, keys, at)
    at = integer(at, &number)
    if not bid:
        message.number_a = number
    return stated(message, HAS_BUYER if bid else HAS_SELLER, keys, at)


cdef inline Text event_value(Text at, Message* message) noexcept nogil:
    cdef Text after
    if at[0] != c'"':
        return NULL
    if at[1] == c'd':
        after = literal(at, b'"depthUpdate"')
        message.event = EVENT_DEPTH
    elif at[1] == c'b':
        after = literal(at, b'"bookTicker"')
        message.event = EVENT_QUOTE
    elif at[1] == c't':
        after = literal(at, b'"trade"')
        message.event = EVENT_TRADE
    elif at[1] == c'a':
        after = literal(at, b'"aggTrade"')
        message.event = EVENT_AGGREGATE
    else:
        after = literal(at, b'"markPriceUpdate"')
        message.event = EVENT_MARK
    return stated(message, HAS_EVENT, HAS_EVENT, after)


cdef inline Text short_value(uint8_t key, Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
    """Value of a key of one character."""
    if key == c'E':
        return stated(message, HAS_EVENT_TIME, HAS_EVENT_TIME, integer(at, &message.event_time))
    if key == c'T':
        return stated(message, HAS_TIME, HAS_TIME, integer(at, &message.time))
    if key == c'u':
        return stated(message, HAS_FINAL, HAS_FINAL, integer(at, &message.final))
    if key == c'b' or key == c'a':
        return side_value(at, key == c'b', settings, message, out)
    if key == c'B':
        return stated(message, HAS_BID_QTY, HAS_BID_QTY, decimal(at, settings.qty_scale, &message.bid_qty))
    if key == c'A':
        return stated(message, HAS_ASK_QTY, HAS_ASK_QTY, decimal(at, settings.qty_scale, &message.ask_qty))
    if key == c's':
        if not same(at, settings.symbol, settings.symbol_size):
            return NULL
        return stated(message, HAS_SYMBOL, HAS_SYMBOL, at + settings.symbol_size + 2)
    if key == c'e':
        return event_value(at, message)
    if key == c'U':
        return stated(message, HAS_FIRST, HAS_FIRST, integer(at, &message.first))
    if key == c't':
        return stated(message, HAS_TRADE_ID, HAS_TRADE_ID, integer(at, &message.trade_id))
    if key == c'l':
        return stated(message, HAS_LAST, HAS_LAST, integer(at, &message.last_trade))
    # Read once the kind of message is known: a mark price has more decimals than a trade.
    if key == c'p':
        message.price = at
        return stated(message, HAS_PRICE, HAS_PRICE, plain_string(at))
    if key == c'q':
        message.qty = at
        return stated(message, HAS_QTY, HAS_QTY, plain_string(at))
    if key == c'i':
        message.index = at
        return stated(message, HAS_INDEX, HAS_INDEX, plain_string(at))
    if key == c'r':
        message.rate = at
        return stated(message, HAS_RATE, HAS_RATE, plain_string(at))
    if key == c'X':
        message.origin = at
        return stated(message, HAS_ORIGIN, HAS_ORIGIN, plain_string(at))
    if key == c'm':
        message.maker = at[0] == c't'
        return stated(message, HAS_MAKER, HAS_MAKER, literal(at, b"true" if message.maker else b"false"))
    return scalar(at)


cdef inline Text long_value(Text key, Py_ssize_t size, Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
    """Value of a key of several characters; key points at its opening quote."""
    if literal(key, b'"pu"') != NULL:
        return stated(message, HAS_PREVIOUS, HAS_PREVIOUS, integer(at, &message.previous))
    if literal(key, b'"bids"') != NULL or literal(key, b'"asks"') != NULL:
        message.has |= HAS_LONG_BIDS if key[1] == c'b' else HAS_LONG_ASKS
        if at[0] != c'[':
            return NULL
        return side_value(at, key[1] == c'b', settings, message, out)
    if literal(key, b'"lastUpdateId"') != NULL:
        return stated(message, HAS_SNAPSHOT_ID, HAS_SNAPSHOT_ID, integer(at, &message.snapshot_id))
    if literal(key, b'"symbol"') != NULL:
        if not same(at, settings.symbol, settings.symbol_size):
            return NULL
        return stated(message, HAS_SYMBOL, HAS_SYMBOL, at + settings.symbol_size + 2)
    # Keys that change what the message is.
    if literal(key, b'"stream"') != NULL or literal(key, b'"data"') != NULL or literal(key, b'"id"') != NULL:
        return NULL
    return scalar(at)


cdef inline Text read_object(Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
    """Fields of a flat object that opens at `at`; position after its closing brace, or NULL."""
    cdef Text key
    cdef Text after
    cdef int number
    if at[0] != c'{':
        return NULL
    at = spaces(at + 1)
    for number in range(DATA_KEYS_MAX):
        key = at
        after = plain_string(at)
        if after == NULL:
            return NULL
        at = spaces(after)
        if at[0] != c':':
            return NULL
        at = spaces(at + 1)
        if after - key == 3:
            at = short_value(key[1], at, settings, message, out)
        else:
            at = long_value(key, after - key, at, settings, message, out)
        if at == NULL:
            return NULL
        at = spaces(at)
        if at[0] == c'}':
            return at + 1
        if at[0] != c',':
            return NULL
        at = spaces(at + 1)
    return NULL
