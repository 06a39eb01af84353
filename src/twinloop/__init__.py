"""twinloop: one compiled event loop for backtests and live trading.

    import twinloop as tl

Names are loaded when they are first used, so that importing the package costs milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twinloop._cache import use_cache_folder

if TYPE_CHECKING:
    from twinloop.data.errors import TwinloopError
    from twinloop.engine.strategy import Array, PythonStrategy, State, Strategy, Symbol, array, record
    from twinloop.engine.strategy_compiler import CompiledStrategy, compile_strategy
    from twinloop.engine.strategy_context import Context
    from twinloop.engine.strategy_errors import ParameterError, StrategyError, StrategyRunError
    from twinloop.engine.strategy_events import Bar, BookEvent, FeedEvent, Fill, OrderEvent, Quote, Timer, Trade
    from twinloop.kernels import codes
    from twinloop.kernels.codes import DAY, FOK, GTC, GTD, IOC

    indicators: Any  # Its record types are values: as Any, a checker takes `State[tl.indicators.EMA]`.

__version__ = "0.1.0"

BUY = 1
SELL = -1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 3_600 * SECOND

_HOMES = {
    "twinloop.engine.strategy": ("Array", "PythonStrategy", "State", "Strategy", "Symbol", "array", "record"),
    "twinloop.engine.strategy_compiler": ("CompiledStrategy", "compile_strategy"),
    "twinloop.engine.strategy_context": ("Context",),
    "twinloop.engine.strategy_errors": ("ParameterError", "StrategyError", "StrategyRunError"),
    "twinloop.engine.strategy_events": (
        "Bar",
        "BookEvent",
        "FeedEvent",
        "Fill",
        "OrderEvent",
        "Quote",
        "Timer",
        "Trade",
    ),
    "twinloop.data.errors": ("TwinloopError",),
    "twinloop.kernels.codes": ("DAY", "FOK", "GTC", "GTD", "IOC"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {"codes": "twinloop.kernels.codes", "indicators": "twinloop.kernels.indicators"}

__all__ = [
    "BUY",
    "DAY",
    "FOK",
    "GTC",
    "GTD",
    "HOUR",
    "IOC",
    "MICROSECOND",
    "MILLISECOND",
    "MINUTE",
    "SECOND",
    "SELL",
    "Array",
    "Bar",
    "BookEvent",
    "CompiledStrategy",
    "Context",
    "FeedEvent",
    "Fill",
    "OrderEvent",
    "ParameterError",
    "PythonStrategy",
    "Quote",
    "State",
    "Strategy",
    "StrategyError",
    "StrategyRunError",
    "Symbol",
    "Timer",
    "Trade",
    "TwinloopError",
    "array",
    "codes",
    "compile_strategy",
    "indicators",
    "record",
]

# Before any kernel can be imported: compiled code of other sources, versions or CPUs is never seen.
use_cache_folder()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _MODULES:
        value = import_module(_MODULES[name])
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'twinloop' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Every public name, loaded or not."""
    return sorted({*globals(), *__all__})
