//! The pure half of the tracker: no I/O, no clock, no allocation on the request path.
//!
//! The XDP program and the daemon run this same code on the same bytes:
//!
//! * [`id`], [`announce`], [`family`]: the vocabulary;
//! * [`wire`]: the messages of the UDP protocol, read in place; [`connection`]: its connection ids;
//!   [`source`]: which sources are answered, and which addresses can be a peer's;
//! * [`table`]: the swarm table; [`peers`]: the compact peer list of a reply;
//! * [`limit`], [`budget`]: rates, and how much of what one source may have;
//! * [`policy`]: what hooks decide, as data; [`abi`]: the maps in which the two sides meet;
//! * [`time`], [`hash`], [`checksum`], [`sync`], [`verifier`]: coarse time, keyed hashes, checksums,
//!   shared words, and what the kernel's verifier wants to hear.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the target's only atomics are the compiler's intrinsics")
)]

pub mod abi;
pub mod announce;
pub mod budget;
pub mod checksum;
pub mod connection;
pub mod family;
pub mod hash;
pub mod id;
pub mod limit;
pub mod peers;
pub mod policy;
pub mod source;
pub mod sync;
pub mod table;
pub mod time;
pub mod verifier;
pub mod wire;
