"""Limits as a client meets them: weights and orders in headers, 429, bans that grow, each address and account by itself."""

from typing import Any

import aiohttp
import pytest
from reference.exchange_client import Client, Clock, play

from twinloop.engine.exchange.limits import BAN_MS, BAN_MS_MAX, CONNECTIONS, ORDER_LIMITS, PATIENCE, Limits
from twinloop.engine.exchange.server import Server


async def ask(
    client: Client, path: str = "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1"
) -> tuple[int, dict[str, str], Any]:
    async with client.http.get(client.server.rest + path) as answer:
        return answer.status, dict(answer.headers), await answer.json()


def test_weight_is_told_and_ends_in_429_and_then_in_a_ban() -> None:
    clock = Clock()

    async def what(__: Server, client: Client) -> None:
        clock.now_ms += 60_000 - clock.now_ms % 60_000 + 10_000
        for number in range(2400 // 20):
            status, headers, _body = await ask(client)
            assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(20 * (number + 1)))
        for _ in range(PATIENCE):
            status, headers, body = await ask(client)
            assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "50")
        status, headers, body = await ask(client)
        assert (status, body["code"], headers["Retry-After"]) == (418, -1003, str(BAN_MS // 1000))
        clock.now_ms += BAN_MS - 1
        status, headers, _body = await ask(client)
        assert (status, headers["Retry-After"]) == (418, "1")
        clock.now_ms += 1
        assert (await ask(client))[0] == 200

    play(what, clock=clock)


def test_each_further_ban_is_twice_as_long_up_to_three_days() -> None:
    limits, now_ms, found = Limits("usdm"), 60_000 * 1000, []
    for _ in range(14):
        while True:
            _, refusal = limits.weigh("here", now_ms, 2400)
            if refusal is not None and refusal.status == 418:
                break
        found.append(refusal.retry_after_s * 1000)
        now_ms += refusal.retry_after_s * 1000
    assert found == [min(BAN_MS * 2**number, BAN_MS_MAX) for number in range(14)]
    assert found[-1] == BAN_MS_MAX


def test_one_address_pays_for_itself_alone() -> None:
    async def what(__: Server, client: Client) -> None:
        for _ in range(121):
            status, _, _ = await ask(client)
        assert status == 429
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            status, headers, _ = await ask(Client(client.server, http))
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "20")
        # The other market counts by itself too.
        assert (await ask(client, "/api/v3/ping"))[0] == 200

    play(what, clock=Clock())


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_orders_are_counted_by_account_and_not_by_address(market: str) -> None:
    clock = Clock()
    name, length_ms, most = ORDER_LIMITS[market][0]

    async def what(server: Server, client: Client) -> None:
        server.add_account("other", "other-key", "other-secret")
        path = "/api/v3/order" if market == "spot" else "/fapi/v1/order"
        order: dict[str, Any] = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "MARKET",
            "quantity": "0",
        }  # Refused, and counted all the same.
        for number in range(most):
            status, body = await client.signed("POST", path, **order)
            assert (status, client.headers[f"X-MBX-ORDER-COUNT-{name}"]) == (400, str(number + 1))
        status, body = await client.signed("POST", path, **order)
        assert (status, body["code"]) == (429, -1015)
        assert 0 < int(client.headers["Retry-After"]) <= length_ms // 1000
        status, body = await client.signed("DELETE", path, symbol="BTCUSDT", orderId=5)
        assert (status, body["code"]) == (400, -2011)  # Cancels are never held back.
        status, body = await client.signed("POST", path, key="other-key", secret="other-secret", **order)
        assert (status, client.headers[f"X-MBX-ORDER-COUNT-{name}"]) == (400, "1")
        clock.now_ms += length_ms
        status, _ = await client.signed("POST", path, **order)
        assert (status, client.headers[f"X-MBX-ORDER-COUNT-{name}"]) == (400, "1")

    play(what, clock=clock)


def test_the_websocket_api_shares_the_addresss_weight() -> None:
    async def what(__: Server, client: Client) -> None:
        async with client.http.ws_connect(f"{client.server.stream}/ws-api/v3") as socket:
            for number in (1, 2):
                await socket.send_json({"id": number, "method": "ping"})
                told = await socket.receive_json()
                assert told["rateLimits"][0]["count"] == 2 * number - 1
                assert (await ask(client, "/api/v3/ping"))[1]["X-MBX-USED-WEIGHT-1M"] == str(2 * number)

    play(what, clock=Clock())


def test_an_address_may_open_only_so_many_connections() -> None:
    limits, (length_ms, most) = Limits("spot"), CONNECTIONS
    assert all(limits.connect("a", 1000) for _ in range(most))
    assert not limits.connect("a", 1000)
    assert limits.connect("b", 1000)
    assert limits.connect("a", 1000 + length_ms)


def test_the_receive_window_is_the_venues() -> None:
    clock = Clock()

    async def what(__: Server, client: Client) -> None:
        async def code(**more: Any) -> int:
            _, body = await client.signed("GET", "/fapi/v1/openOrders", symbol="BTCUSDT", **more)
            return int(body["code"]) if isinstance(body, dict) else 0

        assert await code(shift_ms=-5000) == 0
        assert await code(shift_ms=-5001) == -1021
        assert await code(shift_ms=999) == 0
        assert await code(shift_ms=1000) == -1021
        assert await code(shift_ms=-60_000, recvWindow=60_000) == 0
        assert await code(recvWindow=60_001) == -1131
        assert await code(shift_ms=-101, recvWindow="100.5") == -1021
        assert await code(shift_ms=-100, recvWindow="100.5") == 0
        assert await code(recvWindow="1e3") == -1100

    play(what, clock=clock)


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("/fapi/v1/exchangeInfo", 1), ("/api/v3/exchangeInfo", 20), ("/fapi/v1/trades?symbol=BTCUSDT", 5),
        ("/fapi/v1/depth?symbol=BTCUSDT", 10), ("/fapi/v1/depth?symbol=BTCUSDT&limit=50", 2), ("/fapi/v1/depth?symbol=BTCUSDT&limit=1000", 20),
        ("/api/v3/depth?symbol=BTCUSDT", 5), ("/api/v3/depth?symbol=BTCUSDT&limit=500", 25), ("/api/v3/depth?symbol=BTCUSDT&limit=5000", 250),
        ("/fapi/v1/ticker/24hr", 40), ("/fapi/v1/ticker/24hr?symbol=BTCUSDT", 1), ("/fapi/v1/premiumIndex", 10),
    ],
)  # fmt: skip
def test_a_call_weighs_what_it_asks_for(path: str, weight: int) -> None:
    async def what(__: Server, client: Client) -> None:
        assert (await ask(client, path))[1]["X-MBX-USED-WEIGHT-1M"] == str(weight)

    play(what)
