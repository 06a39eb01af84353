"""Limits in natural units, their presets, and their way into the node.

A limit is a number whose unit stands in its name, or "none": switched off. Shares (`_pct`) are of the capital: the account's equity at
the session roll. `apply_limits` turns them into the scaled integers that `kernels/risk.py` compares; what each one means is in
docs/risk.md. This module must not decide about an order.
"""

import difflib
from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgspec

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.instrument_names import slots_by_name, suggestion
from twinloop.kernels import codes
from twinloop.kernels.money import MONEY_MAX
from twinloop.kernels.node import NEVER
from twinloop.kernels.risk_state import BURST_MAX, MESSAGE

NONE: Final = "none"
E8: Final = 10**8
ON_BREACH: Final = {"halt": codes.HALTED, "reduce": codes.REDUCING, "flatten": codes.FLATTENING}

# Units: how a natural number becomes the node's integer.
QTY: Final = "quantity"
PRICE: Final = "price"
MONEY: Final = "account currency"
PERCENT: Final = "% of capital"
MARGIN: Final = "% of gross exposure"
BASIS_POINTS: Final = "bps"
MILLISECONDS: Final = "ms"
COUNT: Final = "count"


class Spec(NamedTuple):
    """A numeric limit: unit, whether it is per instrument, the node's field, what it bounds."""

    unit: str
    per_instrument: bool
    field: str
    meaning: str


SPECS: Final = {
    "max_order_qty": Spec(QTY, True, "max_order_qty", "quantity of one order"),
    "max_order_notional": Spec(MONEY, True, "max_order_notional", "value of one order"),
    "max_order_pct": Spec(PERCENT, True, "max_order_e8", "value of one order"),
    "max_position_long_qty": Spec(QTY, True, "max_position_long", "long position with all working buys filled"),
    "max_position_short_qty": Spec(QTY, True, "max_position_short", "short position with all working sells filled"),
    "max_position_notional": Spec(MONEY, True, "max_position_notional", "worst-case value in one symbol"),
    "max_position_pct": Spec(PERCENT, True, "max_position_e8", "worst-case value in one symbol"),
    "price_collar_bps": Spec(BASIS_POINTS, True, "price_collar_e8", "distance of a price from the reference"),
    "max_spread": Spec(PRICE, True, "max_spread", "ask - bid when an order is sent"),
    "max_spread_bps": Spec(BASIS_POINTS, True, "max_spread_e8", "ask - bid when an order is sent, of the mid"),
    "max_data_age_ms": Spec(MILLISECONDS, True, "max_data_age_ns", "age of the reference price"),
    "max_slippage_bps": Spec(BASIS_POINTS, True, "max_slippage_e8", "estimated slippage of one order, of the mid"),
    "max_gross_notional": Spec(MONEY, False, "max_gross", "worst-case value over all symbols"),
    "max_gross_pct": Spec(PERCENT, False, "max_gross_e8", "worst-case value over all symbols"),
    "max_net_notional": Spec(MONEY, False, "max_net", "worst-case long minus short over all symbols"),
    "max_net_pct": Spec(PERCENT, False, "max_net_e8", "worst-case long minus short over all symbols"),
    "max_daily_loss": Spec(MONEY, False, "max_daily_loss", "loss since the session roll, unrealised included"),
    "max_daily_loss_pct": Spec(PERCENT, False, "max_daily_loss_e8", "loss since the session roll, unrealised included"),
    "max_drawdown": Spec(MONEY, False, "max_drawdown", "fall of the equity from its peak"),
    "max_drawdown_pct": Spec(PERCENT, False, "max_drawdown_e8", "fall of the equity from its peak"),
    "max_slippage_day": Spec(MONEY, False, "max_slippage_day", "slippage paid since the session roll"),
    "max_slippage_day_pct": Spec(PERCENT, False, "max_slippage_day_e8", "slippage paid since the session roll"),
    "initial_margin_pct": Spec(MARGIN, False, "initial_margin_e8", "equity needed for the worst-case value"),
    "max_messages_per_s": Spec(COUNT, False, "messages_per_s", "orders and amends a second, per strategy"),
    "message_burst": Spec(COUNT, False, "message_burst", "orders and amends at once, per strategy"),
    "duplicate_window_ms": Spec(MILLISECONDS, False, "duplicate_window_ns", "time in which equal orders are counted"),
    "duplicate_max": Spec(COUNT, False, "duplicate_max", "equal orders in that time"),
    "flatten_collar_bps": Spec(
        BASIS_POINTS, False, "flatten_collar_e8", "distance beyond the touch at which closing orders may trade"
    ),
}
SHARE_OF: Final = {  # The account's amounts that a share replaces, so that only one of both can be given.
    "max_gross_notional": "max_gross_pct",
    "max_net_notional": "max_net_pct",
    "max_daily_loss": "max_daily_loss_pct",
    "max_drawdown": "max_drawdown_pct",
    "max_slippage_day": "max_slippage_day_pct",
}
_DEFAULTS: Final = {"flatten_collar_bps": Decimal(500)}  # In force unless it says another number, or "none".
_OF_VERDICT: Final = {  # Keys behind a verdict of the gate, by its name.
    "REJECT_MAX_ORDER_QTY": ("max_order_qty",),
    "REJECT_MAX_ORDER_NOTIONAL": ("max_order_notional", "max_order_pct"),
    "REJECT_PRICE_COLLAR": ("price_collar_bps",),
    "REJECT_MAX_SPREAD": ("max_spread", "max_spread_bps"),
    "REJECT_MAX_POSITION": (
        "max_position_long_qty", "max_position_short_qty", "max_position_notional", "max_position_pct",
    ),
    "REJECT_MAX_GROSS": ("max_gross_notional", "max_gross_pct"),
    "REJECT_MAX_NET": ("max_net_notional", "max_net_pct"),
    "REJECT_THROTTLE": ("max_messages_per_s", "message_burst"),
    "REJECT_DUPLICATE": ("duplicate_window_ms", "duplicate_max"),
    "REJECT_DAILY_LOSS": ("max_daily_loss", "max_daily_loss_pct"),
    "REJECT_DRAWDOWN": ("max_drawdown", "max_drawdown_pct"),
    "REJECT_SLIPPAGE": ("max_slippage_bps", "max_slippage_day", "max_slippage_day_pct"),
    "REJECT_STALE": ("max_data_age_ms",),
    "REJECT_SELF_MATCH": ("self_match_prevention",),
    "REJECT_MARGIN": ("initial_margin_pct",),
    "REJECT_BALANCE": ("spot_short_selling",),
}  # fmt: skip
_OTHER_KEYS: Final = ("preset", "self_match_prevention", "spot_short_selling", "on_breach", "instruments")
_INSTRUMENT_OTHER: Final = ("allowed", "strategies")
_FACTOR: Final = {PERCENT: 10**6, MARGIN: 10**6, BASIS_POINTS: 10**4, MILLISECONDS: 10**6, COUNT: 1, MONEY: MONEY_ONE}


