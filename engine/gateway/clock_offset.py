"""How far the venue's clock is ahead of ours, measured from round trips, and whether that may be relied on.

A sample is good to half its round trip; of the last few the tightest counts. An offset is unknown before the first sample, when the last
one is old, and when our wall clock has been set since (it moved against the monotonic one). This module must not read a clock.
"""

from typing import Final

SAMPLES: Final = 8
AGE_MAX_NS: Final = 600_000_000_000
STEP_MAX_NS: Final = 100_000_000
ROUND_TRIP_MAX_NS: Final = 2_000_000_000


class ClockOffset:
    """Samples of one venue's clock. offset_max_ns: beyond it nothing is signed."""

    def __init__(self, offset_max_ns: int) -> None:
        self._offset_max_ns = offset_max_ns
        self._samples: list[tuple[int, int]] = []  # (round trip, offset)
        self._taken_mono_ns = 0
        self._wall_less_mono_ns = 0
        self._small = False
        self.offset_ns = 0
        self.error_ns = 0

    def sample(self, sent_mono_ns: int, mono_ns: int, now_ns: int, server_ns: int) -> None:
        """A server time that was asked for at sent_mono_ns and came at mono_ns, when our wall clock said now_ns."""
        round_trip_ns = mono_ns - sent_mono_ns
        if not 0 <= round_trip_ns <= ROUND_TRIP_MAX_NS:
            return  # It says too little.
        if abs(now_ns - mono_ns - self._wall_less_mono_ns) > STEP_MAX_NS:
            self._samples.clear()  # The wall clock was set: older samples are about another clock.
        self._samples.append((round_trip_ns, server_ns - (now_ns - round_trip_ns // 2)))
        del self._samples[:-SAMPLES]
        best = min(self._samples)
        self.offset_ns, self.error_ns = best[1], best[0] // 2
        self._small = abs(self.offset_ns) <= self._offset_max_ns
        self._taken_mono_ns = mono_ns
        self._wall_less_mono_ns = now_ns - mono_ns

    def forget(self) -> None:
        """The venue contradicts the offset: it is unknown until the next sample."""
        self._samples.clear()

    def known(self, now_ns: int, mono_ns: int) -> bool:
        """Whether the offset may be relied on."""
        return (
            bool(self._samples)
            and mono_ns - self._taken_mono_ns <= AGE_MAX_NS
            and abs(now_ns - mono_ns - self._wall_less_mono_ns) <= STEP_MAX_NS
        )

    def within(self, now_ns: int, mono_ns: int) -> bool:
        """Whether it is known and no larger than allowed."""
        return self._small and self.known(now_ns, mono_ns)
