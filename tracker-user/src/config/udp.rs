//! The UDP frontend's keys.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use smart_default::SmartDefault;

use super::{GoDuration, ListenAddr};

/// UDP (BEP 15). Listens only where an address is given.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UdpConfig {
    /// Where to serve UDP: one address or a list. Empty: no UDP.
    /// An unspecified address (`[::]`, `0.0.0.0` or none) serves IPv4 and IPv6.
    pub addr: Vec<ListenAddr>,
    /// The secret that connection ids are made with. Give one of your own to let ids outlive a
    /// restart, or to share them among trackers. Unset: a random one.
    #[schemars(example = "32 or more random characters")]
    pub private_key: Option<Secret>,
    /// How far the clocks of trackers that share the key may differ.
    pub max_clock_skew: GoDuration,
    /// How long a connection id lives. BEP 15 says two minutes; some clients reuse one for five.
    #[default(GoDuration::from_mins(2))]
    pub connection_id_lifetime: GoDuration,
    /// Whether to measure the time of each reply. Off, replies are counted as taking no time.
    pub enable_request_timing: bool,
    /// Whether a client may name its address in the announce. Such announces bypass the kernel.
    pub allow_ip_spoofing: bool,
    /// The most peers a reply carries, whatever the client asks for. One packet holds no more
    /// than 242 IPv4 or 79 IPv6 peers.
    #[default(100)]
    pub max_numwant: u32,
    /// The peers a reply carries when the client does not say.
    #[default(50)]
    pub default_numwant: u32,
    /// The most torrents one scrape may ask for; the rest is left out. A packet has room for 74.
    #[default(74)]
    pub max_scrape_infohashes: u32,
    /// Threads that serve what the kernel does not. 0: one per core.
    pub workers: u16,
}

impl UdpConfig {
    /// The addresses to bind: each once, and none that an unspecified one of its port covers.
    #[must_use]
    pub fn binds(&self) -> BTreeSet<SocketAddr> {
        let all: BTreeSet<_> = self.addr.iter().map(|addr| addr.to_bind()).collect();
        let is_covered = |addr: &SocketAddr| {
            !addr.ip().is_unspecified()
                && all
                    .iter()
                    .any(|other| other.ip().is_unspecified() && other.port() == addr.port())
        };
        all.iter().filter(|addr| !is_covered(addr)).copied().collect()
    }
}

/// A text that is shown to nobody: printed and serialized as a placeholder.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret that a program has from elsewhere.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

const HIDDEN: &str = "(hidden)";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_covers_the_others_of_its_port() {
        let addr = ["127.0.0.1:1", "0.0.0.0:1", ":1", "[::1]:1", "127.0.0.1:2", "127.0.0.1:2"];
        let addr = addr.map(|addr| addr.parse().unwrap()).to_vec();
        let binds = UdpConfig { addr, ..UdpConfig::default() }.binds();
        assert!(binds.iter().map(ToString::to_string).eq(["127.0.0.1:2", "[::]:1"]));
    }
}
