//! Requests as a userspace loader sends them.

use loadgen::{Request, Ticket, flag, info_hash, kind, peer_id};
use tracker_common::wire::{PROTOCOL_ID, action};

const NUMWANT: i32 = 50;
const LEFT: u64 = 1 << 30;

/// Writes the message of a request, which is at `index` of its list.
pub fn write(request: &Request, index: u32, lap: u32, message: &mut Vec<u8>) {
    let action = match request.kind {
        kind::CONNECT => action::CONNECT,
        kind::SCRAPE => action::SCRAPE,
        _ => action::ANNOUNCE,
    };
    let is_connect = request.kind == kind::CONNECT;
    message.clear();
    message.extend(if is_connect { PROTOCOL_ID } else { request.connection_id });
    message.extend(action);
    message.extend(Ticket::new(index, lap, false).0.to_be_bytes());
    if is_connect {
        return;
    }
    message.extend(info_hash(request.torrent).0);
    if request.kind == kind::SCRAPE {
        return;
    }
    let left = if request.flags & flag::SEEDER != 0 { 0 } else { LEFT };
    message.extend(peer_id(request.client, request.port).0);
    message.extend(0_u64.to_be_bytes());
    message.extend(left.to_be_bytes());
    message.extend(u64::from(lap).to_be_bytes());
    message.extend(u32::from(request.event).to_be_bytes());
    message.extend([0; 8]);
    message.extend(NUMWANT.to_be_bytes());
    message.extend(request.port.to_be_bytes());
}
