//! The next request of the list, as a frame.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use loadgen::{
    Fault, Player, Request, Target, Ticket, attack, client_of_site, client_v4, client_v6, flag,
    info_hash, kind, peer_id,
};
use tracker_common::{
    family::{V4, V6},
    id::InfoHash,
    wire::{AnnounceHead, AnnounceRequest, AnnounceTail, PROTOCOL_ID, RequestHead, action},
};

use crate::{
    frame::{Frame, Ip},
    maps::{REQUESTS, TARGET, player, replies},
};

const NUMWANT: u32 = 50;

/// What a leecher has still to fetch.
const LEFT: u64 = 1 << 30;

/// The head of an announce, cut off within the info-hash.
#[derive(Clone, Copy)]
#[repr(C)]
struct Truncated {
    head: RequestHead,
    info_hash: [u8; 8],
}

/// Options (BEP 41) of more bytes than an event of the kernel has room for, and an even number.
const OPTIONS_BYTES: usize = 136;

#[derive(Clone, Copy)]
#[repr(C)]
struct WithOptions {
    announce: AnnounceRequest,
    /// URL data, and how long it is.
    kind: [u8; 2],
    url_data: [u8; OPTIONS_BYTES - 2],
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Scrape {
    head: RequestHead,
    info_hash: InfoHash,
}

/// A request that is later than this is not made up for: the next ones are later too.
const OVERDUE_NS: u64 = 1_000_000;

/// While the window is full, replies are looked for this often: looking slows down counting.
const PAUSE_NS: u64 = 20_000;

/// Whether a request was due, and is in the frame now. `None` where something is wrong with the
/// maps or the frame.
#[inline(always)]
pub fn next(ctx: &XdpContext) -> Option<bool> {
    let player = player()?;
    let target = TARGET.get(0)?;
    if player.remaining == 0 || !is_due(player) || !has_room(player, target) {
        return Some(false);
    }
    let index = player.next;
    let fault = advance(player);
    let is_attack = fault.is_some() && player.attack != attack::MIXED && player.attackers != 0;
    let index = if is_attack {
        player.attackers_first + player.sent as u32 % player.attackers
    } else {
        index
    };
    let request = REQUESTS.get(index)?;
    let ticket = if target.timed != 0 {
        Ticket::timed(now_ns())
    } else {
        Ticket::new(index, player.lap, fault.is_some())
    };
    let draft = Draft { target, request, fault, ticket, salt: player.sent };
    if request.flags & flag::V6 != 0 {
        draft.write::<V6>(ctx)?
    } else {
        draft.write::<V4>(ctx)?
    }
    player.sent += 1;
    player.remaining -= 1;
    if player.interval_ns != 0 {
        player.due_ns += player.interval_ns;
    }
    Some(true)
}

#[inline(always)]
fn is_due(player: &mut Player) -> bool {
    if player.due_ns == 0 {
        return true;
    }
    let now_ns = now_ns();
    // Between two test runs some time passes.
    if now_ns > player.due_ns + OVERDUE_NS {
        player.due_ns = now_ns;
    }
    now_ns >= player.due_ns
}

/// Whether one more request may wait for its reply.
#[inline(always)]
fn has_room(player: &mut Player, target: &Target) -> bool {
    if player.window == 0 || player.waiting() < player.window {
        return true;
    }
    let now_ns = now_ns();
    let replied = replies(target.processors) - player.replied_before;
    if replied != player.replied {
        player.replied = replied;
        player.progress_ns = now_ns;
    } else if now_ns > player.progress_ns + Player::PATIENCE_NS {
        player.lost += player.waiting();
    }
    if player.waiting() < player.window {
        return true;
    }
    player.due_ns = now_ns + PAUSE_NS;
    false
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// What is wrong with this request. One without fault comes first, then the same with faults.
#[inline(always)]
fn advance(player: &mut Player) -> Option<Fault> {
    let left = player.faults_left;
    let fault = (left != player.faults).then(|| match (player.attack, left & 3) {
        (attack::PORTS, _) => Fault::Port,
        (attack::INFO_HASHES, _) | (attack::MIXED, 1) => Fault::InfoHash,
        (attack::OPTIONS, _) => Fault::Options,
        (attack::ACTIONS, _) => Fault::Action,
        (_, 0) => Fault::ConnectionId,
        (_, 2) => Fault::Truncated,
        _ => Fault::Fragment,
    });
    if left != 0 {
        player.faults_left = left - 1;
        return fault;
    }
    player.faults_left = player.faults;
    player.next += 1;
    if player.next >= player.end {
        player.next = player.first;
        player.lap += 1;
    }
    fault
}

/// All that makes a frame.
struct Draft<'a> {
    target: &'a Target,
    request: &'a Request,
    fault: Option<Fault>,
    ticket: Ticket,
    /// A number that differs from one request to the next.
    salt: u64,
}

impl Draft<'_> {
    #[inline(always)]
    fn write<F: Client>(&self, ctx: &XdpContext) -> Option<()> {
        let request = self.request;
        if self.fault == Some(Fault::Truncated) {
            return self.send::<F, _>(ctx, Truncated { head: self.head(), info_hash: [0x5a; 8] });
        }
        if self.fault == Some(Fault::Options) {
            let kind = [2, (OPTIONS_BYTES - 2) as u8];
            let announce = self.announce();
            return self.send::<F, _>(
                ctx,
                WithOptions { announce, kind, url_data: [b'a'; OPTIONS_BYTES - 2] },
            );
        }
        match request.kind {
            kind::CONNECT => self.send::<F, _>(ctx, self.head()),
            kind::SCRAPE => {
                let info_hash = info_hash(request.torrent);
                self.send::<F, _>(ctx, Scrape { head: self.head(), info_hash })
            }
            _ => self.send::<F, _>(ctx, self.announce()),
        }
    }

