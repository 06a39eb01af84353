"""A node with one or more accounts, its desk and its loop, for tests of the risk gate: orders go in by the desk, facts by the tape.

The venue behind it never answers: its entry latency is longer than any test. Own-order facts are rows that the test makes.
"""

import ctypes
from typing import Any

import numpy as np
from numba import config

from twinloop.data.instruments import Instrument
from twinloop.engine.assembly import Assembly, StrategySlot, VenueSettings
from twinloop.kernels import codes, rows
from twinloop.kernels.entry import ROW  # type: ignore[attr-defined]
from twinloop.kernels.intrinsics import call_at
from twinloop.kernels.node import NEVER, STANDARD

ONE = 10**8
NOW = 1_700_000_000_000_000_000
SECOND = 10**9
_service = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def linear(symbol: str = "BTCUSDT", **changes: Any) -> Instrument:
    fields: dict[str, Any] = {
        "symbol": symbol, "venue": "synthetic", "contract": "linear", "base": "BTC", "quote": "USDT", "settle": "USDT",
        "price_scale": 1, "qty_scale": 3, "tick_size": 1, "lot_size": 1, "min_qty": 1, "max_qty": 10**15,
    }  # fmt: skip
    return Instrument(**(fields | changes))


def inverse(symbol: str = "BTCUSD", **changes: Any) -> Instrument:
    return linear(
        symbol,
        **(
            {"contract": "inverse", "quote": "USD", "settle": "BTC", "qty_scale": 0, "contract_size": 100 * ONE}
            | changes
        ),
    )


