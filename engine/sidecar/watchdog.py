"""When is a session mute: judged from its heartbeat alone, as another process sees it.

    watchdog = Watchdog(mute_after_ns)
    verdict = watchdog.look(words, now_ns, exited=False)

A heartbeat that stands still for `mute_after_ns` of looks in time is a mute session, whatever keeps it: an endless loop in a strategy, a
stopped process, one that died. Looks that were late themselves prove nothing: after a pause of this process or of the machine the time
begins again. This module must not act, nor read a clock.
"""

from collections.abc import Mapping
from typing import Final

from twinloop.engine.live.shared import ENDED, RUNNING

ABSENT: Final = 0  # No session, or one that has not begun to trade.
ALIVE: Final = 1
MUTE: Final = 2
OVER: Final = 3  # It ended, and said so.
VERDICT_NAME: Final = {ABSENT: "no session", ALIVE: "alive", MUTE: "mute", OVER: "ended"}
LATE_LOOK_NS: Final = 500_000_000


class Watchdog:
    """Judges one session after another: each instance anew."""

    def __init__(self, mute_after_ns: int) -> None:
        self.mute_after_ns = mute_after_ns
        self.verdict = ABSENT
        self.instance = 0
        self._heartbeat = -1
        self._since_ns = 0
        self._looked_ns = 0

    def look(self, words: Mapping[str, int] | None, now_ns: int, *, exited: bool = False) -> int:
        """What to think of the session. now_ns: monotonic. exited: its process is known to be gone."""
        late = now_ns - self._looked_ns > LATE_LOOK_NS
        self._looked_ns = now_ns
        if words is None:
            self.verdict = ABSENT
        elif words["phase"] == ENDED:
            self.instance = words["instance"]
            self.verdict = OVER
        elif words["phase"] != RUNNING:  # It recovers: nothing of it can be at the venue but what was before.
            self.verdict = ABSENT
        elif late or (words["instance"], words["heartbeat"]) != (self.instance, self._heartbeat):
            moved = (words["instance"], words["heartbeat"]) != (self.instance, self._heartbeat)
            self.instance, self._heartbeat, self._since_ns = words["instance"], words["heartbeat"], now_ns
            self.verdict = ALIVE if moved or self.verdict != MUTE else MUTE
        elif exited or now_ns - self._since_ns >= self.mute_after_ns:
            self.verdict = MUTE
        return self.verdict

    def silent_ns(self, now_ns: int) -> int:
        """For how long the heartbeat has not moved, as far as it was looked at."""
        return now_ns - self._since_ns
