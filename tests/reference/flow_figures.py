"""How lively a market is, from its messages alone: the same figures for a recording and for the practice exchange."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass
class Figures:
    """Per second of the messages' own time. cancel_share: of the quantity that left the book, the part that was not traded."""

    levels_per_s: float
    quotes_per_s: float
    trades_per_s: float
    narrow_share: float  # Of the quotes, those with a spread of one tick.
    cancel_share: float
    trade_qty: float  # The mean one.

    @property
    def events_per_s(self) -> float:
        """Level changes, quotes and trades together."""
        return self.levels_per_s + self.quotes_per_s + self.trades_per_s


def figures(messages: Iterable[tuple[float, dict[str, Any]]], tick: str) -> Figures:
    """messages: (seconds, message) in order; depth updates, book tickers and trades of one symbol."""
    book: dict[tuple[str, str], Decimal] = {}
    levels = quotes = trades = narrow = 0
    removed = traded = Decimal(0)
    first = last = None
    for at, message in messages:
        first = at if first is None else first
        last = at
        event = message.get("e")
        if event == "depthUpdate":
            for side in "ba":
                for price, text in message[side]:
                    qty = Decimal(text)
                    levels += 1
                    known = book.get((side, price))
                    if known is not None and qty < known:
                        removed += known - qty
                    book[side, price] = qty
        elif event == "trade":
            trades += 1
            traded += Decimal(message["q"])
        elif "B" in message:
            quotes += 1
            narrow += Decimal(message["a"]) - Decimal(message["b"]) == Decimal(tick)
    assert first is not None
    assert last is not None
    seconds = last - first
    share = float(1 - traded / removed) if removed else 0.0
    return Figures(
        levels / seconds, quotes / seconds, trades / seconds, narrow / quotes, share, float(traded / trades)
    )  # fmt: skip


def recorded(path: Path, lines_max: int) -> Iterable[tuple[float, dict[str, Any]]]:
    """Messages of a raw recording with their receive time."""
    import gzip

    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            if number == lines_max:
                return
            at, _, raw = line.partition(" ")
            document = json.loads(raw)
            if "stream" in document:
                yield int(at) / 10 ** (len(at) - 10), document["data"]
