//! Whether a part of the table is full: logged when announces are refused for it, and when it has room again.

use tracker_common::table::owner::Stats;

use crate::log_limit::Trouble;

/// A part has room again when no announce was refused since the last look, and at least this share of it is free. A
/// table that stays at its limit is not logged as having room each time that a torrent leaves it.
const FREE_SHARE: u64 = 16;

/// The parts of the table that can be full.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    torrents: Trouble,
    blocks: Trouble,
}

impl Fullness {
    /// Logs what has changed. `no_torrent` and `no_block` are the announces refused since the last look.
    pub(super) fn log(&mut self, stats: &Stats, no_torrent: u64, no_block: u64) {
        match change(&mut self.torrents, no_torrent, stats.has_torrents()) {
            Some(Change::Full) => tracing::warn!(
                "the table is full: there is no room for torrents ({}); announces of new torrents are answered \
                 without peers, and not kept: raise xdp.table.torrents_ipv4 or torrents_ipv6, and restart",
                stats.torrents_in_use()
            ),
            Some(Change::HasRoom) => tracing::info!(
                "the table has room for torrents again ({})",
                stats.torrents_in_use()
            ),
            None => {}
        }
        match change(&mut self.blocks, no_block, stats.has_blocks()) {
            Some(Change::Full) => tracing::warn!(
                "the table is full: there is no room for blocks ({}); new peers of big swarms are answered, and \
                 not listed: raise xdp.table.blocks, and restart",
                stats.blocks_in_use()
            ),
            Some(Change::HasRoom) => {
                tracing::info!("the table has room for blocks again ({})", stats.blocks_in_use());
            }
            None => {}
        }
    }
}

/// What is to be logged of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Full,
    HasRoom,
}

fn change(trouble: &mut Trouble, refused: u64, has_room: bool) -> Option<Change> {
    if refused > 0 {
        return trouble.goes_on("full").then_some(Change::Full);
    }
    (has_room && trouble.is_over()).then_some(Change::HasRoom)
}

/// How full the table is, in words and in shares.
trait InUse {
    fn has_torrents(&self) -> bool;
    fn has_blocks(&self) -> bool;
    fn torrents_in_use(&self) -> String;
    fn blocks_in_use(&self) -> String;
}

impl InUse for Stats {
    fn has_torrents(&self) -> bool {
        let mut families = self.torrents.iter().zip(self.torrents_max);
        families.all(|(used, max)| is_free(u64::from(*used), u64::from(max)))
    }

    fn has_blocks(&self) -> bool {
        is_free(self.block_bytes, self.block_bytes_max)
    }

    fn torrents_in_use(&self) -> String {
        let ([v4, v6], [v4_max, v6_max]) = (self.torrents, self.torrents_max);
        format!("IPv4: {v4} of {v4_max} in use; IPv6: {v6} of {v6_max}")
    }

    fn blocks_in_use(&self) -> String {
        format!("{} of {} KiB in use", self.block_bytes >> 10, self.block_bytes_max >> 10)
    }
}

fn is_free(used: u64, max: u64) -> bool {
    used <= max - max.div_ceil(FREE_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_full_once_and_has_room_once() {
        let mut trouble = Trouble::default();
        let mut see = |refused, has_room| change(&mut trouble, refused, has_room);
        assert_eq!(see(0, true), None);
        assert_eq!(see(3, false), Some(Change::Full));
        assert_eq!(see(3, true), None, "announces are still refused");
        assert_eq!(see(0, false), None, "it is as good as full");
        assert_eq!(see(0, true), Some(Change::HasRoom));
        assert_eq!(see(0, true), None);
        assert_eq!(see(1, false), None, "so soon after the last line");
        assert_eq!(see(0, true), None, "what was not logged is not over");
    }

    #[test]
    fn torrents_of_either_family_and_blocks_are_told_apart() {
        let stats = Stats {
            torrents: [80, 75],
            torrents_max: [80, 80],
            block_bytes: 100 << 10,
            block_bytes_max: 128 << 10,
            ..Stats::default()
        };
        assert!(!stats.has_torrents() && stats.has_blocks());
        assert!(Stats { torrents: [75, 0], ..stats }.has_torrents());
        assert!(!Stats { block_bytes: 125 << 10, ..stats }.has_blocks());
        assert_eq!(stats.torrents_in_use(), "IPv4: 80 of 80 in use; IPv6: 75 of 80");
        assert_eq!(stats.blocks_in_use(), "100 of 128 KiB in use");
    }
}
