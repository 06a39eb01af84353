"""Which feed a market is taken from: one switch, no lost or doubled print, no gap in the book, and stale when nothing may be trusted."""

import json
import random
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.streamed_book import (
    MS,
    NOW,
    Seen,
    Venue,
    aggregate,
    kinds,
    quote,
    snapshot,
    spot_snapshot,
    trade,
    update,
)

from twinloop.data import feed_codes as codes
from twinloop.data.binance_past_trades import PastTrades
from twinloop.data.binance_polled import PolledMarket
from twinloop.data.book_sync import EMPTY
from twinloop.data.feed_arbiter import HOPELESS_NS, LATE_SAMPLES, PAST_NS, FeedArbiter, FeedSettings, Leg, Wanted
from twinloop.data.instruments import PRESETS, Instrument
from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.kernels import rows as table

USDM = PRESETS["binance-usdm:BTCUSDT"]
SPOT = msgspec.structs.replace(PRESETS["binance-spot:BTCUSDT"], price_scale=USDM.price_scale, qty_scale=USDM.qty_scale)
SECOND = 1000 * MS


class Run:
    """An arbiter, a venue and what a node saw, at a time that only this moves."""

    def __init__(
        self,
        seed: int = 1,
        *,
        depth: bool = True,
        past: bool = False,
        markets: Sequence[Instrument] = (USDM,),
        **settings: int,
    ) -> None:
        market = markets[0]
        self.venue = Venue(random.Random(seed), spot=market.contract == "spot")
        self.seen = Seen()
        self.arbiter = FeedArbiter(
            market.venue,
            markets,
            FeedSettings(**settings),
            depth=depth,
            past=past,
            touch=lambda _: (self.touch, self.touch),
        )
        self.touch = 0
        self.now = NOW
        self.ticked = NOW
        self.take(self.arbiter.begin(self.now))

    def take(self, rows: object) -> None:
        self.seen.take(rows)

    def open(self, source: int, *, synced: bool = True) -> Leg:
        leg, rows = self.arbiter.open(source, self.now)
        self.take(rows)
        if synced:
            self.deliver(self.arbiter.legs)
            self.sync(leg)
        return leg

    def deliver(self, legs: list[Leg], *, late_ns: int = 0, late: list[Leg] | None = None) -> None:
        """A book update and a print on each leg, then on late ones some time later."""
        frames = [self.venue.next(self.now), self.venue.trade(self.now)]
        for leg in legs:
            for frame in frames:
                self.take(self.arbiter.on_frame(leg, frame, self.now))
        self.now += late_ns
        for leg in late or []:
            for frame in frames:
                self.take(self.arbiter.on_frame(leg, frame, self.now))

    def sync(self, leg: Leg) -> None:
        if "BTCUSDT" in leg.stream.wanting:
            self.take(self.arbiter.on_snapshot(leg, "BTCUSDT", self.venue.snapshot(self.now), self.now))

    def tick(self, after_ns: int = 0) -> None:
        self.now += after_ns
        self.take(self.arbiter.on_tick(self.now))

    def live(self, seconds: float, legs: list[Leg], **more: object) -> None:
        """Both streams on these legs every 20 ms."""
        for _ in range(round(seconds * 50)):
            self.deliver(legs, **more)  # type: ignore[arg-type]
            self.tick(20 * MS)
            for leg in self.arbiter.legs:
                self.sync(leg)

    @property
    def switches(self) -> list[tuple[int, int]]:
        return [(code, source) for kind, code, source in self.seen.told if kind == "FEED_SWITCHED"]


def test_a_market_is_stale_from_the_start_until_its_book_is_there() -> None:
    run = Run()
    assert run.seen.told == [("FEED_STALE", codes.STALE_START, 0), ("FEED_GAP", codes.GAP_START, 0)]
    leg = run.open(codes.PRIMARY, synced=False)
    run.deliver([leg])
    run.tick(20 * MS)
    assert run.seen.stale
    run.sync(leg)
    assert not run.seen.stale
    assert run.seen.whole
    assert run.seen.told[-1] == ("FEED_RECOVERED", 0, 0)


def test_a_lost_connection_without_another_is_stale_with_a_gap_and_comes_back() -> None:
    run = Run()
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    run.take(run.arbiter.on_closed(leg, run.now))
    assert run.seen.told[-2:] == [("FEED_STALE", codes.STALE_LOST, 0), ("FEED_GAP", codes.GAP_LOST, 0)]
    again = run.open(codes.PRIMARY)
    run.live(1, [again])
    assert not run.seen.stale
    assert run.seen.held() == run.venue.held()
    assert run.switches == []  # It is the same source.


