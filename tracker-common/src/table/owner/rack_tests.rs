//! Racks of a data centre that fetch one file: how many of the peers that a tracker names are in the
//! rack of who asks.

use super::{tests::*, *};
use crate::family::{V4, V6};

const RACKS: u8 = 40;
const PEERS: u8 = 100;
const NUMWANT: u32 = 50;

/// Of 20 peers, one has the whole file.
const SEEDER_EVERY: u8 = 20;

/// Peers of each family, by their rack: 10.0.RACK.PEER/24, and 2001:db8:0:RACK::PEER/64.
trait Racks: Family {
    fn addr(rack: u8, peer: u8) -> Self::Addr;
    /// The rack of a compact peer.
    fn rack(compact: &[u8]) -> u8;
}

impl Racks for V4 {
    fn addr(rack: u8, peer: u8) -> [u8; 4] {
        [10, 0, rack, peer]
    }

    fn rack(compact: &[u8]) -> u8 {
        compact[2]
    }
}

impl Racks for V6 {
    fn addr(rack: u8, peer: u8) -> [u8; 16] {
        [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, rack, 0, 0, 0, 0, 0, 0, 0, peer]
    }

    fn rack(compact: &[u8]) -> u8 {
        compact[7]
    }
}

fn announce<F: Racks>(rack: u8, peer: u8, seed: u32) -> Announce<F> {
    let addr = F::addr(rack, peer);
    let seeder = peer.is_multiple_of(SEEDER_EVERY);
    Announce { addr, port: [0x1a, 0xe1], seeder, event: Event::None, numwant: NUMWANT, seed }
}

/// The share of the peers named to each one's announce, all having joined, that are in its own rack.
fn share_of_own_rack<F: Racks>(shape: TableShape) -> f64 {
    let table = Table::new(Heap::new(&shape), shape, u32::MAX >> 17, [10, 10], false);
    let mut list = PeerBuf::new();
    let peers = || (0..RACKS).flat_map(|rack| (0..PEERS).map(move |peer| (rack, peer)));
    let (mut own, mut all) = (0, 0);
    for turn in 0..2_u32 {
        for (number, (rack, peer)) in peers().enumerate() {
            let seed = (number as u32 ^ turn << 16).wrapping_mul(0x9e37_79b1);
            table.announce(&HASH, &announce::<F>(rack, peer, seed), NOW, &mut list);
            if turn == 1 {
                let peers = list.as_bytes().chunks_exact(F::PEER_BYTES);
                all += peers.len();
                own += peers.filter(|peer| F::rack(peer) == rack).count();
            }
        }
    }
    let expected = usize::from(RACKS) * usize::from(PEERS) * NUMWANT as usize;
    assert!(all * 10 > expected * 9, "only {all} peers of {expected} were named");
    own as f64 / all as f64
}

/// Measures with the preference and without, and says what it has found.
fn compare<F: Racks>(bits: [u32; 2]) -> [f64; 2] {
    let with = share_of_own_rack::<F>(shape().preferring(bits[0], bits[1]));
    let without = share_of_own_rack::<F>(shape());
    println!(
        "{}: {:.1} % of the peers named are of the own rack, {:.1} % without the preference",
        if F::IS_V6 { "IPv6" } else { "IPv4" },
        100.0 * with,
        100.0 * without,
    );
    [with, without]
}

#[test]
fn peers_of_the_own_rack_are_named_first() {
    for [with, without] in [compare::<V4>([24, 0]), compare::<V6>([0, 64])] {
        assert!(with > 0.9 && without < 0.1, "{with} with the preference, {without} without");
    }
}
