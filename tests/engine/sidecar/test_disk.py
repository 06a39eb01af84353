"""A disk that fills is told hours before it is full."""

from twinloop.engine.sidecar.alarms import CRITICAL, WARNING
from twinloop.engine.sidecar.disk import SPAN_NS, DiskWatch

GIGA = 10**9
ROWS_A_SPAN = 600 * GIGA // 64 // 1000  # A megabyte a second over ten minutes.


def test_an_alarm_by_what_is_left_at_the_rate_so_far() -> None:
    for free, severity in ((100 * GIGA, None), (80 * GIGA, WARNING), (7 * GIGA, CRITICAL)):
        watch = DiskWatch()
        assert watch.look(0, 0, free, "here") is None
        assert watch.look(SPAN_NS - 1, ROWS_A_SPAN, free, "here") is None
        found = watch.look(SPAN_NS, ROWS_A_SPAN, free, "here")
        assert (found.severity if found is not None else None) == severity
        assert watch.full_in_s is not None
        assert abs(watch.full_in_s - free / 1e6) < 2


def test_a_journal_that_does_not_grow_never_fills_it() -> None:
    watch = DiskWatch()
    watch.look(0, 5, 1, "here")
    assert watch.look(2 * SPAN_NS, 5, 1, "here") is None
    assert watch.full_in_s is None
