"""Errors of a task group come out as themselves."""

import pytest

from twinloop.engine.errors import first_raised


def test_the_first_of_a_group_is_raised_alone_whatever_groups_it_is_in() -> None:
    with pytest.raises(OSError, match="first"), first_raised(OSError, ValueError):
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("first")]), ValueError("second")])


def test_an_error_of_its_own_passes() -> None:
    with pytest.raises(OSError, match="alone"), first_raised(OSError):
        raise OSError("alone")


def test_a_group_with_an_error_of_another_kind_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup) as found, first_raised(OSError):
        raise ExceptionGroup("outer", [OSError("known"), KeyError("a bug")])
    assert len(found.value.exceptions) == 2
