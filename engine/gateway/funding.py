"""Funding payments exactly once: which the venue has told of, and which are booked, each by its symbol and transaction id.

A user stream says that funding was paid and how much, but of a cross position not for which symbol. So a payment is booked from the venue's
list of income and from nothing else: asked for when the stream speaks of one, when a connection is back, at a restart, and now and then. It
is booked once the trades made before it are, for it belongs to those who held the position then. This module must not send anything.
"""

from collections.abc import Iterable
from typing import Any, Final

from twinloop.data.binance_orders import INCOME_MAX
from twinloop.data.binance_reports import IncomeReport, plain
from twinloop.data.instruments import MONEY_SCALE
from twinloop.engine.gateway.alerts import alert
from twinloop.engine.gateway.fills import MS_NS, scaled
from twinloop.engine.gateway.own_rows import funding_paid
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.sweep import SweepSchedule
from twinloop.engine.gateway.tracker import Tracker

OVERLAP_MS: Final = (
    24 * 3600 * 1000
)  # The list is asked for from so long before the newest that is known: it may be told late.
KEPT_MS: Final = (
    OVERLAP_MS  # Ids of payments that are older than that by so much are forgotten: no list brings those again.
)
SPOKEN_NS: Final = (
    60_000_000_000  # How long a payment that the stream spoke of is looked for in the list at short intervals.
)
SPOKEN_EVERY_NS: Final = 3_000_000_000
SPOKEN_MAX: Final = 1024
ACCOUNT: Final = -1  # What the schedule asks about: all of the account at once.

Key = tuple[int, int]  # Instrument slot (-1: of none here) and transaction id.


