"""Requests about orders on the wire from templates: what is the same for all of a kind is written once, the rest is filled in.

A request's text is the same, byte for byte, as `binance_orders.rest_text` and `websocket_frame` give (a test holds it), in a fifteenth of
the time. This module must not keep anything of an order.
"""

from string import Formatter
from typing import Final

from twinloop.data import order_text
from twinloop.data.binance_orders import Parameters, Request
from twinloop.data.binance_signing import Credentials, HmacSigner, quoted
from twinloop.data.order_text import OrderText

_PLACES: Final = {
    "quantity": order_text.QTY, "price": order_text.PRICE, "stopPrice": order_text.TRIGGER_PRICE, "triggerPrice": order_text.TRIGGER_PRICE,
    "newClientOrderId": order_text.CLIENT_ID, "clientAlgoId": order_text.CLIENT_ID, "origClientOrderId": order_text.CLIENT_ID,
}  # fmt: skip
_NUMBERS: Final = frozenset({"recvWindow", "timestamp"})


def _slot(number: int) -> str:
    return f"{{{number}}}"


def _fixed(text: str) -> str:
    """Text that stays as it is beside slots."""
    return text.replace("{", "{{").replace("}", "}}")


def _pieces(text: str) -> list[tuple[bytes, int]]:
    """Text with slots, as pieces."""
    return [
        (stays.encode(), order_text.NOTHING if name is None else int(name))
        for stays, name, _, _ in Formatter().parse(text)
    ]


class Template:
    """Requests that differ from a sample only in quantity, prices, client id, time and number. Shows nothing: it holds the API key."""

    __slots__ = ("_sign", "request", "text")

    def __init__(
        self, sample: Request, qty_scale: int, price_scale: int, window_ms: int, credentials: Credentials
    ) -> None:
        """sample: signed, of the kind; its numbers and its id do not matter. It must have no good-till-date."""
        assert sample.signed
        assert all(name != "goodTillDate" for name, _ in sample.parameters)
        self.request = sample._replace(parameters=())
        parameters: Parameters = tuple(
            (name, _slot(_PLACES[name]) if name in _PLACES else _fixed(value)) for name, value in sample.parameters
        )
        timed = (*parameters, ("recvWindow", str(window_ms)), ("timestamp", _slot(order_text.TIMESTAMP)))
        query = "&".join(f"{name}={value if value.isascii() else quoted(value)}" for name, value in timed)
        full = sorted([*timed, ("apiKey", _fixed(credentials.api_key.reveal()))])
        payload = "&".join(f"{name}={value}" for name, value in full)
        signed, unsigned = self._json((*full, ("signature", _slot(order_text.SIGNATURE)))), self._json(timed)
        signer = credentials.signer
        self._sign = signer.sign
        self.text = OrderText(
            [_pieces(each) for each in (query, payload, signed, unsigned)], qty_scale=qty_scale, price_scale=price_scale,
            signer=signer.key if isinstance(signer, HmacSigner) else signer.sign,
        )  # fmt: skip

    def _json(self, parameters: Parameters) -> str:
        inside = ",".join(
            f'"{name}":{value}' if name in _NUMBERS else f'"{name}":"{value}"' for name, value in parameters
        )
        number = _slot(order_text.NUMBER)
        return f'{{{{"id":"{number}","method":"{self.request.call}","params":{{{{{inside}}}}}}}}}'

    def rest_text(self, qty: int, price: int, trigger_price: int, client_id: str, timestamp_ms: int) -> str:
        """Query or form of the REST call, signed."""
        payload = self.text.query(qty, price, trigger_price, client_id.encode(), timestamp_ms)
        signature = self._sign(payload)
        return f"{payload}&signature={signature if signature.isalnum() else quoted(signature)}"

    def frame(
        self, qty: int, price: int, trigger_price: int, client_id: str, timestamp_ms: int, number: int, *, sign: bool
    ) -> str:
        """Message of the WebSocket API. sign: False on a session that has logged on."""
        return self.text.message(qty, price, trigger_price, client_id.encode(), timestamp_ms, number, sign=sign)
