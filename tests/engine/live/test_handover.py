"""What one session hands over to the next of another configuration: the position and its owner, the day's loss, halts, state."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from reference import sessions

from twinloop.data.errors import ConfigError
from twinloop.data.rowfile import join_rows
from twinloop.engine import cli
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.snapshot import write_snapshot
from twinloop.engine.live import handover_file
from twinloop.engine.live.config import load_session
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.rebuild import Rebuilt, begin
from twinloop.engine.live.session import session_from_plain
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.live.venue_wait import VenueWait, keep_wait
from twinloop.kernels import rows
from twinloop.kernels.node import FAILED, STANDARD
from twinloop.kernels.portfolio import CASH, POSITION
from twinloop.kernels.risk_state import set_equity_floor

STRATEGY = """
import twinloop as tl

HOUR = 3_600_000_000_000

class Busy(tl.Strategy):
    target: int = 20
    instrument: tl.Symbol = "BTCUSDT"
    turns: tl.State[int] = 0
    hours: tl.State[int] = 0
    order: tl.State[int] = 0
    mean: tl.State[tl.indicators.EMA]
    RENAMED: tl.State[int] = 7

    def on_start(self, ctx):
        tl.indicators.ema_init(self.mean, 50)
        ctx.set_timer(1, interval_ns=50_000_000)

    def on_trade(self, ctx, trade):
        tl.indicators.ema_update(self.mean, trade.price)

    def on_timer(self, ctx, timer):
        if timer.id == 2:
            self.hours += 1
            return
        self.turns += 1
        if self.turns == 1:
            ctx.set_timer(2, interval_ns=HOUR)
        self.RENAMED += 1
        short = self.target - ctx.position_scaled(self.instrument)
        if short > 0 and ctx.bid_scaled(self.instrument) > 0 and not ctx.is_open(self.order):
            self.order = ctx.limit_scaled(self.instrument, 1, ctx.ask_scaled(self.instrument) + 20, min(short, 10))
"""
Play = Callable[[LiveProcess, asyncio.Task[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def file_of(
    folder: Path, port: int, name: str, mode: str, market: str = "usdm", *, continues: str = "", order_pct: int = 10, target: int = 20,
    renamed: str = "kept",
) -> Path:  # fmt: skip
    strategy = folder / f"busy_{renamed}.py"
    strategy.write_text(STRATEGY.replace("RENAMED", renamed))
    path = folder / f"{name}.toml"
    path.write_text(f"""
