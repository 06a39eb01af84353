"""The venue's own host names, led to a port of this machine: a certificate for them, TLS in front of the practice exchange, and a name service.

What is tested runs as it always does, in a process of its own; only the names are answered otherwise, as a line in /etc/hosts would.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOSTS: Final = frozenset(
    f"{name}.binance.com" for name in ("api", "fapi", "dapi", "stream", "fstream", "dstream", "ws-api", "ws-fapi")
)

# The program, with a name service that knows the venue's hosts alone, and every port of theirs.
RUN: Final = """
import socket, sys
hosts, port, known = {hosts!r}, {port}, socket.getaddrinfo
def answer(host, wanted, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if name in hosts:
        assert wanted in (443, 9443), wanted
        return known("127.0.0.1", port, *rest, **named)
    if name not in (None, "localhost", "127.0.0.1"):
        raise socket.gaierror(f"{{name}} is none of the venue's")
    return known(host, wanted, *rest, **named)
socket.getaddrinfo = answer
from twinloop.engine.cli import main
main()
"""


def program(port: int) -> str:
    """Source of the command line, which finds the venue's hosts at a port of this machine."""
    return RUN.format(hosts=set(HOSTS), port=port)


class Authority:
    """Who signs certificates. file: what a system has to trust; called: the hosts that somebody wanted to speak to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: set[str] = set()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
        self.now = dt.datetime.now(dt.UTC)
        made = _unsigned(self.name, self.name, self.key, self.now + dt.timedelta(days=1)).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def context(self, what: str) -> ssl.SSLContext:
        """A server's, with a certificate that is "good", "expired", for "another" host, or signs "itself"."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the venue")])
        hosts = ["example.com"] if what == "another" else sorted(HOSTS)
        until = self.now - dt.timedelta(hours=1) if what == "expired" else self.now + dt.timedelta(days=1)
        builder = _unsigned(subject, subject if what == "itself" else self.name, key, until).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        signed = builder.sign(key if what == "itself" else self.key, hashes.SHA256())
        path = self.folder / f"{what}.pem"
        path.write_bytes(
            signed.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.sni_callback = lambda _socket, host, _context: self.called.add(host or "")
        return context


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - dt.timedelta(days=3))
        .not_valid_after(until)
    )


@asynccontextmanager
async def tls_before(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """TLS on a port of this machine, and what it holds handed on to another one: the first port."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(hand_on, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
