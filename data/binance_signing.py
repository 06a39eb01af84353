"""Signatures of a venue's private requests, and the keys they are made with.

Keys live in `Secret`: whatever prints, formats, copies or pickles one never shows it, not even in part. A signer holds its key in a
form that is only good for signing. This module must not read files, the environment or a clock, and must not log.
"""

import base64
import hashlib
import hmac
from typing import Final, NoReturn, Protocol, Self
from urllib.parse import quote

from twinloop.data.errors import ConfigError
from twinloop.data.order_text import HmacKey

MASK: Final = "****"


class Secret:
    """A piece of text that is never shown. `reveal()` is the only way to it."""

    __slots__ = ("__reveal",)

    def __init__(self, text: str) -> None:
        # Held by a closure: a debugger or a crash report that walks the attributes of objects finds a function.
        def reveal() -> str:
            return text

        self.__reveal = reveal

    def reveal(self) -> str:
        """The text itself: for a header or a signature, never for a message."""
        return self.__reveal()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self.__reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Signer(Protocol):
    """Makes the signature of a payload; the text of it is ready for JSON, and for a query once `quoted`."""

    def sign(self, payload: str) -> str:
        """Signature of a payload, UTF-8."""


class HmacSigner:
    """HMAC-SHA256, in hexadecimal digits. key: the same for compiled code, which signs in a quarter of the time."""

    __slots__ = ("_keyed", "key")

    def __init__(self, secret: Secret) -> None:
        if not secret:
            raise ConfigError(
                "no key to sign with", expected="the API key's secret", remedy="set it in the environment"
            )
        self._keyed = hmac.new(secret.reveal().encode(), digestmod=hashlib.sha256)
        self.key = HmacKey(secret.reveal().encode())

    def sign(self, payload: str) -> str:
        """Signature of a payload."""
        keyed = self._keyed.copy()
        keyed.update(payload.encode())
        return keyed.hexdigest()

    def __repr__(self) -> str:
        return f"HmacSigner({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Ed25519Signer:
    """Ed25519, in base64. key: the private key as PEM (PKCS 8) text; password: of an encrypted one."""

    __slots__ = ("_sign",)

    def __init__(self, key: Secret, password: Secret | None = None) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - only for this
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - kind of key

        private = None
        try:
            private = load_pem_private_key(
                key.reveal().encode(), None if password is None else password.reveal().encode()
            )
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            # Raised outside the handler: the cause would carry the key's text in its frames.
            raise ConfigError(
                "not a private key for Ed25519", expected="a key in PEM form, and its password if it has one"
            )
        self._sign = private.sign

    def sign(self, payload: str) -> str:
        """Signature of a payload."""
        return base64.b64encode(self._sign(payload.encode())).decode()

    def __repr__(self) -> str:
        return f"Ed25519Signer({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Credentials:
    """An API key and what signs for it."""

    __slots__ = ("api_key", "signer")

    def __init__(self, api_key: Secret, signer: Signer) -> None:
        self.api_key = api_key
        self.signer = signer

    def __repr__(self) -> str:
        return f"Credentials({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def signed_query(payload: str, signer: Signer) -> str:
    """A percent-encoded query with its signature at the end. The venue checks the encoded text, so that is what is signed."""
    return f"{payload}&signature={quoted(signer.sign(payload))}"


def quoted(text: str) -> str:
    """Percent-encoded text of one value."""
    return quote(text, safe="")
