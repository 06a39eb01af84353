"""The entry for a compiled live edge: scan a frame where it was received, straight into an inbox."""

from libc.stdint cimport int64_t, uint8_t

from twinloop.data.binance_fields cimport Settings
from twinloop.data.json_text cimport Text
from twinloop.data.row cimport Row

cdef enum:
    # What is not a count of rows.
    UNUSUAL = -1
    STRANGER = -2
    TOO_SMALL = -3

cdef struct Name:
    Text text
    Py_ssize_t size

cdef class FrameScanner:
    cdef readonly Py_ssize_t place
    cdef Py_ssize_t count
    cdef Settings* settings
    cdef Name* streams
    cdef int* buckets
    cdef unsigned int mask
    cdef int64_t[:, ::1] states
    cdef uint8_t[::1] out
    cdef list names

    cdef int place_by_stream(self, Text at) noexcept nogil
    cdef int place_by_symbol(self, Text at) noexcept nogil
    cdef Py_ssize_t scan_into(self, Text frame, Py_ssize_t size, int64_t local_ns, Row* out, Py_ssize_t capacity) noexcept nogil
    cdef Py_ssize_t scan_as(self, Py_ssize_t place, Text frame, Py_ssize_t size, int64_t local_ns, Row* out, Py_ssize_t capacity) noexcept nogil
