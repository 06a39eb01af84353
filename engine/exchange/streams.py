"""Who listens to what: the streams of one market, and the texts that the exchange's events become for them.

Update ids of depth streams chain whatever their interval is: what changed since the last message of a stream is one message.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from twinloop.engine.exchange import algo_text, decimals, market_text, spot_text, usdm_text
from twinloop.engine.exchange.candles import INTERVALS, MINUTE_MS
from twinloop.engine.exchange.connection import Connection
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.faults import Faults
from twinloop.engine.exchange.market_faults import Distortion
from twinloop.engine.exchange.model import (
    SELL,
    Account,
    AlgoChanged,
    BalanceChanged,
    LevelsChanged,
    OrderChanged,
    TopChanged,
    Traded,
)

DEPTH_MS: Final = {"spot": 1000, "usdm": 250, "coinm": 250}
INTERVALS_MS: Final = (0, 100, 250, 500, 1000)
CANDLE_MS: Final = 250
DAY_MS: Final = 1000
REPLAYED: Final = 10
SHUTDOWN_MS: Final = 1000


@dataclass
class _Depth:
    """What changed since a depth stream's last message."""

    interval_ms: int
    first: int = 0
    final: int = 0
    previous: int = 0
    changed: dict[tuple[int, int], int] = field(default_factory=dict)
    sent_ms: int = 0


@dataclass
class _Candle:
    """A kline stream's state: the last candle told, and when."""

    name: str
    interval: str
    open_ms: int = 0
    trades: int = -1
    sent_ms: int = 0


