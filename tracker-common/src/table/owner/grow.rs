//! Moving a torrent's peers to where there is more room.

use std::sync::{PoisonError, atomic::Ordering::Relaxed};

use super::{Arena, Table, Waiting};
use crate::{
    family::{Family, V4, V6},
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss,
        index::find,
        layout::{BlockRef, CLASS_MAX, DEPTH_MAX, Form, Line, Memory, class_min},
        slots::{InlineSlots, Slots},
        swarm::{Announce, Blocks},
        word::PeerWord,
    },
    time::Clock,
};

/// How often one announce may make its torrent grow.
const GROWTHS_MAX: u32 = 16;

/// A peer on its way from one place to another.
pub(super) struct Moving {
    word: PeerWord,
    /// Of an IPv6 address; of an IPv4 address the first word holds it.
    addr: [u64; 2],
}

/// What a torrent grows to.
#[derive(Clone, Copy)]
struct Size {
    /// Binary logarithm of the directory's length; 0 for a single block.
    depth: u32,
    class: u32,
}

impl Size {
    fn next<F: Family>(form: Form, depth: u32) -> Self {
        match form {
            Form::Vacant | Form::Inline => Self { depth: 0, class: class_min::<F>() },
            Form::Block if depth < CLASS_MAX => Self { depth: 0, class: depth + 1 },
            Form::Block => Self { depth: 1, class: CLASS_MAX },
            Form::Directory => Self { depth: depth + 1, class: CLASS_MAX },
        }
    }

    /// Units of all blocks.
    fn units(self) -> u64 {
        1 << (self.depth + self.class)
    }

    /// Order of the directory's own piece: entries of four bytes in units of 64.
    fn directory_order(self) -> u32 {
        self.depth.saturating_sub(4)
    }
}

impl<M: Memory> Table<M> {
    /// Whether announces wait for [`Table::grow`].
    pub fn has_work(&self) -> bool {
        !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Makes room for the announces that found none, and applies them. `grace` returns once no run
    /// of the XDP program that was under way when it was called can still be; it is called once for
    /// all of them. Returns how many announces there were.
    pub fn grow(&self, now_ns: u64, grace: impl FnOnce()) -> usize {
        let waiting =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return 0;
        }
        let clock = self.clock(now_ns);
        for one in &waiting {
            one.with_line(self, |line| line.freeze(), |line| line.freeze());
        }
        grace();
        let mut peers = PeerBuf::new();
        for one in &waiting {
            if one.is_v6 {
                self.grow_for::<V6>(one, &clock, &mut peers);
            } else {
                self.grow_for::<V4>(one, &clock, &mut peers);
            }
        }
        waiting.len()
    }

    fn grow_for<F: Family>(&self, one: &Waiting, clock: &Clock, peers: &mut PeerBuf) {
        if let Some(line) = find::<F, M>(&self.memory, &self.shape, &one.info_hash)
            && line.meta().is_frozen()
        {
            let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
            self.move_peers(line, clock);
            line.update_meta(|meta| meta.with_frozen(false));
        }
        let announce = Announce::<F> {
            addr: F::from_words(one.addr),
            port: one.port,
            seeder: one.seeder,
            event: one.event,
            numwant: 0,
            seed: 0,
        };
        // Others that waited may have filled the new place; it can grow at once from now on.
        for _ in 0..GROWTHS_MAX {
            match self.try_announce(&one.info_hash, &announce, clock, peers) {
                Ok(_) => return,
                Err(Miss::Full) if self.grow_now::<F>(&one.info_hash, clock) => {}
                Err(Miss::Contended) => {}
                Err(_) => break,
            }
        }
        self.admission_refused.fetch_add(1, Relaxed);
    }

    /// Grows a torrent at once, if the kernel cannot be using its peers. `false` otherwise, or when
    /// there is no room.
    pub(super) fn grow_now<F: Family>(&self, info_hash: &InfoHash, clock: &Clock) -> bool {
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = find::<F, M>(&self.memory, &self.shape, info_hash) else { return false };
        if line.meta().is_frozen() || (self.shared_with_kernel && !line.is_outgrown()) {
            return false;
        }
        self.move_peers(line, clock)
    }

    /// Moves the peers to the next bigger place, or a bigger one still where they collide.
    fn move_peers<F: Family>(&self, line: Line<F>, clock: &Clock) -> bool {
        let meta = line.meta();
        let counts = crate::table::swarm::figures(line, clock);
        let mut owner = self.owner();
        let mut size = Size::next::<F>(meta.form(), meta.depth());
        // Before anything is copied: a full arena is met with every announce of a full torrent.
        if !owner.arena.has_room(size.units()) {
            return false;
        }
        let peers = self.live_peers(line, clock);
        let blocks = loop {
            if size.depth > DEPTH_MAX {
                return false;
            }
            let Some(blocks) = self.allocate(&mut owner.arena, size) else { return false };
            if peers.iter().all(|peer| self.place::<F>(&blocks, peer)) {
                break blocks;
            }
            self.release(&mut owner.arena, &blocks);
            let form = if size.depth == 0 { Form::Block } else { Form::Directory };
            let depth = if size.depth == 0 { size.class } else { size.depth };
            size = Size::next::<F>(form, depth);
        };
        let old = line.is_outgrown().then(|| Blocks::of(&line, meta, self.shape.veil));
        let seeders = peers.iter().filter(|peer| peer.word.is_seeder()).count() as u32;
        let body = line.outgrown();
        body.seeders.store(seeders);
        body.leechers.store(peers.len() as u32 - seeders);
        body.completed.store(counts.completed);
        body.root.store(blocks.root().0);
        line.update_meta(|meta| {
            let (form, depth) = match size.depth {
                0 => (Form::Block, size.class),
                depth => (Form::Directory, depth),
            };
            meta.with_completed(0).with_form(form, depth)
        });
        if let Some(old) = old {
            self.release(&mut owner.arena, &old);
        }
        true
    }

