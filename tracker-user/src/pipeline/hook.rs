//! The two kinds of hook, and what each lets the kernel do in its stead.

use std::{collections::HashSet, sync::Arc};

use tracker_common::{
    id::InfoHash,
    policy::{IntervalVariation, Key, Rule},
};

use super::{
    AnnounceRequest, AnnounceResponse, ListKind, Live, NetworkList, Refusal, ScrapeRequest,
};
use crate::config::EventLevel;

/// Runs before a reply is made: may refuse the request or change the response.
pub trait PreHook: Send + Sync {
    /// The hook's name in the configuration, for messages.
    fn name(&self) -> &'static str;

    /// Checks an announce. The response holds the configured intervals and no peers yet. A hook that offloads a
    /// [rule](Offload::Rule) is judged by its list, and not called.
    ///
    /// # Errors
    /// A [`Refusal`] ends the pipeline: the client is told, the swarm is not changed.
    fn announce(
        &self,
        _request: &AnnounceRequest,
        _response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Checks a scrape. Most hooks let scrapes pass.
    ///
    /// # Errors
    /// As for [`PreHook::announce`].
    fn scrape(&self, _request: &ScrapeRequest) -> Result<(), Refusal> {
        Ok(())
    }

    /// What the kernel may do instead of calling this hook.
    fn offload(&self) -> Offload {
        Offload::Never
    }

    /// Another number whenever the hook may have come to refuse what it admitted before. Peers that stay
    /// without asking, as browsers do, are then judged again.
    fn revision(&self) -> u64 {
        0
    }
}

impl<H: PreHook + ?Sized> PreHook for Arc<H> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn announce(
        &self,
        request: &AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        (**self).announce(request, response)
    }

    fn scrape(&self, request: &ScrapeRequest) -> Result<(), Refusal> {
        (**self).scrape(request)
    }

    fn offload(&self) -> Offload {
        (**self).offload()
    }

    fn revision(&self) -> u64 {
        (**self).revision()
    }
}

/// Runs after the reply has been made; cannot change it.
pub trait PostHook: Send + Sync {
    /// The hook's name in the configuration, for messages.
    fn name(&self) -> &'static str;

    /// Sees an announce that was answered.
    fn announced(&self, request: &AnnounceRequest, response: &AnnounceResponse);

    /// Which announces that the kernel answers it wants to see. Those that the daemon answers it sees all.
    fn interest(&self) -> Interest {
        Interest::Every
    }

    /// Whether it wants the parameters of those that the kernel answers, too. The kernel leaves those with
    /// too long ones to the daemon.
    fn needs_params(&self) -> bool {
        false
    }
}

impl<H: PostHook + ?Sized> PostHook for Arc<H> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn announced(&self, request: &AnnounceRequest, response: &AnnounceResponse) {
        (**self).announced(request, response);
    }

    fn interest(&self) -> Interest {
        (**self).interest()
    }

    fn needs_params(&self) -> bool {
        (**self).needs_params()
    }
}

/// How much of the traffic a [`PostHook`] wants to see. Ordered: a later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Nothing that the kernel answers.
    Nothing,
    /// A peer is new, has completed or has stopped.
    Transitions,
    /// Every announce.
    Every,
}

impl From<EventLevel> for Interest {
    fn from(level: EventLevel) -> Self {
        match level {
            EventLevel::None => Self::Nothing,
            EventLevel::Transitions => Self::Transitions,
            EventLevel::Every => Self::Every,
        }
    }
}

/// What the kernel may do in the stead of a [`PreHook`]; the data plane composes those of all hooks.
#[derive(Debug, Clone)]
pub enum Offload {
    /// Nothing: every announce passes to the daemon. The safe default for hooks that do not say.
    Never,
    /// Answer without it: the hook leaves alone whatever the kernel would answer.
    Unaffected,
    /// Refuse or admit by a list. Daemon and kernel judge by it with one function.
    Rule(List),
    /// Compute the same interval.
    IntervalVariation(IntervalVariation),
    /// Admit announces that the hook has left a [`Grant`](super::Grant) for, and pass the others.
    /// If several hooks leave grants, a grant does not tell of which: pass all announces then.
    Grants,
    /// Choose peers of the announcer's subnet first, as the storage does.
    PreferredSubnet(PreferredSubnet),
}

/// What a rule judges by.
#[derive(Debug, Clone)]
pub enum List {
    /// Info-hashes. The list may change.
    Torrents(TorrentList),
    /// Networks of sources; scrapes are judged by it, too. The list may change.
    Networks(Live<NetworkList>),
    /// What is looked up by a key: clients or ports.
    Keys(KeyList),
}

/// Info-hashes that are admitted, or refused.
#[derive(Debug, Clone)]
pub struct TorrentList {
    /// Whether the list names the admitted torrents or the refused ones.
    pub kind: ListKind,
    /// The torrents; they may change.
    pub info_hashes: Live<HashSet<InfoHash>>,
}

impl TorrentList {
    /// Whether announces of this torrent are admitted.
    #[must_use]
    pub fn admits(&self, info_hash: &InfoHash) -> bool {
        self.kind.admits(self.info_hashes.load().contains(info_hash))
    }
}

/// Clients or ports that are admitted, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// Which of them.
    pub rule: Rule,
    /// Whether the list names what is admitted or what is refused.
    pub kind: ListKind,
    /// What is listed.
    pub keys: Arc<HashSet<Key>>,
}

/// How many leading bits two addresses share that are of one subnet; 0 means that there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreferredSubnet {
    /// Of IPv4 addresses, at most 32.
    pub ipv4_bits: u8,
    /// Of IPv6 addresses, at most 128.
    pub ipv6_bits: u8,
}
