"""The check of a strategy's source before it is compiled: each mistake with its file, line and remedy, all of them at once.

What can be seen in the source is found here, quickly and with the exact line; what needs types is left to Numba, whose errors
engine/strategy_errors.py translates. This module never runs a strategy.
"""

import ast
import builtins
import inspect
import textwrap
from types import FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from twinloop.engine.strategy import ARGUMENTS, Fields
from twinloop.engine.strategy_context import Context
from twinloop.engine.strategy_errors import PYTHON_REMEDY, StrategyError, remedy, suggest
from twinloop.engine.strategy_events import EVENTS, fields
from twinloop.engine.strategy_source import is_users_file, methods_of, reached_functions
from twinloop.kernels.codes import CALLBACKS

_NOT_DETERMINISTIC: Final = {
    "time": "use ctx.now_ns or the event's ts_ns: a replay has to see the same time",
    "datetime": "use ctx.now_ns or the event's ts_ns: a replay has to see the same time",
    "random": "draw from a generator kept in tl.State[int] fields: a replay has to draw the same",
    "numpy.random": "draw from a generator kept in tl.State[int] fields: a replay has to draw the same",
    "secrets": "a replay has to see the same numbers",
    "uuid": "a replay has to see the same numbers; order ids come from the order calls",
    "os": "a replay has to see the same: pass it as a parameter",
}
_MODULES: Final = {"math", "cmath", "numpy", "operator", "numba", "enum"}
_BUILTINS: Final = {
    "abs", "bool", "complex", "divmod", "enumerate", "float", "int", "len", "max", "min", "pow", "print", "range", "round", "sum",
    "slice", "tuple", "zip", "True", "False", "None", "ValueError", "RuntimeError", "AssertionError", "IndexError", "Exception",
    "ZeroDivisionError", "OverflowError", "ArithmeticError", "TypeError",
}  # fmt: skip
_ARRAYS: Final = "use a tl.Array field of self: nothing is allocated per event"
_CONSTRUCTS: Final[dict[type, tuple[str, str]]] = {
    ast.Dict: ("a dict", _ARRAYS),
    ast.DictComp: ("a dict", _ARRAYS),
    ast.Set: ("a set", _ARRAYS),
    ast.SetComp: ("a set", _ARRAYS),
    ast.List: ("a list", _ARRAYS),
    ast.ListComp: ("a list", _ARRAYS),
    ast.GeneratorExp: ("a generator", "write a for loop"),
    ast.Yield: ("a generator", "callbacks return at once"),
    ast.YieldFrom: ("a generator", "callbacks return at once"),
    ast.Await: ("await", "callbacks return at once"),
    ast.AsyncFor: ("async", "callbacks return at once"),
    ast.AsyncWith: ("async", "callbacks return at once"),
    ast.Try: ("try", "test the condition first; an error ends the run with its line"),
    ast.TryStar: ("try", "test the condition first; an error ends the run with its line"),
    ast.With: ("with", "there is nothing to open or close in a callback"),
    ast.Import: ("an import", "import at the top of the module"),
    ast.ImportFrom: ("an import", "import at the top of the module"),
    ast.Lambda: ("a lambda", "write a function of the module"),
    ast.JoinedStr: ("an f-string", "print numbers as they are, print(a, b), or run with --debug"),
    ast.Global: ("global", "module values are frozen: keep state in tl.State fields"),
    ast.Nonlocal: ("nonlocal", "keep state in tl.State fields"),
    ast.Delete: ("del", "leave it out"),
    ast.ClassDef: ("a class", "define it in the module"),
    ast.Match: ("match", "write if and elif"),
}


def _source(function: FunctionType) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef | None, str, int]:
    """Syntax tree, file and line offset of a function; no tree where its source cannot be had."""
    code = function.__code__
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError):
        return None, code.co_filename, code.co_firstlineno - 1
    found = tree.body[0]
    return (
        (found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None),
        code.co_filename,
        max(first, 1) - 1,
    )


