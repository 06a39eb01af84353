"""Compiled scanner of recorded Binance lines: bytes to 64-byte rows, no Python object per message.

It reads the usual shapes of a line (any order of keys, optional spaces) and stops at anything else: the caller hands that
one line to `binance_scan_py.LineDecoder`, which defines what lines mean and works on the same state. So a line the scanner
takes must give what the twin gives. Inner functions walk a pointer and need no end test: they are called on lines that end
in a line feed, at which every loop and every comparison stops.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memmove, memset

from twinloop.data.row cimport (
    FLAG_EVENT_END, FLAG_OFF_MARKET, KIND_FEED_GAP, KIND_FUNDING, KIND_LEVEL, KIND_MARK, KIND_QUOTE, KIND_SNAPSHOT_BEGIN,
    KIND_SNAPSHOT_END, KIND_SNAPSHOT_LEVEL, KIND_TRADE, ROW_FIELD_COUNT, ROW_FIELDS, ROW_SIZE, Row,
)

from twinloop.data import binance_codes
from twinloop.kernels import rows as row_table

ctypedef const uint8_t* Text

# Slots of the state; compared with binance_codes.SLOTS below.
cdef enum:
    LAST_LOCAL, LAST_SEEN, FIRST_UPDATE, LAST_UPDATE, LAST_TRADE, LAST_QUOTE, SNAPSHOT_ID, FUNDING_TIME, FUNDING_RATE
    FUNDING_MARK
    LINES, KEPT, QUARANTINED, BLANK, ANSWER, OTHER_SYMBOL, OTHER_EVENT, EMPTY, DUPLICATE
    DEPTH, QUOTE, TRADE, MARK, SNAPSHOT
    DEPTH_GAPS, TRADE_GAPS, TRADES_BACK, QUOTES_BACK, LOCAL_BACK, CROSSED, UNTIMED, ROUNDED, FALLBACK
    SLOT_COUNT

# Why a scan stopped.
cdef enum:
    STOP_END, STOP_LINE, STOP_FULL
END = STOP_END
LINE = STOP_LINE
FULL = STOP_FULL

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
    HAS_SNAPSHOT_SIDES = HAS_LONG_BIDS | HAS_LONG_ASKS
    B_KEYS = HAS_BIDS | HAS_BID | HAS_BUYER
    A_KEYS = HAS_ASKS | HAS_ASK | HAS_SELLER
    DEPTH_KEYS = HAS_EVENT_TIME | HAS_FIRST | HAS_FINAL | HAS_BIDS | HAS_ASKS | HAS_SYMBOL
    QUOTE_KEYS = HAS_FINAL | HAS_BID | HAS_ASK | HAS_BID_QTY | HAS_ASK_QTY | HAS_SYMBOL
    TRADE_KEYS = HAS_EVENT_TIME | HAS_TRADE_ID | HAS_PRICE | HAS_QTY | HAS_MAKER | HAS_SYMBOL
    MARK_KEYS = HAS_EVENT_TIME | HAS_PRICE | HAS_SYMBOL
    SNAPSHOT_KEYS = HAS_SNAPSHOT_ID | HAS_BIDS | HAS_ASKS | HAS_SNAPSHOT_SIDES
    DATA_KEYS_MAX = 24

cdef enum:
    EVENT_NONE, EVENT_DEPTH, EVENT_QUOTE, EVENT_TRADE, EVENT_MARK

cdef enum:
    DIGITS_MAX = 18
    ROW_BYTES_MIN = 8  # No level takes fewer bytes of a line.
    ROWS_EXTRA = 4

cdef int64_t TOLERANCE_NS = binance_codes.TIME_TOLERANCE_NS
# Venue times are milliseconds below, microseconds above the middle; both end before their nanoseconds leave int64.
cdef int64_t MS_MAX = 9 * 10**12
cdef int64_t US_MIN = 10**14
cdef int64_t US_MAX = 9 * 10**15
cdef int RATE_SCALE = binance_codes.RATE_SCALE
cdef int64_t GAP_UPDATE_IDS = binance_codes.GAP_UPDATE_IDS
cdef int64_t GAP_SNAPSHOT_OLD = binance_codes.GAP_SNAPSHOT_OLD
cdef int64_t[19] POW10
POW10[0] = 1
cdef int _digit
for _digit in range(1, 19):
    POW10[_digit] = POW10[_digit - 1] * 10


cdef struct Settings:
    int price_scale
    int qty_scale
    bint futures
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


cdef inline Text spaces(Text at) noexcept nogil:
    while at[0] == c' ':
        at += 1
    return at


cdef inline Text literal(Text at, const char* expected) noexcept nogil:
    """Position after the expected characters, or NULL."""
    while expected[0]:
        if at[0] != <uint8_t>expected[0]:
            return NULL
        at += 1
        expected += 1
    return at


cdef inline Text plain_string(Text at) noexcept nogil:
    """Position after the closing quote of a string that opens at `at`; NULL unless plain ASCII without escapes."""
    if at[0] != c'"':
        return NULL
    at += 1
    while at[0] != c'"':
        if at[0] < 0x20 or at[0] > 0x7E or at[0] == c'\\':
            return NULL
        at += 1
    return at + 1


cdef inline Text integer(Text at, int64_t* value) noexcept nogil:
    """JSON integer >= 0 of at most 18 digits."""
    cdef Text start = at
    cdef uint64_t found = 0
    cdef unsigned int digit = at[0] - <unsigned int>c'0'
    while digit <= 9:
        found = found * 10 + digit
        at += 1
        digit = at[0] - <unsigned int>c'0'
    if at == start or at - start > DIGITS_MAX or (start[0] == c'0' and at - start > 1):
        return NULL
    if at[0] == c'.' or at[0] == c'e' or at[0] == c'E':
        return NULL
    value[0] = <int64_t>found
    return at


cdef inline Text decimal(Text at, int scale, int64_t* value) noexcept nogil:
    """Quoted plain decimal as an exact scaled integer; NULL when it has another form or does not fit."""
    cdef Text start
    cdef uint64_t found = 0
    cdef unsigned int digit
    cdef int missing = scale
    if at[0] != c'"':
        return NULL
    at += 1
    start = at
    digit = at[0] - <unsigned int>c'0'
    while digit <= 9:
        found = found * 10 + digit
        at += 1
        digit = at[0] - <unsigned int>c'0'
    if at == start or at - start + scale > DIGITS_MAX:
        return NULL
    if at[0] == c'.':
        at += 1
        start = at
        digit = at[0] - <unsigned int>c'0'
        while digit <= 9 and missing > 0:
            found = found * 10 + digit
            missing -= 1
            at += 1
            digit = at[0] - <unsigned int>c'0'
        while at[0] == c'0':
            at += 1
        if at == start or at - start > 2 * DIGITS_MAX:
            return NULL
    if at[0] != c'"':
        return NULL
    value[0] = <int64_t>found * POW10[missing]
    return at + 1


cdef inline bint decimal_rounded(Text at, int scale, int64_t* value, bint* rounded) noexcept nogil:
    """Quoted decimal, optional minus, to the nearest scaled integer, half to even; False when it does not fit."""
    cdef bint negative = at[1] == c'-'
    cdef Text start
    cdef uint64_t found = 0
    cdef int missing = scale
    cdef int first_lost = 0
    cdef bint more_lost = False
    at += 2 if negative else 1
    start = at
    while c'0' <= at[0] <= c'9':
        found = found * 10 + (at[0] - c'0')
        at += 1
    if at == start or at - start + scale >= DIGITS_MAX:
        return False
    if at[0] == c'.':
        at += 1
        start = at
        while c'0' <= at[0] <= c'9':
            if missing > 0:
                found = found * 10 + (at[0] - c'0')
                missing -= 1
            elif at - start == scale:
                first_lost = at[0] - c'0'
            elif at[0] != c'0':
                more_lost = True
            at += 1
        if at == start or at - start > 2 * DIGITS_MAX:
            return False
    if at[0] != c'"':
        return False
    found *= POW10[missing]
    if first_lost > 5 or (first_lost == 5 and (more_lost or found % 2 == 1)):
        found += 1
    rounded[0] = first_lost > 0 or more_lost
    value[0] = -(<int64_t>found) if negative else <int64_t>found
    return True


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


cdef inline Text scalar(Text at) noexcept nogil:
    """Position after a string, plain number, true, false or null whose value nobody needs."""
    cdef Text start
    if at[0] == c'"':
        return plain_string(at)
    if at[0] == c't':
        return literal(at, b"true")
    if at[0] == c'f':
        return literal(at, b"false")
    if at[0] == c'n':
        return literal(at, b"null")
    if at[0] == c'-':
        at += 1
    start = at
    while c'0' <= at[0] <= c'9':
        at += 1
    if at == start or (start[0] == c'0' and at - start > 1) or at - start > DIGITS_MAX:
        return NULL
    if at[0] == c'.':
        at += 1
        start = at
        while c'0' <= at[0] <= c'9':
            at += 1
        if at == start:
            return NULL
    return at if at[0] == c',' or at[0] == c'}' or at[0] == c' ' else NULL


cdef inline bint same(Text at, Text expected, Py_ssize_t size) noexcept nogil:
    """Whether the quoted string that opens at `at` is the expected one."""
    cdef Py_ssize_t i
    if at[0] != c'"':
        return False
    for i in range(size):
        if at[1 + i] != expected[i]:
            return False
    return at[1 + size] == c'"'


cdef inline Text stated(Message* message, unsigned int bit, unsigned int excludes, Text after) noexcept nogil:
    """Mark a key as seen; NULL when it was already."""
    if after == NULL or message.has & excludes:
        return NULL
    message.has |= bit
    return after


cdef Text side_value(Text at, bint bid, Settings* settings, Message* message, Row* out) noexcept nogil:
    """Value of `b` or `a`: levels, a price or an order id."""
    cdef int64_t ignored
    cdef unsigned int keys = B_KEYS if bid else A_KEYS
    if at[0] == c'[':
        at = levels(at, 1 if bid else -1, settings, out, &message.levels)
        return stated(message, HAS_BIDS if bid else HAS_ASKS, keys, at)
    if at[0] == c'"':
        at = decimal(at, settings.price_scale, &message.bid if bid else &message.ask)
        return stated(message, HAS_BID if bid else HAS_ASK, keys, at)
    return stated(message, HAS_BUYER if bid else HAS_SELLER, keys, integer(at, &ignored))


cdef Text event_value(Text at, Message* message) noexcept nogil:
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
    else:
        after = literal(at, b'"markPriceUpdate"')
        message.event = EVENT_MARK
    return stated(message, HAS_EVENT, HAS_EVENT, after)


cdef Text short_value(uint8_t key, Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
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


cdef Text long_value(Text key, Py_ssize_t size, Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
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


cdef Text read_object(Text at, Settings* settings, Message* message, Row* out) noexcept nogil:
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


cdef inline int64_t venue_time(int64_t value) noexcept nogil:
    """Nanoseconds of a venue's milliseconds or microseconds; 0 when out of range."""
    if 0 < value < MS_MAX:
        return value * 1000000
    if US_MIN <= value < US_MAX:
        return value * 1000
    return 0


