//! The hooks that come with the tracker.

mod background;
mod client_approval;
mod interval_variation;
mod ip_approval;
mod lists;
mod preferred_subnet;
mod torrent_approval;

pub use client_approval::{ClientApproval, ClientApprovalError, ClientApprovalOptions};
pub use interval_variation::{IntervalVariation, IntervalVariationError, IntervalVariationOptions};
pub use ip_approval::{IpApproval, IpApprovalError, IpApprovalOptions};
pub use lists::ListError;
pub use preferred_subnet::{PreferredSubnet, PreferredSubnetError};
pub use torrent_approval::{TorrentApproval, TorrentApprovalError, TorrentApprovalOptions};

#[cfg(test)]
mod tests {
    use tracker_common::{
        announce::Event,
        id::{InfoHash, PeerId},
    };

    use crate::pipeline::{AnnounceRequest, Params};

    /// An announce in which nothing but the torrent matters.
    pub(super) fn announce_of(info_hash: InfoHash) -> AnnounceRequest {
        AnnounceRequest {
            info_hash,
            peer_id: PeerId(*b"-TR4050-abcdefghijkl"),
            peer: ([192, 0, 2, 1], 6881).into(),
            event: Event::Started,
            left: 1,
            downloaded: 0,
            uploaded: 0,
            numwant: 50,
            seed: 0,
            params: Params::default(),
        }
    }
}
