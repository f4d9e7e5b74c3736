//! What types cannot say: values that are each fine and do not go together, and ranges.

use std::{mem::replace, time::Duration};

use ::http::HeaderName;
use bytesize::ByteSize;
use tracker_common::{
    peers::{PEERS_V4_MAX, PEERS_V6_MAX},
    table::layout::CHUNKS_MAX,
    time::{self, LIFETIME_MAX},
    wire::SCRAPE_MAX,
};

use super::{
    Broker, Config, GoDuration, HookConfig, HttpConfig, RedisConfig, Route, StorageConfig,
    UdpConfig, WebTorrentConfig, XdpConfig, finding::Findings, path::Path,
};

/// Info-hashes that fit a URL of 65,534 bytes when all of their bytes are escaped.
const HTTP_SCRAPE_MAX: u32 = 900;

/// The daemon gives a sign of life every second, and may have to wait for a processor.
const ORPHAN_LIMIT_MIN: Duration = Duration::from_secs(10);

/// What references in the table can tell apart.
const BLOCKS_MAX: ByteSize = ByteSize::gib(CHUNKS_MAX as u64 >> 20);

/// More often, a tracker would do little else.
const SNAPSHOT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The protocols count seconds, in 32 bits of which BEP 15 calls one a sign.
const INTERVAL_MAX_S: u64 = i32::MAX as u64;

/// A day. JavaScript's timers go off at once where they are set to more than 24.
const BROWSER_INTERVAL_MAX_S: u64 = 24 * 60 * 60;

/// A `private_key` that is shorter may be found by trying: one connection id is enough to try against.
const PRIVATE_KEY_BYTES_MIN: usize = 16;

/// Those of Chihaya's example file and of ours.
const PRIVATE_KEY_EXAMPLES: [&str; 2] = [
    "paste a random string here that will be used to hmac connection IDs",
    "32 or more random characters",
];

/// The longest name that Linux gives an interface.
const INTERFACE_NAME_MAX: usize = 15;

/// Reports what is wrong with the configuration at `root`.
pub(super) fn validate(config: &Config, root: &Path, findings: &mut Findings) {
    intervals(config, root, findings);
    let listens = config.http.addr.is_some()
        || config.http.https_addr.is_some()
        || !config.udp.addr.is_empty();
    if !listens {
        findings.error(root, "nothing to listen on: give http.addr, http.https_addr or udp.addr");
    }
    http(&config.http, &root.key("http"), findings);
    udp(&config.udp, &root.key("udp"), findings);
    storage(config, &root.key("storage"), findings);
    hooks(config, root, findings);
    xdp(&config.xdp, &root.key("xdp"), findings);
}

fn intervals(config: &Config, root: &Path, findings: &mut Findings) {
    let intervals = [
        ("announce_interval", config.announce_interval),
        ("min_announce_interval", config.min_announce_interval),
    ];
    for (key, given) in intervals {
        interval(given, INTERVAL_MAX_S, &root.key(key), findings);
    }
    if config.min_announce_interval > config.announce_interval {
        findings.warning(&root.key("min_announce_interval"), "is longer than announce_interval");
    }
}

fn interval(given: GoDuration, max_s: u64, path: &Path, findings: &mut Findings) {
    if *given < Duration::from_secs(1) || given.as_secs() > max_s {
        findings.error(path, format!("{given} is not from 1s to {max_s}s"));
    }
}

