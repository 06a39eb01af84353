"""Fills exactly once: whose a trade is, whether it is booked already, and what it says in the instrument's scales.

A trade comes from the user stream, from the answer to an order, and from the periodic sweep, in any order. The sweep's trades name only the
venue's order: one that is not known is kept until the venue has said whose it is. Trades of orders that are not ours are booked all the
same, for the `unassigned` strategy: they are the account's. This module must not send anything.
"""

from collections import OrderedDict
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Final

from twinloop.data.binance_reports import FillReport, plain
from twinloop.data.errors import DataError, DecodeError
from twinloop.data.instruments import MONEY_SCALE, SCALED_MAX, to_scaled
from twinloop.engine.gateway.alerts import Alert, alert
from twinloop.engine.gateway.client_ids import ClientId, ClientIds
from twinloop.engine.gateway.orders import Leg, Order
from twinloop.engine.gateway.own_rows import OwnOrder, fee_change
from twinloop.engine.gateway.own_rows import fill as fill_rows
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.sweep import DIFFERENT, NEW, SeenTrades, is_finer, synthetic_id
from twinloop.engine.gateway.tracker import Terms, Tracker, leg_of
from twinloop.kernels import codes

MS_NS: Final = 1_000_000
FOREIGN_MAX: Final = 4096  # Orders of others that are remembered, so that each is told of once.
ORPHANS_MAX: Final = 1024
# What to do about a fee that counts in no loss.
BOOKED_UNPRICED: Final = "booked, without a worth; stop the session and start it again, which asks for its price, or turn it off at the venue, and resume"
NOT_BOOKED: Final = "not booked; have the venue take its usual currency, and resume"
STREAM_LEAD_MS: Final = 2000  # A trade this old that only the sweep told of was missed by the stream.


def scaled(text: str, scale: int, rounding: str = ROUND_HALF_EVEN) -> tuple[int, bool]:
    """(value * 10**scale, whether exact). DecodeError for what is no number or fits no row."""
    try:
        return to_scaled(text, scale), True
    except DataError:
        pass
    try:
        with localcontext(prec=60, Emax=999, Emin=-999):
            number = Decimal(text)
            if number.is_finite():
                value = int(number.scaleb(scale).to_integral_value(rounding))
                if abs(value) <= SCALED_MAX:
                    return value, False
    except (InvalidOperation, ValueError):
        pass
    raise DecodeError("not a number that fits a row", got=plain(text[:40]))


