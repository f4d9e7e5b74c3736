//! The JSON schema of a whole file, for editors.

use serde_json::{Map, Value, json};

use super::{
    ROOT,
    history::older_keys,
    moved::{LIMITS, MEMORY_BY_SUBNET, MOVED, OF_STORAGE, OF_TRACKER},
    pattern::{format, shorter_than},
    schema::{has_type, schema},
    share::share,
    tidy::{ALIASES, FALSE, TRUE},
};

/// Where the Debian package puts the schema.
pub const SCHEMA_PATH: &str = "/usr/share/xdp-tracker/schema.json";

/// The line by which editors find the schema of a file.
#[must_use]
pub fn modeline() -> String {
    format!("# yaml-language-server: $schema={SCHEMA_PATH}\n")
}

/// What of a property's schema tells its reader about it, and not what it may be.
const ABOUT: [&str; 3] = ["description", "default", "examples"];

/// The schema of a file. It takes what reading takes: a list of one without brackets, a key with
/// nothing after it, other spellings of keys, keys of older files, numbers that give way to the default. It takes no
/// unknown keys.
#[must_use]
pub fn file_schema() -> Value {
    let mut schema = whole_schema();
    share(&mut schema);
    schema
}

/// The same, with all in its place.
fn whole_schema() -> Value {
    let mut settings = schema().clone();
    let draft = settings.as_object_mut().and_then(|settings| settings.remove("$schema"));
    add_old_storage(&mut settings);
    keep_kinds(&mut settings["properties"]["prehooks"]["items"], |name| name != "report");
    loosen_sections(&mut settings);
    add_old_keys(&mut settings);
    json!({
        "$schema": draft,
        "title": "Configuration of xdp-tracker",
        "type": "object",
        "properties": { ROOT: settings },
        "required": [ROOT],
        "additionalProperties": false,
    })
}

/// The storages of older files: `memory` with what is a hook now, and one without a name.
fn add_old_storage(settings: &mut Value) {
    let bits = settings
        .pointer("/properties/prehooks/items/oneOf")
        .and_then(Value::as_array)
        .and_then(|kinds| kinds.iter().find(|kind| name_of(kind) == Some("preferred subnet")))
        .map(|kind| kind["properties"]["options"]["properties"].clone());
    let Some(kinds) = settings["properties"]["storage"]["oneOf"].as_array_mut() else { return };
    let Some(memory) = kinds.iter().find(|kind| name_of(kind) == Some("memory")).cloned() else {
        return;
    };
    // The first Chihaya 2 had the keys of the storage beside its name, which was left out.
    let mut flat = memory["properties"]["config"].clone();
    flat["deprecated"] = true.into();
    flat["anyOf"] = json!([{ "required": ["gc_interval"] }, { "required": ["peer_lifetime"] }]);
    let mut old = memory;
    old["properties"]["name"]["const"] = MEMORY_BY_SUBNET.into();
    old["deprecated"] = true.into();
    for (key, bits) in OF_STORAGE.iter().filter_map(|key| Some((key, bits.as_ref()?.get(key)?))) {
        old["properties"]["config"]["properties"][key] = bits.clone();
    }
    kinds.extend([old, flat]);
}

/// The keys of the tracker that are keys of other sections now, once those are loose.
fn add_old_keys(settings: &mut Value) {
    let deprecated = |mut key: Value| {
        key["deprecated"] = true.into();
        key
    };
    for key in LIMITS {
        let limit =
            settings.pointer(&format!("/properties/http/anyOf/0/properties/{key}")).cloned();
        settings["properties"][key] = deprecated(limit.unwrap_or_default());
    }
    for key in OF_TRACKER {
        settings["properties"][key] =
            json!({ "type": ["integer", "null", "string"], "deprecated": true });
    }
    settings["properties"]["preferred_subnet"] =
        json!({ "type": ["boolean", "null"], "deprecated": true });
}

fn name_of(kind: &Value) -> Option<&str> {
    kind.pointer("/properties/name/const")?.as_str()
}

fn keep_kinds(schema: &mut Value, keeps: impl Fn(&str) -> bool) {
    if let Some(kinds) = schema["oneOf"].as_array_mut() {
        kinds.retain(|kind| name_of(kind).is_some_and(&keeps));
    }
}

/// Loosens all properties of a section, or of each of its kinds.
fn loosen_sections(schema: &mut Value) {
    for kind in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        loosen_sections(kind);
    }
    let required = loosen_required(schema);
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, property) in properties.iter_mut() {
        loosen(property, required.contains(key));
    }
    let mut twice = Vec::new();
    for (alias, key) in ALIASES {
        if properties.contains_key(alias) {
            continue;
        }
        let Some(property) = properties.get(key).cloned() else { continue };
        properties.insert(alias.to_owned(), property);
        twice.push(json!({ "not": { "required": [key, alias] } }));
    }
    let older = older_keys(properties).map(|(key, _)| key);
    let moved = MOVED.into_iter().filter(|(_, beside)| properties.contains_key(*beside));
    let older: Vec<_> = older.chain(moved.map(|(key, _)| key)).collect();
    for key in older {
        properties.entry(key).or_insert_with(|| json!({ "deprecated": true }));
    }
    schema["additionalProperties"] = false.into();
    if !twice.is_empty() {
        extend_all_of(schema, twice);
    }
}

