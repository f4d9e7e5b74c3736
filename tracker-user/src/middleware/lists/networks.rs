//! Reads lists of networks, in the formats of published ban lists too:
//!
//! * networks in CIDR notation and single addresses;
//! * ranges, `first - last`;
//! * eMule's `ipfilter.dat`: `first - last , level , name`, where a level of 128 or more means that the range
//!   is not filtered;
//! * PeerGuardian's text, P2P: `name:first-last`.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::{
    ListError,
    text::{Wrong, read_lines, without_comment},
};
use crate::config::Network;

/// The most networks of a file, those that its ranges are made of included. A range of IPv4 is made of up to
/// 62, one of IPv6 of up to 254. The kernel takes half as many of each family.
const NETWORKS_MAX: usize = 2 << 20;

/// What comments begin with, at the beginning of a word: Spamhaus's lists have `;`, some of eMule's `//`.
const COMMENTS: [&str; 3] = ["#", ";", "//"];

/// Ranges of `ipfilter.dat` with a higher level are not filtered.
const LEVEL_MAX: u32 = 127;

const EXPECTED: &str = "a network is written 192.0.2.0/24, 2001:db8::/32, as one address, or as a range \
                        192.0.2.1 - 192.0.2.9";

/// Calls `add` with each network of the list.
///
/// # Errors
/// When the file cannot be read, has a line that is no network, or makes too many networks.
pub(in crate::middleware) fn read_networks(
    path: &Path,
    add: impl FnMut(IpNet),
) -> Result<(), ListError> {
    read_bounded(path, NETWORKS_MAX, add)
}

fn read_bounded(
    path: &Path,
    networks_max: usize,
    mut add: impl FnMut(IpNet),
) -> Result<(), ListError> {
    let mut networks = 0;
    read_lines(path, |line| {
        for network in parse(line)? {
            networks += 1;
            if networks > networks_max {
                let reason = format!(
                    "the list makes more than {networks_max} networks; a range counts for as many as it is made of"
                );
                return Err(Wrong::new(line, reason));
            }
            add(network);
        }
        Ok(())
    })
}

/// The networks of a line; none for one that is empty, a comment, or not filtered.
fn parse(line: &str) -> Result<Networks, Wrong> {
    let entry = without_comment(line, &COMMENTS).trim_ascii();
    if entry.is_empty() {
        return Ok(Networks::None);
    }
    if let Ok(network) = entry.parse::<Network>() {
        return Ok(Networks::One(network.into()));
    }
    let range = range(entry).or_else(|| ip_filter(entry));
    // A name may contain anything, marks of comments too.
    if let Some(range) = range.or_else(|| p2p(line)) {
        return range.map_err(|reason| Wrong::new(entry, reason));
    }
    if let Some((first, rest)) = entry.split_once(char::is_whitespace)
        && first.parse::<Network>().is_ok()
        && !rest.trim_ascii().starts_with('-')
    {
        return Err(Wrong::new(rest, "a line has one entry; put a # before a comment"));
    }
    Err(Wrong::new(entry, EXPECTED))
}

/// What is written in one of the forms of a range: its networks, or why it is none.
type Range = Result<Networks, &'static str>;

/// `first - last`; `None` if it is something else.
fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (address(first)?, address(last)?);
    if first > last {
        return Some(Err("the range ends before it begins"));
    }
    Some(Ok(Networks::Range(match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).into(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).into(),
        _ => return Some(Err("the ends of a range are both IPv4 or both IPv6")),
    })))
}

/// `first - last , level , name`; `None` if it is something else.
fn ip_filter(text: &str) -> Option<Range> {
    let (first_and_last, rest) = text.split_once(',')?;
    let range = range(first_and_last)?;
    let level = rest.split(',').next()?.trim_ascii().parse::<u32>().ok()?;
    Some(if level > LEVEL_MAX { range.map(|_| Networks::None) } else { range })
}

/// `name:first-last`, of IPv4; `None` if it is something else.
fn p2p(text: &str) -> Option<Range> {
    let (_, first_and_last) = text.rsplit_once(':')?;
    range(first_and_last)
}

/// An end of a range. Ban lists fill numbers of IPv4 up to three digits, which are decimal.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_ascii();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0; 4];
    let mut numbers = text.split('.');
    for octet in &mut octets {
        let number = numbers.next()?;
        let is_number = number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        *octet = number.parse().ok().filter(|_| is_number)?;
    }
    numbers.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// The networks of an entry.
#[derive(Debug)]
enum Networks {
    None,
    One(IpNet),
    /// The smallest set that holds the addresses of a range and no others.
    Range(IpSubnets),
}

impl Iterator for Networks {
    type Item = IpNet;

