"""The compiled frame scanner against its Python twin and against the reader of recordings: same rows, same states, or the same refusal."""

import gzip
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import binance_lines as sample
from reference.mutations import mutated

from twinloop.data import binance_codes as codes
from twinloop.data.binance_frames import NO_ROOM, NOT_OURS, NOT_USUAL, FrameScanner, frame_rows
from twinloop.data.binance_frames_py import NOBODY, FrameDecoder
from twinloop.data.binance_raw import read_raw
from twinloop.data.binance_scan_py import BadLineError
from twinloop.data.instruments import PRESETS
from twinloop.data.rowfile import join_rows, words_of
from twinloop.kernels import rows as table

NOW = 1_700_000_000_001_000_000
KNOWN = [("BTCUSDT", 1, 3, 4), ("ETHUSDT", 2, 3, 9), ("BTCUSD_PERP", 1, 0, 2)]


def aggregate(number: int, last: int, **more: Any) -> bytes:
    data = {"e": "aggTrade", "E": sample.START_MS, "s": "BTCUSDT", "a": number, "p": "100.1", "q": "0.5", "nq": "0.5"}
    data |= {"f": last, "l": last, "T": sample.START_MS, "m": False} | more
    return sample.line(sample.wrap("btcusdt@aggTrade", data))


LINES = [
    sample.depth(10, 12, 9, [("100.0", "1.5"), ("99.90", "0.000")], [("100.1", "2")]),
    sample.depth(13, 14, 12, [], [("100.2", "0.001")]),
    sample.depth(20, 21, 19, [("98.7", "1")], []),
    sample.depth(30, 31, 30, [("98.7", "1")], [], symbol="ETHUSDT"),
    sample.quote(12),
    sample.quote(13, timed=False),
    sample.trade(7),
    sample.trade(8, X="INSURANCE_FUND"),
    sample.mark(funding_ms=8),
    sample.mark("100.15", "-0.000000005", at_ms=9, funding_ms=28_800_000),
    aggregate(3, 9),
    aggregate(4, 12, m=True),
    sample.line({"result": None, "id": 1}),
    sample.line({"e": "serverShutdown", "E": sample.START_MS}),
    sample.line(sample.wrap("solusdt@trade", {"e": "trade"})),
    sample.line(sample.wrap("!markPrice@arr", {"e": "trade"})),
]
# Wrapped as on a combined connection, and bare as on one of its own.
FRAMES = [line.partition(b" ")[2].rstrip(b"\n") for line in LINES]
FRAMES += [frame.partition(b'"data":')[2][:-1] for frame in FRAMES if frame.startswith(b'{"stream"')]


class Both:
    """The scanner with the twin behind it, as the live side has them, and the twin alone."""

    def __init__(self, *, futures: bool = True, aggregate: bool = False) -> None:
        self.states = np.zeros((len(KNOWN), codes.STATE_SIZE), np.int64)
        self.plain_states = self.states.copy()
        self.out = np.zeros(1 << 12, table.ROW)
        options: dict[str, Any] = {"futures": futures, "aggregate": aggregate, "source": 3}
        octets = words_of(self.out).view(np.uint8).reshape(-1)
        self.scanner = FrameScanner(KNOWN, states=self.states, out=octets, **options)
        self.twin = FrameDecoder(KNOWN, states=self.states, **options)
        self.plain = FrameDecoder(KNOWN, states=self.plain_states, **options)
        self.unusual = 0

    def feed(self, frame: bytes, local_ns: int = NOW) -> tuple[int, bytes] | str:
        """(place, rows) or the code of a refusal. AssertionError where the two differ."""
        before = self.states.copy()
        count = self.scanner.scan(frame, local_ns)
        found: tuple[int, bytes] | str
        if count >= 0:
            found = self.scanner.place, words_of(self.out[:count]).tobytes()
        else:
            assert count in {NOT_OURS, NOT_USUAL}
            assert (before == self.states).all(), "a frame that is left to the twin changes nothing"
            self.unusual += count == NOT_USUAL
            found = (NOBODY, b"") if count == NOT_OURS else decoded(self.twin, frame, local_ns)
        assert found == decoded(self.plain, frame, local_ns), frame
        assert (self.states == self.plain_states).all()
        return found


def decoded(twin: FrameDecoder, frame: bytes, local_ns: int) -> tuple[int, bytes] | str:
    try:
        place, rows = twin.decode(frame, local_ns)
    except BadLineError as error:
        return error.code
    return place, words_of(rows).tobytes()


@pytest.mark.parametrize("prints", [False, True], ids=["trade", "aggTrade"])
def test_every_sample_gives_what_the_twin_gives(prints: bool) -> None:
    both = Both(aggregate=prints)
    for frame in FRAMES:
        both.feed(frame)


def test_usual_frames_need_no_twin() -> None:
    for prints, unwanted in ((False, b"aggTrade"), (True, b"@trade")):
        both = Both(aggregate=prints)
        for frame in FRAMES[:12]:
            if unwanted not in frame:
                both.feed(frame)
        assert both.unusual == 0


