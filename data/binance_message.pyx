"""One Binance message to 64-byte rows: the rules of each kind and of the chain of update ids, for recorded lines and live frames alike.

The caller finds where the message begins and ends and whose it is. What `message_rows` takes must give what
`binance_scan_py.LineDecoder` gives, which works on the same state; the rest it leaves to that, with nothing changed.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memmove, memset

from twinloop.data.binance_fields cimport (
    AGGREGATE_KEYS, DEPTH_KEYS, EVENT_AGGREGATE, EVENT_DEPTH, EVENT_MARK, EVENT_NONE, EVENT_QUOTE, EVENT_TRADE, HAS_EVENT_TIME, HAS_INDEX,
    HAS_ORIGIN, HAS_PREVIOUS, HAS_RATE, HAS_SNAPSHOT_ID, HAS_SNAPSHOT_SIDES, HAS_SYMBOL, HAS_TIME, MARK_KEYS, Message, QUOTE_KEYS,
    SNAPSHOT_KEYS, Settings, TRADE_KEYS, read_object,
)
from twinloop.data.json_text cimport DIGITS_MAX, Text, decimal, decimal_rounded, literal, plain_string
from twinloop.data.row cimport (
    FLAG_EVENT_END, FLAG_OFF_MARKET, KIND_FEED_GAP, KIND_FUNDING, KIND_LEVEL, KIND_MARK, KIND_QUOTE, KIND_SNAPSHOT_BEGIN,
    KIND_SNAPSHOT_END, KIND_SNAPSHOT_LEVEL, KIND_TRADE, ROW_FIELD_COUNT, ROW_FIELDS, Row,
)

from twinloop.data import binance_codes
from twinloop.kernels import rows as row_table

cdef int64_t TOLERANCE_NS = binance_codes.TIME_TOLERANCE_NS
# Venue times are milliseconds below, microseconds above the middle; both end before their nanoseconds leave int64.
cdef int64_t MS_MAX = 9 * 10**12
cdef int64_t US_MIN = 10**14
cdef int64_t US_MAX = 9 * 10**15
cdef int RATE_SCALE = binance_codes.RATE_SCALE
cdef int64_t GAP_UPDATE_IDS = binance_codes.GAP_UPDATE_IDS
cdef int64_t GAP_SNAPSHOT_OLD = binance_codes.GAP_SNAPSHOT_OLD


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


cdef Py_ssize_t aggregate_rows(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    """A run of fills at one price: its own id as sequence, the last of its trades as trade_id."""
    cdef Py_ssize_t count
    message.trade_id = message.number_a
    count = trade_rows(message, local_ns, venue_ns, settings, state, out)
    if count > 0:
        out.trade_id = message.last_trade
    return count


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


cdef inline Py_ssize_t rows_of_kind(Message* message, int64_t local_ns, int64_t venue_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    """Rows of a message whose fields and times are read, or -1."""
    if message.event == EVENT_NONE:
        if message.has & HAS_SNAPSHOT_ID:
            # Exactly lastUpdateId, bids, asks and perhaps times and a symbol; never one of the partial book streams.
            if not message.wrapped and message.has & ~(HAS_EVENT_TIME | HAS_TIME | HAS_SYMBOL) == SNAPSHOT_KEYS:
                return snapshot_rows(message, local_ns, venue_ns, settings, state, out)
        elif message.has & ~(HAS_EVENT_TIME | HAS_TIME) == QUOTE_KEYS:
            return quote_rows(message, local_ns, venue_ns, settings, state, out)
    elif message.has & HAS_SNAPSHOT_SIDES:
        return -1
    elif message.event == EVENT_DEPTH:
        if message.has & DEPTH_KEYS == DEPTH_KEYS:
            return depth_rows(message, local_ns, venue_ns, settings, state, out)
    elif message.levels > 0:
        return -1
    elif message.event == EVENT_QUOTE:
        if message.has & QUOTE_KEYS == QUOTE_KEYS:
            return quote_rows(message, local_ns, venue_ns, settings, state, out)
    elif message.event == EVENT_TRADE:
        if not settings.aggregate and message.has & TRADE_KEYS == TRADE_KEYS:
            return trade_rows(message, local_ns, venue_ns, settings, state, out)
    elif message.event == EVENT_AGGREGATE:
        if settings.aggregate and message.has & AGGREGATE_KEYS == AGGREGATE_KEYS:
            return aggregate_rows(message, local_ns, venue_ns, settings, state, out)
    elif message.has & MARK_KEYS == MARK_KEYS:
        return mark_rows(message, local_ns, venue_ns, settings, state, out)
    return -1


cdef Py_ssize_t message_rows(Text at, Text stop, int64_t local_ns, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    """Rows of the message in at..stop, or -1, with nothing changed, to leave it to the twin.

    stop[0] must be readable and no part of a number, a space or a string's text: a line feed, a carriage return or a zero.
    out has room for (stop - at) / ROW_BYTES_MIN + ROWS_EXTRA rows.
    """
    cdef Message message
    cdef int64_t venue_ns
    cdef Text data
    cdef Text after
    cdef Py_ssize_t count
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
    if after != stop or not times_fit(&message, local_ns, &venue_ns, state):
        return -1
    count = rows_of_kind(&message, local_ns, venue_ns, settings, state, out)
    if count >= 0:
        state[LAST_SEEN] = local_ns
        state[LINES] += 1
    return count


def check_settings(price_scale: int, qty_scale: int, instrument_slot: int, source: int) -> None:
    """ValueError for what does not fit a row."""
    if not 0 <= price_scale <= DIGITS_MAX or not 0 <= qty_scale <= DIGITS_MAX:
        raise ValueError(f"scales must be 0 to {DIGITS_MAX}, got {price_scale} and {qty_scale}")
    if not 0 <= instrument_slot < 65536 or not 0 <= source < 256:
        raise ValueError(f"slots must fit 16 and 8 bits, got {instrument_slot} and {source}")


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
