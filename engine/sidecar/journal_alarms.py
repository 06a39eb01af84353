"""Which rows of a journal a person has to hear of, and in which words.

Operator's words, alerts of the order gateway, a market that goes stale, and an account that its own limits halted: what happened, and what
to do. This module must not send anything.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from twinloop.data.rowfile import Rows
from twinloop.engine.gateway import alerts
from twinloop.engine.live.loop import OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.engine.sidecar.alarms import CRITICAL, NOTE, WARNING, Alarm
from twinloop.kernels import codes
from twinloop.kernels import rows as table

_SEVERITY: Final = {alerts.NOTE: NOTE, alerts.WARN: WARNING, alerts.REDUCE: WARNING, alerts.HALT: CRITICAL}
_REMEDY: Final = {
    alerts.NOTE: "nothing",
    alerts.WARN: "look at the order with `twinloop journal show`, and compare with the venue",
    alerts.REDUCE: "positions may only shrink until it is proven; look at `twinloop ctl status`",
    alerts.HALT: "trading is halted: find out why before `twinloop ctl resume`",
}
_FAILED: Final = "see strategy-errors.jsonl in the session's folder; `twinloop ctl resume` calls the strategy again"
_WORDS: Final = {
    table.HALT: ("halted", CRITICAL, "`twinloop ctl resume` trades again"),
    table.REDUCE: ("reduced", WARNING, "positions may only shrink; `twinloop ctl resume` trades again"),
    table.FLATTEN: ("told to flatten", CRITICAL, "see that the positions are closed"),
    table.RESUME: ("resumed", NOTE, "nothing"),
}
_GOES_ON: Final = "nothing: it goes on by itself once its orders are proven"
_OF_ITSELF: Final = {
    (table.HALT, SESSION_END): ("halted because it ends", NOTE, "nothing"),
    (table.HALT, WARM_UP): ("halted while history is fed", NOTE, "nothing: it goes on by itself"),
    (table.HALT, SESSION_START): (
        "halted: the venue holds something else than the journal",
        CRITICAL,
        "see every difference with `twinloop reconcile`, accept it or put it right, then `twinloop ctl resume`",
    ),
    (table.REDUCE, SESSION_START): ("reduced", NOTE, _GOES_ON),
    (table.RESUME, SESSION_START): ("resumed", NOTE, _GOES_ON),
}
_STATES: Final = {codes.REDUCING: "REDUCING", codes.HALTED: "HALTED"}


def row_alarms(rows: Rows, where: str, names: Mapping[int, str]) -> Iterator[Alarm]:
    """The alarms of journal rows. names: of instruments by slot."""
    for row in rows:
        kind = int(row["kind"])
        if kind == table.ALERT:
            yield _gateway_alarm(row, where)
        elif kind in _WORDS:
            who = int(row["code"])
            word, severity, remedy = _OF_ITSELF.get((kind, who), _WORDS[kind])
            by = f" by user {who - OF_PERSON}" if who >= OF_PERSON else ""
            yield Alarm(f"word-{kind}-{int(row['sequence'])}", severity, f"the session was {word}{by}", where, remedy)
        elif kind == table.ALERT_ACKNOWLEDGED:
            spec = alerts.ALERTS.get(int(row["alert"]))
            name = spec.name if spec is not None else str(int(row["alert"]))
            who = int(row["code"]) - OF_PERSON
            yield Alarm(f"ack-{name}-{int(row['local_ns'])}", NOTE, f"user {who} has seen {name}", where, "nothing")
        elif kind == table.FEED_STALE:
            name = names.get(int(row["instrument"]), str(int(row["instrument"])))
            yield Alarm(
                f"stale-{name}", WARNING, f"the market of {name} is stale: no new orders in it", where,
                "it comes back by itself; if not, look at the feed in `twinloop ctl status`",
            )  # fmt: skip


def state_alarm(before: int, account: Any, where: str) -> Alarm | None:
    """An account that its limits reduced or halted, which no word asked for: words are alarms of their own. before: its state at the last look."""
    now = int(account["state"])
    if now <= before or now not in _STATES or int(account["halt_code"]) == codes.REJECT_HALTED:
        return None
    code = codes.CODE_NAME.get(int(account["halt_code"]), str(int(account["halt_code"])))
    return Alarm(
        f"state-{now}", CRITICAL if now == codes.HALTED else WARNING, f"the account is {_STATES[now]}: {code}", where,
        "see `twinloop ctl status`; a limit that was broken stays broken until a person resumes",
    )  # fmt: skip


def _gateway_alarm(row: Any, where: str) -> Alarm:
    unknown = alerts.AlertSpec(f"ALERT {int(row['alert'])}", alerts.WARN, "of another version")
    name, demand, meaning = alerts.ALERTS.get(int(row["alert"]), unknown)
    order = int(row["code"])
    about = f" of order {order}" if order else ""
    return Alarm(
        f"gateway-{name}-{order}",
        CRITICAL if name == "STRATEGY_FAILED" else _SEVERITY[demand],
        f"{name}{about}, value {int(row['value'])}: {meaning}",
        where,
        _FAILED if name == "STRATEGY_FAILED" else _REMEDY[demand],
    )
