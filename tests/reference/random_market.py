"""Random small markets and scripts for them: whatever the seed, rows that a reader could give and requests that make sense."""

import random
from collections.abc import Sequence
from typing import Any

from reference.run_small import MODES, Setup, linear, row

from twinloop.engine.assembly import BarRequest, VenueSettings
from twinloop.kernels import bars, codes, rows
from twinloop.kernels.node import FROM_BARS

DEPTH, TOUCH, PRINTS, BARS = MODES
MIDDLE = 100
BAR_NS = 9


STATUSES = (rows.TRADING, rows.TRADING, rows.HALTED_STATUS, rows.POST_ONLY_STATUS, rows.CANCEL_ONLY)


def events_of(draw: random.Random, count: int) -> list[tuple[Any, ...]]:
    """Local time since the last one, delay of the feed, instrument, what, price, quantity, a flag."""
    return [
        (
            draw.choice([0, 0, 1, 1, 2, 4]), draw.randrange(7), draw.randrange(2), draw.randrange(12),
            round(draw.triangular(-4, 4)), draw.randrange(10), draw.random() < 0.6,
        )
        for _ in range(count)
    ]  # fmt: skip


def facts_of(events: list[tuple[Any, ...]], modes: Sequence[int], *, status: bool) -> list[dict[str, Any]]:
    """A market from drawn numbers: whatever the numbers, the rows are ones that a reader could give."""
    facts: list[dict[str, Any]] = []
    now = 50
    bar_end = [30, 30]
    seen = [False, False]
    for step, delay, instrument, what, price, qty, flag in events:
        now += step
        venue_ns = now - delay
        mode = modes[instrument]

        if mode == BARS:
            start = bar_end[instrument] + (3 if flag else 0)
            bar_end[instrument] = start + BAR_NS
            now = max(now, bar_end[instrument])
            open_ = MIDDLE + price
            high, low = open_ + qty, open_ - what
            close = low + (high - low) * (step + delay) // 10
            tail = {"volume": 10 + qty, "notional": 0, "trades": 3, "interval_ns": BAR_NS}
            facts.append(
                row(
                    rows.BAR,
                    bar_end[instrument],
                    now,
                    instrument,
                    open=open_,
                    high=high,
                    low=low,
                    close=close,
                    tail=tail,
                )
            )
        elif what == 0 and flag and mode != PRINTS and status:
            facts.append(row(rows.STATUS, venue_ns, now, instrument, status=STATUSES[qty % 5]))
        elif mode == PRINTS or what <= 3:
            off_market = rows.FLAG_OFF_MARKET if qty == 0 else 0
            facts.append(
                row(
                    rows.TRADE,
                    venue_ns,
                    now,
                    instrument,
                    price=MIDDLE + price,
                    qty=qty + 1,
                    side=1 if flag else -1,
                    flags=off_market,
                )
            )
        elif mode == TOUCH:
            spread = 1 + what % 3
            facts.append(
                row(
                    rows.QUOTE,
                    venue_ns,
                    now,
                    instrument,
                    bid=MIDDLE + price,
                    bid_qty=qty,
                    ask=MIDDLE + price + spread,
                    ask_qty=step + delay,
                )
            )
        elif what == 4 or not seen[instrument]:
            seen[instrument] = True
            facts.append(row(rows.SNAPSHOT_BEGIN, venue_ns, now, instrument))
            for away in range(1, 4):
                facts.append(
                    row(
                        rows.SNAPSHOT_LEVEL,
                        venue_ns,
                        now,
                        instrument,
                        side=1,
                        price=MIDDLE + price - away,
                        qty=qty + away,
                    )
                )
                facts.append(
                    row(
                        rows.SNAPSHOT_LEVEL,
                        venue_ns,
                        now,
                        instrument,
                        side=-1,
                        price=MIDDLE + price + away,
                        qty=step + away,
                    )
                )
            facts.append(row(rows.SNAPSHOT_END, venue_ns, now, instrument))
        elif what == 5 and qty < 2:
            facts.append(row(rows.CLEAR, venue_ns, now, instrument))
        else:
            side = 1 if what % 2 else -1
            end = rows.FLAG_EVENT_END if flag else 0
            facts.append(
                row(
                    rows.LEVEL,
                    venue_ns,
                    now,
                    instrument,
                    side=side,
                    price=MIDDLE + price,
                    qty=qty if qty < 7 else 0,
                    flags=end,
                )
            )
    facts.sort(key=lambda fact: fact["local_ns"])
    return facts


