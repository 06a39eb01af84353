"""When the disk under a journal will be full, at the rate of its last hour. This module must not write."""

import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from twinloop.engine.journal.reader import Journal, Segment
from twinloop.kernels.rows import ROW, ROW_SIZE, SEAL

HOUR_NS: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """bytes_per_s: over the journal's last hour, or less where it is younger. full_in_s: None where nothing grows."""

    bytes_per_s: float
    free_bytes: int
    full_in_s: float | None


def forecast(journal: Journal, *, free_bytes: int | None = None) -> Forecast:
    """Rate and time left. free_bytes: of the disk, read from the system when None. Time is that of the seals: no clock is read."""
    if free_bytes is None:
        room = os.statvfs(journal.folder)
        free_bytes = room.f_bavail * room.f_frsize
    held = [segment for segment in journal.segments if segment.commits]
    if not held:
        return Forecast(0.0, free_bytes, None)
    last_ns = held[-1].last_wall_ns
    since_ns = max(last_ns - HOUR_NS, held[0].first_wall_ns)
    rows = sum(_rows_since(segment, since_ns) for segment in held)
    span_s = (last_ns - since_ns) / 1e9
    if span_s <= 0:
        return Forecast(0.0, free_bytes, None)
    rate = rows * ROW_SIZE / span_s
    return Forecast(rate, free_bytes, free_bytes / rate if rate > 0 else None)


def _rows_since(segment: Segment, since_ns: int) -> int:
    """Rows of commits sealed after a wall time, seals counted."""
    if segment.first_wall_ns > since_ns:
        return segment.rows
    if segment.last_wall_ns <= since_ns:
        return 0
    try:
        rows = np.memmap(segment.path, ROW, "r", segment.header_bytes, (segment.rows,))
    except FileNotFoundError:  # Archived since it was checked.
        return segment.rows
    seals = np.flatnonzero(rows["kind"] == SEAL)
    later = seals[rows["wall_ns"][seals] > since_ns]
    before = seals[: len(seals) - len(later)]
    return segment.rows - (int(before[-1]) + 1 if len(before) else 0)
