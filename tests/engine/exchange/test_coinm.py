"""COIN-M's market of the practice exchange: in the venue's own forms, and read by what reads the venue."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from twinloop.data.binance_instruments import instruments_of
from twinloop.data.binance_past_trades import PastTrades
from twinloop.data.binance_stream import BinanceStream, info_path
from twinloop.data.instruments import BINANCE_COINM_BTCUSD_PERP, Instrument
from twinloop.engine.exchange.server import Server
from twinloop.kernels import rows

SYMBOL = "BTCUSD_PERP"


def asked(calls: list[str], frames: int = 0) -> tuple[list[Any], list[Any]]:
    """(Answers to GETs, messages of the streams that a session asks for)."""

    async def ask() -> tuple[list[Any], list[Any]]:
        async with Server(symbols=(SYMBOL,), seed=3, turns_per_s=200) as server, aiohttp.ClientSession() as client:
            stream = BinanceStream("binance-coinm", [BINANCE_COINM_BTCUSD_PERP], depth=True, quotes=True)
            async with client.ws_connect(stream.url(server.stream)) as socket:
                heard = [await socket.receive_json() for _ in range(frames)]
            answers = []
            for call in calls:
                async with client.get(f"{server.rest}/dapi/v1/{call}") as answer:
                    answers.append(await answer.json() if answer.status == 200 else answer.status)
            return answers, heard

    return asyncio.run(ask())


def keys(document: Any) -> list[str]:
    return sorted(document)


def test_messages_and_snapshots_have_the_recorded_form(real_data: Path) -> None:
    (snapshot,), heard = asked([f"depth?symbol={SYMBOL}&limit=5"], frames=400)
    theirs: dict[str, Any] = {}
    with gzip.open(real_data / "binance-raw-ws" / "cm_btcusd_perp_20240808.gz", "rt") as lines:
        for line in lines:
            document = json.loads(line.partition(" ")[2])
            if "stream" in document:
                theirs.setdefault(document["stream"], document["data"])
            if len(theirs) == 3:
                break
    ours = {each["stream"]: each["data"] for each in heard}
    assert keys(ours) == keys(theirs)
    for stream, told in ours.items():
        assert keys(told) == keys(theirs[stream])
        assert {name: type(value) for name, value in told.items()} == {
            name: type(value) for name, value in theirs[stream].items()
        }
        assert told.get("ps") == theirs[stream].get("ps")
    with gzip.open(real_data / "venue-raw-recordings" / "BINANCE_DELIVERY.http.0.0.gz", "rt") as lines:
        recorded = json.loads(next(lines).partition(": ")[2])
    assert keys(snapshot) == keys(recorded)


def test_rules_are_read_as_the_instrument_that_the_venue_has() -> None:
    (info,), _ = asked(["exchangeInfo"])
    assert info_path("binance-coinm") == "/dapi/v1/exchangeInfo"
    (found,) = instruments_of(json.dumps(info).encode(), "binance-coinm", [SYMBOL])
    for name in (
        "symbol",
        "contract",
        "base",
        "quote",
        "settle",
        "price_scale",
        "qty_scale",
        "tick_size",
        "lot_size",
        "contract_size",
    ):
        assert getattr(found, name) == getattr(BINANCE_COINM_BTCUSD_PERP, name), name


def test_coins_are_contracts_by_price() -> None:
    (klines, trades, day, last), _ = asked(
        [f"{name}symbol={SYMBOL}" for name in ("klines?interval=1m&", "trades?", "ticker/24hr?", "ticker/price?")], frames=300
    )  # fmt: skip
    assert trades
    for each in trades:
        assert int(float(each["baseQty"]) * 1e8 + 0.5) == int(each["qty"]) * 100 * 10**9 // int(
            each["price"].replace(".", "")
        )
    told = trades[: sum(each[8] for each in klines)]  # Some may have come between the two answers.
    assert sum(int(each[5]) for each in klines) == sum(int(each["qty"]) for each in told)
    assert sum(float(each[7]) for each in klines) == pytest.approx(sum(float(each["baseQty"]) for each in told))
    (whole,), (price,) = day, last
    assert float(whole["lowPrice"]) <= float(whole["weightedAvgPrice"]) <= float(whole["highPrice"])
    assert price["ps"] == "BTCUSD"
    read = PastTrades("binance-coinm", BINANCE_COINM_BTCUSD_PERP, 0).recent(json.dumps(trades).encode(), 1)
    assert read["qty"].tolist() == [int(each["qty"]) for each in trades]
    assert set(read["kind"].tolist()) == {rows.TRADE}


def test_it_takes_no_orders_and_is_there_only_where_it_is_named() -> None:
    (refused,), _ = asked(["account"])
    assert refused == 404

    async def without() -> int:
        async with (
            Server(seed=3) as server,
            aiohttp.ClientSession() as client,
            client.get(f"{server.rest}/dapi/v1/time") as answer,
        ):
            return answer.status

    assert asyncio.run(without()) == 404


def test_both_symbols_have_rules_that_stand() -> None:
    async def rules() -> list[Instrument]:
        symbols = ("BTCUSD_PERP", "ETHUSD_PERP")
        async with (
            Server(symbols=symbols, seed=3) as server,
            aiohttp.ClientSession() as client,
            client.get(f"{server.rest}/dapi/v1/exchangeInfo") as answer,
        ):
            return instruments_of(await answer.read(), "binance-coinm", list(symbols))

    assert [each.contract_size // 10**8 for each in asyncio.run(rules())] == [100, 10]
