"""Sessions whose account pays its fees in BNB, on the practice exchange over real sockets: booked exactly, worth what the venue says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.data.errors import DataError
from twinloop.data.instruments import Instrument
from twinloop.engine import cli
from twinloop.engine.exchange import requests
from twinloop.engine.exchange.ledger import BURN_DISCOUNT_PPM
from twinloop.engine.exchange.model import Account
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.exchange.symbols import MONEY, PPM
from twinloop.engine.live import fee_rate
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.fee_rate import ask_rate, currencies_without_cash, rate_of, slot_of
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows

OFTEN = 'reconcile_every = "500ms"'
MARKETS = pytest.mark.parametrize("market", ["usdm", "spot"])
PLENTY = 500 * MONEY
FEW = {"usdm": 10**5, "spot": 5_000}  # Enough for some fees.

Part = Callable[[LiveProcess, asyncio.Task[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)
    monkeypatch.setattr(fee_rate, "EVERY_NS", 2 * 10**8)
    monkeypatch.setattr(fee_rate, "APART_NS", 10**8)


class World:
    """An exchange, an account, and sessions on it, one after another."""

    def __init__(self, server: Server, market: str, path: Path) -> None:
        self.exchange: Any = server.exchanges[market]  # type: ignore[index]
        self.account: Account = self.exchange.accounts[PRACTICE_KEY]
        self.path = path
        self.said: list[str] = []

    def pay_in_bnb(self, amount: int) -> None:
        """On, and so much of it more."""
        self.exchange.ledger.deposit(self.account, "BNB", amount)
        self.account.burns = True

    async def session(self, part: Part) -> LiveProcess:
        return await sessions.in_session(self.path, self.said, part)

    @property
    def paid(self) -> int:
        """In BNB, 1e-8, by the exchange's own list of fills."""
        return sum(fill.fee for fill in self.account.fills if fill.fee_asset == "BNB")

    def told(self, text: str) -> int:
        return sum(text in line for line in self.said)


def play(
    tmp_path: Path, strategy_folder: Path, market: str, what: Callable[[World], Awaitable[None]],
    symbols: Sequence[str] = ("BTCUSDT",),
) -> World:  # fmt: skip
    async def all_of_it() -> World:
        async with Server(symbols=symbols, seed=4, turns_per_s=100) as server:
            world = World(server, market, configuration(tmp_path, server.port, strategy_folder, market, OFTEN))
            await what(world)
            return world

    world = asyncio.run(all_of_it())
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
    assert found.requests >= 1
    return world


async def looked(process: LiveProcess, task: asyncio.Task[None]) -> None:
    """A look that began from here on has ended, and found nothing."""
    await sessions.looked(process, task)
    assert process.reconciler.breaks == []


async def at_rest(world: World, process: LiveProcess, task: asyncio.Task[None]) -> None:
    """Nothing works at the venue, and every fill is booked."""
    process.loop.command("halt")
    edge = process.orders
    assert edge is not None
    await sessions.until(lambda: edge.settled and not edge.gateway.open_orders, task)
    await sessions.until(lambda: process.loop.counts.fills == len(world.account.fills), task)


async def worth(world: World, process: LiveProcess, task: asyncio.Task[None], price: int) -> None:
    """The venue's price, and that the session knows it."""
    world.exchange.ledger.burnt_price = price
    await sessions.until(lambda: rate_of(process.loop.node) == price, task)


def alerts_of(process: LiveProcess) -> list[str]:
    assert process.orders is not None
    return [alert.name for alert in process.orders.alerts]


def assert_exact(world: World, process: LiveProcess) -> None:
    """Fees, BNB, cash and equity of the node against fractions of what the exchange's ledger says."""
    node, account, market = process.loop.node, world.account, world.exchange.market
    ledger = node.decision["ledgers"][0][slot_of(node)]
    assert int(ledger["fees"]) == world.paid
    assert int(ledger["balance"]) == sum(account.balances["BNB"])
    fees = Fraction(world.paid * rate_of(node), MONEY)
    held = node.decision["account_holdings"][0][0]["position"]
    theirs = account.positions.get("BTCUSDT")
    cost = theirs.cost if theirs and market == "usdm" else 0
    state = node.decision["accounts"][0]
    in_base = sum(fill.fee for fill in account.fills if fill.fee_asset == "BTC")
    assert in_base == 0
    money = sum(account.balances["USDT"]) - cost
    assert int(state["cash"]) - int(held["cost"]) == money - round(fees)
    rule = world.exchange.markets["BTCUSDT"].symbol
    value = Fraction(int(held["qty"]) * int(held["mark_price"]) * MONEY, 10 ** (rule.price_scale + rule.qty_scale))
    assert int(state["equity"]) == money - round(fees) + value


