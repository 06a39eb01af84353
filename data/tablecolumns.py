"""Which column of a table is what: names that vendors use, and a user's own mapping. Must not look at values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from twinloop.data.errors import ConfigError, DecodeError

_TIME: Final = (
    "time", "timestamp", "ts", "datetime", "date_time", "date", "open_time", "opentime", "time_utc", "gmt_time",
    "local_date", "unix", "unix_timestamp", "event_time", "transact_time", "trade_time", "index", "unnamed:_0", "t", "",
)  # fmt: skip
_EXPORTED: Final = "venue_ns"  # In our own exports; a bar's is its end.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "close_time": ("close_time", "closetime", _EXPORTED),
    "open": ("open", "o", "open_price", "openbid", "bidopen"),
    "high": ("high", "h", "high_price", "max"),
    "low": ("low", "l", "low_price", "min"),
    "close": ("close", "c", "close_price", "last"),
    "volume": ("volume", "vol", "v", "base_volume", "volume_base", "tick_volume", "tickvol"),
    "notional": ("notional", "quote_volume", "quote_asset_volume", "volume_quote", "turnover"),
    "trades": ("trades", "count", "number_of_trades", "num_trades", "trade_count", "tradecount", "ticks"),
    "price": ("price", "px", "p", "trade_price", "last_price"),
    "qty": ("qty", "quantity", "size", "amount", "q", "volume", "vol", "trade_size"),
    "side": ("side", "taker_side", "aggressor", "aggressor_side", "direction", "type"),
    "buyer_is_maker": ("buyer_is_maker", "is_buyer_maker", "isbuyermaker", "m"),
    "trade_id": ("trade_id", "tradeid", "id", "tid", "agg_trade_id", "agg_tradeid", "a"),
    "bid": ("bid", "bid_price", "best_bid", "best_bid_price", "bidprice", "bid_px", "bp"),
    "ask": ("ask", "ask_price", "best_ask", "best_ask_price", "askprice", "ask_px", "ap", "offer"),
    "bid_qty": ("bid_qty", "bid_size", "bid_amount", "bid_quantity", "best_bid_qty", "bid_volume", "bidvolume", "bidsize"),
    "ask_qty": ("ask_qty", "ask_size", "ask_amount", "ask_quantity", "best_ask_qty", "ask_volume", "askvolume", "asksize"),
    "local_time": ("local_time", "local_timestamp", "receive_time", "received", "recv_time", "local_ns"),
}  # fmt: skip
REQUIRED: Final = {
    "bars": ("open", "high", "low", "close"),
    "quotes": ("bid", "ask"),
    "trades": ("price", "qty"),
}
OPTIONAL: Final = {
    "bars": ("volume", "notional", "trades"),
    "quotes": ("bid_qty", "ask_qty", "local_time"),
    "trades": ("side", "buyer_is_maker", "trade_id", "local_time"),
}
_OURS: Final = frozenset({"time", "clock", *ALIASES})


def _plain(name: str) -> str:
    """A column's name without case, brackets and separators."""
    plain = name.strip().strip("<>\"'").lower()
    for mark in (" ", "-", "."):
        plain = plain.replace(mark, "_")
    return plain


def find_columns(
    path: Path, names: Sequence[str], kind: str | None, mapping: Mapping[str, str | int]
) -> tuple[str, dict[str, str]]:
    """(kind, column by our field) of a table.

    kind: "bars", "quotes" or "trades", or None to take the first of these whose columns are there. mapping: our field ->
    the user's column, by name or 0-based position; it beats the common names. Fields: those of REQUIRED and OPTIONAL, "time"
    (with "clock" for a time of day in a column of its own) or "close_time" for bars. Raises DecodeError that names what is
    missing, ConfigError for a mapping that cannot be.
    """
    if kind is not None and kind not in REQUIRED:
        raise ConfigError("not a kind of table", expected=", ".join(REQUIRED), got=kind)
    chosen = _mapped(path, names, mapping)
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    taken = set(chosen.values())

    def find(field: str, aliases: Sequence[str]) -> str | None:
        if field in chosen:
            return chosen[field]
        return next((plain[alias] for alias in aliases if alias in plain and plain[alias] not in taken), None)

    for candidate in REQUIRED if kind is None else (kind,):
        fields = {field: find(field, ALIASES[field]) for field in (*REQUIRED[candidate], *OPTIONAL[candidate])}
        if any(fields[field] is None for field in REQUIRED[candidate]):
            continue
        columns = {field: name for field, name in fields.items() if name is not None}
        return candidate, columns | _time_columns(
            path, candidate, chosen, plain, find("close_time", ALIASES["close_time"])
        )
    wanted = [
        f"{candidate} ({', '.join(('time', *REQUIRED[candidate]))})"
        for candidate in (REQUIRED if kind is None else (kind,))
    ]
    raise DecodeError(
        "columns are missing",
        file=path,
        line=1,
        expected=" or ".join(wanted),
        got=", ".join(names),
        remedy='name them: columns={"price": "YourColumn", ...}, by name or position',
    )


def _mapped(path: Path, names: Sequence[str], mapping: Mapping[str, str | int]) -> dict[str, str]:
    chosen = {}
    for field, column in mapping.items():
        if field not in _OURS:
            raise ConfigError("no such field", field=f"columns.{field}", expected=", ".join(sorted(_OURS)), got=field)
        if isinstance(column, int) and 0 <= column < len(names):
            chosen[field] = names[column]
        elif column in names:
            chosen[field] = str(column)
        else:
            raise ConfigError(
                "no such column", file=path, field=f"columns.{field}", expected=", ".join(names), got=str(column)
            )
    return chosen


def _time_columns(
    path: Path, kind: str, chosen: Mapping[str, str], plain: Mapping[str, str], close_time: str | None
) -> dict[str, str]:
    columns = {field: chosen[field] for field in ("time", "clock") if field in chosen}
    if columns.get("time") or (kind == "bars" and "close_time" in chosen):
        return columns or {"close_time": chosen["close_time"]}
    if "date" in plain and "time" in plain:
        return {"time": plain["date"], "clock": plain["time"]}
    known = _TIME if kind == "bars" else (*_TIME, _EXPORTED)
    found = next((plain[alias] for alias in known if alias in plain), None)
    if found is not None:
        return {"time": found}
    if kind == "bars" and close_time is not None:
        return {"close_time": close_time}
    raise DecodeError(
        "no time column",
        file=path,
        line=1,
        expected="one of " + ", ".join(alias for alias in _TIME if alias),
        got=", ".join(plain.values()),
        remedy='name it: columns={"time": "YourColumn"}',
    )
