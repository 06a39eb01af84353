"""Funding payments: each booked exactly once, by the venue's own list, behind the trades made before it."""

import random
from collections import Counter

import pytest
from reference.gateway_world import LOT, World

from twinloop.engine.gateway import funding, needed_rows
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import STAYS
from twinloop.kernels import codes, rows

Payment = tuple[int, int, int]  # Instrument, transaction, amount.


def booked(world: World) -> list[Payment]:
    """Every payment that the kernel was told, as often as it was."""
    return [
        (int(row["instrument"]), int(row["trade_id"]), int(row["value"]))
        for facts in world.facts
        for row in facts[facts["kind"] == rows.FUNDING_PAID]
    ]


def test_a_payment_that_the_stream_speaks_of_is_booked_from_the_list() -> None:
    """The stream names no symbol. Whole, for no strategy yet, with the venue's time and in its currency."""
    world = World("usdm")
    number = world.venue.fund("ETHUSDT", -1_234_567)
    at_ms = world.venue.now_ms
    world.frames()
    assert booked(world) == []
    world.run(1)
    assert booked(world) == [(5, number, -1_234_567)]
    (row,) = (row for facts in world.facts for row in facts if row["kind"] == rows.FUNDING_PAID)
    assert (int(row["venue_ns"]), int(row["currency"]), int(row["strategy"])) == (at_ms * 10**6, 1, codes.UNASSIGNED)
    assert (int(row["account"]), int(row["source"])) == (2, 9)
    world.run(200)
    assert len(booked(world)) == 1


@pytest.mark.parametrize("silent", [False, True])
def test_a_payment_that_no_stream_told_is_found(silent: bool) -> None:
    """When the stream is back, and now and then while it is up and silent."""
    world = World("usdm")
    if not silent:
        world.keep(world.gateway.on_stream(up=False, now_ns=world.now_ns, mono_ns=world.mono_ns))
    number = world.venue.fund("BTCUSDT", 5, told=False)
    if not silent:
        world.keep(world.gateway.on_stream(up=True, now_ns=world.now_ns, mono_ns=world.mono_ns))
        assert not world.gateway.caught_up
    world.run(61 if silent else 1)
    assert booked(world) == [(3, number, 5)]
    assert world.gateway.caught_up


def test_a_payment_waits_for_the_trades_before_it() -> None:
    """It belongs to who held the position: what was traded before it, and is not known yet, is booked first."""
    world = World("usdm")
    world.new(17)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.venue.frames.clear()  # The stream says nothing of it.
    world.venue.fund("BTCUSDT", -7)
    world.frames()
    world.tick(50)
    world.arrive(world.take(kinds.FUNDING))
    world.deliver()
    for _ in range(3):
        world.tick(50)
    assert booked(world) == []
    assert not world.gateway.caught_up
    assert world.gateway.funding.is_due_soon(world.mono_ns)
    world.settle()
    world.tick(50)
    told = [kind for kind in world.kinds() if kind in {"FILL", "FUNDING_PAID"}]
    assert told == ["FILL", "FUNDING_PAID"]
    assert not world.gateway.funding.is_due_soon(world.mono_ns)


def test_one_that_is_listed_late_is_looked_for_at_short_intervals_and_then_no_more() -> None:
    world = World("usdm")
    world.venue.fund("BTCUSDT", -7, listed=False)
    world.frames()
    asked = len(world.venue.requests)

    def questions() -> int:
        return sum(path.endswith("/income") for _, path, _ in world.venue.requests[asked:])

    world.run(30)
    assert questions() >= 9
    assert world.gateway.funding.is_due_soon(world.mono_ns)
    world.venue.income[0]["listed"] = True
    world.run(5)
    assert len(booked(world)) == 1
    before = questions()
    world.run(55)
    assert questions() <= before + 1
    world.venue.fund("BTCUSDT", -8, listed=False)
    world.frames()
    world.run(90)
    assert not world.gateway.funding.is_due_soon(world.mono_ns), "a minute, not for ever"


@pytest.mark.parametrize("how", ["journal", "snapshot", "snapshot and tail"])
def test_a_restart_books_what_came_meanwhile_and_nothing_twice(how: str) -> None:
    world = World("usdm")
    paid = [(3, world.venue.fund("BTCUSDT", 11), 11)]
    world.frames()
    world.run(1)
    world.save()
    paid.append((5, world.venue.fund("ETHUSDT", -12), -12))
    world.frames()
    world.run(1)
    paid.append((3, world.venue.fund("BTCUSDT", 13), 13))
    world.venue.frames.clear()
    world.now_ns += 9 * 3600 * 10**9
    world.restart(how)
    assert not world.gateway.caught_up
    world.run(3)
    assert booked(world) == paid
    assert world.gateway.caught_up


