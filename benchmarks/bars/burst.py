"""The bar on bursts: a real session trades while its market sends twenty times the recorded peak.

TWINLOOP_BURST_S      seconds of the burst (10)
TWINLOOP_BURST_TIMES  times the peak (20)

The session is `twinloop live` in a process of its own, on sockets of this machine; the other side is burst_venue.py. What is lost, doubled
or different is found in the exchange's own books (tests/reference/kills.py), which share no code with the engine.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from burst_venue import FIRST_ID, BurstVenue, Play, busiest_second
from harness import ROOT, NotMetError, Outcome, bar, recordings, say

sys.path.insert(0, str(ROOT / "tests"))

KNOWN: Final = ("touch", "depth")  # How a session's market is known.
TIMES: Final = 20.0
BURST_S: Final = 10.0
CALM_S: Final = 5.0  # At the recorded peak itself, before and after.
BEHIND_MS: Final = (
    50.0  # Less than this is not behind: the times of the venue are whole milliseconds, and its own work takes some.
)


@bar("burst", "0 own events, 0 trades", "lost or twice")
def burst() -> Outcome:
    """Twenty times the recorded peak for ten seconds: no own event lost or twice, no trade lost, the ledger equal, the journal replays.

    Beside it: how far the session was behind, how long until it had caught up, what it left out of quotes, the delay of own events, memory.
    """
    times, seconds = (
        float(os.environ.get("TWINLOOP_BURST_TIMES", TIMES)),
        float(os.environ.get("TWINLOOP_BURST_S", BURST_S)),
    )
    seconds_of = [(path, *busiest_second(path)) for path in recordings("usdm")]
    path, second, kinds = max(seconds_of, key=lambda each: each[2].total())
    peak = kinds.total()
    say(
        f"  the recorded peak: {peak} messages in a second of {path.name} ({ {k.decode(): n for k, n in kinds.items()} })"
    )
    detail: dict[str, Any] = {"recorded_peak": peak, "of": path.name, "times": times, "seconds": seconds}
    bad = 0
    for shown in KNOWN:
        detail[shown] = its = asyncio.run(_session(path, second, shown, times, seconds))
        say(f"  {shown}: {its}")
        bad += its["own_lost_or_twice"] + its["trades_lost_or_twice"]
    whole = times >= TIMES and seconds >= BURST_S and all(detail[each]["reached"] for each in KNOWN)
    read = all(detail[each]["connects"] == 1 for each in KNOWN)
    if not whole:
        detail["reason"] = f"the bar is {TIMES:g} times the peak for {BURST_S:g} s, and a venue that reaches it"
    return Outcome(bad, ok=bad == 0 and whole and read, detail=detail)


async def _session(path: Path, second: int, shown: str, times: float, seconds: float) -> dict[str, Any]:
    from reference.kills import Killed
    from reference.live_sessions import live_file, strategies
    from reference.processes import started, until, words_of

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with BurstVenue(seed=1) as venue:
            venue.play = Play(path, second, shown, venue.mid)
            calm = float(venue.play.size)
            rate = times * calm
            file = live_file(folder, venue.port, strategies(folder), busy=True, feed=f'shown = "{shown}"')
            text = file.read_text().replace("segment_rows = 4096", "segment_rows = 1048576")
            file.write_text(text)
            session = Killed(venue, file, folder / "sessions" / "live")
            async with started("live", str(file)) as live:
                await until(lambda: venue._market is not None, live)  # noqa: SLF001 - the bar's own
                await venue.pace(CALM_S, calm)
                await venue.pace_until(until(lambda: words_of(session.place)["trading_state"] == 0, live), calm)
                await venue.pace_until(session.trades(live), calm)
                before = _memory_mb(live.process.pid)
                own, fills = len(venue.own), session.fills()
                began_ns = time.time_ns()
                reached = await venue.pace(seconds, rate)
                ended_ns = time.time_ns()
                in_burst = len(venue.own) - own, session.fills() - fills
                await venue.taken()
                read_ns = time.time_ns()
                await venue.pace(CALM_S, calm)
                await venue.pace_until(session.trades(live), calm)
                after = _memory_mb(live.process.pid)
                words = words_of(session.place)
                if await live.end(signal.SIGTERM) != 0:
                    raise NotMetError(f"the session ended with {live.process.returncode}: {live.said[-500:]}")
            try:
                session.books()
                wrong = ""
            except AssertionError as error:
                wrong = str(error)[:500]
            found = _journal(session.place / "journal", venue, began_ns, ended_ns)
            found |= {
                "sent_per_s": round(reached), "reached": reached >= 0.98 * rate, "books": wrong or "equal",
                "own_in_burst": in_burst[0], "fills_in_burst": in_burst[1], "read_after_burst_s": round((read_ns - ended_ns) / 1e9, 3),
                "unsent_max_mb": round(venue.unsent_max / 1e6, 2), "memory_mb": [before, after], "connects": words["feed_connects"],
            }  # fmt: skip
            found["own_lost_or_twice"] += bool(wrong)
            return found


def _memory_mb(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return round(int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3, 1)


def _journal(folder: Path, venue: BurstVenue, began_ns: int, ended_ns: int) -> dict[str, Any]:
    """What the journal holds against what was sent on both streams, and how late the market was read."""
    from twinloop.engine.gateway.client_ids import ClientIds
    from twinloop.engine.journal.reader import open_journal
    from twinloop.kernels import rows as table

    ends = {"CANCELED": table.CANCELLED, "EXPIRED": table.EXPIRED}
    ids = ClientIds("tl")
    sent_fills: dict[int, int] = {}
    sent_ends: dict[int, str] = {}
    sent_new: set[int] = set()
    for at_ns, order in venue.own:
        parsed = ids.parse(order["c"])
        assert parsed is not None
        if order["x"] == "TRADE":
            assert order["t"] not in sent_fills
            sent_fills[order["t"]] = at_ns
        elif order["x"] in ends:
            sent_ends[parsed.order_id] = order["x"]
        elif order["x"] == "NEW":
            sent_new.add(parsed.order_id)
    fills: dict[int, list[int]] = {}  # By trade, when each booking of it was sealed.
    acks: Counter[int] = Counter()
    booked_ends: Counter[tuple[int, int]] = Counter()
    heard_of: set[int] = set()
    trades = []
    for commit in open_journal(folder).each():
        rows = commit.rows
        kinds = rows["kind"]
        its = rows[kinds == table.TRADE]
        if len(its):
            trades.append(np.array([its["trade_id"], its["local_ns"], its["venue_ns"]]))
        for row in rows[(kinds >= table.ACK) & (kinds <= table.AMENDED)]:
            kind, order_id = int(row["kind"]), int(row["order_id"])
            if kind == table.FILL and int(row["flags"]) & table.FLAG_TAIL:
                fills.setdefault(int(row["trade_id"]), []).append(int(commit.seal["wall_ns"]))
                continue
            heard_of.add(order_id)
            acks[order_id] += kind == table.ACK
            if kind in ends.values():
                booked_ends[order_id, kind] += 1
    wrong = sum(len(fills.get(each, ())) != 1 for each in sent_fills) + len(set(fills) - set(sent_fills))
    wrong += sum(
        each not in heard_of or acks[each] > 1 for each in sent_new
    )  # One that is filled at once needs no ACK.
    wrong += sum(booked_ends[each, ends[what]] != 1 for each, what in sent_ends.items())
    delays = [
        (booked[0] - sent_fills[each]) / 1e6 for each, booked in fills.items()
        if each in sent_fills and began_ns <= sent_fills[each] <= ended_ns
    ]  # fmt: skip
    numbers, read_ns, sent_ns = np.concatenate(trades, axis=1)
    sent = set(range(FIRST_ID, FIRST_ID + venue.play.sent[b"@trade"]))
    behind_ms = (read_ns - sent_ns) / 1e6
    late_ns = read_ns[(behind_ms > BEHIND_MS) & (read_ns >= ended_ns)]
    shares = np.percentile(delays, [50, 99, 100]) if delays else np.full(3, np.nan)
    return {
        "own_sent": len(venue.own), "own_lost_or_twice": int(wrong), "trades_sent": len(sent),
        "trades_lost_or_twice": len(sent ^ set(numbers.tolist())) + len(numbers) - len(np.unique(numbers)),
        "own_delay_ms": dict(zip(("p50", "p99", "most"), np.round(shares, 2).tolist(), strict=True)),
        "behind_most_ms": round(float(behind_ms[(read_ns >= began_ns)].max()), 1),
        "behind_at_end_ms": round(float(behind_ms[np.searchsorted(read_ns, ended_ns) - 1]), 1),
        "caught_up_after_s": round((int(late_ns[-1]) - ended_ns) / 1e9, 3) if len(late_ns) else 0.0,
    }  # fmt: skip
