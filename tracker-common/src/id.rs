//! Identifiers of the BitTorrent protocol.

/// The SHA-1 of a torrent's info dictionary (or the truncated SHA-256 of a v2 torrent).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct InfoHash(pub [u8; 20]);

/// The 20 bytes by which a client names itself; only the first few are a convention.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct PeerId(pub [u8; 20]);

/// The part of a [`PeerId`] that names the software and its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct ClientId(pub [u8; 6]);

impl InfoHash {
    /// The last four bytes, in memory order.
    #[inline(always)]
    pub(crate) const fn end(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_ne_bytes([a, b, c, d])
    }
}

impl PeerId {
    /// Bytes 1..7 of an Azureus-style id (`-XX1234-`), else the first six bytes, as Chihaya does.
    #[must_use]
    pub const fn client_id(&self) -> ClientId {
        let [a, b, c, d, e, f, g, ..] = self.0;
        if a == b'-' { ClientId([b, c, d, e, f, g]) } else { ClientId([a, b, c, d, e, f]) }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod text {
    use super::{ClientId, InfoHash, PeerId};
    use core::{fmt, str::FromStr};

    impl fmt::Display for InfoHash {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }

    impl fmt::Debug for InfoHash {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }

    /// Ids are mostly printable; what is not is escaped.
    impl fmt::Debug for PeerId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0.escape_ascii())
        }
    }

    impl fmt::Debug for ClientId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0.escape_ascii())
        }
    }

    /// As the bytes read; what is not UTF-8 is replaced.
    impl fmt::Display for ClientId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for chunk in self.0.utf8_chunks() {
                f.write_str(chunk.valid())?;
                if !chunk.invalid().is_empty() {
                    f.write_str("\u{fffd}")?;
                }
            }
            Ok(())
        }
    }

    /// The text does not have six bytes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ParseClientIdError;

    impl fmt::Display for ParseClientIdError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a client id has 6 bytes, like TR4050")
        }
    }

    impl core::error::Error for ParseClientIdError {}

    impl FromStr for ClientId {
        type Err = ParseClientIdError;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            text.as_bytes().try_into().map(Self).map_err(|_| ParseClientIdError)
        }
    }

    /// The text is not 40 hexadecimal digits.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ParseInfoHashError;

    impl fmt::Display for ParseInfoHashError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an info-hash is 40 hexadecimal digits")
        }
    }

    impl core::error::Error for ParseInfoHashError {}

    impl FromStr for InfoHash {
        type Err = ParseInfoHashError;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            let digits = text.as_bytes();
            if digits.len() != 40 {
                return Err(ParseInfoHashError);
            }
            let nibble = |c: u8| char::from(c).to_digit(16).ok_or(ParseInfoHashError);
            let mut bytes = [0; 20];
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
            }
            Ok(Self(bytes))
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
pub use text::{ParseClientIdError, ParseInfoHashError};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_id_follows_the_two_conventions() {
        assert_eq!(PeerId(*b"-TR4050-abcdefghijkl").client_id(), ClientId(*b"TR4050"));
        assert_eq!(PeerId(*b"M7-2-0--abcdefghijkl").client_id(), ClientId(*b"M7-2-0"));
    }

    #[test]
    fn client_id_reads_what_it_prints() {
        let id: ClientId = "TR4050".parse().unwrap();
        assert_eq!((id, id.to_string()), (ClientId(*b"TR4050"), "TR4050".to_owned()));
        assert_eq!("-TR4050-".parse::<ClientId>(), Err(ParseClientIdError));
    }

    #[test]
    fn info_hash_reads_what_it_prints() {
        let text = "0123456789abcdef0123456789ABCDEF01234567";
        let hash: InfoHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text.to_lowercase());
        assert_eq!("xyz".parse::<InfoHash>(), Err(ParseInfoHashError));
        assert!("g123456789abcdef0123456789ABCDEF01234567".parse::<InfoHash>().is_err());
    }
}
