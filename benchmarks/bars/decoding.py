"""Live decoding against msgspec on the same real frames, in one interleaved measurement of one process."""

import gzip
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from bench_binance_decode import Data
from harness import Outcome, bar, ratio_interval, recordings, say

from twinloop.data.binance_codes import STATE_SIZE
from twinloop.data.binance_frames import FrameScanner
from twinloop.data.instruments import preset
from twinloop.data.rowfile import words_of
from twinloop.kernels.rows import ROW

REPEATS = 9
FRAMES_MAX = 40_000
MARKETS = (("usdm", "btcusdt", "20240808"), ("spot", "btcusdt", "20240809"), ("cm", "btcusd_perp", "20240808"))
VENUE = {"usdm": "binance-usdm", "spot": "binance-spot", "cm": "binance-coinm"}


class Frame(msgspec.Struct):
    """One frame of a combined connection: the fastest that msgspec decodes it, a typed struct and no number read."""

    data: Data


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _measure(market: str, symbol: str, day: str) -> dict[str, Any]:
    path = recordings(market, symbol, day)[0]
    instrument = preset(VENUE[market], symbol.upper())
    frames: list[tuple[bytes, int]] = []
    with gzip.open(path) as lines:
        for line in lines:
            local, _, frame = line.rstrip(b"\n").partition(b" ")
            if b'"data"' in frame[:80]:
                frames.append((frame, int(local)))
            if len(frames) == FRAMES_MAX:
                break
    out = np.zeros(1 << 14, ROW)
    known = [(instrument.symbol, instrument.price_scale, instrument.qty_scale, 0)]
    rows = 0

    def ours() -> None:
        nonlocal rows
        states = np.zeros((1, STATE_SIZE), np.int64)
        octets = words_of(out).view(np.uint8).reshape(-1)
        scan = FrameScanner(known, futures=market != "spot", aggregate=False, source=0, states=states, out=octets).scan
        rows = 0
        for frame, local_ns in frames:
            count = scan(frame, local_ns)
            assert count >= 0
            rows += count

    def theirs() -> None:
        decode = msgspec.json.Decoder(Frame).decode
        for frame, _ in frames:
            decode(frame)

    times: dict[str, list[float]] = {"twinloop": [], "msgspec": []}
    for _ in range(REPEATS):
        times["twinloop"].append(_timed(ours))
        times["msgspec"].append(_timed(theirs))
    ratio, low, high = ratio_interval(times["msgspec"], times["twinloop"])
    size = sum(len(frame) for frame, _ in frames)
    each = {name: statistics.median(found) / len(frames) * 1e9 for name, found in times.items()}
    say(
        f"  {market} {symbol}: twinloop {each['twinloop']:.0f} ns a frame, msgspec {each['msgspec']:.0f} ns: "
        f"{ratio:.2f} x [{low:.2f}, {high:.2f}]"
    )
    return {
        "market": f"{market} {symbol} {day}", "frames": len(frames), "bytes": size, "rows": rows, "ratio": round(ratio, 3),
        "interval": [round(low, 3), round(high, 3)], "ns_per_frame": {name: round(value) for name, value in each.items()},
        "mb_per_s": {name: round(size / statistics.median(found) / 1e6, 1) for name, found in times.items()},
    }  # fmt: skip


@bar("decode-live", 1.0, "x msgspec")
def decode_live() -> Outcome:
    """Live frames to rows, one call a frame: faster than msgspec's typed decode of the same frames, which reads no number."""
    found = [_measure(market, symbol, day) for market, symbol, day in MARKETS]
    slowest = min(found, key=lambda each: each["interval"][0])
    return Outcome(slowest["ratio"], ok=slowest["interval"][0] > 1.0, detail={"markets": found})
