from math import isclose, isfinite
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from reference import indicators as twin

from twinloop.kernels import indicators as ind

WHICH = pytest.mark.parametrize("which", [0, 1], ids=["compiled", "python"])
WINDOWS = [1, 2, 3, 7, 32]  # Few, since each is a type and compiles once.

ORDINARY = st.floats(-1e6, 1e6)
PRICES = st.integers(1, 10**7).map(lambda ticks: ticks / 10)
HUGE = st.floats(-1e100, 1e100)
SERIES = st.one_of(
    st.lists(ORDINARY, min_size=1, max_size=80),
    st.lists(PRICES, min_size=1, max_size=80),
    st.lists(HUGE, min_size=1, max_size=80),
    st.builds(lambda x, n: [x] * n, ORDINARY, st.integers(1, 80)),
    st.lists(st.sampled_from([0.0, 0.1, 1.0, 1e9, -1e9]), min_size=1, max_size=80),
)


def pick(name: Any, which: int) -> Any:
    function = getattr(ind, name)
    return getattr(function, "py_func", function) if which else function


def run(name: Any, dtype: Any, inputs: Any, which: int, *init: Any) -> Any:
    """Outputs of one indicator over inputs (scalars or tuples), and its record."""
    record = np.zeros(1, dtype)
    assert pick(f"{name}_init", which)(record[0], *init) == ind.INDICATOR_OK
    update = pick(f"{name}_update", which)
    out = []
    for x in inputs:
        out.append(float(update(record[0], *x) if isinstance(x, tuple) else update(record[0], x)))
        assert record[0]["value"] == out[-1]
        assert isfinite(out[-1])
    return out, record[0]


def same(got: Any, want: Any, scale: Any, tolerance: Any = 1e-12) -> Any:
    for g, w in zip(got, want, strict=True):
        assert isclose(g, w, rel_tol=tolerance, abs_tol=scale * tolerance), (g, w)


def reach(xs: Any, window: Any) -> Any:
    """For each index the largest magnitude a rolling sum may still remember: two windows."""
    return [max(abs(x) for x in xs[max(0, i + 1 - 2 * window) : i + 1]) for i in range(len(xs))]


@WHICH
@given(xs=SERIES, window=st.sampled_from(WINDOWS))
def test_rolling_sum_and_mean_equal_the_exact_sum(which: int, xs: Any, window: Any) -> None:
    sums, record = run("rolling_sum", ind.rolling_sum_state(window), xs, which)
    means, _ = run("sma", ind.sma_state(window), xs, which)
    for i, (got, want) in enumerate(zip(sums, twin.rolling_sum(xs, window), strict=True)):
        assert isclose(got, want, rel_tol=1e-14, abs_tol=1e-28 * reach(xs, window)[i] * window)
    for i, (got, want) in enumerate(zip(means, twin.sma(xs, window), strict=True)):
        assert isclose(got, want, rel_tol=1e-14, abs_tol=1e-28 * reach(xs, window)[i] * window)
    assert bool(ind.is_ready(record)) == (len(xs) >= window)


@WHICH
@given(xs=SERIES, window=st.sampled_from(WINDOWS))
def test_rolling_std_equals_the_two_pass_definition(which: int, xs: Any, window: Any) -> None:
    got, record = run("rolling_std", ind.rolling_std_state(window), xs, which)
    want = twin.rolling_std(xs, window)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        here = max(abs(x) for x in twin.tail(xs[: i + 1], window))
        # Relative while the window varies; else what the rounding of its own values allows, whatever passed before.
        assert isclose(g, w, rel_tol=1e-9, abs_tol=1e-14 * here * window), (i, g, w)
    assert isclose(record["mean"], twin.sma(xs, window)[-1], rel_tol=1e-12, abs_tol=1e-28 * max(map(abs, xs)) * window)


@WHICH
def test_std_forgets_a_huge_value_that_left(which: int) -> None:
    xs = [1.0, 2.0, 1e15, *[3.0, 4.0, 5.0] * 10]
    got, _ = run("rolling_std", ind.rolling_std_state(7), xs, which)
    want = twin.rolling_std(xs, 7)
    same(got[9:], want[9:], 1.0)


@WHICH
def test_std_of_a_constant_series_is_zero(which: int) -> None:
    for x in (0.0, 0.1, 58710.2, 1e12 + 0.3, -1e-9):
        got, _ = run("rolling_std", ind.rolling_std_state(7), [x] * 50, which)
        assert max(got) <= 1e-15 * abs(x)


