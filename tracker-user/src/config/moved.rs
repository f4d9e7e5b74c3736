//! Settings that stand elsewhere than in Chihaya's older files: subnet preference, once a property
//! of the storage and before that of the tracker, is a hook; limits of requests were once the tracker's; the keys of
//! the storage stood beside its name, which was left out; URLs of PHP trackers had a switch. And hooks that refuse,
//! which stand before the reply wherever a file has them.

use std::mem::take;

use serde_yaml::{Mapping, Value};

use super::{Config, HttpConfig, finding::Findings, path::Path, tidy::truth};

/// The storage of Chihaya's that knew of subnets.
pub(super) const MEMORY_BY_SUBNET: &str = "memorybysubnet";

/// The options of the hook, as the storage and as the tracker called them.
pub(super) const OF_STORAGE: [&str; 4] = [
    "preferred_ipv4_subnet_mask_bits_set",
    "preferred_ipv6_subnet_mask_bits_set",
    "preferred_ipv4_subnet_mask_bits",
    "preferred_ipv6_subnet_mask_bits",
];
pub(super) const OF_TRACKER: [&str; 2] = ["preferred_ipv4_subnet", "preferred_ipv6_subnet"];

/// The limits, which HTTP and UDP have each for itself now.
pub(super) const LIMITS: [&str; 3] = ["max_numwant", "default_numwant", "max_scrape_infohashes"];

const LEGACY_PHP_URLS: &str = "enable_legacy_php_urls";

/// Keys that have moved from where they are, and a key of ours that stands beside each.
pub(super) const MOVED: [(&str, &str); 12] = [
    ("max_numwant", "prehooks"),
    ("default_numwant", "prehooks"),
    ("max_scrape_infohashes", "prehooks"),
    ("preferred_subnet", "prehooks"),
    ("preferred_ipv4_subnet", "prehooks"),
    ("preferred_ipv6_subnet", "prehooks"),
    ("preferred_ipv4_subnet_mask_bits_set", "gc_interval"),
    ("preferred_ipv6_subnet_mask_bits_set", "gc_interval"),
    ("preferred_ipv4_subnet_mask_bits", "gc_interval"),
    ("preferred_ipv6_subnet_mask_bits", "gc_interval"),
    ("max_numwant", "gc_interval"),
    (LEGACY_PHP_URLS, "real_ip_header"),
];

/// Moves what has moved, and says so.
pub(super) fn move_settings(settings: &mut Mapping, root: &Path, findings: &mut Findings) {
    name_storage(settings, root, findings);
    add_php_routes(settings, root, findings);
    if let Some(options) = of_storage(settings) {
        let path = root.key("storage").key("name");
        let message = "`memorybysubnet` is now `memory` with the hook `preferred subnet`";
        findings.warning(&path, message);
        add_hook(settings, options);
    }
    if let Some(options) = of_tracker(settings) {
        findings.warning(root, "`preferred_subnet` is now the hook `preferred subnet`");
        add_hook(settings, options);
    }
    for key in LIMITS {
        if let Some(limit) = settings.remove(key) {
            findings.warning(&root.key(key), "is now a key of `http`, and of `udp`");
            add_limit(settings, key, &limit, root, findings);
        }
    }
    if let Some(limit) = limit_of_storage(settings) {
        let key = root.key("storage").key("config").key("max_numwant");
        findings.warning(&key, "is now a key of `http`, and of `udp`");
        add_limit(settings, "max_numwant", &limit, root, findings);
    }
}

/// Makes pre-hooks of the post-hooks that refuse: the last ones, each once.
pub(super) fn refuse_before_the_reply(config: &mut Config, root: &Path, findings: &mut Findings) {
    let (refusing, others) = take(&mut config.posthooks)
        .into_iter()
        .enumerate()
        .partition::<Vec<_>, _>(|(_, hook)| hook.refuses());
    for (index, hook) in refusing {
        if !config.prehooks.contains(&hook) {
            let now = root.key("prehooks").index(config.prehooks.len());
            findings.moved(now, root.key("posthooks").index(index));
            config.prehooks.push(hook);
        }
    }
    for (index, hook) in others {
        let now = root.key("posthooks").index(config.posthooks.len());
        findings.moved(now, root.key("posthooks").index(index));
        config.posthooks.push(hook);
    }
}

