"""When an account stopped trading in a run: by which limit, at which value, and what it refused after that.

Two sources, for neither has everything: the account's state, looked at between two batches of the loop, and the verdicts of the gate,
each of which names why the account was halted. A time is therefore "no later than". This module must not decide about an order.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.limits import limits_named
from twinloop.engine.wording import iso, money
from twinloop.kernels import codes

if TYPE_CHECKING:
    from twinloop.engine.results import Run

STATE_NAME: Final = {codes.REDUCING: "REDUCING", codes.HALTED: "HALTED"}
_HALTED: Final = codes.CODE_NAME[codes.REJECT_HALTED]
_REDUCING: Final = codes.CODE_NAME[codes.REJECT_REDUCING]


class HaltWatch:
    """Looks at the state of a run's account from time to time and keeps each rise: `found`, plain values as JSON takes them."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._seen = (codes.ACTIVE, codes.ALLOW)

    def look(self, decision: Any) -> None:
        """Note a state and a reason that were not there before."""
        account = decision["accounts"][0]
        now = (int(account["state"]), int(account["halt_code"]))
        if now[0] != codes.ACTIVE and now != self._seen:
            value, limit = _measured(account, decision["account_limits"][0], now[1])
            self.found.append(
                {
                    "state": STATE_NAME[now[0]],
                    "rule": codes.CODE_NAME[now[1]],
                    "by_ns": int(decision["clock"]["now_ns"]),
                    "equity_int": int(account["equity"]),
                    "value_int": value,
                    "limit_int": limit,
                }
            )
        self._seen = now


def _measured(account: Any, limits: Any, code: int) -> tuple[int | None, int | None]:
    """What a limit measures now and what it allows, account currency; None where it is not of money."""
    if code == codes.REJECT_DAILY_LOSS:
        return int(account["day_equity"]) - int(account["equity"]), int(limits["max_daily_loss"])
    if code == codes.REJECT_DRAWDOWN:
        return int(account["floor_peak"]) - int(account["equity"]), int(limits["max_drawdown"])
    if code == codes.REJECT_SLIPPAGE:
        return int(account["slippage_day"]), int(limits["max_slippage_day"])
    return None, None


def halts_of(run: "Run", seen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each reason for which the account stopped, by time: state, rule, limits, by_ns, equity, value, limit, refused.

    seen: as HaltWatch found them. equity, value, limit: account currency, None where not known; refused: requests that the state refused.
    """
    in_force = run.manifest["config"].get("limits_in_force") or {}
    found: dict[str, dict[str, Any]] = {}
    for each in seen:
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
        lines.append(f"{text}; {each['refused']:,} requests were refused for it")
    return lines
