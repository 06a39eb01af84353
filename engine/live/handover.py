"""From one session to the next of another version or configuration: what goes over, taken from a node and given to another.

    inherited = hand_over(rebuilt, session)          # of a session that ended in order
    inherit(node, inherited)                          # before a new node's strategies start; inherit_states after that

By field name, so that what both versions know goes over, and `differences` tells the rest. The node's own records are written here and
nowhere else outside the kernels, before anything decides. This module must not read or write files.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_SCALE, from_scaled
from twinloop.data.rowfile import Rows, pick
from twinloop.engine.limits import parse_limits
from twinloop.engine.live.inherited import FORMAT, Field, Inherited, InheritedBars, InheritedStrategy, Words, packed
from twinloop.engine.live.limit_changes import tightened_lines
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.wording import duration
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.bars import BAR, BAR_STATE, TIME_BAR
from twinloop.kernels.money import MONEY_MAX
from twinloop.kernels.node import FLATTEN_NOT, STANDARD
from twinloop.kernels.portfolio import CASH, POSITION

if TYPE_CHECKING:
    from twinloop.engine.live.node import LiveNode
    from twinloop.engine.live.rebuild import Rebuilt
    from twinloop.engine.live.session import Session
    from twinloop.engine.strategy_compiler import CompiledStrategy

_ACCOUNT: Final = (
    "cash", "unrealised", "equity", "start_equity", "day_equity", "peak_equity", "max_drawdown", "equity_floor", "slippage_day", "floor_peak",
    "state", "halt_code",
)  # fmt: skip
_COUNTERS: Final = ("order_count", "sliced_count")  # Ids go on: none is ever given twice.
_TIMER: Final = ("strategy", "id", "due_ns", "interval_ns")
_OF_SERIES: Final = {"kind", "size", "size_low", "size_high", "divisor", "multiplier", "closed"}
_BOOKED: Final = (
    table.FILL, table.BUST, table.FEE_CHANGED, table.FUNDING_PAID, table.EXTERNAL_WORKING, table.SWEPT,
)  # fmt: skip


def hand_over(rebuilt: "Rebuilt", epoch: int) -> Inherited:
    """What the session of a node at its journal's end hands over. SessionError where something is still under way."""
    node, session = rebuilt.node, rebuilt.session
    decision, account = node.decision, node.decision["accounts"][0]
    _require_rest(rebuilt)
    symbols = [each.symbol for each in session.instruments]
    unassigned = STANDARD.strategies
    return Inherited(
        format=FORMAT, name=session.name, mode=session.mode, epoch=epoch, commit=rebuilt.commit, checksum=rebuilt.checksum, code=session.code,
        now_ns=int(decision["clock"]["now_ns"]), traded_from_ns=session.traded_from_ns or session.start_ns,
        currencies=list(node.assembly.currencies), instruments=session.instruments, limits_section=session.limits_section,
        tightened=[line.strip() for line in tightened_lines(decision, session.limits(), session.instruments)],
        account=_words(account, _ACCOUNT), positions=_positions(decision["account_holdings"][0], symbols),
        unassigned=_positions(decision["strategy_holdings"][unassigned], symbols),
        ledgers={code: _words(decision["ledgers"][0][slot], CASH.names or ()) for slot, code in enumerate(node.assembly.currencies)},
        fx={code: int(decision["fx"][slot]) for slot, code in enumerate(node.assembly.currencies)},
        strategies=[_strategy(node, slot, symbols) for slot in range(len(session.strategies))],
        bars=[_bars(each, symbols) for each in decision["bars"][: int(decision["bars_used"])]],
        timers=[_words(each, _TIMER) for each in decision["timers"][: int(decision["timers_used"])] if each["armed"]],
        counters=_words(decision, _COUNTERS), said=rebuilt.said.to_plain(),
        last_prints={symbols[slot]: each for slot, each in rebuilt.last_prints.items()},
        rows=[(number, packed(rows)) for number, rows in _booked(rebuilt.of_orders) if len(rows)],
    )  # fmt: skip


