"""What stands in a file and is probably not meant is told; what differs from the journal is named; and nobody is left with "refused"."""

import socket
from pathlib import Path

import msgspec
import pytest

from twinloop.data.binance_instruments import instruments_of
from twinloop.data.errors import ConfigError
from twinloop.engine.live.config import load_session
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.doubts import doubts
from twinloop.engine.live.recovery import differences, same_session
from twinloop.engine.live.session import Session
from twinloop.engine.live.session_errors import SessionError


def loaded(folder: Path, limits: str = "", feed: str = 'maker_fee_bps = "2"\ntaker_fee_bps = "5"') -> list[str]:
    path = folder / "paper.toml"
    path.write_text(f"""
[limits]
preset = "conservative"
{limits}
[feed]
venue = "binance-usdm"
symbols = ["BTCUSDT"]
{feed}
[[strategy]]
path = "x.py:X"
""")
    return doubts(load_session(path))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("", ""),
        ("max_order_pct = 25\nprice_collar_bps = 20", ""),
        ("max_order_pct = 2500", "max_order_pct 2,500 is 1,000 times"),
        ("price_collar_bps = 0.02", "price_collar_bps 0.02 is a 10,000th"),
        ("max_daily_loss_pct = 0", "max_daily_loss_pct is 0: every order is refused"),
        ("initial_margin_pct = 0\nduplicate_window_ms = 0", ""),
        ('max_spread_bps = "none"\nmax_daily_loss = 100', ""),
    ],
)
def test_a_limit_in_another_unit_is_told(tmp_path: Path, limits: str, told: str) -> None:
    found = loaded(tmp_path, limits)
    assert len(found) == bool(told)
    assert told in "".join(found)


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        ("", "trades cost nothing but their prices"),
        ('taker_fee_bps = "500"', "feed.taker_fee_bps 500 is 5 % of every trade"),
        ('maker_fee_bps = "-0.5"\ntaker_fee_bps = 4', ""),
    ],
)
def test_fees_that_are_none_or_a_hundred_times_too_high_are_told(tmp_path: Path, feed: str, told: str) -> None:
    found = loaded(tmp_path, feed=feed)
    assert len(found) == bool(told)
    assert told in "".join(found)


def test_what_differs_from_the_journal_is_named_with_both_values(session: Session) -> None:
    section = {**session.limits_section, "max_order_pct": "3", "max_daily_loss": "7"}
    instrument = msgspec.structs.replace(session.instruments[0], lot_size=session.instruments[0].lot_size * 10)
    strategy = msgspec.structs.replace(session.strategies[0], digest="another", parameters={"qty": 5.0})
    other = msgspec.structs.replace(
        session, limits_section=section, instruments=[instrument, *session.instruments[1:]], seed=session.seed + 1,
        strategies=[strategy, *session.strategies[1:]],
    )  # fmt: skip
    changed = same_session(session, other)
    assert set(changed) == {"limits_section", "instruments", "seed", "strategies"}
    told = [line for name in changed for line in differences(name, getattr(session, name), getattr(other, name))]
    symbol, name, lot = instrument.symbol, strategy.name, session.instruments[0].lot_size
    for line in (
        f"limits_section.max_order_pct was {session.limits_section.get('max_order_pct', 'nothing')} and is 3",
        "limits_section.max_daily_loss was nothing and is 7",
        f"instruments.{symbol}.lot_size was {lot} and is {10 * lot}",
        f"the source of strategies.{name} has changed",
        f"seed was {session.seed} and is {session.seed + 1}",
    ):
        assert line in told
    assert same_session(session, session) == []


@pytest.mark.parametrize("typed", ["btcusdt", "BTC/USDT", "BTCUSD", "BTC-USDT"])
def test_a_symbol_that_was_mistyped_is_asked_about(typed: str) -> None:
    body = msgspec.json.encode({"symbols": [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}]})
    with pytest.raises(ConfigError, match=r"did you mean BTCUSDT\?"):
        instruments_of(body, "binance-usdm", [typed])


def test_a_session_that_was_killed_is_told_from_one_that_never_was_and_from_one_that_is_stuck(tmp_path: Path) -> None:
    place = tmp_path / "live" / SOCKET
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(place))
        with pytest.raises(SessionError, match="its orders may still work at the venue: start it again"):
            ask(place, {"command": "status"})
        left.listen()
        with pytest.raises(SessionError, match="stopped or busy"):
            ask(place, {"command": "status"}, timeout_s=0.05)
    with pytest.raises(SessionError, match=f"there is one in {place.parent}"):
        ask(tmp_path / "lvie" / SOCKET, {"command": "status"})
