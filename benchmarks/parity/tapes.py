"""The two tapes of the parity runs as twinloop's rows: what SEMANTICS.md says of the input rows, made from a recording.

Digits are decoded by twinloop's own reader; this module only puts its rows into the form the peer gives them: no buffering of
diffs before the snapshot, the snapshot as sided CLEAR rows and levels, bookTicker and off-market prints left out, the peer's
clock correction. It must not know any engine's venue.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twinloop.data.binance_raw import estimate_clock_offset, read_raw
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows, pick
from twinloop.kernels import rows as table

PEER_KINDS = (table.TRADE, table.LEVEL, table.SNAPSHOT_BEGIN)
"""The kinds whose latencies decide the peer's clock correction: it does not look at quotes and mark prices."""


class Tapes(NamedTuple):
    """local: (n,) ROW in order of receipt. venue: the same rows stably sorted by venue time. start_ns: where the clock starts."""

    local: Any
    venue: Any
    clock_offset_ns: int

    @property
    def start_ns(self) -> int:
        """Time of the first event on either tape."""
        return min(int(self.venue["venue_ns"][0]), int(self.local["local_ns"][0]))

    @property
    def last_ns(self) -> int:
        """Last receive time."""
        return int(self.local["local_ns"][-1])


def sorted_by_venue(local: Any) -> Any:
    """Stable: rows of equal venue time keep file order."""
    return pick(local, np.argsort(local["venue_ns"], kind="stable"))


def all_rows(reader: Any) -> Any:
    """Everything a reader gives, in one array; each batch is only valid until the next one."""
    return join_rows([join_rows([batch]) for batch in reader])


def _snapshot_rows(levels: Any) -> Any:
    """CLEAR bid up to the lowest bid, the bids, CLEAR ask up to the highest ask, the asks."""
    parts = []
    for side in (1, -1):
        own = pick(levels, levels["side"] == side)
        if not own.size:
            continue
        own["kind"] = table.LEVEL
        clear = join_rows([own[:1]])
        clear["kind"] = table.CLEAR
        clear["price"] = own["price"].min() if side > 0 else own["price"].max()
        clear["qty"] = 0
        parts += [clear, own]
    out = join_rows(parts)
    out["flags"][-1] = table.FLAG_EVENT_END  # The book is whole again only behind both sides.
    return out


def peer_tapes(recording: Path, instrument: Instrument) -> Tapes:
    """The rows that hftbacktest's converter makes of a recording, in both orders."""
    clock = estimate_clock_offset(recording, instrument, kinds=PEER_KINDS)
    reader = read_raw(recording, instrument, snapshot="as_received", clock_offset_ns=clock.offset_ns)
    rows = all_rows(reader)
    kind = rows["kind"]
    off_market = (kind == table.TRADE) & (rows["flags"] & table.FLAG_OFF_MARKET != 0)
    rows = pick(rows, np.isin(kind, (table.TRADE, table.LEVEL, table.SNAPSHOT_LEVEL, table.SNAPSHOT_END)) & ~off_market)
    parts, begin = [], 0
    for end in np.flatnonzero(rows["kind"] == table.SNAPSHOT_END):
        first = begin + int(np.argmax(rows["kind"][begin:end] == table.SNAPSHOT_LEVEL))
        parts += [rows[begin:first], _snapshot_rows(rows[first:end])]
        begin = int(end) + 1
    parts.append(rows[begin:])
    local = join_rows(parts)
    return Tapes(local, sorted_by_venue(local), clock.offset_ns)


def own_tapes(recording: Path, instrument: Instrument, clock_offset_ns: int, *, quotes: bool) -> Tapes:
    """Twinloop's own rows of the same recording: diffs held back until the snapshot, bookTicker rows if wanted; clock as given."""
    reader = read_raw(recording, instrument, clock_offset_ns=clock_offset_ns)
    local = all_rows(reader)
    if not quotes:
        local = pick(local, local["kind"] != table.QUOTE)
    return Tapes(local, sorted_by_venue(local), clock_offset_ns)
