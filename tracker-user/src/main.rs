//! The xdp-tracker binary.

fn main() {}
