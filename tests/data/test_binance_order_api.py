"""Requests as the venue documents them, answers and frames as it sends them, and errors by what they prove."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data import binance_answers as answers
from twinloop.data.binance_errors import BANNED, DONE, HELD_OFF, REFUSED, UNPROVEN, judge
from twinloop.data.binance_orders import (
    Market,
    NewOrder,
    SpotRequests,
    UsdmRequests,
    requests_of,
    rest_text,
    websocket_frame,
)
from twinloop.data.binance_reports import (
    CANCELLED,
    EXPIRED,
    FILLED,
    LIVE,
    AccountReport,
    OrderReport,
    StreamReport,
    plain,
    sum_of,
)
from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
from twinloop.data.binance_user_frames import read_user_frame
from twinloop.data.errors import DataError, DecodeError
from twinloop.data.instruments import Instrument
from twinloop.kernels import codes

KEYS = Credentials(
    Secret("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"),
    HmacSigner(Secret("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")),
)


def btc(symbol: str = "BTCUSDT") -> Instrument:
    return Instrument.make(symbol=symbol, venue="binance", tick_size="0.10", lot_size="0.001", base="BTC", quote="USDT")


def order(**changes: Any) -> NewOrder:
    given_terms: dict[str, Any] = {
        "instrument": btc(),
        "client_id": "tl-1-0-h-0",
        "side": 1,
        "kind": codes.LIMIT,
        "in_force": codes.GTC,
        "post_only": False,
        "reduce_only": False,
        "qty": 1500,
        "price": 616597,
    }
    return NewOrder(**{**given_terms, **changes})


@pytest.mark.parametrize(
    ("market", "changes", "expected"),
    [
        ("spot", {}, "type=LIMIT&timeInForce=GTC&quantity=1.500&price=61659.70"),
        ("spot", {"in_force": codes.IOC}, "type=LIMIT&timeInForce=IOC&quantity=1.500&price=61659.70"),
        ("spot", {"post_only": True}, "type=LIMIT_MAKER&quantity=1.500&price=61659.70"),
        ("spot", {"kind": codes.MARKET}, "type=MARKET&quantity=1.500"),
        ("spot", {"kind": codes.STOP, "trigger_price": 10}, "type=STOP_LOSS&quantity=1.500&stopPrice=1.00"),
        (
            "spot",
            {"kind": codes.STOP_LIMIT, "trigger_price": 10},
            "type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=1.500&price=61659.70&stopPrice=1.00",
        ),
        ("usdm", {"post_only": True}, "type=LIMIT&timeInForce=GTX&quantity=1.500&price=61659.70"),
        ("usdm", {"kind": codes.MARKET, "reduce_only": True}, "type=MARKET&quantity=1.500&reduceOnly=true"),
        (
            "usdm",
            {"good_till_ms": 1_700_000_000_000},
            "type=LIMIT&timeInForce=GTD&quantity=1.500&price=61659.70&goodTillDate=1700000000000",
        ),
        (
            "usdm",
            {"kind": codes.STOP, "trigger_price": 10, "side": -1},
            "type=STOP_MARKET&quantity=1.500&triggerPrice=1.00&clientAlgoId=tl-1-0-h-0",
        ),
    ],
)
def test_a_new_order_is_written_as_documented(market: Market, changes: dict[str, Any], expected: str) -> None:
    request = requests_of(market).place(order(**changes))
    text = rest_text(request, 1499827319559, 5000, KEYS)
    assert expected.replace("61659.70", "61659.7").replace("1.00", "1.0") in text
    assert "recvWindow=5000&timestamp=1499827319559&signature=" in text
    side = "SELL" if changes.get("side") == -1 else "BUY"
    assert f"symbol=BTCUSDT&side={side}" in text


def test_a_symbol_that_is_not_ascii_is_encoded_before_it_is_signed() -> None:
    text = rest_text(requests_of("usdm").place(order(instrument=btc("测试USDT"))), 1, 5000, KEYS)
    payload, _, signature = text.partition("&signature=")
    assert payload.startswith("symbol=%E6%B5%8B%E8%AF%95USDT&")
    assert KEYS.signer.sign(payload) == signature


def test_a_websocket_frame_signs_its_parameters_in_order_of_name() -> None:
    frame = json.loads(websocket_frame(SpotRequests().place(order()), 17, 1499827319559, 5000, KEYS))
    assert (frame["id"], frame["method"]) == ("17", "order.place")
    signature = frame["params"].pop("signature")
    assert list(frame["params"]) == sorted(frame["params"])
    payload = "&".join(f"{name}={value}" for name, value in frame["params"].items())
    assert KEYS.signer.sign(payload) == signature
    unsigned = json.loads(websocket_frame(SpotRequests().cancel("BTCUSDT", "x"), 18, 1499827319559, 5000, None))
    assert unsigned["params"] == {
        "symbol": "BTCUSDT",
        "origClientOrderId": "x",
        "recvWindow": 5000,
        "timestamp": 1499827319559,
    }


def test_what_needs_no_signature_has_none() -> None:
    assert rest_text(UsdmRequests().server_time(), 1, 5000, KEYS) == ""
    assert rest_text(UsdmRequests().listen_key("POST"), 1, 5000, KEYS) == ""
    assert rest_text(UsdmRequests().account(), 1, 5000, KEYS).startswith("recvWindow=5000&timestamp=1&signature=")
    with pytest.raises(DataError, match="no such market"):
        requests_of("coinm")  # type: ignore[arg-type]


# Errors.

UNKNOWN_503 = "Unknown error, please check your request or try again later."
FAILED_503 = "Service Unavailable."
INTERNAL = "Internal error; unable to process your request. Please try again."
THROTTLED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)


def body(code: int, message: str = "") -> bytes:
    return json.dumps({"code": code, "msg": message}).encode()


@pytest.mark.parametrize(
    ("market", "status", "text", "kind"),
    [
        ("spot", 200, b"{}", DONE),
        ("spot", 200, b" [1]", DONE),
        ("spot", 200, b"", UNPROVEN),
        ("spot", 200, b"<html>", UNPROVEN),
        ("spot", 200, body(-1007), UNPROVEN),
        ("spot", 400, body(-2010, "Account has insufficient balance for requested action."), REFUSED),
        ("spot", 400, body(-2010, "Duplicate order sent."), UNPROVEN),
        ("usdm", 400, body(-4116, "ClientOrderId is duplicated."), UNPROVEN),
        ("spot", 400, body(-1013, "Filter failure: LOT_SIZE"), REFUSED),
        ("spot", 400, body(-2011, "Unknown order sent."), REFUSED),
        ("spot", 400, body(-2013), REFUSED),
        ("spot", 400, body(-1021), REFUSED),
        ("spot", 400, body(-1022), REFUSED),
        ("spot", 401, body(-2015), REFUSED),
        ("spot", 400, body(-1000), UNPROVEN),
        ("spot", 400, body(-1001), UNPROVEN),
        ("spot", 400, body(-1006), UNPROVEN),
        ("spot", 400, body(-1007), UNPROVEN),
        ("spot", 403, b"<html>forbidden</html>", UNPROVEN),
        ("spot", 403, body(-1), UNPROVEN),
        ("spot", 408, body(-1), UNPROVEN),
        ("spot", 404, b"not found", UNPROVEN),
        ("spot", 409, body(-2021), REFUSED),
        ("spot", 429, body(-1003), HELD_OFF),
        ("spot", 429, b"", HELD_OFF),
        ("spot", 400, body(-1003), HELD_OFF),
        ("spot", 429, body(-1015), HELD_OFF),
        ("spot", 418, b"", BANNED),
        ("spot", 500, b"", UNPROVEN),
        ("spot", 502, b"<html>", UNPROVEN),
        ("spot", 504, body(-1007), UNPROVEN),
        ("spot", 503, body(-1001, INTERNAL), UNPROVEN),
        ("usdm", 503, body(-1001, UNKNOWN_503), UNPROVEN),
        ("usdm", 503, body(-1001, FAILED_503), REFUSED),
        ("usdm", 503, body(-1001, INTERNAL), REFUSED),
        ("usdm", 503, body(-1008, THROTTLED), REFUSED),
        ("usdm", 503, b"Service Unavailable.", UNPROVEN),  # A proxy's words are not the venue's.
        ("usdm", 503, body(-1001), UNPROVEN),
        ("spot", 300, b"{}", UNPROVEN),
        ("spot", 0, b"", UNPROVEN),
    ],
)
def test_an_answer_proves_what_it_proves(market: Market, status: int, text: bytes, kind: int) -> None:
    assert judge(market, status, {}, text).kind == kind


def test_waits_come_from_the_header_or_the_text_and_have_bounds() -> None:
    assert judge("spot", 429, {"retry-after": "7"}, b"").wait_ns == 7_000_000_000
    assert judge("spot", 429, {"retry-after": "-7"}, b"").wait_ns == 60_000_000_000
    assert judge("spot", 429, {"retry-after": "9" * 400}, b"").wait_ns == 60_000_000_000
    assert judge("spot", 418, {"retry-after": "9999999"}, b"").wait_ns == 3 * 86_400_000_000_000
    banned = judge("spot", 418, {}, body(-1003, "Way too much; IP banned until 1659146400000. Please"))
    assert banned.until_ns == 1_659_146_400_000_000_000


# Answers.


def test_a_cancels_answer_names_the_order_and_not_the_cancel() -> None:
    text = b"""{"symbol":"LTCBTC","origClientOrderId":"myOrder1","orderId":4,"clientOrderId":"cancelMyOrder1",
    "transactTime":1684804350068,"price":"2.0","origQty":"1.0","executedQty":"0.0","status":"CANCELED","side":"BUY"}"""
    report = answers.read_order(text)
    assert (report.client_id, report.status, report.time_ms) == ("myOrder1", CANCELLED, 1684804350068)


def test_the_two_legs_of_a_replace_are_told_apart() -> None:
    cancelled = {"symbol": "A", "orderId": 1, "clientOrderId": "c", "origClientOrderId": "old", "status": "CANCELED"}
    half = {
        "code": -2021,
        "msg": "Order cancel-replace partially failed.",
        "data": {
            "cancelResult": "SUCCESS",
            "newOrderResult": "FAILURE",
            "cancelResponse": cancelled,
            "newOrderResponse": {"code": -2010, "msg": "no balance"},
        },
    }
    found = answers.read_replaced(json.dumps(half).encode())
    assert found.cancelled is not None
    assert found.cancelled.client_id == "old"
    assert (found.placed, found.place_result, found.place_code, found.place_text) == (
        None,
        "FAILURE",
        -2010,
        "no balance",
    )
    with pytest.raises(DecodeError):
        answers.read_replaced(b'{"code":-2021,"msg":"x"}')


def test_balances_are_sums_of_free_and_locked() -> None:
    assert sum_of("4723846.89208129", "0.00000001") == "4723846.89208130"
    assert sum_of("1", "2.5") == "3.5"
    for bad in ("nan", "-1", "1e9", "9" * 50, ""):
        with pytest.raises(DecodeError):
            sum_of(bad, "0.1")


def test_untrusted_text_is_one_plain_short_line() -> None:
    assert plain("<b>\n\x1b[31mé" * 100).isascii()
    assert plain("\n\x1b") == "??"
    assert len(plain("x" * 1000)) == 120


def test_every_recorded_message_decodes(real_data: Path) -> None:
    folder = real_data / "venue-message-fixtures" / "binance"
    if not folder.is_dir():
        pytest.skip("no recorded messages")
    frames = {path.stem: read_user_frame(path.read_bytes()) for path in folder.rglob("user_data_json/*.json")}
    assert len(frames) > 20
    for name, report in frames.items():
        if isinstance(report, StreamReport):
            assert report.known, name
    expected = {
        "execution_report_new": LIVE,
        "execution_report_trade": FILLED,
        "execution_report_canceled": CANCELLED,
        "execution_report_expired": EXPIRED,
        "order_update_trade_partial": LIVE,
        "order_update_calculated": FILLED,
        "algo_update_canceled": CANCELLED,
    }
    for name, status in expected.items():
        report = frames[name]
        assert isinstance(report, OrderReport)
        assert report.status == status, name
    trade = frames["execution_report_trade"]
    assert isinstance(trade, OrderReport)
    assert [(fill.trade_id, fill.qty, fill.fee, fill.fee_asset, fill.maker) for fill in trade.fills] == [
        (98765432, "1.00000000", "0.00100000", "ETH", True)
    ]
    account = frames["account_update"]
    assert isinstance(account, AccountReport)
    assert account.positions["BTCUSDT", "SHORT"] == "-10"
    spot, futures = folder / "spot" / "http_json", folder / "futures" / "http_json"
    assert len(answers.read_order((spot / "new_order_full_response.json").read_bytes()).fills) == 5
    assert answers.read_order((spot / "cancel_order_response.json").read_bytes()).status == CANCELLED
    assert answers.read_order((futures / "order_response.json").read_bytes()).status == LIVE
    assert len(answers.read_orders((spot / "cancel_open_orders_response.json").read_bytes())) == 4
    assert answers.read_orders((spot / "open_orders_response.json").read_bytes())[0].client_id == "myOrder1"
    assert answers.read_trades((spot / "account_trades_response.json").read_bytes())[0].trade_id == 28457
    assert answers.read_stops((futures / "open_algo_orders.json").read_bytes())[0].client_id == "test-algo-order-1"
    assert answers.read_account((spot / "account_response.json").read_bytes()).balances["BTC"] == "4723846.89208129"
    assert answers.read_server_time((spot / "server_time_response.json").read_bytes()) == 1499827319559


# Fuzz: a documented result or a DecodeError, nothing else.

READERS = (
    read_user_frame,
    answers.read_order,
    answers.read_orders,
    answers.read_amended,
    answers.read_replaced,
    answers.read_stop,
    answers.read_stops,
    answers.read_trades,
    answers.read_account,
    answers.read_server_time,
    answers.read_listen_key,
    answers.read_websocket_answer,
)
SEEDS = (
    b'{"e":"executionReport","s":"A","c":"x","S":"BUY","q":"1","p":"1","x":"TRADE","X":"FILLED","i":1,"l":"1","z":"1","L":"1","T":1,"t":7,"n":"0","N":null}',
    b'{"e":"ORDER_TRADE_UPDATE","T":1,"o":{"s":"A","c":"x","S":"SELL","q":"1","p":"1","x":"NEW","X":"NEW","i":1,"l":"0","z":"0","L":"0","T":1}}',
    b'{"stream":"k","data":{"e":"ALGO_UPDATE","T":1,"o":{"caid":"x","aid":1,"s":"A","S":"BUY","q":"1","X":"NEW"}}}',
    b'{"e":"ACCOUNT_UPDATE","T":1,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"1"}],"P":[{"s":"A","pa":"-1"}]}}',
    b'{"e":"outboundAccountPosition","u":1,"B":[{"a":"USDT","f":"1.0","l":"2.00"}]}',
    b'{"symbol":"A","orderId":4,"clientOrderId":"x","price":"2","origQty":"1","executedQty":"0","status":"NEW","fills":[{"price":"1","qty":"1","commission":"0","commissionAsset":"B","tradeId":1}]}',
    b'[{"symbol":"A","id":1,"orderId":2,"price":"1","qty":"1","commission":"0","commissionAsset":"B","time":3,"isBuyer":true,"isMaker":false}]',
    b'{"id":"1","status":200,"result":{"a":1},"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"count":3}]}',
    b'{"code":-2022,"msg":"x","data":{"cancelResult":"FAILURE","newOrderResult":"NOT_ATTEMPTED","cancelResponse":{"code":-2011,"msg":"y"},"newOrderResponse":null}}',
)


def try_all(text: bytes) -> None:
    for reader in READERS:
        try:
            reader(text)
        except DecodeError:
            continue
    judge("usdm", 503, {}, text)


@given(st.binary(max_size=200))
def test_random_bytes_give_a_documented_error(text: bytes) -> None:
    try_all(text)


@given(seed=st.sampled_from(SEEDS), cut=st.integers(0, 300), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_truncated_and_corrupted_messages_give_a_documented_error(seed: bytes, cut: int, at: int, byte: int) -> None:
    try_all(seed[:cut])
    broken = bytearray(seed)
    broken[at % len(seed)] = byte
    try_all(bytes(broken))


@given(
    seed=st.sampled_from(SEEDS),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**400), 10**400),
        st.floats(allow_nan=False),
        st.sampled_from(["NaN", "inf", "-0", "1e308", "", "0x1", "\uff11", "-1", "\u0000", "9" * 400]),
        st.lists(st.none(), max_size=2),
    ),
    pick=st.integers(0, 40),
)
def test_wrong_types_in_any_place_give_a_documented_error(seed: bytes, value: object, pick: int) -> None:
    thing = json.loads(seed)
    places: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            places.append((part, key))
            walk(part[key])

    walk(thing)
    part, key = places[pick % len(places)]
    part[key] = value
    try_all(json.dumps(thing).encode())


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"e":' * 50_000, b'{"data":' * 20_000 + b"1" + b"}" * 20_000])
def test_deep_nesting_is_an_error_and_not_a_crash(deep: bytes) -> None:
    try_all(deep)


def test_unknown_events_are_named_and_ended_streams_known() -> None:
    assert read_user_frame(b'{"e":"somethingNew","x":1}') == StreamReport("somethingNew", ended=False, known=False)
    assert read_user_frame(b'{"e":"listenKeyExpired"}') == StreamReport("listenKeyExpired", ended=True, known=True)
    assert read_user_frame(b'{"subscriptionId":0,"event":{"e":"eventStreamTerminated"}}') == StreamReport(
        "eventStreamTerminated", ended=True, known=True
    )
    assert read_user_frame(b'{"result":null,"id":1}') == StreamReport("", ended=False, known=False)
    with pytest.raises(DecodeError, match="nobody knows"):
        read_user_frame(SEEDS[0].replace(b"FILLED", b"TELEPORTED"))
