"""One turn of a live node in one compiled call: rows to the kernel, what it handled to the journal, sealed.

    made = turn.handle(rows, monotonic_ns, wall_ns)   # how many requests it made, all of it sealed

    turn.take_frames(...); turn.frame(way, frame, ...) # the same from the bytes of a market's frame, received now

The usual turn only: a negative count says that engine/live/recorded.py has to do it, or go on with it, which is the twin and defines what a
turn is; of frames that is data/feed_arbiter.py. Clocks are read, and requests handed on, by what it was given for that. This module must not
know what rows mean.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from twinloop.data.binance_frames cimport FrameScanner
from twinloop.data.journal_write cimport IS_FINE, CommitBuffer
from twinloop.data.json_text cimport Text
from twinloop.data.row cimport KIND_CANCEL, KIND_HASH, KIND_LEVEL, KIND_NEW, KIND_QUOTE, KIND_TRADE, ROW_SIZE, Row

ctypedef void (*Door)(int64_t) noexcept nogil

cdef enum:
    # What is not a count of requests.
    IS_UNUSUAL = -1
    IS_BEGUN = -2
    IS_TAKEN = -2  # Of a frame: there is no more to do.
    # Places of the words shared with the twin.
    AT_REQUESTED = 0
    AT_DECISIONS = 1
    # Places of the counts.
    TURNS = 0
    FACTS = 1
    REQUESTS = 2
    REFUSED = 3
    KINDS = 4

UNUSUAL = IS_UNUSUAL  # Nothing was done.
BEGUN = IS_BEGUN  # The kernel was called once: collect what it handled since `head`, and go on.
TAKEN = IS_TAKEN
REQUESTED = AT_REQUESTED
DECISIONS = AT_DECISIONS
COUNT_TURNS = TURNS
COUNT_FACTS = FACTS
COUNT_REQUESTS = REQUESTS
COUNT_REFUSED = REFUSED
COUNT_KINDS = KINDS
COUNTS_SIZE = KINDS + 256


cdef class FrameWay:
    """How a connection's frames reach a node in one call, while its leg is the active one.

    waits: by place, whether its book waits for a snapshot. floors: by place, the last print given out, its id and venue time; changed here.
    place, kind, venue_ns, sequence: of the first row of the last frame taken. local_ns: when the last one was received. decoded: rows of a frame that was decoded and left to the twin,
    in the scanner's buffer; -1: the frame was not looked at.
    """

    cdef FrameScanner scanner
    cdef int64_t[::1] waits
    cdef int64_t[:, ::1] floors
    cdef bint depth
    cdef readonly int64_t decoded, local_ns, place, kind, venue_ns, sequence

    def __init__(self, FrameScanner scanner not None, waits, floors, *, bint depth) -> None:
        self.scanner, self.waits, self.floors, self.depth = scanner, waits, floors, depth
        if self.waits.shape[0] != scanner.count or self.floors.shape[0] != scanner.count or self.floors.shape[1] != 2:
            raise ValueError(f"waits and floors must be of {scanner.count} instruments, got {waits.shape} and {floors.shape}")
        self.decoded = -1

    cdef bint passes(self, const Row* rows, int64_t count, bint alone) noexcept nogil:
        """Whether rows may go to the node as they are; notes the print they are."""
        cdef Py_ssize_t place = self.scanner.place
        cdef uint8_t kind = rows[0].kind
        cdef int64_t floor
        if kind == KIND_TRADE:
            floor = self.floors[place, 0]
            # An older print, several, or others lost before it: those are to be looked at.
            if count != 1 or rows[0].trade_id <= floor or (not alone and 0 < floor < rows[0].trade_id - 1):
                return False
            self.floors[place, 0], self.floors[place, 1] = rows[0].trade_id, rows[0].venue_ns
        elif kind == KIND_LEVEL:
            if not self.depth or self.waits[place]:
                return False
        elif kind != KIND_QUOTE:
            return False
        self.place, self.kind, self.venue_ns, self.sequence = place, kind, rows[0].venue_ns, rows[0].sequence
        return True


cdef class LiveTurn:
    """A node's memory, its loop's door and its journal.

    door: address of a C function of an int64, the address of the call's record. words: addresses of int64 words by name, of that record and
    of the node. inbox, outbox: (address, rows), a power of two of them. done_status: the kernel's where every row was handled. marks: what the
    twin shares: the outbox row up to which requests were taken, and the decisions whose hash is sealed. counts: (COUNTS_SIZE,) int64.
    """

    cdef Door door
    cdef CommitBuffer journal
    cdef int64_t call, done_status, rows_max, inbox_rows, outbox_rows
    cdef int64_t *local
    cdef int64_t *local_count
    cdef int64_t *start
    cdef int64_t *call_rows_max
    cdef int64_t *status
    cdef int64_t *at
    cdef int64_t *inbox_head
    cdef int64_t *outbox_head
    cdef int64_t *outbox_tail
    cdef int64_t *verdict_count
    cdef int64_t *fill_count
    cdef int64_t *order_record_count
    cdef int64_t *equity_count
    cdef int64_t *records_full
    cdef int64_t *now_ns
    cdef int64_t *hash
    cdef int64_t *decision_number
    cdef Row* inbox
    cdef Row* outbox
    cdef int64_t[::1] marks
    cdef int64_t[::1] counts
    cdef readonly int64_t head  # Of the inbox before the last call of the kernel.
    cdef readonly int64_t cancels  # Among the last turn's requests.
    cdef readonly int64_t mark  # Of the last commit.
    cdef int64_t first_request
    # Asked with the row of a turn's only request, a new order's, before the turn is sealed: None, or the frame that it may leave as, and a row
    # that says so, which is sealed with it.
    cdef public object leaving
    cdef readonly object left  # That frame, of the last turn; None: its requests are to be handed on.
    cdef public bint closed  # No frame is taken any more.
    cdef object monotonic_ns, wall_ns, give, refused
    cdef int64_t ahead_ns
    cdef object keep

    def __init__(
        self, CommitBuffer journal not None, *, size_t door, int64_t call, words, inbox, outbox, int64_t done_status, int64_t rows_max, marks,
        counts, keep,
    ) -> None:
        cdef size_t address
        self.journal, self.keep = journal, keep
        self.door, self.call = <Door>door, call
        self.done_status, self.rows_max = done_status, rows_max
        self.marks, self.counts = marks, counts
        assert self.counts.shape[0] == KINDS + 256 and self.marks.shape[0] == 2
        address, self.inbox_rows = inbox
        self.inbox = <Row*>address
        address, self.outbox_rows = outbox
        self.outbox = <Row*>address
        for each in (self.inbox_rows, self.outbox_rows):
            assert each > 0 and each & (each - 1) == 0, each
        self.local = word(words["local"])
        self.local_count = word(words["local_count"])
        self.start = word(words["start"])
        self.call_rows_max = word(words["rows_max"])
        self.status = word(words["status"])
        self.at = word(words["at"])
        self.inbox_head = word(words["inbox_head"])
        self.outbox_head = word(words["outbox_head"])
        self.outbox_tail = word(words["outbox_tail"])
        self.verdict_count = word(words["verdict_count"])
        self.fill_count = word(words["fill_count"])
        self.order_record_count = word(words["order_record_count"])
        self.equity_count = word(words["equity_count"])
        self.records_full = word(words["records_full"])
        self.now_ns = word(words["now_ns"])
        self.hash = word(words["hash"])
        self.decision_number = word(words["decision_number"])

    def handle(self, rows, int64_t monotonic_ns, int64_t wall_ns) -> int:
        """Handle facts in order of receipt: how many requests they made; UNUSUAL or BEGUN where the twin has to. Seals at these times.

        rows: any object with their bytes in a row. Raises what the journal's refuse() does: the node is ahead of the journal then.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(rows, &view, PyBUF_SIMPLE)
        try:
            return self._handle(<const Row*>view.buf, view.len // ROW_SIZE, monotonic_ns, wall_ns)
        finally:
            PyBuffer_Release(&view)

    def take_frames(self, *, monotonic_ns, wall_ns, int64_t ahead_ns, give, refused) -> None:
        """Have frames taken. monotonic_ns, wall_ns: clocks; ahead_ns: how far local time is ahead of the first.

        give(made): called with what `handle` gives, unless it is 0. refused(error): the journal did not take it.
        """
        self.monotonic_ns, self.wall_ns, self.ahead_ns = monotonic_ns, wall_ns, ahead_ns
        self.give, self.refused = give, refused

    def frame(self, FrameWay way not None, bytes frame not None, bint alone, /) -> int:
        """Decode a frame received now and handle its rows, as `handle` does: TAKEN.

        Else the twin has to, from the rows of it that are decoded on, which is how many it gives; -1: none is. alone: whether no other
        connection could know a print that this one lost.
        """
        cdef int64_t monotonic_ns = self.monotonic_ns(), wall_ns = self.wall_ns()
        cdef int made
        way.local_ns = monotonic_ns + self.ahead_ns
        try:
            made = self._frame(way, frame, alone, monotonic_ns, wall_ns)
        except Exception as error:
            self.refused(error)
            return IS_TAKEN
        if made == IS_UNUSUAL:
            return way.decoded
        if made != 0:
            self.give(made)
        return IS_TAKEN

    cdef int _frame(self, FrameWay way, bytes frame, bint alone, int64_t monotonic_ns, int64_t wall_ns) except -3:
        cdef FrameScanner scanner = way.scanner
        cdef Row* rows = <Row*>&scanner.out[0]
        cdef int64_t local_ns = way.local_ns
        cdef Py_ssize_t count
        way.decoded = -1
        if self.closed or local_ns < self.now_ns[0]:
            return IS_UNUSUAL
        count = scanner.scan_into(
            <Text>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), local_ns, rows, scanner.out.shape[0] // ROW_SIZE
        )
        if count < 0:
            return IS_UNUSUAL
        way.decoded = count
        if not 0 < count <= self.rows_max or not way.passes(rows, count, alone):
            return IS_UNUSUAL
        return self._handle(rows, count, monotonic_ns, wall_ns)

    def note(self, rows, int64_t monotonic_ns, int64_t wall_ns) -> int:
        """Seal annotations, any object with their bytes in a row: the mark of their commit."""
        cdef Py_buffer view
        cdef int code
        PyObject_GetBuffer(rows, &view, PyBUF_SIMPLE)
        code = self.journal._take(<const uint8_t*>view.buf, view.len)
        PyBuffer_Release(&view)
        if code != IS_FINE:
            self.journal.refuse(code)
        self.mark = self.journal._commit(monotonic_ns, wall_ns, self.now_ns[0], self.inbox_head[0])
        return self.mark

    def requests(self) -> bytes:
        """The last turn's requests, as the bytes of rows."""
        cdef int64_t end = self.marks[AT_REQUESTED], slot = self.first_request & (self.outbox_rows - 1)
        cdef int64_t count = end - self.first_request, until_wrap = min(count, self.outbox_rows - slot)
        cdef bytes found = PyBytes_FromStringAndSize(<const char*>&self.outbox[slot], until_wrap * ROW_SIZE)
        if until_wrap < count:
            found += PyBytes_FromStringAndSize(<const char*>self.outbox, (count - until_wrap) * ROW_SIZE)
        return found

    cdef int _handle(self, const Row* rows, int64_t count, int64_t monotonic_ns, int64_t wall_ns) except -3:
        cdef int64_t i, last = self.now_ns[0], head = self.inbox_head[0], made, requested = self.marks[AT_REQUESTED], facts
        if not 0 < count <= self.rows_max:
            return IS_UNUSUAL
        for i in range(count):  # Local times never fall: the twin sets them right.
            if rows[i].local_ns < last:
                return IS_UNUSUAL
            last = rows[i].local_ns
        self.head = head
        self.local[0], self.local_count[0], self.start[0] = <int64_t><size_t>rows, count, 0
        self.call_rows_max[0] = self.rows_max
        self.door(self.call)
        self.start[0] = self.at[0]
        facts = self.inbox_head[0] - head
        made = self.outbox_head[0] - requested
        if (
            self.status[0] != self.done_status or self.verdict_count[0] != 0 or facts > self.inbox_rows or made > self.outbox_rows
        ):
            return IS_BEGUN
        self.fill_count[0] = self.order_record_count[0] = self.equity_count[0] = self.records_full[0] = 0
        self.outbox_tail[0] = self.outbox_head[0]
        self.marks[AT_REQUESTED] = self.outbox_head[0]
        self.first_request = requested
        self.cancels = 0
        self._append(self.inbox, self.inbox_rows, head, head + facts)
        if made:
            self._append(self.outbox, self.outbox_rows, requested, requested + made)
            for i in range(requested, requested + made):
                self.cancels += self.outbox[i & (self.outbox_rows - 1)].kind == KIND_CANCEL
        if self.decision_number[0] != self.marks[AT_DECISIONS]:
            self.marks[AT_DECISIONS] = self.decision_number[0]
            self._append_hash()
        self.left = None
        if made == 1 and self.leaving is not None and self.outbox[requested & (self.outbox_rows - 1)].kind == KIND_NEW:
            self._let_go()
        self.mark = self.journal._commit(monotonic_ns, wall_ns, self.now_ns[0], self.inbox_head[0])
        self.counts[TURNS] += 1
        self.counts[FACTS] += facts
        self.counts[REQUESTS] += made
        for i in range(head, head + facts):
            self.counts[KINDS + self.inbox[i & (self.inbox_rows - 1)].kind] += 1
        return <int>made

    cdef int _append(self, const Row* ring, int64_t rows, int64_t first, int64_t end) except -1:
        cdef int64_t slot = first & (rows - 1)
        cdef int64_t until_wrap = min(end - first, rows - slot)
        cdef int code = self.journal._take(<const uint8_t*>&ring[slot], until_wrap * ROW_SIZE)
        if code == IS_FINE and until_wrap < end - first:
            code = self.journal._take(<const uint8_t*>ring, (end - first - until_wrap) * ROW_SIZE)
        if code != IS_FINE:
            self.journal.refuse(code)
        return 0

    cdef int _let_go(self) except -1:
        found = self.leaving(self.requests())
        if found is not None:
            frame, row = found
            self._append_row(row)
            self.left = frame
        return 0

    cdef int _append_row(self, bytes row) except -1:
        cdef int code = self.journal._take(<const uint8_t*>PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row))
        if code != IS_FINE:
            self.journal.refuse(code)
        return 0

    cdef int _append_hash(self) except -1:
        cdef Row row
        memset(&row, 0, ROW_SIZE)
        row.kind, row.sequence, row.local_ns = KIND_HASH, self.inbox_head[0] - 1, self.now_ns[0]
        row.decision_hash, row.decisions = self.hash[0], self.decision_number[0]
        cdef int code = self.journal._take(<const uint8_t*>&row, ROW_SIZE)
        if code != IS_FINE:
            self.journal.refuse(code)
        return 0


cdef int64_t* word(size_t address) except NULL:
    return <int64_t*>address