def _require_rest(rebuilt: "Rebuilt") -> None:
    node = rebuilt.node
    remedy = "start the session again as it was, let it prove its orders, and stop it with Ctrl-C"
    account = node.decision["accounts"][0]
    if rebuilt.said.warming or int(account["state"]) != codes.HALTED:  # What ends in order halts.
        raise SessionError(
            "this session did not end in order", expected="trading that was ended, with every order cancelled", got="a journal that breaks off", remedy=remedy
        )  # fmt: skip
    working = int(node.decision["open_count"])
    if rebuilt.session.mode == "live" and working:
        raise SessionError("orders may still work at the venue", expected="none", got=str(working), remedy=remedy)
    if int(account["flatten"]) != FLATTEN_NOT:
        raise SessionError("positions are being closed", expected="an end to that", got="flatten", remedy=remedy)


def _words(record: Any, names: Sequence[str]) -> Words:
    return {name: int(record[name]) for name in names}


def _positions(holdings: Any, symbols: Sequence[str]) -> dict[str, Words]:
    found = {symbol: _words(holdings[slot]["position"], POSITION.names or ()) for slot, symbol in enumerate(symbols)}
    return {symbol: words for symbol, words in found.items() if any(words.values())}


def _strategy(node: "LiveNode", slot: int, symbols: Sequence[str]) -> InheritedStrategy:
    spec, compiled, record = node.session.strategies[slot], node.strategies[slot], node.decision["strategies"][slot]
    fields = {}
    for name, kind, memory in _state_of(node, slot, compiled):
        value = memory.view(kind)[0].item() if kind.shape == () and kind.kind in "iufb" else None
        finite = value if isinstance(value, int) or value is None or np.isfinite(value) else None
        fields[name] = Field(repr(kind), base64.b64encode(memory.tobytes()).decode("ascii"), finite)
    return InheritedStrategy(
        name=spec.name, digest=spec.digest, parameters=dict(spec.parameters), state=int(record["state"]), failed=int(record["failed"]),
        positions=_positions(node.decision["strategy_holdings"][slot], symbols), fields=fields,
    )  # fmt: skip


def _state_of(node: "LiveNode", slot: int, compiled: "CompiledStrategy") -> Iterator[tuple[str, np.dtype[Any], Any]]:
    """(Name, type, memory) of each field of a strategy's state; parameters are the configuration's."""
    area = node.decision["areas"][slot]
    for name, (kind, at, *_) in (compiled.state_dtype.fields or {}).items():
        if name not in compiled.parameters:
            yield name, kind, area[at : at + kind.itemsize]


def _bars(bar: Any, symbols: Sequence[str]) -> InheritedBars:
    state = bar["state"]
    names = [name for name in BAR_STATE.names or () if name not in _OF_SERIES]
    closed = _words(state["closed"], BAR.names or ())
    return InheritedBars(
        symbols[int(bar["instrument"])], int(state["kind"]), int(state["size"]), _words(state, names), closed
    )


def _booked(of_orders: Sequence[tuple[int, Rows]]) -> list[tuple[int, Rows]]:
    """Every order has ended: what is booked stays known, so that nothing is booked twice, and the highest id."""
    highest = max((int(rows["order_id"][rows["kind"] == table.NEW].max(initial=0)) for _, rows in of_orders), default=0)
    return [
        (
            epoch,
            pick(rows, np.isin(rows["kind"], _BOOKED) | ((rows["kind"] == table.NEW) & (rows["order_id"] == highest))),
        )
        for epoch, rows in of_orders
    ]


def require_fit(session: "Session", past: Inherited) -> None:
    """ConfigError where a session cannot go on from what is handed over: its places (slots) must be those of the session before."""
    symbols, names = [each.symbol for each in past.instruments], [each.name for each in past.strategies]
    now = session.instruments[: len(symbols)]
    checks = (
        ("mode", past.mode, session.mode, "the same mode"),
        ("account.currency", past.currencies[0], session.currency, "the same currency"),
        ("feed.symbols", symbols, [each.symbol for each in now], "the same symbols in the same order, others behind them"),
        ("strategy", names, [each.name for each in session.strategies[: len(names)]], "the same names in the same order, others behind them"),
    )  # fmt: skip
    for field, then, got, expected in checks:
        if then != got:
            raise ConfigError(
                "this session cannot go on from that one", field=field, expected=f"{expected}: {then}", got=str(got)
            )
    for was, each in zip(past.instruments, now, strict=True):
        for name in ("venue", "contract", "settle", "base", "price_scale", "qty_scale", "contract_size"):
            if getattr(was, name) != getattr(each, name):
                raise ConfigError(
                    "an instrument is another one now", field=f"{each.symbol}.{name}", expected=str(getattr(was, name)), got=str(getattr(each, name)),
                    remedy="close its position in the session before",
                )  # fmt: skip


