"""Faults of the venue (V1 to V27), each armed over the control page and seen on the socket as a client sees it."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from reference.exchange_client import PATHS, Client, Clock, order_of, play, unanswered, until, user_stream

from twinloop.engine.exchange.faults import ALWAYS, KNOWN, NOT_HERE
from twinloop.engine.exchange.model import OPEN, Account
from twinloop.engine.exchange.server import PRACTICE_KEY, Server

BOTH = pytest.mark.parametrize("market", ["spot", "usdm"])
TRADES = {"spot": "/api/v3/myTrades", "usdm": "/fapi/v1/userTrades"}
DOCS = Path(__file__).parents[3] / "docs" / "exchange.md"


def account(server: Server, market: str) -> Account:
    return server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]


async def ask(client: Client, market: str, name: str) -> tuple[int, Any]:
    """A query of an order by the client's id."""
    return await client.signed("GET", f"{PATHS[market]}/order", symbol="BTCUSDT", origClientOrderId=name)


async def status_of(client: Client, market: str, name: str) -> str:
    status, found = await ask(client, market, name)
    return str(found["status"]) if status == 200 else str(found["code"])


async def rest(client: Client, market: str, name: str, qty: str = "0.010") -> tuple[int, Any]:
    """Place an order that comes to rest, or meets what is armed."""
    return await client.order(market, quantity=qty, price=await client.away(market), newClientOrderId=name)


async def cancel(client: Client, market: str, name: str) -> tuple[int, Any]:
    return await client.signed("DELETE", f"{PATHS[market]}/order", symbol="BTCUSDT", origClientOrderId=name)


async def filled(client: Client, market: str) -> float:
    _, trades = await client.signed("GET", TRADES[market], symbol="BTCUSDT")
    return sum(float(each["qty"]) for each in trades)


# ---- The catalogue.


def test_every_number_of_the_catalogue_is_on_a_switch_always_so_or_named_as_not_of_this_venue() -> None:
    covered = {number for fault in KNOWN.values() for number in fault.numbers.split()} | set(ALWAYS) | set(NOT_HERE)
    assert covered == {f"V{number}" for number in range(1, 28)} | {f"D{number}" for number in range(1, 15)}


def test_every_switch_is_in_the_guide_and_met_in_a_test() -> None:
    guide = DOCS.read_text()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name in KNOWN:
        assert f"`{name}`" in guide, name
        assert re.search(rf'"{name}"', tests), name


def test_the_control_page_tells_what_there_is_and_refuses_the_rest() -> None:
    async def what(server: Server, client: Client) -> None:
        told = await client.get("/control")
        assert set(told["known"]) == set(KNOWN)
        await client.arm("reject", 3)
        assert (await client.get("/control"))["armed"] == {"reject": 3}
        for bad in ({"fault": "rain"}, {"fault": "reject", "count": "x"}, {"count": 1}, [1]):
            async with client.http.post(server.rest + "/control", json=bad) as answer:
                assert answer.status == 400
                assert set((await answer.json())["known"]) == set(KNOWN)

    play(what)


# ---- Answers to orders: V1 to V6.


@BOTH
@pytest.mark.parametrize(
    ("fault", "status", "code", "there"),
    [
        ("unknown_503", 503, None, True),
        ("failed_503", 503, -1008, False),
        ("timeout_408", 408, -1007, True),
        ("reject", 400, None, False),
        ("wrong_time", 400, -1021, False),
        ("too_many", 429, -1003, False),
        ("banned", 418, -1003, False),
        ("html_403", 403, None, True),
        ("html_200", 200, None, True),
        ("empty_200", 200, None, True),
    ],
)
def test_an_answer_says_nothing_or_the_wrong_thing(
    market: str, fault: str, status: int, code: int | None, there: bool
) -> None:
    async def what(__: Server, client: Client) -> None:
        price = await client.away(market)
        await client.arm(fault)
        found, body = await client.order(market, quantity="0.010", price=price, newClientOrderId="one")
        assert found == status
        if status in {418, 429}:
            assert int(client.headers["Retry-After"]) > 0
        if code is not None:
            assert body["code"] == code
        if fault in {"html_403", "html_200", "empty_200"}:
            assert isinstance(body, str)
            assert bool(body) == (fault != "empty_200")
        assert await status_of(client, market, "one") == ("NEW" if there else "-2013")
        assert (await client.get("/control"))["met"] == {fault: 1}

    play(what)


