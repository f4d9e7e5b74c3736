//! `xdp-tracker e2e`: asks a running tracker, this or any other, whether it does its work.
//!
//! The first to announce a new torrent must be given exactly one peer, itself; the second exactly
//! one, the first. A torrent that the operator names may have other peers: there the second must be given
//! the first among them.

mod http;
mod udp;

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::config::GoDuration;

/// How long a tracker may take to answer, all tries together.
const PATIENCE: Duration = Duration::from_secs(15);

/// What to ask, and where; Chihaya's flags.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// The URL of announces over HTTP or HTTPS; empty: not over HTTP
    #[arg(long, default_value = "http://127.0.0.1:6969/announce")]
    pub httpaddr: String,
    /// The tracker over UDP; empty: not over UDP
    #[arg(long, default_value = "udp://127.0.0.1:6969")]
    pub udpaddr: String,
    /// How long to wait between the two announces
    #[arg(long, default_value = "1s")]
    pub delay: GoDuration,
    /// The torrent to announce, as 40 hexadecimal digits, for a tracker that approves only of some; it may have
    /// peers, and the two are in it for the delay. A new torrent otherwise
    #[arg(long, value_name = "HEX")]
    pub info_hash: Option<InfoHash>,
}

/// Asks over each protocol that has an address, over UDP also where HTTP has failed.
///
/// # Errors
/// Where the tracker does not answer, or not as it should; of both protocols where both fail.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        !options.httpaddr.is_empty() || !options.udpaddr.is_empty(),
        "--httpaddr and --udpaddr are both empty: nothing to ask"
    );
    let asked = [
        ask(&options.httpaddr, options, http::announce),
        ask(&options.udpaddr, options, udp::announce),
    ];
    match asked {
        [Err(http), Err(udp)] => bail!("{http:#}; {udp:#}"),
        [http, udp] => http.and(udp),
    }
}

fn ask(
    url: &str,
    options: &Options,
    announce: fn(&str, &Announce) -> anyhow::Result<Vec<SocketAddr>>,
) -> anyhow::Result<()> {
    if !url.is_empty() {
        check(*options.delay, options.info_hash, |peer| announce(url, peer))
            .with_context(|| url.to_owned())?;
        tracing::info!("{url}: works");
    }
    Ok(())
}

/// An announce of a peer that has nothing yet.
#[derive(Debug, Clone)]
struct Announce {
    info_hash: InfoHash,
    peer_id: PeerId,
    port: u16,
    event: Event,
}

impl Announce {
    fn of_a_new_peer(info_hash: InfoHash, port: u16) -> Self {
        let mut peer_id = *b"-XT0001-............";
        peer_id[8..].fill_with(|| fastrand::alphanumeric() as u8);
        Self { info_hash, peer_id: PeerId(peer_id), port, event: Event::Started }
    }
}

const LEFT: u64 = 100;
const NUMWANT: u32 = 50;

/// Two peers announce a new torrent, or one that may have other peers.
fn check(
    delay: Duration,
    info_hash: Option<InfoHash>,
    announce: impl Fn(&Announce) -> anyhow::Result<Vec<SocketAddr>>,
) -> anyhow::Result<()> {
    let new = || {
        let mut info_hash = InfoHash([0; 20]);
        info_hash.0.fill_with(|| fastrand::u8(..));
        info_hash
    };
    let torrent = info_hash.unwrap_or_else(new);
    let [first, second] = [10_001, 10_002].map(|port| Announce::of_a_new_peer(torrent, port));

    let told = announce(&first).context("the first announce")?;
    let is_new = info_hash.is_none();
    let itself = if is_new { Some(alone(&told, first.port)?) } else { None };
    thread::sleep(delay);
    let told = announce(&second).context("the second announce")?;
    // Nobody serves this torrent; a tracker that does not take their leave forgets them in time.
    for peer in [&first, &second] {
        let _ = announce(&Announce { event: Event::Stopped, ..peer.clone() });
    }
    if let Some(itself) = itself {
        ensure!(
            told == [itself],
            "the second peer was given {}, not the first one, {itself}, alone",
            list(&told)
        );
    }
    // Of a swarm with more peers than fit a reply the tracker gives any.
    let is_full = told.len() >= NUMWANT as usize;
    ensure!(
        is_full || told.iter().any(|peer| peer.port() == first.port),
        "the second peer was given {}, but not the first one, of port {}",
        list(&told),
        first.port
    );
    Ok(())
}

