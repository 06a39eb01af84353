"""Recorded lines, plainly: samples of every message, and the Python twin run alone over a whole text."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from twinloop.data import binance_codes as codes
from twinloop.data.binance_scan_py import BadLineError, LineDecoder
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.kernels import rows as table

BTC = Instrument.make(symbol="BTCUSDT", venue="binance-usdm", contract="linear", tick_size="0.1", lot_size="0.001")
SPOT = Instrument.make(symbol="BTCUSDT", venue="binance-spot", tick_size="0.01", lot_size="0.00001", qty_scale=8)
COIN = Instrument.make(symbol="BTCUSD_PERP", venue="binance-coinm", contract="inverse", tick_size="0.1", lot_size="1")

START_MS = 1_700_000_000_000


def line(message: dict[str, Any], *, at_ms: float = 0, unit: int = 1) -> bytes:
    """One recorded line, received at_ms after START_MS; unit: ns in one unit of the receive time."""
    local = round((START_MS + at_ms) * 1_000_000) // unit
    return f"{local} {json.dumps(message, separators=(',', ':'))}\n".encode()


def wrap(stream: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"stream": stream, "data": data}


def depth(
    first: int,
    final: int,
    previous: int | None,
    bids: Sequence[tuple[str, str]] = (),
    asks: Sequence[tuple[str, str]] = (),
    *,
    at_ms: float = 0,
    symbol: str = "BTCUSDT",
) -> bytes:
    """Depth update of a futures market, of spot where previous is None."""
    time = {} if previous is None else {"T": START_MS + int(at_ms)}
    chain = {} if previous is None else {"pu": previous}
    data = {"e": "depthUpdate", "E": START_MS + int(at_ms), **time, "s": symbol, "U": first, "u": final, **chain}
    data |= {"b": [list(level) for level in bids], "a": [list(level) for level in asks]}
    return line(wrap(f"{symbol.lower()}@depth@0ms", data), at_ms=at_ms)


def quote(update_id: int, bid: str = "100.0", ask: str = "100.1", *, at_ms: float = 0, timed: bool = True) -> bytes:
    time = {"T": START_MS + int(at_ms), "E": START_MS + int(at_ms)} if timed else {}
    data = {"u": update_id, "s": "BTCUSDT", "b": bid, "B": "1.5", "a": ask, "A": "2.000"}
    if timed:
        data = {"e": "bookTicker", **data, **time}
    return line(wrap("btcusdt@bookTicker", data), at_ms=at_ms)


def trade(trade_id: int, price: str = "100.1", qty: str = "0.002", *, at_ms: float = 0, **more: Any) -> bytes:
    data = {"e": "trade", "E": START_MS + int(at_ms), "T": START_MS + int(at_ms), "s": "BTCUSDT", "t": trade_id}
    data |= {"p": price, "q": qty, "X": "MARKET", "m": True} | more
    return line(wrap("btcusdt@trade", data), at_ms=at_ms)


def mark(
    price: str = "100.04999", rate: str = "0.00012345", *, funding_ms: int = 0, at_ms: float = 0, **more: Any
) -> bytes:
    data = {"e": "markPriceUpdate", "E": START_MS + int(at_ms), "s": "BTCUSDT", "p": price, "P": "1.0", "i": "100.15"}
    data |= {"r": rate, "T": START_MS + funding_ms} | more
    return line(wrap("btcusdt@markPrice@1s", data), at_ms=at_ms)


def snapshot(
    update_id: int,
    bids: Sequence[tuple[str, str]] = (("100.0", "1"),),
    asks: Sequence[tuple[str, str]] = (("100.1", "1"),),
    *,
    at_ms: float = 0,
    timed: bool = True,
) -> bytes:
    time = {"E": START_MS + int(at_ms), "T": START_MS + int(at_ms)} if timed else {}
    sides = {"bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}
    return line({"lastUpdateId": update_id, **time, **sides}, at_ms=at_ms)


def twin_only(
    text: bytes, instrument: Instrument, *, futures: bool, limit: int | None = None, assumed_latency_ns: int = 0
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    """Rows, state and quarantined (line, code) of a text by the Python twin alone."""
    state = np.zeros(codes.STATE_SIZE, np.int64)
    decoder = LineDecoder(
        instrument.symbol,
        instrument.price_scale,
        instrument.qty_scale,
        futures=futures,
        clock_offset_ns=0,
        assumed_latency_ns=assumed_latency_ns,
        instrument_slot=0,
        source=0,
        state=state,
    )
    found, bad = [np.empty(0, table.ROW)], []
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, one in enumerate(lines[:limit], start=1):
        try:
            found.append(decoder.decode(one))
        except BadLineError as error:
            bad.append((number, error.code))
    return join_rows(found), state, bad
