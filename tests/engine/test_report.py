"""The page: one file that asks the network for nothing, shows what the run has, and runs without an error."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs
from reference import fake_run

from twinloop.engine import report
from twinloop.engine.histogram import histogram
from twinloop.engine.results import load_run, write_run
from twinloop.engine.wording import sentence

TABLES = ("fills", "orders", "equity", "risk")
CHROMIUM = os.environ.get("TWINLOOP_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NASTY = "</script><script>alert(1)</script>&\"'"


class Page(HTMLParser):
    """Collects what a browser would fetch or run, and the text of each element with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.raw: str | None = None
        self.raw_text: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action", "poster", "background", "formaction", "ping", "xlink:href"}:
                self.fetched.append(f"{tag} {name}={value}")
            if name == "href" and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} href={value}")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")
        self.raw = tag if tag in self.raw_text else None
        if self.raw:
            self.raw_text[self.raw].append("")

    def handle_data(self, data: str) -> None:
        if self.raw:
            self.raw_text[self.raw][-1] += data

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser names it
        self.raw = None


def make(
    folder: Path, info: Any = None, cut: dict[str, Any] | None = None, size: dict[str, Any] | None = None, **more: Any
) -> Any:
    records = dict(zip(TABLES, fake_run.records(**(size or {"samples": 600, "fills": 80})), strict=True))
    records.update(cut or {})
    return write_run(folder, info or fake_run.info(), **records, **more)


def empty(name: str) -> Any:
    return {name: dict(zip(TABLES, fake_run.records(samples=10, fills=1), strict=True))[name][:0]}


def cases(folder: Path) -> dict[str, Any]:
    two = (fake_run.BTC, fake_run.ETH)
    return {
        "usual": make(folder / "usual"),
        "several": make(
            folder / "several",
            fake_run.info(NASTY, two, ("maker", NASTY)),
            size={"samples": 600, "fills": 90, "instruments": two, "strategies": 2},
        ),
        "two currencies": make(
            folder / "currencies",
            fake_run.info(instruments=(fake_run.BTC, fake_run.COIN)),
            size={"samples": 600, "fills": 90, "instruments": (fake_run.BTC, fake_run.COIN)},
        ),
        "no equity": make(folder / "no equity", cut=empty("equity")),
        "no fills": make(folder / "no fills", cut={**empty("fills"), **empty("orders")}),
        "nothing": make(
            folder / "nothing", cut={k: v for name in TABLES for k, v in empty(name).items()}, counts={"rows": 0}
        ),
        "partial": make(folder / "partial", complete=False, stopped="interrupted"),
        "one sample": make(folder / "one", size={"samples": 2, "fills": 1}),
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: run.folder / "report.html" for name, run in cases(tmp_path_factory.mktemp("runs")).items()}


