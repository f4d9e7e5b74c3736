//! An announce as the service is told of it.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Serialize, Serializer};
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::pipeline::AnnounceRequest;

/// Longer values of parameters are not told.
const VALUE_BYTES_MAX: usize = 256;

/// What is told.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    /// When it came, in seconds since 1970.
    at: f64,
    #[serde(serialize_with = "display")]
    info_hash: InfoHash,
    #[serde(serialize_with = "hex")]
    peer_id: PeerId,
    ip: IpAddr,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    uploaded: u64,
    downloaded: u64,
    left: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

impl Record {
    /// With those of the announce's parameters that are named.
    pub(super) fn new(request: &AnnounceRequest, parameters: &[String], wall_ns: u64) -> Self {
        let value = |name: &String| {
            let value = request.params.get(name).filter(|value| value.len() <= VALUE_BYTES_MAX)?;
            Some((name.clone(), value.to_owned()))
        };
        Self {
            at: (wall_ns / 1_000_000) as f64 / 1e3,
            info_hash: request.info_hash,
            peer_id: request.peer_id,
            ip: request.peer.ip(),
            port: request.peer.port(),
            event: match request.event {
                Event::None => None,
                Event::Completed => Some("completed"),
                Event::Started => Some("started"),
                Event::Stopped => Some("stopped"),
                Event::Paused => Some("paused"),
            },
            uploaded: request.uploaded,
            downloaded: request.downloaded,
            left: request.left,
            parameters: parameters.iter().filter_map(value).collect(),
        }
    }
}

fn display<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// 40 digits: a peer id is any bytes.
fn hex<S: Serializer>(PeerId(bytes): &PeerId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&InfoHash(*bytes))
}
