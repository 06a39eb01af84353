from collections.abc import Callable, Sequence
from typing import Final

QTY: Final[int]
PRICE: Final[int]
TRIGGER_PRICE: Final[int]
CLIENT_ID: Final[int]
TIMESTAMP: Final[int]
SIGNATURE: Final[int]
NUMBER: Final[int]
NOTHING: Final[int]

class HmacKey:
    def __init__(self, key: bytes) -> None: ...
    def sign(self, text: bytes) -> str: ...

class OrderText:
    def __init__(
        self,
        pieces: Sequence[Sequence[tuple[bytes, int]]],
        *,
        qty_scale: int,
        price_scale: int,
        signer: HmacKey | Callable[[str], str],
    ) -> None: ...
    def query(self, qty: int, price: int, trigger_price: int, client_id: bytes, timestamp_ms: int) -> str: ...
    def message(
        self, qty: int, price: int, trigger_price: int, client_id: bytes, timestamp_ms: int, number: int, *, sign: bool
    ) -> str: ...

def sha256_both(text: bytes) -> tuple[bytes, bytes]: ...
def draw_masks() -> None: ...
def masked_frame(text: bytes) -> bytes: ...
