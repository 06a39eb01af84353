"""The venue's words: orders, fills, accounts and events as the JSON objects that Binance's documentation of 2026 describes.

Numbers become decimal text here and nowhere else. Key sets and types are held to recorded messages by a test.
"""

from typing import Any, Final

from twinloop.engine.exchange.candles import Candle
from twinloop.engine.exchange.conditional import Algo
from twinloop.engine.exchange.core import Exchange, MarketState
from twinloop.engine.exchange.model import (
    BUY,
    MONEY,
    Account,
    AlgoChanged,
    Fill,
    Order,
    OrderChanged,
    Position,
    Symbol,
    Trade,
)

SIDE: Final = {1: "BUY", -1: "SELL"}
_STP: Final = "EXPIRE_MAKER"


def decimal(value: int, scale: int) -> str:
    """A scaled integer as decimal text with all its places."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def money(value: int) -> str:
    """1e-8 units as decimal text."""
    return decimal(value, 8)


def price(symbol: Symbol, value: int) -> str:
    """A price."""
    return decimal(value, symbol.price_scale)


def qty(symbol: Symbol, value: int) -> str:
    """A quantity."""
    return decimal(value, symbol.qty_scale)


def scaled(text: str, scale: int) -> int:
    """A decimal text as a scaled integer. ValueError for what is none, or has more places than the scale."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not whole.isascii() or len(whole) + len(fraction) > 20:
        raise ValueError(text)
    if len(fraction.rstrip("0")) > scale:
        raise OverflowError(text)
    unit: int = 10**scale
    return int(whole) * unit + int((fraction + "0" * scale)[:scale] or "0")


def average(order: Order) -> str:
    """Average price of what was filled."""
    if not order.filled:
        return "0.00"
    symbol = order.symbol
    units = order.quote * 10 ** (symbol.qty_scale + symbol.price_scale) // (order.filled * MONEY)
    return price(symbol, units)


# ---- Spot.


def spot_order(order: Order) -> dict[str, Any]:
    """Answer to a query of an order."""
    symbol = order.symbol
    return {
        "symbol": symbol.name, "orderId": order.id, "orderListId": -1, "clientOrderId": order.client_id,
        "price": price(symbol, order.price), "origQty": qty(symbol, order.qty), "executedQty": qty(symbol, order.filled),
        "cummulativeQuoteQty": money(order.quote), "status": order.status, "timeInForce": _force(order), "type": order.type,
        "side": SIDE[order.side], "stopPrice": price(symbol, order.stop_price), "icebergQty": qty(symbol, 0), "time": order.time_ms,
        "updateTime": order.update_ms, "isWorking": order.triggered, "workingTime": order.time_ms if order.triggered else -1,
        "origQuoteOrderQty": "0.00000000", "selfTradePreventionMode": _STP,
    }  # fmt: skip


def _force(order: Order) -> str:
    return "GTC" if order.type == "LIMIT_MAKER" else order.time_in_force


def spot_placed(order: Order, fills: list[Fill]) -> dict[str, Any]:
    """Answer to a new order, newOrderRespType FULL."""
    symbol = order.symbol
    return {
        "symbol": symbol.name, "orderId": order.id, "orderListId": -1, "clientOrderId": order.client_id,
        "transactTime": order.time_ms, "price": price(symbol, order.price), "origQty": qty(symbol, order.qty),
        "executedQty": qty(symbol, order.filled), "origQuoteOrderQty": "0.00000000", "cummulativeQuoteQty": money(order.quote),
        "status": order.status, "timeInForce": _force(order), "type": order.type, "side": SIDE[order.side],
        "workingTime": order.time_ms if order.triggered else -1, "selfTradePreventionMode": _STP,
        "fills": [
            {
                "price": price(symbol, each.price), "qty": qty(symbol, each.qty), "commission": money(each.fee),
                "commissionAsset": each.fee_asset, "tradeId": each.trade_id,
            }
            for each in fills
        ],
    }  # fmt: skip


def spot_canceled(order: Order, cancel_id: str) -> dict[str, Any]:
    """Answer to a cancel."""
    symbol = order.symbol
    return {
        "symbol": symbol.name, "origClientOrderId": order.client_id, "orderId": order.id, "orderListId": -1,
        "clientOrderId": cancel_id, "transactTime": order.update_ms, "price": price(symbol, order.price),
        "origQty": qty(symbol, order.qty), "executedQty": qty(symbol, order.filled), "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": money(order.quote), "status": order.status, "timeInForce": _force(order), "type": order.type,
        "side": SIDE[order.side], "selfTradePreventionMode": _STP,
    }  # fmt: skip