@WHICH
@given(xs=SERIES, window=st.sampled_from(WINDOWS))
def test_rolling_extremes_equal_min_and_max(which: int, xs: Any, window: Any) -> None:
    dtype = ind.rolling_extreme_state(window)
    assert run("rolling_min", dtype, xs, which)[0] == twin.rolling_min(xs, window)
    assert run("rolling_max", dtype, xs, which)[0] == twin.rolling_max(xs, window)


def test_a_record_that_no_init_accepted_is_never_ready() -> None:
    record = np.zeros(1, ind.EMA)[0]
    assert ind.ema_init(record, 0) == ind.INDICATOR_BAD_SIZE
    ind.ema_update(record, 1.0)
    assert not ind.is_ready(record)


@WHICH
@given(xs=SERIES, period=st.integers(1, 30))
def test_ema_equals_the_recursion(which: int, xs: Any, period: Any) -> None:
    got, record = run("ema", ind.EMA, xs, which, period)
    same(got, twin.ema(xs, period), max(map(abs, xs)))
    assert bool(ind.is_ready(record)) == (len(xs) >= period)


@WHICH
@given(xs=st.one_of(st.lists(PRICES, min_size=1, max_size=80), st.just([7.0] * 40)), period=st.integers(1, 20))
def test_rsi_equals_wilder(which: int, xs: Any, period: Any) -> None:
    got, record = run("rsi", ind.RSI, xs, which, period)
    same(got, twin.rsi(xs, period), 100.0, 1e-9)
    assert all(0.0 <= x <= 100.0 for x in got)
    assert bool(ind.is_ready(record)) == (len(xs) > period)


BARS = st.lists(
    st.tuples(PRICES, PRICES, PRICES).map(lambda t: (max(t), min(t), sorted(t)[1])), min_size=1, max_size=60
)


@WHICH
@given(bars=BARS, period=st.integers(1, 20))
def test_atr_equals_wilder(which: int, bars: Any, period: Any) -> None:
    got, record = run("atr", ind.ATR, bars, which, period)
    same(got, twin.atr(bars, period), max(high for high, _, _ in bars))
    assert bool(ind.is_ready(record)) == (len(bars) >= period)


TRADES = st.lists(
    st.tuples(PRICES, st.integers(1, 10**6).map(lambda lots: lots / 1000), st.integers(0, 40)), max_size=60
)


@WHICH
@given(trades=TRADES, session_ns=st.sampled_from([0, 50, 1000]), offset_ns=st.integers(-30, 30))
def test_vwap_equals_the_quotient_of_sums(which: int, trades: Any, session_ns: Any, offset_ns: Any) -> None:
    now_ns, inputs = 1_000_000, []
    for price, qty, gap in trades:
        now_ns += gap
        inputs.append((price, qty, now_ns))
    got, _ = run("vwap", ind.VWAP, inputs, which, session_ns, offset_ns)
    same(got, twin.vwap(inputs, session_ns, offset_ns), 0.0, 1e-13)


@WHICH
@given(trades=TRADES, window=st.sampled_from(WINDOWS))
def test_rolling_vwap_equals_the_quotient_of_sums(which: int, trades: Any, window: Any) -> None:
    inputs = [(price, qty) for price, qty, _ in trades]
    got, _ = run("rolling_vwap", ind.rolling_vwap_state(window), inputs, which)
    same(got, twin.rolling_vwap(inputs, window), 0.0, 1e-12)


@WHICH
def test_vwap_without_quantity_is_the_price(which: int) -> None:
    assert run("vwap", ind.VWAP, [(5.0, 0.0, 1)], which, 0, 0)[0] == [5.0]


@WHICH
@given(bid=st.integers(0, 2**62 - 1), ask=st.integers(0, 2**62 - 1))
def test_imbalance_and_microprice_stay_in_range(which: int, bid: Any, ask: Any) -> None:
    imbalance = pick("book_imbalance", which)(np.int64(bid), np.int64(ask))
    want = (bid - ask) / (bid + ask) if bid + ask else 0.0
    assert isclose(imbalance, want, rel_tol=1e-12, abs_tol=1e-15)
    price = pick("microprice", which)(100.0, 100.5, float(bid), float(ask))
    assert 100.0 <= price <= 100.5
    assert isclose(price, 100.25 + 0.25 * want, rel_tol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [2, 20, 500])
