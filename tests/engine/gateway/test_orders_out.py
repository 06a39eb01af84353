"""C9: orders out equal orders asked for. What was written is read back and held against the kernel's requests."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.chaos import Chaos
from reference.gateway_world import LOT, World, request_row

from twinloop.data.order_text import masked_frame
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.orders_out import LEAVES_WITHIN_NS, OrdersOut
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.kernels import codes, rows

Change = Callable[[dict[str, str]], None]
MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


class Audited:
    """A world's auditor, told of every request and every text. change: what a faulty gateway makes of a text."""

    def __init__(self, world: World, change: Change | None = None) -> None:
        self.world = world
        self.change = change
        self._request, self._keep, self._restart = world.request, world.keep, world.restart
        world.request, world.keep, world.restart = self.request, self.keep, self.restart  # type: ignore[method-assign]
        self.audit, self.asked = self._made(), 0

    def _made(self) -> OrdersOut:
        gateway = self.world.gateway
        return OrdersOut(
            gateway.ids,
            gateway.settings.instruments,
            gateway.tracker.find,
        )

    def request(self, row: np.ndarray[Any, Any]) -> Outcome:
        self.asked += int(row["kind"][0] == rows.NEW)
        self.audit.came(row.tobytes())
        return self._request(row)

    def keep(self, outcome: Outcome) -> Outcome:
        for outgoing in outcome.outgoing:
            self.wrote(outgoing)
        return self._keep(outcome)

    def wrote(self, outgoing: Outgoing) -> None:
        if self.change is not None and outgoing.kind in {kinds.PLACE, kinds.AMEND, kinds.REPLACE}:
            fields = dict(parse_qsl(outgoing.text))
            self.change(fields)
            outgoing.text = urlencode(fields)
        self.audit.wrote(outgoing)

    def restart(self, how: str) -> None:
        held: list[Outcome] = []
        self.world.keep = lambda outcome: held.append(outcome) or self._keep(outcome)  # type: ignore[method-assign,func-returns-value]
        self._restart(how)
        self.world.keep = self.keep  # type: ignore[method-assign]
        self.audit, self.asked = self._made(), 0
        self.audit.adopt(self.world.gateway.open_orders)
        for outcome in held:
            for outgoing in outcome.outgoing:
                self.wrote(outgoing)

    def check(self) -> list[Alert]:
        return self.audit.check(self.asked, self.world.times[1])


@MARKETS
@pytest.mark.parametrize("restarts", [False, True])
@given(seed=st.integers(0, 2**32), moves=st.integers(5, 120), every=st.integers(1, 8))
def test_nothing_differs_whatever_the_venue_does(
    market: str, restarts: bool, seed: int, moves: int, every: int
) -> None:
    """Requests and answers lost, late, doubled or refused, amends that replace, restarts: not one false alarm.

    Looked at every so many moves: much may have happened between the writing of a text and the look at it.
    """
    chaos = Chaos(market, seed, restarts=restarts)
    audited = Audited(chaos.world)
    found = []
    for move in range(moves):
        chaos.act()
        if move % every == 0:
            found += audited.check()
    chaos.heal()
    assert found + audited.check() == []


def changed(name: str, text: str) -> Change:
    def change(fields: dict[str, str]) -> None:
        if name in fields:
            fields[name] = text

    return change


@MARKETS
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changed("quantity", "1.001"), "may fill 1001 units of its quantity scale, asked for were 1000"),
        (changed("quantity", "100"), "may fill 100000 units"),
        (changed("quantity", "1.0001"), "a quantity that is none: '1.0001'"),
        (changed("quantity", ""), "a quantity that is none"),
        (changed("side", "SELL"), "another symbol, side or strategy"),
        (changed("symbol", "ETHUSDT"), "another symbol, side or strategy"),
        (changed("newClientOrderId", "tl-7-6-i-0"), "order 18 left and nobody asked for it"),
        (changed("newClientOrderId", "tl-7-5-h-0"), "another symbol, side or strategy"),
        (changed("newClientOrderId", "web_1"), "none of this session's"),
    ],
)
def test_a_text_that_differs_from_what_was_asked_for_halts(market: str, change: Change, told: str) -> None:
    world = World(market)
    world.run(1)
    audited = Audited(world, change)
    world.new(17)
    (alert,) = audited.check()
    assert told in alert.detail
    assert alert.name == "ORDERS_DIFFER"
    assert audited.check() == []


