"""Ctrl-C and SIGTERM end a command wherever it is, and quietly. Must not import more than the interpreter has loaded.

Python raises KeyboardInterrupt in whatever runs. Where that was called from C, as by LLVM when it has compiled something, the exception is
printed and dropped: the command would go on as if nobody had asked. And what was cut in the middle of its making complains when it is
thrown away, which is no news.
"""

import signal
import sys
import threading
from _thread import interrupt_main
from types import FrameType
from typing import Any, Final

AGAIN_S: Final = 0.02  # By then the call from C is over, most likely; else it is asked for once more.

_interrupted = threading.Event()


def heed_interrupts() -> None:
    """From now on, in the main thread. Ctrl-C stays ignored where whoever started us ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)  # Else a half-written file would stay behind.
    sys.unraisablehook = _dropped


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    signal.default_int_handler(number, frame)


def _dropped(dropped: Any) -> None:
    """An exception that nobody could be given."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        again = threading.Timer(AGAIN_S, interrupt_main, (signal.SIGTERM,))
        again.daemon = True
        again.start()
    elif not _interrupted.is_set():
        sys.__unraisablehook__(dropped)
