"""Frames of Binance's user streams, spot and USD-M, as reports.

Decoding is typed: a frame is a documented event, an event that is named as unknown and counted, or a DecodeError. This module must not
keep state or decide what an event means for an order.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from twinloop.data.binance_reports import (
    AccountReport,
    FillReport,
    OrderReport,
    StreamReport,
    UserReport,
    plain,
    read,
    sign,
    status_of,
    sum_of,
    whole,
)


class _Execution(msgspec.Struct, rename={"expired_for": "eR"}):
    """Fields of a spot executionReport and of the `o` of a USD-M ORDER_TRADE_UPDATE: both use the same letters."""

    s: str
    c: str
    S: str
    q: str
    p: str
    x: str
    X: str
    i: int
    l: str  # noqa: E741 - the venue's name
    z: str
    L: str
    T: int
    t: int = 0
    m: bool = False
    n: str | None = None
    N: str | None = None
    C: str = ""
    r: str = ""
    expired_for: str | int = ""
    er: str | int = ""


class _AlgoExecution(msgspec.Struct):
    caid: str
    aid: int
    s: str
    S: str
    q: str
    X: str
    p: str = "0"
    ai: str | int = ""
    rm: str = ""


class _AccountBalance(msgspec.Struct):
    a: str
    wb: str
    bc: str = "0"


class _AccountPosition(msgspec.Struct):
    s: str
    pa: str
    ps: str = "BOTH"


class _AccountChange(msgspec.Struct):
    m: str = ""
    B: list[_AccountBalance] = []
    P: list[_AccountPosition] = []


class _SpotPosition(msgspec.Struct):
    a: str
    f: str
    l: str  # noqa: E741 - the venue's name


class _Envelope(msgspec.Struct):
    e: str = ""
    stream: str = ""
    event: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class _OrderEvent(msgspec.Struct):
    o: _Execution
    T: int = 0


class _AlgoEvent(msgspec.Struct):
    o: _AlgoExecution
    T: int = 0


class _AccountEvent(msgspec.Struct):
    a: _AccountChange
    T: int = 0


class _SpotMoneyEvent(msgspec.Struct):
    a: str
    d: str
    T: int = 0


class _SpotAccountEvent(msgspec.Struct):
    B: list[_SpotPosition]
    u: int = 0


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_EXECUTION: Final = msgspec.json.Decoder(_Execution)
_ORDER_EVENT: Final = msgspec.json.Decoder(_OrderEvent)
_ALGO_EVENT: Final = msgspec.json.Decoder(_AlgoEvent)
_ACCOUNT_EVENT: Final = msgspec.json.Decoder(_AccountEvent)
_SPOT_MONEY_EVENT: Final = msgspec.json.Decoder(_SpotMoneyEvent)
_SPOT_ACCOUNT_EVENT: Final = msgspec.json.Decoder(_SpotAccountEvent)


def _executed(found: _Execution) -> OrderReport:
    """Report of an execution, with its fill if it is one."""
    client_id = found.C or found.c
    side = sign(found.S)
    fills: tuple[FillReport, ...] = ()
    venue_id = whole(found.i)
    if found.x in {"TRADE", "CALCULATED"} and found.l.strip("0.") != "":
        fills = (
            FillReport(
                found.s, venue_id, client_id, max(whole(found.t), 0), side, found.L, found.l, found.n or "0",
                found.N or "", found.m, found.T, found.z,
            ),
        )  # fmt: skip
    reason = str(found.expired_for or found.er or (found.r if found.r != "NONE" else ""))
    return OrderReport(
        found.s, client_id, venue_id, status_of(found.X), found.x, side, found.p, found.q, found.z, found.T,
        found.X if found.X == "EXPIRED_IN_MATCH" else reason, fills, found.x in {"AMENDMENT", "REPLACED"},
    )  # fmt: skip


def _spot_execution(body: bytes | msgspec.Raw) -> OrderReport:
    return _executed(read(_EXECUTION, body, "an execution report"))


def _usdm_execution(body: bytes | msgspec.Raw) -> OrderReport:
    return _executed(read(_ORDER_EVENT, body, "an order update").o)


def _stop_event(body: bytes | msgspec.Raw) -> OrderReport:
    event = read(_ALGO_EVENT, body, "an update of a stop order")
    found = event.o
    actual = int(found.ai) if str(found.ai).isdecimal() else 0
    return OrderReport(
        found.s, found.caid, whole(found.aid), status_of(found.X), "ALGO", sign(found.S), found.p, found.q, "0",
        event.T, found.rm, stop=True, actual_id=whole(actual),
    )  # fmt: skip


def _account_event(body: bytes | msgspec.Raw) -> AccountReport:
    event = read(_ACCOUNT_EVENT, body, "an account update")
    positions = {(part.s, part.ps): part.pa for part in event.a.P}
    balances = {part.a: part.wb for part in event.a.B}
    changes = tuple((part.a, part.bc) for part in event.a.B)
    return AccountReport(event.T, event.a.m, balances, positions, complete=False, changes=changes)


def _spot_account_event(body: bytes | msgspec.Raw) -> AccountReport:
    event = read(_SPOT_ACCOUNT_EVENT, body, "an account position")
    return AccountReport(event.u, "", {part.a: sum_of(part.f, part.l) for part in event.B}, {}, complete=False)


def _spot_money_event(body: bytes | msgspec.Raw) -> AccountReport:
    """A deposit, a withdrawal or a transfer: spot does not say which."""
    event = read(_SPOT_MONEY_EVENT, body, "a change of a balance")
    return AccountReport(event.T, "BALANCE_UPDATE", {}, {}, complete=False, changes=((event.a, event.d),))


_EVENTS: Final[dict[str, Callable[[bytes | msgspec.Raw], UserReport]]] = {
    "executionReport": _spot_execution,
    "ORDER_TRADE_UPDATE": _usdm_execution,
    "ALGO_UPDATE": _stop_event,
    "ACCOUNT_UPDATE": _account_event,
    "outboundAccountPosition": _spot_account_event,
    "balanceUpdate": _spot_money_event,
}
_ENDED: Final = frozenset({"listenKeyExpired", "eventStreamTerminated", "serverShutdown"})
# TRADE_LITE tells of a fill without its fee, ahead of the ORDER_TRADE_UPDATE that has it.
_QUIET: Final = frozenset(
    {
        "TRADE_LITE", "listStatus", "externalLockUpdate", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL",
        "STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT",
    }
)  # fmt: skip


def read_user_frame(frame: bytes) -> UserReport:
    """One frame of a user stream, bare or in the envelope of either market. DecodeError for anything but documented shapes."""
    body: bytes | msgspec.Raw = frame
    envelope = read(_ENVELOPE, body, "an event")
    if not envelope.e:
        inner = envelope.event or envelope.data
        if not inner:
            return StreamReport("", ended=False, known=False)
        body = inner
        envelope = read(_ENVELOPE, body, "an event")
    reader = _EVENTS.get(envelope.e)
    if reader is not None:
        return reader(body)
    return StreamReport(plain(envelope.e), ended=envelope.e in _ENDED, known=envelope.e in _ENDED | _QUIET)
