"""From a configuration to a plan: data as one tape, strategies as classes, settings in the engine's units.

The only step between `config.py` and `backtest.py`. It must not run anything but the user's strategy files.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from twinloop._cache import cache_folder
from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.data.merge import open_tape
from twinloop.data.rowfile import map_rows, read_manifest
from twinloop.data.times import to_text
from twinloop.engine.assembly import VenueSettings
from twinloop.engine.backtest import Plan, StrategyPlan
from twinloop.engine.config import Loaded, StrategyTable, VenueTable
from twinloop.engine.instrument_names import shown_names, slots_by_name
from twinloop.engine.limits import Limits, from_config, in_force, limits_lines
from twinloop.engine.sources import Source, Watch, prepare
from twinloop.engine.strategy_compiler import check_class
from twinloop.engine.units import bar_kind, bar_size, next_time_ns, session_ends_ns, time_of_day
from twinloop.engine.user_code import load_strategy
from twinloop.engine.wording import duration, money
from twinloop.kernels.bars import NOTIONAL_BAR, TICK_BAR, TIME_BAR, VOLUME_BAR
from twinloop.kernels.rows import BAR, KIND_NAME, LEVEL, QUOTE, TRADE

SYNTHETIC: Final = "the market is synthetic: a strategy that earns here has learned the generator, and no market"
MARKET_KINDS: Final = (TRADE, QUOTE, LEVEL, BAR)
DAY_NS = 86_400_000_000_000
KINDS = {"time": TIME_BAR, "tick": TICK_BAR, "volume": VOLUME_BAR, "notional": NOTIONAL_BAR}


@dataclass(frozen=True)
class Planned:
    """A plan. cached: all its rows came from the cache. read_as: how tables were understood, a line each."""

    plan: Plan
    cached: bool
    read_as: list[str]


def row_cache(chosen: str = "") -> Path:
    """Folder of row files: as configured, else beside the compiled code's."""
    return Path(chosen).expanduser() if chosen else cache_folder().parent / "rows"


def make_plan(loaded: Loaded, watch: Watch | None = None) -> Planned:
    """The plan of a configuration. Raises the project's errors."""
    config = loaded.config
    folders = list(dict.fromkeys((loaded.folder, Path.cwd())))
    classes = [load_strategy(each.path, folders) for each in config.strategy]
    titles = [each.name or cls.__name__ for each, cls in zip(config.strategy, classes, strict=True)]
    if len(set(titles)) != len(titles):
        raise ConfigError(
            "two strategies of one name", file=loaded.file, field="strategy.name", expected="different names",
            got=", ".join(titles), remedy="give one of them another name",
        )  # fmt: skip
    for each, cls in zip(config.strategy, classes, strict=True):  # Before the data is read, which may take minutes.
        check_class(cls, each.parameters)
    cache = row_cache(config.run.cache)
    sources = [prepare(each, loaded.folder, cache, config.instruments, loaded.file, watch) for each in config.data]
    tape = open_tape([file for source in sources for file in source.files], cache)
    instruments = [_settled(each, config.account.currency) for each in tape.instruments]
    read_as = [line for source in sources for line in source.read_as]
    first_ns, last_ns = (int(tape.local[at]["local_ns"]) if len(tape.local) else 0 for at in (0, -1))
    venue, session_start_ns = venue_settings(config.venue, first_ns, loaded.folder)
    limits = from_config(config.limits, Path("command line") if loaded.given("limits") else loaded.file)
    name = config.run.name or (loaded.file.stem if loaded.file else titles[0])
    plan = Plan(
        name=name,
        folder=Path(config.run.out).expanduser() / name,
        instruments=instruments,
        local=tape.local,
        market=tape.venue,
        strategies=[
            StrategyPlan(cls, title, _parameters(each), each.symbols, _bars(each, instruments, loaded.file))
            for each, cls, title in zip(config.strategy, classes, titles, strict=True)
        ],
        currency=config.account.currency,
        cash=config.account.cash,
        venue=venue,
        limits=limits,
        fx=dict(config.account.fx),
        seed=config.run.seed,
        sample_interval_ns=config.run.sample_interval,
        session_start_ns=session_start_ns,
        data_digest=tape.digest,
        config=loaded.document | {"limits_in_force": limits_in_force(limits)},
        data=[
            {
                "source": path.name,
                "symbols": shown_names(tape.instruments),
                "digest": tape.digest,
                "rows": len(tape.local),
                "read_as": read_as,
            }
            for path in tape.paths[:1]
        ],
        notes=[
            *(note for source in sources for note in source.notes),
            *told_twice(sources),
            *session_notes(config.venue, first_ns, last_ns),
            *([SYNTHETIC] if any(each.synth is not None for each in config.data) else []),
        ],
        broken=[text for source in sources for text in source.broken],
    )
    return Planned(plan, all(source.cached for source in sources), read_as)


