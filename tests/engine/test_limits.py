"""Limits in natural units: presets, mistakes named all at once, and the integers that reach the node."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from reference.risk_node import NOW, ONE, Desk, inverse, linear

from twinloop.data.errors import ConfigError
from twinloop.engine.limits import (
    PRESETS,
    SPECS,
    apply_limits,
    conservative,
    from_config,
    limits_lines,
    parse_limits,
    require_explicit,
    research,
)
from twinloop.kernels import codes
from twinloop.kernels.node import ACCOUNT_LIMITS, INSTRUMENT_LIMITS, NEVER
from twinloop.kernels.risk_state import set_equity_floor

CAPITAL = 10**6 * ONE


def applied(limits: Any, instruments: Any = None, strategies: Any = ()) -> Any:
    desk = Desk(instruments)
    apply_limits(desk.decision, limits, desk.instruments, CAPITAL, strategies)
    return desk


def test_every_field_of_the_node_is_reached() -> None:
    fields = {spec.field for spec in SPECS.values()}
    special = {"allowed", "self_match", "breach_state", "covered"}
    assert fields | special == set(INSTRUMENT_LIMITS.names or ()) | set(ACCOUNT_LIMITS.names or ())


def test_the_shipped_preset_is_five_percent_a_symbol_and_two_percent_a_day() -> None:
    desk = applied(conservative())
    limits, bounds = desk.decision["instrument_limits"][0], desk.decision["account_limits"][0]
    assert limits["max_position_e8"] == 5 * 10**6
    assert bounds["max_daily_loss"] == CAPITAL * 2 // 100
    assert bounds["max_daily_loss_e8"] == 2 * 10**6
    assert bounds["max_gross"] == CAPITAL // 2
    assert limits["price_collar_e8"] == 200 * 10**4
    assert limits["max_order_qty"] == NEVER
    assert desk.decision["accounts"][0]["equity_floor"] == CAPITAL * 98 // 100
    assert desk.decision["strategies"][0]["tokens_e9"] == 20 * 10**9
    assert bounds["self_match"] == 1


def test_five_percent_is_held_through_the_desk() -> None:
    desk = applied(parse_limits({"preset": "conservative", "max_order_pct": "none", "max_spread_bps": "none"}))
    desk.decision["clock"]["now_ns"] = NOW
    desk.quote(999, 1001)
    qty = CAPITAL * 5 // 100 // (1000 * 10**4)
    assert desk.submit(1, qty, 999) > 0
    assert desk.submit(1, 1, 999) == -codes.REJECT_MAX_POSITION


def test_the_research_preset_lets_a_study_trade_and_stops_a_bankrupt() -> None:
    desk = applied(research())
    desk.quote(999, 1001)
    order = desk.submit(1, CAPITAL // (1000 * 10**4), 1001)
    assert order > 0
    desk.fill(order, 1001, CAPITAL // (1000 * 10**4))
    desk.quote(2, 4)
    assert desk.state == codes.ACTIVE
    loser = applied(research())
    loser.quote(999, 1001)
    loser.fill(loser.submit(1, 2 * CAPITAL // (1000 * 10**4), 1001), 1001, 2 * CAPITAL // (1000 * 10**4))
    loser.quote(499, 501)
    assert loser.state == codes.HALTED


def test_all_mistakes_are_named_at_once_with_the_nearest_word() -> None:
    section = {
        "preset": "conservativ",
        "max_daily_los_pct": 2,
        "price_collar": 100,
        "max_order_qty": -1,
        "max_order_notional": float("nan"),
        "message_burst": 1.5,
        "max_gross_pct": True,
        "on_breach": "stop",
        "self_match_prevention": "yes",
        "spot_short_selling": 1,
        "max_drawdown": 5,
        "max_drawdown_pct": 5,
        "instruments": {"BTCUSDT": {"max_gross_pct": 5, "max_ordr_qty": 1, "allowed": 1, "strategies": "a"}, "X": 3},
    }
    with pytest.raises(ConfigError) as caught:
        parse_limits(section)
    text = str(caught.value)
    for part in (
        "'conservativ', did you mean 'conservative'",
        "'max_daily_los_pct', did you mean 'max_daily_loss_pct'",
        "'price_collar', did you mean 'price_collar_bps'",
        "limits.max_order_qty: expected a number >= 0 in quantity",
        "limits.max_order_notional: expected a number >= 0 in account currency",
        "limits.message_burst: expected a whole number",
        "limits.max_gross_pct: expected a number",
        "on_breach 'stop'",
        "self_match_prevention: expected true or false",
        "spot_short_selling: expected true or false",
        "limits.max_drawdown and limits.max_drawdown_pct: give one of both",
        "limits.instruments.BTCUSDT: unknown limit 'max_gross_pct'",
        "'max_ordr_qty', did you mean 'max_order_qty'",
        "BTCUSDT.allowed: expected true or false",
        "BTCUSDT.strategies: expected a list",
        "limits.instruments.X: expected a table",
    ):
        assert part in text


def test_an_instrument_may_have_its_own_limits() -> None:
    limits = parse_limits(
        {
            "max_order_qty": 2,
            "instruments": {
                "B": {"max_order_qty": "0.5", "max_spread": "0.3", "strategies": ["two"]},
                "C": {"allowed": False, "max_order_qty": "none"},
            },
        }
    )
    desk = applied(limits, [linear("A"), linear("B"), linear("C")], ("one", "two"))
    records = desk.decision["instrument_limits"]
    assert list(records["max_order_qty"][:3]) == [2000, 500, NEVER]
    assert list(records["allowed"][:3]) == [-1, 0b10, 0]
    assert records["max_spread"][1] == 3
    with pytest.raises(ConfigError, match=r"unknown strategy 'two', did you mean 'twos'"):
        applied(limits, [linear("A"), linear("B"), linear("C")], ("twos",))
    with pytest.raises(ConfigError, match=r"symbols that are not in the run"):
        applied(limits, [linear("A")], ("one", "two"))


@pytest.mark.parametrize(("section", "base", "verdict"), [
    ({"preset": "conservative"}, "BTC", codes.REJECT_BALANCE), ({"preset": "research"}, "BTC", 0), ({}, "BTC", 0),
    ({"preset": "conservative"}, "", 0), ({"preset": "conservative", "spot_short_selling": True}, "BTC", 0),
    ({"preset": "research", "spot_short_selling": False}, "BTC", codes.REJECT_BALANCE),
])  # fmt: skip
def test_of_spot_no_more_is_sold_than_there_is_unless_the_limits_let_it(
    section: dict[str, Any], base: str, verdict: int
) -> None:
    """One without a base asset was made for a bare table; of a contract anything may be sold."""
    off = {
        "max_order_pct": "none",
        "max_spread_bps": "none",
        "max_slippage_bps": "none",
        "max_slippage_day_pct": "none",
    }
    desk = applied(parse_limits(section | off, default=None), [linear(contract="spot", base=base), linear("ETHUSDT")])
    desk.decision["clock"]["now_ns"] = NOW
    for instrument in (0, 1):
        desk.quote(999, 1001, instrument)
    assert desk.submit(-1, 1, 1001, instrument=1) > 0
    result = desk.submit(-1, 1, 1001)
    assert result == -verdict if verdict else result > 0


def test_a_sale_is_measured_with_what_is_on_sale_already_and_the_verdict_says_by_how_much() -> None:
    """The account's holding of the base asset, whoever sells; what a purchase's fee took is gone."""
    desk = applied(parse_limits({"spot_short_selling": False}, default=None), [linear(contract="spot")])
    desk.decision["clock"]["now_ns"] = NOW
    desk.quote(999, 1001)
    bought = desk.submit(1, 1000, 1001)
    assert desk.fill(bought, 1001, 1000, 10**5, desk.assembly.currencies.index("BTC")) == codes.RUN_DONE
    assert desk.submit(-1, 1000, 1010) == -codes.REJECT_BALANCE, "all of the position is more than there is"
    verdict = desk.node["verdicts"][0]
    assert (int(verdict["limit"]), int(verdict["value"])) == (999, 1000)
    first = desk.submit(-1, 600, 1010)
    assert first > 0
    assert desk.submit(-1, 400, 1011) == -codes.REJECT_BALANCE
    assert desk.amend(first, 1010, 1000) == -codes.REJECT_BALANCE, (
        "an amend is judged by what it asks for beyond its reserve"
    )
    assert desk.amend(first, 1010, 999) > 0
    assert desk.submit(-1, 1, 1011) == -codes.REJECT_BALANCE


def test_an_amount_replaces_the_presets_share_and_the_other_way_round() -> None:
    limits = parse_limits({"preset": "conservative", "max_daily_loss": 500})
    bounds = applied(limits).decision["account_limits"][0]
    assert (bounds["max_daily_loss"], bounds["max_daily_loss_e8"]) == (500 * ONE, NEVER)
    assert limits.name == "conservative+changes"
    again = parse_limits({"preset": "conservative", "max_daily_loss_pct": "0.5"})
    assert applied(again).decision["account_limits"][0]["max_daily_loss"] == CAPITAL // 200


def test_a_limit_is_rounded_to_its_stricter_side() -> None:
    limits = parse_limits(
        {"max_order_qty": "0.0019", "max_order_notional": "0.123456789", "price_collar_bps": "0.00019"}
    )
    record = applied(limits).decision["instrument_limits"][0]
    assert (record["max_order_qty"], record["max_order_notional"], record["price_collar_e8"]) == (1, 12345678, 1)


def test_a_limit_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"limit too large, field limits.max_order_notional"):
        applied(parse_limits({"max_order_notional": 10**12}))


def test_live_has_no_default() -> None:
    with pytest.raises(ConfigError, match=r"live trading has no default limits"):
        require_explicit(None)
    for limits in (research(), parse_limits({"max_order_qty": 1})):
        with pytest.raises(ConfigError, match=r"for backtests only"):
            require_explicit(limits)
    assert require_explicit(conservative()).name == "conservative"
    assert require_explicit(parse_limits({"preset": "conservative", "max_order_qty": 1})).name == "conservative+changes"


def test_a_configuration_names_a_preset_or_writes_a_table() -> None:
    assert from_config("research") == research()
    assert from_config({"max_order_qty": 1}).values["max_order_qty"] == Decimal(1)
    with pytest.raises(ConfigError, match=r"run.toml: limits cannot stand: unknown preset 'wide'"):
        from_config("wide", "run.toml")


@pytest.mark.parametrize("name", PRESETS)
def test_every_limit_is_printed_with_its_value_or_as_switched_off(name: Any) -> None:
    section = {
        "preset": name,
        "instruments": {"B": {"max_order_qty": 0.5, "strategies": ["maker"]}, "C": {"allowed": False}},
    }
    head, off, *own = limits_lines(parse_limits(section))
    assert head.startswith(f"limits in force, {name}+changes: ")
    assert off.startswith("  none: ")
    assert all((f" {key} " in head) != (key in off.removeprefix("  none: ").split(", ")) for key in SPECS)
    assert "on_breach halt" in head
    assert own == ["  B: max_order_qty 0.5, strategies maker", "  C: not allowed"]


def test_shares_survive_an_inverse_contract() -> None:
    desk = applied(conservative(), [inverse(settle="USDT")])
    assert desk.decision["instrument_limits"]["max_order_e8"][0] == 2_500_000
    assert np.all(desk.decision["instrument_limits"]["allowed"][:1] == -1)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_floor_set_at_the_start_is_the_kernels(name: str) -> None:
    """limits.py sets it without loading the compiler; every later one comes from the kernel."""
    desk = applied(PRESETS[name]())
    at_start = int(desk.decision["accounts"][0]["equity_floor"])
    getattr(set_equity_floor, "py_func", set_equity_floor)(desk.decision, 0)
    assert at_start == int(desk.decision["accounts"][0]["equity_floor"])
