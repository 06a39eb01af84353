from array import array
from typing import Final

from twinloop.data.order_text import OrderText

RELIABLE: Final[int]
TAKEN: Final[int]
WALL_LESS_MONO: Final[int]
OFFSET: Final[int]
CLOCK_WORDS: Final[int]
MINUTE: Final[int]
USED: Final[int]
OPEN: Final[int]
CLOSING: Final[int]
HELD_OFF: Final[int]
BANNED: Final[int]
WEIGHT_WORDS: Final[int]

class OrderWay:
    order_id: int
    instrument: int
    def __init__(
        self,
        clock: array[int],
        weight: array[int],
        windows: tuple[array[int], array[int], array[int], array[int], array[int]],
        *,
        age_max_ns: int,
        step_max_ns: int,
        sign: bool,
    ) -> None: ...
    def learn(
        self,
        strategy: int,
        instrument: int,
        side: int,
        kind: int,
        flags: int,
        text: OrderText,
        head: bytes,
        weight: int,
        *,
        closing: bool,
    ) -> None: ...
    def frame(self, row: bytes, now_ns: int, mono_ns: int, number: int, high_water: int) -> bytes | None: ...