@BOTH
def test_no_answer_comes_whether_it_took_effect_or_not_or_takes_effect_later(market: str) -> None:
    clock = Clock()

    async def what(server: Server, client: Client) -> None:
        for fault, there in (("drop_response", True), ("lose_request", False), ("delay_request", False)):
            await client.arm(fault)
            await unanswered(server, fault, rest(client, market, fault))
            assert await status_of(client, market, fault) == ("NEW" if there else "-2013")
        clock.now_ms += 1999
        server.turn()
        assert await status_of(client, market, "delay_request") == "-2013"
        clock.now_ms += 1
        server.turn()
        assert await status_of(client, market, "delay_request") == "NEW"
        await client.arm("drop_response")
        await unanswered(server, "drop_response", cancel(client, market, "delay_request"))
        assert await status_of(client, market, "delay_request") == "CANCELED"

    play(what, clock=clock)


def test_over_the_websocket_api_a_page_and_silence_are_seen_too() -> None:
    async def what(server: Server, client: Client) -> None:
        price = await client.away("usdm")
        async with client.http.ws_connect(f"{server.stream}/ws-fapi/v1") as socket:

            async def place(name: str) -> None:
                parameters: dict[str, Any] = {
                    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": price,
                    "newClientOrderId": name,
                }  # fmt: skip
                await socket.send_json({"id": name, "method": "order.place", "params": client.sign(parameters)})

            await client.arm("html_200")
            await place("a")
            assert (await socket.receive_json())["id"] is None
            await client.arm("banned")
            await place("b")
            told = await socket.receive_json()
            assert (told["status"], told["error"]["code"]) == (418, -1003)
            assert told["error"]["data"]["retryAfter"] > told["error"]["data"]["serverTime"]
            await client.arm("lose_request")
            await place("c")
            await place("d")
            assert (await socket.receive_json())["id"] == "d"
        assert await status_of(client, "usdm", "a") == "NEW"
        assert await status_of(client, "usdm", "c") == "-2013"

    play(what)


# ---- The user stream: V7, V8, V9, V12, V13.


