//! Keys that Chihaya's files had at some time and that have no meaning here, each with what to write instead. Those
//! that have one are moved ([`super::moved`]) or have another name ([`super::tidy::ALIASES`]).

use serde_json::{Map, Value as Schema};

use super::ROOT;

/// A key of ours that stands beside those of a section, by which the section is known.
const OF_TRACKER: &str = "prehooks";
const OF_HTTP: &str = "real_ip_header";
const OF_STORAGE: &str = "gc_interval";

/// The sections, and their older keys with what has become of them.
const OLDER_KEYS: [(&str, &[(&str, &str)]); 3] = [
    (OF_STORAGE, &[("shard_count", NO_SHARDS), ("shards", NO_SHARDS)]),
    (
        OF_HTTP,
        &[
            ("request_timeout", "is now `read_timeout` and `write_timeout`"),
            ("dual_stacked_peers", "is now `dual_stack`"),
            ("respect_af", "is now `dual_stack: own`, the default"),
        ],
    ),
    (
        OF_TRACKER,
        &[
            // Of the rewrite of 2016.
            ("servers", "is now `http` and `udp`, each with its own keys"),
            ("announce_middleware", "is now `prehooks`"),
            ("scrape_middleware", "is now `prehooks`, which judge scrapes too"),
            ("gc_interval", "is now a key of `storage.config`"),
            ("gc_expiration", "is now `storage.config.peer_lifetime`"),
        ],
    ),
];

/// The keys of Chihaya 1 (2013 to 2016), a flat file of JSON. Its last releases wrote `minAnnounce` for
/// `min_announce`.
const CHIHAYA_1: &[(&str, &str)] = &[
    ("addr", "is now `addr` of `http`"),
    ("allow_ip_spoofing", "is now a key of `http`, and of `udp`"),
    ("announce", "is now `announce_interval`"),
    ("api_listen_addr", NO_API),
    ("api_listen_limit", NO_API),
    ("api_read_timeout", NO_API),
    ("api_request_timeout", NO_API),
    ("api_write_timeout", NO_API),
    ("backend", NO_DATABASE),
    ("bufferpool_size", NO_DATABASE),
    ("cache", NO_DATABASE),
    ("client_whitelist", CLIENTS),
    ("client_whitelist_enabled", CLIENTS),
    (
        "create_on_announce",
        "has no effect: `whitelist` of the hook `torrent approval` says which torrents there may be",
    ),
    ("default_num_want", "is now `default_numwant` of `http`, and of `udp`"),
    ("driver", NO_DATABASE),
    ("dual_stacked_peers", "is now `http.dual_stack`"),
    ("encoding", NO_DATABASE),
    ("freeleech", NO_ACCOUNTS),
    ("freeleech_enabled", NO_ACCOUNTS),
    ("http_listen_addr", "is now `http.addr`"),
    ("http_listen_limit", "is now `http.max_connections_per_source`, for each source"),
    ("http_read_timeout", "is now `http.read_timeout`"),
    ("http_request_timeout", "is now `http.read_timeout` and `http.write_timeout`"),
    ("http_write_timeout", "is now `http.write_timeout`"),
    ("idle_timeout", "is now a key of `http`"),
    ("include_mem_stats", METRICS),
    ("jwk_set_update_interval", JWT),
    ("jwk_set_uri", "is now `jwk_set_url` of the hook `jwt`"),
    ("jwt_audience", "is now `audience` of the hook `jwt`"),
    ("mem_stats_interval", METRICS),
    ("min_announce", "is now `min_announce_interval`"),
    ("params", NO_DATABASE),
    ("private", PRIVATE),
    ("private_enabled", PRIVATE),
    ("private_tracker", PRIVATE),
    ("pub_addr", "is now `addr` of `http`"),
    ("purge_inactive_torrents", "has no effect: torrents without peers are always removed"),
    ("read_timeout", "is now a key of `http`"),
    ("real_ip_header", "is now a key of `http`"),
    ("reap_interval", "is now `storage.config.gc_interval`"),
    ("reap_ratio", "is now `storage.config.peer_lifetime`"),
    ("request_timeout", "is now `http.read_timeout` and `http.write_timeout`"),
    ("respect_af", "is now `http.dual_stack: own`, the default"),
    ("slots", NO_ACCOUNTS),
    ("stats_buffer_size", METRICS),
    ("torrent_map_shards", NO_SHARDS),
    (
        "tracker",
        "has no effect: its keys stand below `chihaya` now, `announce` as `announce_interval` and `min_announce` as `min_announce_interval`",
    ),
    ("tx_retries", NO_DATABASE),
    ("udp_listen_addr", "is now `udp.addr`"),
    (
        "udp_read_buffer_size",
        "has no effect: the receive buffer is the system's, see `net.core.rmem_max`",
    ),
    ("verbose_mem_stats", METRICS),
    ("whitelist", CLIENTS),
    ("write_timeout", "is now a key of `http`"),
];

