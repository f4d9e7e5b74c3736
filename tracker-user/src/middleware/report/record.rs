//! An announce as the service is told of it.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::{Serialize, Serializer};
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::pipeline::AnnounceRequest;

/// Longer values of parameters are not told.
const VALUE_BYTES_MAX: usize = 256;

/// The most that a service need be able to count: 2^63 - 1 bytes, which is as much as databases can.
const BYTES_MAX: u64 = i64::MAX as u64;

/// What is told.
#[derive(Serialize)]
pub(super) struct Record {
    /// When the daemon heard of it, in seconds since 1970.
    at: f64,
    #[serde(serialize_with = "display")]
    info_hash: InfoHash,
    #[serde(serialize_with = "hex")]
    peer_id: PeerId,
    ip: IpAddr,
    port: u16,
    event: &'static str,
    uploaded: u64,
    downloaded: u64,
    left: u64,
    parameters: Parameters,
}

/// Those of an announce's parameters that are told.
struct Parameters {
    names: Arc<[String]>,
    /// In the order of the names.
    values: Box<[Option<Box<str>>]>,
}

impl Record {
    /// With those of the announce's parameters that are named.
    pub(super) fn new(request: &AnnounceRequest, names: &Arc<[String]>, wall_ns: u64) -> Self {
        Self {
            at: (wall_ns / 1_000_000) as f64 / 1e3,
            info_hash: request.info_hash,
            peer_id: request.peer_id,
            ip: request.peer.ip(),
            port: request.peer.port(),
            event: match request.event {
                Event::None => "",
                Event::Completed => "completed",
                Event::Started => "started",
                Event::Stopped => "stopped",
                Event::Paused => "paused",
            },
            uploaded: request.uploaded.min(BYTES_MAX),
            downloaded: request.downloaded.min(BYTES_MAX),
            left: request.left.min(BYTES_MAX),
            parameters: Parameters::of(request, names),
        }
    }
}

impl Parameters {
    fn of(request: &AnnounceRequest, names: &Arc<[String]>) -> Self {
        let value = |name: &String| request.params.get(name).filter(|value| is_plain(value));
        let values = names.iter().map(|name| value(name).map(Box::from)).collect();
        Self { names: Arc::clone(names), values }
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let named = self.names.iter().zip(&self.values);
        to.collect_map(named.filter_map(|(name, value)| Some((name, value.as_ref()?))))
    }
}

/// Whether a service can be expected to take a value as it is.
fn is_plain(value: &str) -> bool {
    value.len() <= VALUE_BYTES_MAX && !value.contains(char::is_control)
}

fn display<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// 40 digits: a peer id is any bytes.
fn hex<S: Serializer>(PeerId(bytes): &PeerId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&InfoHash(*bytes))
}
