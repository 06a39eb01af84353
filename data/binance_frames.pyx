"""Compiled scanner of live Binance frames: the bytes of one WebSocket message, of any of some instruments, to 64-byte rows.

    scanner = FrameScanner([("BTCUSDT", 1, 3, 0)], futures=True, aggregate=False, source=0, states=states, out=octets)
    count = scanner.scan(frame, local_ns)      # rows 0..count of out, of the instrument at scanner.place

A negative count is no error: UNUSUAL frames are for `binance_frames_py.FrameDecoder`, which defines what a frame means and works on the
same states, STRANGER is another symbol's, and TOO_SMALL asks for `frame_rows(size)` rows of room. No Python object is made on the way.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free

from twinloop.data.binance_message cimport ROWS_EXTRA, ROW_BYTES_MIN, SLOT_COUNT, message_rows
from twinloop.data.json_text cimport Text, literal, plain_string, scalar, spaces
from twinloop.data.row cimport ROW_SIZE, Row

from twinloop.data.binance_message import check_settings

NOT_USUAL = UNUSUAL
NOT_OURS = STRANGER
NO_ROOM = TOO_SMALL

cdef enum:
    KEYS_TO_SYMBOL_MAX = 8


def frame_rows(size: int) -> int:
    """Rows of room that a frame of so many bytes may need."""
    return size // ROW_BYTES_MIN + ROWS_EXTRA


cdef inline unsigned int step_hash(unsigned int found, uint8_t letter) noexcept nogil:
    return (found ^ letter) * 16777619u


cdef inline uint8_t lower(uint8_t letter) noexcept nogil:
    return letter + 32 if c'A' <= letter <= c'Z' else letter


cdef class FrameScanner:
    """Scans frames of some instruments, each (symbol, price scale, quantity scale, slot in the node).

    futures: whether depth updates carry `pu`. aggregate: whether prints are those of aggTrade. states: (instruments, STATE_SIZE) int64,
    shared with the twin and changed in place. out: bytes of a ROW array, which `into` may change.
    """

    def __cinit__(self, instruments, **_) -> None:
        cdef unsigned int size = 4
        while size < 4 * len(instruments):
            size *= 2
        self.mask = size - 1
        self.count = len(instruments)
        self.settings = <Settings*>calloc(self.count + 1, sizeof(Settings))
        self.streams = <Name*>calloc(self.count + 1, sizeof(Name))
        self.buckets = <int*>calloc(size, sizeof(int))
        if self.settings == NULL or self.streams == NULL or self.buckets == NULL:
            raise MemoryError

    def __dealloc__(self) -> None:
        free(self.settings)
        free(self.streams)
        free(self.buckets)

    def __init__(self, instruments, *, futures: bool, aggregate: bool, source: int, states, out) -> None:
        cdef Settings* its
        cdef unsigned int bucket
        cdef Py_ssize_t i
        self.states = states
        if self.states.shape[0] != self.count or self.states.shape[1] != SLOT_COUNT:
            raise ValueError(f"states must be ({self.count}, {SLOT_COUNT}), got {states.shape}")
        self.names = []
        self.place = -1
        for i, (symbol, price_scale, qty_scale, slot) in enumerate(instruments):
            check_settings(price_scale, qty_scale, slot, source)
            upper, stream = symbol.encode("ascii"), symbol.lower().encode("ascii")
            self.names += [upper, stream]
            its = &self.settings[i]
            its.price_scale, its.qty_scale, its.futures, its.aggregate = price_scale, qty_scale, futures, aggregate
            its.instrument, its.source = slot, source
            its.symbol = <Text><const char*>upper
            its.stream_symbol = <Text><const char*>stream
            its.symbol_size = len(upper)
            self.streams[i].text = its.stream_symbol
            self.streams[i].size = its.symbol_size
            bucket = 2166136261u
            for letter in stream:
                bucket = step_hash(bucket, letter)
            while self.buckets[bucket & self.mask]:
                bucket += 1
            self.buckets[bucket & self.mask] = i + 1
        self.into(out)

    def into(self, out) -> None:
        """Write rows there from now on."""
        self.out = out
        if self.out.shape[0] < ROW_SIZE:
            raise ValueError("out has no room for a row")

    def scan(self, bytes frame not None, int64_t local_ns) -> int:
        """Rows of a frame received then, written to out from its beginning; `place` says whose."""
        cdef Py_ssize_t count
        cdef Text text = <Text>PyBytes_AS_STRING(frame)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        with nogil:
            count = self.scan_into(text, size, local_ns, <Row*>&self.out[0], self.out.shape[0] // ROW_SIZE)
        return count

    def scan_of(self, place: int, bytes text not None, int64_t local_ns) -> int:
        """Rows of a text that is known to be of the instrument at a place: a snapshot."""
        cdef Py_ssize_t its = place
        if not 0 <= its < self.count:
            raise ValueError(f"place must be 0 to {self.count - 1}, got {place}")
        return self.scan_as(
            its, <Text>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), local_ns, <Row*>&self.out[0],
            self.out.shape[0] // ROW_SIZE,
        )

    cdef int place_by_stream(self, Text at) noexcept nogil:
        """Place of the instrument whose stream's name begins there; STRANGER, or UNUSUAL for what is no such name."""
        cdef Text start = at
        cdef unsigned int bucket = 2166136261u
        cdef int place
        cdef Py_ssize_t i
        while c'a' <= at[0] <= c'z' or c'0' <= at[0] <= c'9' or at[0] == c'_':
            bucket = step_hash(bucket, at[0])
            at += 1
        if at == start or at[0] != c'@':
            return UNUSUAL
        while True:
            place = self.buckets[bucket & self.mask] - 1
            if place < 0:
                return STRANGER
            if self.streams[place].size == at - start:
                i = 0
                while i < at - start and self.streams[place].text[i] == start[i]:
                    i += 1
                if i == at - start:
                    return place
            bucket += 1

    cdef int place_by_symbol(self, Text at) noexcept nogil:
        """Place of the instrument that a message names under `s` among its first keys; UNUSUAL where that is not plain."""
        cdef Text key
        cdef Text after
        cdef int number
        cdef int place
        cdef Py_ssize_t i
        cdef unsigned int bucket
        if at[0] != c'{':
            return UNUSUAL
        at = spaces(at + 1)
        for number in range(KEYS_TO_SYMBOL_MAX):
            key = at
            after = plain_string(at)
            if after == NULL:
                return UNUSUAL
            at = spaces(after)
            if at[0] != c':':
                return UNUSUAL
            at = spaces(at + 1)
            if after - key == 3 and key[1] == c's':
                after = plain_string(at)
                if after == NULL:
                    return UNUSUAL
                at += 1
                bucket = 2166136261u
                for i in range(after - 1 - at):
                    bucket = step_hash(bucket, lower(at[i]))
                while True:
                    place = self.buckets[bucket & self.mask] - 1
                    if place < 0:
                        return UNUSUAL
                    if self.settings[place].symbol_size == after - 1 - at:
                        i = 0
                        while i < after - 1 - at and self.settings[place].symbol[i] == at[i]:
                            i += 1
                        if i == after - 1 - at:
                            return place
                    bucket += 1
            at = scalar(at)
            if at == NULL:
                return UNUSUAL
            at = spaces(at)
            if at[0] != c',':
                return UNUSUAL
            at = spaces(at + 1)
        return UNUSUAL

    cdef Py_ssize_t scan_into(self, Text frame, Py_ssize_t size, int64_t local_ns, Row* out, Py_ssize_t capacity) noexcept nogil:
        """Rows of frame[:size], or a negative code with nothing changed. frame[size] must be a readable zero."""
        cdef Text name = literal(frame, b'{"stream":"')
        cdef int place = self.place_by_symbol(frame) if name == NULL else self.place_by_stream(name)
        self.place = place
        if place < 0:
            return place
        return self.scan_as(place, frame, size, local_ns, out, capacity)

    cdef Py_ssize_t scan_as(self, Py_ssize_t place, Text frame, Py_ssize_t size, int64_t local_ns, Row* out, Py_ssize_t capacity) noexcept nogil:
        if capacity < size // ROW_BYTES_MIN + ROWS_EXTRA:
            return TOO_SMALL
        if frame[size] != 0 or not 0 < local_ns < <int64_t>9000000000000000000:
            return UNUSUAL
        return message_rows(frame, frame + size, local_ns, &self.settings[place], &self.states[place, 0], out)
