"""Candles against sums over the trades themselves."""

import random

from twinloop.engine.exchange.candles import INTERVALS, MINUTE_MS, Candles
from twinloop.engine.exchange.model import Trade


def test_a_candle_is_the_sum_of_its_trades() -> None:
    draw, candles, trades = random.Random(5), Candles(), []
    now_ms = 1_700_000_000_000
    for number in range(1, 3000):
        now_ms += draw.randrange(1, 2000) if number % 500 else 10 * MINUTE_MS
        price, qty = 600_000 + draw.randrange(-50, 51), draw.randrange(1, 100)
        trades.append(Trade(number, price, qty, price * qty * 10**4, draw.random() < 0.5, now_ms))
        candles.add(trades[-1])
    for minutes in INTERVALS.values():
        step_ms = minutes * MINUTE_MS
        found = candles.of(minutes, 1500)
        assert [each.open_ms for each in found] == [*range(found[0].open_ms, now_ms + 1, step_ms)]
        close = 0
        for candle in found:
            its = [each for each in trades if candle.open_ms <= each.time_ms < candle.open_ms + step_ms]
            assert (candle.qty, candle.value, candle.trades) == (
                sum(each.qty for each in its), sum(each.value for each in its), len(its),
            )  # fmt: skip
            bought = [each for each in its if not each.buyer_is_maker]
            assert candle.bought_value == sum(each.value for each in bought)
            assert candle.bought_qty == sum(each.qty for each in bought)
            if its:
                assert (candle.open, candle.close) == (its[0].price, its[-1].price)
                assert (candle.high, candle.low) == (max(each.price for each in its), min(each.price for each in its))
                assert (candle.first_id, candle.last_id) == (its[0].id, its[-1].id)
            else:
                assert candle.open == candle.high == candle.low == candle.close == close
            close = candle.close
    assert len(candles.of(1, 7)) == 7


def test_old_minutes_are_let_go_of() -> None:
    candles = Candles(count_max=1500)
    for number in range(2000):
        candles.add(Trade(number, 100, 1, 100, False, number * MINUTE_MS))
    assert len(candles.minutes) == 1500
    candles.add(Trade(2001, 100, 1, 100, False, 9_000_000 * MINUTE_MS))
    assert len(candles.minutes) == 1500
