"""The gateway against the practice exchange, over real sockets and through armed faults: at the end both hold the same orders and fills."""

import asyncio
import random
from collections import Counter
from typing import Any, cast

import pytest
from reference.gateway_world import request_row
from reference.order_venue import KernelOrder, kernel_view

from twinloop.data.binance_orders import Market
from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
from twinloop.data.instruments import Instrument
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.exchange.symbols import symbol
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.endpoints import Endpoints
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.engine.gateway.transport import Transport
from twinloop.engine.seam import WORLD, ReceiveClock
from twinloop.kernels import codes, rows

FAULTS = (
    "drop_response", "lose_request", "unknown_503", "failed_503", "html_403", "reject", "late_ack", "double_user_event",
    "lose_user_event", "drop_user", "fail_query", "wrong_time",
)  # fmt: skip
S = 1_000_000_000
ENDS = {"FILLED": "FILLED", "CANCELED": "CANCELLED", "EXPIRED": "EXPIRED", "EXPIRED_IN_MATCH": "EXPIRED"}


class Trader:
    """A kernel of a page: sends requests, keeps what it is told."""

    def __init__(self, server: Server, market: Market, *, websocket: bool) -> None:
        rules = symbol("BTCUSDT", market)
        instrument = Instrument(
            symbol="BTCUSDT", venue="practice", contract="spot" if market == "spot" else "linear", base="BTC",
            quote="USDT", settle="USDT", price_scale=rules.price_scale, qty_scale=rules.qty_scale, tick_size=1,
            lot_size=1, min_qty=1, max_qty=rules.max_qty,
        )  # fmt: skip
        path = "/ws-api/v3" if market == "spot" else "/ws-fapi/v1"
        endpoints = Endpoints(
            rest=server.rest,
            user=server.stream + (path if market == "spot" else "/private/ws/{listen_key}"),
            orders=server.stream + path,
        )
        clock = ReceiveClock()
        settings = GatewaySettings(
            market=market, account=0, start_ns=clock.local_ns(), prefix="tl", epoch=1, instruments={3: instrument},
            currencies={"USDT": 0, "BTC": 1}, websocket=websocket, order_timeout_ns=S // 4, query_timeout_ns=S,
            horizon_ns=S, sweep_interval_ns=S, sweep_interval_blind_ns=S // 4, cancel_interval_max_ns=S // 2,
        )  # fmt: skip
        keys = Credentials(Secret(PRACTICE_KEY), HmacSigner(Secret(PRACTICE_SECRET)))
        self.gateway = Gateway(settings, keys)
        self.transport = Transport(self.gateway, keys, endpoints, self.deliver, clock)
        self.rules = rules
        self.orders: dict[int, KernelOrder] = {}
        self.fills: list[tuple[int, int, int, int]] = []
        self.alerts: list[Alert] = []
        self.number = 16
        self.short_ones = 0

    def deliver(self, outcome: Outcome) -> None:
        self.alerts += outcome.alerts
        if outcome.facts:
            kernel_view(self.orders, outcome.rows, self.fills)

    def act(self, dice: random.Random, last_price: int) -> None:
        live = [number for number, order in self.orders.items() if order.open]
        lot = 10 ** (self.rules.qty_scale - 2)  # 0.01, well above the smallest value.
        move = dice.randrange(4)
        away = dice.choice([-400, -20, 0, 20, 400])
        if move <= 1 or not live:
            self.number += 1
            qty, price, side = dice.choice([1, 2, 3]) * lot, last_price + away, dice.choice([1, -1])
            flags = dice.choice([codes.GTC, codes.GTC, codes.IOC, codes.POST_ONLY])
            self.orders[self.number] = KernelOrder(qty, price)
            row = request_row(rows.NEW, self.number, qty, price, side=side, flags=flags)
            if self.transport.request_row(row.tobytes()):
                self.short_ones += 1
            else:
                self.transport.request(row)
            return
        number = dice.choice(live)
        order = self.orders[number]
        if move == 2:
            self.transport.request(request_row(rows.CANCEL, number))
        else:
            qty = dice.choice([1, 2, 4]) * lot
            order.amends += 1
            order.amend_qty = max(order.amend_qty, qty)
            price = dice.choice([order.price, last_price + away])
            self.transport.request(request_row(rows.AMEND, number, qty, price))


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of many objects
            await asyncio.sleep(0.01)


def check(trader: Trader, server: Server, market: Market) -> None:
    account = next(each for each in server.exchanges[market].accounts.values() if each.key == PRACTICE_KEY)
    theirs = Counter((fill.trade_id, fill.price, fill.qty) for fill in account.fills)
    ours = Counter(fill[1:] for fill in trader.fills)
    assert ours == theirs, "each fill once, none invented"
    assert len({order.client_id for order in account.orders.values()}) == len(account.orders)
    for number, order in trader.orders.items():
        legs = []
        for leg in account.orders.values():
            parsed = trader.gateway.ids.parse(leg.client_id)
            if parsed is not None and parsed.order_id == number:
                legs.append(leg)
        where = f"order {number}: {order} at the venue {[(leg.status, leg.qty, leg.filled, leg.price) for leg in legs]}"
        assert order.filled == sum(leg.filled for leg in legs), where
        working = [leg for leg in legs if leg.status in OPEN]
        assert len(working) <= 1, where
        assert order.open == bool(working), where
        if working:
            assert order.price == working[0].price, where
            assert order.qty - order.filled == working[0].leaves, where
            assert order.amends == 0, where
        elif not legs:
            assert order.state == "REJECTED", where
        elif order.filled < order.qty:
            assert order.state in {ENDS[leg.status] for leg in legs if leg.status in ENDS} | {"CANCELLED"}, where


