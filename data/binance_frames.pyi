from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

NOT_USUAL: Final[int]
NOT_OURS: Final[int]
NO_ROOM: Final[int]

def frame_rows(size: int) -> int: ...

class FrameScanner:
    place: int
    def __init__(
        self,
        instruments: Sequence[tuple[str, int, int, int]],
        *,
        futures: bool,
        aggregate: bool,
        source: int,
        states: npt.NDArray[np.int64],
        out: npt.NDArray[np.uint8],
    ) -> None: ...
    def into(self, out: npt.NDArray[np.uint8]) -> None: ...
    def scan(self, frame: bytes, local_ns: int) -> int: ...
    def scan_of(self, place: int, text: bytes, local_ns: int) -> int: ...
