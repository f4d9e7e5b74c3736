//! The query string of an announce or scrape, by Chihaya's rules.
//!
//! `&`, `;` and `?` separate, `+` is a space, keys are lower-cased, of duplicates the last one
//! counts. `info_hash` is the exception: it is matched as written, and each one is kept.
//!
//! A `?` is there where a client appends its own query to a tracker's URL that has one already. It need not be escaped
//! in a query, so where an id has 20 bytes only with it, it belongs to the id.

use std::ops::Range;

use tracker_common::id::InfoHash;

use crate::percent::{self, BadEscape, Plus};

/// The most parameters, info-hashes apart, that a query may have. Clients send about a dozen.
pub const PARAMETERS_MAX: usize = 64;

/// A parsed query. One value is reused for all requests of a connection.
#[derive(Debug, Default)]
pub struct Query {
    /// The decoded keys and values, end to end.
    decoded: Vec<u8>,
    parameters: Vec<Parameter>,
    info_hashes: Vec<InfoHash>,
}

/// Where in [`Query::decoded`] a parameter is.
#[derive(Debug)]
struct Parameter {
    key: Range<usize>,
    value: Range<usize>,
}

/// Why a query cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum QueryError {
    /// A `%` without two hexadecimal digits.
    Escape,
    /// An `info_hash` that is not 20 bytes.
    InfoHash,
    /// More than [`PARAMETERS_MAX`].
    TooMany,
}

impl From<BadEscape> for QueryError {
    fn from(_: BadEscape) -> Self {
        Self::Escape
    }
}

impl QueryError {
    /// What the client is told.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Escape => "invalid query escape",
            Self::InfoHash => "provided invalid infohash",
            Self::TooMany => "too many parameters",
        }
    }
}

