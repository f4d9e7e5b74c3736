//! What the schema says of texts: patterns, in the part of regular expressions that all validators share.
//!
//! `check` parses the texts; the patterns tell an editor as much as a pattern can. Each must take what the parser
//! takes, which tests hold.

use std::borrow::Cow;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The `format` by which [`scalar`](super::scalar) knows how to parse a text.
pub(super) mod format {
    pub(in crate::config) const DURATION: &str = "go-duration";
    pub(in crate::config) const SIZE: &str = "size";
    pub(in crate::config) const LISTEN_ADDRESS: &str = "listen-address";
    pub(in crate::config) const NETWORK: &str = "network";
    pub(in crate::config) const INFO_HASH: &str = "info-hash";
    pub(in crate::config) const CLIENT_ID: &str = "client-id";
}

/// An `http` or `https` URL with a host.
pub(super) const SERVICE_URL: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#\\s][^\\s]*$";

/// A sign, then numbers with units; or zero. A number without a unit may be quoted nanoseconds for Go's YAML
/// but is none for Go, so it is refused.
pub(super) const DURATION: &str =
    "^[-+]?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(h|m|s|ms|us|\u{b5}s|\u{3bc}s|ns))+)$";

/// Durations above zero of one unit that are shorter than so many nanoseconds, a power of ten. Of `1ms1us` a pattern
/// cannot tell. `None` where there are none.
pub(super) fn shorter_than(nanoseconds: u64) -> Option<String> {
    let units =
        [("ns", 1), ("us", 1000), ("\u{b5}s", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let shorter = |(unit, unit_ns): &(&str, u64)| {
        // A number of no more digits than this one has zeros is less.
        let digits = nanoseconds.checked_div(*unit_ns)?.checked_ilog10()?;
        let whole = match digits {
            0 => String::new(),
            digits => format!("[1-9][0-9]{{0,{}}}(\\.[0-9]*)?|", digits - 1),
        };
        Some(format!("({whole}\\.[0-9]*[1-9][0-9]*){unit}"))
    };
    let units: Vec<_> = units.iter().filter_map(shorter).collect();
    (nanoseconds > 1).then(|| format!("^\\+?0*({})$", units.join("|")))
}

/// 40 hexadecimal digits.
const INFO_HASH: &str = "^[0-9A-Fa-f]{40}$";

/// Six bytes. Of texts that are not ASCII a pattern cannot count the bytes.
const CLIENT_ID: &str = "^[ -~]{6}$|[^ -~]";

/// A number, and a unit unless it is whole.
const SIZE: &str = "^([0-9]+|([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*([Bb]|[KkMmGgTtPpEe][Ii]?[Bb]?))$";

/// 0 to 65535, with leading zeros.
const PORT: &str =
    "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A number from 0 to 255.
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

/// The same; in networks it may have leading zeros.
const PADDED_OCTET: &str = "(25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])";

/// Four octets.
fn ipv4(octet: &str) -> String {
    format!("({octet}\\.){{3}}{octet}")
}

/// As in RFC 3986, which leaves out how `::` and what is before and after it add up to eight groups.
fn ipv6(octet: &str) -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    let last = format!("({group}:{group}|{})", ipv4(octet));
    let mut forms = vec![format!("({group}:){{6}}{last}"), format!("::({group}:){{5}}{last}")];
    // So many groups at most before `::`, and so many after it, of which the last two may be an IPv4 address.
    for (before, after) in [(1, 4), (2, 3), (3, 2), (4, 1), (5, 0)] {
        let head = before - 1;
        forms.push(format!("(({group}:){{0,{head}}}{group})?::({group}:){{{after}}}{last}"));
    }
    forms.push(format!("(({group}:){{0,5}}{group})?::{group}"));
    forms.push(format!("(({group}:){{0,6}}{group})?::"));
    format!("({})", forms.join("|"))
}

/// See [`ListenAddr`](super::ListenAddr).
pub(super) fn listen_address() -> String {
    let (ipv4, ipv6) = (ipv4(OCTET), ipv6(OCTET));
    format!("^((localhost)?:\\+?{PORT}|({ipv4}|\\[{ipv6}(%[0-9]+)?\\]):{PORT})$")
}

/// See [`Network`](super::Network).
pub(super) fn network() -> String {
    let (ipv4, ipv6) = (ipv4(PADDED_OCTET), ipv6(PADDED_OCTET));
    let lengths = ["(3[0-2]|[0-2]?[0-9])", "(12[0-8]|1[01][0-9]|0?[0-9]?[0-9])"];
    format!("^({ipv4}(/{})?|{ipv6}(/{})?)$", lengths[0], lengths[1])
}

/// Implements [`JsonSchema`] for a text with a format and a pattern.
macro_rules! text_schema {
    ($type:ty, $name:literal, $format:expr, $pattern:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}

text_schema!(super::ListenAddr, "ListenAddr", format::LISTEN_ADDRESS, listen_address());
text_schema!(super::Network, "Network", format::NETWORK, network());
text_schema!(InfoHashText, "InfoHash", format::INFO_HASH, INFO_HASH);
text_schema!(ClientIdText, "ClientId", format::CLIENT_ID, CLIENT_ID);

/// Stands for an info-hash in the schema.
pub(super) struct InfoHashText;

/// Stands for a client id in the schema.
pub(super) struct ClientIdText;

/// Stands for a [`ByteSize`] in the schema.
pub(super) struct Size;

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"], "format": format::SIZE, "pattern": SIZE,
            "minimum": 0, "maximum": ByteSize::b(u64::MAX).as_u64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use boon::{Compiler, Schemas};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::{GoDuration, ListenAddr, Network};

    /// Whether a validator takes the text by the pattern.
    fn fits(pattern: &str) -> impl Fn(&str) -> bool + use<> {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("pattern.json", json!({ "pattern": pattern })).unwrap();
        let schema = compiler.compile("pattern.json", &mut schemas).unwrap();
        move |text| schemas.validate(&json!(text), schema).is_ok()
    }

    #[test]
    fn patterns_of_addresses_take_what_is_parsed() {
        let fits_address = fits(&listen_address());
        for text in [
            ":6969",
            "localhost:0",
            "192.0.2.1:65535",
            "[::]:1",
            "[2001:db8::1]:00080",
            "[fe80::1%3]:1",
            "[::ffff:192.0.2.1]:1",
            "[1:2:3:4:5:6:7::]:1",
            "[1:2:3:4:5:6:7:8]:1",
            ":+80",
            "",
            "6969",
            "127.0.0.1",
            "127.0.0.1:",
            ":70000",
            ":65536",
            "tracker.example:6969",
            "256.0.0.1:1",
            "01.0.0.1:1",
            "[1:2:3:4:5:6:7:8:9]:1",
            "[1::2::3]:1",
            "[::1:1",
            "::1:1",
            "[12345::]:1",
            "*:1",
        ] {
            assert_eq!(fits_address(text), text.parse::<ListenAddr>().is_ok(), "{text}");
        }
        let fits_network = fits(&network());
        for text in [
            "192.0.2.0/24",
            "192.0.2.1",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "::1",
            "::ffff:192.0.2.0/120",
            "10.0.0.0/08",
            "192.0.2.0/33",
            "2001:db8::/129",
            "192.0.2/24",
            "192.0.2.0/",
            "example",
            "",
            "192.0.2.0-192.0.2.9",
            "192.0.2.0/-1",
            "2001:db8::/0032",
        ] {
            assert_eq!(fits_network(text), text.parse::<Network>().is_ok(), "{text}");
        }
    }

    #[test]
    fn patterns_of_sizes_and_durations_take_what_is_parsed() {
        let fits_size = fits(SIZE);
        for text in [
            "64MiB", "64 MiB", "1.5g", "64", "64b", "10ki", ".5 GB", "1.M", "0 B", "64 MX", "MiB",
            "", "64 M iB", "-1MB", "1.5", "64 kbit", "1e3", "1,5GB",
        ] {
            assert_eq!(fits_size(text), text.parse::<ByteSize>().is_ok(), "{text}");
        }
        let fits_duration = fits(DURATION);
        for text in [
            "30m",
            "1h30m",
            "1.5s",
            ".5s",
            "1.s",
            "2ms3us4ns",
            "7\u{b5}s",
            "7\u{3bc}s",
            "+1s",
            "0",
            "30",
            "m",
            ".s",
            "1x",
            "1 s",
            "1.2.3s",
            "s1",
            "1h-30m",
            "1d",
            "30 min",
        ] {
            assert_eq!(fits_duration(text), text.parse::<GoDuration>().is_ok(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_address_fits_the_pattern(address: [u8; 16], zeros in 0_usize..16, port: u16) {
            let mut address = address;
            address[zeros / 2..zeros].fill(0);
            let address = Ipv6Addr::from(address);
            let text = format!("[{address}]:{port}");
            prop_assert!(fits(&listen_address())(&text), "{}", text);
            let text = format!("{address}/64");
            prop_assert!(fits(&network())(&text), "{}", text);
        }
    }
}
