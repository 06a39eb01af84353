"""`twinloop practice`: a practice exchange, a paper session on it, and the session's status view, as one command."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import OK
from twinloop.engine.cli.ctl import check_every, watch
from twinloop.engine.cli.screen import Activity, note
from twinloop.engine.live.session_errors import SessionError

if TYPE_CHECKING:
    from twinloop.engine.live.config import LoadedSession

LOOK_S: Final = 0.1
END_S: Final = 30.0  # How long a process may take to end in order.
_HERE: Final = ("127.0.0.1", "localhost")


class _Child(NamedTuple):
    """A process that was started. log: what it says."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


def practice(config: Path = Path("examples/practice.toml"), *, every: float = 1.0) -> int:
    """Trade on a practice exchange of this machine, and watch, until Ctrl-C.

    For example:

        twinloop practice

        twinloop practice mine.toml

    Starts `twinloop exchange` at the address in the file and `twinloop live` with the
    file, shows the session as `twinloop ctl watch` does, and ends both in order. What
    they say goes to exchange.log and session.log in the session's folder. Started
    again, the session goes on where its journal ends.

    Parameters
    ----------
    config
        A session's TOML file whose feed is on this machine.
    every
        Seconds between two looks.
    """
    from twinloop.data.atomic import make_folder  # noqa: PLC0415
    from twinloop.engine.live.config import load_session  # noqa: PLC0415
    from twinloop.engine.live.control import SOCKET  # noqa: PLC0415

    check_every(every)
    loaded = load_session(config)
    port = _port(loaded)
    make_folder(loaded.place)
    words = ("exchange", "--port", str(port), "--symbols", ",".join(loaded.config.feed.symbols))
    for number in (signal.SIGINT, signal.SIGTERM):  # A script's background leaves the first one ignored.
        signal.signal(number, signal.default_int_handler)
    try:
        with _running(words, loaded.place / "exchange.log") as exchange, Activity("starting") as activity:
            _until(lambda: _listens(port), exchange, activity, "the exchange starts")
            with _running(("live", str(config)), loaded.place / "session.log") as session:
                _until(
                    lambda: _answers(loaded.place / SOCKET),
                    session,
                    activity,
                    "the first start compiles the engine, once",
                )
                activity.close()
                note(f"what both say is in {loaded.place}/*.log; Ctrl-C ends both")
                return watch(loaded.place / SOCKET, every)
    except KeyboardInterrupt:
        return OK


def _port(loaded: "LoadedSession") -> int:
    """Where the file says that the exchange is."""
    if loaded.config.session.mode != "paper":
        raise ConfigError(
            "practice is on paper", file=loaded.file, field="session.mode", expected="paper", got=loaded.config.session.mode,
            remedy="for orders on the practice exchange run `twinloop exchange` and `twinloop live` (docs/live.md)",
        )  # fmt: skip
    rest, stream = urlsplit(loaded.rest), urlsplit(loaded.stream)
    if rest.hostname not in _HERE or stream.hostname not in _HERE or not rest.port or rest.port != stream.port:
        raise ConfigError(
            "this session is not on a practice exchange of this machine", file=loaded.file, field="feed.rest, feed.stream",
            expected="one port of 127.0.0.1 in both", got=f"{loaded.rest}, {loaded.stream}",
            remedy="run it with `twinloop live`, and watch it with `twinloop ctl watch`",
        )  # fmt: skip
    if _listens(rest.port):
        raise ConfigError(
            "something listens at the exchange's address already", file=loaded.file, field="feed.rest", expected="a free port",
            got=loaded.rest, remedy="end it, or run the session on it with `twinloop live`",
        )  # fmt: skip
    return rest.port


@contextmanager
def _running(words: Sequence[str], log: Path) -> Iterator[_Child]:
    """A command of twinloop in a process of its own, which Ctrl-C does not reach; ended in order with the block."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from twinloop.engine.cli import main; main()", *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield _Child(words[0], process, log)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(reached: Callable[[], bool], child: _Child, activity: Activity, detail: str) -> None:
    """Wait for what a process brings about. ConfigError, with its last words, where it ends instead."""
    while not reached():
        if child.process.poll() is not None:
            words = child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ConfigError(
                f"`twinloop {child.name}` ended with exit code {child.process.returncode}", file=child.log,
                expected="that it runs", got=" ".join(words[-3:]) or "no word", remedy="see what it said",
            )  # fmt: skip
        activity.update(0, None, detail)
        time.sleep(LOOK_S)


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _answers(place: Path) -> bool:
    from twinloop.engine.live.control import ask  # noqa: PLC0415

    try:
        ask(place, {"command": "status"})
    except SessionError:
        return False
    return True
