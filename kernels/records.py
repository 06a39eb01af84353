"""What a run keeps for its tables: fills, ended orders, equity samples. The driver takes them out of the node between batches."""

from typing import Any

from twinloop.kernels import rows
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit


@njit(cache=True)
def sample_equity(node: Any) -> None:
    """Keep one equity sample of the first account for the report."""
    out_of_line()
    at = node["equity_count"]
    decision = node["decision"]
    state = decision["accounts"][0]
    record = node["equity"][at]
    record["local_ns"] = decision["clock"]["now_ns"]
    record["sequence"] = decision["clock"]["sequence"]
    record["equity_int"] = state["equity"]
    record["cash_int"] = state["cash"]
    record["unrealised_int"] = state["unrealised"]
    record["drawdown_int"] = state["peak_equity"] - state["equity"]
    for i in range(min(record["position_int"].shape[0], decision["instrument_count"])):
        market = decision["instruments"][i]
        record["position_int"][i] = decision["account_holdings"][0][i]["position"]["qty"]
        record["mark2_int"][i] = (
            2 * market["last_price"] if market["bid"] == 0 or market["ask"] == 0 else market["bid"] + market["ask"]
        )
    node["equity_count"] = at + 1
    if at + 1 >= node["equity"].shape[0] - 64:
        node["records_full"] = 1


@njit(cache=True)
def record_fill(node: Any, row: Any, tail: Any, realised: int, holder: int) -> None:
    """Keep a fill of a book (its index in strategy_holdings) for the fills table. What only its order knows (times, mid at the decision) is left 0."""
    out_of_line()
    decision = node["decision"]
    at = node["fill_count"]
    record = node["fills"][at]
    record["sequence"] = row["sequence"]
    record["local_ns"] = row["local_ns"]
    record["venue_ns"] = row["venue_ns"]
    record["instrument"] = row["instrument"]
    record["strategy"] = row["strategy"]
    record["account"] = row["account"]
    record["side"] = row["side"]
    record["order_id"] = row["order_id"]
    record["trade_id"] = tail["trade_id"]
    record["price_int"] = row["price"]
    record["qty_int"] = row["qty"]
    record["fee_int"] = row["fee"]
    record["fee_currency"] = tail["fee_currency"]
    record["maker"] = 1 if row["flags"] & rows.FLAG_MAKER else 0
    record["cause_id"] = tail["cause_id"]
    record["decided_ns"] = 0
    record["arrived_ns"] = 0
    record["decision_mid2_int"] = 0
    record["arrival_mid2_int"] = 0
    record["position_after_int"] = decision["strategy_holdings"][holder][row["instrument"]]["position"]["qty"]
    record["realised_int"] = realised
    node["fill_count"] = at + 1
    if at + 1 >= node["fills"].shape[0] - 64:
        node["records_full"] = 1


@njit(cache=True)
def record_order(node: Any, order: Any) -> None:
    """Keep an order that ended (or is open at the end of the run) for the orders table."""
    out_of_line()
    at = node["order_record_count"]
    record = node["order_records"][at]
    record["sequence"] = order["decided_sequence"]
    record["decided_ns"] = order["decided_ns"]
    record["order_id"] = order["id"]
    record["strategy"] = order["strategy"]
    record["account"] = order["account"]
    record["instrument"] = order["instrument"]
    record["side"] = order["side"]
    record["type"] = order["type"]
    record["flags"] = order["flags"]
    record["price_int"] = order["price"]
    record["qty_int"] = order["qty"]
    record["trigger_price_int"] = order["trigger_price"]
    record["filled_int"] = order["filled"]
    record["state"] = order["state"]
    record["acked_ns"] = order["acked_ns"]
    record["ended_ns"] = order["ended_ns"]
    record["code"] = order["code"]
    record["notional"] = order["notional"]
    node["order_record_count"] = at + 1
    if at + 1 >= node["order_records"].shape[0] - 64:
        node["records_full"] = 1