def spot_trade(fill: Fill) -> dict[str, Any]:
    """One of myTrades."""
    symbol = fill.order.symbol
    return {
        "symbol": symbol.name, "id": fill.trade_id, "orderId": fill.order.id, "orderListId": -1, "price": price(symbol, fill.price),
        "qty": qty(symbol, fill.qty), "quoteQty": money(fill.value), "commission": money(fill.fee), "commissionAsset": fill.fee_asset,
        "time": fill.time_ms, "isBuyer": fill.order.side == BUY, "isMaker": fill.maker, "isBestMatch": True,
    }  # fmt: skip


def spot_account(account: Account, now_ms: int) -> dict[str, Any]:
    """The account."""
    return {
        "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True, "canWithdraw": False, "canDeposit": False, "brokered": False, "requireSelfTradePrevention": False,
        "preventSor": False, "updateTime": now_ms, "accountType": "SPOT",
        "balances": [{"asset": asset, "free": money(held[0]), "locked": money(held[1])} for asset, held in account.balances.items()],
        "permissions": ["SPOT"], "uid": 1,
    }  # fmt: skip


def spot_report(event: OrderChanged, cancel_id: str = "") -> dict[str, Any]:
    """ExecutionReport."""
    order = event.order
    fill = event.fill
    symbol = order.symbol
    canceled = event.execution == "CANCELED"
    return {
        "e": "executionReport", "E": event.time_ms, "s": symbol.name, "c": cancel_id or f"c-{order.id}" if canceled else order.client_id,
        "S": SIDE[order.side], "o": order.type, "f": _force(order), "q": qty(symbol, order.qty), "p": price(symbol, order.price),
        "P": price(symbol, order.stop_price), "F": qty(symbol, 0), "g": -1, "C": order.client_id if canceled else "",
        "x": event.execution if event.execution != "AMENDMENT" else "REPLACED", "X": event.status, "r": "NONE",
        "i": order.id, "l": qty(symbol, fill.qty if fill else 0), "z": qty(symbol, event.filled),
        "L": price(symbol, fill.price if fill else 0), "n": money(fill.fee if fill else 0), "N": fill.fee_asset if fill else None,
        "T": event.time_ms, "t": fill.trade_id if fill else -1, "I": order.id, "w": order.status in {"NEW", "PARTIALLY_FILLED"},
        "m": bool(fill and fill.maker), "M": False, "O": order.time_ms, "Z": money(event.quote),
        "Y": money(fill.value if fill else 0), "Q": "0.00000000", "W": order.time_ms, "V": _STP,
    }  # fmt: skip


def spot_balances(account: Account, now_ms: int) -> dict[str, Any]:
    """OutboundAccountPosition."""
    return {
        "e": "outboundAccountPosition", "E": now_ms, "u": now_ms,
        "B": [{"a": asset, "f": money(held[0]), "l": money(held[1])} for asset, held in account.balances.items()],
    }  # fmt: skip


# ---- USD-M.


def usdm_order(order: Order) -> dict[str, Any]:
    """Answer to a new order, a query, a change or a cancel."""
    symbol = order.symbol
    return {
        "orderId": order.id, "symbol": symbol.name, "status": order.status, "clientOrderId": order.client_id,
        "price": price(symbol, order.price), "avgPrice": average(order), "origQty": qty(symbol, order.qty),
        "executedQty": qty(symbol, order.filled), "cumQuote": money(order.quote), "cumQty": qty(symbol, order.filled),
        "timeInForce": order.time_in_force, "type": order.type, "reduceOnly": order.reduce_only, "closePosition": False,
        "side": SIDE[order.side], "positionSide": "BOTH", "stopPrice": price(symbol, order.stop_price), "workingType": "CONTRACT_PRICE",
        "priceProtect": False, "origType": order.origin or order.type, "priceMatch": "NONE", "selfTradePreventionMode": _STP,
        "goodTillDate": order.expire_ms, "time": order.time_ms, "updateTime": order.update_ms,
    }  # fmt: skip


