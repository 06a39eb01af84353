"""First in, first out in exact fractions, one unit of quantity at a time."""

from collections import defaultdict, deque
from fractions import Fraction
from typing import Any


def unit_value(instrument: Any, price_int: int) -> Fraction:
    """Value of one scaled unit of quantity, in the settlement currency."""
    price = Fraction(price_int, 10**instrument.price_scale)
    qty = Fraction(1, 10**instrument.qty_scale)
    size = Fraction(instrument.contract_size, 10**8)
    return qty * size / price if instrument.contract == "inverse" else price * qty * size


def trades(fills: Any, instruments: Any) -> list[dict[str, Any]]:
    """Closed pieces, in order, as exact gross; pieces of one entry and one exit are one trade."""
    open_units: dict[Any, deque[Any]] = defaultdict(deque)
    closed: dict[Any, dict[str, Any]] = {}
    for fill in fills:
        key = (int(fill["account"]), int(fill["strategy"]), int(fill["instrument"]))
        instrument = instruments[key[2]]
        side, price, sequence = int(fill["side"]), int(fill["price_int"]), int(fill["sequence"])
        units = open_units[key]
        for _ in range(int(fill["qty_int"])):
            if units and units[0][0] != side:
                held, entry, entry_sequence = units.popleft()
                gain = unit_value(instrument, price) - unit_value(instrument, entry)
                gain = -gain if instrument.contract == "inverse" else gain
                trade = closed.setdefault(
                    (sequence, entry_sequence),
                    {"qty": 0, "gross": Fraction(0), "side": held, "entry": entry, "exit": price},
                )
                trade["qty"] += 1
                trade["gross"] += held * gain
            else:
                units.append((side, price, sequence))
    return list(closed.values())
