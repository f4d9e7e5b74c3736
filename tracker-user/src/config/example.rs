//! The configuration as text: the commented file that is shipped, made from the types.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use super::{
    Config, ROOT, XdpConfig,
    file_schema::modeline,
    interfaces::AUTO,
    schema::{kinds, properties, schema, words},
};

const HEADER: &str = "\
# The configuration of xdp-tracker. Files written for Chihaya work too.
#
# Durations are written 30m, 1h30m or 1.5s. A key that is left out has the value shown here, except
# for addresses and interfaces: left out, they are empty. Commented keys show an example.
# `xdp-tracker check` tells whether a file is fine and prints what it amounts to.

";

/// What the shipped file says: the defaults, and somewhere to listen.
#[must_use]
pub fn shipped() -> Config {
    let mut config = Config {
        metrics_addr: "127.0.0.1:6880".parse().ok(),
        xdp: XdpConfig { interfaces: vec![AUTO.to_owned()], ..XdpConfig::default() },
        ..Config::default()
    };
    config.http.addr = "[::]:6969".parse().ok();
    config.udp.addr.extend(config.http.addr);
    config
}

/// The text of `config.yaml`.
#[must_use]
pub fn example() -> String {
    let values = serde_json::to_value(shipped()).unwrap_or_default();
    let mut out = format!("{}{HEADER}{ROOT}:\n", modeline());
    write_section(&mut out, schema(), &values, 1);
    out
}

/// The configuration as a file could say it, without comments and with secrets hidden.
///
/// # Errors
/// None that is known of: every value has a form in YAML.
pub fn to_yaml(config: &Config) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(&BTreeMap::from([(ROOT, config)]))
}

/// Writes the keys of a section, each below its description.
fn write_section(out: &mut String, schema: &Value, values: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    for (i, (key, schema)) in properties(schema).into_iter().flatten().enumerate() {
        if i > 0 && depth < 3 {
            out.push('\n');
        }
        write_comment(out, &indent, &description(schema));
        let value = &values[key];
        if value.is_object() {
            let _ = writeln!(out, "{indent}{key}:");
            write_section(out, kind_of(value, schema), value, depth + 1);
        } else if !value.is_null() {
            let _ = writeln!(out, "{indent}{key}: {}", inline(value));
        }
        if let Some(example) = schema.pointer("/examples/0").filter(|example| *example != value) {
            write_comment(out, &indent, &example_of(key, schema, example));
        }
    }
}

/// What a key means, and the words it takes.
fn description(schema: &Value) -> String {
    let mut text = schema["description"].as_str().unwrap_or_default().to_owned();
    let (described, plain): (Vec<_>, Vec<_>) =
        words(schema).partition(|(_, meaning)| !meaning.is_empty());
    for (word, meaning) in described {
        let _ = write!(text, "\n  {word}: {meaning}");
    }
    if !plain.is_empty() {
        let words: Vec<_> = plain.into_iter().map(|(word, _)| word).collect();
        let _ = write!(text, "\n  {}", words.join(", "));
    }
    text
}

/// The schema that goes with the `name` of a section that comes in several kinds.
fn kind_of<'s>(section: &Value, schema: &'s Value) -> &'s Value {
    kinds(schema)
        .find_map(|(name, kind)| (section["name"] == name).then_some(kind))
        .unwrap_or(schema)
}

/// `key: example`; sections in a list bring their explanations along.
fn example_of(key: &str, schema: &Value, example: &Value) -> String {
    let sections = example.as_array().filter(|list| list.iter().all(Value::is_object));
    let Some(sections) = sections else { return format!("{key}: {}", inline(example)) };
    let mut text = format!("{key}:\n");
    for section in sections {
        let kind = kind_of(section, &schema["items"]);
        write_comment(&mut text, "", &description(kind));
        let mut keys = String::new();
        write_section(&mut keys, kind, section, 1);
        text += &keys.replacen("  ", "- ", 1).replace("\n\n", "\n");
    }
    text
}

fn write_comment(out: &mut String, indent: &str, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "{indent}# {line}");
    }
}

/// A scalar, or a list of scalars, on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Words that are truth values to those who read YAML 1.1.
const TRUTH_VALUES: [&str; 6] = ["on", "off", "yes", "no", "y", "n"];

/// Whether the text means itself in YAML without quotes.
fn is_plain(text: &str) -> bool {
    !TRUTH_VALUES.contains(&text)
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b" _-./".contains(&c))
        && serde_yaml::from_str(text).is_ok_and(|read: serde_yaml::Value| read == *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{UnknownKeys, parse};

    const FILE: &str = include_str!("../../../config.yaml");

    #[test]
    fn the_shipped_file_is_the_one_that_the_types_make() {
        assert_eq!(FILE, example(), "regenerate: `xdp-tracker config-example > config.yaml`");
    }

    #[test]
    fn the_shipped_file_reads_back_without_warnings() {
        let loaded = parse("config.yaml", FILE, UnknownKeys::Refuse).unwrap();
        assert_eq!(loaded.config, shipped());
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn the_shipped_file_differs_from_the_defaults_in_where_it_listens_only() {
        let mut config = shipped();
        config.metrics_addr = None;
        config.http.addr = None;
        config.udp.addr.clear();
        config.xdp.interfaces.clear();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_example_is_fine_when_its_comment_is_taken_away() {
        let keys = ["https_addr", "tls_cert_path", "tls_key_path", "real_ip_header", "private_key"];
        let uncommented: String = FILE
            .lines()
            .map(|line| match line.trim_start().strip_prefix("# ") {
                Some(rest) if keys.iter().any(|key| rest.starts_with(&format!("{key}: "))) => {
                    line.replacen("# ", "", 1) + "\n"
                }
                _ => line.to_owned() + "\n",
            })
            .collect();
        let config = parse("config.yaml", &uncommented, UnknownKeys::Refuse).unwrap().config;
        assert!(config.http.https_addr.is_some() && config.udp.private_key.is_some());
    }
}
