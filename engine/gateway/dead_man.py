"""The venue's dead-man timer: it cancels a symbol's orders unless it is told in time that we live.

Armed per symbol when an order of ours is open there, and renewed well before it runs out. A timer that would be renewed while nothing is
open is disarmed instead: not sooner, since orders come and go much faster than that, and each word to the venue has its weight. If no
renewal was heard for the timer's length it may have fired: what is open then is to be asked about. This module must not send anything.
"""


class DeadMan:
    """Times of one session's timers, monotonic ns. timeout_ms 0: the venue has none."""

    def __init__(self, timeout_ms: int, refresh_ns: int) -> None:
        self.timeout_ms = timeout_ms
        self._refresh_ns = refresh_ns
        self._due: dict[int, int] = {}
        self._armed: dict[int, int] = {}
        self._ending = False

    @property
    def runs(self) -> bool:
        """Whether a timer of ours may run at the venue."""
        return bool(self._due)

    def end(self) -> None:
        """Everything is being cancelled: a timer is disarmed as soon as nothing is open."""
        self._ending = True

    def due(self, wanted: set[int], mono_ns: int) -> list[tuple[int, int]]:
        """(instrument, countdown in ms) to send now; 0 disarms. wanted: instruments with open orders."""
        if self.timeout_ms == 0:
            return []
        found = [
            (instrument, self.timeout_ms) for instrument in sorted(wanted) if self._due.get(instrument, 0) <= mono_ns
        ]
        idle = [
            instrument
            for instrument, due_ns in self._due.items()
            if instrument not in wanted and (self._ending or due_ns <= mono_ns)
        ]
        for instrument in idle:
            del self._due[instrument]
            self._armed.pop(instrument, None)
            found.append((instrument, 0))
        return found

    def sent(self, instrument: int, mono_ns: int, *, refused: bool) -> None:
        """A refresh is on its way, or could not be sent."""
        self._ending = self._ending and instrument in self._due
        self._due[instrument] = mono_ns + (self._refresh_ns // 10 if refused else self._refresh_ns)

    def armed(self, instrument: int, sent_mono_ns: int) -> None:
        """The venue confirmed a refresh that was sent then."""
        if instrument in self._due:
            self._armed[instrument] = max(self._armed.get(instrument, 0), sent_mono_ns)

    def fired(self, mono_ns: int) -> list[int]:
        """Instruments whose timer may have run out, each told once."""
        limit_ns = self.timeout_ms * 1_000_000
        late = [instrument for instrument, armed_ns in self._armed.items() if mono_ns - armed_ns > limit_ns]
        for instrument in late:
            del self._armed[instrument]
        return late