[session]
mode = "{mode}"
out = "{folder / "sessions"}"
{f'continues = "{continues}"' if continues else ""}
[limits]
preset = "conservative"
max_order_pct = {order_pct}
max_position_pct = 50
duplicate_max = 100
max_spread_bps = 100
[feed]
venue = "binance-{market}"
symbols = ["BTCUSDT"]
stream = "ws://127.0.0.1:{port}"
rest = "http://127.0.0.1:{port}"
maker_fee_bps = 2
taker_fee_bps = 5
{"[orders]" if mode == "live" else ""}
[[strategy]]
name = "holder"
path = "{strategy}:Busy"
parameters = {{ target = {target} }}
bars = ["1m", "20 ticks"]
""")
    return path


def held(process: LiveProcess) -> int:
    return int(process.loop.node.decision["strategy_holdings"][0][0]["position"]["qty"])


def until_held(qty: int) -> Play:
    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: held(process) >= qty and not process.loop.node.decision["open_count"], task)

    return play


def hand_over(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.run(["handover", str(folder / "sessions" / name), "--json"]) == cli.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def money_of(process: LiveProcess) -> dict[str, Any]:
    decision = process.loop.node.decision
    account = decision["accounts"][0]
    position = decision["strategy_holdings"][0][0]["position"]
    return {
        "position": {name: int(position[name]) for name in POSITION.names or () if name not in {"unrealised", "mark_price"}},
        "account": {name: int(account[name]) for name in ("cash", "day_equity", "start_equity", "slippage_day")},
        "ledger": {name: int(decision["ledgers"][0][0][name]) for name in CASH.names or ()},
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "market"), [("paper", "usdm"), ("live", "usdm"), ("live", "spot")])
def test_a_session_with_another_limit_goes_on_with_the_position_and_the_days_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, market: str
) -> None:
    said: list[str] = []
    kept: list[LiveProcess] = []
    began: list[dict[str, Any]] = []

    async def until_held_and_tightened(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await until_held(20)(process, task)
        words = {"command": "tighten", "limit": "max_drawdown_pct", "value": "9.5"}
        await asyncio.to_thread(ask, process.loaded.place / SOCKET, words)

    async def goes_on(process: LiveProcess, task: asyncio.Task[None]) -> None:
        began.append(money_of(process))
        await sessions.until(lambda: process.loop.trading_state == "ACTIVE", task)
        await sessions.until(lambda: held(process) >= 40, task)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            first = file_of(tmp_path, server.port, "first", mode, market)
            kept.append(await sessions.in_session(first, said, until_held_and_tightened))
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            assert told["positions"] == {"BTCUSDT": 20}
            with pytest.raises(SessionError, match="was handed over"):
                await LiveProcess(load_session(first), said.append).run()
            second = file_of(
                tmp_path, server.port, "second", mode, market, continues=told["file"], order_pct=20, target=40, renamed="anew"
            )  # fmt: skip
            said.clear()
            kept.append(await sessions.in_session(second, said, goes_on))
            kept.append(await sessions.in_session(second, said, until_held(40)))
            third = file_of(tmp_path, server.port, "third", mode, market, continues=told["file"])
            with pytest.raises(SessionError, match="another session goes on"):
                await LiveProcess(load_session(third), said.append).run()
            if mode == "live":
                account = server.exchanges[market].accounts[PRACTICE_KEY]  # type: ignore[index]
                assert len(account.fills) == kept[-1].loop.node.node["measured"]["fills"] + fills_of(tmp_path, "first")
                if market == "usdm":
                    assert account.held("BTCUSDT") == held(kept[-1]) == 40

    asyncio.run(all_of_it())
    assert began[0] == money_of(kept[0]), "to the last unit"
    text = "\n".join(said)
    assert "goes on from first, epoch 1" in text
    assert f"holder holds 0.{'020' if market == 'usdm' else '00020'} BTCUSDT" in text
    assert "max_order_pct: 10 then, 20 now" in text
    assert "holder: its code is another" in text
    assert "! an operator had made stricter: max_drawdown_pct 9.5 (the file: 10); that does not go over" in text
    assert "parameter target: 20 then, 40 now" in text
    assert "its state does not go over: kept" in text
    assert "its state begins anew: anew" in text
    before, after = (state_of(process) for process in (kept[0], kept[-1]))
    assert after["turns"] > before["turns"] > 0
    assert after["anew"] - 7 == after["turns"] - before["turns"], "counted from where the state began anew"
    assert after["mean"]["value"] > 0
    hourly = [
        [each for each in process.loop.node.decision["timers"] if each["id"] == 2] for process in (kept[0], kept[-1])
    ]
    assert [(int(each["due_ns"]), int(each["armed"])) for (each,) in hourly] == 2 * [
        (int(hourly[0][0]["due_ns"]), 1)
    ], "it goes on"
    journal = open_journal(tmp_path / "sessions" / "second" / "journal")
    first, second = (requests_of(tmp_path, name) for name in ("first", "second"))
    assert int(second["order_id"].min()) > int(first["order_id"].max()), "no id is given twice"
    assert journal.epoch == 3
    found = replay_journal(journal.folder)
    assert found.difference is None, str(found.difference)
    assert_a_snapshot_goes_on(journal.folder)


def test_what_the_venue_did_meanwhile_is_booked_for_whom_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fill of an old order that came late is its strategy's, a trade by hand nobody's; and a handover can be handed over."""
    said: list[str] = []

    async def booked(process: LiveProcess, task: asyncio.Task[None]) -> None:
        nobody = process.loop.node.decision["strategy_holdings"][STANDARD.strategies][0]["position"]
        await sessions.until(lambda: held(process) == 27 and int(nobody["qty"]) == 123, task)
        await sessions.until(lambda: said[-1].startswith("every order is proven and the positions agree"), task)
        assert process.loop.trading_state == "HALTED", "more was filled than was ordered: a person has to look"

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            loop = asyncio.get_running_loop()
            exchange = server.exchanges["usdm"]
            account = exchange.accounts[PRACTICE_KEY]
            await sessions.in_session(file_of(tmp_path, server.port, "first", "live"), said, until_held(20))
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            last = int(requests_of(tmp_path, "first")["order_id"].max())
            exchange.place(account, "BTCUSDT", 1, "MARKET", 7, client_id=ClientIds("tl").make(1, 0, last))
            exchange.place(account, "BTCUSDT", 1, "MARKET", 123)
            second = file_of(tmp_path, server.port, "second", "live", continues=told["file"], target=20)
            await sessions.in_session(second, said, booked)
            again = await loop.run_in_executor(None, hand_over, tmp_path, "second", capsys)
            assert again["positions"] == {"BTCUSDT": 150}
            third = file_of(tmp_path, server.port, "third", "live", continues=again["file"], target=20)
            said.append("")
            await sessions.in_session(third, said, booked)
            assert account.held("BTCUSDT") == 150

    asyncio.run(all_of_it())
    for name in ("second", "third"):
        found = replay_journal(tmp_path / "sessions" / name / "journal")
        assert found.difference is None, str(found.difference)