/// Whoever has the key already has a newer file, and keeps it.
fn add_limit(
    settings: &mut Mapping,
    key: &str,
    limit: &Value,
    root: &Path,
    findings: &mut Findings,
) {
    for frontend in ["http", "udp"] {
        let section = settings.entry(frontend.into()).or_insert(Value::Null);
        if section.is_null() {
            *section = Mapping::new().into();
        }
        if let Some(section) = section.as_mapping_mut()
            && !section.contains_key(key)
        {
            section.insert(key.into(), limit.clone());
            findings.moved(root.key(frontend).key(key), root.key(key));
        }
    }
}

/// Gives the storage of 2.0.0-rc.1 its name, and puts its keys below `config`.
fn name_storage(settings: &mut Mapping, root: &Path, findings: &mut Findings) {
    let Some(storage) = settings.get_mut("storage").and_then(Value::as_mapping_mut) else { return };
    let is_flat = ["gc_interval", "peer_lifetime"].iter().any(|key| storage.contains_key(*key));
    if storage.contains_key("name") || !is_flat {
        return;
    }
    let path = root.key("storage");
    for key in storage.keys().filter_map(Value::as_str) {
        findings.moved(path.key("config").key(key), path.key(key));
    }
    let config = take(storage);
    storage.insert("name".into(), "memory".into());
    storage.insert("config".into(), config.into());
    findings.warning(&path, "is now `name: memory`, with its keys below `config`");
}

fn limit_of_storage(settings: &mut Mapping) -> Option<Value> {
    let storage = settings.get_mut("storage")?.as_mapping_mut()?;
    storage.get_mut("config")?.as_mapping_mut()?.remove("max_numwant")
}

/// Adds the routes that `enable_legacy_php_urls` stood for.
fn add_php_routes(settings: &mut Mapping, root: &Path, findings: &mut Findings) {
    let Some(http) = settings.get_mut("http").and_then(Value::as_mapping_mut) else { return };
    let Some(switch) = http.remove(LEGACY_PHP_URLS) else { return };
    let path = root.key("http").key(LEGACY_PHP_URLS);
    match switch.as_bool().or_else(|| truth(&switch)) {
        Some(true) => {}
        Some(false) => {
            return findings.warning(&path, "has no effect: `announce_routes` names all paths");
        }
        None => return findings.error(&path, "is not `true` or `false`"),
    }
    findings.warning(
        &path,
        "is now `/announce.php` in `announce_routes`, `/scrape.php` in `scrape_routes`",
    );
    let defaults = HttpConfig::default();
    for (key, routes, route) in [
        ("announce_routes", defaults.announce_routes, "/announce.php"),
        ("scrape_routes", defaults.scrape_routes, "/scrape.php"),
    ] {
        let there = http.remove(key).filter(|routes| !routes.is_null());
        let mut routes = match there {
            Some(Value::Sequence(routes)) => routes,
            Some(one) => vec![one],
            None => routes.into_iter().map(Value::from).collect(),
        };
        if !routes.iter().any(|there| there.as_str() == Some(route)) {
            routes.push(route.into());
        }
        http.insert(key.into(), routes.into());
    }
}

fn of_storage(settings: &mut Mapping) -> Option<Mapping> {
    let storage = settings.get_mut("storage")?.as_mapping_mut()?;
    let name = storage.get_mut("name").filter(|name| **name == *MEMORY_BY_SUBNET)?;
    *name = "memory".into();
    let config = storage.get_mut("config").and_then(Value::as_mapping_mut);
    Some(config.map(|config| take_options(config, &OF_STORAGE)).unwrap_or_default())
}

fn of_tracker(settings: &mut Mapping) -> Option<Mapping> {
    let switch = settings.remove("preferred_subnet")?;
    let is_on = switch.as_bool().or_else(|| truth(&switch)).unwrap_or_default();
    let options = take_options(settings, &OF_TRACKER);
    is_on.then_some(options)
}

fn take_options(settings: &mut Mapping, keys: &[&str]) -> Mapping {
    let option = |key: &&str| Some(((*key).into(), settings.remove(*key)?));
    keys.iter().filter_map(option).collect()
}

/// Adds the hook; without options that are above zero there is nothing to prefer.
fn add_hook(settings: &mut Mapping, options: Mapping) {
    if options.values().all(|bits| bits.as_i64().is_some_and(|bits| bits <= 0)) {
        return;
    }
    let name = ("name".into(), "preferred subnet".into());
    let hook = Mapping::from_iter([name, ("options".into(), options.into())]);
    let hooks = settings.entry("prehooks".into()).or_insert(Value::Null);
    match hooks {
        Value::Sequence(hooks) => hooks.push(hook.into()),
        Value::Null => *hooks = vec![Value::from(hook)].into(),
        one => *one = vec![take(one), hook.into()].into(),
    }
}
