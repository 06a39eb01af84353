"""Whose request it is: API key, signature and time, judged as the venue judges them."""

import base64
import hashlib
import hmac
import re
from decimal import Decimal
from typing import Any

from twinloop.engine.exchange.model import Account, VenueError

WINDOW_MS_MAX = 60_000


def is_public_key(secret: str) -> bool:
    """Whether an account signs with Ed25519: its secret is its public key then."""
    return secret.startswith("-----BEGIN PUBLIC KEY-----")


def check_signed(
    accounts: dict[str, Account], key: str | None, query: str, parameters: dict[str, str], now_ms: int
) -> Account:
    """The account that signed a request. query: what was signed, as it came, without the signature. VenueError otherwise."""
    account = check_key(accounts, key)
    given = parameters.get("signature")
    if not given:
        raise VenueError(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    if not _matches(account.secret, query, given):
        raise VenueError(-1022, "Signature for this request is not valid.")
    check_time(parameters, now_ms)
    return account


def check_time(parameters: dict[str, str], now_ms: int) -> None:
    """Whether a request is of now: at most a second ahead of the venue's clock, and no older than its window. VenueError otherwise."""
    stamp = parameters.get("timestamp", "")
    if not stamp.isascii() or not stamp.isdigit():
        raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    window_ms = _window_ms(parameters.get("recvWindow") or "5000")
    if int(stamp) >= now_ms + 1000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - int(stamp) > window_ms:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _window_ms(text: str) -> Decimal:
    """A receive window: up to three decimals, at most a minute."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise VenueError(-1100, "Illegal characters found in parameter 'recvWindow'.")
    window_ms = Decimal(text)
    if window_ms > WINDOW_MS_MAX:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    return window_ms


def check_key(accounts: dict[str, Account], key: str | None) -> Account:
    """The account of an API key."""
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    if key not in accounts:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return accounts[key]


def _matches(secret: str, query: str, given: str) -> bool:
    if is_public_key(secret):
        return _verifies(secret, query, given)
    expected = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, given.lower())


def _verifies(public_key: str, query: str, given: str) -> bool:
    """Ed25519: the account's secret is its public key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where such a key is used
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    key: Any = load_pem_public_key(public_key.encode())
    try:
        key.verify(base64.b64decode(given), query.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
