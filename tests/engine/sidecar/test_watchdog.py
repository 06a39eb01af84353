"""A session is mute when its heartbeat stands still while somebody looks in time, and never before."""

from typing import Any

import pytest

from twinloop.engine.live.shared import ENDED, RUNNING, SESSION, STARTING
from twinloop.engine.sidecar.watchdog import ABSENT, ALIVE, LATE_LOOK_NS, MUTE, OVER, Watchdog

SECOND = 10**9
MUTE_AFTER = 3 * SECOND
LOOK = SECOND // 10


def words(heartbeat: int, instance: int = 5, phase: int = RUNNING) -> dict[str, int]:
    return dict.fromkeys(SESSION, 0) | {"instance": instance, "phase": phase, "heartbeat": heartbeat}


def looked(watchdog: Watchdog, start_ns: int, looks: int, **more: Any) -> list[int]:
    return [watchdog.look(words(1, **more), start_ns + at * LOOK) for at in range(looks)]


def test_a_heartbeat_that_stands_still_for_so_long_is_mute() -> None:
    watchdog = Watchdog(MUTE_AFTER)
    verdicts = looked(watchdog, 0, 40)
    assert verdicts[:30] == [ALIVE] * 30
    assert verdicts[31:] == [MUTE] * 9
    assert watchdog.look(words(2), 40 * LOOK) == ALIVE


def test_a_heartbeat_that_moves_is_alive_however_slowly() -> None:
    watchdog = Watchdog(MUTE_AFTER)
    for at in range(500):
        assert watchdog.look(words(at // 25), at * LOOK) == ALIVE


def test_a_pause_of_the_watchdog_itself_proves_nothing() -> None:
    watchdog = Watchdog(MUTE_AFTER)
    looked(watchdog, 0, 20)
    paused_ns = 20 * LOOK + 30 * SECOND  # The machine slept: both stood still.
    assert looked(watchdog, paused_ns, 30) == [ALIVE] * 30
    assert looked(watchdog, paused_ns + 30 * LOOK, 2)[-1] == MUTE
    assert watchdog.look(words(1), paused_ns + 32 * LOOK + LATE_LOOK_NS + LOOK) == MUTE  # What was mute stays so.


@pytest.mark.parametrize(("phase", "verdict"), [(STARTING, ABSENT), (ENDED, OVER), (0, ABSENT)])
def test_a_session_that_recovers_or_has_ended_is_not_mute(phase: int, verdict: int) -> None:
    watchdog = Watchdog(MUTE_AFTER)
    assert set(looked(watchdog, 0, 100, phase=phase)) == {verdict}
    assert watchdog.look(None, 100 * LOOK) == ABSENT


def test_a_process_that_is_gone_is_mute_at_once() -> None:
    watchdog = Watchdog(MUTE_AFTER)
    looked(watchdog, 0, 3)
    assert watchdog.look(words(1), 3 * LOOK, exited=True) == MUTE
    assert watchdog.look(words(1, phase=ENDED), 4 * LOOK, exited=True) == OVER


def test_each_instance_is_judged_anew() -> None:
    watchdog = Watchdog(MUTE_AFTER)
    looked(watchdog, 0, 40)
    assert watchdog.verdict == MUTE
    assert watchdog.look(words(1, instance=6), 41 * LOOK) == ALIVE
    assert watchdog.instance == 6