cdef inline bint near(int64_t one, int64_t other) noexcept nogil:
    return -TOLERANCE_NS <= one - other <= TOLERANCE_NS


cdef inline bint times_fit(Message* message, int64_t local_ns, int64_t* venue_ns, int64_t* state) noexcept nogil:
    """Find the message's venue time (0: it states none); False when a time is out of range or disagrees."""
    cdef int64_t event_ns = 0
    venue_ns[0] = 0
    if state[LAST_LOCAL] - local_ns > TOLERANCE_NS:
        return False
    if message.has & HAS_EVENT_TIME:
        event_ns = venue_time(message.event_time)
        if event_ns == 0:
            return False
        venue_ns[0] = event_ns
    if message.has & HAS_TIME and message.event != EVENT_MARK:
        venue_ns[0] = venue_time(message.time)
        if venue_ns[0] == 0:
            return False
    if venue_ns[0] > 0:
        return near(local_ns, venue_ns[0])
    if state[LAST_SEEN] == 0:
        return True
    return near(local_ns, state[LAST_SEEN]) or near(local_ns, state[LAST_LOCAL])


cdef inline void keep(int64_t local_ns, int64_t venue_ns, int slot, Settings* settings, int64_t* state, Row* header) noexcept nogil:
    """Count a kept line and fill the header its rows share."""
    if local_ns < state[LAST_LOCAL]:
        state[LOCAL_BACK] += 1
        local_ns = state[LAST_LOCAL]
    state[LAST_LOCAL] = local_ns
    state[slot] += 1
    state[KEPT] += 1
    local_ns += settings.clock_offset_ns
    if venue_ns == 0:
        state[UNTIMED] += 1
        if settings.assumed_latency_ns >= 0:
            venue_ns = local_ns - settings.assumed_latency_ns
    memset(header, 0, sizeof(Row))
    header.venue_ns = venue_ns
    header.local_ns = local_ns
    header.instrument = <unsigned short>settings.instrument
    header.source = <uint8_t>settings.source


