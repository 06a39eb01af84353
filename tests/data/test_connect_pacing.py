"""Connecting again is paced: jitter never collapses to zero, waits are capped, and a venue's quota is never reached."""

from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.connect_pacing import FIRST_S, LONGEST_S, QUOTA, QUOTA_NS, STEADY_NS, Pacing

SECOND = 10**9
VENUE_QUOTA = 300  # Binance, per five minutes and address.


@given(failures=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_the_wait_is_capped_and_never_less_than_half_of_the_backoff(failures: int, draw: float) -> None:
    pacing = Pacing()
    pacing.failures = failures
    wait = pacing.wait_s(0, draw)
    assert FIRST_S / 2 <= wait <= LONGEST_S
    assert wait >= min(FIRST_S * 2 ** min(failures - 1, 10), LONGEST_S) / 2


def test_the_first_try_does_not_wait() -> None:
    assert Pacing().wait_s(0, 0.99) == 0


def test_a_connection_that_lived_for_a_while_begins_the_backoff_anew() -> None:
    pacing = Pacing()
    for _ in range(10):
        pacing.ended(STEADY_NS - 1)
    assert pacing.wait_s(0, 0.0) == LONGEST_S / 2
    pacing.ended(STEADY_NS)
    assert pacing.wait_s(0, 0.0) == FIRST_S / 2


@given(
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=7),
    lived=st.integers(0, 40),
    legs=st.integers(1, 4),
)
def test_whatever_a_venue_does_its_quota_of_connections_is_never_reached(
    draws: list[float], lived: int, legs: int
) -> None:
    """N9: refused, or accepted and cut after `lived` seconds, by several connections that share the address, for an hour."""
    pacing = Pacing()
    due = [0.0] * legs
    tries: list[float] = []
    for number in range(2000):
        leg = min(range(legs), key=lambda each: due[each])
        now = due[leg]
        wait = pacing.wait_s(int(now * SECOND), draws[number % len(draws)])
        if wait > 0 and number % 2 == 0:
            due[leg] = now + wait
            continue
        pacing.tried(int(now * SECOND))
        tries.append(now)
        pacing.ended(lived * SECOND)
        due[leg] = now + lived + pacing.wait_s(int((now + lived) * SECOND), draws[number % len(draws)])
        if due[leg] > 3600:
            break
    for place, at in enumerate(tries):
        within = sum(at <= other < at + QUOTA_NS / SECOND for other in tries[place:])
        assert within < VENUE_QUOTA


def test_the_quota_is_shared_by_all_connections_to_an_address() -> None:
    pacing = Pacing()
    for number in range(QUOTA):
        pacing.tried(number * SECOND // 10)
    assert pacing.wait_s(QUOTA * SECOND // 10, 0.0) == (QUOTA_NS - QUOTA * SECOND // 10) / SECOND
    assert pacing.wait_s(QUOTA_NS, 0.0) == 0
