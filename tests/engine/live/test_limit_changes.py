"""An operator may make a limit stricter while a session runs: never looser, and for good."""

import asyncio
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from reference import sessions
from reference.paper_config import paper_file
from reference.sessions import until
from reference.small_venue import SmallVenue

from twinloop.data.errors import ConfigError
from twinloop.engine import cli
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.limits import SHARE_OF, SPECS, Limits, apply_limits, parse_limits, scaled
from twinloop.engine.live.limit_changes import LARGER_IS_STRICTER, NOT_FOR_TRADING, Change, changes, tightened_lines
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session import Session
from twinloop.kernels import rows
from twinloop.kernels.node import ACCOUNT_LIMIT, NEVER


def node_of(session: Session, chosen: dict[str, object]) -> tuple[LiveNode, Limits]:
    """A node with limits of its own."""
    limits = parse_limits({"preset": "conservative"} | chosen)
    node = LiveNode(session, "live")
    names = [spec.name for spec in session.strategies]
    apply_limits(node.decision, limits, session.instruments, session.cash, names)
    node.start()
    return node, limits


def feed(node: LiveNode, wanted: list[Change]) -> None:
    for change in wanted:
        row = np.zeros(1, rows.ROW)
        row["kind"], row["local_ns"] = rows.LIMIT_CHANGE, int(node.decision["clock"]["now_ns"])
        row["instrument"], row["limit"], row["value"] = change
        node.handle(row)


@pytest.mark.parametrize("key", sorted(set(SPECS) - NOT_FOR_TRADING))
def test_every_limit_becomes_stricter_and_never_looser(session: Session, key: str) -> None:
    """One at a time, from a file's value: what is stricter holds in the node exactly, what is equal or looser changes nothing."""
    spec = SPECS[key]
    other = {share: amount for amount, share in SHARE_OF.items()} | SHARE_OF
    node, limits = node_of(session, {key: 40})
    decision, instrument = node.decision, session.instruments[0]
    looser, stricter = ("39", "41") if key in LARGER_IS_STRICTER else ("41", "39")
    before = bytes(decision.tobytes())
    for text in ("40", looser):
        with pytest.raises(ConfigError, match="not stricter than what holds"):
            changes(decision, session.instruments, key, text)
    assert bytes(decision.tobytes()) == before
    assert tightened_lines(decision, limits, session.instruments) == []

    feed(node, changes(decision, session.instruments, key, stricter))

    record = decision["instrument_limits"][0] if spec.per_instrument else decision["account_limits"][0]
    assert int(record[spec.field]) == scaled(key, Decimal(stricter), instrument)
    if key in other and key not in SHARE_OF:
        assert int(record[SPECS[other[key]].field]) == int(decision["accounts"][0]["day_equity"]) * 39 // 100
    (line,) = tightened_lines(decision, limits, session.instruments)
    assert f" {stricter} (the file: 40)" in line
    assert key in line


def test_a_limit_that_was_off_can_be_set_in_either_form(session: Session) -> None:
    node, limits = node_of(session, {"max_drawdown_pct": "none", "max_gross_pct": "none"})
    feed(node, changes(node.decision, session.instruments, "max_drawdown_pct", "3"))
    feed(node, changes(node.decision, session.instruments, "max_gross_notional", "1000.5"))
    bounds = node.decision["account_limits"][0]
    assert int(bounds["max_drawdown"]) == int(node.decision["accounts"][0]["day_equity"]) * 3 // 100
    assert (int(bounds["max_gross"]), int(bounds["max_gross_e8"])) == (100_050_000_000, NEVER)
    assert [line.split(": ")[1] for line in tightened_lines(node.decision, limits, session.instruments)] == [
        "max_gross_notional 1000.5 (the file", "max_drawdown_pct 3 (the file",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "symbol", "told"),
    [
        ("max_order_qtty", "1", "", "did you mean max_order_qty"),
        ("flatten_collar_bps", "1", "", "no such limit to make stricter"),
        ("max_order_qty", "one", "", "expected a number >= 0 in quantity, got 'one'"),
        ("max_order_qty", "-1", "", "expected a number >= 0"),
        ("max_order_qty", "nan", "", "expected a number >= 0"),
        ("max_order_qty", "1e999999999", "", "limit too large"),
        ("max_order_pct", "1e999990", "", "limit too large"),
        ("duplicate_max", "1.5", "", "expected a whole number"),
        ("max_order_qty", "1", "BTCUSD", "no such symbol in this session"),
        ("max_daily_loss_pct", "1", "BTCUSDT", "a limit of the account"),
        ("max_daily_loss", "1", "", "tighten max_daily_loss_pct"),
    ],
)
def test_what_cannot_be_made_stricter_is_told(session: Session, key: str, value: str, symbol: str, told: str) -> None:
    node, _ = node_of(session, {"max_daily_loss_pct": 2})
    with pytest.raises(ConfigError, match=told):
        changes(node.decision, session.instruments, key, value, symbol)


def test_a_limit_made_stricter_holds_over_a_restart_and_in_a_replay(
    tmp_path: Path, strategy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The strategy's orders are above the new size: none leaves any more, the started-again session says why, the replay agrees."""
    place = tmp_path / "sessions" / "paper"

    async def play() -> None:
        async with SmallVenue(6) as venue:
            address = f"127.0.0.1:{venue.port}"
            path = paper_file(tmp_path, f"{strategy_folder / 'busy.py'}:Busy", f"ws://{address}", f"http://{address}")
            said: list[str] = []

            async def first(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await until(lambda: process.loop.counts.requests >= 3, task)
                words = ["ctl", "tighten", str(place), "--limit", "max_order_qty=0"]
                assert await asyncio.to_thread(cli.run, [*words, "--symbol", "BTCUSDT"]) == 0
                assert await asyncio.to_thread(cli.run, [*words[:-1], "max_order_qty=1"]) == 2
                await until(lambda: process.loop.counts.refused > 3, task)

            async def second(process: LiveProcess, task: asyncio.Task[None]) -> None:
                requests, refused = process.loop.counts.requests, process.loop.counts.refused
                await until(lambda: process.loop.counts.refused > refused + 3, task)
                assert process.loop.counts.requests == requests

            for lived in (first, second):
                await sessions.in_session(path, said, lived)
            assert sum("made stricter: max_order_qty of BTCUSDT 0 (the file: none)" in line for line in said) == 1

    asyncio.run(play())
    shown = capsys.readouterr()
    assert "made stricter: max_order_qty of BTCUSDT 0" in shown.out
    assert "stricter than 0, got '1'" in shown.err
    found = replay_journal(place / "journal")
    assert found.difference is None, str(found.difference)
    facts = [row for commit in open_journal(place / "journal").each() for row in commit.facts]
    (at,) = [index for index, row in enumerate(facts) if row["kind"] == rows.LIMIT_CHANGE]
    assert int(facts[at]["limit"]) < ACCOUNT_LIMIT
    assert (int(facts[at - 1]["kind"]), int(facts[at - 1]["value"])) == (rows.NOTE, 3)
