"""Numbers as the venue writes them: decimal text, read and written here and nowhere else."""

import json
from typing import Any, Final

from twinloop.engine.exchange.model import Order
from twinloop.engine.exchange.symbols import MONEY, Symbol

SIDE: Final = {1: "BUY", -1: "SELL"}
STP: Final = "EXPIRE_MAKER"  # The only self-trade prevention there is.


def decimal(value: int, scale: int) -> str:
    """A scaled integer as decimal text with all its places."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def money(value: int) -> str:
    """1e-8 units as decimal text."""
    return decimal(value, 8)


def price(symbol: Symbol, value: int) -> str:
    """A price."""
    return decimal(value, symbol.price_scale)


def qty(symbol: Symbol, value: int) -> str:
    """A quantity."""
    return decimal(value, symbol.qty_scale)


def scaled(text: str, scale: int) -> int:
    """A decimal text as a scaled integer. ValueError for what is none, or has more places than the scale."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not whole.isascii() or len(whole) + len(fraction) > 20:
        raise ValueError(text)
    if len(fraction.rstrip("0")) > scale:
        raise OverflowError(text)
    unit: int = 10**scale
    return int(whole) * unit + int((fraction + "0" * scale)[:scale] or "0")


def average(order: Order) -> str:
    """Average price of what was filled."""
    if not order.filled:
        return "0.00"
    symbol = order.symbol
    units = order.quote * 10 ** (symbol.qty_scale + symbol.price_scale) // (order.filled * MONEY)
    return price(symbol, units)


def encode(document: Any) -> str:
    """JSON as the venue writes it."""
    return json.dumps(document, separators=(",", ":"))
