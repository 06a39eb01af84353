"""Sessions as a client meets them: listen keys and their hour, log-on with Ed25519, pings, the day after which a connection is cut."""

import asyncio
import base64
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from reference.exchange_client import Client, Clock, happens, order_of, play, until, user_stream

from twinloop.engine.exchange.connection import PING_MS, PONG_MS, Connection
from twinloop.engine.exchange.server import PRACTICE_KEY, Server
from twinloop.engine.exchange.sessions import DAY_MS, VALID_MS

KEY = {"X-MBX-APIKEY": PRACTICE_KEY}


async def answered(connection: Connection, clock: Clock) -> None:
    """Until a client has answered the ping of the present time."""
    await happens(lambda: connection._pinged_ms == clock.now_ms and connection._waiting_ms is None)


async def listen_key(client: Client, method: str) -> tuple[int, Any]:
    async with client.http.request(method, client.server.rest + "/fapi/v1/listenKey", headers=KEY) as answer:
        return answer.status, await answer.json()


def test_a_listen_key_lives_an_hour_from_when_it_was_last_kept_alive() -> None:
    clock = Clock()

    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, "usdm")
        _, first = await listen_key(client, "POST")
        (connection,) = server.hubs["usdm"].connections
        # Reading all the while, so that pings are answered.
        expired = asyncio.create_task(until(user, lambda each: each.get("e") == "listenKeyExpired"))
        clock.now_ms += VALID_MS - 1
        assert (await listen_key(client, "PUT"))[1] == first
        await answered(connection, clock)
        clock.now_ms += VALID_MS - 1
        assert (await listen_key(client, "POST"))[1] == first
        await answered(connection, clock)
        assert not expired.done()
        clock.now_ms += VALID_MS
        told = await expired
        assert told["listenKey"] == first["listenKey"]
        status, body = await listen_key(client, "PUT")
        assert (status, body["code"]) == (400, -1125)
        _, second = await listen_key(client, "POST")
        assert second != first
        assert await listen_key(client, "DELETE") == (200, {})
        assert (await listen_key(client, "DELETE"))[1]["code"] == -1125

    play(what, clock=clock)


def test_expired_keys_can_be_had_at_once_and_the_old_connection_falls_silent() -> None:
    async def what(server: Server, client: Client) -> None:
        old = await user_stream(server, client, "usdm")
        await client.arm("expire_listen_key")
        await until(old, lambda each: each.get("e") == "listenKeyExpired")
        new = await user_stream(server, client, "usdm")
        await client.order("usdm", quantity="0.010", price=await client.away("usdm"), newClientOrderId="x")
        await until(new, lambda each: order_of(each).get("c") == "x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(old.receive(), 0.1)

    play(what)


def test_a_session_that_logged_on_signs_no_more() -> None:
    async def what(server: Server, client: Client) -> None:
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        server.add_account("ed", "ed-key", public.decode())
        async with client.http.ws_connect(f"{server.stream}/ws-api/v3") as socket:

            async def call(method: str, **parameters: Any) -> Any:
                await socket.send_json({"id": method, "method": method, "params": parameters})
                return await until(socket, lambda each: each.get("id") == method)

            assert (await call("userDataStream.subscribe"))["status"] == 401
            parameters: dict[str, Any] = {"apiKey": "ed-key", "timestamp": client.clock()}
            payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
            parameters["signature"] = base64.b64encode(private.sign(payload.encode())).decode()
            assert (await call("session.logon", **parameters))["result"]["apiKey"] == "ed-key"
            assert (await call("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
            order = {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "MARKET",
                "quantity": "0.01",
                "timestamp": client.clock(),
            }
            await socket.send_json({"id": "o", "method": "order.place", "params": order})
            await until(socket, lambda each: order_of(each).get("x") == "TRADE")
            assert (await until(socket, lambda each: each.get("id") == "o"))["status"] == 200
            assert (await call("account.status", timestamp=client.clock() - 6000))["error"]["code"] == -1021
            assert (await call("session.logout"))["result"]["apiKey"] is None
            assert (await call("account.status", timestamp=client.clock()))["error"]["code"] == -2014

    play(what)


def test_only_ed25519_keys_log_on() -> None:
    async def what(server: Server, client: Client) -> None:
        socket = await user_stream(server, client, "spot")
        await socket.send_json({"id": 2, "method": "session.status"})
        told = await until(socket, lambda each: each.get("id") == 2)
        assert told["result"]["userDataStream"] is True
        await socket.send_json({"id": 3, "method": "session.logon", "params": {"apiKey": PRACTICE_KEY}})
        assert (await until(socket, lambda each: each.get("id") == 3))["status"] == 400

    play(what)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_connection_is_pinged_and_cut_when_it_does_not_answer_or_after_a_day(market: str) -> None:
    clock = Clock()
    path = "/ws/btcusdt@trade" if market == "spot" else "/public/ws/btcusdt@trade"

    async def what(server: Server, client: Client) -> None:
        well = await client.http.ws_connect(server.stream + path)
        (connection,) = server.hubs[market].connections  # type: ignore[index]
        mute = await client.http.ws_connect(server.stream + path, autoping=False)

        async def reads() -> None:
            """Reading is what answers a ping."""
            async for _ in well:
                pass

        reading = asyncio.create_task(reads())
        for _ in range(1 + PONG_MS[market] // PING_MS[market]):
            clock.now_ms += PING_MS[market]
            while (await mute.receive()).type != aiohttp.WSMsgType.PING:
                pass
            await answered(connection, clock)
        clock.now_ms += PING_MS[market]
        with pytest.raises(ConnectionError):
            await until(mute, lambda _: False)
        await answered(connection, clock)
        assert server.hubs[market].connections == {connection}  # type: ignore[index]
        clock.now_ms += DAY_MS
        await reading
        assert connection.ended

    play(what, clock=clock, turns_per_s=20)


def test_a_client_that_sends_too_much_is_disconnected() -> None:
    async def what(server: Server, client: Client) -> None:
        async with client.http.ws_connect(f"{server.stream}/ws") as socket:
            for number in range(6):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            answers = 0
            while (told := await socket.receive()).type == aiohttp.WSMsgType.TEXT:
                answers += 1
            assert answers <= 5
            assert (told.type, told.data) == (aiohttp.WSMsgType.CLOSE, 1008)

    play(what, clock=Clock())


def test_more_streams_than_the_venue_allows_are_refused() -> None:
    async def what(server: Server, client: Client) -> None:
        async with client.http.ws_connect(f"{server.stream}/ws") as socket:
            names = [f"btcusdt@x{number}" for number in range(1025)]
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            assert (await socket.receive_json())["error"]["code"] == 2
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert await socket.receive_json() == {"result": [], "id": 2}

    play(what)
