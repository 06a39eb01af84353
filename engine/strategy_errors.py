"""What is wrong with a strategy, said so that its author can put it right: file, line, what, remedy.

Two sources: the check of its source before compiling (engine/strategy_check.py) and Numba's own errors, which this module
turns from a dump of types into one line. This module must not look at a strategy's source itself.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from twinloop.data.errors import ConfigError, TwinloopError

PYTHON_REMEDY: Final = "or derive from tl.PythonStrategy, which may use any Python"


class StrategyError(TwinloopError):
    """A strategy that cannot be compiled, or whose parameters cannot stand: `file`, `line`, `what`, `remedy`."""


class StrategyErrors(StrategyError):  # noqa: N818 - the plural says that it holds several.
    """Several mistakes found at once; `errors` holds each, the text has one line per mistake."""

    def __init__(self, errors: list[StrategyError]) -> None:
        super().__init__(f"{len(errors)} mistakes in the strategy:\n" + "\n".join(f"  {error}" for error in errors))
        self.errors = errors
        self.file = errors[0].file
        self.line = errors[0].line
        self.remedy = errors[0].remedy


class ParameterError(ConfigError, StrategyError):
    """A parameter that a strategy does not have, or a value it cannot take."""


class StrategyRunError(StrategyError):
    """A callback raised while it ran. With the JIT off, and of a plain-Python strategy, `__cause__` is what it raised."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known name, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def remedy(*parts: str) -> str:
    """The parts that say something, joined."""
    return ", ".join(part for part in parts if part)


