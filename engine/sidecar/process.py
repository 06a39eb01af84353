"""The process beside a session: it watches, follows, and tells.

    asyncio.run(run_sidecar(load_session(Path("live.toml")), say))

It maps the session's counters read-only and reads its journal; what it may do is fence a mute session, cancel by a key of its own, and send
alarms. None of it waits for the session, and the session waits for none of it. This module must not place an order or write to a
journal's newest segments.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from twinloop.data.atomic import make_folder
from twinloop.data.errors import DataError, TwinloopError
from twinloop.engine.errors import first_raised
from twinloop.engine.journal.folder import FolderLock
from twinloop.engine.journal.reader import Commit
from twinloop.engine.live.config import MARKETS, LoadedSession
from twinloop.engine.live.keys import credentials_from
from twinloop.engine.live.measured import COUNTERS, SIDECAR_WORDS
from twinloop.engine.live.shared import SESSION, SIDECAR, SharedReader, SharedWords
from twinloop.engine.seam import WORLD, process_id
from twinloop.engine.sidecar.alarms import CRITICAL, NOTE, WARNING, Alarm, AlarmChannel, FileSink, Sink, WebhookSink
from twinloop.engine.sidecar.cancel_only import CancelOnly, Outcome
from twinloop.engine.sidecar.disk import DiskWatch
from twinloop.engine.sidecar.fence import Fence
from twinloop.engine.sidecar.journal_alarms import row_alarms, state_alarm
from twinloop.engine.sidecar.metrics import Metrics
from twinloop.engine.sidecar.replica import Replica
from twinloop.engine.sidecar.retention import Retention
from twinloop.engine.sidecar.watchdog import ALIVE, MUTE, OVER, Watchdog
from twinloop.kernels.codes import ACTIVE

FOLDER: Final = "sidecar"
ALARMS: Final = "alarms.jsonl"
LOOK_S: Final = 0.1
FOLLOW_S: Final = 0.1
RETAIN_S: Final = 60.0
DRAIN_S: Final = 5.0
UNPROVEN_AGAIN_ROUNDS: Final = 5
OLD_NS: Final = 3_600_000_000_000  # What the journal told longer ago than this is no news.
NOT_ASKED: Final = 0
CANCELLING: Final = 1
PROVEN: Final = 2
NO_KEY: Final = 3

Say = Callable[[str], None]


class Sidecar:
    """Everything beside one session. `run` returns when it was told to stop."""

    def __init__(self, loaded: LoadedSession, say: Say) -> None:
        config = loaded.config
        self.loaded = loaded
        self.place = loaded.place
        self.stopping = asyncio.Event()
        self._say = say
        self.cancel_path: CancelOnly | None = None
        if config.session.mode == "live":
            side = config.sidecar
            keys = credentials_from(loaded.file, side.key_variable, side.secret_variable)
            self.cancel_path = CancelOnly(loaded.endpoints, keys, MARKETS[config.feed.venue], config.feed.symbols)
        make_folder(self.place / FOLDER)
        self._lock = FolderLock(self.place / FOLDER)
        sinks: list[Sink] = [FileSink(self.place / FOLDER / ALARMS)]
        if webhook := os.environ.get(config.sidecar.webhook_variable, ""):
            sinks.append(WebhookSink(webhook))
        self.channel = AlarmChannel(sinks)
        self.watchdog = Watchdog(config.sidecar.mute_after)
        self.fence = Fence(self.place)
        side = config.sidecar
        self.replica = Replica(
            self.place / "journal", every_rows=side.snapshot_rows, every_ns=side.snapshot_every,
            shadow=(side.shadow_entry_latency, side.shadow_response_latency) if side.shadow else None, copies=loaded.copies,
        )  # fmt: skip
        self.disk = DiskWatch()
        self.retention = Retention(self.place / "journal", loaded.copies, config.journal.keep_days)
        self.session = SharedReader(self.place / COUNTERS, SESSION)
        before = _before(self.place)
        done = before.get("cancel_outcome", NOT_ASKED) in {PROVEN, NO_KEY}
        self._told_from = before.get("commit", 0)
        self._words = SharedWords(self.place / SIDECAR_WORDS, SIDECAR)
        self._instance = int(WORLD.unique()[:15], 16)
        # What a sidecar that died had only begun is begun again: the orders may still work.
        self._fenced = before.get("fenced_instance", 0) if done else 0
        self._cancelled = before["cancel_outcome"] if done else NOT_ASKED
        self._state = ACTIVE
        self._following = True
        self._taking_over: asyncio.Task[None] | None = None
        self.metrics = Metrics(self.session, self.values)

    async def run(self) -> None:
        """Watch, follow and tell until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.set)
        self.metrics.serve(self.loaded.config.sidecar.metrics_port)
        self._say(f"sidecar of {self.place}: {'cancels by its own key' if self.cancel_path else 'no orders to cancel'}")
        alarms = asyncio.create_task(self.channel.run(), name="alarms")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(tasks), name="watch")
                tasks.create_task(self._follow(), name="follow")
                tasks.create_task(self._retain(), name="retain")
                tasks.create_task(self._until_stopped(), name="stop")
        except* _StoppedError:
            pass
        finally:
            await self.channel.drain(DRAIN_S)
            alarms.cancel()
            await asyncio.gather(alarms, return_exceptions=True)
            self.metrics.close()
            self._publish()
            self._words.close()
            self.session.close()
            self.replica.close()
            self.fence.let_go()
            self._lock.close()

    async def _until_stopped(self) -> None:
        await self.stopping.wait()
        raise _StoppedError

    # ---- The watchdog.

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            words = self.session.read()
            now_ns = WORLD.monotonic_ns()
            exited = words is not None and self.fence.exited(words["instance"])
            verdict = self.watchdog.look(words, now_ns, exited=exited)
            if words is not None and verdict == ALIVE:
                self.fence.hold(words["instance"], words["pid"], words["pid_start"])
                self._leave_to(words["instance"])
            if verdict == MUTE and self.watchdog.instance != self._fenced:
                self._begin_with(self.watchdog.instance)
                how = (
                    "its process is gone"
                    if exited
                    else f"its heartbeat stands still for {self.watchdog.silent_ns(now_ns) / 1e9:.1f} s"
                )
                self._tell(
                    "mute",
                    CRITICAL,
                    f"the session is mute: {how}; it is fenced and its orders are cancelled",
                    "see the next alarm",
                )
                self._taking_over = tasks.create_task(self._take_over(self._fenced, mute=True), name="take-over")
            if words is not None and verdict == OVER and words["failed"] and words["instance"] != self._fenced:
                self._begin_with(words["instance"])
                self._tell(
                    "failed", CRITICAL, "the session ended by an error of which it spoke itself; its orders are cancelled",
                    "see what it said, and `twinloop journal verify`, before it is started again",
                )  # fmt: skip
                self._taking_over = tasks.create_task(self._take_over(self._fenced, mute=False), name="take-over")
            if words is not None and verdict == ALIVE and words["free_bytes"] and self.replica.caught_up:
                full = self.disk.look(
                    now_ns, self.replica.counts.grown, words["free_bytes"], str(self.place), self.retention.freed_bytes
                )
                if full is not None:
                    self.channel.tell(full)
            self._publish()
            await WORLD.sleep(LOOK_S)

    def _begin_with(self, instance: int) -> None:
        """An instance is to be fenced: what was proven of another one says nothing of its orders."""
        self._fenced, self._cancelled = instance, NOT_ASKED

    def _leave_to(self, instance: int) -> None:
        """A new instance proves and cancels for itself: nobody else touches its orders."""
        if self._taking_over is not None and instance != self._fenced:
            if not self._taking_over.done():
                self._taking_over.cancel()
                self._tell("left", NOTE, "a new instance of the session runs: its orders are its own", "nothing")
            self._taking_over = None

    async def _take_over(self, instance: int, *, mute: bool) -> None:
        """Fence a mute session, then cancel until nothing works any more. One that ended by itself is left to close its journal."""
        if mute and not await asyncio.to_thread(self.fence.close_to, instance):
            self._tell(
                "not-ended", CRITICAL, "the mute session is fenced, but its process could not be ended", "end it by hand: it must not come back"
            )  # fmt: skip
        if self.cancel_path is None:
            self._cancelled = NO_KEY
            self._tell(
                "fenced",
                WARNING,
                "the session is over; it has no orders at a venue",
                "start it again when the cause is known",
            )
            return
        self._cancelled = CANCELLING
        outcome = await self.cancel_path.cancel_everything(self._after_round)
        self._cancelled = PROVEN
        self._tell(
            "cancelled", CRITICAL, f"every order of the session is cancelled, proven after {outcome.rounds} rounds",
            "find the cause before it is started again; positions are as they were",
        )  # fmt: skip

    def _after_round(self, outcome: Outcome) -> None:
        if not outcome.proven and outcome.rounds % UNPROVEN_AGAIN_ROUNDS == 0:
            self._tell(
                f"unproven-{outcome.rounds}", CRITICAL,
                f"orders may still work in {', '.join(outcome.open) or 'no symbol'} after {outcome.rounds} rounds: {outcome.said}",
                "cancel by hand at the venue",
            )  # fmt: skip

    # ---- The journal.

    async def _follow(self) -> None:
        """Give the replica what is sealed, and people what they have to hear of. Damage ends this, and nothing else."""
        while True:
            try:
                commits = await asyncio.to_thread(self.replica.step)
            except (TwinloopError, OSError) as error:
                self._following = False
                self._tell(
                    "journal", CRITICAL, f"the journal cannot be followed any more: {error}",
                    "no snapshots are taken: do not restart the session before `twinloop journal verify` and `twinloop replay`",
                )  # fmt: skip
                return
            self._hear(commits)
            while self.replica.said:
                about, text = self.replica.said.pop()
                self._tell(about, WARNING, text, "see to the journal's disk and archive; it is followed all the same")
            if not commits:
                await WORLD.sleep(FOLLOW_S)

    async def _retain(self) -> None:
        """Put away, copy and remove what is due, again and again. What fails is told, and tried again: nothing was removed for it."""
        while self.retention.on:
            failure = await asyncio.to_thread(self.retention.round)
            if failure:
                self._tell(
                    "retention", WARNING, f"the journal's segments cannot be archived: {failure}",
                    "see to the folder of [journal] archive; nothing is removed that no copy holds",
                )  # fmt: skip
            await WORLD.sleep(RETAIN_S)

    def _hear(self, commits: list[Commit]) -> None:
        rebuilt = self.replica.rebuilt
        if rebuilt is None:
            return
        names = {slot: each.symbol for slot, each in enumerate(rebuilt.session.instruments)}
        since_ns = WORLD.wall_ns() - OLD_NS
        for commit in commits:
            if commit.number >= self._told_from and int(commit.seal["wall_ns"]) >= since_ns:
                for alarm in row_alarms(commit.rows, str(self.place), names):
                    self.channel.tell(alarm)
        account = rebuilt.node.decision["accounts"][0]
        worse = state_alarm(self._state, account, str(self.place))
        self._state = int(account["state"])
        if worse is not None and rebuilt.commit > self._told_from:
            self.channel.tell(worse)

    # ---- What it says of itself.

    def _tell(self, key: str, severity: str, what: str, remedy: str) -> None:
        if self.channel.tell(Alarm(f"{key}-{self.watchdog.instance}", severity, what, str(self.place), remedy)):
            self._say(f"! {what}")

    def values(self) -> dict[str, int]:
        """The words of its block."""
        counts, alarms, rebuilt = self.replica.counts, self.channel.counts, self.replica.rebuilt
        return {
            "instance": self._instance, "pid": process_id(), "mono_ns": WORLD.monotonic_ns(), "watch": self.watchdog.verdict,
            "watched_instance": self.watchdog.instance, "commit": rebuilt.commit if rebuilt is not None else 0, "facts": counts.facts,
            "behind_bytes": -1 if not self._following else self.replica.behind_bytes, "snapshots": counts.snapshots,
            "snapshot_commit": counts.snapshot_commit, "alarms": alarms.told - alarms.repeated, "delivered": alarms.of(alarms.delivered),
            "failed": alarms.of(alarms.failed) + alarms.of(alarms.dropped), "late": alarms.late, "fenced_instance": self._fenced,
            "cancel_outcome": self._cancelled, "disk_full_s": -1 if self.disk.full_in_s is None else int(self.disk.full_in_s),
            **self.retention.counts(),
        } | ({"shadow_on": 1, **msgspec.structs.asdict(self.replica.gap)} if self.replica.gap is not None else {})  # fmt: skip

    def _publish(self) -> None:
        self._words.publish(self.values())


class _StoppedError(Exception):
    """Somebody asked for the end."""


def _before(place: Path) -> dict[str, int]:
    """The words of the sidecar that ran here before; none where there was none, or of another version."""
    reader = SharedReader(place / SIDECAR_WORDS, SIDECAR)
    try:
        return reader.read() or {}
    except DataError:
        return {}
    finally:
        reader.close()


async def run_sidecar(loaded: LoadedSession, say: Say) -> None:
    """Run beside a session until told to stop. Raises the project's errors."""
    with first_raised(TwinloopError):
        await Sidecar(loaded, say).run()
