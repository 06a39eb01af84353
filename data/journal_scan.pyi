from typing import Any, Final

import numpy as np
import numpy.typing as npt

END: Final[int]
FULL: Final[int]
ZERO: Final[int]
BREAKS_OFF: Final[int]
COUNT: Final[int]
NUMBER: Final[int]
CHECKSUM: Final[int]
SEQUENCE: Final[int]

def crc32c(data: Any, checksum: int = 0, *, tables: bool = False) -> int: ...
def by_instruction() -> bool: ...
def scan(
    data: Any, first: int, checksum: int, number: int, sequence: int, seals: npt.NDArray[np.int64]
) -> tuple[int, int, int, int, int, int]: ...
def find_later(data: Any, first: int, checksum: int) -> int: ...
def row_size() -> int: ...
