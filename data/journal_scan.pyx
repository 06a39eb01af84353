"""Compiled walk over the commits of a journal's segment: every checksum, count and sequence compared, no object per row.

What a commit is stands in engine/journal/format.py; tests/reference/journal.py reads the same bytes slowly and must agree. The data come
from a file that may hold anything: every read is bounded, and the work is linear in the data's size.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from twinloop.data.crc32c cimport crc, crc_begin, crc_by_instruction, crc_soft, crc_use_instruction
from twinloop.data.row cimport KIND_SEAL, ROW_SIZE, Row

from twinloop.kernels import rows as row_table

crc_begin()
crc_use_instruction = crc_by_instruction()

# Why a walk stopped.
cdef enum:
    STOP_END, STOP_FULL, STOP_ZERO, STOP_BREAKS_OFF, STOP_COUNT, STOP_NUMBER, STOP_CHECKSUM, STOP_SEQUENCE
END = STOP_END  # The data end with a commit.
FULL = STOP_FULL  # As many commits as asked for.
ZERO = STOP_ZERO  # A row of kind 0: room that was not used, or damage.
BREAKS_OFF = STOP_BREAKS_OFF  # No seal up to the end.
COUNT = STOP_COUNT  # A seal that states another number of rows than it closes.
NUMBER = STOP_NUMBER  # A whole commit with another number than the next one's.
CHECKSUM = STOP_CHECKSUM
SEQUENCE = STOP_SEQUENCE  # A whole commit with facts missing, repeated or out of order.

cdef uint8_t IS_FACT[256]
cdef int _code
for _code in range(256):
    IS_FACT[_code] = row_table.ORIGIN.get(_code, row_table.MARKET) not in (row_table.ANNOTATION, row_table.REQUEST)


def crc32c(data, checksum=0, *, tables=False):
    """CRC32C of bytes, continued from the checksum of those before. tables: without the processor's instruction."""
    cdef Py_buffer view
    cdef uint32_t state = ~<uint32_t>checksum
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if tables:
        state = crc_soft(state, <const uint8_t*>view.buf, view.len)
    else:
        state = crc(state, <const uint8_t*>view.buf, view.len)
    PyBuffer_Release(&view)
    return <uint32_t>~state


def by_instruction():
    """Whether this processor has an instruction for the checksum."""
    return bool(crc_use_instruction)


cdef int64_t _checksum(const Row* rows, int64_t first, int64_t seal, int64_t before) noexcept nogil:
    """Of rows first..seal, the seal's own field taken as 0; before: the checksum of the commit before, 0..2**32-1."""
    cdef Row last
    cdef uint32_t state = crc(~<uint32_t>before, <const uint8_t*>&rows[first], (seal - first) * ROW_SIZE)
    memcpy(&last, &rows[seal], ROW_SIZE)
    last.checksum = 0
    return <uint32_t>~crc(state, <const uint8_t*>&last, ROW_SIZE)


def scan(data, int64_t first, int64_t checksum, int64_t number, int64_t sequence, int64_t[::1] seals):
    """Walk commits from row `first` on: (commits found, row behind them, checksum, next sequence, stop, row it is about).

    data: whole rows, without the header. checksum, number, sequence: of the commit before; of the next commit; of the next fact, or -1
    where any may come. seals: (n,) filled with the row of each commit's seal; FULL when it cannot take more. The row the stop is about
    is the first of the commit that does not stand, or the fact whose sequence is not the next one.
    """
    cdef Py_buffer view
    cdef const Row* rows
    cdef int64_t count, at, last_sequence, room = seals.shape[0], found = 0, about
    cdef int stop
    cdef bint unchecked
    assert 0 <= checksum < 1 << 32 and first >= 0
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    rows = <const Row*>view.buf
    count = view.len // ROW_SIZE
    with nogil:
        while True:
            about = first
            if found == room:
                stop = STOP_FULL
                break
            if first >= count:
                stop = STOP_END
                break
            at = first
            unchecked = sequence == -2
            last_sequence = -1 if unchecked else sequence
            stop = -1
            while at < count and rows[at].kind != KIND_SEAL:
                if rows[at].kind == 0:
                    stop = STOP_ZERO
                    break
                if IS_FACT[rows[at].kind]:
                    if last_sequence >= 0 and rows[at].sequence != last_sequence and stop < 0 and not unchecked:
                        # Only of interest where the checksum holds: the row is as it was written.
                        stop = STOP_SEQUENCE
                        about = at
                    last_sequence = rows[at].sequence + 1
                at += 1
            if stop == STOP_ZERO:
                about = first
                break
            if at >= count:
                stop = STOP_BREAKS_OFF
                about = first
                break
            if rows[at].rows != at - first:
                stop = STOP_COUNT
                about = first
                break
            if _checksum(rows, first, at, checksum) != rows[at].checksum:
                stop = STOP_CHECKSUM
                about = first
                break
            if rows[at].sequence != number:
                stop = STOP_NUMBER
                about = at
                break
            if stop == STOP_SEQUENCE:
                break
            seals[found] = at
            found += 1
            number += 1
            checksum = rows[at].checksum
            sequence = last_sequence
            first = at + 1
    PyBuffer_Release(&view)
    return found, first, checksum, sequence, stop, about


def find_later(data, int64_t first, int64_t checksum):
    """First row of a commit that stands behind rows which do not, or -1: whether a journal was damaged or only cut short.

    data: whole rows. first, checksum: where the commit that does not stand begins, and what the one before it ended with. A later commit
    stands on the checksum stored before it or on the one the rows before it give: either may be the damaged one.
    """
    cdef Py_buffer view
    cdef const Row* rows
    cdef int64_t count, seal, begin, stored, last_seal, found = -1
    assert 0 <= checksum < 1 << 32 and first >= 0
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    rows = <const Row*>view.buf
    count = view.len // ROW_SIZE
    last_seal = first - 1
    with nogil:
        for seal in range(first, count):
            if rows[seal].kind != KIND_SEAL:
                continue
            # A commit holds no seal but its last row, so what is checked for one candidate is checked for no other.
            if 0 <= rows[seal].rows <= seal - last_seal and seal - rows[seal].rows > first:
                begin = seal - rows[seal].rows
                stored = rows[begin - 1].checksum
                if 0 <= stored < <int64_t>1 << 32 and _checksum(rows, begin, seal, stored) == rows[seal].checksum:
                    found = begin
                    break
                if last_seal == begin - 1 and _second(rows, first, last_seal, checksum, begin, seal):
                    found = begin
                    break
            last_seal = seal
    PyBuffer_Release(&view)
    return found


cdef bint _second(const Row* rows, int64_t first, int64_t bad_seal, int64_t checksum, int64_t begin, int64_t seal) noexcept nogil:
    """Whether the commit begin..seal stands on what rows first..bad_seal give: the stored checksum was what was damaged."""
    if bad_seal - rows[bad_seal].rows != first:
        return False
    return _checksum(rows, begin, seal, _checksum(rows, first, bad_seal, checksum)) == rows[seal].checksum


def row_size():
    """Bytes of a row, as compiled."""
    return ROW_SIZE
