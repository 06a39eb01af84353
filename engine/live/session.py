"""What a live session is made of: everything that, with the facts of its journal, decides what it does.

A Session is plain data: it stands in the header of every journal segment, and a process that has nothing but the journal and the
strategies' files builds the same node from it. This module must not know sockets, files or clocks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_SCALE, Instrument
from twinloop.engine.assembly import BarRequest, VenueSettings
from twinloop.engine.bar_series import Listener, series_from_trades
from twinloop.engine.instrument_names import slots_by_name, suggestion
from twinloop.engine.limits import Limits, parse_limits
from twinloop.engine.live.inherited import Inherited
from twinloop.engine.user_code import load_strategy
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.node import STANDARD

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

DAY_NS: Final = 86_400_000_000_000
MARKET_MODES: Final = {"depth": venue_kernel.DEPTH, "touch": venue_kernel.TOUCH, "prints": venue_kernel.PRINTS}


class StrategySpec(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy. path: `file.py:Class` or `module:Class`. digest: of the user's sources when the session began."""

    name: str
    path: str
    parameters: dict[str, Any] = {}
    symbols: list[str] = []
    bars: list[tuple[int, int]] = []  # (kind of kernels/bars.py, size)
    digest: str = ""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session. Times in ns since the epoch, money in 1e-8, shown: how each instrument's market is known ("depth", "touch", "prints")."""

    name: str
    mode: str  # "paper" or "live"
    instruments: list[Instrument]
    shown: list[str]
    strategies: list[StrategySpec]
    currency: str
    cash: int
    limits_section: dict[str, Any]
    start_ns: int
    fx: dict[str, int] = {}
    stock: dict[
        str, int
    ] = {}  # Balances of base assets when a live spot session began: its positions count from there.
    folder: str = ""  # Where relative paths of strategies start.
    seed: int = 0
    traded_from_ns: int = (
        0  # When it began to trade, where history was fed before: nothing earlier at the venue is its own.
    )
    session_start_ns: int = 0  # Start of the loss cap's day, ns after midnight UTC.
    day_ns: int = DAY_NS
    sample_interval_ns: int = 1_000_000_000
    entry_latency_ns: int = 0  # Of the simulated venue of a paper session.
    response_latency_ns: int = 0
    queue_model: str = "risk_averse"
    code: str = ""  # Digest of the kernels.
    inherited: Inherited | None = None  # What the session before it handed over.

    def market_modes(self) -> list[int]:
        """The kernel's number for how each instrument's market is known."""
        depth = sum(each == "depth" for each in self.shown)
        if depth > STANDARD.books:
            raise ConfigError(
                "too many order books in one session", expected=f"at most {STANDARD.books}", got=str(depth),
                remedy="take fewer symbols, or only their touch",
            )  # fmt: skip
        return [MARKET_MODES[each] for each in self.shown]

    def limits(self) -> Limits:
        """The limits of the risk gate. Of a live session spot is never sold short: no venue would take it."""
        limits = parse_limits(self.limits_section, default=None)
        return msgspec.structs.replace(limits, spot_short_selling=False) if self.mode == "live" else limits

    def venue_settings(self) -> VenueSettings:
        """How a paper session's venue behaves."""
        return VenueSettings(
            entry_latency_ns=self.entry_latency_ns,
            response_latency_ns=self.response_latency_ns,
            queue_model=self.queue_model,
        )

    def slots_of(self, spec: StrategySpec) -> Sequence[int]:
        """Slots of the instruments a strategy sees: those it names, or all."""
        slots = slots_by_name(self.instruments)
        for name in spec.symbols:
            if name not in slots:
                raise ConfigError(
                    "strategy names a symbol that is not in the session", field=f"strategy.{spec.name}.symbols",
                    expected="one of " + ", ".join(slots), got=name, remedy=suggestion(name, slots) or None,
                )  # fmt: skip
        return [slots[name] for name in spec.symbols] if spec.symbols else list(range(len(self.instruments)))

    def bar_requests(self) -> list[BarRequest]:
        """The bars that strategies asked for: a live feed has trades."""
        return series_from_trades(
            [Listener(spec.name, self.slots_of(spec), spec.bars, has_on_bar=True) for spec in self.strategies]
        )

    @property
    def capital(self) -> int:
        """What limits in per cent are shares of until the day ends: the equity that it began with."""
        return self.cash if self.inherited is None else self.inherited.account["day_equity"]

    @property
    def money_decimals(self) -> int:
        """How many decimals of the account's money a person is told: of a coin all of them."""
        coins = {each.settle for each in self.instruments if each.contract == "inverse"}
        return MONEY_SCALE if self.currency in coins else 2

    def require_rates(self) -> None:
        """ConfigError for an instrument whose money has no rate to the account's: the gate would refuse every order in it."""
        for each in self.instruments:
            if each.settle != self.currency and not self.fx.get(each.settle):
                raise ConfigError(
                    "no rate for a settlement currency", field=f"account.fx.{each.settle}", expected=f"units of {self.currency} for one {each.settle}",
                    got=f"nothing, and {each.symbol} settles in it", remedy=f"add it, or make {each.settle} the account's currency",
                )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of the session as JSON: the configuration's hash in a journal's header."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def compiled_strategies(session: Session) -> list["CompiledStrategy"]:
    """Every strategy of a session, compiled or loaded from the cache."""
    from twinloop.engine.strategy_compiler import compile_strategy  # noqa: PLC0415 - after the cache folder is chosen

    folders = [Path(session.folder)] if session.folder else [Path.cwd()]
    symbols = slots_by_name(session.instruments)
    return [
        compile_strategy(load_strategy(spec.path, folders), dict(spec.parameters), STANDARD, symbols=symbols)
        for spec in session.strategies
    ]


def with_digests(session: Session, compiled: Sequence["CompiledStrategy"] | None = None) -> Session:
    """The session with the digest of each strategy's sources and of the kernels, for a journal's header."""
    from twinloop.engine.backtest import code_digest  # noqa: PLC0415 - loads what computes it

    specs = [
        msgspec.structs.replace(spec, digest=each.source_digest)
        for spec, each in zip(session.strategies, compiled or compiled_strategies(session), strict=True)
    ]
    return msgspec.structs.replace(session, strategies=specs, code=code_digest())


def changed_since(session: Session, compiled: Sequence["CompiledStrategy"]) -> list[str]:
    """What is no longer as it was when the session began, in words: kernels, strategies. Empty: nothing. compiled: as they are now."""
    now = with_digests(session, compiled)
    found = [] if now.code == session.code else ["the engine's kernels (another version of twinloop)"]
    found += [
        f"strategy {was.name} ({was.path})"
        for was, each in zip(session.strategies, now.strategies, strict=True)
        if was.digest != each.digest
    ]
    return found


def session_to_plain(session: Session) -> Mapping[str, Any]:
    """As JSON takes it."""
    plain: dict[str, Any] = msgspec.to_builtins(session)
    return plain


def session_from_plain(plain: Mapping[str, Any]) -> Session:
    """The session of a journal's header. Raises ConfigError for one that is none."""
    try:
        return msgspec.convert(dict(plain), Session)
    except msgspec.ValidationError as error:
        raise ConfigError("the journal's session cannot be read", got=str(error)) from None
