//! What types cannot say: values that are each fine and do not go together, and ranges.

use std::time::Duration;

use super::{Config, HttpConfig, StorageConfig, UdpConfig, XdpConfig, load::Findings, path::Path};

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
    for (key, interval) in intervals {
        // The protocols count seconds, in 32 bits of which BEP 15 calls one a sign.
        if *interval < Duration::from_secs(1) || interval.as_secs() > i32::MAX as u64 {
            findings.error(&root.key(key), format!("{interval} is not from 1s to 2147483647s"));
        }
    }
    if config.min_announce_interval > config.announce_interval {
        findings.warning(&root.key("min_announce_interval"), "is longer than announce_interval");
    }
}

fn http(http: &HttpConfig, path: &Path, findings: &mut Findings) {
    if http.tls_cert_path.is_some() != http.tls_key_path.is_some() {
        let (given, missing) = match http.tls_cert_path {
            Some(_) => ("tls_cert_path", "tls_key_path"),
            None => ("tls_key_path", "tls_cert_path"),
        };
        findings.error(&path.key(given), format!("needs {missing} beside it"));
    }
    if http.https_addr.is_some() && http.tls_cert_path.is_none() && http.tls_key_path.is_none() {
        findings.error(&path.key("https_addr"), "needs tls_cert_path and tls_key_path");
    }
    for (key, routes) in
        [("announce_routes", &http.announce_routes), ("scrape_routes", &http.scrape_routes)]
    {
        for (i, route) in routes.iter().enumerate().filter(|(_, route)| !route.starts_with('/')) {
            findings.error(&path.key(key).index(i), format!("`{route}` does not begin with `/`"));
        }
    }
    if !http.trusted_proxies.is_empty() && http.real_ip_header.is_none() {
        findings.warning(&path.key("trusted_proxies"), "has no effect without real_ip_header");
    }
    numwant(http.default_numwant, http.max_numwant, path, findings);
}

fn udp(udp: &UdpConfig, path: &Path, findings: &mut Findings) {
    numwant(udp.default_numwant, udp.max_numwant, path, findings);
}

fn numwant(default: u32, max: u32, path: &Path, findings: &mut Findings) {
    if default > max {
        let message = format!("{default} is more than max_numwant, {max}, which is used instead");
        findings.warning(&path.key("default_numwant"), message);
    }
}

fn storage(config: &Config, path: &Path, findings: &mut Findings) {
    match &config.storage {
        StorageConfig::Memory(memory) => {
            if memory.peer_lifetime <= config.announce_interval {
                findings.warning(
                    &path.key("config").key("peer_lifetime"),
                    "is not longer than announce_interval: peers drop out between announces",
                );
            }
        }
        StorageConfig::Redis(_) => {
            findings.error(&path.key("name"), "`redis` is not supported yet; use `memory`");
        }
    }
}

fn hooks(config: &Config, root: &Path, findings: &mut Findings) {
    for (i, hook) in config.prehooks.iter().enumerate() {
        hook.validate(&root.key("prehooks").index(i).key("options"), findings);
    }
    for (i, hook) in config.posthooks.iter().enumerate() {
        let path = root.key("posthooks").index(i).key("name");
        let name = hook.name();
        findings.error(&path, format!("`{name}` comes too late after the reply; see prehooks"));
    }
}

fn xdp(xdp: &XdpConfig, path: &Path, findings: &mut Findings) {
    for (i, name) in xdp.interfaces.iter().enumerate() {
        let has_bad_char = name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
        if name.is_empty() || name.len() > INTERFACE_NAME_MAX || has_bad_char {
            let message = format!("`{name}` cannot be the name of an interface");
            findings.error(&path.key("interfaces").index(i), message);
        }
    }
}
