"""Calls about accounts, positions and what a key may do: what is asked, and the answer."""

from typing import Any

from twinloop.engine.exchange import spot_text, usdm_text
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.parameters import Parameters, need, whole


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
    asset = usdm_text.account(exchange, account)["assets"][0]
    names = (
        "asset",
        "crossWalletBalance",
        "crossUnPnl",
        "availableBalance",
        "maxWithdrawAmount",
        "marginAvailable",
        "updateTime",
    )
    return [{"accountAlias": "practice", "balance": asset["walletBalance"]} | {name: asset[name] for name in names}]


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
