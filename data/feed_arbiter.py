"""Which of several connections a market is taken from: watchdogs, failover, rotation, and the rows that tell of them. Sans-I/O.

    arbiter = FeedArbiter("binance-usdm", instruments, FeedSettings(), depth=True)
    rows = arbiter.begin(now); leg, rows = arbiter.open(PRIMARY, now)            # a connection is up
    rows = arbiter.on_frame(leg, frame, now), .on_snapshot(...), .on_closed(leg, now), .on_tick(now)

One leg is active and its rows go out; every other keeps a book of its own (shadow_book). A leg that is silent, lost, later than another or
whose book broke is left for one that is fit: FEED_SWITCHED, a whole book, the prints nobody had, then the new leg's updates. No print
goes out twice. After a time without any leg the prints that nobody saw are wanted (`wanted`, `on_past`), flagged late; those that stream
wait for them, and the market stays stale. Without a fit leg the market is FEED_STALE. All of it is rows, so a journal replays it. Must not read a clock or a socket.
"""

import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from twinloop.data import feed_codes as codes
from twinloop.data.binance_stream import BinanceStream, Prints
from twinloop.data.book_sync import EMPTY, Rows
from twinloop.data.cadence import Cadence
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows, pick
from twinloop.data.shadow_book import ShadowBook
from twinloop.kernels import rows as table

ARRIVALS_MAX: Final = 8192  # Messages whose arrival is remembered, to compare with another leg's.
LATE_WINDOW_NS: Final = 3_000_000_000
LATE_SAMPLES: Final = 16
COMPARE_EVERY_NS: Final = 1_000_000_000
COMPARE_TIMES: Final = 3  # Comparisons in a row before feeds disagree, or agree again.
LAG_FRAMES: Final = 3  # Late messages in a row before a leg is late, or in time again.
LAG_FLOOR_NS: Final = 300_000_000_000  # How long a smallest delay counts: clocks drift.
HOPELESS_NS: Final = 5_000_000_000  # A leg that is silent for so long beyond its cadence is better closed,
HALF_HOPELESS_NS: Final = (
    30_000_000_000  # and one whose books are, while prints come: a flood of them may have to be read first.
)

PAST_NS: Final = 5_000_000_000  # How long prints wait for those before them.
HELD_MAX: Final = 20_000  # And how many do.

