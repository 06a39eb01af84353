"""A run as a TOML file: its tables, their types, and every mistake in them at once.

    config = load_config(Path("run.toml"), overrides={"venue.entry_latency": "2ms"})

Unknown keys, wrong types and numbers without a unit are errors, each with file, line, key, what was expected, what was there,
and where a name is misspelt the one that was probably meant. This module reads no market data and imports no compiler, so that
`--debug` in a file can still switch the JIT off; `planning.py` turns a config into a plan.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from twinloop.data.errors import ConfigError
from twinloop.data.times import to_ns
from twinloop.engine.errors import ConfigErrors
from twinloop.engine.units import bar_kind, duration_ns, money_int, rate_of_bps, time_of_day

FORMATS: Final = ("auto", "binance-raw", "binance-archive", "csv", "parquet", "rows")


def _moment(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 10**15):
        return value
    try:
        return to_ns(value)
    except (ConfigError, TypeError, AttributeError):
        raise ValueError('a date or time such as "2024-08-08" or "2024-08-08T23:54:15Z"') from None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _text_number(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal | int) and not isinstance(value, bool) else value


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _bars(value: Any) -> Any:
    for text in value if isinstance(value, list) else [value]:
        bar_kind(text)
    return _many(value)


def _session(value: Any) -> Any:
    if value is not None:
        time_of_day(value)
    return value


def _folder_name(name: str) -> str:
    """A run's name becomes a folder below run.out, whose files are replaced: it must not lead anywhere else."""
    if name in {".", ".."} or any(mark in name for mark in "/\\\0"):
        raise ValueError("the name of one folder, without / or \\; the folder it is made in is run.out")
    return name


def _interval_or_auto(value: Any) -> int:
    return 0 if value == "auto" else duration_ns(value)


Duration = Annotated[int, BeforeValidator(duration_ns)]
Moment = Annotated[int | None, BeforeValidator(_moment)]
Money = Annotated[int, BeforeValidator(money_int)]
Rate = Annotated[int, BeforeValidator(rate_of_bps)]
Number = Annotated[float, BeforeValidator(_number)]
DecimalText = Annotated[str, BeforeValidator(_text_number)]
Names = Annotated[list[str], BeforeValidator(_many)]


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


TableT = TypeVar("TableT", bound=Table)


class RunTable(Table):
    """[run]: name and place of the result, and how it is made."""

    name: Annotated[str, AfterValidator(_folder_name)] = ""  # Empty: the file's name.
    out: str = "runs"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sample_interval: Annotated[int, BeforeValidator(_interval_or_auto)] = 0
    debug: bool = False
    cache: str = ""  # Folder of row files; empty: beside the compiled code.


class SynthSymbolTable(Table):
    """One symbol of [data.synth]: as data/synth.py's SynthSymbol."""

    symbol: str
    price: DecimalText = "60000"
    best_qty: DecimalText = "3.5"
    trade_qty: DecimalText = "0.05"
    events_per_s: Number = 190.0
    levels_per_event: Number = 7.0
    volatility_bps: Number = 1.2
    depth_ticks: int = 1000
    latency: Duration = 2_000_000
    jitter: Duration = 1_000_000


class SynthTable(Table):
    """[data.synth]: a market that twinloop makes."""

    symbols: Annotated[list[str | SynthSymbolTable], Field(min_length=1)] = ["BTCUSDT"]
    rows: Annotated[int, Field(gt=0)] | None = None
    duration: Duration | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    correlation: Annotated[Number, Field(ge=0, le=1)] = 0.0
    reversion: Duration = 0

    @model_validator(mode="after")
    def _has_an_end(self) -> "SynthTable":
        if self.rows is None and self.duration is None:
            raise ValueError('rows or duration, such as duration = "10m"')
        return self


