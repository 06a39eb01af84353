"""Every mistake in a session's file is told by its field, whatever stands there."""

from pathlib import Path

import pytest

from twinloop.data.errors import ConfigError, TwinloopError
from twinloop.engine.config import Table, parse_override
from twinloop.engine.errors import ConfigErrors
from twinloop.engine.live import config
from twinloop.engine.live.config import load_session

TABLES: dict[str, type[Table]] = {
    "session": config.SessionTable, "feed": config.FeedTable, "warmup": config.WarmupTable, "paper": config.PaperTable,
    "account": config.AccountTable, "orders": config.OrdersTable, "sidecar": config.SidecarTable, "journal": config.JournalTable,
}  # fmt: skip
STRANGE = (
    "nan", "inf", "-inf", "-1", "0", "1e999999999", "-1e999999999", "1e400", "1e-999999999", "9" * 400, "99999999999999999999", "\u0661", "", "x" * 5000,
    "true", "[]", "{}", "[1]", '[""]', "1979-05-27", '"a\\u0000b"', '"\\n"', '"1e999999999s"', '"-1s"', '"99999999999d"', '"\u0661s"',
    '"http://["', '"ws://127.0.0.1:99999"', '"wss://"', '"/"', '".."',
)  # fmt: skip
FILE = """
limits = "conservative"
[session]
mode = "{mode}"
[feed]
venue = "binance-usdm"
symbols = ["BTCUSDT"]
{orders}
[[strategy]]
path = "any.py:Any"
"""


def file(folder: Path, mode: str = "paper") -> Path:
    path = folder / "session.toml"
    path.write_text(FILE.format(mode=mode, orders="[orders]" if mode == "live" else ""))
    return path


@pytest.mark.parametrize("mode", ["paper", "live"])
@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_strange_value_is_taken_or_told_with_its_field(tmp_path: Path, mode: str, table: str) -> None:
    path = file(tmp_path, mode)
    refused: list[tuple[str, str, list[str]]] = []
    for field in TABLES[table].model_fields:
        for value in STRANGE:
            key, given = parse_override(f"{table}.{field}={value}")
            try:
                load_session(path, {key: given})
            except (TwinloopError, ConfigErrors) as error:
                refused.append((field, value, [str(each) for each in getattr(error, "errors", [error])]))
    assert len(refused) > len(STRANGE) // 2
    assert [each for each in refused if not any(each[0] in text or table in text for text in each[2])] == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("feed.maker_fee_bps=abc", "basis points"), ("feed.taker_fee_bps=nan", "basis points"), ("feed.maker_fee_bps=1e999999999", "below 10000"),
        ("feed.taker_fee_bps=10000", "below 10000"), ("account.cash=1e999999999", "below 46 billion"), ("account.fx.BNB=-5", "more than 0"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_told(tmp_path: Path, setting: str, told: str) -> None:
    path = file(tmp_path)
    with pytest.raises(ConfigErrors, match=told) as refused:
        load_session(path, dict([parse_override(setting)]))
    (error,) = refused.value.errors
    assert isinstance(error, ConfigError)
    assert error.field == setting.partition("=")[0]


def test_fees_are_exact_rates(tmp_path: Path) -> None:
    settings = dict(parse_override(text) for text in ("feed.maker_fee_bps=-0.5", "feed.taker_fee_bps=4.0001"))
    feed = load_session(file(tmp_path), settings).config.feed
    assert (feed.maker_fee_bps, feed.taker_fee_bps) == (-5_000, 40_001)


def test_a_balance_may_not_differ_by_less_than_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="cash_tolerance"):
        load_session(file(tmp_path, "live"), dict([parse_override("orders.cash_tolerance=-1")]))
