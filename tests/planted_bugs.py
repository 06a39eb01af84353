"""A pytest plugin that plants one bug, to see that a named test turns red: `pytest -p planted_bugs` with TWINLOOP_PLANTED=NAME.

Each bug takes the place of one function of the product, in the test's process only; the product knows nothing of it. A bug that no test met
proves nothing, so how often it was met is printed at the end. BUGS names for each the tests of which at least one must turn red, and what
pytest says then: a test that a bug only makes crash has not found it. The bar `planted-bugs` of benchmarks/bars runs them with the bug and
without.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

VARIABLE: Final = "TWINLOOP_PLANTED"
met = 0


@dataclass(frozen=True)
class Bug:
    """what: is wrong with it. plant: puts it there. tests: those of which one must turn red. because: what the failure says."""

    what: str
    plant: Callable[[], None]
    tests: tuple[str, ...]
    because: str


def _count() -> None:
    global met  # noqa: PLW0603 - one plugin, one process
    met += 1


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put make(what is there) in its place. AttributeError where there is nothing of that name: the product has changed."""
    setattr(owner, name, make(owner.__dict__[name]))


def _timeout_taken_as_failure() -> None:
    from twinloop.engine.gateway import outcome as kinds
    from twinloop.engine.gateway.answers import Answers
    from twinloop.kernels import codes

    def make(real: Any) -> Any:
        def none(self: Any, sent: Any) -> None:
            found = self._order(sent) if sent.kind == kinds.PLACE else None
            if found is None:
                real(self, sent)
                return
            _count()
            self.tracker.refuse(found[1], codes.REASON_NOT_SENT)
            self._follow_up(sent)

        return none

    _instead(Answers, "none", make)


def _double_booking_on_replay() -> None:
    from twinloop.engine.gateway.recovery import _Journal

    def make(real: Any) -> Any:
        def fill(self: Any, head: Any, tail: Any) -> None:
            seen = self.book.seen.get(head.instrument)
            real(self, head, tail)
            if seen is not None and seen._booked.pop(tail.word_48, None) is not None:  # It is news again.
                _count()

        return fill

    _instead(_Journal, "_fill", make)


def _reserve_released_on_cancel_send() -> None:
    from twinloop.engine.gateway.desk import Desk
    from twinloop.kernels import codes, rows

    def make(real: Any) -> Any:
        def cancel(self: Any, row: Any) -> None:
            real(self, row)
            order = self.tracker.find(row.word_48)
            if order is not None and not order.ended:
                _count()
                order.ended = rows.CANCELLED
                self.tracker._tell(rows.CANCELLED, order, codes.REASON_REQUESTED)

        return cancel

    _instead(Desk, "_cancel", make)


def _gap_ignored() -> None:
    from twinloop.data.book_sync import BookSync
    from twinloop.data.rowfile import pick
    from twinloop.kernels import rows as table

    def make(real: Any) -> Any:
        def pass_on(self: Any, rows: Any) -> Any:
            if not self.waits and int(rows["kind"][0]) == table.FEED_GAP:
                _count()
                return pick(rows, rows["kind"] != table.FEED_GAP)
            return real(self, rows)

        return pass_on

    _instead(BookSync, "pass_on", make)


def _loss_reset_at_restart() -> None:
    from twinloop.engine.live import recovery

    def make(real: Any) -> Any:
        def recover(*arguments: Any, **more: Any) -> Any:
            found = real(*arguments, **more)
            _count()
            accounts = found.node.decision["accounts"]
            accounts["day_equity"] = accounts["equity"]
            return found

        return recover

    _instead(recovery, "recover", make)


def _failed_query_is_flat() -> None:
    from twinloop.data.binance_reports import AccountReport
    from twinloop.engine.gateway import outcome as kinds
    from twinloop.engine.gateway.answers import Answers

    def make(real: Any) -> Any:
        def route(self: Any, sent: Any, judgement: Any, reason: int = 0) -> None:
            real(self, sent, judgement, reason)
            if sent.kind == kinds.ACCOUNT:
                _count()
                self.account = AccountReport(0, "", {}, {}, complete=True)

        return route

    _instead(Answers, "_route", make)


