"""twinloop's side of the parity runs: a strategy of ours_strategies.py over a recording, in a mode of ours_modes.py; fills and positions."""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import ours_strategies
import spec
from ours_modes import Semantics, semantics_of
from tapes import Tapes, own_tapes, peer_tapes, sorted_by_venue

from twinloop.data.instruments import MONEY_ONE, Instrument, preset
from twinloop.data.rowfile import join_rows, pick
from twinloop.engine.assembly import Assembly, StrategySlot, VenueSettings
from twinloop.engine.limits import Limits, apply_limits
from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.node import STANDARD

CASH: Final = 10**9 * MONEY_ONE
NO_LIMITS: Final = Limits(name="off", values={}, self_match_prevention=False)  # The peer has no risk gate.


def instrument_of(market: str) -> Instrument:
    """The recorded instrument; the peer knows no smallest notional, so ours has none."""
    kind, symbol = market.split("_", 1)
    return msgspec.structs.replace(preset(f"binance-{kind}", symbol.upper()), min_notional=0)


def tapes_of(recording: Path, instrument: Instrument, chosen: Semantics) -> tuple[Tapes, Tapes]:
    """The rows to run over, and the peer's, which give the clock's start and end to every mode."""
    theirs = peer_tapes(recording, instrument)
    if chosen.own_rows:
        return own_tapes(recording, instrument, theirs.clock_offset_ns, quotes=chosen.quotes), theirs
    if not chosen.quotes:
        return theirs, theirs
    return with_quotes(theirs, own_tapes(recording, instrument, theirs.clock_offset_ns, quotes=True)), theirs


def with_quotes(theirs: Tapes, own: Tapes) -> Tapes:
    """The peer's tapes with the bookTicker rows of ours among them, by receive time, quotes behind."""
    both = join_rows([theirs.local, pick(own.local, own.local["kind"] == table.QUOTE)])
    local = pick(both, np.argsort(both["local_ns"], kind="stable"))
    return Tapes(local, sorted_by_venue(local), theirs.clock_offset_ns)


def _parameters(strategy: str, instrument: Instrument, market: spec.Market, theirs: Tapes) -> dict[str, Any]:
    """spec.py's constants in the instrument's scaled integers."""
    tick = instrument.tick_size
    common = {
        "first_ns": theirs.start_ns + (spec.WARMUP_DECISIONS + 1) * spec.GRID_NS,
        "last_ns": theirs.last_ns - spec.TAIL_NS,
        "grid_ns": spec.GRID_NS,
        "tick": tick,
        "order_qty": market.order_lots * instrument.lot_size,
    }
    if strategy == "taker":
        lots = 10**instrument.qty_scale / instrument.lot_size
        return common | {"orders_max": spec.TAKER.orders_max, "percent": spec.TAKER.percent, "lots": lots}
    return common | {
        "orders_max": spec.MAKER.orders_max,
        "levels": spec.MAKER.levels,
        "skew": market.skew_ticks * tick,
        "spacing": market.spacing_ticks * tick,
    }


def assemble(instrument: Instrument, latency_ns: int, chosen: Semantics) -> Assembly:
    """A node and a venue with one instrument, in the semantics asked for."""
    assembly = Assembly(STANDARD)
    assembly.currency(instrument.settle)
    assembly.add_account(CASH)
    assembly.add_instrument(instrument, venue_kernel.DEPTH)
    settings = VenueSettings(
        entry_latency_ns=latency_ns,
        response_latency_ns=latency_ns,
        mode="default" if chosen.stored_best or chosen.partial_fills else "hftbacktest",
        deplete=chosen.depletion,
    )
    assembly.set_venue(settings, seed=0)
    # The named mode is both of these; a single departure switches one of them.
    if not chosen.stored_best and settings.mode == "default":
        assembly.let_newest_win()
    if not chosen.partial_fills:
        assembly.venue["mode"] = venue_kernel.NO_PARTIAL_FILL_MODE
    apply_limits(assembly.decision, NO_LIMITS, [instrument], CASH)
    return assembly


def _drain(assembly: Assembly, state: Any, fills: list[Any], positions: dict[int, int]) -> None:
    """Take what the last batch recorded."""
    node = assembly.node
    fills.append(node["fills"][: int(node["fill_count"])].copy())
    for name in ("fill_count", "order_record_count", "verdict_count", "equity_count", "records_full"):
        node[name] = 0
    count = int(state["notes"])
    positions.update(zip(state["note_ns"][:count].tolist(), state["note_position"][:count].tolist(), strict=True))
    state["notes"] = 0


def replay(recording: Path, market: str, strategy: str, latency_ms: int, mode: str) -> dict[str, Any]:
    """One run: fills (order id, side, price ticks, lots, venue_ns, local_ns) and positions (local_ns, lots), as SEMANTICS.md compares them."""
    chosen = semantics_of(mode)
    instrument, grid = instrument_of(market), spec.MARKETS[market]
    tapes, theirs = tapes_of(recording, instrument, chosen)
    assembly = assemble(instrument, latency_ms * 1_000_000, chosen)
    kind = ours_strategies.Taker if strategy == "taker" else ours_strategies.Maker
    compiled = compile_strategy(kind, _parameters(strategy, instrument, grid, theirs), STANDARD)
    slot = StrategySlot(strategy, compiled.addresses, compiled.initial_area(), [0], keep=compiled)
    number = assembly.add_strategy(slot)
    area = assembly.decision["areas"][number]
    state = area[: compiled.state_dtype.itemsize].view(compiled.state_dtype)[0]
    assembly.set_tape(tapes.local, tapes.venue)
    assembly.callback(number, codes.ON_START)
    batches: list[Any] = []
    positions: dict[int, int] = {}
    status = codes.RUN_ROWS_MAX
    while status in (codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL):
        status = assembly.replay(ours_strategies.NOTES)
        _drain(assembly, state, batches, positions)
    if status != codes.RUN_DONE:
        compiled.raise_error(assembly.node)
        raise SystemExit(f"the replay stopped with {codes.RUN_NAME[status]}")
    assert not assembly.node["measured"]["refused"].any(), "the gate refused an order, which the peer has no gate for"
    fills = np.concatenate(batches)
    order_number = fills["order_id"] // STANDARD.orders
    columns = (
        order_number, fills["side"], fills["price_int"] // instrument.tick_size, fills["qty_int"] // instrument.lot_size,
        fills["venue_ns"], fills["local_ns"],
    )  # fmt: skip
    rows = sorted(zip(*(column.tolist() for column in columns), strict=True), key=lambda row: (row[5], row[4], row[0]))
    notes = [(at_ns, qty // instrument.lot_size) for at_ns, qty in positions.items()]
    return {"fills": rows, "positions": notes}