def lost_and_back(prints: int = 4) -> tuple[Run, Leg]:
    """A feed alone, lost while some prints happen, and connected again with one print since."""
    run = Run(past=True)
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    run.take(run.arbiter.on_closed(leg, run.now))
    for _ in range(prints):
        run.venue.trade(run.now)
    again = run.open(codes.PRIMARY)
    return run, again


def past_prints(*numbers: int) -> Rows:
    rows = np.zeros(len(numbers), table.ROW)
    rows["kind"], rows["trade_id"], rows["venue_ns"], rows["price"], rows["qty"] = (
        table.TRADE,
        numbers,
        NOW - SECOND,
        1001,
        1,
    )
    return rows


def test_after_a_loss_prints_wait_for_those_that_nobody_saw_and_the_market_stays_stale() -> None:
    run, leg = lost_and_back()
    before = list(run.seen.trades)
    run.live(0.2, [leg])
    assert run.seen.trades == before
    assert run.seen.stale
    assert run.arbiter.holes
    (wanted,) = run.arbiter.wanted()
    assert (wanted.place, wanted.after_id) == (0, before[-1])
    assert run.arbiter.wanted() == [], "asked for once"
    # More than was missed, as a venue's list has it: what is known and what waits does not come again.
    rows = run.arbiter.on_past(wanted, past_prints(*range(before[-1] - 3, run.venue.trades + 1)), run.now, whole=True)
    late = pick(rows, rows["flags"] & table.FLAG_LATE != 0)
    assert late["trade_id"].tolist() == [before[-1] + each for each in (1, 2, 3, 4)]
    assert np.all(np.diff(rows["local_ns"]) >= 0)
    run.take(rows)
    assert run.seen.trades == list(range(1, run.venue.trades + 1))
    assert not run.seen.stale
    run.live(0.2, [leg])
    assert run.seen.trades == list(range(1, run.venue.trades + 1))
    assert (run.arbiter.late_prints, run.arbiter.unfilled) == (4, 0)


def test_prints_wait_only_so_long() -> None:
    run, leg = lost_and_back()
    before = len(run.seen.trades)
    run.live(PAST_NS / SECOND + 0.2, [leg])
    assert not run.arbiter.holes
    assert not run.seen.stale
    assert run.seen.trades[before:] == list(range(before + 5, run.venue.trades + 1))
    assert (run.arbiter.late_prints, run.arbiter.unfilled) == (0, 1)


def test_a_second_loss_asks_anew_and_the_first_answer_is_not_taken() -> None:
    run, leg = lost_and_back()
    (first,) = run.arbiter.wanted()
    run.deliver([leg])
    run.take(run.arbiter.on_closed(leg, run.now))
    run.venue.trade(run.now)
    again = run.open(codes.PRIMARY)
    run.deliver([again])
    assert len(run.arbiter.on_past(first, past_prints(run.venue.trades), run.now, whole=True)) == 0
    (second,) = run.arbiter.wanted()
    assert second.after_id == first.after_id
    run.take(run.arbiter.on_past(second, past_prints(*range(1, run.venue.trades + 1)), run.now, whole=True))
    assert run.seen.trades == list(range(1, run.venue.trades + 1))


def test_with_another_feed_nothing_has_to_be_asked_for() -> None:
    run = Run(past=True)
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(2, [one, two])
    run.take(run.arbiter.on_closed(one, run.now))
    assert not run.arbiter.holes


def test_a_print_that_another_process_gave_out_is_the_last_one() -> None:
    run = Run(past=True)
    run.arbiter.know_prints(0, 70, NOW - SECOND)
    run.open(codes.PRIMARY)
    assert [each.after_id for each in run.arbiter.wanted()] == [70]


def test_a_dead_feed_is_left_for_the_other_without_a_gap_and_with_one_switch() -> None:
    run = Run()
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(2, [one, two])
    # The primary lags behind by some messages when it dies: the backup has them.
    for _ in range(5):
        run.deliver([two])
    told = len(run.seen.told)
    run.take(run.arbiter.on_closed(one, run.now))
    assert run.seen.told[told:] == [("FEED_SWITCHED", codes.SWITCH_LOST, codes.BACKUP)]
    assert run.seen.whole
    assert not run.seen.stale
    assert run.seen.held() == run.venue.held()
    run.live(1, [two])
    assert run.seen.held() == run.venue.held()
    assert run.seen.trades == list(range(1, run.venue.trades + 1))


