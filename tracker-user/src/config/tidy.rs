//! What happens to a file before it is read into types: it is brought into the shape that the
//! schema asks for, and whatever had to be changed is reported.

use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use super::{
    ROOT,
    findings::{Findings, UnknownKeys},
    history,
    path::Path,
    scalar::{Verdict, amount, judge},
    schema::{has_type, kinds, properties, schema},
};

/// Other spellings of a key, and ours.
pub(super) const ALIASES: [(&str, &str); 11] = [
    ("prometheus_addr", "metrics_addr"),
    ("config", "options"),
    ("preferred_ipv4_subnet", "preferred_ipv4_subnet_mask_bits_set"),
    ("preferred_ipv6_subnet", "preferred_ipv6_subnet_mask_bits_set"),
    ("preferred_ipv4_subnet_mask_bits", "preferred_ipv4_subnet_mask_bits_set"),
    ("preferred_ipv6_subnet_mask_bits", "preferred_ipv6_subnet_mask_bits_set"),
    // Of Chihaya's rewrite of 2016.
    ("allowIPSpoofing", "allow_ip_spoofing"),
    ("realIPHeader", "real_ip_header"),
    ("readTimeout", "read_timeout"),
    ("writeTimeout", "write_timeout"),
    // Of earlier versions of this tracker.
    ("calm_interval", "throttle_interval"),
];

/// Marks keys in the schema of which zero is no limit. Chihaya has none.
pub(super) const NO_LIMIT: &str = "x-no-limit";

/// Marks keys in the schema of which `""` is a value. Chihaya has none.
const MAY_BE_EMPTY: &str = "x-may-be-empty";

/// Words that are truth values in older YAML.
pub(super) const TRUE: [&str; 8] = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"];
pub(super) const FALSE: [&str; 8] = ["n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// Makes `value` fit `schema`:
///
/// * a key with nothing or `""` after it counts as left out;
/// * a number or duration of zero or less gives way to the default, if that is greater and zero is not
///   no limit;
/// * a single value stands for a list of one;
/// * `yes`, `no`, `on` and `off` are truth values, as they were in older YAML, which Chihaya reads;
/// * aliases get their proper names, and keys the order of the schema (so that a hook's name
///   comes before its options);
/// * unknown keys are dropped.
///
/// What the schema does not take even so is an error, and so is a required key that is left out. Returns whether the
/// value can be used: what cannot be is left out of the section or list that it is in, and the rest is read on.
pub(super) fn tidy(
    value: &mut Value,
    schema: &Schema,
    path: &Path,
    unknown_keys: UnknownKeys,
    findings: &mut Findings,
) -> bool {
    let refuse = |findings: &mut Findings, message: &str| {
        findings.error(path, message);
        false
    };
    match value {
        Value::Mapping(_) if kinds(schema).next().is_none() && properties(schema).is_none() => {
            refuse(findings, "needs a value; keys cannot stand below it")
        }
        Value::Mapping(mapping) => match kind_of(mapping, schema, path, findings) {
            Some(schema) => tidy_section(mapping, schema, path, unknown_keys, findings),
            None => false,
        },
        Value::Sequence(elements) => match schema.get("items") {
            Some(schema) => {
                tidy_list(elements, schema, path, unknown_keys, findings);
                true
            }
            None => refuse(findings, "cannot be a list"),
        },
        _ if kinds(schema).next().is_some() => {
            let names = names_of(kinds(schema));
            refuse(findings, &format!("needs a `name` below it, one of {names}"))
        }
        _ if properties(schema).is_some() => refuse(findings, "needs keys below it"),
        Value::Null => refuse(findings, "is empty"),
        scalar => match judge(scalar, schema) {
            Verdict::Fine => true,
            Verdict::Doubtful(message) => {
                findings.warning(path, message);
                true
            }
            Verdict::Wrong(message) => refuse(findings, &message),
        },
    }
}

/// Elements that cannot be used are removed. Messages go on naming the others by their places in the file.
fn tidy_list(
    elements: &mut Vec<Value>,
    schema: &Schema,
    path: &Path,
    unknown_keys: UnknownKeys,
    findings: &mut Findings,
) {
    let mut moved = Vec::new();
    let mut kept = Vec::new();
    for (index, mut element) in std::mem::take(elements).into_iter().enumerate() {
        let written = path.index(index);
        if !tidy(&mut element, schema, &written, unknown_keys, findings) {
            findings.leave_out(&written);
            continue;
        }
        if kept.len() < index {
            moved.push((path.index(kept.len()), written));
        }
        kept.push(element);
    }
    *elements = kept;
    for (now, written) in moved {
        findings.moved(now, written);
    }
}

fn names_of<'s>(kinds: impl Iterator<Item = (&'s str, &'s Schema)>) -> String {
    kinds.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The schema that goes with the section's `name`, or `schema` itself when it has but one kind.
fn kind_of<'s>(
    section: &Mapping,
    schema: &'s Schema,
    path: &Path,
    findings: &mut Findings,
) -> Option<&'s Schema> {
    let known: Vec<_> = kinds(schema).collect();
    if known.is_empty() {
        return Some(schema);
    }
    let names = names_of(kinds(schema));
    let Some(name) = section.get("name").and_then(Value::as_str) else {
        findings.error(path, format!("needs a `name`, one of {names}"));
        return None;
    };
    let kind = known.iter().find_map(|(known, kind)| (*known == name).then_some(*kind));
    if kind.is_none() {
        findings.error(&path.key("name"), format!("`{name}` is not known; known are {names}"));
    }
    kind
}

