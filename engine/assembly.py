"""A node and a simulated venue, made ready for a run: memory, instruments, accounts, strategies, and the calls into compiled code.

The one place that knows how settings become fields of the two records. It must not decide anything while a run goes on: `replay.py`
drives, kernels decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.kernels import bars, codes
from twinloop.kernels import latency as latency_kernel
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.book_window import NO_KEY
from twinloop.kernels.entry import CALL, Doors, doors
from twinloop.kernels.intrinsics import forget_records
from twinloop.kernels.layout import zeros
from twinloop.kernels.money import NO_CURRENCY, money_rule
from twinloop.kernels.newest_touch import NO_FARTHEST
from twinloop.kernels.node import FROM_TRADES, NEVER, STANDARD, SizeClass

REPLAY_INBOX_ROWS: Final = (
    256  # Few enough to stay in the first-level cache while the replay edge publishes one fact at a time.
)
# An order that ended stays readable until so many others were sent. More slots are used only while more orders work at once: few
# of them stay in the first-level cache.
ORDERS_KEPT: Final = 128
FOLLOW_ROWS: Final = 64
DAY_NS: Final = 86_400_000_000_000
LATENCY_KINDS: Final = {
    "constant": latency_kernel.CONSTANT,
    "seeded": latency_kernel.SEEDED,
    "measured": latency_kernel.MEASURED,
}
QUEUE_MODELS: Final = {
    "risk_averse": venue_kernel.RISK_AVERSE,
    "power": venue_kernel.PROBABILITY_POWER,
    "log": venue_kernel.PROBABILITY_LOG,
}
BAR_PATHS: Final = {
    "worst": venue_kernel.PATH_WORST,
    "ohlc": venue_kernel.PATH_OHLC,
    "olhc": venue_kernel.PATH_OLHC,
    "nearest": venue_kernel.PATH_NEAREST,
}
MODES: Final = {"default": venue_kernel.DEFAULT_MODE, "hftbacktest": venue_kernel.NO_PARTIAL_FILL_MODE}


@dataclass(frozen=True)
class VenueSettings:
    """How the simulated venue behaves; times in ns."""

    entry_latency_ns: int = 0
    response_latency_ns: int = 0
    latency_model: str = "constant"
    jitter_ns: int = 0
    measured: Any = None  # (n, 3) int64: time, entry latency, response latency, all ns, by time.
    queue_model: str = "risk_averse"
    queue_power: int = 2
    deplete: bool = True
    mode: str = "default"
    bar_path: str = "worst"
    touch_fills: bool = False
    session_end_ns: int = 0  # First end of a session for DAY orders; 0 none.
    session_interval_ns: int = DAY_NS
    fee_tiers: Sequence[tuple[int, int, int]] = ()  # (traded notional in money, maker 1e-8, taker 1e-8), ascending.


@dataclass(frozen=True)
class BarRequest:
    """Bars that strategies ask for: kind (kernels.bars.*_BAR) and size in that kind's unit, of one instrument slot.

    source: kernels.node.FROM_*. strategies: bit of each strategy that sees them.
    """

    instrument: int
    kind: int
    size: int
    source: int = FROM_TRADES
    strategies: int = -1


@dataclass
class StrategySlot:
    """A compiled strategy in its slot: callback addresses, first bytes of its area, what it sees."""

    name: str
    addresses: dict[str, int]
    area: bytes
    instruments: Sequence[int]
    account: int = 0
    keep: Any = field(default=None, repr=False)  # Whatever must outlive the addresses.


def _address_of(records: Any, at: int) -> int:
    """Address of one record of an array."""
    return int(records.ctypes.data) + at * int(records.dtype.itemsize)


class Assembly:
    """The memory of one run and the calls on it."""

    def __init__(self, size: SizeClass = STANDARD) -> None:
        self.size = size
        self.doors: Doors = doors(size)
        forget_records()
        self._nodes = zeros(self.doors.node_dtype)
        self._venues = zeros(self.doors.venue_dtype)
        self._calls = np.zeros(1, CALL)
        self.node: Any = self._nodes[0]
        self.venue: Any = self._venues[0]
        self.call: Any = self._calls[0]
        self.decision: Any = self.node["decision"]
        self.currencies: list[str] = []
        self.node["address"] = self._nodes.ctypes.data
        self.call["node"] = self._nodes.ctypes.data
        self.call["venue"] = self._venues.ctypes.data
        self.call_address = self._calls.ctypes.data
        self.node["inbox_mask"] = min(REPLAY_INBOX_ROWS, size.inbox_rows) - 1
        for name, address in self.doors.services.items():
            self.node[name] = address
        clock = self.decision["clock"]
        for name in ("edge_ns", "bar_ns", "sample_ns", "roll_ns", "timer_ns"):
            clock[name] = NEVER
        self._init_tables()
        self._tape: tuple[Any, Any] | None = None
        self._strategies: list[StrategySlot] = []  # Keeps what is behind the addresses alive.

    def _init_tables(self) -> None:
        self.decision["free_slots"][:] = np.arange(self.size.orders)
        self.decision["orders"]["open_at"][:] = -1
        self.decision["free_head"] = self.decision["slots_used"] = min(ORDERS_KEPT, self.size.orders)
        self.decision["order_count"] = 1
        instruments = self.venue["instruments"]
        for name in ("first", "last", "book", "settle"):
            instruments[name][:] = -1
        for name, empty in (("buy_low", NEVER), ("buy_high", -NEVER), ("sell_low", NEVER), ("sell_high", -NEVER)):
            instruments[name][:] = empty
        self.venue["path_ns"] = NEVER
        self.venue["expire_ns"] = NEVER
        self.venue["session_end_ns"] = NEVER
        self.venue["follow_rows"] = FOLLOW_ROWS

    def currency(self, code: str) -> int:
        """Slot of a currency; the first asked for is the account's."""
        if code not in self.currencies:
            if len(self.currencies) == self.size.currencies:
                raise ConfigError(
                    "too many currencies in one run",
                    expected=f"at most {self.size.currencies} that can hold money",
                    got=f"{', '.join(self.currencies)} and {code}",
                    remedy="run fewer symbols at once",
                )
            self.currencies.append(code)
            if len(self.currencies) == 1:
                self.decision["fx"][0] = MONEY_ONE
        return self.currencies.index(code)

    def add_account(self, cash: int) -> int:
        """An account with a start balance in the account currency (slot 0), money."""
        account = int(self.decision["account_count"])
        state = self.decision["accounts"][account]
        for name in ("cash", "equity", "start_equity", "day_equity", "peak_equity"):
            state[name] = cash
        ledger = self.decision["ledgers"][account, 0]
        ledger["balance"] = cash
        ledger["start"] = cash
        self.decision["account_count"] = account + 1
        return account

    def hold(self, account: int, code: str, amount: int) -> None:
        """What an account has of a currency that is not its own when a run begins, money: no part of its equity."""
        ledger = self.decision["ledgers"][account, self.currency(code)]
        ledger["balance"] += amount
        ledger["outside"] += amount

    def add_instrument(self, instrument: Instrument, mode: int) -> int:
        """An instrument with how its market is known (venue.DEPTH, TOUCH, PRINTS, BARS); its slot."""
        slot = int(self.decision["instrument_count"])
        settle = self.currency(instrument.settle)
        # Only of a spot instrument is the base currency held: of a contract it is what is counted.
        base = self.currency(instrument.base) if instrument.contract == "spot" else NO_CURRENCY
        try:
            rule = money_rule(
                instrument.contract,
                instrument.price_scale,
                instrument.qty_scale,
                instrument.contract_size,
                settle,
                base,
            )
        except ValueError as error:
            raise ConfigError(f"instrument {instrument.symbol}: {error}") from error
        if slot == self.size.instruments:
            raise ConfigError(
                "too many instruments in one run",
                expected=f"at most {self.size.instruments}",
                got=str(slot + 1),
                remedy="run fewer symbols at once",
            )
        self.venue["instrument_count"] = slot + 1
        record = self.decision["instruments"][slot]
        held = self.venue["instruments"][slot]
        record["price_unit"], record["qty_unit"] = 10.0**-instrument.price_scale, 10.0**-instrument.qty_scale
        record["prices_per_unit"], record["qtys_per_unit"] = 10.0**instrument.price_scale, 10.0**instrument.qty_scale
        for name in ("tick_size", "lot_size", "min_qty", "max_qty", "min_notional", "maker_fee", "taker_fee"):
            record[name] = getattr(instrument, name)
        record["settle"] = settle
        record["book"] = -1
        for name in rule.dtype.names or ():
            record["rule"][name] = rule[name]
            held["rule"][name] = rule[name]
        held["mode"] = mode
        held["tick_size"], held["settle"] = instrument.tick_size, settle
        held["maker_fee"], held["taker_fee"] = instrument.maker_fee, instrument.taker_fee
        if mode == venue_kernel.DEPTH:
            book = int(np.count_nonzero(self.decision["instruments"]["book"][:slot] >= 0))
            record["book"] = held["book"] = book
            self.call["slot"], self.call["value"] = book, instrument.tick_size
            self.doors.clear_books(self.call_address)
            held["own_book_at"] = held["book_at"] = _address_of(self.venue["books"], book)
            held["node_book_at"] = _address_of(self.decision["books"], book)
        self.decision["instrument_count"] = slot + 1
        return slot

    def set_venue(self, settings: VenueSettings, seed: int) -> None:
        """The simulated venue's behaviour."""
        venue = self.venue
        timing = venue["latency"]
        timing["kind"] = LATENCY_KINDS[settings.latency_model]
        timing["entry_ns"], timing["response_ns"] = settings.entry_latency_ns, settings.response_latency_ns
        timing["jitter_ns"], timing["seed"] = settings.jitter_ns, seed
        if settings.measured is not None:
            count = len(settings.measured)
            if count > latency_kernel.MEASURED_ROWS:
                raise ConfigError(
                    "too many measured latencies", expected=f"at most {latency_kernel.MEASURED_ROWS}", got=str(count)
                )
            timing["measured_count"] = count
            for column, name in enumerate(("measured_ns", "measured_entry_ns", "measured_response_ns")):
                timing[name][:count] = settings.measured[:, column]
        venue["mode"] = MODES[settings.mode]
        if settings.mode == "hftbacktest":
            self.let_newest_win()
        venue["queue_model"], venue["queue_power"] = QUEUE_MODELS[settings.queue_model], settings.queue_power
        venue["deplete"] = settings.deplete and settings.mode == "default"
        venue["path"], venue["touch_fills"] = BAR_PATHS[settings.bar_path], settings.touch_fills
        if settings.session_end_ns:
            venue["session_end_ns"], venue["session_interval_ns"] = (
                settings.session_end_ns,
                settings.session_interval_ns,
            )
        venue["tier_count"] = len(settings.fee_tiers)
        for i, (volume, maker, taker) in enumerate(settings.fee_tiers):
            venue["tier_volume"][i], venue["tier_maker"][i], venue["tier_taker"][i] = volume, maker, taker

    def let_newest_win(self) -> None:
        """Take best prices from every book added so far by the rule of kernels/newest_touch.py: in the node and in the venue."""
        for slot in range(int(self.decision["instrument_count"])):
            market, held = self.decision["instruments"][slot], self.venue["instruments"][slot]
            if held["mode"] != venue_kernel.DEPTH:
                continue
            held["mode"], market["newest_wins"] = venue_kernel.NEWEST_DEPTH, 1
            for newest in (market["newest"], held["newest"]):
                newest["best_key"][:] = NO_KEY
                newest["farthest_key"][:] = NO_FARTHEST

    def add_bars(self, wanted: Sequence[BarRequest], instruments: Sequence[Instrument]) -> None:
        """The series of a run, each once with everyone who asked for it, neighbours by instrument."""
        strategies: dict[BarRequest, int] = {}
        for bar in wanted:
            series = replace(bar, strategies=0)
            strategies[series] = strategies.get(series, 0) | bar.strategies
        unique = sorted(strategies, key=lambda bar: bar.instrument)
        if len(unique) > self.size.bars:
            raise ConfigError(
                "too many bar series in one run", expected=f"at most {self.size.bars}", got=str(len(unique))
            )
        for slot, bar in enumerate(unique):
            record = self.decision["bars"][slot]
            record["instrument"], record["source"] = bar.instrument, bar.source
            record["strategies"] = strategies[bar]
            instrument = instruments[bar.instrument]
            call = self.call
            call["slot"], call["kind"], call["value"] = slot, bar.kind, bar.size
            call["price_scale"], call["qty_scale"] = instrument.price_scale, instrument.qty_scale
            self.doors.init_bar(self.call_address)
            if call["status"] != bars.BAR_OK:
                raise ConfigError(
                    "bars that cannot be built",
                    expected="a positive size below 2**62",
                    got=f"{bar.size} of kind {bar.kind}",
                )
            market = self.decision["instruments"][bar.instrument]
            if market["bars_count"] == 0:
                market["bars_first"] = slot
            market["bars_count"] += 1
        self.decision["bars_used"] = len(unique)

    def add_strategy(self, slot: StrategySlot) -> int:
        """A strategy in the next slot."""
        number = int(self.decision["strategy_count"])
        if number == self.size.strategies:
            raise ConfigError(
                "too many strategies in one run", expected=f"at most {self.size.strategies}", got=str(number + 1)
            )
        if len(slot.area) > self.size.area_bytes:
            raise ConfigError(
                "strategy state too large",
                expected=f"at most {self.size.area_bytes} bytes",
                got=f"{len(slot.area)} bytes",
            )
        self.decision["areas"][number, : len(slot.area)] = np.frombuffer(slot.area, np.uint8)
        self.decision["strategies"][number]["account"] = slot.account
        for at, name in enumerate(codes.CALLBACKS):
            address = slot.addresses.get(name, 0)
            self.node["callbacks"][number, at] = address
            self.node["wanted"][at] += address != 0
        for instrument in slot.instruments:
            self.node["subscribed"][number, instrument] = 1
        self.decision["strategy_count"] = number + 1
        self._strategies.append(slot)
        return number

    def set_tape(self, local: Any, market: Any, *, more_local: bool = False, more_market: bool = False) -> None:
        """What the node sees and what the venue holds: contiguous ROW arrays.

        The same object when venue time never goes back and never lies after local time.
        more_local, more_market: these are first chunks, and RUN_LOCAL_CHUNK or RUN_VENUE_CHUNK asks for the next. A chunk ends with a whole
        fact.
        """
        self._tape = (local, market)  # Keeps the memory alive.
        self.call["local"], self.call["local_count"] = local.ctypes.data, len(local)
        self.call["market"], self.call["market_count"] = market.ctypes.data, len(market)
        self.call["more_local"], self.venue["more_rows"] = more_local, more_market
        whole = not more_local and not more_market
        shared = whole and (local is market or local.ctypes.data == market.ctypes.data)
        self.venue["shared_tape"] = shared
        modes = self.venue["instruments"]["mode"][: int(self.venue["instrument_count"])]
        here = self.venue["keep_up"] == 0 and self.venue["remote"] == 0
        self.venue["lends"] = shared and here and bool((modes == venue_kernel.DEPTH).all())

    def next_local(self, local: Any, *, more: bool) -> None:
        """After RUN_LOCAL_CHUNK: the next rows the node sees."""
        assert self._tape is not None
        assert self.call["start"] == self.call["local_count"], "the chunk before is not used up"
        self._tape = (local, self._tape[1])
        self.call["local"], self.call["local_count"] = local.ctypes.data, len(local)
        self.call["start"], self.call["more_local"] = 0, more

    def next_market(self, market: Any, *, more: bool) -> None:
        """After RUN_VENUE_CHUNK: the next rows the venue holds. What it still needs of the chunk before is taken over first."""
        assert self._tape is not None
        count = int(self.call["market_count"])
        assert self.venue["next_row"] == count, "the chunk before is not used up"
        self.doors.see_all(self.call_address)
        self._tape = (self._tape[0], market)
        self.call["market"], self.call["market_count"] = market.ctypes.data, len(market)
        self.venue["first_row"] += count
        self.venue["next_row"], self.venue["more_rows"] = 0, more

    def replay(self, rows_max: int) -> int:
        """Run on from where the last call stopped, for at most rows_max rows: a RUN_* status."""
        self.call["rows_max"] = rows_max
        self.doors.replay(self.call_address)
        self.call["start"] = self.call["at"]
        return int(self.call["status"])

    def callback(self, strategy: int, callback: int) -> None:
        """Call one callback of one strategy outside the loop (on_start, on_stop)."""
        self.call["strategy"], self.call["callback"] = strategy, callback
        self.doors.callback(self.call_address)

    def finish(self) -> None:
        """Record the orders still open and a last equity sample."""
        self.doors.finish(self.call_address)

    def memory(self, field: str) -> Any:
        """The bytes of a field of the node, or of the whole simulated venue ("venue"): (n,) uint8, shared and writable."""
        if field == "venue":
            return self._venues.view(np.uint8)
        fields = self._nodes.dtype.fields
        assert fields is not None
        kind, first = fields[field][:2]
        return self._nodes.view(np.uint8)[first : first + kind.itemsize]

    def state_hash(self) -> int:
        """Hash of everything decisions depend on."""
        self.doors.state_hash(self.call_address)
        return int(self.call["status"])