def test_a_silent_feed_is_left_within_a_second_past_its_cadence() -> None:
    run = Run()
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(8, [one, two])
    allowed = one.books[0].allowed_ns
    assert 20 * MS + SECOND <= allowed <= 25 * MS + SECOND
    began = run.now
    while not run.switches:
        run.live(0.02, [two])
        assert run.now - began < 2 * SECOND
    assert run.now - began <= allowed + 60 * MS
    assert run.switches == [(codes.SWITCH_SILENT, codes.BACKUP)]
    assert run.seen.trades == list(range(1, run.venue.trades + 1))
    assert ("FEED_STALE", codes.STALE_SILENT, 0) not in run.seen.told
    assert not one.hopeless(run.now)
    assert one.hopeless(run.now + HOPELESS_NS)


def test_the_standby_that_is_itself_silent_is_never_taken() -> None:
    run = Run()
    run.open(codes.PRIMARY)
    run.open(codes.BACKUP)
    run.live(3, list(run.arbiter.legs))
    run.live(3, [])
    assert run.switches == [], "a silent feed was taken"
    assert run.seen.stale
    assert run.seen.told[-1] == ("FEED_STALE", codes.STALE_SILENT, 0)
    run.live(1, list(run.arbiter.legs))
    assert not run.seen.stale


def test_a_broken_chain_is_answered_by_the_other_feeds_book() -> None:
    run = Run()
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(2, [one, two])
    run.deliver([two])  # Lost on the primary.
    run.deliver([two], late=[one])
    assert run.switches == [(codes.SWITCH_BOOK, codes.BACKUP)]
    assert run.seen.held() == run.venue.held()
    assert run.seen.whole
    run.live(2, [one, two])
    assert one.fit(run.now)  # It took a new snapshot for its own book.
    assert run.seen.trades == list(range(1, run.venue.trades + 1))


def test_a_later_feed_is_left_only_beyond_the_threshold_and_after_the_dwell() -> None:
    run = Run(late_ns=100 * MS, dwell_ns=5 * SECOND)
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(6, [two], late_ns=90 * MS, late=[one])
    assert run.switches == []
    assert 80 * MS < (run.arbiter.lag_ns() or 0) < 100 * MS
    run.live(4, [two], late_ns=150 * MS, late=[one])
    assert run.switches == [(codes.SWITCH_LATE, codes.BACKUP)]
    # Now the other way: not before it has dwelt.
    began = run.now
    run.live(2, [one], late_ns=150 * MS, late=[two])
    while len(run.switches) < 2:
        run.live(0.1, [one], late_ns=150 * MS, late=[two])
        assert run.now - began < 20 * SECOND
    assert run.switches[1] == (codes.SWITCH_LATE, codes.PRIMARY)
    assert run.now - began >= 3 * SECOND
    assert run.seen.trades == list(range(1, run.venue.trades + 1))


def test_messages_that_come_ever_later_make_a_market_stale_whatever_the_clocks_say() -> None:
    for skew_ns in (-5 * SECOND, 0, 7 * SECOND):
        run = Run(lag_ns=SECOND)
        leg = run.open(codes.PRIMARY, synced=False)
        late_ns, told = 0, ""
        for number in range(400):
            late_ns = 0 if number < 100 or number > 300 else min((number - 100) * 20 * MS, 2 * SECOND)
            for frame in (run.venue.next(run.now - skew_ns - late_ns), run.venue.trade(run.now - skew_ns - late_ns)):
                run.take(run.arbiter.on_frame(leg, frame, run.now))
            run.sync(leg)
            run.tick(20 * MS)
            if number > 100 and run.seen.stale and not told:
                told = f"{late_ns // MS} ms"
        assert ("FEED_STALE", codes.STALE_LATE, 0) in run.seen.told
        assert 1000 <= int(told.split()[0]) <= 1100
        assert not run.seen.stale


def test_a_flapping_feed_is_not_taken_back_before_it_held_for_a_while() -> None:
    run = Run(fit_ns=SECOND)
    two = run.open(codes.BACKUP)
    run.live(2, [two])
    for _ in range(20):
        one = run.open(codes.PRIMARY)
        run.live(0.3, [one, two])
        run.take(run.arbiter.on_closed(one, run.now))
    assert run.switches == []
    assert not run.seen.stale
    assert run.seen.trades == list(range(1, run.venue.trades + 1))


