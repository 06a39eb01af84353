"""The live side reads frames as the reader of recordings does, and its books follow the venue's rules whatever comes."""

import gzip
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.streamed_book import NOW, Seen, Venue, kinds, snapshot, spot_snapshot, update

from twinloop.data.binance_raw import read_raw
from twinloop.data.binance_stream import BinanceStream
from twinloop.data.instruments import PRESETS, Instrument
from twinloop.data.rowfile import join_rows, pick, words_of
from twinloop.kernels import rows as table

USDM = PRESETS["binance-usdm:BTCUSDT"]
SPOT = PRESETS["binance-spot:BTCUSDT"]
SKIP = "TWINLOOP_REAL_DATA does not name a folder of recorded markets"


def test_updates_wait_for_a_snapshot_and_what_it_contains_is_left_out() -> None:
    stream = BinanceStream("binance-usdm", [USDM], depth=True)
    assert not len(stream.on_frame(update(1, 5, 0, [["100.0", "1"]]), NOW))
    assert not len(stream.on_frame(update(6, 9, 5, [["101.0", "2"]]), NOW))
    assert stream.wanting == ["BTCUSDT"]
    rows = stream.on_snapshot("BTCUSDT", snapshot(7, [["99.0", "3"]], [["102.0", "1"]]), NOW)
    assert kinds(rows) == ["SNAPSHOT_BEGIN", "SNAPSHOT_LEVEL", "SNAPSHOT_LEVEL", "SNAPSHOT_END", "LEVEL"]
    assert int(rows[4]["price"]) == USDM.price_int("101.0")
    assert stream.ready
    assert kinds(stream.on_frame(update(10, 11, 9, [["101.0", "0"]]), NOW)) == ["LEVEL"]


def test_a_snapshot_older_than_the_first_update_is_asked_for_again() -> None:
    for instrument, spot in ((USDM, False), (SPOT, True)):
        stream = BinanceStream(instrument.venue, [instrument], depth=True)
        stream.on_frame(update(50, 55, 49, [["100.00", "1"]], spot=spot), NOW)
        make = spot_snapshot if spot else snapshot
        assert not len(stream.on_snapshot("BTCUSDT", make(40, [["99.00", "3"]], []), NOW))
        assert stream.wanting == ["BTCUSDT"]
        assert len(stream.on_snapshot("BTCUSDT", make(52, [["99.00", "3"]], []), NOW)) > 0
        assert stream.ready


def test_a_break_of_the_chain_is_a_gap_and_begins_anew() -> None:
    stream = BinanceStream("binance-usdm", [USDM], depth=True)
    stream.on_frame(update(1, 5, 0, [["100.0", "1"]]), NOW)
    stream.on_snapshot("BTCUSDT", snapshot(5, [["99.0", "3"]], [["102.0", "1"]]), NOW)
    rows = stream.on_frame(update(20, 25, 19, [["101.0", "2"]]), NOW)
    assert kinds(rows) == ["FEED_GAP"]
    assert stream.wanting == ["BTCUSDT"]
    rows = stream.on_snapshot("BTCUSDT", snapshot(22, [["98.0", "3"]], []), NOW)
    assert kinds(rows) == ["SNAPSHOT_BEGIN", "SNAPSHOT_LEVEL", "SNAPSHOT_END", "LEVEL"]


@given(seed=st.integers(0, 2**32))
def test_whatever_is_lost_doubled_or_late_the_book_ends_as_the_venues(seed: int) -> None:
    draw = random.Random(seed)
    venue, stream = Venue(draw), BinanceStream("binance-usdm", [USDM], depth=True)
    seen = Seen()
    broken = True
    pending: bytes | None = None
    for _ in range(60):
        what = draw.random()
        frame = venue.next()
        if what < 0.08:
            continue  # Lost on the way.
        rows = [stream.on_frame(frame, NOW)]
        if what > 0.92:
            rows.append(stream.on_frame(frame, NOW))  # Twice.
        if 0.5 < what < 0.53:
            stream.begin_anew()
            broken = True
        if pending is None and stream.wanting and draw.random() < 0.5:
            pending = venue.snapshot()  # Asked for now, here after some more updates.
        elif pending is not None and draw.random() < 0.5:
            rows.append(stream.on_snapshot("BTCUSDT", pending, NOW))
            pending = None
        for each in rows:
            if "FEED_GAP" in kinds(each):
                broken = True
            if "SNAPSHOT_END" in kinds(each):
                broken = False
            seen.take(each)
    # Heal: the next update is whole, a snapshot is taken, and one more update.
    for _ in range(2):
        seen.take(stream.on_frame(venue.next(), NOW))
    if not stream.ready:
        seen.take(stream.on_snapshot("BTCUSDT", venue.snapshot(), NOW))
        broken = False
    seen.take(stream.on_frame(venue.next(), NOW))
    assert stream.ready
    assert not broken
    assert seen.held() == venue.held()


