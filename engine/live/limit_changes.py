"""An operator makes a limit stricter while a session runs.

Only stricter: a looser one belongs in the session's file, where somebody else can look at it before it holds. `changes` says which words
of the node's limits become what (kernels/node.py), as LIMIT_CHANGE rows have them; `tightened_lines` says where the limits in force differ
from the file's. This module must not change a limit itself.
"""

import difflib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import Instrument
from twinloop.engine.instrument_names import slots_by_name, suggestion
from twinloop.engine.limits import (
    COUNT,
    SHARE_OF,
    SPECS,
    Limits,
    account_limit,
    as_number,
    of_capital,
    own_names,
    scaled,
)
from twinloop.kernels.node import ACCOUNT_LIMIT, ACCOUNT_LIMITS, INSTRUMENT_LIMITS, NEVER

LARGER_IS_STRICTER: Final = frozenset({"initial_margin_pct", "duplicate_window_ms"})
NOT_FOR_TRADING: Final = frozenset({"flatten_collar_bps"})  # A tight one keeps positions from being closed.
SHARES: Final = frozenset(SHARE_OF.values())


class Change(NamedTuple):
    """One LIMIT_CHANGE row: instrument slot (0 for the account's), word, value."""

    instrument: int
    word: int
    value: int


def changes(
    decision: Any, instruments: Sequence[Instrument], key: str, text: str, symbol: str | None = None
) -> list[Change]:
    """What makes a limit as strict as wanted, in the order in which it has to hold.

    decision: the node's record. instruments: in slot order. key, text: as in a [limits] table. symbol: of a limit per symbol, None for
    every symbol that has a looser one. ConfigError for what is unknown, looser than what holds, or the other form of what holds.
    """
    value = _number(key, text)
    if not SPECS[key].per_instrument:
        if symbol:
            raise ConfigError(
                "a limit of the account, not of a symbol",
                field="--symbol",
                got=symbol,
                remedy=f"leave it out for {key}",
            )
        return _of_account(decision, key, value, text)
    wanted = range(len(instruments))
    if symbol:
        slots = slots_by_name(instruments)
        if symbol not in slots:
            hint = suggestion(symbol, slots) or f"expected one of {', '.join(slots)}"
            raise ConfigError("no such symbol in this session", field="--symbol", got=symbol, remedy=hint)
        wanted = range(slots[symbol], slots[symbol] + 1)
    word = (INSTRUMENT_LIMITS.names or ()).index(SPECS[key].field)
    found, held = [], []
    for slot in wanted:
        old = int(decision["instrument_limits"][slot][SPECS[key].field])
        new = scaled(key, value, instruments[slot])
        held.append(_natural(key, old, instruments[slot]))
        if _stricter(key, new, old):
            found.append(Change(slot, word, new))
    if not found:
        raise _not_stricter(key, text, ", ".join(sorted(set(held))))
    return found


def _of_account(decision: Any, key: str, value: Decimal, text: str) -> list[Change]:
    limits = decision["account_limits"][0]
    amounts = {share: amount for amount, share in SHARE_OF.items()}
    other = SHARE_OF.get(key) or amounts.get(key)
    if other is not None and int(limits[SPECS[key].field]) == NEVER and int(limits[SPECS[other].field]) != NEVER:
        raise _other_form(key, other)
    if key in SHARE_OF and int(limits[SPECS[SHARE_OF[key]].field]) != NEVER:
        raise _other_form(key, SHARE_OF[key])
    names = ACCOUNT_LIMITS.names or ()
    old, new = int(limits[SPECS[key].field]), scaled(key, value, None)
    if not _stricter(key, new, old):
        raise _not_stricter(key, text, _natural(key, old, None))
    found = [Change(0, ACCOUNT_LIMIT + names.index(SPECS[key].field), new)]
    if key in SHARES:  # The roll makes money of it; until then it is of the capital of this session's day.
        amount = of_capital(new, int(decision["accounts"][0]["day_equity"]))
        found.append(Change(0, ACCOUNT_LIMIT + names.index(SPECS[amounts[key]].field), amount))
    return found


def _number(key: str, text: str) -> Decimal:
    known = [each for each in SPECS if each not in NOT_FOR_TRADING]
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, 0.5)
        remedy = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        raise ConfigError("no such limit to make stricter", field="--limit", got=key, remedy=remedy)
    value = as_number(text)
    if not value.is_finite() or value < 0 or (SPECS[key].unit == COUNT and value != value.to_integral_value()):
        expected = "a whole number >= 0" if SPECS[key].unit == COUNT else f"a number >= 0 in {SPECS[key].unit}"
        raise ConfigError("not a limit's value", field=key, expected=expected, got=text)
    return value


def _stricter(key: str, new: int, old: int) -> bool:
    if key in LARGER_IS_STRICTER:
        return new > old
    return new < old


def _not_stricter(key: str, text: str, held: str) -> ConfigError:
    return ConfigError(
        "not stricter than what holds", field=key, expected=f"stricter than {held}", got=text,
        remedy="end the session, loosen it in the file, and go on by `twinloop handover`",
    )  # fmt: skip


def _other_form(key: str, held: str) -> ConfigError:
    return ConfigError(
        "the session has this limit in another form", field=key, expected=held, got=key, remedy=f"tighten {held}"
    )


def _natural(key: str, number: int, instrument: Instrument | None) -> str:
    """A node's integer as it would stand in the file."""
    if number == NEVER or (number == 0 and key == "initial_margin_pct"):
        return "none"
    one = scaled(key, Decimal(1), instrument)
    return f"{(Decimal(number) / one).normalize():f}"


def tightened_lines(decision: Any, limits: Limits, instruments: Sequence[Instrument]) -> list[str]:
    """A line for each limit in force that is not the file's. decision: the node's record. limits: the file's."""
    lines = []
    names = own_names(limits, instruments)
    account = decision["account_limits"][0]
    for key, spec in SPECS.items():
        if spec.per_instrument:
            for slot, instrument in enumerate(instruments):
                now = int(decision["instrument_limits"][slot][spec.field])
                then = scaled(key, limits.value(key, names.get(slot)), instrument)
                if now != then:
                    lines.append(_line(f"{key} of {instrument.symbol}", key, now, then, instrument))
        elif (
            key not in SHARE_OF or int(account[SPECS[SHARE_OF[key]].field]) == NEVER
        ):  # Not money that the roll makes of a share.
            now, then = int(account[spec.field]), account_limit(limits, key)
            if now != then:
                lines.append(_line(key, key, now, then, None))
    return lines


def _line(name: str, key: str, now: int, then: int, instrument: Instrument | None) -> str:
    return f"  made stricter: {name} {_natural(key, now, instrument)} (the file: {_natural(key, then, instrument)})"
