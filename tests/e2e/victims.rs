//! The victims themselves: each must pass when nobody touches it, or its other tests would prove nothing.

use harness::{Place, Program, User, victims};

#[test]
fn every_victim_passes_by_itself() {
    for name in victims() {
        for user in User::each() {
            Place::new(user).start(&Program::victim(&name).without_preload()).passes();
        }
    }
}
