"""Who has the last word on trading: whether a session that starts again may go on by itself, or waits for a person.

What goes down by itself (an alert, a start) may come up by itself once everything is proven; what a person, a limit or an alert that has
to be looked at stopped stays so until a person says otherwise. The words stand in the journal as rows, with who gave them in `code`. This
module must not give any.
"""

from collections.abc import Mapping
from typing import Any

from twinloop.engine.gateway import alerts
from twinloop.engine.live.loop import OF_ALERT, OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.kernels import codes
from twinloop.kernels.rows import FLATTEN, HALT, REDUCE, RESUME


def ends_by_itself(kind: int, code: int) -> bool:
    """Whether a word holds only until everything is proven: REDUCE of a start, or of an alert that time explains."""
    alert = OF_ALERT - code
    of_alert = alert in alerts.ALERTS and alerts.ALERTS[alert].name not in alerts.STAYS
    return kind == REDUCE and (code == SESSION_START or of_alert)


def who_said(kind: int, code: int) -> str:
    """Who gave a word, for a person who reads a journal; empty where the code says nobody."""
    known = {SESSION_END: "the session ends", SESSION_START: "a start", WARM_UP: "history is fed"}
    if code >= OF_PERSON:
        return f"user {code - OF_PERSON}"
    if code == OF_PERSON - 1:
        return "a person"
    if kind == RESUME and code == codes.RESUME_BY_ITSELF:
        return "what was begun by itself is over"
    if kind == FLATTEN and code == codes.FLATTEN_AT_MARKET:
        return "at market"
    alert = alerts.ALERTS.get(OF_ALERT - code)
    return known.get(code, "" if alert is None else f"alert {alert.name}")


class Words:
    """The words on an account's trading so far."""

    def __init__(self) -> None:
        self._of_person = False
        self._by_itself = False
        self.warming = False  # History was being fed, and nothing ended that.
        self._ended: tuple[int, int] | None = None  # State and reason before the session ended in order.
        self.last = (
            0,
            0,
        )  # Kind and code of the last word that stopped something; zeros: none did, or it is not known.

    def to_plain(self) -> dict[str, Any]:
        """Plain data of it."""
        return {
            "of_person": self._of_person,
            "by_itself": self._by_itself,
            "ended": self._ended,
            "warming": self.warming,
            "last": self.last,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Words":
        """What `to_plain` gave."""
        words = cls()
        words._of_person, words._by_itself = bool(plain["of_person"]), bool(plain["by_itself"])
        words.warming = bool(plain["warming"])
        ended, last = plain["ended"], plain.get("last", (0, 0))  # Snapshots of before have none.
        words.last = (int(last[0]), int(last[1]))
        words._ended = None if ended is None else (int(ended[0]), int(ended[1]))
        return words

    def take(self, kind: int, code: int, state: int, reason: int) -> None:
        """A HALT, REDUCE, RESUME or FLATTEN; the account's state and its reason before it."""
        self._ended = None
        if kind != RESUME and code != SESSION_END:
            self.last = (kind, code)
        self.warming = (kind == HALT and code == WARM_UP) or (self.warming and kind != RESUME)
        if kind == RESUME and code == codes.RESUME_BY_ITSELF:
            self._by_itself = False
        elif kind == RESUME:
            self._of_person = self._by_itself = False
        elif code == SESSION_END:
            self._ended = (state, reason)
        elif ends_by_itself(kind, code):
            self._by_itself = True
        else:
            self._of_person = True

    def may_resume(self, state: int, reason: int) -> bool:
        """Whether a session may trade again without a person's word. state, reason: of the account now."""
        if self._ended is not None:
            state, reason = self._ended
        reduced = state == codes.REDUCING and reason == codes.REJECT_HALTED and self._by_itself
        return not self._of_person and (state == codes.ACTIVE or reduced)
