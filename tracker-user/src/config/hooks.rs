//! The hooks' keys: one variant a hook, so that an unknown name is an error that lists the known.

mod validate;

use std::{fmt::Display, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use smart_default::SmartDefault;
use tracker_common::id::{ClientId, InfoHash};

use super::{
    GoDuration, Network, ServiceUrl,
    pattern::{ClientIdText, InfoHashText},
    schema::all_given,
};

/// A hook and its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "options")]
pub enum HookConfig {
    /// Admits who brings a JSON web token for the torrent.
    #[serde(rename = "jwt")]
    Jwt(JwtConfig),
    /// Admits who brings a good passkey.
    #[serde(rename = "passkey")]
    Passkey(PasskeyConfig),
    /// Admits or refuses by info-hash.
    #[serde(rename = "torrent approval")]
    TorrentApproval(TorrentApprovalConfig),
    /// Admits or refuses by the client's software.
    #[serde(rename = "client approval")]
    ClientApproval(ClientApprovalConfig),
    /// Admits or refuses by the client's address.
    #[serde(rename = "ip approval")]
    IpApproval(IpApprovalConfig),
    /// Admits or refuses by the port on which the client accepts connections.
    #[serde(rename = "port approval")]
    PortApproval(PortApprovalConfig),
    /// Spreads clients that arrived together.
    #[serde(rename = "interval variation")]
    IntervalVariation(IntervalVariationConfig),
    /// Prefers peers that are near each other.
    #[serde(rename = "preferred subnet")]
    PreferredSubnet(PreferredSubnetConfig),
    /// After a reply: tells a service of announces.
    #[serde(rename = "report")]
    Report(ReportConfig),
}

impl HookConfig {
    /// Whether it refuses announces: in Chihaya one among the post-hooks lets the client have its reply, and
    /// keeps it out of the swarm.
    pub(super) const fn refuses(&self) -> bool {
        match self {
            Self::Jwt(_)
            | Self::Passkey(_)
            | Self::TorrentApproval(_)
            | Self::ClientApproval(_)
            | Self::IpApproval(_)
            | Self::PortApproval(_) => true,
            Self::IntervalVariation(_) | Self::PreferredSubnet(_) | Self::Report(_) => false,
        }
    }

    /// The hook's name in the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
            Self::Passkey(_) => "passkey",
            Self::TorrentApproval(_) => "torrent approval",
            Self::ClientApproval(_) => "client approval",
            Self::IpApproval(_) => "ip approval",
            Self::PortApproval(_) => "port approval",
            Self::IntervalVariation(_) => "interval variation",
            Self::PreferredSubnet(_) => "preferred subnet",
            Self::Report(_) => "report",
        }
    }
}

/// Options of `jwt`. The token is the parameter `jwt` of the announce's URL, or of its route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JwtConfig {
    /// Who must have issued the token (`iss`).
    pub issuer: String,
    /// Whom the token must be for (`aud`).
    pub audience: String,
    /// Where the issuer's keys are: a JWK set, over HTTP or HTTPS.
    pub jwk_set_url: ServiceUrl,
    /// How often they are fetched. While they cannot be had the old ones stay.
    #[serde(default = "five_minutes")]
    #[schemars(default = "five_minutes", extend("minimum" = 1_000_000_000))]
    pub jwk_set_update_interval: GoDuration,
}

const fn five_minutes() -> GoDuration {
    GoDuration::from_mins(5)
}

/// Options of `passkey`: `files` or a service at `url`. The key is the parameter `passkey` of the
/// route, as in `/:passkey/announce`, or of the announce's URL.
#[derive(Debug, Clone, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("not" = all_given(&[&["files"], &["url"]])))]
pub struct PasskeyConfig {
    /// Files with a key a line. They are read again when they change.
    #[schemars(extend("x-reads" = "file"))]
    pub files: Vec<PathBuf>,
    /// A service over HTTP or HTTPS. It is sent {"passkeys": ["...", "..."]} by POST, and answers
    /// with the same, reduced to the good ones.
    pub url: Option<ServiceUrl>,
    /// How long the service may take to answer.
    #[default(GoDuration::from_secs(1))]
    pub timeout: GoDuration,
    /// How long it counts that a key is good. For as long again it counts while it is asked for
    /// anew. Longer than `announce_interval`, or every announce has to wait for the service.
    #[default(GoDuration::from_mins(60))]
    pub admitted_lifetime: GoDuration,
    /// How long it counts that a key is not.
    #[default(GoDuration::from_mins(1))]
    pub refused_lifetime: GoDuration,
    /// How many good keys are remembered. Of keys that are not good a quarter as many are, in room of
    /// their own.
    #[default(100_000)]
    pub answers_max: u32,
    /// How many unknown keys the service is asked about each second at most. Those beyond have
    /// `internal server error`. 0 for no limit.
    #[default(2_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub unknown_keys: u32,
    /// How many of them one source (an IPv4 address, or an IPv6 /64) may bring each minute, and a /48
    /// four times as many. Those beyond are refused. 0 for no limit.
    #[default(1_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub unknown_keys_per_source: u32,
}

