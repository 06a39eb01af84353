from typing import Final

import numpy as np
import numpy.typing as npt

END: Final[int]
LINE: Final[int]
FULL: Final[int]

class Scanner:
    def __init__(
        self,
        symbol: str,
        price_scale: int,
        qty_scale: int,
        *,
        futures: bool,
        clock_offset_ns: int,
        assumed_latency_ns: int,
        instrument_slot: int,
        source: int,
        state: npt.NDArray[np.int64],
        aggregate: bool = False,
    ) -> None: ...
    def scan(
        self, text: bytes | bytearray | memoryview, start: int, out: npt.NDArray[np.uint8], used: int
    ) -> tuple[int, int, int]: ...
