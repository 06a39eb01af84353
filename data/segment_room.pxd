"""The memory through which a journal's segment is written, for the thread that writes it."""

from libc.stdint cimport int64_t, uint8_t

cdef struct Room:
    uint8_t* base
    int64_t size  # Bytes of the file that are mapped.
    int64_t at  # How far it is written; of the writing thread.
    int64_t ready  # How far writing meets pages that are there; of the thread that makes them ready.
    int64_t dropped  # How far they were let go again; of the same.


cdef class SegmentRoom:
    cdef Room its


cdef bint make_ready(Room* room, int64_t ahead) noexcept nogil
