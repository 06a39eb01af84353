"""Trades that the venue takes back after it had told them: which of the last booked ones it lists no more, and what undoes them.

No stream tells of it. It shows as a difference between the venue's account and the journal, and in the list of trades: the trade is not
there any more. Only where both say so, the trade is old enough that no list lags behind it, and what is missing explains the difference
exactly, is it taken for a bust; everything else stays a difference for a person. The fill's rows stay: a BUST fact reverses them. This module
must not ask the venue or decide what follows.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.gateway.needed_rows import FILLS_KEPT
from twinloop.engine.live.holdings import Holdings
from twinloop.engine.live.node import LiveNode
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES

AGE_NS: Final = 60_000_000_000  # A venue's list may lag behind its stream: what is younger is not missed.


class Fill(NamedTuple):
    """One booked trade: its two rows, and what of them is looked at."""

    trade_id: int
    venue_ns: int
    rows: Rows


class BookedFills:
    """The last fills of a session's instruments, by trade id; of a venue's own ids only."""

    def __init__(self) -> None:
        self._kept: dict[int, deque[Fill]] = {}

    def take(self, rows: Rows) -> None:
        """Facts that were handled, or a journal's: fills are remembered, with what their fees are now; busts forget theirs."""
        kinds = rows["kind"]
        for row in rows[kinds == table.FEE_CHANGED]:
            for each in self._kept.get(int(row["instrument"]), ()):
                if each.trade_id == int(row["trade_id"]):
                    each.rows["fee"][0] += row["fee"]
        for at in np.flatnonzero((kinds == table.FILL) | (kinds == table.BUST)):
            if not rows["flags"][at] & FLAG_CONTINUES or at + 1 >= len(rows):
                continue
            slot, trade_id = int(rows["instrument"][at]), int(rows["trade_id"][at + 1])
            kept = self._kept.setdefault(slot, deque(maxlen=FILLS_KEPT))
            if kinds[at] == table.BUST:
                self._kept[slot] = deque((each for each in kept if each.trade_id != trade_id), FILLS_KEPT)
            elif trade_id > 0:
                kept.append(Fill(trade_id, int(rows["venue_ns"][at]), rows[at : at + 2].copy()))

    def traded_after(self, slot: int, venue_ns: int) -> dict[int, int]:
        """By strategy the signed quantity of an instrument's fills after a time of the venue's."""
        found: dict[int, int] = {}
        for each in self._kept.get(slot, ()):
            if each.venue_ns > venue_ns:
                strategy = int(each.rows["strategy"][0])
                found[strategy] = found.get(strategy, 0) + int(each.rows["side"][0]) * int(each.rows["qty"][0])
        return found

    def first_id(self, slot: int) -> int:
        """Trade id from which on the venue's list is wanted; 0: nothing is remembered."""
        return min((each.trade_id for each in self._kept.get(slot, ())), default=0)

    def missing(self, slot: int, listed: Iterable[int], *, up_to_ns: int, full: bool) -> list[Fill]:
        """Fills that a list from first_id() on does not name. full: it breaks off at its last trade. up_to_ns: the latest that counts."""
        ids = set(listed)
        last = max(ids, default=0) if full else 2**63
        return [
            each
            for each in self._kept.get(slot, ())
            if each.trade_id not in ids and each.trade_id <= last and each.venue_ns <= up_to_ns
        ]


def undone(fills: Iterable[Fill], local_ns: int) -> Rows:
    """BUST facts that reverse fills."""
    parts = [each.rows.copy() for each in fills]
    for rows in parts:
        rows["kind"], rows["local_ns"], rows["sequence"] = table.BUST, local_ns, 0
        rows["side"] = -rows["side"]
        rows["fee"][0] = -rows["fee"][0]
    return join_rows(parts)


def without(node: LiveNode, ours: Mapping[str, Decimal], fills: Iterable[Fill]) -> tuple[Holdings, set[str]]:
    """What the journal would say if the fills were undone, and the names of what that changes."""
    after, names = dict(ours), set()

    def move(name: str, amount: Decimal) -> None:
        if amount:
            after[name] = after.get(name, Decimal(0)) + amount
            names.add(name)

    for each in fills:
        head, tail = each.rows[0], each.rows[1]
        instrument = node.session.instruments[int(head["instrument"])]
        signed = int(head["side"]) * int(head["qty"])
        if instrument.contract != "spot":
            move(instrument.symbol, -Decimal(instrument.qty_text(signed)))
            continue
        qty, price = Decimal(instrument.qty_text(signed)), Decimal(instrument.price_text(int(head["price"])))
        move(instrument.base, -qty)
        move(instrument.settle, qty * price)
        paid_in = node.assembly.currencies[int(tail["fee_currency"])]
        if paid_in in {instrument.base, instrument.settle, *ours}:  # Nothing else is compared.
            move(paid_in, _money(head["fee"]))
    return after, names


def _money(amount: Any) -> Decimal:
    return Decimal(from_scaled(int(amount), MONEY_SCALE))
