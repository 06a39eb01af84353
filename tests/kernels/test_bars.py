from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference.bars import BarBuilder

from twinloop.kernels import bars
from twinloop.kernels.bars import BAR, BAR_STATE

KINDS = ["time", "tick", "volume", "notional"]


def build(name: Any) -> Any:
    compiled = getattr(bars, name)
    return compiled, getattr(compiled, "py_func", compiled)


BUILDS = [0, 1]
INIT, CLOCK, TRADE, FLUSH = (build(n) for n in ("bar_init", "bar_on_clock", "bar_on_trade", "bar_flush"))


def fresh(kind: Any, size: Any, price_scale: Any = 2, qty_scale: Any = 3, which: int = 0) -> Any:
    state = np.zeros(1, BAR_STATE)
    assert INIT[which](state[0], KINDS.index(kind), size, price_scale, qty_scale) == bars.BAR_OK
    return state[0]


def closed_bar(state: Any) -> Any:
    return {name: int(state["closed"][name]) for name in BAR.names or ()}


PRICES = st.one_of(st.integers(1, 10**6), st.integers(1, 2**62 - 1), st.integers(-(10**9), 10**9))
QTYS = st.one_of(st.integers(0, 10**5), st.integers(0, 2**62 - 1))
STEPS = st.lists(st.tuples(st.booleans(), PRICES, QTYS, st.integers(0, 25)), max_size=40)


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
@given(
    kind=st.sampled_from(KINDS),
    size=st.one_of(st.integers(1, 30), st.integers(1, 2**62 - 1)),
    price_scale=st.integers(0, 13),
    qty_scale=st.integers(0, 13),
    steps=STEPS,
)
@example(kind="volume", size=2**62 - 1, price_scale=0, qty_scale=0, steps=[(True, 1, 2**62 - 1, 0)] * 3)
def test_bars_equal_the_definition(
    which: int, kind: Any, size: Any, price_scale: Any, qty_scale: Any, steps: Any
) -> None:
    state = fresh(kind, size, price_scale, qty_scale, which)
    twin = BarBuilder(kind, size, price_scale, qty_scale)
    now_ns = 1_700_000_000_000_000_000
    for is_trade, price, qty, gap in steps:
        now_ns += gap
        if is_trade:
            got, want = TRADE[which](state, price, qty, now_ns), twin.trade(price, qty, now_ns)
        else:
            got, want = CLOCK[which](state, now_ns), twin.clock(now_ns)
        assert got == want
        assert state["count"] == len(twin.bars)
        if want:
            assert closed_bar(state) == twin.bars[-1].as_dict()
    assert FLUSH[which](state, now_ns) == twin.flush(now_ns)
    if twin.bars:
        assert closed_bar(state) == twin.bars[-1].as_dict()
    assert FLUSH[which](state, now_ns) == 0


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
@given(
    a=st.integers(-(2**62) + 1, 2**62 - 1),
    b=st.integers(-(2**62) + 1, 2**62 - 1),
)
def test_product_of_limbs_is_exact(which: int, a: Any, b: Any) -> None:
    high, low = build("multiply_limbs")[which](np.int64(a), np.int64(b))
    assert 0 <= low < 2**62
    assert int(high) * 2**62 + int(low) == a * b


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
def test_time_bar_closes_at_its_end_and_not_before(which: int) -> None:
    state = fresh("time", 100, which=which)
    assert CLOCK[which](state, 10**18) == 0
    assert TRADE[which](state, 5, 1, 1050) == 0
    assert CLOCK[which](state, 1099) == 0
    assert CLOCK[which](state, 1100) == 1
    assert (state["closed"]["start_ns"], state["closed"]["end_ns"]) == (1000, 1100)
    assert CLOCK[which](state, 1101) == 0


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
def test_trade_at_the_end_belongs_to_the_next_bar(which: int) -> None:
    state = fresh("time", 100, which=which)
    TRADE[which](state, 5, 1, 1000)
    assert TRADE[which](state, 7, 2, 1100) == 1
    assert state["closed"]["close"] == 5
    assert state["open"] == 7


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
def test_empty_interval_makes_no_bar(which: int) -> None:
    state = fresh("time", 100, which=which)
    TRADE[which](state, 5, 1, 1000)
    assert TRADE[which](state, 6, 1, 5012) == 1
    assert CLOCK[which](state, 9999) == 1
    assert state["count"] == 2
    assert (state["closed"]["start_ns"], state["closed"]["open"]) == (5000, 6)


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
def test_whole_trade_belongs_to_the_bar_it_closes(which: int) -> None:
    state = fresh("volume", 100, which=which)
    assert TRADE[which](state, 5, 99, 1) == 0
    assert TRADE[which](state, 5, 500, 2) == 1
    assert state["closed"]["volume"] == 599
    assert state["volume"] == 0


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
@pytest.mark.parametrize(
    ("kind", "size", "price_scale", "qty_scale", "answer"),
    [
        (4, 1, 0, 0, bars.BAR_BAD_KIND),
        (-1, 1, 0, 0, bars.BAR_BAD_KIND),
        (0, 0, 0, 0, bars.BAR_BAD_SIZE),
        (0, 2**62, 0, 0, bars.BAR_BAD_SIZE),
        (0, 1, 19, 0, bars.BAR_BAD_SCALE),
        (0, 1, 0, -1, bars.BAR_BAD_SCALE),
        (0, 1, 13, 14, bars.BAR_BAD_SCALE),
    ],
)
def test_wrong_configuration_is_refused(
    which: int, kind: Any, size: Any, price_scale: Any, qty_scale: Any, answer: Any
) -> None:
    state = np.zeros(1, BAR_STATE)
    assert INIT[which](state[0], kind, size, price_scale, qty_scale) == answer
    assert not state[0]["size"]


