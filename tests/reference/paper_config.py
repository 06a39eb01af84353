"""A paper session on a venue of this machine, as a file."""

from pathlib import Path


def paper_file(
    folder: Path, strategy: str, stream: str, rest: str, *, venue: str = "binance-usdm", feed: str = "", durability: str = "async"
) -> Path:  # fmt: skip
    """Write it into a folder, where its sessions will be too. strategy: as path:Class. stream, rest: addresses. feed: more keys of [feed]."""
    path = folder / "paper.toml"
    path.write_text(
        f"""
limits = "research"

[session]
out = "{folder / "sessions"}"
durability = "{durability}"

[feed]
venue = "{venue}"
symbols = ["BTCUSDT"]
stream = "{stream}"
rest = "{rest}"
{feed}

[[strategy]]
path = "{strategy}"
"""
    )
    return path
