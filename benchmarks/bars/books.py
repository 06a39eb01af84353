"""Decoded books against the venue's own best quotes, and decoded rows against a reference decoding."""

from pathlib import Path
from typing import Any

import numpy as np
from harness import NotMetError, Outcome, bar, market_of, real_data, recordings, say

VENUES = {"usdm": "binance-usdm", "spot": "binance-spot", "cm": "binance-coinm"}
MUST_AGREE = ("usdm", "20240808")  # market and day whose files must agree in every update


def reader(path: Path, snapshot: str) -> Any:
    """Twinloop's reader of one recording."""
    from twinloop.data.binance_raw import read_raw
    from twinloop.data.instruments import preset

    market, symbol, _ = market_of(path)
    return read_raw(path, preset(VENUES[market], symbol.upper()), snapshot=snapshot)


@bar("books", 100.0, "% agree")
def books() -> Outcome:
    """After each depth update the best bid and ask equal the bookTicker of largest id at or below it: all of USD-M 2024-08-08."""
    from twinloop.data.book_agreement import book_agreement

    table, worst = [], 100.0
    named = any(market_of(path)[0::2] == MUST_AGREE for path in recordings())
    for path in recordings():
        market, _, day = market_of(path)
        # A file that continues another has no snapshot of its own: its book is checked as far as it was seen.
        rows = reader(path, "synchronise")
        found = book_agreement(rows, unanchored=False)
        unanchored = False
        if not found.checked:
            rows = reader(path, "synchronise")
            found, unanchored = book_agreement(rows, unanchored=True), True
        # Where the two named files are not among the recordings, every USD-M file with a snapshot is held to it.
        must = (market, day) == MUST_AGREE if named else market == MUST_AGREE[0] and not unanchored
        percent = 100.0 * found.agreed / found.checked if found.checked else 0.0
        if must:
            worst = min(worst, percent)
        line = {
            "file": path.name, "held_to_100": must, "checked": found.checked, "agreed": found.agreed, "percent": round(percent, 4),
            "agreed_with_qty": found.agreed_with_qty, "unquoted": found.unquoted, "crossed": found.crossed,
            "no_snapshot": unanchored,
            "misses": [[m.update_id, m.quote_id, list(m.book), list(m.quote)] for m in found.misses[:3]],
        }  # fmt: skip
        table.append(line)
        say(f"  {path.name}: {found.agreed}/{found.checked} = {percent:.4f} %{' (no snapshot)' if unanchored else ''}")
    held = [line for line in table if line["held_to_100"]]
    if not held:
        raise NotMetError("no USD-M recording with a snapshot among the files")
    ok = all(line["agreed"] == line["checked"] > 0 for line in held)
    return Outcome(worst, ok=ok, detail={"files": table})


@bar("decoding", 0, "rows differ")
def decoding() -> Outcome:
    """Decoding equals the reference events row for row: kind, side, both times, price, quantity, in both orders."""
    import polars as pl

    from twinloop.kernels import rows as table

    results = []
    differ_total = 0
    references = sorted((real_data() / "binance-raw-ws").glob("reference_events_*.parquet"))
    if not references:
        raise NotMetError(f"no reference_events_*.parquet in {real_data() / 'binance-raw-ws'}")
    for reference in references:
        source = reference.with_name(reference.name.removeprefix("reference_events_").removesuffix(".parquet") + ".gz")
        from twinloop.data.binance_raw import estimate_clock_offset, read_raw
        from twinloop.data.instruments import preset

        market, symbol, _ = market_of(source)
        instrument = preset(VENUES[market], symbol.upper())
        # The reference sees depth, snapshot and trades only, and takes its clock correction from them.
        clock = estimate_clock_offset(source, instrument, kinds=(table.TRADE, table.LEVEL, table.SNAPSHOT_BEGIN))
        batches = read_raw(source, instrument, snapshot="as_received", clock_offset_ns=clock.offset_ns)
        rows = np.concatenate([batch.copy() for batch in batches])
        rows = rows[np.isin(rows["kind"], (table.TRADE, table.LEVEL, table.SNAPSHOT_LEVEL))]
        rows = rows[(rows["kind"] != table.TRADE) | (rows["flags"] & table.FLAG_OFF_MARKET == 0)]
        kind = np.select([rows["kind"] == table.TRADE, rows["kind"] == table.LEVEL], [2, 1], 4)
        price, qty = 10.0**instrument.price_scale, 10.0**instrument.qty_scale
        ours = np.stack(
            [rows["venue_ns"], rows["local_ns"], kind, rows["side"].astype(np.int64), rows["price"], rows["qty"]]
        )
        events = pl.read_parquet(reference)
        ev = events["ev"].to_numpy().astype(np.int64)
        wanted = (ev & 0xFF) != 3  # its clear rows bracket the snapshot's levels; ours are SNAPSHOT_BEGIN and _END
        theirs_all = np.stack([
            events["exch_ts"].to_numpy(), events["local_ts"].to_numpy(), ev & 0xFF, np.where(ev & (1 << 29), 1, -1),
            np.rint(events["px"].to_numpy() * price).astype(np.int64), np.rint(events["qty"].to_numpy() * qty).astype(np.int64),
        ])  # fmt: skip
        line: dict[str, Any] = {"file": source.name, "reference_rows": len(events), "clock_offset_ns": clock.offset_ns}
        for order, bit in (("local", 30), ("venue", 31)):
            theirs = theirs_all[:, wanted & ((ev >> bit & 1) == 1)]
            mine = ours if order == "local" else ours[:, np.argsort(ours[0], kind="stable")]
            if mine.shape != theirs.shape:
                differ = abs(mine.shape[1] - theirs.shape[1])
                line[order] = {"rows": [mine.shape[1], theirs.shape[1]]}
            else:
                bad = np.flatnonzero((mine != theirs).any(axis=0))
                differ = int(bad.size)
                line[order] = {"rows": theirs.shape[1], "differ": differ}
                if differ:
                    line[order]["first"] = [mine[:, bad[0]].tolist(), theirs[:, bad[0]].tolist()]
            differ_total += differ
        results.append(line)
    return Outcome(differ_total, ok=differ_total == 0, detail={"files": results})
