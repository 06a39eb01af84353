"""Fees that an account pays in a third asset: BNB, at Binance. Whether it does is asked at a start; what BNB is worth, again and again.

BNB is a currency of every session with real orders, if there is room for one; it has no rate until fees are paid in it. From then on its rate
is that of the venue's own market, an FX row of the journal whenever it is another one, so that a replay needs nothing else. This module must
not book fees: they come with the fills.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from twinloop.data.binance_orders import Market
from twinloop.data.binance_reports import plain, read
from twinloop.data.errors import DataError
from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, Instrument, from_scaled, to_scaled
from twinloop.data.rowfile import Rows
from twinloop.engine.live.loop import LiveLoop
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session_errors import SessionError, VenueBusyError
from twinloop.engine.seam import WORLD
from twinloop.kernels import rows as table
from twinloop.kernels.node import STANDARD
from twinloop.kernels.rows import ROW

ASSET: Final = "BNB"
PRICE_PATH: Final[dict[Market, str]] = {"spot": "/api/v3/ticker/price", "usdm": "/fapi/v1/ticker/price"}
EVERY_NS: Final = 60_000_000_000
RATE_MAX: Final = 10**6 * MONEY_ONE  # What fees are worth stays far from what an int64 holds.
APART_NS: Final = 5_000_000_000  # Fees that come faster ask no oftener.
TICK_S: Final = 0.05

Get = Callable[[str], Awaitable[bytes]]


class _Price(msgspec.Struct):
    symbol: str
    price: str


_PRICE: Final = msgspec.json.Decoder(_Price)


class FeesTold(NamedTuple):
    """What a start was told. burns: whether fees are paid in BNB; None: the venue has no such call. rate: 0 where it was not asked or not told."""

    burns: bool | None = False
    rate: int = 0
    why: str = ""


def currencies_without_cash(instruments: Sequence[Instrument], currency: str) -> dict[str, int]:
    """BNB and no rate, for a session's fx: nothing where it is the account's own currency, or there is no room for another one."""
    held = {currency, *(each.settle for each in instruments)}
    held |= {each.base for each in instruments if each.contract == "spot"}
    room = ASSET in held or len(held) < STANDARD.currencies
    return {ASSET: 0} if currency != ASSET and room else {}


async def ask_rate(get: Get, market: Market, currency: str) -> int:
    """Units of a currency for one BNB, 1e-8, by the venue's last price. VenueBusyError, SessionError or DataError."""
    symbol = ASSET + currency
    found: _Price = read(_PRICE, await get(f"{PRICE_PATH[market]}?symbol={symbol}"), f"the price of {symbol}")
    price, told_of = plain(found.price), plain(found.symbol)
    rate = to_scaled(price, MONEY_SCALE)
    if told_of != symbol or not 0 < rate < RATE_MAX:
        raise DataError("not a price", expected=f"one of {symbol}, below a million", got=f"{price} of {told_of}")
    return rate


async def ask_at_start(get: Get, rest: str, market: Market, currency: str, *, burns: bool | None) -> FeesTold:
    """The rate where it is needed. get: of a whole address. VenueBusyError where the venue wants to be left alone."""
    if not burns or currency == ASSET:
        return FeesTold(burns)
    try:
        return FeesTold(burns, await ask_rate(lambda path: get(rest + path), market, currency))
    except VenueBusyError:
        raise
    except (SessionError, DataError) as error:
        return FeesTold(burns, 0, str(error))


def slot_of(node: LiveNode) -> int:
    """BNB's place among a node's currencies; -1: it has none of its own, or is the account's currency, which has no rate."""
    currencies = node.assembly.currencies
    return currencies.index(ASSET) if ASSET in currencies[1:] else -1


def rate_of(node: LiveNode) -> int:
    """What the journal says that BNB is worth, 1e-8; 0: nothing, no fee was ever paid in it."""
    slot = slot_of(node)
    return int(node.decision["fx"][slot]) if slot >= 0 else 0


