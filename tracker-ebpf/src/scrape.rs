//! Scrape: the figures of some swarms.

use tracker_common::{
    abi::{Verdict, flag},
    id::InfoHash,
    table::{
        index::find,
        swarm::{self, Counts},
    },
    time::Clock,
    wire::{ReplyHead, RequestHead, SCRAPE_MAX, ScrapeEntry, action},
};

use crate::{
    Answer,
    maps::{Env, Maps},
    packet::{Datagram, Ip},
    reply,
};

const INFO_HASH_BYTES: u32 = 20;

/// A function of its own: both families' together would not fit the stack of 512 bytes.
#[inline(never)]
pub fn serve<F: Ip>(datagram: &Datagram<F>, env: &Env, now_ns: u64) -> Answer {
    let config = env.config;
    let head_len = size_of::<RequestHead>() as u32;
    let request: &RequestHead = datagram.payload_at(0).ok_or(Verdict::Unusual)?;
    let hashes_len = datagram.payload_len() - head_len;
    if hashes_len == 0 || hashes_len % INFO_HASH_BYTES != 0 {
        return Err(Verdict::Unusual);
    }
    if config.flags & flag::PASS_SCRAPES != 0 {
        return Err(Verdict::Gated);
    }
    let asked = hashes_len / INFO_HASH_BYTES;
    let max = if config.scrape_max < SCRAPE_MAX { config.scrape_max } else { SCRAPE_MAX };
    let answered = if asked > max { max } else { asked };

    let clock = Clock::new(now_ns, config.lifetime);
    let entries = env.scratch()?;
    entries.clear();
    for index in 0..SCRAPE_MAX {
        if index >= answered {
            break;
        }
        let offset = head_len + index * INFO_HASH_BYTES;
        let info_hash: &[u8; 20] = datagram.payload_at(offset as usize).ok_or(Verdict::Unusual)?;
        let counts = match find::<F, Maps>(&Maps, &config.shape, &InfoHash(*info_hash)) {
            Some(line) => swarm::scrape(line, &clock).map_err(|_| Verdict::Frozen)?,
            None => Counts::default(),
        };
        entries.push_entry(&ScrapeEntry {
            seeders: counts.seeders.to_be_bytes(),
            completed: counts.completed.to_be_bytes(),
            leechers: counts.leechers.to_be_bytes(),
        });
    }
    let reply = ReplyHead { action: action::SCRAPE, transaction_id: request.transaction_id };
    reply::send(datagram, env, &reply, Some(entries)).map(|way| (Verdict::Scraped, way))
}
