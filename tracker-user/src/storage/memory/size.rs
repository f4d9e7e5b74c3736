//! How big the table is.

use tracker_common::{
    budget::meters,
    hash::TableKey,
    table::{index::TableShape, layout::CHUNKS_MAX},
};

use crate::{config::TableConfig, pipeline::PreferredSubnet};

/// Torrents in a bucket.
const BUCKET_TORRENTS: u64 = 4;

/// The share of lines in use when the table is full, in tenths. Up to this, torrents that make room
/// for a newcomer are nearly always found at once.
const LOAD_TENTHS: u64 = 8;

/// Bytes of a chunk of peer blocks.
const CHUNK_BYTES: u64 = 1024;

/// The sizes of the table's three parts, and how many torrents it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSize {
    /// Buckets of IPv4 torrents, of [`TableSize::BUCKET_V4_BYTES`] each.
    pub buckets_v4: u32,
    /// Buckets of IPv6 torrents, of [`TableSize::BUCKET_V6_BYTES`] each.
    pub buckets_v6: u32,
    /// Chunks of peer blocks, of 1 KiB each. The first is never used.
    pub chunks: u32,
    /// The most torrents, IPv4 and IPv6.
    pub torrents_max: [u32; 2],
    /// The subnet whose peers are close to each other.
    pub subnet: PreferredSubnet,
    /// Meters of the budgets of sources, in each row; 0 for no budgets.
    pub meters_of_row: u32,
}

impl TableSize {
    /// Bytes of a bucket of IPv4 torrents.
    pub const BUCKET_V4_BYTES: usize = 256;
    /// Bytes of a bucket of IPv6 torrents.
    pub const BUCKET_V6_BYTES: usize = 512;
    /// Bytes of a meter.
    pub const METER_BYTES: usize = 8;
    /// Bytes of a chunk.
    pub const CHUNK_BYTES: usize = CHUNK_BYTES as usize;

    /// Room for what the configuration asks for.
    #[must_use]
    pub fn of(config: &TableConfig) -> Self {
        let chunks = config.blocks.as_u64().div_ceil(CHUNK_BYTES) + 1;
        Self {
            buckets_v4: buckets(config.torrents_ipv4),
            buckets_v6: buckets(config.torrents_ipv6),
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX).min(CHUNKS_MAX),
            torrents_max: [config.torrents_ipv4, config.torrents_ipv6],
            subnet: PreferredSubnet::default(),
            meters_of_row: 0,
        }
    }

    /// Meters of all rows. An empty map cannot be made.
    #[must_use]
    pub const fn meters(&self) -> u32 {
        let meters = meters(self.meters_of_row);
        if meters == 0 { 1 } else { meters }
    }

    /// The shape of a table of this size.
    #[must_use]
    pub fn shape(&self, key: TableKey) -> TableShape {
        TableShape {
            key,
            buckets_v4: self.buckets_v4,
            buckets_v6: self.buckets_v6,
            chunks: self.chunks,
            ..TableShape::default()
        }
        .preferring(self.subnet.ipv4_bits.into(), self.subnet.ipv6_bits.into())
    }
}

fn buckets(torrents: u32) -> u32 {
    let buckets = (u64::from(torrents) * 10).div_ceil(LOAD_TENTHS * BUCKET_TORRENTS);
    u32::try_from(buckets).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytesize::ByteSize;

    #[test]
    fn tables_are_sized_for_a_load_of_eighty_percent() {
        let config =
            TableConfig { torrents_ipv4: 3200, torrents_ipv6: 1, blocks: ByteSize::kib(64) };
        let size = TableSize::of(&config);
        assert_eq!((size.buckets_v4, size.buckets_v6, size.chunks), (1000, 1, 65));
    }
}
