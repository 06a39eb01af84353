"""Strategies loaded from files: every mistake is placed, and none is a traceback."""

from pathlib import Path

import pytest

from twinloop.engine.strategy_errors import StrategyError
from twinloop.engine.user_code import load_strategy

GOOD = "import twinloop as tl\n\n\nclass Good(tl.Strategy):\n    qty: float = 1.0\n\n    def on_trade(self, ctx, trade):\n        pass\n"


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_class_of_a_file(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    assert load_strategy("mine.py:Good", [tmp_path]).__name__ == "Good"
    assert load_strategy("mine.py", [tmp_path]) is load_strategy("mine.py:Good", [tmp_path])
    assert load_strategy(f"{tmp_path}/mine.py:Good", [Path("/nowhere")]).__name__ == "Good"


def test_folders_are_tried_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    written(tmp_path / "b", GOOD)
    assert load_strategy("mine.py:Good", [tmp_path, tmp_path / "b"]).__module__.startswith("mine_")


def test_a_file_may_import_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "QTY = 2.0\n", "twinloop_test_neighbour.py")
    written(tmp_path, "from twinloop_test_neighbour import QTY\n" + GOOD.replace("1.0", "QTY"), "other.py")
    assert load_strategy("other.py:Good", [tmp_path]).qty == 2.0  # type: ignore[attr-defined]


def test_a_class_of_an_installed_module() -> None:
    assert load_strategy("twinloop.engine.cli.bench_strategy:BenchCross", [Path.cwd()]).__name__ == "BenchCross"


@pytest.mark.parametrize(
    ("text", "name", "said", "line"),
    [
        (GOOD, "mime.py:Good", "did you mean mine.py", None),
        (GOOD, "mine.py:God", "did you mean Good", None),
        (GOOD + GOOD.replace("Good", "Better"), "mine.py", "one of Good, Better", None),
        ("x = 1\n", "mine.py", "it defines none", None),
        ("x = 1\ndef f(:\n", "mine.py:X", "not valid Python", 2),
        ("x = 1\nimport nothing_of_this_name\n", "mine.py:X", "nothing_of_this_name", 2),
        ("x = 1\n\ny = 1 / 0\n", "mine.py:X", "ZeroDivisionError", 3),
        ("x = 1\n", "no_module_of_this_name:X", "no module no_module_of_this_name", None),
    ],
)
def test_a_mistake_is_placed(tmp_path: Path, text: str, name: str, said: str, line: int | None) -> None:
    written(tmp_path, text)
    with pytest.raises(StrategyError, match=said) as caught:
        load_strategy(name, [tmp_path])
    assert caught.value.line == line
