"""Where a venue is, and that the way to it is safe: TLS verified, with no switch to turn that off; plain only to this machine.

This module must not connect to anything.
"""

import ipaddress
import ssl
from pathlib import Path
from typing import Final, get_args
from urllib.parse import urlsplit

import msgspec

from twinloop.data.binance_orders import Market
from twinloop.data.errors import ConfigError

_PLAIN: Final = {"http": "https", "ws": "wss"}


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of one market.

    rest: without a path, "https://api.binance.com". orders: of the WebSocket API, "" for none. user: of the user stream; spot's is the
    WebSocket API, USD-M's has {listen_key} in it. rights: where a key's rights are told, rest unless given. ca_file: certificates to
    trust instead of the system's. Raises ConfigError.
    """

    rest: str
    user: str
    orders: str = ""
    rights: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse what is not safe."""
        for field in ("rest", "user", "orders", "rights"):
            text: str = getattr(self, field)
            if text or field in {"rest", "user"}:
                check_address(field, text, ("https", "http") if field in {"rest", "rights"} else ("wss", "ws"))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(field: str, text: str, schemes: tuple[str, str]) -> None:
    """ConfigError for an address that is none, or that is plain and not of this machine. schemes: the safe one, the plain one."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in schemes or parts.username or parts.password:
        raise ConfigError("not an address", field=field, expected=f"{schemes[0]}://host", got=text.partition("?")[0])
    if parts.scheme in _PLAIN and not is_loopback(host):
        raise ConfigError(
            "a plain connection to another machine",
            field=field,
            expected=f"{_PLAIN[parts.scheme]}://",
            got=f"{parts.scheme}://{host}",
            remedy="only this machine may be reached without TLS",
        )


def tls_context(ca_file: str) -> ssl.SSLContext:
    """A context that verifies chain and host, TLS 1.2 or later. ca_file: "" for the system's certificates."""
    if ca_file and not Path(ca_file).is_file():
        raise ConfigError("no such file of certificates", field="ca_file", got=ca_file)
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


ORDER_PATH: Final[dict[Market, str]] = {"spot": "/ws-api/v3", "usdm": "/ws-fapi/v1"}
USER_PATH: Final[dict[Market, str]] = {"spot": "/ws-api/v3", "usdm": "/private/ws/{listen_key}"}


def endpoints_at(market: Market, *, rest: str, stream: str, calls: str = "", rights: str = "") -> Endpoints:
    """Addresses of a market from those of its hosts, without paths. calls: of the WebSocket API; stream's without it."""
    calls = calls or stream
    user = calls if market == "spot" else stream
    return Endpoints(rest=rest, user=user + USER_PATH[market], orders=calls + ORDER_PATH[market], rights=rights or rest)


LIVE: Final[dict[Market, Endpoints]] = {
    "spot": endpoints_at(
        "spot",
        rest="https://api.binance.com",
        stream="wss://stream.binance.com:9443",
        calls="wss://ws-api.binance.com",
    ),
    "usdm": endpoints_at(
        "usdm",
        rest="https://fapi.binance.com",
        stream="wss://fstream.binance.com",
        calls="wss://ws-fapi.binance.com",
        rights="https://api.binance.com",
    ),
}
assert set(LIVE) == set(get_args(Market))