    fn next(&mut self) -> Option<IpNet> {
        match self {
            Self::None => None,
            Self::One(network) => {
                let network = *network;
                *self = Self::None;
                Some(network)
            }
            Self::Range(networks) => networks.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(line: &str) -> Vec<String> {
        parse(line).unwrap().map(|network| network.to_string()).collect()
    }

    #[track_caller]
    fn assert_wrong(line: &str, word: &str, reason: &str) {
        let expected = Wrong { word: word.to_owned(), reason: reason.to_owned() };
        assert_eq!(parse(line).unwrap_err(), expected);
    }

    #[test]
    fn a_range_becomes_the_networks_that_it_is_made_of() {
        assert_eq!(networks("192.0.2.0 - 192.0.2.255"), ["192.0.2.0/24"]);
        assert_eq!(
            networks("192.0.2.1-192.0.2.4"),
            ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"]
        );
        assert_eq!(networks("192.0.2.7 - 192.0.2.7 # one"), ["192.0.2.7/32"]);
        assert_eq!(networks("0.0.0.0 - 255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(networks("2001:db8::\t-\t2001:db8::1:ffff"), ["2001:db8::/111"]);
        assert_eq!(networks(":: - ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
    }

    #[test]
    fn ranges_of_ip_filters_are_read_with_their_zeros_level_and_name() {
        assert_eq!(networks("001.002.003.000 - 001.002.003.255 , 000 , name"), ["1.2.3.0/24"]);
        assert_eq!(networks("010.000.000.000 - 010.255.255.255 , 127 , a # b, c"), ["10.0.0.0/8"]);
        assert_eq!(networks("1.2.3.0-1.2.3.255,0"), ["1.2.3.0/24"]);
        assert!(networks("001.002.003.000 - 001.002.003.255 , 128 , not filtered").is_empty());
    }

    #[test]
    fn ranges_of_p2p_lists_are_read_whatever_their_name() {
        for name in
            ["name", "", "A, B & Co", "3-Com", "host: 192.0.2.1", "No #1 ; x", "caf\u{fffd}"]
        {
            assert_eq!(networks(&format!("{name}:1.2.3.4-1.2.3.5")), ["1.2.3.4/31"], "{name}");
        }
    }

    #[test]
    fn comments_and_networks_are_as_other_lists_have_them() {
        assert_eq!(networks("192.0.2.0/24 ; SBL1"), ["192.0.2.0/24"]);
        assert_eq!(networks("2001:db8::1"), ["2001:db8::1/128"]);
        for line in ["", "  ", "# a:1.2.3.4-1.2.3.5", "; x", "// 1.2.3.4"] {
            assert!(networks(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn what_is_half_an_entry_is_wrong() {
        let comment = "a line has one entry; put a # before a comment";
        assert_wrong("192.0.2.0/24 a network", "a network", comment);
        assert_wrong("192.0.2.1 192.0.2.2", "192.0.2.2", comment);
        assert_wrong("1.2.3.9 - 1.2.3.4", "1.2.3.9 - 1.2.3.4", "the range ends before it begins");
        let mixed = "the ends of a range are both IPv4 or both IPv6";
        assert_wrong("1.2.3.4 - 2001:db8::1", "1.2.3.4 - 2001:db8::1", mixed);
        for line in [
            "192.0.2.0/33",
            "1.2.3.4 - 1.2.3.5 name",
            "1.2.3.4 - 1.2.3.5 , name",
            "1.2.3.4 -",
            "1.2.3.4 - 1.2.3.256",
            "1.2.3.4 - 1.2.3.0005",
            "1.2.3.4 - 1.2.3",
            "010.0.0.1",
            "name:1.2.3.4",
            "name",
        ] {
            assert_wrong(line, line, EXPECTED);
        }
    }

    #[test]
    fn a_file_makes_no_more_networks_than_it_may() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // 62 of the range, which no range of IPv4 has more of.
        std::fs::write(file.path(), "192.0.2.1\n0.0.0.1 - 255.255.255.254\n192.0.2.2\n").unwrap();
        let read = |networks_max| {
            let mut networks = 0;
            read_bounded(file.path(), networks_max, |_| networks += 1).map(|()| networks)
        };
        assert_eq!(read(64).unwrap(), 64);
        let error = read(63).unwrap_err().to_string();
        assert!(error.contains(":3: `192.0.2.2`: the list makes more than 63 networks"), "{error}");
        let error = read(62).unwrap_err().to_string();
        assert!(error.contains(":2: `0.0.0.1 - 255.255.255.254`: the list"), "{error}");
    }

    proptest! {
        #[test]
        fn the_networks_of_a_range_hold_its_addresses_and_no_others(a: u32, b: u32, near in 0..9_u32) {
            let (first, last) = (a.min(b), a.max(b));
            let line = format!("{} - {}", Ipv4Addr::from(first), Ipv4Addr::from(last));
            let networks: Vec<_> = parse(&line).unwrap().collect();
            let holds = |address: u32| {
                networks.iter().any(|network| network.contains(&IpAddr::V4(address.into())))
            };
            let between = first + (last - first) / 8 * near.min(8);
            prop_assert!(holds(first) && holds(last) && holds(between));
            prop_assert!(first == 0 || !holds(first - 1));
            prop_assert!(last == u32::MAX || !holds(last + 1));
        }

        #[test]
        fn no_line_panics(line: String) {
            let _ = parse(&line);
        }

        #[test]
        fn no_line_of_the_syntax_s_own_panics(line in "[0-9.:,#/ a-]{0,40}") {
            let _ = parse(&line);
        }
    }
}
