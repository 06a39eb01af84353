"""What instruments of a run are called: "BTCUSDT" where one of them has that symbol, "binance-spot:BTCUSDT" always.

The one place that decides it, for settings, strategies and results alike. This module must not know what a name is used for.
"""

import difflib
from collections.abc import Iterable, Sequence

from twinloop.data.instruments import Instrument


def shown_names(instruments: Sequence[Instrument]) -> list[str]:
    """The name of each instrument in tables and messages: its symbol, with the venue in front where several have it."""
    symbols = [instrument.symbol for instrument in instruments]
    return [each.symbol if symbols.count(each.symbol) == 1 else each.key for each in instruments]


def slots_by_name(instruments: Sequence[Instrument]) -> dict[str, int]:
    """Slot by every name that means one instrument: as shown, and "venue:SYMBOL"."""
    shown = {name: slot for slot, name in enumerate(shown_names(instruments))}
    return shown | {each.key: slot for slot, each in enumerate(instruments)}


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to write instead of a name that is not known, or is known of several venues; "" without an idea."""
    names = list(known)
    several = [each for each in names if each.endswith(f":{name}")]
    if several:
        return f"several venues have it: write {' or '.join(several)}"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""
