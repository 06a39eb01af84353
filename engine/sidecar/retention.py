"""The rounds of a journal's retention as the sidecar makes them: what was done, counted, and why it failed, in words.

    failure = retention.round()     # "" where all is well; what is removed has a verified copy (journal/retention.py)

This module must not wait, and never raises for what a disk or a journal is like: that is an alarm.
"""

from pathlib import Path
from typing import Final

from twinloop.data.errors import TwinloopError
from twinloop.data.times import DAY_NS
from twinloop.engine.journal.folder import last_number, segments_of
from twinloop.engine.seam import WORLD

_NONE: Final = ""


class Retention:
    """Of one journal. copies: the folder of its copies, None: nothing is done. keep_days: 0, nothing is removed."""

    def __init__(self, folder: Path, copies: Path | None, keep_days: int) -> None:
        self.folder, self.copies = folder, copies
        self._age_ns = keep_days * DAY_NS or None
        self.archived = self.copied = self.retired = self.failed = self.freed_bytes = 0

    @property
    def on(self) -> bool:
        """Whether there is anything to do, ever."""
        return self.copies is not None

    def round(self) -> str:
        """Archive, copy and retire what is due: why it could not, or nothing."""
        if self.copies is None:
            return _NONE
        try:
            if last_number(self.folder) == 0:  # None is begun yet: a session that starts makes the folder first.
                return _NONE
            segments_of(self.folder)
            from twinloop.engine.journal.retention import keep  # noqa: PLC0415 - loads Polars

            kept = keep(self.folder, self.copies, age_ns=self._age_ns, now_ns=WORLD.wall_ns())
        except (TwinloopError, OSError) as error:
            self.failed += 1
            return str(error)
        self.archived += len(kept.archived)
        self.copied += len(kept.copied)
        self.retired += len(kept.retired)
        self.freed_bytes += kept.freed_bytes
        return _NONE

    def counts(self) -> dict[str, int]:
        """For the sidecar's words: since it started."""
        return {
            "archived": self.archived, "copied": self.copied, "retired": self.retired, "retention_failed": self.failed,
        }  # fmt: skip
