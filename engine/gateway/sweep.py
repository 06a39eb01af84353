"""Fills exactly once: which trades of a symbol are booked, and when to ask the venue for those that no stream told of.

A trade is known by its id. Everything below `cursor` has been fetched by a sweep and is booked; from there on the booked ids are kept.
The cursor follows at a distance (`OVERLAP_MS`): a venue's history may lag behind its streams. This module must not send anything.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

OVERLAP_MS: Final = 120_000
SEEN_MAX: Final = (
    50_000  # Trades above the cursor that are kept; beyond it nothing new is sent until a sweep has been through.
)
NEVER: Final = 2**63 - 1
NEW: Final = 0
SAME: Final = 1
DIFFERENT: Final = 2

Terms = tuple[int, int, int]  # Price, quantity, fee.


class SeenTrades:
    """The booked trades of one symbol."""

    __slots__ = ("_booked", "cursor", "start_ms")

    def __init__(self, start_ms: int) -> None:
        self.cursor = 0
        self.start_ms = start_ms
        self._booked: dict[int, Terms | None] = {}

    def judge(self, trade_id: int, terms: Terms) -> int:
        """NEW, SAME, or DIFFERENT: booked already, with other numbers."""
        if 0 <= trade_id < self.cursor:
            return SAME
        if trade_id not in self._booked:
            return NEW
        known = self._booked[trade_id]
        return SAME if known is None or known == terms else DIFFERENT

    def known(self, trade_id: int) -> Terms | None:
        """What is booked of a trade; None: nothing that could be compared."""
        return self._booked.get(trade_id)

    def book(self, trade_id: int, terms: Terms | None) -> None:
        """A trade is booked now. terms: None when they are not those to compare with."""
        self._booked[trade_id] = terms

    @property
    def full(self) -> bool:
        """Whether more are kept than is good."""
        return len(self._booked) > SEEN_MAX

    def swept(self, trades: list[tuple[int, int]], *, sent_ms: int, complete: bool) -> None:
        """A sweep's answer is booked. trades: (id, time in ms), rising; complete: the page was not full, nothing follows it."""
        settled_ms = sent_ms - OVERLAP_MS
        settled = [trade_id for trade_id, time_ms in trades if time_ms <= settled_ms]
        if settled and max(settled) + 1 > self.cursor:
            self.begin_at(max(settled) + 1)
        if complete:
            self.start_ms = max(self.start_ms, settled_ms)
            if not trades:
                self._drop_synthetic()

    def begin_at(self, cursor: int) -> None:
        """Everything below it is booked, as a process before has found."""
        if cursor > self.cursor:
            self.cursor = cursor
            self._booked = {each: terms for each, terms in self._booked.items() if each >= cursor or each < 0}

    def _drop_synthetic(self) -> None:
        # Ids we made ourselves have no place in the venue's order: kept while there may be frames that repeat them.
        synthetic = [trade_id for trade_id in self._booked if trade_id < 0]
        for trade_id in synthetic[: max(len(synthetic) - 1000, 0)]:
            del self._booked[trade_id]

    def to_plain(self) -> dict[str, Any]:
        """Plain data."""
        booked = [[trade_id, list(terms) if terms else []] for trade_id, terms in sorted(self._booked.items())]
        return {"cursor": self.cursor, "start_ms": self.start_ms, "booked": booked}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "SeenTrades":
        """What `to_plain` gave."""
        seen = cls(int(plain["start_ms"]))
        seen.cursor = int(plain["cursor"])
        for trade_id, terms in plain["booked"]:
            seen.book(int(trade_id), (int(terms[0]), int(terms[1]), int(terms[2])) if terms else None)
        return seen


class SweepSchedule:
    """When to ask about which instrument. Times are monotonic ns."""

    def __init__(self, instruments: list[int], interval_ns: int, idle_factor: int = 6) -> None:
        self._interval_ns = interval_ns
        self._idle_factor = idle_factor
        self._due = dict.fromkeys(instruments, 0)
        self._sent: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._answered: dict[int, int] = {}  # When the last answered question was sent.
        self._told: dict[int, int] = {}

    def due(self, mono_ns: int, timeout_ns: int) -> list[int]:
        """Instruments to ask about now. One whose answer never came is due again."""
        for instrument, sent_ns in list(self._sent.items()):
            if mono_ns - sent_ns > timeout_ns:
                self.failed(instrument, mono_ns)
        return [instrument for instrument, due in self._due.items() if due <= mono_ns and instrument not in self._sent]

    def urge(self, instrument: int) -> None:
        """Ask about it at the next turn."""
        self._due[instrument] = 0

    def hasten(self, instruments: set[int], interval_ns: int) -> None:
        """Ask about these no later than an interval after they were last asked about, answered or not.

        A venue that cannot be reached answers nothing, and at once: who asked it again at every turn would spend on it all that is left
        of its limits for the minute in which it is back.
        """
        for instrument in instruments:
            if instrument in self._due and instrument not in self._sent:
                last_ns = self._asked.get(instrument, 0)
                self._due[instrument] = min(self._due[instrument], last_ns + interval_ns)

    def sent(self, instrument: int, mono_ns: int) -> None:
        """The question is on its way. Urged meanwhile, it is due again as soon as that is answered: the answer may be older."""
        self._sent[instrument] = self._asked[instrument] = mono_ns
        self._due[instrument] = NEVER

    def failed(self, instrument: int, mono_ns: int) -> None:
        """No answer, or none that could be read: ask again soon. Nothing is known, not: nothing happened."""
        self._sent.pop(instrument, None)
        self._due[instrument] = min(self._due[instrument], mono_ns + self._interval_ns // 4)

    def answered(self, instrument: int, mono_ns: int, *, active: bool, more: bool) -> None:
        """The answer is booked. more: the page was full."""
        self._answered[instrument] = self._sent.pop(instrument, mono_ns)
        wait_ns = 0 if more else self._interval_ns * (1 if active else self._idle_factor)
        self._due[instrument] = min(self._due[instrument], mono_ns + wait_ns)

    def answered_since(self, mono_ns: int) -> bool:
        """Whether a question about every instrument that was sent since then has been answered."""
        return all(self._answered.get(instrument, -1) >= mono_ns for instrument in self._due)

    def late(self, mono_ns: int, limit_ns: int) -> list[int]:
        """Instruments without an answer for longer than a limit, each once per limit."""
        found = []
        for instrument in self._due:
            since_ns = max(self._answered.get(instrument, 0), self._told.setdefault(instrument, mono_ns))
            if mono_ns - since_ns > limit_ns:
                self._told[instrument] = mono_ns
                found.append(instrument)
        return found


def is_finer(told: int, known: int) -> bool:
    """Whether a fee, 1e-8, has more places than the one that is known, which may be a rounding of it."""
    places = _zeros(known)
    return _zeros(told) < places and abs(told - known) < 10**places


def _zeros(amount: int) -> int:
    """Zeros at the end of an amount in 1e-8; of none all that there can be."""
    text = str(abs(amount))
    return min(len(text) - len(text.rstrip("0")), 8) if amount else 8


def synthetic_id(venue_id: int, executed: int, price: int, qty: int) -> int:
    """A trade id for a fill that has none: below zero, and the same whenever the same fill is told again."""
    text = f"{venue_id}:{executed}:{price}:{qty}".encode()
    return -1 - (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 2)
