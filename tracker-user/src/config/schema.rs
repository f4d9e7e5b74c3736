//! The JSON schema of the configuration, and how to walk it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;

/// The schema of what stands below `chihaya:`. The types' doc comments are its descriptions.
#[must_use]
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
        bound_integers(&mut schema);
        schema
    });
    &SCHEMA
}

/// Says of numbers of 32 bits, as schemars does of smaller ones, how large they may be.
fn bound_integers(schema: &mut Value) {
    if schema["format"] == "uint32" {
        let max = schema.get("maximum").cloned().unwrap_or_else(|| u32::MAX.into());
        schema["maximum"] = max;
    }
    let children: Vec<&mut Value> = match schema {
        Value::Object(keys) => keys.values_mut().collect(),
        Value::Array(elements) => elements.iter_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        if child.is_object() || child.is_array() {
            bound_integers(child);
        }
    }
}

/// A schema of sections that have something after at least one key of each of these groups.
pub(super) fn all_given(groups: &[&[&str]]) -> Value {
    let is_given = |key: &&str| {
        let nothing = json!({ "enum": [null, "", []] });
        json!({ "required": [key], "properties": { *key: { "not": nothing } } })
    };
    let any = |keys: &&[&str]| {
        let given: Vec<_> = keys.iter().map(is_given).collect();
        json!({ "anyOf": given })
    };
    let all: Vec<_> = groups.iter().map(any).collect();
    json!({ "allOf": all })
}

/// Whether a value may be of this type.
pub(super) fn has_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::Array(names) => names.iter().any(|it| it == name),
        only => only == name,
    }
}

/// The keys of a section, in the order of their declaration; `None` if it is no section.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// The alternatives of a section that comes in several kinds, each with the `name` it goes by.
pub(super) fn kinds(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    alternatives(schema)
        .filter_map(|kind| Some((kind.pointer("/properties/name/const")?.as_str()?, kind)))
}

/// The words that a key takes and what each means; the meaning may be empty.
pub(super) fn words(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = alternatives(schema).filter_map(|word| {
        Some((word.get("const")?.as_str()?, word.get("description")?.as_str()?))
    });
    plain.filter_map(|word| Some((word.as_str()?, ""))).chain(described)
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("oneOf").and_then(Value::as_array).into_iter().flatten()
}
