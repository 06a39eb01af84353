"""What a venue says of its instruments, and answers that say nothing of them."""

import pytest

from twinloop.data.binance_instruments import instruments_of
from twinloop.data.errors import DataError


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"symbols": 1}', b'{"symbols": [{}]}', b'{"symbols": ["\xff"]}']
)
def test_an_answer_that_is_none_is_told(body: bytes) -> None:
    with pytest.raises(DataError, match="not an exchangeInfo"):
        instruments_of(body, "binance-spot", ["BTCUSDT"])
