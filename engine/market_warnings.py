"""What a run has to say of how its markets are known: where fills rest on assumptions, and what its records leave out."""

from collections.abc import Sequence
from typing import Any, Final

from twinloop.engine.wording import few
from twinloop.kernels import venue as venue_kernel

POORER: Final = {  # How a market is known, and what follows for fills.
    venue_kernel.PRINTS: "trades only ({}): both sides are taken to be the last price, without a spread",
    venue_kernel.BARS: "bars only ({}): fills follow an assumed path through each bar",
}


def market_warnings(assembly: Any, names: Sequence[str], sampled: int) -> list[str]:
    """A line each. names: of the instruments by slot; sampled: of how many of them, the first ones, equity samples tell position and mark."""
    found = []
    if others := names[sampled:]:
        found.append(
            f"positions and marks over time are kept of the first {sampled} instruments only, not of {few(others)}: null in "
            "equity.parquet, and left out of charts, excursions and buy and hold; fills, trades, cash and equity have them all"
        )
    modes = [int(mode) for mode in assembly.venue["instruments"]["mode"][: len(names)]]
    for mode, text in POORER.items():
        if those := [name for name, own in zip(names, modes, strict=True) if own == mode]:
            found.append(text.format(few(those)))
    books = assembly.decision["instruments"]["book"][: len(names)]
    lost = [
        name for name, book in zip(names, books, strict=True) if book >= 0 and assembly.decision["books"][book]["lost"]
    ]
    if lost:
        found.append(f"order books lost levels ({few(lost)}), see their counters")
    return found
