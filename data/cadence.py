"""How often a stream speaks, learned from when it spoke: the base of a watchdog that asks no ping.

    cadence.heard(now_ns) for each message; cadence.silent(now_ns) now and then

Expected is the 99.9th percentile of the gaps seen, in buckets an eighth of an octave wide, older ones fading. A stream is silent when
the last gap exceeds that by its margin: at most MARGIN_NS past expected for streams that speak all the time (books, quotes), a multiple
for prints, which come in bursts. Until enough was seen a fixed time holds, or a multiple of the longest gap so far. This module must not read a clock.
"""

from dataclasses import dataclass, field
from typing import Final

MARGIN_NS: Final = 1_000_000_000
UNLEARNED_NS: Final = 2_000_000_000
FLOOR_NS: Final = 500_000_000
CEILING_NS: Final = 60_000_000_000
LEARNED_GAPS: Final = 200
LEARNED_PRINTS: Final = 1000
FADE_GAPS: Final = 1 << 15
UNLEARNED_TIMES: Final = 3
PRINTS_TIMES: Final = 3
_STEP_BITS: Final = 3
_BUCKETS: Final = 64 << _STEP_BITS
_RECALL_GAPS: Final = 64  # Gaps between two looks at the percentile.


def _bucket(gap_ns: int) -> int:
    octave = gap_ns.bit_length()
    return (
        (octave << _STEP_BITS) | ((gap_ns << _STEP_BITS >> (octave - 1)) & ((1 << _STEP_BITS) - 1)) if gap_ns > 0 else 0
    )


def _upper_ns(bucket: int) -> int:
    """The smallest gap that lies above a bucket."""
    octave, step = bucket >> _STEP_BITS, bucket & ((1 << _STEP_BITS) - 1)
    return (((1 << _STEP_BITS) + step + 1) << max(octave - 1, 0)) >> _STEP_BITS


@dataclass(eq=False, slots=True)
class Cadence:
    """Of one stream. prints: its messages come in bursts. fixed_ns: how long it may be silent, learned where 0."""

    prints: bool = False
    fixed_ns: int = 0
    last_ns: int = 0
    gaps: int = 0
    _counts: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    _kept: int = 0
    _expected_ns: int = 0
    _longest_ns: int = 0
    _due: int = LEARNED_GAPS

    def heard(self, now_ns: int) -> None:
        """The stream spoke."""
        if self.last_ns:
            gap_ns = min(now_ns - self.last_ns, CEILING_NS)
            self._counts[_bucket(gap_ns)] += 1
            self._longest_ns = max(self._longest_ns, gap_ns)
            self.gaps += 1
            self._kept += 1
            if self.gaps >= self._due:
                self._due = self.gaps + _RECALL_GAPS
                self._recall()
        self.last_ns = now_ns

    def began(self, now_ns: int) -> None:
        """It may speak from now on: the time before is no gap."""
        self.last_ns = now_ns

    def _recall(self) -> None:
        if self._kept > FADE_GAPS:
            self._counts = [count >> 1 for count in self._counts]
            self._kept = sum(self._counts)
        left = self._kept // 1000
        for bucket in range(_BUCKETS - 1, -1, -1):
            left -= self._counts[bucket]
            if left < 0:
                self._expected_ns = _upper_ns(bucket)
                return

    @property
    def expected_ns(self) -> int:
        """The longest usual gap; 0 while too little was seen."""
        return self._expected_ns

    @property
    def allowed_ns(self) -> int:
        """How long it may be silent."""
        if self.fixed_ns:
            return self.fixed_ns
        if not self._expected_ns or (self.prints and self.gaps < LEARNED_PRINTS):
            return CEILING_NS if self.prints else max(UNLEARNED_NS, UNLEARNED_TIMES * self._longest_ns)
        expected = self._expected_ns
        allowed = max(PRINTS_TIMES * expected, UNLEARNED_NS) if self.prints else expected + MARGIN_NS
        return min(max(allowed, FLOOR_NS), CEILING_NS)

    def silent(self, now_ns: int) -> bool:
        """Whether it has been silent for longer than it may."""
        return self.last_ns != 0 and now_ns - self.last_ns > self.allowed_ns