impl Query {
    /// Replaces the content with that of `text`, the part of a URL after `?`. Its length is for
    /// the caller to bound.
    ///
    /// # Errors
    /// The first [`QueryError`] from the left; the content is then unspecified.
    pub fn parse(&mut self, text: &str) -> Result<(), QueryError> {
        self.decoded.clear();
        self.parameters.clear();
        self.info_hashes.clear();
        for mut pairs in text.split(['&', ';']) {
            while !pairs.is_empty() {
                let end = pairs.find('?').filter(|_| !is_whole_id(pairs)).unwrap_or(pairs.len());
                let (pair, rest) = pairs.split_at(end);
                pairs = rest.strip_prefix('?').unwrap_or(rest);
                if !pair.is_empty() {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    self.parse_pair(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// Info-hashes leave nothing behind in `decoded`.
    fn parse_pair(&mut self, key: &str, value: &str) -> Result<(), QueryError> {
        let start = self.decoded.len();
        percent::decode(key.as_bytes(), Plus::Space, &mut self.decoded)?;
        let middle = self.decoded.len();
        percent::decode(value.as_bytes(), Plus::Space, &mut self.decoded)?;
        if self.decoded[start..middle] == *b"info_hash" {
            let bytes = self.decoded[middle..].try_into().map_err(|_| QueryError::InfoHash)?;
            self.info_hashes.push(InfoHash(bytes));
            self.decoded.truncate(start);
            return Ok(());
        }
        if self.parameters.len() == PARAMETERS_MAX {
            return Err(QueryError::TooMany);
        }
        self.decoded[start..middle].make_ascii_lowercase();
        self.parameters.push(Parameter { key: start..middle, value: middle..self.decoded.len() });
        Ok(())
    }

    /// The last value of `key`, which is given in lower case.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().rev().find(|(k, _)| *k == key.as_bytes()).map(|(_, value)| value)
    }

    /// The parameters in order, duplicates and all, without the info-hashes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.parameters.iter().map(|parameter| {
            (&self.decoded[parameter.key.clone()], &self.decoded[parameter.value.clone()])
        })
    }

    /// The info-hashes in order.
    #[must_use]
    pub fn info_hashes(&self) -> &[InfoHash] {
        &self.info_hashes
    }
}

/// Whether this is an id of 20 bytes, each escape being one.
fn is_whole_id(pair: &str) -> bool {
    let Some((key, value)) = pair.split_once('=') else { return false };
    let is_id = key == "info_hash" || key.eq_ignore_ascii_case("peer_id");
    let escapes = value.bytes().filter(|&byte| byte == b'%').count();
    is_id && value.len().checked_sub(2 * escapes) == Some(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn parse(text: &str) -> Result<Query, QueryError> {
        let mut query = Query::default();
        query.parse(text).map(|()| query)
    }

    fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
    }

    #[test]
    fn ampersand_and_semicolon_both_separate() {
        let query = parse("a=1;b=2&&c=3;").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"c", b"3")]);
    }

    #[test]
    fn a_second_question_mark_begins_another_parameter() {
        let query = parse("passkey=k3y?info_hash=aaaaaaaaaaaaaaaaaaaa&port=1").unwrap();
        assert_eq!(query.get("passkey"), Some(&b"k3y"[..]));
        assert_eq!(query.info_hashes(), [InfoHash([b'a'; 20])]);
        assert_eq!(parse("a=%3f").unwrap().get("a"), Some(&b"?"[..]));
        let query = parse("?a=1??b=2?&c=3?").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"c", b"3")]);
    }

    #[test]
    fn a_question_mark_in_an_id_belongs_to_it() {
        let query =
            parse("k=1?info_hash=?%ffaaaaaaaaaaaaaaaaa?&peer_id=-XX1234-?bbbbbbbbbb?").unwrap();
        assert_eq!(query.info_hashes(), [InfoHash(*b"?\xffaaaaaaaaaaaaaaaaa?")]);
        assert_eq!(query.get("peer_id"), Some(&b"-XX1234-?bbbbbbbbbb?"[..]));
        let query = parse("info_hash=aaaaaaaaaaaaaaaaaaaa?peer_id=bbbbbbbbbbbbbbbbbbbb").unwrap();
        assert_eq!(query.info_hashes(), [InfoHash([b'a'; 20])]);
        assert_eq!(query.get("peer_id"), Some(&[b'b'; 20][..]));
    }

    #[test]
    fn plus_is_a_space_and_escapes_are_decoded_in_keys_and_values() {
        let query = parse("a+%62=%2B+%fF%00").unwrap();
        assert_eq!(query.get("a b"), Some(&b"+ \xff\0"[..]));
    }

    #[test]
    fn only_the_first_equals_sign_divides_and_none_means_an_empty_value() {
        let query = parse("a=b=c&d&=e").unwrap();
        assert_eq!(query.get("a"), Some(&b"b=c"[..]));
        assert_eq!(query.get("d"), Some(&b""[..]));
        assert_eq!(query.get(""), Some(&b"e"[..]));
        assert_eq!(query.get("f"), None);
    }

    #[test]
    fn the_last_duplicate_wins_whatever_its_case() {
        assert_eq!(parse("port=1&PORT=2").unwrap().get("port"), Some(&b"2"[..]));
    }

    #[test]
    fn info_hashes_are_all_kept_but_only_where_the_key_is_in_lower_case() {
        let query =
            parse("info_hash=aaaaaaaaaaaaaaaaaaaa&info%5Fhash=bbbbbbbbbbbbbbbbbbbb&INFO_HASH=c")
                .unwrap();
        assert_eq!(query.info_hashes(), [InfoHash([b'a'; 20]), InfoHash([b'b'; 20])]);
        assert_eq!(query.get("info_hash"), Some(&b"c"[..]));
    }

    #[test]
    fn an_info_hash_has_twenty_bytes() {
        assert_eq!(parse("info_hash=short").unwrap_err(), QueryError::InfoHash);
    }

    #[test]
    fn an_escape_has_two_hexadecimal_digits() {
        for text in ["a=%", "a=%4", "a=%4g", "a=%+1", "%=a", "%\u{e9}"] {
            assert_eq!(parse(text).unwrap_err(), QueryError::Escape, "{text}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        assert!(parse(&"a=1&".repeat(PARAMETERS_MAX)).is_ok());
        assert_eq!(parse(&"a=1&".repeat(PARAMETERS_MAX + 1)).unwrap_err(), QueryError::TooMany);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn text_of_the_syntax_s_own_characters_does_not_panic(text in "[%&;=+a-f0-9\u{e9}]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_encoded_is_read_back(
            pairs in vec(("[a-z_]{1,8}", vec(any::<u8>(), 0..40)), 0..PARAMETERS_MAX),
            hashes in vec(any::<[u8; 20]>(), 0..80),
        ) {
            let pairs: Vec<_> = pairs.into_iter().filter(|(key, _)| key != "info_hash").collect();
            let text: String = pairs
                .iter()
                .map(|(key, value)| format!("{}={}&", encode(key.as_bytes()), encode(value)))
                .chain(hashes.iter().map(|hash| format!("info_hash={};", encode(hash))))
                .collect();
            let query = parse(&text).unwrap();
            prop_assert!(query.iter().eq(pairs.iter().map(|(k, v)| (k.as_bytes(), &v[..]))));
            prop_assert!(query.info_hashes().iter().eq(hashes.iter().map(|h| InfoHash(*h)).collect::<Vec<_>>().iter()));
        }
    }
}
