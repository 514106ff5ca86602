//! Signals: what is pending, what runs, what is set; and saves at awkward moments.

use harness::survives;

#[test]
fn pending_signals_stay_pending() {
    survives("pending");
}

#[test]
fn save_inside_a_handler_on_a_minimal_alternate_stack() {
    survives("in_handler");
}
