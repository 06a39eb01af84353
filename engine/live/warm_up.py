"""What a session's strategies see before they trade: history of a catalog or by REST at a first start, missed trades at a restart.

    past = await history(loaded, session, client, now_ns)          # flagged WARMUP, in the order of their own times
    await feed_history(loop, past.rows)                            # through the same loop, with trading halted

The rows are facts like any other, at the times that they are of: they are journalled, so that a replay takes every decision again from the
journal alone. Trading is HALTED meanwhile by a row in the journal, so the risk gate refuses every order; a request that came out all the
same would end the session before there is anything it could leave by. This module must not resume trading.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import numpy as np

from twinloop.data.binance_klines import (
    Stretch,
    kline_rows,
    klines_path,
    shortest_ns,
    stretches,
    time_path,
    venue_time_ns,
)
from twinloop.data.binance_past_trades import PAGE, PastTrades, trades_after
from twinloop.data.catalog import Catalog
from twinloop.data.errors import ConfigError, DecodeError
from twinloop.data.instruments import Instrument
from twinloop.data.merge import open_tape
from twinloop.data.rowfile import Rows, join_rows, pick, whole_facts
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.loop import WARM_UP, LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.rest import get
from twinloop.engine.live.session import Session
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD
from twinloop.engine.wording import duration
from twinloop.kernels import rows as table
from twinloop.kernels.bars import TIME_BAR
from twinloop.kernels.rows import FLAG_LATE, FLAG_WARMUP, ROW

PAGES_MAX: Final = 50  # Of one symbol: 1,000 of USD-M's weight of 2,400 a minute.
ROWS_MAX: Final = 2_000_000  # 128 MB, and as much in the journal.
SETTLED_NS: Final = 2 * 10**9  # A kline that ended so long ago by the venue's clock does not change any more.
CHUNK_ROWS: Final = 4096
ROWS_A_FACT: Final = 16  # Of a commit: what a fact leads to is in it too, each call that was refused.
WAIT_S: Final = 0.001
_BOOK: Final = (table.LEVEL, table.SNAPSHOT_BEGIN, table.SNAPSHOT_LEVEL, table.SNAPSHOT_END, table.CLEAR)


class History(NamedTuple):
    """rows: by local time, flagged WARMUP. last_prints: id and venue time of the last single trade in them, by slot, where the venue told it."""

    rows: Rows
    last_prints: dict[int, tuple[int, int]]


def time_series(session: Session) -> dict[int, set[int]]:
    """Lengths of the series of bars by time that a session keeps, ns, by slot of the instrument."""
    found: dict[int, set[int]] = {}
    for bar in session.bar_requests():
        if bar.kind == TIME_BAR:
            found.setdefault(bar.instrument, set()).add(bar.size)
    return found


async def history(loaded: LoadedSession, session: Session, client: aiohttp.ClientSession, now_ns: int) -> History:
    """What the configured warm-up gives, no row later than now_ns; empty without one. SessionError or ConfigError otherwise."""
    instruments = session.instruments
    config = loaded.config.warmup
    parts, last = list[Rows](), dict[int, tuple[int, int]]()
    if config.catalog:
        parts.append(_of_catalog(loaded, instruments, now_ns))
    plans = await _plans(loaded, session, client, now_ns) if config.bars else {}
    for slot, instrument in enumerate(instruments):
        since_ns = now_ns - config.trades
        if slot in plans:
            rows, since_ns = await _of_klines(loaded, slot, instrument, client, plans[slot])
            parts.append(rows)
        elif not config.trades:
            continue
        rows, whole = await _of_rest(loaded, slot, instrument, client, (since_ns, now_ns), last)
        if slot in plans and not whole:
            raise SessionError(
                "the venue's trades do not reach back to its klines", field=instrument.symbol, expected=f"at most {PAGES_MAX * PAGE:,} trades since then",
                got="more", remedy="shorten trades under [warmup]",
            )  # fmt: skip
        if config.catalog and len(parts[0]):  # A trade that is in the catalog already does not come again.
            rows = pick(rows, rows["local_ns"] > int(parts[0]["local_ns"][-1]))
        parts.append(rows)
    rows = join_rows(parts) if parts else np.zeros(0, ROW)
    if not len(rows):
        if config.catalog or config.trades or config.bars:
            raise SessionError("a warm-up without rows", field="warmup", expected="rows before now", got="none")
        return History(rows, last)
    if len(rows) > ROWS_MAX:
        raise SessionError(
            "the warm-up is too long", field="warmup", expected=f"at most {ROWS_MAX:,} rows", got=f"{len(rows):,}",
            remedy="shorten last or trades, or lower bars, under [warmup]",
        )  # fmt: skip
    rows = pick(rows, np.argsort(rows["local_ns"], kind="stable"))
    gap_ns = now_ns - int(rows["local_ns"][-1])
    if gap_ns > config.gap_max:
        raise SessionError(
            "the warm-up ends long before now: indicators would jump", field="warmup.gap_max", expected=f"at most {config.gap_max / 1e9:g} s",
            got=f"{gap_ns / 1e9:.0f} s", remedy='add trades = "10m", ingest newer data, or raise gap_max',
        )  # fmt: skip
    rows["flags"] |= FLAG_WARMUP
    return History(rows, last)


def _of_catalog(loaded: LoadedSession, instruments: Sequence[Instrument], now_ns: int) -> Rows:
    """Trades, and books or quotes as the session shows them, of a catalog's last part before now."""
    config = loaded.config.warmup
    catalog = Catalog(loaded.folder / Path(config.catalog).expanduser())
    names = [f"{loaded.config.feed.venue}:{each.symbol}" for each in instruments]
    tape = open_tape(catalog.rows(names), catalog.cache)
    slot_of = np.full(len(tape.instruments), -1, np.int64)
    for at, held in enumerate(tape.instruments):
        slot = [each.symbol for each in instruments].index(held.symbol)
        ours = instruments[slot]
        if (held.price_scale, held.qty_scale) != (ours.price_scale, ours.qty_scale):
            raise ConfigError(
                "the catalog has the instrument in other scales than the venue", field="warmup.catalog",
                expected=f"{ours.symbol} with price_scale {ours.price_scale} and qty_scale {ours.qty_scale}",
                got=f"{held.price_scale} and {held.qty_scale}", remedy="ingest it again with the venue's rules",
            )  # fmt: skip
        slot_of[at] = slot
    kinds = (table.TRADE, *(_BOOK if loaded.config.feed.shown == "depth" else (table.QUOTE,)))
    local = tape.local
    first = int(np.searchsorted(local["local_ns"], int(local["local_ns"][-1]) - config.last)) if config.last else 0
    until = int(np.searchsorted(local["local_ns"], now_ns, side="right"))
    if until - first > ROWS_MAX:
        raise SessionError(
            "the warm-up is too long", field="warmup.catalog", expected=f"at most {ROWS_MAX:,} rows", got=f"{until - first:,}",
            remedy='take its last part only, such as last = "1h"',
        )  # fmt: skip
    rows = np.array(local[first:until])
    rows = pick(rows, np.isin(rows["kind"], kinds))
    rows["instrument"] = slot_of[rows["instrument"]]
    return rows


