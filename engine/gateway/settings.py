"""Settings of a gateway. Every number names its unit; what is not set here the venue's documentation sets."""

from collections.abc import Mapping

import msgspec

from twinloop.data.binance_orders import Market
from twinloop.data.errors import ConfigError
from twinloop.data.instruments import Instrument

SECOND_NS = 1_000_000_000


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One market, one account, one session.

    instruments: slot -> instrument of this market. currencies: asset -> currency slot, for fees. unpriced: those
    of them that have no rate to the account's. epoch: of this run, larger than any
    before. window_ms: how late a request may reach the venue; longer ones die there. Raises ConfigError.
    """

    market: Market
    account: int
    prefix: str
    epoch: int
    instruments: Mapping[int, Instrument]
    currencies: Mapping[str, int]
    unpriced: frozenset[str] = frozenset()
    source: int = 0
    start_ns: int = 0
    window_ms: int = 5000
    order_timeout_ns: int = 5 * SECOND_NS
    query_timeout_ns: int = 10 * SECOND_NS
    horizon_ns: int = 10 * SECOND_NS
    query_interval_ns: int = SECOND_NS // 4
    query_interval_max_ns: int = 4 * SECOND_NS
    cancel_interval_ns: int = SECOND_NS // 2
    cancel_interval_max_ns: int = 5 * SECOND_NS
    sweep_interval_ns: int = 10 * SECOND_NS
    sweep_interval_blind_ns: int = 2 * SECOND_NS
    fill_grace_ns: int = SECOND_NS // 2
    clock_interval_ns: int = 60 * SECOND_NS
    clock_offset_max_ns: int = SECOND_NS
    dead_man_timeout_ms: int = 60_000
    dead_man_refresh_ns: int = 15 * SECOND_NS
    websocket: bool = False  # Orders go over the WebSocket API where it has the call.
    logged_on: bool = False  # That session is logged on: its frames are not signed.

    def __post_init__(self) -> None:
        """Check what the gateway relies on."""
        checks = (
            ("window_ms", 1 <= self.window_ms <= 60_000, "1 to 60000", self.window_ms),
            ("horizon_ns", self.horizon_ns >= SECOND_NS, "at least a second", self.horizon_ns),
            ("account", 0 <= self.account <= 255, "0 to 255", self.account),
            ("instruments", bool(self.instruments), "at least one", len(self.instruments)),
            ("epoch", self.epoch > 0, "a positive number", self.epoch),
            (
                "dead_man_timeout_ms",
                self.dead_man_timeout_ms * 1_000_000 >= 2 * self.dead_man_refresh_ns,
                "twice dead_man_refresh_ns",
                self.dead_man_timeout_ms,
            ),
        )
        for field, fine, expected, got in checks:
            if not fine:
                raise ConfigError("a gateway's setting cannot stand", field=field, expected=expected, got=got)
