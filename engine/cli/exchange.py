"""`twinloop exchange`: a practice exchange on this machine."""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import say, say_json
from twinloop.engine.exchange.symbols import KNOWN, KNOWN_COINM

SPEED_MAX: Final = 20.0
_MARKETS: Final = {"spot": "spot", "usdm": "USD-M", "coinm": "COIN-M"}


def exchange(
    *,
    port: int = 9080,
    symbols: str = "BTCUSDT",
    seed: int = 1,
    speed: float = 1.0,
    account: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a practice exchange until Ctrl-C: Binance's spot and USD-M protocol, on this machine alone.

    For example:

        twinloop exchange

        twinloop exchange --symbols BTCUSDT,ETHUSDT --seed 7 --speed 3

        twinloop exchange --account desk:desk-key:desk-secret

        twinloop live examples/practice.toml      # in another terminal

    Its matching, its ledger and its market are its own; it shares no code with the
    engine. REST, market and user streams and the WebSocket API answer as the venue
    does in 2026. Faults are armed at /control (docs/exchange.md).

    Parameters
    ----------
    port
        To listen on; 0 takes a free one.
    symbols
        Of BTCUSDT, ETHUSDT, BNBUSDT and SOLUSDT, separated by commas; of COIN-M
        BTCUSD_PERP and ETHUSD_PERP, whose market it has without customers.
    seed
        Of its market: the same seed gives the same flow of orders.
    speed
        Of its market's time: 1 is as lively as the recorded markets, 3 three times so.
    account
        One more customer as NAME:KEY:SECRET, beside "practice"; may be given again.
        A secret @FILE is the file of an Ed25519 public key (PEM).
    json
        Print one JSON document when it is ready.
    """
    names = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    for name in names:
        if name not in {*KNOWN, *KNOWN_COINM}:
            raise ConfigError(
                "the practice exchange does not have this symbol", field="--symbols", expected=", ".join([*KNOWN, *KNOWN_COINM]), got=name
            )  # fmt: skip
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            "cannot run so", field="--symbols", expected="each symbol once, and one at least", got=symbols
        )
    if not 0 < speed <= SPEED_MAX:
        raise ConfigError("cannot run so", field="--speed", expected=f"above 0, up to {SPEED_MAX}", got=f"{speed}")
    customers = [_customer(text) for text in account]
    taken = [key for _, key, _ in customers]
    if len(set(taken)) != len(taken):
        raise ConfigError(
            "two customers cannot have one key",
            field="--account",
            expected="a key of its own each",
            got=", ".join(taken),
        )
    asyncio.run(_run(port, names, seed, speed, customers, json=json))
    return OK


def _customer(text: str) -> tuple[str, str, str]:
    """NAME:KEY:SECRET."""
    name, _, rest = text.partition(":")
    key, _, secret = rest.partition(":")
    if not name or not key or not secret:
        raise ConfigError("no customer can be read from this", field="--account", expected="NAME:KEY:SECRET", got=text)
    if not secret.startswith("@"):
        return name, key, secret
    try:
        return name, key, Path(secret[1:]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            "the public key cannot be read", field="--account", expected="a file in PEM", got=f"{secret[1:]}: {error}"
        ) from None


async def _run(
    port: int, names: list[str], seed: int, speed: float, customers: list[tuple[str, str, str]], *, json: bool
) -> None:
    from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server  # noqa: PLC0415 - loads the server

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with Server(symbols=names, seed=seed, port=port, speed=speed) as server:
            for customer in customers:
                server.add_account(*customer)
            if json:
                say_json({
                    "rest": server.rest, "stream": server.stream, "port": server.port, "symbols": names, "key": PRACTICE_KEY,
                    "secret": PRACTICE_SECRET, "accounts": [name for name, _, _ in customers],
                })  # fmt: skip
            else:
                say(
                    f"practice exchange  {', '.join(names)}  {' and '.join(_MARKETS[each] for each in server.exchanges)}, seed {seed}"
                )
                say(f"REST {server.rest}  streams {server.stream}")
                say(f"key {PRACTICE_KEY}  secret {PRACTICE_SECRET}  (no secret: it is for practice)")
                for name, key, _ in customers:
                    say(f"also {name}, key {key}")
                say("Ctrl-C ends it")
            sys.stdout.flush()
            await stopped.wait()
    except OSError as error:
        raise ConfigError(
            "cannot listen there", field="--port", expected="a free port", got=f"{port}: {error.strerror}"
        ) from None