class DataTable(Table):
    """[[data]]: exactly one of file, catalog or synth."""

    file: Annotated[list[str] | None, BeforeValidator(_many)] = None
    catalog: str | None = None
    synth: SynthTable | None = None
    # Of files.
    format: Literal["auto", "binance-raw", "binance-archive", "csv", "parquet", "rows"] = "auto"
    instrument: str | None = None  # A preset "venue:SYMBOL", or the name of an [instruments.NAME] table.
    kind: str | None = None
    columns: dict[str, str | int] = {}
    delimiter: str | None = None
    decimal: str | None = None
    time_unit: Literal["s", "ms", "us", "ns", "text"] | None = None
    time_format: str | None = None
    timezone: str = "UTC"
    interval: str | None = None
    stamp: Literal["open", "close"] | None = None
    price_scale: int | None = None
    qty_scale: int | None = None
    round: bool = False
    sort: bool = False
    latency: Duration = 0
    # Of files and catalogs.
    symbol: Annotated[list[str] | None, BeforeValidator(_many)] = None
    venue: str | None = None
    start: Moment = None
    end: Moment = None
    kinds: list[str] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "DataTable":
        given = [name for name in ("file", "catalog", "synth") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("exactly one of file, catalog, synth" + (f", not {' and '.join(given)}" if given else ""))
        if self.catalog is not None and not self.symbol:
            raise ValueError("symbol, naming what to take from the catalog")
        if self.file is not None and self.symbol is not None and len(self.symbol) > 1:
            raise ValueError("one symbol per file")
        return self


class FeeTier(Table):
    """One of venue.fee_tiers."""

    volume: Money
    maker_bps: Rate
    taker_bps: Rate


def _tier(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 3:
            raise ValueError("[volume, maker bps, taker bps]")
        return dict(zip(("volume", "maker_bps", "taker_bps"), value, strict=True))
    return value


class VenueTable(Table):
    """[venue]: the simulated venue."""

    entry_latency: Duration = 0
    response_latency: Duration = 0
    latency_model: Literal["constant", "seeded", "measured"] = "constant"
    jitter: Duration = 0
    latency_file: str | None = None
    queue_model: Literal["risk_averse", "power", "log"] = "risk_averse"
    queue_power: Annotated[int, Field(ge=1, le=8)] = 2
    deplete: bool = True
    mode: Literal["default", "hftbacktest"] = "default"
    bar_path: Literal["worst", "ohlc", "olhc", "nearest"] = "worst"
    touch_fills: bool = False
    session_end: Annotated[str | None, BeforeValidator(_session)] = None
    fee_tiers: Annotated[list[Annotated[FeeTier, BeforeValidator(_tier)]], Field(max_length=8)] = []

    @model_validator(mode="after")
    def _fits_together(self) -> "VenueTable":
        if (self.latency_model == "measured") != (self.latency_file is not None):
            raise ValueError('latency_file together with latency_model = "measured", or neither')
        if self.jitter and self.latency_model != "seeded":
            raise ValueError('latency_model = "seeded" with a jitter')
        volumes = [tier.volume for tier in self.fee_tiers]
        if volumes != sorted(set(volumes)):
            raise ValueError("fee_tiers by rising volume")
        return self


class AccountTable(Table):
    """[account]: what the run starts with."""

    currency: str = "USDT"
    cash: Annotated[Money, Field(gt=0)] = 100_000 * 10**8
    fx: dict[str, Annotated[Money, Field(gt=0)]] = {}


class StrategyTable(Table):
    """[[strategy]]."""

    path: str
    name: str = ""
    symbols: Names = []
    parameters: dict[str, Any] = {}
    bars: Annotated[list[str], BeforeValidator(_bars)] = []


class RunConfig(Table):
    """A whole run."""

    run: RunTable = RunTable()
    data: Annotated[list[DataTable], Field(min_length=1)]
    venue: VenueTable = VenueTable()
    account: AccountTable = AccountTable()
    limits: str | dict[str, Any] = "research"
    strategy: Annotated[list[StrategyTable], Field(min_length=1)]
    instruments: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Loaded:
    """A config with where it came from. document: what was read, with overrides, as plain values for the manifest."""

    config: RunConfig
    file: Path | None
    folder: Path  # Relative paths of the file start here.
    document: dict[str, Any]
    overrides: frozenset[str] = frozenset()  # Their keys.

    def given(self, table: str) -> bool:
        """Whether an override sets a table, or a key of it: then no line of the file is to blame."""
        return any(key.split(".")[0] == table for key in self.overrides)


def mistakes_of(table: type[TableT], values: Mapping[str, Any]) -> TableT:
    """One table from flags. Raises ConfigErrors with every mistake."""
    try:
        return table.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigErrors(_mistakes(error, None, "", table)) from None


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Document and text of a TOML file; numbers with a point keep their digits. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text, parse_float=Decimal), text
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, _names_in(path.parent), n=1, cutoff=0.7)
        hint = f"did you mean {path.parent / near[0]}" if near else "name an existing TOML file"
        raise ConfigError("no such configuration", file=path, remedy=hint) from None
    except OSError as error:
        raise ConfigError("cannot read the configuration", file=path, got=error.strerror) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a TOML file: {error}", file=path, remedy="see https://toml.io for its rules") from None


