"""Calls about accounts, positions and what a key may do: what is asked, and the answer."""

from typing import Any, Final

from twinloop.engine.exchange import spot_text, usdm_text
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import Account, VenueError
from twinloop.engine.exchange.parameters import Parameters, flag, need, whole

LEVERAGE_MAX: Final = 125
INCOME: Final = 100  # Entries of a list of income, unless more are asked for.
INCOME_MAX: Final = 1000


def spot_account(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET account."""
    return spot_text.account(account, exchange.now_ms)


def usdm_account(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET account."""
    return usdm_text.account(exchange, account)


def positions(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET positionRisk."""
    name = parameters.get("symbol")
    return [usdm_text.position(exchange, account, each) for each in exchange.markets if name in {None, "", each}]


def balance(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET balance."""
    names = (
        "asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount", "marginAvailable", "updateTime",
    )  # fmt: skip
    return [
        {"accountAlias": "practice", "balance": asset["walletBalance"]} | {name: asset[name] for name in names}
        for asset in usdm_text.account(exchange, account)["assets"]
    ]


def income(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET income: what came and left without a trade, by kind, symbol and time, a page of it. What trades bring and cost is not told here."""
    name, kind, start = parameters.get("symbol"), parameters.get("incomeType"), whole(parameters, "startTime")
    if name:
        exchange.state(name)
    end = whole(parameters, "endTime") or exchange.now_ms
    found = [
        each
        for each in account.income
        if start <= each.time_ms <= end and name in {None, "", each.name} and kind in {None, "", each.kind}
    ]
    limit, page = min(whole(parameters, "limit", INCOME), INCOME_MAX), max(whole(parameters, "page", 1), 1)
    if not start and "page" not in parameters:
        found = found[max(len(found) - limit, 0) :]
    return [usdm_text.income(each) for each in found[(page - 1) * limit : page * limit]]


def burn(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET bnbBurn (spot) or feeBurn (USD-M): whether fees are paid in BNB."""
    if exchange.market == "spot":
        return {"spotBNBBurn": account.burns, "interestBNBBurn": False}
    return {"feeBurn": account.burns}


def set_burn(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST bnbBurn or feeBurn."""
    name = "spotBNBBurn" if exchange.market == "spot" else "feeBurn"
    need(parameters, name)
    account.burns = flag(parameters, name)
    return burn(exchange, account, parameters) if exchange.market == "spot" else {"code": 200, "msg": "success"}


def brackets(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET leverageBracket: one for any size."""
    name = parameters.get("symbol")
    if name:
        exchange.state(name)
    bracket = {
        "bracket": 1, "initialLeverage": account.leverage, "notionalCap": 100_000_000, "notionalFloor": 0, "maintMarginRatio": 0.025, "cum": 0.0,
    }  # fmt: skip
    return [
        {"symbol": each, "notionalCoef": 1.0, "brackets": [bracket]}
        for each in exchange.markets
        if name in {None, "", each}
    ]


def position_mode(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET positionSide/dual: whether a symbol can have a long and a short position at once."""
    del exchange
    return {"dualSidePosition": account.hedge}


def account_settings(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET accountConfig: what the account may do, and both of its modes."""
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "dualSidePosition": account.hedge,
        "updateTime": exchange.now_ms, "multiAssetsMargin": account.multi_assets, "tradeGroupId": -1,
    }  # fmt: skip


def set_position_mode(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST positionSide/dual."""
    need(parameters, "dualSidePosition")
    wanted = flag(parameters, "dualSidePosition")
    if wanted == account.hedge:
        raise VenueError(-4059, "No need to change position side.")
    _refuse_in_use(account, None, orders=-4067, positions=-4068, what="Position side")
    del exchange
    account.hedge = wanted
    return {"code": 200, "msg": "success"}


def asset_mode(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET multiAssetsMargin: whether every asset of the wallet is margin."""
    del exchange
    return {"multiAssetsMargin": account.multi_assets}


def symbol_settings(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """GET symbolConfig: margin type and leverage of each symbol."""
    name = parameters.get("symbol")
    if name:
        exchange.state(name)
    return [
        {
            "symbol": each, "marginType": "ISOLATED" if each in account.isolated else "CROSSED", "isAutoAddMargin": False,
            "leverage": account.leverage_of(each), "maxNotionalValue": "100000000",
        }
        for each in exchange.markets
        if name in {None, "", each}
    ]  # fmt: skip


def set_leverage(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST leverage of a symbol."""
    name = need(parameters, "symbol")
    exchange.state(name)
    need(parameters, "leverage")
    wanted = whole(parameters, "leverage")
    if not 1 <= wanted <= LEVERAGE_MAX:
        raise VenueError(-4028, f"Leverage {wanted} is not valid")
    account.leverages[name] = wanted
    return {"leverage": wanted, "maxNotionalValue": "100000000", "symbol": name}


def set_margin_type(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST marginType of a symbol."""
    name, wanted = need(parameters, "symbol"), need(parameters, "marginType")
    exchange.state(name)
    if wanted not in {"ISOLATED", "CROSSED"}:
        raise VenueError(-1102, "Mandatory parameter 'marginType' was not sent, was empty/null, or malformed.")
    if (wanted == "ISOLATED") == (name in account.isolated):
        raise VenueError(-4046, "No need to change margin type.")
    _refuse_in_use(account, name, orders=-4047, positions=-4048, what="Margin type")
    account.isolated.symmetric_difference_update({name})
    return {"code": 200, "msg": "success"}


def _refuse_in_use(account: Account, name: str | None, *, orders: int, positions: int, what: str) -> None:
    """VenueError where orders work or a position is open, of a symbol or of any."""
    if any(working for each, working in account.working.items() if name in {None, each}):
        raise VenueError(orders, f"{what} cannot be changed if there exists open orders.")
    if any(held.qty for each, held in account.positions.items() if name in {None, each}):
        raise VenueError(positions, f"{what} cannot be changed if there exists position.")


def countdown(exchange: Exchange, account: Account, parameters: Parameters) -> Any:
    """POST countdownCancelAll: the dead-man timer. 0 stops it."""
    name = need(parameters, "symbol")
    exchange.state(name)
    need(parameters, "countdownTime")
    wait_ms = whole(parameters, "countdownTime")
    if wait_ms:
        account.dead_man_ms[name] = exchange.now_ms + wait_ms
    else:
        account.dead_man_ms.pop(name, None)
    return {"symbol": name, "countdownTime": str(wait_ms)}


def restrictions(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """GET apiRestrictions: what the key may do."""
    del account
    return {
        "ipRestrict": True, "createTime": exchange.now_ms, "enableReading": True, "enableWithdrawals": False, "enableInternalTransfer": False,
        "enableMargin": False, "enableFutures": True, "permitsUniversalTransfer": False, "enableVanillaOptions": False,
        "enableSpotAndMarginTrading": True,
    }  # fmt: skip


def open_listen_key(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """POST listenKey: the key of the user stream, good for an hour."""
    return {"listenKey": exchange.listen_keys.open(account, exchange.now_ms)}


def keep_listen_key(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """PUT listenKey: another hour."""
    return {"listenKey": exchange.listen_keys.keep(account, exchange.now_ms)}


def close_listen_key(exchange: Exchange, account: Account, _: Parameters) -> Any:
    """DELETE listenKey."""
    exchange.listen_keys.close(account)
    return {}
