"""When an account stopped trading in a run: by which limit, at which value, and what it refused after that.

Two sources: the account's state, looked at after each batch of the loop, which a broken limit ends; and the verdicts of the gate, which
count what was refused for it. This module must not decide about an order.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.limits import limits_named
from twinloop.engine.wording import iso, money
from twinloop.kernels import codes

if TYPE_CHECKING:
    from twinloop.engine.results import Run

_HALTED: Final = codes.CODE_NAME[codes.REJECT_HALTED]
_REDUCING: Final = codes.CODE_NAME[codes.REJECT_REDUCING]


def halts_of(run: "Run", seen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each reason for which the account stopped, by time: state, rule, limits, at_ns, equity, value, limit, refused.

    seen: as halt_watch.HaltWatch found them. equity, value, limit: account currency, None where not known; refused: requests that the state refused.
    """
    in_force = run.manifest["config"].get("limits_in_force") or {}
    found: dict[str, dict[str, Any]] = {}
    for each in seen:
        entry = found.setdefault(each["rule"], _entry(each["state"], each["rule"], each["at_ns"], in_force))
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
        entry["at_ns"] = min(entry["at_ns"], local_ns)
        entry["refused"] += 1
    return sorted(found.values(), key=lambda each: (each["at_ns"], each["rule"]))


def _entry(state: str, rule: str, at_ns: int, in_force: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": state, "rule": rule, "limits": limits_named(rule, in_force), "at_ns": at_ns, "equity": None, "value": None,
        "limit": None, "refused": 0,
    }  # fmt: skip


def halt_lines(halts: Sequence[Mapping[str, Any]], currency: str) -> list[str]:
    """The same for a person, a line each."""
    lines = []
    for each in halts:
        what = "trading was halted" if each["state"] == "HALTED" else "only orders that reduce a position passed"
        text = f"{what} at {iso(each['at_ns'])}"
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