def test_rolling_indicators_equal_polars(seed: Any, window: Any) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    xs = 60_000.0 + np.cumsum(rng.integers(-3, 4, 5000)) / 10
    series = pl.Series(xs)
    inputs = xs.tolist()
    pairs = (
        ("sma", ind.sma_state, series.rolling_mean(window)),
        ("rolling_sum", ind.rolling_sum_state, series.rolling_sum(window)),
        ("rolling_std", ind.rolling_std_state, series.rolling_std(window)),
        ("rolling_min", ind.rolling_extreme_state, series.rolling_min(window)),
        ("rolling_max", ind.rolling_extreme_state, series.rolling_max(window)),
    )
    for name, factory, want in pairs:
        got, _ = run(name, factory(window), inputs, 0)
        np.testing.assert_allclose(got[window - 1 :], want.to_numpy()[window - 1 :], rtol=1e-8, atol=1e-9, err_msg=name)
    got, _ = run("ema", ind.EMA, inputs, 0, window)
    np.testing.assert_allclose(got, series.ewm_mean(span=window, adjust=False).to_numpy(), rtol=1e-12)


def test_wilder_smoothing_equals_polars_ewm() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    xs = rng.standard_normal(1000)
    record = np.zeros(1, ind.EMA)
    assert ind.ema_init_alpha(record[0], 1 / 14, 14) == ind.INDICATOR_OK
    got = [float(ind.ema_update(record[0], x)) for x in xs]
    np.testing.assert_allclose(
        got, pl.Series(xs).ewm_mean(alpha=1 / 14, adjust=False).to_numpy(), rtol=1e-12, atol=1e-15
    )


STRATEGY = np.dtype(
    [
        ("position", "<i4"),
        ("fast", ind.EMA),
        ("mean", ind.sma_state(7)),
        ("spread", ind.rolling_std_state(7)),
        ("low", ind.rolling_extreme_state(7)),
        ("strength", ind.RSI),
        ("day", ind.VWAP),
    ],
    align=True,
)


def start(node: Any) -> Any:
    ind.ema_init(node["fast"], 5)
    ind.sma_init(node["mean"])
    ind.rolling_std_init(node["spread"])
    ind.rolling_min_init(node["low"])
    ind.rsi_init(node["strength"], 5)
    ind.vwap_init(node["day"], 1000, 0)


def step(node: Any, x: Any, now_ns: Any) -> Any:
    return (
        ind.ema_update(node["fast"], x)
        + ind.sma_update(node["mean"], x)
        + ind.rolling_std_update(node["spread"], x)
        + ind.rolling_min_update(node["low"], x)
        + ind.rsi_update(node["strength"], x)
        + ind.vwap_update(node["day"], x, 1.0, now_ns)
    )


def test_states_nested_in_a_strategy_give_the_same_bytes_compiled_and_not() -> None:
    compiled_start, compiled_step = njit(start), njit(step)
    nodes = np.zeros(2, STRATEGY)
    plain = nodes.view(np.recarray)[1]
    assert isinstance(plain, np.record)
    compiled_start(nodes[0])
    start(plain)
    rng = np.random.Generator(np.random.PCG64(1))
    for i, x in enumerate((6000 + np.cumsum(rng.integers(-5, 6, 300))) / 10):
        assert compiled_step(nodes[0], x, i * 10) == step(plain, x, i * 10)
    assert nodes[0].tobytes() == nodes[1].tobytes()


@WHICH
def test_wrong_sizes_are_refused(which: int) -> None:
    for name, dtype, wrong in (
        ("ema_init", ind.EMA, (0,)),
        ("ema_init_alpha", ind.EMA, (0.0, 1)),
        ("ema_init_alpha", ind.EMA, (1.1, 1)),
        ("ema_init_alpha", ind.EMA, (0.5, 0)),
        ("rsi_init", ind.RSI, (0,)),
        ("atr_init", ind.ATR, (0,)),
        ("vwap_init", ind.VWAP, (-1, 0)),
    ):
        record = np.zeros(1, dtype)
        assert pick(name, which)(record[0], *wrong) == ind.INDICATOR_BAD_SIZE
        assert not record[0]["warmup"]
    for factory in (ind.rolling_sum_state, ind.sma_state, ind.rolling_std_state, ind.rolling_extreme_state):
        for window in (0, -1, ind.WINDOW_MAX + 1):
            with pytest.raises(ValueError, match="window must be in"):
                factory(window)
