"""What a session answers its operator: how it stands, its limits, and commands, each a row in the journal with who gave it.

    operator = Operator(loop, feed, loaded, orders, reconciler, clock=clock, started_ns=now, decided=decided)
    document = operator.answer("halt", {}, user)        # what `serve` sends back; raises the project's errors

This module must not read a socket.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from twinloop.data.errors import ConfigError
from twinloop.engine.gateway.alerts import ALERTS, utc
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.control import ASKS, NOTED
from twinloop.engine.live.feeds import Feeds
from twinloop.engine.live.limit_changes import changes
from twinloop.engine.live.loop import OF_PERSON, LiveLoop
from twinloop.engine.live.measured import sidecar_status
from twinloop.engine.live.orders import OrderEdge
from twinloop.engine.live.reconcile import Reconciler
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.status import status_of
from twinloop.engine.live.telling import limits_told
from twinloop.engine.seam import WORLD, ReceiveClock
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW


class Operator:
    """orders, reconciler: None on paper. decided: called where a person says how trading goes on."""

    def __init__(
        self,
        loop: LiveLoop,
        feed: Feeds,
        loaded: LoadedSession,
        orders: OrderEdge | None,
        reconciler: Reconciler | None,
        *,
        clock: ReceiveClock,
        started_ns: int,
        decided: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._feed = feed
        self._loaded = loaded
        self._orders = orders
        self._reconciler = reconciler
        self._clock = clock
        self._started_ns = started_ns
        self._decided = decided

    def answer(self, command: str, document: dict[str, Any], user: int) -> dict[str, Any]:
        """What the operator's socket answers."""
        loop = self._loop
        if command in ASKS and document.get("again") is not True:
            loop.command("note", OF_PERSON + user, value=1 + NOTED.index(command))
        if command == "status":
            feeds = self._feed.told(self._clock.local_ns())
            if self._orders is not None:
                gateway = self._orders.gateway
                feeds.append({
                    "orders": self._loaded.rest, "user stream": "up" if gateway.stream_up else "down", "sent": self._orders.transport.sent,
                    "wait until": utc(until_ns) if (until_ns := gateway.weight.blocked_until_ns(gateway.sender.venue_ns)) else "",
                    "working": len(gateway.open_orders), "in doubt": gateway.unproven, "of others": len(gateway.strangers), "alerts": len(self._orders.alerts),
                })  # fmt: skip
            feeds.append(sidecar_status(self._loaded.place, WORLD.monotonic_ns()))
            return status_of(
                loop, name=self._loaded.name, mode=loop.node.session.mode, started_ns=self._started_ns, feeds=feeds
            )
        if command == "limits":
            return {"lines": limits_told(self._loop.node)}
        if command == "tighten":
            return self._tighten(document, user)
        if command == "ack":
            return {"sequence": self._acknowledge(document.get("alert"), user), "state": loop.trading_state}
        if command in {"breaks", "accept"}:
            return self._answer_about_breaks(command, document, user)
        if command == "resume" and self._reconciler is not None and self._reconciler.breaks:
            raise SessionError(
                "the venue holds something else than the journal: nothing trades on that", expected="every difference accepted or gone",
                got=", ".join(each.name for each in self._reconciler.breaks), remedy="`twinloop reconcile` looks again and shows each; --accept books one",
            )  # fmt: skip
        self._decided()
        if command == "flatten" and document.get("at_market") is True:
            loop.command("halt", OF_PERSON + user)
            sequence = loop.command("flatten", codes.FLATTEN_AT_MARKET)
        else:
            sequence = loop.command(command, OF_PERSON + user)
        return {"sequence": sequence, "state": loop.trading_state}

    def _tighten(self, document: dict[str, Any], user: int) -> dict[str, Any]:
        """Make a limit stricter, for good: the journal has it, so a restart does too."""
        loop, symbol = self._loop, document.get("symbol")
        key, text = str(document.get("limit", "")), str(document.get("value", ""))
        wanted = changes(
            loop.node.decision, loop.node.session.instruments, key, text, None if not symbol else str(symbol)
        )
        sequence = loop.command("note", OF_PERSON + user, value=1 + NOTED.index("tighten"))
        for change in wanted:
            loop.change_limit(change.instrument, change.word, change.value)
        return {"sequence": sequence, "state": loop.trading_state, "lines": limits_told(self._loop.node)}

    def _acknowledge(self, alert: Any, user: int) -> int:
        """Write down that a person has seen an alert. Sequence of the next fact."""
        known = {number: spec.name for number, spec in ALERTS.items()}
        wanted = alert if isinstance(alert, int | str) and not isinstance(alert, bool) else None
        number = next((each for each, name in known.items() if wanted in {each, name}), None)
        if number is None:
            raise ConfigError(
                "no such alert", field="alert", expected="a number or name of an alert, such as 6 or OVERFILL", got=str(alert)
            )  # fmt: skip
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"] = table.ALERT_ACKNOWLEDGED, self._clock.local_ns()
        row["alert"], row["code"] = number, OF_PERSON + user
        self._loop.note(row)
        return self._loop.node.sequence

    def _answer_about_breaks(self, command: str, document: dict[str, Any], user: int) -> dict[str, Any]:
        if self._reconciler is None:
            raise SessionError("a paper session has no account to compare with", field=command)
        if command == "accept":
            sequence = self._reconciler.accept(str(document.get("id", "")), str(document.get("reason", "")), user)
            return {"sequence": sequence} | self._reconciler.told()
        if document.get("look") is True:
            self._reconciler.want()
        return self._reconciler.told() | {"now_ns": self._clock.local_ns()}
