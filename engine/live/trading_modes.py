"""Whether a USD-M account trades as the session's file says: one-way positions, one margin asset, margin type and leverage.

Nothing is changed at the venue: what differs is refused, with what to do about it. This module must not ask the venue.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from twinloop.data.binance_answers import SymbolSettings
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.session_errors import SessionError

_MARGIN_TYPE: Final = {"cross": "CROSSED", "isolated": "ISOLATED"}


class TradingModes(NamedTuple):
    """What the venue says. hedge: long and short positions of one symbol at once. symbols: by name."""

    hedge: bool
    multi_assets: bool
    symbols: Mapping[str, SymbolSettings]


def check_modes(loaded: LoadedSession, told: TradingModes) -> list[str]:
    """Lines for a person about what was found. SessionError for what does not fit the file, or is not told."""
    orders = loaded.config.orders
    assert orders is not None
    if told.hedge:
        raise SessionError(
            "the account is in hedge mode", field="dualSidePosition", expected="one-way mode: one position a symbol", got="hedge mode",
            remedy="close every position, and set the position mode to one-way at the venue; nothing was changed",
        )  # fmt: skip
    if told.multi_assets:
        raise SessionError(
            "the account is in multi-assets mode", field="multiAssetsMargin", expected="single-asset mode: the session counts one wallet",
            got="multi-assets mode", remedy="set single-asset mode at the venue; nothing was changed",
        )  # fmt: skip
    lines = []
    for name in loaded.config.feed.symbols:
        found = told.symbols.get(name)
        if found is None:
            raise SessionError(
                "the venue does not tell margin type and leverage", field=name, expected="an entry of symbolConfig", got="none",
                remedy="see whether this account may trade the symbol",
            )  # fmt: skip
        if found.margin_type != _MARGIN_TYPE[orders.margin]:
            raise SessionError(
                "another margin type than the file says", field=f"{name} marginType", expected=_MARGIN_TYPE[orders.margin], got=found.margin_type,
                remedy="set it at the venue, or margin under [orders] as it is; nothing was changed",
            )  # fmt: skip
        wanted = loaded.leverage_of(name)
        if wanted is not None and found.leverage != wanted:
            raise SessionError(
                "another leverage than the file says", field=f"{name} leverage", expected=f"{wanted}x", got=f"{found.leverage}x",
                remedy="set it at the venue, or leverage under [orders] as it is; nothing was changed",
            )  # fmt: skip
        checked = "as the file says" if wanted is not None else "not checked: the file has no leverage under [orders]"
        lines.append(f"{name}: one-way, {orders.margin} margin, leverage {found.leverage}x ({checked})")
    return lines