@MARKETS
def test_fees_in_bnb_are_booked_exactly_and_count_at_the_venues_price(
    tmp_path: Path, strategy_folder: Path, market: str
) -> None:
    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            assert rate_of(process.loop.node) == 600 * MONEY, "known before anything trades"
            await sessions.traded(process, task, 4)
            await looked(process, task)
            assert process.loop.trading_state == "ACTIVE"
            await at_rest(world, process, task)
            discount = Fraction(PPM - BURN_DISCOUNT_PPM[world.exchange.market], PPM)
            rule = world.exchange.markets["BTCUSDT"].symbol
            for fill in world.account.fills:
                ppm = rule.maker_ppm if fill.maker else rule.taker_ppm
                assert fill.fee_asset == "BNB"
                assert fill.fee == ceil(Fraction(fill.value * ppm, PPM) * discount / 600)
            assert_exact(world, process)
            before = int(process.loop.node.decision["accounts"][0]["cash"])
            await worth(world, process, task, 90_012_000_000)
            assert_exact(world, process)
            dearer = Fraction(world.paid * 30_012_000_000, MONEY)
            after = int(process.loop.node.decision["accounts"][0]["cash"])
            assert abs(before - after - dearer) <= Fraction(len(world.account.fills), 2) + 1, (
                "each fill was rounded before"
            )
            assert alerts_of(process).count("UNKNOWN_FEE_CURRENCY") == 0
            assert process.loop.counts.by_kind[rows.FX] == 2, "a row for each price that is another one"
            await looked(process, task)

        await world.session(part)

    world = play(tmp_path, strategy_folder, market, what)
    assert world.paid > 0
    assert world.told("the account pays its fees in BNB, as long as it has any: 600 USDT each") == 1


def test_a_fee_asks_for_the_price_at_once(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fee_rate, "EVERY_NS", 10**15)

    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await worth(world, process, task, 700 * MONEY)
            assert world.paid > 0

        await world.session(part)

    play(tmp_path, strategy_folder, "usdm", what)


