"""The examples run as their files stand, and give the same result twice; an interrupted run leaves a valid partial one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from twinloop.engine.results import load_run

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path for path in (ROOT / "examples").glob("*.toml") if path.name not in {"paper.toml", "practice.toml"}
)
FILLS_MIN = {"market_maker": 100, "pairs_spread": 20, "ema_cross": 10, "bar_breakout": 10}
CODE = "from twinloop.engine.cli import main; main()"


def twinloop(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def result(example: Path, cwd: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    done = twinloop("backtest", str(example), "--json", *arguments, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trades_and_writes_its_report(example: Path, tmp_path: Path) -> None:
    found = result(example, tmp_path)
    assert found["complete"]
    assert found["counts"]["fills"] >= FILLS_MIN[example.stem]
    folder = tmp_path / found["folder"]
    assert (folder / "report.html").stat().st_size > 50_000
    assert pl.read_parquet(folder / "fills.parquet").height == found["counts"]["fills"]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"]["limits_in_force"]["preset"] == "research"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        short = ("--set", "data.synth.duration=1m")
        folders.append(
            tmp_path
            / str(number)
            / result(EXAMPLES[0].with_stem("market_maker"), tmp_path / str(number), *short)["folder"]
        )
    for name in (
        "fills.parquet",
        "orders.parquet",
        "equity.parquet",
        "risk.parquet",
        "trades.parquet",
        "manifest.json",
    ):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_debug_gives_the_same_fills(tmp_path: Path) -> None:
    short = ("--set", "data.synth.duration=5s", "--param", "interval_ms=50")
    example = ROOT / "examples" / "market_maker.toml"
    compiled = result(example, tmp_path, *short, "--name", "compiled")
    python = result(example, tmp_path, *short, "--name", "python", "--debug")
    tables = [pl.read_parquet(tmp_path / each["folder"] / "fills.parquet") for each in (compiled, python)]
    assert tables[0].height > 0
    assert tables[0].equals(tables[1])


def test_a_mistake_in_a_strategy_has_its_line_and_exit_code(tmp_path: Path) -> None:
    text = "import twinloop as tl\n\n\nclass Bad(tl.Strategy):\n    def on_trade(self, ctx, trade):\n        x = [trade.price]\n        ctx.buy(0, x[0])\n"
    (tmp_path / "bad.py").write_text(text, encoding="utf-8")
    done = twinloop("backtest", "--strategy", "bad.py", "--data", "synth:1s", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "bad.py:6" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_refuse_and_the_table_says_so(tmp_path: Path) -> None:
    found = result(
        ROOT / "examples" / "market_maker.toml", tmp_path, "--set", "data.synth.duration=1m", "--set", "limits.max_position_long_qty=0.05"
    )  # fmt: skip
    fills = pl.read_parquet(tmp_path / found["folder"] / "fills.parquet")
    assert fills["position_after_int"].max() <= 50  # type: ignore[operator]
    assert pl.read_parquet(tmp_path / found["folder"] / "risk.parquet")["verdict"].str.contains("POSITION").any()


TOLD = """
import time

import twinloop as tl


class Told(tl.PythonStrategy):
    wait_s: float = 0.0
    sign: int = 0

    def on_start(self, ctx):
        self.seen = 0
        self.tell()

    def on_trade(self, ctx, trade):
        self.seen += 1
        self.tell()

    def tell(self):
        if self.seen == self.sign:
            print("now", flush=True)
            time.sleep(self.wait_s)  # The signal comes in here, and Python goes on sleeping.

    def on_stop(self, ctx):
        print("seen", self.seen)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals are sent to a POSIX process")
@pytest.mark.parametrize("sign", [0, 3])
def test_ctrl_c_stops_after_the_callback_in_hand_with_a_valid_partial_result(tmp_path: Path, sign: int) -> None:
    (tmp_path / "told.py").write_text(TOLD, encoding="utf-8")
    told = ("--strategy", "told.py", "--param", f"sign={sign}", "--param", "wait_s=1.0")
    run = subprocess.Popen(
        [sys.executable, "-c", CODE, "backtest", *told, "--data", "synth:1m", "--name", "cut"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline().startswith("now")
    run.send_signal(signal.SIGINT)
    out, said = run.communicate(timeout=300)
    assert run.returncode == 5, said
    assert f"seen {sign}" in out
    assert "partial result" in out
    assert "stopping" in said
    partial = load_run(tmp_path / "runs" / "cut")
    assert not partial.complete
    assert sign <= partial.summary["counts"]["rows"] < 10_000


def test_the_paper_session_stands() -> None:
    from twinloop.engine.live.config import load_session

    loaded = load_session(ROOT / "examples" / "paper.toml")
    assert loaded.config.session.mode == "paper"
    assert loaded.stream.startswith("wss://")
    assert (loaded.folder / loaded.config.strategy[0].path.partition(":")[0]).is_file()
