"""Binance archive lines, plainly: one dict of exact integers a line, by the documented columns."""

import csv
from fractions import Fraction
from typing import Any


def _exact(text: str, scale: int) -> int:
    value = Fraction(text) * 10**scale
    assert value.denominator == 1
    return int(value)


def _ns(text: str) -> int:
    return int(text) * (1000 if len(text) == 16 else 1_000_000)


def read(text: str, kind: str, price_scale: int, qty_scale: int) -> list[dict[str, Any]]:
    """Facts of all lines that are no header."""
    facts: list[dict[str, Any]] = []
    for cells in csv.reader(text.splitlines()):
        if not cells or not cells[0].isdigit():
            continue
        if kind == "klines":
            unit = 1000 if len(cells[0]) == 16 else 1_000_000
            names = ("open", "high", "low", "close")
            prices = {name: _exact(cell, price_scale) for name, cell in zip(names, cells[1:5], strict=True)}
            end = _ns(cells[6]) + unit
            tail = {"volume": _exact(cells[5], qty_scale), "notional": _exact(cells[7], 8), "trades": int(cells[8])}
            facts.append({"venue_ns": end, **prices, **tail, "interval_ns": end - _ns(cells[0])})
        elif kind == "bookTicker":
            names = ("bid", "bid_qty", "ask", "ask_qty")
            scales = (price_scale, qty_scale, price_scale, qty_scale)
            values = {name: _exact(cells[i + 1], scales[i]) for i, name in enumerate(names)}
            facts.append({"venue_ns": _ns(cells[5]), "sequence": int(cells[0]), **values})
        else:
            at, last = (4, 0) if kind == "trades" else (5, 4)
            fact = {"venue_ns": _ns(cells[at]), "sequence": int(cells[0]), "trade_id": int(cells[last])}
            fact |= {"price": _exact(cells[1], price_scale), "qty": _exact(cells[2], qty_scale)}
            facts.append(fact | {"side": -1 if cells[at + 1].lower() == "true" else 1})
    return facts
