//! Clients that we did not write.

mod aria2;
mod libtorrent;
mod transmission;
mod webtorrent;

pub use aria2::Aria2;
pub use libtorrent::Libtorrent;
pub use transmission::Transmission;
pub use webtorrent::Webtorrent;

/// The path of one of our scripts that drive a library.
fn script(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}