def usdm_trade(fill: Fill) -> dict[str, Any]:
    """One of userTrades."""
    symbol = fill.order.symbol
    return {
        "symbol": symbol.name, "id": fill.trade_id, "orderId": fill.order.id, "side": SIDE[fill.order.side],
        "price": price(symbol, fill.price), "qty": qty(symbol, fill.qty), "realizedPnl": money(fill.realised),
        "quoteQty": money(fill.value), "commission": money(fill.fee), "commissionAsset": fill.fee_asset, "time": fill.time_ms,
        "positionSide": "BOTH", "buyer": fill.order.side == BUY, "maker": fill.maker,
    }  # fmt: skip


def usdm_position(exchange: Exchange, account: Account, name: str) -> dict[str, Any]:
    """One of positionRisk."""
    symbol, held = exchange.markets[name].symbol, account.positions.get(name, Position())
    mark = exchange.mark_price(name)
    return {
        "symbol": name, "positionAmt": qty(symbol, held.qty), "entryPrice": _entry(symbol, held), "breakEvenPrice": _entry(symbol, held),
        "markPrice": price(symbol, mark), "unRealizedProfit": money(exchange.unrealised(account, name)), "liquidationPrice": "0",
        "leverage": str(account.leverage), "maxNotionalValue": "100000000", "marginType": "cross", "isolatedMargin": "0.00000000",
        "isAutoAddMargin": "false", "positionSide": "BOTH", "notional": money(symbol.value(mark, held.qty)), "isolatedWallet": "0",
        "updateTime": exchange.now_ms,
    }  # fmt: skip