class InstrumentOverride(msgspec.Struct, frozen=True, kw_only=True):
    """What differs for one symbol. strategies: names that may trade it, None for all."""

    values: dict[str, Decimal | None]
    allowed: bool = True
    strategies: tuple[str, ...] | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """A full set of limits. values: natural units, None is off; a key of SPECS that is missing is off as well.

    spot_short_selling: whether more of a spot asset may be sold than the account holds, which no spot venue takes.
    """

    name: str
    values: dict[str, Decimal | None]
    self_match_prevention: bool = True
    spot_short_selling: bool = True
    on_breach: str = "halt"
    instruments: dict[str, InstrumentOverride] = {}

    def value(self, key: str, symbol: str | None = None) -> Decimal | None:
        """A limit in force, for a symbol where it has its own."""
        override = self.instruments.get(symbol) if symbol is not None else None
        if override is not None and key in override.values:
            return override.values[key]
        return self.values.get(key)


def _preset(name: str, *, self_match_prevention: bool, spot_short_selling: bool, **values: str) -> Limits:
    return Limits(
        name=name,
        values={key: Decimal(value) for key, value in values.items()},
        self_match_prevention=self_match_prevention,
        spot_short_selling=spot_short_selling,
    )


def research() -> Limits:
    """Wide limits, the default of a backtest: they stop what is a mistake, and a bankrupt account, not a strategy under study."""
    return _preset(
        "research",
        self_match_prevention=False,
        spot_short_selling=True,
        max_order_pct="10000",
        max_position_pct="10000",
        price_collar_bps="5000",
        max_gross_pct="20000",
        max_net_pct="20000",
        max_daily_loss_pct="100",
        max_drawdown_pct="100",
        initial_margin_pct="0",
        max_messages_per_s="100000",
        message_burst="100000",
    )


