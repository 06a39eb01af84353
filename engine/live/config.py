"""A live session as a TOML file: its tables, and what may not stand together.

Every mistake at once, each with file, line and key (engine/config.py). A live session has no default limits, its keys are never in the
file, and plain connections lead to this machine only. This module opens nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from twinloop.data.binance_orders import Market
from twinloop.data.errors import ConfigError
from twinloop.engine.config import Duration, Money, Names, Rate, StrategyTable, Table, load_tables
from twinloop.engine.gateway.endpoints import LIVE, Endpoints, check_address, endpoints_at
from twinloop.engine.limits import from_config, require_explicit

VENUES: Final = ("binance-spot", "binance-usdm", "binance-coinm")
MARKETS: Final[dict[str, Market]] = {"binance-spot": "spot", "binance-usdm": "usdm"}  # Whose orders are built.
DEFAULT_STREAM: Final = {
    "binance-spot": "wss://stream.binance.com:9443",
    "binance-usdm": "wss://fstream.binance.com",
    "binance-coinm": "wss://dstream.binance.com",
}
DEFAULT_REST: Final = {
    "binance-spot": LIVE["spot"].rest,
    "binance-usdm": LIVE["usdm"].rest,
    "binance-coinm": "https://dapi.binance.com",
}


RECONCILE_MIN_NS: Final = 500_000_000
Leverage = Annotated[int, Field(strict=True, ge=1, le=125)]


def _check_addresses(*addresses: tuple[str, str, tuple[str, str]]) -> None:
    """ValueError for an address (field, text, safe and plain scheme) that is neither secure nor of this machine."""
    for field, text, schemes in addresses:
        try:
            if text:
                check_address(field, text, schemes)
        except ConfigError as error:
            raise ValueError(f"{field} as {error.expected}, or as {schemes[1]}:// to this machine") from None


def _one_folder(name: str) -> str:
    """A session's name is the name of its folder below session.out: it must not lead anywhere else."""
    if name in {".", ".."} or any(mark in name for mark in "/\\\0"):
        raise ValueError("the name of one folder, without / or \\; the folder it is made in is session.out")
    return name


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9]{1,4}", text):
        raise ValueError("one to four letters and digits: every client order id begins with them")
    return text


def _some_money(amount: int) -> int:
    if amount <= 0:
        raise ValueError("more than 0: without money every order is refused")
    return amount


class SessionTable(Table):
    """[session]: what it is called, where it is kept, and whether its orders are real."""

    name: Annotated[str, AfterValidator(_one_folder)] = ""  # Empty: the file's name.
    mode: Literal["paper", "live"] = "paper"
    out: str = "sessions"
    durability: Literal["async", "group", "strict"] = "group"
    continues: str = ""  # A handover's file, from this file on: what an earlier session held and what it lost today.
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    segment_rows: Annotated[int, Field(ge=4096, le=1 << 24)] = 1 << 20  # Of a journal's segment, 64 bytes each.


class FeedTable(Table):
    """[feed]: where the market comes from. stream, rest: the venue's own addresses unless given; backup_*: of a second feed."""

    venue: Literal["binance-spot", "binance-usdm", "binance-coinm"]
    symbols: Annotated[Names, Field(min_length=1)]
    shown: Literal["depth", "touch"] = "depth"
    prints: Literal["trade", "aggTrade"] = "trade"  # Single trades, or those of one order at one price together.
    marks: bool | None = None  # Mark prices and funding; None: of futures.
    stream: str = ""
    rest: str = ""
    maker_fee_bps: Rate = 0  # As a rate in 1e-8 from here on.
    taker_fee_bps: Rate = 0
    stale_after: Duration = 0  # 0: learned from the stream.
    lag_max: Duration = 1_000_000_000  # So much later than usual by the venue's times, and the market is stale; 0: any.
    backup_stream: str = ""  # Empty: there is no second feed.
    backup_rest: str = ""  # Empty: that of the first.
    late_after: Duration = 100_000_000  # So much later than the other feed, and it is left.
    dwell: Duration = 10_000_000_000
    disagree_bps: Annotated[int, Field(ge=0, le=10_000)] = 50  # 0: prices of two feeds are not compared.
    rotate_after: Duration = 23 * 3_600_000_000_000
    poll_after: Duration = 5_000_000_000  # Without a stream for so long, prices are asked for; 0: never.
    poll_every: Annotated[Duration, Field(ge=500_000_000)] = 2_000_000_000

    @model_validator(mode="after")
    def _addresses(self) -> "FeedTable":
        streams = [(name, getattr(self, name), ("wss", "ws")) for name in ("stream", "backup_stream")]
        rests = [(name, getattr(self, name), ("https", "http")) for name in ("rest", "backup_rest")]
        _check_addresses(*streams, *rests)
        if self.backup_rest and not self.backup_stream:
            raise ValueError("backup_rest belongs to a backup_stream")
        return self

    @model_validator(mode="after")
    def _marks(self) -> "FeedTable":
        if self.marks and self.venue == "binance-spot":
            raise ValueError("marks = true needs a venue of futures: spot has no mark price")
        return self

    @property
    def tells_marks(self) -> bool:
        """Whether mark prices are listened to."""
        return self.venue != "binance-spot" if self.marks is None else self.marks


