"""A segment's file as memory: a copy into it is in the page cache, as after a write, without a call of the system.

    room = segment_room(fd, size)   # None where it cannot be had: then the file is written by calls
    room.make_ready(1 << 18)        # pages for what is written next, by any thread but the one that writes

What is copied survives the end of the process, however that comes. A page that is not there yet costs the writer more than a call would, so
another thread makes them ready, and asks the system in the way that says when it cannot (Linux 5.14): only such pages are written. Only file
systems are taken on which room that was given stays given, also once a page went to the disk or the file was copied: elsewhere (btrfs, ZFS,
XFS with shared extents) a full disk would end the process in the midst of a copy. So does whoever truncates the file, and a disk that cannot
read again what the system let go of. This module must not know what is written.
"""

from libc.stdint cimport int64_t, uint8_t

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #include <sys/vfs.h>
    #ifndef MADV_POPULATE_WRITE
    #define MADV_POPULATE_WRITE 23
    #endif
    static int twinloop_keeps_room(int fd) {
        struct statfs found;
        if (fstatfs(fd, &found) != 0) return 0;
        switch ((unsigned long)found.f_type) {
            case 0xEF53UL:      /* ext4 */
            case 0x01021994UL:  /* tmpfs */
                return 1;
        }
        return 0;
    }
    static void* twinloop_map(int fd, size_t size) {
        void* base;
        if (!twinloop_keeps_room(fd)) return NULL;
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return base == MAP_FAILED ? NULL : base;
    }
    static void twinloop_unmap(void* base, size_t size) { munmap(base, size); }
    /* An error, not a signal, where a page cannot be had. */
    static int twinloop_fetch(void* from, size_t size) { return madvise(from, size, MADV_POPULATE_WRITE); }
    /* The pages stay in the page cache, changed or not. */
    static void twinloop_let_go(void* from, size_t size) { madvise(from, size, MADV_DONTNEED); }
    #else
    static void* twinloop_map(int fd, size_t size) { return NULL; }
    static void twinloop_unmap(void* base, size_t size) {}
    static int twinloop_fetch(void* from, size_t size) { return -1; }
    static void twinloop_let_go(void* from, size_t size) {}
    #endif
    #if defined(_MSC_VER)
    #define twinloop_get(p) (*(volatile int64_t*)(p))
    #define twinloop_put(p, v) (*(volatile int64_t*)(p) = (v))
    #else
    #define twinloop_get(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define twinloop_put(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #endif
    """
    void* map_file "twinloop_map" (int fd, size_t size) nogil
    void unmap "twinloop_unmap" (void* base, size_t size) nogil
    int fetch "twinloop_fetch" (void* start, size_t size) nogil
    void let_go "twinloop_let_go" (void* start, size_t size) nogil
    int64_t get "twinloop_get" (int64_t* at) nogil
    void put "twinloop_put" (int64_t* at, int64_t value) nogil

cdef enum:
    PAGE = 1 << 16  # A multiple of the page of every machine.
    KEPT = 1 << 22  # So much of what is written stays mapped: letting go interrupts the thread that writes.


def segment_room(int fd, int64_t size) -> SegmentRoom | None:
    """A file of so many bytes as memory; None where this system or its file system does not have it safely."""
    cdef SegmentRoom room = SegmentRoom.__new__(SegmentRoom)
    room.its.base = <uint8_t*>map_file(fd, size)
    if room.its.base == NULL:
        return None
    room.its.size = size
    return room


cdef class SegmentRoom:
    def __dealloc__(self):
        self.close()

    @property
    def ready(self):
        """Up to which byte of the file pages were made ready: they are there, unless the system has written or let go of them since."""
        return get(&self.its.ready)

    def make_ready(self, int64_t ahead) -> bool:
        """Have pages for so many bytes behind what is written. False: the system does not give them; the file has to be written by calls."""
        cdef bint ready
        with nogil:
            ready = make_ready(&self.its, ahead)
        return ready

    def close(self):
        """Unmap it. What is written from now on goes by calls."""
        cdef uint8_t* base = self.its.base
        if base != NULL:
            put(&self.its.ready, 0)
            self.its.base = NULL
            with nogil:
                unmap(base, self.its.size)


cdef bint make_ready(Room* room, int64_t ahead) noexcept nogil:
    cdef int64_t at = get(&room.at), start, end
    if room.base == NULL:
        return False
    # What calls have written meanwhile needs no page any more.
    start = max(room.ready, at & ~<int64_t>(PAGE - 1))
    end = min((at + ahead + PAGE - 1) & ~<int64_t>(PAGE - 1), room.size)
    if end > start:
        if fetch(room.base + start, end - start) != 0:
            return False
        put(&room.ready, end)
    end = (at & ~<int64_t>(PAGE - 1)) - KEPT
    if end > room.dropped + KEPT:
        let_go(room.base + room.dropped, end - room.dropped)
        room.dropped = end
    return True
