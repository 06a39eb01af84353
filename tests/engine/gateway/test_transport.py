"""The transport against a real server on this machine: one answer or one time-out for each request, whatever the other side does."""

import asyncio
import datetime as dt
import ipaddress
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from reference.gateway_world import API_KEY, LOT, SECRET, credentials, request_row, settings
from reference.order_server import Server
from reference.order_venue import KernelOrder, kernel_view

from twinloop.data.errors import ConfigError
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.endpoints import LIVE, Endpoints, is_loopback
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome
from twinloop.engine.gateway.transport import Transport
from twinloop.engine.seam import RealWorld, ReceiveClock
from twinloop.kernels import rows


class Session:
    def __init__(self, server: Server, scheme: str = "", ca_file: str = "", **changes: Any) -> None:
        market = server.venue.market
        host = f"127.0.0.1:{server.port}"
        user = f"ws{scheme}://{host}" + ("/ws-api/v3" if market == "spot" else "/private/ws/{listen_key}")
        orders = f"ws{scheme}://{host}/ws-api/v3"
        self.endpoints = Endpoints(rest=f"http{scheme}://{host}", user=user, orders=orders, ca_file=ca_file)
        quick = {
            "order_timeout_ns": 300_000_000,
            "query_timeout_ns": 300_000_000,
            "horizon_ns": 1_000_000_000,
            "clock_offset_max_ns": 10**19,  # The server counts its own time.
        }
        self.gateway = Gateway(settings(market, **{**quick, **changes}), credentials())
        self.orders: dict[int, KernelOrder] = {}
        self.fills: list[tuple[int, int, int, int]] = []
        self.alerts: list[Alert] = []
        self.transport = Transport(
            self.gateway, credentials(), self.endpoints, self.deliver, ReceiveClock(), world=RealWorld()
        )

    def deliver(self, outcome: Outcome) -> None:
        self.alerts += outcome.alerts
        if outcome.facts:
            kernel_view(self.orders, outcome.rows, self.fills)

    def new(self, number: int, qty: int = LOT) -> None:
        self.orders[number] = KernelOrder(qty, 10_000)
        self.transport.request(request_row(rows.NEW, number, qty))

    def names(self) -> list[str]:
        return [alert.name for alert in self.alerts]


@asynccontextmanager
async def running(session: Session) -> AsyncIterator[Session]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(session.transport.run())
        try:
            yield session
        finally:
            task.cancel()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of many objects
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("market", "websocket"), [("spot", False), ("spot", True), ("usdm", False)])
def test_an_order_lives_and_ends_over_real_sockets(market: str, websocket: bool) -> None:
    async def play() -> None:
        async with Server(market).serve() as server, running(Session(server, websocket=websocket)) as session:
            gateway = session.gateway
            await until(lambda: gateway.clock_known and gateway.stream_up)
            await until(lambda: gateway.sender.socket_up == websocket)
            session.new(17, 2 * LOT)
            await until(lambda: session.orders[17].state == "ACKED")
            assert (server.frames_in > 1) == websocket
            server.venue.fill(server.venue.orders[0], LOT)
            await server.publish()
            await until(lambda: session.orders[17].state == "PARTIAL")
            session.transport.request(request_row(rows.CANCEL, 17))
            await until(lambda: session.orders[17].state == "CANCELLED")
            assert len(session.fills) == 1
            assert server.keys_seen == {API_KEY}

    asyncio.run(play())


@pytest.mark.parametrize("how", ["drop", "drip", "huge", "redirect", "html"])
def test_whatever_the_server_does_the_order_is_unknown_and_then_found(how: str) -> None:
    async def play() -> None:
        changes: dict[str, Any] = {"order_timeout_ns": 2_000_000_000} if how == "huge" else {}
        async with Server("spot").serve() as server, running(Session(server, **changes)) as session:
            await until(lambda: session.gateway.clock_known and session.gateway.stream_up)
            server.misbehave = how
            session.new(17)
            name = f"gateway-request-{session.gateway.sender.number}"
            await until(lambda: "REQUEST_UNPROVEN" in session.names())
            await until(lambda: session.orders[17].state == "ACKED")
            await until(lambda: name not in {task.get_name() for task in asyncio.all_tasks()})
            assert len(server.venue.orders) == 1
            assert not server.redirected, "a redirect is not followed: it would carry the key"
            assert server.bytes_out < 64 << 20, "no more is read than an answer may have"

    asyncio.run(play())


def test_what_is_pending_when_the_order_socket_goes_is_unknown_and_rest_takes_over() -> None:
    async def play() -> None:
        async with Server("spot").serve() as server, running(Session(server, websocket=True)) as session:
            await until(lambda: session.gateway.sender.socket_up and session.gateway.clock_known)
            server.misbehave = "drop"
            session.new(17)
            await until(lambda: "REQUEST_UNPROVEN" in session.names())
            session.new(18)
            await until(lambda: session.orders[18].state == "ACKED")
            await until(lambda: session.orders[17].state == "REJECTED")

    asyncio.run(play())


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_no_stream_and_no_socket_is_asked_for_while_the_venue_has_banned_this_address(market: str) -> None:
    """Every request in a ban lengthens it; the gateway's own wait as well."""

    async def play() -> None:
        websocket = market == "spot"
        async with Server(market).serve() as server, running(Session(server, websocket=websocket)) as session:
            gateway = session.gateway
            await until(lambda: gateway.stream_up and gateway.sender.socket_up == websocket)
            asked: list[str] = []
            server.hears = lambda path: None if gateway.may_ask else asked.append(path)
            until_ns = gateway.sender.venue_ns + 10**9
            session.transport.take(gateway.venue_busy(until_ns, *session.transport.times, banned=True))
            for stream in server.streams:
                await stream.close()
            await until(lambda: not gateway.stream_up)
            assert not gateway.may_ask
            await until(lambda: gateway.stream_up)
            assert asked == []

    asyncio.run(play())


