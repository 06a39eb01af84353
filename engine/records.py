"""What a run records: the fixed records the loop hands to the results layer, and the names of their codes.

NumPy only, so that the loop's side can import it without paying for the analytics. Nothing here does work. A record names
its instrument, strategy and currency by slot; the results layer turns slots into names. An array whose dtype has these
fields and more is accepted as well: fields are read by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

NOT_SAMPLED: Final = -(2**63)
"""A position of an equity sample that was not kept: not zero, but not known."""

SETTLE_CURRENCY: Final = 255
"""fee_currency slot of a fee paid in the instrument's own settlement currency."""

FILL: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("local_ns", "<i8"),
        ("venue_ns", "<i8"),
        ("order_id", "<i8"),
        ("trade_id", "<i8"),
        ("price_int", "<i8"),
        ("qty_int", "<i8"),
        ("fee_int", "<i8"),  # 1e-8 of the fee currency, positive is paid
        ("cause_id", "<i8"),  # index of the venue row that caused it, -1 for a taker
        ("decided_ns", "<i8"),
        ("arrived_ns", "<i8"),
        ("decision_mid2_int", "<i8"),  # bid + ask at the deciding row, 0 unknown
        ("position_after_int", "<i8"),  # of (account, strategy, instrument)
        ("realised_int", "<i8"),  # 1e-8 of the settlement currency, fees not taken off
        ("account", "<i4"),
        ("instrument", "<u2"),
        ("strategy", "u1"),
        ("side", "i1"),
        ("fee_currency", "u1"),
        ("maker", "u1"),
        ("pad", "V6"),
    ]
)
assert FILL.itemsize == 128

ORDER: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("decided_ns", "<i8"),
        ("order_id", "<i8"),
        ("price_int", "<i8"),
        ("qty_int", "<i8"),
        ("trigger_price_int", "<i8"),
        ("filled_int", "<i8"),
        ("arrived_ns", "<i8"),  # 0 while unknown, as are the next two
        ("answered_ns", "<i8"),
        ("ended_ns", "<i8"),
        ("account", "<i4"),
        ("reject_code", "<i2"),  # 0 none
        ("instrument", "<u2"),
        ("strategy", "u1"),
        ("side", "i1"),
        ("type", "u1"),
        ("time_in_force", "u1"),
        ("state", "u1"),
        ("pad", "V3"),
    ]
)
assert ORDER.itemsize == 96

RISK: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("local_ns", "<i8"),
        ("price_int", "<i8"),
        ("qty_int", "<i8"),
        ("limit", "<i8"),
        ("value", "<i8"),
        ("verdict", "<i2"),
        ("rule", "<i2"),
        ("instrument", "<u2"),
        ("strategy", "u1"),
        ("side", "i1"),
    ]
)
assert RISK.itemsize == 56


def equity_dtype(instrument_count: int) -> np.dtype[np.void]:
    """One equity sample of a run with that many instruments.

    equity_int, cash_int, position_value_int: 1e-8 of the account currency; position_int: (instrument_count,) net scaled
    quantities over all strategies, NOT_SAMPLED where the loop did not keep it; mark2_int: (instrument_count,) twice the mark price
    (bid + ask), 0 unknown.
    """
    return np.dtype(
        [
            ("local_ns", "<i8"),
            ("equity_int", "<i8"),
            ("cash_int", "<i8"),
            ("position_value_int", "<i8"),
            ("position_int", "<i8", (instrument_count,)),
            ("mark2_int", "<i8", (instrument_count,)),
        ]
    )


@dataclass(frozen=True, slots=True)
class CodeNames:
    """Names of the codes in the records above; a code without a name is shown as its number."""

    order_type: Mapping[int, str] = field(default_factory=dict)
    time_in_force: Mapping[int, str] = field(default_factory=dict)
    order_state: Mapping[int, str] = field(default_factory=dict)
    reject_code: Mapping[int, str] = field(default_factory=dict)
    verdict: Mapping[int, str] = field(default_factory=dict)
    rule: Mapping[int, str] = field(default_factory=dict)
