"""The inner half of a journal's writer: rows into a bounded buffer, a seal behind each commit, and the bytes on to a file.

One thread appends and commits. Who writes the file is chosen at the start: with ASYNC the same thread, inside commit (a copy into the
page cache, by memory where its segment can be had as such, and no sync); with GROUP and STRICT a thread of its own that sits in `run`, without the interpreter's lock, writes whole commits
and syncs. Each cursor has one writer. Nothing is dropped and nothing waits: a full buffer, a failed file and rows that cannot stand are
said at the call, and then nothing was taken. This module must not open, name or close files: engine/journal/writer.py does.

Positions count bytes of rows since the writer began, so a place in the buffer is `position & mask`; marks count commits.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import os

from twinloop.data.crc32c cimport crc, crc_begin, crc_by_instruction, crc_use_instruction
from twinloop.data.row cimport KIND_SEAL, ROW_SIZE, Row
from twinloop.data.segment_room cimport Room, SegmentRoom, make_ready

from twinloop.kernels import rows as row_table

crc_begin()
crc_use_instruction = crc_by_instruction()

cdef extern from *:
    """
    #include <errno.h>
    #include <stdlib.h>
    #ifdef _WIN32
    /* Live trading is not offered there: everything compiles and every call fails. */
    static int64_t twinloop_write_at(int fd, const void* from, size_t size, int64_t at) { errno = ENOSYS; return -1; }
    static int twinloop_sync(int fd) { errno = ENOSYS; return -1; }
    static int twinloop_wait(int fd, int64_t ns) { return 0; }
    static void twinloop_knock(int fd) {}
    static void twinloop_empty(int fd) {}
    static int twinloop_touch(int fd) { return -1; }
    static void* twinloop_room(size_t size) { return NULL; }
    #else
    #include <fcntl.h>
    #include <poll.h>
    #include <sys/stat.h>
    #include <time.h>
    #include <unistd.h>
    static int64_t twinloop_write_at(int fd, const void* from, size_t size, int64_t at) {
        ssize_t done;
        do done = pwrite(fd, from, size, at); while (done < 0 && errno == EINTR);
        return done;
    }
    /* What survives the loss of power. Never called again on a file for which it has failed. */
    static int twinloop_sync(int fd) {
    #if defined(__APPLE__)
        return fcntl(fd, F_FULLFSYNC);
    #else
        return fdatasync(fd);
    #endif
    }
    /* Wait for a knock: 1, or 0 after ns nanoseconds (negative: without end) or a signal. */
    static int twinloop_wait(int fd, int64_t ns) {
        struct pollfd one = {fd, POLLIN, 0};
    #if defined(__linux__)
        struct timespec limit = {ns / 1000000000, ns % 1000000000};
        return ppoll(&one, 1, ns < 0 ? NULL : &limit, NULL) > 0;
    #else
        return poll(&one, 1, ns < 0 ? -1 : (int)((ns + 999999) / 1000000)) > 0;
    #endif
    }
    static void twinloop_knock(int fd) {
        char byte = 1;
        ssize_t done = write(fd, &byte, 1);  /* A full pipe has been knocked at already. */
        (void)done;
    }
    /* Whether a file can still be changed. */
    static int twinloop_touch(int fd) { return futimens(fd, NULL); }
    static void twinloop_empty(int fd) {
        char bytes[256];
        while (read(fd, bytes, sizeof bytes) > 0) {}
    }
    static void* twinloop_room(size_t size) {
        void* room = NULL;
        return posix_memalign(&room, 4096, size) == 0 ? room : NULL;
    }
    #endif
    #if defined(_MSC_VER)
    #define twinloop_get(p) (*(volatile int64_t*)(p))
    #define twinloop_put(p, v) (*(volatile int64_t*)(p) = (v))
    #define twinloop_fence()
    #else
    #define twinloop_get(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define twinloop_put(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define twinloop_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    #endif
    /* Rows in order, the word with a row's kind last: after this process died in here there are whole rows and behind them one of kind 0,
       whatever else it holds; a seal is there only behind all that it closes. Who reads meanwhile may meet less, and looks again. */
    static void twinloop_copy_rows(uint8_t* to, const uint8_t* from, int64_t size) {
        int64_t word;
        for (; size > 0; size -= 64, to += 64, from += 64) {
            memcpy(to, from, 24);
            memcpy(to + 32, from + 32, 32);
            memcpy(&word, from + 24, 8);
            twinloop_put((int64_t*)(to + 24), word);
        }
    }
    """
    int errno
    int64_t write_at "twinloop_write_at" (int fd, const void* source, size_t size, int64_t at) nogil
    int sync_file "twinloop_sync" (int fd) nogil
    int wait_for "twinloop_wait" (int fd, int64_t ns) nogil
    void knock "twinloop_knock" (int fd) nogil
    void empty "twinloop_empty" (int fd) nogil
    int touch "twinloop_touch" (int fd) nogil
    void* room_of "twinloop_room" (size_t size) nogil
    int64_t get "twinloop_get" (int64_t* at) nogil
    void put "twinloop_put" (int64_t* at, int64_t value) nogil
    void fence "twinloop_fence" () nogil
    void copy_rows "twinloop_copy_rows" (uint8_t* to, const uint8_t* source, int64_t size) nogil

# Levels of durability.
cdef enum:
    LEVEL_ASYNC, LEVEL_GROUP, LEVEL_STRICT
ASYNC = LEVEL_ASYNC
GROUP = LEVEL_GROUP
STRICT = LEVEL_STRICT

# Why rows were not taken, and what `run` came back with (journal_write.pxd).
FINE = IS_FINE
NO_ROOM = IS_FULL
FAILED = IS_FAILED
BROKEN_ROWS = IS_BROKEN_ROWS  # Not whole rows, or one of kind 0.
HOLDS_SEAL = IS_SEAL
TOO_LARGE = IS_TOO_LARGE  # More rows in one commit than a segment or the buffer holds.
ROLL = IS_ROLL
CLOSED = IS_CLOSED

# Operations that can fail, for messages and for faults that tests inject.
cdef enum:
    DO_WRITE, DO_SYNC, DO_TOUCH
WRITE = DO_WRITE
SYNC = DO_SYNC
TOUCH = DO_TOUCH

# Pages of a segment's room that are there before they are written; half of them gone, more are wanted.
cdef enum:
    PAGES_AHEAD = 1 << 18
    LOOK_NS = 1_000_000_000  # Between two looks whether the file can still be changed, which a copy into its pages does not say.

cdef enum:
    AWAKE, SLEEPS_FOR_ANY, SLEEPS_FOR_MANY

cdef uint8_t IS_FACT[256]
cdef int _code
for _code in range(256):
    IS_FACT[_code] = row_table.ORIGIN.get(_code, row_table.MARKET) not in (row_table.ANNOTATION, row_table.REQUEST)


cdef class CommitBuffer:
    """The buffer and its cursors. See engine/journal/writer.py for what the arguments mean.

    refuse(code): called with why rows were not taken; must raise. roll(): called by commit when a segment has to begin (ASYNC).
    faults: (n, 4) int64, what tests inject: operation, first call, call behind the last, -errno or how many bytes a write takes.
    """

    def __cinit__(
        self, *, int level, int64_t buffer_rows, int64_t segment_rows, int64_t group_rows, int64_t group_ns, start, refuse, roll,
        faults=None,
    ):
        assert buffer_rows >= 2 and buffer_rows & (buffer_rows - 1) == 0, buffer_rows
        assert segment_rows >= 2 and group_rows >= 1 and group_ns >= 0
        self.size = buffer_rows * ROW_SIZE
        self.mask = self.size - 1
        self.ring = <uint8_t*>room_of(self.size)
        if self.ring == NULL:
            raise MemoryError
        memset(self.ring, 0, self.size)  # Every page is there before the first row comes.
        self.level = level
        self.segment_bytes = segment_rows * ROW_SIZE
        self.group_bytes, self.group_ns = group_rows * ROW_SIZE, group_ns
        self.sealed, self.checksum, self.sequence = start
        self.open_sequence = self.sequence
        self.reached_mark = self.sealed
        self.state = ~<uint32_t>self.checksum
        self.fd = -1
        self.refuse, self.roll = refuse, roll
        self.faults = faults
        self.wake_read, self.wake_write = _pipe()
        self.notice_read, self.notice_write = _pipe()
        self.done_read, self.done_write = _pipe()

    def __dealloc__(self):
        free(self.ring)

    # ---- The appending thread.

    def append(self, rows):
        """Take rows, any object with their bytes in a row; refuse() when they cannot be taken, and then none was."""
        cdef Py_buffer view
        cdef int code
        PyObject_GetBuffer(rows, &view, PyBUF_SIMPLE)
        code = self._take(<const uint8_t*>view.buf, view.len)
        PyBuffer_Release(&view)
        if code != IS_FINE:
            self.refuse(code)

    def append_at(self, size_t address, int64_t count):
        """Take rows from memory that the caller keeps until this returns."""
        cdef int code = self._take(<const uint8_t*>address, count * ROW_SIZE)
        if code != IS_FINE:
            self.refuse(code)

    cdef int _take(self, const uint8_t* source, int64_t size) noexcept nogil:
        cdef const Row* rows = <const Row*>source
        cdef int64_t i, sequence = self.sequence, at, until_wrap, after
        if get(&self.failed):
            return IS_FAILED
        if size < 0 or size % ROW_SIZE:
            return IS_BROKEN_ROWS
        after = self.pending + size + ROW_SIZE
        if after > self.segment_bytes or after > self.size:
            return IS_TOO_LARGE
        # Room for these and for the seal: what was taken can always be sealed.
        if self.appended + size + ROW_SIZE - get(&self.written) > self.size:
            return IS_FULL
        for i in range(size // ROW_SIZE):
            if rows[i].kind == KIND_SEAL:
                return IS_SEAL
            if rows[i].kind == 0:
                return IS_BROKEN_ROWS
            if IS_FACT[rows[i].kind]:
                sequence = rows[i].sequence + 1
        at = self.appended & self.mask
        until_wrap = min(size, self.size - at)
        memcpy(self.ring + at, source, until_wrap)
        memcpy(self.ring, source + until_wrap, size - until_wrap)
        self.state = crc(self.state, source, size)
        self.sequence = sequence
        self.appended += size
        self.pending += size
        return IS_FINE

    def commit(self, int64_t monotonic_ns, int64_t wall_ns, int64_t local_ns=0, int64_t sequence=-1):
        """Seal what was taken since the last commit: its mark. The last mark where nothing was.

        local_ns: written into the seal. sequence: of the next fact, where that is not the last one's and 1.
        """
        return self._commit(monotonic_ns, wall_ns, local_ns, sequence)

    cdef int64_t _commit(self, int64_t monotonic_ns, int64_t wall_ns, int64_t local_ns, int64_t sequence) except -1:
        cdef int code
        if sequence >= 0:
            self.sequence = sequence
        code = self._seal(monotonic_ns, wall_ns, local_ns)
        if code == IS_ROLL:
            self.roll()
            code = self._write_out(self.produced)
            if code == IS_FINE:
                put(&self.reached_mark, self.sealed)
        if code != IS_FINE:
            self.refuse(code)
        return self.sealed

    cdef int _seal(self, int64_t monotonic_ns, int64_t wall_ns, int64_t local_ns) noexcept nogil:
        cdef Row* seal
        cdef int64_t sleeping
        cdef Roll* roll
        if get(&self.failed):
            return IS_FAILED
        if self.pending == 0:
            self.open_sequence = self.sequence
            return IS_FINE
        # A commit lies in one segment: it begins the next one where this has no room for all of it.
        if self.in_segment + self.pending + ROW_SIZE > self.segment_bytes:
            if self.roll_head - get(&self.roll_tail) == ROLLS:
                return IS_FULL
            roll = &self.rolls[self.roll_head & (ROLLS - 1)]
            roll.position, roll.commit = self.appended - self.pending, self.sealed
            roll.checksum, roll.sequence = self.checksum, self.open_sequence
            put(&self.roll_head, self.roll_head + 1)
            self.in_segment = 0
        seal = <Row*>(self.ring + (self.appended & self.mask))
        memset(seal, 0, ROW_SIZE)
        seal.local_ns, seal.sequence, seal.kind = local_ns, self.sealed, KIND_SEAL
        seal.rows, seal.monotonic_ns, seal.wall_ns = self.pending // ROW_SIZE, monotonic_ns, wall_ns
        self.state = crc(self.state, <const uint8_t*>seal, ROW_SIZE)
        self.checksum = <int64_t><uint32_t>~self.state
        seal.checksum = self.checksum
        self.appended += ROW_SIZE
        self.in_segment += self.pending + ROW_SIZE
        self.pending = 0
        self.open_sequence = self.sequence
        put(&self.produced, self.appended)
        put(&self.sealed, self.sealed + 1)
        if self.level == LEVEL_ASYNC:
            if self.roll_head != self.roll_tail:
                return IS_ROLL
            if self._write_out(self.produced) != IS_FINE:
                return IS_FAILED
            put(&self.reached_mark, self.sealed)
            return IS_FINE
        fence()  # Either this sees the other asleep, or the other sees this commit before it sleeps.
        sleeping = get(&self.sleeping)
        if sleeping == SLEEPS_FOR_ANY or (
            sleeping == SLEEPS_FOR_MANY and self.produced - get(&self.written) >= self.group_bytes
        ):
            knock(self.wake_write)
        return IS_FINE

    # ---- The writing thread (with ASYNC the same one).

    cdef int _write_out(self, int64_t limit) noexcept nogil:
        """Bring the buffer's bytes up to `limit` into the file."""
        cdef int64_t at, size, done, position = self.written
        if get(&self.failed):
            return IS_FAILED
        while position < limit:
            at = position & self.mask
            size = min(limit - position, self.size - at)
            done = self._write(at, size, self.file_start + position)
            if done <= 0:
                self._fail(DO_WRITE, -done)
                return IS_FAILED
            position += done
        put(&self.written, position)
        if self.room != NULL:
            put(&self.room.at, self.file_start + position)
            if get(&self.room.ready) - self.room.at < PAGES_AHEAD // 2 and get(&self.room_asked) == 0:
                self._want_pages()
        return IS_FINE

    cdef void _want_pages(self) noexcept nogil:
        if self.room.ready < self.room.size:
            put(&self.room_asked, 1)
            knock(self.wake_write)

    cdef int64_t _write(self, int64_t at, int64_t size, int64_t offset) noexcept nogil:
        """Bytes written, 0, or -errno."""
        cdef int64_t effect = self._fault(DO_WRITE, size), done
        if effect <= 0:
            return effect
        if (
            self.room != NULL and offset + size <= get(&self.room.ready) and effect >= size
            and (at | size | offset) & (ROW_SIZE - 1) == 0
        ):
            copy_rows(self.room.base + offset, self.ring + at, size)
            return size
        done = write_at(self.fd, self.ring + at, min(size, effect), offset)
        return done if done >= 0 else -errno

    cdef int64_t _fault(self, int operation, int64_t otherwise) noexcept nogil:
        cdef int64_t i, call = self.calls[operation]
        self.calls[operation] += 1
        for i in range(self.faults.shape[0] if self.faults is not None else 0):
            if self.faults[i, 0] == operation and self.faults[i, 1] <= call < self.faults[i, 2]:
                return self.faults[i, 3]
        return otherwise

    cdef int _sync(self, int fd) noexcept nogil:
        cdef int64_t effect
        if get(&self.failed):
            return IS_FAILED
        effect = self._fault(DO_SYNC, 1)
        if effect > 0 and sync_file(fd) != 0:
            effect = -errno
        if effect <= 0:
            self._fail(DO_SYNC, -effect)
            return IS_FAILED
        return IS_FINE

    cdef void _fail(self, int operation, int64_t number) noexcept nogil:
        if get(&self.failed) == 0:
            self.failed_operation = operation
            put(&self.failed, number + 1)
        self._tell()

    cdef void _tell(self) noexcept nogil:
        fence()
        if get(&self.noticed) == 0:
            put(&self.noticed, 1)
            knock(self.notice_write)
        if get(&self.waiting):
            knock(self.done_write)

    def run(self):
        """Write and sync commits as they come; back with ROLL, CLOSED or FAILED. Holds no lock of the interpreter meanwhile."""
        cdef int code
        with nogil:
            code = self._run()
        return code

    cdef int _run(self) noexcept nogil:
        cdef int64_t mark, limit
        cdef bint rolls, waited = False
        cdef Roll* roll
        while True:
            if get(&self.failed):
                return IS_FAILED
            limit = get(&self.produced)
            if limit == self.synced and get(&self.roll_head) == self.roll_tail:
                if get(&self.closing):
                    return IS_CLOSED
                self._sleep(SLEEPS_FOR_ANY, -1)
                waited = False
                continue
            if (
                self.level == LEVEL_GROUP and self.group_ns > 0 and not waited and not get(&self.closing)
                and limit - self.synced < self.group_bytes
            ):
                # Let commits of the next moment share this sync.
                self._sleep(SLEEPS_FOR_MANY, self.group_ns)
                waited = True
                continue
            waited = False
            mark = get(&self.sealed)  # Before the position: that one is behind all of this mark's bytes.
            limit = get(&self.produced)
            roll = &self.rolls[self.roll_tail & (ROLLS - 1)]
            rolls = get(&self.roll_head) != self.roll_tail and roll.position <= limit
            if rolls:
                limit, mark = roll.position, roll.commit
            if limit > self.synced:
                if self._write_out(limit) != IS_FINE or self._sync(self.fd) != IS_FINE:
                    return IS_FAILED
                self.synced = limit
                put(&self.reached_mark, mark)
                self._tell()
            if rolls:
                return IS_ROLL

    cdef void _sleep(self, int64_t depth, int64_t ns) noexcept nogil:
        cdef int64_t waiting
        put(&self.sleeping, depth)
        fence()
        waiting = get(&self.produced) - self.synced
        if get(&self.closing) == 0 and get(&self.failed) == 0 and waiting < (
            ROW_SIZE if depth == SLEEPS_FOR_ANY else self.group_bytes
        ):
            wait_for(self.wake_read, ns)
        put(&self.sleeping, AWAKE)
        empty(self.wake_read)

    def next_roll(self):
        """Of the segment that has to begin: (commits before it, checksum before it, sequence of its first fact, its first position)."""
        cdef Roll* roll = &self.rolls[self.roll_tail & (ROLLS - 1)]
        assert self.roll_head != self.roll_tail
        return roll.commit, roll.checksum, roll.sequence, roll.position

    def begin_segment(self, int fd, int64_t header_bytes, SegmentRoom room=None):
        """Go on in a file whose header is written; the first one, or the one that next_roll told of.

        room: the same file as memory. That of the file before is closed by the thread that calls `tend`.
        """
        if self.fd >= 0:
            put(&self.roll_tail, self.roll_tail + 1)
        self.fd = fd
        self.file_start = header_bytes - self.written
        self.room_before, self.whole_room = self.whole_room, room  # `tend` may be at work on the one before.
        if room is None:
            put(<int64_t*>&self.room, 0)
        else:
            room.its.at = header_bytes
            put(<int64_t*>&self.room, <int64_t>&room.its)
            put(&self.room_asked, 0)

    def tend(self):
        """Have pages ready for what commits will write, and fail where the file cannot be changed any more, until `call`.

        Holds no lock of the interpreter meanwhile (ASYNC).
        """
        with nogil:
            self._tend()

    cdef void _tend(self) noexcept nogil:
        cdef Room* room
        cdef int64_t effect
        while get(&self.called) == 0:
            put(&self.room_asked, 0)
            fence()
            room = <Room*>get(<int64_t*>&self.room)
            if room != NULL and not make_ready(room, PAGES_AHEAD):
                put(&self.room_asked, 1)  # There are none to be had: this segment is written by calls.
            if not wait_for(self.wake_read, LOOK_NS) and room != NULL and get(&self.failed) == 0:
                effect = self._fault(DO_TOUCH, 1)
                if effect > 0 and touch(self.fd) != 0:
                    effect = -errno
                if effect <= 0:
                    self._fail(DO_WRITE, -effect)
            empty(self.wake_read)
        put(&self.called, 0)

    def call(self):
        """Have `tend` come back."""
        put(&self.called, 1)
        fence()
        knock(self.wake_write)

    def sync(self, int fd):
        """Sync a file, counted and failing as those of `run` do: FINE or FAILED."""
        cdef int code
        with nogil:
            code = self._sync(fd)
        return code

    # ---- Any thread.

    def reached(self):
        """The highest mark that is as safe as the level says; stays what it was when the file fails."""
        return get(&self.reached_mark)

    def commits(self):
        """Commits sealed so far."""
        return get(&self.sealed)

    def failure(self):
        """0, or the errno of what failed; -1 where a write took nothing or the failure is not the system's."""
        cdef int64_t failed = get(&self.failed)
        return 0 if failed == 0 else (failed - 1 or -1)

    def failed_at(self):
        """WRITE or SYNC: what failed."""
        return self.failed_operation

    def fail(self, int64_t number):
        """Never write or sync again: something failed outside."""
        self._fail(self.failed_operation, number)

    def close(self):
        """Make `run` come back once all that is sealed is synced."""
        put(&self.closing, 1)
        fence()
        knock(self.wake_write)

    def close_pipes(self):
        """After `run` came back for good."""
        for fd in (
            self.wake_read, self.wake_write, self.notice_read, self.notice_write, self.done_read, self.done_write,
        ):
            os.close(fd)

    def wait(self, int64_t mark, int64_t ns):
        """Wait for the next change, at most so long; at once where the mark is reached or the file has failed."""
        with nogil:
            put(&self.waiting, 1)
            fence()
            if get(&self.reached_mark) < mark and get(&self.failed) == 0:
                wait_for(self.done_read, ns)
            put(&self.waiting, 0)
            empty(self.done_read)

    def notice_fd(self):
        """A descriptor that is readable when marks were reached or the file failed (GROUP, STRICT)."""
        return self.notice_read

    def clear_notice(self):
        """To be called before looking at `reached` again: later news will make the descriptor readable once more."""
        empty(self.notice_read)
        put(&self.noticed, 0)
        fence()

    def bytes_waiting(self):
        """Bytes of sealed rows that are not written yet."""
        return get(&self.produced) - get(&self.written)

    def bytes_sealed(self):
        """Bytes of rows sealed since the writer began."""
        return get(&self.produced)

    def next_sequence(self):
        """Of the next fact."""
        return self.sequence

    def operations(self):
        """How often the file was written and synced."""
        return self.calls[DO_WRITE], self.calls[DO_SYNC]


def _pipe():
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