/// Options of `torrent approval`: a whitelist or a blacklist, not both. Files are read again when
/// they change. They are text files with an info-hash a line, or directories of `.torrent` files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("not" = all_given(&[
    &["whitelist", "whitelist_files"],
    &["blacklist", "blacklist_files"],
])))]
pub struct TorrentApprovalConfig {
    /// The only torrents that are served: 40 hexadecimal digits each. An empty list serves none.
    #[serde(with = "optional_text_list", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<InfoHashText>")]
    pub whitelist: Option<Vec<InfoHash>>,
    /// Files of such torrents.
    #[schemars(extend("x-reads" = "file or folder"))]
    pub whitelist_files: Vec<PathBuf>,
    /// Torrents that are refused.
    #[serde(with = "text_list")]
    #[schemars(with = "Vec<InfoHashText>")]
    pub blacklist: Vec<InfoHash>,
    /// Files of such torrents.
    #[schemars(extend("x-reads" = "file or folder"))]
    pub blacklist_files: Vec<PathBuf>,
}

/// Options of `client approval`: one of the two lists, not both. A client id is what follows
/// the dash of the peer id (`-TR4050-...`), or its first 6 bytes if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("not" = all_given(&[&["whitelist"], &["blacklist"]])))]
pub struct ClientApprovalConfig {
    /// The only clients that are served: 6 bytes each. An empty list serves none.
    #[serde(with = "optional_text_list", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<ClientIdText>", example = vec!["TR4050"])]
    pub whitelist: Option<Vec<ClientId>>,
    /// Clients that are refused.
    #[serde(with = "text_list")]
    #[schemars(with = "Vec<ClientIdText>")]
    pub blacklist: Vec<ClientId>,
}

/// Options of `ip approval`. Of the networks that hold an address the smallest decides. Files
/// have a network, an address or a range a line, as ban lists do (ipfilter.dat, P2P), and are read
/// again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpApprovalConfig {
    /// Networks or addresses that are served. If there are any, here or in files, no others are.
    pub allow: Vec<Network>,
    /// Files of such networks.
    #[schemars(extend("x-reads" = "file"))]
    pub allow_files: Vec<PathBuf>,
    /// Networks or addresses that are refused.
    pub deny: Vec<Network>,
    /// Files of such networks.
    #[schemars(extend("x-reads" = "file"))]
    pub deny_files: Vec<PathBuf>,
}

/// Options of `port approval`: `whitelist` or `blacklist`. The port is the one that the announce names.
#[derive(Debug, Clone, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PortApprovalConfig {
    /// Ports below this one are refused, unless there is a `whitelist`. They are services', and peers that
    /// clients are sent to there are attacks. 0 refuses none.
    #[default = 1024]
    pub lowest: u16,
    /// The only ports that are served. An empty list serves none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<u16>", example = vec![443, 6881])]
    pub whitelist: Option<Vec<u16>>,
    /// Ports that are refused.
    pub blacklist: Vec<u16>,
}

/// Lists whose elements are written as text; an error names the element.
mod text_list {
    use std::{fmt, marker::PhantomData};

    use serde::de::Visitor;

    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    pub fn serialize<T: Display, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(T::to_string))
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<Text<T>>::deserialize(from)?.into_iter().map(|Text(value)| value).collect())
    }

    struct Text<T>(T);

    impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(TextVisitor(PhantomData)).map(Self)
        }
    }

    struct TextVisitor<T>(PhantomData<T>);

    impl<T: FromStr<Err: Display>> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        // What only has digits is a number to YAML, and no longer what was written.
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text; put digits into quotes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|error| E::custom(format_args!("`{text}`: {error}")))
        }
    }
}

/// The same where an empty list is not the same as none.
mod optional_text_list {
    use super::{Deserializer, Display, FromStr, Serializer, text_list};

    pub fn serialize<T: Display, S: Serializer>(
        list: &Option<Vec<T>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        text_list::serialize(list.as_deref().unwrap_or_default(), to)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        text_list::deserialize(from).map(Some)
    }
}

