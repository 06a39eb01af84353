"""Money that came or left without a trade, as the user stream tells: deposits, withdrawals, transfers, what a venue takes or gives.

It explains a difference between journal and venue to a person, and books nothing. This module must not send anything.
"""

from collections import deque
from typing import Final, NamedTuple

from twinloop.data.binance_reports import AccountReport, plain
from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.engine.gateway.alerts import Alert, alert
from twinloop.engine.gateway.fills import scaled

FUNDING_FEE: Final = "FUNDING_FEE"  # Why an account has changed, by the venue's word.
_OF_TRADES: Final = frozenset({"ORDER", FUNDING_FEE})  # These are booked from what the venue says of them elsewhere.
KEPT: Final = 256


class MoneyMove(NamedTuple):
    """amount: 1e-8 of the asset, negative where it left. reason: the venue's word. told_ns: local wall time of its telling."""

    asset: str
    amount: int
    reason: str
    venue_ms: int
    told_ns: int

    def __str__(self) -> str:
        """In words."""
        amount = from_scaled(abs(self.amount), MONEY_SCALE).rstrip("0").rstrip(".")
        return f"{self.reason} {'-' if self.amount < 0 else '+'}{amount} {self.asset}"


class MoneyMoves:
    """The last of them."""

    def __init__(self) -> None:
        self.kept: deque[MoneyMove] = deque(maxlen=KEPT)

    def take(self, report: AccountReport, now_ns: int) -> list[Alert]:
        """What an event of the stream says; alerts for what is news. DecodeError for what cannot be read."""
        found: list[Alert] = []
        if report.reason in _OF_TRADES:
            return found
        for asset, text in report.changes:
            move = MoneyMove(plain(asset), scaled(text, MONEY_SCALE)[0], plain(report.reason), report.time_ms, now_ns)
            if move.amount and all(move[:4] != each[:4] for each in self.kept):
                self.kept.append(move)
                found.append(alert("MONEY_MOVED", value=move.amount, detail=str(move)))
        return found