async def _plans(
    loaded: LoadedSession, session: Session, client: aiohttp.ClientSession, now_ns: int
) -> dict[int, list[Stretch]]:
    """The klines to ask for, by slot. They end where `trades` begins, and where the venue says that they have ended for SETTLED_NS."""
    config, venue = loaded.config.warmup, loaded.config.feed.venue
    sizes = time_series(session)
    if not sizes:
        raise ConfigError(
            "a warm-up by bars without bars", file=loaded.file, field="warmup.bars", expected='a strategy with bars by time, such as bars = ["1h"]',
            got="none", remedy='take trades = "10m" instead',
        )  # fmt: skip
    shortest = shortest_ns(venue)
    for size in sorted(set().union(*sizes.values())):
        if size % shortest:
            raise ConfigError(
                "the venue has no klines that such bars could be put together from", file=loaded.file, field="warmup.bars",
                expected=f"bars that are multiples of {duration(shortest)} long", got=duration(size),
                remedy="take trades instead of bars, or other bars in the strategy",
            )  # fmt: skip
    venue_ns = venue_time_ns(await get(client, loaded.rest + time_path(venue)))
    seam_ns = min(now_ns - config.trades, now_ns - SETTLED_NS, venue_ns - SETTLED_NS)
    found = {slot: stretches(venue, each, config.bars, seam_ns) for slot, each in sizes.items()}
    for slot, plan in found.items():
        count = sum((each.end_ns - each.start_ns) // each.length_ns for each in plan)
        if count > PAGES_MAX * PAGE:
            raise SessionError(
                "the warm-up is too long", field="warmup.bars", expected=f"at most {PAGES_MAX * PAGE:,} klines of a symbol",
                got=f"{count:,} of {session.instruments[slot].symbol}", remedy="lower bars under [warmup], or ask for bars of fewer lengths",
            )  # fmt: skip
    return found


async def _of_klines(
    loaded: LoadedSession, slot: int, instrument: Instrument, client: aiohttp.ClientSession, plan: Sequence[Stretch]
) -> tuple[Rows, int]:
    """(Rows of the klines of a plan, where the last one ends: from there on trades have to tell)."""
    venue, found, told_ns = loaded.config.feed.venue, list[Rows](), plan[-1].end_ns
    for length_ns, start_ns, end_ns in plan:
        at_ns = start_ns
        while at_ns < end_ns:
            body = await get(client, loaded.rest + klines_path(venue, instrument.symbol, length_ns, at_ns, end_ns))
            try:
                rows, until_ns = kline_rows(body, venue, instrument, slot, length_ns, at_ns, end_ns)
            except DecodeError as error:  # Half a history is none.
                raise SessionError(str(error), field=instrument.symbol) from None
            found.append(rows)
            if until_ns == at_ns:
                break
            at_ns = told_ns = until_ns
    return (join_rows(found) if found else np.zeros(0, ROW)), told_ns


async def _of_rest(
    loaded: LoadedSession,
    slot: int,
    instrument: Instrument,
    client: aiohttp.ClientSession,
    span: tuple[int, int],
    last: dict[int, tuple[int, int]],
) -> tuple[Rows, bool]:
    """(Aggregated trades from a time to another, asked for backwards page by page; whether they are all). last: the last one is noted there."""
    (since_ns, now_ns), found, whole = span, list[Rows](), False
    past = PastTrades(loaded.config.feed.venue, instrument, slot)
    before = 0
    for _ in range(PAGES_MAX):
        path = past.aggregated_path(from_id=max(before - PAGE, 1) if before else 0)
        try:
            told = past.aggregated(await get(client, loaded.rest + path))
        except DecodeError as error:  # Half a history is none.
            raise SessionError(
                "the venue's past trades cannot be read", field=instrument.symbol, got=error.got
            ) from None
        rows = told.rows
        if before:
            rows = pick(rows, rows["trade_id"] < before)
        else:
            count = int(np.count_nonzero(rows["local_ns"] <= now_ns))
            if count and told.last[count - 1]:
                last[slot] = int(told.last[count - 1]), int(rows["venue_ns"][count - 1])
        if not len(rows):
            whole = not before
            break
        found.append(rows)
        before = int(rows["trade_id"][0])
        whole = int(rows["local_ns"][0]) < since_ns or before <= 1
        if whole:
            break
    rows = join_rows(found[::-1]) if found else np.zeros(0, ROW)
    rows["local_ns"] = np.maximum.accumulate(rows["local_ns"])
    return pick(rows, (rows["local_ns"] >= since_ns) & (rows["local_ns"] <= now_ns)), whole


async def feed_history(loop: LiveLoop, rows: Rows) -> None:
    """Halt, and hand the rows to the loop, each chunk safe in the journal before the next. Trading stays halted."""
    loop.command("halt", WARM_UP, local_ns=int(rows["local_ns"][0]))
    span_ns = int(rows["local_ns"][-1]) - int(rows["local_ns"][0])
    fired = sum(
        span_ns // int(each["interval_ns"])
        for each in loop.node.decision["timers"]
        if each["armed"] and each["interval_ns"]
    )
    if fired > ROWS_MAX:
        raise SessionError(
            "the strategies' timers would fire too often in the warm-up", expected=f"at most {ROWS_MAX:,} times", got=f"{fired:,}",
            remedy="remove the session's folder, and lower bars under [warmup], or set longer timers until trading begins",
        )  # fmt: skip
    began = loop.counts.requests
    async for _ in _handed_over(loop, rows):
        if loop.counts.requests != began:
            raise SessionError(
                "a request came out of the warm-up", expected="none while trading is halted", got=str(loop.counts.requests - began)
            )  # fmt: skip


def short_series(node: LiveNode, wanted: int) -> list[str]:
    """For a person: series by time that got fewer bars than wanted, since an interval without a trade makes none."""
    found = []
    for bar in node.decision["bars"][: int(node.decision["bars_used"])]:
        state, symbol = bar["state"], node.session.instruments[int(bar["instrument"])].symbol
        if int(state["kind"]) == TIME_BAR and int(state["count"]) < wanted:
            found.append(
                f"! {symbol}: {int(state['count']):,} bars of {duration(int(state['size']))} instead of {wanted:,}: the other intervals had no trade"
            )
    return found


async def missed_prints(
    loaded: LoadedSession,
    instruments: Sequence[Instrument],
    client: aiohttp.ClientSession,
    last: Mapping[int, tuple[int, int]],
    now_ns: int,
) -> tuple[Rows, list[str]]:
    """(Trades since a journal's last ones, as the venue tells them, by their own times; symbols of which it does not tell all).

    last: id and venue time by slot, of what the journal holds. Rows are flagged LATE.
    """
    parts, broken = list[Rows](), list[str]()

    async def body(path: str) -> bytes:
        return await get(client, loaded.rest + path)

    for slot, (after_id, after_ns) in last.items():
        aggregated = loaded.config.feed.prints == "aggTrade"
        past = PastTrades(loaded.config.feed.venue, instruments[slot], slot, aggregated=aggregated)
        try:
            rows, whole = await trades_after(body, past, after_id, after_ns, now_ns)
        except VenueBusyError:
            raise
        except (SessionError, DecodeError):
            rows, whole = np.zeros(0, ROW), False
        parts.append(rows)
        if not whole:
            broken.append(instruments[slot].symbol)
    rows = join_rows(parts) if parts else np.zeros(0, ROW)
    rows["local_ns"] = np.minimum(rows["venue_ns"], now_ns)
    rows["flags"] |= FLAG_LATE
    return pick(rows, np.argsort(rows["local_ns"], kind="stable")), broken


async def feed_missed(loop: LiveLoop, rows: Rows) -> None:
    """Hand the rows to the loop, whose markets have to be stale: no order is decided by them."""
    async for _ in _handed_over(loop, rows):
        pass


async def _handed_over(loop: LiveLoop, rows: Rows) -> AsyncIterator[None]:
    """Chunk by chunk, each safe in the journal before the next."""
    for chunk in whole_facts(rows, min(CHUNK_ROWS, loop.recorded.journal.commit_rows_max // ROWS_A_FACT)):
        loop.take(chunk)
        if loop.failure:
            raise SessionError(loop.failure)
        yield
        while not loop.is_caught_up and not loop.failure:
            await WORLD.sleep(WAIT_S)