/// The one peer that the first one of a torrent is given: itself.
fn alone(told: &[SocketAddr], port: u16) -> anyhow::Result<SocketAddr> {
    let [itself] = *told else {
        bail!("the first peer was given {}, not itself alone", list(told));
    };
    ensure!(itself.port() == port, "the first peer was given {itself}, not itself");
    Ok(itself)
}

fn list(peers: &[SocketAddr]) -> String {
    if peers.is_empty() {
        return "nobody".to_owned();
    }
    peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Compact peers: 4 or 16 bytes of address and 2 of port each.
fn read_compact(bytes: &[u8], is_v6: bool) -> anyhow::Result<Vec<SocketAddr>> {
    let each = if is_v6 { 18 } else { 6 };
    ensure!(bytes.len().is_multiple_of(each), "{} bytes are no list of peers", bytes.len());
    let peers = bytes.chunks_exact(each).map(|peer| {
        let (address, port) = peer.split_at(each - 2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
            (Ok(v4), _) => (v4, port).into(),
            (_, Ok(v6)) => (v6, port).into(),
            _ => unreachable!("{each} bytes less 2 are 4 or 16"),
        }
    });
    Ok(peers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What the check says of a tracker that gives these ports, announce by announce.
    fn verdict(replies: &[&[u16]]) -> Result<(), String> {
        verdict_on(None, replies)
    }

    fn verdict_on(info_hash: Option<InfoHash>, replies: &[&[u16]]) -> Result<(), String> {
        let replies = RefCell::new(replies.iter());
        check(Duration::ZERO, info_hash, |peer| {
            assert!(info_hash.is_none_or(|info_hash| peer.info_hash == info_hash));
            let ports = replies.borrow_mut().next().copied().unwrap_or_default();
            Ok(ports.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect())
        })
        .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_first_peer_is_given_itself_and_the_second_the_first() {
        assert_eq!(verdict(&[&[10_001], &[10_001]]), Ok(()));
    }

    #[test]
    fn anything_else_is_told() {
        let says = |replies: &[&[u16]], text: &str| assert_eq!(verdict(replies).unwrap_err(), text);
        says(&[&[]], "the first peer was given nobody, not itself alone");
        says(&[&[7]], "the first peer was given 192.0.2.1:7, not itself");
        says(
            &[&[10_001], &[10_002]],
            "the second peer was given 192.0.2.1:10002, not the first one, 192.0.2.1:10001, alone",
        );
        says(
            &[&[10_001], &[10_001, 9]],
            "the second peer was given 192.0.2.1:10001, 192.0.2.1:9, \
             not the first one, 192.0.2.1:10001, alone",
        );
    }

    #[test]
    fn a_torrent_that_is_named_may_have_other_peers() {
        let named = Some(InfoHash([0x5a; 20]));
        assert_eq!(verdict_on(named, &[&[10_001], &[10_001]]), Ok(()));
        assert_eq!(verdict_on(named, &[&[7, 8], &[7, 10_001, 8]]), Ok(()));
        assert_eq!(verdict_on(named, &[&[7], &[7; NUMWANT as usize]]), Ok(()));
        let missing = "the second peer was given 192.0.2.1:7, but not the first one, of port 10001";
        assert_eq!(verdict_on(named, &[&[7], &[7]]).unwrap_err(), missing);
    }

    #[test]
    fn compact_peers_are_read() {
        let v4 = read_compact(&[192, 0, 2, 1, 0x1a, 0xe1], false).unwrap();
        assert_eq!(v4, ["192.0.2.1:6881".parse().unwrap()]);
        let v6 = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[1, 0, 7]].concat();
        assert_eq!(read_compact(&v6, true).unwrap(), ["[2001:db8::1]:7".parse().unwrap()]);
        assert!(read_compact(&v6, false).is_ok() && read_compact(&v6[1..], false).is_err());
    }
}
