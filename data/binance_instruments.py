"""Instruments from a Binance venue's exchangeInfo: its rules as they are in force now, exactly.

Fees are not in it: they are the account's, and given by whoever asks. This module must not fetch anything.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import Instrument, decimals_of

CONTRACTS: Final = {"binance-spot": "spot", "binance-usdm": "linear", "binance-coinm": "inverse"}


def instruments_of(
    body: bytes, venue: str, symbols: list[str], *, maker_fee: str = "0", taker_fee: str = "0"
) -> list[Instrument]:
    """The instruments of these symbols, in their order.

    body: what the venue answered. Raises DataError for an answer that is none, ConfigError for a symbol the venue does not have or does
    not trade.
    """
    try:
        answer = msgspec.json.decode(body)
        listed = {each["symbol"]: each for each in answer["symbols"]}
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError("not an exchangeInfo", expected="JSON with symbols", got=str(error)) from None
    found = []
    for symbol in symbols:
        if symbol not in listed:
            plain = "".join(each for each in symbol.upper() if each.isalnum())
            near = [plain] if plain in listed else difflib.get_close_matches(plain, listed, n=1)
            raise ConfigError(
                "the venue does not have this symbol", field="feed.symbols", expected="a symbol of " + venue, got=symbol,
                remedy=f"did you mean {near[0]}?" if near else None,
            )  # fmt: skip
        status = listed[symbol].get("status", listed[symbol].get("contractStatus", "TRADING"))
        if status != "TRADING":
            raise ConfigError(f"{symbol} is not trading", field="feed.symbols", expected="TRADING", got=status)
        found.append(_instrument(listed[symbol], venue, maker_fee, taker_fee))
    return found


def _instrument(each: Mapping[str, Any], venue: str, maker_fee: str, taker_fee: str) -> Instrument:
    symbol = str(each["symbol"])
    filters = {one.get("filterType"): one for one in each.get("filters", ())}
    try:
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
        notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", {}))
        tick_size, lot_size = str(price["tickSize"]), str(lot["stepSize"])
        contract = CONTRACTS[venue]
        return Instrument.make(
            symbol=symbol,
            venue=venue,
            contract=contract,
            base=str(each["baseAsset"]),
            quote=str(each["quoteAsset"]),
            settle=str(each.get("marginAsset", "")),
            tick_size=_short(tick_size),
            lot_size=_short(lot_size),
            price_scale=max(decimals_of(tick_size), 0),
            qty_scale=max(decimals_of(lot_size), 0),
            min_qty=_short(str(lot["minQty"])),
            max_qty=_short(str(lot["maxQty"])),
            min_notional=_short(str(notional.get("minNotional", notional.get("notional", "0")))),
            contract_size=str(each.get("contractSize", 1)) if contract == "inverse" else "1",
            maker_fee=maker_fee,
            taker_fee=taker_fee,
        )
    except KeyError as error:
        raise DataError(
            "rules that cannot be read", field=f"exchangeInfo of {symbol}", expected=f"{error.args[0]}", got="nothing"
        ) from None


def _short(text: str) -> str:
    """A decimal without the zeros behind it."""
    return text.rstrip("0").rstrip(".") if "." in text else text