const NO_SHARDS: &str = "has no effect: the table needs no shards";
const NO_API: &str = "has no effect: there is no API. Hooks follow the files of their lists, and figures are at `metrics_addr`";
const NO_DATABASE: &str = "has no effect: see `storage`";
const NO_ACCOUNTS: &str = "has no effect: the tracker keeps no accounts. The hook `report` sends announces to a service that does";
const CLIENTS: &str = "is now `whitelist` of the hook `client approval`";
const PRIVATE: &str = "is now the hook `passkey`, or `jwt`";
const METRICS: &str = "has no effect: figures are at `metrics_addr`";
const JWT: &str = "is now an option of the hook `jwt`";

/// Others that a file had in the place of `chihaya`, or beside it.
const BELOW: &[(&str, &str)] = &[
    ("preferred_subnet", PREFERRED),
    ("preferred_ipv4_subnet", PREFERRED),
    ("preferred_ipv6_subnet", PREFERRED),
    ("trakr", "is now `chihaya`"),
];

/// Those of them that are keys of ours in other sections. Below `chihaya` they are not Chihaya 1's, but were meant to
/// stand in such a section.
const STILL_KEYS: [&str; 8] = [
    "addr",
    "allow_ip_spoofing",
    "idle_timeout",
    "jwk_set_update_interval",
    "read_timeout",
    "real_ip_header",
    "whitelist",
    "write_timeout",
];
const PREFERRED: &str = "is now the hook `preferred subnet`";

/// The older keys of a section with these properties. They have no effect.
pub(super) fn older_keys(
    known: &Map<String, Schema>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let flat = known.contains_key(OF_TRACKER).then_some(CHIHAYA_1).into_iter().flatten();
    let flat = flat.copied().filter(|(key, _)| !STILL_KEYS.contains(key));
    let of_section = OLDER_KEYS.into_iter().filter(move |(beside, _)| known.contains_key(*beside));
    let older = of_section.flat_map(|(_, keys)| keys.iter().copied()).chain(flat);
    older.filter(move |(key, _)| !known.contains_key(*key))
}

/// What has become of a key of a section with these properties, if a Chihaya had it.
pub(super) fn hint(key: &str, known: &Map<String, Schema>) -> Option<&'static str> {
    if known.contains_key(ROOT) {
        return flat_hint(key);
    }
    older_keys(known).find_map(|(older, hint)| (older == key).then_some(hint))
}

/// What has become of a key at the root of a file, in either spelling: of Chihaya 1, or of the rewrite of 2016.
pub(super) fn flat_hint(key: &str) -> Option<&'static str> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let key = plain(key);
    let of_2016 = OLDER_KEYS.iter().filter(|(beside, _)| *beside == OF_TRACKER);
    let of_2016 = of_2016.flat_map(|(_, keys)| keys.iter());
    CHIHAYA_1
        .iter()
        .chain(BELOW)
        .chain(of_2016)
        .find_map(|(older, hint)| (plain(older) == key).then_some(*hint))
}