cdef inline void spread(Row* header, int kind, int64_t update_id, Row* out, Py_ssize_t count) noexcept nogil:
    """Give half-filled level rows the rest of their fields."""
    cdef Py_ssize_t i
    cdef Row row = header[0]
    row.kind = <uint8_t>kind
    row.sequence = update_id
    row.update_id = update_id
    for i in range(count):
        row.side = out[i].side
        row.price = out[i].price
        row.qty = out[i].qty
        out[i] = row


cdef Py_ssize_t depth_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    cdef Row header
    cdef int64_t last = state[LAST_UPDATE]
    cdef int64_t snapshot = state[SNAPSHOT_ID]
    cdef int64_t previous = message.previous if settings.futures else message.first - 1
    cdef bint linked = previous == last
    if ((message.has & HAS_PREVIOUS) != 0) != settings.futures or message.final == 0 or message.first > message.final:
        return -1
    if message.final == last:
        state[DUPLICATE] += 1
        return 0
    if not linked:
        if snapshot:
            linked = snapshot >= last and message.first <= snapshot + 1 and message.final >= snapshot
        else:
            linked = last == 0
    state[LAST_UPDATE] = message.final
    if last == 0 or not linked:
        state[FIRST_UPDATE] = message.first
    if not linked:
        state[DEPTH_GAPS] += 1
    if message.levels == 0 and linked:
        state[EMPTY] += 1
        return 0
    keep(local_ns, venue_ns, DEPTH, settings, state, &header)
    spread(&header, KIND_LEVEL, message.final, out, message.levels)
    if message.levels:
        out[message.levels - 1].flags = FLAG_EVENT_END
    if linked:
        return message.levels
    memmove(out + 1, out, message.levels * sizeof(Row))
    header.kind = KIND_FEED_GAP
    header.sequence = last
    header.code = GAP_UPDATE_IDS
    out[0] = header
    return message.levels + 1


