"""A venue of a page: orders, fills and answers of one market as Binance gives them, without a market. Slow and obvious.

It knows nothing of the gateway's classes: what it is asked it reads from method, path and the text of the request. Tests decide when an
order fills and what becomes of a request or a frame. `kernel_view` replays own-order rows as the kernel does, in plain Python.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from twinloop.kernels import codes, rows

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass
class VenueOrder:
    symbol: str
    venue_id: int
    client_id: str
    side: str
    kind: str
    in_force: str
    qty: int
    price: int
    status: str = "NEW"
    executed: int = 0
    events: int = 0


@dataclass
class VenueTrade:
    trade_id: int
    order: VenueOrder
    price: int
    qty: int
    fee: int
    time_ms: int
    maker: bool = True


@dataclass
class Venue:
    market: str
    price_scale: int
    qty_scale: int
    now_ms: int = 1_700_000_000_000
    orders: list[VenueOrder] = field(default_factory=list)
    trades: list[VenueTrade] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)  # Sent to the user stream and not yet taken by the test.
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    countdowns: dict[str, int] = field(default_factory=dict)
    lag_list: bool = False
    income: list[dict[str, Any]] = field(default_factory=list)  # Funding payments, as they are listed.
    income_max: int = 1000  # Of one page.
    trades_max: int = 1000  # The same of trades.
    meets: Callable[[VenueOrder], None] | None = None  # What a new order does as it comes: fill, expire, or nothing.

    # Text.

    def text(self, value: int, scale: int) -> str:
        digits = str(abs(value)).rjust(scale + 1, "0")
        return f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits

    def number(self, text: str, scale: int) -> int:
        whole, _, part = text.partition(".")
        return int(whole + part.ljust(scale, "0")[:scale])

    def order_json(self, order: VenueOrder, client_id: str | None = None) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "symbol": order.symbol,
            "orderId": order.venue_id,
            "clientOrderId": order.client_id,
            "price": self.text(order.price, self.price_scale),
            "origQty": self.text(order.qty, self.qty_scale),
            "executedQty": self.text(order.executed, self.qty_scale),
            "status": order.status,
            "timeInForce": order.in_force,
            "type": order.kind,
            "side": order.side,
            "updateTime": self.now_ms,
        }
        if client_id is not None:
            shown.update(clientOrderId=client_id, origClientOrderId=order.client_id, transactTime=self.now_ms)
        return shown

    def frame(self, order: VenueOrder, execution: str, trade: VenueTrade | None = None) -> None:
        body: dict[str, Any] = {
            "s": order.symbol,
            "c": order.client_id,
            "S": order.side,
            "o": order.kind,
            "f": order.in_force,
            "q": self.text(order.qty, self.qty_scale),
            "p": self.text(order.price, self.price_scale),
            "x": execution,
            "X": order.status,
            "i": order.venue_id,
            "l": self.text(trade.qty if trade else 0, self.qty_scale),
            "z": self.text(order.executed, self.qty_scale),
            "L": self.text(trade.price if trade else 0, self.price_scale),
            "n": self.text(trade.fee, 8) if trade else "0",
            "N": "USDT" if trade else None,
            "T": self.now_ms,
            "t": trade.trade_id if trade else (-1 if self.market == "spot" else 0),
            "m": trade.maker if trade else False,
        }
        if self.market == "spot":
            cancelled = execution == "CANCELED"
            body.update(e="executionReport", E=self.now_ms, r="NONE", C=order.client_id if cancelled else "")
            if cancelled:
                body["c"] = f"cancel{order.venue_id}"
            whole: dict[str, Any] = {"subscriptionId": 0, "event": body}
        else:
            whole = {"e": "ORDER_TRADE_UPDATE", "E": self.now_ms, "T": self.now_ms, "o": body}
        self.frames.append(json.dumps(whole).encode())

    # What happens at the venue.

    def find(self, client_id: str) -> VenueOrder | None:
        found = [order for order in self.orders if order.client_id == client_id]
        return found[-1] if found else None

    def fill(self, order: VenueOrder, qty: int, *, price: int | None = None, trade_id: int | None = None) -> VenueTrade:
        qty = min(qty, order.qty - order.executed)
        assert qty > 0
        assert order.status in OPEN
        order.executed += qty
        order.status = "FILLED" if order.executed == order.qty else "PARTIALLY_FILLED"
        number = len(self.trades) + 1001 if trade_id is None else trade_id
        trade = VenueTrade(number, order, order.price if price is None else price, qty, 10 * qty, self.now_ms)
        self.trades.append(trade)
        self.frame(order, "TRADE", trade)
        return trade

    def end(self, order: VenueOrder, status: str = "CANCELED") -> None:
        assert order.status in OPEN
        order.status = status
        self.frame(order, status)

    def place(self, terms: dict[str, str], client_id: str) -> VenueOrder:
        order = VenueOrder(
            terms["symbol"],
            len(self.orders) + 501,
            client_id,
            terms["side"],
            terms["type"],
            terms.get("timeInForce", "GTC"),
            self.number(terms["quantity"], self.qty_scale),
            self.number(terms.get("price", "0"), self.price_scale),
        )
        self.orders.append(order)
        self.frame(order, "NEW")
        if self.meets is not None:
            self.meets(order)
        return order

    def placed_json(self, order: VenueOrder) -> dict[str, Any]:
        """The answer to a new order; of spot with what it met."""
        shown = self.order_json(order)
        if self.market == "spot":
            shown["transactTime"] = self.now_ms
            shown["fills"] = [
                {
                    "price": self.text(trade.price, self.price_scale), "qty": self.text(trade.qty, self.qty_scale),
                    "commission": self.text(trade.fee, 8), "commissionAsset": "USDT", "tradeId": trade.trade_id,
                }
                for trade in self.trades if trade.order is order
            ]  # fmt: skip
        return shown

    # Requests.

    def answer(self, method: str, path: str, text: str) -> tuple[int, bytes]:
        """(status, body) of one request; it has happened when this returns."""
        asked = dict(parse_qsl(text))
        self.requests.append((method, path, asked))
        name = path.rsplit("/", 1)[-1]
        handler = getattr(self, f"_{method.lower()}_{name}")
        status, body = handler(asked)
        return status, json.dumps(body).encode()

    def _error(self, code: int, message: str) -> tuple[int, Any]:
        return 400, {"code": code, "msg": message}

    def _asked_order(self, asked: dict[str, str]) -> VenueOrder | None:
        if "origClientOrderId" in asked:
            return self.find(asked["origClientOrderId"])
        return next((order for order in self.orders if order.venue_id == int(asked["orderId"])), None)

    def _post_order(self, asked: dict[str, str]) -> tuple[int, Any]:
        order = self.place(asked, asked["newClientOrderId"])
        return 200, self.placed_json(order)

    def _delete_order(self, asked: dict[str, str]) -> tuple[int, Any]:
        order = self._asked_order(asked)
        if order is None or order.status not in OPEN:
            return self._error(-2011, "Unknown order sent.")
        self.end(order)
        return 200, self.order_json(order, "cancelid" if self.market == "spot" else None)

    def _get_order(self, asked: dict[str, str]) -> tuple[int, Any]:
        order = self._asked_order(asked)
        if order is None:
            return self._error(-2013, "Order does not exist.")
        return 200, self.order_json(order)

    def _put_order(self, asked: dict[str, str]) -> tuple[int, Any]:
        order = self._asked_order(asked)
        if order is None or order.status not in OPEN:
            return self._error(-2013, "Order does not exist.")
        qty, price = self.number(asked["quantity"], self.qty_scale), self.number(asked["price"], self.price_scale)
        if (qty, price) == (order.qty, order.price):
            return self._error(-5027, "No need to modify the order.")
        if qty <= order.executed:
            self.end(order)
        else:
            order.qty, order.price = qty, price
            self.frame(order, "AMENDMENT")
        return 200, self.order_json(order)

    def _put_keepPriority(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        order = self._asked_order(asked)
        qty = self.number(asked["newQty"], self.qty_scale)
        if order is None or order.status not in OPEN:
            return self._error(-2013, "Order does not exist.")
        if not order.executed < qty < order.qty:
            return self._error(-2038, "Bad quantity.")
        order.qty = qty
        self.frame(order, "REPLACED")
        shown = self.order_json(order, order.client_id)
        shown["qty"] = shown.pop("origQty")
        return 200, {"transactTime": self.now_ms, "executionId": 1, "amendedOrder": shown}

    def _post_cancelReplace(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        old = self.find(asked["cancelOrigClientOrderId"])
        if old is None or old.status != "NEW":  # ONLY_NEW.
            data = {
                "cancelResult": "FAILURE",
                "newOrderResult": "NOT_ATTEMPTED",
                "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
                "newOrderResponse": None,
            }
            return 400, {"code": -2022, "msg": "Order cancel-replace failed.", "data": data}
        self.end(old)
        if asked["quantity"].startswith("7."):  # The new leg is refused.
            data = {
                "cancelResult": "SUCCESS",
                "newOrderResult": "FAILURE",
                "cancelResponse": self.order_json(old, "cancelid"),
                "newOrderResponse": {"code": -2010, "msg": "Account has insufficient balance for requested action."},
            }
            return 409, {"code": -2021, "msg": "Order cancel-replace partially failed.", "data": data}
        new = self.place(asked, asked["newClientOrderId"])
        return 200, {
            "cancelResult": "SUCCESS",
            "newOrderResult": "SUCCESS",
            "cancelResponse": self.order_json(old, "cancelid"),
            "newOrderResponse": self.placed_json(new),
        }

    def _get_openOrders(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        listed = [order for order in self.orders if order.status in OPEN and order.symbol == asked["symbol"]]
        return 200, [self.order_json(order) for order in listed]

    def _delete_openOrders(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        listed = [order for order in self.orders if order.status in OPEN and order.symbol == asked["symbol"]]
        for order in listed:
            self.end(order)
        return 200, [self.order_json(order, "cancelid") for order in listed]

    def _delete_allOpenOrders(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        self._delete_openOrders(asked)
        return 200, {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _delete_algoOpenOrders(self, _: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        return 200, {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _trades(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        found = []
        for trade in sorted(self.trades, key=lambda each: each.trade_id):
            if trade.order.symbol != asked["symbol"] or trade.trade_id < int(asked.get("fromId", "0")):
                continue
            if trade.time_ms < int(asked.get("startTime", "0")):
                continue
            shown: dict[str, Any] = {
                "symbol": trade.order.symbol,
                "id": trade.trade_id,
                "orderId": trade.order.venue_id,
                "price": self.text(trade.price, self.price_scale),
                "qty": self.text(trade.qty, self.qty_scale),
                "commission": self.text(trade.fee, 8),
                "commissionAsset": "USDT",
                "time": trade.time_ms,
            }
            buyer = trade.order.side == "BUY"
            if self.market == "spot":
                shown.update(isBuyer=buyer, isMaker=trade.maker, isBestMatch=True)
            else:
                shown.update(buyer=buyer, maker=trade.maker, side=trade.order.side)
            found.append(shown)
        return found[: min(int(asked["limit"]), self.trades_max)]

    def _get_myTrades(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        return 200, self._trades(asked)

    def _get_userTrades(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        return 200, self._trades(asked)

    def fund(self, symbol: str, amount: int, *, asset: str = "USDT", told: bool = True, listed: bool = True) -> int:
        """Pay funding (1e-8; negative: take it); told by the stream, which names no symbol. Returns its number."""
        number = 9001 + len(self.income)
        text = ("-" if amount < 0 else "") + self.text(amount, 8)
        self.income.append({
            "symbol": symbol, "incomeType": "FUNDING_FEE", "income": text, "asset": asset, "info": "FUNDING_FEE",
            "time": self.now_ms, "tranId": number, "tradeId": "", "listed": listed,
        })  # fmt: skip
        if told:
            change = {"m": "FUNDING_FEE", "B": [{"a": asset, "wb": "100", "cw": "100", "bc": text}], "P": []}
            whole = {"e": "ACCOUNT_UPDATE", "E": self.now_ms, "T": self.now_ms, "a": change}
            self.frames.append(json.dumps(whole).encode())
        return number

    def _get_income(self, asked: dict[str, str]) -> tuple[int, Any]:
        assert asked["incomeType"] == "FUNDING_FEE"
        start, page = int(asked["startTime"]), int(asked["page"])
        shown = [each for each in self.income if each["listed"] and each["time"] >= start]
        limit = min(int(asked["limit"]), self.income_max)
        return 200, [
            {name: each[name] for name in each if name != "listed"} for each in shown[(page - 1) * limit : page * limit]
        ]

    def _get_time(self, _: dict[str, str]) -> tuple[int, Any]:
        return 200, {"serverTime": self.now_ms}

    def _post_countdownCancelAll(self, asked: dict[str, str]) -> tuple[int, Any]:  # noqa: N802 - the path's name
        self.countdowns[asked["symbol"]] = int(asked["countdownTime"])
        return 200, {"symbol": asked["symbol"], "countdownTime": asked["countdownTime"]}

    def _get_account(self, _: dict[str, str]) -> tuple[int, Any]:
        if self.market == "spot":
            return 200, {"balances": [{"asset": "USDT", "free": "10.00", "locked": "1.50"}], "updateTime": 5}
        return 200, {"assets": [{"asset": "USDT", "walletBalance": "11.50"}], "positions": []}


@dataclass
class KernelOrder:
    qty: int
    price: int
    state: str = "NEW"
    filled: int = 0
    code: int = 0
    amends: int = 0
    amend_qty: int = 0
    pending_cancel: bool = False
    trades: list[int] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state in {"NEW", "ACKED", "PARTIAL", "UNKNOWN"}


ENDS = {rows.REJECT: "REJECTED", rows.CANCELLED: "CANCELLED", rows.EXPIRED: "EXPIRED"}


def kernel_view(orders: dict[int, KernelOrder], facts: Any, fills: list[tuple[int, int, int, int]]) -> None:
    """What the kernel makes of own-order rows; orders in place. fills: (order id, trade id, price, qty) is appended."""
    for at, row in enumerate(facts):
        kind, number = int(row["kind"]), int(row["order_id"])
        if kind == rows.FILL:
            if row["flags"] & rows.FLAG_TAIL:
                continue
            tail = facts[at + 1]
            assert tail["flags"] & rows.FLAG_TAIL
            fills.append((number, int(tail["trade_id"]), int(row["price"]), int(row["qty"])))
        order = orders.get(number)
        if order is None:
            continue
        if kind == rows.FILL:
            order.filled += int(row["qty"])
            order.trades.append(int(facts[at + 1]["trade_id"]))
            if order.open:
                most = max(order.qty, order.amend_qty) if order.amends else order.qty
                order.state = "FILLED" if order.filled >= most else "PARTIAL"
        elif not order.open:
            continue
        elif kind == rows.ACK:
            if order.state in {"NEW", "UNKNOWN"}:
                order.state = "ACKED" if order.filled == 0 else "PARTIAL"
        elif kind in {rows.AMENDED, rows.AMEND_REJECT}:
            if kind == rows.AMEND_REJECT or int(row["code"]) != codes.REASON_UNSOLICITED:
                order.amends = max(order.amends - 1, 0)
            if order.amends == 0:
                order.amend_qty = 0
            if kind == rows.AMENDED:
                order.price, order.qty = int(row["price"]), int(row["qty"])
            if order.filled >= order.qty and order.amends == 0:
                order.state = "FILLED"
        elif kind == rows.CANCEL_REJECT:
            order.pending_cancel = False
        elif kind == rows.UNKNOWN:
            order.state = "UNKNOWN"
        else:
            order.state = ENDS[kind]
            order.code = int(row["code"])


assert codes.REASON_REQUESTED == 72
