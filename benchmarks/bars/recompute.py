"""Cash, position and PnL of a finished run, recomputed from fills.parquet alone in exact fractions, per currency.

Independent of the engine: it reads the run's files and applies the rules written here, and imports nothing of twinloop.

Rules (money in units of 1e-8 of a currency; prices and quantities are exact decimals of the instrument's scales):
- value of a signed quantity q at price p: linear and spot q * p * size; inverse -q * size / p; rounded once, half to even.
- cost = summed value of the open quantity. A fill against an open position closes min(qty, open): it releases cost in proportion, half to
  even; a fill that crosses zero splits its own value in proportion, half to even. realised = -(value of the closing part) - cost released.
- fee: 0 < fee rounds up, a rebate rounds towards zero (never in our favour), on the absolute notional in the settlement
  currency; the fee of a spot fill may be in another currency and is then only summed.
- position per (account, strategy, symbol); the ledger of a currency = capital + realised (futures) or - value (spot) - fees.

Beside that exact integer recomputation, the unrounded PnL is formed in fractions and must lie within 3 units (3e-8) per fill.

usage: recompute.py RUN_FOLDER   (prints one JSON line; exits 1 when anything differs)
"""

import json
import math
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

ONE = 10**8


def half_even(value: Fraction) -> int:
    """Nearest integer, ties to even: what Python's own round of a Fraction does."""
    return round(value)


class Book:
    """One position: open quantity and its cost, rounded as the rules say, and both exactly."""

    def __init__(self) -> None:
        self.qty = 0
        self.cost = 0
        self.exact_cost = Fraction(0)
        self.realised = 0
        self.exact_realised = Fraction(0)

    def fill(self, signed: int, value: int, exact: Fraction) -> int:
        """Apply one fill; returns the realised delta."""
        closing, released, exact_closing, exact_released = 0, 0, Fraction(0), Fraction(0)
        if self.qty and (self.qty > 0) != (signed > 0):
            size, have = abs(signed), abs(self.qty)
            if size <= have:
                closing, exact_closing = value, exact
                released = half_even(Fraction(self.cost * size, have))
                exact_released = self.exact_cost * size / have
            else:
                closing, exact_closing = half_even(Fraction(value * have, size)), exact * have / size
                released, exact_released = self.cost, self.exact_cost
        delta = -closing - released
        self.realised += delta
        self.exact_realised += -exact_closing - exact_released
        self.cost += value - closing - released
        self.exact_cost += exact - exact_closing - exact_released
        self.qty += signed
        return delta


def worth(instrument: dict[str, Any], signed: int, price: int) -> Fraction:
    """Signed value of a quantity at a price, in 1e-8 of the settlement currency, not rounded."""
    size = Fraction(instrument["contract_size"], ONE)
    qty = Fraction(signed, 10 ** instrument["qty_scale"])
    at = Fraction(price, 10 ** instrument["price_scale"])
    if instrument["contract"] == "inverse":
        return -qty * size / at * ONE
    return qty * size * at * ONE


def tick_worth(instrument: dict[str, Any], signed: int, mark: float | None) -> Fraction:
    """What one tick of the price changes in the value of a quantity at a mark (decimal; None where there is none)."""
    if instrument["contract"] != "inverse":
        return worth(instrument, signed, instrument["tick_size"])
    at = round((mark or 0.0) * 10 ** instrument["price_scale"])
    below = at - instrument["tick_size"]
    return worth(instrument, signed, at) - worth(instrument, signed, below) if below > 0 else Fraction(0)


