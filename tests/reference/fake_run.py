"""A made-up but consistent run: random walks, a strategy that trades them, and every record the loop would hand over."""

from typing import Any

import numpy as np

from twinloop.data.instruments import Instrument
from twinloop.engine.records import FILL, ORDER, RISK, SETTLE_CURRENCY, CodeNames, equity_dtype
from twinloop.engine.results import RunInfo

NAMES = CodeNames(
    order_type={1: "market", 2: "limit"},
    time_in_force={0: "GTC", 1: "IOC"},
    order_state={1: "filled", 2: "cancelled", 3: "rejected"},
    reject_code={7: "post_only_would_cross"},
    verdict={1: "rejected"},
    rule={3: "position_limit", 4: "price_collar"},
)
START_NS = 1_723_075_200_000_000_000
BTC = Instrument(
    symbol="BTCUSDT", venue="binance-usdm", contract="linear", base="BTC", quote="USDT", settle="USDT",
    price_scale=1, qty_scale=3, tick_size=1, lot_size=1, min_qty=1, max_qty=10**9,
    maker_fee=2 * 10**4, taker_fee=5 * 10**4,
)  # fmt: skip
ETH = Instrument(
    symbol="ETHUSDT", venue="binance-usdm", contract="linear", base="ETH", quote="USDT", settle="USDT",
    price_scale=2, qty_scale=3, tick_size=1, lot_size=1, min_qty=1, max_qty=10**9,
    maker_fee=2 * 10**4, taker_fee=5 * 10**4,
)  # fmt: skip
COIN = Instrument(
    symbol="BTCUSD_PERP", venue="binance-coinm", contract="inverse", base="BTC", quote="USD", settle="BTC",
    price_scale=1, qty_scale=0, tick_size=1, lot_size=1, min_qty=1, max_qty=10**9, contract_size=100 * 10**8,
)  # fmt: skip


def info(name: Any = "fake", instruments: Any = (BTC,), strategies: Any = ("maker",), **more: Any) -> Any:
    more.setdefault("account_currency", "USDT")
    return RunInfo(
        name=name,
        instruments=list(instruments),
        strategies=list(strategies),
        seed=7,
        names=NAMES,
        config={"latency_ms": 1.0, "data": {"source": "synthetic"}, "limits_in_force": {"preset": "research"}},
        parameters={"maker": {"spread_bps": 2.0, "size": 0.01}},
        hashes={"code": "c0de" * 16, "data": "da7a" * 16, "config": "c0f1" * 16, "parameters": "9a4a" * 16},
        versions={"twinloop": "0.1.0", "numpy": np.__version__},
        **more,
    )


def records(
    samples: Any = 5000,
    fills: Any = 400,
    span_ns: Any = 86_400 * 10**9,
    instruments: Any = (BTC,),
    strategies: Any = 1,
    seed: Any = 1,
    capital: Any = 100_000.0,
) -> Any:
    """(fills, orders, equity, risk) of a mean-reverting maker on random walks."""
    draw = np.random.Generator(np.random.PCG64(seed))
    count = len(instruments)
    times = START_NS + np.linspace(0, span_ns, samples).astype(np.int64)
    starts = {"BTCUSDT": 617_000, "ETHUSDT": 265_000, "BTCUSD_PERP": 617_000}
    steps = draw.normal(0, 1, (samples, count)) * 4e-4 * np.sqrt(span_ns / samples / (17 * 10**9))
    marks2 = np.stack(
        [
            2 * np.round(starts[i.symbol] * np.exp(np.cumsum(steps[:, n]))).astype(np.int64) + 1
            for n, i in enumerate(instruments)
        ],
        1,
    )
    rows = np.zeros(fills, FILL)
    position = np.zeros((strategies, count), np.int64)
    at = np.sort(draw.choice(np.arange(1, samples), fills, replace=fills >= samples - 1))
    cash = np.zeros(fills + 1)
    held = np.zeros((fills + 1, count))
    for n, sample in enumerate(at):
        strategy, slot = int(draw.integers(strategies)), int(draw.integers(count))
        move = marks2[min(sample + 20, samples - 1), slot] - marks2[sample, slot]
        side = 1 if move + draw.normal(0, 3e-3) * marks2[sample, slot] > 0 else -1
        qty = int(draw.integers(10, 90))
        if abs(position[strategy, slot] + side * qty) > 300:
            side = -int(np.sign(position[strategy, slot]))
        maker = draw.random() < 0.6
        price = int(marks2[sample, slot]) // 2 + (0 if maker and side > 0 else 1 if maker else side)
        position[strategy, slot] += side * qty
        value = price * qty * 10.0 ** (8 - instruments[slot].price_scale - instruments[slot].qty_scale)
        fee = round(value * (instruments[slot].maker_fee if maker else instruments[slot].taker_fee) / 1e8)
        latency = int(draw.gamma(4, 3e5))
        ts = int(times[sample])
        rows[n] = (
            n + 1, ts, ts - 400_000, n + 1, n + 1, price, qty, fee, int(sample) if maker else -1, ts - latency - 600_000,
            ts - 600_000, marks2[sample, slot], position[strategy, slot], 0, 0, slot, strategy,
            side, SETTLE_CURRENCY, maker, b"",
        )  # fmt: skip
        cash[n + 1] = cash[n] - side * value / 1e8 - fee / 1e8
        held[n + 1] = held[n]
        held[n + 1, slot] += side * qty
    step = np.searchsorted(at, np.arange(samples), "right")
    equity = np.zeros(samples, equity_dtype(count))
    scale = np.array([10.0 ** (i.price_scale + i.qty_scale) for i in instruments])
    value = (held[step] * marks2 / 2 / scale).sum(1)
    equity["local_ns"] = times
    equity["cash_int"] = np.round((capital + cash[step]) * 1e8)
    equity["position_value_int"] = np.round(value * 1e8)
    equity["equity_int"] = equity["cash_int"] + equity["position_value_int"]
    equity["position_int"], equity["mark2_int"] = held[step], marks2
    orders = np.zeros(fills + fills // 4, ORDER)
    for n in range(len(orders)):
        fill = rows[min(n, fills - 1)] if fills else None
        if fill is None:
            break
        done = n < fills
        orders[n] = (
            n + 1, fill["decided_ns"], n + 1, fill["price_int"], fill["qty_int"], 0, fill["qty_int"] if done else 0,
            fill["arrived_ns"], fill["arrived_ns"] + 500_000, fill["local_ns"], 0, 0 if done or n % 3 else 7,
            fill["instrument"], fill["strategy"], fill["side"], 2 if fill["maker"] else 1, 0, 1 if done else 2 if n % 3 else 3, b"",
        )  # fmt: skip
    risk = np.zeros(fills // 20, RISK)
    for n in range(len(risk)):
        risk[n] = (n, times[n * 7 % samples], 617_000, 500, 300, 340 + n, 1, 3 if n % 4 else 4, 0, 0, 1)
    return rows, orders, equity, risk