def _names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.glob("*.toml")] if folder.is_dir() else []


def load_config(
    path: Path | None, overrides: Mapping[str, Any] | None = None, base: Mapping[str, Any] | None = None
) -> Loaded:
    """A config from a file, or from `base` alone, with overrides by key path ("venue.entry_latency").

    overrides: values as TOML would give them. Raises ConfigErrors with every mistake.
    """
    config, document = load_tables(RunConfig, path, overrides, base)
    folder = Path.cwd() if path is None else path.resolve().parent
    return Loaded(config=config, file=path, folder=folder, document=document, overrides=frozenset(overrides or ()))


def load_tables(
    model: type[TableT],
    path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> tuple[TableT, dict[str, Any]]:
    """Tables of a file, and the document they were read from as plain values. Raises ConfigErrors with every mistake."""
    document, text = ({}, "") if path is None else read_toml(path)
    document = {**(base or {}), **document}
    for key, value in (overrides or {}).items():
        put(document, key, value)
    try:
        config = model.model_validate(document)
    except ValidationError as error:
        raise ConfigErrors(_mistakes(error, path, text, model, overrides or {})) from None
    return config, plain(document)


def put(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a key path such as "strategy.0.parameters.fast"; an index may be left out where a list has one table."""
    parts = key.split(".")
    here: Any = document
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if isinstance(here, list):
            if part.isdigit() and int(part) < len(here):
                index = int(part)
                if last:
                    here[index] = value
                    return
                here = here[index]
                continue
            if len(here) != 1 or not isinstance(here[0], dict):
                raise ConfigError(
                    "cannot set this key",
                    field=key,
                    expected=f"an index below {len(here)} after {'.'.join(parts[:at])}",
                    got=part,
                )
            here = here[0]
        if not isinstance(here, dict):
            above = ".".join(parts[:at])
            remedy = "a preset beside single limits is limits.preset" if above == "limits" else None
            raise ConfigError(
                "cannot set this key",
                field=key,
                expected=f"a table at {above}",
                got=f"{above} = {here}",
                remedy=remedy,
            )
        if last:
            here[part] = value
            return
        if part in {"data", "strategy"} and at == 0 and part not in here:
            here[part] = [{}]
        here = here.setdefault(part, {})


def parse_override(text: str) -> tuple[str, Any]:
    """Key and value of KEY=VALUE; the value as TOML reads it, or else a plain text. Raises ConfigError."""
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z0-9_\-.]+", key.strip()):
        raise ConfigError(
            "not a setting", field="--set", expected="KEY=VALUE such as venue.entry_latency=2ms", got=text
        )
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}", parse_float=Decimal)["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def plain(value: Any) -> Any:
    """A document as JSON takes it: decimals and dates as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _mistakes(
    error: ValidationError,
    path: Path | None,
    text: str,
    model: type[BaseModel] = RunConfig,
    overrides: Mapping[str, Any] | None = None,
) -> list[ConfigError]:
    found: list[ConfigError] = []
    seen: set[tuple[str, str]] = set()
    for each in error.errors(include_url=False):
        parts = _existing(each["loc"])
        given = path is not None and _was_given(parts, overrides or {})
        line = _line_of(text, parts) if path and not given else None
        mistake = _mistake(each, parts, Path("command line") if given else path, line, model)
        if (str(mistake.field), str(mistake.expected)) not in seen:
            seen.add((str(mistake.field), str(mistake.expected)))
            found.append(mistake)
    # Of a value that may be a text or a table, the table's own mistakes say more.
    keys = [f"{one.field}" for one in found]
    found = [
        one
        for one in found
        if one.expected != _EXPECTED["string_type"] or not any(key.startswith(f"{one.field}.") for key in keys)
    ]
    # And of one that may be a number or a table, that the number is out of bounds.
    found = [one for one in found if one.expected != _EXPECTED["dict_type"] or keys.count(f"{one.field}") == 1]
    return sorted(found, key=lambda one: one.line or 0)


def _was_given(parts: Sequence[Any], overrides: Mapping[str, Any]) -> bool:
    """Whether a location was set by an override, indices aside: then no line of the file is to blame."""
    names = [part for part in parts if not isinstance(part, int)]
    given = [[part for part in key.split(".") if not part.isdigit()] for key in overrides]
    return any(names[: len(key)] == key for key in given)


def _existing(loc: Sequence[Any]) -> list[Any]:
    """A location without the marks that pydantic sets for members of a union or for functions."""
    marks = {"str", "int", "float", "bool", "constrained-int", "SynthSymbolTable", "list[str]", "dict[str,any]"}
    return [part for part in loc if not (isinstance(part, str) and (part in marks or "[" in part or "(" in part))]


def _mistake(each: Any, parts: list[Any], path: Path | None, line: int | None, top: type[BaseModel]) -> ConfigError:
    key = ".".join(str(part) for part in parts) or "the file"
    got, kind, context = each.get("input"), each["type"], each.get("ctx", {})
    what, expected, remedy = "a setting cannot stand", "", None
    if kind == "extra_forbidden":
        known = _keys_at(parts[:-1], top)
        what, expected = "unknown key", "one of " + ", ".join(known)
        near = difflib.get_close_matches(str(parts[-1]), known, n=1)
        remedy = f"did you mean {near[0]}?" if near else "remove it"
        return ConfigError(what, file=path, line=line, field=key, expected=expected, remedy=remedy)
    if kind == "missing":
        return ConfigError("missing", file=path, line=line, field=key, expected=_MISSING.get(str(parts[-1]), "a value"))
    if kind == "literal_error":
        choices = [text.strip().strip("'") for text in re.split(r", | or ", str(context["expected"]))]
        expected = "one of " + ", ".join(choices)
        near = difflib.get_close_matches(str(got), choices, n=1)
        remedy = f"did you mean {near[0]}?" if near else None
    elif kind == "value_error":
        expected = str(context["error"])
    else:
        expected = _EXPECTED.get(kind, "") or str(each["msg"]).removeprefix("Input should be ").removeprefix("a valid ")
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if name in context:
                expected = {
                    "ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}",
                    "min_length": "at least {} of them", "max_length": "at most {} of them",
                }[name].format(context[name])  # fmt: skip
    shown = None if isinstance(got, dict | list | BaseModel) else (got if isinstance(got, str) else str(got))
    return ConfigError(what, file=path, line=line, field=key, expected=expected, got=shown, remedy=remedy)


_MISSING: Final = {
    "data": "one or more [[data]] tables with file, catalog or synth",
    "strategy": 'one or more [[strategy]] tables with path = "file.py:Class"',
    "path": 'a strategy such as "ema_cross.py:EmaCross"',
}
_EXPECTED: Final = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _keys_at(parts: Sequence[Any], top: type[BaseModel]) -> list[str]:
    """Keys that the table at a location may have."""
    model: Any = top
    for part in parts:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = _table_in(field.annotation) if field is not None else None
    return list(model.model_fields) if model is not None else []


def _table_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _table_in(inner)
        if found is not None:
            return found
    return None


def _line_of(text: str, parts: Sequence[Any]) -> int | None:
    """Line of a key in a TOML text, as far as plain tables and keys tell; of its table when it is not there."""
    names = [part for part in parts if not isinstance(part, int)]
    indices = [part for part in parts if isinstance(part, int)]
    wanted_index = indices[0] if indices else 0
    table: list[str] = []
    counts: dict[str, int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]", line)
        if head:
            table = [part.strip().strip("\"'") for part in head[2].split(".")]
            if head[1] == "[[":
                counts[table[0]] = counts.get(table[0], -1) + 1
            depth = len(table)
        else:
            key = re.match(r"\s*([A-Za-z0-9_.\-]+)\s*=", line)
            if not key:
                continue
            depth = len(table) + len(key[1].split("."))
        here = table if head else [*table, *(key[1].split(".") if key else ())]
        if (
            here == names[:depth]
            and counts.get(here[0], wanted_index) == wanted_index
            and (best is None or depth > best[0])
        ):
            best = (depth, number)
    return best[1] if best else None
