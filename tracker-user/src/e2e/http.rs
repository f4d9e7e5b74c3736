//! Announces over HTTP and HTTPS (BEP 3, 7 and 23), as a client does.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, bail};
use bt_bencode::Value;
use tracker_common::announce::Event;
use ureq::tls::RootCerts;

use super::{Announce, LEFT, NUMWANT, PATIENCE, read_compact};
use crate::middleware::client::agent;

/// Announces to `url`, and returns the peers that it is given.
pub(super) fn announce(url: &str, announce: &Announce) -> anyhow::Result<Vec<SocketAddr>> {
    let mut reply =
        agent(RootCerts::PlatformVerifier, PATIENCE).get(announce_url(url, announce)).call()?;
    read_reply(&reply.body_mut().read_to_vec()?)
}

fn announce_url(url: &str, announce: &Announce) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    let (info_hash, peer_id) = (encode(&announce.info_hash.0), encode(&announce.peer_id.0));
    let port = announce.port;
    let event = if announce.event == Event::Stopped { "stopped" } else { "started" };
    format!(
        "{url}{separator}info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0\
         &left={LEFT}&compact=1&numwant={NUMWANT}&event={event}"
    )
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

fn read_reply(body: &[u8]) -> anyhow::Result<Vec<SocketAddr>> {
    let reply: Value = bt_bencode::from_slice(body).context("the reply is not bencoded")?;
    if let Some(reason) = reply.get("failure reason").and_then(Value::as_byte_str) {
        bail!("the tracker says: {}", String::from_utf8_lossy(reason));
    }
    let mut peers = match reply.get("peers") {
        Some(Value::ByteStr(compact)) => read_compact(compact, false)?,
        Some(Value::List(peers)) => {
            let peers: Option<Vec<_>> = peers.iter().map(read_dictionary).collect();
            peers.context("one of the peers cannot be read")?
        }
        _ => Vec::new(),
    };
    if let Some(Value::ByteStr(compact)) = reply.get("peers6") {
        peers.extend(read_compact(compact, true)?);
    }
    Ok(peers)
}

fn read_dictionary(peer: &Value) -> Option<SocketAddr> {
    let ip: IpAddr = peer.get("ip")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(peer.get("port")?.as_u64()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(body: &[u8]) -> Result<Vec<String>, String> {
        match read_reply(body) {
            Ok(peers) => Ok(peers.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn peers_are_read_in_all_their_forms() {
        let v4 = b"d8:intervali1e5:peers6:\xc0\x00\x02\x01\x00\x07e";
        assert_eq!(peers(v4).unwrap(), ["192.0.2.1:7"]);
        let v6 = b"d5:peers0:6:peers618:0123456789abcdef\x00\x07e";
        assert_eq!(peers(v6).unwrap(), ["[3031:3233:3435:3637:3839:6162:6364:6566]:7"]);
        let dictionaries = b"d5:peersld2:ip9:192.0.2.14:porti7eed2:ip3:::14:porti8eeee";
        assert_eq!(peers(dictionaries).unwrap(), ["192.0.2.1:7", "[::1]:8"]);
        assert_eq!(peers(b"de").unwrap(), [""; 0]);
    }

    #[test]
    fn what_the_tracker_says_is_told() {
        let refused = peers(b"d14:failure reason18:unapproved torrente");
        assert_eq!(refused.unwrap_err(), "the tracker says: unapproved torrent");
        assert_eq!(peers(b"<html>").unwrap_err(), "the reply is not bencoded");
        assert!(peers(b"d5:peersld2:ip1:xeee").is_err());
        assert!(peers(b"d5:peers5:12345e").is_err());
    }

    #[test]
    fn a_url_may_have_a_query_of_its_own() {
        let announce = Announce::of_a_new_peer(tracker_common::id::InfoHash([0xff; 20]), 7);
        let url = announce_url("http://t/announce?key=x", &announce);
        assert!(url.starts_with("http://t/announce?key=x&info_hash=%ff%ff"), "{url}");
    }
}
