//! A note of the one change under way that takes more than one store, for who adopts the table after
//! a process that ended in its midst.
//!
//! It is in the arena's first chunk, which no leaf can be in. An entry whose body is rewritten is put
//! back as it was: what its peers were moved out of is still whole. Entries of a directory that are
//! referred to new leaves are all referred to them: those are complete before the first is.

use super::Table;
use crate::{
    family::{Family, V4, V6},
    id::InfoHash,
    sync::Word64,
    table::{
        index::find,
        layout::{Entry, Form, Memory},
        leaf::LeafRef,
    },
};

/// Where in the first chunk it is, in bytes: past the group that a reference to no leaf leads to.
const OFFSET: usize = 512;

/// Words: what is under way, the info-hash, and the longest body or seven numbers.
const WORDS: usize = 20;

const NOTHING: u64 = 0;
const INLINE_LINE: u64 = 1;
const OUTGROWN_LINE: u64 = 2;
const SPAN: u64 = 3;
const IS_V6: u64 = 1 << 8;
const IS_SEEDER: u64 = 1 << 9;

/// The words before a body or numbers.
const HEAD_WORDS: usize = 4;

impl<M: Memory> Table<M> {
    /// The body of an entry is about to be rewritten.
    pub(super) fn note_entry<F: Family>(&self, entry: Entry<'_, F>) {
        let kind = if entry.is_spilled() { OUTGROWN_LINE } else { INLINE_LINE };
        self.note(kind, entry, entry.body_words().iter().map(Word64::load));
    }

    /// Entries of a directory, from the first to the second and on to the third, are about to be
    /// referred to two leaves.
    pub(super) fn note_span<F: Family>(
        &self,
        entry: Entry<'_, F>,
        seeder: bool,
        entries: [u32; 3],
        leaves: [LeafRef; 2],
    ) {
        let numbers = entries.into_iter().map(u64::from).chain(leaves.map(|leaf| leaf.0));
        self.note(SPAN | if seeder { IS_SEEDER } else { 0 }, entry, numbers);
    }

    fn note<F: Family>(&self, kind: u64, entry: Entry<'_, F>, rest: impl Iterator<Item = u64>) {
        let Some(words) = self.journal() else { return };
        let mut hash = [0; 24];
        hash[..20].copy_from_slice(&entry.info_hash().0);
        let hash = hash.chunks_exact(8).map(|word| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            u64::from_ne_bytes(bytes)
        });
        words[1..].iter().zip(hash.chain(rest)).for_each(|(word, value)| word.store(value));
        words[0].store(kind | if F::IS_V6 { IS_V6 } else { 0 });
    }

    /// The change is complete.
    pub(super) fn forget_note(&self) {
        if let Some(words) = self.journal() {
            words[0].store(NOTHING);
        }
    }

    /// Undoes or completes the change that was under way.
    pub(super) fn replay(&self) {
        let Some(words) = self.journal().map(|words| words.each_ref().map(Word64::load)) else {
            return;
        };
        if words[0] & IS_V6 == 0 {
            self.replay_in::<V4>(&words);
        } else {
            self.replay_in::<V6>(&words);
        }
        self.forget_note();
    }

    fn replay_in<F: Family>(&self, words: &[u64; WORDS]) {
        let mut hash = InfoHash([0; 20]);
        let bytes = words[1..HEAD_WORDS].iter().flat_map(|word| word.to_ne_bytes());
        hash.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, &hash) else { return };
        let rest = &words[HEAD_WORDS..];
        let restore = |form| {
            entry.body_words().iter().zip(rest).for_each(|(word, &value)| word.store(value));
            entry.update_meta(|meta| meta.with_form(form));
        };
        match words[0] & 0xff {
            INLINE_LINE => restore(Form::Inline),
            OUTGROWN_LINE => restore(Form::Spilled),
            SPAN if entry.is_spilled() => {
                let [set, _] = entry.sets().own_and_other(words[0] & IS_SEEDER != 0);
                let [start, middle, end] = [0, 1, 2].map(|i| rest[i] as u32);
                let [low, high] = [rest[3], rest[4]];
                self.refer(&set, start..middle, LeafRef(low));
                if set.root().depth() > 0 {
                    self.refer(&set, middle..end, LeafRef(high));
                }
            }
            _ => {}
        }
    }

    /// `None` in a table without an arena.
    fn journal(&self) -> Option<&[Word64; WORDS]> {
        let chunk = self.memory.chunk(0)?;
        // SAFETY: within the chunk, aligned to 8, and any bits are words.
        Some(unsafe { chunk.add(OFFSET).cast::<[Word64; WORDS]>().as_ref() })
    }
}

const _: () = assert!(OFFSET + WORDS * 8 <= 1024);