_NEVER: Final = 1 << 62
_TIMED: Final = frozenset({table.TRADE, table.LEVEL})  # What always states a venue time.
Touch = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What may be configured; times in ns.

    stale_ns: silence allowed, learned where 0. lag_ns: how much later than usual messages may come, by the venue's times; 0: any. late_ns:
    how much later than another leg. dwell_ns: least time between two switches for that. fit_ns: how long a standby must be fit.
    disagree_bps: 0 never compares. rotate_ns: age at which a leg is to be replaced.
    """

    stale_ns: int = 0
    lag_ns: int = 1_000_000_000
    late_ns: int = 100_000_000
    dwell_ns: int = 10_000_000_000
    fit_ns: int = 1_000_000_000
    disagree_bps: int = 50
    rotate_ns: int = 23 * 3_600_000_000_000


class Leg:
    """One connection: its decoder, the cadence of each stream, and what it would bring to a node."""

    def __init__(
        self, source: int, stream: BinanceStream, settings: FeedSettings, opened_ns: int, floors: npt.NDArray[np.int64]
    ) -> None:
        self.source = source
        self.stream = stream
        self.way = stream.way(floors)  # For the active one.
        self.opened_ns = opened_ns
        self.fit_since_ns = 0
        self.retiring = False  # To be replaced: old, or the venue said so.
        self.dismissed = False  # Replaced: to be closed.
        self.last_ns = 0
        self.late = False
        self._lag_max_ns = settings.lag_ns
        self._lag_floors = [_NEVER, _NEVER]  # Smallest delay of this stretch of time and of the one before.
        self._lag_floor_until_ns = 0
        self._lag_frames = 0
        count = len(stream.symbols)
        self.books = [Cadence(fixed_ns=settings.stale_ns) for _ in range(count)]
        self.prints = [Cadence(prints=True, fixed_ns=settings.stale_ns) for _ in range(count)]
        for cadence in self.books:
            cadence.began(opened_ns)
        self.shadows = [ShadowBook() for _ in range(count)]

    def silent(self, place: int, now_ns: int) -> bool:
        """Whether one of an instrument's streams is."""
        return self.books[place].silent(now_ns) or (
            self.prints[place].fixed_ns == 0 and self.prints[place].silent(now_ns)
        )

    def delayed(self, delay_ns: int, now_ns: int) -> None:
        """A message came so long after the venue's time of it; the two clocks may differ by any constant."""
        if now_ns > self._lag_floor_until_ns:
            self._lag_floors = [_NEVER, self._lag_floors[0]]
            self._lag_floor_until_ns = now_ns + LAG_FLOOR_NS
        floors = self._lag_floors
        floors[0] = min(floors[0], delay_ns)
        excess_ns = delay_ns - min(floors)
        differs = excess_ns > self._lag_max_ns if not self.late else excess_ns < self._lag_max_ns // 2
        self._lag_frames = self._lag_frames + 1 if differs and self._lag_max_ns else 0
        if self._lag_frames >= LAG_FRAMES:
            self.late, self._lag_frames = not self.late, 0

    def hopeless(self, now_ns: int) -> bool:
        """Whether every book has been silent for so long that another connection is better."""
        patience_ns = HOPELESS_NS if now_ns - self.last_ns > HOPELESS_NS else HALF_HOPELESS_NS
        return all(cadence.silent(now_ns - patience_ns) for cadence in self.books)

    def feeds(self, place: int, now_ns: int) -> bool:
        """Whether it brings an instrument's market now: whole, and not silent."""
        return bool(self.last_ns) and not self.stream.waits(place) and not self.silent(place, now_ns)

    def fit(self, now_ns: int) -> bool:
        """Whether a market may be taken from it."""
        return all(self.feeds(place, now_ns) for place in range(len(self.books)))


class Wanted(NamedTuple):
    """Prints to be asked for: of the instrument at a place, after the last one given out, by its id and venue time."""

    number: int
    place: int
    after_id: int
    after_ns: int


class Hole:
    """Prints of one instrument that nobody saw, after the last one given out, and what came since."""

    __slots__ = ("asked", "count", "floor", "floor_ns", "held", "number", "until_ns")

    def __init__(self, number: int, floor: int, floor_ns: int, until_ns: int) -> None:
        self.number = number
        self.floor, self.floor_ns, self.until_ns = floor, floor_ns, until_ns
        self.held: list[Rows] = []
        self.count = 0
        self.asked = False


def _each_once(prints: Rows) -> Rows:
    """Prints by time and id, each once: more than one leg may have brought them."""
    prints = pick(prints, np.lexsort((prints["trade_id"], prints["venue_ns"])))
    return pick(prints, np.sort(np.unique(prints["trade_id"], return_index=True)[1]))


