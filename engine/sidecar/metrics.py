"""`/metrics` for Prometheus: the words of a session and of its sidecar, read when they are asked for.

Names come from the two layouts; times are in seconds, money in units. It listens on this machine only. This module must not change anything.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.live.shared import SharedReader
from twinloop.engine.seam import WORLD

HOST: Final = "127.0.0.1"
_SECRET: Final = frozenset(
    {"instance", "pid", "watched_instance", "fenced_instance"}
)  # Names of processes, nothing to draw.
_MONEY: Final = frozenset({"equity", "cash", "gap_slippage", "gap_profit"})


class Metrics(Collector):
    """Gauges of both blocks. `serve` begins to listen."""

    def __init__(self, session: SharedReader, sidecar: Callable[[], dict[str, int]]) -> None:
        self._session = session
        self._sidecar = sidecar
        self._server: Any = None
        self._thread: Any = None

    def serve(self, port: int) -> None:
        """Listen on this machine; 0: do not. ConfigError where the port is taken."""
        if port == 0:
            return
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, HOST, registry)
        except OSError as error:
            raise ConfigError(
                "metrics cannot be served", field="sidecar.metrics_port", expected="a free port", got=f"{port}: {error.strerror}"
            ) from None  # fmt: skip

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every word as a gauge; a session that never was has none."""
        try:
            words = self._session.read()
        except DataError:
            words = None
        now_ns = WORLD.monotonic_ns()
        if words is not None:
            age = GaugeMetricFamily("twinloop_session_heartbeat_age_seconds", "Since the session's last publication.")
            age.add_metric([], (now_ns - words["mono_ns"]) / 1e9)
            yield age
            yield from _gauges("twinloop_session_", words)
        yield from _gauges("twinloop_sidecar_", self._sidecar())


def _gauges(prefix: str, words: dict[str, int]) -> Iterator[GaugeMetricFamily]:
    for name, value in words.items():
        if name in _SECRET:
            continue
        shown, number = name, float(value)
        if name.endswith("_ns"):
            shown, number = name.removesuffix("_ns") + "_seconds", value / 1e9
        elif name in _MONEY:
            number = value / MONEY_ONE
        gauge = GaugeMetricFamily(prefix + shown, f"{name.replace('_', ' ')} as the process published it.")
        gauge.add_metric([], number)
        yield gauge