def inherit(node: "LiveNode", past: Inherited) -> None:
    """Give a new node, whose strategies have not started, the money, positions, states and bars. ConfigError for currencies in other places."""
    session, decision = node.session, node.decision
    currencies = node.assembly.currencies
    if currencies[: len(past.currencies)] != past.currencies:
        raise ConfigError(
            "the account's currencies are others now", expected=", ".join(past.currencies), got=", ".join(currencies), remedy="add symbols and rates behind those of before only"
        )  # fmt: skip
    slots = {each.symbol: slot for slot, each in enumerate(session.instruments)}
    _give(decision["accounts"][0], past.account)
    _give(decision, past.counters)
    for code, words in past.ledgers.items():
        _give(decision["ledgers"][0][currencies.index(code)], words)
    for code, rate in past.fx.items():
        if not session.fx.get(code):
            decision["fx"][currencies.index(code)] = rate
    books = [
        (decision["strategy_holdings"][STANDARD.strategies], past.unassigned),
        (decision["account_holdings"][0], past.positions),
    ]
    for slot, each in enumerate(past.strategies):
        decision["strategies"][slot]["state"], decision["strategies"][slot]["failed"] = each.state, each.failed
        books.append((decision["strategy_holdings"][slot], each.positions))
    for holdings, positions in books:
        for symbol, words in positions.items():
            _give(holdings[slots[symbol]]["position"], words)
    for symbol, words in past.positions.items():
        _expose(node, slots[symbol], words["qty"])
    _bars_go_on(node, past, slots)
    _set_floor(decision)


def _give(record: Any, words: Mapping[str, int]) -> None:
    """Words by name; of those that this version does not have it could not make anything."""
    for name, value in words.items():
        if name in record.dtype.names:
            record[name] = value


def _expose(node: "LiveNode", slot: int, qty: int) -> None:
    """A position counts in the account's worst case, its marks, and with the simulated venue."""
    decision = node.decision
    account, market = decision["accounts"][0], decision["instruments"][slot]
    market["longs"] += int(qty > 0)
    market["shorts"] += int(qty < 0)
    exposure = decision["account_holdings"][0][slot]["exposure"]
    if qty and not exposure["listed"]:
        exposure["listed"] = 1
        decision["exposed"][0, int(account["exposed_count"])] = slot
        account["exposed_count"] += 1
    node.assembly.venue["instruments"][slot]["position"][0] = qty


def _bars_go_on(node: "LiveNode", past: Inherited, slots: Mapping[str, int]) -> None:
    decision, clock = node.decision, node.decision["clock"]
    before = {(slots[each.symbol], each.kind, each.size): each for each in past.bars}
    for bar in decision["bars"][: int(decision["bars_used"])]:
        state = bar["state"]
        found = before.get((int(bar["instrument"]), int(state["kind"]), int(state["size"])))
        if found is not None:
            _give(state, found.state)
            _give(state["closed"], found.closed)
        clock["bar_ns"] = min(int(clock["bar_ns"]), int(state["due_ns"]))
    clock["edge_ns"] = min(int(clock[name]) for name in ("sample_ns", "roll_ns", "bar_ns"))


def _set_floor(decision: Any) -> None:
    """Where the new limits stop trading (risk_state.set_equity_floor). One that was broken stays so until the day ends or somebody resumes."""
    account, limits = decision["accounts"][0], decision["account_limits"][0]
    if int(account["equity_floor"]) == -MONEY_MAX:
        return
    floors = (
        int(account["day_equity"]) - int(limits["max_daily_loss"]),
        int(account["floor_peak"]) - int(limits["max_drawdown"]),
    )
    account["equity_floor"] = max(-MONEY_MAX, *floors)


def inherit_states(node: "LiveNode", past: Inherited) -> None:
    """After on_start, which sets timers and indicators up: every field of state that both know is what it was."""
    for slot, each in enumerate(past.strategies):
        for name, kind, memory in _state_of(node, slot, node.strategies[slot]):
            field = each.fields.get(name)
            if field is not None and field.type == repr(kind):
                memory[:] = np.frombuffer(base64.b64decode(field.data), np.uint8)

    _timers_go_on(node, past)


