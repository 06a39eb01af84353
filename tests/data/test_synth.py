import hashlib
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.market import check

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.rowfile import open_rows
from twinloop.data.synth import SynthSymbol, need_room, synthesise, synthetic_instrument, write_synth
from twinloop.kernels import rows

# Of the 20,000 rows of SCRIPT: the same on every machine.
DIGEST = "d3a1e1736f9b91fcd272b70bc463c56f20acefae8032c468724b5eb439bbf7d4"


def make(*args: Any, **kwargs: Any) -> Any:
    instruments, chunks = synthesise(*args, **kwargs)
    return instruments, joined(chunks)


def joined(chunks: Any) -> Any:
    """Rows of all chunks; by words, since np.concatenate would lay the overlapping fields of ROW side by side."""
    return np.concatenate([chunk.view(np.int64) for chunk in chunks]).view(rows.ROW)


def symbol(name: str, **kwargs: Any) -> SynthSymbol:
    return SynthSymbol(instrument=synthetic_instrument(name), **kwargs)


def digest(made: Any) -> str:
    return hashlib.sha256(made.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def market() -> Any:
    return make(["ALPHAUSDT"], rows=400_000, seed=7)[1]


def test_stream_obeys_every_rule_of_a_book(market: Any) -> None:
    books = check(market[:100_000])
    assert set(books) == {0}
    assert books[0].trade_id > 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"price": "10", "depth_ticks": 1024},
        {"price": "10", "volatility_bps": 1000.0, "events_per_s": 1.0},
        {"volatility_bps": 1000.0, "events_per_s": 2.0},
        {"volatility_bps": 0.0, "depth_ticks": 10, "levels_per_event": 30.0},
        {"best_qty": "0.01", "trade_qty": "1000"},
        {"events_per_s": 100_000.0, "jitter_us": 0, "latency_us": 1},
        {"events_per_s": 0.01, "volatility_bps": 50.0},
    ],
    ids=str,
)
def test_extreme_settings_obey_every_rule_too(settings: Any) -> None:
    check(make([symbol("X", **settings)], rows=20_000, seed=3)[1])


@settings(max_examples=10)
@given(seed=st.integers(0, 2**64 - 1))
def test_any_seed_obeys_every_rule(seed: int) -> None:
    check(make(["A", "B"], rows=6000, seed=seed, correlation=0.5, reversion_s=1.0)[1])


def test_statistics_are_of_the_order_of_the_recorded_market(market: Any) -> None:
    kind = market["kind"]
    seconds = (market["venue_ns"][-1] - market["venue_ns"][0]) / 1e9
    trades, quotes, levels = (market[kind == code] for code in (rows.TRADE, rows.QUOTE, rows.LEVEL))
    assert 1000 < market.size / seconds < 2500
    assert 30 < trades.size / seconds < 120
    assert 120 < quotes.size / seconds < 250
    spread = quotes["ask"] - quotes["bid"]
    assert spread.min() == 1
    assert 0.85 < (spread == 1).mean() < 0.99
    assert 1.3 < spread.mean() < 3.0
    assert 0.12 < (levels["qty"] == 0).mean() < 0.35
    assert 5 < np.median(trades["qty"]) < 60
    assert np.quantile(trades["qty"], 0.999) > 20 * trades["qty"].mean()  # A heavy tail.
    assert 0.45 < (trades["side"] > 0).mean() < 0.55
    gaps = np.diff(np.unique(trades["venue_ns"]))
    assert gaps.std() > 1.1 * gaps.mean()  # Clustered: a Poisson stream has 1.
    latency = market["local_ns"] - market["venue_ns"]
    assert latency.min() >= 2_000_000
    assert 2_300_000 < np.median(latency) < 4_000_000
    grid = np.arange(quotes["venue_ns"][0], quotes["venue_ns"][-1], 10**9)
    at = np.searchsorted(quotes["venue_ns"], grid, side="right") - 1
    mid = (quotes["bid"] + quotes["ask"])[at] / 2
    assert 0.8 < np.diff(mid).std() / mid.mean() * 1e4 < 1.7


def test_same_seed_gives_the_same_bytes_whatever_the_chunks(market: Any) -> None:
    want = digest(market)
    for chunk_rows in (997, 65_536, 10**6):
        assert digest(make(["ALPHAUSDT"], rows=400_000, seed=7, chunk_rows=chunk_rows)[1]) == want
    sizes = [chunk.size for chunk in synthesise(["A", "B"], rows=50_000, seed=7, chunk_rows=999)[1]]
    assert set(sizes[:-1]) == {999}
    assert digest(make(["ALPHAUSDT"], rows=400_000, seed=8)[1]) != want


def test_chunks_stay_valid_after_the_next_one() -> None:
    chunks = list(islice(synthesise(["A"], rows=5000, seed=1, chunk_rows=1000)[1], 3))
    again = list(islice(synthesise(["A"], rows=5000, seed=1, chunk_rows=1000)[1], 3))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(chunks, again, strict=True))


def test_bytes_are_those_of_the_first_release() -> None:
    assert digest(make(["A", "B"], rows=20_000, seed=42, correlation=0.8, reversion_s=30.0)[1]) == DIGEST


