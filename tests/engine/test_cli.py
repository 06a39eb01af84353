"""The command line: exit codes, help with examples, one line a mistake, one JSON document on request."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import twinloop as twinloop_package
from twinloop.data.atomic import temporary_name
from twinloop.data.catalog import Catalog
from twinloop.engine import cli

COMMANDS = [
    *(name for name, _ in cli.COMMANDS),
    *(f"data {name}" for name in ("list", "show", "quality", "export")),
    *(f"journal {name}" for name in ("verify", "show", "export")),
]


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        assert len(self.out.splitlines()) == 1
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def twinloop(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        code = cli.run(list(arguments))
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example_that_names_the_command(twinloop: Any, command: str) -> None:
    shown = twinloop(*command.split(), "--help")
    assert shown.code == cli.OK
    assert "example" in shown.out.lower()
    assert f"twinloop {command}" in shown.out


def test_the_first_help_lists_every_command_and_the_exit_codes(twinloop: Any) -> None:
    shown = twinloop("--help")
    assert all(name in shown.out for name, _ in cli.COMMANDS)
    assert "Exit codes" in shown.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["backtst"], cli.USAGE, 'Did you mean "backtest"'),
        (["backtest", "--latncy", "3"], cli.USAGE, "--latency"),
        (["backtest"], cli.USAGE, "nothing to run"),
        (["backtest", "nope.toml"], cli.USAGE, "no such configuration"),
        (["backtest", "--strategy", "x.py:X"], cli.USAGE, "no data"),
        (["backtest", "--strategy", "x.py:X", "--data", "synth:1m"], cli.STRATEGY, "no such strategy file"),
        (["backtest", "--strategy", "x.py:X", "--data", "synth:5"], cli.USAGE, "duration"),
        (
            ["backtest", "--strategy", "x.py:X", "--data", "synth", "--set", "venue.entry_latncy=1ms"],
            cli.USAGE,
            "entry_latency?",
        ),
        (["ingest", "nope.csv"], cli.DATA, "no such file"),
        (["ingest", "nope.csv", "--set", "intervall=1d"], cli.USAGE, "did you mean interval?"),
        (["data", "list", "nope"], cli.DATA, "no such catalog"),
        (["journal", "verify", "nope"], cli.DATA, "no such journal"),
        (["journal", "show", "nope", "--kind", "FIL"], cli.USAGE, 'did you mean "FILL"?'),
        (
            ["backtest", "--strategy", "x.py", "--data", "synth", "--instrument", "binance-usdm:BTCUSDT"],
            cli.USAGE,
            "no file",
        ),
        (["backtest", "run.toml", "--instrument", "binance-usdm:BTCUSDT"], cli.USAGE, "field --instrument"),
        (
            [
                "backtest",
                "--strategy",
                "x.py",
                "--data",
                "synth",
                "--limits",
                "research",
                "--set",
                "limits.max_spread=1",
            ],
            cli.USAGE,
            "limits.preset",
        ),
        (["data", "show", "BTCUSDT", "trades", "--limit", "-1"], cli.USAGE, "field --limit, expected 0 or more"),
        (["synth", "m.csv"], cli.USAGE, ".rows"),
        (["synth", "m.rows", "--duration", "5"], cli.USAGE, "with its unit|duration such as"),
        (["synth", "m.rows", "--correlation", "2"], cli.USAGE, "at most 1"),
        (["report"], cli.DATA, "no finished run"),
        (["report", "nope"], cli.DATA, "not a run's folder"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(twinloop: Any, arguments: list[str], code: int, said: str) -> None:
    found = twinloop(*arguments)
    assert found.code == code, found.err
    assert re.search(re.escape(said) if "|" not in said else said, found.err), found.err
    assert "Traceback" not in found.err
    assert found.out == ""
    assert len(found.err.splitlines()) == 1


def test_a_mistake_as_json_has_its_parts(twinloop: Any) -> None:
    found = twinloop("backtest", "nope.toml", "--json")
    assert found.code == cli.USAGE
    assert found.err == ""
    assert found.document["exit_code"] == cli.USAGE
    assert found.document["error"]["what"] == "no such configuration"
    assert found.document["error"]["file"] == "nope.toml"


def test_traceback_is_shown_on_request_only(twinloop: Any) -> None:
    assert "Traceback" in twinloop("backtest", "nope.toml", "--traceback").err


def test_a_bug_says_how_to_report_it(twinloop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str = "") -> Any:
        raise RuntimeError("this cannot be")

    monkeypatch.setattr(cli, "build_app", broken)
    found = twinloop("doctor")
    assert found.code == cli.BUG
    assert "a bug in twinloop" in found.err
    assert "--traceback" in found.err


def test_a_synthetic_market_goes_through_the_catalog(twinloop: Any, tmp_path: Path) -> None:
    made = twinloop("synth", "m.rows", "--rows", "3000", "--symbol", "AAA", "--symbol", "BBB", "--json")
    assert made.code == cli.OK
    assert made.document["rows"] >= 3000
    assert twinloop("synth", "m.rows", "--rows", "3000").code == cli.DATA
    taken = twinloop("ingest", "m.rows", "--json").document
    assert [each["instrument"] for each in taken["ingested"]] == ["synthetic:AAA", "synthetic:BBB"]
    assert sum(each["rows"] for each in taken["ingested"]) == made.document["rows"]
    again = twinloop("ingest", "m.rows", "--json").document
    assert [each["parts_added"] for each in again["ingested"]] == [0, 0]
    listed = twinloop("data", "list", "--verify", "--json").document
    assert {(each["symbol"], each["kind"]) for each in listed["kinds"]} >= {("AAA", "trades"), ("BBB", "quotes")}
    assert listed["problems"] == []
    shown = twinloop("data", "show", "AAA", "trades", "--limit", "2", "--json").document
    assert len(shown["records"]) == 2
    assert twinloop("data", "quality", "AAA", "--json").document["quality"]["out_of_order"] == 0
    exported = twinloop("data", "export", "AAA", "quotes", "q.csv", "--json").document
    assert (tmp_path / exported["path"]).stat().st_size == exported["size"] > 0


def test_a_damaged_part_fails_the_check(twinloop: Any, tmp_path: Path) -> None:
    twinloop("synth", "m.rows", "--rows", "3000")
    twinloop("ingest", "m.rows")
    part = next((tmp_path / "catalog").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    found = twinloop("data", "list", "--verify")
    assert found.code == cli.CHECK_FAILED
    assert "differs from its digest" in found.out


def recorded(count: int) -> list[str]:
    """Trades of BTCUSDT as a recorder of the USD-M stream writes them."""
    fields = '"s":"BTCUSDT","p":"57000.1","q":"0.002","m":true'
    lines = []
    for number in range(count):
        at = 1_723_161_255_000 + number
        data = f'{{"e":"trade","E":{at},"T":{at},"t":{number + 1},{fields}}}'
        lines.append(f'{at * 1_000_000} {{"stream":"btcusdt@trade","data":{data}}}\n')
    return lines


def test_a_recording_that_breaks_off_keeps_what_came_before_and_says_so(twinloop: Any, tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "cut.gz").write_bytes(packer.compress("".join(recorded(5)).encode()) + packer.flush(zlib.Z_FULL_FLUSH))
    arguments = ("ingest", "cut.gz", "--instrument", "binance-usdm:BTCUSDT")
    found = twinloop(*arguments, "--json")
    assert found.code == cli.INCOMPLETE
    assert found.document["ingested"][0]["rows"] == 5
    assert "breaks off" in found.document["ingested"][0]["broken_files"]["cut.gz"]
    shown = twinloop(*arguments)
    assert shown.code == cli.INCOMPLETE
    assert "cut.gz ends early" in shown.out + shown.err


def test_a_file_of_which_nothing_can_be_kept_is_an_error(twinloop: Any, tmp_path: Path) -> None:
    (tmp_path / "seconds.txt").write_text("".join(f"{line[:10]}{line[19:]}" for line in recorded(5)))
    found = twinloop("ingest", "seconds.txt", "--instrument", "binance-usdm:BTCUSDT", "--format", "binance-raw")
    assert found.code == cli.DATA
    assert "5 bad_receive_time" in found.err
    assert len(found.err.splitlines()) == 1


def test_a_row_file_is_compared_with_its_digest_before_it_is_taken(twinloop: Any, tmp_path: Path) -> None:
    twinloop("synth", "m.rows", "--rows", "500")
    content = bytearray((tmp_path / "m.rows").read_bytes())
    content[64 * 100 + 32] ^= 1
    (tmp_path / "m.rows").write_bytes(content)
    found = twinloop("ingest", "m.rows")
    assert found.code == cli.DATA
    assert "digest" in found.err


def test_a_table_is_ingested_by_its_settings(twinloop: Any, tmp_path: Path) -> None:
    lines = ["when,open,high,low,close,volume"] + [f"2024-01-0{day},10,12,9,{day + 9},5" for day in range(1, 6)]
    (tmp_path / "bars.csv").write_text("\n".join(lines), encoding="utf-8")
    found = twinloop(
        "ingest", "bars.csv", "--symbol", "GOOG", "--set", "interval=1d", "--set", "columns.time=when", "--json"
    )
    assert found.code == cli.OK, found.err
    quality = found.document["ingested"][0]["quality"]
    assert quality["kinds"] == {"BAR": 6}  # Two rows a bar.
    counted = quality["conservation"]
    assert (counted["kept"], sum(counted["quarantined"].values())) == (3, 2)  # Of two bars the close is above the high.
    assert counted["read"] == counted["kept"] + 2 + counted["control"]


def test_doctor_checks_the_installation(twinloop: Any) -> None:
    found = twinloop("doctor", "--json")
    expected = cli.CHECK_FAILED if os.environ.get("NUMBA_DISABLE_JIT", "0") == "1" else cli.OK
    assert found.code == expected, found.out
    assert {each["name"] for each in found.document["checks"]} >= {
        "package",
        "decoders",
        "compiler",
        "code cache",
        "row cache",
    }
    assert "numba" in found.document["facts"]["packages"]


def test_doctor_tells_what_dead_runs_left_behind(
    twinloop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinloop._cache.cache_folder", lambda: tmp_path / "kernels")
    rows = tmp_path / "rows"
    rows.mkdir()
    (tmp_path / "kernels").mkdir()
    (rows / "a.rows").write_bytes(b"")

    def told() -> str:
        checks = {each["name"]: each for each in twinloop("doctor", "--json").document["checks"]}
        return str(checks["row cache"]["detail"])

    assert "unfinished" not in told()
    temporary_name(rows / "b.rows").write_bytes(b"x" * 3_000_000)
    assert "1 row files" in told()
    assert "1 unfinished (3 MB): remove *.twinloop-partial-*" in told()


def test_help_answers_without_the_compiler_or_polars() -> None:
    code = (
        "import sys; from twinloop.engine import cli; cli.run(['--help']); cli.run(['backtest', '--help']);"
        "assert not {'numba', 'polars'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_interruption_is_told_to_a_machine_as_well(twinloop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("twinloop.engine.cli.backtest.load_config", interrupted)
    found = twinloop("backtest", "run.toml", "--json")
    assert found.code == cli.INTERRUPTED
    assert found.document["exit_code"] == cli.INTERRUPTED
    assert "nothing was written" in found.document["error"]["message"]
    assert "nothing was written" in twinloop("backtest", "run.toml").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_half_written_market(tmp_path: Path, number: signal.Signals) -> None:
    # Where these tests run in a script's background, Ctrl-C is ignored, and a child's too.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from twinloop.__main__ import main; main()"
    )
    arguments = ("synth", "market.rows", "--rows", "50000000")
    made = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not any(tmp_path.iterdir()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"ended early with {made.wait(timeout=0.05)}")
    made.send_signal(number)
    said = made.communicate()[1]
    assert made.returncode == cli.INTERRUPTED
    assert "nothing was written" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_within_a_call_from_c_is_not_lost(number: signal.Signals) -> None:
    """As when LLVM tells that it has compiled: Python drops what is raised there."""
    code = f"""
