"""A run over a handful of rows with a scripted strategy, through the real node, venue and doors; compiled or with the JIT off.

A script is {call number: [actions]}: the n-th callback of the strategy carries out its actions. Orders are named by the number of the
accepted order (0, 1, ...). `Desk` is what actions are carried out on; the plain twin in `reference/venue.py` offers the same.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import config

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.assembly import Assembly, BarRequest, StrategySlot, VenueSettings
from twinloop.engine.limits import Limits, apply_limits
from twinloop.kernels import codes, intrinsics, rows
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.intrinsics import call_at, register
from twinloop.kernels.node import SizeClass

# Few slots, so that they are used again soon; only for runs with the JIT off (compiling a size class takes most of a minute).
TINY = SizeClass("tiny", 4, 2, 64, 8, 16, 2, 2, 4, 8, 256, 256, 1024, 4096)
CASH = 1_000_000 * MONEY_ONE
WIDE_OPEN = Limits(name="open", values={}, self_match_prevention=False)
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def linear(symbol: str = "X", **more: Any) -> Instrument:
    fields: dict[str, Any] = {
        "symbol": symbol, "venue": "synthetic", "contract": "linear", "base": symbol, "quote": "USDT", "settle": "USDT", "price_scale": 1,
        "qty_scale": 3, "tick_size": 1, "lot_size": 1, "min_qty": 1, "max_qty": 10**9, "maker_fee": 20_000, "taker_fee": 50_000,
    }  # fmt: skip
    return Instrument(**(fields | more))


def row(kind: int, venue_ns: int, local_ns: int, instrument: int = 0, **fields: Any) -> dict[str, Any]:
    """One row as a dict; of a two-row fact the fields of its tail stand under "tail"."""
    return {"kind": kind, "venue_ns": venue_ns, "local_ns": local_ns, "instrument": instrument} | fields


def tape(facts: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of facts; a fact with a tail takes two."""
    out = np.zeros(sum(2 if "tail" in fact else 1 for fact in facts), rows.ROW)
    at = 0
    for fact in facts:
        tail = fact.get("tail")
        for name, value in fact.items():
            if name != "tail":
                out[name][at] = value
        if tail is not None:
            out["flags"][at] |= rows.FLAG_CONTINUES
            out.view(np.uint8).reshape(-1, 64)[at + 1, :32] = out.view(np.uint8).reshape(-1, 64)[at, :32]
            out["flags"][at + 1] = rows.FLAG_TAIL
            for name, value in tail.items():
                out[name][at + 1] = value
            at += 1
        at += 1
    return out


@dataclass
class Setup:
    """What a run is made of. modes: venue.DEPTH, TOUCH, PRINTS or BARS of each instrument; facts by local time."""

    instruments: Sequence[Instrument]
    modes: Sequence[int]
    facts: Sequence[Mapping[str, Any]]
    script: Mapping[int, Sequence[tuple[Any, ...]]] = field(default_factory=dict)
    settings: VenueSettings = field(default_factory=VenueSettings)
    seed: int = 7
    limits: Limits = WIDE_OPEN
    bars: Sequence[BarRequest] = ()
    currency: str = "USDT"
    rates: Mapping[str, int] = field(default_factory=dict)
    cash: int = CASH
    sees: Sequence[int] | None = None  # Instruments the strategy subscribes to; None for all.
    roll: tuple[int, int] | None = None  # First session roll and interval, ns.
    funding_told: bool = False  # FUNDING_PAID rows say what was paid.


@dataclass
class Outcome:
    """Everything a run shows. log: one entry per callback; results: what each order call returned."""

    fills: list[dict[str, int]]
    orders: list[dict[str, int]]
    equity: list[dict[str, Any]]
    log: list[tuple[Any, ...]]
    results: list[tuple[str, int]]
    ids: list[int]
    hash: int
    state_hash: int
    status: int
    cash: int
    final_equity: int
    positions: list[int]
    assembly: Assembly


