//! Settings that stand elsewhere than in Chihaya's older files: subnet preference, once a property
//! of the storage and before that of the tracker, is a hook; limits of requests were once the tracker's. And hooks
//! that refuse, which in Chihaya keep a peer out of the swarm when they stand among the post-hooks.

use serde_yaml::{Mapping, Value};

use super::{load::Findings, path::Path};

/// The storage of Chihaya's that knew of subnets.
const MEMORY_BY_SUBNET: &str = "memorybysubnet";

/// The options of the hook, as the storage and as the tracker called them.
const OF_STORAGE: [&str; 2] =
    ["preferred_ipv4_subnet_mask_bits_set", "preferred_ipv6_subnet_mask_bits_set"];
const OF_TRACKER: [&str; 2] = ["preferred_ipv4_subnet", "preferred_ipv6_subnet"];

/// The limits, which HTTP and UDP have each for itself now.
const LIMITS: [&str; 3] = ["max_numwant", "default_numwant", "max_scrape_infohashes"];

/// Hooks that refuse.
const REFUSING: [&str; 5] =
    ["jwt", "passkey", "torrent approval", "client approval", "ip approval"];

/// Moves what has moved, and says so.
pub(super) fn move_settings(settings: &mut Mapping, root: &Path, findings: &mut Findings) {
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
    for hook in refusing_after(settings) {
        let name = hook.get("name").and_then(Value::as_str).unwrap_or_default();
        let message = format!("`{name}` refuses before the reply; it is read as a pre-hook");
        findings.warning(&root.key("posthooks"), message);
        push(settings, hook);
    }
    for key in LIMITS {
        if let Some(limit) = settings.remove(key) {
            findings.warning(&root.key(key), "is now a key of `http`, and of `udp`");
            add_limit(settings, key, &limit);
        }
    }
}

/// Whoever has the key already has a newer file, and keeps it.
fn add_limit(settings: &mut Mapping, key: &str, limit: &Value) {
    for frontend in ["http", "udp"] {
        let section = settings.entry(frontend.into()).or_insert(Value::Null);
        if section.is_null() {
            *section = Mapping::new().into();
        }
        if let Some(section) = section.as_mapping_mut() {
            section.entry(key.into()).or_insert_with(|| limit.clone());
        }
    }
}

fn of_storage(settings: &mut Mapping) -> Option<Mapping> {
    let storage = settings.get_mut("storage")?.as_mapping_mut()?;
    let name = storage.get_mut("name").filter(|name| **name == *MEMORY_BY_SUBNET)?;
    *name = "memory".into();
    let config = storage.get_mut("config").and_then(Value::as_mapping_mut);
    Some(config.map(|config| take(config, OF_STORAGE)).unwrap_or_default())
}

fn of_tracker(settings: &mut Mapping) -> Option<Mapping> {
    let is_on = settings.remove("preferred_subnet")?.as_bool()?;
    let options = take(settings, OF_TRACKER);
    is_on.then_some(options)
}

fn take(settings: &mut Mapping, keys: [&str; 2]) -> Mapping {
    let take = |key: &str| Some((key.into(), settings.remove(key)?));
    keys.into_iter().filter_map(take).collect()
}

/// Adds the hook; without options that are above zero there is nothing to prefer.
fn add_hook(settings: &mut Mapping, options: Mapping) {
    if options.values().all(|bits| bits.as_i64().is_some_and(|bits| bits <= 0)) {
        return;
    }
    let name = ("name".into(), "preferred subnet".into());
    push(settings, Mapping::from_iter([name, ("options".into(), options.into())]).into());
}

/// Takes the hooks that refuse from the post-hooks.
fn refusing_after(settings: &mut Mapping) -> Vec<Value> {
    let Some(hooks) = settings.get_mut("posthooks") else { return Vec::new() };
    if hooks.is_mapping() {
        *hooks = vec![std::mem::take(hooks)].into();
    }
    let Some(hooks) = hooks.as_sequence_mut() else { return Vec::new() };
    let refuses = |hook: &mut Value| {
        let name = hook.get("name").and_then(Value::as_str);
        name.is_some_and(|name| REFUSING.contains(&name))
    };
    hooks.extract_if(.., refuses).collect()
}

/// Adds a pre-hook, the last one.
fn push(settings: &mut Mapping, hook: Value) {
    let hooks = settings.entry("prehooks".into()).or_insert(Value::Null);
    match hooks {
        Value::Sequence(hooks) => hooks.push(hook),
        Value::Null => *hooks = vec![hook].into(),
        one => *one = vec![std::mem::take(one), hook].into(),
    }
}
