"""The modes of twinloop's side of the parity runs: which semantics of its default venue and books are on. Names, no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Semantics:
    """Which of the default's semantics are on; all off is the compatibility mode."""

    own_rows: bool = False  # Diffs are held back until the snapshot, which replaces the whole book.
    quotes: bool = False  # The strategy's best bid and ask follow bookTicker rows too.
    # The best is the best stored level, crossed or not, and any level of the other side that reaches our price fills us, not only a new best.
    stored_best: bool = False
    # A print gives what is left of it behind the queue, once for all our orders; a taker gets what is displayed.
    partial_fills: bool = False
    depletion: bool = False  # What our takers took stays gone until the venue's next word on that level.


COMPATIBLE: Final = Semantics()
DEFAULT: Final = Semantics(own_rows=True, quotes=True, stored_best=True, partial_fills=True, depletion=True)
DEPARTURES: Final[Mapping[str, Semantics]] = {
    "buffered snapshot": Semantics(own_rows=True),
    "best from quotes": Semantics(quotes=True),
    "best of stored levels": Semantics(stored_best=True),
    "partial fills": Semantics(partial_fills=True),
    "partial fills, taker walks the book": Semantics(partial_fills=True, stored_best=True),
    "partial fills, taker walks and depletes the book": Semantics(partial_fills=True, stored_best=True, depletion=True),
}
"""The last two need those before them to show at all."""


def semantics_of(mode: str) -> Semantics:
    """The semantics of "hftbacktest", "default", or "only:" and a departure's name. Raises KeyError."""
    if mode == "hftbacktest":
        return COMPATIBLE
    return DEFAULT if mode == "default" else DEPARTURES[mode.removeprefix("only:")]
