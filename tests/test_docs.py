"""What the pages say is so: generated tables are current, links lead somewhere, commands and exit codes exist."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from twinloop.engine import cli
from twinloop.engine.config import AccountTable, DataTable, RunTable, StrategyTable, VenueTable

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def generator() -> ModuleType:
    spec = spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rows.md", "codes.md", "strategy-api.md"])
def test_a_generated_page_is_current(name: str) -> None:
    made = generator().PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made, "run `python docs/generate.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?:^|`|bin/)twinloop ([a-z]+)", text, re.MULTILINE):
        assert name in dict(cli.COMMANDS), name


def test_exit_codes_are_the_documented_ones() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert documented == {
        cli.OK, cli.BUG, cli.USAGE, cli.DATA, cli.STRATEGY, cli.INCOMPLETE, cli.CHECK_FAILED, cli.INTERRUPTED,
    }  # fmt: skip


def test_every_key_of_a_run_is_documented() -> None:
    text = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("getting-started.md", "simulation.md")
    )
    for table in (RunTable, DataTable, VenueTable, AccountTable, StrategyTable):
        missing = [name for name in table.model_fields if not re.search(rf"\b{name}\b", text)]
        assert not missing, f"{table.__name__}: {missing}"