import ctypes, signal, time
from twinloop._interruption import heed_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
heed_interrupts()
try:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal({int(number)}))()
    print("dropped", flush=True)
    while True:
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["dropped", "interrupted"]
    assert done.stderr == ""


def test_what_an_interrupt_cut_in_its_making_does_not_complain() -> None:
    code = """
import signal
from twinloop._interruption import heed_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
heed_interrupts()
class Half:
    def __init__(self, number):
        if number:
            signal.raise_signal(number)
        self.there = not number
    def __del__(self):
        if not self.there:
            raise ValueError("half")
class Broken:
    def __del__(self):
        raise ValueError("a real one")
Broken()
try:
    Half(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["interrupted"]
    assert "a real one" in done.stderr
    assert "Half" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_line_loads_is_a_message(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text(f"import signal; signal.raise_signal({int(number)})\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom twinloop.__main__ import main; main()"
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code, "synth"], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == cli.INTERRUPTED
    assert done.stderr == "error interrupted, nothing was written\n"


def test_a_full_disk_is_told_with_the_file_and_a_remedy(
    twinloop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr("twinloop.data.rowfile.temporary_name", lambda _: full)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # A writer that fails removes its file.
    found = twinloop("synth", "market.rows", "--rows", "100000")
    assert found.code == cli.DATA
    assert "market.rows: no space left on device; free some, or name a folder on another disk" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_recording_of_another_symbol_is_refused_and_adds_nothing(twinloop: Any, tmp_path: Path) -> None:
    (tmp_path / "btc.txt").write_text("".join(recorded(5)))
    found = twinloop("ingest", "btc.txt", "--instrument", "binance-usdm:ETHUSDT")
    assert found.code == cli.DATA
    assert "recorded from another symbol" in found.err
    assert "5 of BTCUSDT" in found.err
    assert Catalog(tmp_path / "catalog").ingests() == []


def test_a_file_that_is_mostly_something_else_is_told_loudly(twinloop: Any, tmp_path: Path) -> None:
    others = [line.replace("BTCUSDT", "ETHUSDT") for line in recorded(9)[3:]]
    (tmp_path / "mixed.txt").write_text("".join(recorded(3) + others))
    arguments = ("ingest", "mixed.txt", "--instrument", "binance-usdm:BTCUSDT")
    shown = twinloop(*arguments)
    assert shown.code == cli.OK
    assert "WARNING mixed.txt: most of it is not what was declared" in shown.err
    assert "3 kept + 0 quarantined + 6 control (6 other_symbol)" in shown.out
    found = twinloop(*arguments, "--json").document["ingested"][0]
    assert "6 other_symbol" in found["warnings"][0]


def test_a_backtest_over_data_that_breaks_off_is_partial_and_says_so(twinloop: Any, tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "cut.gz").write_bytes(packer.compress("".join(recorded(5)).encode()) + packer.flush(zlib.Z_FULL_FLUSH))
    (tmp_path / "quiet.py").write_text(
        "import twinloop as tl\n\n\nclass Quiet(tl.Strategy):\n    def on_trade(self, ctx, trade):\n        pass\n"
    )
    instrument = "binance-usdm:BTCUSDT"
    straight = ("backtest", "--strategy", "quiet.py", "--data", "cut.gz", "--instrument", instrument)
    assert twinloop("ingest", "cut.gz", "--instrument", instrument).code == cli.INCOMPLETE
    stored = ("backtest", "--strategy", "quiet.py", "--data", "catalog", "--symbol", "BTCUSDT")
    for arguments in (straight, stored):
        found = twinloop(*arguments, "--json", "--set", f"run.cache={tmp_path / 'cache'}")
        assert found.code == cli.INCOMPLETE, found.err
        assert found.document["complete"] is False
        assert "cut.gz breaks off" in found.document["warnings"][0]


def test_what_a_strategy_prints_stays_out_of_the_json(tmp_path: Path) -> None:
    text = "import twinloop as tl\n\nprint('imported')\n\n\nclass Talks(tl.{kind}):\n    def on_trade(self, ctx, trade):\n        print(trade.price)\n"
    for kind in ("Strategy", "PythonStrategy"):
        (tmp_path / f"{kind}.py").write_text(text.format(kind=kind))
        code = "from twinloop.engine.cli import main; main()"
        made = ("--data", "synth:1s", "--set", f"run.cache={tmp_path / 'cache'}", "--json")
        done = subprocess.run(
            [sys.executable, "-c", code, "backtest", "--strategy", f"{kind}.py", *made],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["complete"]
        assert "imported" in done.stderr
        assert len(done.stderr.splitlines()) > 5


def test_the_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "twinloop", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"twinloop {twinloop_package.__version__}")
