"""The live session that the latency bars measure: one instrument's touch, a strategy that orders on a mark, limits, a journal.

As a program it is one side of the loopback bar: `latency_session.py echo|prompt-echo|async|group|strict MARKET ORDERS REST` connects, and
answers each marked message with an order until its stream ends.
"""

import asyncio
import gc
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twinloop.data.feed_arbiter import FeedArbiter, FeedSettings
from twinloop.data.instruments import MONEY_ONE, Instrument, preset
from twinloop.engine.cli import COLLECT_AFTER
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.session import Session, StrategySpec, session_to_plain
from twinloop.engine.seam import ReceiveClock

VENUE: Final = "binance-usdm"
SYMBOL: Final = "BTCUSDT"
DAY_NS: Final = 86_400_000_000_000
MARK: Final = b'"B":"77.777"'  # A bid of this size asks for an order.
ORDER_EVERY: Final = 10
# Every limit of real money is on; only how often one may ask is set for this rate.
LIMITS: Final = {
    "preset": "conservative", "max_messages_per_s": 100_000, "message_burst": 100_000, "duplicate_max": 1_000_000, "max_spread_bps": 500,
}  # fmt: skip
STRATEGY: Final = f'''
import twinloop as tl


class Marked(tl.Strategy):
    """A small order at the bid: every so many messages (0: never), and where the bid has the marked size."""

    instrument: tl.Symbol = "{SYMBOL}"
    every: int = 0
    seen: tl.State[int] = 0

    def on_quote(self, ctx, quote):
        self.seen += 1
        counted = self.every > 0 and self.seen % self.every == 0
        if counted or (self.every == 0 and ctx.bid_qty_scaled(self.instrument) == 77777):
            ctx.limit_scaled(self.instrument, 1, ctx.bid_scaled(self.instrument), 5, tl.IOC)

    def on_trade(self, ctx, trade):
        self.seen += 1
        if self.every > 0 and self.seen % self.every == 0:
            ctx.limit_scaled(self.instrument, 1, ctx.bid_scaled(self.instrument), 5, tl.IOC)
'''


def instrument() -> Instrument:
    """The perpetual contract of the recordings."""
    return preset(VENUE, SYMBOL)


def make_loop(
    folder: Path,
    clock: ReceiveClock,
    durability: Any,
    *,
    every: int,
    send: Callable[[Any], None] | None,
    withdraw: Callable[[Any], None] | None = None,
) -> LiveLoop:
    """A live session's loop, started; its journal is in the folder."""
    (folder / "marked.py").write_text(STRATEGY)
    session = Session(
        name="latency", mode="live", instruments=[instrument()], shown=["touch"], currency="USDT", cash=1_000_000 * MONEY_ONE,
        strategies=[StrategySpec(name="marked", path="marked.py:Marked", parameters={"every": every})], limits_section=dict(LIMITS),
        start_ns=clock.local_ns(), folder=str(folder),
    )  # fmt: skip
    journal = JournalWriter(
        folder / "journal", session=dict(session_to_plain(session)), code="latency", config=session.digest(), durability=durability
    )  # fmt: skip
    loop = LiveLoop(RecordedNode(LiveNode(session, "live"), journal), clock, send=send, withdraw=withdraw)
    loop.start()
    return loop


def make_arbiter(*, lag_ns: int, stale_ns: int = DAY_NS) -> FeedArbiter:
    """The market's side. lag_ns: how late messages may come; 0 where they are of another day."""
    return FeedArbiter(VENUE, [instrument()], FeedSettings(lag_ns=lag_ns, stale_ns=stale_ns), depth=False)


ORDER: Final = b'{"id":"1","method":"order.place","params":{' + b'"symbol":"BTCUSDT","side":"BUY"' * 8 + b"}}"