def test_a_ban_that_a_question_for_the_stream_is_answered_with_holds_for_everything() -> None:
    async def play() -> None:
        server = Server("usdm")
        server.ban_s = 1
        async with server.serve(), running(Session(server)) as session:
            await until(lambda: "BANNED" in session.names())
            assert not session.gateway.may_ask
            await until(lambda: session.gateway.stream_up)
            assert session.gateway.may_ask

    asyncio.run(play())


def test_a_session_that_is_not_let_in_sends_over_rest() -> None:
    async def play() -> None:
        server = Server("spot")
        server.refuse_logon = True
        async with server.serve(), running(Session(server, websocket=True, logged_on=True)) as session:
            await until(lambda: session.gateway.clock_known)
            session.new(17)
            await until(lambda: session.orders[17].state == "ACKED")
            assert not session.gateway.sender.socket_up

    asyncio.run(play())


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_stream_that_breaks_is_told_and_opened_again(market: str) -> None:
    async def play() -> None:
        async with Server(market).serve() as server, running(Session(server)) as session:
            await until(lambda: session.gateway.stream_up)
            await server.streams[0].close()
            await until(lambda: "STREAM_DOWN" in session.names())
            await until(lambda: session.gateway.stream_up)
            assert session.transport.user.connects == 2
            assert server.listen_keys == (2 if market == "usdm" else 0)

    asyncio.run(play())


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_stream_is_renewed_before_the_old_one_ends(market: str) -> None:
    async def play() -> None:
        async with Server(market).serve() as server:
            session = Session(server)
            session.transport.user.session_s = 0.2
            session.transport.user.keep_alive_s = 0.05
            async with running(session):
                await until(lambda: session.transport.user.connects >= 3)
                assert "STREAM_DOWN" not in session.names()
                assert (server.kept_alive > 2) == (market == "usdm")
                session.new(17)
                await until(lambda: session.orders[17].state == "ACKED")

    asyncio.run(play())


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate that signs itself, and the file that would have to be trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, folder / "key.pem")
    return context, path


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_that_is_not_trusted_is_not_spoken_to(tmp_path: Path, trusted: bool) -> None:
    async def play() -> None:
        context, path = certificate(tmp_path)
        async with Server("spot").serve(context) as server:
            session = Session(server, scheme="s", ca_file=str(path) if trusted else "")
            async with running(session):
                if trusted:
                    await until(lambda: session.gateway.stream_up)
                else:
                    await until(lambda: session.gateway.sender.number >= 2)  # Asked for the time, and again.
                    assert not session.gateway.clock_known
                    assert not server.keys_seen
                    assert not server.venue.requests

    asyncio.run(play())


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("rest", "http://api.binance.com"),
        ("rest", "ftp://127.0.0.1"),
        ("rest", "https://user:word@api.binance.com"),
        ("rest", ""),
        ("user", "ws://stream.binance.com/ws"),
        ("user", "wss://"),
        ("orders", "ws://10.0.0.1/ws"),
        ("orders", "http://127.0.0.1"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(field: str, text: str) -> None:
    fine = {"rest": "http://127.0.0.1:1", "user": "ws://[::1]:1/ws", "orders": ""}
    assert Endpoints(**fine).rest
    with pytest.raises(ConfigError):
        Endpoints(**{**fine, field: text})
    assert all(endpoints.rest.startswith("https://") for endpoints in LIVE.values())
    assert not is_loopback("localhost.example.com")
    with pytest.raises(ConfigError, match="certificates"):
        Transport(
            Gateway(settings("spot"), credentials()),
            credentials(),
            Endpoints(rest="https://api.binance.com", user="wss://x", ca_file="/no/such/file"),
            lambda _: None,
            ReceiveClock(),
        )


def test_the_libraries_log_no_key_and_no_signature(caplog: pytest.LogCaptureFixture) -> None:
    signatures: list[str] = []

    async def play() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with Server("spot").serve() as server, running(Session(server, websocket=True)) as session:
            await until(lambda: session.gateway.sender.socket_up and session.gateway.clock_known)
            session.new(17)
            await until(lambda: session.orders[17].state == "ACKED")
            server.misbehave = "drop"
            session.new(18)
            await until(lambda: "REQUEST_UNPROVEN" in session.names())
            session.new(19)
            await until(lambda: session.orders[19].state == "ACKED")
            signatures.extend(asked["signature"] for _, _, asked in server.venue.requests if "signature" in asked)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(play())
    assert len(signatures) > 2
    for secret in (API_KEY, SECRET, "signature=", *signatures):
        for start in range(len(secret) - 9):
            assert secret[start : start + 10] not in caplog.text