def _entry(symbol: Symbol, held: Position) -> str:
    if not held.qty:
        return "0.0"
    return price(symbol, held.cost * 10 ** (symbol.qty_scale + symbol.price_scale) // (held.qty * MONEY))


def usdm_account(exchange: Exchange, account: Account) -> dict[str, Any]:
    """The account."""
    wallet = account.balances["USDT"][0]
    open_pnl = sum(exchange.unrealised(account, name) for name in exchange.markets)
    margin = exchange.margin(account)
    free = max(wallet + open_pnl - margin, 0)
    amounts = {
        "walletBalance": wallet, "unrealizedProfit": open_pnl, "marginBalance": wallet + open_pnl, "maintMargin": margin // 2,
        "initialMargin": margin, "positionInitialMargin": margin, "openOrderInitialMargin": 0, "crossWalletBalance": wallet,
        "crossUnPnl": open_pnl, "availableBalance": free, "maxWithdrawAmount": free,
    }  # fmt: skip
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "updateTime": exchange.now_ms, "multiAssetsMargin": False,
        "tradeGroupId": -1, "totalInitialMargin": money(margin), "totalMaintMargin": money(margin // 2), "totalWalletBalance": money(wallet),
        "totalUnrealizedProfit": money(open_pnl), "totalMarginBalance": money(wallet + open_pnl), "totalPositionInitialMargin": money(margin),
        "totalOpenOrderInitialMargin": "0.00000000", "totalCrossWalletBalance": money(wallet), "totalCrossUnPnl": money(open_pnl),
        "availableBalance": money(free), "maxWithdrawAmount": money(free),
        "assets": [
            {"asset": "USDT"} | {name: money(amount) for name, amount in amounts.items()} | {"marginAvailable": True, "updateTime": exchange.now_ms}
        ],
        "positions": [
            {
                "symbol": name, "initialMargin": "0", "maintMargin": "0", "unrealizedProfit": money(exchange.unrealised(account, name)),
                "positionInitialMargin": "0", "openOrderInitialMargin": "0", "leverage": str(account.leverage), "isolated": False,
                "entryPrice": _entry(state.symbol, account.positions.get(name, Position())), "maxNotional": "100000000", "bidNotional": "0",
                "askNotional": "0", "positionSide": "BOTH",
                "positionAmt": qty(state.symbol, account.positions.get(name, Position()).qty), "updateTime": exchange.now_ms,
            }
            for name, state in exchange.markets.items()
        ],
    }  # fmt: skip


def algo_placed(algo: Algo) -> dict[str, Any]:
    """Answer to a new conditional order."""
    symbol = algo.symbol
    return {
        "algoId": algo.id, "clientAlgoId": algo.client_id, "algoType": "CONDITIONAL", "orderType": algo.type, "symbol": symbol.name,
        "side": SIDE[algo.side], "positionSide": "BOTH", "timeInForce": algo.time_in_force, "quantity": qty(symbol, algo.qty),
        "algoStatus": algo.status, "triggerPrice": price(symbol, algo.stop_price), "price": price(symbol, algo.price),
        "icebergQuantity": None, "selfTradePreventionMode": _STP, "workingType": algo.working_type, "priceMatch": "NONE",
        "closePosition": algo.close_position, "priceProtect": False, "reduceOnly": algo.reduce_only, "activatePrice": "", "callbackRate": "",
        "createTime": algo.time_ms, "updateTime": algo.update_ms, "triggerTime": algo.trigger_ms, "goodTillDate": algo.expire_ms,
    }  # fmt: skip


def algo_order(algo: Algo) -> dict[str, Any]:
    """Answer to a query of a conditional order, alone or in a list: with the order that it became."""
    actual = algo.actual
    return algo_placed(algo) | {
        "type": algo.type, "actualOrderId": str(actual.id) if actual else "", "actualPrice": average(actual) if actual else "0.00000",
        "actualType": actual.type if actual else "", "actualQty": qty(algo.symbol, actual.filled) if actual else "0",
        "tpTriggerPrice": "0.000", "tpPrice": "0.000", "slTriggerPrice": "0.000", "slPrice": "0.000", "tpOrderType": "",
    }  # fmt: skip


def algo_update(event: AlgoChanged) -> dict[str, Any]:
    """ALGO_UPDATE."""
    algo, symbol = event.algo, event.symbol
    actual = algo.actual
    return {
        "e": "ALGO_UPDATE", "T": event.time_ms, "E": event.time_ms,
        "o": {
            "caid": algo.client_id, "aid": algo.id, "at": "CONDITIONAL", "o": algo.type, "s": symbol.name, "S": SIDE[algo.side], "ps": "BOTH",
            "f": algo.time_in_force, "q": qty(symbol, algo.qty), "X": event.status, "ai": str(actual.id) if actual else "",
            "ap": average(actual) if actual else "0.00000", "aq": qty(symbol, actual.filled) if actual else "0.00000",
            "act": actual.type if actual else "0", "tp": price(symbol, algo.stop_price), "p": price(symbol, algo.price), "V": _STP,
            "wt": algo.working_type, "pm": "NONE", "cp": algo.close_position, "pP": False, "R": algo.reduce_only, "tt": algo.trigger_ms,
            "gtd": algo.expire_ms, "rm": event.reason,
        },
    }  # fmt: skip


def usdm_report(event: OrderChanged) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE."""
    order = event.order
    fill = event.fill
    symbol = order.symbol
    return {
        "e": "ORDER_TRADE_UPDATE", "T": event.time_ms, "E": event.time_ms,
        "o": {
            "s": symbol.name, "c": order.client_id, "S": SIDE[order.side], "o": order.type, "f": order.time_in_force, "q": qty(symbol, order.qty),
            "p": price(symbol, order.price), "ap": average(order), "sp": price(symbol, order.stop_price), "x": event.execution,
            "X": event.status, "i": order.id, "l": qty(symbol, fill.qty if fill else 0), "z": qty(symbol, event.filled),
            "L": price(symbol, fill.price if fill else 0), "N": "USDT", "n": money(fill.fee if fill else 0), "T": event.time_ms,
            "t": fill.trade_id if fill else 0, "b": "0", "a": "0", "m": bool(fill and fill.maker), "R": order.reduce_only,
            "wt": "CONTRACT_PRICE", "ot": order.origin or order.type, "ps": "BOTH", "cp": False, "AP": "0", "cr": "0", "pP": False, "si": 0, "ss": 0,
            "rp": money(fill.realised if fill else 0), "V": _STP, "pm": "NONE", "gtd": order.expire_ms,
        },
    }  # fmt: skip


def usdm_update(exchange: Exchange, account: Account, name: str, why: str) -> dict[str, Any]:
    """ACCOUNT_UPDATE."""
    symbol, held = exchange.markets[name].symbol, account.positions.get(name, Position())
    wallet = money(account.balances["USDT"][0])
    return {
        "e": "ACCOUNT_UPDATE", "T": exchange.now_ms, "E": exchange.now_ms,
        "a": {
            "m": why, "B": [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}],
            "P": [
                {
                    "s": name, "pa": qty(symbol, held.qty), "ep": _entry(symbol, held), "bep": _entry(symbol, held), "cr": "0",
                    "up": money(exchange.unrealised(account, name)), "mt": "cross", "iw": "0", "ps": "BOTH",
                }
            ],
        },
    }  # fmt: skip


# ---- Market data, of both.


def rules(exchange: Exchange) -> dict[str, Any]:
    """ExchangeInfo."""
    spot = exchange.market == "spot"
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000 if spot else 2400},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100 if spot else 300},
    ]
    return {
        "timezone": "UTC", "serverTime": exchange.now_ms, "rateLimits": limits, "exchangeFilters": [], "assets": [],
        "symbols": [_rules_of(state.symbol) for state in exchange.markets.values()],
    }  # fmt: skip


def _rules_of(symbol: Symbol) -> dict[str, Any]:
    spot = symbol.market == "spot"
    tick, step = price(symbol, symbol.tick_size), qty(symbol, symbol.step_size)
    lot = {"minQty": qty(symbol, symbol.min_qty), "maxQty": qty(symbol, symbol.max_qty), "stepSize": step}
    least = money(symbol.min_notional)
    filters: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": price(symbol, 10**7 * 10**symbol.price_scale), "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", ("maxNumOrders" if spot else "limit"): symbol.max_orders},
        {"filterType": "NOTIONAL", "minNotional": least, "applyMinToMarket": True, "maxNotional": "9000000.0", "applyMaxToMarket": False, "avgPriceMins": 5}
        if spot else {"filterType": "MIN_NOTIONAL", "notional": least},
    ]  # fmt: skip
    common = {
        "symbol": symbol.name,
        "status": "TRADING",
        "baseAsset": symbol.base,
        "quoteAsset": symbol.quote,
        "filters": filters,
    }
    kinds = ["LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
    if spot:
        return common | {
            "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
            "orderTypes": kinds, "icebergAllowed": False, "ocoAllowed": False, "otoAllowed": False, "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": False, "allowTrailingStop": False, "cancelReplaceAllowed": True, "amendAllowed": True,
            "pegInstructionsAllowed": False, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": [],
            "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": _STP, "allowedSelfTradePreventionModes": [_STP],
        }  # fmt: skip
    return common | {
        "pair": symbol.name, "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000,
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "marginAsset": "USDT", "pricePrecision": symbol.price_scale,
        "quantityPrecision": symbol.qty_scale, "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"], "liquidationFee": "0.0", "marketTakeBound": "0.05",
    }  # fmt: skip


def levels(symbol: Symbol, found: list[tuple[int, int]]) -> list[list[str]]:
    """Levels of a book."""
    return [[price(symbol, each), qty(symbol, amount)] for each, amount in found]


def depth(state: MarketState, limit: int, now_ms: int) -> dict[str, Any]:
    """A snapshot of the book."""
    found: dict[str, Any] = {"lastUpdateId": state.update_id}
    if state.symbol.market == "usdm":
        found |= {"E": now_ms, "T": now_ms}
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
    if symbol.market == "usdm":
        found["T"] = now_ms
    found |= {"s": symbol.name, "U": first, "u": final}
    if symbol.market == "usdm":
        found["pu"] = previous
    return found | {"b": sides[1], "a": sides[-1]}


def trade(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """The trade stream."""
    found = {
        "e": "trade", "E": its.time_ms, "T": its.time_ms, "s": symbol.name, "t": its.id, "p": price(symbol, its.price), "q": qty(symbol, its.qty),
    }  # fmt: skip
    return (
        found
        | ({"X": "MARKET"} if symbol.market == "usdm" else {})
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
        "u": update_id, "s": symbol.name, "b": price(symbol, bid), "B": qty(symbol, bid_qty), "a": price(symbol, ask), "A": qty(symbol, ask_qty),
    }  # fmt: skip
    return ({"e": "bookTicker"} | found | {"T": now_ms, "E": now_ms}) if symbol.market == "usdm" else found


def past_trade(symbol: Symbol, its: Trade) -> dict[str, Any]:
    """One of the recent trades."""
    return {
        "id": its.id, "price": price(symbol, its.price), "qty": qty(symbol, its.qty), "quoteQty": money(its.value), "time": its.time_ms,
        "isBuyerMaker": its.buyer_is_maker,
    } | ({"isBestMatch": True} if symbol.market == "spot" else {})  # fmt: skip


def candle(symbol: Symbol, its: Candle, step_ms: int) -> list[Any]:
    """One of klines."""
    prices = (price(symbol, each) for each in (its.open, its.high, its.low, its.close))
    return [
        its.open_ms, *prices, qty(symbol, its.qty), its.open_ms + step_ms - 1, money(its.value), its.trades, qty(symbol, its.bought_qty),
        money(its.bought_value), "0",
    ]  # fmt: skip
