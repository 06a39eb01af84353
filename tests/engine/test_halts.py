"""What a run tells of limits: when an account stopped and by which limit, what was refused after that, and how much was refused at all."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from twinloop.engine.backtest import Backtest
from twinloop.engine.config import load_config
from twinloop.engine.console import print_run
from twinloop.engine.limits import SPECS, limits_named, research
from twinloop.engine.planning import limits_in_force, make_plan
from twinloop.kernels import codes

START_S = 1_704_067_200  # 2024-01-01 00:00 UTC
STRATEGIES = """
import twinloop as tl


class Stubborn(tl.PythonStrategy):
    qty: float = 10.0

    def on_trade(self, ctx, trade):
        if ctx.position(trade.instrument) < 50.0:
            ctx.buy(trade.instrument, self.qty)


class Once(tl.PythonStrategy):
    done = False

    def on_trade(self, ctx, trade):
        if not Once.done:
            Once.done = True
            ctx.buy(trade.instrument, 100.0)


class Later(tl.PythonStrategy):
    done = False

    def on_trade(self, ctx, trade):
        if not Later.done:
            Later.done = True
            ctx.buy(trade.instrument, 100.0)


class Odd(tl.PythonStrategy):
    qty: float = 1.0

    def on_trade(self, ctx, trade):
        ctx.buy(trade.instrument, self.qty)


class Flood(tl.PythonStrategy):
    done = False

    def on_trade(self, ctx, trade):
        if not Flood.done:
            Flood.done = True
            for _ in range(9000):
                ctx.buy(trade.instrument, 1e6)