def told_twice(sources: Sequence[Source]) -> list[str]:
    """A line for each kind of an instrument that two [[data]] tables give for the same times: volume counts twice, books mix."""
    named = Counter(name for source in sources for name in _instruments(source))
    shared = {name for name, count in named.items() if count > 1}
    spans = [_spans(source, shared) for source in sources if shared]
    return sorted(
        {
            f"two [[data]] tables give {KIND_NAME[kind]} rows of {name} for the same times, and both are in the run"
            for one, other in itertools.combinations(spans, 2)
            for name, kind in one.keys() & other.keys()
            if one[name, kind][0] <= other[name, kind][1] and other[name, kind][0] <= one[name, kind][1]
        }
    )


def _instruments(source: Source) -> set[str]:
    return {each.key for file in source.files for each in read_manifest(file.path).instruments}


def _spans(source: Source, chosen: Collection[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and last local time of each (instrument, kind) of market data that a source has; only of chosen instruments."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for file in source.files:
        rows = map_rows(file.path)[file.start : file.stop]
        for slot, instrument in enumerate(read_manifest(file.path).instruments):
            for kind in MARKET_KINDS if instrument.key in chosen else ():
                at = np.flatnonzero((rows["kind"] == kind) & (rows["instrument"] == slot))
                if at.size:
                    first, last = (int(rows[index]["local_ns"]) for index in (at[0], at[-1]))
                    before = found.get((instrument.key, kind), (first, last))
                    found[instrument.key, kind] = min(before[0], first), max(before[1], last)
    return found


def _settled(instrument: Instrument, currency: str) -> Instrument:
    """An instrument made for a bare table names no currency: it is quoted and settled in the account's."""
    if instrument.settle:
        return instrument
    return msgspec.structs.replace(instrument, quote=instrument.quote or currency, settle=currency)


def _parameters(table: StrategyTable) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in table.parameters.items()}


def _bars(table: StrategyTable, instruments: Sequence[Instrument], file: Path | None) -> list[tuple[int, int]]:
    slots = slots_by_name(instruments)
    chosen = {slots[name] for name in table.symbols if name in slots} if table.symbols else set(range(len(instruments)))
    seen = [instruments[slot] for slot in sorted(chosen)]
    found = []
    for text in table.bars:
        kind, size = bar_kind(text)
        try:
            sizes = {bar_size(kind, size, each.qty_scale) for each in seen}
        except ValueError as error:
            raise ConfigError(
                "bars that cannot be built", file=file, field="strategy.bars", expected=str(error), got=text
            ) from None
        if len(sizes) > 1:
            raise ConfigError(
                "volume bars over instruments of different quantity scales", file=file, field="strategy.bars",
                expected="one scale", got=text, remedy="use notional bars, or a strategy for each symbol",
            )  # fmt: skip
        found += [(KINDS[kind], one) for one in sizes]
    return found


def venue_settings(table: VenueTable, first_ns: int, folder: Path) -> tuple[VenueSettings, int]:
    """Settings of the simulated venue, and when the loss cap's day begins, ns after midnight UTC."""
    session_end_ns = 0
    if table.session_end is not None:
        session_end_ns = next_time_ns(first_ns, *time_of_day(table.session_end))
    settings = VenueSettings(
        entry_latency_ns=table.entry_latency,
        response_latency_ns=table.response_latency,
        latency_model=table.latency_model,
        jitter_ns=table.jitter,
        measured=None if table.latency_file is None else _measured(folder / table.latency_file),
        queue_model=table.queue_model,
        queue_power=table.queue_power,
        deplete=table.deplete,
        mode=table.mode,
        bar_path=table.bar_path,
        touch_fills=table.touch_fills,
        session_end_ns=session_end_ns,
        fee_tiers=[(tier.volume, tier.maker_bps, tier.taker_bps) for tier in table.fee_tiers],
    )
    return settings, session_end_ns % DAY_NS


def session_notes(table: VenueTable, first_ns: int, last_ns: int) -> list[str]:
    """What to tell of a run in which the clocks of the sessions' place change: the venue counts on in whole days from the first end."""
    if table.session_end is None:
        return []
    ends = session_ends_ns(first_ns, last_ns, *time_of_day(table.session_end))
    moved = next((each for number, each in enumerate(ends) if each != ends[0] + number * DAY_NS), None)
    if moved is None:
        return []
    shift = duration(abs((moved - ends[0] + DAY_NS // 2) % DAY_NS - DAY_NS // 2))
    return [
        (
            f"the clocks of venue.session_end change within the run: from {to_text(moved)[:10]} on, sessions end {shift} "
            f"{'late' if (moved - ends[0]) % DAY_NS > DAY_NS // 2 else 'early'}; run the parts before and after on their own"
        )
    ]


def _measured(path: Path) -> Any:
    """(n, 3) int64 of a CSV file: time, entry latency, response latency, all ns, by time; a header line is passed over."""
    rows: list[list[int]] = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fields = [text.strip() for text in line.split(",")]
            if number == 1 and not fields[0].lstrip("-").isdigit():
                continue
            if len(fields) != 3 or not all(text.isdigit() for text in fields):
                raise DataError(
                    "not a measured latency", file=path, line=number, expected="time_ns,entry_ns,response_ns", got=line
                )
            rows.append([int(text) for text in fields])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("latencies cannot be read", file=path, got=str(error)) from None
    measured = np.array(rows, np.int64).reshape(-1, 3)
    if not len(measured) or (np.diff(measured[:, 0]) <= 0).any():
        raise DataError("latencies out of order", file=path, expected="one or more lines by rising time")
    return measured


def limits_in_force(limits: Limits) -> dict[str, Any]:
    """Every limit that is on, by name, as text; for the manifest and for a person."""
    found: dict[str, Any] = {"preset": limits.name}
    found |= {key: f"{value:f}" for key, value in in_force(limits).items() if value is not None}
    found |= {
        "self_match_prevention": limits.self_match_prevention, "spot_short_selling": limits.spot_short_selling, "on_breach": limits.on_breach,
    }  # fmt: skip
    for symbol, own in limits.instruments.items():
        found[symbol] = {key: "none" if value is None else f"{value:f}" for key, value in own.values.items()}
        found[symbol] |= {"allowed": own.allowed} | (
            {} if own.strategies is None else {"strategies": list(own.strategies)}
        )
    return found


def describe(plan: Plan) -> list[str]:
    """A plan in a few lines, for a person: data, strategies, limits."""
    first, last = (int(plan.local[at]["local_ns"]) for at in (0, len(plan.local) - 1))
    return [
        f"{len(plan.local):,} rows of {', '.join(shown_names(plan.instruments))}, {to_text(first)} to {to_text(last)}",
        f"{', '.join(each.name for each in plan.strategies)} with {money(plan.cash / MONEY_ONE)} {plan.currency}",
        *limits_lines(plan.limits),
    ]
