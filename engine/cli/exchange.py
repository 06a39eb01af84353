"""`twinloop exchange`: a practice exchange on this machine."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import say, say_json


def exchange(
    *,
    port: int = 9080,
    symbols: str = "BTCUSDT",
    seed: int = 1,
    rate: float = 50.0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a practice exchange until Ctrl-C: Binance's spot and USD-M protocol, on this machine alone.

    For example:

        twinloop exchange

        twinloop exchange --port 9080 --symbols BTCUSDT,ETHUSDT --seed 7

        twinloop live examples/practice.toml      # in another terminal

    Its matching, its ledger and its market are its own; it shares no code with the
    engine. REST, market and user streams and the WebSocket API answer as the venue
    does in 2026. Faults are armed at /control (docs/exchange.md).

    Parameters
    ----------
    port
        To listen on; 0 takes a free one.
    symbols
        BTCUSDT, ETHUSDT or both, separated by commas.
    seed
        Of its market.
    rate
        Turns of its market a second, of about three orders each.
    json
        Print one JSON document when it is ready.
    """
    names = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    known = ("BTCUSDT", "ETHUSDT")
    for name in names:
        if name not in known:
            raise ConfigError(
                "the practice exchange does not have this symbol",
                field="--symbols",
                expected=" or ".join(known),
                got=name,
            )
    if not names or not 0 < rate <= 1000:
        raise ConfigError(
            "cannot run so",
            field="--symbols, --rate",
            expected="a symbol, and a rate of 1 to 1000",
            got=f"{names}, {rate}",
        )
    asyncio.run(_run(port, names, seed, rate, json=json))
    return OK


async def _run(port: int, names: list[str], seed: int, rate: float, *, json: bool) -> None:
    from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server  # noqa: PLC0415 - loads the server

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with Server(symbols=names, seed=seed, port=port, turns_per_s=rate) as server:
            if json:
                say_json({
                    "rest": server.rest, "stream": server.stream, "port": server.port, "symbols": names, "key": PRACTICE_KEY,
                    "secret": PRACTICE_SECRET,
                })  # fmt: skip
            else:
                say(f"practice exchange  {', '.join(names)}  spot and USD-M, seed {seed}")
                say(f"REST {server.rest}  streams {server.stream}")
                say(f"key {PRACTICE_KEY}  secret {PRACTICE_SECRET}  (no secret: it is for practice)")
                say("Ctrl-C ends it")
            sys.stdout.flush()
            await stopped.wait()
    except OSError as error:
        raise ConfigError(
            "cannot listen there", field="--port", expected="a free port", got=f"{port}: {error.strerror}"
        ) from None