class PaperTable(Table):
    """[paper]: the simulated venue of a paper session."""

    entry_latency: Duration = 1_000_000
    response_latency: Duration = 1_000_000
    queue_model: Literal["risk_averse", "power", "log"] = "risk_averse"


class WarmupTable(Table):
    """[warmup]: history that strategies see before they trade, at a session's first start. Empty and 0: none."""

    catalog: str = ""  # A catalog's folder, from the file's on: trades, and books or quotes as `shown`.
    last: Duration = 0  # Of the catalog, the last so much; 0: all of it.
    bars: Annotated[int, Field(strict=True, ge=0, le=5000)] = (
        0  # So many closed bars of each series by time, from the venue's klines.
    )
    trades: Annotated[Duration, Field(le=24 * 3_600_000_000_000)] = (
        0  # The venue's aggregated trades of so long, by REST.
    )
    gap_max: Duration = 3_600_000_000_000  # The history may end so long before now.

    @model_validator(mode="after")
    def _once(self) -> "WarmupTable":
        if self.bars and self.catalog:
            raise ValueError(
                "bars and catalog would tell the same trades twice: take one of them, trades may stand beside either"
            )
        return self


class AccountTable(Table):
    """[account]: what a paper session starts with; of a live one the venue says it."""

    currency: str = "USDT"
    cash: Annotated[Money, AfterValidator(_some_money)] = 100_000 * 10**8
    fx: dict[str, Annotated[Money, Field(gt=0)]] = Field(default_factory=dict)


class OrdersTable(Table):
    """[orders]: where real orders go, and which environment variables hold the keys; the keys are never here."""

    key_variable: str = "TWINLOOP_API_KEY"
    secret_variable: str = "TWINLOOP_API_SECRET"  # noqa: S105 - a name, not a secret
    keyring: str = ""  # A service in the system's keyring that holds the keys instead, as api-key and api-secret.
    prefix: Annotated[str, AfterValidator(_prefix)] = "tl"
    dead_man_timeout: Duration = 60_000_000_000
    websocket: bool = False  # Orders go over the WebSocket API, by REST where that is down or has no such call.
    reconcile_every: Duration = (
        60_000_000_000  # The venue's positions are compared with the journal's; 0: at starts only.
    )
    # Spot: by so much of the account's currency balances may differ and be taken for equal.
    cash_tolerance: Annotated[Money, Field(ge=0)] = 10**6
    margin: Literal["cross", "isolated"] = (
        "cross"  # What USD-M must say of each symbol at a start; never set from here.
    )
    leverage: Leverage | dict[str, Leverage] | None = None  # The same, for all symbols or by symbol; None: only told.
    calls: str = ""  # Host of the WebSocket API; the venue's own, or the feed's where that is given.

    @model_validator(mode="after")
    def _variables(self) -> "OrdersTable":
        _check_addresses(("calls", self.calls, ("wss", "ws")))
        if 0 < self.reconcile_every < RECONCILE_MIN_NS:
            raise ValueError("reconcile_every is 0 or at least 500ms: each look costs of the venue's limits")
        _check_variables(self.key_variable, self.secret_variable)
        return self


class SidecarTable(Table):
    """[sidecar]: the process that watches a session. The variables name a key of its own: it needs no right but to cancel."""

    key_variable: str = "TWINLOOP_CANCEL_KEY"
    secret_variable: str = "TWINLOOP_CANCEL_SECRET"  # noqa: S105 - a name, not a secret
    webhook_variable: str = "TWINLOOP_WEBHOOK"
    mute_after: Annotated[Duration, Field(ge=500_000_000, le=60_000_000_000)] = 3_000_000_000
    snapshot_rows: Annotated[int, Field(ge=1000)] = 1_000_000
    snapshot_every: Annotated[Duration, Field(ge=1_000_000_000)] = 300_000_000_000
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: none.
    shadow: bool = True
    shadow_entry_latency: Duration = 5_000_000  # Of the simulated venue beside a session with real orders.
    shadow_response_latency: Duration = 5_000_000

    @model_validator(mode="after")
    def _variables(self) -> "SidecarTable":
        _check_variables(self.key_variable, self.secret_variable, self.webhook_variable)
        return self


class JournalTable(Table):
    """[journal]: how long it stays on its disk; carried out by the sidecar. archive: folder of the copies, one folder a session in it."""

    archive: str = ""  # Empty: nothing is archived by itself.
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0  # 0: nothing is removed.

    @model_validator(mode="after")
    def _copies(self) -> "JournalTable":
        if self.keep_days and not self.archive:
            raise ValueError("keep_days needs an archive: nothing is removed that no copy holds")
        return self


def _check_variables(*names: str) -> None:
    for name in names:
        if not name.isidentifier() or not name.isupper():
            raise ValueError("names of environment variables in capitals, never the keys themselves")


