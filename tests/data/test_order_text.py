"""Signatures, masks and pieces of orders' texts, against the libraries that define them."""

import copy
import hashlib
import hmac
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from twinloop.data.instruments import from_scaled
from twinloop.data.order_text import (
    NOTHING,
    PRICE,
    QTY,
    SIGNATURE,
    HmacKey,
    OrderText,
    draw_masks,
    masked_frame,
    sha256_both,
)

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(key=st.binary(max_size=200), text=st.binary(max_size=600))
def test_a_signature_is_the_librarys(key: bytes, text: bytes) -> None:
    assert HmacKey(key).sign(text) == hmac.new(key, text, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("size", [64, 65, 119, 120, 127, 128, 129, 1000])
def test_a_digest_is_the_librarys_by_instructions_and_without(size: int) -> None:
    text = bytes(range(256)) * 4
    expected = hashlib.sha256(text[:size]).digest()
    assert sha256_both(text[:size]) == (expected, expected)


@pytest.mark.parametrize("size", [*range(140), 65_535, 65_536, 70_001])
def test_a_frame_is_read_back_by_the_library(size: int) -> None:
    text = bytes(32 + at % 95 for at in range(size))
    server = ServerProtocol(state=OPEN)
    frames = [masked_frame(text) for _ in range(3)]
    draw_masks()
    server.receive_data(b"".join(frames))
    events: Any = server.events_received()
    assert [(event.opcode, event.fin, bytes(event.data)) for event in events] == [(Opcode.TEXT, True, text)] * 3
    head = len(frames[0]) - size
    assert len({frame[head - 4 : head] for frame in frames}) == 3, "each frame has a mask of its own"


@given(qty=INT64, price=INT64, scales=st.tuples(st.integers(0, 18), st.integers(0, 18)))
def test_decimals_are_those_of_scaled_integers(qty: int, price: int, scales: tuple[int, int]) -> None:
    pieces = [[(b"a", QTY), (b"b", PRICE), (b"c", NOTHING)], [], [], []]
    text = OrderText(pieces, qty_scale=scales[0], price_scale=scales[1], signer=HmacKey(b""))
    assert text.query(qty, price, 0, b"", 0) == f"a{from_scaled(qty, scales[0])}b{from_scaled(price, scales[1])}c"


def test_nothing_shows_a_key() -> None:
    key = HmacKey(b"CANARY")
    text = OrderText([[(b"CANARY", NOTHING)]] * 4, qty_scale=0, price_scale=0, signer=key)
    for each in (key, text):
        assert "CANARY" not in f"{each!r}{each}{dir(each)}"
        for keep in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="a secret is not pickled"):
                keep(each)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="scales must be 0 to 18"):
        OrderText([[]] * 4, qty_scale=19, price_scale=0, signer=HmacKey(b""))
    with pytest.raises(ValueError, match="no such slot: 7"):
        OrderText([[(b"", 7)], [], [], []], qty_scale=0, price_scale=0, signer=HmacKey(b""))
    with pytest.raises(ValueError, match="4 forms"):
        OrderText([[]] * 5, qty_scale=0, price_scale=0, signer=HmacKey(b""))
    text = OrderText(
        [[], [], [(b"", SIGNATURE)], []], qty_scale=0, price_scale=0, signer=lambda payload: payload + "s" * 513
    )
    with pytest.raises(ValueError, match="at most 64 bytes, got 65"):
        text.query(0, 0, 0, b"x" * 65, 0)
    with pytest.raises(ValueError, match="at most 512 characters, got 513"):
        text.message(0, 0, 0, b"x", 0, 1, sign=True)