class Desk:
    """Order calls of the engine's strategy."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.node = assembly.node
        self.address = int(assembly.node["address"])
        self.ids: list[int] = []
        self.results: list[tuple[str, int]] = []
        self.registered: list[int] = []
        self._compiled = {
            name: _CALLBACK(int(self.node[name])) for name in ("submit", "amend", "cancel", "cancel_all", "set_timer", "slice_order")
        } if not config.DISABLE_JIT else {}  # fmt: skip

    def _call(self, name: str, **fields: int) -> int:
        request = self.node["request"]
        for each in ("price", "qty", "slice_qty", "trigger_price", "expire_ns", "order_id", "side", "type", "flags"):
            request[each] = fields.get(each, 0)
        request["instrument"] = fields.get("instrument", 0)
        if config.DISABLE_JIT:
            call_at(self.node[name], self.address)
        else:
            self._compiled[name](self.address)
        result = int(request["result"])
        self.results.append((name, result))
        return result

    @property
    def now_ns(self) -> int:
        return int(self.assembly.decision["clock"]["now_ns"])

    def order(self, **fields: int) -> None:
        """A new order; expire_in_ns counts from now."""
        if "expire_in_ns" in fields:
            fields["expire_ns"] = self.now_ns + fields.pop("expire_in_ns")
        result = self._call("submit", **fields)
        if result > 0:
            self.ids.append(result)

    def amend(self, number: int, price: int, qty: int) -> None:
        if number < len(self.ids):
            self._call("amend", order_id=self.ids[number], price=price, qty=qty)

    def cancel(self, number: int) -> None:
        if number < len(self.ids):
            self._call("cancel", order_id=self.ids[number])

    def slices(self, **fields: int) -> None:
        """A quantity in slices; its id is numbered with the orders'."""
        result = self._call("slice_order", **fields)
        if result > 0:
            self.ids.append(result)

    def cancel_all(self, instrument: int) -> None:
        self._call("cancel_all", instrument=instrument)

    def timer(self, timer_id: int, in_ns: int | None, interval_ns: int = 0) -> None:
        """in_ns None disarms."""
        self._call(
            "set_timer", order_id=timer_id, expire_ns=0 if in_ns is None else self.now_ns + in_ns, qty=interval_ns
        )


def carry_out(desk: Any, actions: Sequence[tuple[Any, ...]]) -> None:
    """Each action is (method, *arguments), the last a dict of keywords where there is one."""
    for name, *arguments in actions:
        keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(desk, name)(*arguments, **keywords)


def describe(name: str, node: Any, ids: Sequence[int]) -> tuple[Any, ...]:
    """What a callback sees of the row in hand."""
    at = int(node["current_slot"])
    head, tail = node["inbox"][at], node["inbox"][(at + 1) & int(node["inbox_mask"])]
    kind = int(head["kind"])
    base: tuple[Any, ...] = (name, kind, int(head["venue_ns"]), int(head["local_ns"]))
    if name == "on_bar":
        bar = node["decision"]["bars"][int(node["current_bar"])]["state"]["closed"]
        return (
            *base,
            int(node["current_bar"]),
            *(int(bar[each]) for each in ("start_ns", "end_ns", "open", "high", "low", "close", "volume")),
        )
    if name == "on_timer":
        return ("on_timer", kind, int(head["local_ns"]), int(head["timer_id"]), int(head["due_ns"]))
    if name in {"on_fill", "on_order"}:
        order_id = int(head["order_id"])
        number = ids.index(order_id) if order_id in ids else -1  # The engine's own: it closes positions.
        base = (*base, number, int(head["price"]), int(head["qty"]))
        if kind != rows.FILL:
            return (*base, int(head["code"]))
        maker = bool(int(head["flags"]) & rows.FLAG_MAKER)
        return (*base, int(head["fee"]), maker, int(tail["cause_id"]), int(tail["leaves_qty"]))
    return (*base, int(head["instrument"]))


def venue_key(fact: Mapping[str, Any]) -> int:
    """When a fact takes effect at the venue: a bar from its start, a row without venue time when it was received."""
    at = int(fact["venue_ns"] or fact["local_ns"])
    return at - int(fact["tail"]["interval_ns"]) if fact["kind"] == rows.BAR else at


def prepare(setup: Setup, size: SizeClass) -> tuple[Assembly, Desk, list[tuple[Any, ...]], list[BaseException]]:
    """An assembly ready for its tape, with the scripted strategy in slot 0."""
    assembly = Assembly(size)
    assembly.currency(setup.currency)
    assembly.add_account(setup.cash)
    for instrument, mode in zip(setup.instruments, setup.modes, strict=True):
        assembly.add_instrument(instrument, mode)
    for code, rate in setup.rates.items():
        assembly.decision["fx"][assembly.currency(code)] = rate
    assembly.set_venue(setup.settings, setup.seed)
    assembly.decision["funding_told"] = setup.funding_told
    assembly.add_bars(setup.bars, setup.instruments)
    log: list[tuple[Any, ...]] = []
    failures: list[BaseException] = []
    desk = Desk(assembly)

    def listener(name: str) -> Any:
        def called(_address: int) -> None:
            try:
                number = len(log)
                log.append(describe(name, assembly.node, desk.ids))
                carry_out(desk, setup.script.get(number, ()))
            except BaseException as failure:  # noqa: BLE001 - a C callback cannot raise
                failures.append(failure)
                assembly.node["status"] = codes.RUN_STRATEGY_ERROR

        return called

    names = [name for name in codes.CALLBACKS if name not in {"on_start", "on_stop"}]
    keep = {name: listener(name) for name in names}
    if config.DISABLE_JIT:
        addresses = {name: register(function) for name, function in keep.items()}
        desk.registered.extend(addresses.values())
    else:
        keep = {name: _CALLBACK(function) for name, function in keep.items()}
        addresses = {name: int(ctypes.cast(function, ctypes.c_void_p).value or 0) for name, function in keep.items()}
    sees = range(len(setup.instruments)) if setup.sees is None else setup.sees
    assembly.add_strategy(StrategySlot("script", addresses, bytes(8), list(sees), keep=keep))
    apply_limits(assembly.decision, setup.limits, list(setup.instruments), setup.cash)
    if setup.roll is not None:
        clock = assembly.decision["clock"]
        clock["roll_ns"], clock["roll_interval_ns"] = setup.roll
        clock["edge_ns"] = min(int(clock["edge_ns"]), setup.roll[0])
    kinds = {fact["kind"] for fact in setup.facts}
    assembly.venue["jump"] = int(kinds <= {rows.TRADE, rows.QUOTE})
    return assembly, desk, log, failures