def test_feeds_that_disagree_about_the_price_make_it_stale_until_they_agree() -> None:
    run = Run(disagree_bps=50)
    legs = [run.open(codes.PRIMARY), run.open(codes.BACKUP)]
    run.touch = 1000
    run.live(5, legs)
    assert not run.seen.stale
    run.touch = 1010  # One percent.
    run.live(5, legs)
    assert run.seen.stale
    assert run.seen.told[-1] == ("FEED_STALE", codes.STALE_DISAGREE, 0)
    run.touch = 1000
    run.live(5, legs)
    assert not run.seen.stale


@pytest.mark.parametrize("how", ["age", "notice"])
def test_a_connection_is_replaced_before_it_is_cut(how: str) -> None:
    run = Run(rotate_ns=3 * SECOND if how == "age" else 10**15)
    old = run.open(codes.PRIMARY)
    run.live(4, [old])
    if how == "notice":
        assert not old.retiring
        run.take(run.arbiter.on_frame(old, b'{"e":"serverShutdown","E":1700000000000}', run.now))
    assert old.retiring
    new = run.open(codes.PRIMARY)
    run.live(0.5, [old, new])
    assert not old.dismissed
    run.live(1.5, [old, new])
    assert old.dismissed
    assert run.switches == [(codes.SWITCH_ROTATED, codes.PRIMARY)]
    run.take(run.arbiter.on_closed(old, run.now))
    run.live(1, [new])
    assert not run.seen.stale
    assert run.seen.held() == run.venue.held()
    assert run.seen.trades == list(range(1, run.venue.trades + 1))
    assert [kind for kind, *_ in run.seen.told if kind == "FEED_GAP"] == ["FEED_GAP"]  # That of the start.


def test_a_venue_whose_print_ids_begin_anew_is_believed() -> None:
    run = Run()
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    run.take(run.arbiter.on_closed(leg, run.now))
    run.venue.trades = 0
    before = len(run.seen.trades)
    run.now += SECOND
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    assert len(run.seen.trades) == before + run.venue.trades


def test_a_touch_is_taken_over_with_the_last_quote() -> None:
    run = Run(depth=False)
    one, two = run.open(codes.PRIMARY, synced=False), run.open(codes.BACKUP, synced=False)
    assert run.seen.told == [("FEED_STALE", codes.STALE_START, 0)]
    for number in range(1, 200):
        for leg in (one, two):
            run.take(run.arbiter.on_frame(leg, quote(number, "100.0", "100.1", run.now), run.now))
        run.tick(20 * MS)
    assert not run.seen.stale
    run.take(run.arbiter.on_frame(two, quote(500, "101.0", "101.1", run.now), run.now))
    rows = run.arbiter.on_closed(one, run.now)
    assert kinds(rows) == ["FEED_SWITCHED", "QUOTE"]
    assert (int(rows["sequence"][1]), int(rows["bid"][1]), int(rows["source"][1])) == (500, 1010, codes.BACKUP)


def test_polled_prices_go_out_while_nothing_streams_and_the_market_stays_stale() -> None:
    run = Run()
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    polled = leg.stream.decoded_of(0, snapshot(9999, [["99.0", "3"]], []), run.now)
    assert not len(run.arbiter.on_polled(0, polled, run.now)), "a feed that streams is never mixed with another"
    run.take(run.arbiter.on_closed(leg, run.now))
    run.take(run.arbiter.on_polled(0, polled, run.now))
    run.take(run.arbiter.on_polled(0, polled, run.now))
    assert run.switches == [(codes.SWITCH_POLLED, codes.POLLED)]
    assert run.seen.held() == {(1, 990): 3000}
    assert run.seen.stale
    again = run.open(codes.PRIMARY)
    run.live(1, [again])
    assert run.switches == [(codes.SWITCH_POLLED, codes.POLLED), (codes.SWITCH_BACK, codes.PRIMARY)]
    assert not run.seen.stale
    assert run.seen.held() == run.venue.held()


