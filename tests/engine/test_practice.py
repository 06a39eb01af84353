"""One command from nothing to a paper session on the practice exchange that is watched, and to the end of both."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from twinloop.engine import cli
from twinloop.engine.live.parity import replay_journal

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(folder: Path, port: int, changes: tuple[tuple[str, str], ...] = ()) -> Path:
    text = (EXAMPLES / "practice.toml").read_text().replace("9080", str(port))
    text = text.replace('"ema_cross.py', f'"{EXAMPLES / "ema_cross.py"}')
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "practice.toml").write_text(text)
    return folder / "practice.toml"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_it_starts_shows_and_ends_both(tmp_path: Path) -> None:
    port = free_port()
    path = example(tmp_path, port)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "sessions" / "practice" / "session.log"
    command = [
        sys.executable,
        "-c",
        "from twinloop.engine.cli import main; main()",
        "practice",
        str(path),
        "--every",
        "0.2",
    ]
    terminal, other_end = pty.openpty()
    running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=other_end, stderr=other_end)
    os.close(other_end)
    shown = b""
    until = time.monotonic() + 120
    while (b"practice  paper" not in shown or b"journal" not in shown) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
        assert running.poll() is None, shown
    running.send_signal(signal.SIGINT)
    with suppress(OSError):  # The terminal's other end is closed by the last process.
        while os.read(terminal, 65536):
            pass
    os.close(terminal)
    assert running.wait(60) == 0
    assert b"practice  paper" in shown
    assert "stopped:" in log.read_text()
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", port)) != 0, "the exchange has ended"
    assert replay_journal(tmp_path / "sessions" / "practice" / "journal").difference is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((('stream = "ws', '# stream = "ws'), ('rest = "http', '# rest = "http')), "not on a practice exchange"),
        ((('stream = "ws://127.0.0.1', 'stream = "wss://example.org'),), "not on a practice exchange"),
    ],
)
def test_a_session_elsewhere_is_not_for_practice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: tuple[tuple[str, str], ...], told: str
) -> None:
    assert cli.run(["practice", str(example(tmp_path, free_port(), changes))]) == cli.USAGE
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.run(["practice", str(example(tmp_path, int(taken.getsockname()[1])))]) == cli.USAGE
    assert "listens at the exchange's address already" in capsys.readouterr().err


@pytest.mark.parametrize("every", ["nan", "inf", "0", "-1", "1e300"])
def test_a_time_between_two_looks_that_is_none_starts_and_asks_nothing(
    tmp_path: Path, every: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["practice", str(example(tmp_path, free_port())), f"--every={every}"]) == cli.USAGE
    assert cli.run(["ctl", "watch", str(tmp_path), f"--every={every}"]) == cli.USAGE
    assert capsys.readouterr().err.count("--every, expected 0.05 to 86400 seconds") == 2
    assert not (tmp_path / "sessions").exists()


def test_a_screen_is_no_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ctl", "watch", str(tmp_path), "--json"]) == cli.USAGE
    assert '"field": "--json"' in capsys.readouterr().out
