from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data import instruments as ins
from twinloop.data.errors import ConfigError, DataError, TwinloopError


@given(value=st.integers(-ins.SCALED_MAX, ins.SCALED_MAX), scale=st.integers(0, 12))
def test_text_and_integer_are_inverse(value: int, scale: int) -> None:
    text = ins.from_scaled(value, scale)
    assert Decimal(text).scaleb(scale) == value
    assert ins.to_scaled(text, scale) == value
    assert ins.to_scaled(text, scale) == ins.to_scaled(text + "000" if scale else text + ".000", scale)
    assert ins.decimals_of(text) <= scale


@given(mantissa=st.integers(0, 999), exponent=st.integers(-9, 3), scale=st.integers(0, 12))
def test_exponents_are_read_exactly(mantissa: int, exponent: int, scale: int) -> None:
    exact = Decimal(mantissa).scaleb(exponent + scale)
    if exact == int(exact):
        assert ins.to_scaled(f"{mantissa}e{exponent}", scale) == int(exact)
    else:
        with pytest.raises(DataError, match="more decimals"):
            ins.to_scaled(f"{mantissa}E{exponent}", scale)


@pytest.mark.parametrize(
    "text", ["", "-", ".", "1.2.3", " 1", "1 ", "NaN", "inf", "1,5", "0x1", "1e", "1e999", "--1", "٣"]
)
def test_other_text_is_no_number(text: str) -> None:
    with pytest.raises(DataError, match="not a decimal number"):
        ins.to_scaled(text, 2)


def test_limits() -> None:
    assert ins.to_scaled("61659.70", 1) == 616597
    assert ins.to_scaled("-.5", 1) == -5
    with pytest.raises(DataError, match=r"at most 1 decimals, got '61659\.75'"):
        ins.to_scaled("61659.75", 1)
    with pytest.raises(DataError, match="too large"):
        ins.to_scaled("1000000000000", 6)
    assert ins.decimals_of("0.100") == 1


def test_presets_hold_the_venues_rules() -> None:
    futures = ins.preset("binance-usdm", "BTCUSDT")
    assert (futures.price_scale, futures.tick_size, futures.qty_scale, futures.lot_size) == (1, 1, 3, 1)
    assert (futures.maker_fee, futures.taker_fee, futures.settle) == (20_000, 50_000, "USDT")
    assert futures.price_text(616597) == "61659.7"
    assert futures.price_int("61659.70") == 616597
    assert futures.qty_text(futures.qty_int("0.010")) == "0.010"
    assert ins.preset("binance-usdm", "ETHUSDT").price_scale == 2
    inverse = ins.preset("binance-coinm", "BTCUSD_PERP")
    assert (inverse.contract, inverse.contract_size, inverse.settle) == ("inverse", 100 * ins.MONEY_ONE, "BTC")
    with pytest.raises(ConfigError, match="binance-spot:BTCUSDT"):
        ins.preset("binance", "BTCUSDT")
    assert ins.Instrument.from_dict(futures.to_dict()) == futures
    with pytest.raises(ConfigError, match="cannot be read"):
        ins.Instrument.from_dict({"symbol": 1})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tick_size": "0"}, "field tick_size"),
        ({"tick_size": 0.1}, "quote it"),
        ({"tick_size": "abc"}, "not a decimal number"),
        ({"price_scale": 0}, "more decimals"),
        ({"price_scale": 13}, "field price_scale"),
        ({"contract": "future"}, "one of linear, inverse, spot"),
        ({"symbol": ""}, "field symbol"),
        ({"min_qty": "5", "max_qty": "1"}, "field max_qty"),
        ({"maker_fee": "1"}, "field maker_fee"),
    ],
)
def test_rules_that_cannot_stand_are_refused(change: dict[str, object], match: str) -> None:
    fields = {"symbol": "X", "venue": "V", "tick_size": "0.1", "lot_size": "1"} | change
    with pytest.raises(ConfigError, match=match):
        ins.Instrument.make(**fields)  # type: ignore[arg-type]


def test_instruments_of_a_file_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "instruments.toml"
    path.write_text(
        '[[instrument]]\nsymbol = "AAA"\nvenue = "mine"\ntick_size = 0.10\nlot_size = "1"\ntaker_fee = 0.0001\n'
        '[[instrument]]\nlike = "mine:AAA"\nsymbol = "BBB"\ntick_size = "0.0005"\n'
        '[[instrument]]\nlike = "binance-usdm:BTCUSDT"\nvenue = "mine"\nlot_size = 0.01\n'
    )
    found = ins.read_instruments(path)
    assert list(found) == ["mine:AAA", "mine:BBB", "mine:BTCUSDT"]
    assert (found["mine:AAA"].price_scale, found["mine:AAA"].taker_fee) == (1, 10_000)
    assert (found["mine:BBB"].price_scale, found["mine:BBB"].tick_size) == (4, 5)
    assert (found["mine:BTCUSDT"].qty_scale, found["mine:BTCUSDT"].max_qty) == (2, 100_000)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1", "one or more"),
        ("[[instrument]]\nsymbol = 'A'", "incomplete"),
        ("[[instrument]]\nlike = 'nope'", "unknown"),
        ("[[instrument]]\nsymbol = 3", "field symbol"),
        ("[[instrument]]\nsymbol = 'A'\nvenue = 'v'\ntick_size = '0'\nlot_size = '1'", "field tick_size"),
        ("[[instrument]]\nlike = 'binance-spot:BTCUSDT'\n[[instrument]]\nlike = 'binance-spot:BTCUSDT'", "repeats"),
        ("[[[", "not a TOML file"),
    ],
)
def test_a_bad_file_names_the_table_and_the_field(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "instruments.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"instruments\.toml.*{match}"):
        ins.read_instruments(path)
    with pytest.raises(ConfigError, match="cannot read"):
        ins.read_instruments(tmp_path / "absent.toml")


def test_an_error_says_where_what_was_expected_and_what_to_do() -> None:
    error = DataError(
        "price is no number", file="a.csv", line=3, field="bid", expected="digits", got="x", remedy="fix it"
    )
    assert str(error) == "a.csv:3: price is no number, field bid, expected digits, got 'x'; fix it"
    assert isinstance(error, TwinloopError)
    assert (error.file, error.line, error.field) == ("a.csv", 3, "bid")
    assert str(DataError("bad", line=3)) == "line 3: bad"
