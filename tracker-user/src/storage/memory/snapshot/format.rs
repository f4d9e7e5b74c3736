//! The bytes of a snapshot. Numbers are little-endian, addresses and ports as on the wire.
//!
//! ```text
//! "xdp-tracker swarms" 0 0 | version: u32 | saved at, nanoseconds since 1970: u64
//! torrent, any number:  4 or 6 | info-hash: 20 | completed: u32 | peers: u16
//!     peer:             address: 4 or 16 | port: 2 | seeder: u8 | age, ticks of 2^32 ns: u16
//! end:                  0 | SHA-256 of all before
//! ```
//!
//! A torrent may come several times, each time with other peers.

use std::io::{self, BufReader, Read, Seek, Write};

use sha2::{Digest, Sha256};
use tracker_common::{
    family::{Family, V4, V6},
    id::InfoHash,
    source::can_be_a_peer,
    table::owner::SavedPeer,
};

const MAGIC: [u8; 20] = *b"xdp-tracker swarms\0\0";
const VERSION: u32 = 1;
const DIGEST_BYTES: u64 = 32;

/// Why a file is no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is something else.
    #[error("it is no snapshot of xdp-tracker")]
    Foreign,
    /// It is of a version that this one does not know.
    #[error("it is of version {0}, and this xdp-tracker reads version {VERSION}")]
    Version(u32),
    /// It has been changed, or is not complete.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// The checksum is right, but the content is not.
    #[error("it is damaged: {0}")]
    Malformed(&'static str),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What is done with the content of a snapshot.
pub trait Restore {
    /// Takes a torrent with some of its IPv4 peers.
    fn v4(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V4>]);

    /// The same over IPv6.
    fn v6(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V6>]);
}

/// Writes a snapshot.
pub(super) struct Writer<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, saved_at_ns: u64) -> io::Result<Self> {
        let mut writer = Self { out, digest: Sha256::new() };
        writer.put(&MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.put(&saved_at_ns.to_le_bytes())?;
        Ok(writer)
    }

    /// At most 65,535 peers.
    pub(super) fn torrent<F: Family>(
        &mut self,
        info_hash: &InfoHash,
        completed: u32,
        peers: &[SavedPeer<F>],
    ) -> io::Result<()> {
        let mut record = Vec::with_capacity(32 + 21 * peers.len());
        record.push(if F::IS_V6 { 6 } else { 4 });
        record.extend(info_hash.0);
        record.extend(completed.to_le_bytes());
        record.extend((peers.len() as u16).to_le_bytes());
        for peer in peers {
            record.extend(peer.addr.as_ref());
            record.extend(peer.port);
            record.push(peer.seeder.into());
            record.extend(peer.age.to_le_bytes());
        }
        self.put(&record)
    }

    pub(super) fn end(self) -> io::Result<W> {
        self.end_with(&[0])
    }

    /// Ends with these bytes and the checksum.
    pub(super) fn end_with(mut self, end: &[u8]) -> io::Result<W> {
        self.put(end)?;
        self.out.write_all(&self.digest.finalize())?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Checks a snapshot and tells when it was made, in nanoseconds since 1970. Then [`read`] can begin.
///
/// # Errors
/// See [`ReadError`].
pub fn check(file: &mut (impl Read + Seek)) -> Result<u64, ReadError> {
    let len = file.seek(io::SeekFrom::End(0))?;
    file.rewind()?;
    let mut head = Source(BufReader::new(&mut *file));
    let foreign = |_| ReadError::Foreign;
    if head.bytes::<20>().map_err(foreign)? != MAGIC {
        return Err(ReadError::Foreign);
    }
    let version = u32::from_le_bytes(head.bytes().map_err(foreign)?);
    if version != VERSION {
        return Err(ReadError::Version(version));
    }
    let saved_at_ns = u64::from_le_bytes(head.bytes().map_err(foreign)?);
    file.rewind()?;
    let mut digest = Sha256::new();
    let mut source = BufReader::with_capacity(1 << 20, &mut *file);
    let mut hashed = (&mut source).take(len.saturating_sub(DIGEST_BYTES));
    let mut buffer = [0; 1 << 14];
    loop {
        match hashed.read(&mut buffer)? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    let mut expected = [0; DIGEST_BYTES as usize];
    match source.read_exact(&mut expected) {
        Ok(()) if expected == *digest.finalize() => {}
        _ => return Err(ReadError::Damaged),
    }
    file.rewind()?;
    Ok(saved_at_ns)
}

/// Reads a snapshot from its beginning. `elapsed` ticks have passed since it was made.
///
/// # Errors
/// See [`ReadError`]; what was read before has been restored.
pub fn read(from: impl Read, elapsed: u64, to: &mut impl Restore) -> Result<(), ReadError> {
    let mut source = Source(BufReader::with_capacity(1 << 20, from));
    source.bytes::<{ 20 + 4 + 8 }>()?;
    loop {
        let [family] = source.bytes()?;
        if family == 0 {
            return Ok(());
        }
        let info_hash = InfoHash(source.bytes()?);
        let completed = u32::from_le_bytes(source.bytes()?);
        let count = u16::from_le_bytes(source.bytes()?);
        match family {
            4 => {
                let peers = source.peers::<V4, 4>(count, elapsed)?;
                to.v4(&info_hash, completed, &peers);
            }
            6 => {
                let peers = source.peers::<V6, 16>(count, elapsed)?;
                to.v6(&info_hash, completed, &peers);
            }
            _ => return Err(ReadError::Malformed("a torrent of no known address family")),
        }
    }
}

struct Source<R>(R);

impl<R: Read> Source<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Malformed("it ends too early"),
            _ => error.into(),
        })?;
        Ok(bytes)
    }

    fn peers<F: Family<Addr = [u8; N]>, const N: usize>(
        &mut self,
        count: u16,
        elapsed: u64,
    ) -> Result<Vec<SavedPeer<F>>, ReadError> {
        (0..count)
            .map(|_| {
                let (addr, port) = (self.bytes()?, self.bytes()?);
                let seeder = self.bytes()? != [0];
                let age = u64::from(u16::from_le_bytes(self.bytes()?)).saturating_add(elapsed);
                let age = u16::try_from(age).unwrap_or(u16::MAX);
                let peer = SavedPeer { addr, port, seeder, age };
                // A tracker of an older version may have let others into its swarms.
                Ok(can_be_a_peer::<F>(&addr, u16::from_be_bytes(port)).then_some(peer))
            })
            .filter_map(Result::transpose)
            .collect()
    }
}
