//! The size of the table.

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::pattern::Size;

/// The size of the table. It never grows past this; torrents beyond are refused and counted.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TableConfig {
    /// Torrents with IPv4 peers, of at least 64 bytes each.
    #[default(500_000)]
    pub torrents_ipv4: u32,
    /// Torrents with IPv6 peers, of at least 128 bytes each.
    #[default(125_000)]
    pub torrents_ipv6: u32,
    /// Memory for the peers of torrents that have more than a handful. Written like 64MiB; at most 64GiB.
    #[default(ByteSize::mib(64))]
    #[schemars(with = "Size")]
    pub blocks: ByteSize,
}
