"""Client order ids: made from what an order is, so that the same order always has the same id and another never has it.

    prefix - epoch - strategy - order - leg        all numbers in base 36, lower case, without leading zeros

The kernel never gives an order id twice in an epoch and an epoch is never begun twice, so no id is ever used for two orders. A leg is a
further order at the venue that stands for the same order of ours (an amend that had to replace it). The text keeps to the characters
and the 36 places that the venue allows.
"""

import re
from typing import Final, NamedTuple

from twinloop.data.errors import ConfigError

LENGTH_MAX: Final = 36
PREFIX_MAX: Final = 8
EPOCH_MAX: Final = 36**6 - 1
LEG_MAX: Final = 36**3 - 1
STRATEGY_MAX: Final = 255
ORDER_MAX: Final = 2**63 - 1
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,8}")
_NUMBER: Final = re.compile(r"0|[1-9a-z][0-9a-z]{0,12}")


class ClientId(NamedTuple):
    """What a client id stands for."""

    epoch: int
    strategy: int
    order_id: int
    leg: int


def base36(number: int) -> str:
    """A number >= 0 in base 36."""
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if number == 0:
            return digits


class ClientIds:
    """Makes and reads the client ids of one prefix. Raises ConfigError for a prefix that cannot stand."""

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                "not a prefix for client order ids",
                expected=f"1 to {PREFIX_MAX} letters, digits, '.', '_' or '-'",
                got=prefix,
            )
        self.prefix = prefix
        self._start = f"{prefix}-"
        self._heads: dict[tuple[int, int], str] = {}  # One per epoch known and strategy.

    def head(self, epoch: int, strategy: int) -> str:
        """What the ids of a strategy's orders begin with, in an epoch."""
        head = self._heads.get((epoch, strategy))
        if head is None:
            head = self._heads[epoch, strategy] = f"{self._start}{base36(epoch)}-{base36(strategy)}-"
        return head

    def make(self, epoch: int, strategy: int, order_id: int, leg: int = 0) -> str:
        """Text of an id; the numbers within their bounds."""
        assert 0 <= epoch <= EPOCH_MAX
        assert 0 <= strategy <= STRATEGY_MAX
        assert 0 < order_id <= ORDER_MAX
        assert 0 <= leg <= LEG_MAX
        return f"{self.head(epoch, strategy)}{base36(order_id)}-{base36(leg) if leg else 0}"

    def parse(self, text: str) -> ClientId | None:
        """What an id stands for; None for any text that `make` would not give."""
        if not text.startswith(self._start) or len(text) > LENGTH_MAX:
            return None
        parts = text[len(self._start) :].split("-")
        if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
            return None
        epoch, strategy, order_id, leg = (int(part, 36) for part in parts)
        if epoch > EPOCH_MAX or strategy > STRATEGY_MAX or not 0 < order_id <= ORDER_MAX or leg > LEG_MAX:
            return None
        return ClientId(epoch, strategy, order_id, leg)