@MARKETS
def test_an_order_written_twice_is_told(market: str) -> None:
    world = World(market)
    world.run(1)
    audited = Audited(world)
    outcome = world.new(17)
    assert audited.check() == []
    audited.wrote(outcome.outgoing[0])
    assert ["placed twice" in alert.detail for alert in audited.check()] == [True]


@MARKETS
def test_more_by_an_amend_than_was_asked_for_is_told(market: str) -> None:
    world = World(market)
    world.new(17)
    world.run(1)
    audited = Audited(world)
    audited.audit.came(request_row(rows.NEW, 17).tobytes())
    audited.asked = 1
    audited.audit.wrote_frame(masked_frame(frame_of(17, "1.000")))
    assert audited.check() == []
    world.amend(17, 2 * LOT)
    world.run(1)
    assert audited.check() == []
    audited.change = lambda fields: fields.update({name: "5" for name in ("quantity", "newQty") if name in fields})
    world.amend(17, 3 * LOT)
    world.run(1)
    assert ["asked for were 3000" in alert.detail for alert in audited.check()] == [True]


def frame_of(number: int, qty: str, padding: int = 0) -> bytes:
    assert number == 17
    params = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "quantity": qty,
        "newClientOrderId": "tl-7-6-h-0",
        "padding": "x" * padding,
    }
    return json.dumps({"id": "1", "method": "order.place", "params": params}).encode()


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 200, 70_000])
def test_a_masked_frame_is_read_whatever_its_length(padding: int) -> None:
    world = World("usdm")
    audit = Audited(world).audit
    audit.came(request_row(rows.NEW, 17).tobytes())
    audit.wrote_frame(masked_frame(frame_of(17, "1.000", padding)))
    assert audit.check(1, 0) == []
    audit.came(request_row(rows.NEW, 18).tobytes())
    audit.wrote_frame(masked_frame(frame_of(17, "1.001", padding)))
    assert len(audit.check(2, 0)) == 1


def test_requests_that_neither_leave_nor_are_refused_are_told_once() -> None:
    world = World("usdm")
    audit = Audited(world).audit
    audit.came(request_row(rows.NEW, 17).tobytes())  # The gateway never hears of it.
    assert audit.check(1, 0) == []
    assert ["neither left nor was refused" in alert.detail for alert in audit.check(1, LEAVES_WITHIN_NS)] == [True]
    assert audit.check(1, 2 * LEAVES_WITHIN_NS) == []
    world.run(1)
    refused = world.new(18, flags=codes.DAY)  # No end of the day is known.
    assert refused.outgoing == []
    assert audit.check(2, 3 * LEAVES_WITHIN_NS) == []


def test_a_kernel_that_counts_more_requests_than_came_is_told_once() -> None:
    audit = Audited(World("usdm")).audit
    assert audit.check(1, 0) == []  # It may be on its way.
    assert [alert.value for alert in audit.check(1, 0)] == [1]
    assert audit.check(1, 0) == []


def test_a_fill_while_its_order_is_replaced_is_no_difference() -> None:
    """The venue refuses the replacement then: one of both may fill, never both."""
    world = World("spot")
    audited = Audited(world)
    world.new(17)
    world.run(1)
    world.amend(17, LOT, price=10_100)
    world.venue.fill(world.of(17), LOT // 3)
    world.frames()
    assert audited.check() == []
    world.run(2)
    assert audited.check() == []


@pytest.mark.parametrize("how", ["snapshot", "journal"])
def test_an_order_that_was_replaced_before_a_restart_can_be_amended_after_it(how: str) -> None:
    world = World("spot")
    audited = Audited(world)
    world.new(17)
    world.run(1)
    world.amend(17, LOT, price=10_100)
    world.run(1)
    world.restart(how)
    world.amend(17, LOT, price=10_200)
    assert audited.check() == []
    world.run(3)
    assert audited.check() == []
