"""Orders written from templates are, byte for byte, those written one by one."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.binance_orders import Market, NewOrder, requests_of, rest_text, websocket_frame
from twinloop.data.binance_signing import Credentials, Ed25519Signer, HmacSigner, Secret
from twinloop.data.binance_templates import Template
from twinloop.data.instruments import Instrument
from twinloop.kernels import codes

PEM = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
KEYS = Credentials(Secret("key{0}"), HmacSigner(Secret("secret")))


def instrument(symbol: str, price_scale: int, qty_scale: int) -> Instrument:
    return Instrument(
        symbol=symbol, venue="v", contract="spot", base="A", quote="B", settle="B", price_scale=price_scale,
        qty_scale=qty_scale, tick_size=1, lot_size=1, min_qty=1, max_qty=10**17,
    )  # fmt: skip


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "测试USDT"])
@pytest.mark.parametrize("kind", [codes.LIMIT, codes.MARKET, codes.STOP, codes.STOP_LIMIT])
@given(
    flags=st.integers(0, 31).filter(lambda flags: flags & 7 <= codes.GTD),
    side=st.sampled_from([1, -1]),
    scales=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    numbers=st.tuples(st.integers(1, 10**17), st.integers(0, 10**17), st.integers(1, 10**17)),
    time_ms=st.integers(0, 2**43),
)
def test_a_template_writes_what_the_slow_way_writes(
    market: Market, symbol: str, kind: int, flags: int, side: int, scales: tuple[int, int], numbers: Any, time_ms: int
) -> None:
    qty, price, trigger = numbers
    dialect = requests_of(market)

    def order(**terms: Any) -> NewOrder:
        given_terms = {
            "instrument": instrument(symbol, *scales),
            "client_id": "tl-1-0-h-0",
            "side": side,
            "kind": kind,
            "in_force": flags & codes.TIME_IN_FORCE_MASK,
            "post_only": bool(flags & codes.POST_ONLY),
            "reduce_only": bool(flags & codes.REDUCE_ONLY),
            "qty": qty,
            "price": price,
            "trigger_price": trigger,
        }
        return NewOrder(**{**given_terms, **terms})

    sample = dialect.place(order(client_id="other", qty=7, price=7, trigger_price=7))
    template = Template(sample, scales[1], scales[0], 5000, KEYS)
    slow = dialect.place(order())
    assert template.rest_text(qty, price, trigger, "tl-1-0-h-0", time_ms) == rest_text(slow, time_ms, 5000, KEYS)
    for keys in (KEYS, None):
        frame = template.frame(qty, price, trigger, "tl-1-0-h-0", time_ms, 9, sign=keys is not None)
        assert frame == websocket_frame(slow, 9, time_ms, 5000, keys)
    assert slow._replace(parameters=()) == template.request
    assert "key" not in repr(template)


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "测试USDT"])
@pytest.mark.parametrize(
    "keys", [KEYS, Credentials(Secret("key"), Ed25519Signer(Secret(PEM)))], ids=["hmac", "ed25519"]
)
def test_a_cancel_from_a_template_is_what_the_slow_way_writes(market: Market, symbol: str, keys: Credentials) -> None:
    dialect = requests_of(market)
    template = Template(dialect.cancel(symbol, "another"), 0, 0, 5000, keys)
    slow = dialect.cancel(symbol, "tl-1-0-h-0")
    assert template.rest_text(0, 0, 0, "tl-1-0-h-0", 1_700_000_000_000) == rest_text(
        slow, 1_700_000_000_000, 5000, keys
    )
    for number, signing in ((7, keys), (2**40, None)):
        frame = template.frame(0, 0, 0, "tl-1-0-h-0", 1_700_000_000_000, number, sign=signing is not None)
        assert frame == websocket_frame(slow, number, 1_700_000_000_000, 5000, signing)