    /// Copies of all peers that have not expired.
    fn live_peers<F: Family>(&self, line: Line<F>, clock: &Clock) -> Vec<Moving> {
        let mut peers = Vec::new();
        if line.is_outgrown() {
            let blocks = Blocks::of(&line, line.meta(), self.shape.veil);
            for entry in 0..blocks.len() {
                if let Ok(slots) = blocks
                    .block(&self.memory, entry)
                    .and_then(|b| blocks.slots::<F, M>(&self.memory, b))
                {
                    collect(&slots, clock, &mut peers);
                }
            }
        } else {
            // SAFETY: the form is Inline.
            collect(&unsafe { InlineSlots::<F>::new(line.body()) }, clock, &mut peers);
        }
        peers
    }

    /// Writes a peer to the block it belongs to; `false` when that is full.
    fn place<F: Family>(&self, blocks: &Blocks, peer: &Moving) -> bool {
        let hash = self.shape.key.addr::<F>(&F::from_words(peer.addr));
        let slots = blocks
            .block(&self.memory, blocks.entry_of(hash))
            .and_then(|block| blocks.slots::<F, M>(&self.memory, block));
        let Ok(slots) = slots else { return false };
        let Some(index) =
            (0..slots.capacity()).find(|&index| slots.peer(index) == PeerWord::VACANT)
        else {
            return false;
        };
        if F::IS_V6 {
            let [low, high] = slots.addr(index);
            // SAFETY: aligned words of a block that nobody else knows of yet.
            unsafe {
                low.write(peer.addr[0]);
                high.write(peer.addr[1]);
            }
        }
        slots.word(index).store(peer.word.0);
        true
    }

    fn allocate(&self, arena: &mut Arena, size: Size) -> Option<Blocks> {
        let block = |arena: &mut Arena| {
            let block = arena.allocate(size.class)?;
            self.zero(block, size.class)?;
            Some(block)
        };
        if size.depth == 0 {
            return block(arena).map(|root| Blocks::new(root, 0, size.class, self.shape.veil));
        }
        let root = arena.allocate(size.directory_order())?;
        let blocks = Blocks::new(root, size.depth, size.class, self.shape.veil);
        for entry in 0..blocks.len() {
            let filled = block(arena).and_then(|block| {
                blocks.entry(&self.memory, entry).ok().map(|slot| slot.store(block.0))
            });
            if filled.is_none() {
                self.release_entries(arena, &blocks, entry);
                arena.release(root, size.directory_order());
                return None;
            }
        }
        Some(blocks)
    }

    /// Gives back all that a torrent's peers were in.
    pub(super) fn release(&self, arena: &mut Arena, blocks: &Blocks) {
        let depth = blocks.len().trailing_zeros();
        if depth == 0 {
            return arena.release(blocks.root(), blocks.class());
        }
        self.release_entries(arena, blocks, blocks.len());
        arena.release(blocks.root(), Size { depth, class: CLASS_MAX }.directory_order());
    }

    fn release_entries(&self, arena: &mut Arena, blocks: &Blocks, entries: u32) {
        for entry in 0..entries {
            if let Ok(block) = blocks.block(&self.memory, entry) {
                arena.release(block, blocks.class());
            }
        }
    }

    fn zero(&self, block: BlockRef, class: u32) -> Option<()> {
        let chunk = self.memory.chunk(block.chunk())?;
        // SAFETY: the block is within its chunk, and nobody else knows of it.
        unsafe { chunk.add(block.unit_in_chunk() as usize * 64).write_bytes(0, 64 << class) };
        Some(())
    }
}

fn collect<F: Family, S: Slots<F>>(slots: &S, clock: &Clock, peers: &mut Vec<Moving>) {
    for index in 0..slots.capacity() {
        let word = slots.peer(index);
        if !word.is_live(clock) {
            continue;
        }
        let addr = if F::IS_V6 {
            // SAFETY: aligned words of the table.
            slots.addr(index).map(|half| unsafe { half.read_volatile() })
        } else {
            [word.0 & 0xffff_ffff, 0]
        };
        peers.push(Moving { word, addr });
    }
}

impl<F: Family> Line<F> {
    /// Keeps everybody else away from the peers.
    pub(super) fn freeze(&self) {
        self.update_meta(|meta| meta.with_frozen(true));
    }
}

impl Waiting {
    fn with_line<M: Memory>(&self, table: &Table<M>, v4: impl Fn(Line<V4>), v6: impl Fn(Line<V6>)) {
        if self.is_v6 {
            find(&table.memory, &table.shape, &self.info_hash).map(v6);
        } else {
            find(&table.memory, &table.shape, &self.info_hash).map(v4);
        }
    }
}