cdef Py_ssize_t snapshot_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    cdef Row header
    cdef int64_t update_id = message.snapshot_id
    cdef bint old = state[LAST_UPDATE] > 0 and update_id + 1 < state[FIRST_UPDATE]
    cdef Py_ssize_t count = message.levels + 2
    if update_id == 0:
        return -1
    state[SNAPSHOT_ID] = update_id
    keep(local_ns, venue_ns, SNAPSHOT, settings, state, &header)
    header.sequence = update_id
    header.update_id = update_id
    spread(&header, KIND_SNAPSHOT_LEVEL, update_id, out, message.levels)
    memmove(out + 1, out, message.levels * sizeof(Row))
    header.kind = KIND_SNAPSHOT_BEGIN
    out[0] = header
    header.kind = KIND_SNAPSHOT_END
    out[count - 1] = header
    if old:
        state[DEPTH_GAPS] += 1
        header.kind = KIND_FEED_GAP
        header.update_id = 0
        header.code = GAP_SNAPSHOT_OLD
        out[count] = header
        count += 1
    return count


cdef Py_ssize_t quote_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    cdef int64_t last = state[LAST_QUOTE]
    if (message.bid == 0 and message.bid_qty > 0) or (message.ask == 0 and message.ask_qty > 0):
        return -1
    if message.final == last and last > 0:
        state[DUPLICATE] += 1
        return 0
    if message.final < last:
        state[QUOTES_BACK] += 1
    state[LAST_QUOTE] = message.final
    if message.bid >= message.ask > 0:
        state[CROSSED] += 1
    keep(local_ns, venue_ns, QUOTE, settings, state, out)
    out.kind = KIND_QUOTE
    out.sequence = message.final
    out.bid = message.bid
    out.bid_qty = message.bid_qty
    out.ask = message.ask
    out.ask_qty = message.ask_qty
    return 1