@BOTH
def test_user_events_can_be_late_doubled_or_lost(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        await client.arm("late_ack")
        await client.order(market, type="MARKET", quantity="0.010")
        kinds: list[str] = []
        while "NEW" not in kinds:
            kinds.append(order_of(await until(user, lambda each: bool(order_of(each))))["x"])
        assert kinds[0] == "TRADE"
        await client.arm("double_user_event")
        await rest(client, market, "two")
        first = await until(user, lambda each: order_of(each).get("c") == "two")
        assert await until(user, lambda each: order_of(each).get("c") == "two") == first
        await client.arm("lose_user_event")
        await rest(client, market, "lost")
        await rest(client, market, "next")
        told = await until(user, lambda each: order_of(each).get("c") in {"lost", "next"})
        assert order_of(told)["c"] == "next"
        await client.arm("lose_fill")
        await client.order(market, type="MARKET", quantity="0.001", newClientOrderId="taken")
        await rest(client, market, "after")
        seen = []
        while "after" not in seen:
            event = order_of(await until(user, lambda each: bool(order_of(each))))
            seen.append(event["c"])
            assert event["x"] == "NEW"  # Of "taken" too: only its fill is lost.
        assert "taken" in seen
        await client.arm("user_silence", -1)
        await rest(client, market, "silent")
        await client.arm("user_silence", 0)
        await rest(client, market, "loud")
        assert order_of(await until(user, lambda each: bool(order_of(each))))["c"] == "loud"
        await client.arm("drop_user")
        with pytest.raises(ConnectionError):
            await until(user, lambda _: False)

    play(what)


@BOTH
def test_old_fills_are_told_again_on_a_new_connection(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        first = await user_stream(server, client, market)
        await client.order(market, type="MARKET", quantity="0.010")
        told = order_of(await until(first, lambda each: order_of(each).get("x") == "TRADE"))
        await client.arm("replay_fills")
        again = await user_stream(server, client, market)
        assert order_of(await until(again, lambda each: order_of(each).get("t") == told["t"])) == told

    play(what)


@BOTH
def test_a_list_of_trades_can_be_rounded_otherwise(market: str) -> None:
    async def what(__: Server, client: Client) -> None:
        await client.order(market, type="MARKET", quantity="0.010")
        _, exact = await client.signed("GET", TRADES[market], symbol="BTCUSDT")
        await client.arm("round_fills")
        _, other = await client.signed("GET", TRADES[market], symbol="BTCUSDT")
        for a, b in zip(exact, other, strict=True):
            assert (float(a["price"]), float(a["qty"]), a["id"]) == (float(b["price"]), float(b["qty"]), b["id"])
            assert a["price"] != b["price"]
            assert abs(Decimal(a["commission"]) - Decimal(b["commission"])) <= Decimal("5e-7")
            assert len(b["commission"].partition(".")[2]) == 6

    play(what)


@BOTH
def test_an_order_is_partly_filled_while_the_user_stream_breaks_off(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        await client.arm("partial_then_drop")
        await rest(client, market, "half", "0.010")
        with pytest.raises(ConnectionError):
            await until(user, lambda each: order_of(each).get("x") == "TRADE")
        _, found = await ask(client, market, "half")
        assert (found["status"], float(found["executedQty"])) == ("PARTIALLY_FILLED", 0.005)
        assert await filled(client, market) == 0.005

    play(what)


# ---- What orders meet: V10, V11, V14, V15, V16, V24, V25, V26.


@BOTH
def test_an_order_is_filled_after_its_cancel_was_acknowledged(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        await rest(client, market, "late")
        await client.arm("fill_after_cancel")
        status, answer = await cancel(client, market, "late")
        assert (status, answer["status"]) == (200, "CANCELED")
        kinds = [order_of(await until(user, lambda each: bool(order_of(each))))["x"] for _ in range(3)]
        assert kinds == ["NEW", "CANCELED", "TRADE"]
        assert await status_of(client, market, "late") == "FILLED"
        assert await filled(client, market) == 0.01

    play(what)


@BOTH
def test_a_cancel_comes_too_late_or_is_refused_although_the_order_works(market: str) -> None:
    async def what(__: Server, client: Client) -> None:
        await rest(client, market, "gone")
        await client.arm("cancel_too_late")
        assert (await cancel(client, market, "gone"))[1]["code"] == -2011
        assert await status_of(client, market, "gone") == "FILLED"
        await rest(client, market, "works")
        await client.arm("cancel_unknown")
        assert (await cancel(client, market, "works"))[1]["code"] == -2011
        assert await status_of(client, market, "works") == "NEW"

    play(what)


@BOTH
def test_the_venue_ends_an_order_by_itself_or_fills_too_much_of_it(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        await client.arm("unsolicited_cancel")
        await rest(client, market, "ended")
        await until(user, lambda each: order_of(each).get("x") == "EXPIRED")
        assert await status_of(client, market, "ended") == "EXPIRED"
        await client.arm("overfill")
        await rest(client, market, "more", "0.010")
        told = order_of(await until(user, lambda each: order_of(each).get("x") == "TRADE"))
        assert (float(told["l"]), float(told["z"]), told["X"]) == (0.02, 0.02, "FILLED")
        assert await filled(client, market) == 0.02

    play(what)


def test_of_a_cancel_replace_only_the_first_half_is_done() -> None:
    async def what(__: Server, client: Client) -> None:
        await rest(client, "spot", "old")
        await client.arm("half_replace")
        status, body = await client.signed(
            "POST", "/api/v3/order/cancelReplace", symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01",
            price=await client.away("spot"), cancelReplaceMode="STOP_ON_FAILURE", cancelOrigClientOrderId="old", newClientOrderId="new",
        )  # fmt: skip
        assert (status, body["code"], body["data"]["cancelResult"], body["data"]["newOrderResult"]) == (
            409, -2021, "SUCCESS", "FAILURE",
        )  # fmt: skip
        assert await status_of(client, "spot", "old") == "CANCELED"
        assert await status_of(client, "spot", "new") == "-2013"

    play(what)


@BOTH
def test_a_trade_is_reversed_with_its_money(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        balances = {asset: list(held) for asset, held in account(server, market).balances.items()}
        user = await user_stream(server, client, market)
        await client.order(market, type="MARKET", quantity="0.001", newClientOrderId="bust")
        assert await filled(client, market) == 0.001
        await client.arm("bust_trade")

        def reversed_(event: Any) -> bool:
            inner = event.get("event", event)
            if market == "spot":
                return bool(inner["e"] == "balanceUpdate")
            return bool(inner["e"] == "ACCOUNT_UPDATE" and inner["a"]["m"] == "ADJUSTMENT")

        await until(user, reversed_)
        assert await filled(client, market) == 0
        assert account(server, market).balances == balances
        assert account(server, market).held("BTCUSDT") == 0
        _, found = await ask(client, market, "bust")
        assert float(found["executedQty"]) == 0

    play(what)


@BOTH
def test_somebody_else_trades_and_moves_money_on_the_account(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        await client.arm("foreign_order")
        told = order_of(await until(user, lambda each: order_of(each).get("x") == "TRADE"))
        assert told["c"].startswith("web_")
        before = account(server, market).free("USDT")
        await client.arm("transfer")

        def moved(event: Any) -> bool:
            inner = event.get("event", event)
            if market == "spot":
                return bool(inner["e"] == "balanceUpdate" and inner["a"] == "USDT" and float(inner["d"]) < 0)
            return bool(inner["e"] == "ACCOUNT_UPDATE" and inner["a"]["m"] == "WITHDRAW")

        await until(user, moved)
        assert account(server, market).free("USDT") == before - before // 100

    play(what)


def test_funding_is_told_as_an_asset_without_a_position_and_listed_by_symbol() -> None:
    """Of cross positions the stream names none: what was paid for which symbol is in the list of income, with a number of its own."""

    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, "usdm")
        for name in ("BTCUSDT", "ETHUSDT"):
            status, answer = await client.order("usdm", symbol=name, type="MARKET", quantity="0.100")
            assert status == 200, answer
        wallet = account(server, "usdm").free("USDT")
        await client.arm("pay_funding")
        told = [await until(user, lambda each: each["e"] == "ACCOUNT_UPDATE" and each["a"]["m"] == "FUNDING_FEE")]
        told.append(await until(user, lambda each: each["e"] == "ACCOUNT_UPDATE" and each["a"]["m"] == "FUNDING_FEE"))
        for each in told:
            assert each["a"]["P"] == []
            assert [part["a"] for part in each["a"]["B"]] == ["USDT"]
        changes = [Decimal(each["a"]["B"][0]["bc"]) for each in told]
        now_wallet = account(server, "usdm").free("USDT")
        assert sum(changes) * 10**8 == now_wallet - wallet
        path = "/fapi/v1/income"
        _, listed = await client.signed("GET", path, incomeType="FUNDING_FEE", startTime=1, limit=1000)
        assert [Decimal(each["income"]) for each in listed] == changes
        assert [each["symbol"] for each in listed] == ["BTCUSDT", "ETHUSDT"]
        assert len({each["tranId"] for each in listed}) == 2
        assert {each["asset"] for each in listed} == {"USDT"}
        _, one = await client.signed("GET", path, symbol="ETHUSDT")
        assert one == [listed[1]]
        _, second = await client.signed("GET", path, startTime=1, page=2, limit=1)
        assert second == [listed[1]]
        _, later = await client.signed("GET", path, startTime=listed[0]["time"] + 1)
        assert later == []
        await client.arm("transfer")
        await until(user, lambda each: each["e"] == "ACCOUNT_UPDATE" and each["a"]["m"] == "WITHDRAW")
        _, moved = await client.signed("GET", path, incomeType="TRANSFER")
        assert {(each["symbol"], each["asset"]) for each in moved} >= {("", "USDT")}
        assert {Decimal(each["income"]) for each in moved if each["asset"] == "USDT"} == {
            -Decimal(now_wallet // 100) / 10**8
        }

    play(what, symbols=("BTCUSDT", "ETHUSDT"))


def test_the_dead_man_timer_fires_when_nobody_renews_it_and_at_once_when_made_to() -> None:
    clock = Clock()

    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, "usdm")
        for name, made_to in (("waited", False), ("made", True)):
            await rest(client, "usdm", name)
            await client.signed("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=5000)
            await client.arm("fire_dead_man", int(made_to))
            clock.now_ms += 0 if made_to else 5000
            told = order_of(await until(user, lambda each: order_of(each).get("x") == "CANCELED"))
            assert told["c"] == name
            assert await status_of(client, "usdm", name) == "CANCELED"

    play(what, clock=clock)


# ---- Sessions, clock, rules, queries: V17, V19, V20, V21, V22, V23, V27.


def test_the_venues_clock_runs_ahead() -> None:
    clock = Clock()

    async def what(__: Server, client: Client) -> None:
        await client.arm("skew_clock", -1)
        assert (await client.get("/fapi/v1/time"))["serverTime"] == clock.now_ms + 3000
        _, body = await client.signed("GET", "/fapi/v1/openOrders", symbol="BTCUSDT", recvWindow=2000)
        assert body["code"] == -1021
        status, _ = await client.signed("GET", "/fapi/v1/openOrders", symbol="BTCUSDT", recvWindow=2000, shift_ms=3000)
        assert status == 200

    play(what, clock=clock)


@BOTH
def test_a_shutdown_is_told_a_second_before_the_cut(market: str) -> None:
    clock = Clock()

    async def what(server: Server, client: Client) -> None:
        user = await user_stream(server, client, market)
        prefix = "/public" if market == "usdm" else ""
        async with client.http.ws_connect(f"{server.stream}{prefix}/ws/btcusdt@trade") as trades:
            await client.arm("server_shutdown")
            for socket in (user, trades):
                await until(socket, lambda each: each.get("event", each).get("e") == "serverShutdown")
            clock.now_ms += 1000
            for socket in (user, trades):
                with pytest.raises(ConnectionError):
                    await until(socket, lambda _: False)
        async with client.http.ws_connect(f"{server.stream}{prefix}/ws/btcusdt@trade") as trades:
            clock.now_ms += 500
            await until(trades, lambda _: True)
            await client.arm("cut_old")
            with pytest.raises(ConnectionError):
                await until(trades, lambda _: False)

    play(what, clock=clock)


@BOTH
def test_a_client_id_is_free_again_once_its_order_has_ended(market: str) -> None:
    async def what(__: Server, client: Client) -> None:
        await rest(client, market, "same")
        _, body = await rest(client, market, "same")
        assert body["code"] == (-2010 if market == "spot" else -4116)
        await cancel(client, market, "same")
        status, _ = await rest(client, market, "same")
        assert status == 200

    play(what)


@BOTH
def test_a_halted_market_takes_cancels_only_and_says_so(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        await rest(client, market, "before")
        await client.arm("halt", -1)
        info = await client.get(f"{PATHS[market]}/exchangeInfo")
        assert info["symbols"][0]["status"] != "TRADING"
        _, body = await rest(client, market, "during")
        assert body["code"] == (-1013 if market == "spot" else -4140)
        trades = server.exchanges[market].markets["BTCUSDT"].trade_id  # type: ignore[index]
        assert (await cancel(client, market, "before"))[0] == 200
        for _ in range(10):
            server.turn()
        assert server.exchanges[market].markets["BTCUSDT"].trade_id == trades  # type: ignore[index]
        await client.arm("halt", 0)
        assert (await rest(client, market, "after"))[0] == 200
        await client.arm("maintenance", -1)
        status, body = await rest(client, market, "never")
        assert (status, body["code"]) == (503, -1016)
        assert (await client.get(f"{PATHS[market]}/ping")) == {}

    play(what)


@BOTH
def test_rules_change_while_the_market_is_open(market: str) -> None:
    async def what(server: Server, client: Client) -> None:
        def rules(info: Any) -> dict[str, Any]:
            return {each["filterType"]: each for each in info["symbols"][0]["filters"]}

        path = f"{PATHS[market]}/exchangeInfo"
        old = rules(await client.get(path))
        price = await client.away(market)
        off_grid = price[:-1] + "3"
        assert (await client.order(market, quantity="0.010", price=off_grid))[0] == 200
        await client.arm("change_rules")
        server.turn()
        new = rules(await client.get(path))
        for name, value in (("PRICE_FILTER", "tickSize"), ("LOT_SIZE", "stepSize")):
            assert float(new[name][value]) == pytest.approx(10 * float(old[name][value]))
        status, body = await client.order(market, quantity="0.010", price=off_grid)
        assert (status, body["code"]) == (400, -1013 if market == "spot" else -4014)

    play(what)


@BOTH
def test_queries_fail_lag_or_deny_what_is_there(market: str) -> None:
    async def what(__: Server, client: Client) -> None:
        path = f"{PATHS[market]}/openOrders"
        await rest(client, market, "one")
        _, before = await client.signed("GET", path, symbol="BTCUSDT")
        await rest(client, market, "two")
        await client.arm("lag_query")
        assert (await client.signed("GET", path, symbol="BTCUSDT"))[1] == before
        assert len((await client.signed("GET", path, symbol="BTCUSDT"))[1]) == 2
        await client.arm("query_unknown")
        assert await status_of(client, market, "one") == "-2013"
        assert await status_of(client, market, "one") == "NEW"
        for asked in (path, TRADES[market], "/api/v3/account" if market == "spot" else "/fapi/v3/account"):
            await client.arm("fail_query")
            status, body = await client.signed("GET", asked, symbol="BTCUSDT")
            assert (status, body["code"]) == (500, -1000)

    play(what)


def test_the_ledger_holds_through_every_incident() -> None:
    """Money is conserved whatever is made to happen to orders and accounts."""

    async def what(server: Server, client: Client) -> None:
        for market in ("spot", "usdm"):
            for number, fault in enumerate(
                (
                    "overfill",
                    "partial_then_drop",
                    "unsolicited_cancel",
                    "bust_trade",
                    "transfer",
                    "foreign_order",
                    "bust_trade",
                )
                * 2
            ):
                await client.arm(fault)
                await rest(client, market, f"{market}{number}")
                server.turn()
                await client.arm("fill_after_cancel")
                await cancel(client, market, f"{market}{number}")
            exchange = server.exchanges[market]
            everyone = [*exchange.accounts.values(), exchange.house]
            for asset, deposited in exchange.ledger.deposits.items():
                held = sum(sum(each.balances.get(asset, [0])) for each in everyone)
                cost = sum(its.cost for each in everyone for its in each.positions.values())
                assert held + exchange.ledger.fees.get(asset, 0) - cost == deposited
            its = account(server, market)
            if market == "spot":
                assert min(min(held) for held in its.balances.values()) >= 0
            assert all(order.status in OPEN for order in its.working["BTCUSDT"].values())
            assert all(order.locked == 0 for order in its.orders.values() if order.status not in OPEN)

    play(what)


def test_new_market_connections_can_be_refused() -> None:
    async def what(server: Server, client: Client) -> None:
        await client.arm("refuse_market", -1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect(f"{server.stream}/ws/btcusdt@trade")
        assert caught.value.status == 503
        await user_stream(server, client, "usdm")  # User streams are not market connections.

    play(what)
