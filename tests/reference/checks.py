"""The loop and its plain twin over the same run, compared in everything they show."""

from typing import Any

import numpy as np
from reference import run_small
from reference.run_small import Outcome, Setup
from reference.venue import Twin

from twinloop.kernels import codes
from twinloop.kernels.latency import LATENCY, entry_delay, response_delay
from twinloop.kernels.node import SizeClass


def delays(setup: Setup) -> tuple[Any, Any]:
    timing = np.zeros(1, LATENCY)
    model = {"constant": 0, "seeded": 1}[setup.settings.latency_model]
    timing["kind"], timing["seed"], timing["jitter_ns"] = model, setup.seed, setup.settings.jitter_ns
    timing["entry_ns"], timing["response_ns"] = setup.settings.entry_latency_ns, setup.settings.response_latency_ns
    return (
        lambda now, order_id, leg: int(entry_delay(timing[0], now, order_id, leg)),
        lambda now, order_id, leg: int(response_delay(timing[0], now, order_id, leg)),
    )


def check(setup: Setup, size: SizeClass, *, follow_rows: int | None = None) -> tuple[Outcome, Twin]:
    """Run both and compare everything they show."""
    got = run_small.run(setup, size, follow_rows=follow_rows)
    twin = Twin(setup, got.results, *delays(setup))
    twin.capacity = size.orders
    twin.run()
    assert got.log == twin.log
    assert got.status == codes.RUN_DONE
    assert got.results == twin.results
    assert int(got.assembly.node["measured"]["foreign_facts"]) == twin.foreign
    number = {order_id: at for at, order_id in enumerate(got.ids)}
    fills = [
        {name: fill[name] for name in twin.fills[0] if name != "order"} | {"order": number[fill["order_id"]]}
        for fill in got.fills
    ] if twin.fills else got.fills  # fmt: skip
    assert fills == twin.fills
    states = {
        number[order["order_id"]]: (
            codes.STATE_NAME[order["state"]],
            order["filled_int"],
            order["price_int"],
            order["qty_int"],
            order["code"],
        )
        for order in got.orders
    }
    assert len(got.orders) == len(twin.orders)
    assert states == {
        order.number: (order.state, order.filled, order.node_price, order.node_qty, order.code) for order in twin.orders
    }
    assert got.positions == [holding.fold()[0] for holding in twin.holdings]
    assert got.cash == twin.cash()
    assert got.final_equity == twin.equity()
    check_reserves(got)
    return got, twin


def check_reserves(got: Outcome) -> None:
    """Working exposure is the sum over open orders of what may still fill, and nothing else."""
    decision = got.assembly.decision
    worst: dict[tuple[int, int], int] = {}
    for at in decision["open_orders"][: int(decision["open_count"])]:
        order = decision["orders"][int(at)]
        left = max(int(order["qty"]) - int(order["filled"]), 0)
        if order["amends"]:
            left = max(left, int(order["amend_qty"]) - int(order["filled"]))
        key = (int(order["instrument"]), int(order["side"]))
        worst[key] = worst.get(key, 0) + left
    for instrument in range(2):
        for holdings in (decision["account_holdings"][0], decision["strategy_holdings"][0]):
            exposure = holdings[instrument]["exposure"]
            assert int(exposure["buy_qty"]) == worst.get((instrument, 1), 0)
            assert int(exposure["sell_qty"]) == worst.get((instrument, -1), 0)
