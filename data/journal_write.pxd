"""The buffer of a journal's writer, for compiled code that appends and commits to it: the thread that owns the appending side."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinloop.data.segment_room cimport Room, SegmentRoom

cdef enum:
    # Why rows were not taken, and what `run` came back with.
    IS_FINE, IS_FULL, IS_FAILED, IS_BROKEN_ROWS, IS_SEAL, IS_TOO_LARGE, IS_ROLL, IS_CLOSED
    ROLLS = 64  # Segments that may be waiting to begin; a power of two.

cdef struct Roll:
    int64_t position, commit, checksum, sequence


cdef class CommitBuffer:
    cdef uint8_t* ring
    cdef int64_t size, mask, segment_bytes, group_bytes, group_ns
    cdef int level
    # Of the appending thread.
    cdef int64_t appended, pending, sequence, open_sequence, checksum, in_segment, roll_head
    cdef uint32_t state
    # Shared; each written by one thread.
    cdef int64_t produced, sealed, written, reached_mark, roll_tail, closing, failed, sleeping, waiting, noticed
    cdef Roll[ROLLS] rolls
    # Of the writing thread.
    cdef int fd
    cdef Room* room  # Of the file being written, as memory; NULL: it is written by calls (ASYNC).
    cdef SegmentRoom whole_room, room_before
    cdef int64_t room_asked, called  # Pages are wanted of the thread in `tend`; it is wanted back.
    cdef int64_t file_start, synced, failed_operation
    cdef int64_t[3] calls
    cdef int wake_read, wake_write, notice_read, notice_write, done_read, done_write
    cdef object refuse, roll
    cdef int64_t[:, ::1] faults

    cdef int _take(self, const uint8_t* source, int64_t size) noexcept nogil
    cdef int64_t _commit(self, int64_t monotonic_ns, int64_t wall_ns, int64_t local_ns, int64_t sequence) except -1
    cdef int _seal(self, int64_t monotonic_ns, int64_t wall_ns, int64_t local_ns) noexcept nogil
    cdef int _write_out(self, int64_t limit) noexcept nogil
    cdef int64_t _write(self, int64_t at, int64_t size, int64_t offset) noexcept nogil
    cdef void _want_pages(self) noexcept nogil
    cdef void _tend(self) noexcept nogil
    cdef int64_t _fault(self, int operation, int64_t otherwise) noexcept nogil
    cdef int _sync(self, int fd) noexcept nogil
    cdef void _fail(self, int operation, int64_t number) noexcept nogil
    cdef void _tell(self) noexcept nogil
    cdef int _run(self) noexcept nogil
    cdef void _sleep(self, int64_t depth, int64_t ns) noexcept nogil
