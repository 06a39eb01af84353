from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

UNUSUAL: Final[int]
BEGUN: Final[int]
TAKEN: Final[int]
REQUESTED: Final[int]
DECISIONS: Final[int]
COUNT_TURNS: Final[int]
COUNT_FACTS: Final[int]
COUNT_REQUESTS: Final[int]
COUNT_REFUSED: Final[int]
COUNT_KINDS: Final[int]
COUNTS_SIZE: Final[int]

class FrameWay:
    decoded: int
    local_ns: int
    place: int
    kind: int
    venue_ns: int
    sequence: int
    def __init__(
        self, scanner: Any, waits: npt.NDArray[np.int64], floors: npt.NDArray[np.int64], *, depth: bool
    ) -> None: ...

class LiveTurn:
    head: int
    cancels: int
    mark: int
    leaving: Callable[[bytes], tuple[bytes, bytes] | None] | None
    left: bytes | None
    closed: bool
    def __init__(
        self,
        journal: Any,
        *,
        door: int,
        call: int,
        words: Mapping[str, int],
        inbox: tuple[int, int],
        outbox: tuple[int, int],
        done_status: int,
        rows_max: int,
        marks: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        keep: Any,
    ) -> None: ...
    def handle(self, rows: Any, monotonic_ns: int, wall_ns: int) -> int: ...
    def take_frames(
        self,
        *,
        monotonic_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        ahead_ns: int,
        give: Callable[[int], None],
        refused: Callable[[Exception], None],
    ) -> None: ...
    def frame(self, way: FrameWay, frame: bytes, alone: bool, /) -> int: ...
    def note(self, rows: Any, monotonic_ns: int, wall_ns: int) -> int: ...
    def requests(self) -> bytes: ...
