"""The venue of the burst bar: the practice exchange for orders, and for its market recorded frames, as many a second as are asked for.

Orders, the user stream and every answer are the exchange's own. Of the market's stream it plays the busiest second of a recording again and
again, with times of now, ids that go on and prices moved to where the exchange's own market stands; a book is answered as these frames left it.
"""

import asyncio
import fcntl
import gzip
import json
import re
import struct
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import WSMsgType, web
from latency_venue import framed

from twinloop.engine.exchange.connection import Connection
from twinloop.engine.exchange.server import Server

STEP_S: Final = 0.002
SLICE_S: Final = 0.1
FIRST_ID: Final = 10**9 + 1
SIOCOUTQ: Final = 0x5411  # Bytes of a socket that the other side has not taken, Linux.
SNAPSHOT_LEVELS: Final = 1000
PRICE: Final = re.compile(rb'"(p|b|a)":"([0-9]+)\.([0-9])0"')
KINDS: Final = {"touch": (b"@bookTicker", b"@trade"), "depth": (b"@depth", b"@trade")}
ID_KEYS: Final = {b"@bookTicker": (b"u",), b"@trade": (b"t",), b"@depth": (b"U", b"u", b"pu")}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A frame as a pattern: its times, then the ids in the order of the text; levels: of a depth update, by side."""

    kind: bytes
    pattern: bytes  # With %d for what changes.
    ids: tuple[
        int, ...
    ]  # Less the last one of its kind before the window; in the order in which they stand in the text.
    holes: tuple[str, ...]  # What each %d is: "time", or the index of an id.
    levels: tuple[tuple[str, int, str], ...] = ()


def busiest_second(path: Path) -> tuple[int, Counter[bytes]]:
    """The second of a recording in which most messages came, and how many of each kind; a symbol's book, quotes and prints."""
    seconds: dict[int, Counter[bytes]] = {}
    with gzip.open(path) as lines:
        for line in lines:
            if b"@" in line[:90]:
                kind = b"@" + line[:90].split(b"@")[1].split(b'"')[0]
                seconds.setdefault(int(line[:10]), Counter())[kind] += 1
    return max(seconds.items(), key=lambda each: each[1].total())