# Numba's messages, from the most telling to the least, with what to say instead. {0}, {1}: the groups.
_MESSAGES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"BoundFunction\(\(<class '[^']*ContextType'>, '(?P<name>\w+)'\)",
        "ctx.{name} cannot take ({call})",
        "numbers only; an instrument is its slot: declare a tl.Symbol parameter, or use the event's instrument",
    ),
    (r"Int value is too large: (\d+)", "the integer {0} does not fit 64 bits", "use a float, or smaller units"),
    (r"float stored in int field '(\w+)'", 'int field "{0}" would cut off a float', "convert it with int(...), or declare the field as tl.State[float]"),
    (r"assigned parameter '(\w+)'", 'parameter "{0}" is assigned', "parameters are read only: use a tl.State field for what changes"),
    (r"assigned whole field '(\w+)'", 'field "{0}" is assigned as a whole', "assign its elements"),
    (r'Cannot cast (.+?) to (\w+): [\s\S]*?lowering "\(?\w+\)?\.(\w+) =', 'field "{2}" is of type {1} and is given {0}', "convert it, or declare the field with that type"),
    (
        r"Unknown attribute '(\w+)' of type \(?(Context|Trade|Quote|BookEvent|Bar|Timer|Fill|OrderEvent|FeedEvent)",
        '{1} has no attribute "{0}"',
        "{known}",
    ),
    (r"Unknown attribute '(\w+)' of type \(?Self\[(\w+)\]", 'strategy {1} has no field or method "{0}"', "{known}"),
    (r"Unknown attribute '(\w+)' of type Module\((\S+?)\)", '"{1}.{0}" cannot be used in compiled code', PYTHON_REMEDY),
    (r"Use of unsupported NumPy function '(\S+?)'", 'NumPy function "{0}" cannot be used in compiled code', PYTHON_REMEDY),
    (r"Cannot resolve setattr: \(?(?:Trade|Quote|BookEvent|Bar|Timer|Fill|OrderEvent|FeedEvent|Context)\S*\)?\.(\w+)", 'cannot assign "{0}": it is read only', "copy it into a state field of self"),
    (r"Cannot resolve setattr: \(?(?:Self\S*?|Record)\S*?\)?\.(\w+) = (.+)", 'field "{0}" cannot hold a value of type {1}', "convert it, or declare the field with that type"),
    (r"Cannot unify (.+?) and (.+?) for '(\w+?)(?:\.\d+)?'", 'variable "{2}" is {0} in one place and {1} in another', "give it one type, or use two names"),
    (r"Can't unify return type from the following types: (.+)", "the function returns values of different types: {0}", "return the same type on every path"),
    (r"variable '(\w+?)(?:\.\d+)?' has been (?:deleted|undefined)|Variable '(\w+)' referenced before assignment|local variable '(\w+)' referenced", 'variable "{0}" is used before it is set', "set it on every path first"),
    (r"NameError: name '(\w+)' is not defined|Untyped global name '(\w+)': cannot determine Numba type of <class '(?:type|module|function|builtin_function_or_method)'>", 'name "{0}" cannot be used in compiled code', "define it in the module as a number, a tuple, a NumPy array or a function; " + PYTHON_REMEDY),
    (r"Untyped global name '(\w+)'", 'global "{0}" is of a type that compiled code cannot use', "use a number, a tuple of numbers or a NumPy array, or make it a parameter"),
    (r"not enough arguments: expected (\d+), got (\d+)", "a call has too few arguments: expected {0}, got {1}", "pass the missing ones"),
    (r"(missing a required argument: '\w+')", "a call is {0}", "pass it"),
    (r"(too many (?:positional )?arguments)", "a call has {0}", "leave out what the function does not take"),
    (r"(got an unexpected keyword argument '\w+')", "a call {0}", "leave it out or correct its name"),
    (r"Cannot modify readonly array", "a module's array is written to", "compiled code sees module values frozen: use a tl.Array field of self"),
    (r"([Uu]nsupported array index type|[Ii]nvalid index type|unsupported nested array index)[^\n]*", "an array is indexed by something that is not an integer", "convert the index with int(...)"),
    (r"No implementation of function Function\(<built-in function getitem>\)[\s\S]*?getitem\(([^\n]+)\)", "cannot index: {0}", "index arrays by integers: int(...)"),
    (r"No implementation of function Function\(<built-in function setitem>\)[\s\S]*?setitem\(([^\n]+)\)", "cannot store by index: {0}", "index arrays by integers, and store numbers"),
    (r"No implementation of function Function\(<built-in function (\w+)>\)[\s\S]*? >>> \w+\(([^\n]+)\)", 'operation "{0}" does not exist for ({1})', "use numbers of one kind"),
    (
        r"BoundFunction\(\(<class '[^']*Self_\w+'>, '(\w+)'\)",
        "self.{0} cannot be called like this",
        "check the types of its arguments; a method cannot call itself",
    ),
    (r"No implementation of function Function\(<(?:class|function|intrinsic|built-in function) '?([\w.]+)'?[^\n]*>\)[\s\S]*? >>> \S+\(([^\n]+)\)", '"{0}" cannot take ({1})', "pass numbers; see its documentation for the order of arguments"),
    (r"unsupported|not supported|Unsupported", "this Python cannot be compiled", "write it with numbers, tuples, arrays, if, for and while; " + PYTHON_REMEDY),
)  # fmt: skip
_OPERATORS: Final = {
    "add": "+", "iadd": "+=", "sub": "-", "isub": "-=", "mul": "*", "imul": "*=", "truediv": "/", "itruediv": "/=", "floordiv": "//",
    "mod": "%", "pow": "**", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and_": "&", "or_": "|",
    "neg": "-", "not_": "not", "contains": "in",
}  # fmt: skip
_TYPES: Final[tuple[tuple[str, str], ...]] = (
    (r"Literal\[str\]\(([^()]*)\)", r'str "\1"'),
    (r"Literal\[\w+\]\(([^()]*)\)", r"\1"),
    (r"UniTuple\((\w+) x (\d+)\)", r"tuple of \2 \1"),
    (r"\bunicode_type\b|\bunicode\b", "str"),
    (r"\bu?int(?:8|16|32|64)\b", "int"),
    (r"\bfloat(?:32|64)\b", "float"),
    (r"\bboolean\b", "bool"),
    (r"\bnone\b|\bOptional\(none\)", "None"),
    (r"nestedarray\((\w+), \((\d+),?\)\)|array\((\w+), \dd, [CAF]\)", r"array of \1\3"),
    (r"Record\([^\n]*", "record"),
    (r"(\w+)\[[^\]]*\]", r"\1"),
)


def plain_types(text: str) -> str:
    """Numba's names of types in a user's words, and short."""
    for pattern, by in _TYPES:
        text = re.sub(pattern, by, text)
    return text if len(text) <= 120 else text[:117] + "..."


def _lines(error: BaseException, text: str, own_files: Iterable[str]) -> tuple[str | None, int | None]:
    """Innermost place of an error that lies in one of the strategy's files."""
    found = re.finditer(r'File "([^"\n]+)", line (\d+)|at (\S+\.py) \((\d+)\)', text)
    places = [(match[1] or match[3], int(match[2] or match[4])) for match in found]
    loc = getattr(error, "loc", None)
    if loc is not None:
        places.append((loc.filename, loc.line))
    own = list(own_files)
    for file, line in places:  # The innermost comes first.
        # Numba shortens paths to end in the same parts.
        for path in own:
            if path == file or path.endswith("/" + file.lstrip("./")) or file.endswith("/" + path.lstrip("/")):
                return path, line
    return None, None