@pytest.mark.parametrize(("symbol", "asset"), [("XRPUSDT", "USDT"), ("BTCUSDT", "BNB"), ("BTCUSDT", "USDC")])
def test_one_that_the_session_cannot_book_is_told_once_and_only_reducing_is_left(symbol: str, asset: str) -> None:
    world = World("usdm")
    world.venue.fund(symbol, -7, asset=asset)
    world.frames()
    world.run(200)
    assert booked(world) == []
    assert world.names().count("FUNDING_NOT_BOOKED") == 1
    assert "FUNDING_NOT_BOOKED" in STAYS


@pytest.mark.parametrize("answer", [b"[{}]", b"{", b"", b'[{"symbol":"BTCUSDT","incomeType":"TRANSFER","income":"1","asset":"USDT","time":1,"tranId":1}]'])  # fmt: skip
def test_an_answer_that_cannot_be_read_proves_nothing(answer: bytes) -> None:
    world = World("usdm")
    world.venue.fund("BTCUSDT", -7)
    world.frames()
    world.tick(50)
    world.respond(world.take(kinds.FUNDING), 200, answer)
    assert booked(world) == []
    assert not world.gateway.swept_since(world.mono_ns)
    world.run(10)
    assert len(booked(world)) == 1


def test_a_list_of_many_pages_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funding, "INCOME_MAX", 4)
    world = World("usdm")
    world.venue.income_max = 4
    paid = [(3, world.venue.fund("BTCUSDT", amount, told=False), amount) for amount in range(1, 10)]
    world.gateway.sweep()
    world.run(3)
    assert booked(world) == paid


def test_no_market_without_funding_is_asked_for_it() -> None:
    world = World("spot")
    world.gateway.sweep()
    world.run(30)
    assert not [path for _, path, _ in world.venue.requests if path.endswith("/income")]
    assert world.gateway.caught_up


def test_old_payments_are_forgotten_by_gateway_and_snapshot_alike() -> None:
    """A journal without them builds the same gateway; what the list may bring again stays."""
    world = World("usdm")
    for _ in range(20):
        world.venue.fund("BTCUSDT", -7)
        world.frames()
        world.run(1)
        world.tick(8 * 3600 * 1000)
        world.settle()
    assert len(booked(world)) == 20
    kept = needed_rows.needed_rows(world.journal)
    left = sum(int((each["kind"] == rows.FUNDING_PAID).sum()) for _, each in kept)
    assert left == 6  # Of two days, eight hours and a second apart.
    whole, cut = World("usdm"), World("usdm")
    whole.gateway.rebuild(world.journal, *world.times)
    cut.gateway.rebuild(kept, *world.times)
    assert whole.gateway.funding.to_plain() == cut.gateway.funding.to_plain()
    world.restart("journal")
    world.run(5)
    assert len(booked(world)) == 20


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_late_or_told_twice_each_payment_is_booked_once(seed: int) -> None:
    dice = random.Random(seed)
    world = World("usdm")
    paid: list[Payment] = []
    for _ in range(60):
        move = dice.randrange(8)
        if move <= 2:
            symbol, amount = (
                dice.choice([("BTCUSDT", 3), ("ETHUSDT", 5)]),
                dice.choice([-1, 1]) * dice.randrange(1, 10**12),
            )
            listed = dice.random() < 0.7
            number = world.venue.fund(symbol[0], amount, told=dice.random() < 0.7, listed=listed)
            paid.append((symbol[1], number, amount))
        elif move == 3 and world.venue.frames:
            world.frame(dice.choice(world.venue.frames))
        elif move == 4:
            for each in world.venue.income:
                each["listed"] = each["listed"] or dice.random() < 0.5
        elif move == 5 and world.count(kinds.FUNDING):
            world.lose(world.take(kinds.FUNDING))
        elif move == 6:
            world.restart(dice.choice(["journal", "snapshot", "snapshot and tail"]))
        elif move == 7 and dice.random() < 0.3:
            world.save()
        world.tick(dice.choice([0, 0, 1, 3600]) * 1000)
        world.run(dice.choice([0.0, 0.5, 4.0]), frames=dice.random() < 0.7)
    for each in world.venue.income:
        each["listed"] = True
    world.run(130)
    assert Counter(booked(world)) == Counter(paid)
    assert sum(amount for _, _, amount in booked(world)) == sum(amount for _, _, amount in paid)
