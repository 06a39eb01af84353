"""A configuration: what it means, and every mistake at once with its place."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.errors import ConfigError
from twinloop.engine.config import Loaded, load_config, parse_override, put
from twinloop.engine.errors import ConfigErrors

SMALL = """
[[data]]
synth = { duration = "1m" }
[[strategy]]
path = "x.py:X"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        load_config(written(folder, text))
    return caught.value.errors


def only(folder: Path, text: str) -> ConfigError:
    found = mistakes(folder, text)
    assert len(found) == 1, [str(each) for each in found]
    return found[0]


def loaded(folder: Path, text: str, **overrides: object) -> Loaded:
    return load_config(written(folder, text), {key.replace("__", "."): value for key, value in overrides.items()})


def test_a_small_file_has_sound_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, SMALL).config
    assert config.account.cash == 100_000 * 10**8
    assert config.venue.queue_model == "risk_averse"
    assert config.venue.deplete
    assert config.limits == "research"
    assert config.data[0].synth is not None
    assert config.data[0].synth.duration == 60 * 10**9


TOKENS = [b"nan", b"-1", b"1e999", b"inf", b"[[", b"{}", b'""', b"9" * 30]


@given(data=st.data())
def test_a_damaged_file_is_a_configuration_or_mistakes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray((SMALL + "[account]\ncash = 10_000\n[venue]\nentry_latency = '1ms'\n").encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=6) | st.sampled_from(TOKENS))
        content[at : at + data.draw(st.integers(0, 6))] = piece
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(content)
    try:
        found = load_config(path, {}).config
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - either outcome is sound
        return
    assert found.account.cash > 0


@given(content=st.binary(max_size=80))
def test_random_bytes_are_mistakes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_config(path, {})


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    config = loaded(tmp_path, SMALL + "[account]\ncash = 0.12345678\nfx = { BTC = 60000.1 }\n").config
    assert config.account.cash == 12345678
    assert config.account.fx == {"BTC": 6_000_010_000_000}


def test_every_mistake_comes_at_once_with_line_and_remedy(tmp_path: Path) -> None:
    text = """limits = "research"
[run]
sede = 3
[[data]]
synth = { duration = 10 }
[[data]]
file = "x"
catalog = "y"
[venue]
entry_latency = 2
queue_model = "risk-averse"
deplete = 1
[account]
cash = "1e3x"
[[strategy]]
path = "a.py:B"
bars = ["1m", "100 tiks"]
[[strategy]]
nam = "x"
"""
    found = mistakes(tmp_path, text)
    by_field = {str(each.field): each for each in found}
    assert {str(each.field): each.line for each in found} == {
        "run.sede": 3, "data.0.synth.duration": 5, "data.1": 6, "venue.entry_latency": 10, "venue.queue_model": 11,
        "venue.deplete": 12, "account.cash": 14, "strategy.0.bars": 17, "strategy.1.path": 18, "strategy.1.nam": 19,
    }  # fmt: skip
    assert "did you mean seed?" in str(by_field["run.sede"])
    assert 'write "2ms"' in str(by_field["venue.entry_latency"])
    assert "did you mean risk_averse?" in str(by_field["venue.queue_model"])
    assert "true or false" in str(by_field["venue.deplete"])
    assert "100 ticks" in str(by_field["strategy.0.bars"])
    assert all(str(each).startswith(f"{tmp_path / 'run.toml'}:{each.line}: ") for each in found)
    assert [each.line for each in found] == sorted(each.line or 0 for each in found)


