"""What is left once a session's positions have been closed: told to a person, since nothing else will touch it.

Reads the node between two turns; must not decide anything.
"""

from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.engine.live.node import LiveNode


class ClosingWatch:
    """Of one session. `look` is called again and again, more seldom than positions may be closed."""

    def __init__(self, node: LiveNode) -> None:
        self._node = node
        self._ended = self._count()

    def _count(self) -> int:
        return int(self._node.decision["accounts"][0]["flattens_ended"])

    def look(self) -> str:
        """What to say where closing has ended since the last look; else nothing."""
        before, self._ended = self._ended, self._count()
        if self._ended == before:
            return ""
        return "closing has ended: " + ("; ".join(_left(self._node)) or "no position is left")


def _left(node: LiveNode) -> list[str]:
    """Each position that is left, in words."""
    found = []
    for slot, instrument in enumerate(node.session.instruments):
        qty = int(node.decision["account_holdings"][0][slot]["position"]["qty"])
        if qty == 0:
            continue
        text = f"{instrument.symbol} {instrument.qty_text(qty)} is left"
        if instrument.contract == "spot":
            held = int(node.decision["ledgers"][0][node.assembly.currencies.index(instrument.base)]["balance"])
            text += f", of which the account holds {from_scaled(max(held, 0), MONEY_SCALE)} {instrument.base}: fees took the rest"
        found.append(text)
    return found