/// Options of `interval variation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntervalVariationConfig {
    /// The share of clients whose interval is lengthened: above 0, at most 1.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub modify_response_probability: f32,
    /// The longest addition, in seconds: above 0.
    #[schemars(range(min = 1, max = i32::MAX))]
    pub max_increase_delta: i64,
    /// Whether the minimum interval is lengthened too.
    #[serde(default)]
    pub modify_min_interval: bool,
}

/// Options of `preferred subnet`: peers of the announcer's own subnet come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PreferredSubnetConfig {
    /// How many leading bits two IPv4 addresses of one subnet share, at most 32. 0: no preference.
    #[schemars(range(max = 32))]
    pub preferred_ipv4_subnet_mask_bits_set: u8,
    /// How many leading bits two IPv6 addresses of one subnet share, at most 128. 0: no preference.
    #[schemars(range(max = 128))]
    pub preferred_ipv6_subnet_mask_bits_set: u8,
}

/// Options of `report`, for `posthooks`. The service is sent {"tracker": "...", "batch": 1, "announces":
/// [{...}, ...]} by POST, and answers with a status from 200 to 299. A batch that it did not take is
/// sent again.
#[derive(Debug, Clone, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["url"]))]
pub struct ReportConfig {
    /// The service, over HTTP or HTTPS.
    pub url: ServiceUrl,
    /// Of the announces that the kernel answers, which are told. Those that the daemon answers all are.
    pub announces: ReportedAnnounces,
    /// Parameters that are told, by name, of the announce's URL or of its route: `passkey`, say.
    #[schemars(length(max = 16))]
    pub parameters: Vec<String>,
    /// How long announces may wait for others to go along with them.
    #[default(GoDuration::from_secs(1))]
    #[schemars(extend("minimum" = 10_000_000))]
    pub interval: GoDuration,
    /// How long the service may take to answer.
    #[default(GoDuration::from_secs(10))]
    pub timeout: GoDuration,
    /// How many announces are sent at once, some 300 bytes each. Fewer where the service says that they are too
    /// many or malformed.
    #[default(2_000)]
    pub batch_max: u32,
    /// How many may wait for the service. Those that come then are dropped, and counted.
    #[default(200_000)]
    pub queue_max: u32,
}

/// Which of the announces that the kernel answers are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportedAnnounces {
    /// All of them.
    #[default]
    Every,
    /// A peer is new, has completed or has stopped.
    Transitions,
}

/// One for the shipped file.
pub(super) fn post_examples() -> Vec<HookConfig> {
    vec![HookConfig::Report(ReportConfig {
        url: "https://site.example/announces".into(),
        parameters: vec!["passkey".to_owned()],
        ..ReportConfig::default()
    })]
}

/// One of each, for the shipped file.
pub(super) fn examples() -> Vec<HookConfig> {
    vec![
        HookConfig::Jwt(JwtConfig {
            issuer: "https://issuer.example".to_owned(),
            audience: "https://tracker.example".to_owned(),
            jwk_set_url: "https://issuer.example/keys".into(),
            jwk_set_update_interval: five_minutes(),
        }),
        HookConfig::Passkey(PasskeyConfig {
            url: Some("https://site.example/passkeys".into()),
            ..PasskeyConfig::default()
        }),
        HookConfig::TorrentApproval(TorrentApprovalConfig {
            whitelist: Some(vec![InfoHash(*b"an example infohash!")]),
            whitelist_files: vec!["/etc/xdp-tracker/torrents.txt".into(), "/srv/torrents".into()],
            ..TorrentApprovalConfig::default()
        }),
        HookConfig::ClientApproval(ClientApprovalConfig {
            whitelist: None,
            blacklist: vec![ClientId(*b"XL0012")],
        }),
        HookConfig::IpApproval(IpApprovalConfig {
            deny: ["192.0.2.0/24", "2001:db8::1"].iter().flat_map(|text| text.parse()).collect(),
            deny_files: vec!["/etc/xdp-tracker/denied.txt".into()],
            ..IpApprovalConfig::default()
        }),
        HookConfig::PortApproval(PortApprovalConfig {
            blacklist: vec![6666],
            ..PortApprovalConfig::default()
        }),
        HookConfig::IntervalVariation(IntervalVariationConfig {
            modify_response_probability: 0.25,
            max_increase_delta: 60,
            modify_min_interval: true,
        }),
        HookConfig::PreferredSubnet(PreferredSubnetConfig {
            preferred_ipv4_subnet_mask_bits_set: 24,
            preferred_ipv6_subnet_mask_bits_set: 64,
        }),
    ]
}
