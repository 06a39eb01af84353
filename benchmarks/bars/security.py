"""The bar on security: keys that show nowhere, TLS without an off-switch, listeners on this machine, no outside data taken for code."""

from typing import Final

from harness import Outcome, bar, say
from named_tests import PASSED, run

KEYS: Final = "tests/engine/live/test_keys.py::"
SECURITY: Final[dict[str, tuple[str, ...]]] = {
    "keys": (
        KEYS + "test_no_key_is_in_a_log_a_journal_a_status_or_a_traceback",
        KEYS + "test_the_command_line_shows_no_key",
        KEYS + "test_a_venue_that_cannot_be_reached_shows_no_key",
        "tests/engine/live/test_live_orders.py::test_keys_are_needed_and_never_shown",
        "tests/engine/gateway/test_gateway_recovery.py::test_no_key_and_no_signature_is_shown_anywhere",
        "tests/engine/gateway/test_transport.py::test_the_libraries_log_no_key_and_no_signature",
        "tests/engine/sidecar/test_sidecar_process.py::test_a_stopped_session_is_fenced_ended_and_its_orders_cancelled",
        "tests/engine/sidecar/test_canaries.py::test_no_key_is_in_what_a_deployment_shows_or_keeps_or_what_the_exchange_answers",
    ),
    "tls": (
        "tests/test_security.py::test_the_scan_sees_what_it_looks_for",
        "tests/test_security.py::test_tls_has_no_switch_to_turn_it_off",
        "tests/engine/gateway/test_transport.py::test_a_certificate_that_is_not_trusted_is_not_spoken_to",
        "tests/engine/gateway/test_transport.py::test_an_address_that_is_not_safe_is_refused",
    ),
    "loopback": (
        "tests/test_security.py::test_no_listener_is_open_to_other_machines",
        "tests/engine/sidecar/test_sidecar_process.py::test_metrics_are_served_on_this_machine",
        "tests/engine/live/test_process.py::test_a_dangerous_or_mistaken_configuration_is_refused",
    ),
    "code": ("tests/test_security.py::test_nothing_from_outside_is_taken_for_code",),
}


@bar("security", 0, "tests not passed")
def security() -> Outcome:
    """Canary keys nowhere, TLS always verified, loopback by default, nothing from outside taken for code: each by named tests."""
    names = [name for tests in SECURITY.values() for name in tests]
    found, text = run(names, "--tb=short")
    missed = {name: what for name, what in found.items() if what != PASSED}
    if missed:
        say(text[-6000:])
    return Outcome(len(missed), ok=not missed, detail={"tests": len(names), "missed": missed})
