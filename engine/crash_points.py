"""Where a test may have this process die: TWINLOOP_CRASH_AT=NAME, or NAME:N for the Nth time that point is reached.

    if crash_points.armed:
        crash_points.reach("commit")

The process ends itself with SIGKILL, so nothing is flushed, closed or told, as in a crash. For tests only: a command refuses to start with
the variable set unless TWINLOOP_TEST_SWITCHES=1 says that this is one. This module must not be reached from a kernel.
"""

import os
import signal
from typing import Final

from twinloop.data.errors import ConfigError

VARIABLE: Final = "TWINLOOP_CRASH_AT"
SWITCH: Final = "TWINLOOP_TEST_SWITCHES"

POINTS: Final = {
    # A batch of facts and its commit (engine/live/recorded.py).
    "inbox-append": "facts are in the journal's buffer, what they caused is not",
    "outbox-append": "requests are in the journal's buffer, not sealed",
    "commit": "everything is in the buffer, the seal is not",
    "committed": "the commit is sealed, nothing of it has left",
    # A segment (engine/journal/writer.py).
    "segment-room": "a file was given its room under a name that no reader looks at",
    "segment-header": "its header is written, its name is not",
    "segment-named": "it has its name, no commit",
    "segment-trim": "the segment before is full and synced, its unused room is still there",
    # A snapshot (the sidecar's process).
    "snapshot": "its parts are collected, nothing is written",
    "snapshot-named": "it has its name, older ones are still there",
    # An order (engine/live/orders.py, engine/gateway/transport.py).
    "before-send": "a request is about to leave, nothing says so",
    "after-send": "it stands in the journal that a request leaves, none of its bytes did",
    "sent": "a request's answer is read, the gateway has not seen it",
    "answer": "the facts of an answer are known, the journal has none of them",
    "answered": "the facts of an answer are in the journal",
    # A start (engine/live/process.py).
    "start-lock": "the journal's lock is held",
    "start-ready": "a torn tail was cut",
    "start-replayed": "the node is built again",
    "start-epoch": "the next epoch is taken, its segment is not begun",
    "start-writer": "the new epoch's segment is begun",
    "start-rebuilt": "the gateway knows its orders, nothing was asked",
    "start-proving": "the venue is being asked about them",
    "start-proven": "everything is proven, trading has not begun",
}

armed = ""
_left = 1


def arm(value: str, *, test: bool) -> None:
    """Take what TWINLOOP_CRASH_AT says; "" for nothing. ConfigError for an unknown point, or where nothing says that this is a test."""
    global armed, _left  # noqa: PLW0603 - one switch of one process
    if not value:
        armed = ""
        return
    name, _, number = value.partition(":")
    if not test:
        raise ConfigError(
            "this process was told to crash", field=f"${VARIABLE}", expected="nothing outside tests", got=value,
            remedy=f"unset it; a test sets {SWITCH}=1 beside it",
        )  # fmt: skip
    if name not in POINTS or not (number or "1").isdigit():
        raise ConfigError("no such point to crash at", field=f"${VARIABLE}", expected=", ".join(POINTS), got=value)
    armed, _left = name, int(number or 1)


def arm_from_environment() -> None:
    """As `arm`, from this process's environment."""
    arm(os.environ.get(VARIABLE, ""), test=os.environ.get(SWITCH) == "1")


def reach(name: str) -> None:
    """A point was reached: the end, if it is the one."""
    global _left  # noqa: PLW0603
    if name == armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
