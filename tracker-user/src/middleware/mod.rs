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
pub use client_approval::{ClientApproval, ClientApprovalError};
pub use interval_variation::{IntervalVariation, IntervalVariationError};
pub use ip_approval::{IpApproval, IpApprovalError};
pub use jwt::{Jwt, JwtError, KeySetError, KeysError};
pub use lists::ListError;
pub use passkey::{Passkey, PasskeyError};
pub use port_approval::{PortApproval, PortApprovalError};
pub use preferred_subnet::{PreferredSubnet, PreferredSubnetError};
pub use report::{Report, ReportError, Reports};
pub use torrent_approval::{TorrentApproval, TorrentApprovalError};

#[cfg(test)]
pub(crate) mod tests;
