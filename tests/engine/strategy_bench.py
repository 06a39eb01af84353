"""A node without a loop: callbacks are called by address, order services are recorded. Used by the strategy tests."""

import ctypes
import importlib.util
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numba import config

from twinloop.engine.strategy import fields_of, parameter_values
from twinloop.engine.strategy_compiler import CompiledStrategy, compile_strategy
from twinloop.engine.strategy_python import PythonEntries
from twinloop.kernels import codes, rows
from twinloop.kernels.intrinsics import call_at, register
from twinloop.kernels.node import STANDARD, SizeClass, node_dtype

TINY = SizeClass("tiny", 3, 1, 64, 2, 8, 2, 1, 2, 4, 4096, 8, 8, 128)
SIZE = STANDARD._replace(name="bench", window_levels=64, records=128)
KINDS = ["python"] if config.DISABLE_JIT else ["compiled", "python"]
SERVICES = ("submit", "amend", "cancel", "cancel_all", "set_timer", "slice_order")
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_modules = 0


def module_of(folder: Path, source: str, name: str = "") -> ModuleType:
    """Write a module and import it."""
    global _modules  # noqa: PLW0603
    _modules += 1
    name = name or f"user_strategy_{_modules}"
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Bench:
    """Two instruments: slot 0 has prices in 0.1 and quantities in 0.001, slot 1 prices in 0.01 with a tick of 0.05."""

    def __init__(self, size: SizeClass = TINY) -> None:
        self.nodes = np.zeros(1, node_dtype(size))
        self.node: Any = self.nodes[0]
        self.address = self.nodes.ctypes.data
        self.node["address"] = self.address
        self.node["inbox_mask"] = size.inbox_rows - 1
        self.requests: list[dict[str, Any]] = []
        self.result = 100
        self._kept: list[Any] = []
        for name in SERVICES:
            self.node[name] = self._service(name)
        decision = self.node["decision"]
        decision["instrument_count"] = 2
        for slot, (price, qty, tick, lot) in enumerate(((10.0, 1000.0, 1, 1), (100.0, 1.0, 5, 2))):
            market = decision["instruments"][slot]
            market["prices_per_unit"] = price
            market["qtys_per_unit"] = qty
            market["price_unit"] = 1 / price
            market["qty_unit"] = 1 / qty
            market["tick_size"] = tick
            market["lot_size"] = lot
            market["min_qty"] = lot
            market["book"] = -1

    def _service(self, name: str) -> int:
        def serve(address: int) -> None:
            assert address == self.address
            request = self.node["request"]
            self.requests.append({"service": name, **{field: int(request[field]) for field in request.dtype.names}})
            request["result"] = self.result

        if config.DISABLE_JIT:
            return register(serve)
        made = _CALL(serve)
        self._kept.append(made)
        return int(ctypes.cast(made, ctypes.c_void_p).value or 0)

    def add(self, strategy: CompiledStrategy, slot: int = 0) -> None:
        """Put a strategy in a slot."""
        for name, address in strategy.addresses.items():
            self.node["callbacks"][slot, codes.CALLBACKS.index(name)] = address
        self.node["decision"]["areas"][slot] = np.frombuffer(strategy.initial_area(), "u1")
        self.node["decision"]["strategy_count"] = max(int(self.node["decision"]["strategy_count"]), slot + 1)
        self._kept.append(strategy)

    def call(self, callback: str, slot: int = 0) -> None:
        """Call a callback as the loop does."""
        self.node["current_strategy"] = slot
        function = int(self.node["callbacks"][slot, codes.CALLBACKS.index(callback)])
        assert function != 0, callback
        if config.DISABLE_JIT:
            call_at(function, self.address)
        else:
            _CALL(function)(self.address)

    def row(self, kind: int, slot: int = 0, **fields: int) -> Any:
        """Set the row in hand."""
        row = self.node["inbox"][slot]
        for name in rows.ROW.names or ():
            if row.dtype.fields[name][1] < 32:
                row[name] = 0
        row["kind"] = kind
        for name, value in fields.items():
            row[name] = value
        self.node["current_slot"] = slot
        clock = self.node["decision"]["clock"]
        clock["now_ns"], clock["venue_ns"], clock["sequence"] = row["local_ns"], row["venue_ns"], row["sequence"]
        return row

    def trade(self, price: int, qty: int = 1, **fields: int) -> None:
        """A print for slot 0."""
        self.row(rows.TRADE, price=price, qty=qty, **fields)
        self.call("on_trade")

    def state(self, slot: int = 0) -> dict[str, Any]:
        """What a strategy's area holds."""
        strategy = next(kept for kept in self._kept[::-1] if isinstance(kept, CompiledStrategy))
        return strategy.read_state(self.node["decision"]["areas"][slot])


def built(cls: type, kind: str, params: dict[str, Any] | None = None) -> CompiledStrategy:
    """A strategy compiled, or the same class run by Python."""
    symbols = ("BTCUSDT", "ETHUSDT")
    if kind == "compiled" or config.DISABLE_JIT:
        return compile_strategy(cls, params or {}, TINY, symbols, cache=False)
    declared = fields_of(cls)
    values = parameter_values(declared, params or {}, {name: slot for slot, name in enumerate(symbols)})
    made = CompiledStrategy(cls.__name__, cls, TINY, declared, values, "", {}, compiled=False)
    made._python = PythonEntries(cls, declared, values, TINY, cls.__name__)
    made.addresses.update(made._python.addresses)
    return made


def run_source(
    kind: str, folder: Path, source: str, params: dict[str, Any] | None = None
) -> tuple[Bench, CompiledStrategy]:
    """A strategy of a source's class S on a bench of its own."""
    module = module_of(folder, "import math\nimport numpy as np\nimport twinloop as tl\n" + source)
    bench = Bench()
    made = built(module.S, kind, params)
    bench.add(made)
    return bench, made
