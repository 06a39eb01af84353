"""The symbols that the practice exchange has, and their rules: the filters of exchangeInfo, fees and scales."""

from dataclasses import dataclass
from typing import Final

PPM: Final = 10**6
MONEY: Final = 10**8


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol's rules. Prices in units of 10**-price_scale, quantities of 10**-qty_scale, money of 1e-8, fees and bands in ppm."""

    name: str
    market: str
    base: str
    quote: str
    price_scale: int
    qty_scale: int
    first_price: int
    max_qty: int
    market_max_qty: int
    maker_ppm: int
    taker_ppm: int
    min_notional: int = 5 * MONEY
    max_notional: int = 9_000_000 * MONEY
    tick_size: int = 1
    step_size: int = 1
    min_qty: int = 1
    min_price: int = 1
    max_orders: int = 200
    max_stops: int = 100
    band_ppm: int = 50_000  # A limit price may lie so far from the mark.
    contract_size: int = 0  # COIN-M: what a contract is worth, in whole units of the quote asset.

    @property
    def max_price(self) -> int:
        """Of an order's price."""
        return int(10 ** (7 + self.price_scale))

    @property
    def pair(self) -> str:
        """What COIN-M calls the base and quote assets together."""
        return self.base + self.quote

    def value(self, price: int, qty: int) -> int:
        """Price times quantity, 1e-8 of the quote asset; exact, since the scales add up to at most 8. Of COIN-M coins for contracts, rounded down."""
        if self.contract_size:
            return qty * self.contract_size * MONEY * int(10**self.price_scale) // price
        return price * qty * int(10 ** (8 - self.price_scale - self.qty_scale))

    def base_units(self, qty: int) -> int:
        """A quantity as 1e-8 of the base asset."""
        return qty * int(10 ** (8 - self.qty_scale))


# base: first price, then (price scale, quantity scale, largest quantity, largest of a market order) of spot and of USD-M, in whole units.
_BASES: Final = {
    "BTC": (60_000, (2, 5, 9_000, 100), (1, 3, 1_000, 120)),
    "ETH": (2_500, (2, 4, 9_000, 2_000), (2, 3, 10_000, 2_000)),
    "BNB": (600, (2, 3, 900_000, 5_000), (2, 2, 100_000, 2_000)),
    "SOL": (150, (2, 3, 900_000, 20_000), (2, 0, 1_000_000, 5_000)),
}
KNOWN: Final = tuple(f"{base}USDT" for base in _BASES)
# COIN-M: what a contract is worth, price scale.
_COIN_BASES: Final = {"BTC": (100, 1), "ETH": (10, 2)}
KNOWN_COINM: Final = tuple(f"{base}USD_PERP" for base in _COIN_BASES)


def symbol(name: str, market: str) -> Symbol:
    """The rules of a symbol that the exchange has. KeyError for any other."""
    if market == "coinm":
        return _coinm(name)
    if name not in KNOWN:
        raise KeyError(name)
    base = name.removesuffix("USDT")
    price, spot, usdm = _BASES[base]
    price_scale, qty_scale, most, market_most = spot if market == "spot" else usdm
    maker_ppm, taker_ppm = (1000, 1000) if market == "spot" else (200, 500)
    return Symbol(
        name, market, base, "USDT", price_scale, qty_scale, price * 10**price_scale, most * 10**qty_scale, market_most * 10**qty_scale,
        maker_ppm, taker_ppm, max_notional=9_000_000 * MONEY if market == "spot" else 100_000_000 * MONEY,
    )  # fmt: skip


def _coinm(name: str) -> Symbol:
    """The rules of a COIN-M perpetual: quantities are contracts."""
    if name not in KNOWN_COINM:
        raise KeyError(name)
    base = name.removesuffix("USD_PERP")
    size, price_scale = _COIN_BASES[base]
    return Symbol(
        name, "coinm", base, "USD", price_scale, 0, _BASES[base][0] * 10**price_scale, 1_000_000, 60_000, 100, 500, min_notional=0,
        max_notional=10**6 * MONEY, contract_size=size,
    )  # fmt: skip
