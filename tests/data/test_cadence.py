"""A watchdog learns from the stream itself: no false alarm on real markets, and a stall is seen a second past what is usual."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.cadence import CEILING_NS, MARGIN_NS, UNLEARNED_NS, Cadence, _bucket, _upper_ns

MS = 1_000_000


@given(gap=st.integers(1, 2**60))
def test_a_gap_lies_below_its_buckets_end_and_at_most_an_eighth_below(gap: int) -> None:
    end = _upper_ns(_bucket(gap))
    assert gap < end or gap < 8
    assert end <= gap + max(gap // 8, 8) + 1


def test_before_enough_was_seen_a_fixed_time_holds() -> None:
    cadence = Cadence()
    assert not cadence.silent(10**18)  # Nothing was heard, nothing is missed.
    cadence.heard(1000 * MS)
    assert not cadence.silent(1000 * MS + UNLEARNED_NS)
    assert cadence.silent(1001 * MS + UNLEARNED_NS)


@pytest.mark.parametrize("usual_ms", [1, 20, 100, 1000])
def test_a_busy_stream_is_silent_a_second_past_its_usual_gap(usual_ms: int) -> None:
    cadence, now = Cadence(), 0
    for _ in range(1000):
        now += usual_ms * MS
        cadence.heard(now)
    assert usual_ms * MS <= cadence.expected_ns <= usual_ms * MS * 9 // 8 + 8
    assert not cadence.silent(now + usual_ms * MS)
    assert cadence.silent(now + usual_ms * MS * 9 // 8 + MARGIN_NS + MS)


def test_a_stream_that_becomes_slower_is_learned_anew() -> None:
    cadence, now = Cadence(), 0
    for gap_ms, times in ((1, 60_000), (300, 3000)):
        for _ in range(times):
            now += gap_ms * MS
            cadence.heard(now)
    assert cadence.expected_ns >= 300 * MS
    for _ in range(200_000):
        now += MS
        cadence.heard(now)
    assert cadence.expected_ns < 2 * MS


def test_what_was_configured_is_not_learned() -> None:
    cadence, now = Cadence(fixed_ns=200 * MS), 0
    for _ in range(1000):
        now += 5000 * MS
        cadence.heard(now)
    assert cadence.silent(now + 201 * MS)


def test_a_pause_before_a_new_beginning_is_no_gap() -> None:
    cadence, now = Cadence(), 0
    for _ in range(1000):
        now += 10 * MS
        cadence.heard(now)
    now += 100 * CEILING_NS
    cadence.began(now)
    for _ in range(300):
        now += 10 * MS
        cadence.heard(now)
    assert cadence.expected_ns < 12 * MS


def test_no_false_alarm_on_any_real_recording_and_a_stall_at_its_end_is_seen(real_data: Path) -> None:
    """Each stream of each recording from its first frame on; then silence, seen a second past the stream's usual gap."""
    alarms, checked = [], 0
    for path in sorted((real_data / "binance-raw-ws").glob("*.gz")):
        seen: dict[bytes, Cadence] = {}
        with gzip.open(path) as lines:
            for line in lines:
                local, _, frame = line.partition(b" ")
                if not frame.startswith(b'{"stream":"'):
                    continue
                now = int(local) * (1000 if len(local) == 16 else 1)
                name = frame[11:60].split(b'"')[0].split(b"@")[1]
                cadence = seen.setdefault(name, Cadence(prints=name == b"trade"))
                if cadence.expected_ns and cadence.silent(now):
                    alarms.append((path.name, name.decode(), (now - cadence.last_ns) // MS, cadence.allowed_ns // MS))
                cadence.heard(now)
        for name in (b"depth", b"bookTicker"):
            cadence = seen[name]
            assert cadence.expected_ns <= 900 * MS, (path.name, name)
            assert cadence.silent(cadence.last_ns + cadence.expected_ns + MARGIN_NS + 1)
            checked += 1
    assert not alarms
    assert checked >= 18