def recompute(folder: Path) -> dict[str, Any]:
    """Go through the fills in their order and compare with what the run wrote."""
    import polars as pl

    manifest = json.loads((folder / "manifest.json").read_text())
    instruments = dict(zip(manifest["symbols"], manifest["instruments"], strict=True))
    fills = pl.read_parquet(folder / "fills.parquet").to_dicts()
    equity = pl.read_parquet(folder / "equity.parquet")
    wrong: list[str] = []
    books: dict[tuple[int, str, str], Book] = defaultdict(Book)
    accounts: dict[tuple[int, str], Book] = defaultdict(Book)
    ledgers: dict[tuple[int, str], int] = defaultdict(int)
    fees: dict[str, int] = defaultdict(int)
    settle_of = {symbol: each["settle"] for symbol, each in instruments.items()}

    for number, row in enumerate(fills):
        instrument = instruments[row["symbol"]]
        signed = row["side"] * row["qty_int"]
        exact = worth(instrument, signed, row["price_int"])
        value = half_even(exact)
        delta = books[row["account"], row["strategy"], row["symbol"]].fill(signed, value, exact)
        book = books[row["account"], row["strategy"], row["symbol"]]
        account_delta = accounts[row["account"], row["symbol"]].fill(signed, value, exact)
        rate = instrument["maker_fee"] if row["maker"] else instrument["taker_fee"]
        fee = math.ceil(Fraction(abs(value) * rate, ONE))
        checks = [
            ("realised_int", delta, row["realised_int"]),
            ("position_after_int", book.qty, row["position_after_int"]),
        ]
        if row["fee_currency"] == instrument["settle"] and "fee_tiers" not in manifest["config"]:
            checks.append(("fee_int", fee, row["fee_int"]))
        for name, mine, theirs in checks:
            if mine != theirs and len(wrong) < 20:
                wrong.append(
                    f"fill {number} ({row['symbol']}, order {row['order_id']}): {name} is {theirs}, recomputed {mine}"
                )
        fees[row["fee_currency"]] += row["fee_int"]
        ledgers[row["account"], row["fee_currency"]] -= row["fee_int"]
        if instrument["contract"] == "spot":
            ledgers[row["account"], instrument["quote"]] -= value
            base = Fraction(signed, 10 ** instrument["qty_scale"]) * Fraction(instrument["contract_size"], ONE) * ONE
            ledgers[row["account"], instrument["base"]] += half_even(base)
        else:
            ledgers[row["account"], instrument["settle"]] += account_delta

    drift = Fraction(0)
    for (account, symbol), book in accounts.items():
        drift = max(drift, abs(book.realised - book.cost - book.exact_realised + book.exact_cost))
        bound = 3 * len(fills)
        if abs(book.realised - book.exact_realised) > bound or abs(book.cost - book.exact_cost) > bound:
            wrong.append(
                f"account {account} {symbol}: rounded PnL is {float(book.realised)}, exact {float(book.exact_realised)}"
            )

    currency = manifest["account_currency"]
    final = equity.row(-1, named=True) if equity.height else None
    used = set(settle_of.values())
    compared_cash = False
    if final is not None and used == {currency} and len({account for account, _ in accounts}) <= 1:
        compared_cash = True
        cash = manifest["capital_int"] + sum(amount for (_, name), amount in ledgers.items() if name == currency)
        funding = manifest.get("funding_int", 0)
        if cash + funding != final["cash_int"]:
            wrong.append(f"final cash is {final['cash_int']}, recomputed {cash + funding} {currency}")
        marked = 0
        for (_, symbol), book in accounts.items():
            held = final.get(f"position:{symbol}")
            scale = 10 ** instruments[symbol]["qty_scale"]
            if held is not None and round(held * scale) != book.qty:
                wrong.append(f"final position of {symbol} is {held}, recomputed {book.qty / scale}")
            mark = final.get(f"mark:{symbol}")
            if book.qty and mark:
                twice = round(mark * 2 * 10 ** instruments[symbol]["price_scale"])
                marked += (
                    half_even(worth(instruments[symbol], book.qty, 1) * Fraction(twice, 2)) - book.cost
                    if instruments[symbol]["contract"] != "inverse"
                    else half_even(worth(instruments[symbol], book.qty, 1) / Fraction(twice, 2)) - book.cost
                )
        spot = any(instruments[symbol]["contract"] == "spot" for _, symbol in accounts)
        # The engine marks a long at the bid and a short at the ask, the table holds the middle: a tick's worth of the open
        # quantity is the margin allowed.
        margin = sum(
            abs(half_even(tick_worth(instruments[s], b.qty, final.get(f"mark:{s}")))) for (_, s), b in accounts.items()
        )
        if (
            not spot
            and abs(cash + funding + marked - final["equity_int"]) > max(margin, 2 * len(accounts))
            and final["equity_int"]
        ):
            wrong.append(f"final equity is {final['equity_int']}, recomputed {cash + funding + marked}")
    return {
        "fills": len(fills),
        "contracts": sorted({each["contract"] for each in instruments.values()}),
        "wrong": wrong,
        "realised": {
            settle_of[s]: sum(b.realised for (_, t), b in accounts.items() if settle_of[t] == settle_of[s])
            for _, s in accounts
        },
        "fees": dict(fees),
        "ledgers": {f"{account}:{name}": amount for (account, name), amount in ledgers.items()},
        "cash_compared": compared_cash,
        "largest_rounding_units": float(drift),
        "makers": sum(bool(row["maker"]) for row in fills),
        "short": any(row["position_after_int"] < 0 for row in fills),
        "long": any(row["position_after_int"] > 0 for row in fills),
    }


if __name__ == "__main__":
    result = recompute(Path(sys.argv[1]))
    print(json.dumps(result))
    raise SystemExit(1 if result["wrong"] else 0)