    #[inline(always)]
    fn head(&self) -> RequestHead {
        let id = self.request.connection_id;
        let (action, id) = match self.request.kind {
            kind::CONNECT => (action::CONNECT, PROTOCOL_ID),
            kind::SCRAPE => (action::SCRAPE, id),
            _ if self.fault == Some(Fault::Action) => ([0, 0, 0, 7], id),
            _ => (action::ANNOUNCE, id),
        };
        let forged = if self.fault == Some(Fault::ConnectionId) { !self.salt } else { 0 };
        RequestHead {
            connection_id: (u64::from_ne_bytes(id) ^ forged).to_ne_bytes(),
            action,
            transaction_id: self.ticket.0.to_be_bytes(),
        }
    }

    #[inline(always)]
    fn announce(&self) -> AnnounceRequest {
        let request = self.request;
        // Torrents of a list have small numbers, so these are others.
        let other =
            if self.fault == Some(Fault::InfoHash) { self.salt as u32 | 1 << 31 } else { 0 };
        let left = if request.flags & flag::SEEDER != 0 { 0 } else { LEFT };
        let port = self.port();
        AnnounceRequest {
            fixed: AnnounceHead {
                head: self.head(),
                info_hash: info_hash(request.torrent ^ other),
                peer_id: peer_id(request.client, port),
                downloaded: [0; 8],
                left: left.to_be_bytes(),
                uploaded: self.salt.to_be_bytes(),
                event: u32::from(request.event).to_be_bytes(),
            },
            ip: [0; 4],
            tail: AnnounceTail {
                key: [0; 4],
                numwant: NUMWANT.to_be_bytes(),
                port: port.to_be_bytes(),
            },
        }
    }

    /// Where the client listens, and what it sends from.
    #[inline(always)]
    fn port(&self) -> u16 {
        if self.fault == Some(Fault::Port) {
            1024 + (self.salt % 64_512) as u16
        } else {
            self.request.port
        }
    }

    /// Puts the message into the frame, and headers before it.
    ///
    /// The frame is made as long as its content at each run: its page comes back with the length
    /// of a reply, which the kernel only forgets if the program changes it.
    #[inline(always)]
    fn send<F: Client, M: Copy>(&self, ctx: &XdpContext, message: M) -> Option<()> {
        let len = ctx.data_end() - ctx.data();
        let delta = Frame::<F, M>::BYTES as i32 - len as i32;
        // SAFETY: the context is this program's.
        if unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), delta) } != 0 {
            return None;
        }
        let frame = Frame::<F, M>::at(ctx)?;
        frame.message = message;
        let Self { target, request, .. } = self;
        frame.address(
            (target.source_mac, target.mac),
            (F::client(request), self.port().to_be_bytes()),
            (F::tracker(target), target.port),
            self.fault == Some(Fault::Fragment),
        );
        Some(())
    }
}

trait Client: Ip {
    fn client(request: &Request) -> Self::Addr;
    fn tracker(target: &Target) -> Self::Addr;
}

impl Client for V4 {
    #[inline(always)]
    fn client(request: &Request) -> [u8; 4] {
        client_v4(request.client)
    }

    #[inline(always)]
    fn tracker(target: &Target) -> [u8; 4] {
        target.v4
    }
}

impl Client for V6 {
    #[inline(always)]
    fn client(request: &Request) -> [u8; 16] {
        if request.flags & flag::SITE != 0 {
            client_of_site(request.client)
        } else {
            client_v6(request.client)
        }
    }

    #[inline(always)]
    fn tracker(target: &Target) -> [u8; 16] {
        target.v6
    }
}
