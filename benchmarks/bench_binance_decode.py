"""How fast do recorded Binance lines become rows, on one core, against msgspec decoding the same lines?

    python benchmarks/bench_binance_decode.py recording.gz --symbol BTCUSDT --venue binance-usdm

The text is decompressed before the clock starts. Baselines: `msgspec_typed` decodes into typed Structs and stops there, no
row, no number read; `msgspec_rows` goes on to scaled integers in lists, which is the same work in Python. The reader's own
rate, with decompression and its report, comes last. Prints one JSON object.
"""

import argparse
import gzip
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from twinloop.data import binance_codes, binance_scan
from twinloop.data.binance_raw import MARKETS, read_raw
from twinloop.data.instruments import Instrument, preset
from twinloop.kernels.rows import ROW


class Data(msgspec.Struct):
    """Fields of all the messages; what a message does not have stays at its default."""

    e: str = ""
    E: int = 0
    T: int = 0
    U: int = 0
    u: int = 0
    pu: int = 0
    t: int = 0
    p: str = ""
    q: str = ""
    m: bool = False
    b: list[tuple[str, str]] | str | int = 0
    a: list[tuple[str, str]] | str | int = 0
    B: str = ""
    A: str = ""


class Message(msgspec.Struct):
    """One line: a wrapped stream message or a snapshot."""

    data: Data | None = None
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


def scan_all(text: bytes, instrument: Instrument, chunk_bytes: int) -> int:
    """Rows of the text, in chunks of whole lines as the reader makes them."""
    state = np.zeros(binance_codes.STATE_SIZE, np.int64)
    scanner = binance_scan.Scanner(
        instrument.symbol, instrument.price_scale, instrument.qty_scale, futures=MARKETS[instrument.venue] != "spot",
        clock_offset_ns=0, assumed_latency_ns=0, instrument_slot=0, source=0, state=state,
    )  # fmt: skip
    out = np.zeros(chunk_bytes // 8, ROW).view(np.uint8)
    rows = start = 0
    while start < len(text):
        stop = text.rfind(b"\n", start, start + chunk_bytes) + 1
        reason, position, used = scanner.scan(memoryview(text)[start:stop], 0, out, 0)
        assert (reason, position) == (binance_scan.END, stop - start)
        rows += used
        start = stop
    return rows


def decode_typed(lines: list[bytes]) -> int:
    """Structs of the lines."""
    decoder = msgspec.json.Decoder(Message)
    for line in lines:
        at = line.index(b" ")
        int(line[:at])
        decoder.decode(memoryview(line)[at + 1 :])
    return len(lines)


def decode_rows(lines: list[bytes], instrument: Instrument) -> int:
    """Scaled integers of the lines, in lists."""
    decoder = msgspec.json.Decoder(Message)
    rows: list[tuple[Any, ...]] = []

    def scaled(text: str, scale: int) -> int:
        whole, _, fraction = text.partition(".")
        return int(whole + fraction[:scale].ljust(scale, "0"))

    price, qty = instrument.price_scale, instrument.qty_scale
    for line in lines:
        at = line.index(b" ")
        local_ns = int(line[:at])
        message = decoder.decode(memoryview(line)[at + 1 :])
        data = message.data
        if data is None:
            sides: tuple[Any, ...] = (message.bids, message.asks)
        elif isinstance(data.b, list):
            sides = (data.b, data.a)
        elif isinstance(data.b, str):
            prices = (scaled(data.b, price), scaled(data.B, qty), scaled(str(data.a), price), scaled(data.A, qty))
            rows.append((local_ns, data.T, data.u, *prices))
            continue
        else:
            if data.q:
                rows.append((local_ns, data.T, data.t, scaled(data.p, price), scaled(data.q, qty), data.m))
            continue
        for side, levels in zip((1, -1), sides, strict=True):
            rows.extend((local_ns, side, scaled(level[0], price), scaled(level[1], qty)) for level in levels)
    return len(rows)


def timed(work: Callable[[], int], repeats: int) -> tuple[list[float], int]:
    """Seconds of each repeat, and what the work returned."""
    seconds, result = [], 0
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return seconds, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--venue", default="binance-usdm", choices=sorted(MARKETS))
    parser.add_argument("--quick", action="store_true", help="three repeats instead of nine")
    options = parser.parse_args()
    instrument = preset(options.venue, options.symbol)
    text = gzip.decompress(options.recording.read_bytes())
    lines = text.splitlines()
    # Interleaved, so that all of them share the machine's mood.
    works: dict[str, Callable[[], int]] = {
        "scanner": lambda: scan_all(text, instrument, 1 << 20),
        "msgspec_typed": lambda: decode_typed(lines),
        "msgspec_rows": lambda: decode_rows(lines, instrument),
        "reader_with_gunzip": lambda: sum(
            rows.size for rows in read_raw(options.recording, instrument, clock_offset_ns=0, assumed_latency_ns=0)
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in works}
    counts: dict[str, int] = {}
    for _ in range(3 if options.quick else 9):
        for name, work in works.items():
            seconds, counts[name] = timed(work, 1)
            measured[name] += seconds
    result: dict[str, Any] = {"cpu": platform.processor(), "python": platform.python_version(), "bytes": len(text)}
    for name, seconds in measured.items():
        median = statistics.median(seconds)
        result[name] = {
            "median_s": round(median, 4),
            "spread_s": [round(min(seconds), 4), round(max(seconds), 4)],
            "mb_per_s": round(len(text) / median / 1e6, 1),
            "lines_per_s": round(len(lines) / median),
            "rows": counts[name],
            "rows_per_s": round(counts[name] / median),
        }
    for name in ("msgspec_typed", "msgspec_rows"):
        ratios = [one / other for one, other in zip(measured[name], measured["scanner"], strict=True)]
        result[f"times_{name}"] = round(statistics.median(ratios), 2)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
