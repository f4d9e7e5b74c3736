//! Settings that stand elsewhere than in Chihaya's older files: subnet preference, once a property
//! of the storage and before that of the tracker, is a hook; limits of requests were once the tracker's. And
//! hooks that refuse, which stand before the reply wherever a file has them.

use std::mem::take;

use serde_yaml::{Mapping, Value};

use super::{Config, load::Findings, path::Path};

/// The storage of Chihaya's that knew of subnets.
const MEMORY_BY_SUBNET: &str = "memorybysubnet";

/// The options of the hook, as the storage and as the tracker called them.
const OF_STORAGE: [&str; 2] =
    ["preferred_ipv4_subnet_mask_bits_set", "preferred_ipv6_subnet_mask_bits_set"];
const OF_TRACKER: [&str; 2] = ["preferred_ipv4_subnet", "preferred_ipv6_subnet"];

/// The limits, which HTTP and UDP have each for itself now.
const LIMITS: [&str; 3] = ["max_numwant", "default_numwant", "max_scrape_infohashes"];

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
    for key in LIMITS {
        if let Some(limit) = settings.remove(key) {
            findings.warning(&root.key(key), "is now a key of `http`, and of `udp`");
            add_limit(settings, key, &limit, root, findings);
        }
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

fn of_storage(settings: &mut Mapping) -> Option<Mapping> {
    let storage = settings.get_mut("storage")?.as_mapping_mut()?;
    let name = storage.get_mut("name").filter(|name| **name == *MEMORY_BY_SUBNET)?;
    *name = "memory".into();
    let config = storage.get_mut("config").and_then(Value::as_mapping_mut);
    Some(config.map(|config| take_options(config, OF_STORAGE)).unwrap_or_default())
}

fn of_tracker(settings: &mut Mapping) -> Option<Mapping> {
    let is_on = settings.remove("preferred_subnet")?.as_bool()?;
    let options = take_options(settings, OF_TRACKER);
    is_on.then_some(options)
}

fn take_options(settings: &mut Mapping, keys: [&str; 2]) -> Mapping {
    let option = |key: &str| Some((key.into(), settings.remove(key)?));
    keys.into_iter().filter_map(option).collect()
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
