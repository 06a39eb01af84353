"""A strategy named as `file.py:Class` or `module:Class`, as a class. Runs the user's file; compiles nothing.

Every mistake in it (no such file, syntax, an import that fails, no such class) is a StrategyError with file and line.
"""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType

from twinloop.engine.strategy import PythonStrategy, Strategy
from twinloop.engine.strategy_errors import StrategyError


def load_strategy(name: str, folders: list[Path]) -> type:
    """The class that `path.py:Class` or `package.module:Class` names; the class may be left out where a file has just one.

    folders: where a relative path is looked for, in order. Raises StrategyError.
    """
    place, sign, class_name = name.rpartition(":")
    if not sign or (len(place) == 1 and class_name.startswith(("/", "\\"))):  # C:\path.py
        place, class_name = name, ""
    if place.endswith(".py") or "/" in place or "\\" in place:
        module = _from_file(_find(place, folders))
    else:
        module = _from_module(place, folders)
    return _class_in(module, class_name, name)


def _find(place: str, folders: list[Path]) -> Path:
    for folder in folders:
        path = (folder / Path(place).expanduser()).resolve()
        if path.is_file():
            return path
    path = folders[0] / place
    names = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"looked in {', '.join(str(folder) for folder in folders)}"
    raise StrategyError("no such strategy file", file=place, remedy=hint)


def _from_file(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # So that the file may import its neighbours.
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise _failed(error, path) from error
    return module


def _from_module(name: str, folders: list[Path]) -> ModuleType:
    for folder in folders:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise StrategyError(
                f"no module {name}",
                expected='"file.py:Class" or "package.module:Class"',
                got=name,
                remedy="check the name",
            ) from None
        raise _failed(error, Path(name)) from error
    except Exception as error:
        raise _failed(error, Path(name)) from error


def _failed(error: Exception, path: Path) -> StrategyError:
    if isinstance(error, SyntaxError):
        return StrategyError(f"not valid Python: {error.msg}", file=error.filename or path, line=error.lineno)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frames = [frame for frame in frames if not frame.filename.endswith("user_code.py")]
    at = frames[-1] if frames else None
    return StrategyError(
        f"the strategy's file cannot be imported: {type(error).__name__}: {error}",
        file=at.filename if at else path,
        line=at.lineno if at else None,
    )


def _class_in(module: ModuleType, name: str, asked: str) -> type:
    bases = (Strategy, PythonStrategy)
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, bases)
        and value not in bases
        and value.__module__ == module.__name__
    }
    file = getattr(module, "__file__", None)
    if not name:
        if len(own) == 1:
            return next(iter(own.values()))
        raise StrategyError(
            "which strategy of this file", file=file, expected="one of " + (", ".join(own) or "none: it defines none"), got=asked,
            remedy=f"write {asked}:{next(iter(own), 'ClassName')}",
        )  # fmt: skip
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, bases)):
        near = difflib.get_close_matches(name, own, n=1)
        raise StrategyError(
            "no such strategy", file=file, expected="one of " + (", ".join(own) or "none: it defines none"), got=name,
            remedy=f"did you mean {near[0]}?" if near else "derive it from tl.Strategy",
        )  # fmt: skip
    return found
