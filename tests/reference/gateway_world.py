"""A gateway, its twin venue, and the way between them: nothing moves unless a test moves it. Time is virtual."""

import json
from typing import Any

import msgspec
import numpy as np
from reference.order_venue import KernelOrder, Venue, VenueOrder, kernel_view

from twinloop.data.binance_signing import Credentials, HmacSigner, Secret
from twinloop.data.instruments import Instrument
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.outcome import Outcome, Outgoing
from twinloop.engine.gateway.settings import GatewaySettings
from twinloop.kernels import rows

API_KEY = "CANARYKEYvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0"
SECRET = "CANARYSECRETNhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3"
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
LOT = 1_000  # 1.000 in the quantity scale of the instruments below.


def credentials() -> Credentials:
    return Credentials(Secret(API_KEY), HmacSigner(Secret(SECRET)))


def instruments(market: str) -> dict[int, Instrument]:
    contract = "spot" if market == "spot" else "linear"
    return {
        slot: Instrument.make(
            symbol=symbol, venue=f"binance-{market}", tick_size="0.01", lot_size="0.001", contract=contract,
            base=symbol[:3], quote="USDT",
        )
        for slot, symbol in ((3, "BTCUSDT"), (5, "ETHUSDT"))
    }  # fmt: skip


def settings(market: str, **changes: Any) -> GatewaySettings:
    given: dict[str, Any] = {
        "market": market,
        "account": 2,
        "prefix": "tl",
        "epoch": 7,
        "instruments": instruments(market),
        "currencies": {"USDT": 1, "BNB": 4},
        "source": 9,
        "start_ns": START_NS,
    }
    return GatewaySettings(**{**given, **changes})


def request_row(kind: int, order_id: int, qty: int = LOT, price: int = 10_000, **fields: int) -> np.ndarray[Any, Any]:
    row = np.zeros(1, rows.ROW)
    row["kind"], row["order_id"], row["qty"], row["price"] = kind, order_id, qty, price
    row["instrument"], row["side"], row["strategy"] = 3, 1, 6
    for name, value in fields.items():
        row[name] = value
    return row


