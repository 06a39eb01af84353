"""Damaged inputs for every reader, each with the outcome that a careful user wants, written down by hand.

A small sound input is ingested by the real command line; then it is damaged in one place and ingested again into an empty
catalog. Expected are: records kept, records set aside by code, the exit code, and, byte for byte, which of the sound input's
rows the catalog then holds. The inputs stand in bad_streams.py and bad_tables.py.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bad_streams import ARCHIVES, RAW, archive, raw
from bad_tables import TABLES, generic, row_file
from damage import DONE, RECORDS, Damage, Reader, Rows

from twinloop.data.catalog import Catalog
from twinloop.data.rowfile import join_rows, map_rows
from twinloop.engine import cli


def bad_inputs() -> list[dict[str, Any]]:
    """Every (reader, mutation) tried: what was expected, and what came."""
    cases = []
    readers = [raw(*market) for market in RAW]
    readers += [archive(kind) for kind in ARCHIVES]
    readers += [generic(kind, form) for form in ("csv", "parquet") for kind in TABLES]
    readers.append(row_file())
    for reader in readers:
        sound, kept = ingest(reader, Damage("none", "sound", reader.content))
        whole = {"kept": RECORDS, "quarantined": {}, "exit_code": DONE}
        assert sound == whole, (reader.name, sound)
        assert len(kept) == sum(reader.widths), (reader.name, len(kept))
        ends = np.cumsum(reader.widths)
        groups = [kept[end - width : end] for end, width in zip(ends, reader.widths, strict=True)]
        for damage in reader.damages:
            got, rows = ingest(reader, damage)
            wanted = [groups[number].copy() for number in damage.rows]
            if damage.change is not None:
                wanted = damage.change(wanted)
            expected = {"kept": damage.kept, "quarantined": damage.quarantined, "exit_code": damage.exit_code}
            exact = join_rows(wanted).tobytes() == rows.tobytes()
            cases.append(
                {
                    "reader": reader.name, "mutation": damage.mutation, "what": damage.what,
                    "expected": {**expected, "rows_kept_exactly": True}, "got": {**got, "rows_kept_exactly": exact},
                }
            )  # fmt: skip
    return cases


def ingest(reader: Reader, damage: Damage) -> tuple[dict[str, Any], Rows]:
    """(kept, quarantined, exit code) as `twinloop ingest` tells them, and the rows the catalog holds afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (f"{reader.file}.gz" if damage.packed else reader.file)
        if callable(damage.content):
            damage.content(path)
        else:
            path.write_bytes(damage.content)
        catalog = Path(folder) / "catalog"
        said = io.StringIO()
        arguments = ["ingest", str(path), "--catalog", str(catalog), "--json", *reader.arguments, *damage.arguments]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = cli.run(arguments)
        found = {"kept": 0, "quarantined": {}, "exit_code": code}
        for one in json.loads(said.getvalue()).get("ingested", []):
            counted = one["quality"]["conservation"] or {"kept": one["rows"], "quarantined": {}}
            found |= {"kept": counted["kept"], "quarantined": counted["quarantined"]}
        store = Catalog(catalog)
        parts = []
        for each in store.ingests() if catalog.is_dir() else []:
            sources = store.rows(each.instrument.symbol, venue=each.instrument.venue)
            parts += [np.array(map_rows(source.path)[source.start : source.stop]) for source in sources]
        return found, join_rows(parts)
