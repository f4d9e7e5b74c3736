//! Builds, runs and tests xdp-tracker.
fn main() {}
