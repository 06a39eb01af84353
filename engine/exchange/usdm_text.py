"""USD-M orders, fills, positions, accounts and user events as JSON objects, as Binance's documentation of 2026 describes them."""

from typing import Any

from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.decimals import SIDE, STP, average, money, price, qty
from twinloop.engine.exchange.model import BUY, Account, Fill, Income, Order, OrderChanged, Position
from twinloop.engine.exchange.symbols import MONEY, Symbol


def order(order: Order) -> dict[str, Any]:
    """Answer to a new order, a query, a change or a cancel."""
    symbol = order.symbol
    return {
        "orderId": order.id, "symbol": symbol.name, "status": order.status, "clientOrderId": order.client_id,
        "price": price(symbol, order.price), "avgPrice": average(order), "origQty": qty(symbol, order.qty),
        "executedQty": qty(symbol, order.filled), "cumQuote": money(order.quote), "cumQty": qty(symbol, order.filled),
        "timeInForce": order.time_in_force, "type": order.type, "reduceOnly": order.reduce_only, "closePosition": False,
        "side": SIDE[order.side], "positionSide": "BOTH", "stopPrice": price(symbol, order.stop_price), "workingType": "CONTRACT_PRICE",
        "priceProtect": False, "origType": order.origin or order.type, "priceMatch": "NONE", "selfTradePreventionMode": STP,
        "goodTillDate": order.expire_ms, "time": order.time_ms, "updateTime": order.update_ms,
    }  # fmt: skip


def trade(fill: Fill) -> dict[str, Any]:
    """One of userTrades."""
    symbol = fill.order.symbol
    return {
        "symbol": symbol.name, "id": fill.trade_id, "orderId": fill.order.id, "side": SIDE[fill.order.side],
        "price": price(symbol, fill.price), "qty": qty(symbol, fill.qty), "realizedPnl": money(fill.realised),
        "quoteQty": money(fill.value), "commission": money(fill.fee), "commissionAsset": fill.fee_asset, "time": fill.time_ms,
        "positionSide": "BOTH", "buyer": fill.order.side == BUY, "maker": fill.maker,
    }  # fmt: skip


def position(exchange: Exchange, account: Account, name: str) -> dict[str, Any]:
    """One of positionRisk."""
    symbol, held = exchange.markets[name].symbol, account.positions.get(name, Position())
    mark = exchange.mark_price(name)
    return {
        "symbol": name, "positionAmt": qty(symbol, held.qty), "entryPrice": _entry(symbol, held), "breakEvenPrice": _entry(symbol, held),
        "markPrice": price(symbol, mark), "unRealizedProfit": money(exchange.unrealised(account, name)), "liquidationPrice": "0",
        "leverage": str(account.leverage_of(name)), "maxNotionalValue": "100000000", "marginType": "isolated" if name in account.isolated else "cross", "isolatedMargin": "0.00000000",
        "isAutoAddMargin": "false", "positionSide": "BOTH", "notional": money(symbol.value(mark, held.qty)), "isolatedWallet": "0",
        "updateTime": exchange.now_ms,
    }  # fmt: skip