def test_a_session_that_broke_off_as_it_began_takes_the_handover_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(_: Any) -> None:
        raise SessionError("broke off")

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            one = await sessions.in_session(file_of(tmp_path, server.port, "first", "live"), [], until_held(20))
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            path = file_of(tmp_path, server.port, "second", "live", continues=told["file"])
            with monkeypatch.context() as patched:
                patched.setattr(LiveLoop, "start", breaks_off)
                with pytest.raises(SessionError, match="broke off"):
                    await LiveProcess(load_session(path), print).run()
            assert not open_journal(tmp_path / "sessions" / "second" / "journal").commits
            again = await sessions.in_session(path, [], active)
            assert money_of(again) == money_of(one)
            assert state_of(again)["turns"] > state_of(one)["turns"]

    async def active(process: LiveProcess, task: asyncio.Task[None]) -> None:
        turns = state_of(process)["turns"]
        await sessions.until(
            lambda: process.loop.trading_state == "ACTIVE" and state_of(process)["turns"] > turns, task
        )

    asyncio.run(all_of_it())
    assert replay_journal(tmp_path / "sessions" / "second" / "journal").difference is None


def test_a_strategy_that_its_error_halted_and_a_day_that_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What failed stays silent in the next session, and a day that ended in between begins anew at its first fact."""

    async def goes_on(process: LiveProcess, task: asyncio.Task[None]) -> None:
        turns = state_of(process)["turns"]
        seen = process.loop.counts.by_kind.get(rows.TRADE, 0)
        await sessions.until(lambda: process.loop.counts.by_kind.get(rows.TRADE, 0) > seen + 5, task)
        assert state_of(process)["turns"] == turns, "it is called no more"

    with pytest.MonkeyPatch.context() as patched:
        taken = Rebuilt.take

        def failed(self: Rebuilt, commits: Any, epoch: int) -> None:
            taken(self, commits, epoch)
            self.node.decision["strategies"][0]["failed"] = FAILED

        patched.setattr(Rebuilt, "take", failed)
        _, second = in_paper(tmp_path, capsys, until_held(20), goes_on)
    assert int(second.loop.node.decision["strategies"][0]["failed"]) == FAILED
    past = handover_file.read(tmp_path / "sessions" / "first" / "handover.json")
    session = session_from_plain(open_journal(tmp_path / "sessions" / "second" / "journal").header.session)
    day_ns = 86_400 * 10**9
    node = LiveNode(msgspec.structs.replace(session, inherited=past), "recorded")
    node.start()
    account = node.decision["accounts"][0]
    account["day_equity"] += 12345  # A loss of the day before.
    node.handle(node.clock_row(past.now_ns // day_ns * day_ns + day_ns))
    assert int(account["day_equity"]) == int(account["equity"])


def test_a_new_name_ends_no_ban(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            one = await sessions.in_session(file_of(tmp_path, server.port, "first", "paper"), [], until_held(10))
            keep_wait(one.loaded.place, VenueWait(one.loaded.rest, one.clock.local_ns() + 3600 * 10**9, banned=True))
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            path = file_of(tmp_path, server.port, "second", "paper", continues=told["file"])
            with pytest.raises(SessionError, match="has banned this address"):
                await LiveProcess(load_session(path), print).run()

    asyncio.run(all_of_it())


def state_of(process: LiveProcess) -> dict[str, Any]:
    node = process.loop.node
    return node.strategies[0].read_state(node.decision["areas"][0])


def requests_of(folder: Path, name: str) -> Any:
    journal = open_journal(folder / "sessions" / name / "journal")
    found = join_rows([commit.requests for commit in journal.each()])
    return found[found["kind"] == rows.NEW]


def fills_of(folder: Path, name: str) -> int:
    facts = join_rows([commit.facts for commit in open_journal(folder / "sessions" / name / "journal").each()])
    return int(((facts["kind"] == rows.FILL) & (facts["flags"] & rows.FLAG_TAIL == 0)).sum())


def assert_a_snapshot_goes_on(folder: Path) -> None:
    """A node from a snapshot of the session that inherited is the one that its journal leads to."""
    journal = open_journal(folder)
    session = session_from_plain(journal.header.session)
    one = begin(folder, session, journal.header.config)
    follower = JournalFollower(folder)
    while found := follower.read():
        one.take(found, follower.epoch)
    follower.close()
    parts = one.parts()
    write_snapshot(folder, one.head(journal.epoch, journal.header.config, 0), parts)
    other = begin(folder, session, journal.header.config)
    assert (other.commit, other.node.state_hash()) == (one.commit, one.node.state_hash())
    assert [epoch for epoch, _ in other.of_orders] == [epoch for epoch, _ in one.of_orders]
    for (_, rows_one), (_, rows_other) in zip(one.of_orders, other.of_orders, strict=True):
        assert rows_one.tobytes() == rows_other.tobytes()


def read_text(path: Path) -> str:
    return path.read_text()


def remove(path: Path) -> None:
    path.unlink()


def write_text(path: Path, text: str) -> None:
    path.write_text(text)


def in_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: Play, second: Play
) -> tuple[LiveProcess, LiveProcess]:
    """A paper session, and one that goes on from it with the same configuration."""

    async def all_of_it() -> tuple[LiveProcess, LiveProcess]:
        async with Server(seed=4, turns_per_s=100) as server:
            one = await sessions.in_session(file_of(tmp_path, server.port, "first", "paper"), [], first)
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            path = file_of(tmp_path, server.port, "second", "paper", continues=told["file"])
            return one, await sessions.in_session(path, [], second)

    return asyncio.run(all_of_it())


def test_what_a_person_halted_stays_halted_and_the_floor_is_the_kernels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floors: list[tuple[int, int]] = []

    async def halted(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await until_held(20)(process, task)
        process.loop.command("halt", 1_000_000)

    async def goes_on(process: LiveProcess, task: asyncio.Task[None]) -> None:
        decision = process.loop.node.decision
        floor = int(decision["accounts"][0]["equity_floor"])
        set_equity_floor(decision, 0)
        floors.append((floor, int(decision["accounts"][0]["equity_floor"])))
        seen = process.loop.counts.by_kind.get(rows.TRADE, 0)
        await sessions.until(lambda: process.loop.counts.by_kind.get(rows.TRADE, 0) > seen + 5, task)
        assert process.loop.trading_state == "HALTED"

    _, second = in_paper(tmp_path, capsys, halted, goes_on)
    assert floors[0][0] == floors[0][1] > 0
    assert held(second) == 20
    assert not len(requests_of(tmp_path, "second"))


def test_a_session_that_broke_off_or_still_runs_is_not_handed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int] = []

    async def runs(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await until_held(10)(process, task)
        loop = asyncio.get_running_loop()
        answers.append(await loop.run_in_executor(None, cli.run, ["handover", str(process.loaded.place)]))
        monkeypatch.setattr(type(process.loop), "end_trading", lambda _: None)

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=100) as server:
            await sessions.in_session(file_of(tmp_path, server.port, "first", "paper"), [], runs)

    asyncio.run(all_of_it())
    assert answers == [cli.USAGE]
    assert "in use by another process" in capsys.readouterr().err
    assert cli.run(["handover", str(tmp_path / "sessions" / "first")]) == cli.USAGE
    assert "did not end in order" in capsys.readouterr().err
    assert cli.run(["handover", str(tmp_path / "nothing")]) == cli.USAGE
    assert "no session" in capsys.readouterr().err


def test_an_edited_handover_and_another_market_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    async def start(path: Path) -> None:
        await LiveProcess(load_session(path), said.append).run()

    async def all_of_it() -> None:
        async with Server(symbols=("BTCUSDT", "ETHUSDT"), seed=4, turns_per_s=100) as server:
            await sessions.in_session(file_of(tmp_path, server.port, "first", "paper"), said, until_held(10))
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, hand_over, tmp_path, "first", capsys)
            path = Path(told["file"])
            text = read_text(path)
            second = file_of(tmp_path, server.port, "second", "paper", continues=str(path))
            for old, new, field in (
                ('symbols = ["BTCUSDT"]', 'symbols = ["ETHUSDT", "BTCUSDT"]', "feed.symbols"),
                ('name = "holder"', 'name = "other"', "strategy"),
                ('mode = "paper"', 'mode = "live"', "mode"),
            ):
                changed = second.with_name("second.toml")
                write_text(changed, read_text(second).replace(old, new) + ("\n[orders]\n" if field == "mode" else ""))
                with pytest.raises(ConfigError, match="cannot go on from that one") as error:
                    await start(changed)
                assert error.value.field == field
                file_of(tmp_path, server.port, "second", "paper", continues=str(path))
            write_text(path, text.replace('"qty": 20', '"qty": 10').replace('"qty": 10', '"qty": 11', 1))
            with pytest.raises(ConfigError, match="not as it was written"):
                await start(second)
            write_text(path, "{}")
            with pytest.raises(ConfigError, match="not a handover of this version"):
                await start(second)
            remove(path)
            with pytest.raises(ConfigError, match="cannot be read"):
                await start(second)
            write_text(path, text)
            assert handover_file.read(path).name == "first"

    asyncio.run(all_of_it())
