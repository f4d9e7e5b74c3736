//! Floods over HTTP, from sources that a trusted proxy names.

use std::{thread, time::Instant};

use super::*;

const FLOOD: &str = "198.51.100.1";
const OTHER: &str = "203.0.113.1";
const ANOTHER: &str = "203.0.113.2";

/// Torrents of the other source.
const TORRENTS: u32 = 10;

fn tracker(limits: &str) -> Running {
    Running::start(&format!(
        "http: {{ addr: '127.0.0.1:0', real_ip_header: x-real-ip, trusted_proxies: [127.0.0.1] }}\n\
         xdp: {{ limits: {{ {limits} }}, table: {{ torrents_ipv4: 64, torrents_ipv6: 64 }} }}"
    ))
    .unwrap()
}

/// An announce of a torrent with a number, in the name of a source, by another peer for each.
fn announce_of(running: &Running, source: &str, torrent: u32, port: u16) -> String {
    let path = format!(
        "/announce?info_hash=aaaaaaaaaaaa{torrent:08}&peer_id=-TR4050-bbbbbb{port:06}&compact=1\
         &left=1&downloaded=0&uploaded=0&port={port}"
    );
    running.get_with(&path, &format!("X-Real-IP: {source}\r\n"))
}

/// Floods, and asserts that the torrents of another source are kept nevertheless.
fn assert_others_have_room(running: &Running) {
    for torrent in 0..200 {
        assert!(announce_of(running, FLOOD, torrent, 2000).contains("8:interval"));
    }
    for torrent in 1000..1000 + TORRENTS {
        announce_of(running, OTHER, torrent, 3000);
    }
    for torrent in 1000..1000 + TORRENTS {
        let start = Instant::now();
        // The table makes room after the reply.
        while !announce_of(running, ANOTHER, torrent, 4000).contains("10:incompletei2e") {
            assert!(start.elapsed() < PATIENCE, "torrent {torrent} is not kept");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn random_info_hashes_of_one_source_over_http_leave_room_for_the_torrents_of_others() {
    assert_others_have_room(&tracker("misses_per_source: 20"));
    assert_others_have_room(&tracker("misses_per_source: 0, torrents_per_source: 10"));
}