def from_numba(
    error: BaseException, where: str, own_files: Iterable[str], known: dict[str, Iterable[str]]
) -> StrategyError:
    """Numba's error as one line with a remedy.

    where: the callback being compiled, for errors without a place. own_files: the strategy's source files. known: names of a
    type (Context, Trade, ... and the strategy's class) by type, for suggestions.
    """
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    file, line = _lines(error, text, own_files)
    call = re.search(r">>> \w+\(Context\[[^\]]*\]\w*(?:, )?([^\n]*)\)\n", text)
    words = {"call": plain_types(call[1]) if call else ""}
    for pattern, what, fix in _MESSAGES:
        match = re.search(pattern, text)
        if match is None:
            continue
        groups = [_OPERATORS.get(group, plain_types(group)) for group in match.groups() if group is not None] or [""]
        if fix == "{known}":
            names = sorted(known.get(groups[1], ()))
            help_ = suggest(groups[0], names) or f"it has {', '.join(names)}"
        else:
            help_ = fix
        told = what.format(*groups, *[""] * 3, **{**words, **match.groupdict()})
        return StrategyError(f"{where}: {told}", file=file, line=line, remedy=help_.removeprefix("or "))
    first = next(
        (entry for entry in text.splitlines() if entry.strip() and "Failed in" not in entry), type(error).__name__
    )
    return StrategyError(
        f"{where}: cannot be compiled: {plain_types(first.strip())}",
        file=file,
        line=line,
        remedy="run with --debug to use plain Python, " + PYTHON_REMEDY,
    )


_SLOT: Final = "an instrument is its slot: declare a tl.Symbol parameter, or use the event's instrument"
# What Python callbacks raise by wrong use of ctx, self and events, with what to do about it.
_RAISED: Final[tuple[tuple[str, str], ...]] = (
    (r"no instrument has this slot", _SLOT),
    (r"side is neither", "pass tl.BUY or tl.SELL"),
    (r"value to round is not finite", "test it with math.isfinite first"),
    (
        r"Context\.\w+\(\) |'Context' object has no attribute",
        "ctx's calls and their arguments are listed in docs/strategy-api.md",
    ),
    (r"is read only", "copy it into an attribute of self"),
    (r"too large to convert to C", "use smaller units: an integer has 64 bits"),
)
_INSIDE: Final = "ctx's calls take numbers; " + _SLOT
_LOOK: Final = "run with --traceback to see the whole path, or put breakpoint() before that line"


def from_compiled(
    description: tuple[Any, ...], where: str, is_users: Callable[[str | None], bool], callback: Any
) -> StrategyRunError:
    """The exception a compiled callback ended with, as Numba describes it: (class, arguments, (function, file, line)).

    callback: the function entered; where a call of ctx raised, only that is known of the user's code.
    """
    kind, arguments, place = description
    detail = ", ".join(str(argument) for argument in arguments or ())
    name = getattr(kind, "__name__", str(kind))
    file, line = (place[1], place[2]) if place else (None, None)
    known = "a backtest with --debug gives the traceback and pdb"
    if file is not None and not is_users(file):
        code = callback.__code__
        file, line = code.co_filename, code.co_firstlineno
        known = remedy(_remedy_of(detail), "run with --debug to get the line of the call")
    return StrategyRunError(
        f"{where} raised {name}" + (f": {detail}" if detail else ""), file=file, line=line, remedy=known
    )


def _remedy_of(text: str) -> str:
    return next((fix for pattern, fix in _RAISED if re.search(pattern, text)), "")


def from_python(error: BaseException, where: str, is_users: Callable[[str | None], bool]) -> StrategyRunError:
    """The exception a Python callback ended with; the innermost line of the user's own code is its place.

    Without one (a strategy that is an installed package) it is the line of the callback.
    """
    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    users = [frame for frame in frames if is_users(frame[0])]
    outside = [frame for frame in frames if "/engine/strategy" not in frame[0].replace("\\", "/")]
    file, line = users[-1] if users else outside[0] if outside else (None, None)
    inside = users and frames[-1] != users[-1] and "/engine/strategy_" in frames[-1][0].replace("\\", "/")
    fix = _remedy_of(str(error)) or (_INSIDE if inside and isinstance(error, TypeError | ValueError) else _LOOK)
    made = StrategyRunError(f"{where} raised {type(error).__name__}: {error}", file=file, line=line, remedy=fix)
    made.__cause__ = error
    return made
