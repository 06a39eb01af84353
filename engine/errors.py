"""The engine's part of the exception tree: many mistakes in one configuration, and how a command ended.

Extends `data/errors.py`; the same rule holds, every text is meant for the user.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from twinloop.data.errors import ConfigError, TwinloopError


class ConfigErrors(ConfigError):  # noqa: N818 - it holds several
    """Every mistake of a configuration at once."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        assert errors, "at least one mistake"
        self.errors = list(errors)
        count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        super().__init__(f"{count} in the configuration", file=errors[0].file)
        self.args = ("\n".join(str(error) for error in self.errors),)


class CheckFailedError(TwinloopError):
    """A check that a command was asked to make does not hold."""


@contextmanager
def first_raised(*kinds: type[Exception]) -> Iterator[None]:
    """Raise the first error of a task group as itself, where all of them are of these kinds.

    What `except*` raises comes in a group of its own before Python 3.11.4.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if group.split(kinds)[1] is not None:
            raise
        raise first_of(group) from None


def first_of(error: BaseException) -> BaseException:
    """The first error in groups of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