def require_rate(node: LiveNode, told: FeesTold) -> None:
    """SessionError where fees are paid in BNB and nothing says what that is worth."""
    currency = node.session.currency
    off = "turn `use BNB to pay fees` off at the venue"
    if not told.burns or currency == ASSET:
        return
    if slot_of(node) < 0:
        full = len(node.assembly.currencies) >= STANDARD.currencies
        raise SessionError(
            "the account pays its fees in BNB, which this session cannot book", field="fees",
            expected=f"room for BNB among {STANDARD.currencies} currencies" if full else "a journal that knows BNB",
            got=", ".join(node.assembly.currencies),
            remedy=f"{off}, or " + ("trade fewer symbols" if full else "hand the session over to one of another name (`twinloop handover`)"),
        )  # fmt: skip
    if not told.rate and not rate_of(node):
        raise SessionError(
            "the account pays its fees in BNB, and nothing says what that is worth", field="fees",
            expected=f"a price of {ASSET}{currency} of the venue's market", got=told.why,
            remedy=f"{off}, or start again when the venue tells that price",
        )  # fmt: skip


def unpriced(node: LiveNode, told: FeesTold) -> frozenset[str]:
    """The currencies of fees that have a place, and no rate."""
    return frozenset() if told.rate or rate_of(node) or slot_of(node) < 0 else frozenset({ASSET})


class FeeRate:
    """Keeps the rate fresh. get: body of a GET of the venue; say: lines for a person. told: counts from here on.

    goes_on: the journal began before this start. Where fees are paid in BNB only from this start on, `first` is the fact that says so, and
    waits until stock was taken of the BNB: whoever does that takes both, or neither.
    """

    def __init__(
        self, loop: LiveLoop, get: Get, market: Market, say: Callable[[str], None], told: FeesTold, *, goes_on: bool
    ) -> None:
        self._loop = loop
        self._get = get
        self._market = market
        self._say = say
        self._slot = slot_of(loop.node)
        self._failing = False
        self.first: Rows | None = None
        if goes_on and told.rate and not rate_of(loop.node) and not _is_traded(loop.node.session.instruments):
            self.first = rate_row(self._slot, told.rate, loop.clock.local_ns())
        self._begin(told)

    def _begin(self, told: FeesTold) -> None:
        if told.burns is None:
            self._say(
                f"! the venue does not tell whether fees are paid in {ASSET}: such a fee would have no worth, and stop trading"
            )
        if not told.burns or self._slot < 0:
            return
        currency = self._loop.node.session.currency
        if not told.rate:
            self._fail(told.why)
        elif self.first is None:
            self._take(told.rate)
        text = from_scaled(told.rate or rate_of(self._loop.node), MONEY_SCALE).rstrip("0").rstrip(".")
        self._say(f"the account pays its fees in {ASSET}, as long as it has any: {text} {currency} each")

    async def run(self) -> None:
        """Ask every minute, and when fees came; for ever, or not at all where no fee was ever paid in BNB."""
        if not rate_of(self._loop.node) and self.first is None:
            return
        while not rate_of(self._loop.node):
            await WORLD.sleep(TICK_S)
        asked_ns, fees = WORLD.monotonic_ns(), self._fees
        while True:
            await WORLD.sleep(TICK_S)
            since_ns = WORLD.monotonic_ns() - asked_ns
            if since_ns >= EVERY_NS or (since_ns >= APART_NS and fees != self._fees):
                asked_ns, fees = WORLD.monotonic_ns(), self._fees
                await self._ask()

    @property
    def _fees(self) -> int:
        """All that was paid in BNB."""
        return int(self._loop.node.decision["ledgers"][0][self._slot]["fees"])

    async def _ask(self) -> None:
        try:
            rate = await ask_rate(self._get, self._market, self._loop.node.session.currency)
        except (SessionError, DataError) as error:
            self._fail(str(error))
            return
        if self._failing:
            self._failing = False
            self._say(f"the venue tells again what {ASSET} is worth")
        self._take(rate)

    def _fail(self, why: str) -> None:
        if not self._failing:
            self._say(f"! the venue does not tell what {ASSET} is worth, fees count at the last rate: {why}")
        self._failing = True

    def _take(self, rate: int) -> None:
        if rate != rate_of(self._loop.node):
            self._loop.take(rate_row(self._slot, rate, self._loop.clock.local_ns()))


def _is_traded(instruments: Sequence[Instrument]) -> bool:
    """Whether BNB is compared in any case, because an instrument is made of it."""
    return any(each.settle == ASSET or (each.contract == "spot" and each.base == ASSET) for each in instruments)


def rate_row(currency: int, rate: int, local_ns: int) -> Rows:
    """The fact that a currency is worth so much of the account's, 1e-8."""
    row = np.zeros(1, ROW)
    row["kind"], row["currency"], row["rate"] = table.FX, currency, rate
    row["venue_ns"] = row["local_ns"] = local_ns
    return row
