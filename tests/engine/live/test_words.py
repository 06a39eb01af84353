"""After a restart only what ends by itself ends by itself."""

import msgspec
import pytest

from twinloop.engine.gateway.alerts import ALERT_CODE
from twinloop.engine.live.loop import OF_ALERT, OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.engine.live.words import Words
from twinloop.kernels import codes
from twinloop.kernels.rows import FLATTEN, HALT, REDUCE, RESUME

ACTIVE, REDUCING, HALTED = codes.ACTIVE, codes.REDUCING, codes.HALTED
BY_WORD, BY_LIMIT = codes.REJECT_HALTED, codes.REJECT_DRAWDOWN
PERSON = OF_PERSON + 1000
DOWN, LOST = OF_ALERT - ALERT_CODE["STREAM_DOWN"], OF_ALERT - ALERT_CODE["LOST_ORDER"]
END = (HALT, SESSION_END)


@pytest.mark.parametrize(
    ("words", "state", "reason", "resumes"),
    [
        ([], ACTIVE, codes.ALLOW, True),
        ([END], ACTIVE, codes.ALLOW, True),
        ([(REDUCE, SESSION_START)], REDUCING, BY_WORD, True),
        ([(REDUCE, DOWN)], REDUCING, BY_WORD, True),
        ([(REDUCE, DOWN), END], REDUCING, BY_WORD, True),
        ([(REDUCE, LOST)], REDUCING, BY_WORD, False),
        ([(REDUCE, PERSON)], REDUCING, BY_WORD, False),
        ([(REDUCE, PERSON), END], REDUCING, BY_WORD, False),
        ([(HALT, PERSON)], HALTED, BY_WORD, False),
        ([(FLATTEN, codes.FLATTEN_AT_MARKET)], HALTED, BY_WORD, False),
        ([(HALT, PERSON), (RESUME, PERSON)], ACTIVE, codes.ALLOW, True),
        ([(REDUCE, PERSON), (RESUME, codes.RESUME_BY_ITSELF)], REDUCING, BY_WORD, False),
        ([(REDUCE, DOWN), (RESUME, codes.RESUME_BY_ITSELF), (REDUCE, PERSON)], REDUCING, BY_WORD, False),
        ([END, (RESUME, SESSION_START)], HALTED, BY_LIMIT, False),
        ([], HALTED, BY_LIMIT, False),
        ([], REDUCING, BY_LIMIT, False),
        ([(REDUCE, DOWN)], REDUCING, BY_LIMIT, False),
        ([END], REDUCING, BY_LIMIT, False),
        ([(HALT, SESSION_START)], HALTED, BY_WORD, False),
    ],
)
def test_who_has_the_last_word(words: list[tuple[int, int]], state: int, reason: int, resumes: bool) -> None:
    """state, reason: of the account before an orderly end, else now; the end itself halts it."""
    said = Words()
    for word in words:
        said.take(*word, state, reason)
    now = (HALTED, BY_WORD) if words and words[-1] == END else (state, reason)
    assert said.may_resume(*now) == resumes
    again = Words.from_plain(msgspec.json.decode(msgspec.json.encode(said.to_plain())))
    assert again.may_resume(*now) == resumes


@pytest.mark.parametrize(
    ("words", "warming"),
    [
        ([(HALT, WARM_UP)], True),
        ([(HALT, WARM_UP), (HALT, PERSON)], True),
        ([(HALT, WARM_UP), (RESUME, SESSION_START)], False),
        ([(REDUCE, SESSION_START)], False),  # A session that died before its orders were proven starts again.
        ([(REDUCE, SESSION_START), (RESUME, SESSION_START)], False),
        ([END], False),
    ],
)
def test_only_history_that_nothing_ended_is_a_warm_up(words: list[tuple[int, int]], warming: bool) -> None:
    said = Words()
    for word in words:
        said.take(*word, ACTIVE, codes.ALLOW)
    assert said.warming == warming
    assert Words.from_plain(msgspec.json.decode(msgspec.json.encode(said.to_plain()))).warming == warming


def test_no_two_words_of_a_session_have_one_code() -> None:
    own = [SESSION_END, SESSION_START, WARM_UP, codes.RESUME_BY_OPERATOR, codes.RESUME_BY_ITSELF]
    assert len(set(own)) == len(own)