def test_a_feed_that_was_silent_while_prices_were_asked_for_has_its_book_anew() -> None:
    """The answer holds few levels: updates must not go on from it."""
    run = Run(stale_ns=SECOND)
    leg = run.open(codes.PRIMARY)
    run.live(2, [leg])
    run.tick(2 * SECOND)
    polled = leg.stream.decoded_of(0, snapshot(9999, [["99.0", "3"]], []), run.now)
    run.take(run.arbiter.on_polled(0, polled, run.now))
    assert run.seen.held() == {(1, 990): 3000}
    run.deliver([leg])
    run.tick(20 * MS)
    assert run.seen.stale, "its book is not there yet"
    assert run.seen.held() == {(1, 990): 3000}
    run.live(1, [leg])
    assert run.seen.held() == run.venue.held()
    assert run.seen.told[-4:] == [
        ("FEED_STALE", codes.STALE_SILENT, codes.PRIMARY), ("FEED_SWITCHED", codes.SWITCH_POLLED, codes.POLLED),
        ("FEED_SWITCHED", codes.SWITCH_BACK, codes.PRIMARY), ("FEED_RECOVERED", 0, codes.PRIMARY),
    ]  # fmt: skip


def test_a_connection_comes_while_a_price_is_on_its_way() -> None:
    run = Run()
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    polled = leg.stream.decoded_of(0, snapshot(9999, [["99.0", "3"]], []), run.now)
    run.take(run.arbiter.on_closed(leg, run.now))
    run.take(run.arbiter.on_polled(0, polled, run.now))
    again = run.open(codes.PRIMARY, synced=False)
    run.take(run.arbiter.on_polled(0, polled, run.now))
    run.live(1, [again])
    run.take(run.arbiter.on_polled(0, polled, run.now))
    assert run.switches == [(codes.SWITCH_POLLED, codes.POLLED), (codes.SWITCH_BACK, codes.PRIMARY)]
    assert run.seen.told[-1] == ("FEED_RECOVERED", 0, codes.PRIMARY)
    assert run.seen.held() == run.venue.held()


def test_a_market_that_streams_is_not_asked_for_because_another_does_not() -> None:
    run = Run(markets=[USDM, PRESETS["binance-usdm:ETHUSDT"]])
    leg = run.open(codes.PRIMARY)
    run.live(1, [leg])
    assert run.arbiter.unfit
    polled = [
        leg.stream.decoded_of(place, snapshot(9999, [["99.0", "3"]], []), run.now)
        for place in range(len(run.arbiter.slots))
    ]
    assert not len(run.arbiter.on_polled(0, polled[0], run.now))
    found = run.arbiter.on_polled(1, polled[1], run.now)
    assert kinds(found)[0] == "FEED_SWITCHED"
    assert set(found["instrument"].tolist()) == {1}


