"""How far the venue's clock is ahead of ours, measured from round trips, and whether that may be relied on.

A sample is good to half its round trip; of the last few the tightest counts. An offset is unknown before the first sample, when the last
one is old, and when our wall clock has been set since (it moved against the monotonic one). This module must not read a clock.
"""

from array import array
from typing import Final

from twinloop.data.order_way import CLOCK_WORDS, OFFSET, RELIABLE, TAKEN, WALL_LESS_MONO

SAMPLES: Final = 8
AGE_MAX_NS: Final = 600_000_000_000
STEP_MAX_NS: Final = 100_000_000
ROUND_TRIP_MAX_NS: Final = 2_000_000_000
OFFSET_NS_MAX: Final = 2**61  # Whatever the venue says, our time and this fit a row.


class ClockOffset:
    """Samples of one venue's clock. offset_max_ns: beyond it nothing is signed. words: what compiled code reads."""

    def __init__(self, offset_max_ns: int) -> None:
        self._offset_max_ns = offset_max_ns
        self._samples: list[tuple[int, int]] = []  # (round trip, offset)
        self.words = array("q", bytes(8 * CLOCK_WORDS))
        self.error_ns = 0

    @property
    def offset_ns(self) -> int:
        """How far the venue's clock is ahead."""
        return self.words[OFFSET]

    def sample(self, sent_mono_ns: int, mono_ns: int, now_ns: int, server_ns: int) -> None:
        """A server time that was asked for at sent_mono_ns and came at mono_ns, when our wall clock said now_ns."""
        round_trip_ns = mono_ns - sent_mono_ns
        if not 0 <= round_trip_ns <= ROUND_TRIP_MAX_NS:
            return  # It says too little.
        words = self.words
        if abs(now_ns - mono_ns - words[WALL_LESS_MONO]) > STEP_MAX_NS:
            self._samples.clear()  # The wall clock was set: older samples are about another clock.
        self._samples.append((round_trip_ns, server_ns - (now_ns - round_trip_ns // 2)))
        del self._samples[:-SAMPLES]
        best = min(self._samples)
        words[OFFSET], self.error_ns = min(max(best[1], -OFFSET_NS_MAX), OFFSET_NS_MAX), best[0] // 2
        words[RELIABLE] = abs(best[1]) <= self._offset_max_ns
        words[TAKEN] = mono_ns
        words[WALL_LESS_MONO] = now_ns - mono_ns

    def forget(self) -> None:
        """The venue contradicts the offset: it is unknown until the next sample."""
        self._samples.clear()
        self.words[RELIABLE] = 0

    def known(self, now_ns: int, mono_ns: int) -> bool:
        """Whether the offset may be relied on."""
        return (
            bool(self._samples)
            and mono_ns - self.words[TAKEN] <= AGE_MAX_NS
            and abs(now_ns - mono_ns - self.words[WALL_LESS_MONO]) <= STEP_MAX_NS
        )

    def within(self, now_ns: int, mono_ns: int) -> bool:
        """Whether it is known and no larger than allowed."""
        return self.words[RELIABLE] != 0 and self.known(now_ns, mono_ns)