def conservative() -> Limits:
    """The shipped preset for real money: 5 % of capital in one symbol, 2 % loss a day."""
    return _preset(
        "conservative",
        self_match_prevention=True,
        spot_short_selling=False,
        max_order_pct="2.5",
        max_position_pct="5",
        price_collar_bps="200",
        max_spread_bps="50",
        max_data_age_ms="5000",
        max_slippage_bps="25",
        max_gross_pct="50",
        max_net_pct="25",
        max_daily_loss_pct="2",
        max_drawdown_pct="10",
        max_slippage_day_pct="0.5",
        initial_margin_pct="10",
        max_messages_per_s="10",
        message_burst="20",
        duplicate_window_ms="1000",
        duplicate_max="3",
    )


PRESETS: Final = {"research": research, "conservative": conservative}


def require_explicit(limits: Limits | None) -> Limits:
    """Limits for trading real money: given by name, and not the research preset. ConfigError otherwise."""
    if limits is None:
        raise ConfigError(
            "live trading has no default limits", field="limits", expected="a [limits] section", got="nothing",
            remedy='write one, starting from preset = "conservative"',
        )  # fmt: skip
    if limits.name.split("+", 1)[0] == "research":
        raise ConfigError(
            "the research limits are for backtests only", field="limits.preset", expected="limits chosen for this account", got=limits.name,
            remedy='start from preset = "conservative"',
        )  # fmt: skip
    return limits


def parse_limits(section: Mapping[str, Any], default: str | None = "research") -> Limits:
    """Limits of a configuration's section: a preset's values, replaced key by key. Every mistake is named in one ConfigError.

    section: {"preset": name, key: number or "none", "instruments": {symbol: {key: ...}}}. default: the preset where none is named; None
    begins with everything off.
    """
    problems: list[str] = []
    name = section.get("preset", default)
    base = Limits(name="custom", values={})
    if name is not None:
        if name in PRESETS:
            base = PRESETS[name]()
        else:
            problems.append(_unknown("preset", str(name), PRESETS))
    values = dict(base.values) | _numbers(section, "limits", tuple(SPECS), _OTHER_KEYS, problems)
    for amount, share in SHARE_OF.items():
        if amount in section and share in section:
            problems.append(f"limits.{amount} and limits.{share}: give one of both")
        elif amount in section:
            values.pop(share, None)
        elif share in section:
            values.pop(amount, None)
    self_match = section.get("self_match_prevention", base.self_match_prevention)
    if not isinstance(self_match, bool):
        problems.append(f"limits.self_match_prevention: expected true or false, got {self_match!r}")
    short = section.get("spot_short_selling", base.spot_short_selling)
    if not isinstance(short, bool):
        problems.append(f"limits.spot_short_selling: expected true or false, got {short!r}")
    on_breach = section.get("on_breach", base.on_breach)
    if on_breach not in ON_BREACH:
        problems.append(_unknown("on_breach", str(on_breach), ON_BREACH))
    overrides = {
        symbol: _override(symbol, values_of, problems)
        for symbol, values_of in dict(section.get("instruments", {})).items()
    }
    if problems:
        raise ConfigError("limits cannot stand: " + "; ".join(problems))
    changed = {key for key in section if key != "preset"}
    return Limits(
        name=base.name + ("+changes" if changed and name is not None else ""),
        values=values,
        self_match_prevention=self_match,
        spot_short_selling=short,
        on_breach=on_breach,
        instruments=overrides,
    )


def _override(symbol: str, section: Any, problems: list[str]) -> InstrumentOverride:
    where = f"limits.instruments.{symbol}"
    if not isinstance(section, Mapping):
        problems.append(f"{where}: expected a table of limits, got {section!r}")
        return InstrumentOverride(values={})
    per_instrument = tuple(key for key, spec in SPECS.items() if spec.per_instrument)
    values = _numbers(section, where, per_instrument, _INSTRUMENT_OTHER, problems)
    allowed = section.get("allowed", True)
    if not isinstance(allowed, bool):
        problems.append(f"{where}.allowed: expected true or false, got {allowed!r}")
    strategies = section.get("strategies")
    if strategies is not None and not (
        isinstance(strategies, list | tuple) and all(isinstance(each, str) for each in strategies)
    ):
        problems.append(f"{where}.strategies: expected a list of names, got {strategies!r}")
        strategies = None
    return InstrumentOverride(
        values=values, allowed=bool(allowed), strategies=None if strategies is None else tuple(strategies)
    )