def test_what_is_remembered_is_bounded() -> None:
    run = Run()
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    for number in range(30_000):
        run.take(run.arbiter.on_frame(one, trade(number + 1, run.now), run.now))
        if number % 3 == 0:
            run.take(run.arbiter.on_frame(two, trade(number + 1, run.now), run.now))
        run.now += MS
    assert len(run.arbiter._arrivals) <= 8192
    assert len(two.shadows[0]._prints) <= 4096
    assert len(run.arbiter._lags) <= 1024


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_with_one_healthy_feed_at_any_time_nothing_is_lost_doubled_or_stale(seed: int) -> None:
    """The bad feed loses, doubles, delays, stalls, dies and returns; the good one never does; which is which changes."""
    draw = random.Random(seed)
    run = Run(seed, dwell_ns=SECOND, fit_ns=SECOND // 4)
    legs = {codes.PRIMARY: run.open(codes.PRIMARY), codes.BACKUP: run.open(codes.BACKUP)}
    run.live(2.5, list(legs.values()))
    told = len(run.seen.told)
    for _ in range(4):
        bad = draw.choice([codes.PRIMARY, codes.BACKUP])
        good = 1 - bad
        how = draw.choice(["die", "stall", "lose", "double", "delay"])
        if how == "die":
            run.take(run.arbiter.on_closed(legs.pop(bad), run.now))
        held: list[bytes] = []
        for _ in range(80):
            frames = [run.venue.next(run.now)] + ([run.venue.trade(run.now)] if draw.random() < 0.5 else [])
            for frame in frames:
                run.take(run.arbiter.on_frame(legs[good], frame, run.now))
                if how == "double":
                    for _ in range(2):
                        run.take(run.arbiter.on_frame(legs[bad], frame, run.now))
                elif how == "lose" and draw.random() < 0.9:
                    run.take(run.arbiter.on_frame(legs[bad], frame, run.now))
                elif how == "delay":
                    held.append(frame)
                    if len(held) > 20:
                        run.take(run.arbiter.on_frame(legs[bad], held.pop(0), run.now))
            run.tick(20 * MS)
            for leg in run.arbiter.legs:
                run.sync(leg)
        if bad not in legs:
            legs[bad] = run.open(bad)
        for frame in held:
            run.take(run.arbiter.on_frame(legs[bad], frame, run.now))
        run.live(0.6, list(legs.values()))
    assert run.seen.held() == run.venue.held()
    assert run.seen.whole
    assert not run.seen.stale
    new = [kind for kind, *_ in run.seen.told[told:]]
    assert "FEED_STALE" not in new
    assert len(run.seen.trades) == len(set(run.seen.trades))
    assert set(run.seen.trades) == set(range(1, run.venue.trades + 1))


@pytest.mark.parametrize("market", [USDM, SPOT], ids=lambda market: market.venue)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_a_book_that_is_not_called_stale_or_broken_is_the_venues_whatever_happens(
    market: Instrument, seed: int
) -> None:
    """Both feeds lose, stall, die and return at any time, answers are old or never come, prices are asked for: no wrong book is fresh."""
    draw = random.Random(seed)
    run = Run(seed, markets=[market], dwell_ns=SECOND, fit_ns=SECOND // 4, stale_ns=SECOND // 2)
    arbiter = run.arbiter
    polled = PolledMarket(market.venue, [market], depth=True)
    few = spot_snapshot if market is SPOT else partial(snapshot, at_ns=run.now)
    old = run.venue.snapshot(run.now)
    for _ in range(12):
        loss = {source: draw.choice([0.0, 0.0, 0.1, 1.0]) for source in (codes.PRIMARY, codes.BACKUP)}
        answers = draw.choice([0.0, 0.05, 0.5, 1.0])
        asked = draw.random() < 0.5
        for _ in range(draw.randrange(60)):
            if draw.random() < 0.02 and arbiter.legs:
                run.take(arbiter.on_closed(draw.choice(arbiter.legs), run.now))
            if draw.random() < 0.05 and len(arbiter.legs) < 3:
                run.open(draw.choice([codes.PRIMARY, codes.BACKUP]), synced=False)
            frame = run.venue.next(run.now)
            for leg in list(arbiter.legs):
                if draw.random() >= loss[leg.source]:
                    run.take(arbiter.on_frame(leg, frame, run.now))
                    if leg is arbiter.active and run.seen.whole and not run.seen.stale:
                        assert run.seen.held() == run.venue.held()
            if draw.random() < 0.1:
                old = run.venue.snapshot(run.now)
            for leg in arbiter.legs:
                if draw.random() < answers and "BTCUSDT" in leg.stream.wanting:
                    body = old if draw.random() < 0.3 else run.venue.snapshot(run.now)
                    run.take(arbiter.on_snapshot(leg, "BTCUSDT", body, run.now))
            if asked and arbiter.legs and draw.random() < 0.2:
                answer = polled.rows(0, few(9999, [["99.0", "3"]], []), b"[]", run.now)
                run.take(arbiter.on_polled(0, answer, run.now))
            run.tick(20 * MS)
    if not arbiter.legs:
        run.open(codes.PRIMARY, synced=False)
    run.live(1.5, list(arbiter.legs))
    assert run.seen.whole
    assert not run.seen.stale
    assert run.seen.held() == run.venue.held()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_prints_come_once_and_in_order_whichever_connections_end_while_older_ones_are_asked_for(seed: int) -> None:
    """Connections come and go, together or not; answers come late, out of turn, or fail. Unless one failed, no print is lost."""
    draw = random.Random(seed)
    run = Run(seed, past=True, dwell_ns=SECOND, fit_ns=SECOND // 4, stale_ns=SECOND // 2)
    arbiter = run.arbiter
    asked: list[Wanted] = []
    fails = draw.choice([0.0, 0.0, 0.5])
    run.open(codes.PRIMARY)

    def answer(wanted: Wanted) -> None:
        whole = draw.random() >= fails
        prints = past_prints(*range(wanted.after_id + 1, run.venue.trades + 1)) if whole else EMPTY
        run.take(arbiter.on_past(wanted, prints, run.now, whole=whole))

    for _ in range(300):
        if draw.random() < 0.04 and arbiter.legs:
            run.take(arbiter.on_closed(draw.choice(arbiter.legs), run.now))
        if draw.random() < 0.06 and len(arbiter.legs) < 3:
            run.open(draw.choice([codes.PRIMARY, codes.BACKUP]), synced=False)
        frames = [run.venue.next(run.now), *(run.venue.trade(run.now) for _ in range(draw.randrange(3)))]
        for leg in arbiter.legs:
            for frame in frames:
                run.take(arbiter.on_frame(leg, frame, run.now))
            if draw.random() < 0.5:
                run.sync(leg)
        asked += arbiter.wanted()
        if asked and draw.random() < 0.3:
            answer(asked.pop(draw.randrange(len(asked))))
        run.tick(20 * MS)
    if not arbiter.legs:
        run.open(codes.PRIMARY, synced=False)
    for wanted in asked + arbiter.wanted():
        answer(wanted)
    run.live(1, arbiter.legs)
    trades = run.seen.trades
    assert trades == sorted(set(trades))
    assert trades[-1] == run.venue.trades
    assert fails or trades == list(range(trades[0], run.venue.trades + 1))
    assert not run.seen.stale


def test_a_leg_needs_as_many_samples_as_the_median_asks_for() -> None:
    run = Run(late_ns=MS, dwell_ns=0)
    one, two = run.open(codes.PRIMARY), run.open(codes.BACKUP)
    run.live(2, [one, two])
    run.arbiter._lags.clear()
    for number in range(LATE_SAMPLES - 1):
        frame = update(10_000 + number, 10_000 + number, 9_999 + number)
        run.take(run.arbiter.on_frame(two, frame, run.now))
    assert run.arbiter.lag_ns() is None


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_aggregated_prints_come_once_whatever_is_lost_and_however_it_is_told(seed: int) -> None:
    """Lost on one leg or on both, told late by the venue's list: every aggregate once, by the last of its trades, and no trade twice."""
    draw = random.Random(seed)
    arbiter = FeedArbiter("binance-usdm", [USDM], FeedSettings(), depth=False, prints="aggTrade", past=True)
    past = PastTrades("binance-usdm", USDM, 0, aggregated=True)
    found: list[Rows] = [arbiter.begin(NOW)]
    now, aggregates = NOW, list[tuple[int, int, int]]()  # Their own id, and the trades of each.
    first = 1
    for number in range(1, 60):
        last = first + draw.randrange(5)
        aggregates.append((number, first, last))
        first = last + 1
    legs = [arbiter.open(codes.PRIMARY, now)[0], arbiter.open(codes.BACKUP, now)[0]]
    away = draw.randrange(10, 40)
    back = away + draw.randrange(1, 15)
    for at, each in enumerate(aggregates):
        now += 20 * MS
        frame = aggregate(*each, now)
        if at == away:
            found += [arbiter.on_closed(leg, now) for leg in legs]
            legs = []
        if at == back:
            leg, rows = arbiter.open(codes.PRIMARY, now)
            legs.append(leg)
            found.append(rows)
        lost = (
            draw.randrange(len(legs) + 2) if len(legs) == 2 and at not in {0, away - 1} else -1
        )  # By one of two at most.
        for place, leg in enumerate(legs):
            found.append(arbiter.on_frame(leg, quote(at + 1, "100.0", "100.1", now), now))
            if place != lost:
                found.append(arbiter.on_frame(leg, frame, now))
        for wanted in arbiter.wanted():
            told = [one for one in aggregates[: at + 1] if one[2] > wanted.after_id - 3]
            body = json.dumps([
                {"a": a, "p": "100.1", "q": f"{(z - f + 1) * 0.5:.1f}", "f": f, "l": z, "T": now // MS, "m": True} for a, f, z in told
            ])  # fmt: skip
            them = past.aggregated(body.encode())
            now += 20 * MS
            found.append(arbiter.on_past(wanted, past.by_last(them, them.first > wanted.after_id), now, whole=True))
    rows = join_rows([each for each in found if len(each)])
    prints = pick(rows, rows["kind"] == table.TRADE)
    ids = prints["trade_id"].tolist()
    assert len(ids) == len(set(ids))
    missing = {last for _, _, last in aggregates} - set(ids)
    assert missing == set(), "what one leg lost the other had, and what none saw was asked for"
    assert int(prints["qty"].sum()) == aggregates[-1][2] * 500
