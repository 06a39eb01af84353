"""What an account holds against what the journal says: positions and margin of futures, balances of spot assets.

On spot there is no position at the venue, only balances. What the account held of a base asset when its journal began is the session's
stock: its position counts from there, and the balance must be the stock and what the journal's fills and fees made of it. This module must
not ask the venue.
"""

import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from twinloop.data.binance_reports import AccountReport
from twinloop.data.errors import DataError
from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, Instrument, from_scaled, to_scaled
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.live.fee_rate import ASSET, rate_of, rate_row, slot_of
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES


def wallet(held: AccountReport, currency: str) -> int:
    """The balance of the account's currency, 1e-8. SessionError where there is none."""
    amount = balance(held, currency)
    if amount <= 0:
        raise SessionError(
            "no money on the account", expected=f"a balance of {currency}", got=held.balances.get(currency) or "none"
        )
    return amount


def stock(
    held: AccountReport, instruments: list[Instrument], currency: str, others: Iterable[str] = ()
) -> dict[str, int]:
    """Balances of the assets of spot instruments, of the margin of futures and of others, 1e-8, without the account's currency."""
    assets = dict.fromkeys([*(asset for each in instruments for asset in _assets(each)), *others])
    return {asset: balance(held, asset) for asset in assets if asset != currency}


def _assets(instrument: Instrument) -> tuple[str, ...]:
    """Assets of an instrument of which a balance is compared: both of a spot instrument, the margin of a contract."""
    return (instrument.base, instrument.settle) if instrument.contract == "spot" else (instrument.settle,)


def _compared(node: LiveNode) -> list[str]:
    """Assets of which a balance is compared: the instruments', and what fees are paid in besides, from the first rate of that on."""
    found = dict.fromkeys(asset for each in node.session.instruments for asset in _assets(each))
    return [*found, *([ASSET] if ASSET not in found and rate_of(node) else [])]


def refuse_positions(held: AccountReport | None) -> None:
    """A journal that begins knows no position: a futures account has to be flat. SessionError otherwise."""
    for (symbol, _), text in (held.positions if held is not None else {}).items():
        if _amount(text):
            raise SessionError(
                "the account holds a position that this session did not open", field=symbol, expected="none at a first start", got=text,
                remedy="close it, or trade from an account of its own",
            )  # fmt: skip


class Break(NamedTuple):
    """Where the venue does not hold what the journal says. slot: of the instrument, -1 for none of the session's.

    currency: of money that is no instrument's base asset, -1 for a position.
    """

    name: str
    slot: int
    ours: Decimal
    theirs: Decimal
    currency: int = -1

    @property
    def number(self) -> str:
        """Stands for exactly this difference: another one has another number."""
        return hashlib.sha256(f"{self.name} {self.ours:f} {self.theirs:f}".encode()).hexdigest()[:8]

    def __str__(self) -> str:
        """In one line."""
        return f"{self.name}: the journal says {self.ours:f}, the venue {self.theirs:f}"


Holdings = dict[str, Decimal]  # By symbol, or by asset on spot.


def of_journal(node: LiveNode) -> Holdings:
    """What the journal says now: positions, the wallet of their margin, on spot the balance of every asset that is traded.

    A wallet is what there was at the start and came since, with what trades realised and funding, less fees: all that is open is not in it.
    """
    found = {}
    for asset in _compared(node):
        amount = int(node.decision["ledgers"][0][node.assembly.currencies.index(asset)]["balance"])
        found[asset] = Decimal(from_scaled(amount, MONEY_SCALE)).normalize()
    for slot, instrument in enumerate(node.session.instruments):
        if instrument.contract != "spot":
            qty = int(node.decision["account_holdings"][0][slot]["position"]["qty"])
            found[instrument.symbol] = Decimal(instrument.qty_text(qty)).normalize()
    return found


def of_venue(node: LiveNode, held: AccountReport) -> Holdings:
    """What the venue says; futures of symbols outside the session too."""
    found = {asset: _amount(held.balances.get(asset, "0")) for asset in _compared(node)}
    for (symbol, _), text in held.positions.items():
        found[symbol] = found.get(symbol, Decimal(0)) + _amount(text)
    return {name: amount.normalize() for name, amount in found.items()}


