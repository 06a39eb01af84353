"""What an account holds against what the journal says: positions of futures, balances of spot assets.

On spot there is no position at the venue, only balances. What the account held of a base asset when its journal began is the session's
stock: its position counts from there, and the balance must be the stock and what the journal's fills and fees made of it. This module must
not ask the venue.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from twinloop.data.binance_reports import AccountReport
from twinloop.data.errors import DataError
from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, Instrument, from_scaled, to_scaled
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES, ROW


def wallet(held: AccountReport, currency: str) -> int:
    """The balance of the account's currency, 1e-8. SessionError where there is none."""
    amount = _balance(held, currency)
    if amount <= 0:
        raise SessionError(
            "no money on the account", expected=f"a balance of {currency}", got=held.balances.get(currency) or "none"
        )
    return amount


def stock(held: AccountReport, instruments: list[Instrument]) -> dict[str, int]:
    """Balances of the base assets of spot instruments, 1e-8."""
    return {each.base: _balance(held, each.base) for each in instruments if each.contract == "spot"}


def refuse_positions(held: AccountReport | None) -> None:
    """A journal that begins knows no position: a futures account has to be flat. SessionError otherwise."""
    for (symbol, _), text in (held.positions if held is not None else {}).items():
        if _amount(text):
            raise SessionError(
                "the account holds a position that this session did not open", field=symbol, expected="none at a first start", got=text,
                remedy="close it, or trade from an account of its own",
            )  # fmt: skip


def position_breaks(node: LiveNode, held: AccountReport) -> list[str]:
    """Where the venue does not hold what the journal says, in words. Futures of symbols outside the session count too."""
    ours: dict[str, Decimal] = {}
    theirs: dict[str, Decimal] = {}
    for slot, instrument in enumerate(node.session.instruments):
        if instrument.contract == "spot":
            currency = node.assembly.currencies.index(instrument.base)
            amount = node.session.stock.get(instrument.base, 0) + int(node.decision["ledgers"][0][currency]["balance"])
            ours[instrument.base] = Decimal(from_scaled(amount, MONEY_SCALE))
            theirs[instrument.base] = _amount(held.balances.get(instrument.base, "0"))
        else:
            qty = int(node.decision["account_holdings"][0][slot]["position"]["qty"])
            ours[instrument.symbol] = Decimal(instrument.qty_text(qty))
    for (symbol, _), text in held.positions.items():
        theirs[symbol] = theirs.get(symbol, Decimal(0)) + _amount(text)
    return [
        f"{name}: the journal says {ours.get(name, Decimal(0)).normalize():f}, the venue {theirs.get(name, Decimal(0)).normalize():f}"
        for name in sorted({*ours, *theirs})
        if ours.get(name, Decimal(0)) != theirs.get(name, Decimal(0))
    ]


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
                rate = np.zeros(1, ROW)
                rate["kind"], rate["instrument"], rate["currency"] = table.FX, row["instrument"], currency
                rate["venue_ns"], rate["local_ns"] = row["venue_ns"], row["local_ns"]
                rate["rate"] = int(row["price"]) * MONEY_ONE // 10**instrument.price_scale
                out.append(rate)
        out.append(rows[at : at + 1])
    return join_rows(out)


def _balance(held: AccountReport, asset: str) -> int:
    try:
        return to_scaled(held.balances.get(asset) or "0", MONEY_SCALE)
    except DataError:
        return 0


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise SessionError("a position that cannot be read", expected="a number", got=text) from None