class World:
    """The test's hands. `held`: requests whose fate is open."""

    def __init__(self, market: str = "spot", **changes: Any) -> None:
        self.settings = settings(market, **changes)
        self.gateway = Gateway(self.settings, credentials())
        self.venue = Venue(market, 2, 3)
        self.mono_ns = 5_000_000_000
        self.now_ns = START_NS
        self.held: list[Outgoing] = []
        self.answered: list[tuple[Outgoing, int, bytes]] = []  # Done at the venue, the answer not yet delivered.
        self.orders: dict[int, KernelOrder] = {}
        self.fills: list[tuple[int, int, int, int]] = []
        self.alerts: list[Alert] = []
        self.facts: list[np.ndarray[Any, Any]] = []
        self.journal: list[tuple[int, np.ndarray[Any, Any]]] = []
        self.saved: tuple[str, int] | None = None
        self.answer_number = 0
        self.keep(self.gateway.on_stream(up=True, now_ns=self.now_ns, mono_ns=self.mono_ns))
        self.tick()
        self.settle()
        self.alerts.clear()

    def keep(self, outcome: Outcome) -> Outcome:
        self.held += outcome.outgoing
        self.alerts += outcome.alerts
        if outcome.facts:
            self.facts.append(outcome.rows)
            self.journal.append((self.settings.epoch, outcome.rows))
            kernel_view(self.orders, outcome.rows, self.fills)
        swept = self.gateway.swept_rows(self.now_ns)
        if len(swept):
            self.journal.append((self.settings.epoch, swept))
        return outcome

    @property
    def times(self) -> tuple[int, int]:
        return self.now_ns, self.mono_ns

    def restart(self, how: str) -> None:
        """A new process: another epoch, what was on its way is nobody's, all the rest from a snapshot, the journal, or both."""
        before = self.gateway
        self.settings = msgspec.structs.replace(self.settings, epoch=self.settings.epoch + 1)
        self.gateway = Gateway(self.settings, credentials())
        self.mono_ns = 77_000_000_000 + self.mono_ns // 3  # Another boot's clock.
        self.held.clear()
        self.answered.clear()
        if how == "snapshot":
            self.keep(self.gateway.restore(json.loads(json.dumps(before.snapshot())), *self.times))
        elif how == "snapshot and tail" and self.saved is not None:
            plain, at = self.saved
            self.keep(self.gateway.restore(json.loads(plain), *self.times))
            self.keep(self.gateway.rebuild(self.journal[at:], *self.times))
        else:
            self.keep(self.gateway.rebuild(self.journal, *self.times))
        self.keep(self.gateway.on_stream(up=True, now_ns=self.now_ns, mono_ns=self.mono_ns))

    def save(self) -> None:
        self.saved = (json.dumps(self.gateway.snapshot()), len(self.journal))

    # Requests of the kernel.

    def new(self, order_id: int, qty: int = LOT, price: int = 10_000, **fields: int) -> Outcome:
        self.orders[order_id] = KernelOrder(qty, price)
        return self.request(request_row(rows.NEW, order_id, qty, price, **fields))

    def amend(self, order_id: int, qty: int, price: int = 10_000, **fields: int) -> Outcome:
        order = self.orders[order_id]
        order.amends += 1
        order.amend_qty = max(order.amend_qty, qty)
        return self.request(request_row(rows.AMEND, order_id, qty, price, **fields))

    def cancel(self, order_id: int, **fields: int) -> Outcome:
        self.orders[order_id].pending_cancel = True
        return self.request(request_row(rows.CANCEL, order_id, **fields))

    def request(self, row: np.ndarray[Any, Any]) -> Outcome:
        self.journal.append((self.settings.epoch, row))
        return self.keep(self.gateway.on_requests(row, *self.times))

    # Fates of a request.

    def take(self, kind: int | None = None) -> Outgoing:
        for at, outgoing in enumerate(self.held):
            if kind is None or outgoing.kind == kind:
                return self.held.pop(at)
        raise AssertionError(f"nothing of kind {kind} is on its way: {self.held}")

    def arrive(self, outgoing: Outgoing) -> None:
        """It reaches the venue; the answer is on its way back."""
        self.venue.now_ms = self.now_ns // MS
        status, body = self.venue.answer(outgoing.method, outgoing.path, outgoing.text)
        self.answered.append((outgoing, status, body))

    def deliver(self, at: int = 0) -> Outcome:
        outgoing, status, body = self.answered.pop(at)
        return self.respond(outgoing, status, body)

    def respond(self, outgoing: Outgoing, status: int, body: bytes, headers: dict[str, str] | None = None) -> Outcome:
        return self.keep(self.gateway.on_response(outgoing, status, headers or {}, body, *self.times))

    def lose(self, outgoing: Outgoing) -> Outcome:
        return self.keep(self.gateway.on_timeout(outgoing, *self.times))

    def frame(self, frame: bytes) -> Outcome:
        return self.keep(self.gateway.on_user_frame(frame, *self.times))

    def frames(self) -> None:
        waiting, self.venue.frames = self.venue.frames, []
        for frame in waiting:
            self.frame(frame)

    # Time.

    def tick(self, advance_ms: int = 0) -> Outcome:
        self.now_ns += advance_ms * MS
        self.mono_ns += advance_ms * MS
        return self.keep(self.gateway.on_tick(*self.times))

    def settle(self, *, frames: bool = True, rounds: int = 200) -> None:
        """Everything on its way arrives and is answered until nothing is."""
        for _ in range(rounds):
            if not self.held and not self.answered and not (frames and self.venue.frames):
                return
            while self.held:
                self.arrive(self.held.pop(0))
            while self.answered:
                self.deliver()
            if frames:
                self.frames()
        raise AssertionError("it does not come to rest")

    def run(self, seconds: float, step_ms: int = 250, *, frames: bool = True) -> None:
        for _ in range(int(seconds * 1000 / step_ms)):
            self.tick(step_ms)
            self.settle(frames=frames)

    def gateway_probe(self) -> Outgoing:
        """Any harmless request, to carry an answer's headers."""
        self.tick(11_000)
        probe = self.take(kinds.OPEN_ORDERS)
        self.settle()
        return probe

    # Looking.

    def names(self) -> list[str]:
        return [alert.name for alert in self.alerts]

    def kinds(self) -> list[str]:
        return [
            rows.KIND_NAME[int(row["kind"])]
            for facts in self.facts
            for row in facts
            if not row["flags"] & rows.FLAG_TAIL
        ]

    def of(self, order_id: int, leg: int = 0, strategy: int = 6, epoch: int = 7) -> VenueOrder:
        found = self.venue.find(self.gateway.ids.make(epoch, strategy, order_id, leg))
        assert found is not None, f"order {order_id} leg {leg} is not at the venue"
        return found

    def count(self, kind: int) -> int:
        return sum(outgoing.kind == kind for outgoing in self.held)


def refusal(code: int, message: str = "") -> bytes:
    return json.dumps({"code": code, "msg": message}).encode()
