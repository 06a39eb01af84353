"""What the parity runs are made of: markets, strategies' constants, the decision grid. SEMANTICS.md gives the rules in words.

Integers only (ticks, lots, nanoseconds), so that two engines that agree on a book take the same decision.
This module imports nothing outside the standard library: every engine's side reads it, in whatever environment it lives.
"""

from dataclasses import dataclass
from typing import Final

GRID_NS: Final = 100_000_000
"""Decisions are taken each 100 ms of simulated time."""
WARMUP_DECISIONS: Final = 50
"""The first 50 grid points take no decision: the snapshot arrives about 0.3 s into a recording, behind the first diffs."""
TAIL_NS: Final = 1_000_000_000
"""No decision within the last second of the recording, so that every request is answered before the data ends."""
LATENCIES_MS: Final = (0, 1, 10, 100)
"""Constant entry latency = response latency, in milliseconds."""
FILLS_MIN: Final = 500
"""A run with fewer fills proves little and fails the bar."""
MAKER_FEE: Final = 0.0002
TAKER_FEE: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument's grid. tick and lot are exact decimals as text; the floats are what the peer is configured with."""

    tick: str
    lot: str
    order_lots: int
    skew_ticks: int  # the maker moves its quotes by this many ticks for each order it holds
    spacing_ticks: int  # between the maker's quotes of one side


@dataclass(frozen=True, slots=True)
class Maker:
    """Quotes behind the best bid and the best ask, moved by inventory."""

    levels: int = 3  # quotes a side
    orders_max: int = 10  # no more bids while long this many orders, no more asks while short


@dataclass(frozen=True, slots=True)
class Taker:
    """Follows the imbalance of the two best levels with IOC orders."""

    percent: int = 60  # one side must hold more than this share of the two best quantities
    orders_max: int = 5  # no buy while long this many orders, no sell while short


MARKETS: Final = {
    "usdm_btcusdt": Market(tick="0.1", lot="0.001", order_lots=1, skew_ticks=1, spacing_ticks=2),
    "usdm_ethusdt": Market(tick="0.01", lot="0.001", order_lots=10, skew_ticks=1, spacing_ticks=2),
}
MAKER: Final = Maker()
TAKER: Final = Taker()
STRATEGIES: Final = ("maker", "taker")
