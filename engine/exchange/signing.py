"""Whose request it is: API key, signature and time, judged as the venue judges them."""

import base64
import hashlib
import hmac
from typing import Any

from twinloop.engine.exchange.model import Account, VenueError

WINDOW_MS_MAX = 60_000


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
    stamp = parameters.get("timestamp", "")
    if not stamp.isdigit():
        raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    window = parameters.get("recvWindow", "5000")
    if not window.split(".")[0].isdigit() or float(window) > WINDOW_MS_MAX:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    if int(stamp) >= now_ms + 1000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - int(stamp) > float(window):
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
    return account


def check_key(accounts: dict[str, Account], key: str | None) -> Account:
    """The account of an API key."""
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    if key not in accounts:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return accounts[key]


def _matches(secret: str, query: str, given: str) -> bool:
    if secret.startswith("-----BEGIN PUBLIC KEY-----"):
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
