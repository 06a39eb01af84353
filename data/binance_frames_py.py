"""Python twin of the compiled frame scanner: one live frame to rows, plainly and completely.

It defines whose a frame is; what it says is `binance_scan_py`'s word. The compiled scanner leaves it whatever is unusual, and both work
on the same states. It must stay simple rather than fast.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data import binance_codes as codes
from twinloop.data.binance_scan_py import STREAM_SYMBOL, BadLineError, LineDecoder, parse
from twinloop.kernels import rows

NOBODY: Final = -1
LOCAL_NS_MAX: Final = 9 * 10**18


class FrameDecoder:
    """Decodes frames of some instruments, each (symbol, price scale, quantity scale, slot); arguments as of the FrameScanner."""

    def __init__(
        self,
        instruments: Sequence[tuple[str, int, int, int]],
        *,
        futures: bool,
        aggregate: bool,
        source: int,
        states: npt.NDArray[np.int64],
    ) -> None:
        self._decoders = [
            LineDecoder(
                symbol, price_scale, qty_scale, futures=futures, clock_offset_ns=0, assumed_latency_ns=0, instrument_slot=slot,
                source=source, state=states[place], aggregate=aggregate,
            )
            for place, (symbol, price_scale, qty_scale, slot) in enumerate(instruments)
        ]  # fmt: skip
        self._by_symbol = {each.symbol: place for place, each in enumerate(self._decoders)}
        self._by_stream = {each.stream_symbol: place for place, each in enumerate(self._decoders)}

    def decode(self, frame: bytes, local_ns: int) -> tuple[int, npt.NDArray[np.void]]:
        """Place of the instrument and rows; NOBODY and none for what is of no instrument here. Raises BadLineError."""
        place = self._place(frame)
        return place, np.empty(0, rows.ROW) if place == NOBODY else self.decode_of(place, frame, local_ns)

    def decode_of(self, place: int, text: bytes, local_ns: int) -> npt.NDArray[np.void]:
        """Rows of a text that is known to be of the instrument at a place. Raises BadLineError."""
        if not 0 < local_ns < LOCAL_NS_MAX:
            raise BadLineError(codes.BAD_RECEIVE_TIME, f"expected nanoseconds since the epoch, got {local_ns}")
        return self._decoders[place].decode_text(text, local_ns)

    def _place(self, frame: bytes) -> int:
        stream = STREAM_SYMBOL.match(frame)
        if stream:
            return self._by_stream.get(stream[1], NOBODY)
        message = parse(frame)
        data: Any = message.get("data", message) if isinstance(message, dict) else None
        if not isinstance(data, dict):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected a JSON object")
        name = data.get("s")
        return self._by_symbol.get(name, NOBODY) if isinstance(name, str) else NOBODY
