//! Files to share, and their torrents.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::program;

/// The name of a torrent on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// That which is written in 40 hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        Some(Self(digits.iter().map(byte).collect::<Option<Vec<_>>>()?.try_into().ok()?))
    }

    /// That of a torrent of which there is nothing but its number, unlike that of any other number.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        let mut bytes = [0x5a; 20];
        bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A file and its metainfo file.
pub struct Torrent {
    /// The `.torrent` file (BEP 3). It is private (BEP 27) if it has trackers: clients find peers by
    /// those only.
    pub metainfo: PathBuf,
    /// The file to share.
    pub payload: PathBuf,
    /// The name of the torrent on the wire.
    pub info_hash: InfoHash,
}

impl Torrent {
    /// Writes a file of `size` bytes below `folder`, and its torrent with the given trackers, which
    /// cannot be of WebSocket.
    ///
    /// # Errors
    /// `transmission-create` is missing, or the folder cannot be written.
    pub fn create(folder: &Path, name: &str, size: usize, trackers: &[&str]) -> Result<Self> {
        let payload = folder.join(name);
        fs::write(&payload, content(name, size))?;
        let metainfo = folder.join(format!("{name}.torrent"));
        let mut command = Command::new("transmission-create");
        command.arg("--outfile").arg(&metainfo);
        if !trackers.is_empty() {
            // Without a tracker it makes none that is private.
            command.arg("--private");
        }
        for tracker in trackers {
            command.args(["--tracker", tracker]);
        }
        program::run(command.arg(&payload))?;
        let shown = program::run(Command::new("transmission-show").arg(&metainfo))?;
        let info_hash = shown
            .lines()
            .find_map(|line| InfoHash::parse(line.trim().strip_prefix("Hash: ")?))
            .with_context(|| format!("no info-hash in {shown}"))?;
        Ok(Self { metainfo, payload, info_hash })
    }

    /// Fails unless a client that downloads into `folder` has the whole file.
    ///
    /// # Errors
    /// The file is not there, or not the same.
    pub fn ensure_copied_to(&self, folder: &Path) -> Result<()> {
        let copy = folder.join(self.payload.file_name().context("the payload is a file")?);
        let (original, copied) = (sha256(&self.payload)?, sha256(&copy)?);
        ensure!(copied == original, "{} is {copied}, not {original}", copy.display());
        Ok(())
    }
}

/// The SHA-256 of a file, in hex.
///
/// # Errors
/// It cannot be read.
pub fn sha256(file: &Path) -> Result<String> {
    let line = program::run(Command::new("sha256sum").arg("--").arg(file))?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Bytes that depend on the name and do not repeat, so that no two pieces are alike (SplitMix64).
fn content(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(0u64, |state, byte| state.rotate_left(8) ^ u64::from(byte));
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}
