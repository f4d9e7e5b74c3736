//! Writes bencoded dictionaries (BEP 3) straight into a reply's buffer.
//!
//! Some clients crash on a dictionary whose keys are not sorted, so a debug build panics on one.

use std::{fmt::Write, ops::Range};

use bytes::{BufMut, BytesMut};

/// Appends a dictionary with the entries that `fill` writes.
pub(super) fn dictionary(out: &mut BytesMut, fill: impl FnOnce(&mut Dictionary)) {
    out.put_u8(b'd');
    fill(&mut Dictionary { out: &mut *out, last_key: 0..0 });
    out.put_u8(b'e');
}

/// A dictionary being written. Keys come in byte order, each once.
pub(super) struct Dictionary<'a> {
    out: &'a mut BytesMut,
    /// Where in `out` the last key is.
    last_key: Range<usize>,
}

impl Dictionary<'_> {
    pub(super) fn integer(&mut self, key: &[u8], value: impl Into<u64>) {
        self.key(key);
        write_number(self.out, value.into(), "i", "e");
    }

    pub(super) fn string(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        write_string(self.out, value);
    }

    pub(super) fn dictionary(&mut self, key: &[u8], fill: impl FnOnce(&mut Dictionary)) {
        self.key(key);
        dictionary(self.out, fill);
    }

    /// A list of dictionaries, the one kind that a tracker writes: one for each of `items`.
    pub(super) fn list<T>(
        &mut self,
        key: &[u8],
        items: impl Iterator<Item = T>,
        mut fill: impl FnMut(&mut Dictionary, T),
    ) {
        self.key(key);
        self.out.put_u8(b'l');
        for item in items {
            dictionary(self.out, |entry| fill(entry, item));
        }
        self.out.put_u8(b'e');
    }

    fn key(&mut self, key: &[u8]) {
        debug_assert!(
            self.last_key.is_empty() || self.out[self.last_key.clone()] < *key,
            "bencode key {} is out of order",
            key.escape_ascii(),
        );
        write_string(self.out, key);
        self.last_key = self.out.len() - key.len()..self.out.len();
    }
}

fn write_string(out: &mut BytesMut, text: &[u8]) {
    write_number(out, text.len() as u64, "", ":");
    out.put_slice(text);
}

fn write_number(out: &mut BytesMut, value: u64, before: &str, after: &str) {
    write!(out, "{before}{value}{after}").expect("a BytesMut grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_written() {
        let mut out = BytesMut::new();
        dictionary(&mut out, |reply| {
            reply.integer(b"complete", u64::MAX);
            reply.dictionary(b"files", |files| files.string(b"\0\xff", b""));
            reply.list(b"peers", [1u32, 2].into_iter(), |peer, n| peer.integer(b"port", n));
        });
        assert_eq!(
            &out[..],
            b"d8:completei18446744073709551615e5:filesd2:\0\xff0:e\
              5:peersld4:porti1eed4:porti2eeee"
        );
    }

    #[test]
    #[should_panic(expected = "bencode key a is out of order")]
    #[cfg(debug_assertions)]
    fn unsorted_keys_are_a_bug() {
        dictionary(&mut BytesMut::new(), |reply| {
            reply.string(b"b", b"");
            reply.string(b"a", b"");
        });
    }
}