def test_rows_carry_the_slot_and_source_of_their_instrument() -> None:
    both = Both()
    found = both.feed(sample.depth(30, 31, 30, [("98.7", "1")], [], symbol="ETHUSDT").partition(b" ")[2][:-1])
    assert isinstance(found, tuple)
    rows = np.frombuffer(found[1], table.ROW)
    assert found[0] == 1
    assert rows["instrument"].tolist() == [9]
    assert rows["source"].tolist() == [3]
    assert rows["price"].tolist() == [9870]


def test_an_aggregated_print_has_its_own_id_and_its_last_trade() -> None:
    both = Both(aggregate=True)
    found = both.feed(FRAMES[10])
    assert isinstance(found, tuple)
    row = np.frombuffer(found[1], table.ROW)[0]
    assert (int(row["sequence"]), int(row["trade_id"]), int(row["price"]), int(row["side"])) == (3, 9, 1001, 1)
    # Both kinds tell of the same trades: only the chosen one counts.
    assert both.feed(FRAMES[6]) == (0, b"")
    assert Both().feed(FRAMES[10]) == (0, b"")


@pytest.mark.parametrize("market", ["usdm_btcusdt", "usdm_ethusdt", "spot_btcusdt", "cm_btcusd_perp"])
def test_live_frames_give_the_rows_of_the_recorded_lines(real_data: Path, market: str) -> None:
    """Every line of a real recording, byte for byte, and none of them needs the twin."""
    path = min((real_data / "binance-raw-ws").glob(f"{market}_2024*.gz"))
    venue, _, symbol = market.partition("_")
    instrument = PRESETS[f"binance-{venue.replace('cm', 'coinm')}:{symbol.upper()}"]
    reader = read_raw(path, instrument, clock_offset_ns=0, assumed_latency_ns=0, snapshot="as_received")
    expected = join_rows(list(reader))
    states = np.zeros((1, codes.STATE_SIZE), np.int64)
    out = np.zeros(1 << 13, table.ROW)
    known = [(instrument.symbol, instrument.price_scale, instrument.qty_scale, 0)]
    scanner = FrameScanner(
        known, futures=venue != "spot", aggregate=False, source=0, states=states, out=words_of(out).view(np.uint8).reshape(-1)
    )  # fmt: skip
    parts = []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        local, _, frame = line.partition(b" ")
        snapshot = frame.startswith(b'{"lastUpdateId"')
        count = scanner.scan_of(0, frame, int(local)) if snapshot else scanner.scan(frame, int(local))
        assert count >= 0, frame[:200]
        parts.append(words_of(out[:count]).copy())
    assert np.concatenate(parts).tobytes() == words_of(expected).tobytes()
    for name in ("KEPT", "DUPLICATE", "EMPTY", "LINES", *codes.MESSAGES, *codes.FINDINGS):
        assert int(states[0, codes.SLOTS[name]]) == int(reader._state[codes.SLOTS[name]]), name


class Fields(msgspec.Struct):
    """Of a depth update, a quote or a print, as another decoder reads them."""

    e: str = ""
    s: str = ""
    u: int = 0
    t: int = 0
    p: str = "0"
    q: str = "0"
    B: str = "0"
    A: str = "0"
    b: list[tuple[str, str]] | str | int = 0
    a: list[tuple[str, str]] | str | int = 0


class Wrapped(msgspec.Struct):
    """A frame of a combined connection."""

    data: Fields


@pytest.mark.parametrize("market", ["usdm_btcusdt", "spot_btcusdt"])
def test_another_decoder_reads_the_same_numbers(real_data: Path, market: str) -> None:
    """msgspec knows nothing of this project's rules: prices and quantities of 5,000 real frames, digit by digit."""
    path = min((real_data / "binance-raw-ws").glob(f"{market}_2024*.gz"))
    spot = market.startswith("spot")
    price_scale, qty_scale = (2, 8) if spot else (1, 3)
    states, out = np.zeros((1, codes.STATE_SIZE), np.int64), np.zeros(1 << 13, table.ROW)
    scanner = FrameScanner(
        [("BTCUSDT", price_scale, qty_scale, 0)], futures=not spot, aggregate=False, source=0, states=states,
        out=words_of(out).view(np.uint8).reshape(-1),
    )  # fmt: skip

    def scaled(text: str, scale: int) -> int:
        whole, _, fraction = text.partition(".")
        assert not fraction[scale:].strip("0")
        return int(whole + fraction[:scale].ljust(scale, "0"))

    decoder = msgspec.json.Decoder(Wrapped)
    compared = 0
    with gzip.open(path) as lines:
        for line, _ in zip(lines, range(5000), strict=False):
            local, _, frame = line.rstrip(b"\n").partition(b" ")
            if b'"data"' not in frame[:60]:
                continue
            rows = out[: max(scanner.scan(frame, int(local)), 0)]
            data = decoder.decode(frame).data
            if isinstance(data.b, list) and isinstance(data.a, list):
                expected = [
                    (side, scaled(p, price_scale), scaled(q, qty_scale))
                    for side, levels in ((1, data.b), (-1, data.a))
                    for p, q in levels
                ]
                levels = rows[rows["kind"] == table.LEVEL]
                assert expected == list(
                    zip(levels["side"].tolist(), levels["price"].tolist(), levels["qty"].tolist(), strict=True)
                )
            elif data.t:
                assert (scaled(data.p, price_scale), scaled(data.q, qty_scale)) == (
                    int(rows[0]["price"]),
                    int(rows[0]["qty"]),
                )
            elif len(rows):
                assert (scaled(str(data.b), price_scale), scaled(data.A, qty_scale)) == (
                    int(rows[0]["bid"]),
                    int(rows[0]["ask_qty"]),
                )
            compared += len(rows)
    assert compared > 10_000


