"""Books, trades, quotes and candles as JSON objects, of both markets."""

from typing import Any, Final

from twinloop.engine.exchange.candles import Candle
from twinloop.engine.exchange.core import FUNDING_MS, FUNDING_PPM, Exchange, MarketState
from twinloop.engine.exchange.decimals import decimal, money, price, qty
from twinloop.engine.exchange.model import Trade
from twinloop.engine.exchange.symbols import Symbol


def levels(symbol: Symbol, found: list[tuple[int, int]]) -> list[list[str]]:
    """Levels of a book."""
    return [[price(symbol, each), qty(symbol, amount)] for each, amount in found]


def depth(state: MarketState, limit: int, now_ms: int) -> dict[str, Any]:
    """A snapshot of the book."""
    found: dict[str, Any] = {"lastUpdateId": state.update_id}
    if state.symbol.market != "spot":
        found |= {"E": now_ms, "T": now_ms}
    if state.symbol.market == "coinm":
        found |= {"symbol": state.symbol.name, "pair": state.symbol.pair}
    return found | {
        "bids": levels(state.symbol, state.book.levels(1, limit)), "asks": levels(state.symbol, state.book.levels(-1, limit)),
    }  # fmt: skip


def depth_update(
    symbol: Symbol, now_ms: int, first: int, final: int, previous: int, changed: dict[tuple[int, int], int]
) -> dict[str, Any]:
    """DepthUpdate."""
    sides = {
        side: levels(symbol, [(at, amount) for (its, at), amount in changed.items() if its == side]) for side in (1, -1)
    }
    found: dict[str, Any] = {"e": "depthUpdate", "E": now_ms}
    if symbol.market != "spot":
        found["T"] = now_ms
    found |= _named(symbol) | {"U": first, "u": final}
    if symbol.market != "spot":
        found["pu"] = previous
    return found | {"b": sides[1], "a": sides[-1]}


def _named(symbol: Symbol) -> dict[str, Any]:
    """Whose a message is; COIN-M says the pair beside the symbol."""
    return {"s": symbol.name} | ({"ps": symbol.pair} if symbol.market == "coinm" else {})