def test_nothing_in_the_page_can_be_fetched(pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        page = Page(path.read_text(encoding="utf-8"))
        assert page.fetched == [], name
        assert page.handlers == [], name
        assert not {"link", "iframe", "img", "object", "embed", "base", "form", "video", "audio"} & set(page.tags), name
        for style in page.raw_text["style"]:
            assert "url(" not in style
            assert "@import" not in style
        for script in page.raw_text["script"]:
            assert not re.search(
                r"\bfetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|\bimport\s*\(", script
            )


def test_policy_forbids_every_request(pages: dict[str, Path]) -> None:
    text = pages["usual"].read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:" in text
    assert "connect-src" not in text


def test_addresses_occur_only_in_comments_of_the_vendored_library(pages: dict[str, Path]) -> None:
    text = pages["several"].read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s'\"<>)]+", text)) == {"https://github.com/leeoniya/uPlot"}


def test_vendored_files_are_the_recorded_ones() -> None:
    lines = (report.ASSETS / "uplot.sha256").read_text().split("\n")
    recorded = {line.split()[1]: line.split()[0] for line in lines if line}
    assert set(recorded) == {"uplot.min.js", "uplot.min.css", "uplot.LICENSE.txt"}
    for name, digest in recorded.items():
        assert hashlib.sha256((report.ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert "v1.6.32" in (report.ASSETS / "uplot.min.js").read_text()[:80]


def test_names_from_users_are_text_not_markup(pages: dict[str, Path]) -> None:
    text = pages["several"].read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert len(Page(text).raw_text["script"]) == 4  # theme, data, uPlot, page
    data = json.loads(Page(text).raw_text["script"][1])
    assert data["strategies"][1] == NASTY


def test_sections_are_those_the_run_has(pages: dict[str, Path]) -> None:
    ids = {name: set(Page(path.read_text(encoding="utf-8")).ids) for name, path in pages.items()}
    assert {"equity", "drawdown", "price", "position", "trades", "execution", "statistics", "risk", "run"} <= ids[
        "usual"
    ]
    assert "strategies" in ids["several"]
    assert "strategies" not in ids["usual"]
    assert "equity" not in ids["no equity"]
    assert {"price", "trades"} <= ids["no equity"]
    assert "trades" not in ids["no fills"]
    assert {"equity", "price"} <= ids["no fills"]
    assert not {"equity", "price", "trades", "execution"} & ids["nothing"]


def test_ids_are_unique(pages: dict[str, Path]) -> None:
    for path in pages.values():
        ids = Page(path.read_text(encoding="utf-8")).ids
        assert len(ids) == len(set(ids))


def test_zero_fills_and_partial_results_say_so_on_the_page(pages: dict[str, Path]) -> None:
    assert "Zero fills: the risk gate refused" in pages["no fills"].read_text(encoding="utf-8")
    assert "Partial result: interrupted." in pages["partial"].read_text(encoding="utf-8")
    assert "partial result</span>" in pages["partial"].read_text(encoding="utf-8")


def unpacked(packed: dict[str, Any]) -> Any:
    kind = {"f64": "<f8", "f32": "<f4", "i32": "<i4", "i8": "i1"}[packed["type"]]
    return np.frombuffer(b64decode(packed["bytes"]), kind).astype(np.float64) + packed.get("base", 0.0)


def test_columns_of_the_page_are_the_tables(pages: dict[str, Path]) -> None:
    run = load_run(pages["usual"].parent)
    data = json.loads(Page(pages["usual"].read_text(encoding="utf-8")).raw_text["script"][1])
    assert unpacked(data["equity"]["t"]).tolist() == (run.equity["local_ns"].to_numpy() / 1e6).tolist()
    assert unpacked(data["equity"]["value"]) == pytest.approx(run.equity["equity"].to_numpy(), abs=0.005)
    symbol = data["symbols"][0]
    assert unpacked(symbol["fills"]["price"]) == pytest.approx(run.fills["price"].to_numpy(), abs=0.001)
    assert unpacked(symbol["fills"]["side"]).tolist() == run.fills["side"].to_list()
    assert unpacked(data["trades"]["net"]).tolist() == run.trades["net"].to_list()
    assert unpacked(symbol["position"]) == pytest.approx(run.equity["position:BTCUSDT"].to_numpy(), abs=1e-6)


@given(hs.integers(0, 2**32), hs.integers(100, 3000), hs.integers(8, 400))
def test_thinning_keeps_extremes_ends_and_fills(seed: int, count: int, limit: int) -> None:
    draw = np.random.Generator(np.random.PCG64(seed))
    times = np.cumsum(draw.integers(0, 1000, count))
    values = draw.normal(0, 1, count)
    values[draw.random(count) < 0.05] = np.nan
    keep = draw.random(count) < 0.02
    chosen = report.thin(times, values, limit, keep)
    assert (np.diff(chosen) > 0).all()
    assert {0, count - 1} <= set(chosen.tolist())
    assert set(np.flatnonzero(keep).tolist()) <= set(chosen.tolist())
    assert np.nanmin(values[chosen]) == np.nanmin(values)
    assert np.nanmax(values[chosen]) == np.nanmax(values)
    assert len(chosen) <= max(count if count <= limit else 0, limit + 8 + keep.sum())


def test_long_runs_are_thinned_and_few_points_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "POINTS_MAX", 1000)
    monkeypatch.setattr(report, "TRADES_MAX", 50)
    monkeypatch.setattr(report, "FILLS_MAX", 40)
    run = make(tmp_path, size={"samples": 20_000, "fills": 100})
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    data = json.loads(Page(text).raw_text["script"][1])
    assert 400 < len(unpacked(data["equity"]["t"])) < 1200
    assert len(unpacked(data["trades"]["net"])) == 50
    assert len(unpacked(data["symbols"][0]["fills"]["t"])) == 40
    assert "The latest 50 of" in text


@given(hs.lists(hs.floats(-1e6, 1e6) | hs.just(float("nan")), max_size=300), hs.sampled_from([None, "cost", "gain"]))
def test_histograms_count_every_finite_value(values: list[float], signed: str | None) -> None:
    text = histogram(np.array(values, dtype=np.float64), "bps", noun="fills", signed=signed)
    finite = [v for v in values if np.isfinite(v)]
    if text.startswith("<svg"):
        assert sum(int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) fills", text)) == len(finite)
        assert "nan" not in text
    else:
        assert "fills, all at" in text or not finite


def test_equal_values_are_a_sentence_not_a_bar() -> None:
    assert histogram(np.full(40, 1.0), "ms", noun="orders") == '<p class="empty">40 orders, all at 1 ms</p>'


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: set TWINLOOP_CHROMIUM or install one")
@pytest.mark.parametrize(
    "case", ["usual", "several", "two currencies", "no equity", "no fills", "nothing", "one sample"]
)
def test_page_runs_in_a_browser_without_an_error(pages: dict[str, Path], tmp_path: Path, case: str) -> None:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}",
        "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", pages[case].as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 'data-ready="true"' in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    charts = {
        "usual": 4,
        "several": 5,
        "two currencies": 4,
        "no equity": 1,
        "no fills": 4,
        "nothing": 0,
        "one sample": 4,
    }
    assert len(re.findall(r'<div class="uplot', done.stdout)) == charts[case]
    if case == "two currencies":
        assert re.search(r"\d BTC</span>", done.stdout)
    if case == "usual":
        assert len(re.findall(r'<tr data-row="\d', done.stdout)) == 15


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trades only (A): both sides", "Trades only (A): both sides."),
        ("cut.gz breaks off", "cut.gz breaks off."),
        ("fall.csv: 3 records", "fall.csv: 3 records."),
        ("2,000 verdicts", "2,000 verdicts."),
        ("Cross has on_bar", "Cross has on_bar."),
    ],
)
def test_a_warning_that_begins_with_a_name_leaves_it_as_it_is(text: str, said: str) -> None:
    assert sentence(text) == said