cdef Py_ssize_t trade_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    cdef int64_t price
    cdef int64_t qty
    cdef int64_t last = state[LAST_TRADE]
    cdef bint off_market = message.has & HAS_ORIGIN and literal(message.origin, b'"MARKET"') == NULL
    if decimal(message.price, settings.price_scale, &price) == NULL or decimal(message.qty, settings.qty_scale, &qty) == NULL:
        return -1
    if not off_market and (price == 0 or qty == 0):
        return -1
    if message.trade_id == last and last > 0:
        state[DUPLICATE] += 1
        return 0
    if message.trade_id < last:
        state[TRADES_BACK] += 1
    elif last and message.trade_id > last + 1:
        state[TRADE_GAPS] += 1
    state[LAST_TRADE] = message.trade_id
    keep(local_ns, venue_ns, TRADE, settings, state, out)
    out.kind = KIND_TRADE
    out.sequence = message.trade_id
    out.side = -1 if message.maker else 1
    out.flags = FLAG_OFF_MARKET if off_market else 0
    out.price = price
    out.qty = qty
    out.trade_id = message.trade_id
    return 1


cdef Py_ssize_t mark_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    cdef int64_t price
    cdef int64_t index = 0
    cdef int64_t rate = 0
    cdef int64_t due = state[FUNDING_TIME]
    cdef int64_t funding_ns = 0
    cdef bint lost = False
    cdef bint rounded = False
    cdef Py_ssize_t count = 0
    if not decimal_rounded(message.price, settings.price_scale, &price, &lost) or price <= 0:
        return -1
    rounded |= lost
    if message.has & HAS_INDEX:
        if not decimal_rounded(message.index, settings.price_scale, &index, &lost) or index < 0:
            return -1
        rounded |= lost
    if message.has & HAS_RATE and message.rate[1] != c'"':
        if not decimal_rounded(message.rate, RATE_SCALE, &rate, &lost):
            return -1
        rounded |= lost
    if message.has & HAS_TIME and message.time != 0:
        funding_ns = venue_time(message.time)
        if funding_ns == 0:
            return -1
    state[ROUNDED] += rounded
    keep(local_ns, venue_ns, MARK, settings, state, out)
    if 0 < due < funding_ns and due <= venue_ns:
        out[1] = out[0]
        out[0].kind = KIND_FUNDING
        out[0].venue_ns = due
        out[0].price = state[FUNDING_MARK]
        out[0].rate = state[FUNDING_RATE]
        count = 1
    out[count].kind = KIND_MARK
    out[count].price = price
    out[count].index_price = index
    state[FUNDING_TIME] = funding_ns
    state[FUNDING_RATE] = rate
    state[FUNDING_MARK] = price
    return count + 1


cdef inline Text receive_time(Text at, int64_t* local_ns) noexcept nogil:
    """Nanoseconds of 13, 16 or 19 digits and a space; position after them, or NULL."""
    cdef Text start = at
    cdef uint64_t found = 0
    cdef Py_ssize_t size
    while c'0' <= at[0] <= c'9':
        found = found * 10 + (at[0] - c'0')
        at += 1
    size = at - start
    if size == 16:
        found *= 1000
    elif size == 13:
        found *= 1000000
    elif size != 19:
        return NULL
    if at[0] != c' ' or not 0 < found < <uint64_t>9000000000000000000:
        return NULL
    local_ns[0] = <int64_t>found
    return at + 1


cdef inline bint other_stream(Text at, Settings* settings) noexcept nogil:
    """Whether the message is wrapped as one of another symbol's streams."""
    cdef Py_ssize_t i
    cdef Text start
    at = literal(at, b'{"stream":"')
    if at == NULL:
        return False
    start = at
    while c'a' <= at[0] <= c'z' or c'0' <= at[0] <= c'9' or at[0] == c'_':
        at += 1
    if at == start or at[0] != c'@':
        return False
    if at - start != settings.symbol_size:
        return True
    for i in range(settings.symbol_size):
        if start[i] != settings.stream_symbol[i]:
            return True
    return False