class FillBook:
    """The trades of one account on one market."""

    def __init__(self, settings: GatewaySettings, ids: ClientIds, tracker: Tracker) -> None:
        self.settings = settings
        self.ids = ids
        self.tracker = tracker
        self.slots = {instrument.symbol: slot for slot, instrument in settings.instruments.items()}
        start_ms = settings.start_ns // MS_NS
        self.seen = {slot: SeenTrades(start_ms) for slot in settings.instruments}
        self.foreign: OrderedDict[tuple[int, int], str] = OrderedDict()  # Their client ids.
        self.orphans: dict[tuple[int, int], dict[int, FillReport]] = {}
        self.high_water = 0  # The largest order id of this epoch.
        self.differences = 0
        self.stray_cancels: list[tuple[int, str]] = []  # (instrument, client id) of own orders nobody remembers.

    def _alert(self, found: Alert) -> None:
        self.tracker.outcome.alerts.append(found)

    # Whose it is.

    def find(self, instrument: int, client_id: str, venue_id: int) -> tuple[Order, Leg] | None:
        """The order and leg that a client id or a venue's id stands for."""
        parsed = self.ids.parse(client_id) if client_id else None
        if parsed is not None:
            order = self.tracker.find(parsed.order_id)
            if order is not None and order.epoch == parsed.epoch:
                leg = leg_of(order, parsed.leg)
                if leg is not None:
                    return order, leg
        order_id, number = self.tracker.by_venue_id.get((instrument, venue_id), (0, 0))
        order = self.tracker.find(order_id)
        leg = None if order is None else leg_of(order, number)
        return None if order is None or leg is None else (order, leg)

    def _remember_foreign(self, instrument: int, venue_id: int, client_id: str) -> bool:
        """Whether it is news."""
        key = (instrument, venue_id)
        if key in self.foreign:
            return False
        self.foreign[key] = client_id
        while len(self.foreign) > FOREIGN_MAX:
            self.foreign.popitem(last=False)
        return True

    def stranger(self, instrument: int, client_id: str, venue_id: int, side: int, *, live: bool) -> OwnOrder:
        """The order of a client id that is not remembered: ours and forgotten, lost by a crash, another process's, or nobody's of ours.

        Alerts once per order. An own one that is still live is cancelled: nobody here would answer for it.
        """
        parsed = self.ids.parse(client_id)
        news = self._remember_foreign(instrument, venue_id, client_id)
        name, strategy, order_id = "EXTERNAL_ORDER", codes.UNASSIGNED, 0
        if parsed is not None:
            name, strategy, order_id = self._own_stranger(parsed)
            if live and name in {"LATE_APPEARANCE", "LOST_ORDER"}:
                self.stray_cancels.append((instrument, client_id))
        elif client_id.startswith(("autoclose-", "adl_autoclose", "settlement_autoclose-", "delivery_autoclose-")):
            name = "LIQUIDATION"
        if news and (live or name != "LATE_APPEARANCE"):
            self._alert(alert(name, order_id=order_id, instrument=instrument, value=venue_id, detail=plain(client_id)))
        return OwnOrder(order_id, strategy, self.settings.account, self.settings.source, instrument, side)

    def _own_stranger(self, parsed: ClientId) -> tuple[str, int, int]:
        epoch = self.settings.epoch
        if parsed.epoch == epoch and parsed.order_id <= self.high_water:
            return "LATE_APPEARANCE", parsed.strategy, parsed.order_id
        if parsed.epoch < epoch:
            # Its record did not survive a crash. Its number may have been given anew since: the strategy is sure, the order is not.
            return "LOST_ORDER", parsed.strategy, 0
        return "FOREIGN_EPOCH", codes.UNASSIGNED, 0

    # What it says.

    def terms(self, report: FillReport, instrument: int) -> Terms:
        """A fill in scales. Inexact numbers are rounded and told of; a fee is rounded away from us."""
        rules = self.settings.instruments[instrument]
        price, exact_price = scaled(report.price, rules.price_scale)
        qty, exact_qty = scaled(report.qty, rules.qty_scale)
        fee, _ = scaled(report.fee, MONEY_SCALE, ROUND_CEILING)
        executed = scaled(report.executed, rules.qty_scale)[0] if report.executed else 0
        if price <= 0 or qty <= 0:
            raise DecodeError("not a fill", expected="a positive price and quantity", got=plain(report.qty))
        if not exact_price or not exact_qty:
            self._alert(alert("ROUNDED", instrument=instrument, value=report.trade_id))
        currency = self.settings.currencies.get(report.fee_asset)
        # A fee in what was bought has its rate from the fill's own price.
        bought = rules.contract == "spot" and report.fee_asset == rules.base
        unpriced = report.fee_asset in self.settings.unpriced and not bought
        if fee and (currency is None or unpriced):
            to_do = BOOKED_UNPRICED if unpriced else NOT_BOOKED
            detail = f"{plain(report.fee_asset)}: {to_do}"
            self._alert(alert("UNKNOWN_FEE_CURRENCY", instrument=instrument, value=fee, detail=detail))
        if currency is None:
            fee, currency = 0, self.settings.currencies.get(rules.settle, 0)
        venue_ns = max(report.time_ms, 0) * MS_NS
        return Terms(report.trade_id, price, qty, fee, currency, executed, venue_ns, maker=report.maker)

    # Booking.

    def take(self, report: FillReport, *, swept: bool = False, venue_now_ms: int = 0) -> Order | None:
        """Book a fill if it is news. Returns the order to settle, if it is one of ours."""
        instrument = self.slots.get(report.symbol)
        if instrument is None:
            self._alert(alert("UNKNOWN_INSTRUMENT", value=report.trade_id, detail=plain(report.symbol)))
            return None
        if not report.client_id:
            report = report._replace(client_id=self.foreign.get((instrument, report.venue_id), ""))
        terms = self.terms(report, instrument)
        found = self.find(instrument, report.client_id, report.venue_id)
        seen = self.seen[instrument]
        numbers = (terms.price, terms.qty, terms.fee)
        if found is not None and report.venue_id:
            self.tracker.know_venue_id(found[0], found[1], report.venue_id)
        if report.trade_id > 0:
            verdict = seen.judge(report.trade_id, numbers)
            if verdict != NEW:
                if verdict == DIFFERENT:
                    self.differences += 1
                    self._alert(alert("FILL_DIFFERS", instrument=instrument, value=report.trade_id))
                    self._correct(report, instrument, terms, found)
                return None
            if found is not None and (terms.price, terms.qty) in found[1].synthetic:
                # Booked before its id was known.
                found[1].synthetic.remove((terms.price, terms.qty))
                seen.book(report.trade_id, numbers)
                return None
        elif self._repeats_nameless(terms, report, found, seen):
            return None
        if found is None and not report.client_id:
            self._keep_orphan(instrument, report)
            return None
        seen.book(terms.trade_id, numbers)
        self.orphans.get((instrument, report.venue_id), {}).pop(report.trade_id, None)
        if swept and venue_now_ms - report.time_ms > STREAM_LEAD_MS:
            self._alert(alert("FILL_MISSED_BY_STREAM", instrument=instrument, value=report.trade_id))
        if found is None:
            self._book_stranger(instrument, report, terms)
            return None
        order, leg = found
        self.tracker.take_fill(order, leg, terms)
        return order

    def _correct(
        self, report: FillReport, instrument: int, terms: Terms, found: tuple[Order, Leg] | None
    ) -> None:  # fmt: skip
        """Of a trade whose fee was rounded where it was told first the finer number counts, in whatever order they came."""
        seen, numbers = self.seen[instrument], (terms.price, terms.qty, terms.fee)
        known = seen.known(report.trade_id)
        if known is None or known[:2] != numbers[:2] or not is_finer(terms.fee, known[2]):
            return
        if found is not None:
            own = found[0].own
        elif report.client_id:
            own = self.stranger(instrument, report.client_id, report.venue_id, report.side, live=False)
        else:
            return  # Whose it is comes with another telling of it.
        seen.book(report.trade_id, numbers)
        self.tracker.outcome.facts.append(
            fee_change(
                own, terms.venue_ns, self.tracker.now_ns,
                fee=terms.fee - known[2], fee_currency=terms.currency, trade_id=report.trade_id,
            )
        )  # fmt: skip

    def _repeats_nameless(
        self, terms: Terms, report: FillReport, found: tuple[Order, Leg] | None, seen: SeenTrades
    ) -> bool:
        """Whether a fill without an id is booked already; gives it an id otherwise."""
        if found is not None and terms.executed and found[1].filled >= terms.executed:
            return True
        terms.trade_id = synthetic_id(report.venue_id, terms.executed, terms.price, terms.qty)
        if seen.judge(terms.trade_id, (terms.price, terms.qty, terms.fee)) != NEW:
            return True
        if found is not None:
            found[1].synthetic.append((terms.price, terms.qty))
        return False

    def _keep_orphan(self, instrument: int, report: FillReport) -> None:
        key = (instrument, report.venue_id)
        if key not in self.orphans and len(self.orphans) >= ORPHANS_MAX:
            self._alert(alert("SEEN_FULL", instrument=instrument, value=len(self.orphans)))
            return  # The next sweep brings it again: the cursor stands still while orphans are kept.
        self.orphans.setdefault(key, {})[report.trade_id] = report

    def _book_stranger(self, instrument: int, report: FillReport, terms: Terms) -> None:
        own = self.stranger(instrument, report.client_id, report.venue_id, report.side, live=False)
        if own.order_id == 0:
            self._alert(alert("EXTERNAL_FILL", instrument=instrument, value=report.trade_id))
        self.tracker.outcome.facts.append(
            fill_rows(
                own,
                terms.venue_ns,
                self.tracker.now_ns,
                price=terms.price,
                qty=terms.qty,
                fee=terms.fee,
                fee_currency=terms.currency,
                trade_id=terms.trade_id,
                leaves=0,
                maker=terms.maker,
            )
        )

    def adopt(self, instrument: int, venue_id: int, client_id: str, side: int, *, live: bool) -> list[Order]:
        """The venue has said whose an orphan's order is: book what was kept. Returns the orders to settle."""
        kept = self.orphans.pop((instrument, venue_id), {})
        if self.find(instrument, client_id, venue_id) is None:
            self.stranger(instrument, client_id, venue_id, side, live=live)
        orders = [self.take(report._replace(client_id=client_id)) for _, report in sorted(kept.items())]
        return [order for order in orders if order is not None]
