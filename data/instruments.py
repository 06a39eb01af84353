"""Instruments: what one unit of a row's integers means, and the venue's rules for orders.

Prices and quantities travel as int64 in fixed decimal scales, money as int64 units of 1e-8 of a currency. Decimals are
read digit by digit, never through a float: `to_scaled("61659.70", 2)` is 6165970 and nothing is ever rounded silently.
This module must not fetch anything: presets are the rules in force when the recorded data was taken, and a user's own
instruments come from an `instruments.toml`.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from twinloop.data.errors import ConfigError, DataError

MONEY_SCALE: Final = 8  # Money, fee rates and contract sizes are int64 units of 1e-8.
MONEY_ONE: Final = 10**MONEY_SCALE
SCALED_MAX: Final = (
    10**18 - 1
)  # The largest magnitude to_scaled gives: any 18 digits, so that sums of a few stay in int64.
SCALE_MAX: Final = 12  # Decimals beyond which no venue quotes.
CONTRACTS: Final = ("linear", "inverse", "spot")
_DIGITS: Final = frozenset("0123456789")
_EXPONENT_MAX: Final = 40


def _split(text: str) -> tuple[bool, str, int]:
    """Read a decimal: (negative, digits, decimals) so that the value is +-digits * 10**-decimals.

    Accepts an optional sign, digits with at most one point and at least one digit, and an exponent (`1e-05`, as other
    tools write small floats). No spaces, separators, NaN or infinity. Raises DataError.
    """
    rest = text
    negative = rest.startswith("-")
    if rest[:1] in {"-", "+"}:
        rest = rest[1:]
    mantissa, mark, exponent_text = rest.replace("E", "e").partition("e")
    exponent = 0
    if mark:
        magnitude = exponent_text[1:] if exponent_text[:1] in {"-", "+"} else exponent_text
        if not magnitude or not _DIGITS.issuperset(magnitude) or len(magnitude) > 3 or int(magnitude) > _EXPONENT_MAX:
            raise DataError("not a decimal number", expected="digits with at most one point", got=text)
        exponent = -int(magnitude) if exponent_text.startswith("-") else int(magnitude)
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    if not digits or not _DIGITS.issuperset(digits):
        raise DataError("not a decimal number", expected="digits with at most one point", got=text)
    decimals = len(fraction) - exponent
    if decimals < 0:
        return negative, digits + "0" * -decimals, 0
    return negative, digits, decimals


def to_scaled(text: str, scale: int) -> int:
    """Scaled integer of a decimal string: value * 10**scale, exactly.

    text: sign, digits, at most one point, optional exponent. scale: decimal digits kept, >= 0. Trailing zeros beyond the
    scale are fine, any other digit there is a DataError, as is a magnitude above SCALED_MAX.
    """
    negative, digits, decimals = _split(text)
    if decimals <= scale:
        value = int(digits + "0" * (scale - decimals))
    else:
        cut = len(digits) + scale - decimals
        value, lost = int(digits[: max(cut, 0)] or "0"), int(digits[max(cut, 0) :])
        if lost:
            raise DataError(
                "more decimals than the scale holds",
                expected=f"at most {scale} decimals",
                got=text,
                remedy="raise the instrument's price_scale or qty_scale",
            )
    if value > SCALED_MAX:
        raise DataError("number too large", expected=f"at most {SCALED_MAX} at scale {scale}", got=text)
    return -value if negative else value


def from_scaled(value: int, scale: int) -> str:
    """Decimal string of a scaled integer with exactly `scale` decimals: `from_scaled(6165970, 2) == "61659.70"`."""
    value = int(value)  # A NumPy integer would overflow at abs(-2**63).
    sign = "-" if value < 0 else ""
    digits = str(abs(value))
    if scale == 0:
        return sign + digits
    digits = digits.rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def decimals_of(text: str) -> int:
    """Number of decimals a decimal string needs, trailing zeros left out: 1 for "0.10", 0 for "5.0"."""
    _, digits, decimals = _split(text)
    while decimals > 0 and digits.endswith("0"):
        digits = digits[:-1]
        decimals -= 1
    return decimals


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of one venue; every number a scaled integer. Raises ConfigError for rules that cannot stand.

    contract: "linear" (PnL in the quote currency), "inverse" (PnL in the base currency) or "spot".
    price_scale, qty_scale: decimal digits; price_int = price * 10**price_scale. They never change for an instrument,
    while tick and lot sizes may (an INSTRUMENT row tells so).
    tick_size (price scale), lot_size, min_qty, max_qty (quantity scale): the venue's rules for orders.
    min_notional: money, 1e-8 of the quote currency; 0 for none.
    contract_size: 1e-8 units, so 100000000 is 1; of an inverse contract the quote units one contract is worth.
    maker_fee, taker_fee: 1e-8 of notional; negative is a rebate.
    """

    symbol: str
    venue: str
    contract: str
    base: str
    quote: str
    settle: str
    price_scale: int
    qty_scale: int
    tick_size: int
    lot_size: int
    min_qty: int
    max_qty: int
    min_notional: int = 0
    contract_size: int = MONEY_ONE
    maker_fee: int = 0
    taker_fee: int = 0

    def __post_init__(self) -> None:
        """Check what every reader of an instrument relies on."""
        checks = (
            ("symbol", bool(self.symbol), "a name", self.symbol),
            ("venue", bool(self.venue), "a name", self.venue),
            ("contract", self.contract in CONTRACTS, "one of " + ", ".join(CONTRACTS), self.contract),
            ("price_scale", 0 <= self.price_scale <= SCALE_MAX, f"0 to {SCALE_MAX}", self.price_scale),
            ("qty_scale", 0 <= self.qty_scale <= SCALE_MAX, f"0 to {SCALE_MAX}", self.qty_scale),
            ("tick_size", 0 < self.tick_size <= SCALED_MAX, "a positive price", self.tick_size),
            ("lot_size", 0 < self.lot_size <= SCALED_MAX, "a positive quantity", self.lot_size),
            ("min_qty", 0 <= self.min_qty <= SCALED_MAX, "0 or a positive quantity", self.min_qty),
            ("max_qty", self.min_qty <= self.max_qty <= SCALED_MAX, "at least min_qty", self.max_qty),
            ("min_notional", 0 <= self.min_notional <= SCALED_MAX, "0 or positive money", self.min_notional),
            ("contract_size", 0 < self.contract_size <= SCALED_MAX, "a positive size", self.contract_size),
            ("maker_fee", abs(self.maker_fee) < MONEY_ONE, "a rate between -1 and 1", self.maker_fee),
            ("taker_fee", abs(self.taker_fee) < MONEY_ONE, "a rate between -1 and 1", self.taker_fee),
        )
        for field, fine, expected, got in checks:
            if not fine:
                raise ConfigError(f"instrument {self.key} cannot stand", field=field, expected=expected, got=got)

    @property
    def key(self) -> str:
        """Unique name: "venue:symbol"."""
        return f"{self.venue}:{self.symbol}"

    @classmethod
    def make(
        cls,
        *,
        symbol: str,
        venue: str,
        tick_size: str,
        lot_size: str,
        contract: str = "spot",
        base: str = "",
        quote: str = "",
        settle: str = "",
        price_scale: int | None = None,
        qty_scale: int | None = None,
        min_qty: str | None = None,
        max_qty: str | None = None,
        min_notional: str = "0",
        contract_size: str = "1",
        maker_fee: str = "0",
        taker_fee: str = "0",
    ) -> Self:
        """Instrument from natural decimal strings, such as a venue's rules page shows them.

        Scales default to the decimals of tick_size and lot_size; min_qty to one lot; max_qty to no limit (SCALED_MAX);
        settle to the quote currency, or to the base currency of an inverse contract. Raises ConfigError.
        """

        def checked(field: str, text: str, read: Callable[[str], int]) -> int:
            if not isinstance(text, str):
                raise ConfigError(
                    f"instrument {venue}:{symbol} cannot stand",
                    field=field,
                    expected='a decimal string such as "0.1"',
                    got=text,
                    remedy="quote it, so that no digit is lost in a float",
                )
            try:
                return read(text)
            except DataError as error:
                raise ConfigError(
                    f"instrument {venue}:{symbol}: {error.what}", field=field, expected=error.expected, got=error.got
                ) from None

        def scaled(field: str, text: str, scale: int) -> int:
            return checked(field, text, lambda value: to_scaled(value, scale))

        price_scale = checked("tick_size", tick_size, decimals_of) if price_scale is None else price_scale
        qty_scale = checked("lot_size", lot_size, decimals_of) if qty_scale is None else qty_scale
        return cls(
            symbol=symbol,
            venue=venue,
            contract=contract,
            base=base,
            quote=quote,
            settle=settle or (base if contract == "inverse" else quote),
            price_scale=price_scale,
            qty_scale=qty_scale,
            tick_size=scaled("tick_size", tick_size, price_scale),
            lot_size=scaled("lot_size", lot_size, qty_scale),
            min_qty=scaled("lot_size" if min_qty is None else "min_qty", min_qty or lot_size, qty_scale),
            max_qty=SCALED_MAX if max_qty is None else scaled("max_qty", max_qty, qty_scale),
            min_notional=scaled("min_notional", min_notional, MONEY_SCALE),
            contract_size=scaled("contract_size", contract_size, MONEY_SCALE),
            maker_fee=scaled("maker_fee", maker_fee, MONEY_SCALE),
            taker_fee=scaled("taker_fee", taker_fee, MONEY_SCALE),
        )

    def price_int(self, text: str) -> int:
        """Scaled price of a decimal string; DataError if it does not fit the scale."""
        return to_scaled(text, self.price_scale)

    def qty_int(self, text: str) -> int:
        """Scaled quantity of a decimal string; DataError if it does not fit the scale."""
        return to_scaled(text, self.qty_scale)

    def price_text(self, price_int: int) -> str:
        """Decimal string of a scaled price."""
        return from_scaled(price_int, self.price_scale)

    def qty_text(self, qty_int: int) -> str:
        """Decimal string of a scaled quantity."""
        return from_scaled(qty_int, self.qty_scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict of all fields, for manifests."""
        return msgspec.structs.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Instrument of a manifest's dict; ConfigError when a field is missing or of the wrong type."""
        try:
            return msgspec.convert(dict(fields), cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"instrument in a manifest cannot be read: {error}") from None


# The rules in force when the recorded markets were taken; fees are those of a new account.
BINANCE_USDM_BTCUSDT: Final = Instrument.make(
    symbol="BTCUSDT", venue="binance-usdm", contract="linear", base="BTC", quote="USDT",
    tick_size="0.1", lot_size="0.001", max_qty="1000", min_notional="100", maker_fee="0.0002", taker_fee="0.0005",
)  # fmt: skip
BINANCE_USDM_ETHUSDT: Final = Instrument.make(
    symbol="ETHUSDT", venue="binance-usdm", contract="linear", base="ETH", quote="USDT",
    tick_size="0.01", lot_size="0.001", max_qty="10000", min_notional="20", maker_fee="0.0002", taker_fee="0.0005",
)  # fmt: skip
BINANCE_SPOT_BTCUSDT: Final = Instrument.make(
    symbol="BTCUSDT", venue="binance-spot", contract="spot", base="BTC", quote="USDT",
    tick_size="0.01", lot_size="0.00001", qty_scale=8, max_qty="9000", min_notional="5", maker_fee="0.001", taker_fee="0.001",
)  # fmt: skip
BINANCE_COINM_BTCUSD_PERP: Final = Instrument.make(
    symbol="BTCUSD_PERP", venue="binance-coinm", contract="inverse", base="BTC", quote="USD",
    tick_size="0.1", lot_size="1", max_qty="60000", contract_size="100", maker_fee="0.0002", taker_fee="0.0005",
)  # fmt: skip
PRESETS: Final = {
    preset.key: preset
    for preset in (BINANCE_USDM_BTCUSDT, BINANCE_USDM_ETHUSDT, BINANCE_SPOT_BTCUSDT, BINANCE_COINM_BTCUSD_PERP)
}


def preset(venue: str, symbol: str) -> Instrument:
    """Preset of a recorded market; ConfigError names the ones there are."""
    try:
        return PRESETS[f"{venue}:{symbol}"]
    except KeyError:
        raise ConfigError(
            "no such preset instrument",
            expected="one of " + ", ".join(PRESETS),
            got=f"{venue}:{symbol}",
            remedy="define it in an instruments.toml",
        ) from None


_TEXT_FIELDS: Final = frozenset({"symbol", "venue", "contract", "base", "quote", "settle"})
_SCALE_FIELDS: Final = frozenset({"price_scale", "qty_scale"})
_DECIMAL_FIELDS: Final = frozenset(
    {"tick_size", "lot_size", "min_qty", "max_qty", "min_notional", "contract_size", "maker_fee", "taker_fee"}
)


def _natural(instrument: Instrument) -> dict[str, Any]:
    """Fields of an instrument as `Instrument.make` takes them."""
    fields = instrument.to_dict()
    for name, scale in (
        ("tick_size", instrument.price_scale),
        *((name, instrument.qty_scale) for name in ("lot_size", "min_qty", "max_qty")),
        *((name, MONEY_SCALE) for name in ("min_notional", "contract_size", "maker_fee", "taker_fee")),
    ):
        fields[name] = from_scaled(fields[name], scale)
    return fields


def to_toml(instruments: Iterable[Instrument]) -> str:
    """Text of a file that read_instruments gives back."""
    lines = []
    for instrument in instruments:
        lines += ["[[instrument]]"]
        lines += [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in _natural(instrument).items()]
        lines.append("")
    return "\n".join(lines)


def read_instruments(path: Path) -> dict[str, Instrument]:
    """Instruments of a user's `instruments.toml`, by key "venue:symbol", presets not included.

    The file holds one `[[instrument]]` table each, with the arguments of `Instrument.make` in natural decimals (quoted or
    not: digits are kept either way). `like = "binance-usdm:BTCUSDT"` starts from a preset or an instrument above it.
    Raises ConfigError that names the table and the field.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
    except OSError as error:
        raise ConfigError("cannot read instruments", file=path, got=error.strerror) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a TOML file: {error}", file=path) from None
    tables = document.pop("instrument", None)
    if document or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(
            "no instruments",
            file=path,
            expected="one or more [[instrument]] tables and nothing else",
            got=sorted(document),
        )
    found: dict[str, Instrument] = {}
    for number, table in enumerate(tables, start=1):
        instrument = instrument_from_table(path, number, table, found)
        if instrument.key in found:
            raise ConfigError(
                f"instrument table {number} repeats another", file=path, field="symbol", got=instrument.key
            )
        found[instrument.key] = instrument
    return found


def instrument_from_table(
    path: Path, number: int, table: dict[str, Any], above: Mapping[str, Instrument]
) -> Instrument:
    """Instrument of one table of natural decimals; number and path are named in messages. above: what `like` may name."""
    fields: dict[str, Any] = {}
    table = dict(table)
    like = table.pop("like", None)
    if like is not None:
        model = above.get(like) or PRESETS.get(like)
        if model is None:
            raise ConfigError(
                f"instrument table {number} is like an unknown one",
                file=path,
                field="like",
                expected="one of " + ", ".join((*above, *PRESETS)),
                got=str(like),
            )
        fields = _natural(model)
        # New tick or lot sizes bring their own scale unless one is named.
        for size, scale in (("tick_size", "price_scale"), ("lot_size", "qty_scale")):
            if size in table:
                del fields[scale]
        if "lot_size" in table:
            del fields["min_qty"]
            if "max_qty" not in table and model.max_qty == SCALED_MAX:
                del fields["max_qty"]
    for name, value in table.items():
        if (name in _TEXT_FIELDS and isinstance(value, str)) or (name in _SCALE_FIELDS and type(value) is int):
            fields[name] = value
        elif name in _DECIMAL_FIELDS and (isinstance(value, str) or type(value) is int):
            fields[name] = str(value)
        else:
            known = sorted(_TEXT_FIELDS | _SCALE_FIELDS | _DECIMAL_FIELDS | {"like"})
            expected = f"a value of its type among {', '.join(known)}"
            raise ConfigError(
                f"instrument table {number} cannot stand", file=path, field=name, expected=expected, got=value
            )
    missing = [name for name in ("symbol", "venue", "tick_size", "lot_size") if name not in fields]
    if missing:
        raise ConfigError(f"instrument table {number} is incomplete", file=path, field=missing[0], expected="a value")
    try:
        return Instrument.make(**fields)
    except ConfigError as error:
        raise ConfigError(error.what, file=path, field=error.field, expected=error.expected, got=error.got) from None
