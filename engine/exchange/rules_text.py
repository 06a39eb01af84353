"""exchangeInfo: symbols, their filters and the limits, as a JSON object."""

from typing import Any

from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.decimals import STP, decimal, money, price, qty
from twinloop.engine.exchange.limits import told_limits
from twinloop.engine.exchange.symbols import PPM, Symbol


def rules(exchange: Exchange) -> dict[str, Any]:
    """ExchangeInfo."""
    return {
        "timezone": "UTC", "serverTime": exchange.now_ms, "rateLimits": told_limits(exchange.market), "exchangeFilters": [], "assets": [],
        "symbols": [_rules_of(state.symbol, halted=state.halted) for state in exchange.markets.values()],
    }  # fmt: skip


def _filters(symbol: Symbol) -> list[dict[str, Any]]:
    spot = symbol.market == "spot"
    step, least = qty(symbol, symbol.step_size), money(symbol.min_notional)
    lot = {"minQty": qty(symbol, symbol.min_qty), "stepSize": step}
    up, down = decimal(PPM + symbol.band_ppm, 6).rstrip("0"), decimal(PPM - symbol.band_ppm, 6).rstrip("0")
    bands = {f"{side}Multiplier{way}": value for side in ("bid", "ask") for way, value in (("Up", up), ("Down", down))}
    filters: list[dict[str, Any]] = [
        {
            "filterType": "PRICE_FILTER", "minPrice": price(symbol, symbol.min_price), "maxPrice": price(symbol, symbol.max_price),
            "tickSize": price(symbol, symbol.tick_size),
        },
        {"filterType": "LOT_SIZE", **lot, "maxQty": qty(symbol, symbol.max_qty)},
        {"filterType": "MARKET_LOT_SIZE", **lot, "maxQty": qty(symbol, symbol.market_max_qty)},
    ]  # fmt: skip
    if spot:
        filters += [
            {"filterType": "PERCENT_PRICE_BY_SIDE", **bands, "avgPriceMins": 0},
            {
                "filterType": "NOTIONAL", "minNotional": least, "applyMinToMarket": True, "maxNotional": money(symbol.max_notional),
                "applyMaxToMarket": True, "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": symbol.max_orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": symbol.max_stops},
        ]  # fmt: skip
    else:
        notional = [{"filterType": "MIN_NOTIONAL", "notional": least}] if symbol.market == "usdm" else []
        filters += [
            {"filterType": "PERCENT_PRICE", "multiplierUp": up, "multiplierDown": down, "multiplierDecimal": "4"},
            *notional,
            {"filterType": "MAX_NUM_ORDERS", "limit": symbol.max_orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": symbol.max_stops},
        ]
    return filters


def _rules_of(symbol: Symbol, *, halted: bool) -> dict[str, Any]:
    spot = symbol.market == "spot"
    common = {
        "symbol": symbol.name,
        "status": "TRADING" if not halted else "BREAK" if spot else "SETTLING",
        "baseAsset": symbol.base,
        "quoteAsset": symbol.quote,
        "filters": _filters(symbol),
    }
    kinds = ["LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
    if spot:
        return common | {
            "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
            "orderTypes": kinds, "icebergAllowed": False, "ocoAllowed": False, "otoAllowed": False, "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": False, "cancelReplaceAllowed": True, "amendAllowed": True,
            "pegInstructionsAllowed": False, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": [],
            "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": STP, "allowedSelfTradePreventionModes": [STP],
        }  # fmt: skip
    futures = common | {
        "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000, "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000", "pricePrecision": symbol.price_scale, "quantityPrecision": symbol.qty_scale, "baseAssetPrecision": 8,
        "quotePrecision": 8, "underlyingType": "COIN", "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"], "liquidationFee": "0.0", "marketTakeBound": "0.05",
    }  # fmt: skip
    if symbol.market == "usdm":
        return futures | {"pair": symbol.name, "marginAsset": "USDT"}
    futures["contractStatus"] = futures.pop("status")
    return futures | {
        "pair": symbol.pair, "marginAsset": symbol.base, "contractSize": symbol.contract_size, "equalQtyPrecision": 4, "triggerProtect": "0.0500",
    }  # fmt: skip
