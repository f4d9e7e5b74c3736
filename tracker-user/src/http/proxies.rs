//! The client that proxies name in their header.
//!
//! Each proxy appends the address that it was connected from, be it to the value that was there or as a line of
//! its own; several lines of one header are one list (RFC 9110, 5.3). The last element is the nearest proxy's.
//! What stands before the first address that is no trusted proxy's, from the end, the client has written, and can
//! be anything. So the list is read from its end, and no further than it is believed.

use std::net::{IpAddr, Ipv6Addr};

use hyper::{
    HeaderMap,
    header::{FORWARDED, HeaderName},
};

use crate::config::Network;

/// The most elements of the list that are looked at, empty ones included. A request that has come through more
/// trusted proxies has no readable client.
pub const ELEMENTS_MAX: usize = 32;

/// What a list of proxies says about its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// There is no element in the list: the sender of the request is the client.
    Nobody,
    /// The last address of the list that is no trusted proxy's; the first of all where each is one's.
    Client(IpAddr),
    /// The element that counts is no address.
    Unreadable,
}

/// Reads the list of the header `name`, which a trusted proxy has sent. `Forwarded` has the syntax of RFC 7239;
/// in any other header an element is one address.
#[must_use]
pub fn named(headers: &HeaderMap, name: &HeaderName, trusted: &[Network]) -> Named {
    let parse = if *name == FORWARDED { parse_forwarded } else { parse_node };
    let lines = headers.get_all(name).iter().rev();
    let elements = lines.flat_map(|line| unquoted_rsplit(line.as_bytes(), b','));
    let mut last_proxy = Named::Nobody;
    for (index, element) in elements.enumerate() {
        if index == ELEMENTS_MAX {
            return Named::Unreadable;
        }
        let element = element.trim_ascii();
        if element.is_empty() {
            continue;
        }
        let Some(address) = parse(element) else { return Named::Unreadable };
        last_proxy = Named::Client(address);
        if !trusts(trusted, address) {
            break;
        }
    }
    last_proxy
}

/// Whether an address is that of a trusted proxy.
pub(super) fn trusts(trusted: &[Network], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// An address in text; an IPv4-mapped IPv6 one is IPv4.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The `for` of an element of `Forwarded`, of which there must be one.
fn parse_forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut node = None;
    for pair in unquoted_rsplit(element, b';') {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|&byte| byte == b'=');
        let Some((name, value)) = equals.map(|at| (&pair[..at], &pair[at + 1..])) else { continue };
        if name.trim_ascii().eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
    }
    parse_node(node?.trim_ascii())
}

/// An address as proxies write it: bare, in brackets (IPv6), with a port, or one of these in quotes.
fn parse_node(text: &[u8]) -> Option<IpAddr> {
    let quoted = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    let text = str::from_utf8(quoted.unwrap_or(text)).ok()?.trim_ascii();
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok()?;
        return is_whole.then(|| address.to_canonical());
    }
    match text.split_once(':') {
        // Of an IPv6 address without brackets a port could not be told.
        Some((address, port)) if !port.contains(':') && is_port(port) => {
            address.parse().ok().map(IpAddr::V4)
        }
        _ => parse_address(text.as_bytes()),
    }
}

/// A port, or the word that RFC 7239 allows in its place.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(word) => {
            let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !word.is_empty() && word.bytes().all(is_of_word)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The parts of a text from the last one to the first, divided by `separator` where that is in no quoted string.
/// Quotes are matched from the end, too: one that the client leaves open hides nothing that stands behind it.
fn unquoted_rsplit(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        for (index, &byte) in text.iter().enumerate().rev() {
            if byte == b'"' && !(is_quoted && is_escaped(text, index)) {
                is_quoted = !is_quoted;
            } else if byte == separator && !is_quoted {
                rest = Some(&text[..index]);
                return Some(&text[index + 1..]);
            }
        }
        rest = None;
        Some(text)
    })
}

