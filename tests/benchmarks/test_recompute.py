"""The independent recomputation of a run's money: it agrees with the engine's portfolio, and it notices one wrong unit."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from twinloop.data.instruments import Instrument, preset
from twinloop.engine.records import FILL, SETTLE_CURRENCY, equity_dtype
from twinloop.engine.results import RunInfo, RunWriter
from twinloop.kernels import money, portfolio

MARKETS = [("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP"), ("binance-spot", "BTCUSDT")]
CAPITAL = 10**13
FILLS = 200


@pytest.fixture(scope="module")
def recompute() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "bars" / "recompute.py"
    spec = importlib.util.spec_from_file_location("recompute", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trade(instrument: Instrument, seed: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Random fills through the engine's portfolio, with the records a run keeps of them."""
    base = 1 if instrument.contract == "spot" else money.NO_CURRENCY
    scales = (instrument.price_scale, instrument.qty_scale, instrument.contract_size)
    rule = money.money_rule(instrument.contract, *scales, 0, base)
    draw = random.Random(seed)
    own, account = np.zeros(1, portfolio.POSITION), np.zeros(1, portfolio.POSITION)
    ledgers = np.zeros(2, portfolio.CASH)
    ledgers[0]["balance"] = ledgers[0]["start"] = CAPITAL
    fills = np.zeros(FILLS, FILL)
    price = 60_000 * 10**instrument.price_scale
    for i in range(FILLS):
        price += draw.randint(-50, 50)
        held = int(own[0]["qty"]) // instrument.lot_size
        side = draw.choice((1, -1)) if abs(held) < 50 else -1 if held > 0 else 1
        qty, maker = draw.randint(1, 20) * instrument.lot_size, draw.random() < 0.5
        value, _ = money.position_value(rule, side * qty, price)
        fee, _ = money.fee_on(abs(int(value)), instrument.maker_fee if maker else instrument.taker_fee)
        realised, _, status = portfolio.book_fill(own[0], account[0], ledgers, rule, side, price, qty, int(fee), 0, i)
        assert status == money.OK
        kept = {
            "sequence": i, "local_ns": i + 1, "venue_ns": i, "order_id": i, "price_int": price, "qty_int": qty, "fee_int": fee,
            "side": side, "maker": maker, "position_after_int": own[0]["qty"], "realised_int": realised,
            "fee_currency": SETTLE_CURRENCY, "cause_id": -1,
        }  # fmt: skip
        for name, content in kept.items():
            fills[i][name] = content
    unrealised, _ = portfolio.unrealised(account[0], rule, price)
    equity = np.zeros(1, equity_dtype(1))
    equity[0]["local_ns"] = FILLS + 1
    equity[0]["cash_int"] = ledgers[0]["balance"]
    equity[0]["equity_int"] = int(ledgers[0]["balance"]) + int(unrealised)
    equity[0]["position_int"] = account[0]["qty"]
    equity[0]["mark2_int"] = 2 * price
    return fills, equity


def write(folder: Path, instrument: Instrument, fills: npt.NDArray[np.void], equity: npt.NDArray[np.void]) -> Path:
    info = RunInfo(
        name="run",
        instruments=[instrument],
        strategies=["one"],
        account_currency=instrument.settle,
        seed=1,
        capital_int=CAPITAL,
    )
    with RunWriter(folder, info) as writer:
        writer.append(fills=fills, equity=equity)
        writer.finish(report=False, bootstrap_resamples=10)
    return folder


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market[0])
def test_recomputed_money_is_the_portfolios(recompute: ModuleType, tmp_path: Path, market: tuple[str, str]) -> None:
    instrument = preset(*market)
    found = recompute.recompute(write(tmp_path, instrument, *trade(instrument, 3)))
    assert found["wrong"] == []
    assert found["fills"] == FILLS
    assert found["cash_compared"]
    assert found["long"]
    assert found["short"]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market[0])
@pytest.mark.parametrize("name", ["fee_int", "realised_int", "position_after_int", "price_int", "qty_int"])
def test_one_wrong_unit_is_noticed(recompute: ModuleType, tmp_path: Path, market: tuple[str, str], name: str) -> None:
    instrument = preset(*market)
    fills, equity = trade(instrument, 4)
    if name == "price_int" and instrument.contract == "inverse":
        fills[100][name] += 1000  # one tick of 0.1 at 60,000 is less than half a unit of BTC
    else:
        fills[100][name] += 1
    assert recompute.recompute(write(tmp_path, instrument, fills, equity))["wrong"]
