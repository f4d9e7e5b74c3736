//! What goes on at once in a world: processors, and the parts of a daemon.

use std::sync::atomic::Ordering::Relaxed;

use tracker_common::{
    announce::Event,
    family::{Family, V4, V6},
    peers::PeerBuf,
    table::{Miss, layout::Gate, owner::Table},
    time::Clock,
};

use super::{END, LIFETIME, LISTED, Packet, World, locked};
use crate::{
    heap::Heap,
    kernel,
    model::{Name, Role, Torrent, names},
    turns::{self, Generation},
};

impl World {
    /// A processor: receives announces, and runs the program for each.
    pub(super) fn process(&self, number: usize) {
        for _ in 0..self.plan.announces {
            if self.plan.has_time && self.random(|rng| rng.u32(..20)) == 0 {
                self.tick.fetch_max((self.tick() + u64::from(LIFETIME) / 5).min(END), Relaxed);
            }
            turns::wait();
            let Some(packet) = self.send() else { continue };
            let name = locked(&self.peers)[packet.peer].name;
            self.runs[number].fetch_add(1, Relaxed);
            let served = if name.torrent.is_v6 {
                self.run_program::<V6>(name, &packet)
            } else {
                self.run_program::<V4>(name, &packet)
            };
            self.runs[number].fetch_add(1, Relaxed);
            if served {
                locked(&self.figures).by_kernel += 1;
                let seen = [packet.sent, self.tick()];
                locked(&self.peers)[packet.peer].end(packet.role, seen);
            } else {
                locked(&self.inbox).push_back(packet);
            }
        }
        self.sending.fetch_sub(1, Relaxed);
    }

    /// Whoever announces next.
    fn send(&self) -> Option<Packet> {
        let mut peers = locked(&self.peers);
        let mut rng = locked(&self.rng);
        let peer = rng.usize(..peers.len());
        let may_cross = self.plan.has_crossing && rng.u32(..4) == 0;
        if !peers[peer].is_idle() && !may_cross {
            return None;
        }
        let leaves = rng.u32(..100) < self.plan.leaving;
        let (role, event) = match rng.u32(..8) {
            _ if leaves => (Role::Absent, Event::Stopped),
            0 => (Role::Seeder, Event::Completed),
            1 | 2 => (Role::Seeder, Event::None),
            _ => (Role::Leecher, Event::None),
        };
        peers[peer].begin(role);
        let (seed, sent) = (rng.u32(..), self.tick());
        Some(Packet { peer, role, event, seed, sent, unremembered: 0, daemon: 0 })
    }

    /// Whether the kernel has answered.
    fn run_program<F: Family>(&self, name: Name, packet: &Packet) -> bool {
        let mut list = PeerBuf::new();
        let announce = name.announce::<F>(packet.role, packet.event, packet.seed);
        let clock = Clock::new(self.now_ns(), LIFETIME);
        let hash = name.torrent.info_hash();
        let was_listed = self.listed.load(Relaxed) && name.torrent.number < LISTED;
        let answer =
            kernel::announce::<F>(&self.heap, &self.shape, clock, &hash, &announce, &mut list);
        match answer {
            Ok(_) => self.check_list::<F>(name, &list),
            Err(miss) => {
                assert!(
                    !(was_listed && miss == Miss::Unknown),
                    "the kernel did not find a listed torrent"
                );
                assert!(miss != Miss::Corrupt, "the kernel met a reference that leads nowhere");
            }
        }
        answer.is_ok()
    }

    /// Whether a reply has but peers that announced to the torrent.
    fn check_list<F: Family>(&self, name: Name, list: &PeerBuf) {
        let peers = locked(&self.peers);
        let peer_of = |name| peers.iter().find(|peer| peer.name == name);
        let names = names::<F>(list.as_bytes());
        let is_blurred = peer_of(name).is_some_and(|peer| peer.is_blurred);
        for other in &names {
            let Some(other) = *other else { panic!("a torn peer in the reply to {name:?}") };
            assert_eq!(other.torrent, name.torrent, "a peer of another torrent, given to {name:?}");
            let is_known = peer_of(other).is_some_and(|peer| peer.has_announced);
            assert!(is_known || other == name, "{name:?} was given {other:?}, who never announced");
            let is_itself = other == name && names.len() > 1;
            assert!(!is_itself || is_blurred, "{name:?} was given itself among others");
        }
    }

