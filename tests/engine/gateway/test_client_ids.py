"""Client ids: the same order always the same id, another never, within the venue's characters and length."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.errors import ConfigError
from twinloop.engine.gateway.client_ids import EPOCH_MAX, LEG_MAX, ORDER_MAX, ClientId, ClientIds

VENUES_RULE = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
NUMBERS = st.tuples(st.integers(0, EPOCH_MAX), st.integers(0, 255), st.integers(1, ORDER_MAX), st.integers(0, LEG_MAX))


@given(numbers=NUMBERS, prefix=st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True))
def test_an_id_is_read_back_and_keeps_the_venues_rule(numbers: tuple[int, int, int, int], prefix: str) -> None:
    ids = ClientIds(prefix)
    text = ids.make(*numbers)
    assert VENUES_RULE.fullmatch(text)
    assert ids.parse(text) == ClientId(*numbers)


@given(one=NUMBERS, other=NUMBERS)
def test_two_orders_never_share_an_id(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> None:
    ids = ClientIds("tl")
    assert (ids.make(*one) == ids.make(*other)) == (one == other)


@given(text=st.one_of(st.text(max_size=40), st.from_regex(r"tl-[0-9a-z]{1,14}(-[0-9a-z]{0,14}){2,4}", fullmatch=True)))
def test_only_texts_that_would_be_made_are_read(text: str) -> None:
    ids = ClientIds("tl")
    parsed = ids.parse(text)
    if parsed is not None:
        assert ids.make(*parsed) == text


@pytest.mark.parametrize(
    "text", ["tl-1-0-h-00", "tl-01-0-h-0", "tl-1-0-H-0", "tl-1-0-0-0", "tl-1-7b-h-0", "xx-1-0-h-0"]
)
def test_near_misses_are_not_ours(text: str) -> None:
    assert ClientIds("tl").parse(text) is None


@pytest.mark.parametrize("prefix", ["", "123456789", "a b", "é", "a:b", "a/b"])
def test_a_prefix_that_could_break_an_id_or_a_query_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        ClientIds(prefix)