def _unknown(what: str, got: str, known: Any) -> str:
    near = difflib.get_close_matches(got, list(known), 1, 0.5)
    hint = f", did you mean {near[0]!r}" if near else f", expected one of {', '.join(known)}"
    return f"unknown {what} {got!r}{hint}"


def _numbers(
    section: Mapping[str, Any], where: str, known: Sequence[str], others: Sequence[str], problems: list[str]
) -> dict[str, Decimal | None]:
    """The numeric limits of a section; what is wrong with others of it joins problems."""
    found: dict[str, Decimal | None] = {}
    for key, value in section.items():
        if key in others:
            continue
        if key not in known:
            problems.append(f"{where}: " + _unknown("limit", str(key), [*known, *others]))
            continue
        if value is None or value == NONE:
            found[key] = None
            continue
        number = as_number(value)
        if not number.is_finite() or number < 0:
            problems.append(f'{where}.{key}: expected a number >= 0 in {SPECS[key].unit} or "none", got {value!r}')
        elif SPECS[key].unit == COUNT and number != number.to_integral_value():
            problems.append(f"{where}.{key}: expected a whole number, got {value!r}")
        else:
            found[key] = number
    return found


def as_number(value: Any) -> Decimal:
    """A number of a file or command, exactly; NaN for what is none."""
    try:
        return Decimal("NaN" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        return Decimal("NaN")


def of_capital(share_e8: int, capital: int) -> int:
    """Money that a share of the capital, 1e-8, comes to."""
    return min(max(capital, 0) * share_e8 // E8, NEVER - 1)


def scaled(key: str, value: Decimal | None, instrument: Instrument | None) -> int:
    """A limit as the node's integer, rounded down: to the stricter side. None is NEVER. ConfigError above 63 bits."""
    if value is None:
        return NEVER
    unit = SPECS[key].unit
    if unit == QTY:
        assert instrument is not None
        factor = 10**instrument.qty_scale
    elif unit == PRICE:
        assert instrument is not None
        factor = 10**instrument.price_scale
    else:
        factor = _FACTOR[unit]
    number = NEVER if value >= NEVER else int((value * factor).to_integral_value(ROUND_FLOOR))
    if number >= NEVER:
        raise ConfigError(
            "limit too large", field=f"limits.{key}", expected=f'less than {NEVER // factor} or "none"', got=str(value)
        )
    return number


def apply_limits(
    decision: Any, limits: Limits, instruments: Sequence[Instrument], capital: int, strategies: Sequence[str] = ()
) -> None:
    """Write limits into a node's decision record, for every account, and fill the message buckets.

    decision: the node's record; its accounts exist already. instruments: in slot order. capital: money (1e-8) that shares are of until the
    first session roll. strategies: names in slot order, for allowlists that name some. ConfigError for what does not fit the run.
    """
    names = own_names(limits, instruments)
    for slot, instrument in enumerate(instruments):
        record = decision["instrument_limits"][slot]
        for key, spec in SPECS.items():
            if spec.per_instrument:
                record[spec.field] = scaled(key, limits.value(key, names.get(slot)), instrument)
        # What was made for a bare table counts like spot and has no base asset: nobody said that it cannot be sold short.
        record["covered"] = instrument.contract == "spot" and bool(instrument.base) and not limits.spot_short_selling
        record["allowed"] = _allowed(limits.instruments.get(names.get(slot, "")), strategies)
    for account in range(decision["account_limits"].shape[0]):
        _apply_account(decision, limits, account, capital)
    burst = min(scaled("message_burst", limits.values.get("message_burst"), None), BURST_MAX)
    decision["strategies"]["tokens_e9"] = burst * MESSAGE
    decision["strategies"]["tokens_ns"] = decision["clock"]["now_ns"]


def own_names(limits: Limits, instruments: Sequence[Instrument]) -> dict[int, str]:
    """The name under which limits have an instrument of their own, by slot."""
    slots = slots_by_name(instruments)
    unknown = [
        f"{name!r}, {suggestion(name, slots) or 'expected one of ' + ', '.join(slots)}"
        for name in limits.instruments
        if name not in slots
    ]
    if unknown:
        raise ConfigError("limits name symbols that are not in the run: " + "; ".join(unknown))
    names: dict[int, str] = {}
    for name in limits.instruments:
        other = names.setdefault(slots[name], name)
        if other != name:
            raise ConfigError(
                "limits name an instrument twice", field="limits.instruments", got=f"{other}, {name}", remedy="keep one"
            )
    return names


def _allowed(override: InstrumentOverride | None, strategies: Sequence[str]) -> int:
    """The allowlist of an instrument as bits of strategy slots."""
    if override is None or (override.allowed and override.strategies is None):
        return -1
    if not override.allowed or override.strategies is None:
        return 0
    missing = [_unknown("strategy", name, strategies) for name in override.strategies if name not in strategies]
    if missing:
        raise ConfigError("limits name strategies that are not in the run: " + "; ".join(missing))
    return sum(1 << slot for slot, name in enumerate(strategies) if name in override.strategies)


def _apply_account(decision: Any, limits: Limits, account: int, capital: int) -> None:
    record = decision["account_limits"][account]
    for key, spec in SPECS.items():
        if not spec.per_instrument:
            record[spec.field] = account_limit(limits, key)
    for amount, share in SHARE_OF.items():
        share_e8 = int(record[SPECS[share].field])
        if share_e8 != NEVER:
            record[SPECS[amount].field] = of_capital(share_e8, capital)
    record["self_match"] = limits.self_match_prevention
    record["breach_state"] = ON_BREACH[limits.on_breach]
    state = decision["accounts"][account]
    state["day_equity"] = capital
    state["floor_peak"] = state["peak_equity"]
    # As risk_state.set_equity_floor does it, which would load the compiler to be called from here.
    state["equity_floor"] = max(
        max(int(base) - int(distance), -MONEY_MAX)
        for base, distance in (
            (state["day_equity"], record["max_daily_loss"]),
            (state["floor_peak"], record["max_drawdown"]),
        )
    )


def account_limit(limits: Limits, key: str) -> int:
    """A limit of the account as the node's integer; of one that is off NEVER, or no margin."""
    value = in_force(limits).get(key)
    return 0 if value is None and key == "initial_margin_pct" else scaled(key, value, None)


def in_force(limits: Limits) -> dict[str, Decimal | None]:
    """The numeric limits with those that hold unless another number is said."""
    return _DEFAULTS | limits.values


def limits_lines(limits: Limits) -> list[str]:
    """The limits in force in a few lines: what is on with its value (the key ends in the unit), what is off, what a symbol has of its own."""
    on = dict.fromkeys(SPECS) | in_force(limits)
    parts = [f"{key} {_text(value)}" for key, value in on.items() if value is not None]
    parts += [
        f"self_match_prevention {'on' if limits.self_match_prevention else 'off'}",
        f"spot_short_selling {'on' if limits.spot_short_selling else 'off'}",
        f"on_breach {limits.on_breach}",
    ]
    lines = [f"limits in force, {limits.name}: {', '.join(parts)}"]
    off = [key for key, value in on.items() if value is None]
    if off:
        lines.append(f"  {NONE}: {', '.join(off)}")
    for symbol, own in limits.instruments.items():
        parts = [f"{key} {_text(value)}" for key, value in own.values.items()]
        parts += [] if own.allowed else ["not allowed"]
        parts += [] if own.strategies is None else [f"strategies {', '.join(own.strategies) or NONE}"]
        lines.append(f"  {symbol}: {', '.join(parts)}")
    return lines


def limits_named(verdict: str, in_force: Mapping[str, Any]) -> str:
    """The keys behind a verdict that are on, as a person set them: "max_order_pct"; empty where no limit stands behind it.

    in_force: limits by key, those of a symbol as a table of their own, as the manifest of a run has them.
    """
    on = {key for key, value in in_force.items() if value != NONE}
    for own in in_force.values():
        on |= {key for key, value in own.items() if value != NONE} if isinstance(own, Mapping) else set()
    return " or ".join(key for key in _OF_VERDICT.get(verdict, ()) if key in on)


def _text(value: Decimal | None) -> str:
    return NONE if value is None else f"{value:,f}"


def from_config(chosen: str | Mapping[str, Any], file: Any = None) -> Limits:
    """Limits of a configuration: a preset's name, or a section as parse_limits takes it. file: where it stood, for the message."""
    try:
        return parse_limits({"preset": chosen} if isinstance(chosen, str) else chosen)
    except ConfigError as error:
        raise ConfigError(error.what, file=file) from None