def test_every_truncation_and_every_added_byte_is_met_alike() -> None:
    for frame in FRAMES:
        both = Both()
        for end in range(len(frame)):
            both.feed(frame[:end])
        for extra in (b"\0", b"\n", b"\r", b" ", b"}", b"x", b"\xff"):
            both.feed(frame + extra)
            both.feed(extra + frame)


@given(seed=st.integers(0, 2**32))
def test_mutated_frames_give_what_the_twin_gives(seed: int) -> None:
    rng = random.Random(seed)
    both = Both(futures=rng.random() < 0.8, aggregate=rng.random() < 0.3)
    for _ in range(40):
        both.feed(mutated(rng, rng.choice(FRAMES), FRAMES), NOW + rng.randrange(-5, 5) * 10**6)


@given(frame=st.binary(max_size=200))
def test_random_bytes_are_refused_alike(frame: bytes) -> None:
    Both().feed(frame)
    Both().feed(b'{"stream":"btcusdt@trade","data":{' + frame)


@pytest.mark.parametrize("local_ns", [0, -1, 9 * 10**18, 2**63 - 1])
def test_a_receive_time_out_of_range_is_refused(local_ns: int) -> None:
    assert Both().feed(FRAMES[6], local_ns) == codes.BAD_RECEIVE_TIME


def test_nothing_is_written_past_the_room_that_a_frame_may_need() -> None:
    for frame in FRAMES:
        need = frame_rows(len(frame))
        states, out = np.zeros((len(KNOWN), codes.STATE_SIZE), np.int64), np.zeros(need + 8, table.ROW)
        octets = words_of(out).view(np.uint8).reshape(-1)
        octets[:] = 0xAB
        scanner = FrameScanner(
            KNOWN, futures=True, aggregate=False, source=0, states=states, out=octets[: (need - 1) * 64]
        )
        if scanner.scan(frame, NOW) not in {NOT_OURS, NOT_USUAL}:
            assert scanner.scan(frame, NOW) == NO_ROOM
        assert not states.any()
        scanner.into(octets[: need * 64])
        scanner.scan(frame, NOW)
        assert (octets[need * 64 :] == 0xAB).all()


def test_many_instruments_are_told_apart() -> None:
    symbols = [f"A{number}USDT" for number in range(300)]
    known = [(symbol, 1, 3, slot) for slot, symbol in enumerate(symbols)]
    states, out = np.zeros((300, codes.STATE_SIZE), np.int64), np.zeros(256, table.ROW)
    scanner = FrameScanner(
        known, futures=True, aggregate=False, source=0, states=states, out=words_of(out).view(np.uint8).reshape(-1)
    )
    for place, symbol in enumerate(symbols):
        assert scanner.scan(sample.depth(1, 2, 0, [("1.0", "1")], symbol=symbol).partition(b" ")[2][:-1], NOW) == 1
        assert (scanner.place, int(out[0]["instrument"])) == (place, place)
    assert scanner.scan(sample.depth(1, 2, 0, symbol="A300USDT").partition(b" ")[2][:-1], NOW) == NOT_OURS


def test_mistaken_settings_are_refused() -> None:
    octets = np.zeros(64, np.uint8)
    states = np.zeros((1, codes.STATE_SIZE), np.int64)
    options: dict[str, Any] = {"futures": True, "aggregate": False, "source": 0}
    with pytest.raises(ValueError, match="states must be"):
        FrameScanner(KNOWN, states=states, out=octets, **options)
    with pytest.raises(ValueError, match="scales must be"):
        FrameScanner([("BTCUSDT", 19, 3, 0)], states=states, out=octets, **options)
    with pytest.raises(ValueError, match="no room for a row"):
        FrameScanner([("BTCUSDT", 1, 3, 0)], states=states, out=octets[:63], **options)
    scanner = FrameScanner([("BTCUSDT", 1, 3, 0)], states=states, out=octets, **options)
    with pytest.raises(ValueError, match="place must be"):
        scanner.scan_of(1, b"{}", NOW)