def _context_names() -> dict[str, Any]:
    return {name: value for name, value in vars(Context).items() if not name.startswith("_") and name != "node"}


class _Checker(ast.NodeVisitor):
    """Walks one function."""

    def __init__(
        self, cls: type, declared: Fields, function: FunctionType, callback: str, is_method: bool, strict: bool
    ) -> None:
        self.tree, self.file, self.offset = _source(function)
        self.function = function
        self.declared = declared
        self.methods = methods_of(cls)
        # A function the user compiles himself may use all that Numba can; with the JIT off only its decorator tells.
        self.strict = strict and (
            is_method or not any("jit" in ast.unparse(one) for one in getattr(self.tree, "decorator_list", ()))
        )
        self.errors: list[StrategyError] = []
        arguments = list(inspect.signature(function).parameters)
        self.self_name = arguments[0] if is_method and arguments else ""
        self.ctx_name = "ctx" if "ctx" in arguments else ""
        self.event_name = ""
        self.event: type | None = None
        if callback:
            self.ctx_name = arguments[1] if len(arguments) > 1 else ""
            if callback in EVENTS and len(arguments) > 2:
                self.event_name, self.event = arguments[2], EVENTS[callback]
        self.locals = set(function.__code__.co_varnames)
        self.constants: dict[str, type] = {}
        self.called: set[int] = set()
        self.closure = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}

    def run(self) -> list[StrategyError]:
        """All mistakes of the function."""
        if self.tree is not None:
            if isinstance(self.tree, ast.AsyncFunctionDef):
                self.add(self.tree, "async function in a strategy", "callbacks return at once: write def")
            for statement in self.tree.body:
                self.visit(statement)
        return self.errors

    def add(self, node: ast.AST, what: str, *fix: str) -> None:
        line = getattr(node, "lineno", 1) + self.offset
        self.errors.append(StrategyError(what, file=self.file, line=line, remedy=remedy(*fix) or None))

    def generic_visit(self, node: ast.AST) -> None:
        """Refuse what cannot be compiled, else go on."""
        found = _CONSTRUCTS.get(type(node)) if self.strict else None
        if found is not None:
            self.add(node, f"{found[0]} cannot be used in compiled code", found[1], PYTHON_REMEDY)
            return
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function inside a function."""
        if self.strict:
            self.add(
                node,
                "a function inside a function cannot be used in compiled code",
                "make it a method or a function of the module",
            )

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """The same."""
        self.add(node, "async function in a strategy", "callbacks return at once")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """self.x, ctx.x, event.x, module.x."""
        base = node.value
        if isinstance(base, ast.Name):
            if base.id == self.self_name and self.self_name:
                self._self_attribute(node)
                return
            if base.id == self.ctx_name and self.ctx_name:
                self._ctx_attribute(node)
                return
            if base.id == self.event_name and self.event is not None:
                self._event_attribute(node)
                return
        if isinstance(base, ast.Constant) and isinstance(base.value, str):
            self.add(
                node,
                f"str.{node.attr} cannot be used in compiled code",
                "print numbers as they are, print(a, b), or run with --debug",
            )
            return
        value = self._resolve(node)
        if value is not None:
            self._value(node, ast.unparse(node), value[0])
            if not isinstance(base, ast.Name):
                return
        self.visit(base)

    def _self_attribute(self, node: ast.Attribute) -> None:
        name = node.attr
        known = [*self.declared.names(), *self.methods]
        if isinstance(node.ctx, ast.Store | ast.Del):
            if name in self.declared.parameters:
                self.add(
                    node,
                    f'parameter "{name}" is assigned',
                    "parameters are read only: use a tl.State field for what changes",
                )
            elif name in self.methods:
                self.add(node, f'method "{name}" is assigned', "choose another name")
            elif name not in self.declared.state:
                self.add(
                    node,
                    f"self.{name} is assigned but not declared",
                    suggest(name, self.declared.state) or f"declare it in the class: {name}: tl.State[float] = 0.0",
                )
            elif self.declared.state[name].shape or isinstance(self.declared.state[name].type, np.dtype):
                self.add(
                    node,
                    f'field "{name}" is assigned as a whole',
                    f"assign its elements: self.{name}[:] = ..."
                    if self.declared.state[name].shape
                    else "use its functions or fields",
                )
        elif name not in known:
            self.add(
                node,
                f'strategy has no field or method "{name}"',
                suggest(name, known) or f"declare it in the class: {name}: tl.State[float] = 0.0",
            )
        elif name == self.function.__name__ and id(node) in self.called and self.strict:
            self.add(node, f"self.{name} calls itself", "write a loop", PYTHON_REMEDY)
        elif name in self.methods and id(node) not in self.called and isinstance(self.methods[name], FunctionType):
            self.add(node, f"self.{name} is a method", f"call it: self.{name}(...)")
        elif name in self.declared.names() and id(node) in self.called:
            self.add(node, f"self.{name} is a value, not a method", "leave the parentheses out")

    def _ctx_attribute(self, node: ast.Attribute) -> None:
        names = _context_names()
        found = names.get(node.attr)
        if isinstance(node.ctx, ast.Store | ast.Del):
            self.add(node, f"ctx.{node.attr} is assigned", "ctx is read only: keep state in tl.State fields of self")
        elif found is None:
            self.add(
                node,
                f'ctx has no method "{node.attr}"',
                suggest(node.attr, names) or "the context's methods are listed in its documentation",
            )
        elif isinstance(found, property) and id(node) in self.called:
            self.add(node, f"ctx.{node.attr} is a value, not a method", "leave the parentheses out")
        elif not isinstance(found, property) and id(node) not in self.called:
            self.add(node, f"ctx.{node.attr} is a method", f"call it: ctx.{node.attr}(...)")

    def _event_attribute(self, node: ast.Attribute) -> None:
        assert self.event is not None
        known = fields(self.event)
        if isinstance(node.ctx, ast.Store | ast.Del):
            self.add(
                node,
                f"{self.event_name}.{node.attr} is assigned",
                "an event is read only: copy it into a tl.State field of self",
            )
        elif node.attr not in known:
            self.add(
                node,
                f'{self.event.__name__} has no attribute "{node.attr}"',
                suggest(node.attr, known) or "it has " + ", ".join(known),
            )
        elif id(node) in self.called:
            self.add(node, f"{self.event_name}.{node.attr} is a value, not a method", "leave the parentheses out")

    def visit_Call(self, node: ast.Call) -> None:
        """Arguments of ctx calls and of helper methods; builtins."""
        self.called.add(id(node.func))
        target = node.func
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            word.arg is None for word in node.keywords
        ):
            if self.strict:
                self.add(node, "arguments are unpacked with a star", "write them out")
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            called = None
            if target.value.id == self.ctx_name and self.ctx_name:
                called = _context_names().get(target.attr)
            elif target.value.id == self.self_name and self.self_name:
                called = self.methods.get(target.attr)
            if isinstance(called, FunctionType):
                self._bind(node, called, ast.unparse(target))
        self.generic_visit(node)

    def _bind(self, node: ast.Call, called: FunctionType, name: str) -> None:
        signature = inspect.signature(called)
        try:
            signature.bind(None, *node.args, **{word.arg: word.value for word in node.keywords if word.arg})
        except TypeError as error:
            shown = [
                str(one).split(":")[0] + (f"={one.default}" if one.default is not one.empty else "")
                for one in signature.parameters.values()
            ]
            self.add(node, f"{name} is called with the wrong arguments: {error}", f"it takes ({', '.join(shown[1:])})")

    def visit_Compare(self, node: ast.Compare) -> None:
        """None and strings have no place in compiled state."""
        for side in (node.left, *node.comparators):
            value = side.value if isinstance(side, ast.Constant) else (self._resolve(side) or (0,))[0]
            if value is None:
                self.add(
                    node, "a comparison with None", "numbers are never None: use a value such as 0 or -1 for unset"
                )
                return
            if isinstance(value, str) and self.strict:
                self.add(
                    node,
                    f"a comparison with the string {value!r}",
                    "use an enum.IntEnum parameter, or integer constants",
                )
                return
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Formatting by %."""
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            self.add(
                node,
                "text formatting cannot be used in compiled code",
                "print numbers as they are, print(a, b), or run with --debug",
            )
            return
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Literal indices of declared arrays."""
        base, index = node.value, node.slice
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id == self.self_name:
            spec = self.declared.state.get(base.attr)
            if spec is not None and spec.shape:
                if isinstance(index, ast.Constant) and not (
                    isinstance(index.value, int) and not isinstance(index.value, bool)
                ):
                    self.add(
                        node,
                        f"self.{base.attr} is indexed by {index.value!r}",
                        "arrays are indexed by integers: int(...)",
                    )
                elif isinstance(index, ast.Constant) and isinstance(index.value, int) and index.value >= spec.shape[0]:
                    self.add(
                        node,
                        f"index {index.value} is outside self.{base.attr}, which has {spec.shape[0]} elements",
                        f"the last one is self.{base.attr}[{spec.shape[0] - 1}]",
                    )
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """A local that changes between text and numbers."""
        if isinstance(node.value, ast.Constant):
            kind = str if isinstance(node.value.value, str) else float
            for target in node.targets:
                if isinstance(target, ast.Name) and self.constants.setdefault(target.id, kind) is not kind:
                    self.add(
                        node,
                        f'variable "{target.id}" is a number in one place and a str in another',
                        "give it one type, or use two names",
                    )
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Globals."""
        if node.id in self.locals or not isinstance(node.ctx, ast.Load):
            return
        found = self._resolve(node)
        if found is None:
            names = [*self.function.__globals__, *_BUILTINS, *self.locals]
            self.add(node, f'name "{node.id}" is not defined', suggest(node.id, names) or "define it in the module")
        else:
            self._value(node, node.id, found[0])

    def _resolve(self, node: ast.AST) -> tuple[Any] | None:
        """The value of a global name or a chain of attributes of modules, in a tuple; None if it is something else."""
        if isinstance(node, ast.Name):
            if node.id in self.closure:
                return (self.closure[node.id],)
            if node.id in self.locals:
                return None
            if node.id in self.function.__globals__:
                return (self.function.__globals__[node.id],)
            return (getattr(builtins, node.id),) if hasattr(builtins, node.id) else None
        if isinstance(node, ast.Attribute):
            base = self._resolve(node.value)
            if base is not None and isinstance(base[0], ModuleType | type):
                try:
                    return (getattr(base[0], node.attr),)
                except AttributeError:
                    name = base[0].__name__
                    self.add(node, f'"{name}" has no "{node.attr}"', suggest(node.attr, dir(base[0])))
                    return (0,)
        return None

    def _value(self, node: ast.AST, name: str, value: Any) -> None:
        """Refuse a global that compiled code cannot use, or that would make a replay differ."""
        owner = getattr(value, "__self__", None)  # Of a method such as datetime.now or random.random.
        owner = value if owner is None or isinstance(owner, ModuleType) else owner
        module = (
            value.__name__
            if isinstance(value, ModuleType)
            else str(getattr(owner, "__module__", None) or type(owner).__module__)
        )
        for banned, fix in _NOT_DETERMINISTIC.items():
            if module == banned or module.startswith(banned + ".") or type(owner).__module__ == banned:
                if not isinstance(value, ModuleType) or banned == "numpy.random":
                    self.add(node, f"{name} is not deterministic", fix)
                return
        if not self.strict:
            return
        if isinstance(value, list | dict | set | bytearray):
            self.add(
                node,
                f'global "{name}" is a {type(value).__name__}, which can change',
                "compiled code sees module values frozen: use a tuple or a NumPy array for constants, tl.Array for state",
            )
        elif isinstance(value, ModuleType):
            root = value.__name__.split(".")[0]
            if root not in _MODULES and root != "twinloop" and not is_users_file(getattr(value, "__file__", None)):
                self.add(
                    node,
                    f'module "{value.__name__}" cannot be used in compiled code',
                    "compute it beforehand and pass it as a parameter",
                    PYTHON_REMEDY,
                )
        elif module.split(".")[0] == "builtins" and getattr(builtins, name, None) is value and name not in _BUILTINS:
            self.add(
                node,
                f"{name}() cannot be used in compiled code",
                "write it with numbers and tl.Array fields",
                PYTHON_REMEDY,
            )


