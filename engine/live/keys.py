"""A venue's API keys: from the environment or the system's keyring, never from a file of the project, and what they may do.

A key that can take money off the account is refused, whatever else it may do; so is one that any address may use, and one that cannot
trade. This module must not ask the venue, or show a key.
"""

import os
from pathlib import Path
from typing import Final

from twinloop.data.binance_answers import KeyRights
from twinloop.data.binance_orders import Market
from twinloop.data.binance_signing import Credentials, Ed25519Signer, HmacSigner, Secret
from twinloop.data.errors import ConfigError
from twinloop.engine.live.config import LoadedSession
from twinloop.engine.live.session_errors import SessionError

IN_KEYRING: Final = ("api-key", "api-secret")  # User names under the service that the configuration names.
_PEM: Final = "-----BEGIN"
_QUOTES: Final = "'\""


def read_credentials(loaded: LoadedSession) -> Credentials:
    """The keys that the configuration's [orders] names. ConfigError where one is not there."""
    orders = loaded.config.orders
    assert orders is not None
    if orders.keyring:
        return credentials_in_keyring(loaded.file, orders.keyring)
    return credentials_from(loaded.file, orders.key_variable, orders.secret_variable)


def credentials_from(file: Path, key_variable: str, secret_variable: str) -> Credentials:
    """Keys from environment variables. ConfigError where one is not set."""
    found = []
    for name in (key_variable, secret_variable):
        text = os.environ.get(name, "")
        if not text:
            raise ConfigError(
                "a key is not in the environment", file=file, field=f"${name}", expected="the venue's API key or secret",
                got="nothing", remedy="set it for this process only, and never write it into a file of the project",
            )  # fmt: skip
        found.append(_usable(text, file, f"${name}"))
    return _credentials(*found)


def credentials_in_keyring(file: Path, service: str) -> Credentials:
    """Keys from the system's keyring. ConfigError where one is not there, or the keyring cannot be read."""
    try:
        import keyring  # noqa: PLC0415 - an optional package
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "the keyring cannot be used", file=file, field="orders.keyring", expected="the package keyring", got="none",
            remedy="pip install 'twinloop[keyring]', or set the keys in the environment",
        ) from None  # fmt: skip
    found = []
    for name in IN_KEYRING:
        try:
            text = keyring.get_password(service, name)
        except KeyringError as error:
            raise ConfigError(
                "the keyring does not open", file=file, field="orders.keyring", got=type(error).__name__
            ) from None
        if not text:
            raise ConfigError(
                "a key is not in the keyring", file=file, field="orders.keyring", expected=f"{name} of {service}", got="nothing",
                remedy=f"keyring set {service} {name}",
            )  # fmt: skip
        found.append(_usable(text, file, f"orders.keyring {name}"))
    return _credentials(*found)


def _usable(text: str, file: Path, field: str) -> Secret:
    """ConfigError for what no venue gives out: a key copied with a line break, a blank, quotes or a letter too many. It is not shown."""
    kept = text.strip() if text.lstrip().startswith(_PEM) else text
    got = ""
    if not kept.startswith(_PEM):
        if any(each.isspace() for each in kept):
            got = "a blank or line break in it"
        elif not all("!" <= each <= "~" for each in kept):
            got = "a character in it that is neither letter nor digit"
        elif kept[0] in _QUOTES:
            got = "quotes around it"
    if got:
        raise ConfigError(
            "a key is not as a venue writes it", file=file, field=field, expected="letters and digits alone", got=got,
            remedy="copy it again, without blanks, quotes or line breaks",
        )  # fmt: skip
    return Secret(kept)


def _credentials(key: Secret, secret: Secret) -> Credentials:
    """The secret of an HMAC key, or the private key of an Ed25519 one in PEM form."""
    return Credentials(key, Ed25519Signer(secret) if secret.reveal().startswith(_PEM) else HmacSigner(secret))


def check_rights(rights: KeyRights, market: Market) -> None:
    """SessionError for a key with too many rights, or too few."""
    may_trade = rights.enable_spot_and_margin_trading if market == "spot" else rights.enable_futures
    problems = (
        (rights.enable_withdrawals, "a key that can withdraw", "no right to withdraw"),
        (
            rights.enable_internal_transfer or rights.permits_universal_transfer,
            "a key that can move money to other accounts",
            "no right to transfer",
        ),
        (not rights.ip_restrict, "a key that any address may use", "the addresses that may use it, named at the venue"),
        (not rights.enable_reading, "a key that cannot read the account", "the right to read"),
        (not may_trade, f"a key that cannot trade on {market}", "the right to trade there"),
    )
    for wrong, what, expected in problems:
        if wrong:
            raise SessionError(
                what,
                expected=expected,
                got="the other",
                remedy="change the key's rights at the venue, or make a new one",
            )
