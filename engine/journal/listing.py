"""A journal's rows for a person: names of kinds, times, and prices in natural decimals where the header tells the instruments.

This module must not draw: records are plain values.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_SCALE, Instrument, from_scaled
from twinloop.data.rowfile import Rows
from twinloop.data.times import to_text
from twinloop.engine.instrument_names import shown_names, suggestion
from twinloop.engine.journal.reader import Commit
from twinloop.kernels import rows as table
from twinloop.kernels.codes import CODE_NAME
from twinloop.kernels.rows import FLAG_TAIL, FUNDING_PAID, KIND_CODE, KIND_NAME, KINDS, SEAL, TRANSFER

_PRICES: Final = frozenset(
    {"price", "bid", "ask", "open", "high", "low", "close", "index_price", "trigger_price", "tick_size"}
)
_QTYS: Final = frozenset({"qty", "bid_qty", "ask_qty", "volume", "leaves_qty", "lot_size", "min_qty", "max_qty"})
_MONEY: Final = frozenset({"fee", "notional", "rate", "min_notional"})
_MONEY_KINDS: Final = frozenset({TRANSFER, FUNDING_PAID})  # Their `value` is money, as others' is not.
_TIMES: Final = frozenset({"due_ns", "egress_ns", "wall_ns"})
_NONE_AT_ZERO: Final = frozenset({*_TIMES, "trigger_price"})
_HASHES: Final = {"checksum": 8, "decision_hash": 16, "state_hash": 16}
_SIDES: Final = {1: "buy", -1: "sell"}
_CODED: Final = frozenset({
    table.VERDICT, table.REJECT, table.CANCELLED, table.EXPIRED, table.CANCEL_REJECT, table.AMEND_REJECT,
})  # fmt: skip
_WORDS: Final = frozenset({table.HALT, table.REDUCE, table.RESUME, table.FLATTEN, table.NOTE})
_SPEC: Final = {kind.code: kind for kind in KINDS}


def kinds_named(names: Sequence[str]) -> frozenset[int]:
    """Codes of kinds by name, in any case; empty for none. ConfigError for one that is not a kind."""
    for name in names:
        if name.upper() not in KIND_CODE:
            raise ConfigError(
                "no such kind of row", field="kind", expected="a name such as FILL or NEW", got=name,
                remedy=suggestion(name.upper(), KIND_CODE) or "see docs/rows.md",
            )  # fmt: skip
    return frozenset(KIND_CODE[name.upper()] for name in names)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows: of these kinds (empty: any, SEAL only when asked for), from a local time on, before another, from a sequence on."""

    kinds: frozenset[int] = frozenset()
    start_ns: int | None = None
    end_ns: int | None = None
    sequence: int | None = None

    def mask(self, rows: Rows) -> Any:
        """(n,) bool."""
        chosen = np.ones(len(rows), np.bool_)
        if self.kinds:
            chosen &= np.isin(rows["kind"], np.array(list(self.kinds), np.uint8))
        if self.start_ns is not None:
            chosen &= rows["local_ns"] >= self.start_ns
        if self.end_ns is not None:
            chosen &= rows["local_ns"] < self.end_ns
        if self.sequence is not None:
            chosen &= rows["sequence"] >= self.sequence
        return chosen


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row and the commit it is of."""

    commit: Commit
    row: Any


def chosen_rows(commits: Iterable[Commit], choice: Choice) -> Iterator[Chosen]:
    """Rows of commits, in order."""
    for commit in commits:
        for at in np.flatnonzero(choice.mask(commit.rows)).tolist():
            yield Chosen(commit, commit.rows[at])
        if SEAL in choice.kinds:
            yield Chosen(commit, commit.seal)


class Listing:
    """Rows as records of plain values. instruments: by slot, as the header tells them; where it does not, integers stay integers."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = instruments
        self._names = shown_names(instruments)

    def record(self, chosen: Chosen) -> dict[str, Any]:
        """commit, sequence, time, kind, and whatever else the row says."""
        row = chosen.row
        code, slot = int(row["kind"]), int(row["instrument"])
        found: dict[str, Any] = {
            "commit": chosen.commit.number,
            "sequence": int(row["sequence"]),
            "time": to_text(int(row["local_ns"])),
            "kind": KIND_NAME.get(code, f"kind {code}"),
            "instrument": self.instrument_name(slot) if code != SEAL else "",
            "side": _SIDES.get(int(row["side"]), ""),
        }
        for name in ("strategy", "account", "source", "flags"):
            found[name] = int(row[name])
        if int(row["venue_ns"]):
            found["venue_time"] = to_text(int(row["venue_ns"]))
        name = meaning(row)
        return found | self.payload(row) | ({"meaning": name} if name else {})

    def payload(self, row: Any) -> dict[str, Any]:
        """The fields of its kind, in natural units: decimals are text, exactly."""
        spec = _SPEC.get(int(row["kind"]))
        if spec is None:
            words = np.frombuffer(row.tobytes(), np.int64)[4:]
            return {f"word_{32 + 8 * at}": int(word) for at, word in enumerate(words)}
        fields = spec.tail if spec.tail and int(row["flags"]) & FLAG_TAIL else spec.payload
        slot = int(row["instrument"])
        instrument = self._instruments[slot] if slot < len(self._instruments) else None
        found = {name: _natural(name, int(row[name]), instrument) for name, _ in fields}
        if spec.code in _MONEY_KINDS:
            found["value"] = from_scaled(int(row["value"]), MONEY_SCALE)
        return found

    def instrument_name(self, slot: int) -> str:
        """What an instrument is called."""
        return self._names[slot] if slot < len(self._names) else f"#{slot}"


def _natural(name: str, value: int, instrument: Instrument | None) -> Any:
    if value == 0 and name in _NONE_AT_ZERO:
        return ""
    if name in _TIMES:
        return to_text(value)
    if name in _HASHES:
        return f"{value & (1 << 4 * _HASHES[name]) - 1:0{_HASHES[name]}x}"
    if name in _MONEY:
        return from_scaled(value, MONEY_SCALE)
    if instrument is not None and name in _PRICES:
        return instrument.price_text(value)
    if instrument is not None and name in _QTYS:
        return instrument.qty_text(value)
    return value


def sentence(payload: dict[str, Any], name: str = "") -> str:
    """A row's own fields on one line, behind what its code means; those that say nothing are left out."""
    told = [f"{each} {value}" for each, value in payload.items() if value not in {0, ""}]
    return "  ".join([name, *told] if name else told)


def meaning(row: Any) -> str:
    """What a row's code is called: a verdict, a reason, an alert, or who gave a word; empty where it has none."""
    kind = int(row["kind"])
    if kind in {table.ALERT, table.ALERT_ACKNOWLEDGED}:
        from twinloop.engine.gateway.alerts import ALERTS  # noqa: PLC0415 - not of every journal

        number = int(row["alert"])
        return ALERTS[number].name if number in ALERTS else ""
    if kind in _WORDS:
        from twinloop.engine.live.words import who_said  # noqa: PLC0415 - loads the node

        return who_said(kind, int(row["code"]))
    return CODE_NAME.get(int(row["code"]), "") if kind in _CODED and int(row["code"]) else ""