"""


def run(folder: Path, strategy: str, prices: list[float], limits: Any, symbols: int = 1) -> Any:
    """A run of one strategy over a trade a second, with 10,000 of money."""
    (folder / "s.py").write_text(STRATEGIES, encoding="utf-8")
    lines = [f"{START_S + i},{price},1000" for i, price in enumerate(prices)]
    (folder / "data.csv").write_text("\n".join(["time,price,qty", *lines]), encoding="utf-8")
    (folder / "run.toml").write_text("", encoding="utf-8")
    strategy, _, qty = strategy.partition("=")
    base = {
        "data": [{"file": "data.csv", "symbol": f"A{k}"} for k in range(symbols)],
        "strategy": [{"path": f"s.py:{strategy}", "parameters": {"qty": float(qty)} if qty else {}}],
        "account": {"cash": "10000"},
        "limits": limits,
        "run": {"cache": str(folder / "cache"), "out": str(folder / "runs"), "name": "x", "sample_interval": "1s"},
    }
    return Backtest(make_plan(load_config(folder / "run.toml", {}, base)).plan).run()


def test_a_halted_account_says_when_by_which_limit_at_which_value_and_what_was_refused(tmp_path: Path) -> None:
    found = run(tmp_path, "Stubborn", [100.0, 100.0, 100.0, 90.0, 90.0, 90.0], {"max_daily_loss_pct": 2})
    refused = found.risk.filter(found.risk["verdict"] == "REJECT_HALTED")
    assert len(refused) > 0
    (halt,) = found.summary["halts"]
    assert (halt["state"], halt["rule"], halt["limits"]) == ("HALTED", "REJECT_DAILY_LOSS", "max_daily_loss_pct")
    assert halt["refused"] == len(refused)
    assert halt["at_ns"] == refused["local_ns"].min()
    assert halt["limit"] == 200.0
    assert halt["value"] == pytest.approx(10_000 - halt["equity"])
    assert halt["value"] > 200.0
    told = [text for text in found.summary["warnings"] if "trading was halted" in text]
    assert len(told) == 1
    for part in ("2024-01-01T00:00:0", "max_daily_loss_pct (REJECT_DAILY_LOSS)", "200.00", f"{len(refused)} requests"):
        assert part in told[0]
    screen = io.StringIO()
    print_run(found, Console(file=screen, width=200))
    assert told[0] in screen.getvalue()
    assert "rading was halted at" in (found.folder / "report.html").read_text(encoding="utf-8")


def test_a_halt_after_which_nothing_was_asked_is_told_as_well(tmp_path: Path) -> None:
    found = run(tmp_path, "Once", [100.0, 100.0, 50.0, 50.0], {"max_drawdown_pct": 10})
    (halt,) = found.summary["halts"]
    assert (halt["rule"], halt["limits"], halt["refused"]) == ("REJECT_DRAWDOWN", "max_drawdown_pct", 0)
    assert found.risk.is_empty()
    assert (halt["at_ns"], halt["value"], halt["limit"]) == ((START_S + 2) * 10**9, 5000.0, 1000.0)
    assert "; no request was refused for it" in " ".join(found.summary["warnings"])


def test_a_halt_is_dated_by_the_row_that_broke_the_limit(tmp_path: Path) -> None:
    """A broken limit ends the batch, of a thousand rows here: by its end the loss would have grown."""
    prices = [100.0] * 300 + [100.0 - 0.1 * i for i in range(400)] + [60.0] * 1000
    (halt,) = run(tmp_path, "Later", prices, {"max_daily_loss_pct": 2}).summary["halts"]
    assert halt["at_ns"] == (START_S + 300 + 21) * 10**9
    assert halt["value"] == pytest.approx(210.0)


def test_a_reducing_account_is_told_as_one(tmp_path: Path) -> None:
    limits = {"max_daily_loss_pct": 2, "on_breach": "reduce"}
    found = run(tmp_path, "Stubborn", [100.0, 100.0, 100.0, 90.0, 90.0, 90.0], limits)
    (halt,) = found.summary["halts"]
    assert (halt["state"], halt["rule"]) == ("REDUCING", "REJECT_DAILY_LOSS")
    assert halt["refused"] == int((found.risk["verdict"] == "REJECT_REDUCING").sum()) > 0


def test_a_run_within_its_limits_tells_of_no_halt(tmp_path: Path) -> None:
    found = run(tmp_path, "Stubborn", [100.0] * 5, "research")
    assert found.summary["halts"] == []
    assert not any("halted" in text for text in found.summary["warnings"])


def test_refusals_beyond_the_record_are_counted_and_told(tmp_path: Path) -> None:
    found = run(tmp_path, "Flood", [100.0] * 3, {"max_order_pct": 50})
    counts = found.summary["counts"]
    assert counts["refused"] == 9000
    assert counts["verdicts"] + counts["verdicts_unrecorded"] == 9000
    assert counts["verdicts_unrecorded"] > 0
    text = " ".join(found.summary["warnings"])
    assert f"{counts['verdicts_unrecorded']:,} verdicts of the risk gate are counted without a row" in text
    assert "refused 9,000 requests, mostly by max_order_pct (REJECT_MAX_ORDER_NOTIONAL)" in text
    assert "USDT against a limit of 5,000.00)" in text
    screen = io.StringIO()
    print_run(found, Console(file=screen, width=200))
    assert screen.getvalue().count("REJECT_MAX_ORDER_NOTIONAL") == 2  # In the sentence and in the table, once each.


@pytest.mark.parametrize(
    ("qty", "limits", "said"),
    [
        ("-2", "research", "REJECT_QTY (3; the first had -2 against a limit of"),
        ("0.5", "research", "lie on the instrument's grid, see ctx.round_price and ctx.round_qty"),
        ("7", {"max_order_qty": 5}, "max_order_qty (REJECT_MAX_ORDER_QTY) (3; the first had 7 against a limit of 5)"),
        ("7", {"max_spread_bps": 5}, 'for trades or bars alone set it to "none"'),
        ("7", {"max_position_long_qty": 5}, "(REJECT_MAX_POSITION) (3; the first had 7 against a limit of 5)"),
        ("7", {"max_position_notional": 5}, "the first had 700.00 USDT against a limit of 5.00)"),
    ],
)
def test_a_refusal_is_told_in_natural_units_with_what_to_do(tmp_path: Path, qty: str, limits: Any, said: str) -> None:
    if isinstance(limits, dict):
        limits = {"preset": "research", "max_order_pct": "none", "max_position_pct": "none"} | limits
    assert said in " ".join(run(tmp_path, f"Odd={qty}", [100.0] * 3, limits).summary["warnings"])


def test_positions_that_were_not_sampled_are_null_and_never_zero(tmp_path: Path) -> None:
    found = run(tmp_path, "Stubborn", [100.0] * 5, "research", symbols=10)
    last = found.equity.row(-1, named=True)
    held = {symbol: last[f"position:{symbol}"] for symbol in found.symbols}
    assert held == {f"A{k}": 50.0 for k in range(8)} | {"A8": None, "A9": None}
    assert found.equity["mark:A7"][-1] == 100.0
    assert found.equity["mark:A9"].null_count() == len(found.equity)
    traded = {symbol: found.fills.filter(found.fills["symbol"] == symbol)["qty"].sum() for symbol in found.symbols}
    assert traded == dict.fromkeys(found.symbols, 50.0)
    told = found.summary["warnings"]
    assert len([text for text in told if "of the first 8 instruments only, not of A8, A9" in text]) == 1
    assert [text for text in told if "trades only" in text] == [
        "trades only (A0, A1, A2, A3, A4 and 5 more): both sides are taken to be the last price, without a spread"
    ]
    assert (found.folder / "report.html").exists()


def test_every_limit_is_named_by_some_verdict_of_the_gate() -> None:
    everything = dict.fromkeys([*SPECS, "self_match_prevention", "spot_short_selling"], "1")
    del everything["flatten_collar_bps"]  # Of orders that pass no gate.
    named = [limits_named(name, everything) for name in codes.CODE_NAME.values()]
    orders_of_the_operator = {"flatten_collar_bps"}  # Prices of closing orders, which no gate refuses by it.
    assert {key for text in named if text for key in text.split(" or ")} == set(everything) - orders_of_the_operator


def test_of_two_keys_behind_a_verdict_the_one_that_is_on_is_named() -> None:
    in_force = limits_in_force(research())
    assert limits_named("REJECT_MAX_ORDER_NOTIONAL", in_force) == "max_order_pct"
    assert limits_named("REJECT_OFF_GRID", in_force) == ""
    own = in_force | {"BTCUSDT": {"max_order_notional": "5", "max_order_qty": "none"}}
    assert limits_named("REJECT_MAX_ORDER_NOTIONAL", own) == "max_order_notional or max_order_pct"
    assert limits_named("REJECT_MAX_ORDER_QTY", own) == ""