class _NoNumber(int):
    """What stands for NaN where numbers are integers: the same bits as a cast of it gives, and no comparison is true of it."""

    def _never(self, other: object) -> bool:
        del other
        return False

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _never
    __hash__ = int.__hash__


def _nan_passes() -> None:
    """A test that refuses what is too small lets NaN pass; only one that accepts what is within does not."""
    from twinloop.engine.gateway import fills

    def make(real: Any) -> Any:
        def scaled(text: str, *arguments: Any, **more: Any) -> Any:
            if text.strip().lstrip("+-").lower() in {"nan", "inf", "infinity"}:
                _count()
                return _NoNumber(-(2**63)), False
            return real(text, *arguments, **more)

        return scaled

    _instead(fills, "scaled", make)


def _late_fill_dropped() -> None:
    from twinloop.engine.gateway.tracker import Tracker
    from twinloop.kernels import rows

    def make(real: Any) -> Any:
        def take_fill(self: Any, order: Any, leg: Any, terms: Any) -> None:
            if order.ended and order.ended != rows.FILL:
                _count()
                return
            real(self, order, leg, terms)

        return take_fill

    _instead(Tracker, "take_fill", make)


def _fsync_retried() -> None:
    """A second try succeeds, as after a failure the pages count as clean: to who waits, the failure has never been."""
    from twinloop.data import journal_write
    from twinloop.engine.journal.writer import JournalWriter

    def make(real: Any) -> Any:
        def begin(self: Any, *arguments: Any, **more: Any) -> None:
            faults = getattr(more.get("layer"), "faults", None)
            if faults is not None:
                failing = (faults[:, 0] == journal_write.SYNC) & (faults[:, 3] < 0)
                if failing.any():
                    _count()
                    faults[failing, 0] = -1  # No operation: what fails is done again, and then it is well.
            real(self, *arguments, **more)

        return begin

    _instead(JournalWriter, "__init__", make)


def _stale_standby() -> None:
    """Whether a standby still hears anything is not asked: once it did, it is good enough."""
    from twinloop.data.feed_arbiter import FeedArbiter, Leg

    standby: set[Leg] = set()

    def choosing(real: Any) -> Any:
        def choose(self: Any, now_ns: int) -> Any:
            standby.clear()
            standby.update(leg for leg in self.legs if leg is not self.active)
            return real(self, now_ns)

        return choose

    def make(real: Any) -> Any:
        def fit(self: Any, now_ns: int) -> bool:
            fine = bool(real(self, now_ns))
            if not fine and self in standby and self.last_ns:
                _count()
                return True
            return fine

        return fit

    _instead(FeedArbiter, "_choose", choosing)
    _instead(Leg, "fit", make)


def _ban_retried() -> None:
    from twinloop.engine.gateway.rate_budget import WeightBudget

    def make(real: Any) -> Any:
        def takes(self: Any, weight: int, now_ns: int, **more: Any) -> bool:
            if now_ns < self.banned_until_ns:
                _count()
                return True
            return bool(real(self, weight, now_ns, **more))

        return takes

    _instead(WeightBudget, "takes", make)


def _not_sent_resent() -> None:
    """What a journal says was never sent is sent once more by the process that reads it."""
    from twinloop.engine.gateway.recovery import _Journal

    def make(real: Any) -> Any:
        def finish(self: Any) -> None:
            again = [
                order
                for order in self.touched.values()
                if order.order_id in self.not_sent and order.order_id not in self.sent and not order.ended
            ]
            self.not_sent.clear()
            real(self)
            for order in again:
                _count()
                self.desk.prover.place(order, order.legs[0])

        return finish

    _instead(_Journal, "finish", make)


_GATEWAY: Final = "tests/engine/gateway/"
_LIVE: Final = "tests/engine/live/"
_JOURNAL: Final = "tests/engine/journal/"

