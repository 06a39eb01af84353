"""A live session that meets, again and again, what a venue and a network do to it, and the proof that its journal replays.

The session is a process of its own on a practice exchange, each feed behind a relay of its own; the replay is another process that has
nothing but the journal and the strategy's file. What was met is counted in the journal, not in what was asked for.
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from reference.kills import Killed
from reference.live_sessions import live_file, strategies
from reference.processes import runs, started, until, words_of
from reference.stream_relay import StreamRelay

from twinloop.data import feed_codes
from twinloop.engine.exchange.server import PRACTICE_KEY, Server
from twinloop.engine.gateway.alerts import ALERT_CODE
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import every_commit
from twinloop.kernels import rows as table

# Faults of the exchange that one arming brings about within some orders, beside those that Scene has methods for.
OF_ORDERS = (
    "drop_response", "unknown_503", "lose_request", "late_ack", "double_user_event", "lose_fill", "lose_user_event", "fill_after_cancel",
    "cancel_too_late", "failed_503",
)  # fmt: skip
REQUIRED = ("disconnects", "stream_losses", "partial_fills", "rejects", "failovers")
FEED = 'dwell = "1s"'


@dataclass
class Replayed:
    """What a session met, counted in its journal, and what its replay said. seconds: from
    its first fill to its end. decision_hash: of the replay, equal where `same`."""

    seed: int
    seconds: float = 0.0
    same: bool = False
    facts: int = 0
    decisions: int = 0
    requests: int = 0
    hashes: int = 0
    decision_hash: str = ""
    difference: str = ""
    met: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """What a session has to meet and this one did not."""
        return [name for name in REQUIRED if not self.met.get(name)]


class Scene:
    """One session on its exchange, and what can be done to it. Each method returns once the session has met it and is well again."""

    def __init__(self, server: Server, primary: StreamRelay, backup: StreamRelay, folder: Path) -> None:
        self.server, self.relays = server, (primary, backup)
        self.path = live_file(
            folder, server.port, strategies(folder), busy=True, stream=primary.address,
            feed=f'backup_stream = "{backup.address}"\n{FEED}', orders='reconcile_every = "500ms"',
        )  # fmt: skip
        self.place = folder / "sessions" / "live"

    def words(self) -> dict[str, int]:
        return words_of(self.place)

    async def until(self, reached: Callable[[], bool]) -> None:
        await until(reached, self.live)

    async def well(self, fills: int = 1) -> None:
        """Until it trades, its market is fresh, its user stream is up and some more fills were booked."""
        wanted = self.words()["fills"] + fills

        def reached() -> bool:
            words = self.words()
            fresh = words["trading_state"] == 0 and not words["feed_stale"] and words["stream_up"]
            return bool(fresh) and words["fills"] >= wanted

        await self.until(reached)

    async def lose_market(self) -> None:
        """Both feeds are reset: nothing has the book."""
        for relay in self.relays:
            relay.refuse = True
            relay.reset()
        await self.until(lambda: bool(self.words()["feed_stale"]))
        for relay in self.relays:
            relay.refuse = False

    async def fail_over(self) -> None:
        """The feed that counts falls silent, with its pings answered or without."""
        await asyncio.sleep(1.5)  # Until the other has been fit for as long as it must.
        source, switches = self.words()["feed_source"], self.words()["feed_switches"]
        relay = self.relays[source if source in {feed_codes.PRIMARY, feed_codes.BACKUP} else feed_codes.PRIMARY]
        half_open = bool(switches % 2)
        relay.silent, relay.frozen = not half_open, half_open
        await self.until(lambda: self.words()["feed_switches"] > switches)
        relay.silent = relay.frozen = False

    async def lose_user_stream(self) -> None:
        await self.of_orders("drop_user")
        await self.until(lambda: bool(self.words()["stream_up"]))

    async def fill_in_part(self) -> None:
        """Half of an order that comes to rest is filled, and the user stream is cut before it is told."""
        await self.of_orders("partial_then_drop")

    async def refuse_orders(self) -> None:
        await self.of_orders("reject", 2)

    async def round_fees(self) -> None:
        """A list of trades tells them with rounded fees, of some of them first; the next one tells them as they are."""
        await self.of_orders("round_fills")
        await self.lose_user_stream()

    async def break_book(self) -> None:
        for relay in self.relays:
            relay.lose = relay.double = relay.swap = 1
        await self.until(lambda: all(relay.lose + relay.double + relay.swap == 0 for relay in self.relays))

    async def of_orders(self, name: str, count: int = 1) -> None:
        """A fault of the exchange, until it was met so often."""
        faults = self.server.faults
        wanted = faults.met.get(name, 0) + count
        faults.arm(name, count)
        await self.until(lambda: faults.met.get(name, 0) >= wanted)

    async def run(self, seed: int, seconds: float) -> float:
        """Start, meet everything in an order drawn from the seed, again until the time is over, and end in order. How long it traded, s."""
        draw = np.random.default_rng(seed)
        needed: list[Callable[[], Awaitable[None]]] = [
            self.lose_market, self.fail_over, self.lose_user_stream, self.fill_in_part, self.refuse_orders
        ]  # fmt: skip
        more = [self.break_book, self.round_fees, *(lambda name=name: self.of_orders(name) for name in OF_ORDERS)]
        async with started("live", str(self.path)) as self.live:
            await self.until(lambda: runs(self.place))
            await self.well()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            end = began_s + seconds
            turn = needed
            while turn is needed or loop.time() < end:
                for at in draw.permutation(len(turn)).tolist():
                    await turn[at]()
                    await self.well()
                turn = [*needed, *more]
            traded_s = loop.time() - began_s
            code = await self.live.end(signal.SIGTERM)
        assert code == 0, f"the session ended with {code}: {self.live.said}"
        return traded_s


def met_in(journal_folder: Path) -> dict[str, int]:
    """What a journal tells of: rows counted by what they say."""
    switched = {feed_codes.SWITCH_SILENT, feed_codes.SWITCH_LOST, feed_codes.SWITCH_LATE, feed_codes.SWITCH_BOOK}
    stream_down = ALERT_CODE["STREAM_DOWN"]
    found = dict.fromkeys((*REQUIRED, "gaps", "fills", "unknown"), 0)
    for commit in every_commit(open_journal(journal_folder)):
        rows = commit.rows
        kind, code = rows["kind"], rows["code"]
        tails = (kind == table.FILL) & (rows["flags"] & table.FLAG_TAIL != 0)
        found["disconnects"] += int(((kind == table.FEED_GAP) & (code == feed_codes.GAP_LOST)).sum())
        found["stream_losses"] += int(((kind == table.ALERT) & (rows["alert"] == stream_down)).sum())
        found["partial_fills"] += int((tails & (rows["leaves_qty"] > 0)).sum())
        found["rejects"] += int((kind == table.REJECT).sum())
        found["failovers"] += int(((kind == table.FEED_SWITCHED) & np.isin(code, list(switched))).sum())
        found["gaps"] += int((kind == table.FEED_GAP).sum())
        found["fills"] += int(tails.sum())
        found["unknown"] += int((kind == table.UNKNOWN).sum())
    return found


async def replayed(journal_folder: Path, found: Replayed, *more: str) -> None:
    """`twinloop replay` in a process of its own; its exit code and its words must agree."""
    async with started("replay", str(journal_folder), "--json", *more) as child:
        out, err = await asyncio.wait_for(child.process.communicate(), 600)
    try:
        said = json.loads(out)
    except json.JSONDecodeError:
        raise AssertionError(f"the replay ended with {child.process.returncode}: {(out + err).decode()}") from None
    assert (child.process.returncode == 0) == said["same"], said
    found.same, found.difference = said["same"], json.dumps(said["difference"] or said["changed"] or "")
    for name in ("facts", "decisions", "requests", "hashes", "decision_hash"):
        setattr(found, name, said[name])


async def session(folder: Path, seed: int, seconds: float) -> Replayed:
    """One session, the exchange's books against its journal, and its replay: in the batches of the session, and fact by fact."""
    found = Replayed(seed)
    async with (
        Server(seed=seed, turns_per_s=100) as server,
        StreamRelay(server.stream) as primary,
        StreamRelay(server.stream) as backup,
    ):
        scene = Scene(server, primary, backup, folder)
        found.seconds = round(await scene.run(seed, seconds), 1)
        found.faults = dict(server.faults.met)
        Killed(server, scene.path, scene.place).assert_books_agree()
        assert server.exchanges["usdm"].accounts[PRACTICE_KEY].fills, "nothing was traded"
    found.met = met_in(scene.place / "journal")
    await replayed(scene.place / "journal", found)
    if found.same:
        decided = found.decision_hash
        await replayed(scene.place / "journal", found, "--batch", "1")
        assert not found.same or found.decision_hash == decided, "two equal replays with different hashes"
    return found
