"""When an account stopped trading in a run: by which limit, at which value, and what it refused after that.

Two sources, for neither has everything: the account's state, looked at between two batches of the loop, and the verdicts of the gate,
each of which names why the account was halted. A time is therefore "no later than", as fine as the samples of the equity. This module
must not decide about an order.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.limits import limits_named
from twinloop.engine.wording import iso, money
from twinloop.kernels import codes

if TYPE_CHECKING:
    from twinloop.engine.results import Run

_OF_EQUITY: Final = {codes.CODE_NAME[code] for code in (codes.REJECT_DAILY_LOSS, codes.REJECT_DRAWDOWN)}
_HALTED: Final = codes.CODE_NAME[codes.REJECT_HALTED]
_REDUCING: Final = codes.CODE_NAME[codes.REJECT_REDUCING]


def halts_of(run: "Run", seen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each reason for which the account stopped, by time: state, rule, limits, by_ns, equity, value, limit, refused.

    seen: as halt_watch.HaltWatch found them. equity, value, limit: account currency, None where not known; refused: requests that the state refused.
    """
    in_force = run.manifest["config"].get("limits_in_force") or {}
    found: dict[str, dict[str, Any]] = {}
    for each in (_at_first_sample(run.equity, dict(one)) for one in seen):
        entry = found.setdefault(each["rule"], _entry(each["state"], each["rule"], each["by_ns"], in_force))
        entry["state"] = each["state"]
        for name in ("equity", "value", "limit"):
            whole = each[f"{name}_int"]
            if entry[name] is None and whole is not None:
                entry[name] = whole / MONEY_ONE
    for local_ns, verdict, value in run.risk.select("local_ns", "verdict", "value").iter_rows():
        if verdict == _HALTED:  # The verdict measures why.
            rule = codes.CODE_NAME.get(value, _HALTED)
            entry = found.setdefault(rule, _entry("HALTED", rule, local_ns, in_force))
        elif verdict == _REDUCING:
            reducing = [each for each in found.values() if each["state"] == "REDUCING"]
            entry = (
                reducing[0] if reducing else found.setdefault(verdict, _entry("REDUCING", verdict, local_ns, in_force))
            )
        else:
            continue
        entry["by_ns"] = min(entry["by_ns"], local_ns)
        entry["refused"] += 1
    return sorted(found.values(), key=lambda each: (each["by_ns"], each["rule"]))


def _at_first_sample(equity: "pl.DataFrame", seen: dict[str, Any]) -> dict[str, Any]:
    """The same, moved back to the first sample of the equity beyond the limit: between two looks, much may happen."""
    if seen["rule"] not in _OF_EQUITY:
        return seen
    floor_int = seen["equity_int"] + seen["value_int"] - seen["limit_int"]
    since = (pl.col("local_ns") > seen["after_ns"]) & (pl.col("local_ns") <= seen["by_ns"])
    beyond = equity.filter(since & (pl.col("equity_int") < floor_int))
    if beyond.is_empty():
        return seen
    local_ns, equity_int = beyond.select("local_ns", "equity_int").row(0)
    value_int = seen["value_int"] + seen["equity_int"] - equity_int
    return seen | {"by_ns": local_ns, "equity_int": equity_int, "value_int": value_int}


def _entry(state: str, rule: str, by_ns: int, in_force: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": state, "rule": rule, "limits": limits_named(rule, in_force), "by_ns": by_ns, "equity": None, "value": None,
        "limit": None, "refused": 0,
    }  # fmt: skip


def halt_lines(halts: Sequence[Mapping[str, Any]], currency: str) -> list[str]:
    """The same for a person, a line each."""
    lines = []
    for each in halts:
        what = "trading was halted" if each["state"] == "HALTED" else "only orders that reduce a position passed"
        text = f"{what} no later than {iso(each['by_ns'])}"
        if each["rule"] == _HALTED:
            text += ", by an operator's command"
        elif each["rule"] != _REDUCING:
            text += f", by {each['limits'] or 'a limit'} ({each['rule']})"
        if each["value"] is not None:
            text += f": {money(each['value'])} {currency} against a limit of {money(each['limit'])}"
        refused = (
            "1 request was"
            if each["refused"] == 1
            else f"{each['refused']:,} requests were"
            if each["refused"]
            else "no request was"
        )
        lines.append(f"{text}; {refused} refused for it")
    return lines
