"""Mark prices and funding in a live session: rows like those of a recording, on a connection that no other feed depends on."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.paper_config import paper_file
from reference.sessions import until
from reference.stream_relay import StreamRelay

from twinloop.data.binance_stream import BinanceStream
from twinloop.data.connect_pacing import Pacing
from twinloop.data.errors import ConfigError
from twinloop.data.feed_codes import BACKUP, PRIMARY
from twinloop.data.instruments import PRESETS
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.exchange.server import Server
from twinloop.engine.live import mark_feed
from twinloop.engine.live.config import load_session
from twinloop.engine.live.mark_feed import MarkFeed
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.seam import ReceiveClock
from twinloop.kernels import rows as table

STRATEGY = '''
import twinloop as tl


class Marked(tl.Strategy):
    """Buys a little at the bid, once there is a mark."""

    instrument: tl.Symbol = "BTCUSDT"
    order: tl.State[int] = 0

    def on_trade(self, ctx, trade):
        if ctx.mark(self.instrument) > 0.0 and not ctx.is_open(self.order):
            self.order = ctx.limit(self.instrument, tl.BUY, ctx.bid(self.instrument), 0.01)
'''
SECOND = 10**9
HOURS_8_MS = 8 * 3600 * 1000


def configuration(folder: Path, stream: str, rest: str, *, venue: str = "binance-usdm", feed: str = "") -> Path:
    (folder / "marked.py").write_text(STRATEGY)
    return paper_file(folder, f"{folder / 'marked.py'}:Marked", stream, rest, venue=venue, feed=feed)


def of_kind(process: LiveProcess, kind: int) -> int:
    return process.loop.counts.by_kind.get(kind, 0)


def test_a_strategy_sees_the_venues_mark_and_marks_that_stay_away_leave_the_market_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mark_feed, "HOPELESS_NS", SECOND // 10)

    async def all_of_it() -> LiveProcess:
        async with Server(seed=3) as server, StreamRelay(server.stream) as relay:

            async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
                feed = process.feed
                assert feed.marks is not None
                await until(lambda: of_kind(process, table.MARK) >= 2 and not feed.stale, task)
                market = process.loop.node.decision["instruments"][0]
                assert abs(int(market["mark_price"]) / server.exchanges["usdm"].mark_price("BTCUSDT") - 1) < 0.001
                await until(lambda: process.loop.counts.requests > 0, task)
                told = feed.told(process.clock.local_ns())
                assert (told[-1]["feed"].split()[0], told[-1]["state"]) == ("marks", "active")

                connects, stale = feed.marks.connects, of_kind(process, table.FEED_STALE)
                relay.mute_marks = True
                await until(lambda: feed.marks is not None and feed.marks.connects > connects, task)
                assert (feed.stale, of_kind(process, table.FEED_STALE), feed.connects) == (False, stale, 1)
                prints = of_kind(process, table.TRADE)
                await until(lambda: of_kind(process, table.TRADE) > prints, task)

                relay.mute_marks = False
                marks = of_kind(process, table.MARK)
                await until(lambda: of_kind(process, table.MARK) > marks, task)
                assert feed.marks.silent(process.clock.local_ns()) == []

            return await sessions.in_session(configuration(tmp_path, relay.address, server.rest), [], play)

    process = asyncio.run(all_of_it())
    found = replay_journal(next((tmp_path / "sessions").iterdir()) / "journal")
    assert found.difference is None, str(found.difference)
    assert found.requests == process.loop.counts.requests > 0


def test_without_marks_nobody_asks_for_them(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with Server(seed=3) as server:

            async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await until(lambda: of_kind(process, table.TRADE) > 20, task)
                assert process.feed.marks is None
                assert of_kind(process, table.MARK) == 0

            path = configuration(tmp_path, server.stream, server.rest, feed="marks = false")
            await sessions.in_session(path, [], play)

    asyncio.run(all_of_it())


def test_spot_has_no_marks(tmp_path: Path) -> None:
    path = configuration(tmp_path, "ws://127.0.0.1:9", "http://127.0.0.1:9", venue="binance-spot")
    assert not load_session(path).config.feed.tells_marks
    path.write_text(path.read_text().replace('venue = "binance-spot"', 'venue = "binance-spot"\nmarks = true'))
    with pytest.raises(ConfigError, match="spot has no mark price"):
        load_session(path)


def frame(event_ms: int, funding_ms: int, price: str = "100.5", rate: str = "0.00010000") -> bytes:
    return (
        f'{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{event_ms},"s":"BTCUSDT","p":"{price}","P":"100.4",'
        f'"i":"100.4","r":"{rate}","T":{funding_ms}}}}}'
    ).encode()


class Fixed(ReceiveClock):
    """At the time of the message."""

    at_ns = 0

    def local_ns(self) -> int:
        return self.at_ns


def fed() -> tuple[MarkFeed, Fixed, list[Rows]]:
    taken: list[Rows] = []
    clock = Fixed()
    stream = BinanceStream("binance-usdm", [PRESETS["binance-usdm:BTCUSDT"]], depth=False, marks=True)
    return MarkFeed([(PRIMARY, "ws://one"), (BACKUP, "ws://two")], stream, take=taken.append, clock=clock), clock, taken


def test_funding_that_fell_due_between_two_connections_is_told_once() -> None:
    feed, clock, taken = fed()
    due_ms = HOURS_8_MS * 60_000
    for event_ms, number, funding_ms, rate in (
        (due_ms - 3000, PRIMARY, due_ms, "0.00020000"), (due_ms - 2000, PRIMARY, due_ms, "0.00030000"),
        (due_ms + 4000, BACKUP, due_ms + HOURS_8_MS, "0.00010000"), (due_ms + 5000, PRIMARY, due_ms + HOURS_8_MS, "0.00010000"),
    ):  # fmt: skip
        clock.at_ns = event_ms * 10**6
        feed.on_frame(frame(event_ms, funding_ms, rate=rate), number)
    rows = join_rows(taken)
    assert rows["kind"].tolist() == [table.MARK, table.MARK, table.FUNDING, table.MARK, table.MARK]
    assert rows["source"].tolist() == [PRIMARY, PRIMARY, BACKUP, BACKUP, PRIMARY]
    (funding,) = rows[rows["kind"] == table.FUNDING]
    assert (int(funding["rate"]), int(funding["price"]), int(funding["venue_ns"])) == (30_000, 1005, due_ms * 10**6)
    assert int(funding["local_ns"]) == (due_ms + 4000) * 10**6


@pytest.mark.parametrize("text", [b"", b"{", b'{"stream":"btcusdt@markPrice@1s","data":null}', b"\xff\x00", b"[]"])
def test_what_cannot_be_read_is_counted_and_taken_for_no_sign_of_life(text: bytes) -> None:
    feed, clock, taken = fed()
    clock.at_ns = 1_700_000_000 * SECOND
    feed.on_frame(text, PRIMARY)
    assert taken == []
    assert feed.told(clock.at_ns)["last"] == "never"
    assert feed.stream.refused + feed.stream.counts["other"] == 1


def test_marks_that_cannot_be_had_try_each_source_and_make_nobody_else_wait() -> None:
    tried: list[tuple[str, int]] = []
    stream = BinanceStream("binance-usdm", [PRESETS["binance-usdm:BTCUSDT"]], depth=False, marks=True)
    feed = MarkFeed(
        [(PRIMARY, "ws://127.0.0.1:9/one"), (BACKUP, "ws://127.0.0.1:7/two")], stream, take=lambda _: None, clock=ReceiveClock()
    )  # fmt: skip
    others = Pacing()

    def note(host: str, now_ns: int) -> None:
        tried.append((host, now_ns))
        others.tried(now_ns)

    async def some(running: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(running)
        while len(tried) < 3:  # noqa: ASYNC110 - the state of another task
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(some(feed.run(note)), 30))
    assert [host for host, _ in tried[:3]] == ["127.0.0.1:9", "127.0.0.1:7", "127.0.0.1:9"]
    assert feed.reason
    assert others.wait_s(tried[-1][1], 1.0) == 0.0