def trade(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """The trade stream."""
    found = {
        "e": "trade", "E": its.time_ms, "T": its.time_ms, "s": symbol.name, "t": its.id, "p": price(symbol, its.price), "q": qty(symbol, its.qty),
    }  # fmt: skip
    return (
        found
        | ({"X": "MARKET"} if symbol.market != "spot" else {})
        | {"m": its.buyer_is_maker}
        | ({"M": True} if symbol.market == "spot" else {})
    )


def agg_trade(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """The aggTrade stream; every trade stands alone here."""
    return {
        "e": "aggTrade", "E": its.time_ms, "a": its.id, "s": symbol.name, "p": price(symbol, its.price), "q": qty(symbol, its.qty),
        "f": its.id, "l": its.id, "T": its.time_ms, "m": its.buyer_is_maker,
    } | ({"M": True} if symbol.market == "spot" else {})  # fmt: skip


def book_ticker(symbol: Symbol, update_id: int, top: tuple[int, int, int, int], now_ms: int) -> dict[str, Any]:
    """The bookTicker stream."""
    bid, bid_qty, ask, ask_qty = top
    found = {
        "u": update_id, **_named(symbol), "b": price(symbol, bid), "B": qty(symbol, bid_qty), "a": price(symbol, ask), "A": qty(symbol, ask_qty),
    }  # fmt: skip
    return ({"e": "bookTicker"} | found | {"T": now_ms, "E": now_ms}) if symbol.market != "spot" else found


def past_trade(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """One of the recent trades."""
    return {
        "id": its.id, "price": price(symbol, its.price), "qty": qty(symbol, its.qty),
        ("quoteQty" if symbol.market != "coinm" else "baseQty"): money(its.value), "time": its.time_ms, "isBuyerMaker": its.buyer_is_maker,
    } | ({"isBestMatch": True} if symbol.market == "spot" else {})  # fmt: skip


def candle(symbol: Symbol, its: Candle, step_ms: int) -> list[Any]:
    """One of klines."""
    prices = (price(symbol, each) for each in (its.open, its.high, its.low, its.close))
    return [
        its.open_ms, *prices, qty(symbol, its.qty), its.open_ms + step_ms - 1, money(its.value), its.trades, qty(symbol, its.bought_qty),
        money(its.bought_value), "0",
    ]  # fmt: skip


def mark(exchange: Exchange, name: str) -> dict[str, Any]:
    """The markPrice stream."""
    told = price(exchange.markets[name].symbol, exchange.mark_price(name))
    return {
        "e": "markPriceUpdate", "E": exchange.now_ms, "s": name, "p": told, "i": told, "P": told, "r": decimal(FUNDING_PPM, 6) + "00",
        "T": next_funding_ms(exchange), "st": 1,
    }  # fmt: skip


def premium(exchange: Exchange, name: str) -> dict[str, Any]:
    """Mark price and funding of a symbol, asked for."""
    told = price(exchange.markets[name].symbol, exchange.mark_price(name))
    return {
        "symbol": name, "markPrice": told, "indexPrice": told, "estimatedSettlePrice": told, "lastFundingRate": decimal(FUNDING_PPM, 6) + "00",
        "interestRate": decimal(FUNDING_PPM, 6) + "00", "nextFundingTime": next_funding_ms(exchange), "time": exchange.now_ms,
    }  # fmt: skip


def next_funding_ms(exchange: Exchange) -> int:
    """When funding is paid next."""
    return (exchange.now_ms // FUNDING_MS + 1) * FUNDING_MS


def candle_event(
    symbol: Symbol, its: Candle, interval: str, step_ms: int, now_ms: int, *, closed: bool
) -> dict[str, Any]:
    """The kline stream."""
    return {
        "e": "kline", "E": now_ms, "s": symbol.name,
        "k": {
            "t": its.open_ms, "T": its.open_ms + step_ms - 1, "s": symbol.name, "i": interval, "f": its.first_id, "L": its.last_id,
            "o": price(symbol, its.open), "c": price(symbol, its.close), "h": price(symbol, its.high), "l": price(symbol, its.low),
            "v": qty(symbol, its.qty), "n": its.trades, "x": closed, "q": money(its.value), "V": qty(symbol, its.bought_qty),
            "Q": money(its.bought_value), "B": "0",
        },
    }  # fmt: skip


def day(exchange: Exchange, name: str) -> dict[str, Any]:
    """What the last 24 hours were, as an answer."""
    state = exchange.markets[name]
    symbol, its, bid_ask = state.symbol, state.candles.day() or _still(state, exchange.now_ms), state.shown_top
    change = its.close - its.open
    found = {
        "symbol": name, "priceChange": price(symbol, change), "priceChangePercent": _percent(change, its.open),
        "weightedAvgPrice": price(symbol, _average(symbol, its)), "lastPrice": price(symbol, its.close),
        "lastQty": qty(symbol, state.trades[-1].qty if state.trades else 0), "openPrice": price(symbol, its.open),
        "highPrice": price(symbol, its.high), "lowPrice": price(symbol, its.low), "volume": qty(symbol, its.qty),
        "quoteVolume": money(its.value), "openTime": its.open_ms, "closeTime": exchange.now_ms, "firstId": its.first_id, "lastId": its.last_id,
        "count": its.trades,
    }  # fmt: skip
    if symbol.market == "coinm":
        found["baseVolume"] = found.pop("quoteVolume")
    if symbol.market != "spot":
        return found
    bid, bid_qty, ask, ask_qty = bid_ask
    return found | {
        "prevClosePrice": price(symbol, its.open), "bidPrice": price(symbol, bid), "bidQty": qty(symbol, bid_qty),
        "askPrice": price(symbol, ask), "askQty": qty(symbol, ask_qty),
    }  # fmt: skip


_DAY_NAMES: Final = {
    "priceChange": "p", "priceChangePercent": "P", "weightedAvgPrice": "w", "lastPrice": "c", "lastQty": "Q", "openPrice": "o",
    "highPrice": "h", "lowPrice": "l", "volume": "v", "quoteVolume": "q", "baseVolume": "q", "openTime": "O", "closeTime": "C", "firstId": "F", "lastId": "L",
    "count": "n", "prevClosePrice": "x", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A",
}  # fmt: skip


def day_event(exchange: Exchange, name: str) -> dict[str, Any]:
    """The ticker stream: the same, in short."""
    told = {_DAY_NAMES[long]: value for long, value in day(exchange, name).items() if long in _DAY_NAMES}
    usdm = {"st": 1} if exchange.market == "usdm" else {}
    return {"e": "24hrTicker", "E": exchange.now_ms, "s": name} | told | usdm


def _still(state: MarketState, now_ms: int) -> Candle:
    return Candle(now_ms, *[state.last_price] * 4)


def _average(symbol: Symbol, its: Candle) -> int:
    """By volume; of COIN-M the harmonic one."""
    if symbol.contract_size:
        return symbol.value(its.value, its.qty) if its.value else its.close  # The same division the other way round.
    return its.value // symbol.value(1, its.qty) if its.qty else its.close


def average(state: MarketState, now_ms: int) -> dict[str, Any]:
    """The average price of the last five minutes."""
    found = state.candles.of(5, 1) or [_still(state, now_ms)]
    return {"mins": 5, "price": price(state.symbol, _average(state.symbol, found[-1])), "closeTime": now_ms}


def _percent(change: int, of: int) -> str:
    """Three places, towards zero."""
    thousandths = abs(change) * 100_000 // of
    return ("-" if change < 0 and thousandths else "") + decimal(thousandths, 3)


def aggregated(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """One of aggTrades; every trade stands alone here."""
    event = agg_trade(symbol, its)
    return {name: event[name] for name in ("a", "p", "q", "f", "l", "T", "m")} | (
        {"M": True} if symbol.market == "spot" else {}
    )
