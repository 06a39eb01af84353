"""One symbol of two venues in one run: told apart by venue everywhere, while a symbol that one venue has needs none."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from reference import fake_run

from twinloop.data.errors import ConfigError
from twinloop.engine.backtest import Backtest
from twinloop.engine.config import load_config
from twinloop.engine.instrument_names import shown_names, slots_by_name, suggestion
from twinloop.engine.planning import describe, make_plan

OTHER = msgspec.structs.replace(fake_run.BTC, venue="x")
STRATEGY = """
import twinloop as tl


class Two(tl.PythonStrategy):
    spot: tl.Symbol = "binance-spot:BTCUSDT"
    perpetual: tl.Symbol = "binance-usdm:BTCUSDT"
    alone: tl.Symbol = "ETHUSDT"

    def on_start(self, ctx):
        ctx.set_timer(1, delay_ns=tl.SECOND)

    def on_timer(self, ctx, timer):
        for number, instrument in enumerate((self.spot, self.perpetual, self.alone), 1):
            ctx.buy(instrument, ctx.round_qty(instrument, 0.01 * number))
"""


def document(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "two.py").write_text(STRATEGY, encoding="utf-8")
    return {
        "instruments": {
            "SPOT": {"like": "binance-spot:BTCUSDT"},
            "PERPETUAL": {"like": "binance-usdm:BTCUSDT"},
            "ETH": {"like": "binance-usdm:ETHUSDT"},
        },
        "data": [{"synth": {"symbols": [name], "duration": "3s"}} for name in ("SPOT", "PERPETUAL", "ETH")],
        "strategy": [{"path": "two.py"}],
        "run": {"name": "two", "cache": str(folder / "cache"), "out": str(folder / "runs")},
    } | more


def plan_of(folder: Path, **more: Any) -> Any:
    file = folder / "run.toml"
    file.write_text("", encoding="utf-8")
    return make_plan(load_config(file, {}, document(folder, **more))).plan


def test_a_shared_symbol_is_shown_with_its_venue() -> None:
    assert shown_names([fake_run.BTC, OTHER, fake_run.ETH]) == ["binance-usdm:BTCUSDT", "x:BTCUSDT", "ETHUSDT"]


def test_a_bare_symbol_means_the_one_instrument_that_has_it() -> None:
    slots = slots_by_name([fake_run.BTC, OTHER, fake_run.ETH])
    assert slots == {"binance-usdm:BTCUSDT": 0, "x:BTCUSDT": 1, "ETHUSDT": 2, fake_run.ETH.key: 2}
    assert suggestion("BTCUSDT", slots) == "several venues have it: write binance-usdm:BTCUSDT or x:BTCUSDT"
    assert suggestion("ETHUSD", slots) == 'did you mean "ETHUSDT"?'


def test_one_symbol_of_two_venues_trades_in_one_run(tmp_path: Path) -> None:
    limits = {
        "instruments": {"binance-spot:BTCUSDT": {"max_order_qty": 0.005}, "binance-usdm:ETHUSDT": {"max_order_qty": 1}}
    }
    table = {"path": "two.py", "symbols": ["binance-spot:BTCUSDT", "ETHUSDT"], "bars": ["1s"]}
    plan = plan_of(tmp_path, limits=limits, strategy=[table])
    assert "rows of binance-spot:BTCUSDT, binance-usdm:BTCUSDT, ETHUSDT," in describe(plan)[0]
    run = Backtest(plan).run()
    names = ["binance-spot:BTCUSDT", "binance-usdm:BTCUSDT", "ETHUSDT"]
    assert run.symbols == names
    assert run.risk["symbol"].to_list() == names[:1]  # Its own limit refused it, and no other.
    assert dict(run.fills.group_by("symbol").agg(pl.col("qty").sum()).iter_rows()) == {names[1]: 0.02, names[2]: 0.03}
    assert f"position:{names[1]}" in run.equity.columns
    assert (run.folder / "report.html").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": [{"path": "two.py", "symbols": ["BTCUSDT"]}]},
        {"strategy": [{"path": "two.py", "parameters": {"spot": "BTCUSDT"}}]},
        {"limits": {"instruments": {"BTCUSDT": {"max_order_qty": 1}}}},
    ],
)
def test_a_symbol_of_two_venues_alone_is_refused_with_what_to_write(tmp_path: Path, more: Any) -> None:
    plan = plan_of(tmp_path, **more)
    with pytest.raises(ConfigError, match="write binance-spot:BTCUSDT or binance-usdm:BTCUSDT"):
        Backtest(plan)


def test_limits_of_an_instrument_under_two_names_are_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, limits={"instruments": {"ETHUSDT": {}, "binance-usdm:ETHUSDT": {}}})
    with pytest.raises(ConfigError, match="limits name an instrument twice"):
        Backtest(plan)