@given(seed=st.integers(0, 2**32), data=st.data())
def test_no_frame_raises_and_none_that_is_damaged_gives_wrong_rows(seed: int, data: st.DataObject) -> None:
    stream = BinanceStream("binance-usdm", [USDM], depth=False)
    frame = bytearray(
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000000,"T":1700000000000,"s":"BTCUSDT","t":7,"p":"100.1","q":"0.5","X":"MARKET","m":true}}'
    )
    assert kinds(stream.on_frame(bytes(frame), NOW)) == ["TRADE"]
    draw = random.Random(seed)
    how = data.draw(st.sampled_from(["cut", "flip", "insert", "random"]))
    if how == "cut":
        frame = frame[: draw.randrange(len(frame))]
    elif how == "flip":
        frame[draw.randrange(len(frame))] ^= 1 << draw.randrange(8)
    elif how == "insert":
        at = draw.randrange(len(frame))
        frame[at:at] = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9)))
    else:
        frame = bytearray(draw.randrange(256) for _ in range(draw.randrange(300)))
    rows = stream.on_frame(bytes(frame), NOW)
    assert len(rows) <= 1
    for row in rows:
        assert int(row["kind"]) == table.TRADE
        assert 0 < int(row["price"]) < 10**18
        assert 0 < int(row["qty"]) < 10**18


def recordings() -> list[Path]:
    named = os.environ.get("TWINLOOP_REAL_DATA")
    return sorted((Path(named) / "binance-raw-ws").glob("*_*.gz")) if named else []


@pytest.mark.skipif(not recordings(), reason=SKIP)
@pytest.mark.parametrize(
    ("market", "symbol"), [("usdm", "BTCUSDT"), ("usdm", "ETHUSDT"), ("spot", "BTCUSDT"), ("cm", "BTCUSD_PERP")]
)
def test_the_same_bytes_live_and_recorded_give_the_same_rows(market: str, symbol: str) -> None:
    """Trades, and the book's rows from its snapshot on: the live class holds updates back where the reader of a file does."""
    path = next(each for each in recordings() if each.name.startswith(f"{market}_{symbol.lower()}_20240808"))
    instrument: Instrument = PRESETS[f"binance-{market.replace('cm', 'coinm')}:{symbol}"]
    recorded = join_rows(list(read_raw(path, instrument, clock_offset_ns=0, assumed_latency_ns=0)))
    stream = BinanceStream(instrument.venue, [instrument], depth=True)
    parts = []
    with gzip.open(path) as lines:
        for line in lines:
            local, _, frame = line.rstrip(b"\n").partition(b" ")
            if b'"lastUpdateId"' in frame[:40] or b'"bids"' in frame[:200]:
                parts.append(stream.on_snapshot(symbol, frame, int(local)))
            else:
                parts.append(stream.on_frame(frame, int(local)))
    live = join_rows([part for part in parts if len(part)])
    assert stream.refused == 0
    for kind in (table.TRADE, table.LEVEL, table.SNAPSHOT_LEVEL, table.QUOTE):
        one, other = pick(live, live["kind"] == kind), pick(recorded, recorded["kind"] == kind)
        assert len(one) == len(other) > 100
        assert words_of(one).tobytes() == words_of(other).tobytes(), table.KIND_NAME[kind]
    assert stream.counts["unusual"] == 0
    assert np.count_nonzero(live["kind"] == table.FEED_GAP) == 0


@pytest.mark.skipif(not recordings(), reason=SKIP)
def test_the_same_marks_live_and_recorded_give_the_same_rows_and_the_funding_between_them() -> None:
    """On a connection of their own: nothing else of the recording is needed for the very same bytes."""
    path = next(each for each in recordings() if each.name == "usdm_btcusdt_20230405.gz")
    recorded = join_rows(list(read_raw(path, USDM, clock_offset_ns=0, assumed_latency_ns=0)))
    stream = BinanceStream("binance-usdm", [USDM], depth=False, marks=True)
    assert stream.url("wss://venue") == "wss://venue/market/stream?streams=btcusdt@markPrice@1s"
    parts = []
    with gzip.open(path) as lines:
        for line in lines:
            local, _, frame = line.rstrip(b"\n").partition(b" ")
            if b"@markPrice" in frame[:60]:
                parts.append(stream.on_frame(frame, int(local) * 1000))
    live = join_rows([part for part in parts if len(part)])
    assert (stream.refused, stream.counts["unusual"]) == (0, 0)
    of_marks = np.isin(recorded["kind"], (table.MARK, table.FUNDING))
    assert np.count_nonzero(live["kind"] == table.MARK) > 400
    assert np.count_nonzero(live["kind"] == table.FUNDING) == 1  # Of midnight.
    assert words_of(live).tobytes() == words_of(pick(recorded, of_marks)).tobytes()


def test_aggregated_prints_of_usdm_have_a_connection_of_their_own() -> None:
    def urls(venue: str, *, depth: bool, **more: Any) -> list[str]:
        instrument = PRESETS[f"{venue}:BTCUSD_PERP" if venue == "binance-coinm" else f"{venue}:BTCUSDT"]
        return BinanceStream(venue, [instrument], depth=depth, **more).urls("wss://x")

    assert urls("binance-usdm", depth=True) == ["wss://x/public/stream?streams=btcusdt@depth@0ms/btcusdt@trade"]
    assert urls("binance-usdm", depth=True, prints="aggTrade") == [
        "wss://x/public/stream?streams=btcusdt@depth@0ms", "wss://x/market/stream?streams=btcusdt@aggTrade",
    ]  # fmt: skip
    assert urls("binance-usdm", depth=False, prints="aggTrade") == [
        "wss://x/public/stream?streams=btcusdt@bookTicker", "wss://x/market/stream?streams=btcusdt@aggTrade",
    ]  # fmt: skip
    assert urls("binance-spot", depth=False, prints="aggTrade") == [
        "wss://x/stream?streams=btcusdt@bookTicker/btcusdt@aggTrade"
    ]
    assert urls("binance-coinm", depth=False, marks=True) == ["wss://x/stream?streams=btcusd_perp@markPrice@1s"]