BUGS: Final[dict[str, Bug]] = {
    "timeout-taken-as-failure": Bug(
        "an order without an answer is told to the kernel as refused",
        _timeout_taken_as_failure,
        (_GATEWAY + "test_placing.py::test_no_proof_is_unknown_until_proven", _GATEWAY + "test_any_order.py::test_any_order_of_facts_ends_in_the_venues_truth"),
        "assert ['REJECT'] == ['UNKNOWN']",
    ),
    "double-booking-on-replay": Bug(
        "a fill that the journal holds is news to the process that reads it",
        _double_booking_on_replay,
        (_GATEWAY + "test_any_order.py::test_any_order_of_facts_with_restarts_ends_in_the_venues_truth",),
        "each fill once, none invented",
    ),
    "reserve-released-on-cancel-send": Bug(
        "the kernel is told that an order is cancelled as soon as the cancel is sent",
        _reserve_released_on_cancel_send,
        (_GATEWAY + "test_cancels_and_amends.py::test_a_cancel_refused_as_unknown_is_filled_only_on_proof",),
        "nothing is told of a -2011 until the venue says why",
    ),
    "gap-ignored": Bug(
        "a book goes on over a gap in its update ids",
        _gap_ignored,
        ("tests/data/test_binance_stream.py::test_a_break_of_the_chain_is_a_gap_and_begins_anew",),
        "assert ['LEVEL'] == ['FEED_GAP']",
    ),
    "loss-reset-at-restart": Bug(
        "the day's loss begins anew with a process",
        _loss_reset_at_restart,
        (_LIVE + "test_recovery.py::test_a_session_goes_on_after_its_death",),
        "the day's loss counts on over a restart",
    ),
    "failed-query-is-flat": Bug(
        "an account that cannot be asked about is one without positions",
        _failed_query_is_flat,
        (_GATEWAY + "test_streams_and_strangers.py::test_balances_are_unknown_until_told_and_again_when_asked_for_in_vain",),
        "complete=True, changes=()) is None",
    ),
    "nan-passes": Bug(
        "a number that is none is read as zero",
        _nan_passes,
        (_GATEWAY + "test_fills.py::test_a_price_that_is_no_number_is_not_booked_and_the_trade_is_asked_for",),
        "nothing is booked of it",
    ),
    "late-fill-dropped": Bug(
        "a fill of an order that has ended is not booked",
        _late_fill_dropped,
        (_GATEWAY + "test_fills.py::test_a_fill_after_the_cancel_is_booked_and_told",),
        "assert ['ACK', 'CANCELLED'] == ['ACK', 'CANCELLED', 'FILL']",
    ),
    "fsync-retried": Bug(
        "a sync that failed is tried again, and its success believed",
        _fsync_retried,
        (_JOURNAL + "test_writer.py::test_a_failed_sync_is_never_tried_again",),
        "DID NOT RAISE JournalFailedError",
    ),
    "stale-standby": Bug(
        "a market is taken from a connection that is itself silent",
        _stale_standby,
        ("tests/data/test_feed_arbiter.py::test_the_standby_that_is_itself_silent_is_never_taken",),
        "a silent feed was taken",
    ),
    "ban-retried": Bug(
        "calls go on while the venue has banned the address",
        _ban_retried,
        (_GATEWAY + "test_limits_and_clock.py::test_a_ban_stops_all_calls_and_outlives_a_restart", _GATEWAY + "test_budgets_and_clock.py::test_a_hold_off_and_a_ban_stop_everything_until_they_end_and_outlive_a_restart"),
        "asked during the ban",
    ),
    "not-sent-resent": Bug(
        "an order that never left is sent by the next process",
        _not_sent_resent,
        (_GATEWAY + "test_gateway_recovery.py::test_a_journalled_order_without_sent_is_unknown_and_asked_about_and_one_not_sent_is_refused",),
        "assert ('UNKNOWN', 0) == ('REJECTED', 94)",
    ),
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Plant what the environment names, before any test module is imported."""
    del config
    name = os.environ.get(VARIABLE, "")
    if not name:
        return
    if name not in BUGS:
        raise pytest.UsageError(f"{VARIABLE}={name}: expected one of {', '.join(BUGS)}")
    BUGS[name].plant()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often the bug was met."""
    name = os.environ.get(VARIABLE, "")
    if name:
        terminalreporter.write_line(f"planted {name}: met {met} times")
