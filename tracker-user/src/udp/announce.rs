//! Reads an announce (BEP 15) and its options (BEP 41).

use std::net::{IpAddr, SocketAddr};

use tracker_common::{
    source::may_be_claimed,
    wire::{self, AnnounceHead, AnnounceTail, Failure, action, option},
};

use super::{layout::split, settings::UdpSettings, url_data};
use crate::{
    pipeline::{AnnounceRequest, Params},
    routes::Router,
};

/// Checks come in Chihaya's order, so that a request with several faults gets the same answer.
/// `url_data` is room to put the URL data together in.
///
/// # Errors
/// The first fault.
pub(super) fn parse(
    packet: &[u8],
    source: IpAddr,
    settings: &UdpSettings,
    url_data: &mut Vec<u8>,
) -> Result<AnnounceRequest, Failure> {
    let (head, rest) = split::<AnnounceHead>(packet).ok_or(Failure::MalformedPacket)?;
    let (claim, rest) = split_address(head.head.action, rest).ok_or(Failure::MalformedPacket)?;
    let (tail, rest) = split::<AnnounceTail>(rest).ok_or(Failure::MalformedPacket)?;
    let params = read_options(rest, &settings.routes, url_data);
    let port = u16::from_be_bytes(tail.port);
    if port == 0 {
        return Err(Failure::InvalidPort);
    }
    let address = if settings.config.allow_ip_spoofing { claimed(claim, source)? } else { source };
    let max = settings.config.max_numwant.min(u16::MAX.into());
    let default = settings.config.default_numwant;
    Ok(AnnounceRequest {
        info_hash: head.info_hash,
        peer_id: head.peer_id,
        peer: SocketAddr::new(address, port),
        event: head.event(),
        left: u64::from_be_bytes(head.left),
        downloaded: u64::from_be_bytes(head.downloaded),
        uploaded: u64::from_be_bytes(head.uploaded),
        // The maximum fits 16 bits.
        numwant: wire::numwant(tail.numwant, default, max) as u16,
        seed: head.seed(),
        interface: 0,
        params,
    })
}

/// The address field, which action 4 makes 16 bytes long.
fn split_address(action: [u8; 4], bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    if action == action::ANNOUNCE_V6 {
        let (address, rest) = bytes.split_first_chunk::<16>()?;
        Some((IpAddr::from(*address).to_canonical(), rest))
    } else {
        let (address, rest) = bytes.split_first_chunk::<4>()?;
        Some((IpAddr::from(*address), rest))
    }
}

/// The address to enter into the swarm: the one claimed, where there is one of the source's family,
/// since a reply has room for peers of that family only.
fn claimed(claim: IpAddr, source: IpAddr) -> Result<IpAddr, Failure> {
    if claim.is_unspecified() || claim.is_ipv4() != source.is_ipv4() {
        return Ok(source);
    }
    // The port has been looked at.
    if !may_be_claimed(SocketAddr::new(claim, 1), Some(source)) {
        return Err(Failure::InvalidIp);
    }
    Ok(claim)
}

/// Walks over the options; only URL data has a meaning. Others are skipped, as BEP 41 demands, and one that is
/// cut short is the last. `routes` name the parameters in the path; `url_data` is room to put the URL data
/// together in.
pub(crate) fn read_options(mut bytes: &[u8], routes: &Router, url_data: &mut Vec<u8>) -> Params {
    url_data.clear();
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = match kind {
            option::END => break,
            option::NOP => rest,
            _ => {
                let value =
                    rest.split_first().and_then(|(&len, rest)| rest.split_at_checked(len.into()));
                let Some((value, rest)) = value else { break };
                if kind == option::URL_DATA {
                    url_data.extend_from_slice(value);
                }
                rest
            }
        };
    }
    if url_data.is_empty() { Params::default() } else { url_data::params(url_data, routes) }
}
