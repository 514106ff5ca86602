//! The victims themselves: each must pass when nobody touches it, or its other tests would prove nothing.

use harness::{Program, User, passes_by_itself, victims};

#[test]
fn every_victim_passes_by_itself() {
    for name in victims() {
        for user in User::each() {
            passes_by_itself(&Program::victim(&name), user);
        }
    }
}
