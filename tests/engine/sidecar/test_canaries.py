"""Canary keys in a whole deployment: what the exchange answers, journal, snapshots, metrics, alarms, and every report made of them."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web
from reference.canaries import CANARY_KEY, CANARY_SECRET, everything_under, leaks
from reference.live_sessions import live_file
from reference.order_relay import OrderRelay
from reference.processes import Child, runs, started, until, words_of

from twinloop.engine.cli import INCOMPLETE
from twinloop.engine.exchange.server import Server
from twinloop.engine.journal.snapshot import snapshots_of

TOKEN = "CANARYTOKENuV5yB8nM2kQ7wE4rT9"
ENV = {
    "TWINLOOP_API_KEY": CANARY_KEY, "TWINLOOP_API_SECRET": CANARY_SECRET, "TWINLOOP_CANCEL_KEY": CANARY_KEY,
    "TWINLOOP_CANCEL_SECRET": CANARY_SECRET,
}  # fmt: skip


async def said(*arguments: str, code: int = 0, **env: str) -> str:
    """What a command prints. A journal whose process was killed may have a torn end."""
    async with started(*arguments, env=ENV | env) as child:
        assert await child.end() in {code, INCOMPLETE if arguments[0] == "journal" else code}, child.said
    return child.said


async def hook(stack: AsyncExitStack) -> str:
    """Address of a webhook that answers 500: the alarm is told again, and told of as not delivered."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=500, text="no")

    app = web.Application()
    app.router.add_post("/{token}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/{TOKEN}"


async def deploy(folder: Path, quoter: Path, port: int) -> tuple[list[str], str, str]:
    """A session and its sidecar through faults, a refused key, metrics, a fence and a recovery: what all of it printed, what the exchange
    answered, and the listen keys."""
    shown: list[str] = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(seed=4, turns_per_s=50))
        relay = await stack.enter_async_context(OrderRelay(server.port, b"", keep=True))
        server.add_account("canary", CANARY_KEY, CANARY_SECRET)
        path = str(live_file(folder, relay.port, quoter, busy=True, more=f"metrics_port = {port}", mute_after="3s"))
        place = folder / "sessions" / "live"
        env = ENV | {"TWINLOOP_WEBHOOK": await hook(stack)}
        sidecar: Child = await stack.enter_async_context(started("sidecar", path, env=env))
        async with started("live", path, env=ENV) as live:
            await until(lambda: runs(place) and words_of(place)["fills"] >= 2, live, sidecar)
            for fault in ("reject", "html_403", "unknown_503", "drop_user"):
                server.faults.arm(fault)
                await until(lambda name=fault: server.faults.met.get(name, 0) > 0, live, sidecar)  # type: ignore[misc]
            await until(lambda: bool(snapshots_of(place / "journal")), live, sidecar)
            shown.append(await said("ctl", "status", str(place)))
            shown.append(await said("reconcile", str(place), "--json"))
            async with aiohttp.ClientSession() as client:
                for address in (f"http://127.0.0.1:{port}/metrics", f"{relay.address}/control", f"{relay.address}/no"):
                    async with client.get(address, headers={"X-MBX-APIKEY": CANARY_KEY}) as answer:
                        shown.append(await answer.text())
            assert "twinloop_session_facts" in shown[-3]
            assert "-5000" in shown[-1]
            live.process.send_signal(signal.SIGSTOP)
            assert await live.end() == -signal.SIGKILL  # By the watchdog.
        assert await sidecar.end(signal.SIGTERM) == 0
        refused = await said("live", path, "--traceback", code=2, TWINLOOP_API_SECRET=CANARY_SECRET[:-1])
        assert "Traceback" in refused
        assert "-1022" in refused
        shown += [live.said, sidecar.said, refused]
        journal = str(place / "journal")
        shown += await asyncio.gather(
            said("journal", "verify", journal),
            said("journal", "show", journal, "--limit", "100000", "--json"),
            said("journal", "export", journal, str(folder / "all.csv")),
            said("replay", journal, "--json"),
        )
        keys = " ".join(server.exchanges["usdm"].listen_keys._keys)
        assert keys
        assert CANARY_KEY.encode() in relay.asked
        assert b"signature=" in relay.asked, "the canaries are where they have to be"
        return shown, relay.answered.decode("latin-1"), keys


def test_no_key_is_in_what_a_deployment_shows_or_keeps_or_what_the_exchange_answers(
    tmp_path: Path, quoter: Path, unused_port: int
) -> None:
    shown, answered, keys = asyncio.run(deploy(tmp_path, quoter, unused_port))
    alarms = (tmp_path / "sessions" / "live" / "sidecar" / "alarms.jsonl").read_text()
    assert "is mute" in alarms
    assert "code" in answered
    assert leaks(answered) == []
    for text in (*shown, everything_under(tmp_path)):
        assert leaks(text, keys, TOKEN) == []
    assert leaks(f"key {CANARY_KEY[3:20]}"), "the search finds what it looks for"
    assert leaks(f"POST /{TOKEN}", TOKEN)