def tapes(facts: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """(local, market): one and the same array where the venue's order is the local one and nothing arrives before it was."""
    ordered = sorted(facts, key=venue_key)
    local = tape(facts)
    same = all(a is b and venue_key(a) <= a["local_ns"] for a, b in zip(facts, ordered, strict=True))
    return (local, local) if same else (local, tape(ordered))


class Drain:
    """Takes the records out of the node as the driver of a run does."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.found: dict[str, list[Any]] = {"fills": [], "order_records": [], "equity": []}

    def __call__(self) -> None:
        node = self.assembly.node
        counts = {"fills": "fill_count", "order_records": "order_record_count", "equity": "equity_count"}
        for name, count in counts.items():
            for record in node[name][: int(node[count])]:
                self.found[name].append({each: record[each].tolist() for each in record.dtype.names})
        for name in (*counts.values(), "verdict_count", "records_full"):
            node[name] = 0


def outcome(assembly: Assembly, desk: Desk, log: list[tuple[Any, ...]], drain: Drain, status: int) -> Outcome:
    drain()
    assembly.finish()
    drain()
    for key in desk.registered:  # The table of functions is for ever; this node is not.
        intrinsics._functions[key] = int
    account = assembly.decision["accounts"][0]
    holdings = assembly.decision["account_holdings"][0]
    return Outcome(
        fills=drain.found["fills"],
        orders=drain.found["order_records"],
        equity=drain.found["equity"],
        log=log,
        results=desk.results,
        ids=desk.ids,
        hash=int(assembly.decision["hash"]),
        state_hash=assembly.state_hash(),
        status=status,
        cash=int(account["cash"]),
        final_equity=int(account["equity"]),
        positions=[int(holdings[i]["position"]["qty"]) for i in range(int(assembly.decision["instrument_count"]))],
        assembly=assembly,
    )


def chunked(whole: Any, sizes: Sequence[int]) -> list[Any]:
    """Copies of consecutive parts, of about these sizes in turn; a fact of two rows stays whole."""
    parts, at, number = [], 0, 0
    while at < len(whole):
        stop = min(at + sizes[number % len(sizes)], len(whole))
        stop += stop < len(whole) and bool(whole["flags"][stop] & rows.FLAG_TAIL)
        parts.append(np.frombuffer(whole[at:stop].tobytes(), rows.ROW))
        at, number = stop, number + 1
    return parts or [whole]


def run(
    setup: Setup,
    size: SizeClass = TINY,
    batches: Sequence[int] = (1 << 30,),
    *,
    jump: bool | None = None,
    follow_rows: int | None = None,
    lends: bool = True,
    chunks: Sequence[int] = (),
) -> Outcome:
    """Run to the end; batches: rows handed over at each call, repeated; chunks: sizes of the parts each tape comes in."""
    assembly, desk, log, failures = prepare(setup, size)
    if jump is not None:
        assembly.venue["jump"] = int(jump)
    if follow_rows is not None:
        assembly.venue["follow_rows"] = follow_rows
    local, market = tapes(setup.facts)
    local_chunks, market_chunks = [local], [market]
    if chunks:
        local_chunks, market_chunks = chunked(local, chunks), chunked(market, [*chunks[1:], chunks[0]])
    assembly.set_tape(
        local_chunks.pop(0), market_chunks.pop(0), more_local=bool(local_chunks), more_market=bool(market_chunks)
    )
    assembly.venue["lends"] &= lends
    drain = Drain(assembly)
    number = 0
    while True:
        status = assembly.replay(batches[number % len(batches)])
        number += 1
        drain()
        if failures:
            raise failures[0]
        if status == codes.RUN_LOCAL_CHUNK:
            assembly.next_local(local_chunks.pop(0), more=bool(local_chunks))
        elif status == codes.RUN_VENUE_CHUNK:
            assembly.next_market(market_chunks.pop(0), more=bool(market_chunks))
        elif status not in {codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL}:
            break
    return outcome(assembly, desk, log, drain, status)


MODES = (venue_kernel.DEPTH, venue_kernel.TOUCH, venue_kernel.PRINTS, venue_kernel.BARS)
DEPTH, TOUCH, PRINTS, BARS = MODES
