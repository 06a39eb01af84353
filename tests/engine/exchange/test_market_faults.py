"""Faults of market data (D1 to D14), each armed over the control page and seen on the socket as a client sees it."""

import json
import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from reference.exchange_client import Client, Clock, happens, play, until

from twinloop.engine.exchange.market_faults import HOUR_MS, HUGE_SIZE, NUMBERS, SHAPES
from twinloop.engine.exchange.model import BUY, SELL
from twinloop.engine.exchange.server import Server

BOTH = pytest.mark.parametrize("market", ["spot", "usdm"])
Scene = Callable[[Server, Client, aiohttp.ClientWebSocketResponse], Awaitable[None]]


def listen(market: str, streams: str, scene: Scene, **more: Any) -> None:
    async def what(server: Server, client: Client) -> None:
        prefix = "/public" if market == "usdm" else ""
        async with client.http.ws_connect(f"{server.stream}{prefix}/ws/{streams}", max_msg_size=8 << 20) as socket:
            await scene(server, client, socket)

    play(what, **more)


async def read(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return await until(socket, lambda _: True)


@BOTH
def test_updates_are_lost_doubled_old_or_swapped(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        async def chain(before: Any) -> list[tuple[int, int]]:
            """(first, final) of the messages from that one on, until the chain has been broken and went on for some more."""
            found = [(before["U"], before["u"])]
            while all(b[0] - a[1] == 1 for a, b in pairwise(found[:-3])):
                each = await read(socket)
                found.append((each["U"], each["u"]))
            return found

        for fault in ("lose_update", "double_update", "old_update", "swap_updates"):
            before = await read(socket)
            await client.arm(fault)
            found = await chain(before)
            steps = [(b[0] - a[1]) for a, b in pairwise(found)]
            if fault == "lose_update":
                assert max(steps) > 1
                assert min(steps) == 1
            elif fault == "double_update":
                assert any(a == b for a, b in pairwise(found))
            else:
                assert min(steps) < 0
                if fault == "swap_updates":
                    assert sorted(found) != found
                    assert len(set(found)) == len(found)

    listen(market, "btcusdt@depth@0ms" if market == "usdm" else "btcusdt@depth@100ms", scene, turns_per_s=200)


def test_the_book_is_told_crossed_until_that_is_disarmed() -> None:
    async def scene(server: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        book = server.exchanges["usdm"].markets["BTCUSDT"].book
        await client.arm("cross_book", -1)
        while True:
            update = await read(socket)
            if any(float(price) * 10 > book.best(SELL) for price, qty in update["b"] if float(qty)):
                break
        assert book.best(BUY) < book.best(SELL)  # It is not so.
        async with client.http.ws_connect(f"{server.stream}/public/ws/btcusdt@bookTicker") as quotes:
            told = await read(quotes)
            assert float(told["b"]) > float(told["a"])
            await client.arm("cross_book", 0)
            await until(quotes, lambda each: float(each["b"]) < float(each["a"]))

    listen("usdm", "btcusdt@depth@0ms", scene)


@BOTH
def test_prices_are_no_numbers(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        await read(socket)
        await client.arm("bad_number", len(NUMBERS))
        seen: list[str] = []
        while len(seen) < len(NUMBERS):
            price = (await read(socket))["p"]
            try:
                good = 0 < float(price) < 1e9 and not math.isnan(float(price))
            except ValueError:
                good = False
            if not good:
                seen.append(price)
        assert seen == list(NUMBERS)

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


@BOTH
def test_messages_are_not_of_the_shape_that_was_agreed(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        await client.arm("bad_json", len(SHAPES))
        seen: set[str] = set()
        for _ in range(2000):
            raw = (await socket.receive()).data
            try:
                pairs = json.loads(raw, object_pairs_hook=list)
            except json.JSONDecodeError:
                seen.add("cut")
                continue
            if isinstance(pairs[0], list):
                seen.add("list")
                continue
            names = [name for name, _ in pairs]
            document = dict(pairs)
            if len(str(document["E"])) > 300:
                seen.add("huge number")
            elif names.count("p") == 2:
                seen.add("double")
            elif "p" not in names:
                seen.add("missing")
            elif document["p"] is None:
                seen.add("null")
            elif not isinstance(document["p"], str):
                seen.add("type")
            elif document["e"] != "trade":
                seen.add("unknown event")
            elif len(seen) == len(SHAPES):
                break
        assert seen == set(SHAPES)

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


def test_a_frame_is_huge() -> None:
    async def scene(server: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        await client.arm("huge_frame")
        while len((await socket.receive()).data) != HUGE_SIZE:
            pass
        assert HUGE_SIZE not in [len((await socket.receive()).data) for _ in range(8)]
        async with client.http.ws_connect(
            f"{server.stream}/public/ws/btcusdt@depth@0ms", max_msg_size=1 << 20
        ) as small:
            await small.receive()
            await client.arm("huge_frame")
            with pytest.raises(ConnectionError):
                await until(small, lambda _: False)
            assert small.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    listen("usdm", "btcusdt@depth@0ms", scene)


@BOTH
def test_times_stand_still_or_are_of_another_hour(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        await client.arm("stuck_time", -1)
        while True:
            first = await read(socket)
            if (await read(socket))["E"] == (await read(socket))["E"] == first["E"]:
                break
        await client.arm("stuck_time", 0)
        now = await until(socket, lambda each: each["E"] > first["E"])
        for fault, sign in (("time_back", -1), ("time_ahead", 1)):
            await client.arm(fault)
            other = await until(socket, lambda each: abs(each["E"] - now["E"]) > HOUR_MS // 2)
            assert abs(other["E"] - now["E"] - sign * HOUR_MS) < 60_000

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


@BOTH
def test_prices_jump_for_one_message_or_are_off_for_good(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        fair = Decimal((await read(socket))["p"])
        await client.arm("fat_tick")
        fat = await until(socket, lambda each: Decimal(each["p"]) > 5 * fair)
        assert abs(Decimal(fat["p"]) / fair - 10) < Decimal("0.01")
        assert abs(Decimal((await read(socket))["p"]) / fair - 1) < Decimal("0.001")
        await client.arm("offset_prices", -1)
        await until(socket, lambda each: Decimal(each["p"]) > fair * Decimal("1.009"))
        for _ in range(5):
            assert abs(Decimal((await read(socket))["p"]) / fair - Decimal("1.01")) < Decimal("0.001")
        snapshot = await client.get("/fapi/v1/depth" if market == "usdm" else "/api/v3/depth", symbol="BTCUSDT")
        assert abs(Decimal(snapshot["bids"][0][0]) / fair - Decimal("1.01")) < Decimal("0.001")
        await client.arm("offset_prices", 0)
        await until(socket, lambda each: Decimal(each["p"]) < fair * Decimal("1.001"))

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


@BOTH
def test_data_falls_silent_while_pings_are_answered_and_breaks_off(market: str) -> None:
    async def scene(server: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        state = server.exchanges[market].markets["BTCUSDT"]  # type: ignore[index]
        await read(socket)
        await client.arm("silence", -1)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 8})
        await until(socket, lambda each: each.get("id") == 8)  # Behind what was sent before.
        trades = state.trade_id
        await happens(lambda: state.trade_id > trades + 10)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})
        assert (await read(socket))["id"] == 9
        await client.arm("silence", 0)
        await until(socket, lambda each: "e" in each)
        await client.arm("drop_market")
        with pytest.raises(ConnectionError):
            await until(socket, lambda _: False)

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


def test_a_burst_is_twenty_times_the_work_of_a_turn() -> None:
    clock = Clock()

    async def scene(server: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        state = server.exchanges["usdm"].markets["BTCUSDT"]

        async def pace(number: int) -> int:
            """Update ids in thirty turns of 20 ms."""
            for _ in range(30):
                clock.now_ms += 20
                server.turn()
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            told = []
            while (each := await read(socket)).get("id") != number:
                told.append(each["u"])
            return int(told[-1] - told[0])

        calm = await pace(1)
        await client.arm("burst", -1)
        assert await pace(2) > 5 * calm
        assert state.book.best(BUY) < state.book.best(SELL)

    listen("usdm", "btcusdt@depth@0ms", scene, clock=clock)


@BOTH
def test_a_message_comes_for_a_symbol_nobody_asked_for(market: str) -> None:
    async def scene(__: Server, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        await client.arm("unknown_symbol")
        assert (await until(socket, lambda each: each["s"] != "BTCUSDT"))["s"] == "NOSUCHUSDT"

    listen(market, "btcusdt@trade", scene, turns_per_s=200)


def test_each_path_of_usdm_sends_its_own_streams_only() -> None:
    async def what(server: Server, client: Client) -> None:
        names = "btcusdt@trade/btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@depth@0ms/btcusdt@markPrice@1s"
        for path, wanted in (
            ("/public", {"trade", "bookTicker", "depthUpdate"}), ("/market", {"aggTrade", "markPriceUpdate"}),
            ("", {"trade", "bookTicker", "depthUpdate", "aggTrade", "markPriceUpdate"}),
        ):  # fmt: skip
            market = "&market=usdm" if not path else ""
            seen: set[str] = set()
            async with client.http.ws_connect(f"{server.stream}{path}/stream?streams={names}{market}") as socket:
                while not wanted <= seen:
                    seen.add((await read(socket))["data"]["e"])
                for _ in range(30):
                    seen.add((await read(socket))["data"]["e"])
            assert seen == wanted

    play(what)