@pytest.mark.parametrize(
    ("extra", "field", "expected"),
    [
        ("[venue]\njitter = '1ms'\n", "venue", "seeded"),
        ("[venue]\nlatency_model = 'measured'\n", "venue", "latency_file"),
        ("[venue]\nfee_tiers = [[10, 1, 1], [5, 1, 1]]\n", "venue", "rising volume"),
        ("[venue]\nfee_tiers = [[10, 1]]\n", "venue.fee_tiers.0", "maker bps"),
        ("[venue]\nqueue_power = 99\n", "venue.queue_power", "at most 8"),
        ("[run]\nseed = -1\n", "run.seed", "at least 0"),
        ("[run]\nsample_interval = 5\n", "run.sample_interval", "with its unit"),
        ("[account]\ncurrency = 3\n", "account.currency", "a text in quotes"),
        ("[[data]]\ncatalog = 'c'\n", "data.1", "symbol"),
        ("[[data]]\nfile = 'f'\nformat = 'xls'\n", "data.1.format", "one of auto"),
        ("[[data]]\nfile = 'f'\nstart = 'yesterday'\n", "data.1.start", "a date or time"),
        (
            "[[data]]\nsynth = { symbols = [{ symbol = 'A', prise = 1 }], rows = 5 }\n",
            "data.1.synth.symbols.0.prise",
            "price",
        ),
    ],
)
def test_each_wrong_setting_says_what_was_expected(tmp_path: Path, extra: str, field: str, expected: str) -> None:
    mistake = only(tmp_path, SMALL + extra)
    assert mistake.field == field
    assert expected in str(mistake)


def test_an_empty_file_says_what_a_run_needs(tmp_path: Path) -> None:
    assert {each.field for each in mistakes(tmp_path, "")} == {"data", "strategy"}


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        SMALL,
        venue__entry_latency="2ms",
        strategy__parameters__fast=3,
        data__synth__seed=9,
        strategy__0__name="y",
    )
    assert found.config.venue.entry_latency == 2_000_000
    assert found.config.strategy[0].parameters == {"fast": 3}
    assert found.config.strategy[0].name == "y"
    assert found.config.data[0].synth is not None
    assert found.config.data[0].synth.seed == 9
    assert found.document["venue"]["entry_latency"] == "2ms"


def test_an_override_of_a_value_as_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a table at run\.name"):
        put({"run": {"name": "x"}}, "run.name.first", 1)
    with pytest.raises(ConfigError, match=r"index below 2"):
        put({"data": [{}, {}]}, "data.symbol", 1)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("a.b=2ms", "a.b", "2ms"), ("a=3", "a", 3), ("a=1.50", "a", Decimal("1.50")), ("a=true", "a", True), ('a=["x"]', "a", ["x"]),
     ("a=two words", "a", "two words"), ("a=", "a", "")],
)  # fmt: skip
def test_an_override_is_read_as_toml_or_as_text(text: str, key: str, value: object) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["", "x", "=3", "a b=3"])
def test_an_override_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"KEY=VALUE"):
        parse_override(text)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    with pytest.raises(ConfigError, match=r"did you mean .*run.toml"):
        load_config(tmp_path / "runs.toml")


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a TOML file.*line 1"):
        load_config(written(tmp_path, "[run\nname = 1\n"))


def test_reading_a_configuration_loads_no_compiler() -> None:
    code = "import sys, twinloop.engine.config as c; assert 'numba' not in sys.modules and 'polars' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ".", "/tmp/x", "a\\b", "a\0b"])
def test_the_name_of_a_run_is_one_folder_below_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigErrors, match="the name of one folder"):
        loaded(tmp_path, SMALL, run__name=name)


@pytest.mark.parametrize(
    ("key", "value"), [("account__cash", "0"), ("account__cash", "-5"), ("account__fx", {"EUR": 0})]
)
def test_a_run_starts_with_money_and_rates_above_zero(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ConfigErrors, match="more than 0"):
        loaded(tmp_path, SMALL, **{key: value})


def test_a_mistake_of_an_override_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    text = SMALL + '[venue]\nentry_latency = "1ms"\nqueue_model = "lifo"\n'
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, text, venue__entry_latency="2", strategy__bars=["1x"])
    found = {each.field: each for each in caught.value.errors}
    assert found["venue.queue_model"].file == str(tmp_path / "run.toml")
    assert found["venue.queue_model"].line == 8
    given = [found["venue.entry_latency"], *(each for key, each in found.items() if str(key).startswith("strategy"))]
    assert [(each.file, each.line) for each in given] == [("command line", None)] * 2
