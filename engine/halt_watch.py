"""Notices during a run that its account stopped trading. Apart from halts.py, so that a run starts without waiting for Polars."""

from typing import Any, Final

from twinloop.kernels import codes

STATE_NAME: Final = {codes.REDUCING: "REDUCING", codes.HALTED: "HALTED"}


class HaltWatch:
    """Looks at the state of a run's account after each batch, which a broken limit ends, and keeps each rise: `found`, plain values as JSON takes them."""

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
                    "at_ns": int(decision["clock"]["now_ns"]),
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
