//! Writes once what a schema says in several places: as definitions, below `$defs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What is shorter than this, as text, is clearer where it stands.
const BYTES_MIN: usize = 200;

const DEFINITIONS: &str = "$defs";

/// Moves to `$defs` the schemas that stand in several places within this one.
pub(super) fn share(schema: &mut Value) {
    let mut seen = Seen::default();
    each_child(schema, "", &mut |name, child| seen.look_at(name, child));
    let mut definitions = Definitions { seen, named: BTreeMap::new(), schemas: Map::new() };
    each_child(schema, "", &mut |name, child| definitions.refer(name, child));
    schema[DEFINITIONS] = definitions.schemas.into();
}

/// The schemas there are, as texts.
#[derive(Default)]
struct Seen {
    once: BTreeSet<String>,
    again: BTreeSet<String>,
}

impl Seen {
    fn look_at(&mut self, name: &str, schema: &mut Value) {
        let text = schema.to_string();
        if text.len() >= BYTES_MIN && !self.once.insert(text.clone()) {
            // What is within it is written once, too.
            self.again.insert(text);
            return;
        }
        each_child(schema, name, &mut |name, child| self.look_at(name, child));
    }
}

struct Definitions {
    seen: Seen,
    /// The name of each definition, by its text.
    named: BTreeMap<String, String>,
    schemas: Map<String, Value>,
}

impl Definitions {
    /// Puts references in the place of what has been seen again, in this schema or in the place of it. `name` is
    /// that of the key that it is about.
    fn refer(&mut self, name: &str, schema: &mut Value) {
        let text = schema.to_string();
        if !self.seen.again.contains(&text) {
            each_child(schema, name, &mut |name, child| self.refer(name, child));
            return;
        }
        let known = self.named.get(&text).cloned();
        let reference = known.unwrap_or_else(|| {
            let is_taken = self.schemas.contains_key(name);
            let count = self.schemas.len();
            let reference = if is_taken { format!("{name}_{count}") } else { name.to_owned() };
            self.named.insert(text, reference.clone());
            // It has its name before those that are within it.
            self.schemas.insert(reference.clone(), Value::Null);
            each_child(schema, name, &mut |name, child| self.refer(name, child));
            self.schemas.insert(reference.clone(), schema.take());
            reference
        });
        *schema = json!({ "$ref": format!("#/{DEFINITIONS}/{reference}") });
    }
}

/// Calls `see` with each schema that this one is made of, and the name of the key that it is about.
fn each_child(schema: &mut Value, name: &str, see: &mut dyn FnMut(&str, &mut Value)) {
    let Some(keywords) = schema.as_object_mut() else { return };
    for (keyword, value) in keywords {
        match (&**keyword, value) {
            ("properties", Value::Object(properties)) => {
                properties.iter_mut().for_each(|(key, property)| see(key, property));
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| see(name, schema));
            }
            ("items" | "not", schema) => see(name, schema),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_twice_is_written_once_and_means_the_same() {
        let long = json!({ "type": "string", "pattern": "x".repeat(BYTES_MIN) });
        let within =
            json!({ "type": "array", "items": long, "description": "y".repeat(BYTES_MIN) });
        let mut schema = json!({
            "properties": {
                "a": { "anyOf": [within, { "type": "null" }] },
                "b": within,
                "c": { "properties": { "a": long } },
                "d": { "type": "null" },
                "e": { "type": "null" },
            },
        });
        share(&mut schema);
        assert_eq!(
            schema,
            json!({
                "properties": {
                    "a": { "anyOf": [{ "$ref": "#/$defs/a" }, { "type": "null" }] },
                    "b": { "$ref": "#/$defs/a" },
                    "c": { "properties": { "a": { "$ref": "#/$defs/a_1" } } },
                    "d": { "type": "null" },
                    "e": { "type": "null" },
                },
                "$defs": {
                    "a": {
                        "type": "array",
                        "items": { "$ref": "#/$defs/a_1" },
                        "description": "y".repeat(BYTES_MIN),
                    },
                    "a_1": long,
                },
            })
        );
    }
}
