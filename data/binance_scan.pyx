"""Compiled scanner of recorded Binance lines: bytes to 64-byte rows, no Python object per message.

It reads the usual shapes of a line (any order of keys, optional spaces) and stops at anything else: the caller hands that
one line to `binance_scan_py.LineDecoder`, which defines what lines mean and works on the same state. So a line the scanner
takes must give what the twin gives. What a message means stands in `binance_message`; here are receive times and lines.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr

from twinloop.data.binance_fields cimport Settings
from twinloop.data.binance_message cimport LAST_SEEN, LINES, OTHER_SYMBOL, ROWS_EXTRA, ROW_BYTES_MIN, SLOT_COUNT, message_rows
from twinloop.data.json_text cimport Text, literal
from twinloop.data.row cimport ROW_SIZE, Row

from twinloop.data.binance_message import check_settings

# Why a scan stopped.
cdef enum:
    STOP_END, STOP_LINE, STOP_FULL
END = STOP_END
LINE = STOP_LINE
FULL = STOP_FULL


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


cdef Py_ssize_t scan_line(Text at, Text stop, Settings* settings, int64_t* state, Row* out) noexcept nogil:
    """Rows of the line at..stop, behind which a line feed stands, or -1, with nothing changed, to leave it to the twin."""
    cdef int64_t local_ns
    at = receive_time(at, &local_ns)
    if at == NULL:
        return -1
    if other_stream(at, settings):
        state[OTHER_SYMBOL] += 1
        state[LAST_SEEN] = local_ns
        state[LINES] += 1
        return 0
    if (stop - 1)[0] == c'\r':
        stop -= 1
    return message_rows(at, stop, local_ns, settings, state, out)


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
        assumed_latency_ns: int, instrument_slot: int, source: int, state, aggregate: bool = False,
    ) -> None:
        self.state = state
        if self.state.shape[0] != SLOT_COUNT:
            raise ValueError(f"state must have {SLOT_COUNT} slots, got {self.state.shape[0]}")
        check_settings(price_scale, qty_scale, instrument_slot, source)
        self.symbol = symbol.encode("ascii")
        self.stream_symbol = symbol.lower().encode("ascii")
        self.settings.price_scale = price_scale
        self.settings.qty_scale = qty_scale
        self.settings.futures = futures
        self.settings.aggregate = aggregate
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
                count = scan_line(base + position, line_end, settings, state, rows_out + used)
                if count < 0:
                    reason = STOP_LINE
                    break
                used += count
                position = line_end - base + 1
        return reason, position, used
