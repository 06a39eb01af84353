"""A venue of one symbol on a real socket, for tests of the live side: rules, snapshots, and a stream of updates and prints.

Its market is a random walk from a seed. It shares nothing with the code under test but the venue's public message format.
"""

import asyncio
import json
import random
import time
from typing import Any, Self

from aiohttp import WSMsgType, web

SYMBOL = "BTCUSDT"
RULES = {
    "symbols": [
        {
            "symbol": SYMBOL, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "0.1", "maxPrice": "1000000"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                {"filterType": "MIN_NOTIONAL", "notional": "5"},
            ],
        }
    ]
}  # fmt: skip


class SmallVenue:
    """`async with SmallVenue(seed) as venue:` listens on venue.port. drop(): cut every connection; skip: updates to leave out."""

    def __init__(self, seed: int, pause_s: float = 0.001) -> None:
        self.draw = random.Random(seed)
        self.pause_s = pause_s
        self.mid = 600_000
        self.levels: dict[tuple[int, int], int] = {}
        self.last = 1
        self.trades = 0
        self.skip = 0
        self.silent = False
        self.connections: set[web.WebSocketResponse] = set()
        self.snapshots = 0
        for away in range(1, 40):
            for side in (1, -1):
                self.levels[side, self.mid - side * away] = self.draw.randrange(100, 5000)

    async def __aenter__(self) -> Self:
        app = web.Application()
        for path in ("/fapi/v1/exchangeInfo", "/api/v3/exchangeInfo"):
            app.router.add_get(path, self._rules)
        for path in ("/fapi/v1/depth", "/api/v3/depth"):
            app.router.add_get(path, self._depth)
        for path in ("/stream", "/public/stream"):
            app.router.add_get(path, self._stream)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.market = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.market.cancel()
        await asyncio.gather(self.market, return_exceptions=True)
        await self.drop()
        await self.runner.cleanup()

    async def drop(self) -> None:
        """Cut every connection."""
        for each in list(self.connections):
            await each.close()

    async def _rules(self, _: web.Request) -> web.Response:
        return web.json_response(RULES)

    async def _depth(self, _: web.Request) -> web.Response:
        self.snapshots += 1
        sides = {
            side: [
                [self._price(price), self._qty(qty)] for (its, price), qty in self.levels.items() if its == side and qty
            ]
            for side in (1, -1)
        }
        now = int(time.time() * 1000)
        return web.json_response({"lastUpdateId": self.last, "E": now, "T": now, "bids": sides[1], "asks": sides[-1]})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections.add(socket)
        try:
            async for message in socket:
                if message.type == WSMsgType.ERROR:
                    break
        finally:
            self.connections.discard(socket)
        return socket

    @staticmethod
    def _price(price: int) -> str:
        return f"{price // 10}.{price % 10}0"

    @staticmethod
    def _qty(qty: int) -> str:
        return f"{qty // 1000}.{qty % 1000:03d}"

    def _step(self) -> list[dict[str, Any]]:
        """One moment: the mid moves or not, levels change, sometimes somebody trades."""
        now = int(time.time() * 1000)
        first, previous = self.last + 1, self.last
        changes: dict[int, list[list[str]]] = {1: [], -1: []}

        def put(side: int, price: int, qty: int) -> None:
            self.last += 1
            self.levels[side, price] = qty
            changes[side].append([self._price(price), self._qty(qty)])

        move = self.draw.choice([0, 0, 0, 1, -1])
        self.mid += move
        for side in (1, -1):
            put(-side, self.mid, 0)
            put(side, self.mid - side, self.draw.randrange(100, 5000))
            put(side, self.mid - side * self.draw.randrange(2, 20), self.draw.randrange(0, 5000))
        put(1, self.mid, 0)
        out = [{"stream": "btcusdt@depth@0ms", "data": {
            "e": "depthUpdate", "E": now, "T": now, "s": SYMBOL, "U": first, "u": self.last, "pu": previous, "b": changes[1], "a": changes[-1],
        }}]  # fmt: skip
        if self.draw.random() < 0.4:
            self.trades += 1
            side = self.draw.choice([1, -1])
            out.append({"stream": "btcusdt@trade", "data": {
                "e": "trade", "E": now, "T": now, "s": SYMBOL, "t": self.trades, "p": self._price(self.mid + side),
                "q": self._qty(self.draw.randrange(1, 3000)), "X": "MARKET", "m": side < 0,
            }})  # fmt: skip
        return out

    async def _live(self) -> None:
        while True:
            for message in self._step():
                if self.skip > 0 and "depth" in message["stream"]:
                    self.skip -= 1
                    continue
                if self.silent:
                    continue
                text = json.dumps(message, separators=(",", ":"))
                for each in list(self.connections):
                    if not each.closed:
                        await each.send_str(text)
            await asyncio.sleep(self.pause_s)