fn http(http: &HttpConfig, path: &Path, findings: &mut Findings) {
    let certificate = [
        ("tls_cert_path", http.tls_cert_path.is_some()),
        ("tls_key_path", http.tls_key_path.is_some()),
    ];
    both(certificate, path, findings);
    if http.https_addr.is_some() && http.tls_cert_path.is_none() && http.tls_key_path.is_none() {
        findings.error(&path.key("https_addr"), "needs tls_cert_path and tls_key_path");
    }
    // Whoever gives a certificate does not mean to be served in plain.
    if http.addr.is_some() && http.https_addr.is_none() && http.tls_cert_path.is_some() {
        findings.error(&path.key("tls_cert_path"), "needs https_addr beside it");
    }
    let announces = ("announce_routes", &http.announce_routes[..]);
    routes(announces, ("scrape_routes", &http.scrape_routes), path, findings);
    webtorrent(&http.webtorrent, &path.key("webtorrent"), findings);
    if let Some(name) = &http.real_ip_header
        && HeaderName::try_from(name).is_err()
    {
        findings.error(&path.key("real_ip_header"), format!("`{name}` is no header name"));
    }
    if !http.trusted_proxies.is_empty() && http.real_ip_header.is_none() {
        findings.warning(&path.key("trusted_proxies"), "has no effect without real_ip_header");
    }
    if http.trusted_proxies.is_empty() && http.real_ip_header.is_some() {
        let message = "anyone may send this header; name your proxies in trusted_proxies";
        findings.warning(&path.key("real_ip_header"), message);
    }
    numwant(http.default_numwant, http.max_numwant, path, findings);
    scrape(http.max_scrape_infohashes, HTTP_SCRAPE_MAX, path, findings);
}

/// Of a certificate and its key none is of use alone.
fn both([one, other]: [(&str, bool); 2], path: &Path, findings: &mut Findings) {
    for ((given, is_given), (missing, is_there)) in [(one, other), (other, one)] {
        if is_given && !is_there {
            findings.error(&path.key(given), format!("needs {missing} beside it"));
        }
    }
}

/// Two lists of paths with their keys, of which the second may be empty.
fn routes(
    announces: (&str, &[String]),
    scrapes: (&str, &[String]),
    path: &Path,
    findings: &mut Findings,
) {
    let Err(error) = Route::parse_all(announces.1, scrapes.1) else { return };
    // The second of two equal ones is the one too many.
    let place = [scrapes, announces].into_iter().find_map(|(key, routes)| {
        let index = routes.iter().rposition(|route| Some(&**route) == error.route())?;
        Some(path.key(key).index(index))
    });
    findings.error(&place.unwrap_or_else(|| path.key(announces.0)), error.to_string());
}

fn webtorrent(webtorrent: &WebTorrentConfig, path: &Path, findings: &mut Findings) {
    routes(("routes", &webtorrent.routes), ("", &[]), path, findings);
    let announce_interval = path.key("announce_interval");
    interval(webtorrent.announce_interval, BROWSER_INTERVAL_MAX_S, &announce_interval, findings);
}

fn udp(udp: &UdpConfig, path: &Path, findings: &mut Findings) {
    if let Some(key) = &udp.private_key {
        private_key(key.reveal(), &path.key("private_key"), findings);
    }
    numwant(udp.default_numwant, udp.max_numwant, path, findings);
    scrape(udp.max_scrape_infohashes, SCRAPE_MAX, path, findings);
}

/// With the key anyone makes connection ids for any address, and enters that address into swarms.
fn private_key(key: &str, path: &Path, findings: &mut Findings) {
    let advice =
        "forged connection ids would be accepted; give 32 or more random characters, or none";
    if PRIVATE_KEY_EXAMPLES.contains(&key) {
        findings.warning(
            path,
            format!("is the text of an example file, which everyone knows: {advice}"),
        );
    } else if key.len() < PRIVATE_KEY_BYTES_MIN {
        let message =
            format!("is shorter than {PRIVATE_KEY_BYTES_MIN} bytes and can be guessed: {advice}");
        findings.warning(path, message);
    }
}

fn numwant(default: u32, max: u32, path: &Path, findings: &mut Findings) {
    if default > max {
        let message = format!("{default} is more than max_numwant, {max}, which is used instead");
        findings.warning(&path.key("default_numwant"), message);
    }
    if max > PEERS_V4_MAX.into() {
        let message = format!(
            "{max} is more than a reply has room for: {PEERS_V4_MAX} peers over IPv4, {PEERS_V6_MAX} \
             over IPv6"
        );
        findings.warning(&path.key("max_numwant"), message);
    }
}

fn scrape(max: u32, room: u32, path: &Path, findings: &mut Findings) {
    if max > room {
        let message = format!("{max} is more than a request has room for, {room}");
        findings.warning(&path.key("max_scrape_infohashes"), message);
    }
}

