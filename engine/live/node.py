"""The node of a live session, or of its replay: facts in, requests out, everything handled shown as it stood in the inbox.

    node = LiveNode(session)
    handled = node.handle(rows)      # an array of ROW in order of receipt
    handled.facts, handled.requests, handled.verdicts  # copies, in order: what the journal holds

One kernel serves three edges. `paper`: a simulated venue answers, in the time of the feed. `live`: requests leave for a venue elsewhere
and its answers are facts. `recorded`: every fact comes from a journal, own orders and timers too, and nothing is made. This module must
not read a clock or a file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from twinloop.data.live_turn import REQUESTED
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.assembly import Assembly, StrategySlot
from twinloop.engine.limits import apply_limits
from twinloop.engine.live.handover import inherit, inherit_states
from twinloop.engine.live.session import Session, compiled_strategies
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.strategy_errors import StrategyRunError
from twinloop.kernels import codes
from twinloop.kernels.rows import CLOCK, FLAG_CONTINUES, FLAG_LATE, FLAG_OFF_MARKET, HASH, ROW, VERDICT

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

Edge = Literal["paper", "live", "recorded"]

EMPTY: Final = np.zeros(0, ROW)
BATCH_ROWS: Final = 512  # Facts handled by one call of the kernel: its rings hold many times as many.
_GOES_ON: Final = (codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL)


@dataclass(frozen=True, slots=True)
class StrategyFailure:
    """A strategy that its own error has halted. slot: of the strategy. sequence: of the fact in hand. error: what it raised, and where."""

    slot: int
    name: str
    callback: str
    sequence: int
    error: StrategyRunError


@dataclass(frozen=True, slots=True)
class Handled:
    """What one call handled. Each request's and verdict's `sequence` is that of the fact that caused it.

    facts, requests: ROW arrays. verdicts: VERDICT rows, one for each call that the gate warned of or refused.
    """

    facts: Rows
    requests: Rows
    verdicts: Rows


class LiveNode:
    """An assembly fed row by row. `sequence` is the next fact's.

    compiled: the session's strategies, where they are at hand.
    """

    def __init__(self, session: Session, edge: Edge, compiled: Sequence["CompiledStrategy"] | None = None) -> None:
        self.session = session
        self.edge = edge
        self.strategies = compiled_strategies(session) if compiled is None else compiled
        self.assembly = assembly = Assembly()
        self.node, self.decision = assembly.node, assembly.decision
        assembly.currency(session.currency)
        for code in session.inherited.currencies if session.inherited is not None else ():
            assembly.currency(code)  # They keep their places, whatever this session adds.
        for instrument, mode in zip(session.instruments, session.market_modes(), strict=True):
            assembly.add_instrument(instrument, mode)
        for code, rate in session.fx.items():
            self.decision["fx"][assembly.currency(code)] = rate
        account = assembly.add_account(session.cash)
        for code, amount in session.stock.items():
            assembly.hold(account, code, amount)
        assembly.set_venue(session.venue_settings(), session.seed)
        self.decision["funding_told"] = session.mode == "live"  # Of a paper session the market's rate is all there is.
        assembly.add_bars(session.bar_requests(), session.instruments)
        self._set_times()
        for spec, each in zip(session.strategies, self.strategies, strict=True):
            seen = session.slots_of(spec)
            assembly.add_strategy(StrategySlot(spec.name, each.addresses, each.initial_area(), seen, keep=each))
        names = [spec.name for spec in session.strategies]
        apply_limits(self.decision, session.limits(), session.instruments, session.capital, names)
        venue = assembly.venue
        venue["jump"] = venue["shared_tape"] = 0
        venue["remote"] = edge != "paper"
        venue["recorded"] = edge == "recorded"
        venue["keep_up"] = edge == "paper"
        self.node["inbox_mask"] = assembly.size.inbox_rows - 1
        assembly.call["more_local"] = 1
        self._inbox, self._outbox = self.node["inbox"], self.node["outbox"]
        self.marks = np.zeros(2, np.int64)  # What the compiled turn shares; its places are named in data/live_turn.pyx.
        self.started = False
        self._failures: list[StrategyFailure] = []
        if session.inherited is not None:
            inherit(self, session.inherited)

    def _set_times(self) -> None:
        session, clock = self.session, self.decision["clock"]
        clock["now_ns"] = session.start_ns
        clock["sample_interval_ns"] = session.sample_interval_ns
        clock["sample_ns"] = session.start_ns
        clock["roll_interval_ns"] = session.day_ns
        clock["roll_ns"] = (
            session.start_ns - (session.start_ns - session.session_start_ns) % session.day_ns + session.day_ns
        )
        clock["edge_ns"] = min(int(clock[name]) for name in ("sample_ns", "roll_ns", "bar_ns"))

    def go_live(self) -> None:
        """From a replayed journal on to a venue: timers are made again, requests leave."""
        assert self.edge == "recorded"
        self.edge = "live"
        self.assembly.venue["recorded"] = 0

    def start(self) -> Handled:
        """Call every strategy's on_start: the first decisions, before any fact.

        Raises StrategyRunError: a session does not begin with a strategy that cannot even start. From here on an error of a callback halts its
        strategy and nothing else.
        """
        assert not self.started
        self.started = True
        for strategy in range(len(self.strategies)):
            self.assembly.callback(strategy, codes.ON_START)
            self._check_status()
        if self.session.inherited is not None:
            inherit_states(self, self.session.inherited)
        self.halt_failures()
        return Handled(EMPTY, self._take_requests(), self._take_verdicts())

    def halt_failures(self) -> None:
        """An error of a callback halts its strategy from here on; those that have failed before are called no more."""
        node = self.node
        node["failures_halt"] = 1
        for slot in np.flatnonzero(self.decision["strategies"]["failed"]):
            called = node["callbacks"][slot] != 0
            node["silenced"][slot][called] = node["callbacks"][slot][called]
            node["callbacks"][slot] = 0

    def take_failures(self) -> list[StrategyFailure]:
        """Strategies that have failed since this was asked last, in the order of their slots."""
        found, self._failures = self._failures, []
        return found

    @property
    def requested(self) -> int:
        """The outbox row up to which requests were taken."""
        return int(self.marks[REQUESTED])

    @requested.setter
    def requested(self, row: int) -> None:
        self.marks[REQUESTED] = row

    @property
    def sequence(self) -> int:
        """Of the next fact."""
        return int(self.node["inbox_head"])

    def next_wake_ns(self) -> int:
        """Local time at which a timer falls due or an interval ends, whatever the market does; NEVER without one."""
        clock = self.decision["clock"]
        return min(int(clock["timer_ns"]), int(clock["edge_ns"]))

    def clock_row(self, local_ns: int) -> Rows:
        """A fact that says nothing but the time."""
        rows = np.zeros(1, ROW)
        rows["local_ns"], rows["kind"] = local_ns, CLOCK
        return rows

    def handle(self, rows: Rows, *, begun: int | None = None) -> Handled:
        """Hand facts to the kernel in order; local times must not fall. A fact of two rows must be whole.

        begun: where the compiled turn called the kernel with these rows once, the inbox's head before that. Raises SessionError for what
        the kernel cannot handle: the session must stop.
        """
        found: tuple[list[Rows], list[Rows], list[Rows]] = ([], [], [])
        if begun is not None:
            self._go_on(found, begun, int(self.assembly.call["status"]))
        else:
            for at in self.pieces(rows):
                self._run(rows[at], found)
        return Handled(*(parts[0] if len(parts) == 1 else join_rows(parts) for parts in found))

    @staticmethod
    def pieces(rows: Rows, rows_max: int = BATCH_ROWS) -> Iterator[slice]:
        """Where to cut rows into parts of rows_max at most; a fact of two rows stays whole, and such a part is one row longer."""
        at, count = 0, len(rows)
        while at < count:
            end = min(at + rows_max, count)
            if end < count and rows[end - 1]["flags"] & FLAG_CONTINUES:
                end += 1
            yield slice(at, end)
            at = end

    def _run(self, rows: Rows, found: tuple[list[Rows], list[Rows], list[Rows]]) -> None:
        assembly, call = self.assembly, self.assembly.call
        rows = np.ascontiguousarray(rows)
        market = rows
        if self.edge == "paper":
            # Its venue lives in local time: what we have not heard of yet, it cannot have done, however rows come in batches.
            market = rows.copy()
            market["venue_ns"] = market["local_ns"]
            # What traded long ago meets no order of now.
            market["flags"][market["flags"] & FLAG_LATE != 0] |= FLAG_OFF_MARKET
            assembly.venue["first_row"] += int(call["market_count"])
            assembly.venue["next_row"] = 0
            assembly.venue["next_ns"] = 0  # When something is due there was found without these rows.
            call["market"], call["market_count"] = market.ctypes.data, len(market)
        call["local"], call["local_count"], call["start"] = rows.ctypes.data, len(rows), 0
        head = self.sequence
        self._go_on(found, head, assembly.replay(BATCH_ROWS))

    def _go_on(self, found: tuple[list[Rows], list[Rows], list[Rows]], head: int, status: int) -> None:
        """Collect what the kernel has done since a head, and call it until nothing is left of the rows it has."""
        while True:
            found[0].append(ring_rows(self._inbox, head, self.sequence))
            found[1].append(self._take_requests())
            found[2].append(self._take_verdicts())
            if self.node["failure_count"]:
                self._note_failures(head)
            if status not in _GOES_ON:
                break
            head = self.sequence
            status = self.assembly.replay(BATCH_ROWS)
        if status != codes.RUN_LOCAL_CHUNK:
            self._check_status()
            raise SessionError(
                f"the loop stopped: {codes.RUN_NAME.get(status, status)}",
                expected="rows that can be handled",
                got=f"row {int(self.node['error_sequence'])} of the inbox",
            )

    def _take_requests(self) -> Rows:
        head = int(self.node["outbox_head"])
        taken = ring_rows(self._outbox, self.requested, head)
        self.requested = head
        if self.edge != "paper":
            self.node["outbox_tail"] = head
        return taken

    def _take_verdicts(self) -> Rows:
        """Verdicts as rows; what else the node recorded for a backtest's tables is dropped: the journal holds it."""
        node = self.node
        count = int(node["verdict_count"])
        out = EMPTY
        if count:
            records = node["verdicts"][:count]
            out = np.zeros(count, ROW)
            out["kind"] = VERDICT
            for name in ("sequence", "local_ns", "strategy", "instrument", "side", "limit", "value", "rule"):
                out[name] = records[name]
            out["code"] = records["verdict"]
        for name in ("fill_count", "order_record_count", "verdict_count", "equity_count", "records_full"):
            node[name] = 0
        return out

    def _note_failures(self, head: int) -> None:
        """Ask what was raised while it can still be told. head: of the facts handled last."""
        self.node["failure_count"] = 0
        for slot, failure in enumerate(self.node["failures"][: len(self.strategies)]):
            sequence = int(failure["sequence"])
            if int(self.decision["strategies"]["failed"][slot]) and sequence >= head:
                error = self.strategies[slot].error_at(int(failure["callback"]), int(failure["value"]))
                if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                    raise error.__cause__  # Ctrl-C, say: it is no error of the strategy's.
                name = self.session.strategies[slot].name
                callback = codes.CALLBACKS[int(failure["callback"])]
                self._failures.append(StrategyFailure(slot, name, callback, sequence, error))

    def _check_status(self) -> None:
        if self.node["status"] == codes.RUN_STRATEGY_ERROR:
            for compiled in self.strategies:
                compiled.raise_error(self.node)

    def decision_hash(self) -> int:
        """The rolling hash over every decision so far."""
        return int(self.decision["hash"])

    def state_hash(self) -> int:
        """Hash of everything decisions depend on. Takes milliseconds."""
        return int(self.assembly.state_hash())

    def hash_row(self, *, whole: bool = False) -> Rows:
        """A HASH row of the state after the last fact; whole: with the hash of all of it."""
        rows = np.zeros(1, ROW)
        rows["kind"], rows["sequence"] = HASH, self.sequence - 1
        rows["local_ns"] = self.decision["clock"]["now_ns"]
        rows["decision_hash"], rows["decisions"] = self.decision_hash(), self.decisions()
        rows["state_hash"] = self.state_hash() if whole else 0
        return rows

    def decisions(self) -> int:
        """How many decisions were taken."""
        return int(self.decision["decision_number"])


def ring_rows(ring: Any, start: int, end: int) -> Rows:
    """Copy of rows start..end of a ring whose size is a power of two; the newest size at most can be there."""
    size = len(ring)
    if end - start > size:
        raise SessionError(
            "more rows in one batch than the ring holds", expected=f"at most {size}", got=str(end - start)
        )
    first = start & (size - 1)
    until_wrap = min(end - start, size - first)
    return join_rows([ring[first : first + until_wrap], ring[: end - start - until_wrap]]) if end > start else EMPTY
