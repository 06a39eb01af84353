"""exchangeInfo: symbols, their filters and the limits, as a JSON object."""

from typing import Any

from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.decimals import STP, money, price, qty
from twinloop.engine.exchange.limits import told_limits
from twinloop.engine.exchange.model import Symbol


def rules(exchange: Exchange) -> dict[str, Any]:
    """ExchangeInfo."""
    return {
        "timezone": "UTC", "serverTime": exchange.now_ms, "rateLimits": told_limits(exchange.market), "exchangeFilters": [], "assets": [],
        "symbols": [_rules_of(state.symbol, halted=state.halted) for state in exchange.markets.values()],
    }  # fmt: skip


def _rules_of(symbol: Symbol, *, halted: bool) -> dict[str, Any]:
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
        "status": "TRADING" if not halted else "BREAK" if spot else "SETTLING",
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
            "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": STP, "allowedSelfTradePreventionModes": [STP],
        }  # fmt: skip
    return common | {
        "pair": symbol.name, "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000,
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "marginAsset": "USDT", "pricePrecision": symbol.price_scale,
        "quantityPrecision": symbol.qty_scale, "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"], "liquidationFee": "0.0", "marketTakeBound": "0.05",
    }  # fmt: skip
