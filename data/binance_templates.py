"""New orders on the wire from templates: what is the same for all orders of a kind is written once, the rest is filled in.

An order's text is the same, byte for byte, as `binance_orders.rest_text` and `websocket_frame` give (a test holds it), in a fifth of the
time. This module must not keep anything of an order.
"""

from typing import Final

from twinloop.data.binance_orders import NewOrder, Parameters, Request, Requests
from twinloop.data.binance_signing import Credentials, quoted

_PLACES: Final = {
    "quantity": "{0}", "price": "{1}", "stopPrice": "{2}", "triggerPrice": "{2}", "newClientOrderId": "{3}",
    "clientAlgoId": "{3}",
}  # fmt: skip
_NUMBERS: Final = frozenset({"recvWindow", "timestamp"})


def decimal(value: int, one: int, digits: int) -> str:
    """Decimal text of a scaled integer >= 0. one: 10**digits."""
    return f"{value // one}.{value % one:0{digits}d}" if digits else str(value)


def _fixed(text: str) -> str:
    """Text that `format` gives back as it is."""
    return text.replace("{", "{{").replace("}", "}}")


class Template:
    """New orders of one instrument, side, type and instructions. Shows nothing: it holds the API key."""

    __slots__ = ("_digits", "_frame", "_payload", "_query", "_sign", "request")

    def __init__(self, dialect: Requests, sample: NewOrder, window_ms: int, credentials: Credentials) -> None:
        """sample: any order of the kind; its numbers and its id do not matter. It must have no good-till-date."""
        assert sample.good_till_ms == 0
        found = dialect.place(sample)
        self.request = Request(
            found.method, found.path, found.call, (), found.weight, found.orders, found.signed, found.in_body
        )
        parameters: Parameters = tuple((name, _PLACES.get(name, _fixed(value))) for name, value in found.parameters)
        timed = (*parameters, ("recvWindow", str(window_ms)), ("timestamp", "{4}"))
        encoded = [(name, value if value.isascii() else quoted(value)) for name, value in timed]
        self._query = "&".join(f"{name}={value}" for name, value in encoded)
        full = sorted([*timed, ("apiKey", _fixed(credentials.api_key.reveal()))])
        self._payload = "&".join(f"{name}={value}" for name, value in full)
        self._frame = self._json([*full, ("signature", "{5}")]), self._json(timed)
        self._sign = credentials.signer.sign
        rules = sample.instrument
        self._digits = (10**rules.qty_scale, rules.qty_scale, 10**rules.price_scale, rules.price_scale)

    def _json(self, parameters: "Parameters | list[tuple[str, str]]") -> str:
        inside = ",".join(
            f'"{name}":{value}' if name in _NUMBERS else f'"{name}":"{value}"' for name, value in parameters
        )
        return f'{{{{"id":"{{6}}","method":"{self.request.call}","params":{{{{{inside}}}}}}}}}'

    def _texts(self, qty: int, price: int, trigger_price: int) -> tuple[str, str, str]:
        one_qty, qty_digits, one_price, price_digits = self._digits
        trigger = decimal(trigger_price, one_price, price_digits) if trigger_price else ""
        return decimal(qty, one_qty, qty_digits), decimal(price, one_price, price_digits), trigger

    def rest_text(self, qty: int, price: int, trigger_price: int, client_id: str, timestamp_ms: int) -> str:
        """Form of the REST call, signed."""
        payload = self._query.format(*self._texts(qty, price, trigger_price), client_id, timestamp_ms)
        signature = self._sign(payload)
        return f"{payload}&signature={signature if signature.isalnum() else quoted(signature)}"

    def frame(
        self, qty: int, price: int, trigger_price: int, client_id: str, timestamp_ms: int, number: int, *, sign: bool
    ) -> str:
        """Frame of the WebSocket API. sign: False on a session that has logged on."""
        texts = self._texts(qty, price, trigger_price)
        if not sign:
            return self._frame[1].format(*texts, client_id, timestamp_ms, "", number)
        signature = self._sign(self._payload.format(*texts, client_id, timestamp_ms))
        return self._frame[0].format(*texts, client_id, timestamp_ms, signature, number)