fn tidy_section(
    section: &mut Mapping,
    schema: &Schema,
    path: &Path,
    unknown_keys: UnknownKeys,
    findings: &mut Findings,
) -> bool {
    let Some(known) = properties(schema) else { return true };
    let mut written = std::mem::take(section);
    let mut left_out = Vec::new();
    for (key, schema) in known {
        let path = path.key(key);
        let written =
            take(&mut written, key, &path, findings).filter(|value| !is_unset(value, schema));
        let mut value = match written {
            Some(value) if gives_way(&value, schema, &path, findings) => continue,
            Some(value) if schema["type"] == "array" && !value.is_sequence() => vec![value].into(),
            Some(value) if has_type(schema, "boolean") => truth(&value).map_or(value, Value::from),
            Some(value) => value,
            // A section that is left out has all its defaults.
            None if properties(schema).is_some() => Mapping::new().into(),
            None => continue,
        };
        if tidy(&mut value, schema, &path, unknown_keys, findings) {
            section.insert(key.as_str().into(), value);
        } else {
            findings.leave_out(&path);
            left_out.push(key.as_str());
        }
    }
    for key in written.keys() {
        report_unknown(key, known, path, unknown_keys, findings);
    }
    report_missing(section, &left_out, schema, path, findings)
}

/// Takes what is written under `key` or an alias of it.
fn take(written: &mut Mapping, key: &str, path: &Path, findings: &mut Findings) -> Option<Value> {
    let value = written.remove(key);
    for (alias, _) in ALIASES.iter().filter(|(_, name)| *name == key) {
        let Some(aliased) = written.remove(alias) else { continue };
        if value.is_some() {
            findings.error(path, format!("given twice, the second time as `{alias}`"));
        } else if key == "metrics_addr" {
            findings.warning(path, format!("`{alias}` is now called `{key}`"));
        }
        return value.or(Some(aliased));
    }
    value
}

/// What a word says where a truth value belongs.
pub(super) fn truth(value: &Value) -> Option<bool> {
    let word = value.as_str()?;
    let is_true = TRUE.contains(&word);
    (is_true || FALSE.contains(&word)).then_some(is_true)
}

fn is_unset(value: &Value, schema: &Schema) -> bool {
    value.is_null() || value.as_str() == Some("") && schema.get(MAY_BE_EMPTY).is_none()
}

/// Whether the value is too small to be used instead of the default.
fn gives_way(value: &Value, schema: &Schema, path: &Path, findings: &mut Findings) -> bool {
    let (Some(amount), Some(default)) = (amount(value, schema), schema.get("default")) else {
        return false;
    };
    let default_is_zero = default == "0s" || default == "0 B" || default.as_f64() == Some(0.0);
    let may_be_zero = default_is_zero || schema.get(NO_LIMIT).is_some();
    let gives_way = amount < 0.0 || amount == 0.0 && !may_be_zero;
    if gives_way {
        let instead = match default {
            Schema::Null => "it counts as left out".to_owned(),
            Schema::String(default) => format!("the default, {default}, is used"),
            default => format!("the default, {default}, is used"),
        };
        findings.warning(path, format!("is not above zero; {instead}"));
    }
    gives_way
}

/// Names all keys at once that a section needs and the file does not have, and returns whether the section can be used:
/// not without those that are `left_out`.
fn report_missing(
    section: &Mapping,
    left_out: &[&str],
    schema: &Schema,
    path: &Path,
    findings: &mut Findings,
) -> bool {
    let required = schema.get("required").and_then(Schema::as_array).into_iter().flatten();
    let (wrong, missing): (Vec<_>, Vec<_>) = required
        .filter_map(Schema::as_str)
        .filter(|key| !section.contains_key(*key))
        .partition(|key| left_out.contains(key));
    let missing: Vec<_> = missing.iter().map(|key| format!("`{key}`")).collect();
    if let [first @ .., last] = &missing[..] {
        let separator = if first.is_empty() { "" } else { " and " };
        findings.error(path, format!("needs {}{separator}{last}", first.join(", ")));
    }
    missing.is_empty() && wrong.is_empty()
}

fn report_unknown(
    key: &Value,
    known: &serde_json::Map<String, Schema>,
    path: &Path,
    unknown_keys: UnknownKeys,
    findings: &mut Findings,
) {
    let key = match key {
        Value::String(key) => key.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
    };
    let path = path.key(&key);
    if let Some(hint) = history::hint(&key, known) {
        findings.warning(&path, hint);
        return;
    }
    let nearest = known
        .keys()
        .map(|known| (strsim::jaro_winkler(&key, known), known))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, nearest)| format!("; did you mean `{nearest}`?"))
        .unwrap_or_default();
    let places = places_of(&key);
    let advice = if places.is_empty() {
        nearest
    } else {
        format!("; it belongs below {}", places.join(" or "))
    };
    match unknown_keys {
        UnknownKeys::Refuse => findings.unknown_key(&path, format!("unknown key{advice}")),
        UnknownKeys::Ignore => findings.warning(&path, format!("unknown key, ignored{advice}")),
    }
}

/// The sections that have a key of this name.
fn places_of(key: &str) -> Vec<String> {
    fn seek(key: &str, schema: &Schema, path: &Path, places: &mut Vec<String>) {
        let Some(keys) = properties(schema) else { return };
        if keys.contains_key(key) {
            places.push(format!("`{path}`"));
        }
        for (name, schema) in keys {
            seek(key, schema, &path.key(name), places);
        }
    }
    let key =
        ALIASES.iter().find_map(|(alias, name)| (*alias == key).then_some(*name)).unwrap_or(key);
    let mut places = Vec::new();
    seek(key, schema(), &Path::default().key(ROOT), &mut places);
    places
}
