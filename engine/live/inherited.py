"""What one session hands over to another: plain data, by name. It stands in the new session's journal, so that its replay begins with it.

Positions, money, the day's loss, halts, strategies' state, open bars, and the trades that are booked already; no working order. This module
must not know nodes or files.
"""

import base64
import zlib
from typing import Any, Final

import msgspec
import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import Rows
from twinloop.kernels.rows import ROW

FORMAT: Final = 1
ROWS_MAX: Final = 1 << 20  # Nothing is unpacked beyond that.
Words = dict[str, int]


class Field(msgspec.Struct, frozen=True):
    """One field of a strategy's state. type: of its bytes, as NumPy writes it. data: base64. value: for a person, of plain numbers."""

    type: str
    data: str
    value: int | float | bool | None = None


class InheritedStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's part. positions: words by symbol. parameters and digest: to tell what is another now."""

    name: str
    digest: str
    parameters: dict[str, Any]
    state: int
    failed: int
    positions: dict[str, Words]
    fields: dict[str, Field]


class InheritedBars(msgspec.Struct, frozen=True):
    """A series of bars and the one that is open. state, closed: words of BAR_STATE and BAR."""

    symbol: str
    kind: int
    size: int
    state: Words
    closed: Words


class Inherited(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. name, epoch, commit, checksum, code: of the journal that it is from. now_ns: its last moment. Money in 1e-8."""

    format: int
    name: str
    mode: str
    epoch: int
    commit: int
    checksum: int
    code: str
    now_ns: int
    traded_from_ns: int
    currencies: list[str]  # In the order of their slots; the account's first.
    instruments: list[Instrument]
    limits_section: dict[str, Any]
    account: Words
    positions: dict[str, Words]  # Of the account, by symbol.
    unassigned: dict[str, Words]  # Of no strategy.
    ledgers: dict[str, Words]  # By currency.
    fx: dict[str, int]
    strategies: list[InheritedStrategy]
    bars: list[InheritedBars]
    timers: list[Words]  # Armed ones: strategy, id, due_ns, interval_ns.
    counters: Words
    said: dict[str, Any]  # The words on trading.
    last_prints: dict[str, tuple[int, int]]  # Id and venue time by symbol.
    rows: list[tuple[int, str]]  # (epoch, rows that a gateway needs), packed.
    tightened: list[str] = []  # Limits that an operator had made stricter, each in words.
    venue_wait: str = ""  # What the venue said about waiting, as the session kept it: a new name ends no ban.

    def of_orders(self) -> list[tuple[int, Rows]]:
        """The rows that a gateway needs, by epoch."""
        return [(epoch, unpacked(text)) for epoch, text in self.rows]


def packed(rows: Rows) -> str:
    """Rows as text."""
    return base64.b64encode(zlib.compress(rows.tobytes(), 9)).decode("ascii")


def unpacked(text: str) -> Rows:
    """Rows that `packed` wrote. ConfigError for a text that is none."""
    try:
        whole = zlib.decompressobj()
        content = whole.decompress(base64.b64decode(text, validate=True), ROWS_MAX * ROW.itemsize)
        if not whole.eof:
            raise ConfigError(
                "a handover whose rows break off", expected=f"at most {ROWS_MAX:,} rows, whole", got="more, or less"
            )
        return np.frombuffer(content, ROW).copy()
    except (ValueError, zlib.error) as error:
        raise ConfigError("a handover whose rows cannot be read", got=str(error)) from None