fn storage(config: &Config, path: &Path, findings: &mut Findings) {
    let path = path.key("config");
    if config.storage.memory().peer_lifetime <= config.announce_interval {
        findings.warning(
            &path.key("peer_lifetime"),
            "is not longer than announce_interval: peers drop out between announces",
        );
    }
    if time::lifetime_from_secs(config.storage.memory().peer_lifetime.as_secs()) == LIFETIME_MAX {
        let message = "is longer than 38h, after which a peer that is silent is forgotten";
        findings.warning(&path.key("peer_lifetime"), message);
    }
    match &config.storage {
        StorageConfig::Memory(memory) => {
            if *memory.snapshot.interval < SNAPSHOT_INTERVAL_MIN {
                let path = path.key("snapshot").key("interval");
                findings.error(&path, format!("{} is less than 1s", memory.snapshot.interval));
            }
        }
        StorageConfig::Redis(config) => redis(config, &path, findings),
    }
}

fn redis(redis: &RedisConfig, path: &Path, findings: &mut Findings) {
    let keys = [
        ("redis_ca_path", redis.redis_ca_path.is_some()),
        ("redis_cert_path", redis.redis_cert_path.is_some()),
        ("redis_key_path", redis.redis_key_path.is_some()),
    ];
    let [_, certificate, key] = keys;
    both([certificate, key], path, findings);
    let broker_path = path.key("redis_broker");
    match redis.broker() {
        Err(error) => findings.error(&broker_path, error.to_string()),
        Ok(broker) if !broker.tls => {
            for (key, _) in keys.into_iter().filter(|(_, is_given)| *is_given) {
                let message = "has no effect: redis_broker is not rediss://, and TLS is not spoken";
                findings.warning(&path.key(key), message);
            }
        }
        Ok(_) => {}
    }
    if redis.redis_broker.is_none() {
        let message = format!("is not given; Chihaya's default, {}, is used", Broker::DEFAULT);
        findings.warning(&broker_path, message);
    }
}

fn hooks(config: &Config, root: &Path, findings: &mut Findings) {
    let mut prefers_subnet = false;
    for (i, hook) in config.prehooks.iter().enumerate() {
        let path = root.key("prehooks").index(i);
        hook.validate(&path.key("options"), findings);
        if matches!(hook, HookConfig::Report(_)) {
            findings.error(
                &path.key("name"),
                "`report` only runs after a reply; put it into posthooks",
            );
        }
        if matches!(hook, HookConfig::PreferredSubnet(_)) && replace(&mut prefers_subnet, true) {
            findings.error(&path, "`preferred subnet` is given twice");
        }
    }
    for (i, hook) in config.posthooks.iter().enumerate() {
        let path = root.key("posthooks").index(i);
        let name = hook.name();
        if hook.refuses() {
            hook.validate(&path.key("options"), findings);
            let message = format!("`{name}` refuses before the reply; it is read as a pre-hook");
            findings.warning(&path.key("name"), message);
        } else if matches!(hook, HookConfig::Report(_)) {
            hook.validate(&path.key("options"), findings);
            if config.posthooks[..i].contains(hook) {
                findings.warning(&path, "is given twice: its service is told everything twice");
            }
        } else {
            hook.validate(&path.key("options"), findings);
            let message = format!("`{name}` has no effect after the reply, as in Chihaya");
            findings.warning(&path.key("name"), message);
        }
    }
}

fn xdp(xdp: &XdpConfig, path: &Path, findings: &mut Findings) {
    if *xdp.orphan_limit < ORPHAN_LIMIT_MIN {
        let message = format!("{} is less than 10s", xdp.orphan_limit);
        findings.error(&path.key("orphan_limit"), message);
    }
    if xdp.pin_path.is_relative() && !xdp.pin_path.as_os_str().is_empty() {
        findings.error(&path.key("pin_path"), "is not an absolute path");
    }
    if xdp.table.blocks > BLOCKS_MAX {
        let message = format!("{} is more than {BLOCKS_MAX}", xdp.table.blocks);
        findings.error(&path.key("table").key("blocks"), message);
    }
    for (i, name) in xdp.interfaces.iter().enumerate() {
        let has_bad_char = name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
        if name.is_empty() || name.len() > INTERFACE_NAME_MAX || has_bad_char {
            let message = format!("`{name}` cannot be the name of an interface");
            findings.error(&path.key("interfaces").index(i), message);
        }
    }
}
