"""Parameters of a request, read and judged as the venue judges them."""

from twinloop.engine.exchange import decimals
from twinloop.engine.exchange.model import BUY, SELL, VenueError

Parameters = dict[str, str]


def need(parameters: Parameters, name: str) -> str:
    """A parameter that must be there. VenueError otherwise."""
    value = parameters.get(name)
    if not value:
        raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def number(parameters: Parameters, name: str, scale: int) -> int:
    """A decimal parameter as a scaled integer, 0 where it is not there."""
    value = parameters.get(name)
    if not value:
        return 0
    try:
        return decimals.scaled(value, scale)
    except OverflowError:
        raise VenueError(-1111, f"Parameter '{name}' has too much precision.") from None
    except ValueError:
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
        ) from None


def whole(parameters: Parameters, name: str, default: int = 0) -> int:
    """A whole parameter, or the default where it is not there."""
    value = parameters.get(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 19:
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(value)


def flag(parameters: Parameters, name: str) -> bool:
    """A yes or no, no where it is not there."""
    return parameters.get(name, "false").lower() == "true"


def side_of(parameters: Parameters) -> int:
    """BUY or SELL."""
    side = {"BUY": BUY, "SELL": SELL}.get(need(parameters, "side"))
    if side is None:
        raise VenueError(-1117, "Invalid side.")
    return side


def force_of(parameters: Parameters, kind: str) -> str:
    """The time in force; a LIMIT order must state it."""
    force = need(parameters, "timeInForce") if kind == "LIMIT" else parameters.get("timeInForce") or "GTC"
    if force not in {"GTC", "IOC", "FOK", "GTX", "GTD"}:
        raise VenueError(-1115, "Invalid timeInForce.")
    return force