class FundingBook:
    """The funding payments of one account on one market. schedule: empty where the market has no funding."""

    def __init__(self, settings: GatewaySettings, tracker: Tracker) -> None:
        self.settings = settings
        self.tracker = tracker
        self.slots = {instrument.symbol: slot for slot, instrument in settings.instruments.items()}
        has_funding = settings.market == "usdm"
        self.schedule = SweepSchedule([ACCOUNT] if has_funding else [], settings.sweep_interval_ns)
        self.page = 1
        self._start_ms = settings.start_ns // MS_NS
        self._booked: dict[Key, int] = {}  # Their times, ms.
        self._told: dict[Key, IncomeReport] = {}  # And not booked yet.
        self._told_mono_ns = 0  # When the last of them was.
        self._spoken: dict[
            tuple[str, int, int], int
        ] = {}  # (asset, amount, time in ms) of the stream: since when, mono ns.

    @property
    def start_ms(self) -> int:
        """From when on the list is wanted."""
        return self._start_ms

    @property
    def waits(self) -> bool:
        """Whether payments are told that are not booked yet."""
        return bool(self._told)

    def is_due_soon(self, mono_ns: int) -> bool:
        """Whether a payment is under way to the journal: told and not booked, or spoken of by the stream and not listed yet."""
        return bool(self._told) or any(mono_ns - since_ns <= SPOKEN_NS for since_ns in self._spoken.values())

    def urge(self) -> None:
        """Have the list asked for at the next turn."""
        if self.settings.market == "usdm":
            self.schedule.urge(ACCOUNT)

    # What the venue says.

    def speaks(self, changes: Iterable[tuple[str, str]], time_ms: int, mono_ns: int) -> None:
        """The stream says that funding was paid: the list is to be looked at now, and again until it says so too."""
        self.urge()
        for asset, text in changes:
            amount = scaled(text, MONEY_SCALE)[0]
            if amount and len(self._spoken) < SPOKEN_MAX:
                self._spoken.setdefault((asset, amount, time_ms), mono_ns)

    def hasten(self, mono_ns: int, *, stream_up: bool) -> None:
        """Ask sooner than usual while the stream is away, or while a payment it spoke of is not listed."""
        self._spoken = {each: since for each, since in self._spoken.items() if mono_ns - since <= SPOKEN_NS}
        if self._spoken:
            self.schedule.hasten({ACCOUNT}, SPOKEN_EVERY_NS)
        elif not stream_up:
            self.schedule.hasten({ACCOUNT}, self.settings.sweep_interval_ns)

    def listed(self, reports: list[IncomeReport], *, sent_ms: int, mono_ns: int) -> bool:
        """A page of the list. Returns whether there is news, so that the trades before it are wanted."""
        news = False
        for report in reports:
            key = self.slots.get(report.symbol, -1), report.number
            if key in self._booked or key in self._told:
                continue
            amount = scaled(report.amount, MONEY_SCALE)[0]
            self._listed_now(report, amount)
            if key[0] < 0 or not self._is_settled_in(key[0], report.asset):
                detail = plain(f"{report.symbol} {report.amount} {report.asset}")
                self.tracker.outcome.alerts.append(alert("FUNDING_NOT_BOOKED", value=report.number, detail=detail))
                self._booked[key] = report.time_ms
                continue
            self._told[key] = report
            self._told_mono_ns, news = mono_ns, True
        full = len(reports) >= INCOME_MAX
        self.page = self.page + 1 if full else 1
        if not full:
            self._settle(sent_ms - OVERLAP_MS)
        self.schedule.answered(ACCOUNT, mono_ns, active=False, more=full)
        return news

    def _listed_now(self, report: IncomeReport, amount: int) -> None:
        """The list says what the stream spoke of."""
        for asset, spoken, time_ms in self._spoken:
            if (asset, spoken) == (report.asset, amount) and abs(time_ms - report.time_ms) <= SPOKEN_NS // MS_NS:
                del self._spoken[asset, spoken, time_ms]
                return

    def _is_settled_in(self, slot: int, asset: str) -> bool:
        return self.settings.instruments[slot].settle == asset and asset in self.settings.currencies

    def _settle(self, until_ms: int) -> None:
        """The list is whole up to a time: from there on it is asked for next, and what is far older is forgotten."""
        self._start_ms = max(self._start_ms, until_ms)
        self.forget()

    def forget(self) -> None:
        """Let go of what no list brings again."""
        forgotten = self._start_ms - KEPT_MS
        self._booked = {key: time_ms for key, time_ms in self._booked.items() if time_ms >= forgotten}

    # Booking.

    def book(self, trades: SweepSchedule) -> None:
        """Book what was told, once the trades that were asked for after that are booked. Exact to the venue's 1e-8, else told of."""
        if not self._told or not trades.answered_since(self._told_mono_ns):
            return
        told, self._told = self._told, {}
        for (slot, number), report in sorted(told.items(), key=lambda each: (each[1].time_ms, each[0])):
            amount, exact = scaled(report.amount, MONEY_SCALE)
            if not exact:
                self.tracker.outcome.alerts.append(alert("ROUNDED", instrument=slot, value=number))
            self.tracker.outcome.facts.append(
                funding_paid(
                    self.settings.account, self.settings.source, slot, report.time_ms * MS_NS, self.tracker.now_ns,
                    currency=self.settings.currencies[report.asset], amount=amount, number=number,
                )
            )  # fmt: skip
            self._booked[slot, number] = report.time_ms

    def is_booked(self, instrument: int, number: int, venue_ns: int) -> None:
        """A journal holds it."""
        self._booked[instrument, number] = venue_ns // MS_NS
        self._start_ms = max(self._start_ms, venue_ns // MS_NS - OVERLAP_MS)

    # A snapshot.

    def to_plain(self) -> dict[str, Any]:
        """Plain data; what is told and not booked is asked for again."""
        booked = [[slot, number, time_ms] for (slot, number), time_ms in sorted(self._booked.items())]
        return {"start_ms": self._start_ms, "booked": booked}

    def from_plain(self, plain_state: dict[str, Any]) -> None:
        """What `to_plain` gave."""
        self._start_ms = max(self._start_ms, int(plain_state["start_ms"]))
        for slot, number, time_ms in plain_state["booked"]:
            self._booked[int(slot), int(number)] = int(time_ms)
