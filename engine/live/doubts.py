"""What a session's file says that can stand and is probably not meant: a unit a hundred or a thousand times off, fees that are none.

Nothing here is refused: a person is told, once, before anything trades. This module must not change anything.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from twinloop.engine.limits import conservative
from twinloop.engine.live.config import LoadedSession

FACTOR: Final = 100  # So far from the preset's a limit is told.
NONE_AT_ZERO: Final = frozenset({"initial_margin_pct", "duplicate_window_ms"})  # Of these zero asks for nothing.
FEE_BPS_MAX: Final = 50  # More than any tier of a venue takes.


def doubts(loaded: LoadedSession) -> list[str]:
    """Lines for a person; empty: nothing is odd."""
    return [*_of_limits(loaded.limits_section), *_of_fees(loaded)]


def _of_limits(section: dict[str, Any]) -> list[str]:
    usual = conservative().values
    found = []
    for key, given in section.items():
        preset = usual.get(key)
        try:
            value = Decimal(str(given))
        except InvalidOperation:  # "none", or a table of a symbol's own.
            continue
        if preset is None:
            continue
        if value == 0 and key in NONE_AT_ZERO:
            continue
        if value == 0:
            found.append(f"limits.{key} is 0: every order is refused by it")
        elif preset and value >= FACTOR * preset:
            found.append(
                f"limits.{key} {value:,f} is {value / preset:,.0f} times the conservative preset's {preset:f}: is the unit meant?"
            )
        elif preset and value * FACTOR <= preset:
            found.append(
                f"limits.{key} {value:f} is a {preset / value:,.0f}th of the conservative preset's {preset:f}: is the unit meant?"
            )
    return found


def _of_fees(loaded: LoadedSession) -> list[str]:
    feed = loaded.config.feed
    fees = {name: (Decimal(getattr(feed, name)) / 10**4).normalize() for name in ("maker_fee_bps", "taker_fee_bps")}
    found = [
        f"feed.{name} {fee:f} is {fee / 100:f} % of every trade: is the unit meant?"
        for name, fee in fees.items()
        if abs(fee) > FEE_BPS_MAX
    ]
    if loaded.config.session.mode == "paper" and not any(fees.values()):
        found.append(
            "no fees: maker_fee_bps and taker_fee_bps under [feed] are not set, and trades cost nothing but their prices"
        )
    return found
