"""What a running session tells whoever maps its counters, and whether its watchdog has fenced it.

Published between two turns by the session's own thread, so a heartbeat that stands still means that this thread does. This module must not
change anything of the session.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinloop.data.errors import DataError
from twinloop.data.instruments import from_scaled
from twinloop.engine.live.shared import ENDED, FENCE, RUNNING, SESSION, SIDECAR, STARTING, SharedReader, SharedWords
from twinloop.engine.seam import WORLD, process_id, process_start

if TYPE_CHECKING:
    from twinloop.engine.live.process import LiveProcess

COUNTERS: Final = "session.words"
SIDECAR_WORDS: Final = "sidecar.words"
FENCE_WORDS: Final = "fence.words"
EVERY_NS: Final = 10_000_000  # No more often: a heartbeat's age is judged in seconds.
SIDECAR_GONE_NS: Final = 3_000_000_000  # It publishes many times a second.
DISK_EVERY: Final = 100  # Publications between two looks at the disk.


def sidecar_status(place: Path, now_ns: int) -> dict[str, str]:
    """How the sidecar of a folder does, for a status view: its words, or that there is none. now_ns: monotonic."""
    reader = SharedReader(place / SIDECAR_WORDS, SIDECAR)
    try:
        words = reader.read()
    except DataError:
        return {"sidecar": "of another version"}
    finally:
        reader.close()
    if words is None:
        return {"sidecar": "none: nobody watches this session"}
    age_ns = now_ns - words["mono_ns"]
    if not 0 <= age_ns < SIDECAR_GONE_NS:
        return {"sidecar": "gone: nobody watches this session"}
    return {
        "sidecar": "watches", "commits followed": f"{words['commit']:,}", "snapshot at": f"{words['snapshot_commit']:,}",
        "alarms": str(words["alarms"]), "not delivered": str(words["failed"]), **_shown_disk(words),
    } | (shown_gap(words) if words["shadow_on"] else {})  # fmt: skip


def _shown_disk(words: dict[str, int]) -> dict[str, str]:
    """When the journal's disk is full, and what was put away."""
    found = {"disk full in": f"{words['disk_full_s'] / 3600:,.0f} h"} if words["disk_full_s"] >= 0 else {}
    if words["copied"] or words["retired"] or words["retention_failed"]:
        found["segments copied"] = f"{words['copied']:,}, {words['retired']:,} retired"
        if words["retention_failed"]:
            found["archiving"] = "FAILS: see the alarms"
    return found


def shown_gap(words: dict[str, int]) -> dict[str, str]:
    """How far the simulated twin is from what happened: the fills of both, then real less simulated."""
    return {
        "fills": f"{words['fills_live']:,} ({words['fills_shadow']:,} simulated)",
        "slippage gap": from_scaled(words["gap_slippage"], 8), "profit gap": from_scaled(words["gap_profit"], 8),
    }  # fmt: skip


class Published:
    """The counters of one instance of a session, in its folder, whose lock it holds. The fence is made here, open, and then only read."""

    def __init__(self, place: Path) -> None:
        self.instance = int(WORLD.unique()[:15], 16)
        self._fence = SharedWords(place / FENCE_WORDS, FENCE)
        self._words = SharedWords(place / COUNTERS, SESSION)
        self._began = process_start(process_id())
        self._heartbeat = 0
        self._last_ns = 0
        self._free_bytes = 0
        self._values: dict[str, int] = {}
        self._publish(STARTING)

    def fenced(self) -> bool:
        """Whether this instance must not send any more."""
        return self._fence.peek(0) == self.instance

    def beat(self, process: "LiveProcess") -> None:
        """Publish what the session stands at, unless that was done just now."""
        if WORLD.monotonic_ns() - self._last_ns >= EVERY_NS:
            self._values = self._of(process)
            self._publish(RUNNING)

    def end(self, *, failed: bool) -> None:
        """The session ends. failed: not because somebody asked for it, so that its orders may still work."""
        self._values = {**self._values, "failed": int(failed)}
        self._publish(ENDED)
        self._words.close()
        self._fence.close()

    def _publish(self, phase: int) -> None:
        self._heartbeat += 1
        self._last_ns = WORLD.monotonic_ns()
        self._words.publish(
            self._values
            | {
                "instance": self.instance, "pid": process_id(), "pid_start": self._began, "phase": phase, "heartbeat": self._heartbeat, "mono_ns": self._last_ns,
                "wall_ns": WORLD.wall_ns(),
            }
        )  # fmt: skip

    def _of(self, process: "LiveProcess") -> dict[str, int]:
        loop, feed = process.loop, process.feed
        journal, decision, counts = loop.recorded.journal, loop.node.decision, loop.counts
        account, active = decision["accounts"][0], feed.arbiter.active
        if self._heartbeat % DISK_EVERY == 1:
            self._free_bytes = journal.disk()["free_bytes"]
        found = {
            "epoch": journal.epoch, "turns": counts.turns, "facts": counts.facts, "requests": counts.requests, "refused": counts.refused,
            "fills": counts.fills, "commands": counts.commands, "decisions": loop.node.decisions(), "commits": journal.commits,
            "safe_commits": journal.reached(), "trading_state": int(account["state"]), "halt_code": int(account["halt_code"]),
            "open_orders": int(decision["open_count"]), "equity": int(account["equity"]), "cash": int(account["cash"]),
            "feed_connected": int(feed.connected), "feed_stale": int(feed.stale), "feed_connects": feed.connects,
            "feed_source": active.source if active is not None else -1, "feed_switches": feed.arbiter.switches,
            "feed_age_ns": loop.clock.local_ns() - active.last_ns if active is not None and active.last_ns else -1,
            "journal_failed": int(bool(journal.failure)), "free_bytes": self._free_bytes,
        }  # fmt: skip
        if process.orders is not None:
            gateway = process.orders.gateway
            found |= {
                "unproven": gateway.unproven, "sent": process.orders.transport.sent, "alerts": len(process.orders.alerts),
                "stream_up": int(gateway.stream_up),
            }  # fmt: skip
        return found
