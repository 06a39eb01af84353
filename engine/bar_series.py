"""Which series of bars a run keeps, what each is made from, and which strategies see it.

An instrument with trades in its data has its bars built from them. One with a vendor's bars only gets those: as they are where a
strategy asks for their length or says nothing, put together where it asks for a longer one. What cannot be made from the data is
refused before the run; what will never come is told. Each strategy sees the series that it asked for, and no other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.data.times import to_text
from twinloop.engine.assembly import BarRequest
from twinloop.engine.wording import duration
from twinloop.kernels import rows
from twinloop.kernels.bars import NOTIONAL_BAR, TICK_BAR, TIME_BAR, VOLUME_BAR
from twinloop.kernels.node import FROM_BARS, FROM_SHORTER_BARS, FROM_TRADES

_COUNTED: Final = {TICK_BAR: "tick", VOLUME_BAR: "volume", NOTIONAL_BAR: "notional"}
_CHUNK_ROWS: Final = 1 << 20


@dataclass(frozen=True)
class Listener:
    """A strategy as bars see it: its name, the instrument slots it sees, the (kind, size) it asked for, whether it has on_bar."""

    name: str
    slots: Sequence[int]
    bars: Sequence[tuple[int, int]]
    has_on_bar: bool


def series_from_trades(listeners: Sequence[Listener]) -> list[BarRequest]:
    """Every series asked for, built from trades, as in a live session."""
    return [
        BarRequest(slot, kind, size, FROM_TRADES, 1 << number)
        for number, listener in enumerate(listeners)
        for slot in listener.slots
        for kind, size in listener.bars
    ]


def series_of(
    listeners: Sequence[Listener], names: Sequence[str], kinds: Any, tape: Any
) -> tuple[list[BarRequest], list[str]]:
    """The series of a run over recorded data, and what a person should be told of them.

    names: of the instruments by slot. kinds: (instruments, 256) row counts by kind. tape: (n,) ROW, what the node sees.
    Raises ConfigError where a strategy asks for bars that the data cannot give.
    """
    wanted: list[BarRequest] = []
    notes: list[str] = []
    vendor = _VendorBars(tape)
    for number, listener in enumerate(listeners):
        found = len(wanted)
        for slot in listener.slots:
            if not kinds[slot][rows.TRADE] and kinds[slot][rows.BAR]:
                wanted += _from_vendor(listener, number, slot, names[slot], vendor)
                continue
            wanted += [BarRequest(slot, kind, size, FROM_TRADES, 1 << number) for kind, size in listener.bars]
            if listener.bars and not kinds[slot][rows.TRADE]:
                notes.append(f"{names[slot]}: no trades in the data, so {listener.name} gets no bars of it")
        if listener.has_on_bar and len(wanted) == found:
            notes.append(f'{listener.name} has on_bar but asks for no bars, so none come: add bars = ["1m"] to it')
    return wanted, notes


def _from_vendor(listener: Listener, number: int, slot: int, name: str, vendor: "_VendorBars") -> Iterator[BarRequest]:
    if not listener.bars and not listener.has_on_bar:
        return
    length_ns = vendor.usual_length_ns[slot]
    if not listener.bars:
        yield BarRequest(slot, TIME_BAR, length_ns, FROM_BARS, 1 << number)
    for kind, size in listener.bars:
        if kind != TIME_BAR:
            raise _refusal(
                listener, f"time bars: the data of {name} has bars only, and no trades", f"{_COUNTED[kind]} bars"
            )
        if size < length_ns:
            raise _refusal(
                listener,
                f"at least {duration(length_ns)}, the length of the bars in the data of {name}",
                duration(size),
            )
        if size == length_ns:
            yield BarRequest(slot, TIME_BAR, size, FROM_BARS, 1 << number)
            continue
        start_ns = vendor.first_across(size).get(slot)
        if start_ns is not None:
            raise _refusal(
                listener,
                f"a length that the bars of {name} fill up: the bar of {to_text(start_ns)} lies in two",
                duration(size),
            )
        yield BarRequest(slot, TIME_BAR, size, FROM_SHORTER_BARS, 1 << number)


def _refusal(listener: Listener, expected: str, got: str) -> ConfigError:
    return ConfigError(
        "bars that the data cannot give", field=f"strategy.{listener.name}.bars", expected=expected, got=got,
        remedy="ask for others, or leave `bars` out to get the bars of the data as they are",
    )  # fmt: skip


class _VendorBars:
    """The vendor's bars of a tape, of all its instruments: the tape is read once for their lengths and once for each size asked about."""

    def __init__(self, tape: Any) -> None:
        self._tape = tape
        self._across: dict[int, dict[int, int]] = {}

    def _chunks(self) -> Iterator[tuple[Any, Any, Any]]:
        """(instrument, start, end) of the bars, ns, a chunk of the tape at a time."""
        tape = self._tape
        for first in range(0, len(tape), _CHUNK_ROWS):
            chunk = tape[first : first + _CHUNK_ROWS]
            at = np.flatnonzero((chunk["kind"] == rows.BAR) & (chunk["flags"] & rows.FLAG_TAIL == 0))
            ends = chunk["venue_ns"][at]
            yield chunk["instrument"][at].astype(np.int64), ends - tape["interval_ns"][first + at + 1], ends

    @cached_property
    def usual_length_ns(self) -> dict[int, int]:
        """By instrument slot, the most frequent length of its bars; of equally frequent ones the shortest."""
        counts: dict[int, Counter[int]] = {}
        for instruments, starts, ends in self._chunks():
            pairs, numbers = np.unique(np.stack((instruments, ends - starts), axis=1), axis=0, return_counts=True)
            for (slot, length), number in zip(pairs.tolist(), numbers.tolist(), strict=True):
                counts.setdefault(slot, Counter())[length] += number
        return {slot: min(each, key=lambda length: (-each[length], length)) for slot, each in counts.items()}

    def first_across(self, size: int) -> dict[int, int]:
        """By instrument slot, start of its first bar that does not lie in one interval of `size`, ns since the epoch."""
        if size not in self._across:
            found: dict[int, int] = {}
            for instruments, starts, ends in self._chunks():
                across = starts // size != (ends - 1) // size
                slots, first = np.unique(instruments[across], return_index=True)
                for slot, start_ns in zip(slots.tolist(), starts[across][first].tolist(), strict=True):
                    found.setdefault(slot, start_ns)
            self._across[size] = found
        return self._across[size]