@pytest.mark.parametrize(
    ("market", "websocket", "seed"), [("spot", False, 1), ("spot", True, 2), ("usdm", False, 3), ("usdm", True, 4)]
)
def test_through_faults_both_hold_the_same_in_the_end(market: str, websocket: bool, seed: int) -> None:
    dice = random.Random(seed)
    of = cast("Market", market)

    async def play() -> None:
        async with Server(symbols=["BTCUSDT"], seed=seed) as server:
            trader = Trader(server, of, websocket=websocket)
            gateway = trader.gateway
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(trader.transport.run())
                await until(lambda: gateway.clock_known and gateway.stream_up)
                await until(lambda: gateway.sender.socket_up == websocket)
                for _ in range(60):
                    if dice.random() < 0.3:
                        server.faults.arm(dice.choice(FAULTS))
                    trader.act(dice, server.exchanges[of].markets["BTCUSDT"].last_price)
                    await asyncio.sleep(dice.choice([0, 0.01, 0.05]))
                for name in FAULTS:
                    server.faults.arm(name, 0)
                for number, order in trader.orders.items():  # At rest, so that both can be compared.
                    if order.open:
                        trader.transport.request(request_row(rows.CANCEL, number))
                await until(lambda: gateway.unproven == 0 and not any(order.open for order in trader.orders.values()))
                await until(lambda: not gateway.open_orders)
                asked_ns = WORLD.monotonic_ns()
                gateway._urge_all()
                await until(lambda: gateway._trades._answered.get(3, 0) > asked_ns and gateway.unproven == 0)
                check(trader, server, of)
                assert (trader.short_ones > 0) == websocket
                running.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("websocket", [False, True])
def test_a_stop_is_placed_cancelled_and_triggered_in_the_conditional_service(*, websocket: bool) -> None:
    async def play() -> None:
        async with Server(symbols=["BTCUSDT"], seed=6) as server:
            trader = Trader(server, "usdm", websocket=websocket)
            gateway, state = trader.gateway, server.exchanges["usdm"].markets["BTCUSDT"]

            def stop(side: int, trigger_price: int, kind: int = codes.STOP, price: int = 0) -> int:
                trader.number += 1
                trader.orders[trader.number] = KernelOrder(10, price)
                row = request_row(
                    rows.NEW, trader.number, 10, price, side=side, source=kind, trigger_price=trigger_price
                )
                trader.transport.request(row)
                return trader.number

            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(trader.transport.run())
                await until(lambda: gateway.clock_known and gateway.stream_up)
                await until(lambda: gateway.sender.socket_up == websocket)
                account = server.exchanges["usdm"].accounts[PRACTICE_KEY]
                service = server.exchanges["usdm"].conditional

                far = stop(1, state.last_price + 20_000)
                await until(lambda: trader.orders[far].state == "ACKED")
                assert [each.type for each in service.open(account)] == ["STOP_MARKET"]
                assert not account.orders
                trader.transport.request(request_row(rows.CANCEL, far))
                await until(lambda: trader.orders[far].state == "CANCELLED")
                assert not service.open(account)

                last = state.last_price
                near = stop(1, last + 20)
                limit = stop(-1, last - 20, codes.STOP_LIMIT, last + 2000)
                await until(lambda: {trader.orders[each].state for each in (near, limit)} == {"ACKED"})
                for side in (1, -1):  # Someone sweeps the book up, and then down.
                    server.exchanges["usdm"].place(
                        None, "BTCUSDT", side, "LIMIT", 10**6, price=last + side * 30, time_in_force="IOC"
                    )
                    await asyncio.sleep(0.1)
                await until(lambda: trader.orders[near].state == "FILLED")
                await until(lambda: any(each.origin == "STOP" for each in account.orders.values()))
                trader.transport.request(request_row(rows.CANCEL, limit))
                await until(lambda: trader.orders[limit].state == "CANCELLED")
                await until(lambda: gateway.unproven == 0 and not gateway.open_orders)
                assert Counter(fill[1:] for fill in trader.fills) == Counter(
                    (fill.trade_id, fill.price, fill.qty) for fill in account.fills
                )
                assert {each.origin for each in account.orders.values()} == {"STOP_MARKET", "STOP"}
                refused = stop(1, state.last_price - 20_000)
                await until(lambda: trader.orders[refused].state == "REJECTED")
                running.cancel()

    asyncio.run(play())
