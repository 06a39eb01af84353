"""Money that came or left without a trade, as the user stream tells: deposits, withdrawals, transfers, what a venue takes or gives.

There is a list of it too, which is asked for where a wallet differs: it has what came while nobody listened, and the rebates, returned fees and
bonuses of which the stream never speaks. What both told is one.
It explains a difference between journal and venue to a person, and books nothing. This module must not send anything.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from twinloop.data.binance_orders import INCOME_MAX
from twinloop.data.binance_reports import AccountReport, IncomeReport, plain
from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.engine.gateway.alerts import Alert, alert
from twinloop.engine.gateway.fills import MS_NS, scaled

FUNDING_FEE: Final = "FUNDING_FEE"  # Why an account has changed, by the venue's word.
# These are booked from what the venue says of them elsewhere; the last two are the list's words.
_OF_TRADES: Final = frozenset({"ORDER", FUNDING_FEE, "REALIZED_PNL", "COMMISSION"})
PAGES_MAX: Final = 20  # Of the list: what trades brought is most of it.
KEPT: Final = 256
SAME_MS: Final = 60_000  # The stream and the list may put one transfer at times so far apart.


class MoneyMove(NamedTuple):
    """amount: 1e-8 of the asset, negative where it left. reason: the venue's word. told_ns: local wall time of its telling."""

    asset: str
    amount: int
    reason: str
    venue_ms: int
    told_ns: int  # Of one that is listed: when it was, by the local clock.
    number: int = 0  # Of the venue's transaction, among those of the same reason; 0: the stream told of it.

    def __str__(self) -> str:
        """In words."""
        amount = from_scaled(abs(self.amount), MONEY_SCALE).rstrip("0").rstrip(".")
        return f"{self.reason} {'-' if self.amount < 0 else '+'}{amount} {self.asset}"


class MoneyMoves:
    """The last of them. told: whether the list that was asked for last is here, all of it; start_ms, page: what is asked of it, venue time."""

    def __init__(self) -> None:
        self.kept: deque[MoneyMove] = deque(maxlen=KEPT)
        self.told = True
        self.start_ms, self.page = 0, 1

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

    def ask(self, start_ms: int) -> None:
        """The list is wanted from a time on."""
        self.told, self.start_ms, self.page = False, start_ms, 1

    def listed(self, reports: Sequence[IncomeReport], offset_ns: int) -> bool:
        """A page of the list: whether the next one is wanted. offset_ns: of the venue's clock to ours."""
        for report in reports:
            if report.kind in _OF_TRADES:
                continue
            amount, told_ns = scaled(report.amount, MONEY_SCALE)[0], report.time_ms * MS_NS - offset_ns
            move = MoneyMove(plain(report.asset), amount, plain(report.kind), report.time_ms, told_ns, report.number)
            at = next((at for at, each in enumerate(self.kept) if _is_same(move, each)), None)
            if at is None:
                self.kept.append(move)
            else:
                self.kept[at] = self.kept[at]._replace(number=move.number)  # It stands for no other one of the list.
        self.told = len(reports) < INCOME_MAX
        self.page += 1
        return not self.told and self.page <= PAGES_MAX


def _is_same(move: MoneyMove, kept: MoneyMove) -> bool:
    """Whether a listed move is kept: under its number, or as the stream told of it."""
    near = kept.number == move.number if kept.number else abs(kept.venue_ms - move.venue_ms) <= SAME_MS
    return near and (kept.asset, kept.amount) == (move.asset, move.amount)
