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

impl PeerId {
    /// Bytes 1..7 of an Azureus-style id (`-XX1234-`), else the first six bytes, as Chihaya does.
    #[must_use]
    pub const fn client_id(&self) -> ClientId {
        let [a, b, c, d, e, f, g, ..] = self.0;
        if a == b'-' { ClientId([b, c, d, e, f, g]) } else { ClientId([a, b, c, d, e, f]) }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod hex {
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
pub use hex::ParseInfoHashError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_id_follows_the_two_conventions() {
        assert_eq!(PeerId(*b"-TR4050-abcdefghijkl").client_id(), ClientId(*b"TR4050"));
        assert_eq!(PeerId(*b"M7-2-0--abcdefghijkl").client_id(), ClientId(*b"M7-2-0"));
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
