"""Messages of a practice exchange's market, taken from its hub without a socket and in virtual time."""

import json
from typing import Any, cast

from twinloop.engine.exchange.agents import Agents
from twinloop.engine.exchange.connection import Connection
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.faults import Faults
from twinloop.engine.exchange.streams import Hub
from twinloop.engine.exchange.symbols import symbol


class _Listener:
    """As much of a connection as a hub needs."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.combined, self.streams, self.accounts = False, set[str](), dict[int, Any]()
        self.messages: list[tuple[float, dict[str, Any]]] = []

    def hears(self, stream: str) -> bool:
        return bool(stream)

    def send(self, raw: str) -> None:
        self.messages.append((self.exchange.now_ms / 1000, json.loads(raw)))


def tape(
    market: Any, seed: int, seconds: float, *, turn_ms: int = 20, name: str = "BTCUSDT", speed: float = 1.0
) -> tuple[Exchange, list[tuple[float, dict[str, Any]]]]:
    """(exchange, (seconds, message)) of depth, quotes and trades over so many seconds of the exchange's clock."""
    exchange = Exchange(market, [symbol(name, market)])
    exchange.advance(1_700_000_000_000)
    hub, agents = Hub(exchange, Faults()), Agents(exchange, exchange.markets[name], seed)
    hub.dispatch()
    listener = _Listener(exchange)
    depth = "depth@0ms" if market == "usdm" else "depth@100ms"
    hub.join(cast("Connection", listener))
    hub.subscribe(cast("Connection", listener), {f"{name.lower()}@{each}" for each in (depth, "trade", "bookTicker")})
    for _ in range(int(seconds * 1000 / turn_ms) + 1):
        agents.pass_time(exchange.now_ms, speed)
        hub.dispatch()
        exchange.advance(exchange.now_ms + turn_ms)
    return exchange, listener.messages