def test_nested_state_runs_compiled_and_plain_alike() -> None:
    node = np.zeros(2, np.dtype([("pad", "<i8"), ("bars", BAR_STATE, (3,))], align=True))
    for which in BUILDS:
        state = node[which]["bars"][1]
        INIT[which](state, bars.TICK_BAR, 2, 1, 3)
        for i in range(5):
            TRADE[which](state, 100 + i, 10, 1000 + i)
    assert node[0].tobytes() == node[1].tobytes()
    assert node[0]["bars"][1]["count"] == 2
    assert not node[0]["bars"][0]["count"]


def vendor_bar(start: int, size: int, values: tuple[int, int, int, int], now_ns: int) -> Any:
    bar = np.zeros(1, BAR)[0]
    bar["start_ns"], bar["end_ns"], bar["closed_ns"] = start, start + size, now_ns
    bar["open"], spread, bar["volume"], bar["trades"] = values
    bar["high"], bar["low"], bar["close"] = bar["open"] + spread, bar["open"] - spread, bar["open"] + spread // 2
    bar["notional"] = int(bar["open"]) * int(bar["volume"])
    return bar


PARTS = st.lists(
    st.tuples(
        st.integers(1, 4), st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 99))
    ),
    max_size=30,
)  # fmt: skip


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
@given(factor=st.integers(1, 5), length=st.integers(1, 50), first=st.integers(-300, 300), parts=PARTS)
def test_bars_of_shorter_bars_are_their_groups(which: int, factor: int, length: int, first: int, parts: Any) -> None:
    """The twin: group by interval; a group is told by the bar that ends it, else by the first bar of a later one."""
    size = factor * length
    state = fresh("time", size, which=which)
    before, add = build("bar_before")[which], build("bar_on_bar")[which]
    start = first * length
    told: list[Any] = []
    groups: dict[int, list[Any]] = {}
    for gap, values in parts:
        start += gap * length
        bar = vendor_bar(start, length, values, now_ns=start + length + 3)
        groups.setdefault(start // size, []).append(bar)
        told += [closed_bar(state) for step in (before, add) if step(state, bar)]
    complete = [key for key, group in groups.items() if group[-1]["end_ns"] == (key + 1) * size or key < start // size]
    assert len(told) == len(complete) == state["count"]
    keys = list(groups)
    for got, key in zip(told, complete, strict=True):
        group = groups[key]
        ended = group[-1]["end_ns"] == (key + 1) * size
        closing = group[-1] if ended else groups[keys[keys.index(key) + 1]][0]
        assert got == {
            "start_ns": key * size,
            "end_ns": (key + 1) * size,
            "closed_ns": closing["closed_ns"],
            "open": group[0]["open"],
            "high": max(bar["high"] for bar in group),
            "low": min(bar["low"] for bar in group),
            "close": group[-1]["close"],
            "volume": sum(int(bar["volume"]) for bar in group),
            "notional": sum(int(bar["notional"]) for bar in group),
            "trades": sum(int(bar["trades"]) for bar in group),
            "flags": 0,
        }


JOIN = build("bar_joined")


def told_bar(trades: list[tuple[int, int, int]], start_ns: int, end_ns: int, price_scale: int, qty_scale: int) -> Any:
    """What a venue tells of some trades (price, qty, time)."""
    prices = [price for price, _, _ in trades]
    bar = np.zeros(1, BAR)[0]
    bar["start_ns"], bar["end_ns"], bar["closed_ns"], bar["trades"] = start_ns, end_ns, end_ns - 1, len(trades)
    if trades:
        bar["open"], bar["high"], bar["low"], bar["close"] = prices[0], max(prices), min(prices), prices[-1]
    bar["volume"] = sum(qty for _, qty, _ in trades)
    bar["notional"] = sum(price * qty for price, qty, _ in trades) * 10 ** (8 - price_scale - qty_scale)
    return bar


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
@given(
    scales=st.sampled_from([(0, 0), (2, 3), (1, 7), (4, 4)]),
    steps=st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(0, 25)), min_size=1, max_size=40
    ),
    told=st.lists(st.sampled_from([0, 1, 1, 5]), min_size=1, max_size=40),
)
def test_a_vendors_bar_counts_as_its_trades(which: int, scales: tuple[int, int], steps: Any, told: list[int]) -> None:
    """Of a series of 20 ns: each 5 ns come trade by trade (0), as one bar (1), or, where 20 begin, as one bar of 20 (5)."""
    now_ns, trades = 1_700_000_000_000_000_000, []
    for price, qty, gap in steps:
        now_ns += gap
        trades.append((price, qty, now_ns))
    twin, state = BarBuilder("time", 20, *scales), fresh("time", 20, *scales, which)
    at_ns, turn = trades[0][2] // 20 * 20, 0
    while at_ns <= now_ns:
        how = told[turn % len(told)]
        length = 20 if how == 5 and at_ns % 20 == 0 else 5
        its = [each for each in trades if at_ns <= each[2] < at_ns + length]
        for price, qty, time_ns in its:
            twin.trade(price, qty, time_ns)
        if how == 0:
            for each in its:
                TRADE[which](state, *each)
        else:
            CLOCK[which](state, at_ns + length - 1)
            assert JOIN[which](state, told_bar(its, at_ns, at_ns + length, *scales)) == bool(its)
        at_ns, turn = at_ns + length, turn + 1
        assert CLOCK[which](state, at_ns) == twin.clock(at_ns)
        assert state["count"] == len(twin.bars)
        if twin.bars:
            assert closed_bar(state) == twin.bars[-1].as_dict() | {"closed_ns": int(state["closed"]["closed_ns"])}


@pytest.mark.parametrize("which", BUILDS, ids=["compiled", "python"])
def test_a_vendors_bar_is_counted_nowhere_but_in_one_interval_of_time(which: int) -> None:
    across = told_bar([(5, 1, 95)], 95, 105, 2, 3)
    inside = told_bar([(5, 1, 95)], 90, 100, 2, 3)
    assert JOIN[which](fresh("time", 100, which=which), across) == 0
    assert JOIN[which](fresh("time", 50, which=which), inside) == 1
    assert JOIN[which](fresh("time", 25, which=which), inside) == 0, (
        "of a series with another length the next one may lie in two"
    )
    for kind in KINDS[1:]:
        assert JOIN[which](fresh(kind, 100, which=which), inside) == 0
    huge = fresh("time", 100, which=which)
    inside["volume"] = 2**62 - 1
    assert JOIN[which](huge, inside) == JOIN[which](huge, inside) == 1
    assert (int(huge["volume"]), int(huge["overflow"])) == (bars.VOLUME_MAX, bars.BAR_VOLUME_CLAMPED)
