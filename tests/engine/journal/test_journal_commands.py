"""What `twinloop journal` says of whole, torn and damaged journals, and how it shows and exports rows."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from reference.small_journals import facts, writer, written

from twinloop.data.instruments import BINANCE_USDM_BTCUSDT
from twinloop.engine import cli
from twinloop.engine.journal.archive import archive
from twinloop.engine.journal.snapshot import Head, write_snapshot
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW

LOCAL_NS = 1_764_151_200_000_000_000  # 2025-11-26T10:00:00Z


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(["journal", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def session(folder: Path) -> Any:
    """An order, its answers, a fill of two rows, a verdict and a hash: the rows in order."""
    rows = np.zeros(7, ROW)
    rows["local_ns"] = LOCAL_NS + np.arange(7) * 1_000_000_000
    rows["kind"] = [table.QUOTE, table.NEW, table.ACK, table.FILL, table.FILL, table.VERDICT, table.HASH]
    rows["sequence"] = [0, 0, 1, 2, 3, 3, 3]
    rows["side"] = [0, 1, 1, 1, 1, -1, 0]
    rows["flags"][3:5] = [table.FLAG_CONTINUES, table.FLAG_TAIL]
    rows["bid"][0], rows["bid_qty"][0], rows["ask"][0], rows["ask_qty"][0] = 616596, 1500, 616597, 2
    rows["price"][1:4], rows["qty"][1:4], rows["order_id"][1:4] = 616597, 10, 1
    rows["fee"][3] = 3_082_985
    rows["leaves_qty"][4], rows["trade_id"][4] = 0, 77
    rows["decision_hash"][6] = -2
    with writer(folder, instruments=[BINANCE_USDM_BTCUSDT]) as journal:
        for first, end in ((0, 2), (2, 7)):
            journal.append(rows[first:end])
            journal.commit(5, LOCAL_NS + 1 + end)
    return rows


def test_a_whole_journal_is_told_segment_by_segment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, [20] * 8)
    code, text, _ = run(capsys, "verify", str(tmp_path))
    assert code == cli.OK
    assert text.count("segment-00000") == 3
    assert "whole  8 commits, 160 rows, epoch 1, next fact 160" in text
    assert "GB a day at the last hour's rate" in text
    code, text, _ = run(capsys, "verify", str(tmp_path), "--json")
    document = json.loads(text)
    assert [each["commits"] for each in document["segments"]] == [3, 3, 2]
    assert document["problems"] == []
    archive(tmp_path)
    code, text, _ = run(capsys, "verify", str(tmp_path), "--archived", "--json")
    assert (json.loads(text)["archived_commits"], json.loads(text)["first_commit"]) == (6, 6)
    code, text, _ = run(capsys, "verify", str(tmp_path))
    assert (code, "from commit 6 on" in text) == (cli.OK, True)


def test_a_torn_end_and_damage_have_codes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, [2, 2])
    path = tmp_path / "segment-000001.journal"
    content = path.read_bytes()
    path.write_bytes(content[:-70])
    code, text, _ = run(capsys, "verify", str(tmp_path))
    assert code == cli.INCOMPLETE
    assert "in no commit (no seal up to the end)" in text
    assert "NOT whole  1 commits" in text
    damaged = bytearray(content)
    damaged[-6 * 64 + 40] ^= 1
    path.write_bytes(damaged)
    code, text, error = run(capsys, "verify", str(tmp_path))
    assert (code, text) == (cli.DATA, "")
    assert f"{path}: a journal was changed after it was written, at byte {len(content) - 6 * 64}" in error
    assert len(error.splitlines()) == 1


def test_missing_facts_fail_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writer(tmp_path) as journal:
        for first in (0, 5):
            journal.append(facts(first, 2))
            journal.commit(1, 1)
    code, text, _ = run(capsys, "verify", str(tmp_path))
    assert code == cli.CHECK_FAILED
    assert "facts are missing or repeated at row 3" in text
    assert "expected 2, got 5" in text


def test_rows_are_shown_in_natural_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session(tmp_path)
    code, text, _ = run(capsys, "show", str(tmp_path))
    assert code == cli.OK
    lines = text.splitlines()
    assert len(lines) == 8
    assert "QUOTE" in lines[1]
    assert lines[1].rstrip().endswith("bid 61659.6  bid_qty 1.500  ask 61659.7  ask_qty 0.002")
    assert "2025-11-26T10:00:01Z  NEW" in lines[2]
    assert "BTCUSDT" in lines[2]
    assert "buy" in lines[2]
    assert "price 61659.7  qty 0.010  order_id 1" in lines[2]
    assert "fee 0.03082985" in lines[4]
    assert "trade_id 77" in lines[5]
    assert "fffffffffffffffe" in lines[7]
    _, text, _ = run(capsys, "show", str(tmp_path), "--kind", "fill", "--kind", "NEW", "--json")
    found = json.loads(text)["rows"]
    assert [each["kind"] for each in found] == ["NEW", "FILL", "FILL"]
    assert (found[0]["price"], found[1]["fee"], found[2]["leaves_qty"]) == ("61659.7", "0.03082985", "0.000")
    _, text, _ = run(
        capsys, "show", str(tmp_path), "--start", "2025-11-26T10:00:02", "--end", "2025-11-26T10:00:03", "--json"
    )
    assert [each["kind"] for each in json.loads(text)["rows"]] == ["ACK"]
    _, text, _ = run(capsys, "show", str(tmp_path), "--sequence", "3", "--limit", "2", "--json")
    assert [each["kind"] for each in json.loads(text)["rows"]] == ["FILL", "VERDICT"]
    _, text, _ = run(capsys, "show", str(tmp_path), "--kind", "SEAL", "--json")
    assert [(each["rows"], each["sequence"]) for each in json.loads(text)["rows"]] == [(2, 0), (5, 1)]
    _, text, _ = run(capsys, "show", str(tmp_path), "--kind", "REJECT")
    assert text == "nothing there\n"


def test_money_that_moved_without_a_trade_is_shown_as_decimals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.zeros(3, ROW)
    rows["local_ns"], rows["kind"] = LOCAL_NS, [table.FUNDING_PAID, table.TRANSFER, table.NOTE]
    rows["value"], rows["trade_id"][0] = [-1_234_567, 5 * 10**8, 3], 9001
    with writer(tmp_path, instruments=[BINANCE_USDM_BTCUSDT]) as journal:
        journal.append(rows)
        journal.commit(5, LOCAL_NS + 1)
    _, text, _ = run(capsys, "show", str(tmp_path), "--json")
    found = {each["kind"]: each for each in json.loads(text)["rows"]}
    assert (found["FUNDING_PAID"]["value"], found["FUNDING_PAID"]["trade_id"]) == ("-0.01234567", 9001)
    assert found["TRANSFER"]["value"] == "5.00000000"
    assert found["NOTE"]["value"] == 3


def test_what_the_header_does_not_tell_stays_an_integer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = facts(0, 2)
    rows["instrument"], rows["kind"][1] = 9, 200
    with writer(tmp_path) as journal:
        journal.append(rows)
        journal.commit(1, 1)
    _, text, _ = run(capsys, "show", str(tmp_path), "--json")
    first, second = json.loads(text)["rows"]
    assert (first["instrument"], first["price"]) == ("#9", 100)
    assert (second["kind"], second["word_32"]) == ("kind 200", 101)


def test_export_to_csv_and_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "journal"
    rows = session(folder)
    code, text, _ = run(capsys, "export", str(folder), str(tmp_path / "all.csv"))
    assert code == cli.OK
    assert "7 rows" in text
    with (tmp_path / "all.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines] == ["QUOTE", "NEW", "ACK", "FILL", "FILL", "VERDICT", "HASH"]
    assert lines[1]["what"] == "price 61659.7  qty 0.010  order_id 1"
    _, text, _ = run(capsys, "export", str(folder), str(tmp_path / "a.parquet"), "--json")
    assert json.loads(text)["rows"] == 7
    frame = pl.read_parquet(tmp_path / "a.parquet")
    assert frame["commit"].to_list() == [0, 0, 1, 1, 1, 1, 1]
    assert frame["kind_name"].to_list() == [line["kind"] for line in lines]
    assert frame["instrument_name"].to_list() == ["BTCUSDT"] * 7
    assert frame["word_32"].to_list() == rows["price"].tolist()
    _, text, _ = run(capsys, "export", str(folder), str(tmp_path / "b.parquet"), "--kind", "REJECT", "--json")
    assert json.loads(text)["rows"] == 0
    assert pl.read_parquet(tmp_path / "b.parquet").height == 0
    code, _, error = run(capsys, "export", str(folder), str(tmp_path / "c.xls"))
    assert code == cli.USAGE
    assert ".csv or .parquet" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "all.csv", "b.parquet", "journal"]


def test_what_was_archived_is_shown_and_exported_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal"
    written(folder, [20] * 8)
    archive(folder)
    _, text, _ = run(capsys, "show", str(folder), "--json", "--limit", "1")
    assert json.loads(text)["rows"][0]["sequence"] == 120
    _, text, _ = run(capsys, "show", str(folder), "--json", "--limit", "1", "--archived")
    assert json.loads(text)["rows"][0]["sequence"] == 0
    _, text, _ = run(capsys, "export", str(folder), str(tmp_path / "a.csv"), "--archived", "--json")
    assert json.loads(text)["rows"] == 160


def test_archive_and_retire_keep_what_the_next_start_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "journal"
    written(folder, [20] * 20)
    code, text, _ = run(capsys, "archive", str(folder), "--json")
    assert code == 0
    archived = json.loads(text)["archived"]
    assert len(archived) > 3
    assert len(list(folder.glob("segment-*.journal"))) == 2
    code, text, _ = run(capsys, "archive", str(folder))
    assert (code, text.splitlines()[-1]) == (0, "archived 0 segments, 0 bytes as 0")
    assert run(capsys, "archive", str(folder), "--keep", "0")[0] == 2
    assert run(capsys, "archive", str(tmp_path / "none"))[0] == 3

    code, _, error = run(capsys, "retire", str(folder), "--beyond", "0B")
    assert code == 2
    assert "no snapshot stands for what would be removed" in error
    head = Head(
        epoch=1, commit=archived[2]["segment"] * 3, checksum=0, sequence=0, code="", config="", layout="", state_hash=0, decision_hash=0,
        decisions=0,
    )  # fmt: skip
    write_snapshot(folder, head, {})
    code, text, _ = run(capsys, "retire", str(folder), "--beyond", "0B", "--json")
    assert code == 0
    assert [entry["segment"] for entry in json.loads(text)["retired"]] == [1, 2, 3]
    assert len(list((folder / "archive").glob("*.parquet"))) == len(archived) - 3
    assert run(capsys, "retire", str(folder), "--older-than", "1d")[0] == 0
    for wrong in (["--beyond", "50 parsecs"], ["--older-than", "90"], []):
        assert run(capsys, "retire", str(folder), *wrong)[0] == 2
    assert run(capsys, "verify", str(folder))[0] == 0


def test_codes_are_shown_by_name_and_the_last_rows_where_those_are_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = [
        (table.VERDICT, "code", 29, "REJECT_SELF_MATCH"),
        (table.CANCELLED, "code", 82, "REASON_UNSOLICITED"),
        (table.ALERT, "alert", 20, "STREAM_DOWN"),
        (table.HALT, "code", 2000, "user 1000"),
        (table.HALT, "code", -2, "the session ends"),
        (table.REDUCE, "code", -3, "a start"),
        (table.REDUCE, "code", -1020, "alert STREAM_DOWN"),
        (table.RESUME, "code", 1, "what was begun by itself is over"),
        (table.FLATTEN, "code", 1, "at market"),
    ]
    rows = np.zeros(len(coded), ROW)
    for at, (kind, field, code, _) in enumerate(coded):
        rows["kind"][at], rows[field][at] = kind, code
    with writer(tmp_path, instruments=[BINANCE_USDM_BTCUSDT]) as journal:
        journal.append(rows)
        journal.commit(5, LOCAL_NS)
    code, text, _ = run(capsys, "show", str(tmp_path))
    assert code == cli.OK
    for line, (*_, name) in zip(text.splitlines()[1:], coded, strict=True):
        assert name in line
    for more in ("--limit", "--last"):
        assert run(capsys, "show", str(tmp_path), more, "9" * 30)[1] == text
    assert run(capsys, "show", str(tmp_path), "--limit", "-1")[1] == "nothing there\n"
    _, text, _ = run(capsys, "show", str(tmp_path), "--last", "2", "--json")
    assert [each["meaning"] for each in json.loads(text)["rows"]] == [name for *_, name in coded[-2:]]


def test_a_sessions_folder_is_told_from_its_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "journal", [2])
    code, _, error = run(capsys, "verify", str(tmp_path))
    assert code == cli.DATA
    assert f"name {tmp_path / 'journal'}" in error
