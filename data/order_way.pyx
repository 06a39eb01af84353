"""The short way of a plain new order: a request's row to the frame that goes over the wire, in one call, where nothing speaks against it.

    way.learn(strategy, instrument, side, kind, flags, text, b"tl-1-0-", weight, closing=False)   # one that went the long way
    frame = way.frame(row, now_ns, mono_ns, number, high_water)   # None: the long way, which knows what is the matter

Nothing is changed here: what the gateway counts and remembers of the order it does after the frame has left (engine/gateway/gateway.py, which
is the twin). The numbers that speak against an order - clock, limits of the venue - are the gateway's own, read where it keeps them. This
module must not read a clock, know what a request means, or send anything.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from twinloop.data.order_text cimport ID_MAX, OrderText, Values
from twinloop.data.row cimport KIND_NEW, ROW_SIZE, Row

cdef extern from *:
    """static const char TWINLOOP_BASE36[] = "0123456789abcdefghijklmnopqrstuvwxyz";"""
    const char* BASE36 "TWINLOOP_BASE36"

cdef enum:
    MS_NS = 1000000
    MINUTE_NS = 60000000000
    HEAD_MAX = ID_MAX - 16  # Behind it: an order's number of at most 13 digits, and "-0".
    # Words of the venue's clock.
    AT_RELIABLE = 0
    AT_TAKEN = 1
    AT_WALL_LESS_MONO = 2
    AT_OFFSET = 3
    CLOCK_SIZE = 4
    # Words of the weight budget.
    AT_MINUTE = 0
    AT_USED = 1
    AT_OPEN = 2
    AT_CLOSING = 3
    AT_HELD_OFF = 4
    AT_BANNED = 5
    WEIGHT_SIZE = 6

RELIABLE = AT_RELIABLE
TAKEN = AT_TAKEN
WALL_LESS_MONO = AT_WALL_LESS_MONO
OFFSET = AT_OFFSET
CLOCK_WORDS = CLOCK_SIZE
MINUTE = AT_MINUTE
USED = AT_USED
OPEN = AT_OPEN
CLOSING = AT_CLOSING
HELD_OFF = AT_HELD_OFF
BANNED = AT_BANNED
WEIGHT_WORDS = WEIGHT_SIZE


cdef class Kind:
    """Orders of one strategy, instrument, side, type and instructions."""

    cdef OrderText text
    cdef uint8_t[ID_MAX] head
    cdef Py_ssize_t head_size
    cdef int64_t weight
    cdef bint closing


cdef class OrderWay:
    """clock, weight: int64 words, their places above. windows: (lengths in ns, numbers of the present ones, orders used, limits, limits of
    orders that only close), int64 each, of the account's orders per window. age_max_ns, step_max_ns: of the clock's last sample, and of the
    wall clock against the monotonic one since. sign: whether messages are signed.
    """

    cdef dict kinds
    cdef int64_t[::1] clock
    cdef int64_t[::1] weight
    cdef int64_t[::1] lengths
    cdef int64_t[::1] numbers
    cdef int64_t[::1] used
    cdef int64_t[::1] limits
    cdef int64_t[::1] closing_limits
    cdef int64_t age_max_ns, step_max_ns
    cdef bint sign
    cdef readonly int64_t order_id  # Of the last frame.
    cdef readonly int64_t instrument

    def __init__(self, clock, weight, windows, *, int64_t age_max_ns, int64_t step_max_ns, bint sign) -> None:
        self.kinds = {}
        self.clock, self.weight = clock, weight
        self.lengths, self.numbers, self.used, self.limits, self.closing_limits = windows
        if self.clock.shape[0] != CLOCK_SIZE or self.weight.shape[0] != WEIGHT_SIZE:
            raise ValueError(f"there are {CLOCK_SIZE} words of the clock and {WEIGHT_SIZE} of the weight, got {len(clock)} and {len(weight)}")
        if len({len(each) for each in windows}) != 1:
            raise ValueError("what is told of the windows must be of one length")
        self.age_max_ns, self.step_max_ns, self.sign = age_max_ns, step_max_ns, sign

    def learn(
        self, int strategy, int instrument, int side, int kind, int flags, OrderText text not None, bytes head not None, int64_t weight, *,
        bint closing,
    ) -> None:
        """Orders of a kind may come this way. head: of their client ids, up to the order's number; weight: what one costs."""
        cdef Kind made = Kind.__new__(Kind)
        if PyBytes_GET_SIZE(head) > HEAD_MAX:
            raise ValueError(f"the head of a client order id must have at most {HEAD_MAX} bytes, got {PyBytes_GET_SIZE(head)}")
        made.text, made.weight, made.closing = text, weight, closing
        made.head_size = PyBytes_GET_SIZE(head)
        memcpy(made.head, PyBytes_AS_STRING(head), made.head_size)
        self.kinds[kind_key(strategy, instrument, side, kind, flags)] = made

    def frame(self, bytes row not None, int64_t now_ns, int64_t mono_ns, int64_t number, int64_t high_water):
        """The frame of a request's row, or None. number: of the message; high_water: the largest order id that was asked for."""
        cdef const Row* asked = <const Row*>PyBytes_AS_STRING(row)
        cdef Values values
        cdef uint8_t[ID_MAX] client_id
        cdef Kind kind
        cdef int64_t venue_ns = now_ns + self.clock[AT_OFFSET]
        if PyBytes_GET_SIZE(row) != ROW_SIZE or asked.kind != KIND_NEW or asked.order_id <= high_water or asked.order_id <= 0:
            return None
        kind = self.kinds.get(kind_key(asked.strategy, asked.instrument, asked.side, asked.source, asked.flags))
        if kind is None or not self.may_go(kind, now_ns, mono_ns, venue_ns):
            return None
        memcpy(client_id, kind.head, kind.head_size)
        values.client_id_size = put_base36(client_id + kind.head_size, asked.order_id) - client_id
        memcpy(client_id + values.client_id_size, b"-0", 2)
        values.client_id, values.client_id_size = client_id, values.client_id_size + 2
        values.qty, values.price, values.trigger_price = asked.qty, asked.price, asked.trigger_price
        values.timestamp_ms, values.number = floor_ms(venue_ns), number
        self.order_id, self.instrument = asked.order_id, asked.instrument
        return kind.text.write_frame(&values, self.sign)

    cdef bint may_go(self, Kind kind, int64_t now_ns, int64_t mono_ns, int64_t venue_ns) noexcept:
        """Whether the clock may be relied on and every limit has room: ClockOffset.within, WeightBudget.takes, OrderBudget.takes."""
        cdef int64_t used = self.weight[AT_USED], step_ns = now_ns - mono_ns - self.clock[AT_WALL_LESS_MONO]
        cdef Py_ssize_t i
        if not self.clock[AT_RELIABLE] or mono_ns - self.clock[AT_TAKEN] > self.age_max_ns or not -self.step_max_ns <= step_ns <= self.step_max_ns:
            return False
        if venue_ns < 0 or venue_ns < self.weight[AT_HELD_OFF] or venue_ns < self.weight[AT_BANNED]:
            return False
        if venue_ns // <int64_t>MINUTE_NS > self.weight[AT_MINUTE]:
            used = 0
        if used + kind.weight > self.weight[AT_CLOSING if kind.closing else AT_OPEN]:
            return False
        for i in range(self.lengths.shape[0]):
            used = 0 if venue_ns // self.lengths[i] > self.numbers[i] else self.used[i]
            if used + 1 > (self.closing_limits[i] if kind.closing else self.limits[i]):
                return False
        return True


cdef inline int64_t kind_key(int strategy, int instrument, int side, int kind, int flags) noexcept nogil:
    return (
        <int64_t>(strategy & 255) << 40 | <int64_t>(instrument & 65535) << 24 | <int64_t>(side & 255) << 16 | (kind & 255) << 8 | (flags & 255)
    )


cdef inline int64_t floor_ms(int64_t ns) noexcept nogil:
    return ns // <int64_t>MS_NS  # Of a time that is not negative.


cdef inline uint8_t* put_base36(uint8_t* at, int64_t value) noexcept nogil:
    """As engine/gateway/client_ids.py base36."""
    cdef uint8_t[13] digits
    cdef uint64_t rest = <uint64_t>value
    cdef int count = 0
    while True:
        digits[count] = <uint8_t>BASE36[rest % 36]
        count += 1
        rest //= 36
        if rest == 0:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    return at
