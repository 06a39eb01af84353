"""What a strategy is told of its instruments' feeds: stale, fresh again, and taken from another source, each once."""

from typing import Any

from numba import config
from reference import run_small
from reference.run_small import TOUCH, Setup, linear, row

from twinloop.engine.limits import parse_limits
from twinloop.kernels import rows
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD


def feed(kind: int, at: int, instrument: int = 0) -> dict[str, Any]:
    return row(kind, at, at, instrument, code=1, source=1)


def quote(at: int) -> dict[str, Any]:
    return row(rows.QUOTE, at, at, bid=998, bid_qty=5, ask=1002, ask_qty=5)


def test_each_change_of_a_feed_is_told_to_who_sees_the_instrument() -> None:
    facts = [
        quote(10), feed(rows.FEED_STALE, 20), feed(rows.FEED_SWITCHED, 30), feed(rows.FEED_RECOVERED, 40), feed(rows.FEED_SWITCHED, 50, 1),
        quote(60),
    ]  # fmt: skip
    setup = Setup([linear(), linear("Y")], [TOUCH, TOUCH], facts, {}, limits=parse_limits({}), sees=[0])
    got = run_small.run(setup, SIZE)
    assert [(call[0], call[1], call[3]) for call in got.log] == [
        ("on_quote", rows.QUOTE, 10), ("on_feed", rows.FEED_STALE, 20), ("on_feed", rows.FEED_SWITCHED, 30),
        ("on_feed", rows.FEED_RECOVERED, 40), ("on_quote", rows.QUOTE, 60),
    ]  # fmt: skip


def test_a_switch_alone_makes_no_market_stale_and_no_stale_one_fresh() -> None:
    for before, stale in ((rows.FEED_RECOVERED, 0), (rows.FEED_STALE, 1)):
        facts = [quote(10), feed(before, 20), feed(rows.FEED_SWITCHED, 30), quote(40)]
        got = run_small.run(Setup([linear()], [TOUCH], facts, {}, limits=parse_limits({})), SIZE)
        assert int(got.assembly.decision["instruments"][0]["stale"]) == stale