def _timers_go_on(node: "LiveNode", past: Inherited) -> None:
    """Timers that on_start has not set go on; for those that it has, its word counts."""
    decision, clock = node.decision, node.decision["clock"]
    timers, used = decision["timers"], int(decision["timers_used"])
    known = {(int(each["strategy"]), int(each["id"])) for each in timers[:used] if each["armed"]}
    for each in past.timers:
        if (each["strategy"], each["id"]) in known or used == len(timers):
            continue
        _give(timers[used], each)
        timers[used]["armed"] = 1
        used += 1
        clock["timer_ns"] = min(int(clock["timer_ns"]), each["due_ns"])
    decision["timers_used"] = used


def differences(node: "LiveNode", past: Inherited) -> list[str]:
    """For a person, before anything trades: what goes over, and what is another now."""
    session = node.session
    account, decimals = past.account, session.money_decimals
    day = from_scaled(account["equity"] - account["day_equity"], MONEY_SCALE)
    head = (
        f"goes on from {past.name}, epoch {past.epoch}: equity {account['equity'] / 10**MONEY_SCALE:,.{decimals}f} {session.currency}, "
        f"today {day[: len(day) - MONEY_SCALE + decimals]}"
    )  # fmt: skip
    lines = [head]
    texts = {each.symbol: each.qty_text for each in session.instruments}
    for owner, positions in [(each.name, each.positions) for each in past.strategies] + [("nobody", past.unassigned)]:
        lines += [
            f"  {owner} holds {texts[symbol](words['qty'])} {symbol}"
            for symbol, words in positions.items()
            if words["qty"]
        ]
    lines += [f"  {line}" for line in _limits_differ(session, past)]
    if past.code != session.code:
        lines.append("  the engine is of another version")
    for slot, spec in enumerate(session.strategies):
        lines += [f"  {spec.name}: {line}" for line in _strategy_differs(node, slot, past)]
    lines += [f"  {line}" for line in _market_differs(node, past)]
    return lines


def _limits_differ(session: "Session", past: Inherited) -> Iterator[str]:
    then, now = parse_limits(past.limits_section, default=None), session.limits()
    for name in dict.fromkeys([*then.values, *now.values]):
        was, given = then.values.get(name), now.values.get(name)
        if was != given:
            yield f"{name}: {'none' if was is None else was} then, {'none' if given is None else given} now"
    for name in ("on_breach", "self_match_prevention", "instruments"):
        if getattr(then, name) != getattr(now, name):
            yield f"limits {name}: {getattr(then, name)} then, {getattr(now, name)} now"
    for line in past.tightened:
        yield f"! an operator had {line}; that does not go over, this session's file holds"


def _strategy_differs(node: "LiveNode", slot: int, past: Inherited) -> Iterator[str]:
    spec = node.session.strategies[slot]
    if slot >= len(past.strategies):
        yield "is new"
        return
    was = past.strategies[slot]
    if was.digest != spec.digest:
        yield "its code is another"
    for name in dict.fromkeys([*was.parameters, *spec.parameters]):
        if was.parameters.get(name) != spec.parameters.get(name):
            yield f"parameter {name}: {was.parameters.get(name, 'its default')} then, {spec.parameters.get(name, 'its default')} now"
    now = {name: repr(kind) for name, kind, _ in _state_of(node, slot, node.strategies[slot])}
    lost = [name for name, field in was.fields.items() if now.get(name) != field.type]
    begun = [name for name, kind in now.items() if name not in was.fields or was.fields[name].type != kind]
    if lost:
        yield f"its state does not go over: {', '.join(lost)}"
    if begun:
        yield f"its state begins anew: {', '.join(begun)}"


def _market_differs(node: "LiveNode", past: Inherited) -> Iterator[str]:
    session = node.session
    for was, each in zip(past.instruments, session.instruments, strict=False):
        for name in ("tick_size", "lot_size", "min_qty", "max_qty", "min_notional", "maker_fee", "taker_fee"):
            if getattr(was, name) != getattr(each, name):
                yield f"{each.symbol} {name}: {getattr(was, name)} then, {getattr(each, name)} now, in its own units"
    for each in session.instruments[len(past.instruments) :]:
        yield f"{each.symbol} is new"
    then = {(each.symbol, each.kind, each.size) for each in past.bars}
    for bar in node.decision["bars"][: int(node.decision["bars_used"])]:
        kind, size = int(bar["state"]["kind"]), int(bar["state"]["size"])
        symbol = session.instruments[int(bar["instrument"])].symbol
        if (symbol, kind, size) not in then:
            yield f"{symbol}: bars of {duration(size) if kind == TIME_BAR else size} begin anew, without history"
