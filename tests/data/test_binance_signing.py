"""Signatures against published vectors, and keys that nothing shows."""

import copy
import logging
import pickle
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from twinloop.data.binance_signing import MASK, Credentials, Ed25519Signer, HmacSigner, Secret, quoted, signed_query
from twinloop.data.errors import ConfigError

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"


def test_hmac_agrees_with_the_venues_documentation() -> None:
    payload = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )
    signer = HmacSigner(Secret(SECRET))
    expected = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert signer.sign(payload) == expected
    assert signer.sign(payload) == expected, "a signer keeps nothing of what it signed"
    assert signed_query(payload, signer) == f"{payload}&signature={expected}"


def test_a_query_is_signed_as_it_is_encoded() -> None:
    symbol = quoted("测试USDT")
    assert symbol == "%E6%B5%8B%E8%AF%95USDT"
    assert HmacSigner(Secret(SECRET)).sign(f"symbol={symbol}") != HmacSigner(Secret(SECRET)).sign("symbol=测试USDT")


def test_ed25519_agrees_with_rfc_8032_and_is_encoded_in_a_query() -> None:
    # Test 2 of RFC 8032, section 7.1: one byte, 0x72.
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    expected = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key = Ed25519PrivateKey.from_private_bytes(seed)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signer = Ed25519Signer(Secret(pem))
    import base64

    assert base64.b64decode(signer.sign("r")) == expected
    signature = signed_query("a=1", signer).partition("&signature=")[2]
    assert not set(signature) & set("+/="), "base64 in a query is percent-encoded"


@pytest.mark.parametrize(
    "thing",
    [Secret(SECRET), HmacSigner(Secret(SECRET)), Credentials(Secret(API_KEY), HmacSigner(Secret(SECRET)))],
    ids=["secret", "signer", "credentials"],
)
def test_nothing_shows_a_key(thing: object, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{thing!r} {thing} {[thing]}"
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("canary").debug("%s %r", thing, thing)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(thing)
    text += "".join(traceback.format_exception(ValueError(thing)))
    text += caplog.text + str(caught.value)
    for start in range(len(SECRET) - 7):
        assert SECRET[start : start + 8] not in text
        assert API_KEY[start : start + 8] not in text
    assert MASK in text


def test_a_secret_formats_masked_and_copies_as_itself() -> None:
    secret = Secret(SECRET)
    assert f"{secret:>80}" == MASK
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret
    assert secret == Secret(SECRET)
    assert secret != Secret(API_KEY)
    assert not Secret("")


def test_a_refused_key_is_not_in_the_traceback() -> None:
    canary = "-----BEGIN PRIVATE KEY-----\nCANARYCANARYCANARY\n-----END PRIVATE KEY-----"
    with pytest.raises(ConfigError) as caught:
        Ed25519Signer(Secret(canary))
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    # The test's own frame holds the canary; the library's must not.
    assert "CANARYCANARY" not in text.partition("/data/binance_signing.py")[2]
    with pytest.raises(ConfigError, match="no key"):
        HmacSigner(Secret(""))
