"""A venue's book and its messages, plainly: frames and snapshots as Binance writes them, of USD-M or spot, and a book that rows are applied to."""

import json
import random
from typing import Any

import numpy as np

from twinloop.kernels import rows as table

NOW = 1_700_000_000_001_000_000
MS = 1_000_000


def update(
    first: int, final: int, previous: int, bids: Any = (), asks: Any = (), *, spot: bool = False, at_ns: int = NOW
) -> bytes:
    ms = at_ns // MS
    data = {"e": "depthUpdate", "E": ms, "T": ms, "s": "BTCUSDT", "U": first, "u": final, "pu": previous, "b": list(bids), "a": list(asks)}  # fmt: skip
    if spot:
        del data["T"], data["pu"]
    name = "btcusdt@depth@100ms" if spot else "btcusdt@depth@0ms"
    return json.dumps({"stream": name, "data": data}, separators=(",", ":")).encode()


def trade(number: int, at_ns: int = NOW, price: str = "100.1") -> bytes:
    ms = at_ns // MS
    data = {
        "e": "trade",
        "E": ms,
        "T": ms,
        "s": "BTCUSDT",
        "t": number,
        "p": price,
        "q": "0.5",
        "X": "MARKET",
        "m": True,
    }
    return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":")).encode()


def quote(number: int, bid: str, ask: str, at_ns: int = NOW) -> bytes:
    ms = at_ns // MS
    data = {"e": "bookTicker", "u": number, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1", "T": ms, "E": ms}
    return json.dumps({"stream": "btcusdt@bookTicker", "data": data}, separators=(",", ":")).encode()


def snapshot(last: int, bids: Any, asks: Any, *, at_ns: int = NOW) -> bytes:
    found = {"lastUpdateId": last, "E": at_ns // MS, "T": at_ns // MS, "bids": bids, "asks": asks}
    return json.dumps(found, separators=(",", ":")).encode()


def spot_snapshot(last: int, bids: Any, asks: Any) -> bytes:
    return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}, separators=(",", ":")).encode()


def kinds(rows: Any) -> list[str]:
    return [table.KIND_NAME[int(kind)] for kind in rows["kind"]]


class Venue:
    """A plain book of a venue, and its messages."""

    def __init__(self, draw: random.Random, *, spot: bool = False) -> None:
        self.draw = draw
        self.spot = spot
        self.book: dict[tuple[int, int], int] = {}
        self.last = 100
        self.trades = 0

    def next(self, at_ns: int = NOW) -> bytes:
        first, previous = self.last + 1, self.last
        changes: dict[int, list[list[str]]] = {1: [], -1: []}
        for _ in range(self.draw.randrange(1, 4)):
            self.last += 1
            side = self.draw.choice([1, -1])
            price, qty = 1000 - 10 * side - side * self.draw.randrange(5), self.draw.randrange(4)
            self.book[side, price] = qty
            changes[side].append([f"{price / 10:.1f}", f"{qty}"])
        return update(first, self.last, previous, changes[1], changes[-1], spot=self.spot, at_ns=at_ns)

    def trade(self, at_ns: int = NOW) -> bytes:
        self.trades += 1
        return trade(self.trades, at_ns)

    def snapshot(self, at_ns: int = NOW) -> bytes:
        def levels(side: int) -> list[list[str]]:
            return [[f"{price / 10:.1f}", f"{qty}"] for (its, price), qty in self.book.items() if its == side and qty]

        if self.spot:
            return spot_snapshot(self.last, levels(1), levels(-1))
        return snapshot(self.last, levels(1), levels(-1), at_ns=at_ns)

    def held(self) -> dict[tuple[int, int], int]:
        """The book in scaled quantities, without empty levels."""
        return {key: qty * 1000 for key, qty in self.book.items() if qty}


class Seen:
    """What a node knows from rows: its book, whether that can be trusted, the prints, what it was told of the feed."""

    def __init__(self) -> None:
        self.book: dict[tuple[int, int], int] = {}
        self.whole = False
        self.stale = False
        self.trades: list[int] = []
        self.told: list[tuple[str, int, int]] = []  # Kind, code and source of the feed's rows.
        self.sources: set[int] = set()

    def take(self, rows: Any) -> None:
        for row in np.asarray(rows):
            kind = int(row["kind"])
            if table.FEED_GAP <= kind <= table.FEED_RECOVERED:
                self.told.append((table.KIND_NAME[kind], int(row["code"]), int(row["source"])))
            else:
                self.sources.add(int(row["source"]))
            if kind == table.SNAPSHOT_BEGIN:
                self.book.clear()
            elif kind == table.SNAPSHOT_END:
                self.whole = True
            elif kind == table.FEED_GAP:
                self.whole = False
            elif kind in {table.LEVEL, table.SNAPSHOT_LEVEL}:
                self.book[int(row["side"]), int(row["price"])] = int(row["qty"])
            elif kind == table.TRADE:
                self.trades.append(int(row["trade_id"]))
            elif kind == table.FEED_STALE:
                self.stale = True
            elif kind == table.FEED_RECOVERED:
                self.stale = False

    def held(self) -> dict[tuple[int, int], int]:
        return {key: qty for key, qty in self.book.items() if qty}


def aggregate(number: int, first: int, last: int, at_ns: int = NOW) -> bytes:
    """An aggregated print of some trades, of half a unit each."""
    ms = at_ns // MS
    data = {
        "e": "aggTrade", "E": ms, "s": "BTCUSDT", "a": number, "p": "100.1", "q": f"{(last - first + 1) * 0.5:.1f}", "f": first, "l": last,
        "T": ms, "m": True,
    }  # fmt: skip
    return json.dumps({"stream": "btcusdt@aggTrade", "data": data}, separators=(",", ":")).encode()
