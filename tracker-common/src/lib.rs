//! The pure half of the tracker: no I/O, no clock, no allocation on the request path.
//!
//! The XDP program and the daemon run this same code on the same bytes:
//!
//! * [`id`], [`announce`], [`family`]: the vocabulary;
//! * [`peers`]: the compact peer list of a reply;
//! * [`policy`]: what hooks decide, as data.
#![cfg_attr(not(test), no_std)]

pub mod announce;
pub mod family;
pub mod id;
pub mod peers;
pub mod policy;