class Hub:
    """Every connection of one market, and what its exchange's events become for them."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self.exchange = exchange
        self.faults = faults
        self.connections: set[Connection] = set()
        self._listeners: dict[str, list[Connection]] = {}
        self._depths: dict[str, dict[str, _Depth]] = {
            name: {} for name in exchange.markets
        }  # Those somebody listens to.
        self._candles: dict[str, _Candle] = {}
        self._days_ms = 0
        self._distortion = Distortion(faults)
        self._held: list[tuple[Account, dict[str, Any]]] = []
        self._recent: dict[Account, deque[dict[str, Any]]] = {}
        self._replays: list[tuple[Connection, int, dict[str, Any]]] = []
        self._shutdown_ms: int | None = None

    # ---- Connections.

    def join(self, connection: Connection) -> None:
        """Take a connection in. Its streams may be named already."""
        self.connections.add(connection)
        named, connection.streams = connection.streams, set()
        self.subscribe(connection, named)

    def leave(self, connection: Connection) -> None:
        """Let a connection go."""
        self.unsubscribe(connection, set(connection.streams))
        self.connections.discard(connection)

    def subscribe(self, connection: Connection, streams: set[str]) -> None:
        """Have a connection listen to more: streams, and the user stream of a listen key."""
        for stream in sorted(streams - connection.streams):
            owner = self.exchange.listen_keys.owner(stream)
            if owner is not None:
                self.replay(connection, connection.listen_for(owner, stream), owner)
                continue
            connection.streams.add(stream)
            self._listeners.setdefault(stream, []).append(connection)
            name, _, rest = stream.partition("@")
            intervals = {"depth": DEPTH_MS[self.exchange.market]} | {f"depth@{each}ms": each for each in INTERVALS_MS}
            if name.upper() in self._depths and rest in intervals:
                self._depths[name.upper()].setdefault(stream, _Depth(intervals[rest]))
            interval = rest.removeprefix("kline_")
            if name.upper() in self._depths and interval != rest and interval in INTERVALS:
                self._candles.setdefault(stream, _Candle(name.upper(), interval))

    def unsubscribe(self, connection: Connection, streams: set[str]) -> None:
        """Have a connection listen to less."""
        for stream in streams & connection.streams:
            connection.streams.discard(stream)
            self._listeners[stream].remove(connection)
            if not self._listeners[stream]:
                del self._listeners[stream]
                self._depths.get(stream.partition("@")[0].upper(), {}).pop(stream, None)
                self._candles.pop(stream, None)

    def replay(self, connection: Connection, number: int, account: Account) -> None:
        """Tell a new user connection old fills at the next turn, where that fault is armed."""
        recent = self._recent.get(account)
        if recent and self.faults.take("replay_fills"):
            self._replays += [(connection, number, message) for message in recent]

    def cut(self, *, users: bool) -> None:
        """Cut every connection that hears of users, or every other one."""
        for each in [*self.connections]:
            if bool(each.accounts) == users:
                each.cut()

    def pass_time(self) -> None:
        """Pings, days that are over, listen keys that expire, a shutdown that was told."""
        now_ms = self.exchange.now_ms
        keys = self.exchange.listen_keys
        expired = keys.expired(now_ms)
        if self.exchange.market == "usdm" and self.faults.take("expire_listen_key"):
            expired += keys.expire_all()
        for key, account in expired:
            told = decimals.encode({"e": "listenKeyExpired", "E": now_ms, "listenKey": key})
            for each in self.connections:
                if account in each.accounts.values():
                    each.send(told)
                    each.accounts.clear()  # The venue sends nothing more on it, and leaves closing to the client.
        for connection, number, message in self._replays:
            self._send_user(connection, number, message)
        self._replays.clear()
        for each in [*self.connections]:
            each.pass_time(now_ms)
        if self._shutdown_ms is not None and now_ms >= self._shutdown_ms:
            self._shutdown_ms = None
            for each in [*self.connections]:
                each.cut()

    def shut_down(self) -> None:
        """Tell every connection that the server goes, and cut them a second later."""
        now_ms = self.exchange.now_ms
        self._shutdown_ms = now_ms + SHUTDOWN_MS
        event = {"e": "serverShutdown", "E": now_ms}
        for each in self.connections:
            each.send(decimals.encode({"event": event} if each.wrapped_user else event))

    # ---- Events.

    def dispatch(self) -> None:
        """Turn the exchange's new events into messages."""
        events, self.exchange.events = self.exchange.events, []
        for event in events:
            match event:
                case LevelsChanged():
                    self._changed(event)
                case TopChanged():
                    top = partial(market_text.book_ticker, event.symbol, event.id, event.top, event.time_ms)
                    self._market(f"{event.symbol.name.lower()}@bookTicker", top)
                case Traded():
                    low = event.symbol.name.lower()
                    self._market(f"{low}@trade", partial(market_text.trade, event.symbol, event.trade))
                    self._market(f"{low}@aggTrade", partial(market_text.agg_trade, event.symbol, event.trade))
                case OrderChanged():
                    self._order(event)
                case AlgoChanged():
                    self._user(event.algo.account, algo_text.update(event))
                case BalanceChanged():
                    self._balance(event)
        self._flush()
        self._tell_candles()

    # ---- Market data.

    def _changed(self, event: LevelsChanged) -> None:
        for depth in self._depths[event.symbol.name].values():
            if not depth.changed:
                depth.first, depth.previous = event.first, depth.final or event.previous
            depth.final = event.final
            for side, at, amount in event.levels:
                depth.changed[side, at] = amount

    def _flush(self) -> None:
        now_ms = self.exchange.now_ms
        for name, depths in self._depths.items():
            symbol = self.exchange.markets[name].symbol
            for stream, depth in depths.items():
                if depth.changed and now_ms - depth.sent_ms >= depth.interval_ms:
                    depth.sent_ms = now_ms
                    changed, depth.changed = depth.changed, {}
                    self._market(
                        stream,
                        partial(market_text.depth_update, symbol, now_ms, depth.first, depth.final, depth.previous, changed),
                    )  # fmt: skip

    def _tell_candles(self) -> None:
        """Candles that changed: the closed one once, the open one from time to time. Days once a second."""
        now_ms = self.exchange.now_ms
        for stream, told in self._candles.items():
            state, minutes = self.exchange.markets[told.name], INTERVALS[told.interval]
            for candle in state.candles.of(minutes, 2):
                closed = candle.open_ms + minutes * MINUTE_MS <= now_ms
                news = candle.open_ms > told.open_ms or (
                    candle.open_ms == told.open_ms and candle.trades != told.trades
                )
                if not (told.open_ms == candle.open_ms if closed else news and now_ms - told.sent_ms >= CANDLE_MS):
                    continue
                told.open_ms, told.trades, told.sent_ms = candle.open_ms + closed, candle.trades, now_ms
                write = partial(
                    market_text.candle_event, state.symbol, candle, told.interval, minutes * MINUTE_MS, now_ms, closed=closed
                )  # fmt: skip
                self._market(stream, write)
        if now_ms - self._days_ms >= DAY_MS:
            self._days_ms = now_ms
            for name in self.exchange.markets:
                self._market(f"{name.lower()}@ticker", partial(market_text.day_event, self.exchange, name))

    def _market(self, stream: str, write: Callable[[], dict[str, Any]]) -> None:
        """Send a message to whoever listens; written only when someone does."""
        listeners = [each for each in self._listeners.get(stream, ()) if each.hears(stream)]
        if not listeners:
            return
        state = self.exchange.markets.get(stream.partition("@")[0].upper())
        ask = decimals.price(state.symbol, state.book.best(SELL)) if state is not None else ""
        for raw in self._distortion.texts(stream, write(), ask):
            wrapped = f'{{"stream":"{stream}","data":{raw}}}'
            for each in listeners:
                each.send(wrapped if each.combined else raw)

    def tell_mark(self, name: str) -> None:
        """MarkPriceUpdate."""
        for suffix in ("", "@1s"):
            self._market(f"{name.lower()}@markPrice{suffix}", partial(market_text.mark, self.exchange, name))

    # ---- User events.

    def _order(self, event: OrderChanged) -> None:
        account = event.order.account
        spot, filled = self.exchange.market == "spot", event.fill is not None
        report = spot_text.report(event) if spot else usdm_text.report(event)
        messages = [report]
        if spot:
            messages.append(spot_text.balances(account, event.time_ms))
        elif event.fill is not None:
            if not any(
                self.faults.on(fault) for fault in ("lose_fill", "lose_user_event", "late_ack")
            ):  # It must not tell on them.
                self._user(account, usdm_text.trade_lite(event, event.fill))
            messages.insert(0, usdm_text.update(self.exchange, account, event.symbol.name, "ORDER"))
        if filled:
            self._recent.setdefault(account, deque(maxlen=REPLAYED)).append(report)
        if event.execution == "NEW" and self.faults.take("late_ack"):
            self._held += [(account, message) for message in messages]
            return
        for message in messages:
            self._user(account, message, fill=filled)
        if event.execution != "NEW":
            held, self._held = self._held, []
            for its, message in held:
                self._user(its, message)

    def _balance(self, event: BalanceChanged) -> None:
        if self.exchange.market == "usdm":
            moved = None if event.why == "ADJUSTMENT" else (event.asset, event.amount)
            self._user(event.account, usdm_text.update(self.exchange, event.account, event.name, event.why, moved))
            return
        self._user(event.account, spot_text.balance(event))
        self._user(event.account, spot_text.balances(event.account, event.time_ms))

    def _user(self, account: Account, message: dict[str, Any], *, fill: bool = False) -> None:
        listeners = [
            (each, number) for each in self.connections for number, its in each.accounts.items() if its is account
        ]
        if not listeners or self.faults.take("user_silence"):
            return
        about_order = message["e"] in {"executionReport", "ORDER_TRADE_UPDATE"}
        if about_order and (self.faults.take("lose_user_event") or (fill and self.faults.take("lose_fill"))):
            return
        times = 2 if about_order and self.faults.take("double_user_event") else 1
        for each, number in listeners:
            for _ in range(times):
                self._send_user(each, number, message)

    @staticmethod
    def _send_user(connection: Connection, number: int, message: dict[str, Any]) -> None:
        body = message
        if connection.wrapped_user:
            body = {"subscriptionId": number, "event": message}
        elif connection.combined:
            body = {"stream": connection.keys.get(number, ""), "data": message}
        connection.send(decimals.encode(body))
