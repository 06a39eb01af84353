"""twinloop: one compiled event loop for backtests and live trading."""

__version__ = "0.1.0"
