"""How a running session stands: as a plain document for machines, and as a screen for a person.

Reads the node between two turns; must not change anything.
"""

import os
from typing import Any

from rich.console import Group
from rich.text import Text

from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, from_scaled
from twinloop.engine.instrument_names import shown_names
from twinloop.engine.live.fitting import Fitting, Packed
from twinloop.engine.live.loop import STATE_NAME, LiveLoop
from twinloop.engine.live.strategy_failures import FILE
from twinloop.engine.live.telling import refusals, why_stopped
from twinloop.engine.wording import iso
from twinloop.kernels import codes
from twinloop.kernels.book import BOOK_LIVE
from twinloop.kernels.node import FLATTEN_NOT

_STYLE = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "bold red"}
_BOOK = {0: "empty", 1: "snapshot", BOOK_LIVE: "live", 3: "crossed", 4: "gap", 5: "invalid"}


def status_of(loop: LiveLoop, *, name: str, mode: str, started_ns: int, feeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything a status view shows, as plain values; money as decimal text."""
    decision = loop.node.decision
    account = decision["accounts"][0]
    session, decimals = loop.node.session, loop.node.session.money_decimals
    journal = loop.recorded.journal
    return {
        "name": name,
        "mode": mode,
        "state": loop.trading_state,
        "reason": codes.CODE_NAME.get(int(account["halt_code"]), "") if int(account["halt_code"]) else "",
        "why": why_stopped(loop.node, loop.last_word),
        "failure": loop.failure,
        "closing": int(account["flatten"]) != FLATTEN_NOT,
        "now": iso(loop.clock.local_ns()),
        "started": iso(started_ns),
        "running_s": (loop.clock.local_ns() - started_ns) // 10**9,
        "currency": session.currency,
        "equity": _money(account["equity"], decimals),
        "cash": _money(account["cash"], decimals),
        "profit": _money(int(account["equity"]) - int(account["start_equity"]), decimals),
        "day_profit": _money(int(account["equity"]) - int(account["day_equity"]), decimals),
        "drawdown": _money(int(account["peak_equity"]) - int(account["equity"]), decimals),
        "fees": _money(paid_in_all(decision, "fees"), decimals),
        "funding": _money(paid_in_all(decision, "funding"), decimals),
        "facts": loop.counts.facts,
        "requests": loop.counts.requests,
        "refused": loop.counts.refused,
        "refusals": refusals(loop.node),
        "fills": loop.counts.fills,
        "decisions": loop.node.decisions(),
        "process": os.getpid(),
        "epoch": journal.epoch,
        "commits": journal.commits,
        "durability": journal.durability,
        "journal": str(journal.folder),
        "free_bytes": journal.disk()["free_bytes"],
        "symbols": [
            _symbol(decision, slot, instrument, shown, loop.clock.local_ns())
            for slot, (instrument, shown) in enumerate(
                zip(session.instruments, shown_names(session.instruments), strict=True)
            )
        ],
        "strategies": [_strategy(loop, slot, spec.name) for slot, spec in enumerate(session.strategies)],
        "feeds": feeds,
    }


def paid_in_all(decision: Any, what: str) -> int:
    """Fees paid, or funding received, since the session began, in the account's currency at the rates of now; to be shown."""
    each = zip(decision["ledgers"][0][what], decision["fx"], strict=True)
    return sum(int(amount) * int(rate) // MONEY_ONE for amount, rate in each)


def _money(value: Any, decimals: int) -> str:
    """Money as text with so many of its decimals, to the nearest."""
    cut = MONEY_SCALE - decimals
    text = from_scaled(round(int(value), -cut), MONEY_SCALE)
    return text[: len(text) - cut]


def _strategy(loop: LiveLoop, slot: int, name: str) -> dict[str, Any]:
    state = loop.node.decision["strategies"][slot]
    # Of an error in a process before this one the journal holds no words.
    error = loop.strategy_errors.get(slot, f"see {FILE}") if int(state["failed"]) else ""
    holdings = loop.node.decision["strategy_holdings"][slot]
    instruments = loop.node.session.instruments
    funding = [
        {
            "symbol": shown,
            "amount": _money(
                holdings[at]["position"]["funding"], MONEY_SCALE if instruments[at].contract == "inverse" else 2
            ),
        }
        for at, shown in enumerate(shown_names(instruments))
        if int(holdings[at]["position"]["funding"])
    ]
    instruments = loop.node.session.instruments
    positions = [
        {"symbol": shown, "position": instrument.qty_text(int(holdings[at]["position"]["qty"]))}
        for at, (instrument, shown) in enumerate(zip(instruments, shown_names(instruments), strict=True))
        if int(holdings[at]["position"]["qty"])
    ]
    return {
        "name": name, "state": STATE_NAME[int(state["state"])], "error": error, "funding": funding, "positions": positions,
    }  # fmt: skip


def _symbol(decision: Any, slot: int, instrument: Any, shown: str, now_ns: int) -> dict[str, Any]:
    market = decision["instruments"][slot]
    holding = decision["account_holdings"][0][slot]
    seen_ns = max(int(market["quote_ns"]), int(market["trade_ns"]))
    book = int(market["book"])
    return {
        "symbol": shown,
        "bid": instrument.price_text(int(market["bid"])),
        "ask": instrument.price_text(int(market["ask"])),
        "position": instrument.qty_text(int(holding["position"]["qty"])),
        "working_buy": instrument.qty_text(int(holding["exposure"]["buy_qty"])),
        "working_sell": instrument.qty_text(int(holding["exposure"]["sell_qty"])),
        "age_ms": (now_ns - seen_ns) // 10**6 if seen_ns else None,
        "book": _BOOK.get(int(decision["books"][book]["state"]), "?") if book >= 0 else "",
        "stale": bool(market["stale"]),
    }


def status_table(found: dict[str, Any]) -> Group:
    """The screen: of any width, and no number on it is cut."""
    head = Text()
    head.append(f"{found['name']}  {found['mode']}  ")
    head.append(found["state"], style=_STYLE.get(found["state"], ""))
    if found["closing"]:
        head.append("  closing positions", style="red")
    head.append(f"  {found['now']}  up {found['running_s']} s", style="dim")
    lines: list[Any] = [head]
    if found["why"]:
        lines.append(Text(f"{found['state']}: {found['why']}", style="red"))
    if found["failure"]:
        lines.append(Text(f"! {found['failure']}", style="bold red"))
    lines += [
        Text(f"! strategy {each['name']} is {each['state']} {each['error']}".rstrip(), style="bold red")
        for each in found["strategies"]
        if each["state"] != "ACTIVE"
    ]
    lines.append(Fitting([{
        "equity": f"{found['equity']} {found['currency']}", "cash": found["cash"], "profit": found["profit"],
        "today": found["day_profit"], "drawdown": found["drawdown"], "fees": found["fees"], "funding": found["funding"],
    }]))  # fmt: skip
    counts = ("facts", "decisions", "requests", "refused", "fills")
    lines.append(Fitting([{name: f"{found[name]:,}" for name in counts}]))
    if found["refusals"]:
        lines.append(Packed({f"refused {name}": f"{count:,}" for name, count in found["refusals"].items()}, "yellow"))
    lines.append(_symbols(found["symbols"]))
    if len(found["strategies"]) > 1:
        lines.append(Fitting([
            {"strategy": each["name"], "state": each["state"], "positions": ", ".join(f"{held['symbol']} {held['position']}" for held in each["positions"]) or "none"}
            for each in found["strategies"]
        ], left=frozenset({"strategy", "state", "positions"})))  # fmt: skip
    lines += [Packed({key: str(value) for key, value in feed.items()}) for feed in found["feeds"]]
    lines.append(Packed({
        "journal": found["journal"], "epoch": str(found["epoch"]), "commits": f"{found['commits']:,}", "durability": found["durability"],
        "process": str(found["process"]),
    }))  # fmt: skip
    return Group(*lines)


def _symbols(symbols: list[dict[str, Any]]) -> Fitting:
    """Each market, and what the account has in it."""
    rows = [
        {
            "symbol": each["symbol"], "bid": each["bid"], "ask": each["ask"], "position": each["position"], "buying": each["working_buy"],
            "selling": each["working_sell"], "age": "never" if each["age_ms"] is None else f"{each['age_ms']:,} ms",
            "book": (each["book"] + (" stale" if each["stale"] else "")).strip(),
        }
        for each in symbols
    ]  # fmt: skip
    styles = {(at, "book"): "red" for at, each in enumerate(symbols) if each["stale"]}
    return Fitting(rows, left=frozenset({"symbol", "book"}), styles=styles)