def _check_signature(name: str, function: FunctionType) -> StrategyError | None:
    wanted = ("self", *ARGUMENTS[name])
    parameters = inspect.signature(function).parameters.values()
    if len(parameters) == len(wanted) and all(
        one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty for one in parameters
    ):
        return None
    code = function.__code__
    got = ", ".join(one.name for one in parameters)
    return StrategyError(
        f"callback {name} takes the wrong arguments",
        file=code.co_filename,
        line=code.co_firstlineno,
        expected=f"def {name}({', '.join(wanted)})",
        got=f"({got})",
    )


def _check_methods(cls: type, methods: dict[str, Any]) -> list[StrategyError]:
    """Names, decorators and signatures."""
    found: list[StrategyError] = []
    for name, value in methods.items():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "py_func", value)
        if not isinstance(function, FunctionType):
            continue
        where: dict[str, Any] = {"file": function.__code__.co_filename, "line": function.__code__.co_firstlineno}
        if name.startswith("__") and name.endswith("__"):
            found.append(
                StrategyError(f"a strategy defines {name}", remedy="set up state in on_start(self, ctx)", **where)
            )
        elif not isinstance(value, FunctionType):
            kind = "njit" if hasattr(value, "py_func") else type(value).__name__
            found.append(
                StrategyError(
                    f'method "{name}" is decorated ({kind})',
                    remedy="leave the decorator out: methods are compiled by twinloop",
                    **where,
                )
            )
        elif name.startswith("on_") and name not in CALLBACKS:
            found.append(
                StrategyError(
                    f'no callback is called "{name}"',
                    remedy=suggest(name, CALLBACKS)
                    or "callbacks: " + ", ".join(CALLBACKS) + "; helpers must not start with on_",
                    **where,
                )
            )
        elif name in CALLBACKS:
            wrong = _check_signature(name, function)
            if wrong is not None:
                found.append(wrong)
    if not any(name in CALLBACKS for name in methods) and not found:
        found.append(
            StrategyError(f"strategy {cls.__name__} has no callback", remedy="define one of " + ", ".join(CALLBACKS))
        )
    return found


def check_strategy(cls: type, declared: Fields, *, strict: bool = True) -> list[StrategyError]:
    """Every mistake that a compiled strategy's source shows, in the order of files and lines.

    strict=False lets pass what only compiled code cannot do (f-strings, breakpoint(), lists): for runs with the JIT off.
    """
    methods = methods_of(cls)
    found = _check_methods(cls, methods)
    functions = {name: value for name, value in methods.items() if isinstance(value, FunctionType)}
    if not found:
        for name, function in functions.items():
            found += _Checker(
                cls, declared, function, name if name in CALLBACKS else "", is_method=True, strict=strict
            ).run()
        for reached in reached_functions(list(functions.values())):
            found += _Checker(
                cls, declared, reached.function, "", is_method=False, strict=strict and not reached.decorated
            ).run()
    unique = {str(error): error for error in found}
    return sorted(unique.values(), key=lambda error: (error.file or "", error.line or 0))


def check_python_strategy(cls: type) -> list[StrategyError]:
    """Callback names and signatures of a plain-Python strategy."""
    methods = {name: value for name, value in methods_of(cls).items() if name.startswith("on_")}
    return _check_methods(cls, methods)
