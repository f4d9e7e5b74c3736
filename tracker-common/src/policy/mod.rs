//! What hooks decide, as plain data, and the one function that judges by it: the program and the daemon both run it.
//!
//! The hooks of the configuration compile to a [`Policy`]. Each hook has a *rank*, its place among the hooks, and the
//! hook of the lowest rank that has an objection decides. So a request that two hooks refuse is refused by the first,
//! in the kernel too. Ranks are bits of a word, which makes judging arithmetic:
//!
//! * the lists of clients and ports are in one map from [`Key`]s to the ranks whose lists have them;
//! * those of networks in one trie of the ranks that refuse a network;
//! * those of torrents in the table, as each torrent's [`Gate`].
//!
//! A hook that has to see requests in the daemon has a rank as well, by which the program passes what no hook before
//! it refuses. `docs/hooks.md` tells how to add a rule.

mod interval_variation;
mod rules;

pub use interval_variation::IntervalVariation;
pub use rules::{RULES, Rule};

use crate::{id::ClientId, table::layout::Gate};

/// Hooks that have a rank of their own. Those beyond share the last one, so the daemon judges by them.
pub const RANKS: u32 = 31;

/// A set of ranks.
pub type Ranks = u32;

/// The rank behind all others: of a torrent that the daemon is moving from one list to another, where no hook has a
/// list of torrents any more.
const BEHIND_ALL: Ranks = 1 << RANKS;

/// What a rule of listed keys looks up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct Key(u64);

impl Key {
    /// A client: the six bytes of its id.
    #[inline(always)]
    #[must_use]
    pub const fn of_client(id: ClientId) -> Self {
        let [a, b, c, d, e, f] = id.0;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, Rule::Client as u8]))
    }

    /// A port.
    #[inline(always)]
    #[must_use]
    pub const fn of_port(port: u16) -> Self {
        let [a, b] = port.to_be_bytes();
        Self(u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, Rule::Port as u8]))
    }

    /// As the program's map has it.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }
}

/// What rules look at in an announce, but for its torrent and its source.
#[derive(Clone, Copy)]
pub struct Subject {
    /// The software, as the peer id names it.
    pub client: ClientId,
    /// Where the client accepts connections.
    pub port: u16,
}

impl Subject {
    /// What a rule looks up; `None` for rules whose lists are elsewhere.
    #[inline(always)]
    const fn key(&self, rule: Rule) -> Option<Key> {
        match rule {
            Rule::Client => Some(Key::of_client(self.client)),
            Rule::Port => Some(Key::of_port(self.port)),
            Rule::Torrent | Rule::Network => None,
        }
    }
}

/// Where rules look up the source of a request: the program in its maps, the daemon in its memory.
pub trait SourceView {
    /// The ranks that refuse the smallest listed network that the source is in; `None` where it is in none.
    fn refused_network(&self) -> Option<Ranks>;
}

/// Where rules look up the rest of an announce.
pub trait View: SourceView {
    /// The ranks whose lists have this key.
    fn listed(&self, key: Key) -> Ranks;

    /// Whether a hook has verified an announce of this torrent from this source before.
    fn is_granted(&self) -> bool;
}

/// What all hooks let the program do. The default has no hooks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Policy {
    /// The ranks of each rule's lists, by [`Rule`].
    pub ranks: [Ranks; RULES],
    /// Ranks whose lists name what is admitted: a client or a port on none of these is refused.
    pub admits_listed: Ranks,
    /// Ranks that refuse sources in none of their networks.
    pub refuses_other_networks: Ranks,
    /// Ranks that only the daemon can judge announces by, unless there is a grant.
    pub granted: Ranks,
    /// Ranks that only the daemon can judge announces by.
    pub passes_announces: Ranks,
    /// Ranks that only the daemon can judge scrapes by.
    pub passes_scrapes: Ranks,
    /// A [`Gate`] as a number: what to do with torrents that are not in the table.
    pub unlisted_gate: u32,
}

/// What the hooks say of a request.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Objections {
    /// The ranks that refuse it.
    pub refused: Ranks,
    /// The ranks that only the daemon can judge by.
    pub undecided: Ranks,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is served.
    Serve,
    /// It is refused by this rule.
    Refuse(Rule),
    /// The daemon decides.
    Pass,
}

impl Policy {
    /// Adds the next hook's list. Returns its rank, or `None` where there is no rank left: the daemon then judges.
    pub fn add_list(&mut self, rule: Rule, admits_listed: bool) -> Option<Ranks> {
        let rank = self.next_rank()?;
        self.ranks[rule as usize] |= rank;
        if admits_listed {
            self.admits_listed |= rank;
        }
        Some(rank)
    }

    /// Adds the next hook, one that leaves grants. A grant does not tell of which hook it is, so with a second one
    /// grants count no more.
    pub fn add_grants(&mut self) {
        match self.next_rank() {
            Some(rank) if self.granted == 0 => self.granted = rank,
            rank => self.passes_announces |= rank.unwrap_or(BEHIND_ALL),
        }
    }