def _entry(symbol: Symbol, held: Position) -> str:
    if not held.qty:
        return "0.0"
    return price(symbol, held.cost * 10 ** (symbol.qty_scale + symbol.price_scale) // (held.qty * MONEY))


def account(exchange: Exchange, account: Account) -> dict[str, Any]:
    """The account."""
    wallet = account.free("USDT")
    open_pnl = sum(exchange.unrealised(account, name) for name in exchange.markets)
    margin = exchange.margin(account)
    free = max(wallet + open_pnl - margin, 0)
    amounts = {
        "walletBalance": wallet, "unrealizedProfit": open_pnl, "marginBalance": wallet + open_pnl, "maintMargin": margin // 2,
        "initialMargin": margin, "positionInitialMargin": margin, "openOrderInitialMargin": 0, "crossWalletBalance": wallet,
        "crossUnPnl": open_pnl, "availableBalance": free, "maxWithdrawAmount": free,
    }  # fmt: skip
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "updateTime": exchange.now_ms, "multiAssetsMargin": account.multi_assets,
        "tradeGroupId": -1, "totalInitialMargin": money(margin), "totalMaintMargin": money(margin // 2), "totalWalletBalance": money(wallet),
        "totalUnrealizedProfit": money(open_pnl), "totalMarginBalance": money(wallet + open_pnl), "totalPositionInitialMargin": money(margin),
        "totalOpenOrderInitialMargin": "0.00000000", "totalCrossWalletBalance": money(wallet), "totalCrossUnPnl": money(open_pnl),
        "availableBalance": money(free), "maxWithdrawAmount": money(free),
        "assets": [
            {"asset": asset} | {name: money(amount) for name, amount in (amounts if asset == "USDT" else _idle(held[0])).items()}
            | {"marginAvailable": True, "updateTime": exchange.now_ms}
            for asset, held in account.balances.items()
        ],
        "positions": [
            {
                "symbol": name, "initialMargin": "0", "maintMargin": "0", "unrealizedProfit": money(exchange.unrealised(account, name)),
                "positionInitialMargin": "0", "openOrderInitialMargin": "0", "leverage": str(account.leverage_of(name)), "isolated": name in account.isolated,
                "entryPrice": _entry(state.symbol, account.positions.get(name, Position())), "maxNotional": "100000000", "bidNotional": "0",
                "askNotional": "0", "positionSide": "BOTH",
                "positionAmt": qty(state.symbol, account.positions.get(name, Position()).qty), "updateTime": exchange.now_ms,
            }
            for name, state in exchange.markets.items()
        ],
    }  # fmt: skip


def income(found: Income) -> dict[str, Any]:
    """An entry of the list of income."""
    return {
        "symbol": found.name, "incomeType": found.kind, "income": money(found.amount), "asset": found.asset, "info": found.kind,
        "time": found.time_ms, "tranId": found.id, "tradeId": "",
    }  # fmt: skip


def _idle(amount: int) -> dict[str, int]:
    """Amounts of an asset that margin is not kept in."""
    names = (
        "unrealizedProfit", "maintMargin", "initialMargin", "positionInitialMargin", "openOrderInitialMargin", "crossUnPnl",
    )  # fmt: skip
    same = ("walletBalance", "marginBalance", "crossWalletBalance", "availableBalance", "maxWithdrawAmount")
    return dict.fromkeys(same, amount) | dict.fromkeys(names, 0)


def report(event: OrderChanged) -> dict[str, Any]:
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
            "L": price(symbol, fill.price if fill else 0), "N": fill.fee_asset if fill else None, "n": money(fill.fee if fill else 0), "T": event.time_ms,
            "t": fill.trade_id if fill else 0, "b": "0", "a": "0", "m": bool(fill and fill.maker), "R": order.reduce_only,
            "wt": "CONTRACT_PRICE", "ot": order.origin or order.type, "ps": "BOTH", "cp": False, "AP": "0", "cr": "0", "pP": False, "si": 0, "ss": 0,
            "rp": money(fill.realised if fill else 0), "V": STP, "pm": "NONE", "gtd": order.expire_ms,
        },
    }  # fmt: skip


def trade_lite(event: OrderChanged, fill: Fill) -> dict[str, Any]:
    """TRADE_LITE: a fill in short, ahead of its ORDER_TRADE_UPDATE."""
    order, symbol = event.order, event.symbol
    return {
        "e": "TRADE_LITE", "E": event.time_ms, "T": event.time_ms, "s": symbol.name, "q": qty(symbol, order.qty),
        "p": price(symbol, order.price), "m": fill.maker, "c": order.client_id, "S": SIDE[order.side], "L": price(symbol, fill.price),
        "l": qty(symbol, fill.qty), "t": fill.trade_id, "i": order.id,
    }  # fmt: skip


def update(
    exchange: Exchange, account: Account, name: str, why: str, moved: tuple[str, int] | None = None
) -> dict[str, Any]:
    """ACCOUNT_UPDATE. name: the symbol whose position it tells of, or none. moved: what came of one asset by neither PnL nor fees.

    Then that asset alone is told.
    """
    balances = [
        {"a": asset, "wb": money(held[0]), "cw": money(held[0]), "bc": money(moved[1] if moved else 0)}
        for asset, held in account.balances.items()
        if moved is None or asset == moved[0]
    ]
    return {
        "e": "ACCOUNT_UPDATE", "T": exchange.now_ms, "E": exchange.now_ms,
        "a": {
            "m": why, "B": balances,
            "P": [_changed_position(exchange, account, name)] if name else [],
        },
    }  # fmt: skip


def _changed_position(exchange: Exchange, account: Account, name: str) -> dict[str, Any]:
    symbol, held = exchange.markets[name].symbol, account.positions.get(name, Position())
    return {
        "s": name, "pa": qty(symbol, held.qty), "ep": _entry(symbol, held), "bep": _entry(symbol, held), "cr": "0",
        "up": money(exchange.unrealised(account, name)), "mt": "cross", "iw": "0", "ps": "BOTH",
    }  # fmt: skip
