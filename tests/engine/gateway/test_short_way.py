"""A plain new order that leaves by the short way: the same bytes, and in the gateway the same of everything, as by the long way."""

import json
import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from reference.gateway_world import LOT, MS, START_NS, credentials, request_row, settings
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from twinloop.data.binance_orders import requests_of
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway import sweep
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.rate_budget import OrderBudget, WeightBudget
from twinloop.kernels import codes, rows

S = 1_000_000_000


def text_of(frame: bytes) -> str:
    """What a server reads in a client's frame."""
    server = ServerProtocol(state=OPEN)
    server.receive_data(frame)
    events: Any = server.events_received()
    (event,) = events
    return bytes(event.data).decode()


def plain_of(outgoing: Outgoing) -> dict[str, Any]:
    """All of it but its text, which has left already by the short way."""
    return {each.name: getattr(outgoing, each.name) for each in fields(Outgoing) if each.name not in {"text", "frame"}}


class Pair:
    """Two gateways that are told the same. One is asked for frames, the other never."""

    def __init__(self, market: Any, orders: int, weight: int, *, logged_on: bool = False) -> None:
        windows = [
            (name, length, orders * scale)
            for (name, length, _), scale in zip(requests_of(market).order_limits, (1, 3), strict=True)
        ]
        terms = settings(market, websocket=True, logged_on=logged_on, clock_interval_ns=3600 * S)
        self.short, self.long = (
            Gateway(terms, credentials(), weight=WeightBudget(weight), orders=OrderBudget(windows)) for _ in range(2)
        )
        self.both = (self.short, self.long)
        self.now_ns, self.mono_ns = START_NS, 5 * S
        self.held: list[tuple[Outgoing, Outgoing]] = []
        self.number = 0
        self.short_ones = 0
        for gateway in self.both:
            gateway.on_order_socket(up=True)
        self.told(lambda gateway: gateway.on_stream(up=True, now_ns=self.now_ns, mono_ns=self.mono_ns))
        self.tick(0)
        self.answer_clock()

    def told(self, tell: Any) -> None:
        one, other = (tell(gateway) for gateway in self.both)
        self.same(one, other)

    def same(self, one: Outcome, other: Outcome) -> None:
        assert one.facts == other.facts
        assert one.alerts == other.alerts
        assert [(plain_of(a), a.frame, a.text) for a in one.outgoing] == [
            (plain_of(b), b.frame, b.text) for b in other.outgoing
        ]
        self.held += zip(one.outgoing, other.outgoing, strict=True)

    def tick(self, ms: int) -> None:
        self.now_ns += ms * MS
        self.mono_ns += ms * MS
        self.told(lambda gateway: gateway.on_tick(self.now_ns, self.mono_ns))

    def answer_clock(self, ahead_ms: int = 40) -> None:
        at = next((at for at, (one, _) in enumerate(self.held) if one.kind == kinds.SERVER_TIME), -1)
        if at >= 0:
            self.respond(at, 200, json.dumps({"serverTime": self.now_ns // MS + ahead_ms}).encode())

    def respond(self, at: int, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        pair = self.held.pop(at)
        one, other = (
            gateway.on_response(outgoing, status, headers or {}, body, self.now_ns, self.mono_ns)
            for gateway, outgoing in zip(self.both, pair, strict=True)
        )
        self.same(one, other)

    def fail(self, at: int, how: str) -> None:
        pair = self.held.pop(at)
        one, other = (
            getattr(gateway, how)(outgoing, self.now_ns, self.mono_ns)
            for gateway, outgoing in zip(self.both, pair, strict=True)
        )
        self.same(one, other)

    def new(self, row: np.ndarray[Any, Any]) -> bool:
        """Ask both for an order; whether it went the short way."""
        row_bytes = row.tobytes()
        frame = self.short.frame(row_bytes, self.now_ns, self.mono_ns)
        wanted = self.long.on_requests(row, self.now_ns, self.mono_ns)
        if frame is None:
            self.same(self.short.on_requests(row, self.now_ns, self.mono_ns), wanted)
            return False
        left = self.short.on_left(row_bytes, self.now_ns, self.mono_ns)
        assert not wanted.facts
        assert not wanted.alerts
        (sent,) = wanted.outgoing
        assert text_of(frame) == sent.frame
        assert plain_of(left) == plain_of(sent)
        self.held.append((left, sent))
        self.short_ones += 1
        return True

    def check(self) -> None:
        one, other = self.both
        assert one.snapshot() == other.snapshot()
        assert one.sender.number == other.sender.number
        assert one.sender.weight.words == other.sender.weight.words
        assert one.sender.orders.words == other.sender.orders.words
        assert one.sender.clock.words == other.sender.clock.words


KINDS = [  # Of orders, the usual ones often.
    *[{"flags": codes.IOC}, {"flags": codes.IOC, "side": -1}, {"flags": codes.GTC}, {"flags": codes.REDUCE_ONLY, "side": -1}] * 8,
    *({"source": source, "flags": flags} for source in range(4) for flags in (codes.GTC, codes.FOK, codes.GTD, codes.POST_ONLY, codes.DAY)),
    {"strategy": 1}, {"instrument": 5}, {"instrument": 4}, {"side": 0}, {"trigger_price": 9_999},
]  # fmt: skip
ANSWERS = [
    (200, b"{}", {}), (400, b'{"code":-2010,"msg":"Account has insufficient balance."}', {}), (429, b'{"code":-1003,"msg":""}', {"Retry-After": "2"}),
    (400, b'{"code":-1015,"msg":"Too many new orders."}', {}), (400, b'{"code":-1021,"msg":"Timestamp"}', {}),
    (200, b"{}", {"X-MBX-USED-WEIGHT-1M": "40", "X-MBX-ORDER-COUNT-10S": "5"}),
    (418, b'{"code":-1003,"msg":"banned until 1700000009000."}', {}),
]  # fmt: skip


def play(pair: Pair, dice: random.Random, steps: int) -> None:
    for _ in range(steps):
        what = dice.choice(
            ["new"] * 20 + ["again", "tick", "tick", "tick", "clock", "clock", "set", "answer", "answer", "cancel"]
        )
        if what == "new":
            pair.number += dice.choice([1, 1, 40])
            qty, price = dice.choice([LOT, 3 * LOT, 1]), dice.choice([10_000, 1, 123_456_789])
            pair.new(request_row(rows.NEW, pair.number, qty, price, **dice.choice(KINDS)))
        elif what == "again":  # An order id that was asked for, or one that was passed over.
            pair.number = max(pair.number, 1)
            pair.new(request_row(rows.NEW, max(pair.number - dice.randrange(3), 1)))
        elif what == "tick":
            pair.tick(dice.choice([1, 400, 400, 2_000, 11_000, 61_000, 700_000]))
        elif what == "clock":
            pair.answer_clock(dice.choice([-30, 50, 50, 50, 5_000]))
        elif what == "set":  # The wall clock.
            pair.now_ns += dice.choice([2 * S, 50 * MS, -50 * MS, 30 * MS])
        elif what == "cancel" and pair.number:
            row = request_row(rows.CANCEL, max(pair.number - dice.randrange(8), 1))
            pair.told(lambda gateway, row=row: gateway.on_requests(row, pair.now_ns, pair.mono_ns))
        elif what == "answer" and pair.held:
            at = dice.randrange(len(pair.held))
            if dice.random() < 0.8:
                pair.respond(at, *dice.choice(ANSWERS[:2] * 3 + ANSWERS))
            else:
                pair.fail(at, dice.choice(["on_timeout", "on_not_sent"]))
        pair.check()


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("orders", [6, 1000])
@pytest.mark.parametrize("logged_on", [False, True])
def test_both_ways_send_the_same_and_leave_the_same(market: str, orders: int, logged_on: bool) -> None:
    short_ones = 0
    for seed in range(16):
        dice = random.Random(f"{market} {orders} {logged_on} {seed}")
        pair = Pair(market, orders, dice.choice([50, 6000]), logged_on=logged_on)
        play(pair, dice, 150)
        short_ones += pair.short_ones
    assert short_ones > 50


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("flags", [codes.GTC, codes.IOC, codes.FOK, codes.POST_ONLY])
@pytest.mark.parametrize("source", [codes.LIMIT, codes.MARKET])
def test_from_the_second_of_its_kind_an_order_goes_the_short_way(market: str, flags: int, source: int) -> None:
    if source == codes.MARKET and flags == codes.POST_ONLY:
        pytest.skip("no such order")
    pair = Pair(market, 1000, 6000)
    ways = [pair.new(request_row(rows.NEW, 36**at + 5, flags=flags, source=source)) for at in range(13)]
    assert ways == [False] + [True] * 12
    assert pair.new(request_row(rows.NEW, 2**63 - 1, flags=flags, source=source))
    assert not pair.new(request_row(rows.NEW, 2**63 - 1, flags=flags, source=source)), "never twice"
    pair.check()


@pytest.mark.parametrize("flags", [codes.DAY, codes.GTD])
def test_an_order_with_an_end_goes_the_long_way(flags: int) -> None:
    pair = Pair("usdm", 1000, 6000)
    for number in (1, 2, 3):
        assert not pair.new(request_row(rows.NEW, number, flags=flags, venue_ns=START_NS + 3600 * S))


def test_stops_amends_and_cancels_go_the_long_way() -> None:
    pair = Pair("usdm", 1000, 6000)
    for number in (1, 2, 3):
        assert not pair.new(request_row(rows.NEW, number, source=codes.STOP, trigger_price=9_000))
        assert pair.short.frame(request_row(rows.CANCEL, number).tobytes(), pair.now_ns, pair.mono_ns) is None
        assert pair.short.frame(request_row(rows.AMEND, number).tobytes(), pair.now_ns, pair.mono_ns) is None


def test_an_instrument_whose_fills_are_too_many_to_remember_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair("usdm", 1000, 6000)
    assert [pair.new(request_row(rows.NEW, number)) for number in (1, 2)] == [False, True]
    monkeypatch.setattr(sweep, "SEEN_MAX", -1)
    assert not pair.new(request_row(rows.NEW, 3))
    pair.check()


def test_what_is_kept_for_closing_orders_only_they_have() -> None:
    pair = Pair("usdm", 20, 6000)
    found = [pair.new(request_row(rows.NEW, number)) for number in range(1, 22)]
    assert found == [False] + [True] * 17 + [False] * 3  # 18 of 20, then refusals.
    closing = [pair.new(request_row(rows.NEW, number, flags=codes.REDUCE_ONLY)) for number in range(22, 26)]
    assert closing == [False, True, False, False]
    pair.check()


def test_a_mask_is_of_one_frame_only() -> None:
    pair = Pair("spot", 1000, 6000)
    pair.new(request_row(rows.NEW, 1))
    row = request_row(rows.NEW, 2).tobytes()
    one, other = (pair.short.frame(row, pair.now_ns, pair.mono_ns) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one != other
    assert text_of(one) == text_of(other)
