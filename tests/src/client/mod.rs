//! Clients that we did not write.

mod aria2;
mod libtorrent;
mod transmission;
mod webtorrent;
mod webtorrent_peer;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub use aria2::Aria2;
pub use libtorrent::Libtorrent;
pub use transmission::Transmission;
pub use webtorrent::Webtorrent;
pub use webtorrent_peer::WebtorrentPeer;

use crate::Host;

/// Below the workspace: where `npm install` has put the packages.
const MODULES: &str = "target/npm/node_modules";

/// The path of one of our scripts that drive a library.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Node on `host` with one of our scripts, whose first argument says where the packages are.
fn node(host: &Host, name: &str) -> Command {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = host.namespace.command("node");
    command.arg(script(name)).arg(workspace.join(MODULES));
    command
}
