"""A session with real orders on the practice exchange, as a file."""

from pathlib import Path

LIMITS = """[limits]
preset = "conservative"
max_order_pct = 10
max_position_pct = 50
max_messages_per_s = 100
message_burst = 200
duplicate_max = 1000
max_spread_bps = 100
"""  # Of a session whose strategy is busy.


def configuration(folder: Path, port: int, strategy_folder: Path, market: str = "usdm", orders: str = "") -> Path:
    path = folder / "live.toml"
    path.write_text(
        f"""
[session]
mode = "live"
out = "{folder / "sessions"}"
durability = "group"

{LIMITS}
[feed]
venue = "binance-{market}"
symbols = ["BTCUSDT"]
stream = "ws://127.0.0.1:{port}"
rest = "http://127.0.0.1:{port}"

[orders]
{orders}

[[strategy]]
path = "{strategy_folder / "busy.py"}:Busy"
"""
    )
    return path