    /// A worker of the daemon.
    pub(super) fn work(&self, generation: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            let Some(mut packet) = locked(&self.inbox).pop_front() else { continue };
            packet.daemon = generation;
            locked(&self.at_work).push(packet);
            let stats = table.stats();
            packet.unremembered = stats.queue_dropped + stats.admission_refused;
            let name = locked(&self.peers)[packet.peer].name;
            if name.torrent.is_v6 {
                self.serve::<V6>(table, name, &packet);
            } else {
                self.serve::<V4>(table, name, &packet);
            }
            locked(&self.at_work)
                .retain(|other| other.peer != packet.peer || other.seed != packet.seed);
            locked(&self.figures).by_daemon += 1;
            locked(&self.peers)[packet.peer].end_waiting(self.tick());
            // What waits is stamped with the time at which making room began.
            packet.sent = packet.sent.min(self.growing.load(Relaxed));
            locked(&self.answered).push(packet);
        }
    }

    fn serve<F: Family>(&self, table: &Table<Heap>, name: Name, packet: &Packet) {
        let mut list = PeerBuf::new();
        let announce = name.announce::<F>(packet.role, packet.event, packet.seed);
        let _ = table.announce(&name.torrent.info_hash(), &announce, self.now_ns(), &mut list);
        self.check_list::<F>(name, &list);
    }

    /// The thread that makes room and sweeps.
    pub(super) fn keep(&self, _: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            // What is answered by now is in the table or in the queue.
            let answered = locked(&self.answered).clone();
            if self.random(|rng| rng.u32(..4)) == 0 {
                let _ = table.sweep(self.now_ns(), || self.grace());
                while table.compact(self.now_ns(), || self.grace()) {}
                continue;
            }
            self.growing.store(self.tick(), Relaxed);
            table.grow(self.now_ns(), || self.grace());
            if table.has_work() {
                continue;
            }
            let stats = table.stats();
            let unremembered = stats.queue_dropped + stats.admission_refused;
            let mut peers = locked(&self.peers);
            for packet in &answered {
                let for_certain = packet.unremembered == unremembered;
                let seen = [packet.sent, self.tick()];
                peers[packet.peer].applied(packet.role, seen, for_certain);
            }
            locked(&self.answered).drain(..answered.len());
        }
    }

    /// Saves the table again and again.
    pub(super) fn save(&self, _: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            self.save_family::<V4>(table);
            self.save_family::<V6>(table);
        }
    }

    fn save_family<F: Family>(&self, table: &Table<Heap>) {
        let _ = table.save::<F, ()>(self.now_ns(), |info_hash, _, peers| {
            for peer in peers {
                let name = Name::of::<F>(F::words(&peer.addr), peer.port);
                let is_ours = name.is_some_and(|name| name.torrent.info_hash() == *info_hash);
                assert!(is_ours, "a peer that is torn, or of another torrent, was saved: {name:?}");
            }
            Ok(())
        });
    }

    /// Puts torrents on a list.
    pub(super) fn list(&self, _: Generation, table: &Table<Heap>) {
        let hash = |is_v6| move |number| Torrent { number, is_v6 }.info_hash();
        let hashes: Vec<_> = (0..LISTED).map(hash(false)).collect();
        let v4 = table.list::<V4>(&hashes, Gate::Open, || self.grace());
        let v6 = table.list::<V6>(&hashes, Gate::Open, || self.grace());
        if v4 + v6 == 0 {
            self.listed.store(true, Relaxed);
        }
    }
}