class Desk:
    """One run: submit, amend and cancel as a strategy would; feed() publishes facts through the loop."""

    def __init__(
        self, instruments: list[Instrument] | None = None, *, cash: int = 10**6 * ONE, mode: int = 1, strategies: int = 1,
        accounts: int = 1, currency: str = "USDT",
    ) -> None:  # fmt: skip
        self.instruments = instruments if instruments is not None else [linear()]
        self.assembly = Assembly(STANDARD)
        self.node, self.decision = self.assembly.node, self.assembly.decision
        self.assembly.currency(currency)
        for _ in range(accounts):
            self.assembly.add_account(cash)
        for instrument in self.instruments:
            self.assembly.add_instrument(instrument, mode)
        self.decision["fx"][: len(self.assembly.currencies)] = ONE
        for i in range(strategies):
            self.assembly.add_strategy(
                StrategySlot(f"s{i}", {}, b"", [], account=min(i, accounts - 1) if accounts > 1 else 0)
            )
        self.assembly.set_venue(VenueSettings(entry_latency_ns=10**18), 1)
        self.decision["clock"]["now_ns"] = NOW
        self.open_limits()
        self.market = np.zeros(0, ROW)
        self.trade_id = 0

    def open_limits(self) -> None:
        """Every limit off."""
        for name in self.decision["instrument_limits"].dtype.names:
            self.decision["instrument_limits"][name] = NEVER
        self.decision["instrument_limits"]["allowed"] = -1
        self.decision["instrument_limits"]["covered"] = 0
        for name in self.decision["account_limits"].dtype.names:
            self.decision["account_limits"][name] = NEVER
        self.decision["account_limits"]["self_match"] = 0
        self.decision["account_limits"]["initial_margin_e8"] = 0
        self.decision["account_limits"]["breach_state"] = codes.HALTED
        for account in self.decision["accounts"]:
            account["floor_peak"] = account["peak_equity"]
            account["equity_floor"] = -NEVER
        self.decision["strategies"]["tokens_e9"] = NEVER

    def limit(self, instrument: int = 0, **values: int) -> None:
        for name, value in values.items():
            self.decision["instrument_limits"][instrument][name] = value

    def bound(self, account: int = 0, **values: int) -> None:
        for name, value in values.items():
            self.decision["account_limits"][account][name] = value
        state, limits = self.decision["accounts"][account], self.decision["account_limits"][account]
        state["equity_floor"] = max(
            -NEVER,
            int(state["day_equity"]) - int(limits["max_daily_loss"]),
            int(state["floor_peak"]) - int(limits["max_drawdown"]),
        )

    def call(self, service: str, strategy: int, **fields: int) -> int:
        node, request = self.node, self.node["request"]
        for name in ("price", "qty", "trigger_price", "expire_ns", "order_id", "instrument", "side", "type", "flags"):
            request[name] = fields.get(name, 0)
        node["current_strategy"] = strategy
        function, address = int(node[service]), int(node["address"])
        if config.DISABLE_JIT:
            call_at(function, address)
        else:
            _service(function)(address)
        return int(request["result"])

    def submit(self, side: int, qty: int, price: int = 0, *, strategy: int = 0, **fields: int) -> int:
        kind = fields.pop("type", codes.LIMIT if price else codes.MARKET)
        return self.call("submit", strategy, side=side, qty=qty, price=price, type=kind, **fields)

    def amend(self, order_id: int, price: int, qty: int, strategy: int = 0) -> int:
        return self.call("amend", strategy, order_id=order_id, price=price, qty=qty)

    def cancel(self, order_id: int, strategy: int = 0) -> int:
        return self.call("cancel", strategy, order_id=order_id)

    def row(self, kind: int, **fields: int) -> Any:
        row = np.zeros(1, ROW)
        row["kind"] = kind
        row["local_ns"] = row["venue_ns"] = fields.pop("at", int(self.decision["clock"]["now_ns"]))
        for name, value in fields.items():
            row[name] = value
        return row

    def feed(self, *published: Any) -> int:
        """Publish rows through the loop; the RUN_* status."""
        tape = np.concatenate([row.view(np.uint8) for row in published]).view(
            ROW
        )  # As bytes: the fields of a row overlap.
        self.assembly.set_tape(tape, self.market)
        self.assembly.call["start"] = 0
        self.assembly.call["more_local"] = 1  # At the end of its data a run would wait for the venue's answers.
        status = codes.RUN_RECORDS_FULL
        while status == codes.RUN_RECORDS_FULL:  # As after a broken limit, which ends the batch.
            status = self.assembly.replay(10**6)
            for name in ("fill_count", "order_record_count", "equity_count", "records_full"):
                self.node[name] = 0
        return codes.RUN_DONE if status == codes.RUN_LOCAL_CHUNK else status

    def quote(self, bid: int, ask: int, instrument: int = 0, **fields: int) -> int:
        return self.feed(
            self.row(rows.QUOTE, bid=bid, bid_qty=10, ask=ask, ask_qty=10, instrument=instrument, **fields)
        )

    def fill(self, order_id: int, price: int, qty: int, fee: int = 0, currency: int | None = None) -> int:
        order = self.order(order_id)
        self.trade_id += 1
        head = self.row(
            rows.FILL, price=price, qty=qty, order_id=order_id, fee=fee, side=int(order["side"]), strategy=int(order["strategy"]),
            account=int(order["account"]), instrument=int(order["instrument"]), flags=rows.FLAG_CONTINUES,
        )  # fmt: skip
        settle = int(self.decision["instruments"][order["instrument"]]["settle"])
        tail = self.row(
            rows.FILL,
            fee_currency=settle if currency is None else currency,
            trade_id=self.trade_id,
            flags=rows.FLAG_TAIL,
            instrument=int(order["instrument"]),
        )
        return self.feed(head, tail)

    def answer(self, kind: int, order_id: int, **fields: int) -> int:
        order = self.order(order_id)
        return self.feed(
            self.row(
                kind, order_id=order_id, instrument=int(order["instrument"]), strategy=int(order["strategy"]), **fields
            )
        )

    def order(self, order_id: int) -> Any:
        return self.decision["orders"][order_id & (STANDARD.orders - 1)]

    @property
    def state(self) -> int:
        return int(self.decision["accounts"][0]["state"])