class FeedArbiter:
    """Of one venue. touch: best bid and ask that the node sees, by slot, to compare feeds with. past: prints that nobody saw are wanted."""

    def __init__(
        self,
        venue: str,
        instruments: Sequence[Instrument],
        settings: FeedSettings,
        *,
        depth: bool,
        quotes: bool = False,
        prints: Prints = "trade",
        touch: Touch | None = None,
        slots: Sequence[int] | None = None,
        past: bool = False,
    ) -> None:
        self._past = past
        self._make: dict[str, Any] = {
            "venue": venue,
            "instruments": list(instruments),
            "depth": depth,
            "quotes": quotes,
            "prints": prints,
            "slots": slots,
        }
        self.settings = settings
        self.depth = depth
        self.slots = list(range(len(instruments))) if slots is None else list(slots)
        self.legs: list[Leg] = []
        self.active: Leg | None = None
        self.source = -1  # Which feed the node was told last.
        self._polled: set[int] = set()  # Places whose prices it was told to be asked for.
        self.switches = 0
        self._touch = touch
        self._stale: dict[int, int] = {}  # Code by place.
        # Last print given out of each: its id and venue time. The compiled way reads and writes it too.
        self._floors = np.zeros((len(instruments), 2), np.int64)
        self._arrivals: OrderedDict[tuple[int, int, int], tuple[Leg, int]] = OrderedDict()
        self._lags: deque[tuple[int, int]] = deque(maxlen=1024)
        self._switched_ns = 0
        self._compared_ns = 0
        self._differing = [0] * len(instruments)
        self.disagreeing: set[int] = set()
        self.holes: dict[int, Hole] = {}  # By place: prints wait for older ones, and frames must not pass by.
        self._hole_number = 0
        self._blind = True  # No connection is there: what is printed now nobody sees.
        self.late_prints = 0  # Given out late.
        self.unfilled = 0  # Holes of which not all was told.

    # ---- What happens to it.

    def begin(self, now_ns: int) -> Rows:
        """Before anything is known: every market is stale, no book is to be trusted."""
        self._stale = dict.fromkeys(range(len(self.slots)), codes.STALE_START)
        stale = self._rows(table.FEED_STALE, codes.STALE_START, now_ns)
        return join_rows([stale, self._rows(table.FEED_GAP, codes.GAP_START, now_ns)]) if self.depth else stale

    def know_prints(self, place: int, trade_id: int, venue_ns: int) -> None:
        """The last print that the node has seen, where another process gave it out."""
        self._floors[place] = trade_id, venue_ns

    def open(self, source: int, now_ns: int) -> tuple[Leg, Rows]:
        """A connection is up."""
        leg = Leg(source, BinanceStream(**self._make, source=source), self.settings, now_ns, self._floors)
        self.legs.append(leg)
        return leg, self._take_over(leg, codes.SWITCH_LOST, now_ns) if self.active is None else EMPTY

    def took(self, leg: Leg, now_ns: int) -> None:
        """The compiled way gave a frame of the active leg to the node: what on_frame notes of one."""
        way = leg.way
        leg.stream.took(way.place, way.kind)
        self._note(leg, way.place, way.kind, (way.venue_ns, way.sequence), now_ns)

    def on_frame(self, leg: Leg, frame: bytes, now_ns: int, decoded: int = -1) -> Rows:
        """Rows for the node. Whatever the frame holds, nothing is raised. decoded: rows that the compiled way decoded of it."""
        stream = leg.stream
        rows = stream.on_frame(frame, now_ns, decoded)
        leg.last_ns = now_ns
        place, kind = stream.place, stream.kind
        if not kind:
            leg.retiring |= stream.closing
            return rows
        first = (int(rows["venue_ns"][0]), int(rows["sequence"][0])) if len(rows) else None
        self._note(leg, place, kind, first, now_ns)
        if leg is not self.active:
            if len(rows):
                leg.shadows[place].apply(rows)
            return EMPTY
        if kind == table.TRADE:
            return self._new_prints(place, rows)
        if kind == table.FEED_GAP:
            return join_rows([rows, self._choose(now_ns)])
        return rows

    def _note(self, leg: Leg, place: int, kind: int, first: tuple[int, int] | None, now_ns: int) -> None:
        """What a message says of its stream. first: venue time and sequence of its first row that may go out."""
        leg.last_ns = now_ns
        if kind != table.QUOTE or not self.depth:  # Beside a book, quotes do not say that its stream is well.
            (leg.prints if kind == table.TRADE else leg.books)[place].heard(now_ns)
        if first is not None:
            if kind in _TIMED:
                leg.delayed(now_ns - first[0], now_ns)
            if len(self.legs) > 1:
                self._compare_arrival(leg, (place, kind, first[1]), now_ns)

    def on_snapshot(self, leg: Leg, symbol: str, body: bytes, now_ns: int) -> Rows:
        """Rows for the node, of the answer to a leg's question for a book."""
        rows = leg.stream.on_snapshot(symbol, body, now_ns)
        if not len(rows):
            return rows
        if leg is self.active:
            return join_rows([rows, self._judge(now_ns)])
        leg.shadows[leg.stream.symbols.index(symbol)].apply(rows)
        return EMPTY

    def on_closed(self, leg: Leg, now_ns: int) -> Rows:
        """A connection is gone."""
        if leg in self.legs:
            self.legs.remove(leg)
        if leg is not self.active:
            return EMPTY
        self.active = None
        switched = self._choose(now_ns)
        if self.active is not None:
            return switched
        self._blind = True
        self._stale = dict.fromkeys(range(len(self.slots)), codes.STALE_LOST)
        stale = self._rows(table.FEED_STALE, codes.STALE_LOST, now_ns)
        return join_rows([stale, self._rows(table.FEED_GAP, codes.GAP_LOST, now_ns)]) if self.depth else stale

    def on_tick(self, now_ns: int) -> Rows:
        """Time passes: watchdogs, choices, and what they make stale or fresh."""
        parts = [self._choose(now_ns)]
        parts += [self.on_past(each, EMPTY, now_ns, whole=False) for each in self._overdue(now_ns)]
        if now_ns - self._compared_ns >= COMPARE_EVERY_NS:
            self._compared_ns = now_ns
            self._compare_prices(now_ns)
        parts.append(self._judge(now_ns))
        return join_rows([part for part in parts if len(part)])

    def starves(self, place: int, now_ns: int) -> bool:
        """Whether a stale market's prices may be asked for: its streams, if there are any, bring nothing that can be mixed up with them."""
        leg = self.active
        return place in self._stale and (leg is None or not leg.feeds(place, now_ns))

    def on_polled(self, place: int, rows: Rows, now_ns: int) -> Rows:
        """Rows of prices that were asked for because nothing streams: they go out, and the market stays stale."""
        if not self.starves(place, now_ns):
            return EMPTY
        parts = []
        if place not in self._polled:
            self._polled.add(place)
            self.switches += 1
            parts.append(self._rows(table.FEED_SWITCHED, codes.SWITCH_POLLED, now_ns, source=codes.POLLED, place=place))
        if self.active is not None and self.depth and not self.active.stream.waits(place):
            self.active.stream.begin_anew(place)  # Its updates do not go on from the few levels that were asked for.
        prints = rows["kind"] == table.TRADE
        parts += [pick(rows, ~prints), self._new_prints(place, pick(rows, prints))]
        return join_rows(parts)

    # ---- Prints that nobody saw.

    def wanted(self) -> list[Wanted]:
        """What is to be asked for; each once."""
        found = [(place, each) for place, each in self.holes.items() if not each.asked]
        for _, each in found:
            each.asked = True
        return [Wanted(each.number, place, each.floor, each.floor_ns) for place, each in found]

    def _overdue(self, now_ns: int) -> list[Wanted]:
        return [
            Wanted(each.number, place, each.floor, each.floor_ns)
            for place, each in self.holes.items()
            if now_ns > each.until_ns or each.count > HELD_MAX
        ]

    def on_past(self, wanted: Wanted, rows: Rows, now_ns: int, *, whole: bool) -> Rows:
        """Prints that were asked for, by id, then those that waited. whole: they are all that was wanted."""
        place = wanted.place
        hole = self.holes.get(place)
        if hole is None or hole.number != wanted.number:  # Given up, or another connection went since.
            return EMPTY
        del self.holes[place]
        self.unfilled += not whole
        held = _each_once(join_rows(hole.held))
        if len(held):
            held["local_ns"] = now_ns
            rows = pick(rows, rows["trade_id"] < int(held["trade_id"][0]))
        late = self._new_prints(place, rows).copy()
        late["flags"] |= table.FLAG_LATE
        late["local_ns"] = now_ns
        late["source"] = max(self.source, 0)
        self.late_prints += len(late)
        return join_rows([late, self._new_prints(place, held), self._judge(now_ns)])

    # ---- How it stands.

    @property
    def stale(self) -> bool:
        """Whether any market is."""
        return bool(self._stale)

    @property
    def unfit(self) -> bool:
        """Whether nothing streams that may be used."""
        return self.active is None or bool(self._stale)

    def lag_ns(self) -> int | None:
        """By how much the active leg's messages come later than another's, in the middle; None where that is not known."""
        return int(statistics.median(lag for _, lag in self._lags)) if len(self._lags) >= LATE_SAMPLES else None

    # ---- Choices.

    def _choose(self, now_ns: int) -> Rows:
        settings, active = self.settings, self.active
        for leg in self.legs:
            if not leg.fit(now_ns):
                leg.fit_since_ns = 0
            elif not leg.fit_since_ns:
                leg.fit_since_ns = now_ns
            leg.retiring |= now_ns - leg.opened_ns > settings.rotate_ns
        if active is None:
            found = sorted(self.legs, key=lambda leg: (leg.fit_since_ns == 0, leg.retiring, leg.source))
            return self._take_over(found[0], codes.SWITCH_LOST, now_ns) if found else EMPTY
        self._dismiss(active)
        ready = [
            leg for leg in self.legs
            if leg is not active and leg.fit_since_ns and now_ns - leg.fit_since_ns >= settings.fit_ns and not leg.retiring
        ]  # fmt: skip
        if not ready:
            return EMPTY
        standby = ready[0]
        if not active.fit_since_ns:
            reason = codes.SWITCH_LATE if active.late else codes.SWITCH_SILENT
            reason = reason if active.stream.ready else codes.SWITCH_BOOK
            return self._take_over(standby, reason, now_ns)
        if active.retiring:
            same = [leg for leg in ready if leg.source == active.source]
            return self._take_over(same[0], codes.SWITCH_ROTATED, now_ns) if same else EMPTY
        while self._lags and self._lags[0][0] < now_ns - LATE_WINDOW_NS:
            self._lags.popleft()
        lag_ns = self.lag_ns()
        if lag_ns is not None and lag_ns > settings.late_ns and now_ns - self._switched_ns >= settings.dwell_ns:
            return self._take_over(standby, codes.SWITCH_LATE, now_ns)
        return EMPTY

    def _dismiss(self, active: Leg) -> None:
        """Let go of retiring legs that have been replaced."""
        for leg in self.legs:
            if leg.retiring and leg is not active:
                leg.dismissed |= any(
                    other.fit_since_ns and not other.retiring and other.source == leg.source for other in self.legs
                )

    def _take_over(self, leg: Leg, reason: int, now_ns: int) -> Rows:
        """Go on with a leg: what it knows, and what nobody has told yet."""
        before, self.active = self.active, leg
        parts = [] if self.source == -1 else self._unfed(leg, now_ns)
        if self.source not in {-1, leg.source} or reason == codes.SWITCH_ROTATED:
            self.switches += 1
            self._polled.clear()
            parts.append(self._rows(table.FEED_SWITCHED, reason, now_ns, source=leg.source))
        self.source = leg.source
        if self._blind and self._past:
            for place, (floor, floor_ns) in enumerate(self._floors.tolist()):
                if floor:  # What waits is asked for again, with what came after it.
                    self._hole_number += 1
                    self.holes[place] = Hole(self._hole_number, floor, floor_ns, now_ns + PAST_NS)
        self._blind = False
        self._switched_ns = now_ns
        self._lags.clear()
        for place, shadow in enumerate(leg.shadows):
            parts += [
                shadow.rows(now_ns, self.slots[place], leg.source),
                self._new_prints(place, shadow.prints(now_ns)),
            ]
        leg.shadows = [ShadowBook() for _ in self.slots]
        if before is not None:  # It is a standby now, which needs a book of its own.
            before.stream.begin_anew()
            before.fit_since_ns = 0
        parts.append(self._judge(now_ns))
        return join_rows([part for part in parts if len(part)])

    def _unfed(self, leg: Leg, now_ns: int) -> list[Rows]:
        """What is to be told of markets that were fresh and that a leg, taken for want of a better, brings nothing of yet."""
        parts = []
        for place in range(len(self.slots)):
            if place in self._stale or leg.feeds(place, now_ns):
                continue
            self._stale[place] = codes.STALE_LOST
            parts.append(self._rows(table.FEED_STALE, codes.STALE_LOST, now_ns, place=place))
            if self.depth:
                parts.append(self._rows(table.FEED_GAP, codes.GAP_LOST, now_ns, place=place))
        return parts

    def _new_prints(self, place: int, rows: Rows) -> Rows:
        """Prints that were not given out yet. A venue whose ids begin anew is believed, by its clock."""
        hole = self.holes.get(place)
        if hole is not None and len(rows):
            hole.held.append(rows)
            hole.count += len(rows)
            return EMPTY
        floor, floor_ns = self._floors[place].tolist()
        if not len(rows):
            return rows
        first = int(rows["trade_id"][0])
        if len(rows) > 1 or first <= floor:
            rows = pick(rows, (rows["trade_id"] > floor) | (rows["venue_ns"] > floor_ns))
            if not len(rows):
                return rows
        elif 0 < floor < first - 1 and len(self.legs) > 1:
            rows = join_rows([self._missed(place, floor, first, rows), rows])
        self._floors[place] = int(rows["trade_id"][-1]), int(rows["venue_ns"][-1])
        return rows

    def _missed(self, place: int, after: int, before: int, rows: Rows) -> Rows:
        """Prints between two ids that the active leg lost and another has."""
        for leg in self.legs:
            if leg is not self.active:
                prints = leg.shadows[place].prints(int(rows["local_ns"][0]))
                prints = pick(prints, (prints["trade_id"] > after) & (prints["trade_id"] < before))
                if len(prints):
                    return prints
        return EMPTY

    # ---- Comparisons.

    def _compare_arrival(self, leg: Leg, key: tuple[int, int, int], now_ns: int) -> None:
        """Note when a message came, and how much later than on the other leg. key: its place, kind and sequence."""
        first = self._arrivals.get(key)
        if first is None:
            self._arrivals[key] = leg, now_ns
            if len(self._arrivals) > ARRIVALS_MAX:
                self._arrivals.popitem(last=False)
        elif first[0] is not leg:
            if leg is self.active:
                self._lags.append((now_ns, now_ns - first[1]))
            elif first[0] is self.active:
                self._lags.append((now_ns, first[1] - now_ns))

    def _compare_prices(self, now_ns: int) -> None:
        """Whether the node and a fit standby see the same prices."""
        bps = self.settings.disagree_bps
        standby = next((leg for leg in self.legs if leg is not self.active and leg.fit(now_ns)), None)
        if not bps or self._touch is None or standby is None or self.active is None or not self.active.fit(now_ns):
            return
        for place, slot in enumerate(self.slots):
            mine, its = sum(self._touch(slot)), sum(standby.shadows[place].touch())
            differs = mine > 0 and its > 0 and abs(mine - its) * 10_000 > bps * min(mine, its)
            count = self._differing[place]
            self._differing[place] = min(count + 1, COMPARE_TIMES) if differs else max(count - 1, 0)
            if self._differing[place] == COMPARE_TIMES:
                self.disagreeing.add(place)
            elif self._differing[place] == 0:
                self.disagreeing.discard(place)

    def _judge(self, now_ns: int) -> Rows:
        """Rows for markets that became stale, or fresh again."""
        leg = self.active
        if leg is None:
            return EMPTY
        rows = []
        for place in range(len(self.slots)):
            code = 0
            if place in self._stale and (leg.stream.waits(place) or place in self.holes):
                code = self._stale[place]
            elif leg.silent(place, now_ns):
                code = codes.STALE_SILENT
            elif leg.late:
                code = codes.STALE_LATE
            elif place in self.disagreeing and len(self.legs) > 1:
                code = codes.STALE_DISAGREE
            elif not self.depth and not leg.last_ns:
                code = self._stale.get(place, 0)
            if code and place not in self._stale:
                rows.append(self._rows(table.FEED_STALE, code, now_ns, place=place))
                self._stale[place] = code
            elif not code and place in self._stale:
                if place in self._polled:
                    self._polled.discard(place)
                    self.switches += 1
                    rows.append(self._rows(table.FEED_SWITCHED, codes.SWITCH_BACK, now_ns, place=place))
                rows.append(self._rows(table.FEED_RECOVERED, 0, now_ns, place=place))
                del self._stale[place]
        return join_rows(rows)

    def _rows(self, kind: int, code: int, now_ns: int, *, source: int | None = None, place: int | None = None) -> Rows:
        """A row of the feed's state for every instrument, or for one."""
        slots = self.slots if place is None else [self.slots[place]]
        rows = np.zeros(len(slots), table.ROW)
        rows["kind"], rows["local_ns"], rows["instrument"], rows["code"] = kind, now_ns, slots, code
        rows["source"] = max(self.source, 0) if source is None else source
        return rows
