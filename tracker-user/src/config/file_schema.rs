//! The JSON schema of a whole file, for editors.

use serde_json::{Map, Value, json};

use super::{ROOT, history::older_keys, moved::MOVED, schema::schema, tidy::ALIASES};

/// What of a property's schema tells its reader about it, and not what it may be.
const ABOUT: [&str; 3] = ["description", "default", "examples"];

/// The schema of a file: it takes what reading takes (a list of one without brackets, a key with
/// nothing after it, other spellings of keys), and no unknown keys.
#[must_use]
pub fn file_schema() -> Value {
    let mut settings = schema().clone();
    let draft = settings.as_object_mut().and_then(|settings| settings.remove("$schema"));
    loosen_sections(&mut settings);
    json!({
        "$schema": draft,
        "title": "Configuration of xdp-tracker",
        "type": "object",
        "properties": { ROOT: settings },
        "required": [ROOT],
    })
}

/// Does so for all properties of a section, or of each of its kinds.
fn loosen_sections(schema: &mut Value) {
    for kind in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        loosen_sections(kind);
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for property in properties.values_mut() {
        loosen(property);
    }
    for (alias, key) in ALIASES {
        if let Some(property) = properties.get(key).cloned() {
            properties.entry(alias).or_insert(property);
        }
    }
    let older = older_keys(properties).map(|(key, _)| key);
    let moved = MOVED.into_iter().filter(|(_, beside)| properties.contains_key(*beside));
    let older: Vec<_> = older.chain(moved.map(|(key, _)| key)).collect();
    for key in older {
        properties.entry(key).or_insert_with(|| json!({ "deprecated": true }));
    }
    schema["additionalProperties"] = false.into();
}

fn loosen(property: &mut Value) {
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
    let mut loose = Map::new();
    for about in ABOUT {
        if let Some(value) = property.as_object_mut().and_then(|schema| schema.remove(about)) {
            loose.insert(about.to_owned(), value);
        }
    }
    let nothing = json!({ "type": "null" });
    let alternatives = [Some(property.take()), element, Some(nothing)].into_iter().flatten();
    loose.insert("anyOf".to_owned(), alternatives.collect());
    *property = loose.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of a key below the root.
    fn at(path: &[&str]) -> Value {
        let schema = file_schema();
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
        assert_eq!(types, ["array", "string", "null"]);
        assert!(addr["description"].as_str().unwrap().starts_with("Where to serve UDP"));
    }

    #[test]
    fn other_spellings_are_known_and_unknown_keys_are_not() {
        assert_eq!(at(&["prometheus_addr"]), at(&["metrics_addr"]));
        let settings = &file_schema()["properties"][ROOT];
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
}
