"""Will the disk under a journal be full soon: an alarm in hours, before the journal has to stop trading.

From how fast the journal grew while it was followed, less what retention gave back, over the last hour, and what is free. This module must not read the disk or a clock.
"""

from collections import deque
from typing import Final

from twinloop.engine.sidecar.alarms import CRITICAL, WARNING, Alarm
from twinloop.kernels.rows import ROW_SIZE

SPAN_NS: Final = 600_000_000_000  # The rate is over at least this long.
LOOKS: Final = 6  # An hour of them: what retention gives back comes in lumps.
HOUR_S: Final = 3600.0
WARN_S: Final = 24 * HOUR_S
CRITICAL_S: Final = 2 * HOUR_S
REMEDY: Final = "set [journal] archive and keep_days, or `twinloop journal archive` and `retire` what was copied, or give it another disk"


class DiskWatch:
    """Looks now and then; rows: sealed so far, as they were counted by who follows."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque(
            maxlen=LOOKS
        )  # (monotonic ns, bytes grown) at each look that counted.
        self.full_in_s: float | None = None

    def look(self, now_ns: int, rows: int, free_bytes: int, where: str, freed_bytes: int = 0) -> Alarm | None:
        """An alarm where the disk is full within a day. now_ns: monotonic. freed_bytes: by retention, in all."""
        grown = rows * ROW_SIZE - freed_bytes
        if not self._looks:
            self._looks.append((now_ns, grown))
            return None
        if now_ns - self._looks[-1][0] < SPAN_NS:
            return None
        since_ns, before = self._looks[0]
        self._looks.append((now_ns, grown))
        rate = (grown - before) / ((now_ns - since_ns) / 1e9)
        self.full_in_s = free_bytes / rate if rate > 0 else None
        if self.full_in_s is None or self.full_in_s > WARN_S:
            return None
        severity = CRITICAL if self.full_in_s <= CRITICAL_S else WARNING
        return Alarm(
            f"disk-{severity}", severity,
            f"the journal's disk is full in {self.full_in_s / HOUR_S:.1f} hours, {free_bytes / 1e9:.1f} GB are free", where, REMEDY,
        )  # fmt: skip
