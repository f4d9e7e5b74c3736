//! Announce: join, refresh or leave a swarm, and learn of its peers.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use tracker_common::{
    abi::{AnnounceEvent, Verdict, flag},
    announce::Event,
    table::{
        Miss,
        index::find,
        layout::Gate,
        swarm::{self, Announce, Counts},
    },
    time::Clock,
    wire::{AnnounceReply, AnnounceRequest, Failure, numwant, option},
};

use crate::{
    Answer, conclude,
    maps::{EVENTS, Env, Maps, count_lost_event},
    packet::{Datagram, Ip},
    reply::{self, Head},
};

/// Options after which a packet is passed on: clients send one or two.
const OPTIONS_MAX: usize = 6;

/// Wake the daemon at its own pace, not once per event: `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: u64 = 1;

/// Serves the request to its end.
#[inline(always)]
pub fn run<F: Ip>(ctx: &XdpContext, l3: u32, now_ns: u64) -> u32 {
    let Some(datagram) = Datagram::<F>::again(ctx, l3) else { return XDP_PASS };
    conclude(&datagram, serve(&datagram, now_ns))
}

#[inline(always)]
fn serve<F: Ip>(datagram: &Datagram<F>, now_ns: u64) -> Answer {
    let env = &Env::get().ok_or(Verdict::NotOurs)?;
    let config = env.config;
    let request: &AnnounceRequest = datagram.payload_at(0).ok_or(Verdict::Unusual)?;
    if config.flags & flag::PASS_ANNOUNCES != 0 {
        return Err(Verdict::Gated);
    }
    let info_hash = &request.fixed.info_hash;
    let line = find::<F, Maps>(&Maps, &config.shape, info_hash);

    let event = request.fixed.event().ok_or(Verdict::Unusual)?;
    if config.flags & flag::IP_SPOOFING != 0 && request.ip != [0; 4] {
        return Err(Verdict::ClaimsAddress);
    }
    check_options(datagram, config.flags & flag::PASS_OPTIONS != 0)?;
    if request.tail.port == [0; 2] {
        return Err(Verdict::Unusual);
    }

    let Some(line) = line else {
        if config.flags & flag::REFUSE_UNKNOWN != 0 {
            return refuse(datagram, env);
        }
        return Err(Verdict::UnknownTorrent);
    };
    match line.gate() {
        Gate::Open => {}
        Gate::Pass => return Err(Verdict::Gated),
        Gate::Refuse => return refuse(datagram, env),
    }

    if line.is_outgrown() {
        return Err(Verdict::Outgrown);
    }
    let clock = Clock::new(now_ns, config.lifetime);
    let announce = Announce {
        addr: F::source(datagram.ip),
        port: request.tail.port,
        seeder: request.fixed.is_seeder(),
        event,
        numwant: numwant(request.tail.numwant, config.numwant_default, config.numwant_max),
        seed: request.fixed.seed(),
    };
    let scratch = env.scratch()?;
    let (counts, change) =
        swarm::announce_inline(&config.shape, &clock, line, &announce, &mut scratch.list)
            .map_err(verdict)?;

    let interval_s =
        config.interval_s + config.variation.increase_s(info_hash, &request.fixed.peer_id);
    let reply = Head(AnnounceReply {
        action: request.fixed.head.action,
        transaction_id: request.fixed.head.transaction_id,
        interval: interval_s.to_be_bytes(),
        leechers: counts.leechers.to_be_bytes(),
        seeders: counts.seeders.to_be_bytes(),
    });
    if config.events & 1 << change as u32 != 0 {
        emit(datagram, request, event, &counts);
    }
    reply::send(datagram, env, &reply, Some(&scratch.list)).map(|()| Verdict::Announced)
}

#[inline(always)]
fn refuse<F: Ip>(datagram: &Datagram<F>, env: &Env) -> Answer {
    reply::error::<F, 19>(datagram, env, Failure::UnapprovedTorrent)
        .map(|()| Verdict::TorrentRefused)
}

const fn verdict(miss: Miss) -> Verdict {
    match miss {
        Miss::Unknown => Verdict::UnknownTorrent,
        Miss::Frozen => Verdict::Frozen,
        Miss::Full => Verdict::Full,
        Miss::Contended => Verdict::Contended,
        // The daemon finds out, and says so.
        Miss::Corrupt => Verdict::Unusual,
    }
}

/// Walks over the BEP 41 options. Those that are malformed pass to the daemon, which says so.
#[inline(always)]
fn check_options<F: Ip>(datagram: &Datagram<F>, needed: bool) -> Result<(), Verdict> {
    let end = datagram.payload_len();
    let mut offset = size_of::<AnnounceRequest>() as u32;
    if end == offset {
        return Ok(());
    }
    if needed {
        return Err(Verdict::Options);
    }
    for _ in 0..OPTIONS_MAX {
        if offset >= end {
            return Ok(());
        }
        let kind: &u8 = datagram.payload_at(offset as usize).ok_or(Verdict::Unusual)?;
        match *kind {
            option::END => return Ok(()),
            option::NOP => offset += 1,
            option::URL_DATA => {
                let len: &u8 = datagram.payload_at(offset as usize + 1).ok_or(Verdict::Unusual)?;
                offset += 2 + *len as u32;
                if offset > end {
                    return Err(Verdict::Unusual);
                }
            }
            _ => return Err(Verdict::Unusual),
        }
    }
    Err(Verdict::Options)
}

/// Tells the daemon's post-hooks of an announce; a full ring buffer is counted.
#[inline(always)]
fn emit<F: Ip>(datagram: &Datagram<F>, request: &AnnounceRequest, event: Event, counts: &Counts) {
    let Some(mut entry) = EVENTS.reserve::<AnnounceEvent>(0) else {
        return count_lost_event();
    };
    let [first, second] = F::words(&F::source(datagram.ip));
    let addr = if F::IS_V6 {
        [first, second]
    } else {
        [0, 0xffff_0000_u64.to_be() >> 32 << 16 | first << 32]
    };
    // SAFETY: two words have the size and, in memory order, the bytes of an address.
    let addr = unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(addr) };
    *entry = MaybeUninit::new(AnnounceEvent {
        addr,
        downloaded: request.fixed.downloaded,
        left: request.fixed.left,
        uploaded: request.fixed.uploaded,
        info_hash: request.fixed.info_hash.0,
        peer_id: request.fixed.peer_id.0,
        port: request.tail.port,
        event: event as u8,
        _pad: 0,
        seeders: counts.seeders,
        leechers: counts.leechers,
    });
    entry.submit(NO_WAKEUP);
}
