"""Will the disk under a journal be full soon: an alarm in hours, before the journal has to stop trading.

From how fast the journal grew while it was followed, and what is free. This module must not read the disk or a clock.
"""

from typing import Final

from twinloop.engine.sidecar.alarms import CRITICAL, WARNING, Alarm
from twinloop.kernels.rows import ROW_SIZE

SPAN_NS: Final = 600_000_000_000  # The rate is over at least this long.
HOUR_S: Final = 3600.0
WARN_S: Final = 24 * HOUR_S
CRITICAL_S: Final = 2 * HOUR_S
REMEDY: Final = "`twinloop journal archive`, then `retire` what was copied elsewhere, or give it another disk"


class DiskWatch:
    """Looks now and then; rows: sealed so far, as they were counted by who follows."""

    def __init__(self) -> None:
        self._since: tuple[int, int] | None = None
        self.full_in_s: float | None = None

    def look(self, now_ns: int, rows: int, free_bytes: int, where: str) -> Alarm | None:
        """An alarm where the disk is full within a day. now_ns: monotonic."""
        if self._since is None:
            self._since = now_ns, rows
            return None
        since_ns, before = self._since
        if now_ns - since_ns < SPAN_NS:
            return None
        self._since = now_ns, rows
        rate = (rows - before) * ROW_SIZE / ((now_ns - since_ns) / 1e9)
        self.full_in_s = free_bytes / rate if rate > 0 else None
        if self.full_in_s is None or self.full_in_s > WARN_S:
            return None
        severity = CRITICAL if self.full_in_s <= CRITICAL_S else WARNING
        return Alarm(
            f"disk-{severity}", severity,
            f"the journal's disk is full in {self.full_in_s / HOUR_S:.1f} hours, {free_bytes / 1e9:.1f} GB are free", where, REMEDY,
        )  # fmt: skip
