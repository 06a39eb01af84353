"""Who listens to what: connections, their streams, and the texts that go out to them.

A connection that does not keep up is cut, as the venue does: each has a bounded queue and a task of its own. Update ids of depth streams
chain whatever their interval is: what changed since the last message of a stream is one message.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiohttp import web

from twinloop.engine.exchange import algo_text, decimals, market_text, spot_text, usdm_text
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.faults import Faults
from twinloop.engine.exchange.model import (
    Account,
    AlgoChanged,
    BalanceChanged,
    LevelsChanged,
    OrderChanged,
    Symbol,
    TopChanged,
    Traded,
)

QUEUE_MAX: Final = 20_000
DEFAULT_MS: Final = {"spot": 1000, "usdm": 250}


def encode(document: Any) -> str:
    """JSON as the venue writes it."""
    return json.dumps(document, separators=(",", ":"))


@dataclass(eq=False)
class Connection:
    """One WebSocket connection. accounts: whose user events it gets, by subscription number."""

    socket: web.WebSocketResponse
    exchange: Exchange
    combined: bool = False
    streams: set[str] = field(default_factory=set)
    accounts: dict[int, Account] = field(default_factory=dict)
    wrapped_user: bool = False  # The spot WebSocket API wraps its user events.
    queue: "asyncio.Queue[str]" = field(default_factory=lambda: asyncio.Queue(QUEUE_MAX))

    def send(self, message: str) -> None:
        """Send soon; a connection with too much waiting is cut."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.cut()

    def cut(self) -> None:
        """End it at once, without a word."""
        transport = self.socket._req.transport if self.socket._req is not None else None  # noqa: SLF001 - aiohttp has no other way
        if transport is not None:
            transport.abort()

    async def write(self) -> None:
        """The connection's writing task."""
        while True:
            await self.socket.send_str(await self.queue.get())


@dataclass
class _Depth:
    """What changed since a depth stream's last message."""

    interval_ms: int
    first: int = 0
    final: int = 0
    previous: int = 0
    changed: dict[tuple[int, int], int] = field(default_factory=dict)
    sent_ms: int = 0


class Hub:
    """Every connection of one market, and what its exchange's events become for them."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self.exchange = exchange
        self.faults = faults
        self.connections: set[Connection] = set()
        self._depths: dict[tuple[str, str], _Depth] = {}
        self._held: list[tuple[Account, dict[str, Any]]] = []
        for name in exchange.markets:
            low = name.lower()
            self._depths[name, f"{low}@depth"] = _Depth(DEFAULT_MS[exchange.market])
            for interval in (0, 100, 250, 500, 1000):
                self._depths[name, f"{low}@depth@{interval}ms"] = _Depth(interval)

    def dispatch(self) -> None:
        """Turn the exchange's new events into messages."""
        events, self.exchange.events = self.exchange.events, []
        for event in events:
            match event:
                case LevelsChanged():
                    self._changed(event)
                case TopChanged():
                    self._market(
                        f"{event.symbol.name.lower()}@bookTicker",
                        partial(market_text.book_ticker, event.symbol, event.id, event.top, event.time_ms),
                    )
                case Traded():
                    low = event.symbol.name.lower()
                    self._market(f"{low}@trade", partial(market_text.trade, event.symbol, event.trade))
                    self._market(f"{low}@aggTrade", partial(market_text.agg_trade, event.symbol, event.trade))
                case OrderChanged():
                    self._order(event)
                case AlgoChanged():
                    self._user(event.algo.account, algo_text.update(event))
                case BalanceChanged():
                    self._user(event.account, usdm_text.update(self.exchange, event.account, event.name, event.why))
        self._flush()

    def _changed(self, event: LevelsChanged) -> None:
        for (its, _), depth in self._depths.items():
            if its == event.symbol.name:
                if not depth.changed:
                    depth.first, depth.previous = event.first, depth.final or event.previous
                depth.final = event.final
                for side, at, amount in event.levels:
                    depth.changed[side, at] = amount

    def _flush(self) -> None:
        now_ms = self.exchange.now_ms
        for (name, stream), depth in self._depths.items():
            if depth.changed and now_ms - depth.sent_ms >= depth.interval_ms:
                symbol = self.exchange.markets[name].symbol
                depth.sent_ms = now_ms
                changed, depth.changed = depth.changed, {}
                listeners = self._listening(stream)
                if listeners and self.faults.take("lose_update"):
                    continue
                if listeners:
                    write = partial(
                        market_text.depth_update, symbol, now_ms, depth.first, depth.final, depth.previous, changed
                    )
                    for _ in range(2 if self.faults.take("double_update") else 1):
                        self._market(stream, write)

    def _listening(self, stream: str) -> list[Connection]:
        return [each for each in self.connections if stream in each.streams]

    def _market(self, stream: str, write: Callable[[], dict[str, Any]]) -> None:
        """Send a message to whoever listens; written only when someone does."""
        listeners = self._listening(stream)
        if not listeners or self.faults.take("silence"):
            return
        raw = encode(write())
        wrapped = f'{{"stream":"{stream}","data":{raw}}}'
        for each in listeners:
            each.send(wrapped if each.combined else raw)

    def tell_mark(self, name: str) -> None:
        """MarkPriceUpdate."""
        symbol: Symbol = self.exchange.markets[name].symbol
        mark = decimals.price(symbol, self.exchange.mark_price(name))
        data = {"e": "markPriceUpdate", "E": self.exchange.now_ms, "s": name, "p": mark, "i": mark, "P": mark, "r": "0.00010000",
                "T": (self.exchange.now_ms // 28_800_000 + 1) * 28_800_000}  # fmt: skip
        for suffix in ("", "@1s"):
            self._market(f"{name.lower()}@markPrice{suffix}", lambda: data)

    # ---- User events.

    def _order(self, event: OrderChanged) -> None:
        account = event.order.account
        if self.exchange.market == "spot":
            messages = [spot_text.report(event), spot_text.balances(account, event.time_ms)]
        else:
            messages = [usdm_text.report(event)]
            if event.fill is not None:
                messages.insert(0, usdm_text.update(self.exchange, account, event.symbol.name, "ORDER"))
        if event.execution == "NEW" and self.faults.take("late_ack"):
            self._held += [(account, message) for message in messages]
            return
        for message in messages:
            self._user(account, message)
        if event.execution != "NEW":
            held, self._held = self._held, []
            for its, message in held:
                self._user(its, message)

    def _user(self, account: Account, message: dict[str, Any]) -> None:
        listeners = [
            (each, number) for each in self.connections for number, its in each.accounts.items() if its is account
        ]
        if not listeners or self.faults.take("user_silence"):
            return
        first = "executionReport" if self.exchange.market == "spot" else "ORDER_TRADE_UPDATE"
        if message["e"] == first and self.faults.take("lose_user_event"):
            return
        times = 2 if message["e"] == first and self.faults.take("double_user_event") else 1
        for each, number in listeners:
            body = {"subscriptionId": number, "event": message} if each.wrapped_user else message
            for _ in range(times):
                each.send(encode(body))