/// Whether an odd number of backslashes stands before a byte.
fn is_escaped(text: &[u8], index: usize) -> bool {
    text[..index].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::{collection::vec, prelude::*};

    /// Lines of a header, sent by a trusted proxy.
    fn of_lines(name: &'static str, lines: &[&[u8]]) -> Named {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        let name = HeaderName::from_static(name);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_bytes(line).unwrap());
        }
        named(&headers, &name, &trusted)
    }

    fn of(value: &str) -> Named {
        of_lines("x-forwarded-for", &[value.as_bytes()])
    }

    fn forwarded(value: &str) -> Named {
        of_lines("forwarded", &[value.as_bytes()])
    }

    fn client(address: &str) -> Named {
        Named::Client(address.parse().unwrap())
    }

    #[test]
    fn of_a_list_the_last_address_that_is_no_trusted_proxy_s_counts() {
        assert_eq!(of("203.0.113.5"), client("203.0.113.5"));
        assert_eq!(of("192.0.2.66, 203.0.113.5"), client("203.0.113.5"));
        assert_eq!(
            of("192.0.2.66,203.0.113.5 ,\t10.1.1.1, ::ffff:10.1.1.2"),
            client("203.0.113.5")
        );
        assert_eq!(of("192.0.2.66, 2001:db8:1::7, 10.0.0.1, ,"), client("192.0.2.66"));
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
            of_lines("x-forwarded-for", &lines)
        };
        assert_eq!(lines(&["192.0.2.66", "203.0.113.5"]), client("203.0.113.5"));
        assert_eq!(lines(&["", "203.0.113.5"]), client("203.0.113.5"));
        assert_eq!(lines(&["203.0.113.5", "", "10.0.0.1,10.0.0.2"]), client("203.0.113.5"));
        assert_eq!(lines(&["203.0.113.5", "nonsense"]), Named::Unreadable);
        assert_eq!(lines(&["", " , "]), Named::Nobody);
        assert_eq!(lines(&[]), Named::Nobody);
    }

    #[test]
    fn where_each_is_a_trusted_proxy_s_the_first_is_the_client() {
        assert_eq!(of("10.0.0.3, 10.0.0.2, 10.0.0.1"), client("10.0.0.3"));
    }

    #[test]
    fn ports_brackets_and_quotes_are_read() {
        for text in
            ["203.0.113.5:51000", "\"203.0.113.5\"", " 203.0.113.5:1 ", "::ffff:203.0.113.5"]
        {
            assert_eq!(of(text), client("203.0.113.5"), "{text}");
        }
        for text in ["[2001:db8::5]:443", "[2001:db8::5]", "2001:db8::5", "\"[2001:db8::5]:443\""] {
            assert_eq!(of(text), client("2001:db8::5"), "{text}");
        }
        for text in [
            "unknown",
            "203.0.113",
            "203.0.113.5:",
            "203.0.113.5:x",
            "203.0.113.5:123456",
            "[::1",
            "::1]",
            "[203.0.113.5]",
            "[::1]x",
            "[::1]:",
            "\"203.0.113.5",
            "fe80::1%eth0",
            "203.0.113.5 x",
            "\"\"",
            "203.0.113.5:1:2",
            "for=203.0.113.5",
        ] {
            assert_eq!(of(text), Named::Unreadable, "{text}");
        }
    }

    #[test]
    fn elements_of_forwarded_are_read() {
        for text in [
            "for=203.0.113.5",
            "For=\"203.0.113.5:4711\"",
            "for=192.0.2.66, for=203.0.113.5;proto=https;by=10.0.0.1",
            "for=192.0.2.66;host=\"a,b;for=192.0.2.1\", proto=http; for = 203.0.113.5, for=10.0.0.1",
            "by=\"\\\"\\\\\";for=\"203.0.113.5:_hidden\"",
        ] {
            assert_eq!(forwarded(text), client("203.0.113.5"), "{text}");
        }
        let text = "for=192.0.2.66, for=\"[2001:db8::1]:4711\";proto=https";
        assert_eq!(forwarded(text), client("2001:db8::1"));
        for text in [
            "203.0.113.5",
            "for=",
            "for=unknown",
            "for=_hidden",
            "proto=https",
            "for=203.0.113.5;for=192.0.2.1",
            "for=192.0.2.66, by=203.0.113.5",
        ] {
            assert_eq!(forwarded(text), Named::Unreadable, "{text}");
        }
    }

    #[test]
    fn only_so_many_elements_are_looked_at() {
        let of_proxies = |count| of(&format!("203.0.113.5{}", ", 10.0.0.1".repeat(count)));
        assert_eq!(of_proxies(ELEMENTS_MAX - 1), client("203.0.113.5"));
        assert_eq!(of_proxies(ELEMENTS_MAX), Named::Unreadable);
        assert_eq!(of(&format!("203.0.113.5{}", ",".repeat(ELEMENTS_MAX))), Named::Unreadable);
    }

    /// What a client may put into a header, and what is likely to mislead a reader of it.
    fn junk() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let anything = vec(prop_oneof![32..=126u8, 128..=255u8], 0..30);
        let misleading = "[,;=\"\\\\ :.\\[\\]a-f0-9for]{0,30}".prop_map(String::into_bytes);
        vec(prop_oneof![anything, misleading], 0..4)
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_the_proxy_s_word_counts(
            lines in junk(),
            address: IpAddr,
            is_forwarded: bool,
            has_own_line: bool,
            is_twice: bool,
        ) {
            let address = address.to_canonical();
            let (name, mut word) = if is_forwarded {
                let node = match address {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("\"[{address}]:4711\""),
                };
                ("forwarded", format!("for={node};proto=https"))
            } else {
                ("x-forwarded-for", address.to_string())
            };
            if is_twice {
                // A second proxy, which is trusted, has the first one's address from its own connection.
                word.push_str(if is_forwarded { ", for=10.0.0.1" } else { ", 10.0.0.1" });
            }
            prop_assume!(!address.is_ipv4() || address.to_string().split('.').next() != Some("10"));
            prop_assume!(!address.to_string().starts_with("2001:db8:1:"));
            let mut lines = lines;
            match lines.last_mut().filter(|_| !has_own_line) {
                Some(last) => last.extend_from_slice(format!(", {word}").as_bytes()),
                None => lines.push(word.into_bytes()),
            }
            let lines: Vec<_> = lines.iter().map(|line| &line[..]).collect();
            prop_assert_eq!(of_lines(name, &lines), Named::Client(address));
        }

        #[test]
        fn no_header_panics(lines in junk(), is_forwarded: bool) {
            let lines: Vec<_> = lines.iter().map(|line| &line[..]).collect();
            of_lines(if is_forwarded { "forwarded" } else { "x-forwarded-for" }, &lines);
        }
    }
}
