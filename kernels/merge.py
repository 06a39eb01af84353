"""Merging sorted rows: the k-way step over windows of several sources, and the sum of every field of a tape.

Rows come as (n, 8) int64 words over the same memory (word 0 venue_ns, 1 local_ns, 2 sequence, 3 the eight header bytes,
4-7 payload), because compiled code copies words far faster than records. Must not read files: the caller refills windows.
"""

import numpy as np

from twinloop.kernels.jit import njit

ROW_WORDS = 8
LOCAL_WORD = 1
HEADER_WORD = 3
FLAGS_SHIFT = 40  # Byte 29 of the row is byte 5 of the header word.
INSTRUMENT_SHIFT = 48  # Bytes 30-31 are its top sixteen bits.
CONTINUES = 1
EXHAUSTED = -1
OUT_FULL = -2


@njit(cache=True)
def sift_down(heap: np.ndarray, heap_keys: np.ndarray, size: int, start: int) -> None:
    """Restore heap order below `start`: smallest (key, source) at 0. heap: (k,) sources; heap_keys: (k,) by source."""
    at = start
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        other = child + 1
        if other < size and (
            heap_keys[heap[other]] < heap_keys[heap[child]]
            or (heap_keys[heap[other]] == heap_keys[heap[child]] and heap[other] < heap[child])
        ):
            child = other
        key = heap_keys[heap[at]]
        child_key = heap_keys[heap[child]]
        if key < child_key or (key == child_key and heap[at] < heap[child]):
            return
        held = heap[at]
        heap[at] = heap[child]
        heap[child] = held
        at = child


@njit(cache=True)
def merge_windows(
    windows: np.ndarray,
    keys: np.ndarray,
    heads: np.ndarray,
    counts: np.ndarray,
    heap: np.ndarray,
    heap_size: int,
    heap_keys: np.ndarray,
    slots: np.ndarray,
    out: np.ndarray,
    out_count: int,
) -> tuple[int, int, int]:
    """Move rows from k windows to `out` in order of (key, source, row) until a window runs dry or `out` fills.

    windows: (k, w, 8) int64, rows of each source. keys: (k, w) int64, sort key of each row, never falling in a source;
    a tail's is not looked at. heads, counts: (k,) int64, next row and rows held; heads move. heap: (k,) int64, sources
    with rows, a heap of heap_size by (heap_keys[source], source). slots: (k, s) int64, instrument number given to each
    of a source's own. out: (n, 8) int64, written from out_count. A two-row fact is moved whole, so windows must end
    with whole facts and the last place of `out` may stay free.
    Returns (rows in out, heap size, the dry source, or OUT_FULL, or EXHAUSTED when the heap is empty). A dry source
    stays at the top of the heap: the caller refills it and its key, or takes it off, and restores the heap.
    """
    room = out.shape[0] - 1
    while heap_size > 0:
        source = heap[0]
        if heads[source] == counts[source]:
            return out_count, heap_size, source
        # The smallest key among the others: this source goes on alone below it.
        limit = np.int64(0x7FFFFFFFFFFFFFFF)
        rival = heap.shape[0]
        for child in range(1, min(3, heap_size)):
            other = heap[child]
            if heap_keys[other] < limit or (heap_keys[other] == limit and other < rival):
                limit = heap_keys[other]
                rival = other
        at = heads[source]
        stop = counts[source]
        while at < stop:
            key = keys[source, at]
            if key > limit or (key == limit and rival < source):
                break
            if out_count >= room:
                heads[source] = at
                heap_keys[source] = key
                return out_count, heap_size, OUT_FULL
            more = True
            while more:
                header = windows[source, at, HEADER_WORD]
                for word in range(ROW_WORDS):
                    out[out_count, word] = windows[source, at, word]
                own = (header >> INSTRUMENT_SHIFT) & 0xFFFF
                out[out_count, HEADER_WORD] = (header & 0xFFFFFFFFFFFF) | (slots[source, own] << INSTRUMENT_SHIFT)
                out_count += 1
                at += 1
                more = (header >> FLAGS_SHIFT) & CONTINUES != 0
        heads[source] = at
        if at < stop:
            heap_keys[source] = keys[source, at]
            sift_down(heap, heap_keys, heap_size, 0)
    return out_count, heap_size, EXHAUSTED


@njit(cache=True)
def sum_fields(words: np.ndarray) -> int:
    """Sum of every field of every row, modulo 2**64; the work of a reader that looks at everything once.

    words: (n, 8) int64 view of rows. The header word is taken apart into its seven fields.
    """
    total = np.int64(0)
    for i in range(words.shape[0]):
        header = words[i, HEADER_WORD]
        total += words[i, 0] + words[i, 1] + words[i, 2] + words[i, 4] + words[i, 5] + words[i, 6] + words[i, 7]
        total += header & 0xFF  # kind
        total += ((header >> 8 & 0xFF) ^ 0x80) - 0x80  # side, signed
        total += (header >> 16 & 0xFF) + (header >> 24 & 0xFF)  # strategy, account
        total += (header >> 32 & 0xFF) + (header >> FLAGS_SHIFT & 0xFF)  # source, flags
        total += header >> INSTRUMENT_SHIFT & 0xFFFF
    return int(total)