class Play:
    """The window's frames, to be sent again and again. shown: which streams; the book before the window is that of the recording."""

    def __init__(self, path: Path, second: int, shown: str, mid: int) -> None:
        """mid: of the market that prices are moved to, in tenths."""
        self.sent: Counter[bytes] = Counter()
        self._at = 0
        self._frames: list[Recorded] = []
        self._last = dict.fromkeys(ID_KEYS, FIRST_ID - 1)  # The last id that was sent of each kind.
        self._book: dict[tuple[str, int], str] = {}
        self._shift = 0
        lines = []
        with gzip.open(path) as file:
            for line in file:
                at = int(line[:10])
                if at > second:
                    break
                text = line.rstrip(b"\n").partition(b" ")[2]
                if at < second and (b"lastUpdateId" in text[:40] or b"@depth" in text[:60]):
                    self._take(json.loads(text))
                if at == second and any(kind in text[:60] for kind in KINDS[shown]):
                    lines.append(text)
        bids = [price for side, price in self._book if side == "b"]
        self._shift = mid - max(bids)
        moved = {(side, price + self._shift): amount for (side, price), amount in self._book.items()}
        self._book = {(side, price): amount for (side, price), amount in moved.items() if price > 0}
        before: dict[bytes, int] = {}
        for text in lines:
            self._frames.append(self._pattern(text, before))
        if shown == "depth":
            self._frames.append(self._way_back(before))
        self._steps = {kind: before.get(kind, 0) for kind in ID_KEYS}
        self.size = len(self._frames)

    def _take(self, document: dict[str, Any]) -> None:
        document = document.get("data", document)
        for side, key in (("b", "bids"), ("a", "asks")):
            for price, amount in document.get(key, document.get(side, ())):
                self._set(side, tenths(price), amount)

    def _set(self, side: str, price: int, amount: str) -> None:
        if float(amount):
            self._book[side, price] = amount
        else:
            self._book.pop((side, price), None)

    def _pattern(self, text: bytes, before: dict[bytes, int]) -> Recorded:
        """before: by kind, the last id of the window so far, counted from 0; changed here."""
        kind = next(each for each in ID_KEYS if each in text[:60])
        document = json.loads(text)["data"]
        last = {b"@depth": "u", b"@bookTicker": "u", b"@trade": "t"}[kind]
        first = before.setdefault(kind + b"first", document["pu"] if kind == b"@depth" else document[last] - 1)
        before[kind] = document[last] - first
        ids: list[int] = []
        holes: list[str] = []

        def put(match: re.Match[bytes]) -> bytes:
            key, number = match[1], int(match[2])
            if key in {b"E", b"T"}:
                holes.append("time")
            else:
                holes.append(str(len(ids)))
                ids.append(number - first)
            return b'"%b":%%d' % key

        def moved(match: re.Match[bytes]) -> bytes:
            price = int(match[2]) * 10 + int(match[3]) + self._shift
            return b'"%b":"%d.%d0"' % (match[1], price // 10, price % 10)

        levels = tuple(
            (side, tenths(price) + self._shift, amount)
            for side in ("b", "a")
            if kind == b"@depth"
            for price, amount in document[side]
            if tenths(price) + self._shift > 0  # Bids at a few dollars, which no book here can have.
        )
        text = PRICE.sub(moved, text)
        if levels:
            told = {side: [[shown(p), a] for s, p, a in levels if s == side] for side in ("b", "a")}
            head = text[: text.index(b'"b":[')]
            text = head + json.dumps(told, separators=(",", ":")).encode()[1:] + b"}"
        keys = b"|".join((b"E", b"T", *ID_KEYS[kind]))
        text = re.sub(rb'"(' + keys + rb')":([0-9]+)', put, text.replace(b"%", b"%%"))
        return Recorded(kind, text, tuple(ids), tuple(holes), levels)

    def _way_back(self, before: dict[bytes, int]) -> Recorded:
        """An update that is in no recording: the book at the window's end to the one at its beginning."""
        end = dict(self._book)
        for each in self._frames:
            for side, price, amount in each.levels:
                end[side, price] = amount
        differs = {key: self._book.get(key, "0.000") for key, amount in end.items() if self._book.get(key) != amount}
        levels = tuple((side, price, amount) for (side, price), amount in sorted(differs.items()))
        last = before[b"@depth"]
        before[b"@depth"] = last + 1
        told = {side: [[shown(p), a] for s, p, a in levels if s == side] for side in ("b", "a")}
        text = (
            b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT","U":%d,"u":%d,"pu":%d,'
            + json.dumps(told, separators=(",", ":")).encode()[1:] + b"}"
        )  # fmt: skip
        return Recorded(b"@depth", text, (last + 1, last + 1, last), ("time", "time", "0", "1", "2"), levels)

    def next(self, now_ms: int) -> bytes:
        """The next frame, as it goes over the wire."""
        its = self._frames[self._at]
        last = self._last[its.kind]
        filled = tuple(now_ms if hole == "time" else last + its.ids[int(hole)] for hole in its.holes)
        for side, price, amount in its.levels:
            self._set(side, price, amount)
        self.sent[its.kind] += 1
        self._at += 1
        if self._at == self.size:
            self._at = 0
            for kind, step in self._steps.items():
                self._last[kind] += step
        return framed(its.pattern % filled)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """The book as the frames so far left it."""
        done = [each.ids[1] for each in self._frames[: self._at] if each.kind == b"@depth"]
        its = {
            side: sorted(
                ((price, amount) for (each, price), amount in self._book.items() if each == side), reverse=side == "b"
            )[:SNAPSHOT_LEVELS]
            for side in ("b", "a")
        }
        return {
            "lastUpdateId": self._last[b"@depth"] + (done[-1] if done else 0), "E": now_ms, "T": now_ms,
            "bids": [[shown(price), amount] for price, amount in its["b"]], "asks": [[shown(price), amount] for price, amount in its["a"]],
        }  # fmt: skip


def tenths(text: str) -> int:
    """A price of one decimal, in tenths."""
    whole, _, rest = text.partition(".")
    assert not rest[1:].strip("0")
    return int(whole) * 10 + int(rest[:1] or 0)


def shown(price: int) -> str:
    """The text of it."""
    return f"{price // 10}.{price % 10}0"


class BurstVenue(Server):
    """play: set before anybody connects. own: each message about an order that went out on a user stream, with its time."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.play: Play
        self.rate = 0.0
        self.own: list[tuple[int, dict[str, Any]]] = []
        self.unsent_max = 0
        self.cuts = 0
        self._market: web.WebSocketResponse | None = None
        write = Connection.write

        async def told(connection: Connection) -> None:
            send = connection.socket.send_str

            async def noted(text: str) -> None:
                if '"ORDER_TRADE_UPDATE"' in text:
                    self.own.append((time.time_ns(), json.loads(text)["o"]))
                await send(text)

            connection.socket.send_str = noted  # type: ignore[method-assign]
            await write(connection)

        Connection.write = told  # type: ignore[method-assign]

    @property
    def mid(self) -> int:
        """Of the exchange's own market, in tenths."""
        return self.exchanges["usdm"].mark_price("BTCUSDT")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if "streams=" not in request.query_string or "@markPrice" in request.query_string:
            return await super()._stream(request)
        socket = web.WebSocketResponse(autoping=True, compress=False)
        await socket.prepare(request)
        self._market = socket
        try:
            async for message in socket:
                assert message.type is not WSMsgType.ERROR
        finally:
            self.cuts += 1
        return socket

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/fapi/v1/depth":
            return web.json_response(self.play.snapshot(time.time_ns() // 10**6))
        return await super()._rest(request)

    async def pace(self, seconds: float, rate: float) -> float:
        """Play at a rate, evenly, for so long: how many were sent a second."""
        await asyncio.sleep(0)
        assert self._market is not None
        transport = self._market._req.transport  # type: ignore[union-attr]  # noqa: SLF001 - the frames are framed already
        descriptor = transport.get_extra_info("socket").fileno()  # type: ignore[union-attr]
        began, sent, count = time.monotonic(), 0, int(seconds * rate)
        while sent < count:
            due = min(int((time.monotonic() - began) * rate), count)
            now_ms = time.time_ns() // 10**6
            if due > sent:
                transport.write(b"".join([self.play.next(now_ms) for _ in range(due - sent)]))  # type: ignore[union-attr]
                sent = due
                self.unsent_max = max(self.unsent_max, self.unsent(transport, descriptor))
            await asyncio.sleep(STEP_S)
        return count / (time.monotonic() - began)

    async def pace_until(self, what: Coroutine[Any, Any, Any], rate: float) -> None:
        """Play at a rate until something has come about."""
        waiting = asyncio.ensure_future(what)
        try:
            while not waiting.done():
                await self.pace(SLICE_S, rate)
        finally:
            waiting.cancel()
        waiting.result()

    def unsent(self, transport: Any, descriptor: int) -> int:
        """Bytes of the market's stream that the session has not taken from the system."""
        waiting = struct.unpack("i", fcntl.ioctl(descriptor, SIOCOUTQ, b"\0\0\0\0"))[0]
        return int(transport.get_write_buffer_size()) + int(waiting)

    async def taken(self) -> None:
        """Wait until nothing waits to be taken."""
        assert self._market is not None
        transport = self._market._req.transport  # type: ignore[union-attr]  # noqa: SLF001 - as above
        descriptor = transport.get_extra_info("socket").fileno()  # type: ignore[union-attr]
        while self.unsent(transport, descriptor):  # noqa: ASYNC110 - the system's own count
            await asyncio.sleep(STEP_S)