async def prompt_echo(market: str) -> None:
    """The same as `echo`, in the call that read the message: what the engine's own connection saves."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    from twinloop.data.prompt_socket import PromptConnection

    async with connect(
        market, compression=None, max_size=1 << 20, proxy=None, ping_interval=None, create_connection=PromptConnection
    ) as socket:
        assert isinstance(socket, PromptConnection)

        def take(message: bytes) -> None:
            if MARK in message:
                socket.protocol.send_text(ORDER)
                socket.send_data()

        try:
            await socket.deliver(take)
        except ConnectionClosed:
            return


async def echo(market: str) -> None:
    """The least that answers: the same library, the same bytes of an order, on the connection it came from."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(market, compression=None, max_size=1 << 20, proxy=None, ping_interval=None) as socket:
        try:
            while True:
                if MARK in await socket.recv(decode=False):
                    await socket.send(ORDER, text=True)
        except ConnectionClosed:
            return


async def trade(durability: str, market: str, orders: str, rest: str) -> None:
    """The live session's own parts: feeds, loop, gate, journal, gateway and its transport."""
    import aiohttp

    from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
    from twinloop.engine.gateway.endpoints import Endpoints
    from twinloop.engine.gateway.gateway import Gateway
    from twinloop.engine.gateway.rate_budget import OrderBudget, WeightBudget
    from twinloop.engine.gateway.settings import GatewaySettings
    from twinloop.engine.live.feeds import Feeds, Source
    from twinloop.engine.live.orders import OrderEdge

    with tempfile.TemporaryDirectory() as folder:
        clock = ReceiveClock()
        edges: list[OrderEdge] = []
        loop = make_loop(
            Path(folder), clock, durability, every=0, send=lambda requests: edges[0].send(requests),  # noqa: PLW0108 - made below
            withdraw=lambda requests: edges[0].withdraw(requests),  # noqa: PLW0108
        )  # fmt: skip
        asyncio.get_running_loop().add_reader(loop.recorded.journal.notice_fd, lambda: _released(loop))
        settings = GatewaySettings(
            market="usdm", account=0, prefix="tl", epoch=1, instruments={0: instrument()}, currencies={"USDT": 0},
            start_ns=clock.local_ns(), websocket=True, clock_offset_max_ns=10**19,
        )  # fmt: skip
        credentials = Credentials(Secret("key"), HmacSigner(Secret("secret")))
        # What a venue allows a second is less than this bar asks for.
        gateway = Gateway(
            settings, credentials, weight=WeightBudget(10**9), orders=OrderBudget([("10s", 10_000, 10**9)])
        )
        host = rest.partition("://")[2]
        endpoints = Endpoints(rest=rest, user=f"ws://{host}/private/ws/{{listen_key}}", orders=orders)
        edges.append(OrderEdge(gateway, credentials, endpoints, loop))
        async with aiohttp.ClientSession() as client:
            feeds = Feeds(
                [Source(0, market, rest)],
                make_arbiter(lag_ns=1_000_000_000),
                take=loop.take,
                take_frame=loop.take_frame,
                clock=clock,
                client=client,
            )
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(edges[0].run())]
                while not (gateway.clock_known and gateway.sender.socket_up and gateway.caught_up):  # noqa: ASYNC110 - the state of many objects
                    await asyncio.sleep(0.01)
                running.append(tasks.create_task(feeds.run()))
                while not feeds.connects:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
                gc.freeze()  # As a session does once it has started.
                while feeds.connected:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.25)
                for task in running:
                    task.cancel()
        counts = loop.counts
        told = {"facts": counts.facts, "requests": counts.requests, "refused": counts.refused, "failure": loop.failure}
        print(f"  {durability}: {told}, alerts {[alert.name for alert in edges[0].alerts]}", file=sys.stderr)
        loop.recorded.journal.close()


def _released(loop: LiveLoop) -> None:
    loop.recorded.journal.clear_notice()
    loop.release()


if __name__ == "__main__":
    side, market, *others = sys.argv[1:]
    gc.set_threshold(COLLECT_AFTER)
    echoes = {"echo": echo, "prompt-echo": prompt_echo}
    asyncio.run(echoes[side](market) if side in echoes else trade(side, market, *others))
