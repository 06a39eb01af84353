"""Calls about the market that need no key: what is asked, and the answer."""

from typing import Any

from twinloop.engine.exchange import decimals, market_text, rules_text, symbols
from twinloop.engine.exchange.candles import INTERVALS
from twinloop.engine.exchange.core import TRADES_MAX, Exchange
from twinloop.engine.exchange.ledger import BURNT, MARGIN
from twinloop.engine.exchange.model import Account, VenueError
from twinloop.engine.exchange.parameters import Parameters, need, whole


def ping(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ping."""
    del exchange, account, parameters
    return {}


def time(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET time."""
    del account, parameters
    return {"serverTime": exchange.now_ms}


def info(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET exchangeInfo."""
    del account
    found = rules_text.rules(exchange)
    if parameters.get("symbol"):
        exchange.state(parameters["symbol"])
        found["symbols"] = [each for each in found["symbols"] if each["symbol"] == parameters["symbol"]]
    return found


def depth(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET depth."""
    del account
    limit = whole(parameters, "limit", 100)
    return market_text.depth(exchange.state(need(parameters, "symbol")), min(limit, 5000), exchange.now_ms)


def recent(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET trades."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    limit = min(whole(parameters, "limit", 500), TRADES_MAX)
    return [market_text.past_trade(state.symbol, each) for each in state.trades[-limit:]]


def aggregated(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET aggTrades."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    limit = min(whole(parameters, "limit", 500), TRADES_MAX)
    if parameters.get("fromId"):
        first = whole(parameters, "fromId")
        found = [each for each in state.trades if each.id >= first][:limit]
    elif parameters.get("startTime") or parameters.get("endTime"):
        first_ms, last_ms = whole(parameters, "startTime"), whole(parameters, "endTime", exchange.now_ms)
        found = [each for each in state.trades if first_ms <= each.time_ms <= last_ms][:limit]
    else:
        found = state.trades[-limit:]
    return [market_text.aggregated(state.symbol, each) for each in found]


def _each(exchange: Exchange, parameters: Parameters) -> list[str]:
    """The symbol that is asked for, or all."""
    name = parameters.get("symbol")
    return [exchange.state(name).symbol.name] if name else [*exchange.markets]


def _one_or_all(exchange: Exchange, found: list[Any], parameters: Parameters) -> Any:
    return found[0] if parameters.get("symbol") and exchange.market != "coinm" else found


def last(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ticker/price."""
    del account
    time_told = {"time": exchange.now_ms} if exchange.market != "spot" else {}
    burnt = BURNT + MARGIN
    if parameters.get("symbol") == burnt and burnt not in exchange.markets and exchange.market != "coinm":
        # Fees are paid in it, whether or not it is traded here: what it is worth is told as the venue does.
        rules = symbols.symbol(burnt, exchange.market)
        worth = exchange.ledger.burnt_price // 10 ** (8 - rules.price_scale)
        return {"symbol": burnt, "price": decimals.price(rules, worth)} | time_told
    found = []
    for name in _each(exchange, parameters):
        state = exchange.markets[name]
        pair = {"ps": state.symbol.pair} if exchange.market == "coinm" else {}
        found.append({"symbol": name, **pair, "price": decimals.price(state.symbol, state.last_price)} | time_told)
    return _one_or_all(exchange, found, parameters)


def day(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ticker/24hr."""
    del account
    return _one_or_all(exchange, [market_text.day(exchange, name) for name in _each(exchange, parameters)], parameters)


def average(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET avgPrice."""
    del account
    return market_text.average(exchange.state(need(parameters, "symbol")), exchange.now_ms)


def klines(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET klines."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    interval = need(parameters, "interval")
    candles, steps = state.candles, INTERVALS.get(interval)
    if interval == "1s" and exchange.market == "spot":
        candles, steps = state.seconds, 1
    if steps is None:
        raise VenueError(-1120, "Invalid interval.")
    candles.fill_up((exchange.now_ms // candles.step_ms + 1) * candles.step_ms)
    limit = min(whole(parameters, "limit", 500), 1000 if exchange.market == "spot" else 1500)
    first_ms = whole(parameters, "startTime")
    if first_ms:
        found = candles.since(steps, limit, first_ms, whole(parameters, "endTime", exchange.now_ms))
    else:
        found = candles.of(steps, limit)
    return [market_text.candle(state.symbol, each, steps * candles.step_ms) for each in found]


def top(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET ticker/bookTicker."""
    del account
    state = exchange.state(need(parameters, "symbol"))
    symbol, (bid, bid_qty, ask, ask_qty) = state.symbol, state.shown_top
    told = {
        "symbol": symbol.name, "bidPrice": decimals.price(symbol, bid), "bidQty": decimals.qty(symbol, bid_qty), "askPrice": decimals.price(symbol, ask),
        "askQty": decimals.qty(symbol, ask_qty),
    } | ({"time": exchange.now_ms} if exchange.market != "spot" else {})  # fmt: skip
    return [told | {"pair": symbol.pair}] if exchange.market == "coinm" else told


def premium(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET premiumIndex."""
    del account
    return market_text.premium(exchange, exchange.state(need(parameters, "symbol")).symbol.name)