SCRIPT = """
import hashlib, sys
import numpy as np
from twinloop.data.synth import synthesise
chunks = synthesise(["A", "B"], rows=20_000, seed=42, correlation=0.8, reversion_s=30.0)[1]
print(hashlib.sha256(b"".join(chunk.tobytes() for chunk in chunks)).hexdigest())
"""


@pytest.mark.parametrize("variable", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_bytes_are_the_same_without_the_compiler_and_with_bounds_checks(variable: str, tmp_path: Path) -> None:
    environment = os.environ | {variable: "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == DIGEST


def test_another_symbol_changes_no_row_of_the_first() -> None:
    alone = make(["A"], duration_s=20, seed=5, correlation=0.7)[1]
    instruments, both = make(["B", "A"], duration_s=20, seed=5, correlation=0.7)
    assert [instrument.symbol for instrument in instruments] == ["B", "A"]
    part = both[both["instrument"] == 1].copy()
    part["instrument"] = 0
    assert part.tobytes() == alone.tobytes()


@pytest.mark.parametrize(("correlation", "low", "high"), [(0.0, -0.15, 0.15), (0.9, 0.75, 1.0)])
def test_correlation_shows_in_the_mids(correlation: float, low: float, high: float) -> None:
    made = make(["A", "B"], duration_s=600, seed=11, correlation=correlation)[1]
    changes = []
    for slot in (0, 1):
        quotes = made[(made["kind"] == rows.QUOTE) & (made["instrument"] == slot)]
        grid = np.arange(quotes["venue_ns"][0], quotes["venue_ns"][-1], 10**9)[:595]
        at = np.searchsorted(quotes["venue_ns"], grid, side="right") - 1
        changes.append(np.diff((quotes["bid"] + quotes["ask"])[at]))
    assert low < np.corrcoef(changes)[0, 1] < high


def test_rows_end_with_a_whole_message() -> None:
    for count in (1, 500, 5000, 5001, 5002, 5003):
        made = make(["A", "B"], rows=count, seed=1)[1]
        longer = make(["A", "B"], rows=count + 3000, seed=1)[1]
        assert made.size >= count
        assert longer[: made.size].tobytes() == made.tobytes()
        last, after = longer[made.size - 1], longer[made.size]
        assert (last["venue_ns"], last["instrument"]) != (after["venue_ns"], after["instrument"])
        before = longer[count - 1]
        assert (last["venue_ns"], last["instrument"]) == (before["venue_ns"], before["instrument"])


def test_duration_ends_before_its_end() -> None:
    made = make(["A"], duration_s=3, seed=1, start_ns=10**18)[1]
    assert made["venue_ns"].min() == 10**18
    assert 10**18 + 2_800_000_000 < made["venue_ns"].max() < 10**18 + 3_000_000_000


@pytest.mark.parametrize("settings", [{}, {"events_per_s": 60.0}, {"levels_per_event": 20.0}], ids=str)
def test_a_market_that_the_disk_cannot_take_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    of_a_minute = make([symbol("A", **settings)], duration_s=60.0, seed=1)[1].size
    usage = [0]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=usage[0]))
    market = [symbol("A", **settings)]
    path = tmp_path / "missing" / "a.rows"
    for free, fits in ((0.7, False), (1.3, True)):
        usage[0] = int(of_a_minute * 64 * free)
        for limits in ({"rows": None, "duration_s": 60.0}, {"rows": of_a_minute, "duration_s": None}):
            if fits:
                need_room(path, market, **limits)
            else:
                with pytest.raises(DataError, match="no room"):
                    need_room(path, market, **limits)
        need_room(path, market, rows=100, duration_s=60.0)


def test_file_opens_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "market.rows"
    manifest = write_synth(path, ["A", symbol("B", price="2600")], rows=30_000, seed=9, correlation=0.5)
    stored, again = open_rows(path, verify=True)
    assert again == manifest
    assert manifest.details["seed"] == 9
    assert stored.tobytes() == make(["A", symbol("B", price="2600")], rows=30_000, seed=9, correlation=0.5)[1].tobytes()
    assert {instrument.venue for instrument in manifest.instruments} == {"synthetic"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbols": []}, "symbols"),
        ({"symbols": ["A", "A"]}, "symbols"),
        ({"rows": 0}, "rows"),
        ({"rows": None}, "rows"),
        ({"duration_s": -1}, "duration_s"),
        ({"duration_s": float("nan")}, "duration_s"),
        ({"seed": -1}, "seed"),
        ({"correlation": 1.5}, "correlation"),
        ({"reversion_s": 0.01}, "reversion_s"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"start_ns": 0}, "start_ns"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(change: Any, field: str) -> None:
    arguments = {"symbols": ["A"], "rows": 10, "seed": 1} | change
    with pytest.raises(ConfigError) as caught:
        synthesise(arguments.pop("symbols"), **arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", "9.9"),
        ("price", "cheap"),
        ("best_qty", "0.001"),
        ("trade_qty", "0"),
        ("events_per_s", 0.0),
        ("events_per_s", float("nan")),
        ("levels_per_event", 31.0),
        ("volatility_bps", -1.0),
        ("depth_ticks", 1025),
        ("latency_us", 0),
        ("jitter_us", -1),
    ],
)
def test_wrong_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        symbol("A", **{field: value})
    assert caught.value.field == field
