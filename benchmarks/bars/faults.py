"""The bar on the fault catalogue: each fault of the first release by its number, and the tests that bring it about.

N: networks. V: the venue. D: market data. P: processes. K: disks. Each is brought about on `twinloop live` as a process of its own, on real
sockets and files; tests beside that look closer, with the session inside their own process, or at the part of it that is hit.
"""

from typing import Final

from harness import Outcome, bar, say
from named_tests import PASSED, run

FEEDS = "tests/engine/live/test_feed_faults.py::"
FEEDS_OF_A_PROCESS = "tests/engine/live/test_feed_faults_of_a_process.py::"
ORDERS = "tests/engine/live/test_order_faults.py::"
LIVE = "tests/engine/live/test_live_orders.py::"
SIDECAR = "tests/engine/sidecar/test_sidecar_process.py::"
FAILURES = "tests/engine/live/test_strategy_failures.py::"
KILLS = "tests/engine/sidecar/test_kills.py::"
READER = "tests/engine/journal/test_reader.py::"
WRITER = "tests/engine/journal/test_writer.py::"

FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "N1": (
        FEEDS_OF_A_PROCESS + "test_n1_feeds_that_are_reset_are_stale_connect_again_and_go_on",
        FEEDS + "test_n1_a_feed_that_is_reset_is_stale_connects_again_and_goes_on",
    ),
    "N2": (
        FEEDS_OF_A_PROCESS + "test_n2_n3_a_silent_feed_and_one_that_is_half_open_are_left_for_the_other",
        FEEDS_OF_A_PROCESS + "test_n2_feeds_whose_pings_are_answered_and_that_say_nothing_are_stale",
        FEEDS + "test_n2_a_silent_feed_whose_pings_are_answered_is_stale_and_is_replaced",
        FEEDS + "test_n2_a_silent_feed_is_left_for_the_other_without_being_stale",
    ),
    "N3": (
        FEEDS_OF_A_PROCESS + "test_n2_n3_a_silent_feed_and_one_that_is_half_open_are_left_for_the_other",
        FEEDS + "test_n3_a_half_open_feed_is_left_and_replaced",
    ),
    "N11": (ORDERS + "test_n11_without_the_user_stream_only_what_reduces_leaves_and_fills_come_by_sweeps",),
    "N12": (ORDERS + "test_n12_an_answer_lost_on_its_way_leaves_one_order",),
    "V1": (ORDERS + "test_v1_a_time_out_of_an_order_that_works_is_proven_and_there_is_one_order",),
    "V2": (ORDERS + "test_v2_an_order_that_never_arrived_is_absent_by_two_sources_only",),
    "V3": (ORDERS + "test_v3_an_unknown_execution_status_is_no_failure",),
    "V7": (ORDERS + "test_v7_a_fill_before_its_acknowledgement_is_booked",),
    "V8": (ORDERS + "test_v8_fills_told_twice_and_told_again_are_booked_once",),
    "V9": (ORDERS + "test_v9_a_fill_with_other_decimals_is_one_booking",),
    "V10": (ORDERS + "test_v10_a_fill_after_the_cancel_is_booked_and_told",),
    "V11": (ORDERS + "test_v11_a_refused_cancel_is_filled_only_on_proof",),
    "V12": (ORDERS + "test_v12_a_partial_fill_and_a_stream_that_breaks_are_reconciled",),
    "V13": (ORDERS + "test_v13_a_fill_that_a_healthy_stream_never_told_is_found_by_the_sweep",),
    "V23": (
        ORDERS + "test_v23_a_query_that_fails_says_nothing_about_what_is_held",
        ORDERS + "test_v23_a_query_that_lags_proves_nothing",
    ),
    "V24": (
        ORDERS + "test_v24_somebody_elses_trade_is_booked_for_nobody_and_told",
        LIVE + "test_orders_of_somebody_else_count_in_the_limits_until_they_are_gone",
        LIVE + "test_a_difference_that_arises_while_a_session_trades_halts_it",
    ),
    "D1": (
        FEEDS_OF_A_PROCESS + "test_d1_an_update_that_both_feeds_lose_is_a_gap_and_the_book_is_taken_anew",
        FEEDS + "test_d1_a_lost_update_is_a_gap_and_the_book_is_taken_anew",
    ),
    "D2": (
        FEEDS_OF_A_PROCESS + "test_d2_doubled_and_swapped_updates_are_applied_once",
        FEEDS + "test_d2_doubled_and_old_updates_are_applied_once",
    ),
    "D11": (
        FEEDS_OF_A_PROCESS + "test_d11_the_primary_dies_and_strategies_see_one_switch",
        FEEDS + "test_d11_the_primary_dies_and_strategies_see_one_switch",
    ),
    "P1": (
        KILLS + "test_a_death_at_a_named_point_loses_and_doubles_nothing",
        KILLS + "test_deaths_at_any_moment_lose_and_double_nothing",
    ),
    "P2": (ORDERS + "test_p2_an_end_in_order_with_orders_in_flight_leaves_none",),
    "P4": (SIDECAR + "test_a_strategy_that_never_returns_is_ended_and_told_within_five_seconds",),
    "P5": (
        SIDECAR + "test_p5_a_strategy_that_raises_is_halted_alone_and_told",
        FAILURES + "test_a_strategy_that_raises_is_halted_alone_and_its_orders_are_cancelled",
        FAILURES + "test_neither_batches_nor_a_replay_change_what_a_failure_leads_to",
    ),
    "P8": (ORDERS + "test_p8_a_second_instance_is_refused_and_a_foreign_epoch_at_the_venue_halts",),
    "K1": (
        ORDERS + "test_k1_a_file_system_that_takes_no_byte_more_ends_trading_and_nothing_works_on",
        LIVE + "test_a_disk_that_fails_ends_trading_and_nothing_is_left_working",
    ),
    "K2": (
        ORDERS + "test_k2_a_sync_that_fails_ends_trading_and_is_never_tried_again",
        LIVE + "test_a_disk_that_fails_ends_trading_and_nothing_is_left_working",
        WRITER + "test_a_failed_sync_is_never_tried_again",
        WRITER + "test_after_a_failed_write_nothing_more_is_written_or_synced",
    ),
    "K3": (
        ORDERS + "test_k3_a_torn_end_is_cut_and_what_the_venue_has_comes_back",
        READER + "test_every_cut_of_the_file_leaves_the_whole_commits_before_it",
    ),
    "K4": (
        ORDERS + "test_k4_a_flipped_bit_in_the_middle_is_refused_and_the_file_is_kept",
        READER + "test_every_flipped_bit_is_seen_and_never_replayed",
    ),
}


@bar("faults", 0, "faults unproven")
def faults() -> Outcome:
    """Every fault of the catalogue's first release, each by its named tests: a test that is missing, skipped or red counts."""
    names = sorted({name for tests in FAULTS.values() for name in tests})
    found, text = run(names, "--tb=short", TWINLOOP_FAULTS="1")
    unproven = {
        fault: {name: found[name] for name in tests if found[name] != PASSED}
        for fault, tests in FAULTS.items()
        if any(found[name] != PASSED for name in tests)
    }
    if unproven:
        say(text[-6000:])
    return Outcome(
        len(unproven), ok=not unproven, detail={"faults": len(FAULTS), "tests": len(names), "unproven": unproven}
    )
