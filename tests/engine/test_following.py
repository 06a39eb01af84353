"""A venue that reads or takes over the node's books instead of applying row after row fills every order as if it had not."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.checks import check
from reference.random_market import MIDDLE, events_of, facts_of, setup_of
from reference.run_small import Setup, linear, row, run

from twinloop.engine.assembly import VenueSettings
from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
DEPTH, TOUCH, PRINTS, BARS = run_small.MODES
ALWAYS, NEVER = -(10**6), 10**6
DELAY_NS = 2


def taker(draw: random.Random) -> tuple[object, ...]:
    order = {"instrument": draw.randrange(2), "side": draw.choice([1, -1]), "qty": draw.randrange(1, 13)}
    if draw.random() < 0.5:
        return ("order", order | {"type": codes.MARKET, "flags": codes.IOC})
    return ("order", order | {"type": codes.LIMIT, "price": MIDDLE + draw.randrange(-4, 5), "flags": codes.IOC})


def takers_of(seed: int, modes: list[int], *, deplete: bool) -> Setup:
    """A market whose feed takes the same time for every row, so that both tapes are one, and orders that never rest."""
    draw = random.Random(seed)
    facts = facts_of(events_of(draw, 150), modes, status=True)
    for fact in facts:
        fact["venue_ns"] = fact["local_ns"] - DELAY_NS
    script = {call: [taker(draw)] for call in range(200) if draw.random() < 0.2}
    latency = draw.choice([0, 3, 11])
    settings = VenueSettings(entry_latency_ns=latency, response_latency_ns=latency, deplete=deplete)
    return Setup([linear("X"), linear("Y")], modes, facts, script, settings)


@pytest.mark.parametrize("deplete", [True, False], ids=["deplete", "keep"])
@given(seed=st.integers(0, 2**32), modes=st.sampled_from([[DEPTH, DEPTH], [DEPTH, TOUCH], [PRINTS, DEPTH]]))
def test_following_fills_as_going_row_by_row(seed: int, modes: list[int], *, deplete: bool) -> None:
    setup = takers_of(seed, modes, deplete=deplete)
    followed, _ = check(setup, SIZE, follow_rows=ALWAYS)
    stepped = run(setup, SIZE, follow_rows=NEVER)
    assert followed.fills == stepped.fills
    assert followed.hash == stepped.hash
    for at in range(2):
        book, other = (each.assembly.venue["books"][at] for each in (followed, stepped))
        for name in ("best_bid", "best_ask", "best_bid_qty", "best_ask_qty"):
            assert book[name] == other[name]


def resting_of(seed: int, *, deplete: bool) -> Setup:
    """A market of depth on one shared tape, and orders of every kind, most of which rest; what is on its way are some rows or many."""
    draw = random.Random(seed)
    setup = setup_of(seed, [DEPTH, DEPTH], 200)
    delay_ns = draw.choice([0, 1, 2, 5, 40])
    facts = [{**fact, "venue_ns": fact["local_ns"] - delay_ns} for fact in setup.facts]
    return replace(setup, facts=facts, settings=replace(setup.settings, deplete=deplete))


@pytest.mark.parametrize("deplete", [True, False], ids=["deplete", "keep"])
@given(seed=st.integers(0, 2**32), batches=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_reading_the_nodes_books_fills_as_keeping_others(seed: int, batches: list[int], *, deplete: bool) -> None:
    setup = resting_of(seed, deplete=deplete)
    lent, _ = check(setup, SIZE)
    kept = run(setup, SIZE, lends=False)
    in_batches = run(setup, SIZE, batches)
    for other in (kept, in_batches):
        assert lent.fills == other.fills
        assert lent.log == other.log
        assert (lent.hash, lent.state_hash) == (other.hash, other.state_hash)


def test_books_are_lent_and_taken_back() -> None:
    """So that the test above compares two ways: of the orders of some runs a good part meet books that are lent."""
    ends = [run(resting_of(seed, deplete=False), SIZE).assembly.venue["lent"] for seed in range(20)]
    assert 0 < sum(ends) < 20
    assert not any(run(resting_of(seed, deplete=False), SIZE, lends=False).assembly.venue["lent"] for seed in range(3))


def depth_market() -> list[dict[str, object]]:
    """One snapshot, then a bid far from the best changes: many rows without a word on the best ask."""
    facts = [row(rows.SNAPSHOT_BEGIN, 8, 10)]
    facts += [row(rows.SNAPSHOT_LEVEL, 8, 10, side=side, price=100 + away, qty=5) for side, away in ((1, -1), (-1, 1))]
    facts.append(row(rows.SNAPSHOT_END, 8, 10))
    facts += [
        row(rows.LEVEL, 8 + i, 10 + i, side=1, price=90, qty=1 + i % 7, flags=rows.FLAG_EVENT_END) for i in range(60)
    ]
    return facts


@pytest.mark.parametrize("follow_rows", [ALWAYS, NEVER])
def test_what_a_fill_took_stays_gone_until_the_next_word_on_it(follow_rows: int) -> None:
    buy = {"instrument": 0, "side": 1, "qty": 3, "type": codes.MARKET, "flags": codes.IOC}
    script = {2: [("order", buy)], 40: [("order", buy)]}
    got = run(Setup([linear("X")], [DEPTH], depth_market(), script), SIZE, follow_rows=follow_rows)
    assert [fill["qty_int"] for fill in got.fills] == [3, 2]
