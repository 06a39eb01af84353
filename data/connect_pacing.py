"""When to connect to an address again: waits that grow, jitter that never vanishes, and a venue's quota that is never reached.

    wait = pacing.wait_s(now_ns, draw)     # draw in [0, 1); then pacing.tried(now_ns), and pacing.ended(lived_ns) when it is over

A connection counts as a success only when it lived for a while: a venue that accepts and cuts at once is not hammered. Several
connections to one address share one. This module must not read a clock or draw.
"""

from collections import deque
from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
STEADY_NS: Final = 30_000_000_000
QUOTA: Final = 150  # Half of Binance's 300 per five minutes and address: other programs count too.
QUOTA_NS: Final = 300_000_000_000


class Pacing:
    """Of one address."""

    def __init__(self) -> None:
        self.failures = 0
        self._tries: deque[int] = deque(maxlen=QUOTA)

    def wait_s(self, now_ns: int, draw: float) -> float:
        """Seconds to wait before the next try; between half of the backoff and all of it, longer where the quota asks for it."""
        backoff_s = min(FIRST_S * 2.0 ** min(max(self.failures - 1, 0), 16), LONGEST_S) if self.failures else 0.0
        quota_s = 0.0
        if len(self._tries) == QUOTA:
            quota_s = max(self._tries[0] + QUOTA_NS - now_ns, 0) / 1e9
        return max(backoff_s * (0.5 + 0.5 * draw), quota_s)

    def tried(self, now_ns: int) -> None:
        """A try begins."""
        self._tries.append(now_ns)

    def ended(self, lived_ns: int) -> None:
        """A try failed, or its connection is over after so long."""
        self.failures = 1 if lived_ns >= STEADY_NS else self.failures + 1