/// A required key may be spelled otherwise; one that is a section may be left out if none of its own keys is
/// required. Returns the keys that remain.
fn loosen_required(schema: &mut Value) -> Vec<String> {
    let required = schema.as_object_mut().and_then(|schema| schema.remove("required"));
    let mut required: Vec<String> =
        required.and_then(|keys| serde_json::from_value(keys).ok()).unwrap_or_default();
    required.retain(|key| {
        let section = &schema["properties"][key];
        section.get("properties").is_none()
            || section["required"].as_array().is_some_and(|keys| !keys.is_empty())
    });
    let demands = required.iter().map(|key| {
        let spellings = ALIASES.iter().filter(|(_, name)| name == key).map(|(alias, _)| *alias);
        let forms: Vec<_> =
            spellings.chain([&**key]).map(|spelling| json!({ "required": [spelling] })).collect();
        if forms.len() == 1 { forms[0].clone() } else { json!({ "anyOf": forms }) }
    });
    let demands = demands.collect::<Vec<_>>();
    if !demands.is_empty() {
        extend_all_of(schema, demands);
    }
    required
}

fn extend_all_of(schema: &mut Value, more: Vec<Value>) {
    match schema["allOf"].as_array_mut() {
        Some(all) => all.extend(more),
        None => schema["allOf"] = more.into(),
    }
}

fn loosen(property: &mut Value, is_required: bool) {
    // A constant is the name by which a kind is known.
    if property.get("const").is_some() {
        return;
    }
    loosen_sections(property);
    let mut element = property.get("items").cloned();
    if let Some(element) = &mut element {
        loosen_sections(element);
        property["items"] = element.clone();
    }
    let minimum = property["minimum"].as_u64().filter(|_| property["format"] == format::DURATION);
    if let Some(shorter) = minimum.and_then(shorter_than) {
        property["not"] = json!({ "type": "string", "pattern": shorter });
    }
    let mut loose = Map::new();
    let instead = what_gives_way(property);
    for about in ABOUT {
        if let Some(value) = property.as_object_mut().and_then(|schema| schema.remove(about)) {
            loose.insert(about.to_owned(), value);
        }
    }
    let words = has_type(property, "boolean").then(|| json!({ "enum": ([TRUE, FALSE].concat()) }));
    let nothing = json!({ "enum": [null, ""] });
    if is_required {
        loose.insert("not".to_owned(), nothing.clone());
    }
    let nothing = (!is_required).then_some(nothing);
    let alternatives = [Some(property.take()), element, words, instead, nothing];
    loose.insert("anyOf".to_owned(), alternatives.into_iter().flatten().collect());
    *property = loose.into();
}

/// Numbers that the default replaces. A default of null is that of a key which may be left out.
fn what_gives_way(property: &Value) -> Option<Value> {
    property.get("default")?;
    let is_number = ["integer", "number"].into_iter().any(|kind| has_type(property, kind));
    let is_size = property["format"] == format::SIZE;
    (is_number || is_size).then(|| json!({ "type": "number", "maximum": 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of a key below the root.
    fn at(path: &[&str]) -> Value {
        let schema = whole_schema();
        let step = |schema: &Value, key: &&str| {
            let section = schema.pointer("/anyOf/0").unwrap_or(schema);
            section["properties"][key].clone()
        };
        path.iter().fold(schema["properties"][ROOT].clone(), |schema, key| step(&schema, key))
    }

    #[test]
    fn a_key_may_have_nothing_after_it_and_a_list_no_brackets() {
        let addr = at(&["udp", "addr"]);
        let types: Vec<_> =
            addr["anyOf"].as_array().unwrap().iter().map(|it| it["type"].clone()).collect();
        assert_eq!(types, [json!("array"), json!("string"), Value::Null]);
        assert_eq!(addr["anyOf"][2], json!({ "enum": [null, ""] }));
        assert!(addr["description"].as_str().unwrap().starts_with("Where to serve UDP"));
    }

    #[test]
    fn other_spellings_are_known_and_unknown_keys_are_not() {
        assert_eq!(at(&["prometheus_addr"]), at(&["metrics_addr"]));
        let settings = &whole_schema()["properties"][ROOT];
        assert_eq!(settings["additionalProperties"], false);
        assert_eq!(settings["properties"]["http"]["anyOf"][0]["additionalProperties"], false);
    }

    #[test]
    fn older_keys_are_known_where_they_stood() {
        for path in [["http", "enable_legacy_php_urls"], ["http", "request_timeout"]] {
            assert_eq!(at(&path)["deprecated"], true, "{path:?}");
        }
        for key in ["max_numwant", "preferred_subnet", "announce_middleware", "reap_ratio"] {
            assert_eq!(at(&[key])["deprecated"], true, "{key}");
        }
    }

    #[test]
    fn each_hook_has_its_own_options() {
        let hooks = at(&["prehooks"]);
        let kinds = hooks["anyOf"][0]["items"]["oneOf"].as_array().unwrap();
        assert!(kinds.len() > 1);
        for kind in kinds {
            assert!(kind["properties"]["name"]["const"].is_string(), "{kind}");
            assert_eq!(kind["properties"]["options"], kind["properties"]["config"]);
        }
    }

    #[test]
    fn what_stands_in_many_places_is_written_once() {
        let bytes = |schema: &Value| serde_json::to_string_pretty(schema).unwrap().len();
        let (shared, whole) = (bytes(&file_schema()), bytes(&whole_schema()));
        assert!(shared < whole / 4, "{shared} bytes of {whole}");
    }
}
