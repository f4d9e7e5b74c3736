//! The hooks that come with the tracker.

mod background;
pub(crate) mod client;
mod client_approval;
mod credentials;
mod interval_variation;
mod ip_approval;
mod jwt;
mod lists;
mod passkey;
mod port_approval;
mod preferred_subnet;
mod report;
mod torrent_approval;

pub use client::ClientError;
pub use client_approval::{ClientApproval, ClientApprovalError, ClientApprovalOptions};
pub use interval_variation::{IntervalVariation, IntervalVariationError, IntervalVariationOptions};
pub use ip_approval::{IpApproval, IpApprovalError, IpApprovalOptions};
pub use jwt::{Jwt, JwtError, JwtOptions, KeySetError, KeysError};
pub use lists::ListError;
pub use passkey::{Passkey, PasskeyError, PasskeyOptions, PasskeyService};
pub use port_approval::{PortApproval, PortApprovalError};
pub use preferred_subnet::{PreferredSubnet, PreferredSubnetError};
pub use report::{Report, ReportOptions, Reports};
pub use torrent_approval::{TorrentApproval, TorrentApprovalError, TorrentApprovalOptions};

#[cfg(test)]
pub(crate) mod tests;