cdef Py_ssize_t scan_line(Text at, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    """Rows of one line that ends in a line feed, or -1, with nothing changed, to leave it to the twin."""
    cdef Message message
    cdef int64_t local_ns
    cdef int64_t venue_ns
    cdef Text data
    cdef Text after
    cdef Py_ssize_t count
    at = receive_time(at, &local_ns)
    if at == NULL:
        return -1
    if other_stream(at, settings):
        state[OTHER_SYMBOL] += 1
        state[LAST_SEEN] = local_ns
        return 0
    memset(&message, 0, sizeof(Message))
    data = literal(at, b'{"stream":"')
    if data != NULL:
        message.wrapped = True
        data = plain_string(data - 1)
        if data == NULL:
            return -1
        data = literal(data, b',"data":')
        if data == NULL:
            return -1
        after = read_object(data, settings, &message, out)
        if after == NULL or after[0] != c'}':
            return -1
        after += 1
    else:
        after = read_object(at, settings, &message, out)
        if after == NULL:
            return -1
    if after[0] == c'\r':
        after += 1
    if after[0] != c'\n':
        return -1
    if not times_fit(&message, local_ns, &venue_ns, state):
        return -1
    count = -1
    if message.event == EVENT_NONE:
        if message.has & HAS_SNAPSHOT_ID:
            # Exactly lastUpdateId, bids, asks and perhaps times and a symbol; never one of the partial book streams.
            if not message.wrapped and message.has & ~(HAS_EVENT_TIME | HAS_TIME | HAS_SYMBOL) == SNAPSHOT_KEYS:
                count = snapshot_rows(&message, local_ns, venue_ns, settings, state, out)
        elif message.has & ~(HAS_EVENT_TIME | HAS_TIME) == QUOTE_KEYS:
            count = quote_rows(&message, local_ns, venue_ns, settings, state, out)
    elif message.has & HAS_SNAPSHOT_SIDES:
        return -1
    elif message.event == EVENT_DEPTH:
        if message.has & DEPTH_KEYS == DEPTH_KEYS:
            count = depth_rows(&message, local_ns, venue_ns, settings, state, out)
    elif message.levels > 0:
        return -1
    elif message.event == EVENT_QUOTE:
        if message.has & QUOTE_KEYS == QUOTE_KEYS:
            count = quote_rows(&message, local_ns, venue_ns, settings, state, out)
    elif message.event == EVENT_TRADE:
        if message.has & TRADE_KEYS == TRADE_KEYS:
            count = trade_rows(&message, local_ns, venue_ns, settings, state, out)
    elif message.has & MARK_KEYS == MARK_KEYS:
        count = mark_rows(&message, local_ns, venue_ns, settings, state, out)
    if count >= 0:
        state[LAST_SEEN] = local_ns
    return count


cdef class Scanner:
    """Scans chunks of whole lines of one instrument's file.

    symbol: as the venue writes it. futures: whether depth updates carry `pu`. state: (STATE_SIZE,) int64, shared with the
    twin and changed in place. The other arguments are those of LineDecoder.
    """

    cdef Settings settings
    cdef bytes symbol
    cdef bytes stream_symbol
    cdef int64_t[::1] state

    def __init__(
        self, symbol: str, price_scale: int, qty_scale: int, *, futures: bool, clock_offset_ns: int,
        assumed_latency_ns: int, instrument_slot: int, source: int, state,
    ) -> None:
        self.state = state
        if self.state.shape[0] != SLOT_COUNT:
            raise ValueError(f"state must have {SLOT_COUNT} slots, got {self.state.shape[0]}")
        if not 0 <= price_scale <= DIGITS_MAX or not 0 <= qty_scale <= DIGITS_MAX:
            raise ValueError(f"scales must be 0 to {DIGITS_MAX}, got {price_scale} and {qty_scale}")
        if not 0 <= instrument_slot < 65536 or not 0 <= source < 256:
            raise ValueError(f"slots must fit 16 and 8 bits, got {instrument_slot} and {source}")
        self.symbol = symbol.encode("ascii")
        self.stream_symbol = symbol.lower().encode("ascii")
        self.settings.price_scale = price_scale
        self.settings.qty_scale = qty_scale
        self.settings.futures = futures
        self.settings.clock_offset_ns = clock_offset_ns
        self.settings.assumed_latency_ns = assumed_latency_ns
        self.settings.instrument = instrument_slot
        self.settings.source = source
        self.settings.symbol = <Text><const char*>self.symbol
        self.settings.stream_symbol = <Text><const char*>self.stream_symbol
        self.settings.symbol_size = len(self.symbol)

    def scan(self, const uint8_t[::1] text, Py_ssize_t start, uint8_t[::1] out, Py_ssize_t used) -> tuple[int, int, int]:
        """Rows of the whole lines in text[start:], written to out from row `used` on.

        out: bytes of a ROW array. Returns (why it stopped, position in text, rows used). END: no line feed is left after
        the position. LINE: the line at the position is for the twin. FULL: it needs more room than is left, which is
        `(line length) // 8 + 4` rows.
        """
        cdef Py_ssize_t position = start
        cdef Py_ssize_t size = text.shape[0]
        cdef Py_ssize_t capacity = out.shape[0] // ROW_SIZE
        cdef Py_ssize_t count
        cdef Text base
        cdef Text line_end
        cdef Row* rows_out
        cdef int64_t* state = &self.state[0]
        cdef int reason = STOP_END
        cdef Settings* settings = &self.settings
        if not 0 <= start <= size or not 0 <= used <= capacity:
            raise ValueError(f"start or used lies outside its buffer: {start} of {size}, {used} of {capacity}")
        if size == 0 or capacity == 0:
            return (STOP_END if size == 0 else STOP_FULL), start, used
        base = &text[0]
        rows_out = <Row*>&out[0]
        with nogil:
            while position < size:
                line_end = <Text>memchr(base + position, c'\n', size - position)
                if line_end == NULL:
                    break
                if capacity - used < (line_end - base - position) // ROW_BYTES_MIN + ROWS_EXTRA:
                    reason = STOP_FULL
                    break
                count = scan_line(base + position, settings, state, rows_out + used)
                if count < 0:
                    reason = STOP_LINE
                    break
                state[LINES] += 1
                used += count
                position = line_end - base + 1
        return reason, position, used


def row_layout() -> dict[str, tuple[int, int]]:
    """Offset and size of each field of the C struct, by name."""
    return {ROW_FIELDS[i].name.decode(): (ROW_FIELDS[i].offset, ROW_FIELDS[i].size) for i in range(ROW_FIELD_COUNT)}


_SLOTS = {
    "LAST_LOCAL": LAST_LOCAL, "LAST_SEEN": LAST_SEEN, "FIRST_UPDATE": FIRST_UPDATE, "LAST_UPDATE": LAST_UPDATE, "LAST_TRADE": LAST_TRADE, "LAST_QUOTE": LAST_QUOTE, "SNAPSHOT_ID": SNAPSHOT_ID, "FUNDING_TIME": FUNDING_TIME, "FUNDING_RATE": FUNDING_RATE, "FUNDING_MARK": FUNDING_MARK,
    "LINES": LINES, "KEPT": KEPT, "QUARANTINED": QUARANTINED, "BLANK": BLANK, "ANSWER": ANSWER, "OTHER_SYMBOL": OTHER_SYMBOL, "OTHER_EVENT": OTHER_EVENT, "EMPTY": EMPTY, "DUPLICATE": DUPLICATE,
    "DEPTH": DEPTH, "QUOTE": QUOTE, "TRADE": TRADE, "MARK": MARK, "SNAPSHOT": SNAPSHOT,
    "DEPTH_GAPS": DEPTH_GAPS, "TRADE_GAPS": TRADE_GAPS, "TRADES_BACK": TRADES_BACK, "QUOTES_BACK": QUOTES_BACK, "LOCAL_BACK": LOCAL_BACK, "CROSSED": CROSSED, "UNTIMED": UNTIMED, "ROUNDED": ROUNDED, "FALLBACK": FALLBACK,
}
assert _SLOTS == binance_codes.SLOTS
assert SLOT_COUNT == binance_codes.STATE_SIZE
assert sizeof(Row) == row_table.ROW.itemsize
assert row_layout() == {
    name: (offset, field.itemsize) for name, (field, offset, *_) in row_table.ROW.fields.items()
}