class LiveConfig(Table):
    """A whole session."""

    session: SessionTable = SessionTable()
    feed: FeedTable
    warmup: WarmupTable = WarmupTable()
    paper: PaperTable = PaperTable()
    account: AccountTable = AccountTable()
    orders: OrdersTable | None = None
    sidecar: SidecarTable = SidecarTable()
    journal: JournalTable = JournalTable()
    limits: str | dict[str, Any] | None = None
    strategy: Annotated[list[StrategyTable], Field(min_length=1)]


@dataclass(frozen=True)
class LoadedSession:
    """A session's config with where it came from. document: as plain values."""

    config: LiveConfig
    file: Path
    folder: Path
    document: dict[str, Any]

    @property
    def name(self) -> str:
        """What the session is called."""
        return self.config.session.name or self.file.stem

    @property
    def place(self) -> Path:
        """Folder of everything the session keeps."""
        return Path(self.config.session.out).expanduser() / self.name

    @property
    def continues(self) -> Path | None:
        """File of the handover that the session goes on from, if any."""
        given = self.config.session.continues
        return self.folder / Path(given).expanduser() if given else None

    @property
    def copies(self) -> Path | None:
        """Folder of the copies of the journal's archive, if any are made."""
        archive = self.config.journal.archive
        return Path(archive).expanduser() / self.name if archive else None

    @property
    def stream(self) -> str:
        """Address of the feed."""
        feed = self.config.feed
        return (feed.stream or DEFAULT_STREAM[feed.venue]).rstrip("/")

    @property
    def rest(self) -> str:
        """Address of the venue's REST interface."""
        feed = self.config.feed
        return (feed.rest or DEFAULT_REST[feed.venue]).rstrip("/")

    @property
    def endpoints(self) -> Endpoints:
        """Where real orders go: the venue's own addresses, or those of the file."""
        feed = self.config.feed
        assert self.config.orders is not None
        market, calls = MARKETS[feed.venue], self.config.orders.calls.rstrip("/")
        if not (feed.stream or feed.rest or calls):
            return LIVE[market]
        rights = "" if feed.rest else LIVE[market].rights
        return endpoints_at(market, rest=self.rest, stream=self.stream, calls=calls, rights=rights)

    @property
    def limits_section(self) -> dict[str, Any]:
        """The [limits] table as plain values."""
        given = self.document.get("limits")
        return {"preset": given} if isinstance(given, str) else dict(given or {})

    def leverage_of(self, symbol: str) -> int | None:
        """What the file says a symbol's leverage is at the venue; None: nothing."""
        orders = self.config.orders
        given = None if orders is None else orders.leverage
        return given.get(symbol) if isinstance(given, dict) else given


def _check_live(config: LiveConfig, path: Path) -> None:
    """What only a session with real orders needs."""
    orders = config.orders or OrdersTable()
    only_usdm = sorted(orders.model_fields_set & {"margin", "leverage"}) if config.feed.venue != "binance-usdm" else []
    by_symbol = orders.leverage if isinstance(orders.leverage, dict) else {}
    strangers = sorted(set(by_symbol) - set(config.feed.symbols))
    problems: tuple[tuple[bool, str, str, str], ...] = (
        (config.orders is None, "orders", "an [orders] table", "nothing"),
        (
            config.feed.venue not in MARKETS,
            "feed.venue",
            " or ".join(MARKETS) + ": the markets whose orders are built",
            config.feed.venue,
        ),
        ("account" in config.model_fields_set, "account", "no [account] table: the venue says what is there", "one"),
        ("paper" in config.model_fields_set, "paper", "no [paper] table", "one"),
        (
            config.session.durability == "async" and not config.feed.rest,
            "session.durability",
            "group or strict",
            "async",
        ),
        (bool(only_usdm), "orders", "no margin or leverage outside binance-usdm", ", ".join(only_usdm)),
        (bool(strangers), "orders.leverage", "symbols of [feed]", ", ".join(strangers)),
    )
    for wrong, field, expected, got in problems:
        if wrong:
            raise ConfigError("not a session for real orders", file=path, field=field, expected=expected, got=got)


def load_session(path: Path, overrides: dict[str, Any] | None = None) -> LoadedSession:
    """Read a session's file. Raises ConfigErrors, or ConfigError for what is dangerous."""
    config, document = load_tables(LiveConfig, path, overrides)
    loaded = LoadedSession(config, path, path.resolve().parent, document)
    limits = None if config.limits is None else from_config(config.limits, path)
    if config.session.mode == "live":
        require_explicit(limits)
        _check_live(config, path)
    elif config.orders is not None:
        raise ConfigError(
            "a session on paper sends no orders", file=path, field="orders", expected='no [orders] table, or mode = "live" under [session]',
            got="one", remedy="say which of both is meant",
        )  # fmt: skip
    if limits is None:
        raise ConfigError(
            "a session has no default limits", file=path, field="limits", expected='a [limits] table or limits = "conservative"',
            got="nothing", remedy='write limits = "conservative" at the top of the file, or a table of your own',
        )  # fmt: skip
    if len(set(config.feed.symbols)) != len(config.feed.symbols):
        raise ConfigError(
            "a symbol is named twice", file=path, field="feed.symbols", got=", ".join(config.feed.symbols)
        )
    return loaded
