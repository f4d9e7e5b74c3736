//! Scrape: the figures of some swarms.

use aya_ebpf::programs::XdpContext;
use tracker_common::{
    abi::Verdict,
    id::InfoHash,
    table::{
        index::find,
        swarm::{self, Counts},
    },
    time::Clock,
    verifier::{bounded, bounded_range},
    wire::{ReplyHead, RequestHead, SCRAPE_MAX, ScrapeEntry, action},
};

use crate::{
    Answer,
    maps::{Env, Maps, Scratch},
    packet::{Datagram, Ip, at},
    reply::{self, Head},
};

const INFO_HASH_BYTES: u32 = 20;

/// Whether a payload of this length is a head and one or more info-hashes.
#[inline(always)]
pub fn is_well_formed(payload_len: u32) -> bool {
    let hashes_len = payload_len.wrapping_sub(size_of::<RequestHead>() as u32);
    hashes_len != 0 && hashes_len % INFO_HASH_BYTES == 0
}

/// Serves the request to its end.
#[inline(always)]
pub fn run<F: Ip>(
    ctx: &XdpContext,
    env: &Env,
    l3: u32,
    scratch: Option<&mut Scratch>,
    now_ns: u64,
) -> Answer {
    let datagram = Datagram::<F>::again(ctx, l3).ok_or(Verdict::Unusual)?;
    let scratch = scratch.ok_or(Verdict::NoReply)?;
    serve(&datagram, env, scratch, now_ns)
}

#[inline(always)]
fn serve<F: Ip>(datagram: &Datagram<F>, env: &Env, scratch: &mut Scratch, now_ns: u64) -> Answer {
    let config = env.config;
    let head_len = size_of::<RequestHead>() as u32;
    if !is_well_formed(datagram.payload_len()) {
        return Err(Verdict::Unusual);
    }
    let hashes_len = datagram.payload_len() - head_len;
    let asked = hashes_len / INFO_HASH_BYTES;
    let max = if config.scrape_max < SCRAPE_MAX { config.scrape_max } else { SCRAPE_MAX };
    let answered = if asked > max { max } else { asked };

    scratch.list.clear();
    let first = datagram.l3 as u32 + Datagram::<F>::PAYLOAD as u32 + head_len;
    for index in bounded_range::<SCRAPE_MAX>(answered) {
        if F::scrape_entry(datagram, first + index * INFO_HASH_BYTES, scratch, now_ns) != 0 {
            return Err(Verdict::Frozen);
        }
    }
    let reply =
        Head(ReplyHead { action: action::SCRAPE, transaction_id: datagram.payload.transaction_id });
    reply::send(datagram, env, &reply, Some(&scratch.list)).map(|()| Verdict::Scraped)
}

/// Appends the figures of the torrent whose info-hash is at `offset` of the frame. Returns 0, or 1
/// when the daemon is moving the torrent's peers.
#[inline(always)]
pub fn append<F: Ip>(
    ctx: &XdpContext,
    offset: u32,
    scratch: Option<&mut Scratch>,
    now_ns: u64,
) -> u32 {
    try_append::<F>(ctx, offset, scratch, now_ns).is_none() as u32
}

#[inline(always)]
fn try_append<F: Ip>(
    ctx: &XdpContext,
    offset: u32,
    scratch: Option<&mut Scratch>,
    now_ns: u64,
) -> Option<()> {
    let env = Env::get();
    let info_hash: *const InfoHash = at(ctx, bounded::<2047>(offset))?;
    // SAFETY: `at` checked the bounds.
    let info_hash = unsafe { &*info_hash };
    let clock = Clock::new(now_ns, env.config.lifetime);
    let counts = match find::<F, Maps>(&Maps, &env.config.shape, info_hash) {
        Some((_, entry)) => swarm::scrape(entry, &clock).ok()?,
        None => Counts::default(),
    };
    scratch?.list.push_entry(&ScrapeEntry {
        seeders: counts.seeders.to_be_bytes(),
        completed: counts.completed.to_be_bytes(),
        leechers: counts.leechers.to_be_bytes(),
    });
    Some(())
}
