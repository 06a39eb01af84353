"""Taking a mute session's right to send: a word that it reads before every order, then the end of its process.

The word stops a session that comes back between two looks; the end of the process makes sure that nothing leaves it any more, not even
bytes that were on their way to the socket. The process is held by a descriptor and known by when it began, so that no other process of the
same number is ever met. This module must not cancel anything.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from twinloop.engine.live.measured import FENCE_WORDS
from twinloop.engine.live.shared import FENCE, SharedWords
from twinloop.engine.seam import process_start

EXIT_WAIT_S: Final = 2.0


class Fence:
    """The fence of one session's folder, and the process it can end."""

    def __init__(self, place: Path) -> None:
        self._path = place / FENCE_WORDS
        self._process = -1
        self._held = 0  # The instance whose process is held.

    def hold(self, instance: int, process: int, began: int) -> None:
        """Get hold of the session's process, if the one of this number began when the session says that it did."""
        if self._held == instance:
            return
        self.let_go()
        opener = getattr(os, "pidfd_open", None)
        if opener is None or not began:
            return
        try:
            self._process = opener(process)
        except OSError:
            self._process = -1
            return
        if process_start(process) == began:  # Asked after it was opened: what was opened is what was meant.
            self._held = instance
        else:
            self.let_go()

    def exited(self, instance: int) -> bool:
        """Whether the process of an instance is known to be gone."""
        return self._held == instance and self._is_gone(0.0)

    def close_to(self, instance: int) -> bool:
        """Fence an instance: whether it is certain that nothing of it leaves any more. A disk that takes no word spares no process."""
        with suppress(OSError):
            words = SharedWords(self._path, FENCE)
            words.publish({"instance": instance})
            words.close()
        if self._held != instance:
            return False
        if not self._is_gone(0.0):
            try:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            except OSError:
                return self._is_gone(EXIT_WAIT_S)
        return self._is_gone(EXIT_WAIT_S)

    def let_go(self) -> None:
        """Let the process go."""
        if self._process >= 0:
            os.close(self._process)
        self._process, self._held = -1, 0

    def _is_gone(self, wait_s: float) -> bool:
        if self._process < 0:
            return False
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))