def action_of(draw: random.Random) -> tuple[Any, ...]:
    what = draw.choice(["order"] * 6 + ["amend", "amend", "cancel", "cancel_all", "timer"])
    if what == "amend":
        return (what, draw.randrange(20), MIDDLE + round(draw.triangular(-5, 5)), draw.randrange(1, 15))
    if what == "cancel":
        return (what, draw.randrange(25))
    if what == "cancel_all":
        return (what, draw.randrange(-1, 2))
    if what == "timer":
        return (what, draw.randrange(1, 4), draw.choice([None, -5, 0, 3, 8, 15]), draw.choice([0, 0, 7]))
    drawn = {
        "instrument": draw.randrange(2),
        "side": draw.choice([1, -1]),
        "qty": draw.randrange(1, 13),
        "type": draw.choice([codes.LIMIT] * 6 + [codes.MARKET, codes.STOP, codes.STOP_LIMIT, codes.STOP_LIMIT]),
        "price": MIDDLE + round(draw.triangular(-5, 5)),
        "trigger_price": MIDDLE + round(draw.triangular(-5, 5)),
        "in_force": draw.choice([codes.GTC] * 5 + [codes.IOC, codes.FOK, codes.DAY, codes.GTD]),
        "instruction": draw.choice([0] * 5 + [codes.POST_ONLY, codes.REDUCE_ONLY]),
        "expire_in_ns": draw.randrange(1, 40),
    }
    return (what, order_of(drawn))


def script_of(draw: random.Random, calls: int) -> dict[int, list[Any]]:
    return {
        call: [action_of(draw) for _ in range(draw.randrange(1, 4))] for call in range(calls) if draw.random() < 0.35
    }


def order_of(drawn: dict[str, int]) -> dict[str, int]:
    """Fields of a request that make sense together, from drawn ones."""
    kind = drawn["type"]
    in_force = drawn["in_force"]
    order = {name: drawn[name] for name in ("instrument", "side", "qty", "type")}
    if kind in {codes.LIMIT, codes.STOP_LIMIT}:
        order["price"] = drawn["price"]
    if kind in {codes.STOP, codes.STOP_LIMIT}:
        order["trigger_price"] = drawn["trigger_price"]
    if in_force == codes.GTD:
        order["expire_in_ns"] = drawn["expire_in_ns"]
    order["flags"] = in_force | drawn["instruction"]
    return order


VENUES = (
    VenueSettings(),
    VenueSettings(entry_latency_ns=3, response_latency_ns=2),
    VenueSettings(entry_latency_ns=11, response_latency_ns=17),
    VenueSettings(entry_latency_ns=1, response_latency_ns=1, latency_model="seeded", jitter_ns=6),
    VenueSettings(deplete=False, session_end_ns=70, session_interval_ns=25),
    VenueSettings(queue_model="power", queue_power=2),
    VenueSettings(queue_model="log"),
    VenueSettings(bar_path="ohlc", touch_fills=True, entry_latency_ns=2),
    VenueSettings(bar_path="olhc", session_end_ns=60, session_interval_ns=30),
    VenueSettings(bar_path="nearest", response_latency_ns=5),
)


def setup_of(seed: int, modes: Sequence[int], count: int = 70, *, only_quotes_and_prints: bool = False) -> Setup:
    draw = random.Random(seed)
    wanted = [BarRequest(i, bars.TIME_BAR, 10**6, FROM_BARS) for i, mode in enumerate(modes) if mode == BARS]
    chosen = draw.choice(VENUES)
    facts = facts_of(events_of(draw, count), modes, status=not only_quotes_and_prints)
    return Setup([linear("X"), linear("Y")], list(modes), facts, script_of(draw, count), chosen, seed=seed, bars=wanted)