def breaks_of(node: LiveNode, theirs: Holdings, visited: Sequence[Holdings], cash_tolerance: int = 0) -> list[Break]:
    """Where the venue holds what the journal said at no time of `visited`: what is on its way from one to the other is no break."""
    slots = {}
    money = {each.settle: node.assembly.currencies.index(each.settle) for each in node.session.instruments}
    if slot_of(node) >= 0:
        money[ASSET] = slot_of(node)
    for slot, instrument in enumerate(node.session.instruments):
        name = instrument.base if instrument.contract == "spot" else instrument.symbol
        slots[name] = slot
        money.pop(name, None)
    tolerance = tolerances(node, cash_tolerance)
    found = []
    for name in sorted({*visited[-1], *theirs}):
        other, room = theirs.get(name, Decimal(0)), tolerance.get(name, Decimal(0))
        # Of all that the journal said meanwhile what is nearest, of equals the latest: the rest is what was on its way.
        said = min((ours.get(name, Decimal(0)) for ours in reversed(visited)), key=lambda ours: abs(ours - other))
        apart = abs(said - other)
        if apart and apart >= room:
            found.append(Break(name, slots.get(name, -1), said, other, money.get(name, -1)))
    return found


def tolerances(node: LiveNode, cash_tolerance: int) -> Holdings:
    """By how much an asset may differ, by name.

    Of spot, base assets may differ by less than a lot, which nothing can trade, and other money by cash_tolerance, 1e-8 of the account's
    currency: a venue's list rounds what its stream tells. Margin may differ by 1e-8 a fill besides: what a partial close realises is rounded;
    and so may what fees are paid in, of which an account may have more places than a fill.
    """
    found: Holdings = {}
    for asset in _compared(node):
        rate = int(node.decision["fx"][node.assembly.currencies.index(asset)])
        found[asset] = Decimal(cash_tolerance) / rate if rate else Decimal(0)
    positions = [
        node.decision["account_holdings"][0][slot]["position"] for slot in range(len(node.session.instruments))
    ]
    if rate_of(node):
        found[ASSET] += Decimal(sum(int(each["fills_count"]) for each in positions) + 1).scaleb(-MONEY_SCALE)
    for slot, instrument in enumerate(node.session.instruments):
        if instrument.contract == "spot":
            found[instrument.base] = Decimal(instrument.qty_text(instrument.lot_size))
        else:
            found[instrument.settle] += Decimal(int(positions[slot]["fills_count"]) + 1).scaleb(-MONEY_SCALE)
    return found


def with_rates(rows: Rows, node: LiveNode) -> Rows:
    """Facts with a rate before each spot fill whose fee is taken in the base asset: the fill's own price says what that is worth."""
    instruments = node.session.instruments
    if not any(each.contract == "spot" for each in instruments):
        return rows
    out: list[Any] = []
    for at in range(len(rows)):
        row = rows[at]
        if row["kind"] == table.FILL and row["flags"] & FLAG_CONTINUES and row["fee"]:
            instrument = instruments[int(row["instrument"])]
            currency = int(rows[at + 1]["fee_currency"])
            account_currency = node.assembly.currencies.index(instrument.settle) == 0
            if (
                instrument.contract == "spot"
                and account_currency
                and node.assembly.currencies[currency] == instrument.base
            ):
                worth = int(row["price"]) * MONEY_ONE // 10**instrument.price_scale
                rate = rate_row(currency, worth, int(row["local_ns"]))
                rate["venue_ns"], rate["instrument"] = row["venue_ns"], row["instrument"]
                out.append(rate)
        out.append(rows[at : at + 1])
    return join_rows(out)


def balance(held: AccountReport, asset: str) -> int:
    """What an account holds of an asset, 1e-8; 0 for what is no number."""
    try:
        return to_scaled(held.balances.get(asset) or "0", MONEY_SCALE)
    except DataError:
        return 0


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise SessionError("a position that cannot be read", expected="a number", got=text) from None