    /// Adds the next hook, one that sees all requests in the daemon.
    pub fn add_daemon(&mut self) {
        let rank = self.next_rank().unwrap_or(BEHIND_ALL);
        self.passes_announces |= rank;
        self.passes_scrapes |= rank;
    }

    /// Has the daemon decide on everything.
    pub const fn pass_all(&mut self) {
        self.passes_announces |= 1;
        self.passes_scrapes |= 1;
    }

    /// The ranks of all hooks that were added.
    #[must_use]
    pub fn used_ranks(&self) -> Ranks {
        let lists = self.ranks.iter().fold(0, |all, ranks| all | ranks);
        lists | self.granted | self.passes_announces | self.passes_scrapes
    }

    fn next_rank(&self) -> Option<Ranks> {
        let next = Ranks::BITS - self.used_ranks().leading_zeros();
        (next < RANKS).then(|| 1 << next)
    }

    /// Whether announces are judged by anything but their torrents.
    #[must_use]
    pub fn judges_announces(&self) -> bool {
        let has_lists =
            Rule::ALL.iter().any(|&rule| rule != Rule::Torrent && self.ranks[rule as usize] != 0);
        has_lists || self.granted | self.passes_announces != 0
    }

    /// What the hooks say of an announce, but for those that list torrents.
    #[inline(always)]
    pub fn object(&self, view: &impl View, subject: &Subject) -> Objections {
        let mut refused = self.object_to_source(view);
        let mut rule = 0;
        while rule < RULES {
            let ranks = self.ranks[rule];
            if let Some(key) = subject.key(Rule::ALL[rule])
                && ranks != 0
            {
                refused |= (view.listed(key) ^ self.admits_listed) & ranks;
            }
            rule += 1;
        }
        let mut undecided = self.passes_announces;
        if self.granted != 0 && !view.is_granted() {
            undecided |= self.granted;
        }
        Objections { refused, undecided }
    }

    /// What the hooks say of a scrape.
    #[inline(always)]
    pub fn object_to_scrape(&self, view: &impl SourceView) -> Objections {
        Objections { refused: self.object_to_source(view), undecided: self.passes_scrapes }
    }

    #[inline(always)]
    fn object_to_source(&self, view: &impl SourceView) -> Ranks {
        let ranks = self.ranks[Rule::Network as usize];
        if ranks == 0 {
            return 0;
        }
        view.refused_network().unwrap_or(self.refuses_other_networks) & ranks
    }

    /// Decides on an announce. `gate` is what the lists of torrents say of its torrent.
    #[inline(always)]
    pub fn decide(&self, objections: Objections, gate: Gate) -> Decision {
        let Objections { mut refused, mut undecided } = objections;
        let torrents = self.ranks[Rule::Torrent as usize];
        let first = if torrents == 0 { BEHIND_ALL } else { lowest(torrents) };
        match gate {
            Gate::Open => {}
            Gate::Pass => undecided |= first,
            // The gate does not tell which of the lists it is. That matters where another hook is among them.
            Gate::Refuse if (refused | undecided) & among(torrents) != 0 => undecided |= first,
            Gate::Refuse => refused |= first,
        }
        self.first(refused, undecided)
    }

    /// Decides on a scrape.
    #[inline(always)]
    pub fn decide_on_scrape(&self, objections: Objections) -> Decision {
        self.first(objections.refused, objections.undecided)
    }

    /// The hook of the lowest rank decides.
    #[inline(always)]
    fn first(&self, refused: Ranks, undecided: Ranks) -> Decision {
        let first = lowest(refused | undecided);
        if first == 0 {
            return Decision::Serve;
        }
        if undecided & first != 0 {
            return Decision::Pass;
        }
        let mut rule = 0;
        while rule < RULES - 1 {
            if self.ranks[rule] & first != 0 {
                break;
            }
            rule += 1;
        }
        Decision::Refuse(Rule::ALL[rule])
    }
}

impl Objections {
    /// Where a request cannot be looked at: the daemon decides.
    pub const ALL: Self = Self { refused: 0, undecided: 1 };

    /// Whether there are none.
    #[inline(always)]
    #[must_use]
    pub const fn are_none(self) -> bool {
        self.refused | self.undecided == 0
    }

    /// As one word, for functions of the program to hand on.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        (self.undecided as u64) << 32 | self.refused as u64
    }

    /// The opposite of [`Objections::to_word`].
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self { refused: word as u32, undecided: (word >> 32) as u32 }
    }
}

/// The lowest rank of a set; 0 for an empty one.
#[inline(always)]
const fn lowest(ranks: Ranks) -> Ranks {
    ranks & ranks.wrapping_neg()
}

/// The ranks between the lowest of a set and its highest.
#[inline(always)]
const fn among(ranks: Ranks) -> Ranks {
    // All bits below the highest, without a loop or a count of zeros, which BPF has not.
    let mut below = ranks >> 1;
    below |= below >> 1;
    below |= below >> 2;
    below |= below >> 4;
    below |= below >> 8;
    below |= below >> 16;
    below & !(lowest(ranks).wrapping_sub(1)) & !ranks
}

#[cfg(test)]
mod tests;