@MARKETS
def test_a_price_that_is_not_told_keeps_the_last_rate_and_is_said_once(
    tmp_path: Path, strategy_folder: Path, market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def counted(*arguments: Any) -> int:
        nonlocal asked
        asked += 1
        return await ask_rate(*arguments)

    monkeypatch.setattr(fee_rate, "ask_rate", counted)

    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.traded(process, task, 1)
            await at_rest(world, process, task)
            world.exchange.ledger.burnt_price = 0
            until = asked + 4
            await sessions.until(lambda: asked >= until, task)
            assert world.told("fees count at the last rate: not a price") == 1
            assert rate_of(process.loop.node) == 600 * MONEY
            await worth(world, process, task, 601 * MONEY)
            assert world.told("the venue tells again what BNB is worth") == 1
            assert_exact(world, process)

        await world.session(part)

    play(tmp_path, strategy_folder, market, what)


@MARKETS
def test_bnb_that_runs_out_is_no_error(tmp_path: Path, strategy_folder: Path, market: str) -> None:
    """The venue takes what it takes of everybody then."""

    async def what(world: World) -> None:
        world.pay_in_bnb(FEW[market])

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.until(lambda: len({fill.fee_asset for fill in world.account.fills}) >= 2, task)
            await looked(process, task)
            assert process.loop.trading_state == "ACTIVE"
            await at_rest(world, process, task)
            ledger = process.loop.node.decision["ledgers"][0][slot_of(process.loop.node)]
            assert int(ledger["fees"]) == world.paid
            assert 0 <= int(ledger["balance"]) == sum(world.account.balances["BNB"]) < FEW[market]
            assert world.paid > 0
            assert "UNKNOWN_FEE_CURRENCY" not in alerts_of(process)

        await world.session(part)

    play(tmp_path, strategy_folder, market, what)


@MARKETS
def test_without_a_price_a_start_is_refused_and_says_what_to_do(
    tmp_path: Path, strategy_folder: Path, market: str
) -> None:
    """Nothing is left of it: the next start is a first one. One whose journal has a rate goes on with that."""

    async def what(world: World) -> None:
        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.traded(process, task, 2)
            await at_rest(world, process, task)

        world.pay_in_bnb(PLENTY)
        world.exchange.ledger.burnt_price = 0
        with pytest.raises(
            SessionError, match=r"nothing says what that is worth.*off at the venue, or start again when"
        ):
            await world.session(part)
        assert not list((world.path.parent / "sessions").rglob("*.seg"))
        world.exchange.ledger.burnt_price = 600 * MONEY
        await world.session(part)
        world.exchange.ledger.burnt_price = 0

        async def again(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await looked(process, task)
            assert world.told("fees count at the last rate") == 1
            assert_exact(world, process)

        await world.session(again)

    play(tmp_path, strategy_folder, market, what)


@MARKETS
def test_what_is_turned_on_while_a_session_runs_is_known_from_its_next_start_on(
    tmp_path: Path, strategy_folder: Path, market: str
) -> None:
    """Booked exactly all the same, in BNB that came after the session began, and counted once there is a price."""

    async def what(world: World) -> None:
        async def turned_on(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.traded(process, task, 1)
            await at_rest(world, process, task)
            world.pay_in_bnb(PLENTY)
            await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "resume"})
            await sessions.until(lambda: "UNKNOWN_FEE_CURRENCY" in alerts_of(process), task)
            assert process.loop.trading_state == "REDUCING"
            await looked(process, task)
            await at_rest(world, process, task)
            node = process.loop.node
            assert (rate_of(node), process.loop.counts.by_kind.get(rows.FX, 0) > 0) == (0, market == "spot")
            assert int(node.decision["ledgers"][0][slot_of(node)]["fees"]) == world.paid > 0

        await world.session(turned_on)
        assert world.told("start it again, which asks for its price") >= 1

        async def broken_off(process: LiveProcess, task: asyncio.Task[None]) -> None:
            """Stopped before anything is proven: the next start is as good as this one."""
            del process, task

        await world.session(broken_off)

        async def known(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.until(lambda: world.told("of which fees are paid from here on") == 1, task)
            await looked(process, task)
            await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "resume"})
            await sessions.traded(process, task, 2)
            await looked(process, task)
            assert process.loop.trading_state == "ACTIVE"
            assert "UNKNOWN_FEE_CURRENCY" not in alerts_of(process)
            process.loop.command("halt")
            edge = process.orders
            assert edge is not None
            await sessions.until(lambda: edge.settled and not edge.gateway.open_orders, task)
            ledger = process.loop.node.decision["ledgers"][0][slot_of(process.loop.node)]
            assert int(ledger["fees"]) == world.paid
            assert int(ledger["balance"]) == sum(world.account.balances["BNB"])
            if market == "usdm":
                await worth(world, process, task, 650 * MONEY)
                assert_exact(world, process)

        await world.session(known)

        async def later(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await looked(process, task)
            assert world.told("of which fees are paid from here on") == 1, "stock is taken once"

        await world.session(later)

    play(tmp_path, strategy_folder, market, what)


def test_a_journal_that_does_not_know_bnb_goes_on_while_no_fee_is_paid_in_it(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions before wrote them."""

    async def what(world: World) -> None:
        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.traded(process, task, 1)
            assert slot_of(process.loop.node) == -1

        with monkeypatch.context() as before:
            before.setattr(fee_rate, "currencies_without_cash", lambda *_: {})
            await world.session(part)
        await world.session(part)
        world.pay_in_bnb(PLENTY)
        with pytest.raises(SessionError, match=r"a journal that knows BNB.*twinloop handover"):
            await world.session(part)

    play(tmp_path, strategy_folder, "usdm", what)


@MARKETS
def test_where_bnb_is_traded_its_price_moves_and_the_books_agree(
    tmp_path: Path, strategy_folder: Path, market: str
) -> None:
    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.traded(process, task, 4)
            await sessions.until(lambda: process.loop.counts.by_kind[rows.FX] >= 3, task)
            await looked(process, task)
            assert process.loop.trading_state == "ACTIVE"
            await at_rest(world, process, task)
            ledger = process.loop.node.decision["ledgers"][0][slot_of(process.loop.node)]
            assert int(ledger["fees"]) == world.paid > 0
            assert int(ledger["balance"]) == sum(world.account.balances["BNB"])

        await world.session(part)

    play(tmp_path, strategy_folder, market, what, ("BTCUSDT", "BNBUSDT"))


@MARKETS
def test_a_venue_that_does_not_tell_is_said_and_its_fees_are_told(
    tmp_path: Path, strategy_folder: Path, market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test networks have no such call."""
    monkeypatch.delitem(requests.SPOT, ("GET", "/sapi/v1/bnbBurn"))
    monkeypatch.delitem(requests.USDM, ("GET", "/fapi/v1/feeBurn"))

    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            await sessions.until(lambda: "UNKNOWN_FEE_CURRENCY" in alerts_of(process), task)
            assert process.loop.trading_state == "REDUCING"
            await looked(process, task)

        await world.session(part)
        assert world.told("does not tell whether fees are paid in BNB") == 1

    play(tmp_path, strategy_folder, market, what)


def test_after_a_handover_bnb_keeps_its_place_behind_which_symbols_are_added(
    tmp_path: Path, strategy_folder: Path
) -> None:
    async def what(world: World) -> None:
        world.pay_in_bnb(PLENTY)
        paid = 0

        async def part(process: LiveProcess, task: asyncio.Task[None]) -> None:
            nonlocal paid
            await sessions.traded(process, task, 2)
            await at_rest(world, process, task)
            paid = world.paid

        before = await world.session(part)
        assert before.loop.node.assembly.currencies == ["USDT", "BTC", "BNB"]
        place = before.loaded.place
        await asyncio.to_thread(cli.run, ["handover", str(place)])
        text = world.path.read_text().replace('symbols = ["BTCUSDT"]', 'symbols = ["BTCUSDT", "ETHUSDT"]')
        text = text.replace('mode = "live"', f'mode = "live"\ncontinues = "{place / "handover.json"}"')
        world.path = world.path.with_name("next.toml")
        world.path.write_text(text)

        async def after(process: LiveProcess, task: asyncio.Task[None]) -> None:
            node = process.loop.node
            assert node.assembly.currencies == ["USDT", "BTC", "BNB", "ETH"]
            assert int(node.decision["ledgers"][0][2]["fees"]) == paid > 0
            assert world.told("fees are paid from here on") == 0, "it was compared all along"
            await looked(process, task)
            await asyncio.to_thread(ask, process.loaded.place / SOCKET, {"command": "resume"})
            await sessions.traded(process, task, 1)
            await looked(process, task)
            process.loop.command("halt")
            edge = process.orders
            assert edge is not None
            await sessions.until(lambda: edge.settled and not edge.gateway.open_orders, task)
            await sessions.until(lambda: int(node.decision["ledgers"][0][2]["fees"]) == world.paid > paid, task)
            assert int(node.decision["ledgers"][0][2]["balance"]) == sum(world.account.balances["BNB"])

        await world.session(after)
        found = replay_journal(tmp_path / "sessions" / "next" / "journal")
        assert found.difference is None, str(found.difference)

    play(tmp_path, strategy_folder, "spot", what, ("BTCUSDT", "ETHUSDT"))


def instrument(base: str, quote: str = "USDT", contract: str = "spot") -> Instrument:
    return Instrument.make(
        symbol=base + quote, venue="binance-spot", contract=contract, base=base, quote=quote, tick_size="0.01", lot_size="0.001",
    )  # fmt: skip


def test_bnb_is_a_currency_where_there_is_room_for_it() -> None:
    names = ["BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC"]
    assert currencies_without_cash([instrument(each) for each in names[:6]], "USDT") == {"BNB": 0}
    assert currencies_without_cash([instrument(each) for each in names], "USDT") == {}
    assert currencies_without_cash([instrument(each) for each in ["BNB", *names[:6]]], "USDT") == {"BNB": 0}
    assert currencies_without_cash([instrument(each, contract="linear") for each in names], "USDT") == {"BNB": 0}
    assert currencies_without_cash([instrument("BTC")], "BNB") == {}, "it is money like any other there"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"symbol":"BNBUSDT","price":"0"}', b'{"symbol":"BNBUSDT","price":"-1"}',
             b'{"symbol":"BNBUSDT","price":"1000000"}', b'{"symbol":"ETHUSDT","price":"600"}', b'{"symbol":"BNBUSDT","price":600}'],
)  # fmt: skip
def test_what_is_no_price_of_bnb_is_no_rate(body: bytes) -> None:
    async def get(path: str) -> bytes:
        assert path == "/api/v3/ticker/price?symbol=BNBUSDT"
        return body

    with pytest.raises(DataError):
        asyncio.run(ask_rate(get, "spot", "USDT"))


def test_a_price_is_a_rate_to_the_last_digit() -> None:
    async def get(path: str) -> bytes:
        assert path == "/fapi/v1/ticker/price?symbol=BNBUSDC"
        return b'{"symbol":"BNBUSDC","price":"612.34567891","time":1}'

    assert asyncio.run(ask_rate(get, "usdm", "USDC")) == 61_234_567_891
