"""Waiting for marks inside an event loop: `await notices.reach(mark)`. This module must not write."""

import asyncio
import heapq
from types import TracebackType
from typing import Final, Self

from twinloop.engine.journal.errors import JournalFailedError
from twinloop.engine.journal.writer import JournalWriter

WAITERS_MAX: Final = 1 << 16  # More than requests that can be waiting: beyond, reach() refuses.


class MarkNotices:
    """The one reader of a writer's notice_fd, in the running event loop; leave it before the writer is closed."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0
        self._outstanding = 0  # Those that wait, and those that may go on and did not yet.

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._journal.notice_fd, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._journal.notice_fd)
        for _, _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    async def reach(self, mark: int) -> None:
        """Return once a commit is as safe as the durability says, never before one that was waited for earlier with a lower mark.

        Raises JournalFailedError when that will not be.
        """
        if self._outstanding == 0 and self._journal.is_safe(mark):
            return
        if self._journal.failure:
            raise self._failed()
        if len(self._waiting) >= WAITERS_MAX:
            raise JournalFailedError("too many wait for the journal", expected=f"at most {WAITERS_MAX}")
        future: asyncio.Future[None] = self._loop.create_future()
        self._count += 1
        heapq.heappush(self._waiting, (mark, self._count, future))
        self._outstanding += 1
        try:
            if self._journal.is_safe(mark):
                self._loop.call_soon(self._look)  # A future that is done is not waited for: it would overtake.
            await future
        finally:
            self._outstanding -= 1

    def _look(self) -> None:
        journal = self._journal
        journal.clear_notice()
        failed = self._failed() if journal.failure else None
        reached = journal.reached()
        while self._waiting and (failed is not None or self._waiting[0][0] <= reached):
            _, _, future = heapq.heappop(self._waiting)
            if future.done():
                continue
            if failed is not None:
                future.set_exception(failed)
            else:
                future.set_result(None)

    def _failed(self) -> JournalFailedError:
        return JournalFailedError(
            f"the journal has failed: {self._journal.failure}", remedy="no order may be sent without it"
        )
