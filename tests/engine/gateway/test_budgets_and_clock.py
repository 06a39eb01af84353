"""The venue's limits kept below, bans that outlive a restart, and a clock that is relied on only while it is known."""

from hypothesis import given
from hypothesis import strategies as st

from twinloop.engine.gateway.clock_offset import AGE_MAX_NS, ClockOffset
from twinloop.engine.gateway.rate_budget import MINUTE_NS, OrderBudget, WeightBudget

S = 1_000_000_000


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 20 * S), st.integers(0, 60), st.booleans(), st.integers(0, 120)), max_size=80
    )
)
def test_weight_never_passes_the_limit_and_the_reserve_is_for_cancels(
    steps: list[tuple[int, int, bool, int]],
) -> None:
    budget = WeightBudget(100, cancel_reserve_ppm=200_000)
    spent: dict[int, int] = {}
    heard: dict[int, int] = {}
    now_ns = 7 * MINUTE_NS
    for wait_ns, weight, is_cancel, header in steps:
        now_ns += wait_ns
        minute = now_ns // MINUTE_NS
        if header > 60:
            budget.hears({"x-mbx-used-weight-1m": str(header)}, now_ns)
            heard[minute] = max(heard.get(minute, 0), header - spent.get(minute, 0))
        used = spent.get(minute, 0) + max(heard.get(minute, 0), 0)
        limit = 100 if is_cancel else 80
        assert budget.takes(weight, now_ns, is_cancel=is_cancel) == (used + weight <= limit)
        if used + weight <= limit:
            spent[minute] = spent.get(minute, 0) + weight


def test_a_hold_off_and_a_ban_stop_everything_until_they_end_and_outlive_a_restart() -> None:
    budget = WeightBudget(100)
    budget.hold_off(50 * S)
    budget.ban(90 * S)
    assert not budget.takes(1, 40 * S, is_cancel=True)
    again = WeightBudget(100)
    again.from_plain(budget.to_plain())
    again.from_plain({"held_off_until_ns": 1, "banned_until_ns": 2})  # An older state takes nothing back.
    assert again.blocked_until_ns(60 * S) == 90 * S
    assert not again.takes(1, 89 * S, is_cancel=True)
    assert again.takes(1, 90 * S, is_cancel=True)


def test_orders_are_counted_in_every_window() -> None:
    budget = OrderBudget((("10S", 10_000, 2), ("1D", 86_400_000, 3)))
    day = 20_000 * 86_400 * S
    assert [budget.takes(1, day), budget.takes(1, day), budget.takes(1, day)] == [True, True, False]
    assert [budget.takes(1, day + 10 * S), budget.takes(1, day + 20 * S)] == [True, False]
    assert budget.takes(0, day + 20 * S)
    budget.hears({"x-mbx-order-count-1d": "3"}, day + 86_400 * S)
    assert not budget.takes(1, day + 86_400 * S)
    assert OrderBudget((("10S", 10_000, 2),)).takes(1, 0)
    budget = OrderBudget((("10S", 10_000, 2),))
    budget.fill_up(5 * S)
    assert not budget.takes(1, 9 * S)
    assert budget.takes(1, 10 * S)


def test_closing_orders_have_room_where_others_have_none_and_cancels_more() -> None:
    budget = WeightBudget(100)
    assert budget.takes(80, 0, is_cancel=False)
    assert not budget.takes(1, 0, is_cancel=False)
    assert budget.takes(10, 0, is_cancel=False, is_closing=True)
    assert not budget.takes(1, 0, is_cancel=False, is_closing=True)
    assert budget.takes(10, 0, is_cancel=True)
    assert not budget.takes(1, 0, is_cancel=True)
    orders = OrderBudget((("10S", 10_000, 100), ("1M", 60_000, 200)))
    taken = 0
    while orders.takes(1, 0):
        taken += 1
    assert (taken, orders.full_until_ns) == (90, 10 * S)
    while orders.takes(1, 0, is_closing=True):
        taken += 1
    assert taken == 100
    while orders.takes(1, 10 * S):
        taken += 1
    assert (taken, orders.full_until_ns) == (180, 60 * S)


def test_headers_that_are_no_numbers_change_nothing() -> None:
    budget = WeightBudget(100)
    for text in ("", "-5", "x", "9" * 50, "1.5"):
        budget.hears({"x-mbx-used-weight-1m": text}, 0)
    assert budget.used(0) == 0


def test_the_tightest_sample_counts_and_half_its_round_trip_is_the_error() -> None:
    clock = ClockOffset(S)
    assert not clock.known(0, 0)
    clock.sample(0, 200_000_000, 1_000_200_000_000, 1_000_500_000_000)
    assert clock.offset_ns == 400_000_000
    clock.sample(S, S + 20_000_000, 1_001_020_000_000, 1_001_310_000_000)
    assert (clock.offset_ns, clock.error_ns) == (300_000_000, 10_000_000)
    clock.sample(2 * S, 2 * S + 500_000_000, 1_002_500_000_000, 1_003_000_000_000)
    assert clock.offset_ns == 300_000_000
    clock.sample(5 * S, 4 * S, 0, 0)  # A round trip that cannot be.
    assert clock.offset_ns == 300_000_000


def test_an_offset_is_unknown_when_old_or_set_or_contradicted_and_refused_when_large() -> None:
    clock = ClockOffset(100_000_000)
    clock.sample(0, 10_000_000, 1_000_010_000_000, 1_000_005_000_000)
    assert clock.within(1_000_010_000_000, 10_000_000)
    assert not clock.known(1_000_010_000_000 + AGE_MAX_NS + 1, 10_000_000 + AGE_MAX_NS + 1)
    hour_ns = 3600 * S
    assert not clock.known(1_000_010_000_000 + hour_ns, 10_000_000)  # Our wall clock was set.
    clock.sample(S, S + 10_000_000, 1_001_010_000_000, 1_001_005_000_000 + 200_000_000)
    clock.forget()
    assert not clock.known(1_001_010_000_000, S + 10_000_000)
    clock.sample(S, S + 10_000_000, 1_001_010_000_000, 1_001_005_000_000 + 200_000_000)
    assert clock.known(1_001_010_000_000, S + 10_000_000)
    assert not clock.within(1_001_010_000_000, S + 10_000_000)


def test_samples_from_before_the_wall_clock_was_set_are_forgotten() -> None:
    clock = ClockOffset(3600 * S * 2)
    clock.sample(0, 2_000_000, 1_000_002_000_000, 1_000_001_000_000)
    clock.sample(S, S + 90_000_000, 4_601_090_000_000, 1_001_045_000_000)
    assert clock.offset_ns == -3600 * S
